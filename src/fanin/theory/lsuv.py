"""The report of a layer-sequential unit-variance initialization, in any framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fanin.report import number, plain, plots, terminal_width
from fanin.report.charts import Charts, Guide
from fanin.report.depth import Series, by_depth
from fanin.report.markup import printed
from fanin.report.tables import Table, Toned

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fanin.report.figures import Theme


@dataclass(frozen=True)
class ScaledLayer:
    """A layer whose weight was scaled until its outputs had a standard deviation of 1.

    Attributes:
        path: the layer's path.
        layer: its type.
        before: the standard deviation of its outputs before anything was changed.
        after: that of the finished model.
        scale: what the weight was multiplied by in all, after its orthogonal start; 1 where it stayed as it was.
        iterations: how many times it was scaled.
        problem: why its outputs are not within the tolerance; "" if they are.
    """

    path: str
    layer: str
    before: float
    after: float
    scale: float
    iterations: int
    problem: str = ""

    @property
    def reached(self) -> bool:
        """Whether its outputs are within the tolerance."""
        return not self.problem

    def as_dict(self) -> dict[str, Any]:
        """The layer as plain data, with the names of its attributes, and `reached`."""
        names = ("path", "layer", "before", "after", "scale", "iterations", "reached", "problem")
        return plain({name: getattr(self, name) for name in names})


@dataclass(frozen=True)
class Lsuv:
    """What `lsuv_` did, layer by layer in the order in which they run.

    Attributes:
        layers: the layers that were scaled.
        tolerance: how far from 1 the standard deviations may be.
        skipped: the layers that stayed as they were, with the reason.
    """

    layers: tuple[ScaledLayer, ...]
    tolerance: float
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def missed(self) -> tuple[ScaledLayer, ...]:
        """The layers whose outputs are not within the tolerance."""
        return tuple(each for each in self.layers if not each.reached)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data: `tolerance`, `layers` (`ScaledLayer.as_dict`) and `skipped` (path → reason)."""
        return {
            "tolerance": self.tolerance,
            "layers": [each.as_dict() for each in self.layers],
            "skipped": dict(self.skipped),
        }

    def table(self) -> Table:
        """The report as a table, a row for each layer that was scaled."""
        rows = [
            (
                each.path,
                each.layer,
                number(each.before, 3),
                number(each.after, 3),
                number(each.scale, 3),
                str(each.iterations),
                Toned("reached", "good") if each.reached else Toned(each.problem, "bad"),
            )
            for each in self.layers
        ]
        reached = f"{len(self.layers) - len(self.missed)} of {len(self.layers)} within 1 ± {number(self.tolerance, 3)}"
        return Table.of(
            ("layer", "type", "std before", "after", "scale", "iterations", "result"),
            rows,
            right=("std before", "after", "scale", "iterations"),
            spared=("type", "iterations", "scale"),
            footnotes=[reached, *(f"skipped {path}: {reason}" for path, reason in self.skipped.items())],
        )

    def __str__(self) -> str:
        return self.table().text(terminal_width())

    _repr_pretty_ = printed

    def _repr_html_(self) -> str:
        return self.table().html()

    def charts(self) -> Charts:
        """The standard deviations before and after, by depth, as a chart: "signal"."""
        missed = [place for place, each in enumerate(self.layers) if not each.reached]
        names = [each.path for each in self.layers]
        series = [
            Series("before", [each.before for each in self.layers], labels=names),
            Series("after", [each.after for each in self.layers], labels=names, emphasized=missed),
        ]
        reached = f"{len(self.layers) - len(missed)} of {len(self.layers)} layers have outputs of standard deviation 1."
        title = "Layer-sequential unit variance"
        chart = by_depth("signal", title, reached, series, y="standard deviation", guides=[Guide("y", 1.0)])
        return Charts((chart,))

    def plot(self, theme: Theme = "any") -> Figure:
        """The same as a figure of matplotlib.

        Args:
            theme: the background: "light", "dark", or "any" for none, with colours that are legible on both.

        Raises:
            ImportError: matplotlib is not installed (`pip install 'fanin[plot]'`).
        """
        return plots.drawn(self.charts(), theme)
