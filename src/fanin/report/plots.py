"""Plots of plain data by matplotlib, which is optional: lines by depth, histograms against densities, ratios.

Each function draws on the axes that it is given. `figure` makes them, without pyplot's global state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from fanin._core.messages import missing, visible
from fanin._core.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fanin.report.charts import Chart, Marks
    from fanin.report.figures import Theme

# After Okabe and Ito, "Color Universal Design", 2008, as light or dark as it takes for a contrast of 3 with both white
# and nearly black backgrounds.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#BE6A99", "#A87400", "#7F7F7F")

Numbers: TypeAlias = "Sequence[float] | Array"
_RULE = COLORS[-1]  # lines that only guide the eye
_FIRST, _SECOND = COLORS[:2]
_MARKS = "os^Dvp"  # beside the colours, for those who do not tell them apart
_SHORTEST, _LARGEST = 1e-300, 1e300  # what a logarithmic axis shows


def check() -> None:
    """Raises an error if matplotlib is not installed.

    Raises:
        ImportError: it is not; the message says what to install.
    """
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise missing(error, "matplotlib", "matplotlib", extra="plot") from error
    del matplotlib


@contextmanager
def figure(
    width: float = 6.4, height: float = 3.6, *, rows: int = 1, columns: int = 1, theme: Theme = "any", **options: Any
) -> Iterator[tuple[Figure, list[Axes]]]:
    """A new figure and its axes, in fanin's style, which holds within the context.

    Args:
        width, height: its size in inches.
        rows, columns: how many axes there are.
        theme: the background: "light", "dark", or "any" for none, with colours that are legible on both.
        **options: further arguments of matplotlib's `Figure.subplots`, such as `sharex`.

    Raises:
        ImportError: matplotlib is not installed.

    >>> from fanin.report import plots
    >>> with plots.figure() as (figure, [axes]):  # doctest: +SKIP
    ...     plots.lines_by_depth(axes, [plots.Series("he_normal", [1.0, 0.9, 1.1])])
    """
    check()
    from fanin.report.figures import NotebookFigure, style

    with style(theme):
        made = NotebookFigure(figsize=(width, height), layout="constrained")
        axes = made.subplots(rows, columns, squeeze=False, **options)
        yield made, list(axes.flat)


def label(name: str) -> str:
    """A name as matplotlib shows it to the letter: `$` begins no formula, and `_` at the beginning hides nothing."""
    plain = visible(name).replace("$", r"\$")
    return f" {plain}" if plain.startswith("_") else plain


@dataclass(frozen=True)
class Series:
    """Numbers by depth, and how to draw them.

    Attributes:
        name: what the legend says; "" for nothing.
        values: a number for each depth; those that are not finite are left out.
        errors: their standard errors, drawn as a band of two on each side; None for none.
        kind: "line" (theory), "marks" (measured numbers), or "both".
        color: the number of its colour, so that theory and measurement can share one; None for its own place.
        start: the depth of the first number.
    """

    name: str
    values: Numbers
    errors: Numbers | None = None
    kind: Literal["line", "marks", "both"] = "both"
    color: int | None = None
    start: float = 0


def draw(axes: Axes, chart: Chart) -> None:
    """Draws a chart as its data says.

    Args:
        axes: where to draw.
        chart: what to draw.
    """
    for marks in chart.marks:
        _draw_marks(axes, marks, chart.y.is_log)
    for guide in chart.guides:
        line = axes.axvline if guide.axis == "x" else axes.axhline
        line(guide.at, color=_RULE, linestyle=":", linewidth=1, label=label(guide.label) if guide.label else None)
    for axis, scale, limits in ((chart.x, axes.set_xscale, axes.set_xlim), (chart.y, axes.set_yscale, axes.set_ylim)):
        if axis.is_log:
            scale("log")
        if axis.limits is not None:
            limits(*axis.limits)
    if any(marks.kind == "bars" for marks in chart.marks) and not chart.y.is_log and chart.y.limits is None:
        axes.set_ylim(bottom=0)
    _finish(axes, chart.title, chart.x.label, chart.y.label)
    handles, names = axes.get_legend_handles_labels()
    if len(names) > 1:
        axes.legend(handles, names)


def _draw_marks(axes: Axes, marks: Marks, is_log: bool) -> None:
    """Draws marks of one kind."""
    color = _RULE if marks.color < 0 else COLORS[marks.color % len(COLORS)]
    name = label(marks.name) if marks.name else None
    x, y = np.array(marks.x), _drawable(marks.y, is_log)
    if marks.kind == "line":
        axes.plot(x, y, color=color, linewidth=1 if marks.color < 0 else None, label=name)
    elif marks.kind == "dots":
        axes.plot(x, y, color=color, marker="o", linestyle="none", markersize=4, label=name)
        noticed = list(marks.emphasized)
        axes.plot(x[noticed], y[noticed], color=_SECOND, marker="D", linestyle="none", markersize=6)
    elif marks.kind == "bars":
        axes.stairs(y, x, fill=True, color=color, alpha=0.55, label=name)
    else:
        axes.fill_between(x, y, _drawable(marks.upper, is_log), color=color, alpha=0.2, linewidth=0, label=name)


def lines_by_depth(
    axes: Axes,
    series: Sequence[Series],
    *,
    title: str = "",
    x: str = "layer",
    y: str = "",
    log: bool = True,
    legend: bool = True,
) -> None:
    """Draws numbers by depth, as lines or marks.

    Args:
        axes: where to draw.
        series: the numbers.
        title: what stands above.
        x, y: the names of the axes.
        log: whether the vertical axis is logarithmic. Numbers that are not positive, or beyond what it can show, are
            left out then.
        legend: whether to show the names.
    """
    handles, names = [], []
    for place, each in enumerate(series):
        number = place if each.color is None else each.color
        values = _drawable(each.values, log)
        depths = each.start + np.arange(len(values))
        few = max(1, len(values) // 15)
        [line] = axes.plot(
            depths,
            values,
            color=COLORS[number % len(COLORS)],
            linestyle="none" if each.kind == "marks" else "-",
            marker=None if each.kind == "line" else _MARKS[number % len(_MARKS)],
            markevery=few,
            markersize=5,
        )
        if each.errors is not None:
            band = 2 * np.asarray(each.errors, float)
            low, high = (_drawable(values + sign * band, log) for sign in (-1, 1))
            axes.fill_between(depths, low, high, color=COLORS[number % len(COLORS)], alpha=0.2, linewidth=0)
        if each.name:
            handles.append(line)
            names.append(label(each.name))
    if log:
        axes.set_yscale("log")
    _finish(axes, title, x, y)
    if handles and legend:
        axes.legend(handles, names)


def histogram(
    axes: Axes,
    edges: Numbers,
    counts: Numbers,
    *,
    density: Callable[[Array], Array] | None = None,
    expected: Numbers | None = None,
    bounds: tuple[float, float] | None = None,
    title: str = "",
    x: str = "value",
) -> None:
    """Draws the density of what was counted, against the one in theory.

    Args:
        axes: where to draw.
        edges: the edges of the bins.
        counts: how many values each bin has.
        density: the density in theory, of an array of values.
        expected: how many values each bin has in theory, instead.
        bounds: the smallest and the largest value in theory, marked if they are finite.
        title: what stands above.
        x: the name of the horizontal axis.
    """
    edges, counts = np.asarray(edges, float), np.asarray(counts, float)
    widths = np.diff(edges)
    scale = np.where(widths > 0, widths, 1.0) * max(counts.sum(), 1.0)
    axes.stairs(counts / scale, edges, fill=True, color=_FIRST, alpha=0.55, label="measured")
    if density is not None:
        values = np.linspace(edges[0], edges[-1], 400)
        axes.plot(values, density(values), color=_SECOND, label="theory")
    elif expected is not None:
        axes.stairs(np.asarray(expected, float) / scale, edges, color=_SECOND, linewidth=1.6, label="theory")
    for number, bound in enumerate(bounds or ()):
        if np.isfinite(bound):
            axes.axvline(bound, color=_RULE, linestyle=":", label="" if number else "bounds")
    axes.set_ylim(bottom=0)
    _finish(axes, title, x, "density")
    axes.legend()


def ratio_strip(
    axes: Axes,
    names: Sequence[str],
    ratios: Numbers,
    *,
    errors: Numbers | None = None,
    marked: Sequence[bool] = (),
    title: str = "",
    y: str = "measured ÷ expected",
    is_relative: bool = True,
) -> None:
    """Draws a ratio for each of many things in order, such as std ÷ expected std by layer, about the line of 1.

    Args:
        axes: where to draw.
        names: what they are called; if they are many, only some of the names are shown.
        ratios: the ratios; those that are not positive and finite are left out.
        errors: their standard errors, drawn as bars of two on each side.
        marked: whether each one is to be noticed.
        title: what stands above.
        y: the name of the vertical axis.
        is_relative: whether they are ratios; False for numbers of any size, without that line.
    """
    values = _drawable(ratios, True)
    places = np.arange(len(values))
    noticed = np.asarray(marked if len(marked) else np.zeros(len(values)), bool)
    bars = None if errors is None else 2 * np.asarray(errors, float)
    if is_relative:
        axes.axhline(1.0, color=_RULE, linewidth=1)
    for which, color, mark in ((~noticed, _FIRST, "o"), (noticed, _SECOND, "D")):
        shown = None if bars is None else bars[which]
        axes.errorbar(places[which], values[which], shown, color=color, marker=mark, linestyle="none", markersize=4)
    least, most = np.nanmin(values, initial=np.inf), np.nanmax(values, initial=0.0)
    if is_relative and max(most, 1.0) > 2 * min(least, 1.0):
        axes.set_yscale("log", base=2)
        axes.yaxis.set_major_formatter("{x:g}")
    elif not is_relative and most > 2 * least:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:.1g}" if most < 30 * least else "")
    every = max(1, -(-len(values) // 25))
    axes.set_xticks(places[::every], [label(name) for name in names[::every]], rotation=90, fontsize="x-small")
    _finish(axes, title, "", y)


def _drawable(values: Numbers, log: bool) -> Array:
    """The values, with NaN in the place of those that cannot be drawn."""
    numbers = np.array(values, float)
    low = _SHORTEST if log else -_LARGEST
    numbers[~((numbers >= low) & (numbers <= _LARGEST))] = np.nan
    return numbers


def _finish(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(label(title))
    axes.set_xlabel(label(x))
    axes.set_ylabel(label(y))
