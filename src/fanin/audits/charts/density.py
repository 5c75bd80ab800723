"""The density of a tensor's values, beside that of its law."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fanin._core.types import Array
from fanin.audits.audited import AuditedTensor
from fanin.audits.charts.bins import edges_of
from fanin.audits.charts.subjects import Subject
from fanin.audits.judging.curves import StepCurve
from fanin.audits.judging.laws import Law
from fanin.report import inline, number
from fanin.report.charts import Axis, Chart, Guide, Marks

_NODES = 161  # at which densities are drawn
_HEAVY, _HEAVIER = 0.02, 20.0  # the share of a value that is called single, and how many times that of most others
_MOST_TOLD = 3  # of them
_SPARK_BINS, _SPARK_OUTER = 24, 0.002  # bins of a sparkline, and the share of values beyond either of its ends
_BAR = 0.8  # of the least distance of two values: the width of their bars


def density(subject: Subject) -> Chart:
    """The density of a tensor's values, beside that of its law, whose bounds are marked.

    A few values that come again and again have a bar for the share of each.

    Args:
        subject: the tensor.
    """
    if subject.is_of_few_values:
        return _shares(subject)
    edges, atoms = edges_of(subject), _atoms(subject)
    below = subject.ordered.below(edges)
    if edges[-1] >= subject.ordered.values[-1]:
        below[-1] = 1.0  # the last bin has both ends
    heights = (np.diff(below) - _shares_of(atoms, edges)) / np.diff(edges)
    bounds = [bound for bound in (subject.law.low, subject.law.high) if edges[0] <= bound <= edges[-1]]
    return Chart(
        "density",
        "Density",
        f"{_summary(subject)}{_beyond(subject, below)}{_of_atoms(atoms)}{subject.remark}",
        Axis("value", limits=(float(edges[0]), float(edges[-1]))),
        Axis("density"),
        (
            Marks.of("bars", edges, heights.clip(0.0), _measured(subject, atoms)),
            Marks.of("line", *_line(subject, edges, list(atoms)), subject.words, color=1),
        ),
        tuple(Guide("x", bound, "" if place else "bounds") for place, bound in enumerate(bounds)),
    )


def _summary(subject: Subject) -> str:
    """What was measured, beside the law's moments."""
    found, law = subject.statistics, subject.law
    moments = f"mean {number(found.mean, 3)} and standard deviation {number(found.stddev, 3)}"
    measured = f"The values ({subject.sampled}) have {moments}"
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


def _measured(subject: Subject, atoms: Mapping[float, float]) -> str:
    """What the bars are of."""
    listed = " and ".join(number(value, 3) for value in list(atoms)[:_MOST_TOLD])
    return f"measured, but for {100 * sum(atoms.values()):.3g} % at {listed}" if atoms else "measured"


# ---------------------------------------------------------------- single values


def _atoms(subject: Subject) -> dict[float, float]:
    """The values that come far more often than others, as zeros or ends of a clipped tensor, with their shares.

    Their bars would dwarf all others.
    """
    ordered = subject.ordered
    shares = (ordered.upto - ordered.less) / ordered.count
    is_atom = (shares >= _HEAVY) & (shares > _HEAVIER * np.median(shares))
    return dict(zip(ordered.values[is_atom].tolist(), shares[is_atom].tolist(), strict=True))


def _shares_of(atoms: Mapping[float, float], edges: Array) -> Array:
    """The shares of single values in each bin."""
    places, shares = np.array(list(atoms), float), np.array(list(atoms.values()), float)
    bins = np.clip(np.searchsorted(edges, places, side="right") - 1, 0, len(edges) - 2)
    return np.bincount(bins, shares, minlength=len(edges) - 1)


def _of_atoms(atoms: Mapping[float, float]) -> str:
    """The single values, as a sentence that follows others."""
    listed = [
        f"{100 * share:.3g} % are exactly {number(value, 3)}" for value, share in list(atoms.items())[:_MOST_TOLD]
    ]
    return f" {', '.join(listed)}, and not shown." if atoms else ""


# ---------------------------------------------------------------- the law


def _line(subject: Subject, edges: Array, atoms: Sequence[float]) -> tuple[Array, Array]:
    """The line of the law's density: a smooth one, or that of each bin, if single values have a share."""
    law = subject.law
    assert law.curve is not None
    low, high = float(edges[0]), float(edges[-1])
    if not law.is_smooth or law.draws is not None:
        shares = np.diff(_below(law, edges)) - _shares_of(_law_shares(law, atoms), edges)
        return np.repeat(edges, 2)[1:-1], np.repeat(shares.clip(0.0) / np.diff(edges), 2)
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


def _law_shares(law: Law, values: Sequence[float]) -> dict[float, float]:
    """The shares that single values have in a law."""
    assert law.curve is not None
    at = np.array(values, float)
    shares = law.curve.at(at) - law.curve.at(np.nextafter(at, -np.inf))
    return dict(zip(values, shares.tolist(), strict=True))


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
    marks = [Marks.of("bars", edges, heights, "measured")]
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


# ---------------------------------------------------------------- in a line


def spark(tensor: AuditedTensor) -> str:
    """The histogram of a tensor's values as a sparkline in HTML, with the outline of its law; "" if they are equal.

    Args:
        tensor: the tensor.

    >>> import fanin
    >>> found = fanin.audit({"kernel": fanin.HeNormal(seed=1)((64, 64)), "bias": fanin.Zeros()((64,))})
    >>> spark(found["kernel"])[:31], spark(found["bias"])
    ('<svg class="spark" width="72" h', '')
    """
    ordered, law = tensor.ordered, tensor.law
    if ordered is None or ordered.distinct < 2:
        return ""
    low, high = ordered.quantile(_SPARK_OUTER), ordered.quantile(1 - _SPARK_OUTER)
    if not low < high or not np.isfinite(high - low):
        return ""
    edges = np.linspace(low, high, _SPARK_BINS + 1)
    edges[-1] = np.nextafter(high, np.inf)  # of a few values, the largest counts, too
    curve = None if law is None else law.curve
    expected = None if curve is None else np.diff(curve.at(edges))
    label = f"values from {number(low, 3)} to {number(high, 3)}"
    return inline.bars(np.diff(ordered.below(edges)), expected, label)
