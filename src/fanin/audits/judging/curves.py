"""Distribution functions of elements, as data that can be evaluated at many values at once."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from fanin._core.types import Array

_ROOT_2 = math.sqrt(2)
_HALVINGS = 60  # of an interval that a quantile is in
_DOUBLINGS = 1100  # of an interval, after which it has any float64
_NODES = 4097  # of tabulated functions, whose error is then below 1e-6


def normal_below(x: float) -> float:
    """The probability that a unit normal variable lies below a value, with the accuracy of a float64 in both tails.

    >>> normal_below(0.0), round(normal_below(-6.0) * 1e10, 3)
    (0.5, 9.866)
    """
    return math.erfc(-x / _ROOT_2) / 2


class Curve(ABC):
    """The probability of lying at or below a value, for an element of a tensor."""

    @property
    def exact(self) -> bool:
        """Whether probabilities are as accurate as a float64, in the tails too."""
        return False

    @abstractmethod
    def at(self, values: Array) -> Array:
        """The probability of lying at or below each of these values."""

    def outside(self, low: float, high: float) -> float:
        """The probability of lying below `low` or above `high`.

        >>> round(NormalCurve(0.0, 1.0).outside(-5.0, 5.0) * 1e7, 3)
        5.733
        """
        below, upto = self.at(np.array([np.nextafter(low, -np.inf), high])).tolist()
        return below + 1.0 - upto

    def quantiles(self, probabilities: Array, low: float, high: float) -> Array:
        """The smallest values at or below which an element lies with these probabilities.

        Args:
            probabilities: the probabilities.
            low, high: where to look first; beyond them, farther and farther out.

        >>> NormalCurve(0.0, 1.0).quantiles(np.array([0.5, 0.975]), -1.0, 1.0).round(4).tolist()
        [-0.0, 1.96]
        """
        width = high - low or 1.0
        for _ in range(_DOUBLINGS):
            if not (self.at(np.array([low])) > probabilities.min(initial=1.0)).any():
                break
            low, width = low - width, 2 * width
        width = high - low or 1.0
        for _ in range(_DOUBLINGS):
            if not (self.at(np.array([high])) < probabilities.max(initial=0.0)).any():
                break
            high, width = high + width, 2 * width
        below, upto = np.full(probabilities.shape, low), np.full(probabilities.shape, high)
        for _ in range(_HALVINGS):
            middle = below + (upto - below) / 2
            is_upto = self.at(middle) >= probabilities
            below, upto = np.where(is_upto, below, middle), np.where(is_upto, middle, upto)
        return upto


@dataclass(frozen=True)
class NormalCurve(Curve):
    """Normal variables, cut at bounds, which may be infinite.

    Attributes:
        mean, stddev: before the cut.
        low, high: the bounds.
    """

    mean: float
    stddev: float
    low: float = -math.inf
    high: float = math.inf

    @cached_property
    def _ends(self) -> tuple[float, float]:
        """The bounds in standard deviations."""
        return (self.low - self.mean) / self.stddev, (self.high - self.mean) / self.stddev

    @cached_property
    def _within(self) -> float:
        """The probability of lying within the bounds before the cut."""
        low, high = self._ends
        return normal_below(high) - normal_below(low)

    def at(self, values: Array) -> Array:
        low, high = self._ends
        units = np.clip((values - self.mean) / self.stddev, low, high) / -_ROOT_2
        below = np.array([math.erfc(unit) for unit in units.tolist()]) / 2
        return np.clip((below - normal_below(low)) / self._within, 0.0, 1.0)

    @property
    def exact(self) -> bool:
        return True

    def outside(self, low: float, high: float) -> float:
        first, last = self._ends
        start = max((low - self.mean) / self.stddev, first)
        stop = min((high - self.mean) / self.stddev, last)
        tails = normal_below(start) - normal_below(first), normal_below(-stop) - normal_below(-last)
        return max(tails[0], 0.0) / self._within + max(tails[1], 0.0) / self._within


@dataclass(frozen=True)
class UniformCurve(Curve):
    """Uniform variables between two bounds."""

    low: float
    high: float

    def at(self, values: Array) -> Array:
        return np.clip((values - self.low) / (self.high - self.low), 0.0, 1.0)

    @property
    def exact(self) -> bool:
        return True

    def outside(self, low: float, high: float) -> float:
        width = self.high - self.low
        return max(low - self.low, 0.0) / width + max(self.high - high, 0.0) / width


@dataclass(frozen=True, eq=False)
class StepCurve(Curve):
    """Variables of a few values.

    Attributes:
        values: the values, in ascending order.
        probabilities: the probability of each.
    """

    values: Array
    probabilities: Array

    @cached_property
    def _sums(self) -> Array:
        return np.append(0.0, np.cumsum(self.probabilities))

    def at(self, values: Array) -> Array:
        return np.minimum(self._sums[np.searchsorted(self.values, values, side="right")], 1.0)

    def thinned(self, most: int) -> StepCurve:
        """A curve of so many of the values, spread evenly, each with the probability of those before it, too."""
        places = np.linspace(0, len(self.values) - 1, most).astype(np.int64)
        return StepCurve(self.values[places], np.diff(self._sums[places + 1], prepend=0.0))


@dataclass(frozen=True, eq=False)
class MixedCurve(Curve):
    """Elements of several laws, each with its share of the tensor."""

    parts: tuple[Curve, ...]
    shares: tuple[float, ...]

    def at(self, values: Array) -> Array:
        return np.sum([share * part.at(values) for part, share in zip(self.parts, self.shares, strict=True)], axis=0)

    @property
    def exact(self) -> bool:
        return all(part.exact for part in self.parts)

    def outside(self, low: float, high: float) -> float:
        tails = (share * part.outside(low, high) for part, share in zip(self.parts, self.shares, strict=True))
        return sum(tails, 0.0)


@dataclass(frozen=True, eq=False)
class MovedCurve(Curve):
    """Variables whose distances from a centre are multiplied, and which are moved.

    Attributes:
        curve: the curve before that.
        centre: the centre.
        ratio: what distances from it are multiplied by.
        distance: how far everything is moved afterwards.
    """

    curve: Curve
    centre: float
    ratio: float
    distance: float = 0.0

    def _before(self, values: Array) -> Array:
        return self.centre + (values - self.distance - self.centre) / self.ratio

    @property
    def exact(self) -> bool:
        return self.curve.exact

    def at(self, values: Array) -> Array:
        return self.curve.at(self._before(values))

    def outside(self, low: float, high: float) -> float:
        first, last = self._before(np.array([low, high])).tolist()
        return self.curve.outside(first, last)


@dataclass(frozen=True, eq=False)
class FunctionCurve(Curve):
    """Variables whose distribution function is given, for one value at a time."""

    function: Callable[[float], float]

    def at(self, values: Array) -> Array:
        return np.array([self.function(value) for value in values.tolist()])


@dataclass(frozen=True, eq=False)
class DensityCurve(Curve):
    """Variables whose density is given up to a factor, between two bounds.

    Attributes:
        density: the density of an array of values.
        low, high: the bounds.
    """

    density: Callable[[Array], Array]
    low: float
    high: float
    _nodes: Array = field(init=False, repr=False)
    _sums: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        nodes = np.linspace(self.low, self.high, _NODES)
        heights = self.density((nodes[1:] + nodes[:-1]) / 2)  # the midpoint rule stays away from the bounds
        sums = np.append(0.0, np.cumsum(heights))
        object.__setattr__(self, "_nodes", nodes)
        object.__setattr__(self, "_sums", sums / sums[-1])

    def at(self, values: Array) -> Array:
        return np.interp(values, self._nodes, self._sums)
