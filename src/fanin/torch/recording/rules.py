"""Readings as the rules of a recipe, where rules can say them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fanin import initializers
from fanin._core.layouts import permuted
from fanin._core.memory import as_numpy
from fanin.models.parameters import Parameter
from fanin.torch.recording.expressions import Constant, Draw, Expression, Table, Values
from fanin.torch.recording.reading import Law, Part, Reading, kind_of
from fanin.torch.recording.regions import Box

RuleData = Mapping[str, Any]

_INITIALIZERS = {
    "normal": "random_normal",
    "truncated_normal": "truncated_normal",
    "uniform": "random_uniform",
    "exponential": "exponential",
    "log_normal": "log_normal",
    "bernoulli": "bernoulli",
    "orthogonal": "orthogonal",
}
_NEAR = 1e-5  # how far from two standard deviations bounds may be that are meant to be there
_MOST_TABULATED = 2**20  # elements of a table that are looked at, to see whether most of its axes repeat
_LARGEST_TABLE = 2**10  # numbers that a rule may list
_MOST_ROWS = 8  # next to one another, of padding


def rules_of(parameter: Parameter, reading: Reading) -> list[dict[str, Any]]:
    """The rules that say what a parameter gets, apart from their conditions; none if rules cannot say it.

    Args:
        parameter: the parameter.
        reading: its reading.
    """
    first, *others = reading.parts
    if not others:
        said = _rule(parameter, first.expression)
        return [] if said is None else [{**said, **_zero_rows(parameter, said, ())}]
    rows = _zero_row_numbers(reading)
    if rows is not None and parameter.kernel_axes[0] == 0:
        said = _rule(parameter, first.expression)
        return [] if said is None else [{**said, **_zero_rows(parameter, said, rows)}]
    return _block_rules(parameter, reading)


def initializer_of(law: Law) -> initializers.Initializer:
    """The initializer of a law without a seed."""
    if law.kind == "sparse":
        return initializers.get({"class_name": "Sparse", "config": law.numbers})  # pyright: ignore[reportReturnType]
    return initializers.NAMES[_INITIALIZERS[law.kind]](**_arguments(law))


def _arguments(law: Law) -> dict[str, float]:
    """The arguments of a law's initializer. Bounds at two standard deviations are Keras's."""
    numbers = dict(law.numbers)
    if law.kind == "truncated_normal":
        reach = 2 * numbers["stddev"]
        ends = numbers["mean"] - reach, numbers["mean"] + reach
        given = numbers["minval"], numbers["maxval"]
        if all(math.isclose(a, b, abs_tol=_NEAR * reach) for a, b in zip(ends, given, strict=True)):
            del numbers["minval"], numbers["maxval"]
    return numbers


def _rule(parameter: Parameter, expression: Expression) -> dict[str, Any] | None:
    """The rule of a whole parameter, or of a block of one, with these values; None if there is none."""
    kind = kind_of(expression)
    if isinstance(expression, Constant):
        return _constant_rule(expression.value)
    if kind == "table" and expression.size <= _MOST_TABULATED:
        return _table_rule(parameter, expression)
    if not isinstance(expression, Draw) or kind not in _INITIALIZERS:
        return None
    if kind == "orthogonal" and not _rows_are_outputs(parameter):
        return None
    return {"initializer": _INITIALIZERS[kind], **_arguments(Law.of(expression))}


def _constant_rule(value: Any) -> dict[str, Any] | None:
    if isinstance(value, complex):
        return None
    if value in (0, 1) and not isinstance(value, bool) and not math.copysign(1, value) < 0:
        return {"initializer": "ones" if value else "zeros"}
    return {"initializer": "constant", "value": value} if math.isfinite(value) else None


def _table_rule(parameter: Parameter, expression: Expression) -> dict[str, Any] | None:
    """The rule of a small table, or of one that repeats a small one along some of its axes."""
    values = Values().of(expression)
    if isinstance(expression, Table) and values.dtype.is_complex:
        return None
    axes = parameter.kernel_axes
    array = as_numpy(values.contiguous()).transpose(axes)
    if values.dtype.is_floating_point:
        array = array.astype(np.float64)
    for axis in range(array.ndim):
        start = array.take([0], axis)
        if np.broadcast_to(start, array.shape).tobytes() == array.tobytes():  # which tells -0.0 from 0.0
            array = start
    if array.size > _LARGEST_TABLE or (array.dtype.kind == "f" and not np.isfinite(array).all()):
        return None
    while array.ndim and array.shape[0] == 1:
        array = array[0]
    return {"initializer": "table", "values": array.tolist()}


def _rows_are_outputs(parameter: Parameter) -> bool:
    """Whether torch.nn.init.orthogonal_, whose rows are the first axis, makes what `Orthogonal` makes."""
    axes, traits = parameter.kernel_axes, parameter.traits
    return traits.axes is not None and len(axes) > 1 and axes[-1] == 0 and traits.column_axes == 1


def _zero_rows(parameter: Parameter, said: RuleData, rows: tuple[int, ...]) -> dict[str, Any]:
    """The setting of the rows that are zero, where the layer table says otherwise."""
    is_zero = said["initializer"] == "zeros"
    return {} if rows == parameter.traits.zero_rows or is_zero else {"zero_rows": list(rows)}


def _zero_row_numbers(reading: Reading) -> tuple[int, ...] | None:
    """The rows that are zero of a tensor that is otherwise of one kind; None if it is not so."""
    first, *others = reading.parts
    if not reading.shape or first.box != _whole(reading.shape):
        return None
    rows: list[int] = []
    for part in others:
        (start, stop), *rest = part.box
        is_row = tuple(rest) == _whole(reading.shape)[1:] and stop - start <= _MOST_ROWS
        if not is_row or not isinstance(part.expression, Constant) or part.expression.value != 0:
            return None
        rows += range(start, stop)
    return tuple(sorted(set(rows)))


def _whole(shape: tuple[int, ...]) -> Box:
    return tuple((0, length) for length in shape)


def _block_rules(parameter: Parameter, reading: Reading) -> list[dict[str, Any]]:
    """The rules of equal blocks along the outputs, each of which one part covers; none if there are no such blocks."""
    if not parameter.shape:
        return []
    axis = parameter.kernel_axes[-1]
    known = parameter.traits.blocks.stored
    blocks = known or tuple(map(str, range(_count(reading, axis))))
    parts = _parts_of_blocks(reading, axis, len(blocks))
    if parts is None:
        return []
    said = {id(part): _rule(parameter, part.expression) for part in parts}
    if any(rule is None for rule in said.values()):
        return []
    settings: dict[str, Any] = {} if known else {"blocks": list(blocks)}
    rules: list[dict[str, Any]] = []
    whole: dict[str, Any] | None = None
    for block, part in zip(blocks, parts, strict=True):
        rule = said[id(part)]
        assert rule is not None
        if known and part.box == _whole(reading.shape) and part.expression.is_drawn:
            whole = rule  # its other blocks show
        else:
            rules.append({**rule, "block": block, **settings})
    return [*rules, *([] if whole is None else [whole])]


def _count(reading: Reading, axis: int) -> int:
    """The number of blocks along an axis, if the shortest part is one of them."""
    shortest = min(stop - start for part in reading.parts for start, stop in [part.box[axis]])
    return reading.shape[axis] // shortest if shortest else 0


def _parts_of_blocks(reading: Reading, axis: int, count: int) -> list[Part] | None:
    """The part that shows in each of several equal blocks along an axis; None unless each block shows one alone."""
    length = reading.shape[axis]
    if count < 2 or length % count or count > length:
        return None
    found: list[Part] = []
    for number in range(count):
        edges = number * (length // count), (number + 1) * (length // count)
        block = (*_whole(reading.shape)[:axis], edges, *_whole(reading.shape)[axis + 1 :])
        showing = [part for part in reading.parts if any(_overlap(box, block) for box in part.shown)]
        if len(showing) != 1 or showing[0].box not in (block, _whole(reading.shape)):
            return None
        found.append(showing[0])
    return found


def _overlap(first: Box, second: Box) -> bool:
    return all(a < stop and start < b for (a, b), (start, stop) in zip(first, second, strict=True))


def permuted_box(parameter: Parameter, box: Box) -> Box:
    """A box in Keras's axis order."""
    return permuted(box, parameter.kernel_axes)
