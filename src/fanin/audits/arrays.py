"""Arrays in memory as tensors of a checkpoint, so that both are measured alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from fanin._core.memory import as_numpy
from fanin._core.types import Array, DType, Shape
from fanin.checkpoints.stored import Slices, Stored


class InMemory(Stored):
    """An array as a tensor of a checkpoint.

    Args:
        name: its name.
        array: a NumPy array, or whatever `read` takes.
        read: a function of the array and slices, one for each axis, that returns that region as a NumPy array; the
            elements of a tensor on another device are then moved region by region. None for arrays whose memory NumPy
            can see.
        dtype: the array's dtype, if `read` is given.

    >>> import numpy as np
    >>> from fanin.audits.arrays import InMemory
    >>> stored = InMemory("w", np.eye(2))
    >>> [part.tolist() for _, part in stored.parts([(slice(0, 1), slice(0, 2))])]
    [[[1.0, 0.0]]]
    """

    in_c_order: bool = True

    def __init__(
        self,
        name: str,
        array: Any,
        read: Callable[[Any, Slices], Array] | None = None,
        dtype: DType | None = None,
    ) -> None:
        self._array = as_numpy(array) if read is None else array
        self._read = read
        self.name: str = name
        self.file: str = "memory"
        self.shape: Shape = tuple(self._array.shape)
        self.dtype: DType | None = (
            dtype if dtype is not None or read is not None else self._array.dtype.newbyteorder("=")
        )
        self.dtype_name: str = str(getattr(array, "dtype", "")) if self.dtype is None else self.dtype.name

    def parts(self, regions: Iterable[Slices]) -> Iterator[tuple[Slices, Array]]:
        """The regions with their elements."""
        for region in regions:
            if self._read is None:
                part = self._array[(*region, ...)]  # the dots keep a 0-d array an array
                yield region, part.astype(self.dtype, copy=False)
            else:
                yield region, np.asarray(self._read(self._array, region))
