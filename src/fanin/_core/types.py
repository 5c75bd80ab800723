"""The types of public functions' arguments."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from types import EllipsisType
from typing import Any, Literal, Protocol, SupportsFloat, SupportsIndex, TypeAlias

import numpy as np


class SupportsArray(Protocol):
    """An array or tensor of any library that NumPy can read."""

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray[Any, Any]:
        """The values as a NumPy array."""
        ...


class HasItemSize(Protocol):
    """A dtype of NumPy, ml_dtypes or PyTorch."""

    @property
    def itemsize(self) -> int:
        """The size of an element in bytes."""
        ...


class HasNumpyDType(Protocol):
    """A dtype of TensorFlow."""

    @property
    def as_numpy_dtype(self) -> Any:
        """The corresponding NumPy dtype."""
        ...


Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
DType: TypeAlias = "np.dtype[Any]"
Shape: TypeAlias = tuple[int, ...]

# A tuple, list, array, `tf.TensorShape` or `torch.Size` of integers.
ShapeLike: TypeAlias = Iterable[SupportsIndex] | SupportsArray
# A name, or a dtype of NumPy, ml_dtypes, TensorFlow, PyTorch or JAX; None for `fanin.config.floatx`.
DTypeLike: TypeAlias = str | type[Any] | HasItemSize | HasNumpyDType | None
# NumPy's basic indexing with step 1.
RegionLike: TypeAlias = SupportsIndex | slice | EllipsisType | tuple[SupportsIndex | slice | EllipsisType, ...]
# A real number, or a 0-d array or tensor of one.
NumberLike: TypeAlias = float | SupportsFloat | SupportsArray
# A framework's name, or the axes in Keras's order, as `transpose` takes them.
Layout: TypeAlias = Literal["keras", "torch"] | Sequence[SupportsIndex]
# An axis, or a sequence of axes.
AxesLike: TypeAlias = SupportsIndex | Sequence[SupportsIndex]
# One glob of paths, or several.
Globs: TypeAlias = str | Collection[str]
# What happens to parameters that no rule matches: they are an error, or stay as they are.
Unmatched: TypeAlias = Literal["error", "keep"]
Seed: TypeAlias = SupportsIndex | None
