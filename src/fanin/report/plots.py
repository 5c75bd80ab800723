"""Charts as matplotlib draws them, which is optional.

`drawn` makes a figure of charts, without pyplot's global state; `draw` draws one on axes that it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fanin._core.messages import missing, visible
from fanin._core.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fanin.report.charts import Axis, Chart, Marks, Numbers
    from fanin.report.figures import Theme

# After Okabe and Ito, "Color Universal Design", 2008, as light or dark as it takes for a contrast of 3 with both white
# and nearly black backgrounds.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#BE6A99", "#A87400", "#7F7F7F")

_RULE = COLORS[-1]  # lines that only guide the eye
_NOTICED = COLORS[1]
_MARKS = "os^Dvp"  # beside the colours, for those who do not tell them apart
_MANY_DOTS = 60  # which are small
_THICKNESS = 0.7  # of a row, beside the distance of two
_FEW_POWERS = 300.0  # of ten, on an axis that has numbers between them
_WIDTH, _HEIGHT = 6.4, 4.0  # of a figure, in inches
_BELOW = 34  # points from an axis to its legend, for its numbers and its label
_SHORT_LINE = 48  # characters of all names, which fit in a line
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
    width: float = _WIDTH,
    height: float = _HEIGHT,
    *,
    rows: int = 1,
    columns: int = 1,
    theme: Theme = "any",
    **options: Any,
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
    ...     plots.draw(axes, chart)
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


def drawn(charts: Iterable[Chart], theme: Theme = "any", title: str = "") -> Figure:
    """A figure of charts, side by side.

    Args:
        charts: the charts, one at least.
        theme: the background: "light", "dark", or "any" for none, with colours that are legible on both.
        title: what stands above all of them.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there is no chart; if something says why, so does the message.
    """
    several = list(charts)
    if not several:
        reasons = dict.fromkeys(getattr(charts, "missing", {}).values())
        raise ValueError(" ".join(["There is nothing to draw.", *reasons]))
    columns = min(len(several), 2)
    rows = -(-len(several) // columns)
    width, height = (_WIDTH, _HEIGHT) if columns == 1 else (5.4 * columns, 4.0 * rows)
    with figure(width, height, rows=rows, columns=columns, theme=theme) as (made, axes):
        for each, chart in zip(axes, several, strict=False):
            draw(each, chart)
        for each in axes[len(several) :]:
            each.set_axis_off()
        if title:
            made.suptitle(label(title), fontsize="medium", x=0.01, ha="left")
    return made


def draw(axes: Axes, chart: Chart) -> None:
    """Draws a chart as its data says.

    Args:
        axes: where to draw.
        chart: what to draw.
    """
    for marks in chart.marks:
        _draw_marks(axes, marks, chart.x.is_log, chart.y.is_log)
    for guide in chart.guides:
        line = axes.axvline if guide.axis == "x" else axes.axhline
        line(guide.at, color=_RULE, linestyle=":", linewidth=1, label=label(guide.label) if guide.label else None)
    kinds = {marks.kind for marks in chart.marks}
    _scale(axes, "x", chart.x, from_zero="rows" in kinds)
    _scale(axes, "y", chart.y, from_zero="bars" in kinds)
    axes.set_title(label(chart.title))
    handles, names = axes.get_legend_handles_labels()
    if len(names) > 1:
        _legend(axes, handles, names)


def _legend(axes: Axes, handles: Sequence[Any], names: Sequence[str]) -> None:
    """The legend below the axis, where it hides nothing; short names share a line."""
    from matplotlib.transforms import ScaledTranslation

    parent = axes.figure
    below = axes.transAxes + ScaledTranslation(0, -_BELOW / 72, parent.dpi_scale_trans)
    columns = len(names) if sum(map(len, names)) <= _SHORT_LINE else 1
    axes.legend(
        handles,
        names,
        loc="upper left",
        bbox_to_anchor=(0, 0),
        bbox_transform=below,
        borderaxespad=0,
        ncols=columns,
        borderpad=0,
    )


def _scale(axes: Axes, which: Literal["x", "y"], axis: Axis, *, from_zero: bool) -> None:
    """Makes an axis what the data says; that of bars begins at zero, unless it says otherwise."""
    set_label, set_scale, set_limits, set_ticks = (
        getattr(axes, f"set_{which}{part}") for part in ("label", "scale", "lim", "ticks")
    )
    set_label(label(axis.label))
    if axis.is_log:
        set_scale("log")
        _write_plainly(axes.xaxis if which == "x" else axes.yaxis)
    if axis.names:
        set_ticks(range(len(axis.names)), [label(each) for each in axis.names])
        axes.grid(visible=False, axis=which)
    if axis.names and which == "y":
        axes.set_ylim(len(axis.names) - 0.4, -0.6)
    if axis.limits is not None:
        set_limits(*axis.limits)
    elif from_zero and not axis.is_log:
        set_limits(0, None)


def _write_plainly(axis: Any) -> None:
    """Writes the numbers of a logarithmic axis that spans little as people do, and some of those between powers."""
    low, high = axis.get_view_interval()
    if low >= 1e-3 and high <= 1e5 and high < _FEW_POWERS * low:
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(lambda x, _: f"{x:g}" if f"{x:e}"[0] in "25" else "")


def _draw_marks(axes: Axes, marks: Marks, x_is_log: bool, y_is_log: bool) -> None:
    """Draws marks of one kind."""
    color = _RULE if marks.color < 0 else COLORS[marks.color % len(COLORS)]
    name = label(marks.name) if marks.name else None
    x, y = _drawable(marks.x, x_is_log), _drawable(marks.y, y_is_log)
    if marks.kind == "line":
        axes.plot(x, y, color=color, linewidth=1 if marks.color < 0 else 1.6, label=name)
    elif marks.kind == "dots":
        noticed = list(marks.emphasized)
        if len(noticed) < len(x):
            size, shape = (3, "o") if len(x) > _MANY_DOTS else (4.5, _MARKS[max(marks.color, 0) % len(_MARKS)])
            axes.plot(x, y, color=color, marker=shape, linestyle="none", markersize=size, label=name)
            name = None
        if noticed:
            axes.plot(x[noticed], y[noticed], color=_NOTICED, marker="D", linestyle="none", markersize=6, label=name)
    elif marks.kind == "bars":
        axes.stairs(y, x, fill=True, color=color, alpha=0.65, label=name)
    elif marks.kind == "rows":
        axes.barh(y, x, height=_THICKNESS, color=color, alpha=0.75, label=name)
    else:
        axes.fill_between(x, y, _drawable(marks.upper, y_is_log), color=color, alpha=0.2, linewidth=0, label=name)


def _drawable(values: Numbers, log: bool) -> Array:
    """The values, with NaN in the place of those that cannot be drawn."""
    numbers = np.array(values, float)
    low = _SHORTEST if log else -_LARGEST
    numbers[~((numbers >= low) & (numbers <= _LARGEST))] = np.nan
    return numbers
