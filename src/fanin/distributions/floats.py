"""Floats that are scaled as tf_keras scales them: every operation rounded in the dtype."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from fanin._core import dtypes
from fanin._core.environment import quietly, undisturbed
from fanin._core.shapes import Region
from fanin._core.streams import Stream, has_kernel, run_kernel
from fanin._core.types import Array, DType
from fanin.distributions.base import Distribution, Moments

# The standard deviation of a unit normal truncated at two standard deviations: sqrt(1 - 4 phi(2) / (2 Phi(2) - 1)).
TRUNCATED_STDDEV = 0.87962566103423978
# The largest unit normal: the Box-Muller radius for the smallest argument of the logarithm, 1e-7.
LARGEST_NORMAL = math.sqrt(-2 * math.log(1e-7))


class Floats(Distribution):
    """Random floats that a kernel makes of a unit variable, in this dtype or rounded once to a narrower one."""

    random: ClassVar[bool] = True
    in_kernels: ClassVar[bool] = True
    _law: ClassVar[str]  # the law of the kernels

    def cdf(self, value: float) -> float:
        """The probability that an element lies below a value, ignoring the dtype's rounding."""
        raise NotImplementedError

    @cached_property
    def _own_kernel(self) -> str:
        return f"{self._law}/{dtypes.FLOATS[self.dtype]}"

    def _kernel(self, dtype: DType) -> str:
        """The name of the kernel that draws in this distribution's dtype and stores in the given one."""
        return self._own_kernel if dtype == self.dtype else f"{self._own_kernel}/{dtype.name}"

    def rounds_to(self, dtype: DType) -> bool:
        return has_kernel(self._kernel(dtype))

    @cached_property
    def grid(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Every possible value and its probability, for 16-bit dtypes, whose grid is coarse; None for other dtypes."""
        raise NotImplementedError

    @cached_property
    @undisturbed
    def moments(self) -> Moments:
        if self.grid is None:
            return self._smooth_moments
        values, probabilities = self.grid
        with np.errstate(all="ignore"):  # values that overflow have no moments
            # fsum is exact, so symmetric values have a mean of 0, but it raises for infinities.
            mean = math.fsum(probabilities * values) if np.isfinite(values).all() else float(probabilities @ values)
            variance, fourth = (probabilities @ (values - mean) ** power for power in (2, 4))
            return Moments(mean, float(np.sqrt(variance)), float(fourth / variance**2))

    @property
    def _smooth_moments(self) -> Moments:
        """The moments if the dtype is fine enough for its rounding to be ignored."""
        raise NotImplementedError


class Affine(Floats):
    """Floats `x * scale + origin` for a unit variable x, with every operation rounded in the dtype."""

    def unit_cdf(self, x: float) -> float:
        """The probability that the unit variable lies below x."""
        raise NotImplementedError

    @undisturbed
    def cdf(self, value: float) -> float:
        share = self.unit_cdf((value - self.origin) / self.scale)
        return share if self.scale > 0 else 1 - share

    @property
    def scale(self) -> float:
        """The factor of the unit variable."""
        raise NotImplementedError

    @property
    def origin(self) -> float:
        """The term that is added to the product: the value where the unit variable is 0."""
        raise NotImplementedError

    def fill(self, out: Array, stream: Stream, region: Region | None = None) -> None:
        dtype = out.dtype
        kernel = self._own_kernel if dtype is self.dtype else self._kernel(dtype)
        run_kernel(kernel, stream, out, self.shape, region, scale=self.scale, origin=self.origin)

    @cached_property
    @undisturbed
    def grid(self) -> tuple[np.ndarray, np.ndarray] | None:
        # The kernels' arithmetic, applied to all values that the unit variable has in the dtype.
        if self.dtype.itemsize > 2:
            return None
        units, probabilities = self._unit_grid()
        with np.errstate(all="ignore"):
            values = units.astype(self.dtype) * self.dtype.type(self.scale) + self.dtype.type(self.origin)
        return values.astype(np.float64), probabilities

    def _unit_grid(self) -> tuple[np.ndarray, np.ndarray]:
        """All values of the unit variable in a 16-bit dtype, and the probability of rounding to each."""
        every = np.arange(2**16, dtype=np.uint16).view(self.dtype)
        with np.errstate(invalid="ignore"):  # some are NaN
            units = np.unique(every[np.abs(every) < LARGEST_NORMAL].astype(np.float64))
        middles = (units[1:] + units[:-1]) / 2
        below = np.array([self.unit_cdf(middle) for middle in middles.tolist()])
        probabilities = np.diff(below, prepend=0.0, append=1.0)
        return units, (probabilities + probabilities[::-1]) / 2  # symmetric except for erf's last bits


@dataclass(frozen=True)
class Uniform(Affine):
    """Floats in [minval, maxval): `u * (maxval - minval) + minval`, with every operation rounded in the dtype."""

    minval: float
    maxval: float
    kind: ClassVar[str] = "uniform"
    _law: ClassVar[str] = "uniform"

    def _round_parameters(self) -> None:
        self._round(self.dtype, "minval", "maxval")

    def unit_cdf(self, x: float) -> float:
        return min(max(x, 0.0), 1.0)

    @property
    def scale(self) -> float:
        return self._width

    @cached_property
    @undisturbed
    def _width(self) -> float:
        minval, maxval = (self.dtype.type(value) for value in (self.minval, self.maxval))
        return float(quietly(np.subtract, maxval, minval))

    @property
    def origin(self) -> float:
        return self.minval

    def _unit_grid(self) -> tuple[np.ndarray, np.ndarray]:
        count = 2 ** dtypes.UNIT_BITS[self.dtype]
        return np.arange(count) / count, np.full(count, 1 / count)

    @property
    @undisturbed
    def bounds(self) -> tuple[float, float]:
        return min(self.minval, self.maxval), max(self.minval, self.maxval)

    @property
    def _smooth_moments(self) -> Moments:
        width = self.maxval - self.minval
        return Moments(self.minval + width / 2, abs(width) / math.sqrt(12), 1.8)


@dataclass(frozen=True)
class Normal(Affine):
    """Floats `x * stddev + mean` for a unit normal x, with every operation rounded in the dtype."""

    mean: float
    stddev: float
    kind: ClassVar[str] = "normal"
    _law: ClassVar[str] = "normal"

    def _round_parameters(self) -> None:
        self._round(self.dtype, "mean", "stddev")

    @undisturbed
    def stays_within(self, minval: float, maxval: float) -> bool:
        """Whether even six standard deviations, which no value reaches, with all rounding, do not pass the bounds."""
        number = self.dtype.type
        with np.errstate(all="ignore"):
            ends = (float(number(unit) * number(self.stddev) + number(self.mean)) for unit in (-6.0, 6.0))
        return all(minval <= end <= maxval and math.isfinite(end) for end in ends)

    def unit_cdf(self, x: float) -> float:
        return (1 + math.erf(x / math.sqrt(2))) / 2

    @property
    def scale(self) -> float:
        return self.stddev

    @property
    def origin(self) -> float:
        return self.mean

    @property
    @undisturbed
    def bounds(self) -> tuple[float, float]:
        reach = LARGEST_NORMAL * abs(self.stddev)
        return self.mean - reach, self.mean + reach

    @property
    def _smooth_moments(self) -> Moments:
        return Moments(self.mean, abs(self.stddev), 3.0)


class TruncatedNormal(Normal):
    """Floats `x * stddev + mean` for a unit normal x that is redrawn while |x| >= 2; `stddev` is before truncation."""

    kind: ClassVar[str] = "truncated_normal"
    _law: ClassVar[str] = "truncated"

    def unit_cdf(self, x: float) -> float:
        return (1 + math.erf(min(max(x, -2.0), 2.0) / math.sqrt(2)) / math.erf(math.sqrt(2))) / 2

    @property
    @undisturbed
    def bounds(self) -> tuple[float, float]:
        return self.mean - 2 * abs(self.stddev), self.mean + 2 * abs(self.stddev)

    @property
    def _smooth_moments(self) -> Moments:
        # E[x**4] = 3 - 2 (a**3 + 3 a) phi(a) / (2 Phi(a) - 1) with a = 2
        density = math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2))
        return Moments(self.mean, TRUNCATED_STDDEV * abs(self.stddev), (3 - 28 * density) / TRUNCATED_STDDEV**4)
