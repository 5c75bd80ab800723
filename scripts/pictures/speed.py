"""How fast fanin is: README's bars, and a plot of dots for each group of `fanin bench`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from fanin.cli.bench import duration
from pictures.canvas import SCHEMES, Canvas, Scheme, number
from pictures.charts import power_of_ten
from pictures.measured import Bench, Case, load

_LAWS = ("uniform", "normal", "truncated normal")
_NAMES = {"NumPy SFC64": "NumPy"}


def _on(bench: Bench, threads: int) -> str:
    """The machine, and how many of its threads, in a few words."""
    return f"{threads} thread{'s' * (threads > 1)}, {bench.machine['processor']}"


def speed(scheme: str) -> str:
    """Values a second of each library, as bars."""
    bench = load()
    cases = [
        case for law in _LAWS for case in bench.of("fill", threads=bench.most_threads) if case.name == f"{law} float32"
    ]
    ratios = [case.times("PyTorch") for case in cases]
    title = f"fanin draws {min(ratios):.0f} to {max(ratios):.0f} times as fast as PyTorch"
    said = "; ".join(
        f"{case.name}: " + ", ".join(f"{name} {case.rate(name):,.0f}" for name in _candidates(case)) for case in cases
    )
    rows = sum(len(_candidates(case)) for case in cases)
    canvas = Canvas(
        760, 60 + 26 * rows + 44 * len(cases), title, f"Millions of values a second. {said}.", SCHEMES[scheme]
    )
    tier = cases[0].tiers[0].removeprefix("fanin ")
    canvas.heading(
        title, f"Millions of float32 values a second, into existing memory; {_on(bench, bench.most_threads)}, {tier}."
    )
    top = 66.0
    most = max(case.rate(case.tiers[0]) for case in cases)
    for case in cases:
        top = _bars(canvas, case, top, 430 / most)
    return str(canvas)


def _candidates(case: Case) -> list[str]:
    """Those that README compares: fanin's best tier and the others, the fastest first."""
    shown = [case.tiers[0], "NumPy SFC64", "TensorFlow", "PyTorch"]
    return sorted((name for name in shown if name in case.seconds), key=case.seconds.__getitem__)


def _bars(canvas: Canvas, case: Case, top: float, scale: float) -> float:
    """The bars of a case, `scale` pixels for a million values a second; returns where the next ones may begin."""
    scheme = canvas.scheme
    canvas.text(0, top + 18, case.name.removesuffix(" float32"), size=15, bold=True)
    top += 28
    for name in _candidates(case):
        is_ours = name in case.tiers
        wide = case.rate(name) * scale
        color = scheme.colors[0] if is_ours else scheme.colors[5]
        canvas.text(92, top + 16, _NAMES.get(name, name.split()[0]), size=15, anchor="end", bold=is_ours)
        canvas.shape("rect", x=104, y=top + 2, width=max(wide, 1.5), height=19, rx=2, fill=color)
        canvas.text(104 + wide + 8, top + 17, f"{case.rate(name):,.0f}", size=15, bold=is_ours)
        if not is_ours:
            words = f"fanin is {case.times(name):.1f} times as fast"
            canvas.text(104 + wide + 60, top + 17, words, size=14, color=scheme.soft)
        top += 26
    return top + 16


# ---------------------------------------------------------------- dots of every candidate


@dataclass(frozen=True)
class Mark:
    """How a candidate is drawn.

    Attributes:
        color: the number of its colour.
        shape: a path about the point (0, 0).
        is_filled: whether it is filled.
    """

    color: int
    shape: str
    is_filled: bool = True


_CIRCLE = "M-5,0a5,5 0 1 0 10,0a5,5 0 1 0 -10,0z"
_SQUARE, _DIAMOND, _TRIANGLE, _BAR = (
    "M-4.5,-4.5h9v9h-9z",
    "M0,-6L6,0L0,6L-6,0z",
    "M0,-6L5.5,4.5H-5.5z",
    "M-1.5,-6h3v12h-3z",
)
_MARKS = {
    "fanin": Mark(0, _CIRCLE),
    "fanin avx512": Mark(0, _CIRCLE),
    "fanin avx2": Mark(0, _CIRCLE, False),
    "fanin baseline": Mark(2, _CIRCLE, False),
    "PyTorch": Mark(1, _SQUARE),
    "PyTorch in place": Mark(1, _SQUARE, False),
    "torch": Mark(1, _SQUARE),
    "TensorFlow": Mark(4, _TRIANGLE),
    "tf_keras": Mark(4, _TRIANGLE),
    "JAX": Mark(3, _DIAMOND),
    "jax": Mark(3, _DIAMOND),
    "NumPy SFC64": Mark(5, _DIAMOND, False),
    "memset": Mark(5, _BAR),
}
_OTHER = Mark(5, _SQUARE, False)


@dataclass(frozen=True)
class Group:
    """A group's plot.

    Attributes:
        title: what is seen.
        groups: which groups of cases.
        is_rate: whether values a second are shown, rather than times.
        containing: a word that the names of the cases have, which is left out.
        is_one: whether one thread is shown, rather than all.
        is_split: whether each candidate has a row of its own.
    """

    title: str
    groups: tuple[str, ...]
    is_rate: bool = False
    containing: str = ""
    is_one: bool = False
    is_split: bool = False

    def cases(self, bench: Bench) -> list[Case]:
        """The cases."""
        threads = 1 if self.is_one else bench.most_threads
        found = list(bench.of(*self.groups, threads=threads, containing=self.containing))
        if self.is_split:
            return [
                replace(case, name=name, seconds={name: time}) for case in found for name, time in case.seconds.items()
            ]
        return found


def dots(group: Group, scheme: str) -> str:
    """Every candidate of every case as a mark on a logarithmic axis."""
    bench = load()
    cases = group.cases(bench)
    names = [
        name for name in dict.fromkeys(name for case in cases for name in case.seconds) if "contiguous" not in name
    ]
    unit = "millions of values a second, more is better" if group.is_rate else "time, less is better"
    description = "; ".join(
        f"{case.name}: " + ", ".join(f"{name} {_value(group, case, name)}" for name in names if name in case.seconds)
        for case in cases
    )
    keys = [] if group.is_split else _rows_of_keys(names)
    top = 68 + 24 * len(keys)
    title = group.title.format(elements=f"{cases[0].elements:,}")
    canvas = Canvas(760, top + 26 * len(cases) + 30, title, f"{unit}. {description}.", SCHEMES[scheme])
    canvas.heading(title, f"{unit[0].upper()}{unit[1:]}; {_on(bench, cases[0].threads)}.")
    _keys(canvas, keys)
    numbers = [_number(group, case, name) for case in cases for name in names if name in case.seconds]
    first, last = math.floor(math.log10(min(numbers)) * 2) / 2, math.ceil(math.log10(max(numbers)) * 2) / 2

    def x(value: float) -> float:
        return _LEFT + (math.log10(value) - first) / (last - first) * (725 - _LEFT)

    bottom = top + 26 * len(cases)
    for exponent in range(math.ceil(first), math.floor(last) + 1):
        place = number(x(10.0**exponent))
        canvas.path(f"M{place},{top}V{bottom}", stroke=canvas.scheme.line)
        words = _tick(exponent, group.is_rate)
        canvas.text(float(place), bottom + 20, words, size=13, color=canvas.scheme.soft, anchor="middle")
    for row, case in enumerate(cases):
        _row(canvas, group, case, names, top + 26 * row + 13, x)
    return str(canvas)


_LEFT = 285.0


def _row(canvas: Canvas, group: Group, case: Case, names: Sequence[str], y: float, x: Callable[[float], float]) -> None:
    """A case: its name, and its marks on a line between the extremes; fanin's best stands in front."""
    words = case.name.replace(f" {group.containing.strip()}", "") if group.containing else case.name
    canvas.text(_LEFT - 14, y + 5, words.replace("of the outputs", "of it"), size=13, anchor="end")
    places = {name: x(_number(group, case, name)) for name in names if name in case.seconds}
    ends = f"M{number(min(places.values()))},{y}H{number(max(places.values()))}"
    canvas.path(ends, stroke=canvas.scheme.line, stroke_width=2)
    for name in sorted(places, key=lambda name: name in case.tiers):
        _mark(canvas, name, places[name], y)
        if group.is_split:
            canvas.text(places[name] + 12, y + 5, _value(group, case, name), size=13)


def _mark(canvas: Canvas, name: str, x: float, y: float) -> None:
    scheme: Scheme = canvas.scheme
    mark = _MARKS.get(name, _OTHER)
    color = scheme.colors[mark.color]
    fill = color if mark.is_filled else scheme.paper
    canvas.path(mark.shape, transform=f"translate({number(x)} {number(y)})", fill=fill, stroke=color, stroke_width=1.8)


def _rows_of_keys(names: Sequence[str]) -> list[list[tuple[float, str]]]:
    """The names in rows, and where each begins."""
    rows: list[list[tuple[float, str]]] = [[]]
    x = 6.0
    for name in names:
        wide = 9 * len(name) + 34
        if x + wide > 760:
            rows.append([])
            x = 6.0
        rows[-1].append((x, name))
        x += wide
    return rows


def _keys(canvas: Canvas, rows: list[list[tuple[float, str]]]) -> None:
    for place, row in enumerate(rows):
        for x, name in row:
            _mark(canvas, name, x, 66 + 24 * place)
            canvas.text(x + 12, 71 + 24 * place, name, size=14)


def _number(group: Group, case: Case, name: str) -> float:
    return case.rate(name) if group.is_rate else case.seconds[name]


def _value(group: Group, case: Case, name: str) -> str:
    return f"{case.rate(name):,.0f}" if group.is_rate else duration(case.seconds[name])


def _tick(exponent: int, is_rate: bool) -> str:
    if is_rate:
        return f"{10**exponent:,}" if exponent >= 0 else power_of_ten(exponent)
    return duration(10.0**exponent)


_GROUPS = {
    "layouts": Group("Filling weights in PyTorch’s layout, float32", ("layouts",), containing=" float32 "),
    "fill": Group("Filling a buffer", ("fill",), is_rate=True),
    "fill-one-thread": Group("Filling a buffer, one thread", ("fill",), is_rate=True, is_one=True),
    "new": Group("A new tensor each time", ("fresh", "small")),
    "orthogonal": Group("Orthogonal matrices", ("orthogonal",)),
    "frameworks": Group("In the frameworks", ("frameworks",)),
    "models": Group("A GPT-2 of {elements} parameters, from the meta device", ("models",)),
    "import": Group("A new interpreter that imports a library", ("import",), is_split=True),
}

PICTURES: dict[str, Callable[[str], str]] = {
    "speed": speed,
    **{f"benchmarks/{name}": partial(dots, group) for name, group in _GROUPS.items()},
}
