"""Distributions of complex numbers, each made of two elements of a stream of floats.

Bounds and moments are those of the real part, and of the imaginary part, which has the same law. With a standard
deviation of `stddev` over the plane, `E[|z|**2] = stddev**2`, each part has `stddev / sqrt(2)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from fanin._core import dtypes, polar
from fanin._core.environment import undisturbed
from fanin._core.memory import parts
from fanin._core.shapes import Region
from fanin._core.streams import Stream, run_kernel
from fanin._core.types import Array, DType
from fanin.distributions.base import Distribution, Moments
from fanin.distributions.floats import Normal

# The root of E[|z|**2], (1 - 5 exp(-4)) / (1 - exp(-4)), for a complex unit normal z with |z| < 2.
TRUNCATED_COMPLEX_STDDEV = 0.9619618280082135
_BELOW_TWO = 0.9816843611112658  # the probability of |z| < 2, 1 - exp(-4)
_FOURTH_MOMENT = 1.5522233512694228  # E[|z|**4] for such z, (2 - 26 exp(-4)) / (1 - exp(-4))
_CHUNK = 2**15  # elements that are computed at a time, whose intermediate results fit in cache


def _of_both(region: Region) -> Region:
    """A region of a complex tensor, with an axis of the real and the imaginary part."""
    full, starts, lengths, dropped = region
    return Region((*full, 2), (*starts, 0), (*lengths, 2), (*dropped, False))


@dataclass(frozen=True)
class ComplexNormal(Distribution):
    """Complex numbers whose parts are independent normals around 0, with a standard deviation of `stddev / sqrt(2)`."""

    stddev: float
    kind: ClassVar[str] = "complex_normal"
    random: ClassVar[bool] = True

    @cached_property
    @undisturbed
    def part(self) -> Normal:
        """The distribution of the real and the imaginary parts, side by side along a last axis."""
        dtype = np.dtype(f"f{self.dtype.itemsize // 2}")
        return Normal((*self.shape, 2), dtype, 0.0, self.stddev / math.sqrt(2))

    @property
    def bounds(self) -> tuple[float, float]:
        return self.part.bounds

    @cached_property
    def moments(self) -> Moments:
        return self.part.moments

    def fill(self, out: Array, stream: Stream, region: Region | None = None) -> None:
        # The last axis alone must be dense for a view of the two parts, and one of length 1 always is.
        both = out[..., None].view(self.part.dtype)
        self.part.fill(both, stream, None if region is None else _of_both(region))


class _ByModulus(Distribution):
    """Complex numbers by a modulus and a uniform phase, computed in complex128 and rounded once."""

    random: ClassVar[bool] = True

    @property
    def radius(self) -> float:
        """The largest modulus."""
        raise NotImplementedError

    def modulus(self, u: Array) -> Array:
        """The modulus of which a share of u of all numbers has a smaller one."""
        raise NotImplementedError

    @property
    def bounds(self) -> tuple[float, float]:
        return -self.radius, self.radius

    def rounds_to(self, dtype: DType) -> bool:
        return dtype in (dtypes.COMPLEX64, dtypes.COMPLEX128)

    def fill(self, out: Array, stream: Stream, region: Region | None = None) -> None:
        for target, part in parts(out, self.shape, region, _CHUNK):
            units = np.empty((*part.lengths, 2))
            run_kernel("uniform/float64", stream, units, (*self.shape, 2), _of_both(part))
            modulus = self.modulus(polar.open_unit(units[..., 0]))
            with np.errstate(all="ignore"):  # large radii overflow in complex64
                target[...] = polar.from_polar(modulus, units[..., 1]).astype(out.dtype)


@dataclass(frozen=True)
class ComplexTruncatedNormal(_ByModulus):
    """Complex normals with |z| below two standard deviations; `stddev` is before truncation."""

    stddev: float
    kind: ClassVar[str] = "complex_truncated_normal"

    @property
    @undisturbed
    def radius(self) -> float:
        return 2 * abs(self.stddev)

    @cached_property
    @undisturbed
    def moments(self) -> Moments:
        stddev = abs(self.stddev) * TRUNCATED_COMPLEX_STDDEV / math.sqrt(2)
        return Moments(0.0, stddev, 1.5 * _FOURTH_MOMENT / TRUNCATED_COMPLEX_STDDEV**4)

    def modulus(self, u: Array) -> Array:
        return np.sqrt(-polar.log(1.0 - u * _BELOW_TWO)) * self.stddev


@dataclass(frozen=True)
class ComplexUniform(_ByModulus):
    """Complex numbers uniform in a disc around 0.

    Attributes:
        limit: the radius of the disc.
    """

    limit: float
    kind: ClassVar[str] = "complex_uniform"

    @property
    def radius(self) -> float:
        return self.limit

    @cached_property
    @undisturbed
    def moments(self) -> Moments:
        return Moments(0.0, self.limit / 2, 2.0)

    def modulus(self, u: Array) -> Array:
        return np.sqrt(u) * self.limit
