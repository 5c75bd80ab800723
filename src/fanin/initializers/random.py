"""Initializers by distribution: normal, truncated normal, uniform."""

from __future__ import annotations

from typing import Any

from fanin import distributions
from fanin._core import dtypes
from fanin._core.messages import shown
from fanin._core.shapes import checked_shape
from fanin._core.types import DType, DTypeLike, NumberLike, Seed, ShapeLike
from fanin.distributions import Distribution
from fanin.initializers.base import SeededInitializer, float_dtype, number


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
    """Draws from a normal distribution, and redraws values two standard deviations or more from the mean.

    Also available as `truncated_normal`.

    >>> import fanin
    >>> initializer = fanin.initializers.TruncatedNormal(mean=0., stddev=1.)
    >>> values = initializer(shape=(2, 2))

    Args:
        mean: the mean of the values, a number or a scalar tensor.
        stddev: their standard deviation before the truncation, which reduces it to 0.88 of that.
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns the same values at every call.

    Raises:
        TypeError, ValueError: an argument is not a finite number or a seed.
    """

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        return distributions.TruncatedNormal(checked_shape(shape), float_dtype(dtype), self.mean, self.stddev)


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
