"""Rows and columns: what is added up of each, and what that says."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fanin._core.shapes import c_strides
from fanin._core.types import Array, Shape
from fanin.audits.measuring import fingerprints
from fanin.checkpoints.stored import Slices

MOST_LINES = 2**21  # of which anything is kept


@dataclass(frozen=True)
class Lines:
    """The rows of a tensor along one axis, each with all elements of the other axes.

    Attributes:
        axis: the axis.
        count: the number of rows.
        length: the number of elements of each.
        dead: the rows whose elements are all zero, if others are not, as (start, stop) ranges.
        repeated: ranges of rows that have the values of earlier ones, bit for bit: (start, stop, start of the earlier).
            Rows of equal elements (such as zeros) do not count.
        dispersion: the variance of the rows' mean squares, divided by what it is for independent elements of the
            tensor's own kurtosis: about 1 for weights that were drawn, more for those that were trained; NaN if that
            is unknown. The squares of complex elements are those of their absolute values. Times `count` - 1, it has
            about a chi-squared distribution of as many degrees of freedom.
        dispersion_error: its standard error for independent elements.
    """

    axis: int
    count: int
    length: int
    dead: tuple[tuple[int, int], ...] = ()
    repeated: tuple[tuple[int, int, int], ...] = ()
    dispersion: float = float("nan")
    dispersion_error: float = float("nan")


@dataclass(frozen=True)
class Halves:
    """How a tensor is seen as a matrix: its first axes number the rows, and its last ones the columns.

    Sums over the rows and over the columns of the matrix are all that it takes for those along every axis, and the
    matrix is as square as may be, so that there are few of them.

    Attributes:
        shape: the tensor's shape.
        split: the number of first axes.
        words: the number of words of an element.
    """

    shape: Shape
    split: int
    words: int

    @staticmethod
    def of(shape: Shape, words: int) -> Halves:
        """The split that leaves the fewest rows and columns."""
        splits = range(1, len(shape)) if len(shape) > 1 else range(1)
        best = min(splits, key=lambda split: math.prod(shape[:split]) + math.prod(shape[split:]))
        return Halves(shape, best, words)

    @property
    def are_kept(self) -> bool:
        """Whether the sums of rows and columns are kept, since there are not too many."""
        halves = self.shape[: self.split], self.shape[self.split :]
        return len(self.shape) > 1 and all(math.prod(half) <= MOST_LINES for half in halves)

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes whose lines are kept: the first two and the last two, which are outputs and inputs somewhere.

        PyTorch has outputs and inputs first, in (outputs, inputs, height, width), and Keras has them last.
        """
        rank = len(self.shape)
        return tuple(axis for axis in range(rank) if axis < 2 or axis >= rank - 2) if self.are_kept else ()


@dataclass
class LineSums:
    """What is kept of the rows, or of the columns, of a matrix or a part of it.

    Attributes:
        squares: the sum of the elements' squares in each.
        hashes: the hash of each.
        alive: whether it has an element other than zero.
    """

    squares: Array
    hashes: Array
    alive: Array

    @staticmethod
    def empty(shape: Shape) -> LineSums:
        """Sums of nothing."""
        return LineSums(np.zeros(shape), np.zeros(shape, np.uint64), np.zeros(shape, bool))

    def add(self, other: LineSums, place: Slices, down: float = 1.0) -> None:
        """Adds those of a part. Its squares are multiplied by `down`."""
        self.squares[place] += other.squares if down == 1 else other.squares * down
        self.hashes[place] += other.hashes
        self.alive[place] |= other.alive

    def along(self, axis: int, words: int, inner: int) -> LineSums:
        """The sums along one of the axes.

        Args:
            axis: the axis.
            words: the number of words of an element.
            inner: how many elements lie between neighbors along the last axis.
        """
        shape = self.squares.shape
        others = tuple(each for each in range(len(shape)) if each != axis)
        indices = np.zeros((1,) * len(shape), np.int64)
        for other in others:
            # The place within a line, so that lines of equal values have equal hashes.
            column = np.arange(shape[other], dtype=np.int64) * (c_strides(shape)[other] * inner * words)
            indices = indices + column.reshape([-1 if each == other else 1 for each in range(len(shape))])
        hashes = (self.hashes * fingerprints.powers(indices)).sum(axis=others, dtype=np.uint64)
        return LineSums(self.squares.sum(axis=others), hashes, np.logical_or.reduce(self.alive, axis=others))


def dispersion(squares: Array, length: int, total: float, fourth: float) -> tuple[float, float]:
    """How much the mean squares of lines vary, by how much they would for independent elements, and its standard error.

    The elements' squares are what they are, and independence means that they are dealt to the lines at random. The
    ratio is then 1 on average, and (count - 1) / (size - 1) times it has about a beta distribution, whatever the
    squares' own distribution.

    Args:
        squares: the sum of the squares of each line.
        length: the number of elements of each line.
        total: the sum of all squares.
        fourth: the sum of their squares.

    References:
        E. J. G. Pitman, "Significance tests which may be applied to samples from any populations: III. The analysis of
        variance test", Biometrika 29, 1938.
    """
    count, size = len(squares), len(squares) * length
    if count < 2 or length < 2:
        return math.nan, math.nan
    spread = (fourth - total * total / size) / (size - 1)
    if not spread > 1e-12 * fourth / size:  # squares that are all the same but for rounding
        return math.nan, math.nan
    ratio = float(np.var(squares / length, ddof=1)) * length / spread
    return ratio, math.sqrt(2 / (count - 1) * (size - count) / (size + 1))


def ranges(flags: Array) -> tuple[tuple[int, int], ...]:
    """The (start, stop) ranges of what is true.

    >>> ranges(np.array([True, True, False, True]))
    ((0, 2), (3, 4))
    """
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    return tuple((int(start), int(stop)) for start, stop in edges.reshape(-1, 2))
