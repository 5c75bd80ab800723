"""The kernels of a short-time Fourier transform, as convolutions have them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from fanin._core import angles
from fanin._core.environment import undisturbed
from fanin._core.types import Array
from fanin.distributions.formulas import Formula
from fanin.distributions.windows import window_values

_BLOCK = 2**15  # values of a window that are computed at a time


@dataclass(frozen=True)
class STFT(Formula):
    """Cosines, or sines with a minus, of each frequency along a window: (frame length, channels, frequencies).

    Attributes:
        side: "real" or "imag".
        window: the window's name, its values, or None for ones.
        scaling: "density" (the window's squares sum to 1), "spectrum" (its absolute values do), or None.
        periodic: whether a named window is periodic.
    """

    side: str
    window: str | tuple[float, ...] | None
    scaling: str | None
    periodic: bool
    kind: ClassVar[str] = "stft"

    @property
    def period(self) -> int:
        """The length of the transform: how many samples the frequency of number 1 takes for one turn."""
        return max(1, 2 * (self.shape[-1] - 1))

    @cached_property
    @undisturbed
    def divisor(self) -> float:
        """What the window is divided by."""
        if self.window is None or self.scaling is None:
            return 1.0
        if self.scaling == "density":
            return math.sqrt(math.fsum(math.fsum(each * each) for each in self._window_in_blocks()))
        return math.fsum(math.fsum(np.abs(each)) for each in self._window_in_blocks())

    @cached_property
    @undisturbed
    def peak(self) -> float:
        """The largest absolute value of the window, divided."""
        return max((float(np.abs(each).max()) for each in self._window_in_blocks()), default=0.0) / self.divisor

    def _window_in_blocks(self) -> Iterator[Array]:
        for start in range(0, self.shape[0], _BLOCK):
            yield self._window(np.arange(start, min(self.shape[0], start + _BLOCK)))

    def _window(self, times: Array) -> Array:
        return window_values(self.window, times, self.shape[0], self.periodic)

    def values(self, *indices: Array) -> Array:
        times, _, frequencies = indices
        turned = angles.of_turns(times * frequencies, self.period)
        wave = turned.sine(1) if self.side == "real" else -turned.sine()
        return wave * (self._window(times.ravel()) / self.divisor).reshape(times.shape) + 0.0  # of -0.0, zero

    def means(self) -> tuple[float, float]:
        sums, squares = [], []
        for number, window in enumerate(self._window_in_blocks()):
            times = number * _BLOCK + np.arange(len(window))
            window = window / self.divisor
            of_waves, of_squares = self._sums_over_frequencies(times)
            sums.append(math.fsum(window * of_waves))
            squares.append(math.fsum(window * window * of_squares))
        count = self.shape[0] * self.shape[-1]
        return math.fsum(sums) / count, math.fsum(squares) / count

    def _sums_over_frequencies(self, times: Array) -> tuple[Array, Array]:
        """The sums of the waves, and of their squares, over all frequencies, which are half a turn of the unit circle.

        Cosines cancel but for the ends of the half turn, sines add up to a cotangent, at odd times alone.
        """
        frequencies, is_odd = float(self.shape[-1]), times % 2 == 1
        cosines = np.where(times % self.period == 0, frequencies, np.where(is_odd, 0.0, 1.0))
        doubled = np.where(2 * times % self.period == 0, frequencies, 1.0)
        if self.side == "real":
            return cosines, (frequencies + doubled) / 2
        half = angles.of_turns(np.where(is_odd, times, 0), 2 * self.period)
        sines = np.where(is_odd & (self.period > 1), half.sine(1) / half.sine(), 0.0)
        return -sines, (frequencies - doubled) / 2

    @property
    def bounds(self) -> tuple[float, float]:
        return (-self.peak, self.peak) if self.size else (0.0, 0.0)
