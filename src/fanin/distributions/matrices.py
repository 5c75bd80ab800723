"""Distributions of whole matrices."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from fanin._core import dtypes
from fanin._core.environment import undisturbed
from fanin._core.linalg import copy_in_blocks, orthonormal_columns
from fanin._core.memory import allocate, fill_constant
from fanin._core.shapes import Region, parse_region
from fanin._core.streams import Stream, run_kernel
from fanin._core.types import Array, DType
from fanin.distributions.base import Distribution, Moments
from fanin.distributions.complex import ComplexNormal
from fanin.distributions.floats import Normal

_OF_ZEROS = -1  # the number that is folded into a stream for the places of a sparse matrix's zeros
_CHUNK = 2**16  # elements whose places are drawn at a time


@dataclass(frozen=True)
class Matrix(Distribution):
    """A matrix, or a reshaped one: a tensor whose last axes are the columns and whose other axes are the rows.

    Attributes:
        gain: the factor of the matrix.
        column_axes: how many of the last axes are the columns.
    """

    gain: float
    column_axes: int = 1

    def parameters(self) -> dict[str, Any]:
        return {"gain": self.gain}

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """The numbers of rows and columns."""
        cut = len(self.shape) - self.column_axes
        return math.prod(self.shape[:cut]), math.prod(self.shape[cut:])

    def reshaped(self, shape: tuple[int, ...], column_axes: int) -> Self:
        """The same matrix as a tensor of another shape, whose last `column_axes` axes are the columns."""
        return replace(self, shape=shape, column_axes=column_axes)


def fill_diagonals(parts: Array, row: int, column: int, value: float) -> None:
    """Writes a value to the diagonals of matrices.

    Args:
        parts: the same part of each matrix, of shape (…, rows, columns).
        row: the number of the part's first row within its matrix.
        column: that of its first column.
        value: the value.
    """
    first = max(row, column)  # the first diagonal element within the part
    stop = max(first, min(row + parts.shape[-2], column + parts.shape[-1]))
    squares = parts[..., first - row : stop - row, first - column : stop - column]
    fill_constant(np.einsum("...ii->...i", squares), value)  # a view


@dataclass(frozen=True)
class Identity(Matrix):
    """`gain` on the diagonal of a matrix, `gain * 0` elsewhere."""

    kind: ClassVar[str] = "identity"

    def _round_parameters(self) -> None:
        self._round(self.dtype, "gain")

    @property
    @undisturbed
    def bounds(self) -> tuple[float, float]:
        return min(self.gain, 0.0), max(self.gain, 0.0)

    @cached_property
    @undisturbed
    def moments(self) -> Moments:
        share = min(self.matrix_shape) / max(1, self.size)
        return Moments(self.gain * share, abs(self.gain) * math.sqrt(share * (1 - share)))

    def fill(self, out: Array, stream: Stream, region: Region | None = None) -> None:
        fill_constant(out, self.gain * 0.0)
        if len(self.shape) != 2 or self.column_axes != 1:
            out[self._on_diagonal(region)] = self.gain
            return
        row, column = (0, 0) if region is None else region.starts
        fill_diagonals(out if region is None else out[region.restored_axes], row, column, self.gain)

    def _on_diagonal(self, region: Region | None) -> Array:
        """A mask of the elements of a region that lie on the diagonal of the matrix."""
        wanted = parse_region(..., self.shape) if region is None else region
        cut = len(self.shape) - self.column_axes
        numbers = []  # the row and the column of every element
        for axes in (range(cut), range(cut, len(self.shape))):
            number = np.zeros((1,) * len(self.shape), np.int64)
            for axis in axes:
                along = np.arange(wanted.starts[axis], wanted.starts[axis] + wanted.lengths[axis])
                number = number * self.shape[axis] + along.reshape(-1, *(1,) * (len(self.shape) - axis - 1))
            numbers.append(number)
        diagonal = np.broadcast_to(numbers[0] == numbers[1], wanted.lengths)
        return diagonal if region is None else diagonal.reshape(wanted.shape)


@dataclass(frozen=True)
class Orthogonal(Matrix):
    """A matrix with orthonormal rows or columns, whichever are fewer, times `gain`, reshaped."""

    kind: ClassVar[str] = "orthogonal"
    random: ClassVar[bool] = True
    is_made_whole: ClassVar[bool] = True

    def _round_parameters(self) -> None:
        self._round(self._matrix_dtype, "gain")

    @property
    def _matrix_dtype(self) -> DType:
        """The dtype that the matrix is computed in: 16-bit tensors are computed in float32 and rounded once."""
        return dtypes.FLOAT64 if self.dtype.itemsize == 8 else dtypes.FLOAT32

    @property
    @undisturbed
    def bounds(self) -> tuple[float, float]:
        return -abs(self.gain), abs(self.gain)

    @cached_property
    @undisturbed
    def moments(self) -> Moments:
        return Moments(0.0, abs(self.gain) / math.sqrt(max(1, *self.matrix_shape)))

    def rounds_to(self, dtype: DType) -> bool:
        return self.dtype == self._matrix_dtype

    def fill(self, out: Array, stream: Stream, region: Region | None = None) -> None:
        if not out.size:
            return
        rows, columns = self.matrix_shape
        matrix = np.empty(self._tall, self._matrix_dtype, order="F")  # LAPACK's order; kernels write any
        self._normals.fill(matrix, stream)
        with np.errstate(all="ignore"):  # large and small gains overflow and underflow
            q, phases = orthonormal_columns(matrix)
            q *= phases * matrix.dtype.type(self.gain)
            whole = q if rows >= columns else q.T
            if region is None and out.flags.c_contiguous:
                copy_in_blocks(whole, out.reshape(rows, columns))
            else:
                out[...] = whole.reshape(self.shape)[() if region is None else region.slices]

    @property
    def _normals(self) -> Distribution:
        """The matrix that is decomposed, which is tall."""
        return Normal(self._tall, self._matrix_dtype, 0.0, 1.0)

    @property
    def _tall(self) -> tuple[int, int]:
        rows, columns = self.matrix_shape
        return max(rows, columns), min(rows, columns)

    def reserve(self, region: Region | None = None) -> None:
        allocate(self._tall, self._matrix_dtype)  # `fill` needs the whole matrix: is there room for it?


@dataclass(frozen=True)
class Unitary(Orthogonal):
    """A complex matrix with orthonormal rows or columns, whichever are fewer, times `gain`, reshaped."""

    kind: ClassVar[str] = "unitary"

    def _round_parameters(self) -> None:
        self._round(np.dtype(f"f{self.dtype.itemsize // 2}"), "gain")

    @property
    def _matrix_dtype(self) -> DType:
        return self.dtype

    @property
    def _normals(self) -> Distribution:
        return ComplexNormal(self._tall, self.dtype, 1.0)

    @cached_property
    @undisturbed
    def moments(self) -> Moments:
        return Moments(0.0, abs(self.gain) / math.sqrt(2 * max(1, *self.matrix_shape)))  # of each part

    def rounds_to(self, dtype: DType) -> bool:
        return False


@dataclass(frozen=True)
class Sparse(Distribution):
    """Normals around 0 in a matrix, with the same number of zeros in each row, at random columns of it."""

    sparsity: float
    stddev: float
    kind: ClassVar[str] = "sparse"
    random: ClassVar[bool] = True

    def _round_parameters(self) -> None:
        self._round(self.dtype, "stddev")

    @cached_property
    def _normal(self) -> Normal:
        return Normal(self.shape, self.dtype, 0.0, self.stddev)

    @cached_property
    @undisturbed
    def zeros(self) -> int:
        """The number of zeros in each row."""
        return math.ceil(self.sparsity * self.shape[-1])

    @property
    def bounds(self) -> tuple[float, float]:
        return self._normal.bounds

    @cached_property
    @undisturbed
    def moments(self) -> Moments:
        left = 1 - self.zeros / max(1, self.shape[-1])
        if not left:
            return Moments(0.0, 0.0)
        mean, stddev, kurtosis = self._normal.moments
        return Moments(mean * left, stddev * math.sqrt(left), None if kurtosis is None else kurtosis / left)

    def rounds_to(self, dtype: DType) -> bool:
        return self._normal.rounds_to(dtype)

    def fill(self, out: Array, stream: Stream, region: Region | None = None) -> None:
        self._normal.fill(out, stream, region)
        if not self.zeros or not out.size:
            return
        columns = self.shape[1]
        region = parse_region(..., self.shape) if region is None else region
        (first, left), (count, width) = region.starts, region.lengths
        values, step = out[region.restored_axes], max(1, _CHUNK // columns)
        if columns > _CHUNK:
            for number, row in enumerate(values, first):
                self._zero_wide_row(row, stream, number, left)
            return
        for start in range(0, count, step):
            stop = min(start + step, count)
            zero = self._zeros_of_rows(stream, first + start, first + stop)
            values[start:stop][zero[:, left : left + width]] = 0.0

    def _words(self, stream: Stream, rows: slice, columns: slice) -> Array:
        """Random words. The zeros of a row are at the columns of the smallest ones, and of equal ones the first."""
        region = parse_region((rows, columns), self.shape)
        words = np.empty(region.shape, np.uint32)
        run_kernel("integers/32", stream.fold_in_wide(_OF_ZEROS), words, self.shape, region)
        return words

    def _zeros_of_rows(self, stream: Stream, start: int, stop: int) -> Array:
        """A mask of the zeros in whole rows."""
        words = self._words(stream, slice(start, stop), slice(None))
        order = words.astype(np.uint64) << np.uint64(32) | np.arange(self.shape[1], dtype=np.uint64)
        last = np.partition(order, self.zeros - 1, axis=1)[:, self.zeros - 1, None]
        return order <= last

    def _zero_wide_row(self, row: Array, stream: Stream, number: int, left: int) -> None:
        """Writes the zeros of columns of a row, from `left` on, in memory that does not grow with the row."""
        last, equal = self._last_word(stream, number)
        for start, words in self._words_of_row(stream, number, left + len(row)):
            is_equal = words == last
            zero = (words < last) | is_equal & (np.cumsum(is_equal) <= equal)
            equal -= np.count_nonzero(is_equal)
            part = row[max(start - left, 0) : max(start + len(words) - left, 0)]
            part[zero[len(words) - len(part) :]] = 0.0

    def _last_word(self, stream: Stream, number: int) -> tuple[int, int]:
        """The largest word of a zero in a row, and the number of zeros with this word: a radix sort's two steps."""
        counts = np.zeros(2**16, np.int64)
        for _, words in self._words_of_row(stream, number, self.shape[1]):
            counts += np.bincount(words >> 16, minlength=2**16)
        high, left = _place_of(self.zeros, counts)
        counts[:] = 0
        for _, words in self._words_of_row(stream, number, self.shape[1]):
            counts += np.bincount(words[words >> 16 == high] & 0xFFFF, minlength=2**16)
        low, left = _place_of(left, counts)
        return high << 16 | low, left

    def _words_of_row(self, stream: Stream, number: int, stop: int) -> Iterator[tuple[int, Array]]:
        """The words of a row up to a column, a part at a time, with the first column of each."""
        for start in range(0, stop, _CHUNK):
            columns = slice(start, min(start + _CHUNK, stop))
            yield start, self._words(stream, slice(number, number + 1), columns)[0]


def _place_of(number: int, counts: Array) -> tuple[int, int]:
    """The bin of the element of this number, counted from 1 in ascending order, and its number within the bin."""
    totals = np.cumsum(counts)
    place = int(np.searchsorted(totals, number))
    return place, number - int(totals[place] - counts[place])
