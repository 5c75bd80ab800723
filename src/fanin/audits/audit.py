"""`fanin.audit`: whether a model or checkpoint was initialized as intended, tensor by tensor."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fanin._core.messages import plural, readable, visible
from fanin.audits import charts
from fanin.audits.audited import AuditedTensor
from fanin.audits.findings import Finding, findings_of
from fanin.audits.judging.judgement import is_of_unknown_spread
from fanin.audits.verdicts import KINDS, Kind
from fanin.recipes.tables import folded_paths
from fanin.report import inline, markup, number, terminal_width
from fanin.report.charts import Chart, Charts
from fanin.report.markup import Tone, printed
from fanin.report.tables import Cell, Pictured, Table, Toned

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fanin.report.figures import Theme

_TONES: dict[Kind, Tone] = {
    "exact": "good",
    "consistent": "good",
    "unjudged": "dim",
    "trained": "dim",
    "suspicious": "warn",
    "broken": "bad",
}
# What tells more than a source that says nothing of distributions.
_MORE = {
    "names and shapes": "--model or --recipe checks more",
    "the model's layers": "--recipe checks more",
}
_UNSURE = "Whether every spread is as intended is not known"
_MOST_FINDINGS = 40  # lines
_MOST_ROWS = 200  # of a table in a notebook
_LONGEST = 100  # characters of a row's names


@dataclass(frozen=True)
class Audit:
    """What the tensors of a model or checkpoint are; true if there are some, and nothing is wrong.

    Attributes:
        name: the path, or the model in words.
        format: "safetensors", "npz", "dcp", …; "memory" for models and mappings.
        source: what says what the tensors should be: "the recipe", "the model's own code", "the model's layers", or
            "names and shapes".
        tensors: the tensors, in their order.
        missing: the names of parameters that the model has and the checkpoint lacks.
        broken_files: why files cannot be read, by name.
        notes: what a reader should know.
        seed: the seed that values were compared with; None if they were not.
        passed: how many further tensors were compared before, and are exact; only the summary counts them.
        nbytes: the number of bytes that were read.
        seconds: the time that it took.
    """

    name: str
    format: str
    source: str
    tensors: tuple[AuditedTensor, ...]
    missing: tuple[str, ...] = ()
    broken_files: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seed: int | None = None
    passed: int = 0
    nbytes: int = 0
    seconds: float = 0.0

    @property
    def findings(self) -> tuple[AuditedTensor, ...]:
        """The tensors that are broken or suspicious, the worst first."""
        wrong = [each for each in self.tensors if each.verdict.problems]
        return tuple(sorted(wrong, key=lambda each: -KINDS.index(each.verdict.kind)))

    @property
    def counts(self) -> dict[Kind, int]:
        """How many tensors are of each kind."""
        found = Counter(each.verdict.kind for each in self.tensors)
        return {kind: found[kind] for kind in KINDS}

    def __getitem__(self, name: str) -> AuditedTensor:
        """The tensor of this name."""
        for each in self.tensors:
            if each.name == name:
                return each
        raise KeyError(name)

    def __len__(self) -> int:
        return len(self.tensors)

    def __bool__(self) -> bool:
        return bool(self.tensors) and not (self.findings or self.missing or self.broken_files)

    def as_dict(self) -> dict[str, Any]:
        """The audit as plain data, with stable keys, for JSON.

        `name`, `format`, `source`, `seed`, `bytes` and `seconds` say what was read, `ok` whether nothing is wrong,
        `conclusion` what the whole is, `counts` how many tensors are of each kind; `missing`, `broken_files` and
        `notes` are as above. Each of `tensors` has `name`, `shape`, `dtype`, `role`, `layer`, `expected`,
        `expected_stddev`, `tied`, `verdict`, `reason`, `fits`, `problems` (each with `code`, `kind`, `message`,
        `advice` and `other`) and `statistics` (`size`, `mean`, `stddev`, `kurtosis`, `min`, `max`, `zeros`, `nans` and
        `infinities`; None if it cannot be read).
        """
        return {
            "name": self.name,
            "format": self.format,
            "source": self.source,
            "seed": self.seed,
            "ok": bool(self),
            "conclusion": self.conclusion,
            "counts": dict(self.counts),
            "tensors": [each.as_dict() for each in self.tensors],
            "missing": list(self.missing),
            "broken_files": dict(self.broken_files),
            "notes": list(self.notes),
            "bytes": self.nbytes,
            "seconds": self.seconds,
        }

    # ------------------------------------------------------------ for people

    def table(self, *, fold: bool = True) -> Table:
        """The tensors as a table, in which those of repeated blocks with equal verdicts share a row.

        Args:
            fold: whether they do.
        """
        return self._table(fold)

    def _table(self, fold: bool, sparks: bool = False) -> Table:
        by_name = {each.name: each for each in self.tensors}
        keys = {each.name: charts.alike(each) if fold else each.name for each in self.tensors}
        folded = [(path, [by_name[name] for name in names]) for path, names in folded_paths(keys)]
        rows = [_row(path, tensors) for path, tensors in folded]
        table = Table.of(_HEADS, rows, right=("std",), spared=("dtype", "role", "shape"))
        if not sparks:
            return table
        shown = [charts.spark(tensors[0]) if place < _MOST_ROWS else "" for place, (_, tensors) in enumerate(folded)]
        return table.with_column("values", [Pictured("", picture) for picture in shown], before="verdict")

    def lines(self) -> list[str]:
        """The findings in words, the worst first, those of repeated blocks together."""
        return [each.line for each in self.folded_findings]

    @property
    def folded_findings(self) -> list[Finding]:
        """Each problem of the findings, the worst first, those of repeated blocks together."""
        return findings_of((each.name, problem) for each in self.findings for problem in each.verdict.problems)

    @property
    def conclusion(self) -> str:
        """What the whole is, in a sentence; "" if that cannot be said."""
        counts = self.counts
        judged = sum(counts.values()) - counts["unjudged"]
        if not judged or self.broken_files or self.missing:
            return ""
        if counts["exact"] == judged:
            return "Every bit is the expected one."
        is_fine = counts["exact"] + counts["consistent"] == judged
        if any(is_of_unknown_spread(each.verdict) for each in self.tensors):
            return f"{_UNSURE}: {_MORE[self.source]}." if is_fine and self.source in _MORE else ""
        if 2 * counts["trained"] >= judged:
            return "It is trained."
        if not is_fine or self.seed is not None:  # of whose bits some are others
            return ""
        if self.source in _MORE:
            return f"Nothing is wrong as far as {self.source} tell; {_MORE[self.source]}."
        return "It is as it was initialized."

    def summary(self) -> str:
        """How many tensors there are of each kind, and what the whole is."""
        total = len(self.tensors) + self.passed
        counts = {**self.counts, "exact": self.counts["exact"] + self.passed}
        parts = [f"{count} {kind}" for kind, count in counts.items() if count]
        expected = f"expected by {self.source}" + (f", seed {self.seed}" if self.seed is not None else "")
        size = f"{readable(self.nbytes)} in {self.seconds:.3g} s"
        counted = f"{total} {plural(total, 'tensor')}: {', '.join(parts) or 'none'} ({expected}; {size})"
        return f"{counted}. {self.conclusion}".removesuffix(". ")

    def text(self, width: int | None = None, *, fold: bool = True) -> str:
        """The table, the findings and the summary, to print.

        Args:
            width: the width to fit; None for as wide as it is.
            fold: whether the tensors of repeated blocks share a row.
        """
        found = self.lines()
        more = [f"and {len(found) - _MOST_FINDINGS} more findings"] if len(found) > _MOST_FINDINGS else []
        blocks = [
            [self.table(fold=fold).text(width)] if self.tensors else [],
            [*found[:_MOST_FINDINGS], *more],
            [f"{path}: missing" for path, _ in folded_paths(dict.fromkeys(self.missing))],
            [f"{visible(name)}: {visible(why)}" for name, why in self.broken_files.items()],
            [f"note: {visible(each)}" for each in self.notes],
            [self.summary()],
        ]
        return "\n\n".join("\n".join(block) for block in blocks if block)

    def __str__(self) -> str:
        return self.text(terminal_width())

    def charts(self, name: str | None = None) -> Charts:
        """Charts as plain data, of which pages and matplotlib make pictures.

        Args:
            name: the name of a tensor, for its "density", "quantiles", "rounding" and "singular-values". None for
                those of all tensors: "std", which shows each one's standard deviation divided by the expected one, or
                the standard deviations themselves, if nothing says what is expected; findings are emphasized.

        Returns:
            The charts; `missing` says why others cannot be drawn.

        Raises:
            KeyError: there is no tensor of this name.

        >>> import fanin
        >>> kernel, bias = fanin.HeNormal(seed=1)((256, 128)), fanin.Zeros()((128,))
        >>> found = fanin.audit({"dense.kernel": kernel, "dense.bias": bias})
        >>> found.charts("dense.kernel")["quantiles"].description
        'Every quantile lies where chance may take it.'
        >>> found.charts("dense.bias").missing["density"]
        'Every element is 0.'
        """
        return charts.charts_of_all(self.tensors, self.source) if name is None else charts.charts_of(self[name])

    def pictures(self, more: Charts | None = None) -> dict[str, Chart]:
        """The charts of a report, by names for files: those of the whole, and those of the tensors worth a look.

        Args:
            more: further charts of the whole, such as those of a probe.
        """
        return charts.pictures_of(self.tensors, self.source, more)

    def figures(self, theme: Theme = "any") -> dict[str, Figure]:
        """The same charts as figures of matplotlib, by name.

        Args:
            theme: the background: "light", "dark", or "any" for none, with colours that are legible on both.

        Raises:
            ImportError: matplotlib is not installed.
        """
        from fanin.report import plots

        return {name: plots.drawn(Charts((each,)), theme) for name, each in self.pictures().items()}

    def plot(self, name: str | None = None, theme: Theme = "any") -> Figure:
        """The charts of a tensor, or that of all of them, as a figure of matplotlib.

        Args:
            name: the name of a tensor; None for the standard deviations of all of them.
            theme: the background: "light", "dark", or "any" for none, with colours that are legible on both.

        Raises:
            ImportError: matplotlib is not installed.
            KeyError: there is no tensor of this name.
            ValueError: there is nothing that could be drawn; the message says why.
        """
        from fanin.report import plots

        return plots.drawn(self.charts(name), theme)

    def to_html(self, path: str | os.PathLike[str] | None = None, *, probe: Any = None) -> str:
        """The audit as a page that stands alone: the verdict, the findings, charts, and a table to search and sort.

        The page loads nothing and needs no network; its element `data` has `as_dict()` as JSON.

        Args:
            path: a file to write it to as well, which ends in .html or .htm; a file that is there is replaced
                when the new one is whole.
            probe: what a batch does in the same model, for charts of the signal by depth: a `fanin.theory.Probe`, or
                its `as_dict()`.

        Returns:
            The page, as text.

        Raises:
            TypeError, ValueError: the probe is none, or the file's name has another end.
            OSError: the file cannot be written.

        >>> import fanin
        >>> audit = fanin.audit({"dense.kernel": fanin.HeNormal(seed=1)((256, 128))})
        >>> audit.to_html().startswith("<!doctype html>")
        True
        """
        from fanin.audits.pages import audit_page
        from fanin.report.pages import write_page

        return write_page(audit_page(self.as_dict(), self.tensors, self.folded_findings, self.charts, probe), path)

    _repr_pretty_ = printed

    def _repr_html_(self) -> str:
        """The strip of verdicts, the table with sparklines, the findings and the summary, for notebooks."""
        table = self._table(fold=True, sparks=True)
        parts: dict[str, tuple[int, Tone]] = {kind: (count, _TONES[kind]) for kind, count in self.counts.items()}
        below = [*table.notes(_MOST_ROWS), *inline.listed(self.lines(), _MOST_FINDINGS), *map(visible, self.notes)]
        strip = inline.strip(parts, self.summary()) or markup.paragraphs([self.summary()])
        return markup.fragment(strip, table.element(_MOST_ROWS), markup.paragraphs(below))


_HEADS = ("tensor", "shape", "dtype", "role", "std", "verdict", "what it is")


def _row(path: str, tensors: Sequence[AuditedTensor]) -> list[Cell]:
    """The row of tensors that are alike."""
    first = tensors[0]
    verdict = first.verdict
    shape = "×".join(map(str, first.shape)) or "()"
    if verdict.problems:
        text = ", ".join(dict.fromkeys(each.code for each in verdict.problems))
    else:
        common = [fit for fit in verdict.fits if all(fit in each.verdict.fits for each in tensors)]
        text = " or ".join(common) or verdict.reason
    if len(path) > _LONGEST:
        path = f"{path[: _LONGEST // 2]}…{path[-_LONGEST // 2 + 1 :]}"
    return [path, shape, first.dtype, first.role, _spread(tensors), Toned(verdict.kind, _TONES[verdict.kind]), text]


def _spread(tensors: Sequence[AuditedTensor]) -> str:
    """The standard deviations of tensors, from the smallest to the largest."""
    found = sorted({each.statistics.stddev for each in tensors if each.statistics is not None and each.statistics.size})
    ends = [number(each, 3) for each in (*found[:1], *found[-1:])]
    return "–".join(dict.fromkeys(ends))
