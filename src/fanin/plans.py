"""Plans: what each parameter of a model gets, before anything is drawn, and the drawing of any piece of it.

A plan is plain data. `Entry.fill` is all that draws: a function of the entry and of a region alone, whatever the order,
the thread or the machine.
"""

from __future__ import annotations

import json
import math
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from fanin import _native
from fanin._layouts import permuted
from fanin._parameters import Parameter
from fanin._plan_tables import COLUMNS, Row, cells_of, folded
from fanin._random import Pair
from fanin._shapes import parse_region
from fanin._words import readable
from fanin.base import Initializer
from fanin.distributions import Distribution


@dataclass(frozen=True)
class Found:
    """The parameters of a model, as one of the frameworks' modules describes them.

    Attributes:
        parameters: each once, ties resolved.
        model: the model in words, such as its class.
        config: numbers of the model's configuration, by name.
        left: what the recipe is not asked about, by path, with the reason.
        notes: what a reader of the plan should know.
        layers: paths that say which blocks there are besides the parameters'.
    """

    parameters: tuple[Parameter, ...]
    model: str
    config: Mapping[str, float] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Draw:
    """A tensor that is drawn, and which part of it goes where in the parameter, both in Keras's order of axes.

    Attributes:
        name: what its seed is spawned from.
        initializer: the initializer, with that seed.
        distribution: the whole tensor that is drawn.
        target: starts and ends in the parameter, axis by axis.
        source: the starts in the tensor.
        label: "" for the parameter as such, else the block.
    """

    name: str
    initializer: Initializer
    distribution: Distribution
    target: tuple[tuple[int, int], ...]
    source: tuple[int, ...]
    label: str = ""

    @property
    def seed(self) -> int | None:
        """The seed; None where values do not depend on one."""
        return self.initializer._seed if self.distribution.random else None

    def fill(self, view: np.ndarray, starts: tuple[int, ...]) -> None:
        """Fills an array with the piece of the parameter's part that begins there, counted within the target."""
        pair: Pair = (self.seed or 0, 0)
        shape = self.distribution.shape
        if len(shape) != view.ndim:  # a matrix whose rows or columns are several axes here
            whole = self.distribution.draw(pair).reshape([end - start for start, end in self.target])
            view[...] = whole[tuple(slice(s, s + n) for s, n in zip(starts, view.shape, strict=True))]
            return
        begins = [start + more for start, more in zip(self.source, starts, strict=True)]
        box = tuple(slice(begin, begin + length) for begin, length in zip(begins, view.shape, strict=True))
        region = None if view.shape == shape else parse_region(box, shape)
        _native.undisturbed(_filled, self.distribution, view, pair, region)


def _filled(distribution: Distribution, view: np.ndarray, pair: Pair, region: Any) -> None:
    distribution.fill(view, pair, region, fresh=False)


@contextmanager
def _uninterrupted(wanted: bool) -> Iterator[None]:
    """Holds an interrupt back until the end of the block, in the main thread, which alone gets any."""
    if not wanted or threading.current_thread() is not threading.main_thread():
        yield
        return
    before, held = signal.getsignal(signal.SIGINT), []
    if not callable(before):
        yield
        return
    signal.signal(signal.SIGINT, lambda *arguments: held.append(arguments))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held:
            before(*held[0])


@dataclass(frozen=True)
class Entry:
    """What one parameter gets.

    Attributes:
        parameter: the parameter.
        name: the name under which it is drawn.
        rule: the rule that matched, in words, with its line; "" where none did.
        draws: what is drawn; empty for a parameter that stays as it is, and where there is a problem.
        kept: whether it stays as it is.
        problem: what stands in the way, if anything does.
    """

    parameter: Parameter
    name: str
    rule: str = ""
    rules: tuple[int, ...] = ()
    draws: tuple[Draw, ...] = ()
    kept: bool = False
    problem: str = ""

    @property
    def path(self) -> str:
        """The parameter's path."""
        return self.parameter.path

    @property
    def matched(self) -> bool:
        """Whether a rule says what it gets."""
        return bool(self.rule)

    @property
    def initializer(self) -> Initializer | None:
        """The initializer of the (first) draw."""
        return self.draws[0].initializer if self.draws else None

    @property
    def _main(self) -> list[Draw]:
        return [draw for draw in self.draws if draw.label != "padding"]

    @property
    def fans(self) -> tuple[float, float] | None:
        """The fans, where they are known."""
        return self.parameter.fans

    @property
    def mean(self) -> float | None:
        """The expected mean of its elements (of an embedding, without its padding); None where nothing is drawn."""
        return self._moments()[0] if self._main else None

    @property
    def stddev(self) -> float | None:
        """Their expected standard deviation."""
        return self._moments()[1] if self._main else None

    def _moments(self) -> tuple[float, float]:
        total = mean = square = 0.0
        for draw in self._main:
            count = math.prod(end - start for start, end in draw.target)
            total += count
            mean += count * draw.distribution.mean
            square += count * (draw.distribution.stddev**2 + draw.distribution.mean**2)
        if not total or len(self._main) == 1:
            return self._main[0].distribution.mean, self._main[0].distribution.stddev
        mean /= total
        return mean, math.sqrt(max(0.0, square / total - mean**2))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of what is drawn at random, each once."""
        return tuple(dict.fromkeys(draw.seed for draw in self.draws if draw.seed is not None))

    @property
    def what(self) -> str:
        """The initializer or initializers in words, with their numbers."""
        if self.kept:
            return "stays as it is"
        words: dict[str, list[str]] = {}
        for draw in self.draws:
            words.setdefault(_described(draw.initializer), []).append(draw.label)
        if len(words) == 1 and not (len(self.draws) > 1 and len({draw.name for draw in self.draws}) > 1):
            return next(iter(words))
        return "; ".join(
            f"{', '.join(filter(None, labels))}: {text}".removeprefix(": ") for text, labels in words.items()
        )

    def fill(self, array: np.ndarray, region: Any = None) -> None:
        """Fills an array with the parameter's values, or with those of a region of it.

        Args:
            array: a writable array of the parameter's dtype and shape (or the region's), in its own order of axes.
            region: a box in the parameter, as a tuple of slices of step 1, one for each axis.
        """
        parameter, axes = self.parameter, self.parameter.kernel_axes
        starts: tuple[int, ...] = (0,) * len(parameter.shape)
        lengths = parameter.shape
        if region is not None:
            box = parse_region(region, parameter.shape)
            starts, lengths = box.starts, box.lengths
        if array.shape != lengths or array.dtype != parameter.dtype:
            raise ValueError(
                f"`array` must have the shape {lengths} and the dtype {parameter.dtype.name}. "
                f"Received: shape {array.shape}, dtype {array.dtype.name}."
            )
        kernel = array.transpose(axes)
        starts, lengths = permuted(starts, axes), permuted(lengths, axes)
        with _uninterrupted(len(self.draws) > 1):
            self._fill(kernel, starts, lengths)

    def _fill(self, kernel: np.ndarray, starts: tuple[int, ...], lengths: tuple[int, ...]) -> None:
        for draw in self.draws:
            view, begins = [], []
            for (low, high), start, length in zip(draw.target, starts, lengths, strict=True):
                first, last = max(low, start), min(high, start + length)
                view.append(slice(first - start, max(first, last) - start))
                begins.append(first - low)
            piece = kernel[(*view, ...)]  # the dots keep a 0-d array an array
            if piece.size:
                draw.fill(piece, tuple(begins))

    def as_dict(self) -> dict[str, Any]:
        """The entry as plain data."""
        parameter = self.parameter
        return {
            "path": parameter.path,
            "name": self.name,
            "shape": list(parameter.shape),
            "dtype": parameter.dtype.name,
            "layout": parameter.layout,
            "layer": parameter.layer,
            "role": parameter.role,
            "rule": self.rule,
            "initializer": self.what,
            "fans": None if self.fans is None else list(self.fans),
            "mean": self.mean,
            "stddev": self.stddev,
            "seeds": list(self.seeds),
            "tied": list(parameter.tied),
            "problem": self.problem,
        }


def _described(initializer: Initializer) -> str:
    config = {key: value for key, value in initializer.get_config().items() if key != "seed"}
    arguments = ", ".join(f"{key}={_number(value)}" for key, value in config.items())
    return f"{type(initializer).__name__}({arguments})"


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


class PlanError(ValueError):
    """A plan that cannot be executed; the message has everything that stands in the way, and nothing was written."""


@dataclass(frozen=True)
class Plan:
    """What every parameter of a model gets.

    Attributes:
        entries: an `Entry` for each parameter, in the model's order.
        seed: the recipe's seed.
        found: the model, as it was described.
        unused: the rules that gave nothing to any parameter, in words.
    """

    entries: tuple[Entry, ...]
    seed: int
    found: Found
    unused: tuple[str, ...] = ()

    @property
    def unmatched(self) -> tuple[Entry, ...]:
        """The entries of parameters for which there is no rule."""
        return tuple(entry for entry in self.entries if not entry.matched and not entry.problem)

    @property
    def problems(self) -> tuple[str, ...]:
        """What else stands in the way."""
        return tuple(entry.problem for entry in self.entries if entry.problem)

    @property
    def tied(self) -> dict[str, tuple[str, ...]]:
        """Further paths of parameters that have several."""
        return {entry.path: entry.parameter.tied for entry in self.entries if entry.parameter.tied}

    @property
    def equal_seeds(self) -> tuple[tuple[str, ...], ...]:
        """Paths of parameters that are not tied and yet have the same seed, and so the same random words."""
        by_words: dict[tuple[Any, ...], list[str]] = {}
        for entry in self.entries:
            for draw in entry.draws:
                if draw.seed is not None:  # parts of one tensor have its seed, but begin elsewhere in it
                    where = f"{entry.path}[{draw.label}]" if draw.label and len(entry.draws) > 1 else entry.path
                    by_words.setdefault((draw.seed, draw.source), []).append(where)
        return tuple(tuple(paths) for paths in by_words.values() if len(paths) > 1)

    @property
    def size(self) -> int:
        """The number of elements of all parameters."""
        return sum(entry.parameter.size for entry in self.entries)

    @property
    def nbytes(self) -> int:
        """Their size in memory."""
        return sum(entry.parameter.nbytes for entry in self.entries)

    def chosen(self, select: Any) -> Plan:
        """The same plan for the entries that a function of a parameter chooses."""
        return replace(self, entries=tuple(entry for entry in self.entries if select(entry.parameter)))

    def check(self, unmatched: str = "error") -> None:
        """Raises what stands in the way of its execution.

        Args:
            unmatched: "error", or "keep": parameters without a rule stay as they are.

        Raises:
            PlanError: with everything. (A ValueError.)
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
                + '\n    Add rules for them (the last one may be path = "*"), or leave them: unmatched="keep".'
            )
        if complaints:
            raise PlanError(
                f"The recipe does not fit {self.found.model}; nothing has been written.\n"
                + "\n".join(f"  {each}" for each in complaints)
            )

    def entry(self, path: str) -> Entry:
        """The entry of a parameter, by any of its paths."""
        for each in self.entries:
            if path == each.path or path in each.parameter.tied:
                return each
        from fanin._words import suggestion

        known = [each.path for each in self.entries]
        raise KeyError(f"No parameter {path!r}.{suggestion(path, known)}")

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain data, for JSON."""
        return {
            "model": self.found.model,
            "seed": self.seed,
            "parameters": len(self.entries),
            "elements": self.size,
            "bytes": self.nbytes,
            "unmatched": [entry.path for entry in self.unmatched],
            "problems": list(self.problems),
            "unused_rules": list(self.unused),
            "equal_seeds": [list(paths) for paths in self.equal_seeds],
            "left": dict(self.found.left),
            "entries": [entry.as_dict() for entry in self.entries],
        }

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """The plan as JSON; written to a file, too, if a path is given."""
        text = json.dumps(self.as_dict(), indent=1) + "\n"
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def compare(self, other: Plan | Mapping[str, Any]) -> Comparison:
        """How another plan differs from this one.

        Args:
            other: a plan, or what the JSON of one was read to.
        """
        theirs = other.as_dict() if isinstance(other, Plan) else other
        try:
            after = {entry["path"]: dict(entry) for entry in theirs["entries"]}
        except (KeyError, TypeError):
            raise ValueError(
                f"A plan is compared with a plan, or with what its JSON was read to. Received: {type(other).__name__}."
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
        """The plan as a table of text.

        Args:
            fold: shows the parameters of repeated blocks in one row: `layers.[0-31].mlp.w1`.
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
        """The columns behind the path; the name only where one differs from its path."""
        named = any(entry.name != entry.path for entry in self.entries)
        return ("name", *COLUMNS) if named else COLUMNS

    def _remarks(self) -> list[str]:
        """The totals, and what a reader should know."""
        remarks = [
            f"{self.found.model}: {len(self.entries)} parameters, {self.size:,} elements, {readable(self.nbytes)}, "
            f"seed {self.seed}"
        ]
        for path, others in self.tied.items():
            remarks.append(f"tied: {path} is also {', '.join(others)}")
        for paths in self.equal_seeds:
            remarks.append(f"equal seeds: {', '.join(paths)}")
        frozen = [entry for entry in self.entries if not entry.parameter.trainable and not entry.kept]
        remarks += (
            [f"frozen, and drawn all the same: {', '.join(row.path for row in folded(frozen))}"] if frozen else []
        )
        remarks += [f"unused: {', '.join(self.unused)}"] if self.unused else []
        remarks += [f"left alone: {path} ({reason})" for path, reason in self.found.left.items()]
        remarks += [f"note: {note}" for note in self.found.notes]
        remarks += [f"unmatched: {row.path}" for row in folded(self.unmatched)]
        return remarks + [f"problem: {problem}" for problem in self.problems]

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return f"<Plan of {len(self.entries)} parameters of {self.found.model}, seed {self.seed}>"

    def _repr_html_(self) -> str:
        """The table in a notebook."""
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
    """What differs between two plans; false where nothing does.

    Attributes:
        added: paths that only the second plan has.
        removed: paths that only the first one has.
        changed: for each path, what differs: the value in the first plan and in the second.
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
