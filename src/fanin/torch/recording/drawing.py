"""From readings to the entries of a plan: each draw gets a stream from the seed and the name of the parameter it is in.

What rules can say is planned by the planner, as for any recipe. The rest is laid out here: copies have the values of
the parameter that they were copied from, and formulas and programs are computed from the very values that the draws in
them have elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import as_strided

from fanin import initializers
from fanin._core import dtypes
from fanin._core.layouts import permuted
from fanin._core.shapes import Region
from fanin._core.streams import Stream, derived_seed
from fanin._core.types import DType, Shape
from fanin.distributions import Matrix
from fanin.distributions.weight import Weight
from fanin.initializers import Initializer
from fanin.models.names import NameMap
from fanin.models.parameters import Parameter
from fanin.recipes.entry import RECORDED, Entry, Placement
from fanin.recipes.planner import entries_of
from fanin.recipes.rules import Rule
from fanin.torch.recording.expressions import Constant, Draw, Expression, Seen, Source
from fanin.torch.recording.geometry import is_dense
from fanin.torch.recording.laws import OwnFormula, OwnProgram, OwnTable
from fanin.torch.recording.reading import Law, Part, Reading, is_formula, kind_of, region_words
from fanin.torch.recording.regions import Box, lengths_of
from fanin.torch.recording.rules import initializer_of, permuted_box, rules_of

_MOST_MARKS = 2**24  # elements of a draw of which views are compared
_NOTHING = (
    "No code of the model initializes it{where}: its memory would be used as it is found. Initialize it in the model's "
    "constructor, or leave it out with `skip=` and give it values yourself"
)
_UNKNOWN = (
    "The recording does not know it: it was made before or after. Make the whole model, with all that is added to it, "
    "within `fanin.torch.recording()`"
)


@dataclass(frozen=True)
class _Owner:
    """The parameter whose values a source has.

    Attributes:
        entry: its entry, without rows of zeros.
        draw: the draw as it is there.
        box: where it is.
    """

    entry: Entry
    draw: Draw
    box: Box


class Drawing:
    """The entries of recorded tensors, for a seed. Their order does not matter.

    Of tensors that have a draw in common, the first path of those with the widest dtype gives it its name.

    Args:
        tensors: each tensor and its reading; None for one that the recording does not know.
        aside: the paths of those for whose sake nothing else is drawn in another way.
        seed: the seed.
        names: the names that are drawn under.
    """

    def __init__(
        self,
        tensors: Iterable[tuple[Parameter, Reading | None]],
        seed: int,
        names: NameMap,
        aside: Collection[str] = (),
    ) -> None:
        self._tensors = sorted(tensors, key=lambda each: (each[0].path in aside, -each[0].dtype.itemsize, each[0].path))
        self._seed, self._names = seed, names
        self._entry_of = entries_of(seed, names)
        self._rules: dict[str, Rule] = {}  # by what they say
        self._owners: dict[Source, _Owner] = {}
        self._own: dict[Source, Weight] = {}  # of draws that no parameter has as they are
        self._first: dict[Source, str] = {}  # the paths of those that needed them first
        views = _independent_views(reading for _, reading in self._tensors if reading is not None)
        self._tensors = [(each, None if found is None else _with_views(found, views)) for each, found in self._tensors]
        self._uses = Counter(
            source
            for parameter, reading in self._tensors
            for part in (() if reading is None or parameter.path in aside else reading.parts)
            for source in part.expression.sources
        )

    def entries(self) -> dict[str, Entry]:
        """The entry of each tensor, by its path."""
        ruled = [(parameter, reading, self._ruled(parameter, reading)) for parameter, reading in self._tensors]
        found = {}
        for parameter, reading, entry in ruled:
            if entry is None:
                assert reading is not None
                entry = self._written(parameter, reading)
            found[parameter.path] = entry
        return found

    def _ruled(self, parameter: Parameter, reading: Reading | None) -> Entry | None:
        """The entry of a tensor that rules can describe, or that has a problem; None for others."""
        if reading is None and parameter.traits.start is not None and not parameter.problem:
            return self._entry_of(parameter, ())  # an adapter that was added afterwards starts as its package has it
        problem = parameter.problem or (f"{_UNKNOWN}." if reading is None else _lacking(reading))
        if problem or reading is None:
            return Entry(parameter, self._name(parameter), problem=f"{parameter.path}: {problem}")
        drawn = [part for part in reading.parts if isinstance(part.expression, Draw)]
        sources = [source for part in reading.parts for source in part.expression.sources]
        if len(set(sources)) < len(sources) or any(part.expression.sources[0] in self._owners for part in drawn):
            return None
        data = rules_of(parameter, reading)
        if not data:
            return None
        role = {"role": parameter.role} if parameter.has_usual_start else {}
        entry = self._entry_of(parameter, tuple(self._rule({"path": "*", **role, **each}) for each in data))
        entry = replace(entry, rule=RECORDED if entry.rule else "", rules=())
        bare = replace(entry, placements=tuple(each for each in entry.placements if each.label != "padding"))
        owners = {each.source: _Owner(bare, each, part.box) for part, each in _whole_draws(reading, entry)}
        if any(self._is_shared(part.expression) and part.expression.sources[0] not in owners for part in drawn):
            return None
        self._owners |= owners
        return entry

    def _is_shared(self, expression: Expression) -> bool:
        """Whether other tensors, or other parts of one, have the values of a draw, too."""
        return any(self._uses[source] > 1 for source in expression.sources)

    def _rule(self, data: dict[str, Any]) -> Rule:
        """The rule of this data, which many parameters share."""
        key = repr(data)
        if key not in self._rules:
            self._rules[key] = Rule(**data)
        return self._rules[key]

    def _written(self, parameter: Parameter, reading: Reading) -> Entry:
        """The entry of a tensor that its model's own code makes."""
        name = self._name(parameter)
        try:
            placements = self._copied(parameter, reading) or tuple(self._placements(parameter, reading, name))
            return Entry(parameter, name, RECORDED, (), placements)
        except (TypeError, ValueError, MemoryError) as error:
            text = str(error).removesuffix(".")
            return Entry(parameter, name, RECORDED, problem=f"{parameter.path}, as recorded: {text}.")

    def _copied(self, parameter: Parameter, reading: Reading) -> tuple[Placement, ...]:
        """The placements of the parameter that this one was copied from; none if it is no plain copy."""
        part = reading.parts[0]
        if len(reading.parts) > 1 or not isinstance(part.expression, Draw):
            return ()
        owner = self._owners.get(part.expression.source)
        if owner is None or owner.box != part.box or not _same_law(owner.draw, part.expression):
            return ()
        other = owner.entry.parameter
        if other.shape != parameter.shape or other.kernel_axes != parameter.kernel_axes:
            return ()
        if other.dtype != parameter.dtype and other.dtype.itemsize <= parameter.dtype.itemsize:
            return ()  # the values of the other are rounded
        return tuple(
            replace(each, follows=(owner.entry.path,), weight=each.weight._replace(stored=parameter.dtype))
            for each in owner.entry.placements
        )

    def _placements(self, parameter: Parameter, reading: Reading, name: str) -> Iterator[Placement]:
        for part in reading.parts:
            own = name if len(reading.parts) == 1 else f"{name}{region_words(part.box, parameter.shape).strip()}"
            follows = self._known(part.expression)
            initializer, weight = self._weight(parameter, part.expression, own)
            label = region_words(part.box, parameter.shape).strip()
            for box in part.shown:
                source = tuple(start - low for (start, _), (low, _) in zip(box, part.box, strict=True))
                target = permuted_box(parameter, box)
                begin = permuted(source, parameter.kernel_axes)
                yield Placement(own, initializer, weight, target, begin, label, follows=follows)

    def _known(self, expression: Expression) -> tuple[str, ...]:
        """The paths of the parameters that have, or had first, the values of an expression's draws."""
        owners = (self._owners[each].entry.path for each in expression.sources if each in self._owners)
        others = (self._first[each] for each in expression.sources if each in self._first)
        return tuple(dict.fromkeys((*owners, *others)))

    def _weight(self, parameter: Parameter, expression: Expression, name: str) -> tuple[Initializer, Weight]:
        """The weight of an expression, laid out as the parameter is, and its initializer."""
        dtype = parameter.dtype
        if isinstance(expression, Constant):
            initializer: Initializer = initializers.Constant(expression.value)
            return initializer, initializer.weight(permuted(expression.shape, parameter.kernel_axes), dtype)
        stream = Stream(derived_seed(self._seed, name))
        if not expression.is_drawn:
            initializer = OwnTable(expression)
            distribution = initializer.distribution(expression.shape, dtype)
        elif isinstance(expression, Draw) and not self._is_shared(expression) and _has_initializer(expression):
            initializer = initializer_of(Law.of(expression)).with_seed(stream.seed)
            return initializer, _as_stored(initializer, expression, _drawn_dtype(dtype), stream, parameter)
        else:
            stream = self._stream_of(expression, parameter.path, name)
            own = OwnFormula if self._is_formula(expression) else OwnProgram
            initializer = own(expression, self.sample, stream.seed)
            distribution = initializer.distribution(expression.shape, dtype)
        return initializer, Weight(distribution, stream, dtype, _axes_of(parameter))

    def _stream_of(self, expression: Expression, path: str, name: str) -> Stream:
        """The stream of the first draw in an expression, after all that nothing else has got streams of this name."""
        fresh = [each for each in expression.sources if each not in self._owners and each not in self._own]
        for number, source in enumerate(fresh):
            seed = derived_seed(self._seed, f"{name}#{number}" if number else name)
            self._own[source], self._first[source] = _unit_weight(source, expression.dtype, Stream(seed)), path
        first = expression.sources[0]
        return self._own[first].stream if first in self._own else self._owners[first].entry.placements[0].weight.stream

    def _is_formula(self, expression: Expression) -> bool:
        """Whether an expression is a formula of draws that have, where they are drawn, its shape."""
        shapes = {
            lengths_of(self._owners[each].box) if each in self._owners else each.shape for each in expression.sources
        }
        return is_formula(expression, expression.shape) and shapes == {expression.shape}

    def sample(self, draw: Draw, region: Region | None) -> torch.Tensor:
        """The values of a draw in a region of it, in float64, as they are in the parameter that has them."""
        owner = self._owners.get(draw.source)
        if owner is None:
            weight = self._own[draw.source]
            unit = torch.from_numpy(weight.make(None if region is None else region.slices).astype(np.float64))
            values = draw.origin + draw.scale * unit
        else:
            starts = tuple(start for start, _ in owner.box)
            first, lengths = ((0,) * len(starts), lengths_of(owner.box)) if region is None else region[1:3]
            wanted = tuple(
                slice(low + start, low + start + length)
                for low, start, length in zip(starts, first, lengths, strict=True)
            )
            values = torch.from_numpy(np.asarray(owner.entry.make(wanted)).astype(np.float64))
            if not _same_law(owner.draw, draw):
                values = draw.origin + draw.scale * ((values - owner.draw.origin) / owner.draw.scale)
        return values.reshape(draw.shape) if region is None else values

    def _name(self, parameter: Parameter) -> str:
        return self._names.of(parameter, parameter.path)


def _whole_draws(reading: Reading, entry: Entry) -> Iterator[tuple[Part, Draw]]:
    """The parts of a reading that show all values of a draw, as the placements of an entry have them."""
    if entry.problem or not entry.covers:
        return
    is_padded = any(each.label == "padding" for each in entry.placements)
    for part in reading.parts:
        lies_open = part.shown == (part.box,) or (is_padded and part is reading.parts[0])
        if isinstance(part.expression, Draw) and lies_open:
            yield part, part.expression


def _lacking(reading: Reading) -> str:
    """The problem of a tensor, all or a part of which nothing is written to; "" if all is written."""
    bare = [part for part in reading.parts if part.kind == "nothing"]
    if not bare:
        return ""
    where = region_words(bare[0].box, reading.shape).strip()
    if bare[0].expression.unreadable:
        return f"It cannot be read: {bare[0].expression.unreadable}."
    return f"{_NOTHING.format(where=f' in {where}' if where else '')}."


def _same_law(first: Draw, second: Draw) -> bool:
    return (first.scale, first.origin) == (second.scale, second.origin)


def _has_initializer(draw: Draw) -> bool:
    return kind_of(draw) not in ("formula", "integers")


def _drawn_dtype(dtype: DType) -> DType:
    """The dtype to draw values in: float32 for narrower floats, which are rounded once when they are stored."""
    return dtypes.FLOAT32 if dtype in dtypes.FLOATS and dtype.itemsize < 4 else dtype


def _axes_of(parameter: Parameter, order: Sequence[int] | None = None) -> Shape | None:
    """The places in Keras's order of a parameter's axes, as `Weight.axes` has them.

    Args:
        parameter: the parameter.
        order: its axes in the order of a distribution; by default as they are stored.
    """
    axes = tuple(map(parameter.kernel_axes.index, range(len(parameter.shape)) if order is None else order))
    return None if axes == tuple(range(len(axes))) else axes


def _as_stored(
    initializer: Initializer, draw: Draw, dtype: DType, stream: Stream, parameter: Parameter | None = None
) -> Weight:
    """The weight of a draw whose matrices lie as PyTorch has them: an output is a row.

    Args:
        initializer: the initializer of the draw's law.
        draw: the draw.
        dtype: the dtype to draw in.
        stream: the stream.
        parameter: the parameter that has the draw; None for a draw by itself.
    """
    shape, stored = draw.shape, None if parameter is None else parameter.dtype
    axes = None if parameter is None else _axes_of(parameter)
    if draw.source.unit.kind == "sparse":  # of each input, in Keras's order a row, some outputs are zero
        axes = (1, 0) if parameter is None else _axes_of(parameter, (1, 0))
        return Weight(initializer.distribution(shape[::-1], dtype), stream, stored, axes)
    distribution = initializer.distribution(shape, dtype)
    if isinstance(distribution, Matrix):
        distribution = distribution.reshaped(shape, len(shape) - 1)
    return Weight(distribution, stream, stored, axes)


def _unit_weight(source: Source, dtype: torch.dtype, stream: Stream) -> Weight:
    """The unit variables of a source, in the order of its own axes."""
    drawn = dtypes.FLOAT64 if dtype in (torch.float64, torch.complex128) else dtypes.FLOAT32
    kind, arguments = source.unit.kind, source.unit.arguments
    if kind == "integers":
        initializer = initializers.RandomUniform(int(arguments[0]), int(arguments[1]))
        return Weight(initializer.distribution(source.shape, np.dtype(np.int64)), stream)
    unit = Draw(source.shape, dtype, source)
    return _as_stored(initializer_of(Law.of(unit)), unit, drawn, stream)


def _view_key(expression: Expression) -> Any:
    """What tells a view of a draw from others; None if it is no such view."""
    if not isinstance(expression, Seen) or len(expression.writes) != 1 or expression.stored != expression.dtype:
        return None
    drawn = expression.writes[0].expression
    if not isinstance(drawn, Draw) or not drawn.source.unit.is_pointwise:
        return None
    return drawn.source, drawn.scale, drawn.origin, expression.geometry, expression.writes[0].geometry


def _with_views(reading: Reading, views: Mapping[Any, Draw]) -> Reading:
    """A reading with draws in place of views of draws that nothing else has."""
    parts = (replace(part, expression=views.get(_view_key(part.expression), part.expression)) for part in reading.parts)
    return replace(reading, parts=tuple(parts))


def _independent_views(readings: Iterable[Reading]) -> Mapping[Any, Draw]:
    """Draws in place of views of draws, where no two of them have an element in common and nothing else has one."""
    views: dict[Source, dict[Any, Seen]] = {}
    others: set[Source] = set()
    for reading in readings:
        for part in reading.parts:
            key = _view_key(part.expression)
            if key is None:
                others.update(part.expression.sources)
            else:
                assert isinstance(part.expression, Seen)
                views.setdefault(key[0], {})[key] = part.expression
    return {
        key: Draw(seen.shape, seen.dtype, Source(source.unit, seen.shape), key[1], key[2])
        for source, found in views.items()
        if source not in others and _are_apart(list(found.values()))
        for key, seen in found.items()
    }


def _are_apart(views: Sequence[Seen]) -> bool:
    """Whether each view's elements are different ones, and no two views have one in common."""
    if len({view.writes[0].geometry for view in views}) > 1:
        return False
    if len(views) == 1 and is_dense(views[0].geometry):
        return True
    if views[0].length > _MOST_MARKS:
        return False
    numbers = np.arange(views[0].length)
    elements = [
        as_strided(numbers[offset:], size, [step * numbers.itemsize for step in stride]).reshape(-1)
        for size, stride, offset in (view.geometry for view in views)
    ]
    return int(np.bincount(np.concatenate(elements)).max(initial=0)) <= 1
