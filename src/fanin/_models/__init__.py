"""Models of each framework described as parameters, and filled. No framework is imported before it is used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from fanin import _dtypes
from fanin._layouts import keras_axes, permuted
from fanin._parameters import ROLES, Parameter, stripped
from fanin._shapes import checked_shape, fans
from fanin._words import shown, suggestion
from fanin.plans import Found

_KEYS = ("path", "shape", "dtype", "layer", "role", "layout", "fan_in", "fan_out", "blocks", "tied")


def describe(model: Any, **options: Any) -> Found:
    """A model's parameters; those of a list as they are given there."""
    if isinstance(model, Found):
        return model
    for package, classes in (
        ("tf_keras", "tf_keras.layers.Layer"),
        ("keras", "keras.Layer"),  # before PyTorch, of which it is a module on that backend
        ("torch", "torch.nn.Module"),
    ):
        if package in sys.modules and isinstance(model, _attribute(sys.modules[package], classes)):
            return importlib.import_module(f"fanin._models.{package}").describe(model)
    if isinstance(model, (list, tuple)) and any(isinstance(each, Mapping) and "path" in each for each in model):
        return described_list(model)
    if "jax" in sys.modules:
        return importlib.import_module("fanin._models.jax").describe(model, **options)
    raise no_model(model)


def no_model(model: Any) -> TypeError:
    """What to raise for what is no model."""
    return TypeError(
        "A plan needs a model: a module of PyTorch, Keras, flax.nnx or equinox, a tree of arrays or shapes of JAX, or "
        f"a list of dicts with `path` and `shape`. Received: {shown(model)[:200]} (of type {type(model).__name__})."
    )


def _attribute(module: Any, path: str) -> Any:
    for name in path.split(".")[1:]:
        module = getattr(module, name, None)
    return module or ()


def described_list(entries: Sequence[Mapping[str, Any]], model: str = "a list of shapes") -> Found:
    """Parameters as plain data says them: `path` and `shape`, and what else is known.

    Raises:
        ValueError, TypeError: with the entry.
    """
    parameters = []
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, Mapping):
            raise TypeError(f"Entry {number} of the list must be a dict with `path` and `shape`. Received: {entry!r}.")
        try:
            parameters.append(_described(entry))
        except (TypeError, ValueError, KeyError) as error:
            text = f"It must have a {error}." if isinstance(error, KeyError) else str(error)
            raise ValueError(f"Entry {number} of the list, {entry.get('path', '?')!r}: {text}") from None
    paths = [parameter.path for parameter in parameters]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice is not None:
        raise ValueError(f"Each path must be there once. Received: {twice!r} twice.")
    return Found(tuple(parameters), model)


def _described(entry: Mapping[str, Any]) -> Parameter:
    for key in entry:
        if key not in _KEYS:
            hint = suggestion(key, _KEYS) or f" There are {', '.join(_KEYS)}."
            raise ValueError(f"Unknown key {key!r}.{hint}")
    for key in ("path", "layer", "role"):
        if not isinstance(entry.get(key, ""), str):
            raise TypeError(f"`{key}` must be a string. Received: {entry[key]!r}.")
    for key in ("fan_in", "fan_out"):
        value = entry.get(key, 1)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
            raise TypeError(f"`{key}` must be a positive number. Received: {value!r}.")
    for key in ("blocks", "tied"):
        value = entry.get(key, [])
        if not isinstance(value, (list, tuple)) or not all(isinstance(each, str) for each in value):
            raise TypeError(f"`{key}` must be a list of strings. Received: {value!r}.")
        if len(set(value)) != len(value):
            raise ValueError(f"`{key}` must be different names. Received: {value!r}.")
    shape, dtype = checked_shape(entry["shape"]), _dtypes.resolve(entry.get("dtype"))
    if not entry["path"]:
        raise ValueError("`path` must not be empty.")
    path = stripped(entry["path"])
    leaf = path.rpartition(".")[2]
    role = entry.get("role", role_of_name(leaf, shape))
    if role not in ROLES:
        hint = suggestion(role, ROLES) or f" There are {', '.join(ROLES)}."
        raise ValueError(f"Unknown role {role!r}.{hint}")
    axes = keras_axes(entry["layout"], len(shape)) if "layout" in entry else None
    known: dict[str, float] = {}
    if axes is not None:
        known["fan_in"], known["fan_out"] = fans(permuted(shape, axes))
    known |= {key: entry[key] for key in ("fan_in", "fan_out") if key in entry}
    both: Any = (known["fan_in"], known["fan_out"]) if len(known) == 2 else None
    tied = tuple(stripped(each) for each in entry.get("tied", ()))
    blocks = tuple(entry.get("blocks", ()))
    layer = entry.get("layer", "")
    return Parameter(path, shape, dtype, layer, (), role, axes, both, blocks=blocks, tied=tied, known=known)


# What these last components of a path say by themselves, in the frameworks that use them.
_NAMED_ROLES = {
    "bias": "bias",
    "gamma": "scale",
    "beta": "offset",
    "scale": "scale",
    "running_mean": "mean",
    "running_var": "variance",
    "moving_mean": "mean",
    "moving_variance": "variance",
    "num_batches_tracked": "count",
    "embedding": "embedding",
    "embeddings": "embedding",
    "kernel": "kernel",
    "recurrent_kernel": "recurrent_kernel",
}


def role_of_name(leaf: str, shape: tuple[int, ...]) -> str:
    """The role of a parameter of which only name and shape are known; "other" where these do not say it."""
    if leaf == "weight" and len(shape) == 1:
        return "scale"
    return _NAMED_ROLES.get(leaf, "other")
