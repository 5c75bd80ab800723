"""Laws: what a distribution says of the elements of a tensor, as an audit needs it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial, singledispatch
from typing import Any

import ml_dtypes
import numpy as np

from fanin import distributions
from fanin._core import dtypes
from fanin._core.streams import Stream
from fanin._core.types import Array, DType
from fanin.audits.judging.checks import Check, equality, orthogonality
from fanin.audits.judging.curves import (
    Curve,
    DensityCurve,
    FunctionCurve,
    MixedCurve,
    MovedCurve,
    NormalCurve,
    StepCurve,
    UniformCurve,
    normal_below,
)
from fanin.distributions import Distribution
from fanin.report import number

_NARROW = 2  # bytes of the dtypes whose steps are coarse enough to be seen
_MOST_DRAWN = 2**20  # elements of a tensor that is made to learn its law
_FEWEST_DRAWN = 8  # elements that say what others of their law would be
_MOST_KEPT = 2**10  # values of a law that a report keeps
_UNCUT = 6.0  # standard deviations, where a cut takes nothing away
_MOST_STEPS = 2**16  # values of a law of integers that are told apart


@dataclass(frozen=True)
class Law:
    """What is known of each element of a tensor.

    Attributes:
        kind: the kind of the distribution, such as "normal".
        words: the law in words, such as "he_normal (stddev 0.0313)".
        mean, stddev, kurtosis: the moments of the elements; the kurtosis is None if they are not random by themselves.
        low, high: the bounds, after rounding; infinite if there are none.
        curve: the distribution function; None if it is not known.
        slack: how far rounding and 16-bit draws take the moments and shares, relative to the standard deviation and
            to 1.
        reach: how far they take the smallest and the largest value.
        draws: the number of draws that the curve was made of, if it was not computed.
        independent: whether elements are independent of one another.
        zeros: the expected share of zeros.
        one_norm: whether all rows, or all columns, have the same norm.
        by_fans: whether the spread follows from the fans.
        is_set: whether it is a mixture of constants, of which nothing is drawn: a bias of zeros with ones for a gate.
        check: what is wrong with a tensor that has this law, "" if nothing; None if there is nothing to check but the
            statistics. It takes the tensor in the axis order of its distribution, in memory.
    """

    kind: str
    words: str
    mean: float
    stddev: float
    kurtosis: float | None = None
    low: float = -math.inf
    high: float = math.inf
    curve: Curve | None = field(default=None, compare=False, repr=False)
    slack: float = 0.0
    reach: float = 0.0
    draws: int | None = None
    independent: bool = True
    zeros: float = 0.0
    one_norm: bool = False
    by_fans: bool = False
    is_set: bool = False
    check: Check | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(
        cls, distribution: Distribution, stored: DType | None = None, words: str = "", *, by_fans: bool = False
    ) -> Law:
        """The law of a distribution.

        Args:
            distribution: the distribution, of any kind.
            stored: the dtype that values are rounded to afterwards; None for the distribution's own.
            words: what to call it; by default its kind. The spread is added.
            by_fans: whether the spread follows from the fans, so that it tells whether these were swapped.

        >>> import fanin
        >>> law = Law.of(fanin.HeNormal().distribution((2048, 512)), words="he_normal")
        >>> law.words, round(law.kurtosis, 2)
        ('he_normal (stddev 0.0313)', 2.37)
        """
        dtype = distribution.dtype if stored is None else stored
        # A table has no hash that is quick to compute, and what code computes is equal if only its shape is.
        if isinstance(distribution, distributions.Table) or distribution.is_own_code:
            return _stored_law(distribution, dtype, words, by_fans)
        return _cached(distribution, dtype, words, by_fans)

    @property
    def is_constant(self) -> bool:
        """Whether all elements are equal."""
        return self.kind == "constant"

    @property
    def allows_zeros(self) -> bool:
        """Whether all elements of a row, or of the tensor, may be zero."""
        return self.low <= 0.0 <= self.high and (self.is_constant or self.zeros > 0 or not self.independent)

    def may_be_constant(self, size: int, significance: float) -> bool:
        """Whether so many independent elements are all equal more often than in a share of all tensors."""
        if not isinstance(self.curve, StepCurve) or self.draws is not None:
            return False
        return float(self.curve.probabilities.max()) ** size > significance

    @property
    def is_random(self) -> bool:
        """Whether elements are drawn."""
        return not self.is_set and (self.curve is not None or self.kurtosis is not None)

    @property
    def is_smooth(self) -> bool:
        """Whether elements are drawn from a continuous range, so that no value is likely to come twice."""
        return self.curve is not None and not self.zeros and not isinstance(self.curve, StepCurve)

    @property
    def without_values(self) -> Law:
        """The law without what needs the tensor, or has as many values: a report keeps it."""
        curve = self.curve
        if isinstance(curve, StepCurve) and len(curve.values) > _MOST_KEPT:
            curve = curve.thinned(_MOST_KEPT)
        return replace(self, check=None, curve=curve)

    def moved(self, ratio: float, distance: float = 0.0) -> Law:
        """The same law with `ratio` times the spread about its mean, and the mean moved by a distance.

        >>> normal(0.02, np.dtype("float32")).moved(2.0).words
        'normal (stddev 0.04)'
        """
        around = self.mean
        curve = None if self.curve is None else MovedCurve(self.curve, around, ratio, distance)
        low, high = (around + (bound - around) * ratio + distance for bound in (self.low, self.high))
        moved = replace(
            self,
            mean=around + distance,
            stddev=self.stddev * ratio,
            low=low,
            high=high,
            curve=curve,
            reach=self.reach * ratio,
            check=None,
        )
        return _with_words(moved, self.words.partition(" (")[0])


# ---------------------------------------------------------------- families


def normal(stddev: float, dtype: DType, words: str = "normal", mean: float = 0.0) -> Law:
    """The law of normals, stored in a dtype."""
    law = Law("normal", "", mean, stddev, 3.0, curve=NormalCurve(mean, stddev))
    return _with_words(in_dtype(law, dtype), words)


def cut_normal(stddev: float, at: float, dtype: DType, words: str = "truncated normal") -> Law:
    """The law of normals around 0 that are cut on both sides.

    Args:
        stddev: the standard deviation before the cut.
        at: where they are cut, in standard deviations.
        dtype: the dtype that they are stored in.
        words: what to call the law.
    """
    if at >= _UNCUT:
        return normal(stddev, dtype, words)
    shrunk, kurtosis = cut_moments(at)
    bound = at * stddev
    curve = NormalCurve(0.0, stddev, -bound, bound)
    law = Law("truncated_normal", "", 0.0, stddev * shrunk, kurtosis, -bound, bound, curve)
    return _with_words(in_dtype(law, dtype), words)


def cut_moments(at: float) -> tuple[float, float]:
    """The standard deviation and the kurtosis of a unit normal that is cut at so many standard deviations.

    The second moment is `1 - 2 a phi(a) / (2 Phi(a) - 1)`, and the fourth `3 - 2 (a**3 + 3 a) phi(a) / (2 Phi(a) - 1)`.

    >>> [round(each, 4) for each in cut_moments(2.0)]
    [0.8796, 2.3655]
    """
    density = math.exp(-at * at / 2) / math.sqrt(2 * math.pi) / math.erf(at / math.sqrt(2))
    second, fourth = 1 - 2 * at * density, 3 - 2 * (at**3 + 3 * at) * density
    return math.sqrt(second), fourth / second**2


def uniform(limit: float, dtype: DType, words: str = "uniform") -> Law:
    """The law of uniforms in [-limit, limit]."""
    law = Law("uniform", "", 0.0, limit / math.sqrt(3), 1.8, -limit, limit, UniformCurve(-limit, limit))
    return _with_words(in_dtype(law, dtype), words)


def constant(value: float, dtype: DType, words: str = "") -> Law:
    """The law of one value everywhere, as a dtype rounds it."""
    with np.errstate(all="ignore"):
        rounded = float(np.real(np.asarray(value).astype(dtype)).astype(np.float64))
    name = words or {0.0: "zeros", 1.0: "ones"}.get(value, f"constant {number(value, 3)}")
    return Law("constant", name, rounded, 0.0, None, rounded, rounded, independent=False, zeros=float(rounded == 0))


def mixed(parts: Sequence[tuple[Law, int]], words: str = "") -> Law:
    """The law of a tensor whose parts have laws of their own.

    Args:
        parts: the laws, each with its number of elements.
        words: what to call it; by default what its parts are called.

    >>> dtype = np.dtype("float32")
    >>> both = mixed([(normal(0.02, dtype), 200), (constant(0.0, dtype), 200)])
    >>> both.words, round(both.stddev, 4)
    ('normal (stddev 0.02), zeros', 0.0141)
    """
    total = sum(size for _, size in parts)
    kept = [(law, size / total) for law, size in parts if size] if total else [(parts[0][0], 1.0)]
    if len({law.words for law, _ in kept}) == 1 and all(law == kept[0][0] for law, _ in kept):
        return kept[0][0]
    laws, shares = zip(*kept, strict=True)
    mean = sum(share * law.mean for law, share in kept)
    variance = sum(share * (law.stddev**2 + (law.mean - mean) ** 2) for law, share in kept)
    kurtosis = None
    if variance > 0 and all(law.kurtosis is not None or law.is_constant for law in laws):
        fourth = sum(share * _fourth_about(law, mean) for law, share in kept)
        kurtosis = fourth / variance**2
    curves = [_curve_of(law) for law in laws]
    known = None if any(curve is None for curve in curves) else MixedCurve(tuple(map(_given, curves)), shares)
    return Law(
        "mixture",
        words or ", ".join(dict.fromkeys(law.words for law in laws)),
        mean,
        math.sqrt(variance),
        kurtosis,
        min(law.low for law in laws),
        max(law.high for law in laws),
        known,
        max(law.slack for law in laws),
        max(law.reach for law in laws),
        independent=False,
        zeros=sum(share * law.zeros for law, share in kept),
        is_set=all(law.is_constant or law.is_set for law in laws),
    )


def _given(curve: Curve | None) -> Curve:
    assert curve is not None
    return curve


def _curve_of(law: Law) -> Curve | None:
    """The curve of a law, which constants have, too."""
    return StepCurve(np.array([law.mean]), np.array([1.0])) if law.is_constant else law.curve


def _fourth_about(law: Law, centre: float) -> float:
    """The mean fourth power of the distance from a centre, as if the law were symmetric."""
    shift, variance = law.mean - centre, law.stddev**2
    return (law.kurtosis or 0.0) * variance**2 + 6 * shift**2 * variance + shift**4


# ---------------------------------------------------------------- from distributions


@lru_cache(maxsize=4096)
def _cached(distribution: Distribution, dtype: DType, words: str, by_fans: bool) -> Law:
    return _stored_law(distribution, dtype, words, by_fans)


def _stored_law(distribution: Distribution, dtype: DType, words: str, by_fans: bool) -> Law:
    name = words or ("the model's own code" if distribution.is_own_code else distribution.kind.replace("_", " "))
    law = _law_of(distribution)
    if law.is_constant:
        return replace(constant(law.mean, dtype), words=words or constant(law.mean, dtype).words)
    return replace(_with_words(in_dtype(law, dtype), name), by_fans=by_fans)


def _with_words(law: Law, name: str) -> Law:
    """The law, called by a name and its spread."""
    if law.is_constant or not math.isfinite(law.stddev):
        return replace(law, words=name)
    about = "" if abs(law.mean) < 1e-6 * law.stddev or not law.stddev else f"mean {number(law.mean, 3)}, "
    return replace(law, words=f"{name} ({about}stddev {number(law.stddev, 3)})")


def part_of(dtype: DType) -> DType:
    """The dtype itself, or that of the parts of a complex one."""
    return np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


def in_dtype(law: Law, dtype: DType) -> Law:
    """A law of exact numbers, as a dtype rounds them."""
    part = part_of(dtype)
    if dtypes.kind(part) != "float":
        return law
    limits: Any = ml_dtypes.finfo(part)
    eps = float(limits.eps)
    low, high = _rounded_bounds(law, part, eps)
    if part.itemsize == 1 and law.curve is not None:
        return _on_grid(replace(law, low=low, high=high, slack=0.01), part)
    slack, reach = eps / 2 if part.itemsize <= _NARROW else 1e-6, 0.0
    if part.itemsize <= _NARROW and math.isfinite(high - low):  # whose outermost values may lie a step within
        reach = eps * max(abs(low), abs(high))
    if part.itemsize <= _NARROW and law.kind == "uniform":  # some draw these with few bits: 7 for bfloat16
        slack, reach = 2 * eps, 2 * eps * (law.high - law.low)
    return replace(law, low=low, high=high, slack=slack, reach=reach)


def _rounded_bounds(law: Law, dtype: DType, eps: float) -> tuple[float, float]:
    """The bounds with two roundings: of the bound, and of the arithmetic before it."""
    bounds = np.array([law.low, law.high])
    if law.kind == "normal":
        return -math.inf, math.inf
    with np.errstate(all="ignore"):
        rounded = dtypes.rounded_values(bounds, dtype).astype(np.float64)
    rounded = np.where(np.isnan(rounded), bounds, rounded)
    room = 2 * eps * float(np.max(np.abs(rounded), where=np.isfinite(rounded), initial=0.0))
    return min(law.low, float(rounded[0])) - room, max(law.high, float(rounded[1])) + room


def _on_grid(law: Law, dtype: DType) -> Law:
    """A law rounded to one of the few values of a dtype of 8 bits, with its exact moments."""
    assert law.curve is not None
    values = grid_of(dtype)
    below = law.curve.at((values[1:] + values[:-1]) / 2)
    shares = np.diff(below, prepend=0.0, append=1.0)
    mean = float(shares @ values)
    variance, fourth = (float(shares @ (values - mean) ** power) for power in (2, 4))
    kurtosis = None if law.kurtosis is None or not variance else fourth / variance**2
    zeros = float(shares[values == 0].sum())
    return replace(law, mean=mean, stddev=math.sqrt(variance), kurtosis=kurtosis, zeros=max(law.zeros, zeros))


@lru_cache(maxsize=32)
def grid_of(dtype: DType) -> Array:
    """All finite values of a floating dtype of at most 16 bits, in ascending order, as float64."""
    unsigned = np.uint8 if dtype.itemsize == 1 else np.uint16
    with np.errstate(all="ignore"):
        every = np.arange(np.iinfo(unsigned).max + 1).astype(unsigned).view(dtype).astype(np.float64)
    return np.unique(every[np.isfinite(every)] + 0.0)  # of -0.0, zero


def rounding_limits(values: Array, dtype: DType) -> Array:
    """The largest number that a dtype rounds to each of its values, which come in ascending order."""
    part = part_of(dtype)
    if dtypes.kind(part) != "float" or part.itemsize > _NARROW:
        return values
    grid = grid_of(part)
    middles = np.append((grid[1:] + grid[:-1]) / 2, np.inf)
    return middles[np.minimum(np.searchsorted(grid, values), len(grid) - 1)]


def _smooth(distribution: Distribution) -> Distribution:
    """The same distribution in float32, if its own dtype is narrower: the law before values are rounded."""
    return replace(distribution, dtype=dtypes.FLOAT32) if distribution.dtype.itemsize <= _NARROW else distribution


def _elementwise(distribution: Distribution, curve: Curve | None, unbounded: bool = False) -> Law:
    """The law of independent elements."""
    mean, stddev, kurtosis = distribution.moments
    if not stddev > 0:
        return Law("constant", "", mean, 0.0, None, mean, mean, independent=False)
    low, high = (-math.inf, math.inf) if unbounded else map(float, distribution.bounds)
    return Law(distribution.kind, "", mean, stddev, kurtosis, low, high, curve)


@singledispatch
def _law_of(distribution: Distribution) -> Law:
    """The law before rounding; of a kind of distribution that nothing is known of, from draws or the values."""
    return _drawn(distribution) if distribution.random else _given_values(distribution)


@_law_of.register
def _(distribution: distributions.Uniform) -> Law:
    smooth = _smooth(distribution)
    low, high = smooth.bounds
    return _elementwise(smooth, UniformCurve(low, high) if low < high else None)


@_law_of.register
def _(distribution: distributions.Normal) -> Law:
    smooth: Any = _smooth(distribution)
    curve = NormalCurve(smooth.mean, abs(smooth.stddev)) if smooth.stddev else None
    return _elementwise(smooth, curve, unbounded=True)


@_law_of.register
def _(distribution: distributions.TruncatedNormal) -> Law:
    smooth: Any = _smooth(distribution)
    curve = NormalCurve(smooth.mean, abs(smooth.stddev), *smooth.bounds) if smooth.stddev else None
    return _elementwise(smooth, curve)


@_law_of.register
def _(distribution: distributions.BoundedNormal) -> Law:
    smooth: Any = _smooth(distribution)
    centred = smooth.minval <= smooth.mean <= smooth.maxval and smooth.stddev > 0
    curve = NormalCurve(smooth.mean, smooth.stddev, smooth.minval, smooth.maxval) if centred else None
    law = _elementwise(smooth, curve or FunctionCurve(smooth.cdf))
    bounds = (smooth.minval, smooth.maxval) if law.stddev else (law.mean, law.mean)
    return replace(law, kind="truncated_normal" if law.stddev else law.kind, low=bounds[0], high=bounds[1])


@_law_of.register(distributions.Exponential)
@_law_of.register(distributions.LogNormal)
def _(distribution: Any) -> Law:
    smooth: Any = _smooth(distribution)
    law = _elementwise(smooth, FunctionCurve(smooth.cdf))
    return replace(law, low=min(law.low, 0.0), high=math.inf) if law.stddev else law


@_law_of.register
def _(distribution: distributions.Bernoulli) -> Law:
    p = distribution.moments.mean
    law = _elementwise(distribution, StepCurve(np.array([0.0, 1.0]), np.array([1 - p, p])))
    return replace(law, zeros=1 - p) if law.stddev else law


@_law_of.register
def _(distribution: distributions.UniformInteger) -> Law:
    span = distribution.maxval - distribution.minval
    if span > _MOST_STEPS:
        return _elementwise(distribution, UniformCurve(distribution.minval - 0.5, distribution.maxval - 0.5))
    below = np.array([distribution.below(count) for count in range(span + 1)])
    values = np.arange(distribution.minval, distribution.maxval).astype(np.float64)
    return _elementwise(distribution, StepCurve(values, np.diff(below)))


@_law_of.register
def _(distribution: distributions.ComplexNormal) -> Law:
    return replace(_law_of(distribution.part), kind=distribution.kind)


@_law_of.register
def _(distribution: distributions.ComplexTruncatedNormal) -> Law:
    # The real part of a plane's normal within a radius: the density along a chord, times the chord's normal content.
    unit, radius = abs(distribution.stddev) / math.sqrt(2), distribution.radius
    if not unit:
        return _elementwise(distribution, None)

    return _elementwise(distribution, DensityCurve(partial(_within_disk, unit, radius), -radius, radius))


def _within_disk(unit: float, radius: float, values: Array) -> Array:
    """The density of the real part of a plane's normal within a radius, up to a factor."""
    chords = np.sqrt(np.maximum(radius**2 - values**2, 0.0)) / unit
    contents = np.array([2 * normal_below(chord) - 1 for chord in chords.tolist()])
    return np.exp(-((values / unit) ** 2) / 2) * contents


@_law_of.register
def _(distribution: distributions.ComplexUniform) -> Law:
    radius = distribution.limit
    if not radius:
        return _elementwise(distribution, None)

    return _elementwise(distribution, DensityCurve(partial(_chord, radius), -radius, radius))


def _chord(radius: float, values: Array) -> Array:
    """Half the chord of a circle at each distance from its centre."""
    return np.sqrt(np.maximum(radius**2 - values**2, 0.0))


@_law_of.register
def _(distribution: distributions.Sparse) -> Law:
    columns = max(1, distribution.shape[-1])
    share = distribution.zeros / columns
    mean, stddev, kurtosis = _smooth(distribution).moments
    if not stddev:
        return Law("constant", "", 0.0, 0.0, None, 0.0, 0.0, independent=False)
    parts = NormalCurve(0.0, abs(distribution.stddev)), StepCurve(np.zeros(1), np.ones(1))
    curve = MixedCurve(parts, (1 - share, share))
    return Law("sparse", "", mean, stddev, kurtosis, curve=curve, independent=False, zeros=share)


@_law_of.register
def _(distribution: distributions.Constant) -> Law:
    value = complex(distribution.value)
    if value.imag:
        return _given_values(distribution)
    return Law("constant", "", value.real, 0.0, None, value.real, value.real, independent=False)


@_law_of.register
def _(distribution: distributions.Orthogonal) -> Law:
    law = _of_unit_rows(distribution, distribution.gain, *distribution.matrix_shape)
    return replace(law, check=orthogonality(distribution))


@_law_of.register
def _(distribution: distributions.OrthogonalMatrices) -> Law:
    matrix: Any = distribution.matrix
    law = _of_unit_rows(distribution, matrix.gain, *matrix.matrix_shape)
    return replace(law, one_norm=False)  # the rows of which matrix, an audit cannot see


def _of_unit_rows(distribution: Distribution, gain: float, rows: int, columns: int) -> Law:
    """The law of the elements of a matrix of orthonormal rows or columns, whichever are fewer.

    An element is one of a random unit vector of the longer side's length n (of 2 n real numbers, if it is complex):
    its density is proportional to `(1 - x**2) ** ((n - 3) / 2)`.
    """
    length = max(rows, columns)
    spread = distribution.moments.stddev
    numbers = length * (2 if distribution.dtype.kind == "c" else 1)
    reach = abs(gain)
    law = Law(distribution.kind, "", 0.0, spread, None, -reach, reach, independent=False)
    if not length or not gain:
        return law
    return replace(law, curve=_coordinate(numbers, reach, min(reach, 12 * spread)), one_norm=True)


def _coordinate(numbers: int, reach: float, edge: float) -> Curve:
    """The distribution of one of so many coordinates of a random vector of a length, between two edges.

    The density has no bound at the ends of two coordinates, and is two points of one.
    """
    if numbers == 1:
        return StepCurve(np.array([-reach, reach]), np.array([0.5, 0.5]))
    if numbers == 2:
        return FunctionCurve(partial(_on_circle, reach))
    return DensityCurve(partial(_on_sphere, numbers, reach), -edge, edge)


def _on_circle(reach: float, value: float) -> float:
    """The probability that a coordinate of a random point of a circle lies at or below a value: the arcsine law."""
    return 0.5 + math.asin(min(max(value / reach, -1.0), 1.0)) / math.pi


def _on_sphere(numbers: int, reach: float, values: Array) -> Array:
    """The density of one of so many coordinates of a random vector of a length, up to a constant factor."""
    return np.maximum(1 - (values / reach) ** 2, 0.0) ** ((numbers - 3) / 2)


def _given_values(distribution: Distribution) -> Law:
    """The law of values that nothing is drawn for: their moments and bounds, and a check of every value."""
    mean, stddev, _ = distribution.moments
    low, high = map(float, distribution.bounds)
    check = equality(distribution)
    return Law(distribution.kind, "", mean, stddev, None, low, high, independent=False, zeros=1.0, check=check)


def _drawn(distribution: Distribution) -> Law:
    """The law of elements that are drawn in a way that nothing is known of, from draws of one's own."""
    mean, stddev, kurtosis = distribution.moments
    law = Law(distribution.kind, "", mean, stddev, kurtosis, independent=False)
    if not 0 < distribution.size <= _MOST_DRAWN:
        return law
    if distribution.size < _FEWEST_DRAWN:
        return replace(law, stddev=math.nan, kurtosis=None)
    values = np.empty(distribution.shape, distribution.dtype)
    distribution.fill(values, Stream(1))
    wide = np.sort(values.reshape(-1).view(part_of(values.dtype)).astype(np.float64))
    if not np.isfinite(wide).all() or wide[0] == wide[-1]:
        return law
    curve = StepCurve(wide, np.full(len(wide), 1 / len(wide)))
    return replace(law, mean=float(wide.mean()), stddev=float(wide.std()), curve=curve, draws=len(wide))
