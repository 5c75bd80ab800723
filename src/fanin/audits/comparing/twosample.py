"""Whether two tensors were drawn from the same distribution, by what one pass over each has found.

Every test is of two samples, and holds at the level `SIGNIFICANCE` of `verdicts`. Elements are taken to be independent;
where they are not, as in orthogonal matrices, moments vary less than that, and the tests only lose power.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fanin._core.environment import undisturbed
from fanin._core.types import Array
from fanin.audits.statistics import Statistics
from fanin.audits.verdicts import SIGNIFICANCE, STANDARD_ERRORS
from fanin.report import number

_LEAST = 8  # elements, below which moments say nothing at this level


@dataclass(frozen=True)
class Contrast:
    """Something in which two tensors differ by more than chance explains.

    Attributes:
        code: a stable word for it: "not-finite", "mean", "stddev", "zeros", "shape" (of the distribution), "support" or
            "constant".
        message: how they differ, with the numbers of both.
    """

    code: str
    message: str


@undisturbed
def contrasts(a: Statistics, b: Statistics) -> tuple[Contrast, ...]:
    """In what two tensors differ; nothing if both may be draws from one distribution.

    References:
        B. L. Welch, "The generalization of 'Student's' problem when several different population variances are
        involved", Biometrika 34, 1947. E. Paulson, "An approximate normalization of the analysis of variance
        distribution", Annals of Mathematical Statistics 13, 1942. G. E. P. Box, "Non-normality and tests on variances",
        Biometrika 40, 1953. N. V. Smirnov, "On the estimation of the discrepancy between empirical curves of
        distribution for two independent samples", Bulletin of Moscow University 2, 1939.
    """
    if not a.size or not b.size:
        return ()
    if a.nans + a.infinities or b.nans + b.infinities:
        return (Contrast("not-finite", f"NaN and infinite elements: {_not_finite(a)} and {_not_finite(b)}"),)
    if a.low == a.high or b.low == b.high:
        return tuple(_of_constants(a, b))
    moments = tuple(_of_moments(a, b))
    return (*moments, *_of_zeros(a, b), *(_of_shapes(a, b) if moments else _of_samples(a, b)))


def resolution(a: Statistics, b: Statistics) -> float:
    """The relative difference of standard deviations that is found in half of all cases; NaN for too few elements."""
    if min(a.size, b.size) < _LEAST or not (a.stddev > 0 and b.stddev > 0):
        return math.nan
    return STANDARD_ERRORS * math.sqrt((_pooled_kurtosis(a, b) - 1) / 4 * (1 / a.size + 1 / b.size))


def _not_finite(found: Statistics) -> str:
    return f"{found.nans} and {found.infinities} of {found.size}"


def _of_constants(a: Statistics, b: Statistics) -> Iterator[Contrast]:
    """Of two tensors of which one, at least, has one value only."""
    if (a.low, a.high) != (b.low, b.high) and max(a.size, b.size) > 1:
        yield Contrast("constant", f"values: {_range(a)} and {_range(b)}")


def _range(found: Statistics) -> str:
    low, high = number(found.low, 4), number(found.high, 4)
    return f"{low} everywhere" if found.low == found.high else f"{low} to {high}"


def _pooled_kurtosis(a: Statistics, b: Statistics) -> float:
    """The fourth moment of both together, about each one's own mean and in its own standard deviations."""
    return max(1.0 + 1e-9, (a.kurtosis * a.size + b.kurtosis * b.size) / (a.size + b.size))


def _of_moments(a: Statistics, b: Statistics) -> Iterator[Contrast]:
    if min(a.size, b.size) < _LEAST:
        return
    # In standard deviations of the first one, so that no square overflows.
    ratio = b.stddev / a.stddev
    first, second = 1 / (a.size - 1), ratio * ratio / (b.size - 1)
    apart = (b.mean - a.mean) / a.stddev / math.sqrt(first + second)
    freedom = (first + second) ** 2 / (first**2 / (a.size - 1) + second**2 / (b.size - 1))
    if _normal_of_student(apart, freedom) > STANDARD_ERRORS:
        apart_in_spreads = (b.mean - a.mean) / a.stddev
        yield Contrast(
            "mean",
            f"mean {number(a.mean, 4)} and {number(b.mean, 4)}, {number(abs(apart_in_spreads), 2)} standard deviations "
            "apart",
        )
    if _spread_difference(ratio, a, b) > STANDARD_ERRORS:
        yield Contrast("stddev", f"stddev {number(a.stddev, 4)} and {number(b.stddev, 4)}, a ratio of {ratio:.3g}")


def _normal_of_student(t: float, freedom: float) -> float:
    """The size of the normal number that is as unlikely as Student's t.

    References:
        D. L. Wallace, "Bounds on normal approximations to Student's and the chi-square distributions", Annals of
        Mathematical Statistics 30, 1959.
    """
    inner = freedom * math.log1p(min(t * t / freedom, 1e300))
    return (8 * freedom + 1) / (8 * freedom + 3) * math.sqrt(inner)


def _spread_difference(ratio: float, a: Statistics, b: Statistics) -> float:
    """How far the ratio of two standard deviations is from 1, as a normal number.

    The ratio of variances has nearly an F distribution, with fewer degrees of freedom for heavier tails (Box), and the
    cube root of that is nearly normal (Paulson).
    """
    per_element = 2 / (_pooled_kurtosis(a, b) - 1)
    first, second = (2 / (9 * per_element * (each.size - 1)) for each in (b, a))
    root = min(ratio, 1e100) ** (2 / 3)
    return abs(root * (1 - second) - (1 - first)) / math.sqrt(root * root * second + first)


def _of_zeros(a: Statistics, b: Statistics) -> Iterator[Contrast]:
    """Of elements that are zero, as in dead rows and masks, given how many there are in both."""
    total = a.zeros + b.zeros
    share = a.size / (a.size + b.size)
    spread = math.sqrt(total * share * (1 - share))
    # A count of few is no normal number; the further half makes up for that.
    if spread and abs(a.zeros - total * share) - 0.5 > STANDARD_ERRORS * max(spread, STANDARD_ERRORS / 2):
        yield Contrast("zeros", f"zeros: {a.zeros} of {a.size} and {b.zeros} of {b.size}")


def _of_samples(a: Statistics, b: Statistics) -> Iterator[Contrast]:
    """Of elements with the same moments: by the shapes of their distributions, and by their ends."""
    yield from _of_curves(a, b, a.sample, b.sample)
    if 4 * math.exp(min(_beyond(a, b.sample), _beyond(b, a.sample))) < SIGNIFICANCE:
        yield Contrast("support", f"support: {_range(a)} and {_range(b)}")


def _of_shapes(a: Statistics, b: Statistics) -> Iterator[Contrast]:
    """Of elements with other moments: by the shapes of their distributions, each in its own standard deviations."""
    yield from _of_curves(a, b, *((each.sample - each.mean) / each.stddev for each in (a, b)))


def _of_curves(a: Statistics, b: Statistics, first: Array, second: Array) -> Iterator[Contrast]:
    """By the largest distance of the distribution functions of two samples."""
    both = np.concatenate([first, second])
    below = [np.searchsorted(np.sort(each), both, "right") / len(each) for each in (first, second)]
    distance = float(np.abs(below[0] - below[1]).max())
    count = len(first) * len(second) / (len(first) + len(second))
    if 2 * math.exp(-2 * distance * distance * count) < SIGNIFICANCE:
        kurtosis = f"kurtosis {number(a.kurtosis, 3)} and {number(b.kurtosis, 3)}"
        yield Contrast(
            "shape", f"shape of the distribution: {kurtosis} (Kolmogorov–Smirnov distance {number(distance, 2)})"
        )


def _beyond(found: Statistics, sample: Array) -> float:
    """The logarithm of the chance that as many of a sample lie beyond all elements of another tensor, on one side.

    If both are of one distribution, every order of all numbers is equally likely.
    """
    outside = max(int((sample < found.low).sum()), int((sample > found.high).sum()))
    ranks = np.arange(outside)
    return float(np.log((len(sample) - ranks) / (found.size + len(sample) - ranks)).sum())
