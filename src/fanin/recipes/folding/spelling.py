"""Initializers as settings of rules, in every way in which their numbers can be written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from fanin import distributions, initializers
from fanin._core import dtypes
from fanin._core.types import DType
from fanin.distributions import Distribution, Matrix
from fanin.initializers import Initializer, VarianceScaling
from fanin.initializers.arguments import Kind, arguments_of
from fanin.recipes.entry import Fans
from fanin.recipes.folding.numbers import Numbers, shortest_number

Settings: TypeAlias = tuple[tuple[str, Any], ...]  # the keys and values of a rule besides its conditions

_OWN_FANS = 1.3  # the cost of fans that are not the layer's, with the initializer that the plan has
_AS_IT_IS = 9.0  # the cost of arguments with all of their digits
_LARGEST_RATIO = 10  # of a bound to the standard deviation
_DEFAULTS: dict[str, float] = {"mean": 0.0, "gain": 1.0}  # arguments that a rule need not say
# The rules from the literature, and what each costs: those without a name of their own more than `1 / sqrt(fan_in)`.
_SCALINGS = {
    initializers.GlorotUniform(): 1.4,
    initializers.HeUniform(): 1.4,
    initializers.LecunUniform(): 1.4,
    initializers.GlorotNormal(): 1.4,
    initializers.HeNormal(): 1.4,
    initializers.LecunNormal(): 1.4,
    VarianceScaling(2.0, "fan_in", "untruncated_normal"): 1.7,
    VarianceScaling(2.0, "fan_out", "untruncated_normal"): 1.8,
    VarianceScaling(1.0, "fan_avg", "untruncated_normal"): 1.9,
}


def bits(distribution: Distribution) -> tuple[Any, ...]:
    """What a distribution draws, as data that is equal only where all bits are. (Fans alone change no bits.)"""
    values = sorted(distribution.parameters().items())
    return type(distribution), distribution.shape, distribution.dtype, tuple((key, _bits(each)) for key, each in values)


def _bits(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, (list, tuple)):
        return tuple(map(_bits, value))
    if isinstance(value, float):
        return value.hex()
    return (type(value), value) if isinstance(value, (bool, int, str, type(None))) else id(value)


def spelled(
    initializer: Initializer,
    distribution: Distribution,
    numbers: Numbers,
    most_values: int,
    fans: Fans = (None, None),
) -> Iterator[tuple[Settings, float]]:
    """The settings of rules that draw from a distribution, and what each costs; none if no rule can.

    Args:
        initializer: the initializer that has the distribution.
        distribution: the distribution.
        numbers: the ways to write numbers for the parameter.
        most_values: the most values that a table in a rule may have.
        fans: the fans that count for it, which a rule may have to say.
    """
    if isinstance(distribution, distributions.Constant):
        yield from _constant(distribution.value, distribution.dtype, numbers)
        return
    name = _NAMES.get(type(initializer))
    if name is None:  # a class of the user's own
        return
    for each, cost in _SCALINGS.items():
        yield from _scaling(each, distribution, numbers, cost)
    if isinstance(initializer, VarianceScaling):  # after the others, one of which it may be, since it costs less
        yield from _scaling(initializer, distribution, numbers, 1.0)
        yield from _with_own_fans(initializer, distribution, numbers, fans)
    cls, arguments = _arguments(initializer, distribution)
    if np.size(arguments.get("values", ())) <= most_values:
        yield from _numbered(cls, arguments, distribution, numbers)


def _constant(value: Any, dtype: DType, numbers: Numbers) -> Iterator[tuple[Settings, float]]:
    for name, cls in (("zeros", initializers.Zeros), ("ones", initializers.Ones)):
        if bits(cls().distribution((), dtype)) == bits(distributions.Constant((), dtype, value)):
            yield (("initializer", name),), 1.0
            return
    plain = value.item() if hasattr(value, "item") else value
    if isinstance(plain, np.generic):  # of ml_dtypes
        plain = float(plain)
    if isinstance(plain, (bool, int)):
        yield (("initializer", "constant"), ("value", plain)), 1.0
    elif isinstance(plain, float):
        for text, cost in numbers.wordings(plain, dtype).items():
            yield (("initializer", "constant"), ("value", text)), cost


def _scaling(
    scaling: VarianceScaling, distribution: Distribution, numbers: Numbers, cost: float
) -> Iterator[tuple[Settings, float]]:
    """A rule from the literature, if it draws from a distribution with the fans of the layer."""
    fan_in, fan_out = numbers.known.get("fan_in"), numbers.known.get("fan_out")
    if not isinstance(distribution, distributions.Affine) or fan_in is None or fan_out is None:
        return
    made = scaling.distribution_of_fans(distribution.shape, distribution.dtype, fan_in, fan_out)
    if bits(made) == bits(distribution):
        config = {key: _frozen(value) for key, value in scaling.get_config().items() if key != "seed"}
        yield (("initializer", _NAMES[type(scaling)]), *config.items()), cost


def _with_own_fans(
    scaling: VarianceScaling, distribution: Distribution, numbers: Numbers, fans: Fans
) -> Iterator[tuple[Settings, float]]:
    """A rule from the literature with the fans that count, if these are not those of the layer."""
    said = dict(zip(("fan_in", "fan_out"), fans, strict=True))
    said = {scaling.mode: said[scaling.mode]} if scaling.mode in said else said
    known = {key: numbers.known.get(key) for key in said}
    values = [value for value in said.values() if value is not None]
    if said == known or len(values) < len(said):
        return
    made = scaling.distribution_of_fans(distribution.shape, distribution.dtype, values[0], values[-1])
    if bits(made) == bits(distribution):
        config = {key: _frozen(value) for key, value in scaling.get_config().items() if key != "seed"}
        yield (("initializer", _NAMES[type(scaling)]), *config.items(), *said.items()), _OWN_FANS


def _arguments(initializer: Initializer, distribution: Distribution) -> tuple[type[Initializer], dict[str, Any]]:
    """A class and its arguments that make a distribution."""
    simple = {
        distributions.Uniform: initializers.RandomUniform,
        distributions.Normal: initializers.RandomNormal,
        distributions.TruncatedNormal: initializers.TruncatedNormal,
    }
    if isinstance(initializer, VarianceScaling) and type(distribution) in simple:
        return simple[type(distribution)], distribution.parameters()
    config = {key: value for key, value in initializer.get_config().items() if key != "seed" and value is not None}
    kinds = arguments_of(type(initializer)) if dtypes.kind(distribution.dtype) == "float" else {}
    return type(initializer), {
        key: float(each) if kinds.get(key) is Kind.NUMBER and type(each) is int else each
        for key, each in config.items()
    }


def _numbered(
    cls: type[Initializer], arguments: Mapping[str, Any], distribution: Distribution, numbers: Numbers
) -> Iterator[tuple[Settings, float]]:
    """A class with its arguments, in every way to write the one that scales them, which others may follow."""
    said = {key: value for key, value in arguments.items() if repr(value) != repr(_DEFAULTS.get(key))}
    scale = next((key for key in ("stddev", "maxval", *said) if isinstance(said.get(key), float)), "")
    found = False
    for text, cost in numbers.wordings(said[scale], distribution.dtype).items() if scale else ():
        for relative in (True, False) if isinstance(text, str) else (False,):
            worded = {
                key: _multiple(value, said[scale], text if relative else "") or _plain(value, distribution.dtype)
                for key, value in said.items()
            } | {scale: text}
            if _makes(cls, worded, distribution, numbers):
                found = True
                yield (("initializer", _NAMES[cls]), *worded.items()), cost
    if not found:
        short = {key: _plain(value, distribution.dtype) for key, value in said.items()}
        exact = {key: _frozen(value) for key, value in said.items()}
        worded = short if _makes(cls, short, distribution, numbers) else exact
        yield (("initializer", _NAMES[cls]), *worded.items()), _AS_IT_IS


def _multiple(value: Any, scale: float, text: Any) -> str:
    """Another argument as a multiple of the one that scales, which has a text; "" if that is not simple."""
    ratio = round(value / scale, 6) if isinstance(value, float) and text and scale else 0.0
    if not ratio or abs(ratio) > _LARGEST_RATIO or ratio % 1:
        return ""
    return f"-{text}" if ratio == -1 else text if ratio == 1 else f"{ratio:g} * {text}"


def _plain(value: Any, dtype: DType) -> Any:
    """Another argument as it is: a number, or the values of a table."""
    if isinstance(value, (list, tuple)):
        return tuple(_plain(each, dtype) for each in value)
    return shortest_number(value, dtype) if isinstance(value, float) else value


def _makes(cls: type[Initializer], worded: Mapping[str, Any], distribution: Distribution, numbers: Numbers) -> bool:
    """Whether a class with these arguments has a distribution."""
    shape = distribution.matrix_shape if isinstance(distribution, Matrix) else distribution.shape
    kinds = arguments_of(cls)
    values = {
        key: numbers.value(value) if isinstance(value, str) and kinds[key] is not Kind.WORD else value
        for key, value in worded.items()
    }
    try:
        made = cls(**values).distribution(shape, distribution.dtype)
    except (TypeError, ValueError):
        return False
    return bits(made)[-1] == bits(distribution)[-1]


def _frozen(value: Any) -> Any:
    """A value whose lists are tuples, so that it can be counted."""
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value


_NAMES: dict[type[Initializer], str] = {}
for _name, _cls in initializers.NAMES.items():
    if _name.islower():
        _NAMES.setdefault(_cls, _name)
