"""Floats that are a function of one open unit variable each, computed in float64 and rounded once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from fanin._core import dtypes
from fanin._core.environment import undisturbed
from fanin._core.shapes import Region
from fanin._core.streams import Stream, run_kernel
from fanin._core.types import Array, DType
from fanin.distributions.base import Moments
from fanin.distributions.floats import Floats

_WORD_BITS = 32  # of the unit variable; 52 for float64
_ROOT_2 = math.sqrt(2)


class Quantile(Floats):
    """Floats by the inverse of their distribution function: 16-bit ones are the float32 ones, rounded."""

    @property
    def scale(self) -> float:
        """The factor of the unit quantile."""
        raise NotImplementedError

    @property
    def origin(self) -> float:
        """The term that is added to the product."""
        return 0.0

    @cached_property
    def interval(self) -> Sequence[float]:
        """The probabilities about the bounds, and the bounds, as kernels take them; empty without bounds."""
        return ()

    @cached_property
    def _own_kernel(self) -> str:
        return f"{self._law}/{'float64' if self.dtype == dtypes.FLOAT64 else 'float32'}"

    def _kernel(self, dtype: DType) -> str:
        return f"{self._own_kernel}/{dtype.name}" if dtype.itemsize < 4 else self._own_kernel

    def rounds_to(self, dtype: DType) -> bool:
        return self.dtype == dtypes.FLOAT32 and super().rounds_to(dtype)

    def fill(self, out: Array, stream: Stream, region: Region | None = None) -> None:
        kernel = self._kernel(out.dtype)
        numbers: dict[str, Any] = {"scale": self.scale, "origin": self.origin, "interval": self.interval}
        run_kernel(kernel, stream, out, self.shape, region, **numbers)

    @property
    def bounds(self) -> tuple[float, float]:
        return self._ends

    @cached_property
    @undisturbed
    def _ends(self) -> tuple[float, float]:
        """What the smallest and the largest unit variable make."""
        from fanin._core.reference import quantiles  # late: only reports ask for bounds

        smallest = 2.0 ** -(53 if self.dtype == dtypes.FLOAT64 else _WORD_BITS + 1)
        ends = quantiles(self._law, np.array([smallest, 1 - smallest]), self.scale, self.origin, self.interval)
        first, last = sorted(ends.tolist())
        return first, last

    @cached_property
    @undisturbed
    def grid(self) -> tuple[np.ndarray, np.ndarray] | None:
        if self.dtype.itemsize > 2:
            return None
        every = np.arange(2**16, dtype=np.uint16).view(self.dtype)
        with np.errstate(all="ignore"):  # some are NaN, and the largest bounds are infinite here
            first, last = (np.float64(self.dtype.type(each)) for each in self.bounds)
            wide = every.astype(np.float64)
            values = np.unique(wide[(wide >= first) & (wide <= last)] + 0.0)
        middles = (values[1:] + values[:-1]) / 2
        below = np.array([self.cdf(middle) for middle in middles.tolist()])
        return values, np.diff(below, prepend=0.0, append=1.0)


@dataclass(frozen=True)
class BoundedNormal(Quantile):
    """Normals between bounds, either of which may be infinite; `mean` and `stddev` are before truncation.

    Rounding takes no value past a bound: the smallest value is the first number of the dtype not below `minval`.
    """

    mean: float
    stddev: float
    minval: float
    maxval: float
    kind: ClassVar[str] = "bounded_normal"
    _law: ClassVar[str] = "bounded"

    @staticmethod
    @undisturbed
    def reaches(mean: float, stddev: float, minval: float, maxval: float) -> bool:
        """Whether bounds leave values within 36 standard deviations of the mean: there are none further out."""
        from fanin._core.normal_tails import is_within_reach  # late, here and below, with the decimals that it needs

        return is_within_reach(mean, stddev, minval, maxval)

    @property
    def scale(self) -> float:
        return self.stddev

    @property
    def origin(self) -> float:
        return self.mean

    @cached_property
    @undisturbed
    def interval(self) -> Sequence[float]:
        from fanin._core.normal_tails import interval

        return *interval(self.mean, self.stddev, self.minval, self.maxval), *self.range

    @cached_property
    @undisturbed
    def range(self) -> tuple[float, float]:
        """The smallest and the largest number of the dtype within the bounds; the former is larger if there is none."""
        return _rounded_up(self.minval, self.dtype), -_rounded_up(-self.maxval, self.dtype)

    @undisturbed
    def cdf(self, value: float) -> float:
        if not self.stddev:
            return float(value > self.mean)
        if not self.minval < value < self.maxval:
            return float(value >= self.maxval)
        below, above, width, *_ = self.interval
        x = (value - self.mean) / (self.stddev * _ROOT_2)
        share = (math.erfc(-x) / 2 - below) / width if x < 0 else 1 - (math.erfc(x) / 2 - above) / width
        return min(max(share, 0.0), 1.0)

    @property
    def _smooth_moments(self) -> Moments:
        from fanin._core.normal_tails import truncated_moments

        return Moments(*truncated_moments(self.mean, self.stddev, self.minval, self.maxval))


def _rounded_up(value: float, dtype: DType) -> float:
    """The smallest number of a dtype that is not below a value."""
    with np.errstate(all="ignore"):
        rounded = dtype.type(value)
        if float(rounded) < value or (np.isneginf(float(rounded)) and math.isfinite(value)):
            rounded = np.nextafter(rounded, dtype.type(np.inf))
    return float(rounded)


@dataclass(frozen=True)
class Exponential(Quantile):
    """Exponentially distributed floats: `-log(u) * (1 / rate)`."""

    rate: float
    kind: ClassVar[str] = "exponential"
    _law: ClassVar[str] = "exponential"

    @property
    def scale(self) -> float:
        return self._inverse_rate

    @cached_property
    @undisturbed
    def _inverse_rate(self) -> float:
        return 1 / self.rate

    @undisturbed
    def cdf(self, value: float) -> float:
        return -math.expm1(-self.rate * max(value, 0.0))

    @property
    def _smooth_moments(self) -> Moments:
        return Moments(self.scale, self.scale, 9.0)


@dataclass(frozen=True)
class LogNormal(Quantile):
    """Floats whose logarithms are normal: `exp(x * stddev + mean)` for a unit normal x."""

    mean: float
    stddev: float
    kind: ClassVar[str] = "log_normal"
    _law: ClassVar[str] = "lognormal"

    @property
    def scale(self) -> float:
        return self.stddev

    @property
    def origin(self) -> float:
        return self.mean

    @undisturbed
    def cdf(self, value: float) -> float:
        if value <= 0.0:
            return 0.0
        distance = math.log(value) - self.mean
        if not self.stddev:
            return float(distance > 0)
        return math.erfc(-distance / abs(self.stddev) / _ROOT_2) / 2

    @property
    def _smooth_moments(self) -> Moments:
        try:
            growth = math.exp(self.stddev**2)
            mean = math.exp(self.mean + self.stddev**2 / 2)
            kurtosis = growth**4 + 2 * growth**3 + 3 * growth**2 - 3
            return Moments(mean, mean * math.sqrt(math.expm1(self.stddev**2)), kurtosis)
        except OverflowError:
            return Moments(math.inf, math.inf)
