"""Tables of positions: sinusoidal embeddings, and the angles of rotary ones with their sines and cosines."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from fanin._core import angles
from fanin._core.environment import undisturbed
from fanin._core.types import Array
from fanin.distributions.formulas import Formula

_BLOCK = 2**12  # frequencies that are summed at a time


@dataclass(frozen=True)
class Positions(Formula):
    """A table (…, positions, features) of angles, or of a function of them; the other axes repeat it.

    The angle of position p and frequency i is `p * base ** (-2 i / width)`.

    Attributes:
        base: what the wavelengths grow by from frequency 0 to frequency `width / 2`.
        start: the first position.
    """

    base: float
    start: int

    @property
    @abstractmethod
    def width(self) -> int:
        """Twice the number of the frequency that is (or would be) `1 / base`."""

    def angles(self, positions: Array, numbers: Array) -> angles.Angles:
        """The angles at indices of positions and numbers of frequencies, which broadcast."""
        high, low = self.frequencies(numbers)
        return angles.of_products((positions + self.start).astype(np.float64), high, low)

    def frequencies(self, numbers: Array) -> tuple[Array, Array]:
        """The frequencies of these numbers, and what rounding has left of them."""
        first, stop = int(numbers.min()), int(numbers.max()) + 1
        parts = angles.frequencies(self.base, self.width, first, stop)
        high, low = (each[numbers - first] for each in parts)
        return high, low

    def trigonometric_sums(self, frequencies: int) -> tuple[float, float, float]:
        """The sums over all positions and the first frequencies of sine, cosine, and the cosine of twice the angle.

        By the sum of a geometric series, for each frequency: sum of exp(i p w) from p = a to a + n - 1 is
        exp(i (2 a + n - 1) w / 2) sin(n w / 2) / sin(w / 2).
        """
        count = self.shape[-2]
        ends, length = float(2 * self.start + count - 1), float(count)
        sines, cosines, doubled = [], [], []
        for first in range(0, frequencies, _BLOCK):
            high, low = self.frequencies(np.arange(first, min(frequencies, first + _BLOCK)))
            for scale, sums in ((0.5, (sines, cosines)), (1.0, (None, doubled))):
                unit = scale * high, scale * low
                around, spread, one = (angles.of_products(each, *unit) for each in (ends, length, 1.0))
                factor = spread.sine() / one.sine()
                for turn, terms in enumerate(sums):
                    if terms is not None:
                        terms.append(math.fsum(around.sine(turn) * factor))
        return math.fsum(sines), math.fsum(cosines), math.fsum(doubled)

    @property
    def bounds(self) -> tuple[float, float]:
        return -1.0, 1.0


@dataclass(frozen=True)
class Sinusoidal(Positions):
    """Sines and cosines of the angles, side by side or in two halves.

    Attributes:
        interleaved: whether they are side by side.
        endpoint: whether the last frequency is `1 / base`; otherwise the next one would be.
    """

    interleaved: bool
    endpoint: bool
    kind: ClassVar[str] = "sinusoidal"

    @property
    def width(self) -> int:
        return 2 * max(1, self._sines - 1) if self.endpoint else self.shape[-1]

    @property
    def _sines(self) -> int:
        return (self.shape[-1] + 1) // 2

    def values(self, *indices: Array) -> Array:
        *_, positions, features = indices
        numbers, is_cosine = (
            (features // 2, features % 2)
            if self.interleaved
            else (features % self._sines, (features >= self._sines).astype(np.int64))
        )
        return self.angles(positions, numbers).sine(is_cosine)

    def means(self) -> tuple[float, float]:
        size = self.shape[-2] * self.shape[-1]
        sines, _, doubled = self.trigonometric_sums(self._sines)
        _, cosines, doubled_of_cosines = self.trigonometric_sums(self.shape[-1] - self._sines)
        return (sines + cosines) / size, (size - doubled + doubled_of_cosines) / (2 * size)


@dataclass(frozen=True)
class Rotary(Positions):
    """Angles, their cosines or sines, or the frequencies alone, each frequency in one feature or in two.

    Attributes:
        part: "cos", "sin", "angles", or "frequencies": a table without positions.
        repeated: "no", "halves" (all frequencies, and again), or "pairs" (each frequency twice).
    """

    part: str
    repeated: str
    kind: ClassVar[str] = "rotary"

    @property
    def width(self) -> int:
        return 2 * self.count

    @property
    def count(self) -> int:
        """The number of frequencies."""
        return self.shape[-1] if self.repeated == "no" else self.shape[-1] // 2

    def _numbers(self, features: Array) -> Array:
        if self.repeated == "pairs":
            return features // 2
        return features % self.count

    def values(self, *indices: Array) -> Array:
        numbers = self._numbers(indices[-1])
        if self.part == "frequencies":
            return self.frequencies(numbers)[0]
        positions = indices[-2]
        if self.part == "angles":
            high, low = self.frequencies(numbers)
            return angles.rounded_product((positions + self.start).astype(np.float64), high, low)
        return self.angles(positions, numbers).sine(1 if self.part == "cos" else 0)

    def means(self) -> tuple[float, float]:
        if self.part == "frequencies":
            return self.means_along(-1)
        positions = self.shape[-2]
        size = positions * self.count
        if self.part in ("cos", "sin"):
            sines, cosines, doubled = self.trigonometric_sums(self.count)
            mean, sign = (cosines, 1) if self.part == "cos" else (sines, -1)
            return mean / size, (size + sign * doubled) / (2 * size)
        high, _ = self.frequencies(np.arange(self.count))
        last = self.start + positions - 1
        squares = _squares_below(last + 1) - _squares_below(self.start)
        mean = math.fsum(high) / self.count * ((self.start + last) / 2)
        return mean, math.fsum(high * high) / self.count * (squares / positions)

    @cached_property
    @undisturbed
    def _extremes(self) -> tuple[float, float]:
        """The smallest and the largest frequency."""
        high, _ = self.frequencies(np.array([self.count - 1, 0]))
        return float(high[0]), float(high[1])

    @property
    @undisturbed
    def bounds(self) -> tuple[float, float]:
        if self.part in ("cos", "sin"):
            return super().bounds
        if not self.size:
            return 0.0, 0.0
        slowest, fastest = self._extremes
        if self.part == "frequencies":
            return slowest, fastest
        first, last = float(self.start), float(self.start + self.shape[-2] - 1)
        return min(first * fastest, first * slowest), max(last * fastest, last * slowest)


def _squares_below(stop: int) -> int:
    """The sum of the squares of the whole numbers from 0 to `stop - 1` (if negative, less those from it to -1)."""
    return (stop - 1) * stop * (2 * stop - 1) // 6
