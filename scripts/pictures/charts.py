"""Charts of `fanin.report.charts` as SVG for pages of Markdown: lines carry their names, without a legend."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from fanin.report.charts import Axis, Chart, Marks
from pictures.canvas import Canvas, Scheme, dots, number, polyline, spread

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Frame:
    """Where a chart is drawn.

    Attributes:
        left, top, right, bottom: the ends of the axes, in pixels.
        size: the size of the type.
        ticks: how many ticks an axis has at most, about: that of x, and that of y.
    """

    left: float
    top: float
    right: float
    bottom: float
    size: float = 14
    ticks: tuple[int, int] = (6, 6)


@dataclass(frozen=True)
class Scale:
    """From values to pixels.

    Attributes:
        place: where a value is.
        ticks: the values that are named, and their names.
    """

    place: Callable[[float], float]
    ticks: tuple[tuple[float, str], ...]


def scale(axis: Axis, values: list[float], start: float, end: float, most: int) -> Scale:
    """The scale of an axis between two pixels.

    Args:
        axis: the axis.
        values: what it must show, unless it has limits.
        start, end: the pixels of its smallest and its largest value.
        most: how many ticks it has at most, about.
    """
    shown = [each for each in values if math.isfinite(each) and (each > 0 or not axis.is_log)]
    low, high = axis.limits or (min(shown), max(shown))
    if axis.is_log:
        first, last = math.log10(low), math.log10(high)
        step = max(1, math.ceil((last - first) / most))
        powers = range(math.ceil(first / step) * step, math.floor(last) + 1, step)
        ticks = tuple((10.0**each, power_of_ten(each)) for each in powers)
        return Scale(lambda value: start + (math.log10(value) - first) / (last - first) * (end - start), ticks)
    step = _step((high - low) / most)
    count = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    ticks = tuple((each * step, f"{each * step:.{digits}f}".replace("-", "−")) for each in count)
    return Scale(lambda value: start + (value - low) / (high - low) * (end - start), ticks)


def power_of_ten(exponent: int) -> str:
    """A power of ten as it is written by hand."""
    return {0: "1", 1: "10"}.get(exponent, "10" + str(exponent).translate(_SUPERSCRIPTS))


def _step(least: float) -> float:
    """The smallest round number that is not below another."""
    power = 10.0 ** math.floor(math.log10(least))
    return power * next(each for each in (1, 2, 5, 10) if each * power >= least * (1 - 1e-9))


def draw(canvas: Canvas, chart: Chart, frame: Frame, notes: dict[str, str] | None = None) -> None:
    """Draws a chart.

    Args:
        canvas: where.
        chart: what.
        frame: in which place; lines with names need room for them on its right.
        notes: what is said below the name of a line.
    """
    ys = [each for marks in chart.marks for each in (*marks.y, *marks.upper)]
    ground = [0.0] if any(marks.kind == "bars" for marks in chart.marks) and not chart.y.is_log else []
    across = [*(each for marks in chart.marks for each in marks.x), *_guides(chart, "x")]
    x = scale(chart.x, across, frame.left, frame.right, frame.ticks[0])
    y = scale(chart.y, [*ys, *_guides(chart, "y"), *ground], frame.bottom, frame.top, frame.ticks[1])
    _axes(canvas, chart, frame, x, y)
    for marks in chart.marks:
        _marks(canvas, marks, x, y, frame)
    for guide in chart.guides:
        place = (x if guide.axis == "x" else y).place(guide.at)
        line = (
            f"M{number(place)},{number(frame.top)}V{number(frame.bottom)}"
            if guide.axis == "x"
            else f"M{number(frame.left)},{number(place)}H{number(frame.right)}"
        )
        canvas.path(line, stroke=canvas.scheme.soft, stroke_dasharray="2 4")
        if guide.label and guide.axis == "x":
            is_left = place < (frame.left + frame.right) / 2
            canvas.text(
                place + (6 if is_left else -6),
                frame.top + frame.size * 0.8,
                guide.label,
                size=frame.size - 1,
                color=canvas.scheme.soft,
                anchor="start" if is_left else "end",
            )
    _names(canvas, chart, frame, y, notes or {})


def _guides(chart: Chart, axis: str) -> list[float]:
    return [guide.at for guide in chart.guides if guide.axis == axis]


def _axes(canvas: Canvas, chart: Chart, frame: Frame, x: Scale, y: Scale) -> None:
    """The grid, the ticks and the names of the axes: that of y stands above, so that nobody has to turn their head."""
    scheme, size = canvas.scheme, frame.size
    for value, name in y.ticks:
        place = y.place(value)
        canvas.path(f"M{number(frame.left)},{number(place)}H{number(frame.right)}", stroke=scheme.line)
        canvas.text(frame.left - 8, place + size * 0.35, name, size=size, color=scheme.soft, anchor="end")
    canvas.path(f"M{number(frame.left)},{number(frame.bottom)}H{number(frame.right)}", stroke=scheme.soft)
    for value, name in x.ticks:
        place = x.place(value)
        canvas.path(f"M{number(place)},{number(frame.bottom)}v4", stroke=scheme.soft)
        canvas.text(place, frame.bottom + size + 6, name, size=size, color=scheme.soft, anchor="middle")
    middle = (frame.left + frame.right) / 2
    if chart.x.label:
        canvas.text(middle, frame.bottom + 2 * size + 10, chart.x.label, size=size, color=scheme.soft, anchor="middle")
    if chart.y.label:
        canvas.text(0, frame.top - size * 0.9, chart.y.label, size=size, color=scheme.soft)


def color_of(scheme: Scheme, marks: Marks) -> str:
    """The colour of marks."""
    return scheme.soft if marks.color < 0 else scheme.colors[marks.color % len(scheme.colors)]


def _marks(canvas: Canvas, marks: Marks, x: Scale, y: Scale, frame: Frame) -> None:
    color = color_of(canvas.scheme, marks)
    if marks.kind == "bars":
        data = "".join(
            f"M{number(x.place(left))},{number(frame.bottom)}V{number(y.place(height))}"
            f"H{number(x.place(right))}V{number(frame.bottom)}Z"
            for left, right, height in zip(marks.x, marks.x[1:], marks.y, strict=False)
        )
        canvas.path(data, fill=color, fill_opacity=0.35, stroke=canvas.scheme.paper, stroke_width=0.5)
        return
    points = [(x.place(each), y.place(value)) for each, value in zip(marks.x, marks.y, strict=True)]
    if marks.kind == "line":
        canvas.path(polyline(points), stroke=color, stroke_width=2.2, stroke_linejoin="round")
    elif marks.kind == "dots":
        canvas.path(dots(points), stroke=canvas.scheme.paper, stroke_width=9, stroke_linecap="round")
        canvas.path(dots(points), stroke=color, stroke_width=6.5, stroke_linecap="round")
    else:
        back = [(x.place(each), y.place(value)) for each, value in zip(marks.x, marks.upper, strict=True)]
        canvas.path(polyline([*points, *reversed(back)]) + "Z", fill=color, fill_opacity=0.2)


def _names(canvas: Canvas, chart: Chart, frame: Frame, y: Scale, notes: dict[str, str]) -> None:
    """The names of lines at their right ends, and what is said of them."""
    named = [marks for marks in chart.marks if marks.kind == "line" and marks.name]
    size = frame.size + 1
    places = spread([y.place(marks.y[-1]) for marks in named], 2.9 * size if notes else 1.3 * size)
    for marks, place in zip(named, places, strict=True):
        note = notes.get(marks.name, "")
        color = color_of(canvas.scheme, marks)
        canvas.text(
            frame.right + 12, place + (-0.15 if note else 0.35) * size, marks.name, size=size, color=color, bold=True
        )
        if note:
            canvas.text(frame.right + 12, place + 1.1 * size, note, size=frame.size, color=canvas.scheme.soft)
