"""Whether a tensor's statistics fit a law: its support, moments, tails, shape and rows.

Every test is wrong about once in `1 / SIGNIFICANCE` tensors that do have the law, whatever their size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import ml_dtypes
import numpy as np

from fanin._core import dtypes
from fanin._core.types import Array, DType
from fanin.audits.judging.laws import Law, in_dtype, part_of, rounding_limits
from fanin.audits.statistics import Statistics
from fanin.audits.verdicts import SIGNIFICANCE, STANDARD_ERRORS
from fanin.distributions import TRUNCATED_STDDEV

_POINTS = 512  # at which distribution functions are compared
_LIGHT_TAILS = 6.0  # the kurtosis up to which the errors of moments are those of their normal approximations
# Standard errors that the dispersion of rows may be from that of independent elements: a margin, since its tails are
# only nearly those of chi-squared, and trained weights are at hundreds.
UNEVEN = 7.0
_SHORTEST, _FEWEST = 8, 8  # elements of a row, and rows, whose dispersion says something
GRAINED = 32  # elements whose dtype can be told from their values
# Standard deviations beyond which normals of some libraries end, and those that JAX makes of 7 random bits.
_REACHED, _REACHED_NARROW = 5.2, 2.6
_FEW = 64  # elements whose standard deviation says little
_IN_ORDER = 2**12  # elements whose order is looked at, which is enough for a ramp
_FAR = 20.0  # times the distance of the quartiles: 27 standard deviations of a normal
_FARTHEST = 6.0  # standard deviations within which all elements are that are not clamped
_APART = 2.0  # times the size of all other elements, that clamped ones have
_CLAMPING = 2**10  # elements of a tensor whose quartiles say how wide it is
_CUT_AT_TWO = 0.05  # of a standard deviation, that rounding moves a bound
_STRAYS = 0.0455**4  # the share of elements that lie beyond two standard deviations in four draws
_FARTHEST_STRAY = 2.0  # bounds
_ONE_NORM = 0.05  # dispersion of rows of equal norms, beside 1 for independent elements

Moments: TypeAlias = tuple[float, float, float]  # mean, standard deviation, kurtosis


@dataclass(frozen=True)
class Observed:
    """What is seen of a tensor, as tests need it.

    Attributes:
        size: the number of finite elements, without rows of padding.
        mean, stddev, kurtosis: their moments.
        low, high: the smallest and the largest.
        at_low, at_high: how many are that.
        zeros: how many are zero.
        skipped: whether zeros are padding, which the sample leaves out.
        clamped: how many elements are exactly a far bound, and left out of the moments, the sample and the extremes:
            PyTorch's `trunc_normal_` makes about one in 16 million.
        stored: the dtype of the tensor; of a complex one, that of its parts.
        dtype: the narrowest dtype that holds every element, which they were rounded to.
        words: how many numbers an element is: 2 for complex tensors.
        statistics: all that was measured.
    """

    size: int
    mean: float
    stddev: float
    kurtosis: float
    low: float
    high: float
    at_low: int
    at_high: int
    zeros: int
    skipped: bool
    clamped: int
    stored: DType
    dtype: DType
    words: int
    statistics: Statistics

    @property
    def is_constant(self) -> bool:
        """Whether all elements are equal."""
        return self.low == self.high

    @property
    def has_few_values(self) -> bool:
        """Whether all elements are the smallest, the largest, or zero."""
        between = self.zeros if self.low < 0 < self.high else 0
        return not self.is_constant and self.at_low + self.at_high + between == self.size

    @cached_property
    def ordered(self) -> Array:
        """The sample, in ascending order."""
        sample = self.statistics.ordered
        if self.skipped or self.statistics.infinities:
            sample = sample[np.isfinite(sample) & ((sample != 0) | (not self.skipped))]
        return sample[(sample >= self.low) & (sample <= self.high)] if self.clamped else sample

    @cached_property
    def follows_order(self) -> bool:
        """Whether each element tells something of the next one, as in a ramp: they were computed, not drawn.

        The correlation of n independent elements with those that follow them has a standard error of 1 / sqrt(n).
        """
        every = max(1, len(self.statistics.sample) // _IN_ORDER)
        sample = np.asarray(self.statistics.sample[::every], np.float64)
        if len(sample) < GRAINED or self.is_constant or not np.isfinite(sample).all():
            return False
        ranks = np.argsort(np.argsort(sample, kind="stable")).astype(np.float64)  # without tails
        ranks -= ranks.mean()
        correlation = float(ranks[1:] @ ranks[:-1]) / float(ranks @ ranks)
        return correlation * math.sqrt(len(ranks)) > STANDARD_ERRORS

    @cached_property
    def is_fixed_point(self) -> bool:
        """Whether elements are multiples of a step, and no more of it than a narrower dtype counts: i / n, for one.

        Numbers that were rounded to a narrower floating-point dtype have finer steps near zero.
        """
        sample = np.abs(self.statistics.sample[np.isfinite(self.statistics.sample)]).astype(np.float64)
        largest = float(sample.max(initial=0.0))
        if not largest:
            return False
        bits = ml_dtypes.finfo(self.dtype).nmant + 1
        steps = np.ldexp(sample, bits - math.frexp(largest)[1])
        return bool((steps == np.rint(steps)).all())

    @cached_property
    def shares(self) -> tuple[Array, Array]:
        """Numbers, and the share of elements that were at most that before they were rounded."""
        count = len(self.ordered)
        places = np.unique(np.linspace(0, count - 1, min(count, _POINTS)).astype(np.int64))
        values = np.unique(self.ordered[places])
        upto = np.searchsorted(self.ordered, values, side="right")
        return rounding_limits(values, self.dtype), upto / count

    @cached_property
    def ends(self) -> tuple[float, float]:
        """The numbers between which all elements lay before they were rounded."""
        high = float(rounding_limits(np.array([self.high]), self.dtype)[0])
        low = -float(rounding_limits(np.array([-self.low]), self.dtype)[0])
        return low, high

    @cached_property
    def dispersions(self) -> tuple[tuple[int, float, float], ...]:
        """The axis, the dispersion and how unlikely that is, in standard errors, of rows that say something."""
        found = []
        for lines in () if self.clamped else self.statistics.lines:
            known = math.isfinite(lines.dispersion) and lines.dispersion_error > 0
            if known and lines.count >= _FEWEST and lines.length >= _SHORTEST and not lines.dead:
                errors = _errors_of_variance(lines.dispersion, 2 / lines.dispersion_error**2)
                found.append((lines.axis, lines.dispersion, errors))
        return tuple(found)

    @property
    def is_uneven(self) -> bool:
        """Whether rows differ in their spread more than independent elements let them."""
        return any(errors > UNEVEN for _, _, errors in self.dispersions)

    @property
    def unevenness(self) -> float:
        """The largest dispersion of rows."""
        return max((dispersion for _, dispersion, _ in self.dispersions), default=1.0)

    @property
    def stddev_error(self) -> float:
        """The standard error of the standard deviation, relative to it, by the kurtosis that was measured."""
        excess = self.kurtosis - 1 if math.isfinite(self.kurtosis) else 2.0
        return math.sqrt(max(excess, 1e-6) / (4 * max(self.size, 1)))


def observed(
    statistics: Statistics, dtype: DType, padded: bool = False, expected: Law | None = None
) -> Observed | None:
    """What is seen of a tensor; None if it has no finite elements.

    Args:
        statistics: what was measured.
        dtype: the tensor's dtype.
        padded: whether rows of zeros are padding, which does not count.
        expected: the law that it should have; one of heavy tails reaches far without being clamped.
    """
    words = 2 if dtype.kind == "c" else 1
    size = statistics.size * words - statistics.nans - statistics.infinities
    if not size or not np.isfinite(statistics.mean):
        return None
    each = statistics
    moments = each.mean, each.stddev, each.kurtosis
    zeros = each.zeros
    dead = _padding(statistics) if padded else 0
    if dead:
        moments = _without_zeros(*moments, size, dead)
        size, zeros = size - dead, zeros - dead
    skipped = dead > 0 and zeros == 0
    part = np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype
    grid = narrowest(statistics, part) if size >= GRAINED and each.low != each.high else part
    ends = each.low, each.high, each.at_low, each.at_high
    is_heavy = expected is not None and (expected.kurtosis or 0.0) > _LIGHT_TAILS
    clamped = {} if is_heavy else _clamped(statistics)
    if clamped:
        moments = _without(clamped, *moments, size)
        size -= sum(clamped.values())
        reach = _FARTHEST * moments[1]
        ends = max(each.low, moments[0] - reach), min(each.high, moments[0] + reach), 0, 0
    return Observed(size, *moments, *ends, zeros, skipped, sum(clamped.values()), part, grid, words, each)


def _clamped(statistics: Statistics) -> dict[float, int]:
    """The far bounds that elements are clamped to, such as -2 and 2 around a spread of 0.02, and how many are.

    A float32 uniform is the end of its interval about once in 2**24 times, and its quantile is then infinite.
    """
    ends = {statistics.low: statistics.at_low, statistics.high: statistics.at_high}
    few = 3 + statistics.size * 2**-21
    round_ends = {end: count for end, count in ends.items() if 2 * end % 1 == 0 and count <= few}
    sample = statistics.ordered[np.isfinite(statistics.ordered)] if round_ends else np.empty(0)
    if len(sample) < _CLAMPING:
        return {}
    spread = float(np.diff(np.quantile(sample, (0.25, 0.75)))[0])
    found = {end: count for end, count in round_ends.items() if abs(end) > _FAR * spread > 0}
    others = np.abs(sample[~np.isin(sample, list(found))])
    is_apart = others.max(initial=0.0) * _APART < min(map(abs, found), default=0.0)
    return found if is_apart and (len(found) == 1 or -sum(found) == 0) else {}


def _without(values: Mapping[float, int], mean: float, stddev: float, kurtosis: float, size: int) -> Moments:
    """The moments of a tensor without some elements that are far from all others, near whose mean 0 is."""
    rest = size - sum(values.values())
    variance = max(stddev**2 * size - sum(count * value**2 for value, count in values.items()), 0.0) / rest
    fourth = (kurtosis * stddev**4 * size - sum(count * value**4 for value, count in values.items())) / rest
    return (
        (mean * size - sum(count * value for value, count in values.items())) / rest,
        math.sqrt(variance),
        fourth / variance**2 if variance else math.nan,
    )


def narrowest(statistics: Statistics, stored: DType) -> DType:
    """The narrowest dtype that holds every element, of those that were noted."""
    narrower = [each for each in map(dtypes.resolve, statistics.grids) if each.itemsize < stored.itemsize]
    return min(narrower, key=lambda each: (each.itemsize, ml_dtypes.finfo(each).nmant), default=stored)


def rounded_to(statistics: Statistics, stored: DType) -> DType:
    """The narrowest dtype that holds every element, of those that were noted; of complex ones, a complex dtype."""
    narrow = narrowest(statistics, part_of(stored))
    if stored.kind != "c":
        return narrow
    return np.dtype("complex64") if narrow.itemsize <= np.dtype("float32").itemsize else stored


def _padding(statistics: Statistics) -> int:
    """The number of elements of rows of zeros along the first axis."""
    lines = next((each for each in statistics.lines if each.axis == 0), None)
    return 0 if lines is None else sum(stop - start for start, stop in lines.dead) * lines.length


def _without_zeros(mean: float, stddev: float, kurtosis: float, size: int, zeros: int) -> Moments:
    """The moments of the other elements of a tensor, if so many are zeros. Means near 0 are taken for 0."""
    share = size / max(size - zeros, 1)
    square = (stddev**2 + mean**2) * share
    variance = max(square - (mean * share) ** 2, 0.0)
    return mean * share, math.sqrt(variance), kurtosis / share


def _errors_of_variance(ratio: float, freedom: float) -> float:
    """How many standard errors a ratio of variances is from 1, for a number of degrees of freedom.

    References: Wilson and Hilferty, "The distribution of chi-square", PNAS 17, 1931. The cube root of a variable of
    this distribution is nearly normal, in the tails too.
    """
    step = 2 / (9 * freedom)
    return (max(ratio, 0.0) ** (1 / 3) - (1 - step)) / math.sqrt(step)


@dataclass(frozen=True)
class Fit:
    """How a tensor fits a law.

    Attributes:
        law: the law.
        failures: the tests that it fails: "constant", "support", "mean", "stddev", "tails", "outliers", "shape",
            "rows".
        mean_errors, stddev_errors: how far the moments are from the law's, in standard errors; NaN if the law does not
            say.
        distance: the largest difference of the distribution functions; NaN if the law has none.
    """

    law: Law
    failures: tuple[str, ...]
    mean_errors: float = math.nan
    stddev_errors: float = math.nan
    distance: float = math.nan

    @property
    def passes(self) -> bool:
        """Whether it fits."""
        return not self.failures


def may_fit(tensor: Observed, law: Law) -> bool:
    """Whether a law's standard deviation is near enough for `fit` to be worth its time: a tensor has many candidates.

    It is generous: beyond chance and rounding, it leaves a fifth.
    """
    if law.is_constant:
        return tensor.is_constant
    if tensor.size < _FEW or law.kurtosis is None or law.kurtosis > _LIGHT_TAILS or not 0 < law.stddev < math.inf:
        return True
    error = math.sqrt(max(law.kurtosis - 1, 0.0) / (4 * tensor.size))
    room = 0.2 + 8 * error + law.slack
    return abs(math.log(tensor.stddev / law.stddev)) <= room if tensor.stddev else False


def fit(tensor: Observed, law: Law, *, whole: bool = True) -> Fit:
    """Compares a tensor with a law.

    Args:
        tensor: what is seen of it.
        law: the law.
        whole: whether to go on after a failure, so that all are known.
    """
    if tensor.dtype != tensor.stored and not law.is_constant:
        return replace(_fit(tensor, in_dtype(law, tensor.dtype), whole), law=law)
    return _fit(tensor, law, whole)


def _fit(tensor: Observed, law: Law, whole: bool) -> Fit:
    if law.is_constant or law.stddev == 0:  # since all that is drawn is rounded to one value
        return Fit(law, () if tensor.low == tensor.high == law.mean else ("constant",))
    failures: list[str] = []
    if (tensor.low < law.low or tensor.high > law.high) and not has_strays(tensor, law):
        failures.append("support")
    mean_errors, stddev_errors = _errors_of_moments(tensor, law)
    if abs(mean_errors) > STANDARD_ERRORS:
        failures.append("mean")
    if abs(stddev_errors) > STANDARD_ERRORS:
        failures.append("stddev")
    if failures and not whole:
        return Fit(law, tuple(failures), mean_errors, stddev_errors)
    failures += _of_tails(tensor, law)
    distance = math.nan
    if law.curve is not None:
        distance = _distance(tensor, law)
        if distance > 0 and 2 * math.exp(-2 * effective_count(len(tensor.ordered), law) * distance**2) < SIGNIFICANCE:
            failures.append("shape")
    if _has_other_rows(tensor, law):
        failures.append("rows")
    return Fit(law, tuple(failures), mean_errors, stddev_errors, distance)


def has_strays(tensor: Observed, law: Law) -> bool:
    """Whether a few elements are beyond the bounds of a truncated normal, as those that Keras draws with PyTorch.

    It takes the first of four normals that is within two standard deviations, or if none is, the first of all.
    """
    if law.kind != "truncated_normal" or law.mean or abs(law.high / law.stddev * TRUNCATED_STDDEV - 2) > _CUT_AT_TWO:
        return False
    farthest = max(tensor.high, -tensor.low)
    if not law.high < farthest < _FARTHEST_STRAY * law.high:
        return False
    sample = tensor.ordered
    count = len(sample) - int(np.diff(np.searchsorted(sample, (law.low, law.high)))[0])
    expected = _STRAYS * len(sample)
    return count < 2 or (count < 50 and expected**count / math.factorial(count) > SIGNIFICANCE)


def _errors_of_moments(tensor: Observed, law: Law) -> tuple[float, float]:
    """How far mean and standard deviation are from the law's, in standard errors, beyond what rounding explains."""
    if not math.isfinite(law.stddev) or law.draws is not None:
        return math.nan, math.nan
    shift = max(abs(tensor.mean - law.mean) - law.slack * max(law.stddev, abs(law.mean)), 0.0)
    ratio = tensor.stddev / law.stddev if law.stddev else math.inf
    ratio = _beyond(law.slack, ratio)
    if law.kurtosis is None:
        return _errors_without_chance(shift, ratio, tensor, law)
    if law.kurtosis > _LIGHT_TAILS:
        return math.nan, math.nan
    mean_errors = math.copysign(shift / law.stddev * math.sqrt(tensor.size), tensor.mean - law.mean)
    if tensor.size < 2 or law.kurtosis < 1 + 1e-9:
        return mean_errors, math.nan
    freedom = 2 * (tensor.size - 1) / (law.kurtosis - 1)
    corrected = ratio**2 * tensor.size / (tensor.size - 1)
    return mean_errors, _errors_of_variance(corrected, freedom)


def allowed_ratios(law: Law, size: int) -> tuple[float, float]:
    """Between which multiples of a law's standard deviation chance and rounding leave that of a tensor.

    The same limits as those of `fit`; infinite for laws whose standard deviation varies by more than can be told, and
    of one element, which has none.

    Args:
        law: the law.
        size: the number of elements.

    >>> low, high = allowed_ratios(Law("normal", "normal", 0.0, 1.0, 3.0), 10_000)
    >>> round(low, 3), round(high, 3)
    (0.962, 1.038)
    """
    if law.kurtosis is None:  # as of an orthogonal matrix, or of constants
        return 1 - 1e-3 - law.slack, 1 + 1e-3 + law.slack
    if law.kurtosis > _LIGHT_TAILS or law.draws is not None or size < 2:
        return 0.0, math.inf
    if law.kurtosis < 1 + 1e-9:
        return 1 - law.slack, 1 + law.slack
    step = 2 / (9 * 2 * (size - 1) / (law.kurtosis - 1))
    ends = ((1 - step + sign * STANDARD_ERRORS * math.sqrt(step)) ** 3 for sign in (-1, 1))
    low, high = (math.sqrt(max(each, 0.0) * (size - 1) / size) for each in ends)
    return low * (1 - law.slack), high * (1 + law.slack)


def _beyond(slack: float, ratio: float) -> float:
    """What is left of a ratio that is 1 but for rounding: 1 within the slack."""
    nearest = min(max(ratio, 1 - slack), 1 + slack)
    return ratio / nearest if nearest > 0 else 1.0


def _errors_without_chance(shift: float, ratio: float, tensor: Observed, law: Law) -> tuple[float, float]:
    """The same for laws whose spread is not left to chance: 0, or infinite if they are off by a thousandth."""
    room = 1e-3 * law.stddev
    if law.is_random:  # an orthogonal matrix, whose mean square is given, but not its mean
        square = math.hypot(tensor.mean, tensor.stddev) / law.stddev
        square = _beyond(law.slack, square)
        mean_errors = shift / law.stddev * math.sqrt(tensor.size)
        return mean_errors, 0.0 if abs(square - 1) < 1e-3 else math.copysign(math.inf, square - 1)
    return 0.0 if shift <= room else math.inf, 0.0 if abs(ratio - 1) < 1e-3 else math.copysign(math.inf, ratio - 1)


def _of_tails(tensor: Observed, law: Law) -> list[str]:
    """Whether the tails end too early, or reach too far."""
    curve = law.curve
    if curve is None or not curve.exact or not law.independent or tensor.size < 2 or tensor.clamped:
        return []
    outside = curve.outside(tensor.ends[0] - law.reach, tensor.ends[1] + law.reach)
    if law.kind == "normal":
        most = (_REACHED if tensor.dtype.itemsize > 2 else _REACHED_NARROW) * law.stddev
        outside = max(outside - curve.outside(law.mean - most, law.mean + most), 0.0)
    found = []
    outside = min(outside, 1 - 1e-16)
    if tensor.size * math.log1p(-outside) < math.log(SIGNIFICANCE):
        found.append("tails")
    farthest = max(tensor.high - law.mean, law.mean - tensor.low)
    if law.kind == "normal" and tensor.size * curve.outside(law.mean - farthest, law.mean + farthest) < SIGNIFICANCE:
        found.append("outliers")
    return found


def _distance(tensor: Observed, law: Law) -> float:
    """The largest difference of the distribution functions, beyond what rounding explains.

    At the largest number that rounds to a value, both count the value: ties make no difference.
    """
    assert law.curve is not None
    limits, shares = tensor.shares
    return max(float(np.abs(law.curve.at(limits) - shares).max()) - law.slack, 0.0)


def effective_count(count: int, law: Law) -> float:
    """The number of independent draws that the distribution of so many elements of a law is judged by.

    References: Massart, "The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality", Annals of Probability 18,
    1990: the distance exceeds d by chance at most `2 exp(-2 n d**2)` often, for every n and every distribution.
    """
    if law.draws is not None:
        return count * law.draws / (count + law.draws)
    return count if law.independent or law.kind in ("sparse", "mixture") else count / 2


def _has_other_rows(tensor: Observed, law: Law) -> bool:
    """Whether the rows are not like those of the law: independent, or of one norm."""
    if law.independent and law.is_random:
        return tensor.is_uneven or any(
            dispersion < _ONE_NORM and errors < -STANDARD_ERRORS for _, dispersion, errors in tensor.dispersions
        )
    if not law.one_norm:
        return False
    known = {axis: dispersion for axis, dispersion, _ in tensor.dispersions}
    ends = {0, max((lines.axis for lines in tensor.statistics.lines), default=0)}
    return ends <= known.keys() and min(known[axis] for axis in ends) > _ONE_NORM


def is_float(dtype: DType | None) -> bool:
    """Whether elements are floating or complex numbers."""
    return dtype is not None and dtypes.kind(dtype) in ("float", "complex")
