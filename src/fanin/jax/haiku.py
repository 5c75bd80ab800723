"""The arrays of haiku, whose trees are dicts of modules, each a dict of arrays, and which names alone tell apart."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from fanin._core.types import Shape
from fanin.models.traits import UNKNOWN, Traits, beside, kernel

_ROLES = {"scale": "scale", "offset": "offset"}


def is_haiku(tree: Any) -> bool:
    """Whether a tree has the form of haiku's: arrays by name, by module. False unless haiku has been imported."""
    if sys.modules.get("haiku") is None or not isinstance(tree, Mapping) or not tree:
        return False
    modules = tree.values()
    return all(isinstance(name, str) for name in tree) and all(
        isinstance(module, Mapping) and all(hasattr(array, "shape") for array in module.values()) for module in modules
    )


def haiku_traits(module: str, name: str, arrays: Mapping[str, Any]) -> Traits | None:
    """The traits of an array of haiku; None if its name is not one of haiku's.

    Args:
        module: the name of its module, such as `mlp/~/linear_0`. That of a transposed or depthwise convolution tells
            its kernel from others if it is haiku's own name for it.
        name: its name.
        arrays: the arrays of the module.
    """
    if name in _ROLES:
        return Traits(_ROLES[name])
    if name == "embeddings":
        return kernel(tuple(arrays[name].shape), role="embedding")
    if name == "w":
        return _kernel(module, tuple(arrays[name].shape))
    if name == "b":
        return beside(_kernel(module, tuple(arrays["w"].shape)) if "w" in arrays else UNKNOWN)
    return None


def _kernel(module: str, shape: Shape) -> Traits:
    """The traits of a kernel: (in, out) for a dense layer, (…, in, out) or, transposed, (…, out, in) for others."""
    last = module.rpartition("/")[2]
    if len(shape) < 2:
        return UNKNOWN
    if "transpose" in last and len(shape) > 2:
        return kernel(shape, (*range(len(shape) - 2), len(shape) - 1, len(shape) - 2))
    role = "depthwise_kernel" if "depthwise" in last and shape[-2] == 1 else "kernel"
    return kernel(shape, role=role)
