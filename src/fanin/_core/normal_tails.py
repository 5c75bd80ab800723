"""The normal distribution's probabilities and truncated moments, rounded correctly, whatever the machine: in decimals.

No library's erf or exp is asked, whose last bits differ between machines: a probability is a parameter of values.
"""

from __future__ import annotations

import math
from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_EVEN, Context, Decimal, localcontext
from functools import lru_cache
from typing import NamedTuple

FARTHEST = 36  # standard deviations: the tail beyond, times the smallest unit float, is still a normal float64
_NOTHING_BEYOND = Decimal(40)  # standard deviations: the tail is 0 as a float64
_DIGITS = 40  # that are left when the rest has cancelled
_HALF = Decimal("0.5")


class Interval(NamedTuple):
    """The probabilities of a normal variable about an interval, each with the accuracy of a float64.

    Attributes:
        below: of lying below the interval.
        above: of lying above it.
        width: of lying within it.
        centre: `below - 1/2`, without cancellation.
    """

    below: float
    above: float
    width: float
    centre: float


class _Tails(NamedTuple):
    """An interval in standard deviations, and the density and the distribution function less 1/2 at its ends."""

    low: Decimal
    high: Decimal
    densities: tuple[Decimal, Decimal]
    central: tuple[Decimal, Decimal]


def is_within_reach(mean: float, stddev: float, minval: float, maxval: float) -> bool:
    """Whether a part of the interval lies within `FARTHEST` standard deviations of the mean."""
    with localcontext(_context(_DIGITS)):
        low, high = (_standardised(each, mean, stddev) for each in (minval, maxval))
        return low <= FARTHEST and high >= -FARTHEST


@lru_cache(maxsize=256)
def interval(mean: float, stddev: float, minval: float, maxval: float) -> Interval:
    """The probabilities about [minval, maxval] of a normal variable; bounds may be infinite.

    >>> interval(0.0, 1.0, -1.0, 1.0)
    Interval(below=0.15865525393145705, above=0.15865525393145705, width=0.6826894921370859, centre=-0.3413447460685429)
    """
    with localcontext(_context(_digits(mean, stddev, minval, maxval, differences=1))):
        first, last = _tails(mean, stddev, minval, maxval).central
        return Interval(float(_HALF + first), float(_HALF - last), float(last - first), float(first))


@lru_cache(maxsize=256)
def truncated_moments(mean: float, stddev: float, minval: float, maxval: float) -> tuple[float, float, float]:
    """Mean, standard deviation and kurtosis of a normal variable between bounds.

    By the recurrence of the moments m of the unit variable, `m[k] = (k - 1) m[k - 2] + (a**(k - 1) phi(a) - b**(k - 1)
    phi(b)) / width` (Burkardt, "The truncated normal distribution", 2014).
    """
    with localcontext(_context(_digits(mean, stddev, minval, maxval, differences=5))):
        low, high, densities, central = _tails(mean, stddev, minval, maxval)
        width = central[1] - central[0]
        unit = [Decimal(0), Decimal(1)]
        for k in range(1, 5):
            ends = [
                _power(x, k - 1) * density if density else density
                for x, density in zip((low, high), densities, strict=True)
            ]
            unit.append((k - 1) * unit[-2] + (ends[0] - ends[1]) / width)
        _, _, first, second, third, fourth = unit
        variance = second - first**2
        spread = fourth - 4 * third * first + 6 * second * first**2 - 3 * first**4
        scale = Decimal(stddev)
        return float(Decimal(mean) + scale * first), float(scale * variance.sqrt()), float(spread / variance**2)


def _power(x: Decimal, exponent: int) -> Decimal:
    return x**exponent if exponent else Decimal(1)  # of which 0**0 has none


def _context(digits: int) -> Context:
    """Arithmetic with so many digits, whatever the caller's own context."""
    return Context(digits, ROUND_HALF_EVEN, MIN_EMIN, MAX_EMAX, capitals=1, clamp=0, flags=[], traps=[])


def _standardised(value: float, mean: float, stddev: float) -> Decimal:
    difference = Decimal(value) - Decimal(mean)
    if not difference or math.isinf(value):
        return difference
    return difference / Decimal(stddev) if stddev else difference * Decimal("Infinity")


def _digits(mean: float, stddev: float, minval: float, maxval: float, *, differences: int) -> int:
    """How many digits leave `_DIGITS` of them in the tails, and in the width after so many differences of its ends."""
    with localcontext(_context(_DIGITS)):
        low, high = (_standardised(each, mean, stddev) for each in (minval, maxval))
        reach = max((abs(each) for each in (low, high) if abs(each) < _NOTHING_BEYOND), default=Decimal(0))
        narrow = max(0, -(high - low).adjusted()) if (high - low).is_finite() and high != low else 0
        return _DIGITS + int(reach * reach * Decimal("0.22")) + differences * narrow


def _tails(mean: float, stddev: float, minval: float, maxval: float) -> _Tails:
    low, high = (_standardised(each, mean, stddev) for each in (minval, maxval))
    made = [_density_and_central(each) for each in (low, high)]
    return _Tails(low, high, (made[0][0], made[1][0]), (made[0][1], made[1][1]))


def _density_and_central(x: Decimal) -> tuple[Decimal, Decimal]:
    """The density, and the distribution function less 1/2: the density times the sum of x**(2n + 1) / (2n + 1)!!.

    All terms have one sign (Marsaglia, "Evaluating the normal distribution", Journal of Statistical Software 11, 2004).
    """
    if abs(x) > _NOTHING_BEYOND:
        return Decimal(0), _HALF.copy_sign(x)
    square, term, total, odd = x * x, x, Decimal(0), 1
    while total + term != total:
        total, odd = total + term, odd + 2
        term = term * square / odd
    density = (-square / 2).exp() / (2 * _pi()).sqrt()
    return density, density * total


def _pi() -> Decimal:
    """Pi to the context's digits, by Machin's formula."""
    with localcontext() as context:
        context.prec += 5
        return +(16 * _arctangent_of_inverse(5) - 4 * _arctangent_of_inverse(239))


def _arctangent_of_inverse(n: int) -> Decimal:
    power, total, odd = Decimal(1) / n, Decimal(0), 1
    while (term := power / odd) and total + term != total:
        total += term
        power /= -(n * n)
        odd += 2
    return total
