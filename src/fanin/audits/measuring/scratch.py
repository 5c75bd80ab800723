"""Memory that each thread keeps for its intermediate results.

An array of a few hundred KiB that is allocated anew costs more than what is done with it: the operating system has to
clear its pages first.
"""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np

from fanin._core.types import Array, Shape


class _Scratch(threading.local):
    """The thread's memory, by purpose."""

    def __init__(self) -> None:
        self.buffers: dict[str, Array] = {}


_scratch = _Scratch()


def scratch(purpose: str, shape: Shape, dtype: Any) -> Array:
    """An uninitialized array, which is valid until the thread asks for another one for the same purpose.

    Args:
        purpose: what it is for, as a word.
        shape: its shape.
        dtype: its dtype.

    >>> first, second = scratch("squares", (3,), "float64"), scratch("squares", (2,), "float32")
    >>> np.shares_memory(first, second)
    True
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    buffer = _scratch.buffers.get(purpose)
    if buffer is None or buffer.nbytes < size:
        buffer = _scratch.buffers[purpose] = np.empty(size, np.uint8)
    return buffer[:size].view(dtype).reshape(shape)
