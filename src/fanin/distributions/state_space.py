"""The matrices of state space models: HiPPO's, and the diagonal ones that stand in for them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from fanin._core import angles
from fanin._core.environment import undisturbed
from fanin._core.reference64 import log
from fanin._core.types import Array
from fanin.distributions.formulas import Formula

_BLOCK = 2**16  # terms of the equations of eigenvalues that are summed at a time


@dataclass(frozen=True)
class Hippo(Formula):
    """The matrix A (…, n, n) or the column B (…, n) or (…, n, 1) of the system `x' = A x + B u`.

    The corner of an infinite matrix, so any numbers of rows and columns have values.

    Attributes:
        measure: "legs", "legt" or "lagt".
        part: "A" or "B".
    """

    measure: str
    part: str
    kind: ClassVar[str] = "hippo"

    @property
    def _row_axis(self) -> int:
        """The axis of the rows, the equations."""
        if self.part == "A":
            return -2
        return -2 if self.shape[-1] == 1 and len(self.shape) > 1 else -1

    def values(self, *indices: Array) -> Array:
        row = indices[self._row_axis]
        if self.part == "B":
            return np.ones(row.shape) if self.measure == "lagt" else np.sqrt(2.0 * row + 1.0)
        column = indices[-1]
        if self.measure == "lagt":
            return np.where(row >= column, -1.0, 0.0)
        product = np.sqrt((2.0 * row + 1.0) * (2.0 * column + 1.0))
        if self.measure == "legs":
            return np.where(row > column, -product, np.where(row == column, -(row + 1.0), 0.0))
        return np.where((row < column) & ((column - row) % 2 == 1), product, -product)

    def means(self) -> tuple[float, float]:
        if self.part == "B":
            return self.means_along(self._row_axis)
        rows, columns = self.shape[-2:]
        sums, squares = self._sums_of_rows(np.arange(rows), columns)
        return math.fsum(sums) / (rows * columns), math.fsum(squares) / (rows * columns)

    def _sums_of_rows(self, row: Array, columns: int) -> tuple[Array, Array]:
        """For each row of A, the sum of its values and that of their squares."""
        before = np.minimum(row, columns).astype(np.float64)  # columns before the diagonal
        within = row < columns  # rows that have an element on the diagonal
        if self.measure == "lagt":
            return -(before + within), before + within
        roots = np.sqrt(2.0 * np.arange(columns) + 1.0)
        below = np.append(0.0, np.cumsum(roots))
        root = np.sqrt(2.0 * row + 1.0)
        if self.measure == "legs":
            diagonal = within * (row + 1.0)
            sums = -root * below[np.minimum(row, columns)] - diagonal
            return sums, (2.0 * row + 1.0) * before * before + diagonal * diagonal
        alternating = np.append(0.0, np.cumsum(np.where(np.arange(columns) % 2, -roots, roots)))
        stop = np.minimum(row + 1, columns)
        above = (alternating[-1] - alternating[stop]) * np.where(row % 2, -1.0, 1.0)
        return -root * (below[stop] + above), (2.0 * row + 1.0) * float(columns) ** 2

    @property
    @undisturbed
    def bounds(self) -> tuple[float, float]:
        if not self.size:
            return 0.0, 0.0
        if self.part == "B":
            last = self.shape[self._row_axis] - 1
            return 1.0, 1.0 if self.measure == "lagt" else math.sqrt(2 * last + 1)
        rows, columns = self.shape[-2:]
        low = self._corner(rows, columns if self.measure == "legt" else min(rows, columns)).min()
        if columns == 1:
            return float(low), -1.0
        return float(low), float(self._corner(min(rows, columns), columns).max()) if self.measure == "legt" else 0.0

    def _corner(self, rows: int, columns: int) -> Array:
        """The last two rows and columns of a matrix of this size, where the largest values of either sign are."""
        row, column = np.arange(max(0, rows - 2), rows), np.arange(max(0, columns - 2), columns)
        return self.values(row[:, None], column)


_PI_LOW, _INVERSE_PI, _INVERSE_PI_LOW = (
    float.fromhex(each) for each in ("0x1.1a62633145c07p-53", "0x1.45f306dc9c883p-2", "-0x1.6b01ec5417056p-56")
)


@dataclass(frozen=True)
class S4D(Formula):
    """A diagonal (…, n) of A, with one number of each pair of conjugate ones, or a part of these numbers.

    Attributes:
        variant: "lin", "inv", "legs" or "real".
        part: "real", "imag", "log_real" (the logarithm of the negative real part), or None for complex numbers.
    """

    variant: str
    part: str | None
    kind: ClassVar[str] = "s4d"

    def values(self, *indices: Array) -> Array:
        number = indices[-1]
        if self.part == "imag":
            return self._imaginary(number)
        decay = number + 1.0 if self.variant == "real" else np.full(number.shape, 0.5)
        if self.part is None:
            value = np.empty(number.shape, np.complex128)
            value.real, value.imag = -decay, self._imaginary(number)
            return value
        return log(decay) if self.part == "log_real" else -decay

    def _imaginary(self, number: Array) -> Array:
        states = 2 * self.shape[-1]
        if self.variant == "real":
            return np.zeros(number.shape)
        if self.variant == "lin":
            return angles.rounded_product(number.astype(np.float64), math.pi, _PI_LOW)
        if self.variant == "inv":
            share = states * (states - (2.0 * number + 1.0)) / (2.0 * number + 1.0)
            return angles.rounded_product(share, _INVERSE_PI, _INVERSE_PI_LOW)
        return np.array(_legs_of(tuple(number.ravel().tolist()), states)).reshape(number.shape)

    def means(self) -> tuple[float, float]:
        return self.means_along(-1)

    @property
    @undisturbed
    def bounds(self) -> tuple[float, float]:
        if not self.size:
            return 0.0, 0.0
        ends = np.real(self.values(np.array([0, self.shape[-1] - 1])))  # values rise, or fall
        return float(ends.min()), float(ends.max())


@lru_cache(maxsize=4)  # the rows of a table have the same ones, and take long to solve
def _legs_of(numbers: tuple[int, ...], states: int) -> tuple[float, ...]:
    """The imaginary parts of these numbers, a block at a time."""
    rows, flat = max(1, _BLOCK // states), np.array(numbers, np.int64)
    blocks = [_legs_frequencies(flat[at : at + rows], states) for at in range(0, len(flat), rows)]
    return tuple(np.concatenate(blocks).tolist())


def _legs_frequencies(number: Array, states: int) -> Array:
    """The positive imaginary parts of the eigenvalues of HiPPO-LegS's normal part, the largest being number 0.

    The normal part is -1/2 on the diagonal and skew-symmetric beside it. For an eigenvector v with the eigenvalue
    -1/2 + i y, differences of successive rows of the equation tie v[n] to v[n + 1], and the first and the last row
    close the chain: the product over n of (1 + 2 i y / (2 n + 1)) has to be its own conjugate but for a known sign.
    So the angles atan((2 n + 1) / (2 y)) of its factors sum to (number + 1/2) pi, which Newton's method solves for 1
    / (2 y): the sum is concave, so from below no step passes the solution.
    """
    odd = 2.0 * np.arange(states) + 1.0
    unknown = (number + 0.5) * math.pi / float(states) ** 2  # if the arctangent were its argument
    while True:
        products = unknown[:, None] * odd
        is_large = products > 1.0
        # atan(x) = pi / 2 + atan(-1 / x) for large x, whose quarter turns are counted, so that no digits are lost.
        terms = angles.arctangent(np.where(is_large, -1.0 / products, products))
        quarters = 2 * number + 1 - is_large.sum(axis=-1)
        slope = angles.total(odd / (1.0 + products * products))
        step = (quarters * (math.pi / 2) - angles.total(terms)) / slope
        following = np.maximum(unknown, unknown + step)  # rounding may point back: the end
        if np.array_equal(following, unknown):
            return 0.5 / unknown
        unknown = following
