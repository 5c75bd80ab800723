"""Models described by a list: a dict for each parameter, with `path`, `shape` and any traits that are given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from fanin._core import dtypes
from fanin._core.layouts import keras_axes, permuted
from fanin._core.messages import shown, suggestion
from fanin._core.shapes import checked_shape, fans
from fanin.models.names import stripped
from fanin.models.parameters import Model, Parameter
from fanin.models.traits import ROLES, Blocks, Traits, role_of_name

_KEYS = ("path", "shape", "dtype", "layer", "role", "layout", "fan_in", "fan_out", "blocks", "tied")


def described_list(entries: Sequence[Mapping[str, Any]], name: str = "a list of shapes") -> Model:
    """The model of a list of dicts, each with `path`, `shape` and any other keys that are known.

    Raises:
        ValueError, TypeError: an entry is invalid; the message says which.
    """
    parameters = []
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, Mapping):
            raise TypeError(
                f"Entry {number} of the list must be a dict with `path` and `shape`. Received: {shown(entry)}."
            )
        try:
            parameters.append(_described(entry))
        except (TypeError, ValueError, KeyError, RecursionError) as error:
            text = f"`{error.args[0]}` is missing." if isinstance(error, KeyError) else str(error)
            raise ValueError(f"Entry {number} of the list, {shown(entry.get('path', '?'))}: {text}") from None
    counts = Counter(parameter.path for parameter in parameters)
    if counts and counts.most_common(1)[0][1] > 1:
        raise ValueError(f"Each path must occur only once. Received: {shown(counts.most_common(1)[0][0])} twice.")
    return Model(tuple(parameters), name)


def _described(entry: Mapping[str, Any]) -> Parameter:
    for key, value in entry.items():
        _check(key, value)
    shape, dtype = checked_shape(entry["shape"]), dtypes.resolve(entry.get("dtype"))
    path = stripped(entry["path"])
    if not path:
        raise ValueError(f"`path` must not be empty. Received: {shown(entry['path'])}.")
    leaf = path.rpartition(".")[2]
    role = entry.get("role", role_of_name(leaf, shape))
    if role not in ROLES:
        hint = suggestion(role, ROLES) or f" Known roles: {', '.join(ROLES)}."
        raise ValueError(f"Unknown role {shown(role)}.{hint}")
    axes = keras_axes(entry["layout"], len(shape)) if "layout" in entry else None
    fan_in, fan_out = (None, None) if axes is None else fans(permuted(shape, axes))
    traits = Traits(
        role,
        axes,
        entry.get("fan_in", fan_in),
        entry.get("fan_out", fan_out),
        blocks=Blocks.of(*entry.get("blocks", ())),
    )
    tied = tuple(stripped(each) for each in entry.get("tied", ()))
    return Parameter(path, shape, dtype, entry.get("layer", ""), traits=traits, tied=tied)


def _check(key: str, value: Any) -> None:
    """Raises an exception unless an entry can have this key with a value of this kind."""
    if key not in _KEYS:
        hint = suggestion(key, _KEYS) or f" Known keys: {', '.join(_KEYS)}."
        raise ValueError(f"Unknown key {shown(key)}.{hint}")
    if key in ("path", "layer", "role") and not isinstance(value, str):
        raise TypeError(f"`{key}` must be a string. Received: {shown(value)}.")
    if key in ("fan_in", "fan_out"):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e300:
            raise TypeError(f"`{key}` must be a positive number. Received: {shown(value)}.")
    elif key in ("blocks", "tied"):
        if not isinstance(value, (list, tuple)) or not all(isinstance(each, str) for each in value):
            raise TypeError(f"`{key}` must be a list of strings. Received: {shown(value)}.")
        if len(set(value)) != len(value):
            raise ValueError(f"`{key}` must be distinct names. Received: {shown(value)}.")
