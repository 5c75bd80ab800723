"""What audits and comparisons are given: files, mappings of names to arrays, and live models, as tensors to be read."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fanin._core import dtypes
from fanin._core.memory import as_numpy, is_torch
from fanin._core.messages import class_name, shown
from fanin._core.types import Array, DType
from fanin.audits.arrays import InMemory
from fanin.checkpoints.contained import contents_of
from fanin.checkpoints.stored import Contents, Slices
from fanin.models import registry

_DEEPEST = 64  # containers within one another


def tensors_of(source: Any) -> Contents:
    """The tensors of a checkpoint, of a mapping or of a live model, each to be read region by region.

    Args:
        source: the path of a file or folder; a mapping of names to arrays of any framework, which may be nested; or a
            model of any framework. Parameters that share memory have each of their names, and `ties` of all but the
            first.

    Raises:
        CheckpointError: what lists the tensors of files is damaged. Files that are damaged are noted.
        ValueError: there is no checkpoint, or a tensor has no values, or not all of them in this process.
        TypeError: it is nothing that has tensors.
        OSError: there is nothing at the path, or it cannot be read.

    >>> import numpy as np
    >>> from fanin.audits.sources import tensors_of
    >>> list(tensors_of({"layer": {"kernel": np.ones((2, 3)), "bias": np.zeros(3)}}).tensors)
    ['layer.kernel', 'layer.bias']
    """
    if isinstance(source, (str, os.PathLike)):
        return contents_of(Path(source))
    return _in_memory(_named_arrays(source))


def _named_arrays(source: Any) -> Mapping[str, Any]:
    """The arrays of a model or a mapping, by name."""
    if is_model(source):
        home = registry.home_of(source)
        values = None if home is None else registry.registered(home).values
        if values is not None:
            return values(source)
    if not _is_tree(source):
        raise _no_source(source)
    named: dict[str, Any] = {}
    for name, value in _leaves("", source, 0):
        if name in named:
            raise ValueError(f"Each name may come up once. Received: {shown(name)} twice.")
        named[name] = value
    return named


def is_model(source: Any) -> bool:
    """Whether a source is a live model, and no path and no mapping of names to arrays.

    Any tree of JAX's arrays alone is a model, whose names are those that fanin gives it; any other tree is a mapping.

    Raises:
        TypeError: it is nothing that has tensors.

    >>> import numpy as np
    >>> from fanin.audits.sources import is_model
    >>> is_model({"kernel": np.ones((2, 3))})
    False
    """
    if isinstance(source, (str, os.PathLike)):
        return False
    if _is_tree(source):
        return registry.home_of(source) is not None and _is_of_jax(source)
    home = registry.home_of(source)
    if home is None or not hasattr(source, "__dict__"):  # with JAX, anything at all may be a tree
        raise _no_source(source)
    return True


def _is_tree(source: Any) -> bool:
    return isinstance(source, (Mapping, list, tuple))


def _no_source(source: Any) -> TypeError:
    return TypeError(
        "There must be a path, a mapping of names to arrays, or a model of PyTorch, Keras or JAX. "
        f"Received: {shown(source)[:200]} (of type {class_name(type(source))})."
    )


def _is_of_jax(tree: Any) -> bool:
    """Whether all arrays in a tree are JAX's, and there are some: such a tree is a model, with names of its own."""
    leaves = [value for _, value in _leaves("", tree, 0) if hasattr(value, "shape")]
    return bool(leaves) and all(_package(value) in ("jax", "jaxlib", "flax") for value in leaves)


def _leaves(name: str, tree: Any, depth: int) -> Iterator[tuple[str, Any]]:
    """What is within mappings and sequences, by the names of the way to it."""
    if not isinstance(tree, (Mapping, list, tuple)):
        yield name or "array", tree
        return
    if depth > _DEEPEST:
        raise ValueError(f"Mappings must not be nested deeper than {_DEEPEST} times. Received: {shown(name)[:80]}.")
    items = tree.items() if isinstance(tree, Mapping) else enumerate(tree)
    for key, value in items:
        yield from _leaves(f"{name}.{key}" if name else str(key), value, depth + 1)


def _in_memory(named: Mapping[str, Any]) -> Contents:
    """Arrays as the contents of a checkpoint."""
    contents = Contents("memory")
    first: dict[Any, str] = {}
    other = []
    for name, value in named.items():
        array = _array(value)
        if array is None:
            other.append(name)
            continue
        stored = contents.tensors[name] = _stored(name, array)
        tied = first.setdefault(_memory_of(value, array), name)
        if tied != name and stored.size:
            contents.ties[name] = tied
    contents.other = tuple(other)
    return contents


def _package(value: Any) -> str:
    return type(value).__module__.partition(".")[0]


def _array(value: Any) -> Any:
    """The array that a value is, or that a variable of a framework holds; None if it is none."""
    for _ in range(3):
        if isinstance(value, np.ndarray) or is_torch(value) or _package(value) in ("jax", "jaxlib"):
            break
        if _package(value) in ("keras", "flax") and hasattr(value, "value"):
            held = value.value
            value = held() if callable(held) else held
    if isinstance(value, np.generic):
        return np.asarray(value)
    is_array = hasattr(value, "shape") and hasattr(value, "dtype")
    return value if is_array and not isinstance(value, type) else None


def _memory_of(value: Any, array: Any) -> Any:
    """Equal for values that share their memory, element by element."""
    if isinstance(array, np.ndarray):
        return array.__array_interface__["data"][0], array.shape, array.strides, array.dtype
    if is_torch(array) and array.layout is sys.modules["torch"].strided and not array.is_meta:
        return str(array.device), array.data_ptr(), tuple(array.shape), array.stride(), str(array.dtype)
    return id(value)


def _stored(name: str, array: Any) -> InMemory:
    """An array of any framework as a tensor that is read region by region."""
    if isinstance(array, np.ndarray):
        if array.dtype.kind in "OSUVMmT" and _dtype_of(array) is None:
            raise TypeError(f"Arrays must have numbers. Received: {shown(name)} of dtype {array.dtype}.")
        return InMemory(name, array)
    if is_torch(array):
        _check_torch(name, array)
        return InMemory(name, array.detach(), _read_torch, _dtype_of(array))
    if not hasattr(array, "__array__") and not hasattr(array, "numpy"):
        raise ValueError(
            f"Every tensor must have values. Received: {shown(name)}, a {class_name(type(array))} of shape "
            f"{tuple(array.shape)}. Make the model's arrays first."
        )
    if _package(array) in ("jax", "jaxlib") and not getattr(array, "is_fully_addressable", True):
        raise ValueError(
            f"Every tensor must be whole in this process. Received: {shown(name)}, of which other processes have "
            "parts. Gather it first, by jax.experimental.multihost_utils.process_allgather."
        )
    return InMemory(name, array, _read_array, _dtype_of(array))


def _dtype_of(array: Any) -> DType | None:
    """The NumPy dtype of an array; None if NumPy and ml_dtypes have none like it."""
    try:
        found = dtypes.resolve(array.dtype)
    except (TypeError, ValueError):
        return None
    return found if found.kind in "biufc" or found.name in dtypes.ML_DTYPES else None


def _read_array(array: Any, region: Slices) -> Array:
    """A region of an array of JAX or TensorFlow."""
    part = array[region] if region else array
    return np.asarray(part.numpy() if hasattr(part, "numpy") else part)


def _check_torch(name: str, tensor: Any) -> None:
    """Raises an error if a tensor of PyTorch has no values that could be read."""
    torch = sys.modules["torch"]
    if tensor.is_meta:
        raise ValueError(
            f"Every tensor must have values. Received: {shown(name)} of shape {tuple(tensor.shape)}, which is on the "
            "meta device. Materialize the model first, by `module.to_empty(device='cpu')`, and initialize it."
        )
    is_plain = tensor.layout is torch.strided and not tensor.is_quantized
    if not is_plain or type(tensor).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        raise ValueError(
            f"Every tensor must be dense. Received: {shown(name)}, a {class_name(type(tensor))} of layout "
            f"{tensor.layout} and dtype {tensor.dtype}. Leave it out, or pass what it stands for."
        )


def _read_torch(tensor: Any, region: Slices) -> Array:
    """A region of a tensor of PyTorch, on any device."""
    part = tensor[region] if region else tensor
    part = part.resolve_conj().resolve_neg().cpu()
    return as_numpy(part.clone() if part.is_inference() else part)
