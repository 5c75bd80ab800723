"""What is added up of a tensor, or of a part of it, a block that fits into the processor's cache at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from fanin._core.environment import undisturbed
from fanin._core.shapes import chunks
from fanin._core.types import Array, Shape
from fanin.audits.measuring import fingerprints
from fanin.audits.measuring.elements import Elements, grids_of
from fanin.audits.measuring.lines import Halves, LineSums
from fanin.audits.measuring.moments import LOWEST, ROW, Moments, exponent_of, product
from fanin.audits.measuring.sampling import first_index, is_run, sampled
from fanin.audits.measuring.scratch import scratch
from fanin.checkpoints.stored import Slices

_LEAST_SQUARE = 1e-290  # squares below it may have lost digits, or be those of zeros
_FEW = 16  # columns, over which NumPy's sums are slow


@dataclass
class Sums:
    """What is added up.

    Attributes:
        halves: how the tensor is seen as a matrix.
        elements: how its elements are read.
        size: the number of elements so far.
        nans, infinities, zeros, subnormals: how many numbers are that.
        moments: those of the finite numbers.
        low, high, at_low, at_high: the extremes of the finite numbers, and how many are that.
        exponent: the power of two that the squares of the rows and columns, and `fourth`, are divided by (twice, and
            four times).
        fourth: the sum of the squares of the elements' squares.
        fingerprint: the hash of all words.
        grids: narrower dtypes that have all finite numbers.
        rows, columns: the sums of the matrix's rows and columns; None if they are not kept.
        sample: the numbers of the sample, and their places in it.
    """

    halves: Halves
    elements: Elements
    grids: tuple[str, ...]
    rows: LineSums | None
    columns: LineSums | None
    size: int = 0
    nans: int = 0
    infinities: int = 0
    zeros: int = 0
    subnormals: int = 0
    moments: Moments = field(default_factory=Moments)
    low: float = math.inf
    high: float = -math.inf
    at_low: int = 0
    at_high: int = 0
    exponent: int = LOWEST
    fourth: float = 0.0
    fingerprint: int = 0
    sample: list[tuple[Array | slice, Array]] = field(default_factory=list)

    @staticmethod
    def empty(halves: Halves, elements: Elements, lengths: Shape) -> Sums:
        """Sums of nothing, for a region of these lengths."""
        rows, columns = (
            (LineSums.empty(lengths[: halves.split]), LineSums.empty(lengths[halves.split :]))
            if halves.are_kept
            else (None, None)
        )
        return Sums(halves, elements, elements.grids, rows, columns)

    def add(self, other: Sums, starts: Shape, lengths: Shape) -> None:
        """Adds those of a part."""
        self.size += other.size
        self.nans += other.nans
        self.infinities += other.infinities
        self.zeros += other.zeros
        self.subnormals += other.subnormals
        self.moments += other.moments
        self.at_low = _tally(self.low, self.at_low, other.low, other.at_low)
        self.at_high = _tally(-self.high, self.at_high, -other.high, other.at_high)
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self._raise_exponent(other.exponent)
        down = math.ldexp(1.0, 2 * (other.exponent - self.exponent))
        self.fourth += other.fourth * down * down
        self.grids = tuple(each for each in self.grids if each in other.grids)
        self.sample += other.sample
        self.fingerprint = (self.fingerprint + other.fingerprint) % 2**64
        place = tuple(slice(start, start + length) for start, length in zip(starts, lengths, strict=True))
        if self.rows and self.columns and other.rows and other.columns:
            self.rows.add(other.rows, place[: self.halves.split], down)
            self.columns.add(other.columns, place[self.halves.split :], down)

    def _raise_exponent(self, exponent: int) -> None:
        """Divides what is there by a larger power of two."""
        if exponent <= self.exponent:
            return
        down = math.ldexp(1.0, 2 * (self.exponent - exponent))
        self.fourth *= down * down
        self.exponent = exponent
        for lines in (self.rows, self.columns):
            if lines is not None:
                lines.squares *= down


def _tally(low: float, count: int, other_low: float, other_count: int) -> int:
    """How many numbers are the smaller of two minima, of each of which so many are."""
    return count * (low <= other_low) + other_count * (other_low <= low)


@undisturbed
@np.errstate(all="ignore")
def sums_of(before: Sums, starts: Shape, array: Array) -> Sums:
    """The sums of a region of a tensor.

    Args:
        before: those of other regions of the tensor, which may grow meanwhile. What they rule out is not looked for.
        starts: where the region begins.
        array: its elements.
    """
    halves, elements = before.halves, before.elements
    sums = Sums.empty(halves, elements, array.shape)
    sums.low, sums.high, sums.grids = before.low, before.high, before.grids
    sums.sample.append(sampled(halves.shape, elements, starts, array))
    for place in _blocks(array.shape, elements.words):
        block = np.ascontiguousarray(array[place])
        begin = tuple(start + each.start for start, each in zip(starts, place, strict=True))
        inner = tuple(each.start for each in place)
        sums.add(_Block(halves, elements, begin, block).sums(sums), inner, block.shape)
    return sums


def _blocks(lengths: Shape, words: int) -> Iterator[Slices]:
    """Regions that tile an array, each small enough for the processor's cache."""
    for chunk in chunks(lengths, fingerprints.MOST // words):
        yield tuple(slice(*each) for each in chunk)


class _Block:
    """A few elements, as a matrix."""

    def __init__(self, halves: Halves, elements: Elements, starts: Shape, block: Array) -> None:
        split = halves.split
        self._halves, self._elements, self._starts, self._shape = halves, elements, starts, block.shape
        self._rows, self._columns = math.prod(block.shape[:split]), math.prod(block.shape[split:])
        self._given = elements.as_numbers(block).reshape(self._rows, -1)
        self._words = elements.as_words(block).reshape(self._rows, -1)

    def sums(self, before: Sums) -> Sums:
        """All of its sums.

        Args:
            before: those of the blocks before it. What they rule out is not looked for.
        """
        low, high = float(self._given.min()), float(self._given.max())
        finite, nans = self._given.reshape(-1), 0
        if not (math.isfinite(low) and math.isfinite(high)):
            finite, nans = self._given[np.isfinite(self._given)], int(np.count_nonzero(np.isnan(self._given)))
            low, high = float(finite.min(initial=math.inf)), float(finite.max(initial=-math.inf))
        exponent = exponent_of(max(-low, high)) if finite.size else LOWEST
        numbers, squares = self._squares(exponent, finite.size < self._given.size)
        zeros, subnormals = self._small(finite, squares, exponent)
        parts, fourth = squares, product(squares, squares)
        if self._elements.numbers > 1:
            squares = squares.reshape(self._rows, self._columns, -1).sum(-1)
        row_squares = self._row_squares(numbers, squares)
        moments = self._moments(finite, numbers, parts, exponent, float(row_squares.sum()), fourth)
        fingerprint, rows, columns = self._lines(squares, row_squares, zeros > 0)
        return Sums(
            self._halves,
            self._elements,
            grids=grids_of(finite[:1] if low == high else finite, before.grids),
            rows=rows,
            columns=columns,
            size=self._rows * self._columns,
            nans=nans,
            infinities=self._given.size - finite.size - nans,
            zeros=zeros,
            subnormals=subnormals,
            moments=moments,
            low=low + 0.0,  # of -0.0, zero
            high=high + 0.0,
            at_low=self._count_of(finite, low) if low <= before.low else 0,
            at_high=self._count_of(finite, high) if high >= before.high else 0,
            exponent=exponent,
            fourth=fourth if squares is parts else product(squares, squares),
            fingerprint=fingerprint,
        )

    def _squares(self, exponent: int, has_others: bool) -> tuple[Array, Array]:
        """The numbers, divided by a power of two and with 0 for those that are not finite, and their squares."""
        numbers = scratch("numbers", self._given.shape, np.float64)
        np.copyto(numbers, self._given)
        if has_others:
            numbers[~np.isfinite(self._given)] = 0
        if exponent not in (0, LOWEST):
            np.ldexp(numbers, -exponent, out=numbers)
        return numbers, np.multiply(numbers, numbers, out=scratch("squares", numbers.shape, np.float64))

    def _row_squares(self, numbers: Array, squares: Array) -> Array:
        """The sum of the squares of each row's elements."""
        if self._columns < _FEW:
            return squares @ np.ones(self._columns)
        is_short = numbers.shape == squares.shape and self._columns <= ROW
        return np.vecdot(numbers, numbers) if is_short else squares.sum(1)

    def _moments(
        self, finite: Array, numbers: Array, squares: Array, exponent: int, second: float, fourth: float
    ) -> Moments:
        """The moments of the finite numbers. The others are 0 in the sums of powers, and do not matter there."""
        if not finite.size:
            return Moments()
        if finite.size < numbers.size:
            chosen = np.isfinite(self._given)
            return Moments.of(numbers[chosen], squares[chosen], exponent, second, fourth)
        return Moments.of(numbers.reshape(-1), squares.reshape(-1), exponent, second, fourth)

    def _count_of(self, finite: Array, number: float) -> int:
        """How many finite numbers are this one."""
        return int(np.count_nonzero(np.equal(finite, number, out=scratch("flags", finite.shape, bool))))

    def _small(self, finite: Array, squares: Array, exponent: int) -> tuple[int, int]:
        """How many numbers are zero, and how many are subnormal."""
        smallest = self._elements.smallest
        if exponent == 0 and squares.min() >= max(smallest * smallest, _LEAST_SQUARE):
            return 0, 0
        zeros = self._count_of(finite, 0.0)
        if not smallest:
            return zeros, 0
        sizes = np.abs(finite, out=scratch("sizes", finite.shape, finite.dtype))
        below = np.less(sizes, smallest, out=scratch("flags", finite.shape, bool))
        return zeros, int(np.count_nonzero(below)) - zeros

    def _lines(
        self, squares: Array, row_squares: Array, has_zeros: bool
    ) -> tuple[int, LineSums | None, LineSums | None]:
        """The hash of the block, and the sums of its rows and columns."""
        halves, words = self._halves, scratch("words", self._words.shape, np.uint64)
        np.copyto(words, self._words)
        across, down = self._factors()
        row_hashes = np.einsum("ij,j->i", words, across[0]) * across[1]
        fingerprint = int((row_hashes * down).sum())
        if not halves.are_kept:
            return fingerprint, None, None
        column_hashes = np.einsum("ij,i->j", words, down)
        if halves.words > 1:  # the words of an element, which lie in one column
            factors = fingerprints.first_powers(halves.words)
            column_hashes = (column_hashes.reshape(-1, halves.words) * factors).sum(1)
        alive = self._alive(has_zeros)
        lead, trail = self._shape[: halves.split], self._shape[halves.split :]
        rows = LineSums(row_squares.reshape(lead), row_hashes.reshape(lead), alive[0].reshape(lead))
        columns = LineSums(squares.sum(0).reshape(trail), column_hashes.reshape(trail), alive[1].reshape(trail))
        return fingerprint, rows, columns

    def _alive(self, has_zeros: bool) -> tuple[Array, Array]:
        """Which rows and which columns have an element other than zero."""
        if not has_zeros:
            return np.ones(self._rows, bool), np.ones(self._columns, bool)
        alive = self._given != 0
        return alive.any(1), alive.any(0).reshape(self._columns, -1).any(1)

    def _factors(self) -> tuple[tuple[Array, np.uint64], Array]:
        """The factors of the hashes: of the words of a row, with one more for all of them, and of the rows."""
        split, words = self._halves.split, self._halves.words
        shape, starts, lengths = self._halves.shape, self._starts, self._shape
        trail = shape[split:]
        begin = first_index(trail, starts[split:]) * words
        if is_run(trail, lengths[split:]):
            across = fingerprints.first_powers(self._columns * words), fingerprints.power(begin)
        else:
            inner = (_indices(trail, starts[split:], lengths[split:])[:, None] * words + np.arange(words)).reshape(-1)
            across = fingerprints.powers(inner), np.uint64(1)
        rows = _indices(shape[:split], starts[:split], lengths[:split])
        return across, fingerprints.powers(rows * (math.prod(trail) * words))


def _indices(shape: Shape, starts: Shape, lengths: Shape) -> Array:
    """The indices, in C order, of the elements of a region."""
    indices = np.zeros((), np.int64)
    for length, start, count in zip(shape, starts, lengths, strict=True):
        indices = indices[..., None] * length + np.arange(start, start + count)
    return indices.reshape(-1)
