"""What operators make of expressions: draws stay draws where an affine change, a cut or an inverse says how.

Sources:
    Truncated normals as `sqrt(2) * erfinv(uniform)`: https://people.sc.fsu.edu/~jburkardt/presentations/truncated_normal.pdf,
    as in earlier versions of `torch.nn.init.trunc_normal_`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import torch

from fanin.torch.recording.expressions import (
    Constant,
    Draw,
    Expression,
    Operation,
    Seen,
    Size,
    Source,
    Table,
    Unit,
    Unwritten,
    Values,
    Write,
    replaced,
    run,
)
from fanin.torch.recording.memory import SMALL, settled
from fanin.torch.recording.operators import COPIES, Operator

aten: Any = torch.ops.aten

NEVER = 8.0  # standard deviations that no normal variable in float32 exceeds
_TOLERANCE = 1e-5  # of a bound that was computed in another dtype
_Rule = Callable[[tuple[Any, ...], Mapping[str, Any]], Expression | None]


def result(
    operator: Operator,
    arguments: tuple[Any, ...],
    keywords: Mapping[str, Any],
    shape: Size,
    dtype: torch.dtype,
    output: int | str = 0,
) -> Expression:
    """What an operator without random numbers of its own gives.

    Args:
        operator: the operator.
        arguments: its arguments, with expressions in place of tensors.
        keywords: its keyword arguments, likewise.
        shape: the shape of the result.
        dtype: its dtype.
        output: the number of the result, or the name of the argument that is overwritten.
    """
    if operator.name in COPIES:
        return converted(arguments[0], shape, dtype)
    parts: list[Expression] = []
    replaced((arguments, dict(keywords)), parts.append)
    if not any(part.is_drawn for part in parts):
        if all(isinstance(part, (Constant, Table)) for part in parts):
            found = _computed(operator, arguments, keywords, parts, shape, dtype, output)
            if found is not None:
                return found
    else:
        rule = _RULES.get(operator.name)
        if rule is not None and not keywords.get("rounding_mode"):
            found = rule(arguments, keywords)
            if found is not None and found.shape == shape:
                return _of_dtype(found, dtype)
        if operator.is_pointwise:
            found = _within_regions(operator, arguments, keywords, parts, shape, dtype, output)
            if found is not None:
                return found
    is_pointwise = operator.is_pointwise and all(part.shape == shape for part in parts if part.is_drawn)
    return Operation(shape, dtype, operator.function, arguments, dict(keywords), output, is_pointwise)


def _computed(
    operator: Operator,
    arguments: tuple[Any, ...],
    keywords: Mapping[str, Any],
    parts: list[Expression],
    shape: Size,
    dtype: torch.dtype,
    output: int | str,
) -> Expression | None:
    """The values of a result, if they are few, or all the same."""
    if math.prod(shape) <= SMALL and all(part.size <= SMALL for part in parts):
        values = Values()
        given, named = replaced((arguments, dict(keywords)), values.of)
        found = run(operator.function, given, named, output)
        return settled(found.clone() if any(found is values.of(part) for part in parts) else found)
    if operator.is_pointwise and parts and all(isinstance(part, Constant) for part in parts):
        given, named = replaced((arguments, dict(keywords)), _single)
        found = run(operator.function, given, named, output)
        return Constant(shape, dtype, found.reshape(()).item()) if found.numel() == 1 else None
    return None


def _single(constant: Constant) -> torch.Tensor:
    """One element of a constant, of as many dimensions, which decide about the dtype of results."""
    return torch.full((1,) * len(constant.shape), constant.value, dtype=constant.dtype)


def _within_regions(
    operator: Operator,
    arguments: tuple[Any, ...],
    keywords: Mapping[str, Any],
    parts: list[Expression],
    shape: Size,
    dtype: torch.dtype,
    output: int | str,
) -> Expression | None:
    """A pointwise function of what was seen of several writes, as what it makes of each of them."""
    seen = next((part for part in parts if isinstance(part, Seen)), None)
    if seen is None or seen.shape != shape or seen.stored != seen.dtype or not is_injective(seen):
        return None
    others = [part for part in parts if part is not seen]
    if isinstance(output, str) and arguments[0] is not seen:  # which has the shape of the tensor, not of its parts
        return None
    if not all(isinstance(part, Constant) and (part.dtype == seen.dtype or not part.shape) for part in others):
        return None
    if len({write.expression.dtype for write in seen.writes}) != 1:
        return None

    def of(write: Write) -> Write:
        def swapped(part: Expression) -> Expression:
            return write.expression if part is seen else replace(part, shape=())

        if isinstance(write.expression, Unwritten):
            return Write(write.geometry, Unwritten(write.expression.shape, dtype, write.expression.reason))
        given, named = replaced((arguments, dict(keywords)), swapped)
        return Write(write.geometry, result(operator, given, named, write.expression.shape, dtype, output))

    return Seen(shape, dtype, seen.geometry, tuple(of(write) for write in seen.writes), seen.length, dtype)


def is_injective(seen: Seen) -> bool:
    """Whether no element of a storage is seen twice."""
    return all(size <= 1 or stride > 0 for size, stride in zip(seen.geometry.size, seen.geometry.stride, strict=True))


def converted(expression: Expression, shape: Size, dtype: torch.dtype) -> Expression:
    """What a tensor of a shape and a dtype has once an expression was copied to it."""
    if expression.shape != shape:
        expression = _broadcast(expression, shape)
    return _of_dtype(expression, dtype)


def _broadcast(expression: Expression, shape: Size) -> Expression:
    if isinstance(expression, Constant):
        return Constant(shape, expression.dtype, expression.value)
    if isinstance(expression, Unwritten):
        return Unwritten(shape, expression.dtype, expression.reason)
    if isinstance(expression, Table) and math.prod(shape) <= SMALL:
        return Table.of(expression.values.expand(shape).contiguous())
    return Operation(shape, expression.dtype, aten.expand.default, (expression, list(shape)))


def _of_dtype(expression: Expression, dtype: torch.dtype) -> Expression:
    """An expression, cast."""
    if expression.dtype == dtype:
        return expression
    if isinstance(expression, Constant):
        value = torch.full((), expression.value, dtype=expression.dtype).to(dtype).item()
        return Constant(expression.shape, dtype, value)
    if isinstance(expression, Table) and expression.size <= SMALL:
        return settled(expression.values.to(dtype))
    if isinstance(expression, Unwritten):
        return Unwritten(expression.shape, dtype, expression.reason)
    if isinstance(expression, Draw) and _keeps_less(expression.dtype, dtype):
        return replace(expression, dtype=dtype)
    if isinstance(expression, Seen) and expression.stored == expression.dtype and is_injective(expression):
        writes = tuple(Write(each.geometry, _of_dtype(each.expression, dtype)) for each in expression.writes)
        return replace(expression, dtype=dtype, writes=writes, stored=dtype)
    return Operation(expression.shape, dtype, aten._to_copy.default, (expression,), {"dtype": dtype}, is_pointwise=True)


def _keeps_less(first: torch.dtype, second: torch.dtype) -> bool:
    """Whether a number that was rounded to the first dtype may as well be rounded to the second one only."""
    if not second.is_floating_point or first.is_complex:
        return False
    return not first.is_floating_point or torch.finfo(second).eps >= torch.finfo(first).eps


# Rules of single operators


def _number(value: Any) -> float | None:
    """The number that an argument is everywhere."""
    if isinstance(value, Constant):
        value = value.value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    return None


def affine(draw: Expression, factor: float, term: float) -> Draw | None:
    """`factor * draw + term`."""
    if not isinstance(draw, Draw) or not draw.dtype.is_floating_point or factor == 0 or not math.isfinite(factor):
        return None
    if term and not draw.source.unit.is_pointwise:
        return None
    return replace(draw, scale=draw.scale * factor, origin=draw.origin * factor + term)


def _multiplied(arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Expression | None:
    first, second = arguments[:2]
    if isinstance(first, Draw):
        factor = _number(second)
        return None if factor is None else affine(first, factor, 0.0)
    factor = _number(first)
    return None if factor is None else affine(second, factor, 0.0)


def _divided(arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Expression | None:
    divisor = _number(arguments[1])
    return None if not divisor else affine(arguments[0], 1 / divisor, 0.0)


def _added(arguments: tuple[Any, ...], keywords: Mapping[str, Any], sign: float = 1.0) -> Expression | None:
    first, second = arguments[:2]
    weight = keywords.get("alpha", arguments[2] if len(arguments) > 2 else 1) * sign
    if isinstance(first, Draw):
        term = _number(second)
        return None if term is None else affine(first, 1.0, term * weight)
    term = _number(first)
    return None if term is None else affine(second, weight, term)


def _subtracted(arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Expression | None:
    return _added(arguments, keywords, -1.0)


def _subtracted_from(arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Expression | None:
    first, second, *rest = arguments
    return _added((second, first, *rest), keywords, -1.0)


def _negated(arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Expression | None:
    return affine(arguments[0], -1.0, 0.0)


def normal_between(low: float, high: float) -> Unit:
    """The law of a normal variable cut at bounds, in standard deviations; uncut if it never reaches them."""
    if low <= -NEVER and high >= NEVER:
        return Unit("normal")
    return Unit("truncated", (low, high))


_inverses: WeakKeyDictionary[Source, dict[tuple[float, float], Source]] = WeakKeyDictionary()


def _inverse_error(arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Expression | None:
    """erfinv of a uniform variable on [-1, 1] or a part of it is a normal one, cut, of variance 1/2."""
    draw = arguments[0]
    if not isinstance(draw, Draw) or draw.source.unit.kind != "uniform":
        return None
    low, high = draw_bounds(draw)
    if not -1 <= low < high <= 1:
        return None
    bounds = (_normal_quantile(low), _normal_quantile(high))
    known = _inverses.setdefault(draw.source, {})
    if bounds not in known:
        known[bounds] = Source(normal_between(*bounds), draw.source.shape)
    scale = math.copysign(math.sqrt(0.5), draw.scale)
    return Draw(draw.shape, draw.dtype, known[bounds], scale)


def _normal_quantile(value: float) -> float:
    return math.sqrt(2) * float(torch.erfinv(torch.tensor(value, dtype=torch.float64)))


def draw_bounds(draw: Draw) -> tuple[float, float]:
    """The lowest and the highest value of a draw, infinite if it has none."""
    unit = draw.source.unit
    if unit.kind in ("uniform", "bernoulli"):
        bounds = (0.0, 1.0)
    elif unit.kind in ("truncated", "integers"):
        bounds = (unit.arguments[0], unit.arguments[1])
    elif unit.kind in ("exponential", "log_normal"):
        bounds = (0.0, math.inf)
    else:
        bounds = (-math.inf, math.inf)
    low, high = sorted(draw.origin + draw.scale * bound for bound in bounds)
    return low, high


def _clamped(arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Expression | None:
    """A draw that the bounds do not cut."""
    draw, *given = arguments
    low, high = [*given, None, None][:2]
    return _cut(draw, keywords.get("min", low), keywords.get("max", high))


def _clamped_below(arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Expression | None:
    return _cut(arguments[0], keywords.get("min", arguments[1] if len(arguments) > 1 else None), None)


def _clamped_above(arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Expression | None:
    return _cut(arguments[0], None, keywords.get("max", arguments[1] if len(arguments) > 1 else None))


def _cut(draw: Any, low: Any, high: Any) -> Expression | None:
    if not isinstance(draw, Draw):
        return None
    least = -math.inf if low is None else _number(low)
    most = math.inf if high is None else _number(high)
    if least is None or most is None:
        return None
    lowest, highest = draw_bounds(draw)
    if draw.source.unit.kind in ("normal", "truncated"):  # which never reach so far
        lowest = max(lowest, draw.origin - NEVER * abs(draw.scale))
        highest = min(highest, draw.origin + NEVER * abs(draw.scale))
    reach = max((abs(each) for each in (lowest, highest) if math.isfinite(each)), default=0.0) * _TOLERANCE
    return draw if least <= lowest + reach and most >= highest - reach else None


def are_same(first: Expression, second: Expression) -> bool:
    """Whether two expressions are surely equal: copies of the same draw are."""
    if not isinstance(first, Draw) or not isinstance(second, Draw):
        return first is second
    return first.source is second.source and (first.scale, first.origin) == (second.scale, second.origin)


def _equal(arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Expression | None:
    """`x == x`, as `isfinite` asks it."""
    first, second = arguments[:2]
    if isinstance(second, Draw) and are_same(first, second):
        return Constant(first.shape, torch.bool, True)
    return None


def _unequal(arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Expression | None:
    """`abs(x) != inf`, likewise."""
    first, second = arguments[:2]
    is_finite = isinstance(first, Operation) and first.function is aten.abs.default and isinstance(first.parts[0], Draw)
    if is_finite and _number(second) == math.inf:
        return Constant(first.shape, torch.bool, True)
    return None


def _is_never(arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Expression | None:
    """Draws are finite."""
    return Constant(arguments[0].shape, torch.bool, False) if isinstance(arguments[0], Draw) else None


_RULES: dict[str, _Rule] = {
    "mul": _multiplied,
    "multiply": _multiplied,
    "div": _divided,
    "divide": _divided,
    "true_divide": _divided,
    "add": _added,
    "sub": _subtracted,
    "subtract": _subtracted,
    "rsub": _subtracted_from,
    "neg": _negated,
    "negative": _negated,
    "erfinv": _inverse_error,
    "special_erfinv": _inverse_error,
    "clamp": _clamped,
    "clip": _clamped,
    "clamp_min": _clamped_below,
    "clamp_max": _clamped_above,
    "eq": _equal,
    "ne": _unequal,
    "isnan": _is_never,
    "isinf": _is_never,
}
