"""Charts of numbers by depth: lines of theory, measured dots, and the bands that errors make."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fanin._core.types import Array
from fanin.report.charts import Axis, Chart, Guide, Marks, Numbers

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
    line = series.kind != "dots"
    marks = [Marks.of("line", x, y, series.name, color=color)] if line else []
    told = list(series.emphasized)
    if series.kind == "line" or (line and len(x) > _MOST_DOTS and not series.labels):
        return marks
    name = "" if line else series.name
    return [*marks, Marks.of("dots", x, y, name, color=color, labels=series.labels, emphasized=told)]
