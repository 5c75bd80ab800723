"""Numbers as a recipe writes them: as they are, or by the sizes of a layer, its depth, and a model's configuration."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations
from typing import NamedTuple, TypeAlias

import numpy as np

from fanin._core import dtypes
from fanin._core.types import DType
from fanin.models.parameters import Model
from fanin.recipes.expressions import Expression

Number: TypeAlias = float | str  # a number, or an expression of one
Wordings: TypeAlias = dict[Number, float]  # ways to write a number, and how far-fetched each of them is

# Names in configurations that speak of initialization, of numbers of layers, and of sizes.
_OF_INITIALIZATION, _OF_LAYERS = re.compile(r"init|std"), re.compile(r"layers?$")
_OF_SIZES = re.compile(r"dim|size|model|width")
_TRIVIAL = {0, 1}  # that a number of a configuration is one of these means nothing
# The costs of a number of a configuration, where a number of one digit has 1: one of a likely name, one that follows
# the other size, and one that is only a size.
_LIKELY, _VARYING, _POSSIBLE = 0.9, 2.5, 4.5
_USUAL = {0.5, 2, 3, 6}  # numbers that formulas of initializers have
_LARGEST = 1e30  # numbers beyond it, and below its inverse, are written as they are
_CLOSE = 1e-6  # relative; what is as close is compared exactly afterwards
# Texts of sizes, in the order in which they come to mind, with what each adds to the cost.
_SIZES = {
    "fan_in": 1.0,
    "fan_out": 1.5,
    "fan_in + fan_out": 2.0,
    "units": 2.5,
    "inputs": 2.5,
    "fan_out / groups": 3.0,
    "receptive_field * inputs": 3.0,
}
_VARIABLES = ("fan_in", "fan_out", "units", "inputs", "groups", "receptive_field", "n_layers", "depth")  # in these
_DEPTHS = {"2 * n_layers": 1.0, "n_layers": 1.5, "2 * (depth + 1)": 1.5, "(depth + 1)": 2.0}


@dataclass(frozen=True)
class Vocabulary:
    """The names of a model's configurations that texts may use.

    Attributes:
        factors: those that may stand for a number, and what each costs.
        counts: those that may stand for a size or a number of layers, and what each costs.
        varying: those of them that differ at another size, and so may be multiplied with each other.
    """

    factors: Mapping[str, float]
    counts: Mapping[str, float]
    varying: Set[str] = frozenset()

    def relevant(self, known: Mapping[str, float]) -> dict[str, float]:
        """The numbers that texts may use, of those that are known for a parameter."""
        return {name: known[name] for name in (*_VARIABLES, *self.factors, *self.counts) if name in known}

    @classmethod
    def of(cls, model: Model, twin: Model | None = None) -> Vocabulary:
        """The names of a model, for which a twin of another size tells more: a number that differs there means much.

        Without it, only names that speak of initialization stand for a number, and only those of layers and sizes for a
        count, since many digits must agree then.
        """
        known = _values(model)
        varying = set() if twin is None else {name for name, each in _values(twin).items() if known.get(name) != each}
        factors, counts = {}, {}
        for name, values in known.items():
            if _OF_INITIALIZATION.search(name) and not values <= _TRIVIAL:
                factors[name] = _LIKELY
            elif name in varying:
                factors[name] = _VARYING
            if all(isinstance(value, int) and value > 0 for value in values):
                if _OF_LAYERS.search(name):
                    counts[name] = _VARYING
                elif name in varying or (twin is None and _OF_SIZES.search(name)):
                    counts[name] = _POSSIBLE
        return cls(factors, counts, varying & counts.keys())


def _values(model: Model) -> dict[str, set[float]]:
    """The finite numbers that a model's configurations have under each name."""
    values: dict[str, set[float]] = {}
    for config in model.configs.values():
        for name, value in config.items():
            if name.isidentifier() and math.isfinite(value):
                values.setdefault(f"config.{name}", set()).add(value)
    return values


class _Divisor(NamedTuple):
    """What a number may be divided by, or by the root of.

    Attributes:
        text: the expression.
        value: its value.
        cost: what it costs.
        digits: how many digits the number that is divided may have; 0 for 1 alone.
        is_size: whether it is a size of the layer, which variances are divided by.
    """

    text: str
    value: float
    cost: float
    digits: int
    is_size: bool = False


class Numbers:
    """The ways to write numbers for one parameter.

    Args:
        known: the numbers that expressions can use for it.
        vocabulary: the names of configurations among them that may be used.
    """

    def __init__(self, known: Mapping[str, float], vocabulary: Vocabulary) -> None:
        self.known = known
        self._factors = [(name, known[name], cost) for name, cost in vocabulary.factors.items() if name in known]
        self._vocabulary = vocabulary
        self._found: dict[tuple[float, DType], Wordings] = {}

    @cached_property
    def _divisors(self) -> list[_Divisor]:
        return list(_divisors(self.known, self._vocabulary))

    def wordings(self, value: float, dtype: DType) -> Wordings:
        """The ways to write a number, each of which has the same value once it is rounded to a dtype."""
        key = value, dtype
        if key not in self._found:
            self._found[key] = self._wordings(value, dtype)
        return self._found[key]

    def value(self, text: str) -> float:
        """The value of an expression."""
        return _parsed(text).value(self.known)

    def _wordings(self, value: float, dtype: DType) -> Wordings:
        shortest = shortest_number(value, dtype)
        found: Wordings = {shortest: float(_digits(shortest))}
        if not 1 / _LARGEST < abs(value) < _LARGEST:
            return found
        sign = "-" if value < 0 else ""
        for text, cost in self._expressions(abs(value)):
            if self._has(value, f"{sign}{text}", dtype):
                found.setdefault(f"{sign}{text}", cost)
        return found

    def _has(self, value: float, text: str, dtype: DType) -> bool:
        return same_once_rounded(self.value(text), value, dtype)

    def _expressions(self, size: float) -> Iterator[tuple[str, float]]:
        """Expressions whose value may be a positive number."""
        yield from self._named(size)
        for divisor in self._divisors:
            text = divisor.text if divisor.text.isidentifier() else f"({divisor.text})"
            root = size * math.sqrt(divisor.value)
            for factor, cost in self._factor(root, divisor.digits):
                yield f"{factor} / sqrt({divisor.text})", divisor.cost + cost
            if divisor.is_size:
                for variance, cost in _variance(root * root, text):
                    yield variance, divisor.cost + cost
                for factor, cost in self._factor(size * divisor.value, 1):
                    yield f"{factor} / {text}", divisor.cost + cost + 1

    def _factor(self, value: float, digits: int) -> Iterator[tuple[str, float]]:
        """A number that is divided: of so many digits, or 1 alone for none; or one of the configuration."""
        short = _short(value, max(1, digits))
        if short == 1:
            yield "1", 0.5
        elif short is not None and digits:
            yield f"{short:g}", _digits(short) + (0 if short in _USUAL else 0.5)
        yield from self._named(value)

    def _named(self, value: float) -> Iterator[tuple[str, float]]:
        for name, known, cost in self._factors:
            if math.isclose(known, value, rel_tol=_CLOSE):
                yield name, cost


def _divisors(known: Mapping[str, float], vocabulary: Vocabulary) -> Iterator[_Divisor]:
    """Sizes, numbers of layers, and their products, as far as they are known."""

    def valued(costs: Mapping[str, float]) -> Iterator[tuple[str, float, float]]:
        for text, cost in costs.items():
            expression = _parsed(text)
            if expression.names <= known.keys() and (value := expression.value(known)) > 0:
                yield text, value, cost

    sizes, depths, configured = list(valued(_SIZES)), list(valued(_DEPTHS)), list(valued(vocabulary.counts))
    depths += [(f"2 * {text}", 2 * value, cost) for text, value, cost in configured]
    for text, value, cost in sizes:
        yield _Divisor(text, value, cost, 1, is_size=True)
    for text, value, cost in depths:
        yield _Divisor(text, value, cost, 2)
    for text, value, cost in configured:
        yield _Divisor(text, value, cost, 0)
    for text, value, cost in sizes[:2]:
        for other, count, more in (*depths, *configured):
            product = f"2 * {text} * {other[4:]}" if other.startswith("2 * ") else f"{text} * {other}"
            yield _Divisor(product, value * count, cost + more, 0)
    varying = [each for each in configured if each[0] in vocabulary.varying]
    for (text, value, cost), (other, count, more) in combinations(varying, 2):
        yield _Divisor(f"{text} * {other}", value * count, cost + more, 0)


def _variance(value: float, text: str) -> Iterator[tuple[str, float]]:
    """The root of a variance that is divided by a size, if it is a number of one digit or its inverse is."""
    short, inverse = _short(value, 1), _short(1 / value, 1)
    if inverse is not None and 1 < inverse < 10 and inverse % 1 == 0 and math.sqrt(inverse) % 1:
        yield f"1 / sqrt({inverse:g} * {text})", 1.0 if inverse == 2 else 2.5
    elif short is not None and short < 10 and math.sqrt(short) % 1:
        yield f"sqrt({short:g} / {text})", 1.0 if short in _USUAL else 1.5 if short % 1 == 0 else 3.0


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Expression:
    return Expression(text)


def same_once_rounded(first: float, second: float, dtype: DType) -> bool:
    """Whether two numbers have the same bits once they are rounded to a dtype."""
    if first == second:
        return math.copysign(1, first) == math.copysign(1, second)
    return bool(dtypes.rounded(first, dtype) == dtypes.rounded(second, dtype))


def shortest_number(value: float, dtype: DType) -> float:
    """The number with the fewest digits that has the same bits once it is rounded to a dtype."""
    if not math.isfinite(value) or not np.isfinite(dtypes.rounded(value, dtype)):
        return value
    for digits in range(1, 17):
        short = float(f"{value:.{digits}g}")
        if same_once_rounded(short, value, dtype):
            return short
    return value


def _short(value: float, digits: int) -> float | None:
    """The number of so many digits that a value is, up to rounding; None if it is none."""
    short = float(f"{value:.{digits}g}")
    return short if math.isclose(short, value, rel_tol=_CLOSE) else None


def _digits(value: float) -> int:
    """The number of significant digits in the shortest text of a number."""
    return max(1, len(re.sub(r"e.*|[-.]", "", repr(float(value))).strip("0")))
