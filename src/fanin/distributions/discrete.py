"""Distributions of integers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from fanin._core.environment import undisturbed
from fanin._core.memory import parts
from fanin._core.shapes import Region
from fanin._core.streams import Stream, run_kernel
from fanin._core.types import Array, DType
from fanin.distributions.base import Distribution, Moments

_WORD_BITS = 32  # of the words that decide
_CHUNK = 2**16  # words at a time: 256 KiB, which fit in cache


@dataclass(frozen=True)
class UniformInteger(Distribution):
    """Integers in [minval, maxval): random bits modulo `maxval - minval`, with the small bias that this causes."""

    minval: int
    maxval: int
    kind: ClassVar[str] = "uniform_integer"
    random: ClassVar[bool] = True
    in_kernels: ClassVar[bool] = True

    @property
    @undisturbed
    def bounds(self) -> tuple[float, float]:
        return self.minval, self.maxval - 1

    def below(self, count: int) -> float:
        """The probability of the first `count` integers. The smallest integers are slightly more likely."""
        words = 2 ** (8 * self.dtype.itemsize)
        often, rest = divmod(words, self.maxval - self.minval)
        return (count * often + min(count, rest)) / words

    def _sums(self) -> tuple[int, int]:
        """The sums of i and i**2 over all random words, each of which becomes an integer minval + i.

        The words run through all integers `rounds` times, and then through the first `rest` of them.
        """
        span = self.maxval - self.minval
        rounds, rest = divmod(2 ** (8 * self.dtype.itemsize), span)
        parts = ((rounds, span), (1, rest))
        first = sum(times * count * (count - 1) // 2 for times, count in parts)
        second = sum(times * count * (count - 1) * (2 * count - 1) // 6 for times, count in parts)
        return first, second

    @cached_property
    @undisturbed
    def moments(self) -> Moments:
        words = 2 ** (8 * self.dtype.itemsize)
        first, second = self._sums()
        mean = (self.minval * words + first) / words
        count = self.maxval - self.minval
        kurtosis = 1.8 - 2.4 / (count**2 - 1) if count > 1 else None  # ignoring the bias
        return Moments(mean, math.sqrt((second * words - first * first) / words**2), kurtosis)

    def fill(self, out: Array, stream: Stream, region: Region | None = None) -> None:
        width = 8 * self.dtype.itemsize
        span = (self.maxval - self.minval) % 2**width  # 0 stands for the full range and leaves the bits unchanged
        minval = self.minval if span else 0
        run_kernel(f"integers/{width}", stream, out, self.shape, region, minval=minval, span=span)


@dataclass(frozen=True)
class Bernoulli(Distribution):
    """1 with probability `p`, else 0, in any dtype: a random word of 32 bits lies below `p * 2**32`."""

    p: float
    kind: ClassVar[str] = "bernoulli"
    random: ClassVar[bool] = True

    @cached_property
    @undisturbed
    def threshold(self) -> int:
        """How many of the 2**32 words make a 1."""
        return round(self.p * 2.0**_WORD_BITS)

    @property
    def bounds(self) -> tuple[float, float]:
        return float(self.threshold == 2**_WORD_BITS), float(self.threshold > 0)

    @cached_property
    @undisturbed
    def moments(self) -> Moments:
        p = self.threshold / 2**_WORD_BITS
        variance = p * (1 - p)
        return Moments(p, math.sqrt(variance), 1 / variance - 3 if variance else None)

    def rounds_to(self, dtype: DType) -> bool:
        return True  # all have 0 and 1

    def fill(self, out: Array, stream: Stream, region: Region | None = None) -> None:
        threshold = np.uint64(self.threshold)
        for target, part in parts(out, self.shape, region, _CHUNK):
            words = np.empty(part.lengths, np.uint32)
            run_kernel("integers/32", stream, words, self.shape, part)
            target[...] = (words < threshold).astype(out.dtype)
