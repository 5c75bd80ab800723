"""Plans: what each parameter of a model gets, as plain data, before anything is drawn."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fanin._core.messages import plural, readable, shown, suggestion, visible
from fanin._core.types import Unmatched
from fanin.models.parameters import Model, Parameter
from fanin.recipes.advice import advice_on
from fanin.recipes.charts import charts_of
from fanin.recipes.entry import Entry
from fanin.recipes.tables import (
    COLUMNS,
    SPARED,
    Row,
    cells_of,
    folded,
    folded_lines,
    folded_paths,
    short_lines,
    unnumbered,
)
from fanin.report import inline, markup
from fanin.report.charts import Charts
from fanin.report.markup import Tone, printed
from fanin.report.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fanin.report.figures import Theme

_MOST_ROWS, _MOST_REMARKS = 200, 40  # of a plan in a notebook
_SAME = "The plans are the same."


class PlanError(ValueError):
    """The error for a plan that cannot be executed; the message lists every reason. Nothing has been written."""

    __module__ = "fanin.recipes"  # where it is public


@dataclass(frozen=True)
class Plan:
    """What every parameter of a model gets.

    Attributes:
        entries: an `Entry` for each parameter, in the model's order.
        seed: the recipe's seed.
        model: the description of the model.
        unused: the rules that no parameter uses, in words.
        unmet: those of them that name paths or layers, draw at random and are not optional: the parameters that they
            are meant for may be called otherwise in this model, and have got the values of another rule.
        recipe: the recipe as plain data, as in its `as_dict`; None if no data can hold it, or for a plan without one.
        origin: what made it, in words, for messages.
    """

    entries: tuple[Entry, ...]
    seed: int
    model: Model
    unused: tuple[str, ...] = ()
    unmet: tuple[str, ...] = ()
    recipe: Mapping[str, Any] | None = None
    origin: str = "recipe"

    @property
    def unmatched(self) -> tuple[Entry, ...]:
        """The entries of parameters that no rule matches."""
        return tuple(entry for entry in self.entries if not entry.matched and not entry.problem)

    @property
    def problems(self) -> tuple[str, ...]:
        """The other reasons why the plan cannot be executed."""
        return tuple(entry.problem for entry in self.entries if entry.problem)

    @property
    def warning(self) -> str:
        """What `initialize` warns of: the rules in `unmet`; "" for none, or while layers are not built."""
        if not self.unmet or not self.model.complete:
            return ""
        return (
            f"No parameter of {visible(self.model.name)} uses {visible(', '.join(self.unmet))}. What it is meant for "
            "may have another name in this model, and get the values of another rule: compare the rule with the paths "
            "and layers that recipe.plan(model) shows. A rule that a model need not use says `optional = true`."
        )

    @property
    def tied(self) -> dict[str, tuple[str, ...]]:
        """The further paths of tied parameters, by path."""
        return {entry.path: entry.parameter.tied for entry in self.entries if entry.parameter.tied}

    @property
    def equal_seeds(self) -> tuple[tuple[str, ...], ...]:
        """Groups of paths whose parameters are not tied but have the same seed, and so the same random words."""
        by_words: dict[tuple[Any, ...], list[str]] = {}
        for entry in self.entries:
            for each in entry.placements:
                if each.seed is not None and not each.follows:  # parts of one tensor share its seed, not their place
                    is_block = each.label and len(entry.placements) > 1
                    by_words.setdefault((each.seed, each.source), []).append(
                        f"{entry.path}[{each.label}]" if is_block else entry.path
                    )
        return tuple(tuple(paths) for paths in by_words.values() if len(paths) > 1)

    @property
    def size(self) -> int:
        """The number of elements of all parameters."""
        return sum(entry.parameter.size for entry in self.entries)

    @property
    def nbytes(self) -> int:
        """The size of all parameters in memory, in bytes."""
        return sum(entry.parameter.nbytes for entry in self.entries)

    def chosen(self, select: Callable[[Parameter], bool]) -> Plan:
        """The same plan with only the entries whose parameters a function selects."""
        return replace(self, entries=tuple(entry for entry in self.entries if select(entry.parameter)))

    def check(self, unmatched: Unmatched = "error") -> None:
        """Raises an error if the plan cannot be executed.

        Args:
            unmatched: "error", or "keep" to leave parameters that no rule matches as they are.

        Raises:
            PlanError: the plan cannot be executed; the message lists every reason. (A ValueError.)
        """
        if unmatched not in ("error", "keep"):
            raise ValueError(f'`unmatched` must be "error" or "keep". Received: unmatched={shown(unmatched)}.')
        if complaints := self.complaints(unmatched):
            raise PlanError(
                f"The {self.origin} does not fit {visible(self.model.name)}; nothing has been written.\n"
                + "\n".join(f"  {each}" for each in complaints)
            )

    def complaints(self, unmatched: Unmatched = "error") -> list[str]:
        """Every reason why the plan cannot be executed, as texts; those of repeated blocks share one.

        Args:
            unmatched: as for `check`.
        """
        complaints = self._folded_problems()
        complaints += [f"{each} would have the same values: names must differ." for each in self._folded_equals()]
        if unmatched == "error" and self.unmatched:
            rows, count = folded(self.unmatched), len(self.entries)
            listed = [f"{row.path} {row.cells['shape']}, {row.cells['layer'] or 'no known layer'}" for row in rows]
            complaints.append(
                f"No rule matches {len(self.unmatched)} of {count} {plural(count, 'parameter')}:"
                + "".join(f"\n    {each}" for each in listed[:20])
                + (f"\n    and {len(listed) - 20} more" if len(listed) > 20 else "")
                + "".join(f"\n    {each}" for each in advice_on(entry.parameter for entry in self.unmatched))
                + '\n    Add rules for them (the last one may be path = "*"), or leave them as they are with '
                'unmatched="keep".'
            )
        return complaints

    def _folded_problems(self) -> list[str]:
        """The problems, of which those of repeated blocks share a line."""
        texts = {entry.path: entry.problem.removeprefix(entry.path) for entry in self.entries if entry.problem}
        return [path + text for path, text in folded_lines(texts)]

    def _folded_equals(self) -> list[str]:
        """The groups of paths with equal seeds, as texts."""
        return [", ".join(text for text, _ in folded_paths(dict.fromkeys(paths))) for paths in self.equal_seeds]

    def entry(self, path: str) -> Entry:
        """The entry of a parameter, by any of its paths."""
        for each in self.entries:
            if path == each.path or path in each.parameter.tied:
                return each
        known = [each.path for each in self.entries]
        raise KeyError(f"No parameter {shown(path)}.{suggestion(path, known)}")

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain data, for JSON."""
        return {
            "model": self.model.name,
            "seed": self.seed,
            "parameters": len(self.entries),
            "elements": self.size,
            "bytes": self.nbytes,
            "unmatched": [entry.path for entry in self.unmatched],
            "problems": list(self.problems),
            "unused_rules": list(self.unused),
            "unmet_rules": list(self.unmet),
            "equal_seeds": [list(paths) for paths in self.equal_seeds],
            "left": dict(self.model.left),
            "entries": [entry.as_dict() for entry in self.entries],
        }

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """The plan as JSON; also written to a file if a path is given."""
        text = json.dumps(self.as_dict(), indent=1) + "\n"
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """The plan as a page that stands alone: a table to search and sort, charts, and what is wrong with it.

        The page loads nothing and needs no network; its element `data` has `as_dict()` as JSON.

        Args:
            path: a file to write it to as well, which ends in .html or .htm; a file that is there is replaced
                when the new one is whole.

        Returns:
            The page, as text.

        Raises:
            ValueError: the file's name has another end.
            OSError: the file cannot be written.

        >>> import fanin
        >>> recipe = fanin.Recipe([{"path": "*", "initializer": "he_normal"}], seed=1)
        >>> plan = recipe.plan([{"path": "dense.kernel", "shape": [784, 256], "layout": "keras"}])
        >>> plan.to_html().startswith("<!doctype html>")
        True
        """
        from fanin.recipes.pages import plan_page
        from fanin.report.pages import write_page

        return write_page(plan_page(self.as_dict(), self.entries, self.charts()), path)

    def compare(self, other: Plan | Mapping[str, Any]) -> Comparison:
        """How another plan differs from this one.

        Args:
            other: a plan, or the data of a plan's JSON.
        """
        return Comparison.of(self, other)

    def table(self, *, fold: bool = True, width: int | None = None) -> str:
        """The plan as a text table.

        Args:
            fold: whether to show the parameters of repeated blocks in one row, such as `layers.[0-31].mlp.w1`.
            width: the number of characters that a row may have; None for no limit. To fit, the table first leaves out
                columns, in the order layout, dtype, layer, seed, role, name, fans, shape, and then shortens the longest
                texts in the middle, to 8 characters at least.
        """
        return "\n".join([self._table(fold).text(width), "", *self._remarks()])

    def _table(self, fold: bool) -> Table:
        rows = folded(self.entries) if fold else [Row(visible(each.path), cells_of(each)) for each in self.entries]
        columns = self._columns()
        cells = [(row.path, *(row.cells[column] for column in columns)) for row in rows]
        return Table.of(("path", *columns), cells, spared=SPARED)

    def _columns(self) -> tuple[str, ...]:
        """The columns after the path; the name is among them only if one differs from its path."""
        named = any(entry.name != entry.path for entry in self.entries)
        return ("name", *COLUMNS) if named else COLUMNS

    def _remarks(self) -> list[str]:
        """The totals, and the remarks on the plan."""
        count = len(self.entries)
        remarks = [
            f"{self.model.name}: {count} {plural(count, 'parameter')}, {self.size:,} {plural(self.size, 'element')}, "
            f"{readable(self.nbytes)}, seed {self.seed}"
        ]
        remarks += [f"tied: {path} is also {', '.join(others)}" for path, others in self.tied.items()]
        remarks += [f"equal seeds: {paths}" for paths in self._folded_equals()]
        frozen = [entry.path for entry in self.entries if not entry.parameter.trainable and not entry.kept]
        listed = ", ".join(path for path, _ in short_lines(dict.fromkeys(frozen, "")))
        remarks += [f"frozen, but initialized as well: {listed}"] if frozen else []
        warning = self.warning
        unused = [rule for rule in self.unused if not warning or rule not in self.unmet]
        remarks += [f"warning: {warning}"] if warning else []
        remarks += [f"unused: {', '.join(unused)}"] if unused else []
        remarks += [f"left alone: {path} ({reason})" for path, reason in folded_lines(self.model.left)]
        remarks += [f"note: {note}" for note in self.model.notes]
        remarks += [f"unmatched: {row.path}" for row in folded(self.unmatched)]
        remarks += [f"advice: {each}" for each in advice_on(entry.parameter for entry in self.unmatched)]
        remarks += [f"problem: {problem}" for problem in self._folded_problems()]
        return [visible(remark) for remark in remarks]

    def charts(self) -> Charts:
        """Charts: "std", the standard deviation that each parameter should have, and "rules", the elements of each."""
        return charts_of(self.entries, self.model.name)

    def plot(self, theme: Theme = "any") -> Figure:
        """The charts as a figure of matplotlib.

        Args:
            theme: the background: "light", "dark", or "any" for none, with colours that are legible on both.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: there is nothing to draw; the message says why.
        """
        from fanin.report import plots

        return plots.drawn(self.charts(), theme, self.model.name)

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        count = len(self.entries)
        return f"<Plan of {count} {plural(count, 'parameter')} of {visible(self.model.name)}, seed {self.seed}>"

    _repr_pretty_ = printed

    def _repr_html_(self) -> str:
        """The table for notebooks."""
        table, below = self._table(fold=True), inline.listed(self._remarks(), _MOST_REMARKS)
        wrong, unmatched = len(self.problems), len(self.unmatched)
        parts: dict[str, tuple[int, Tone]] = {
            "with a rule": (len(self.entries) - wrong - unmatched, "good"),
            "unmatched": (unmatched, "warn"),
            "with a problem": (wrong, "bad"),
        }
        notes = markup.paragraphs([*table.notes(_MOST_ROWS), *below])
        return markup.fragment(inline.strip(parts), table.element(_MOST_ROWS), notes)


@dataclass(frozen=True)
class Comparison:
    """The differences between two plans; falsy if there are none.

    Attributes:
        added: the paths that only the second plan has.
        removed: the paths that only the first plan has.
        changed: for each path, the fields that differ, with their values in the first plan and in the second.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: Mapping[str, Mapping[str, tuple[Any, Any]]]

    @classmethod
    def of(cls, first: Plan | Mapping[str, Any], second: Plan | Mapping[str, Any]) -> Comparison:
        """The differences of a second plan from a first one, each of which may be the data of a plan's JSON.

        Raises:
            ValueError: one of them is not a plan.
        """
        before, after = _by_path(first), _by_path(second)
        changed = {}
        for path in before.keys() & after.keys():
            differing = {
                key: (before[path].get(key), after[path].get(key))
                for key in before[path] | after[path]
                if key not in ("path", "rule", "problem") and before[path].get(key) != after[path].get(key)
            }
            if differing:
                changed[path] = differing
        return cls(
            added=tuple(path for path in after if path not in before),
            removed=tuple(path for path in before if path not in after),
            changed={path: changed[path] for path in before if path in changed},
        )

    def as_dict(self) -> dict[str, Any]:
        """The differences as plain data, for JSON."""
        changed = {
            path: {key: {"before": before, "after": after} for key, (before, after) in fields.items()}
            for path, fields in self.changed.items()
        }
        return {"added": list(self.added), "removed": list(self.removed), "changed": changed}

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def __str__(self) -> str:
        lines = [f"{mark} {path}: {change}" if change else f"{mark} {path}" for mark, path, change in self._lines()]
        return "\n".join(map(visible, lines)) or _SAME

    def _repr_html_(self) -> str:
        """The differences for notebooks."""
        rows = list(self._lines())
        return Table.of(("", "path", "change"), rows).html() if rows else markup.fragment(markup.paragraphs([_SAME]))

    def _lines(self) -> Iterator[tuple[str, str, str]]:
        """What differs: -, + or ~, the path, and the change."""
        yield from (("-", path, "") for path, _ in folded_paths(dict.fromkeys(self.removed)))
        yield from (("+", path, "") for path, _ in folded_paths(dict.fromkeys(self.added)))
        alike = {path: json.dumps(_without_numbers(fields)) for path, fields in self.changed.items()}
        for path, paths in folded_paths(alike):
            fields = self.changed[paths[0]] if len(paths) == 1 else self._shared(paths)
            yield from (("~", path, f"{key} {_change(before, after)}") for key, (before, after) in fields.items())

    def _shared(self, paths: list[str]) -> dict[str, tuple[Any, Any]]:
        """The changes of parameters of repeated blocks that changed alike; of their seeds, how many there are."""
        shared = _without_numbers(self.changed[paths[0]])
        if "seeds" in shared:
            sides = ([seed for path in paths for seed in self.changed[path]["seeds"][side] or ()] for side in (0, 1))
            before, after = (len(set(each)) for each in sides)
            shared["seeds"] = f"{before}", f"{after} others"
        return shared


def _without_numbers(fields: Mapping[str, tuple[Any, Any]]) -> dict[str, tuple[Any, Any]]:
    """The changes of a parameter as they are in all of its repeated blocks: without their numbers and their seeds."""
    plain = {key: (_plain(before), _plain(after)) for key, (before, after) in fields.items() if key in ("name", "tied")}
    return {**fields, **plain, **({"seeds": (None, None)} if "seeds" in fields else {})}


def _plain(value: Any) -> Any:
    return [_plain(each) for each in value] if isinstance(value, list) else unnumbered(str(value))


def _change(before: Any, after: Any) -> str:
    """Both values of a field, with as many digits as tell them apart, of which six are shown at least."""
    first, second = _rounded(before), _rounded(after)
    return f"{before} → {after}" if first == second else f"{first} → {second}"


def _rounded(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_rounded, value))}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _by_path(plan: Plan | Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The entries of a plan, or of the data of a plan's JSON, as they are in JSON."""
    data = json.loads(json.dumps(plan.as_dict())) if isinstance(plan, Plan) else plan
    try:
        return {entry["path"]: dict(entry) for entry in data["entries"]}
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            "`other` must be a plan, or the data of the JSON that `fanin plan --json` makes. "
            f"Received: {type(data).__name__}."
        ) from None
