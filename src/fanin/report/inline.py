"""Small pictures within a line of HTML: strips and sparklines, as SVG without script, on any background."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from fanin._core.types import Array
from fanin.report import markup
from fanin.report.charts import Numbers
from fanin.report.markup import Tone

_STRIP = 400  # units that a strip is wide
_LEAST = 3  # units of a part that is there at all
_BAR, _HEIGHT = 3, 16  # the width of a bar, and the height of a sparkline, in pixels
_LINE = 96  # the width of a line's sparkline
_POINTS = 48  # that such a line has at most


def strip(parts: Mapping[str, tuple[int, Tone]], words: str = "") -> str:
    """A strip of parts, as wide as they are many, and what they are in words.

    Args:
        parts: how many there are of each, and the tone of each, by its name.
        words: what stands beside it; by default the numbers and the names.

    >>> from fanin.report.inline import strip
    >>> "3 right, 1 wrong" in strip({"right": (3, "good"), "wrong": (1, "bad"), "odd": (0, "warn")})
    True
    """
    there = {name: part for name, part in parts.items() if part[0]}
    if not there:
        return ""
    widths = np.array(
        [max(_LEAST, _STRIP * count / sum(each for each, _ in there.values())) for count, _ in there.values()]
    )
    ends = np.round(np.cumsum(widths * _STRIP / widths.sum()))
    rects = "".join(
        markup.element("rect", "", class_=tone, x=f"{start:g}", width=f"{stop - start:g}", height="10")
        for (_, tone), start, stop in zip(there.values(), np.append(0, ends), ends, strict=False)
    )
    words = words or ", ".join(f"{count:,} {name}" for name, (count, _) in there.items())
    picture = markup.element("svg", rects, class_="strip", viewBox=f"0 0 {_STRIP} 10", preserveAspectRatio="none")
    return markup.element("p", f"{picture} {markup.text(words)}")


def bars(heights: Numbers, expected: Numbers | None = None, label: str = "") -> str:
    """A histogram as a sparkline, with the outline of what was expected.

    Args:
        heights: the heights of the bars, none negative.
        expected: the heights that they should have; None for nothing.
        label: what is seen, in words.

    >>> from fanin.report.inline import bars
    >>> 'd="M0 16V8h3V0h3V16z"' in bars([1, 2])
    True
    """
    given = [np.asarray(each, float) for each in (heights, *(() if expected is None else (expected,)))]
    top = max((float(each.max(initial=0.0)) for each in given), default=0.0) or 1.0
    paths = [_steps(each / top) for each in given]
    drawn = markup.element("path", "", class_="of", d=f"{paths[0]}V{_HEIGHT}z")
    drawn += "".join(markup.element("path", "", class_="by", d=f"{path}V{_HEIGHT}") for path in paths[1:])
    return _spark(drawn, _BAR * len(given[0]), label)


def line(values: Numbers, label: str = "") -> str:
    """Numbers by depth as a sparkline, by their logarithms; those that are not positive and finite interrupt it.

    Args:
        values: the numbers.
        label: what is seen, in words.

    >>> from fanin.report.inline import line
    >>> 'd="M0 15L48 8L96 1"' in line([0.01, 0.1, 1.0])
    True
    """
    numbers = np.asarray(values, float)
    chosen = (
        numbers[np.linspace(0, len(numbers) - 1, min(len(numbers), _POINTS)).astype(int)] if len(numbers) else numbers
    )
    with np.errstate(all="ignore"):
        logs = np.where((chosen > 0) & np.isfinite(chosen), np.log(chosen), np.nan)
    known = logs[np.isfinite(logs)]
    if not len(known):
        return ""
    low, high = float(known.min()), float(known.max())
    middle, reach = (low + high) / 2, max(high - low, math.log(2)) / 2  # what hardly changes is a straight line
    heights = _HEIGHT / 2 - (logs - middle) / reach * (_HEIGHT / 2 - 1)
    places = np.linspace(0, _LINE, max(2, len(logs)))
    return _spark(markup.element("path", "", class_="by", d=_path(places, heights)), _LINE, label)


def _steps(heights: Array) -> str:
    """The outline of bars, from the ground on the left to the top of the last one."""
    tops = [round(_HEIGHT * (1 - each)) for each in heights.tolist()]
    return f"M0 {_HEIGHT}" + "".join(f"V{top}h{_BAR}" for top in tops)


def _path(places: Array, heights: Array) -> str:
    """The path through points, interrupted where one is missing."""
    drawn, letter = "", "M"
    for x, y in zip(places.tolist(), heights.tolist(), strict=False):
        drawn += f"{letter}{x:.0f} {y:.0f}" if math.isfinite(y) else ""
        letter = "L" if math.isfinite(y) else "M"
    return drawn


def _spark(drawn: str, width: int, label: str) -> str:
    options = {"role": "img", "aria_label": label} if label else {"aria_hidden": "true"}
    named = {name.replace("_", "-"): value for name, value in options.items()}
    size = {"width": str(width), "height": str(_HEIGHT), "viewBox": f"0 0 {width} {_HEIGHT}"}
    return markup.element("svg", drawn, class_="spark", **size, **named)


def listed(lines: Sequence[str], most: int) -> list[str]:
    """The first lines of a list, and how many more there are."""
    left = len(lines) - most
    return [*lines[:most], *([f"and {left:,} more"] if left > 0 else [])]
