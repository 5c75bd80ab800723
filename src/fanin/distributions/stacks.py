"""Matrices within a tensor: several in batches and groups, or one at the centre of a kernel."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from fanin._core.environment import undisturbed
from fanin._core.memory import fill_constant
from fanin._core.shapes import Region, parse_region
from fanin._core.streams import Stream
from fanin._core.types import Array, DType, Shape
from fanin.distributions.base import Distribution, Moments
from fanin.distributions.matrices import Identity, fill_diagonals


def _with_all_axes(out: Array, shape: Shape, region: Region | None) -> tuple[Array, Region]:
    """The array with the axes that integer indices dropped, and the region, which may be the whole."""
    if region is None:
        return out, parse_region(..., shape)
    return out[(*region.restored_axes, ...)], region


def _fill_part(matrix: Distribution, out: Array, stream: Stream, starts: Shape) -> None:
    """Fills an array with the region of a matrix that begins there."""
    region = None if out.shape == matrix.shape else Region(matrix.shape, starts, out.shape, (False,) * out.ndim)
    matrix.fill(out, stream, region)


@dataclass(frozen=True)
class Matrices(Distribution):
    """Matrices of one kind in a tensor: one for each index of the batch axes and each group of columns.

    The first one has the tensor's stream. Number k > 0, counted in C order, has that stream with k folded in.

    Attributes:
        matrix: one of them. Its axes are the tensor's other axes, in their order, with the columns last.
        column_axis: the tensor's axis of the columns.
        batch_axes: its axes that number matrices, in ascending order.
        groups: the number of equal parts of the column axis that are matrices of their own.
    """

    matrix: Distribution
    column_axis: int
    batch_axes: tuple[int, ...] = ()
    groups: int = 1

    def parameters(self) -> dict[str, Any]:
        places = {"column_axis": self.column_axis, "batch_axes": list(self.batch_axes), "groups": self.groups}
        return {**self.matrix.parameters(), **places}

    @property
    def bounds(self) -> tuple[float, float]:
        return self.matrix.bounds

    @cached_property
    def moments(self) -> Moments:
        return self.matrix.moments

    def rounds_to(self, dtype: DType) -> bool:
        return self.matrix.rounds_to(dtype)

    def reserve(self, region: Region | None = None) -> None:
        self.matrix.reserve()  # one is made at a time

    def fill(self, out: Array, stream: Stream, region: Region | None = None) -> None:
        if not out.size:
            return
        out, region = _with_all_axes(out, self.shape, region)
        rows = [axis for axis in range(len(self.shape)) if axis != self.column_axis and axis not in self.batch_axes]
        row_starts = tuple(region.starts[axis] for axis in rows)
        batched = out.transpose(*self.batch_axes, *rows, self.column_axis)
        for number, batch in self._batches(region):
            for group, columns, start in self._groups(region):
                k = number * self.groups + group
                of_one = stream.fold_in_wide(k) if k else stream
                _fill_part(self.matrix, batched[(*batch, ..., columns)], of_one, (*row_starts, start))

    def _batches(self, region: Region) -> Iterator[tuple[int, tuple[int, ...]]]:
        """The number of each batch index that a region has, and that index within the region, one at a time."""
        for flat in range(math.prod(region.lengths[axis] for axis in self.batch_axes)):
            batch, number, step = [], 0, 1
            for axis in reversed(self.batch_axes):
                flat, index = divmod(flat, region.lengths[axis])
                batch.append(index)
                number += step * (region.starts[axis] + index)
                step *= self.shape[axis]
            yield number, tuple(reversed(batch))

    def _groups(self, region: Region) -> Iterator[tuple[int, slice, int]]:
        """Each group that a region has columns of: its number, its columns within the region, and the first one's own
        number within the group."""
        width = self.shape[self.column_axis] // self.groups
        first = region.starts[self.column_axis]
        end = first + region.lengths[self.column_axis]
        for group in range(first // width, -(-end // width)):
            low, high = max(first, group * width), min(end, (group + 1) * width)
            yield group, slice(low - first, high - first), low - group * width


@dataclass(frozen=True)
class OrthogonalMatrices(Matrices):
    """Several matrices with orthonormal rows or columns."""

    kind: ClassVar[str] = "orthogonal"
    random: ClassVar[bool] = True
    is_made_whole: ClassVar[bool] = True


@dataclass(frozen=True)
class IdentityMatrices(Matrices):
    """Several identities, which are filled all at once."""

    matrix: Identity
    kind: ClassVar[str] = "identity"

    def fill(self, out: Array, stream: Stream, region: Region | None = None) -> None:
        fill_constant(out, self.matrix.gain * 0.0)
        if not out.size:
            return
        out, region = _with_all_axes(out, self.shape, region)
        (rows,) = (axis for axis in range(len(self.shape)) if axis not in (*self.batch_axes, self.column_axis))
        matrices = out.transpose(*self.batch_axes, rows, self.column_axis)
        fill_diagonals(matrices, region.starts[rows], region.starts[self.column_axis], self.matrix.gain)


@dataclass(frozen=True)
class DeltaOrthogonal(Distribution):
    """An orthogonal matrix at the centre of a convolution's kernel, and zeros elsewhere.

    Attributes:
        matrix: the matrix, of the kernel's last two axes.
    """

    matrix: Distribution
    kind: ClassVar[str] = "delta_orthogonal"
    random: ClassVar[bool] = True
    is_made_whole: ClassVar[bool] = True

    def parameters(self) -> dict[str, Any]:
        return self.matrix.parameters()

    @property
    def bounds(self) -> tuple[float, float]:
        return self.matrix.bounds

    @cached_property
    @undisturbed
    def moments(self) -> Moments:
        window = math.prod(self.shape[:-2])
        return Moments(0.0, self.matrix.moments.stddev / math.sqrt(max(1, window)))

    def rounds_to(self, dtype: DType) -> bool:
        return self.matrix.rounds_to(dtype)

    def reserve(self, region: Region | None = None) -> None:
        if region is None or self._centre_within(region) is not None:
            self.matrix.reserve()

    def _centre_within(self, region: Region) -> Shape | None:
        """The place of the matrix within a region; None if the region has no element of it."""
        places = tuple((length - 1) // 2 - start for length, start in zip(self.shape[:-2], region.starts, strict=False))
        touched = all(0 <= place < length for place, length in zip(places, region.lengths, strict=False))
        return places if touched and all(region.lengths) else None

    def fill(self, out: Array, stream: Stream, region: Region | None = None) -> None:
        fill_constant(out, 0.0)
        out, region = _with_all_axes(out, self.shape, region)
        centre = self._centre_within(region)
        if centre is not None:
            _fill_part(self.matrix, out[centre], stream, region.starts[-2:])
