"""Plans: what each parameter of a model gets, before anything is drawn, and the drawing of any piece of it.

A plan is plain data. `Entry.fill` is all that draws: a function of the entry and of a region alone, whatever the order,
the thread or the machine.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from fanin import _native, initializers
from fanin._layouts import keras_axes, permuted
from fanin._parameters import KERNELS, NameMap, Parameter, depths
from fanin._random import Pair
from fanin._shapes import fans as fans_of_shape
from fanin._shapes import parse_region
from fanin._words import readable
from fanin.base import Initializer
from fanin.distributions import Distribution

# Running statistics have one sensible start; a recipe may say another.
_STARTS = {"mean": 0, "variance": 1, "count": 0}


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
        if unmatched == "error" and self.unmatched:
            rows = _folded(self.unmatched)
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
        rows = _folded(self.entries) if fold else [_Row(entry.path, _cells(entry)) for entry in self.entries]
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
        return ("name", *_COLUMNS) if named else _COLUMNS

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
        remarks += [f"unused: {', '.join(self.unused)}"] if self.unused else []
        remarks += [f"left alone: {path} ({reason})" for path, reason in self.found.left.items()]
        remarks += [f"note: {note}" for note in self.found.notes]
        remarks += [f"unmatched: {row.path}" for row in _folded(self.unmatched)]
        return remarks + [f"problem: {problem}" for problem in self.problems]

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return f"<Plan of {len(self.entries)} parameters of {self.found.model}, seed {self.seed}>"

    def _repr_html_(self) -> str:
        """The table in a notebook."""
        from html import escape

        def line(tag: str, texts: Iterable[str]) -> str:
            cells = (f"<{tag} style='text-align:left'>{escape(text)}</{tag}>" for text in texts)
            return f"<tr>{''.join(cells)}</tr>"

        columns = self._columns()
        body = "".join(line("td", (row.path, *(row.cells[c] for c in columns))) for row in _folded(self.entries))
        remarks = "<br>".join(escape(remark) for remark in self._remarks())
        return f"<table><thead>{line('th', ('path', *columns))}</thead><tbody>{body}</tbody></table><p>{remarks}</p>"


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


def made(recipe: Any, found: Found, names: NameMap) -> Plan:
    """The plan of a `Recipe` for a model's parameters."""
    paths = [path for each in found.parameters for path in (each.path, *each.tied)]
    depth_of = depths([*paths, *found.layers])
    entries = []
    for parameter in found.parameters:
        known: dict[str, float] = {f"config.{name}": value for name, value in found.config.items()}
        known |= {"rank": len(parameter.shape), "size": parameter.size}
        if parameter.path in depth_of:
            known["depth"], known["n_layers"] = depth_of[parameter.path]
        known |= parameter.known | recipe.constants
        entries.append(_Planner(recipe, parameter, known, names).entry())
    used = {number for entry in entries for number in entry.rules}
    unused = tuple(rule.label for rule in recipe.rules if rule.number not in used)
    return Plan(tuple(entries), recipe.seed, found, unused)


class _Planner:
    """Makes the entry of one parameter."""

    def __init__(self, recipe: Any, parameter: Parameter, known: Mapping[str, float], names: NameMap) -> None:
        self.recipe, self.parameter, self.known, self.names = recipe, parameter, known, names
        self.home = parameter.path if parameter.part is None else parameter.part.path
        self.name = names.of(parameter, self.home)

    def entry(self) -> Entry:
        """The entry, whatever stands in the way."""
        parameter = self.parameter
        matching = [rule for rule in self.recipe.rules if rule.matches(parameter, self.name)]
        declared = next((rule.blocks for rule in matching if rule.blocks), ())
        blocks = parameter.blocks or declared
        here: tuple[str | None, ...] = (parameter.part.block,) if parameter.part else blocks or (None,)
        chosen = {block: next((rule for rule in matching if _concerns(rule, block)), None) for block in here}
        rules = [rule for rule in dict.fromkeys(chosen.values()) if rule is not None]
        numbers = tuple(rule.number for rule in rules)
        if not rules:
            return self._start()
        label = ", ".join(rule.label for rule in rules)
        entry = Entry(parameter, self.name, label, numbers)
        missing = [str(block) for block, rule in chosen.items() if rule is None]
        try:
            if missing:
                raise ValueError(
                    f"no rule matches its {'blocks' if len(missing) > 1 else 'block'} {', '.join(missing)}"
                )
            overridden = next((rule.layout for rule in rules if rule.layout is not None), None)
            if overridden is not None:
                axes = keras_axes(overridden, len(parameter.shape))
                # A layout says which axes are in and out; the table's fans, if any, know more.
                parameter = replace(parameter, axes=axes)
                if self.parameter.fans is None:
                    parameter = replace(parameter, fans=fans_of_shape(parameter.kernel_shape))
                self.parameter = parameter
            entry = replace(entry, parameter=parameter)
            if all(rule.keeps for rule in rules):
                return replace(entry, kept=True)
            draws = tuple(self._draws(chosen, blocks))
            return replace(entry, draws=(*draws, *self._padding()))
        except (TypeError, ValueError, MemoryError) as error:
            text = str(error).removesuffix(".")
            return replace(entry, problem=f"{parameter.path}, by {label}: {text}.")

    def _start(self) -> Entry:
        """What running statistics and counters get without a rule."""
        parameter = self.parameter
        if parameter.role not in _STARTS:
            return Entry(parameter, self.name)
        initializer = initializers.Constant(_STARTS[parameter.role])
        try:
            drawn = initializer.distribution(parameter.kernel_shape, parameter.dtype)
        except (TypeError, ValueError) as error:
            return Entry(parameter, self.name, problem=f"{parameter.path}, by its usual start: {error}")
        target = tuple((0, length) for length in parameter.kernel_shape)
        draw = Draw(self.name, initializer, drawn, target, (0,) * len(target))
        return Entry(parameter, self.name, "its usual start", (), (draw,))

    def _draws(self, chosen: Mapping[str | None, Any], blocks: Sequence[str]) -> Iterator[Draw]:
        shape = self.parameter.kernel_shape
        if None in chosen:
            yield self._draw(chosen[None], self.name, shape, 1)
            return
        part = self.parameter.part
        if part is not None:
            (rule,) = chosen.values()
            if rule.by_block:
                yield self._draw(rule, self._block_name(part.block), shape, 1, label=part.block)
                return
            count, position = len(part.blocks), part.blocks.index(part.block)
            yield self._draw(rule, self.name, shape, 1, whole=count, source=position, label=part.block)
            return
        if not shape or shape[-1] % len(blocks):
            raise ValueError(f"the last axis of {shape} cannot be cut into the blocks {', '.join(blocks)}")
        keras_blocks = self.parameter.keras_blocks or blocks
        rules = set(chosen.values())
        if len(rules) == 1 and not next(iter(rules)).by_block and tuple(blocks) == tuple(keras_blocks):
            yield self._draw(rules.pop(), self.name, shape, 1)
            return
        length = shape[-1] // len(blocks)
        for position, block in enumerate(blocks):
            rule = chosen[block]
            if rule.keeps:
                continue
            target = (*shape[:-1], length)
            if rule.by_block:
                name = self._block_name(block)
                yield self._draw(rule, name, target, len(blocks), offset=position * length, label=block)
            else:
                source = keras_blocks.index(block)
                yield self._draw(
                    rule,
                    self.name,
                    target,
                    len(blocks),
                    offset=position * length,
                    whole=len(blocks),
                    source=source,
                    label=block,
                )

    def _block_name(self, block: str) -> str:
        return self.names.mapped(f"{self.home}[{block}]") or f"{self.name}[{block}]"

    def _draw(
        self,
        rule: Any,
        name: str,
        shape: tuple[int, ...],
        cut: int,
        *,
        offset: int = 0,
        whole: int = 1,
        source: int = 0,
        label: str = "",
    ) -> Draw:
        """A draw for a target of this shape, one of `cut` blocks of the parameter, from a tensor of `whole` such ones."""
        fans = self.parameter.fans
        fan_in, fan_out = (self.parameter.known.get(key) for key in ("fan_in", "fan_out"))
        if fans is not None:
            fan_in, fan_out = fans[0], fans[1] * whole // cut
        known = dict(self.known)
        known |= {} if fan_in is None else {"fan_in": fan_in}
        known |= {} if fan_out is None else {"fan_out": fan_out}
        own_in, own_out = rule.fans(known)
        fan_in, fan_out = fan_in if own_in is None else own_in, fan_out if own_out is None else own_out
        known |= {} if fan_in is None else {"fan_in": fan_in}
        known |= {} if fan_out is None else {"fan_out": fan_out}
        initializer = rule.make(known, self.recipe.seed).spawn(name)
        drawn_shape = (*shape[:-1], shape[-1] * whole) if whole > 1 else shape
        matrix = self.parameter.matrix_shape
        if matrix is not None and isinstance(initializer, (initializers.Orthogonal, initializers.Identity)):
            drawn_shape = matrix
        drawn = self._distribution(rule, initializer, drawn_shape, fan_in, fan_out)
        starts = [0] * len(shape)
        target = [(0, length) for length in shape]
        if shape:
            target[-1] = offset, offset + shape[-1]
            starts[-1] = source * shape[-1]
        return Draw(name, initializer, drawn, tuple(target), tuple(starts), label)

    def _distribution(
        self, rule: Any, initializer: Initializer, shape: tuple[int, ...], fan_in: Any, fan_out: Any
    ) -> Distribution:
        dtype = self.parameter.dtype
        if not isinstance(initializer, initializers.VarianceScaling):
            drawn = initializer.distribution(shape, dtype)
            return drawn if fan_in is None or fan_out is None else drawn.with_fans(fan_in, fan_out)
        needed = {"fan_in": fan_in, "fan_out": fan_out}
        lacking = [key for key, value in needed.items() if value is None and initializer.mode in (key, "fan_avg")]
        if lacking:
            layer = self.parameter.layer
            owner = f"a layer of type {layer}" if layer else "no known layer"
            raise ValueError(
                f"{type(initializer).__name__} needs the fans of a parameter of {owner}, which nobody knows. Write "
                f"{' and '.join(f'`{key} = …`' for key in lacking)} into {rule.label}, or, if it is a kernel, "
                '`layout = "torch"` or `layout = "keras"`'
            )
        both = (1 if each is None else each for each in (fan_in, fan_out))
        return initializer.distribution_of_fans(shape, dtype, *both)

    def _padding(self) -> Iterator[Draw]:
        shape = self.parameter.kernel_shape
        for row in self.parameter.zero_rows:
            zeros = initializers.Zeros()
            drawn = zeros.distribution((1, *shape[1:]), self.parameter.dtype)
            target = ((row, row + 1), *((0, length) for length in shape[1:]))
            yield Draw(self.name, zeros, drawn, target, (0,) * len(shape), "padding")


def _concerns(rule: Any, block: str | None) -> bool:
    """Whether a rule that matches a parameter is about this block of it, or about the parameter that has none."""
    if not rule.by_block:
        return True
    return block is not None and rule.matches_block(block)


_COLUMNS = ("shape", "dtype", "layout", "layer", "role", "rule", "initializer", "fans", "std", "seed")


@dataclass(frozen=True)
class _Row:
    path: str
    cells: Mapping[str, str]


def _cells(entry: Entry) -> dict[str, str]:
    parameter = entry.parameter
    stddev = entry.stddev
    return {
        "name": _template(entry.name)[0].replace("{}", "·") if entry.name != entry.path else "",
        "shape": "×".join(map(str, parameter.shape)) or "()",
        "dtype": parameter.dtype.name,
        "layout": parameter.layout,
        "layer": parameter.layer,
        "role": parameter.role,
        "rule": entry.rule or ("!" if entry.problem else "none"),
        "initializer": "!" if entry.problem else entry.what,
        "fans": ""
        if entry.fans is None or parameter.role not in (*KERNELS, "embedding")
        else "→".join(map(str, entry.fans)),
        "std": "" if stddev is None else f"{stddev:.4g}",
        "seed": ", ".join(map(str, entry.seeds)) if len(entry.seeds) < 2 else f"{len(entry.seeds)} seeds",
    }


def _folded(entries: Iterable[Entry]) -> list[_Row]:
    """Rows in which the parameters of repeated blocks are one, where all but the seeds is the same."""
    groups: dict[tuple[Any, ...], list[tuple[tuple[int, ...], dict[str, str]]]] = {}
    names: dict[tuple[str, tuple[int, ...]], str] = {}
    for entry in entries:
        template, numbers = _template(entry.path)
        names[template, numbers] = entry.name if entry.name != entry.path else ""
        cells = _cells(entry)
        key = (template, *(text for column, text in cells.items() if column != "seed"))
        groups.setdefault(key, []).append((numbers, cells))
    rows = []
    for (template, *_), members in groups.items():
        by_numbers = dict(members)
        for texts, folded in _ranges(list(by_numbers)):
            cells = dict(by_numbers[folded[0]])
            if len(folded) == 1:
                cells["name"] = names[template, folded[0]]
            seeds = {by_numbers[numbers]["seed"] for numbers in folded}
            if len(seeds) > 1:
                cells["seed"] = f"{len(seeds)} seeds"
            rows.append(_Row(template.format(*texts), cells))
    return rows


def _template(path: str) -> tuple[str, tuple[int, ...]]:
    """A path with holes for the numbers of blocks, and the numbers."""
    numbers, parts = [], []
    for part in path.replace("{", "{{").replace("}", "}}").split("."):
        stem, underscore, tail = part.rpartition("_")
        if part.isdecimal() and str(int(part)) == part:
            numbers.append(int(part))
            parts.append("{}")
        elif underscore and tail.isdecimal() and str(int(tail)) == tail:
            numbers.append(int(tail))
            parts.append(stem + "_{}")
        else:
            parts.append(part)
    return ".".join(parts), tuple(numbers)


def _ranges(tuples: list[tuple[int, ...]]) -> Iterator[tuple[tuple[str, ...], list[tuple[int, ...]]]]:
    """Tuples of numbers as products of ranges, each with the tuples that it stands for."""
    axes = [sorted(set(axis)) for axis in zip(*tuples, strict=True)]
    if math.prod(map(len, axes)) == len(tuples):
        yield tuple(map(_range, axes)), tuples
        return
    for first in dict.fromkeys(each[0] for each in tuples):
        for rest, folded in _ranges([each[1:] for each in tuples if each[0] == first]):
            yield (str(first), *rest), [(first, *each) for each in folded]


def _range(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return str(numbers[0])
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return "[" + ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs) + "]"
