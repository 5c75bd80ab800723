"""Charts as plain data, which matplotlib draws for papers and notebooks, and `charts.js` in pages.

A chart says what is seen: axes, marks and guides. How it looks is up to those who draw it: `plots.draw` and
`pages/assets/charts.js`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from fanin._core.messages import shown
from fanin._core.types import Array
from fanin.report import plain

Numbers: TypeAlias = "Iterable[float] | Array"
MarkKind: TypeAlias = Literal["line", "dots", "bars", "band", "rows"]


@dataclass(frozen=True)
class Axis:
    """An axis of a chart.

    Attributes:
        label: what it shows.
        is_log: whether it is logarithmic. What is not positive is left out then.
        limits: its smallest and its largest value; None for those of the marks.
        names: what stands at 0, 1, 2, … in place of numbers. Along y, the first one is at the top.
    """

    label: str
    is_log: bool = False
    limits: tuple[float, float] | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Marks:
    """Numbers that are drawn alike.

    Attributes:
        kind: "line" through the points, "dots", "bars" from the edges `x` (one more than `y`), a "band" from `y` to
            `upper`, or "rows": bars of the lengths `x`, which lie at the heights `y` of an axis with names.
        x, y: the coordinates. Those that are not finite are left out, and break a line.
        name: what the legend says; "" for nothing.
        color: the number of its colour; -1 for that of the axes, for what only guides the eye.
        upper: the upper ends of a band.
        labels: what each dot is called, for those who point at it.
        emphasized: the places of the dots that are to be noticed.
    """

    kind: MarkKind
    x: tuple[float, ...]
    y: tuple[float, ...]
    name: str = ""
    color: int = 0
    upper: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    emphasized: tuple[int, ...] = ()

    @classmethod
    def of(
        cls,
        kind: MarkKind,
        x: Numbers,
        y: Numbers,
        name: str = "",
        *,
        color: int = 0,
        upper: Numbers = (),
        labels: Iterable[str] = (),
        emphasized: Iterable[int] = (),
    ) -> Marks:
        """Marks at the numbers of arrays or lists, with six digits.

        Args:
            kind, name, color: as above.
            x, y, upper: the coordinates.
            labels, emphasized: as above.

        Raises:
            ValueError: the coordinates are not as many as they must be.

        >>> import numpy as np
        >>> from fanin.report.charts import Marks
        >>> Marks.of("line", np.arange(3), [1, 2, float("nan")]).y
        (1.0, 2.0, nan)
        """
        made = cls(kind, _rounded(x), _rounded(y), name, color, _rounded(upper), tuple(labels), tuple(emphasized))
        expected = len(made.y) + (kind == "bars")
        if len(made.x) != expected:
            raise ValueError(f"`x` must have {expected} numbers for {kind}. Received: {len(made.x)}.")
        if len(made.upper) != (len(made.y) if kind == "band" else 0):
            raise ValueError(f"`upper` must have a number for each of a band's. Received: {len(made.upper)}, {kind}.")
        return made


@dataclass(frozen=True)
class Guide:
    """A line across a chart, which marks a value.

    Attributes:
        axis: "x" for a vertical line at that value of x, "y" for a horizontal one.
        at: the value.
        label: what it is; "" for nothing.
    """

    axis: Literal["x", "y"]
    at: float
    label: str = ""


@dataclass(frozen=True)
class Chart:
    """A chart as plain data.

    Attributes:
        name: a word for it, as in the names of files.
        title: what stands above.
        description: what is seen, in a sentence, for those who do not see it.
        x, y: the axes.
        marks: what is drawn, the lowest first.
        guides: lines that mark values.
    """

    name: str
    title: str
    description: str
    x: Axis
    y: Axis
    marks: tuple[Marks, ...]
    guides: tuple[Guide, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The chart as plain data, for JSON. Numbers that are not finite are None."""
        return plain(asdict(self))


@dataclass(frozen=True)
class Charts:
    """The charts of one thing, such as a tensor, and why others of it cannot be drawn.

    Attributes:
        charts: the charts, in the order in which they are read.
        missing: why there is no chart, in a sentence, by the chart's name.

    >>> from fanin.report.charts import Charts
    >>> Charts((), {"density": "Every element is 0."}).as_dict()
    {'charts': [], 'missing': {'density': 'Every element is 0.'}}
    """

    charts: tuple[Chart, ...]
    missing: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, named: Mapping[str, Chart | str]) -> Charts:
        """The charts among what is given by name; a text in the place of a chart says why there is none.

        Args:
            named: the charts and the reasons.
        """
        missing = {name: each for name, each in named.items() if isinstance(each, str)}
        return cls(tuple(each for each in named.values() if isinstance(each, Chart)), missing)

    def __getitem__(self, name: str) -> Chart:
        """The chart of this name.

        Raises:
            KeyError: there is none; the message says why.
        """
        for each in self.charts:
            if each.name == name:
                return each
        known = ", ".join(each.name for each in self.charts) or "none"
        raise KeyError(self.missing.get(name) or f"Known charts: {known}. Received: {shown(name)}.")

    def __iter__(self) -> Iterator[Chart]:
        return iter(self.charts)

    def __len__(self) -> int:
        return len(self.charts)

    def as_dict(self) -> dict[str, Any]:
        """The charts as plain data, for JSON: `charts` (each as `Chart.as_dict` makes it) and `missing`."""
        return {"charts": [each.as_dict() for each in self.charts], "missing": dict(self.missing)}


def _rounded(numbers: Numbers) -> tuple[float, ...]:
    """The numbers with six digits, which is finer than any screen and short; with more if they are all near."""
    values = np.asarray(numbers if isinstance(numbers, np.ndarray) else list(numbers), float)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    largest, span = max(abs(low), abs(high)), high / 2 - low / 2
    same = math.floor(math.log10(largest / span)) if 0 < span < largest / 10 else 0  # digits that all of them share
    return tuple(float(f"{each:.{min(6 + same, 17)}g}") for each in values.tolist())
