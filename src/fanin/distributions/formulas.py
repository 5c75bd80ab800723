"""Values that are a formula of their index: the shared walk over a tensor, and the kernels that pass channels through.

Nothing is drawn. A formula computes float64 (or complex128) values from the indices along each axis, for a bounded
number of elements at a time, and each is rounded once to the dtype.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import ClassVar

import numpy as np

from fanin._core import dtypes
from fanin._core.environment import undisturbed
from fanin._core.memory import parts
from fanin._core.shapes import Region
from fanin._core.streams import Stream
from fanin._core.types import Array
from fanin.distributions.base import Distribution, Moments

_CANCELLED = 1e-14  # a variance this small, beside the mean square, is what rounding has left of none
_CHUNK = 2**15  # elements that are computed at a time: 256 KiB of float64


@dataclass(frozen=True)
class Formula(Distribution):
    """Values that a formula gives for each index."""

    @abstractmethod
    def values(self, *indices: Array) -> Array:
        """The values before they are rounded, in float64 or complex128.

        Args:
            *indices: for each axis, the indices along it (int64), shaped to broadcast to the region.

        Returns:
            An array that broadcasts to the region.
        """

    @abstractmethod
    def means(self) -> tuple[float, float]:
        """The mean of the values (of their real parts), and that of their squares, over a tensor with elements."""

    @cached_property
    @undisturbed
    def moments(self) -> Moments:
        if not self.size:
            return Moments(0.0, 0.0)
        with np.errstate(all="ignore"):
            mean, square = self.means()
        variance = square - mean * mean
        return Moments(mean, math.sqrt(variance) if variance > _CANCELLED * square else 0.0)

    def fill(self, out: Array, stream: Stream, region: Region | None = None) -> None:
        with np.errstate(all="ignore"):  # overflow means infinity here
            for target, part in parts(out, self.shape, region, _CHUNK):
                if target.size:
                    target[...] = dtypes.rounded_values(self.values(*open_grid(part)), self.dtype)

    def means_along(self, axis: int) -> tuple[float, float]:
        """The means of values that differ along one axis alone, a chunk at a time."""
        rank, length = len(self.shape), self.shape[axis]
        sums, squares = [], []
        for start in range(0, length, _CHUNK):
            indices = [np.zeros((1,) * rank, np.int64)] * rank
            along = np.arange(start, min(length, start + _CHUNK))
            indices[axis] = along.reshape([-1 if each == axis % rank else 1 for each in range(rank)])
            values = np.real(self.values(*indices)).ravel()
            sums.append(math.fsum(values))
            squares.append(math.fsum(values * values))
        return math.fsum(sums) / length, math.fsum(squares) / length


def open_grid(region: Region) -> list[Array]:
    """For each axis, the indices of a region along it, shaped to broadcast to the region."""
    rank = len(region.lengths)
    return [
        np.arange(start, start + length).reshape([-1 if each == axis else 1 for each in range(rank)])
        for axis, (start, length) in enumerate(zip(region.starts, region.lengths, strict=True))
    ]


@dataclass(frozen=True)
class ChannelKernel(Formula):
    """A window of its own for each channel: kernels (…window…, in / groups, out) that mix no channels.

    Attributes:
        gain: a factor for the window.
        groups: how many equal parts the outputs are cut into; input d of a part feeds its output d.
    """

    gain: float
    groups: int

    @staticmethod
    @abstractmethod
    def window(index: Array, length: int) -> Array:
        """The values along one of the window's axes, times `denominator(length)`: whole numbers."""

    @staticmethod
    def denominator(length: int) -> int:
        """The common denominator of the values along an axis."""
        return 1

    @staticmethod
    @abstractmethod
    def window_sums(length: int) -> tuple[Fraction, Fraction]:
        """The sum of the values along an axis of the window, and that of their squares."""

    @staticmethod
    @abstractmethod
    def window_peak(length: int) -> Fraction:
        """The largest value along an axis of the window."""

    def values(self, *indices: Array) -> Array:
        *window, inputs, outputs = indices
        value = np.where(inputs == outputs % self._outputs_of_a_group, np.float64(self.gain), 0.0)
        for index, length in zip(window, self.shape, strict=False):
            value = value * self.window(index, length)
        return value / float(self.unit) + 0.0  # of -0.0, zero

    @property
    def unit(self) -> int:
        """The common denominator of the values of the window."""
        return math.prod(map(self.denominator, self.shape[:-2]))

    @property
    def _outputs_of_a_group(self) -> int:
        return max(1, self.shape[-1] // self.groups)

    def means(self) -> tuple[float, float]:
        sums = [self.window_sums(length) for length in self.shape[:-2]]
        through = self.groups * min(self.shape[-2], self._outputs_of_a_group)  # channels that pass
        share, gain = Fraction(through, self.size), Fraction(self.gain)
        mean = gain * share * math.prod(each for each, _ in sums)
        return float(mean), float(gain * gain * share * math.prod(each for _, each in sums))

    @cached_property
    @undisturbed
    def peak(self) -> Fraction:
        """The value at the window's centre, which is the largest one if the gain is positive."""
        return Fraction(self.gain) * math.prod(self.window_peak(length) for length in self.shape[:-2])

    @property
    @undisturbed
    def bounds(self) -> tuple[float, float]:
        with np.errstate(all="ignore"):
            exact = np.array([float(self.peak) if self.size else 0.0])
            (peak,) = np.real(dtypes.rounded_values(exact, self.dtype)).astype(np.float64).tolist()
        return min(peak, 0.0), max(peak, 0.0)


@dataclass(frozen=True)
class Dirac(ChannelKernel):
    """`gain` at the window's centre, and zeros around it."""

    kind: ClassVar[str] = "dirac"

    @staticmethod
    def window(index: Array, length: int) -> Array:
        return index == length // 2

    @staticmethod
    def window_sums(length: int) -> tuple[Fraction, Fraction]:
        return Fraction(1), Fraction(1)

    @staticmethod
    def window_peak(length: int) -> Fraction:
        return Fraction(1)


@dataclass(frozen=True)
class Bilinear(ChannelKernel):
    """A tent along each axis of the window: `1 - |index - (length - 1) / 2| / half`, half the length, rounded up."""

    kind: ClassVar[str] = "bilinear"

    @staticmethod
    def window(index: Array, length: int) -> Array:
        return np.minimum(2 * index + 1, 2 * (length - index) - 1) + length % 2

    @staticmethod
    def denominator(length: int) -> int:
        return length + length % 2

    @staticmethod
    def window_sums(length: int) -> tuple[Fraction, Fraction]:
        half = (length + 1) // 2
        if length % 2:
            return Fraction(half), Fraction(2 * half * half + 1, 3 * half)
        return Fraction(half), Fraction(4 * half * half - 1, 6 * half)

    @staticmethod
    def window_peak(length: int) -> Fraction:
        return Fraction(1) if length % 2 else Fraction(length - 1, length)
