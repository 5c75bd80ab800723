"""The bins of a histogram of a tensor's values: which range is shown, how wide they are, and where they meet."""

from __future__ import annotations

import math

import numpy as np

from fanin._core import dtypes
from fanin._core.types import Array
from fanin.audits.charts.subjects import Subject
from fanin.audits.judging.laws import grid_of

_FEWEST, _MOST = 8, 60  # bins
_FAR = 1.0  # times the distance of the outer quantiles, that values may be beyond them and be seen
_OUTER = 0.005  # the share of values beyond each of the outer quantiles
_WITHIN = 2.6  # standard deviations of a law, within which most values are
_REPEATED = 4  # elements of each value, on average, of a sample of the values of a grid


def edges_of(subject: Subject) -> Array:
    """The edges of bins, with the law's bounds among them, if they are near, and no value of a grid cut in two.

    Args:
        subject: the tensor.

    References: D. Freedman and P. Diaconis, "On the histogram as a density estimator: L2 theory", Zeitschrift für
    Wahrscheinlichkeitstheorie 57, 1981: bins of the width `2 IQR / n ** (1/3)`.
    """
    low, high = _seen(subject)
    width = _width(subject, low, high)
    inner_low, inner_high = max(low, subject.law.low), min(high, subject.law.high)
    if not inner_low < inner_high:
        inner_low, inner_high = low, high
    count = max(1, round((inner_high - inner_low) / width))
    step = (inner_high - inner_low) / count
    before = inner_low - step * np.arange(math.ceil((inner_low - low) / step - 1e-9), 0, -1)
    after = inner_high + step * np.arange(1, math.ceil((high - inner_high) / step - 1e-9) + 1)
    edges = np.concatenate((before, np.linspace(inner_low, inner_high, count + 1), after))
    return _between(edges, _values_near(subject, low, high))


def _seen(subject: Subject) -> tuple[float, float]:
    """The range that is shown: that of most values and most of the law, but for what is far; with near bounds."""
    ordered, law = subject.ordered, subject.law
    first, last = ordered.quantile(_OUTER), ordered.quantile(1 - _OUTER)
    reach = _FAR * (last - first) or law.stddev
    low, high = max(float(ordered.values[0]), first - reach), min(float(ordered.values[-1]), last + reach)
    usual = max(law.mean - _WITHIN * law.stddev, law.low), min(law.mean + _WITHIN * law.stddev, law.high)
    ends = [law.low, law.high, *usual]
    return (
        min([low, *(end for end in ends if low - reach <= end <= high)]),
        max([high, *(end for end in ends if low <= end <= high + reach)]),
    )


def _width(subject: Subject, low: float, high: float) -> float:
    """The width of a bin, within limits."""
    ordered = subject.ordered
    width = 2 * (ordered.quantile(0.75) - ordered.quantile(0.25)) / ordered.count ** (1 / 3)
    fewest = min(_FEWEST, max(1, math.ceil(math.sqrt(ordered.count))))
    return min(max(width, (high - low) / _MOST), (high - low) / fewest)


def _values_near(subject: Subject, low: float, high: float) -> Array:
    """The values that can be between two bounds, and the next ones, if they are those of a coarse grid; else none."""
    ordered, dtype = subject.ordered, subject.dtype
    if ordered.is_complete and ordered.count >= _REPEATED * ordered.distinct:  # such as uniforms of seven random bits
        steps = np.diff(ordered.values)
        return np.concatenate((ordered.values[:1] - steps[:1], ordered.values, ordered.values[-1:] + steps[-1:]))
    if dtypes.kind(dtype) != "float" or dtype.itemsize > 2:
        return np.empty(0)
    values = grid_of(dtype)
    return values[max(0, np.searchsorted(values, low) - 2) : np.searchsorted(values, high, side="right") + 2]


def _between(edges: Array, values: Array) -> Array:
    """The edges, each moved halfway between two of the values, so that bins have all that was rounded to them."""
    middles = (values[1:] + values[:-1]) / 2
    if len(middles) < 2:
        return edges
    after = np.clip(np.searchsorted(middles, edges), 1, len(middles) - 1)
    is_before = edges - middles[after - 1] < middles[after] - edges
    return np.unique(np.where(is_before, middles[after - 1], middles[after]))
