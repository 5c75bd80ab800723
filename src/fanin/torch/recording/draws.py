"""What operators that draw random numbers write, as draws and formulas of draws.

Sources:
    The operators' documentation: https://docs.pytorch.org/docs/stable/torch.html#random-sampling and
    https://docs.pytorch.org/docs/stable/tensors.html. Cauchy and geometric variables by their quantile functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from fanin.torch.recording.algebra import converted, result
from fanin.torch.recording.expressions import Constant, Draw, Expression, Operation, Size, Source, Unit
from fanin.torch.recording.operators import operator_of

aten: Any = torch.ops.aten

_Maker = Callable[..., Expression | None]


def drawn(name: str, shape: Size, dtype: torch.dtype, given: dict[str, Any]) -> Expression | None:
    """What a tensor has after a random operator wrote all of it; None if that is not known.

    Args:
        name: the operator.
        shape: the tensor's shape.
        dtype: its dtype.
        given: the operator's arguments, by name, with expressions in place of tensors.
    """
    maker = _MAKERS.get(name)
    return None if maker is None else maker(shape, dtype, given)


def draw(shape: Size, dtype: torch.dtype, unit: Unit, scale: float = 1.0, origin: float = 0.0) -> Draw:
    """A draw of its own."""
    return Draw(tuple(shape), dtype, Source(unit, tuple(shape)), float(scale), float(origin))


def formula(function: Any, *arguments: Any, dtype: torch.dtype | None = None) -> Expression:
    """An operator on draws and numbers, element by element."""
    first = next(each for each in arguments if isinstance(each, Expression) and each.is_drawn)
    return result(operator_of(function), arguments, {}, first.shape, dtype or first.dtype)


def _complex(shape: Size, dtype: torch.dtype, unit: Unit, scale: float, origin: float) -> Expression:
    """Complex numbers whose parts are drawn alike."""
    parts = draw((*shape, 2), torch.empty(0, dtype=dtype).real.dtype, unit, scale, origin)
    return Operation(shape, dtype, aten.view_as_complex.default, (parts,))


def _real(dtype: torch.dtype) -> torch.dtype:
    """The dtype that variables of a dtype are computed in."""
    return dtype if dtype.is_floating_point else torch.float32


def _normal(shape: Size, dtype: torch.dtype, given: dict[str, Any]) -> Expression | None:
    mean, std = given.get("mean", 0.0), given.get("std", 1.0)
    if not isinstance(mean, Expression) and not isinstance(std, Expression):
        if std < 0:
            raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
        if dtype.is_complex:  # both parts around the mean, with half of the variance each
            return _complex(shape, dtype, Unit("normal"), std / math.sqrt(2), mean)
        return Constant(shape, dtype, float(mean)) if std == 0 else draw(shape, dtype, Unit("normal"), std, mean)
    if dtype.is_complex:
        return None
    scaled = formula(aten.mul.Tensor, draw(shape, dtype, Unit("normal")), std, dtype=dtype)
    return formula(aten.add.Tensor, scaled, mean, dtype=dtype)


def _uniform(shape: Size, dtype: torch.dtype, given: dict[str, Any]) -> Expression | None:
    low, high = given.get("from", 0.0), given.get("to", 1.0)
    if low > high:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={low} > to={high}")
    if dtype.is_complex:
        return _complex(shape, dtype, Unit("uniform"), high - low, low)
    return Constant(shape, dtype, float(low)) if low == high else draw(shape, dtype, Unit("uniform"), high - low, low)


def _exponential(shape: Size, dtype: torch.dtype, given: dict[str, Any]) -> Expression | None:
    return draw(shape, dtype, Unit("exponential"), 1 / given.get("lambd", 1.0))


def _log_normal(shape: Size, dtype: torch.dtype, given: dict[str, Any]) -> Expression | None:
    return draw(shape, dtype, Unit("log_normal", (float(given.get("mean", 1.0)), float(given.get("std", 2.0)))))


def _cauchy(shape: Size, dtype: torch.dtype, given: dict[str, Any]) -> Expression | None:
    """median + sigma * tan(pi * (u - 1/2))"""
    angle = draw(shape, dtype, Unit("uniform"), math.pi, -math.pi / 2)
    scaled = formula(aten.mul.Tensor, formula(aten.tan.default, angle), float(given.get("sigma", 1.0)))
    return formula(aten.add.Tensor, scaled, float(given.get("median", 0.0)))


def _geometric(shape: Size, dtype: torch.dtype, given: dict[str, Any]) -> Expression | None:
    """ceil(log(1 - u) / log(1 - p)), at least 1"""
    uniform = draw(shape, _real(dtype), Unit("uniform"), -1.0, 1.0)
    trials = formula(aten.div.Tensor, formula(aten.log.default, uniform), math.log1p(-given["p"]))
    return converted(formula(aten.clamp_min.default, formula(aten.ceil.default, trials), 1.0), shape, dtype)


def _bernoulli(shape: Size, dtype: torch.dtype, given: dict[str, Any]) -> Expression | None:
    share = given.get("p", 0.5)
    if not isinstance(share, Expression):
        return draw(shape, dtype, Unit("bernoulli", (float(share),)))
    uniform = draw(shape, _real(dtype), Unit("uniform"))
    return converted(formula(aten.lt.Tensor, uniform, share, dtype=torch.bool), shape, dtype)


def _integers(shape: Size, dtype: torch.dtype, given: dict[str, Any]) -> Expression | None:
    low, high = given.get("low", given.get("from", 0)), given.get("high", given.get("to"))
    if high is None:
        high = _largest_integer(dtype) + 1
    return draw(shape, dtype, Unit("integers", (float(low or 0), float(high))))


def _largest_integer(dtype: torch.dtype) -> int:
    """Up to where `random_` without bounds draws."""
    if dtype == torch.bool:
        return 1
    if not dtype.is_floating_point:
        return torch.iinfo(dtype).max
    return round(2 / torch.finfo(dtype).eps)


def _permutation(shape: Size, dtype: torch.dtype, given: dict[str, Any]) -> Expression | None:
    """The order of uniform variables."""
    uniform = draw(shape, torch.float64, Unit("uniform"))
    return converted(Operation(shape, torch.int64, aten.argsort.default, (uniform,)), shape, dtype)


_MAKERS: dict[str, _Maker] = {
    "normal": _normal,
    "normal_functional": _normal,
    "randn": _normal,
    "randn_like": _normal,
    "uniform": _uniform,
    "rand": _uniform,
    "rand_like": _uniform,
    "exponential": _exponential,
    "log_normal": _log_normal,
    "cauchy": _cauchy,
    "geometric": _geometric,
    "bernoulli": _bernoulli,
    "random": _integers,
    "randint": _integers,
    "randint_like": _integers,
    "randperm": _permutation,
}
