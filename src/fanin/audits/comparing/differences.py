"""Two initializations compared, tensor by tensor: equal bytes, equal in distribution, or different."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from fanin._core.messages import plural, readable, visible
from fanin._core.types import Shape
from fanin.recipes.tables import folded_paths
from fanin.report import number, plain, terminal_width
from fanin.report.charts import Charts, Guide
from fanin.report.depth import Series, by_depth, is_wide
from fanin.report.markup import Tone, printed
from fanin.report.tables import Cell, Table, Toned

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fanin.report.figures import Theme

Relation: TypeAlias = Literal[
    "equal", "equal-values", "same-distribution", "only-b", "only-a", "unreadable", "shape", "different"
]
RELATIONS: tuple[Relation, ...] = get_args(Relation)  # the worst one last
SAME: tuple[Relation, ...] = ("equal", "equal-values", "same-distribution")
_WORDS: Mapping[Relation, str] = {
    "equal": "identical",
    "equal-values": "of equal values in another dtype",
    "same-distribution": "of the same distribution",
    "only-b": "only in B",
    "only-a": "only in A",
    "unreadable": "unreadable",
    "shape": "other shape",
    "different": "different",
}
_TONES: Mapping[Relation, Tone] = {
    "equal": "good",
    "equal-values": "good",
    "same-distribution": "good",
    "only-b": "warn",
    "only-a": "warn",
}
_MOST_LINES = 40


@dataclass(frozen=True)
class Side:
    """A tensor of one of two checkpoints.

    Attributes:
        name: its name there, before it is renamed.
        shape: its shape.
        dtype: its dtype.
        mean, stddev, low, high: what has been measured; None if nothing has been.
    """

    name: str
    shape: Shape
    dtype: str
    mean: float | None = None
    stddev: float | None = None
    low: float | None = None
    high: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The tensor as plain data, for JSON."""
        return plain({**vars(self), "shape": list(self.shape)})


@dataclass(frozen=True)
class TensorDifference:
    """How a tensor of one checkpoint relates to that of another.

    Attributes:
        name: its name in both, after renaming.
        relation: "equal" (the same bytes), "equal-values" (in another dtype), "same-distribution", "different",
            "shape", "unreadable", "only-a" or "only-b".
        reason: what differs, or what shows that nothing does, in words.
        differs: stable words for what differs: "mean", "stddev", "shape" (of the distribution), "support", "zeros",
            "constant", "not-finite".
        a, b: the tensor in either checkpoint; None where it is not.
        resolution: the relative difference of standard deviations that would have been found in half of all cases; None
            where distributions were not compared.
    """

    name: str
    relation: Relation
    reason: str
    differs: tuple[str, ...] = ()
    a: Side | None = None
    b: Side | None = None
    resolution: float | None = None

    @property
    def is_same(self) -> bool:
        """Whether both have the tensor, with the same bytes, values or distribution."""
        return self.relation in SAME

    @property
    def is_alone(self) -> bool:
        """Whether only one of both has the tensor."""
        return self.a is None or self.b is None

    @property
    def ratio(self) -> float | None:
        """The standard deviation in B by that in A; None if it is not known."""
        if self.a is None or self.b is None or not self.a.stddev or self.b.stddev is None:
            return None
        return self.b.stddev / self.a.stddev

    def as_dict(self) -> dict[str, Any]:
        """The tensor as plain data, for JSON."""
        return plain(
            {
                "name": self.name,
                "relation": self.relation,
                "reason": self.reason,
                "differs": list(self.differs),
                "stddev_ratio": self.ratio,
                "resolution": self.resolution,
                "a": None if self.a is None else self.a.as_dict(),
                "b": None if self.b is None else self.b.as_dict(),
            }
        )


@dataclass(frozen=True)
class Differences:
    """How two checkpoints relate; true if every tensor has the same bytes, values or distribution in both.

    Attributes:
        a, b: what was compared.
        tensors: the tensors, the worst first.
        nbytes: the number of bytes that were read.
        seconds: the time that it took.
    """

    a: str
    b: str
    tensors: tuple[TensorDifference, ...]
    nbytes: int = 0
    seconds: float = 0.0

    @property
    def counts(self) -> dict[Relation, int]:
        """How many tensors there are of each relation."""
        counts = Counter(each.relation for each in self.tensors)
        return {relation: counts[relation] for relation in RELATIONS}

    @property
    def is_exact(self) -> bool:
        """Whether every tensor has the same bytes in both."""
        return all(each.relation == "equal" for each in self.tensors)

    def __bool__(self) -> bool:
        return all(each.is_same for each in self.tensors)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data, for JSON, with stable keys.

        `a`, `b`, `bytes` and `seconds` say what was read; `same` is whether all tensors have the same bytes, values or
        distribution, `exact` whether all have the same bytes, and `counts` how many are of each relation. Each of
        `tensors` has `name`, `relation`, `reason`, `differs`, `stddev_ratio`, `resolution`, and `a` and `b` with
        `name`, `shape`, `dtype`, `mean`, `stddev`, `low` and `high`.
        """
        return {
            "a": self.a,
            "b": self.b,
            "same": bool(self),
            "exact": self.is_exact,
            "counts": dict(self.counts),
            "tensors": [each.as_dict() for each in self.tensors],
            "bytes": self.nbytes,
            "seconds": self.seconds,
        }

    # ------------------------------------------------------------ for people

    def table(self, *, fold: bool = True) -> Table:
        """The tensors as a table, in which those of repeated blocks that relate alike share a row.

        Args:
            fold: whether they do.
        """
        by_name = {each.name: each for each in self.tensors}
        keys = {each.name: _alike(each) if fold else each.name for each in self.tensors}
        rows = [_row(path, [by_name[name] for name in names]) for path, names in folded_paths(keys)]
        return Table.of(_HEADS, rows, right=("std A", "std B"), spared=("dtype", "shape"))

    def lines(self) -> list[str]:
        """What is not the same in both, in words, the worst first, with repeated blocks together."""
        by_reason: dict[tuple[Relation, str], list[str]] = {}
        for each in self.tensors:
            if not each.is_same and not each.is_alone:
                by_reason.setdefault((each.relation, each.reason), []).append(each.name)
        return [
            f"{path}: {_WORDS[relation]}: {visible(reason)}"
            for (relation, reason), names in by_reason.items()
            for path, _ in folded_paths(dict.fromkeys(names))
        ]

    def summary(self) -> str:
        """The answer, in a sentence."""
        total = len(self.tensors)
        counts = sorted(self.counts.items(), key=lambda each: (each[0].startswith("only"), each[0] == "only-b"))
        parts = [f"{count} {_WORDS[relation]}" for relation, count in counts if count]
        size = f"{readable(self.nbytes)} in {self.seconds:.3g} s"
        return f"{total} {plural(total, 'tensor')}: {', '.join(parts) or 'none'} (A: {self.a}, B: {self.b}; {size})"

    def notes(self) -> list[str]:
        """What helps to read the table: how small a difference would be seen, and what to do about names."""
        notes = []
        known = [each for each in self.tensors if each.resolution is not None]
        if known:
            least = max(known, key=lambda each: each.resolution or 0.0)
            share = f"{100 * (least.resolution or 0.0):.2g} %"
            notes.append(
                f"Of the same distribution: a difference of the standard deviation below {share} would hardly be seen "
                f"in {visible(least.name)}"
                + (f", and a smaller one in the other {len(known) - 1}." if len(known) > 1 else ".")
            )
        alone = {each.relation for each in self.tensors if each.is_alone}
        if len(alone) == 2:
            notes.append('If tensors were renamed, say how: --rename \'old.*=new.*\', or rename={"old.*": "new.*"}.')
        return notes

    def text(self, width: int | None = None, *, fold: bool = True) -> str:
        """The table, what is not the same, and the summary, to print.

        Args:
            width: the width to fit; None for as wide as it is.
            fold: whether the tensors of repeated blocks share a row.
        """
        found = self.lines()
        more = [f"and {len(found) - _MOST_LINES} more lines"] if len(found) > _MOST_LINES else []
        table = [self.table(fold=fold).text(width)] if self.tensors else []
        blocks = [table, [*found[:_MOST_LINES], *more], self.notes(), [visible(self.summary())]]
        return "\n\n".join("\n".join(block) for block in blocks if block)

    def __str__(self) -> str:
        return self.text(terminal_width())

    _repr_pretty_ = printed

    def _repr_html_(self) -> str:
        return replace(self.table(), caption=self.summary(), footnotes=(*self.lines(), *self.notes())).html()

    def charts(self) -> Charts:
        """The standard deviations in B divided by those in A, as a chart: "std". Differences are emphasized."""
        known = [each for each in self.tensors if each.ratio is not None]
        if not known:
            return Charts.of({"std": "No tensor is in both with a standard deviation."})
        ratios = [each.ratio or math.nan for each in known]
        changed = [place for place, each in enumerate(known) if not each.is_same]
        series = Series("", ratios, kind="dots", labels=[each.name for each in known], emphasized=changed)
        chart = by_depth(
            "std",
            f"{self.b} against {self.a}",
            f"{len(changed):,} of {len(known):,} tensors differ.",
            [series],
            x="tensor, in order",
            y="stddev in B ÷ stddev in A",
            is_log=is_wide([*ratios, 1.0]),
            guides=[Guide("y", 1.0)],
        )
        return Charts((chart,))

    def plot(self, theme: Theme = "any") -> Figure:
        """The same as a figure of matplotlib.

        Args:
            theme: the background: "light", "dark", or "any" for none, with colours that are legible on both.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: no tensor is in both with a standard deviation.
        """
        from fanin.report import plots

        return plots.drawn(self.charts(), theme)


_HEADS = ("tensor", "shape", "dtype", "std A", "std B", "relation")


def _alike(each: TensorDifference) -> tuple[Any, ...]:
    """What tensors have in common that share a row."""
    sides = [None if side is None else (side.shape, side.dtype) for side in (each.a, each.b)]
    return each.relation, each.differs, *sides


def _row(path: str, tensors: Sequence[TensorDifference]) -> list[Cell]:
    """The row of tensors that are alike."""
    first = tensors[0]
    sides = [each for each in (first.a, first.b) if each is not None]
    shapes = dict.fromkeys("×".join(map(str, each.shape)) or "()" for each in sides)
    dtypes = dict.fromkeys(each.dtype for each in sides)
    differs = ("shape of the distribution" if each == "shape" else each for each in first.differs)
    words = _WORDS[first.relation] + (f": {', '.join(differs)}" if first.differs else "")
    spreads = [_spread([each.a for each in tensors]), _spread([each.b for each in tensors])]
    return [path, " → ".join(shapes), " → ".join(dtypes), *spreads, Toned(words, _TONES.get(first.relation, "bad"))]


def _spread(sides: Iterable[Side | None]) -> str:
    """The standard deviations of tensors, from the smallest to the largest."""
    known = (each.stddev for each in sides if each is not None)
    found = sorted(each for each in known if each is not None and not math.isnan(each))
    return "–".join(dict.fromkeys(number(each, 3) for each in (*found[:1], *found[-1:])))
