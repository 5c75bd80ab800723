"""Charts of numbers by depth: lines of theory, measured dots, and the bands that errors make."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fanin._core.types import Array
from fanin.report.charts import Axis, Chart, Guide, Marks, Numbers

_NOTICED, _NOTICED_COLOR = "findings", 1  # what is to be noticed
_MOST_DOTS = 60  # on a line, beyond which they hide it
_WIDE = 2.0  # the quotient of the largest and the smallest number from which an axis is logarithmic


@dataclass(frozen=True)
class Series:
    """Numbers by depth, and how to draw them.

    Attributes:
        name: what the legend says; "" for nothing.
        values: a number for each depth; those that are not finite are left out.
        errors: their standard errors, drawn as a band of two on each side; None for none.
        kind: "line" (theory), "dots" (measured numbers), or "both".
        color: the number of its colour, so that theory and measurement can share one; None for its own place.
        start: the depth of the first number.
        labels: what each number is of, for those who point at it.
        emphasized: the places of the numbers that are to be noticed.
    """

    name: str
    values: Numbers
    errors: Numbers | None = None
    kind: Literal["line", "dots", "both"] = "both"
    color: int | None = None
    start: float = 0
    labels: Sequence[str] = ()
    emphasized: Iterable[int] = ()


def by_depth(
    name: str,
    title: str,
    description: str,
    series: Sequence[Series],
    *,
    x: str = "layer",
    y: str = "",
    is_log: bool = True,
    guides: Sequence[Guide] = (),
) -> Chart:
    """A chart of numbers by depth.

    Args:
        name, title, description: as of a `Chart`.
        series: the numbers.
        x, y: the names of the axes.
        is_log: whether the vertical axis is logarithmic.
        guides: lines that mark values.

    >>> from fanin.report.depth import Series, by_depth
    >>> chart = by_depth("signal", "Signal", "It stays.", [Series("he_normal", [1.0, 0.9], kind="line")])
    >>> [(each.kind, each.name, each.x) for each in chart.marks]
    [('line', 'he_normal', (0.0, 1.0))]
    """
    bands = [_band(each, place) for place, each in enumerate(series) if each.errors is not None]
    marks = [mark for place, each in enumerate(series) for mark in _marks(each, place)]
    return Chart(name, title, description, Axis(x), Axis(y, is_log), (*bands, *marks), tuple(guides))


def is_wide(values: Iterable[float]) -> bool:
    """Whether numbers differ so much that an axis for them is better logarithmic."""
    numbers = np.array([each for each in values if 0 < each < np.inf])
    return len(numbers) > 0 and bool(numbers.max() > _WIDE * numbers.min())


def _color(series: Series, place: int) -> int:
    return place if series.color is None else series.color


def _places(series: Series) -> Array:
    return series.start + np.arange(len(np.asarray(series.values)))


def _band(series: Series, place: int) -> Marks:
    """Two standard errors on each side."""
    values, reach = np.asarray(series.values, float), 2 * np.asarray(series.errors, float)
    return Marks.of("band", _places(series), values - reach, color=_color(series, place), upper=values + reach)


def _marks(series: Series, place: int) -> list[Marks]:
    """The line, the dots, or both; dots that would hide their line only if they have something to say."""
    color, x, y = _color(series, place), _places(series), np.asarray(series.values, float)
    line = [Marks.of("line", x, y, series.name, color=color)] if series.kind != "dots" else []
    if series.kind == "line" or (line and len(x) > _MOST_DOTS and not series.labels):
        return line
    return [*line, *dots(x, y, "" if line else series.name, color, series.labels, series.emphasized)]


def dots(
    x: Numbers, y: Numbers, name: str, color: int = 0, labels: Sequence[str] = (), emphasized: Iterable[int] = ()
) -> list[Marks]:
    """Dots, and apart from them those that are to be noticed, which the legend calls findings.

    Args:
        x, y: the coordinates.
        name, color, labels: as of `Marks`.
        emphasized: the places of the dots that are to be noticed.

    >>> from fanin.report.depth import dots
    >>> [(each.name, each.y) for each in dots([0, 1, 2], [1, 9, 1], "std", emphasized=[1])]
    [('std', (1.0, 1.0)), ('findings', (9.0,))]
    """
    across, up = np.asarray(x, float), np.asarray(y, float)
    is_noticed = np.zeros(len(up), bool)
    is_noticed[list(emphasized)] = True
    marks = []
    for is_chosen, called, hue in ((~is_noticed, name, color), (is_noticed, _NOTICED, _NOTICED_COLOR)):
        chosen = np.flatnonzero(is_chosen)
        told = [labels[place] for place in chosen.tolist()] if labels else ()
        noticed = range(len(chosen)) if is_chosen is is_noticed else ()
        marks.append(Marks.of("dots", across[chosen], up[chosen], called, color=hue, labels=told, emphasized=noticed))
    return [each for each in marks if each.y]
