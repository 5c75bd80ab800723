"""Probabilities and truncated moments in decimals, against SciPy's where those are accurate, and against integrals."""

import decimal
import math
from fractions import Fraction
from typing import Any

import pytest

from fanin._core.normal_tails import FARTHEST, interval, is_within_reach, truncated_moments

special: Any = pytest.importorskip("scipy.special")

BOUNDS = [
    (-1.0, 1.0),
    (-2.0, 0.5),
    (0.0, 1e-9),
    (3.0, 4.0),
    (10.0, 11.0),
    (-36.0, -35.5),
    (1.0, math.inf),
    (-math.inf, 0.3),
]


@pytest.mark.parametrize(("low", "high"), BOUNDS)
def test_probabilities(low: float, high: float) -> None:
    """They are SciPy's to its accuracy, and add up to 1."""
    below, above, width, centre = interval(0.0, 1.0, low, high)
    assert math.isclose(below, special.ndtr(low), rel_tol=1e-11)
    assert math.isclose(above, special.ndtr(-high), rel_tol=1e-11)
    assert math.isclose(centre, special.erf(low / math.sqrt(2)) / 2, rel_tol=1e-14)
    assert math.isclose(below + width + above, 1.0, rel_tol=4e-16)


def test_narrow_intervals_keep_their_digits() -> None:
    """The width of an interval of one unit in the last place is the density times that unit."""
    for low in (0.0, 0.7, 5.0, 20.0):
        high = math.nextafter(low, 100)
        density = math.exp(-(low**2) / 2) / math.sqrt(2 * math.pi)
        assert math.isclose(interval(0.0, 1.0, low, high).width, density * (high - low), rel_tol=1e-12)


def test_bounds_are_standardised_exactly() -> None:
    """Not by a float that was rounded: 0.3 - 0.1 is not 0.2."""
    exact = (Fraction(0.3) - Fraction(0.1)) / Fraction(0.2)
    assert exact != 1
    below = interval(0.1, 0.2, 0.3, math.inf).below
    assert below == interval(0.0, 1.0, float(exact), math.inf).below


def numerical_moments(low: float, high: float) -> tuple[float, float, float]:
    """Mean, standard deviation and kurtosis by Gauss's quadrature around the end that has the most weight."""
    points, weights = special.roots_legendre(200)
    high = min(high, max(low, 0.0) + 40 / max(1.0, low))
    low = max(low, min(high, 0.0) - 40 / max(1.0, -high))
    x = (high + low) / 2 + (high - low) / 2 * points
    end = min(max(0.0, low), high)
    mass = weights * [math.exp((end - each) * (end + each) / 2) for each in x.tolist()]
    mass /= mass.sum()
    mean = float(mass @ x)
    variance, fourth = (float(mass @ (x - mean) ** power) for power in (2, 4))
    return mean, math.sqrt(variance), fourth / variance**2


@pytest.mark.parametrize(("low", "high"), BOUNDS)
def test_moments(low: float, high: float) -> None:
    """Of the truncated distribution, however far out or narrow."""
    found, expected = truncated_moments(0.0, 1.0, low, high), numerical_moments(low, high)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-12)
    mean, stddev, kurtosis = found
    assert truncated_moments(5.0, 2.0, 5 + 2 * low, 5 + 2 * high) == pytest.approx(
        (5 + 2 * mean, 2 * stddev, kurtosis), rel=1e-6
    )


@pytest.mark.parametrize(
    ("arguments", "within"),
    [
        ((0.0, 1.0, float(FARTHEST), math.inf), True),
        ((0.0, 1.0, FARTHEST + 1e-9, math.inf), False),
        ((0.0, 1.0, -math.inf, -FARTHEST - 1e-9), False),
        ((5.0, 0.0, 4.0, 6.0), True),
        ((5.0, 0.0, 5.1, 6.0), False),
        ((1e308, 1e300, -1e308, math.inf), True),
    ],
)
def test_what_is_within_reach(arguments: tuple[float, float, float, float], within: bool) -> None:
    """A part of the interval must lie within 36 standard deviations of the mean."""
    assert is_within_reach(*arguments) == within


def test_the_callers_decimals_do_not_matter() -> None:
    """Nor are they changed."""
    interval.cache_clear()
    with decimal.localcontext(decimal.Context(prec=3, rounding=decimal.ROUND_UP, traps=[decimal.Inexact])):
        inside = interval(0.0, 1.0, -0.5, 2.5)
        assert decimal.getcontext().prec == 3
    interval.cache_clear()
    assert interval(0.0, 1.0, -0.5, 2.5) == inside
