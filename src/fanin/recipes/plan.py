"""Plans: what each parameter of a model gets, as plain data, before anything is drawn."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fanin._core.messages import readable, suggestion
from fanin._core.types import Unmatched
from fanin.models.parameters import Model, Parameter
from fanin.recipes.entry import Entry
from fanin.recipes.tables import COLUMNS, Row, cells_of, folded


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
    """

    entries: tuple[Entry, ...]
    seed: int
    model: Model
    unused: tuple[str, ...] = ()

    @property
    def unmatched(self) -> tuple[Entry, ...]:
        """The entries of parameters that no rule matches."""
        return tuple(entry for entry in self.entries if not entry.matched and not entry.problem)

    @property
    def problems(self) -> tuple[str, ...]:
        """The other reasons why the plan cannot be executed."""
        return tuple(entry.problem for entry in self.entries if entry.problem)

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
                if each.seed is not None:  # parts of one tensor share its seed, but not their place in it
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
            raise ValueError(f'`unmatched` must be "error" or "keep". Received: unmatched={unmatched!r}.')
        complaints = list(self.problems)
        complaints += [f"{', '.join(each)} would have the same values: names must differ." for each in self.equal_seeds]
        if unmatched == "error" and self.unmatched:
            rows = folded(self.unmatched)
            listed = [f"{row.path} {row.cells['shape']}, {row.cells['layer'] or 'no known layer'}" for row in rows]
            complaints.append(
                f"No rule matches {len(self.unmatched)} of {len(self.entries)} parameters:"
                + "".join(f"\n    {each}" for each in listed[:20])
                + (f"\n    and {len(listed) - 20} more" if len(listed) > 20 else "")
                + '\n    Add rules for them (the last one may be path = "*"), or leave them as they are with '
                'unmatched="keep".'
            )
        if complaints:
            raise PlanError(
                f"The recipe does not fit {self.model.name}; nothing has been written.\n"
                + "\n".join(f"  {each}" for each in complaints)
            )

    def entry(self, path: str) -> Entry:
        """The entry of a parameter, by any of its paths."""
        for each in self.entries:
            if path == each.path or path in each.parameter.tied:
                return each
        known = [each.path for each in self.entries]
        raise KeyError(f"No parameter {path!r}.{suggestion(path, known)}")

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

    def compare(self, other: Plan | Mapping[str, Any]) -> Comparison:
        """How another plan differs from this one.

        Args:
            other: a plan, or the data of a plan's JSON.
        """
        theirs = other.as_dict() if isinstance(other, Plan) else other
        try:
            after = {entry["path"]: dict(entry) for entry in theirs["entries"]}
        except (KeyError, TypeError):
            raise ValueError(
                f"`other` must be a plan, or the data of a plan's JSON. Received: {type(other).__name__}."
            ) from None
        before = {entry.path: json.loads(json.dumps(entry.as_dict())) for entry in self.entries}
        changed = {}
        for path in before:
            if path in after:
                differing = {
                    key: (before[path][key], after[path].get(key))
                    for key in before[path]
                    if key not in ("path", "rule", "problem") and before[path][key] != after[path].get(key)
                }
                if differing:
                    changed[path] = differing
        return Comparison(
            added=tuple(path for path in after if path not in before),
            removed=tuple(path for path in before if path not in after),
            changed=changed,
        )

    def table(self, *, fold: bool = True) -> str:
        """The plan as a text table.

        Args:
            fold: whether to show the parameters of repeated blocks in one row, such as `layers.[0-31].mlp.w1`.
        """
        rows = folded(self.entries) if fold else [Row(entry.path, cells_of(entry)) for entry in self.entries]
        columns = self._columns()
        heads = ("path", *columns)
        cells = [(row.path, *(row.cells[column] for column in columns)) for row in rows]
        widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
        lines = [
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in (heads, *cells)
        ]
        return "\n".join(line.rstrip() for line in [*lines, "", *self._remarks()])

    def _columns(self) -> tuple[str, ...]:
        """The columns after the path; the name is among them only if one differs from its path."""
        named = any(entry.name != entry.path for entry in self.entries)
        return ("name", *COLUMNS) if named else COLUMNS

    def _remarks(self) -> list[str]:
        """The totals, and the remarks on the plan."""
        remarks = [
            f"{self.model.name}: {len(self.entries)} parameters, {self.size:,} elements, {readable(self.nbytes)}, "
            f"seed {self.seed}"
        ]
        for path, others in self.tied.items():
            remarks.append(f"tied: {path} is also {', '.join(others)}")
        for paths in self.equal_seeds:
            remarks.append(f"equal seeds: {', '.join(paths)}")
        frozen = [entry for entry in self.entries if not entry.parameter.trainable and not entry.kept]
        remarks += (
            [f"frozen, but initialized as well: {', '.join(row.path for row in folded(frozen))}"] if frozen else []
        )
        remarks += [f"unused: {', '.join(self.unused)}"] if self.unused else []
        remarks += [f"left alone: {path} ({reason})" for path, reason in self.model.left.items()]
        remarks += [f"note: {note}" for note in self.model.notes]
        remarks += [f"unmatched: {row.path}" for row in folded(self.unmatched)]
        return remarks + [f"problem: {problem}" for problem in self.problems]

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return f"<Plan of {len(self.entries)} parameters of {self.model.name}, seed {self.seed}>"

    def _repr_html_(self) -> str:
        """The table for notebooks."""
        from html import escape

        def line(tag: str, texts: Iterable[str]) -> str:
            style = "text-align:left;white-space:nowrap;padding:2px 10px"
            cells = (f"<{tag} style='{style}'>{escape(text)}</{tag}>" for text in texts)
            return f"<tr>{''.join(cells)}</tr>"

        columns = self._columns()
        body = "".join(line("td", (row.path, *(row.cells[c] for c in columns))) for row in folded(self.entries))
        remarks = "<br>".join(escape(remark) for remark in self._remarks())
        head = line("th", ("path", *columns))
        table = f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"
        return f"<div style='overflow-x:auto'>{table}</div><p>{remarks}</p>"


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

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def __str__(self) -> str:
        lines = [f"- {path}" for path in self.removed] + [f"+ {path}" for path in self.added]
        for path, fields in self.changed.items():
            lines += [f"~ {path}: {key} {before} → {after}" for key, (before, after) in fields.items()]
        return "\n".join(lines) or "The plans are the same."
