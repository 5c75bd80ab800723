"""Small matrices as images: blue is negative, orange is positive, and the page shows through at zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pictures.canvas import Canvas, Scheme, number

Array = np.ndarray[Any, Any]
_LEVELS = 12  # shades on each side of zero
_ROOM = 36  # pixels that a cell needs to show its number


@dataclass(frozen=True)
class Panel:
    """A matrix of real numbers, and what stands below it."""

    caption: str
    values: Array


def panels(canvas: Canvas, given: Sequence[Panel], top: float, width: float, height: float) -> None:
    """Draws matrices side by side in the same colours, with a scale.

    Args:
        canvas: where.
        given: the matrices.
        top: the upper end, in pixels.
        width: how wide they may be together.
        height: how high each may be.
    """
    largest = max(float(np.nanmax(np.abs(panel.values))) for panel in given) or 1.0
    gap, size = 28, 13
    legend = 64  # pixels for the scale
    columns = sum(panel.values.shape[1] for panel in given)
    rows = max(panel.values.shape[0] for panel in given)
    side = min((width - legend - gap * len(given)) / columns, height / rows)
    left = 0.0
    for panel in given:
        has_numbers = side >= _ROOM
        _image(canvas, panel.values / largest, left, top, side, 0.4 if has_numbers else 0.85)
        if has_numbers:
            _numbers(canvas, panel.values, left, top, side)
        below = top + panel.values.shape[0] * side + size + 8
        canvas.text(left, below, panel.caption, size=size, color=canvas.scheme.soft)
        left += panel.values.shape[1] * side + gap
    _scale(canvas, largest, left, top, rows * side)


def grid(kernel: Array) -> Array:
    """A kernel (height, width, in, out) as one matrix: the matrix of each place of the window, with a gap between."""
    height, width, inputs, outputs = kernel.shape
    made = np.full((height * (inputs + 1) - 1, width * (outputs + 1) - 1), np.nan)
    for row, column in np.ndindex(height, width):
        made[
            row * (inputs + 1) : row * (inputs + 1) + inputs, column * (outputs + 1) : column * (outputs + 1) + outputs
        ] = kernel[row, column]
    return made


def _image(canvas: Canvas, values: Array, left: float, top: float, side: float, strength: float) -> None:
    """The cells of a matrix of values from -1 to 1, those of a shade as one path; `strength` is how dark 1 is."""
    scheme = canvas.scheme
    shades = np.round(values * _LEVELS)
    for shade in np.unique(shades[np.isfinite(shades)]):
        cells = "".join(
            f"M{number(left + column * side)},{number(top + row * side)}h{number(side)}v{number(side)}H"
            f"{number(left + column * side)}z"
            for row, column in np.argwhere(shades == shade)
        )
        color, opacity = _paint(scheme, shade / _LEVELS, strength)
        canvas.path(cells, fill=color, fill_opacity=f"{opacity:.2f}", stroke=scheme.line, stroke_width=0.5)


def _numbers(canvas: Canvas, values: Array, left: float, top: float, side: float) -> None:
    """The values in their cells."""
    for (row, column), value in np.ndenumerate(values):
        place = left + (column + 0.5) * side, top + (row + 0.5) * side + 5
        canvas.text(*place, f"{value:.3g}".replace("-", "−"), size=11.5, anchor="middle")


def _paint(scheme: Scheme, value: float, strength: float) -> tuple[str, float]:
    """The colour of a value from -1 to 1, and how little shows through."""
    return (scheme.raised, 0.6) if not value else (scheme.colors[int(value > 0)], strength * abs(value))


def _scale(canvas: Canvas, largest: float, left: float, top: float, height: float) -> None:
    """The scale of the colours."""
    height = min(height, 150)
    steps = np.linspace(1, -1, 2 * _LEVELS + 1)
    side = height / len(steps)
    for place, value in enumerate(steps):
        color, opacity = _paint(canvas.scheme, value, 0.85)
        canvas.shape(
            "rect",
            x=left,
            y=top + place * side,
            width=12,
            height=side + 0.1,
            fill=color,
            fill_opacity=f"{opacity:.2f}",
        )
    for value, place in ((largest, 10.0), (0.0, height / 2 + 4), (-largest, height)):
        canvas.text(left + 18, top + place, f"{value:.3g}".replace("-", "−"), size=12, color=canvas.scheme.soft)
