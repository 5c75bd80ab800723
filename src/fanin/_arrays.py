"""Memory for results: fresh and aligned, or the user's own, checked."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fanin import _native
from fanin._foreign import as_numpy
from fanin._words import readable

_UNSIGNED = {1: np.dtype(np.uint8), 2: np.dtype(np.uint16), 4: np.dtype(np.uint32), 8: np.dtype(np.uint64)}


def allocate(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array of unset values, 64-byte aligned; MemoryError with the size where there is no room for it.

    Its base is the `_native.Memory` that holds it, unless it is empty.
    """
    size = math.prod(shape) * dtype.itemsize
    if not size:
        try:
            return np.empty(shape, dtype)
        except ValueError:  # NumPy counts the bytes of the other axes
            raise ValueError(f"`shape` is too large, although empty. Received: shape={shape}, dtype={dtype}.") from None
    try:
        memory: Any = _native.Memory(size)
    except (MemoryError, TypeError):  # TypeError: more bytes than a 64-bit number holds
        raise MemoryError(
            f"Unable to allocate {readable(size)} for a tensor of shape {shape} and dtype {dtype}."
        ) from None
    return np.ndarray(shape, dtype, buffer=memory)


def checked_out(out: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """`out` as a plain array over its memory, if the result can be written to it."""
    out = as_numpy(out)
    if out.shape != shape:
        raise ValueError(f"`out` must have the shape of the result, {shape}. Received: out of shape {out.shape}.")
    if out.dtype != dtype or not out.dtype.isnative:
        raise ValueError(f"`out` must have the dtype of the result, {dtype}. Received: out of dtype {out.dtype}.")
    if not out.flags.writeable:
        raise ValueError("`out` must be writable. Received: a read-only array. Pass a copy of it.")
    if overlaps_itself(out):
        raise ValueError(
            "`out` must have a place of its own in memory for each element. "
            f"Received: an array of shape {out.shape} and strides {out.strides}, which overlaps itself or might. "
            "Pass one whose strides nest."
        )
    return np.ndarray.view(out, np.ndarray)  # a subclass's own views, masks among them, are passed by


def overlaps_itself(array: np.ndarray) -> bool:
    """Whether two elements share memory, or might: strides must nest, each reaching past all that is inside it."""
    if array.size == 0:
        return False
    axes = sorted(
        (abs(stride), length) for stride, length in zip(array.strides, array.shape, strict=True) if length > 1
    )
    reach = array.itemsize
    for stride, length in axes:
        if stride < reach:
            return True
        reach += stride * (length - 1)
    return False


def as_unsigned(array: np.ndarray) -> np.ndarray:
    """The same memory as unsigned integers; ml_dtypes' arrays have no buffer that other code reads."""
    return array.view(_UNSIGNED[array.dtype.itemsize])
