"""The registry of frameworks: the only place that finds out which framework a model belongs to.

Each framework's folder registers a function that describes its models. Only frameworks that have been imported are
tried, since there can be no models of others.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from fanin._core.messages import shown, visible
from fanin.models.lists import described_list
from fanin.models.parameters import Model


class Home(NamedTuple):
    """A framework, its models, and the fanin module for it.

    Attributes:
        package: the framework's package.
        model: the class of its models within the package; "" if any tree may be a model.
        folder: the fanin module that registers it.
    """

    package: str
    model: str
    folder: str


# In the order in which they are tried: on the PyTorch backend, a Keras 3 model is also a PyTorch module.
HOMES = (
    Home("tf_keras", "layers.Layer", "fanin.tf_keras"),
    Home("keras", "Layer", "fanin.keras"),
    Home("torch", "nn.Module", "fanin.torch"),
    Home("jax", "", "fanin.jax"),
)

Describe: TypeAlias = Callable[..., Model]
# The tensors of a model, by name, in whatever form its framework has them.
Values: TypeAlias = Callable[[Any], Mapping[str, Any]]
# The plan (`fanin.recipes.Plan`) of what a model's own code gives each parameter.
OwnPlan: TypeAlias = Callable[[Any], Any]


class Registered(NamedTuple):
    """What a framework's folder knows of its models.

    Attributes:
        describe: describes a model: `describe(model)`; for JAX, `(model, layers)` too.
        values: the tensors of a model, by name; None if the folder does not say.
        own_plan: what a model's own code gives each parameter; None if models do not say that.
    """

    describe: Describe
    values: Values | None = None
    own_plan: OwnPlan | None = None


_registered: dict[str, Registered] = {}


def register(
    package: str, describe: Describe, *, values: Values | None = None, own_plan: OwnPlan | None = None
) -> None:
    """Registers what a framework's folder knows of its models: see `Registered`."""
    _registered[package] = Registered(describe, values, own_plan)


def describe(model: Any, layers: Any = None) -> Model:
    """The description of a model.

    Args:
        model: a model of any framework, a list of dicts with `path` and `shape`, or a `Model`, which is returned.
        layers: for flax.linen trees, the layers from `fanin.jax.layers_of`.

    Raises:
        TypeError: the argument is not a model, or not one that `layers` is for.
    """
    if isinstance(model, (list, tuple)) and any(isinstance(each, Mapping) and "path" in each for each in model):
        model = described_list(model)
    if isinstance(model, Model):
        if layers is not None:
            raise TypeError(f"`layers` is only for flax.linen trees. Received: {visible(model.name)}.")
        return model
    home = home_of(model)
    if home is None:
        raise no_model(model)
    if layers is None:
        return registered(home).describe(model)
    if home.package != "jax":
        raise TypeError(f"`layers` is only for flax.linen trees. Received: a {home.package} model.")
    return registered(home).describe(model, layers)


def home_of(model: Any) -> Home | None:
    """The framework that a model is of; None if it is of none that has been imported."""
    return next((each for each in HOMES if sys.modules.get(each.package) is not None and _is_of(model, each)), None)


def registered(home: Home) -> Registered:
    """What a framework's folder has registered; it is imported if it has not been."""
    if home.package not in _registered:
        importlib.import_module(home.folder)
    return _registered[home.package]


def _is_of(model: Any, home: Home) -> bool:
    found: Any = sys.modules[home.package]
    for name in home.model.split(".") if home.model else ():
        found = getattr(found, name, None)
    return not home.model or (isinstance(found, type) and isinstance(model, found))


def no_model(model: Any) -> TypeError:
    """The error to raise for an argument that is not a model."""
    return TypeError(
        "A plan needs a model: a PyTorch, Keras, flax.nnx or equinox module, a tree of JAX arrays or shapes, or "
        f"a list of dicts with `path` and `shape`. Received: {shown(model)[:200]} (of type {type(model).__name__})."
        f"{tensors_hint(model)}"
    )


def tensors_hint(model: Any) -> str:
    """What to do with an argument that is no model but tensors, such as a state dict; "" for any other."""
    if not isinstance(model, (Mapping, list, tuple)) or not model:
        return ""
    items = dict(model.items() if isinstance(model, Mapping) else enumerate(model))
    if not all(map(_is_tensor, items.values())):
        return ""
    return (
        f" Tensors, such as its {shown(next(iter(items)))}, do not say which layers they belong to: pass the model "
        "itself, or, for a plan, a list of dicts with `path`, `shape` and, if known, `layer`."
    )


def _is_tensor(value: Any) -> bool:
    """Whether this is a tensor or variable of a framework whose models are modules, and not trees of arrays."""
    root = type(value).__module__.partition(".")[0]
    return hasattr(value, "shape") and hasattr(value, "dtype") and root not in ("numpy", "jax", "jaxlib", "flax")
