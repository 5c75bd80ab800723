"""The density of a tensor's values, beside that of its law."""

from __future__ import annotations

import math

import numpy as np

from fanin._core import dtypes
from fanin._core.types import Array, DType
from fanin.audits.charts.subjects import Subject
from fanin.audits.judging.curves import StepCurve
from fanin.audits.judging.laws import Law, grid_of
from fanin.report import number
from fanin.report.charts import Axis, Chart, Guide, Marks

_FEWEST_BINS, _MOST_BINS = 8, 60
_FEW_VALUES = 48  # different values that have a bar each
_REPEATED = 4  # elements of each of them, on average
_NODES = 241  # at which densities are drawn
_FAR = 1.0  # times the distance of the outer quantiles, that values may be beyond them and be seen
_OUTER = 0.005  # the share of values beyond each of the outer quantiles
_BAR = 0.8  # of the least distance of two values: the width of their bars


def density(subject: Subject) -> Chart:
    """The density of a tensor's values, beside that of its law, whose bounds are marked.

    A few values that come again and again have a bar for the share of each.

    Args:
        subject: the tensor.

    References: D. Freedman and P. Diaconis, "On the histogram as a density estimator: L2 theory", Zeitschrift für
    Wahrscheinlichkeitstheorie 57, 1981: bins of the width `2 IQR / n ** (1/3)`.
    """
    ordered = subject.ordered
    is_few = ordered.is_complete and ordered.distinct <= _FEW_VALUES
    if is_few and (isinstance(subject.law.curve, StepCurve) or ordered.count >= _REPEATED * ordered.distinct):
        return _shares(subject)
    low, high = _seen(subject)
    edges = _edges(subject, low, high)
    below = ordered.below(edges)
    if edges[-1] >= ordered.values[-1]:
        below[-1] = 1.0  # the last bin has both ends
    heights = np.diff(below) / np.diff(edges)
    x, y = _line(subject, edges)
    measured = f"measured ({subject.sampled})"
    bounds = [bound for bound in (subject.law.low, subject.law.high) if edges[0] <= bound <= edges[-1]]
    return Chart(
        "density",
        "Density",
        f"{_summary(subject)}{_beyond(subject, below)}{subject.remark}",
        Axis("value", limits=(float(edges[0]), float(edges[-1]))),
        Axis("density"),
        (Marks.of("bars", edges, heights, measured), Marks.of("line", x, y, subject.words, color=1)),
        tuple(Guide("x", bound, "" if place else "bounds") for place, bound in enumerate(bounds)),
    )


def _summary(subject: Subject) -> str:
    """What was measured, beside the law's moments."""
    found, law = subject.statistics, subject.law
    measured = f"The values have mean {number(found.mean, 3)} and standard deviation {number(found.stddev, 3)}"
    if not subject.is_expected:
        return f"{measured}."
    return f"{measured}; expected are {number(law.mean, 3)} and {number(law.stddev, 3)}."


def _beyond(subject: Subject, below: Array) -> str:
    """How many values are beyond the axis, as a sentence that follows others."""
    left = round((1 - float(below[-1]) + float(below[0])) * subject.ordered.count)
    found = subject.statistics
    return (
        f" {left:,} values lie beyond the axis, out to {number(found.low, 3)} and {number(found.high, 3)}."
        if left
        else ""
    )


# ---------------------------------------------------------------- bins


def _seen(subject: Subject) -> tuple[float, float]:
    """The range that is shown: that of all values, but for the far ones; with the law's bounds, if they are near."""
    ordered, law = subject.ordered, subject.law
    first, last = ordered.quantile(_OUTER), ordered.quantile(1 - _OUTER)
    reach = _FAR * (last - first) or math.inf
    low, high = max(float(ordered.values[0]), first - reach), min(float(ordered.values[-1]), last + reach)
    near_low, near_high = low - reach <= law.low <= high, low <= law.high <= high + reach
    return min(low, law.low) if near_low else low, max(high, law.high) if near_high else high


def _edges(subject: Subject, low: float, high: float) -> Array:
    """The edges of the bins, with the law's bounds among them, and none within what a dtype rounds to one value."""
    width = _width(subject, low, high)
    inner_low, inner_high = max(low, subject.law.low), min(high, subject.law.high)
    if not inner_low < inner_high:
        inner_low, inner_high = low, high
    count = max(1, round((inner_high - inner_low) / width))
    step = (inner_high - inner_low) / count
    before = inner_low - step * np.arange(math.ceil((inner_low - low) / step - 1e-9), 0, -1)
    after = inner_high + step * np.arange(1, math.ceil((high - inner_high) / step - 1e-9) + 1)
    edges = np.concatenate((before, np.linspace(inner_low, inner_high, count + 1), after))
    return _between_values(edges, subject.dtype)


def _width(subject: Subject, low: float, high: float) -> float:
    """The width of a bin, by the rule of Freedman and Diaconis, within limits."""
    ordered = subject.ordered
    quartiles = ordered.quantile(0.75) - ordered.quantile(0.25)
    width = 2 * quartiles / ordered.count ** (1 / 3)
    fewest = min(_FEWEST_BINS, max(1, math.ceil(math.sqrt(ordered.count))))
    return min(max(width, (high - low) / _MOST_BINS), (high - low) / fewest)


def _between_values(edges: Array, dtype: DType) -> Array:
    """The edges, each moved halfway between two values of a narrow dtype, so that bins have what was rounded to them."""
    if dtypes.kind(dtype) != "float" or dtype.itemsize > 2:
        return edges
    values = grid_of(dtype)
    middles = (values[1:] + values[:-1]) / 2
    after = np.clip(np.searchsorted(middles, edges), 1, len(middles) - 1)
    is_before = edges - middles[after - 1] < middles[after] - edges
    moved = np.unique(np.where(is_before, middles[after - 1], middles[after]))
    return moved if len(moved) > 2 else edges


# ---------------------------------------------------------------- the law


def _line(subject: Subject, edges: Array) -> tuple[Array, Array]:
    """The points of the line of the law's density: a smooth one, or that of each bin if single values have a share."""
    law = subject.law
    assert law.curve is not None
    is_smooth = law.is_smooth and (law.draws is None)
    low, high = float(edges[0]), float(edges[-1])
    if not is_smooth:
        heights = np.diff(_below(law, edges)) / np.diff(edges)
        return np.repeat(edges, 2)[1:-1], np.repeat(heights, 2)
    first, last = max(low, law.low), min(high, law.high)
    if not first < last:
        return np.array([low, high]), np.zeros(2)
    nodes = np.linspace(first, last, _NODES)
    heights = np.diff(law.curve.at(nodes)) / np.diff(nodes)
    x = np.concatenate(([first], (nodes[1:] + nodes[:-1]) / 2, [last]))
    y = np.concatenate((heights[:1], heights, heights[-1:]))
    before = [low, first] if low < first else []  # where the law has a bound, it drops to zero
    after = [last, high] if last < high else []
    return np.concatenate((before, x, after)), np.concatenate((np.zeros(len(before)), y, np.zeros(len(after))))


def _below(law: Law, edges: Array) -> Array:
    """The law's share of values below each edge."""
    assert law.curve is not None
    below = law.curve.at(np.nextafter(edges, -np.inf))
    below[-1] = float(law.curve.at(edges[-1:])[0])
    return below


# ---------------------------------------------------------------- a few values


def _shares(subject: Subject) -> Chart:
    """The share of each of a few values, as bars, beside those of the law, as dots."""
    ordered, law = subject.ordered, subject.law
    assert law.curve is not None
    values, shares = ordered.values, np.diff(ordered.upto, prepend=0) / ordered.count
    half = _BAR / 2 * float(np.diff(values).min())
    edges = np.stack((values - half, values + half), axis=-1).reshape(-1)
    heights = np.zeros(2 * len(values) - 1)
    heights[::2] = shares
    marks = [Marks.of("bars", edges, heights, f"measured ({subject.sampled})")]
    if isinstance(law.curve, StepCurve):
        known = law.curve.at(values) - law.curve.at(np.nextafter(values, -np.inf))
        marks.append(Marks.of("dots", values, known, subject.words, color=1))
    return Chart(
        "density",
        "Shares of values",
        f"{len(values)} different values. {_summary(subject)}{subject.remark}",
        Axis("value"),
        Axis("share of elements"),
        tuple(marks),
    )
