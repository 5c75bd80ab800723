"""Singular values of blocks of tensors, and the laws that they have in theory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fanin._core import dtypes
from fanin._core.types import Array, Shape
from fanin.audits.measuring.subjects import Subject
from fanin.checkpoints.files import CheckpointError
from fanin.checkpoints.stored import Stored
from fanin.recipes.entry import Box
from fanin.report import number

MOST_TENSORS = 64  # whose singular values an audit computes
_SHORT, _LONG = 256, 512  # the longest sides of a block
_MOST = 1e100  # elements, of which squares and densities are numbers, too
_FEWEST = 8  # rows or columns whose singular values say something


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The singular values of a block of a tensor, seen as a matrix of (fan_in, fan_out).

    Attributes:
        values: the singular values, in descending order.
        rows, columns: the shape of the block.
        shape: that of the whole matrix.
        rms: the root mean square of the block's elements.
    """

    values: tuple[float, ...]
    rows: int
    columns: int
    shape: tuple[int, int]
    rms: float

    @property
    def is_whole(self) -> bool:
        """Whether the block is the whole matrix."""
        return (self.rows, self.columns) == self.shape

    @property
    def is_of_whole_vectors(self) -> bool:
        """Whether the block has the longer side of the matrix in full, so that its vectors are whole ones."""
        return (self.rows, self.columns)[self.shape[0] < self.shape[1]] == max(self.shape)


def marchenko_pastur(values: Array, rows: int, columns: int, rms: float) -> tuple[Array, tuple[float, float]]:
    """The density of the singular values of a matrix of independent elements with mean 0, and its edges.

    With p the shorter and n the longer side, and σ the root mean square, the density of s between the edges
    `σ (√n ± √p)` is `√((b² - s²) (s² - a²)) / (π σ² p s)`. It holds in the limit of large matrices, whatever the
    elements' distribution.

    Args:
        values: where to compute it.
        rows, columns: the shape of the matrix.
        rms: the root mean square of its elements.

    Returns:
        The density at the values, and both edges.

    References: V. A. Marchenko and L. A. Pastur, "Distribution of eigenvalues for some sets of random matrices",
    Mathematics of the USSR-Sbornik 1, 1967.

    >>> import numpy as np
    >>> density, edges = marchenko_pastur(np.array([10.0]), 64, 256, 1.0)
    >>> density.round(3).tolist(), edges
    ([0.065], (8.0, 24.0))
    """
    short, long = sorted((rows, columns))
    low, high = math.sqrt(long) - math.sqrt(short), math.sqrt(long) + math.sqrt(short)
    scaled = np.asarray(values, np.float64) / rms  # so that no square overflows
    with np.errstate(all="ignore"):
        inside = np.maximum((high**2 - scaled**2) * (scaled**2 - low**2), 0.0)
        density = np.sqrt(inside) / (math.pi * short * scaled)
    if not low:  # of a square matrix: a quarter of a circle
        density = np.sqrt(np.maximum(high**2 - scaled**2, 0.0)) / (math.pi * short)
    inner = (scaled >= low) & (scaled <= high)
    return np.where(inner, density, 0.0) / rms, (low * rms, high * rms)


def measured_spectrum(stored: Stored, axes: Shape | None = None, *, is_orthogonal: bool = False) -> Spectrum | str:
    """The singular values of a block of a tensor, or why there are none.

    The block has at most 256×512 elements. It is the whole matrix, if that is no larger; else its beginning. Of an
    orthogonal matrix, whose blocks are not orthogonal, it has whole rows or columns, whichever are longer.

    Args:
        stored: the tensor.
        axes: its axes in Keras's order, in which the last one is that of the outputs; None if they are not known.
        is_orthogonal: whether it should be orthogonal.
    """
    if stored.dtype is None or dtypes.kind(stored.dtype) not in ("float", "complex"):
        return "Its elements are no floating-point numbers."
    if len(stored.shape) < 2 or min(stored.shape) < 1:
        return "It is no matrix."
    order = axes if axes is not None and len(axes) == len(stored.shape) else _likely_axes(stored.shape)
    inputs, outputs = order[:-1], order[-1:]
    whole = math.prod(stored.shape[axis] for axis in inputs), stored.shape[outputs[0]]
    if min(whole) < _FEWEST:
        return f"As a matrix, it is {whole[0]}×{whole[1]}: too small for singular values to say something."
    box = _box(stored.shape, inputs, outputs, _sides(whole, is_orthogonal))
    try:
        block = _read(stored, box)
    except (CheckpointError, OSError) as error:
        return f"It cannot be read: {error}"
    matrix = block.transpose(order).reshape(-1, block.shape[outputs[0]])
    return _of_matrix(matrix, whole)


def _of_matrix(matrix: Array, whole: tuple[int, int]) -> Spectrum | str:
    if not np.isfinite(matrix).all():
        return "Some elements of the block are NaN or infinite."
    largest = float(np.abs(matrix).max())
    if not largest:
        return "Every element of the block is 0."
    if not 1 / _MOST < largest < _MOST:
        return f"Its elements reach {number(largest, 3)}: no axis shows such numbers well."
    scaled = matrix / largest  # so that nothing overflows
    values = np.linalg.svd(scaled, compute_uv=False) * largest
    rms = float(np.sqrt(np.mean(np.abs(scaled) ** 2))) * largest
    rows, columns = matrix.shape
    return Spectrum(tuple(values.tolist()), rows, columns, whole, rms)


def _likely_axes(shape: Shape) -> Shape:
    """The axes in Keras's order, by the place of the shorter ones, which are those of a window."""
    if len(shape) > 2 and math.prod(shape[2:]) < math.prod(shape[:-2]):  # PyTorch's: outputs, inputs, window
        return (*range(2, len(shape)), 1, 0)
    return tuple(range(len(shape)))


def _sides(whole: tuple[int, int], is_orthogonal: bool) -> tuple[int, int]:
    """The longest sides of a block."""
    short, long = (_SHORT, _LONG) if not is_orthogonal else (max(1, _SHORT * _LONG // max(whole)), max(whole))
    return (short, long) if whole[0] <= whole[1] else (long, short)


def _box(shape: Shape, inputs: Sequence[int], outputs: Sequence[int], sides: tuple[int, int]) -> Box:
    """The box of a tensor that is a block of so many rows and columns at most."""
    lengths = list(shape)
    for axes, most in ((inputs, sides[0]), (outputs, sides[1])):
        left = most
        for axis in axes:
            lengths[axis] = min(shape[axis], max(1, left))
            left //= lengths[axis]
    return tuple((0, length) for length in lengths)


def _read(stored: Stored, box: Box) -> Array:
    """The elements of a box, as float64 or complex128."""
    subject = Subject.of(stored, box)
    out = np.zeros(subject.shape, np.complex128 if subject.elements.numbers > 1 else np.float64)
    for starts, part in subject.parts():
        numbers = subject.elements.as_numbers(np.ascontiguousarray(part))
        values = numbers[..., 0] if subject.elements.numbers == 1 else numbers[..., 0] + 1j * numbers[..., 1]
        out[tuple(slice(start, start + length) for start, length in zip(starts, part.shape, strict=True))] = values
    return out
