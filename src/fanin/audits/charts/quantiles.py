"""Quantiles of a tensor's values against those of its law, with the band that chance allows."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np

from fanin._core import dtypes
from fanin._core.types import Array, DType
from fanin.audits.charts.subjects import Subject
from fanin.audits.judging.curves import UniformCurve
from fanin.audits.judging.fitting import effective_count
from fanin.audits.judging.laws import Law
from fanin.audits.verdicts import SIGNIFICANCE
from fanin.report import number
from fanin.report.charts import Axis, Chart, Marks

_POINTS = 200  # that are shown
_HALVINGS = 60
_RESOLUTION = 1e-12  # of quantiles, in standard deviations


def quantiles(subject: Subject, significance: float = SIGNIFICANCE) -> Chart | str:
    """Quantiles of a tensor's values against those of its law: a QQ plot.

    Right values lie about the diagonal, and within the band but for one point in `1 / significance`.

    Args:
        subject: the tensor.
        significance: how often chance alone takes a point out of the band.

    References: M. B. Wilk and R. Gnanadesikan, "Probability plotting methods for the analysis of data", Biometrika 55,
    1968, for the plot; `chances` for the band.
    """
    law, ordered = subject.law, subject.ordered
    if subject.is_computed:
        return "Its elements are computed, not drawn: chance has no part in them."
    if subject.is_of_few_values:
        return f"It has {ordered.distinct} different values only, whose shares say more."
    assert law.curve is not None
    places = _places(len(ordered.values))
    measured, count = ordered.values[places], ordered.count
    less, upto = ordered.less[places] / count, ordered.upto[places] / count
    low, high = chances(less, upto, effective_count(count, law), significance)
    slack = law.slack if isinstance(law.curve, UniformCurve) else 0.0  # some are drawn with few bits
    probabilities = np.concatenate(((less + upto) / 2, low - slack, high + slack)).clip(1e-300, 1 - 2.0**-53)
    ends = (law.mean - law.stddev, law.mean + law.stddev) if math.isfinite(law.mean) else (-1.0, 1.0)
    expected, lower, upper = law.curve.quantiles(probabilities, *ends).reshape(3, -1)
    lower = np.where(low <= slack, law.low, _rounded(lower, subject.dtype, law, -1))
    upper = np.where(high >= 1 - slack, law.high, _rounded(upper, subject.dtype, law, +1))
    is_outside = (measured < lower) | (measured > upper)
    both = float(expected[0]), float(expected[-1])
    marks = [
        Marks.of("band", expected, lower, "what chance allows", color=-1, upper=upper),
        Marks.of("line", both, both, color=-1),
        Marks.of("dots", expected[~is_outside], measured[~is_outside], "measured"),
    ]
    if is_outside.any():
        marks.append(Marks.of("dots", expected[is_outside], measured[is_outside], "beyond chance", color=1))
    return Chart(
        "quantiles",
        "Quantiles",
        f"{_summary(is_outside, np.abs(measured - expected) / law.stddev)}{subject.remark}",
        Axis(f"quantiles of {subject.words.removeprefix('expected: ')}"),
        Axis("quantiles measured"),
        tuple(marks),
    )


def chances(less: Array, upto: Array, count: float, significance: float) -> tuple[Array, Array]:
    """The probabilities that values of a sample have in its law, but for a share of `significance` of all samples.

    They are where Chernoff's bound on the binomial distribution is half of that on either side: the true ones are
    closer, and no sample size is too small.

    Args:
        less, upto: the shares of the sample that are less than each value, and at most that.
        count: the number of independent elements of the sample.
        significance: how often chance alone may exceed them.

    Returns:
        The lower and the upper end of the probabilities.

    References: H. Chernoff, "A measure of asymptotic efficiency for tests of a hypothesis based on the sum of
    observations", Annals of Mathematical Statistics 23, 1952; W. Hoeffding, "Probability inequalities for sums of
    bounded random variables", Journal of the American Statistical Association 58, 1963, theorem 1.

    >>> import numpy as np
    >>> low, high = chances(np.array([0.5]), np.array([0.5]), 10_000, 1e-7)
    >>> low.round(3).tolist(), high.round(3).tolist()
    ([0.471], [0.529])
    """
    distance = math.log(2 / significance) / count
    return _end(upto, np.zeros_like(upto), distance), _end(less, np.ones_like(less), distance)


def _end(shares: Array, far: Array, distance: float) -> Array:
    """The probability between a share and a far end whose divergence from the share is a distance."""
    near = shares.copy()
    for _ in range(_HALVINGS):
        middle = near + (far - near) / 2
        is_near = _divergence(shares, middle) < distance
        near, far = np.where(is_near, middle, near), np.where(is_near, far, middle)
    return far


@np.errstate(all="ignore")
def _divergence(shares: Array, probabilities: Array) -> Array:
    """The Kullback–Leibler divergence of two coins, by their probabilities of heads."""
    heads = np.where(shares > 0, shares * np.log(shares / probabilities), 0.0)
    tails = np.where(shares < 1, (1 - shares) * np.log((1 - shares) / (1 - probabilities)), 0.0)
    return np.where(
        (probabilities <= 0) | (probabilities >= 1), np.where(heads + tails == 0, 0.0, np.inf), heads + tails
    )


def _places(count: int) -> Array:
    """The places of the points that are shown: all of the outermost ones, and some of the others."""
    if count <= _POINTS:
        return np.arange(count)
    tail = np.arange(_POINTS // 8)
    inner = np.linspace(len(tail), count - len(tail) - 1, _POINTS - 2 * len(tail)).astype(np.int64)
    return np.unique(np.concatenate((tail, inner, count - 1 - tail)))


def _rounded(values: Array, dtype: DType, law: Law, side: int) -> Array:
    """How far down (-1) or up (+1) a dtype may round elements that are these quantiles of a law.

    A dtype that is drawn in rounds a unit draw, the spread, their product and the mean, each to half a step of its own.
    """
    values = values + side * _RESOLUTION * law.stddev
    if dtypes.kind(dtype) != "float":
        return values
    around = law.mean if math.isfinite(law.mean) else 0.0
    half = float(ml_dtypes.finfo(dtype).eps) / 2
    moved = values + side * half * (3 * np.abs(values - around) + abs(around))
    with np.errstate(all="ignore"):
        return dtypes.rounded_values(moved, dtype).astype(np.float64)


def _summary(is_outside: Array, distances: Array) -> str:
    """Whether chance explains the differences, which are in standard deviations."""
    if not is_outside.any():
        return "Every quantile lies where chance may take it."
    return (
        f"{np.count_nonzero(is_outside)} of {len(distances)} quantiles are farther from the law's than chance takes "
        f"them, by up to {number(float(distances[is_outside].max()), 2)} standard deviations."
    )
