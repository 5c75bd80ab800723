"""Moments of numbers of any size, which are added up piece by piece."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fanin._core.types import Array
from fanin.audits.measuring.scratch import scratch

LOWEST = -1280  # the exponent of zeros, below that of the smallest subnormal number
_STEP = 256  # of exponents
ROW = 4096  # numbers whose inner product the libraries behind NumPy compute in one thread
_FAR = 16.0  # the square of a mean, by the variance, above which the moments about zero would lose digits


def exponent_of(largest: float) -> int:
    """The power of two by which numbers are divided, so that the sums of their fourth powers stay within float64.

    It is a multiple of 256: 0 for all but extreme numbers, and less than any other for zero, which has no size.

    >>> exponent_of(1.0), exponent_of(1e-30), exponent_of(1e300), exponent_of(0.0)
    (0, 0, 1024, -1280)
    """
    return LOWEST if largest == 0 else _STEP * round(math.frexp(largest)[1] / _STEP)


@dataclass(frozen=True)
class Moments:
    """Sums of powers of differences from the mean.

    Attributes:
        count: how many numbers there are.
        exponent: the power of two by which they were divided.
        mean: their mean.
        second, third, fourth: the sums of the powers of their differences from the mean.
    """

    count: int = 0
    exponent: int = LOWEST
    mean: float = 0.0
    second: float = 0.0
    third: float = 0.0
    fourth: float = 0.0

    @staticmethod
    def of(numbers: Array, squares: Array, exponent: int, second: float, fourth: float) -> Moments:
        """The moments of numbers, of which there are some.

        Args:
            numbers: the numbers, divided by a power of two.
            squares: their squares.
            exponent: the power of two.
            second, fourth: the sums of the squares and of the fourth powers.
        """
        moments = _central(numbers, squares, 0.0, exponent, second, fourth)
        if moments.mean**2 * moments.count <= _FAR * moments.second:
            return moments
        away = np.subtract(numbers, moments.mean, out=scratch("away", numbers.shape, np.float64))
        squares = np.multiply(away, away, out=scratch("squares away", numbers.shape, np.float64))
        second, fourth = product(away, away), product(squares, squares)
        return _central(away, squares, moments.mean, exponent, second, fourth)

    def scaled(self, exponent: int) -> Moments:
        """The same moments for a larger power of two."""
        if exponent == self.exponent:
            return self
        down = [math.ldexp(1.0, power * (self.exponent - exponent)) for power in (1, 2, 3, 4)]
        return Moments(
            self.count,
            exponent,
            self.mean * down[0],
            self.second * down[1],
            self.third * down[2],
            self.fourth * down[3],
        )

    def __add__(self, other: Moments) -> Moments:
        """The moments of both sets of numbers.

        References:
            T. F. Chan, G. H. Golub and R. J. LeVeque, "Updating formulae and a pairwise algorithm for computing sample
            variances", 1979; for the higher powers P. Pébay, "Formulas for robust, one-pass parallel computation of
            covariances and arbitrary-order statistical moments", Sandia report SAND2008-6212, 2008.
        """
        if not self.count or not other.count:
            return self if self.count else other
        exponent = max(self.exponent, other.exponent)
        first, last = self.scaled(exponent), other.scaled(exponent)
        count = first.count + last.count
        apart = last.mean - first.mean
        share, rest = last.count / count, first.count / count
        return Moments(
            count,
            exponent,
            first.mean + apart * share,
            first.second + last.second + apart**2 * share * first.count,
            first.third
            + last.third
            + apart**3 * share * first.count * (rest - share)
            + 3 * apart * (rest * last.second - share * first.second),
            first.fourth
            + last.fourth
            + apart**4 * share * first.count * (rest**2 - rest * share + share**2)
            + 6 * apart**2 * (rest**2 * last.second + share**2 * first.second)
            + 4 * apart * (rest * last.third - share * first.third),
        )

    @property
    def true_mean(self) -> float:
        """The mean of the numbers themselves."""
        return math.ldexp(self.mean, self.exponent)

    @property
    def stddev(self) -> float:
        """The standard deviation of the numbers themselves."""
        return math.ldexp(math.sqrt(max(0.0, self.second) / self.count), self.exponent) if self.count else math.nan

    @property
    def kurtosis(self) -> float:
        """The fourth moment by the square of the second, which is 3 for a normal distribution."""
        square = self.second * self.second
        return self.count * self.fourth / square if square > 0 else math.nan


def _central(away: Array, squares: Array, origin: float, exponent: int, square: float, fourth: float) -> Moments:
    """The moments of numbers by their differences from any origin, and the powers of those."""
    count = away.size
    left = float(away.sum()) / count
    cube = product(away, squares)
    return Moments(
        count,
        exponent,
        origin + left,
        square - count * left**2,
        cube - 3 * left * square + 2 * count * left**3,
        fourth - 4 * left * cube + 6 * left**2 * square - 3 * count * left**4,
    )


def product(first: Array, second: Array) -> float:
    """The inner product, in rows so short that the libraries behind NumPy start no threads for them."""
    first, second = first.reshape(-1), second.reshape(-1)
    even = first.size - first.size % ROW
    rows = np.vecdot(first[:even].reshape(-1, ROW), second[:even].reshape(-1, ROW))
    return float(rows.sum() + np.vecdot(first[even:], second[even:]))
