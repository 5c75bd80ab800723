"""Initializers by distribution: normal, truncated normal, log-normal, exponential, uniform, Bernoulli."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from fanin import distributions
from fanin._core import dtypes
from fanin._core.messages import shown
from fanin._core.shapes import checked_shape
from fanin._core.types import DType, DTypeLike, NumberLike, Seed, Shape, ShapeLike
from fanin.distributions import Distribution
from fanin.initializers.base import SeededInitializer, float_dtype, number

_BEYOND_NORMALS = 6.0  # standard deviations, which no value of RandomNormal reaches
_OUT_OF_REACH = "Bounds must leave values within 36 standard deviations of the mean."


class _MeanAndStddev(SeededInitializer):
    """The arguments that the two normal initializers share."""

    mean: float
    stddev: float

    def __init__(self, mean: NumberLike = 0.0, stddev: NumberLike = 0.05, seed: Seed = None) -> None:
        super().__init__(seed)
        self.mean, self.stddev = number("mean", mean), number("stddev", stddev)

    def get_config(self) -> dict[str, Any]:
        return {"mean": self.mean, "stddev": self.stddev, "seed": self.seed}


class RandomNormal(_MeanAndStddev):
    """Draws from a normal distribution.

    Also available as `random_normal`.

    >>> import fanin
    >>> initializer = fanin.initializers.RandomNormal(mean=0., stddev=1.)
    >>> values = initializer(shape=(2, 2))

    Args:
        mean: the mean of the values, a number or a scalar tensor.
        stddev: their standard deviation.
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns the same values at every call.

    Raises:
        TypeError, ValueError: an argument is not a finite number or a seed.
    """

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        return distributions.Normal(checked_shape(shape), float_dtype(dtype), self.mean, self.stddev)


class TruncatedNormal(_MeanAndStddev):
    """Draws from a normal distribution that is truncated: at two standard deviations, or at bounds of your own.

    Also available as `truncated_normal`. Without bounds, values two standard deviations or more from the mean are
    redrawn, as in Keras. With bounds, each value is the inverse of the truncated distribution function at a uniform
    number of 32 bits (52 for float64), so tails of any weight are exact, and no value exceeds a bound. Bounds that cut
    nothing, since they lie six standard deviations away or more on both sides, leave `RandomNormal`.

    >>> import fanin
    >>> initializer = fanin.initializers.TruncatedNormal(mean=0., stddev=1.)
    >>> values = initializer(shape=(2, 2))
    >>> tail = fanin.TruncatedNormal(0.0, 1.0, seed=1, minval=10.0)((1000,))
    >>> bool(tail.min() >= 10.0), round(float(tail.mean()), 1)
    (True, 10.1)
    >>> [round(bound, 6) for bound in fanin.TruncatedNormal(0.0, 0.02, lower=-2, upper=2).distribution((2, 2)).bounds]
    [-0.04, 0.04]

    Args:
        mean: the mean of the values before the truncation, a number or a scalar tensor.
        stddev: their standard deviation before the truncation; without bounds, this reduces it to 0.88 of that.
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns the same values at every call.
        minval: the smallest value, whatever mean and standard deviation are, as the `a` of PyTorch's `trunc_normal_`.
            None beside a `maxval` is no bound.
        maxval: the largest value, as its `b`. None beside a `minval` is no bound.
        lower: the smallest value in standard deviations from the mean, usually negative, as in JAX's
            `truncated_normal`. None beside an `upper` is no bound.
        upper: the largest value in standard deviations from the mean. None beside a `lower` is no bound.

    Raises:
        TypeError, ValueError: an argument is not a finite number or a seed, `stddev` is negative beside a bound, or
            bounds of both kinds are given; at the call, the lower bound is not less than the upper one, no value
            between them lies within 36 standard deviations of the mean, or the dtype has no number between them.
    """

    minval: float | None
    maxval: float | None
    lower: float | None = None
    upper: float | None = None

    def __init__(
        self,
        mean: NumberLike = 0.0,
        stddev: NumberLike = 0.05,
        seed: Seed = None,
        *,
        minval: NumberLike | None = None,
        maxval: NumberLike | None = None,
        lower: NumberLike | None = None,
        upper: NumberLike | None = None,
    ) -> None:
        super().__init__(mean, stddev, seed)
        self.minval, self.maxval = _bound("minval", minval), _bound("maxval", maxval)
        self.lower, self.upper = _bound("lower", lower), _bound("upper", upper)
        if self._has_limits and self._has_deviations:
            raise ValueError(
                "`minval` and `maxval` cannot be combined with `lower` and `upper`, which count standard deviations. "
                f"Received: {', '.join(f'{name}={shown(each)}' for name, each in self._bounds.items())}."
            )
        if self._bounds and self.stddev < 0:
            raise ValueError(f"`stddev` must not be negative beside bounds. Received: stddev={shown(self.stddev)}.")

    @property
    def _has_limits(self) -> bool:
        return self.minval is not None or self.maxval is not None

    @property
    def _has_deviations(self) -> bool:
        return self.lower is not None or self.upper is not None

    @property
    def _bounds(self) -> dict[str, float | None]:
        """The bounds by name, with None for a missing one beside another."""
        limits = {"minval": self.minval, "maxval": self.maxval} if self._has_limits else {}
        return {**limits, **({"lower": self.lower, "upper": self.upper} if self._has_deviations else {})}

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        shape, resolved = checked_shape(shape), float_dtype(dtype)
        if self._has_limits:
            return _between(shape, resolved, self.mean, self.stddev, self.minval, self.maxval)
        if self._has_deviations:
            return _within_deviations(shape, resolved, self.mean, self.stddev, self.lower, self.upper)
        return distributions.TruncatedNormal(shape, resolved, self.mean, self.stddev)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._bounds}


def _bound(name: str, value: NumberLike | None) -> float | None:
    return None if value is None else number(name, value)


@lru_cache(maxsize=1024)  # whose probabilities take longer than a small tensor
def _between(
    shape: Shape, dtype: DType, mean: float, stddev: float, minval: float | None, maxval: float | None
) -> Distribution:
    """A normal distribution within bounds that are values."""
    received = f"Received: mean={shown(mean)}, stddev={shown(stddev)}, minval={shown(minval)}, maxval={shown(maxval)}"
    low, high = _ends(minval, maxval)
    if not low < high:
        raise ValueError(f"`minval` must be less than `maxval`. {received}.")
    mean, stddev = mean + 0.0, stddev + 0.0  # without negative zeros, which are the same keys of the cache
    if not distributions.BoundedNormal.reaches(mean, stddev, low, high):
        raise ValueError(f"{_OUT_OF_REACH} {received}.")
    normal = distributions.Normal(shape, dtype, mean, stddev)
    return normal if normal.stays_within(low, high) else _bounded(shape, dtype, mean, stddev, low, high, received)


@lru_cache(maxsize=1024)
def _within_deviations(
    shape: Shape, dtype: DType, mean: float, stddev: float, lower: float | None, upper: float | None
) -> Distribution:
    """A normal distribution within bounds that are numbers of standard deviations from the mean."""
    received = f"Received: mean={shown(mean)}, stddev={shown(stddev)}, lower={shown(lower)}, upper={shown(upper)}"
    low, high = _ends(lower, upper)
    if not low < high:
        raise ValueError(f"`lower` must be less than `upper`. {received}.")
    if not distributions.BoundedNormal.reaches(0.0, 1.0, low, high):
        raise ValueError(f"{_OUT_OF_REACH} {received}.")
    mean, stddev = mean + 0.0, stddev + 0.0  # as above
    if low <= -_BEYOND_NORMALS and high >= _BEYOND_NORMALS:
        return distributions.Normal(shape, dtype, mean, stddev)
    minval, maxval = (mean + each * stddev if stddev else mean for each in (low, high))
    if not minval < maxval:  # a spread that is nothing beside the mean
        return distributions.Normal(shape, dtype, mean, 0.0)
    return _bounded(shape, dtype, mean, stddev, minval, maxval, received)


def _ends(low: float | None, high: float | None) -> tuple[float, float]:
    return -math.inf if low is None else low + 0.0, math.inf if high is None else high + 0.0


def _bounded(
    shape: Shape, dtype: DType, mean: float, stddev: float, low: float, high: float, received: str
) -> Distribution:
    drawn = distributions.BoundedNormal(shape, dtype, mean, stddev, low, high)
    first, last = drawn.range
    if first > last or first == math.inf or last == -math.inf:
        raise ValueError(f"The dtype must have a number between the bounds. {received}, dtype={dtype.name}.")
    return drawn


class Exponential(SeededInitializer):
    """Draws from an exponential distribution: `-log(u) / rate` for a uniform u.

    Also available as `exponential`.

    >>> import fanin
    >>> initializer = fanin.initializers.Exponential(rate=2.0)
    >>> values = initializer(shape=(2, 2))

    Args:
        rate: the inverse of the mean, a positive number or a scalar tensor: the `lambd` of PyTorch's `exponential_`.
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns the same values at every call.

    Raises:
        TypeError, ValueError: an argument is not a finite number or a seed, or `rate` is not positive.
    """

    def __init__(self, rate: NumberLike = 1.0, seed: Seed = None) -> None:
        super().__init__(seed)
        self.rate: float = number("rate", rate)
        if self.rate <= 0:
            raise ValueError(f"`rate` must be positive. Received: rate={shown(self.rate)}.")

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        return distributions.Exponential(checked_shape(shape), float_dtype(dtype), float(self.rate))

    def get_config(self) -> dict[str, Any]:
        return {"rate": self.rate, "seed": self.seed}


class LogNormal(_MeanAndStddev):
    """Draws values whose logarithms are normally distributed.

    Also available as `log_normal`.

    >>> import fanin
    >>> initializer = fanin.initializers.LogNormal(mean=-3.0, stddev=0.5)
    >>> values = initializer(shape=(2, 2))

    Args:
        mean: the mean of the logarithms, a number or a scalar tensor.
        stddev: the standard deviation of the logarithms.
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns the same values at every call.

    Raises:
        TypeError, ValueError: an argument is not a finite number or a seed.
    """

    def __init__(self, mean: NumberLike = 0.0, stddev: NumberLike = 1.0, seed: Seed = None) -> None:
        super().__init__(mean, stddev, seed)

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        shape, resolved = checked_shape(shape), float_dtype(dtype)
        return distributions.LogNormal(shape, resolved, float(self.mean), float(self.stddev))


class Bernoulli(SeededInitializer):
    """Draws ones and zeros, of any float or integer dtype or bool.

    Also available as `bernoulli`. The same seed and shape have their ones at the same places in every dtype.

    >>> import fanin
    >>> fanin.initializers.Bernoulli(p=0.25, seed=1)((6,), "bool")
    array([False, False, False, False, False, False])

    Args:
        p: the probability of a one, a number in [0, 1] or a scalar tensor. It is rounded to a multiple of 2**-32.
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns the same values at every call.

    Raises:
        TypeError, ValueError: an argument is not a number or a seed, or `p` does not lie in [0, 1]; at the call, the
            dtype is none of these.
    """

    def __init__(self, p: NumberLike = 0.5, seed: Seed = None) -> None:
        super().__init__(seed)
        self.p: float = number("p", p)
        if not 0 <= self.p <= 1:
            raise ValueError(f"`p` must lie in [0, 1]. Received: p={shown(self.p)}.")

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        resolved = dtypes.resolve(dtype)
        kind = dtypes.kind(resolved)
        if kind not in ("bool", "integer", "float") or (kind == "float" and not dtypes.is_signed(resolved)):
            raise ValueError(
                f"Expected a boolean, integer or floating point dtype with 0 and 1, got {dtypes.name(resolved)}."
            )
        return distributions.Bernoulli(checked_shape(shape), resolved, float(self.p))

    def get_config(self) -> dict[str, Any]:
        return {"p": self.p, "seed": self.seed}


class RandomUniform(SeededInitializer):
    """Draws from a uniform distribution, of floats or of integers.

    Also available as `random_uniform`.

    >>> import fanin
    >>> initializer = fanin.initializers.RandomUniform(minval=0., maxval=1.)
    >>> values = initializer(shape=(2, 2))

    Args:
        minval: the lower bound of the values (inclusive), a number or a scalar tensor.
        maxval: their upper bound (exclusive, though rounding can reach it). None means 1 for floats.
            `minval = maxval = None` draws int32, int64, uint32 and uint64 from their full range.
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns the same values at every call.

    Raises:
        TypeError, ValueError: an argument is not a finite number or a seed; at the call, the bounds do not fit the
            dtype: int32 and int64 need integer bounds in their range with minval < maxval.
    """

    def __init__(self, minval: NumberLike | None = -0.05, maxval: NumberLike | None = 0.05, seed: Seed = None) -> None:
        super().__init__(seed)
        self.minval: float | None = None if minval is None else number("minval", minval)
        self.maxval: float | None = None if maxval is None else number("maxval", maxval)

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        shape, resolved = checked_shape(shape), dtypes.resolve(dtype)
        if resolved in dtypes.FLOATS:
            if self.minval is None:
                raise ValueError("`minval` must be a number for floating dtypes. Received: minval=None.")
            return distributions.Uniform(shape, resolved, self.minval, 1 if self.maxval is None else self.maxval)
        if resolved not in dtypes.INTEGERS:
            raise ValueError(
                f"Expected float or integer dtype, got {dtypes.name(resolved)}. "
                f"Use {', '.join([*dtypes.FLOATS.values(), *map(str, dtypes.INTEGERS)])}."
            )
        return distributions.UniformInteger(shape, resolved, *self._integer_bounds(resolved))

    def _integer_bounds(self, dtype: DType) -> tuple[int, int]:
        received = f"Received: minval={shown(self.minval)}, maxval={shown(self.maxval)}, dtype={dtype.name}."
        smallest, largest = dtypes.integer_range(dtype)
        if self.minval is None and self.maxval is None:
            return smallest, largest + 1
        if dtype.kind == "u":
            raise ValueError(
                f"Unsigned dtypes are drawn from their full range: `minval` and `maxval` must be None. {received}"
            )
        if self.minval is None or self.maxval is None:
            raise ValueError(f"`minval` and `maxval` must both be given for integer dtypes, or neither. {received}")
        if not isinstance(self.minval, int) or not isinstance(self.maxval, int):
            raise TypeError(f"`minval` and `maxval` must be integers for integer dtypes. {received}")
        if not (smallest <= self.minval <= largest and smallest <= self.maxval <= largest):
            rule = f"`minval` and `maxval` must lie in the dtype's range, [{smallest}, {largest}]"
            raise ValueError(f"{rule}. {received}")
        if self.minval >= self.maxval:
            raise ValueError(f"Need `minval` < `maxval` for integer dtypes. {received}")
        return self.minval, self.maxval

    def get_config(self) -> dict[str, Any]:
        return {"minval": self.minval, "maxval": self.maxval, "seed": self.seed}
