"""What to draw, as plain data: a kind, parameters as the dtype rounds them, and the moments that follow from them.

An initializer says what it would draw (`initializer.distribution(shape, dtype)`); the draw itself, reports and audits
read the same object.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from fanin import _dtypes, _random
from fanin._arrays import allocate, checked_out
from fanin._orthogonal import orthonormal_columns
from fanin._random import Pair
from fanin._shapes import Region, fans

# The standard deviation of a unit normal cut off at two of its own: sqrt(1 - 4 phi(2) / (2 Phi(2) - 1)).
TRUNCATED_STDDEV = 0.87962566103423978
# No unit normal is larger: Box and Muller's radius for the smallest argument of the logarithm, 1e-7.
LARGEST_NORMAL = math.sqrt(-2 * math.log(1e-7))


@dataclass(frozen=True)
class Distribution:
    """The distribution of a tensor's elements. Subclasses say which.

    Attributes:
        shape: the tensor's shape.
        dtype: its dtype, as a NumPy dtype.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    kind: ClassVar[str] = "unknown"

    @property
    def fan_in(self) -> int:
        """The number of units that feed one output."""
        return fans(self.shape)[0]

    @property
    def fan_out(self) -> int:
        """The number of units that one input feeds."""
        return fans(self.shape)[1]

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and largest value that can be drawn, up to one rounding of the dtype."""
        raise NotImplementedError

    @property
    def mean(self) -> float:
        """The expected value of an element."""
        raise NotImplementedError

    @property
    def stddev(self) -> float:
        """The standard deviation of an element."""
        raise NotImplementedError

    @property
    def kurtosis(self) -> float | None:
        """Fourth central moment over squared variance; None where the standard deviation does not vary at random."""
        return None

    def parameters(self) -> dict[str, Any]:
        """The distribution's own parameters, by name."""
        return {
            name: value
            for name, value in vars(self).items()
            if name in self.__dataclass_fields__ and name not in ("shape", "dtype")
        }

    def draw(self, pair: Pair, region: Region | None = None, out: np.ndarray | None = None) -> np.ndarray:
        """The tensor that a seed pair chooses, or a region of it, in fresh memory or in `out`."""
        result = self.room(region, out)
        self.fill(result, pair, region, fresh=out is None)
        return result

    def room(self, region: Region | None = None, out: np.ndarray | None = None) -> np.ndarray:
        """Memory for the tensor or a region of it: `out`, checked, or fresh."""
        shape = self.shape if region is None else region.shape
        return allocate(shape, self.dtype) if out is None else checked_out(out, shape, self.dtype)

    def fill(self, result: np.ndarray, pair: Pair, region: Region | None, *, fresh: bool) -> None:
        """Fills what `room` returned; `fresh` says that it is new."""
        raise NotImplementedError

    def _round(self, *names: str) -> None:
        """Replaces parameters by what the dtype makes of them."""
        for name in names:
            object.__setattr__(self, name, float(_dtypes.rounded(getattr(self, name), self.dtype)))


@dataclass(frozen=True)
class Uniform(Distribution):
    """Floats in [low, high): `u * (high - low) + low`, every operation rounded in the dtype."""

    low: float
    high: float
    kind: ClassVar[str] = "uniform"

    def __post_init__(self) -> None:
        self._round("low", "high")

    @cached_property
    def _scale(self) -> float:
        low, high = (self.dtype.type(value) for value in (self.low, self.high))
        return float(_dtypes.quietly(np.subtract, high, low))

    @cached_property
    def _moments(self) -> tuple[float, float]:
        """Mean and standard deviation, the grid of the unit floats counted in: a bfloat16 has 128 of them."""
        bits = _dtypes.UNIT_BITS[self.dtype]
        if bits > 10:
            width = self.high - self.low
            return self.low + width * (1 - 2.0**-bits) / 2, abs(width) * math.sqrt((1 - 4.0**-bits) / 12)
        grid = (np.arange(2**bits) / 2**bits).astype(self.dtype)
        values = _dtypes.quietly(lambda: grid * self.dtype.type(self._scale) + self.dtype.type(self.low))
        return float(np.mean(values, dtype=np.float64)), float(np.std(values.astype(np.float64)))

    @property
    def bounds(self) -> tuple[float, float]:
        return min(self.low, self.high), max(self.low, self.high)

    @property
    def mean(self) -> float:
        return self._moments[0]

    @property
    def stddev(self) -> float:
        return self._moments[1]

    @property
    def kurtosis(self) -> float:
        return 1.8

    def fill(self, result: np.ndarray, pair: Pair, region: Region | None, *, fresh: bool) -> None:
        kernel = f"uniform/{_dtypes.FLOATS[self.dtype]}"
        _random.fill(kernel, pair, result, self.shape, region, fresh=fresh, scale=self._scale, shift=self.low)


@dataclass(frozen=True)
class UniformInteger(Distribution):
    """Integers in [low, high), with the small bias of taking random bits modulo `high - low`."""

    low: int
    high: int
    kind: ClassVar[str] = "uniform_integer"

    @property
    def bounds(self) -> tuple[float, float]:
        return self.low, self.high - 1

    @property
    def mean(self) -> float:
        return (self.low + self.high - 1) / 2

    @property
    def stddev(self) -> float:
        return math.sqrt(((self.high - self.low) ** 2 - 1) / 12)

    @property
    def kurtosis(self) -> float | None:
        count = self.high - self.low
        return 1.8 - 2.4 / (count**2 - 1) if count > 1 else None

    def fill(self, result: np.ndarray, pair: Pair, region: Region | None, *, fresh: bool) -> None:
        width = 8 * self.dtype.itemsize
        span = (self.high - self.low) % 2**width  # 0, for the full range, leaves the bits as they are
        minval = self.low if span else 0
        kernel = f"integers/{width}"
        _random.fill(kernel, pair, result, self.shape, region, fresh=fresh, minval=minval, span=span)


@dataclass(frozen=True)
class Normal(Distribution):
    """Floats `x * scale + loc` of the unit normal x, every operation rounded in the dtype."""

    loc: float
    scale: float
    kind: ClassVar[str] = "normal"

    def __post_init__(self) -> None:
        self._round("loc", "scale")

    @property
    def bounds(self) -> tuple[float, float]:
        reach = LARGEST_NORMAL * abs(self.scale)
        return self.loc - reach, self.loc + reach

    @property
    def mean(self) -> float:
        return self.loc

    @property
    def stddev(self) -> float:
        return abs(self.scale)

    @property
    def kurtosis(self) -> float:
        return 3.0

    def fill(self, result: np.ndarray, pair: Pair, region: Region | None, *, fresh: bool) -> None:
        kernel = f"normal/{_dtypes.FLOATS[self.dtype]}"
        _random.fill(kernel, pair, result, self.shape, region, fresh=fresh, scale=self.scale, shift=self.loc)


@dataclass(frozen=True)
class TruncatedNormal(Distribution):
    """Floats `x * scale + loc` of the unit normal x, drawn anew while |x| >= 2. `scale` is the spread before that."""

    loc: float
    scale: float
    kind: ClassVar[str] = "truncated_normal"

    def __post_init__(self) -> None:
        self._round("loc", "scale")

    @property
    def bounds(self) -> tuple[float, float]:
        return self.loc - 2 * abs(self.scale), self.loc + 2 * abs(self.scale)

    @property
    def mean(self) -> float:
        return self.loc

    @property
    def stddev(self) -> float:
        return TRUNCATED_STDDEV * abs(self.scale)

    @property
    def kurtosis(self) -> float:
        # E[x**4] = 3 - 2 (a**3 + 3 a) phi(a) / (2 Phi(a) - 1) with a = 2
        density = math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2))
        return (3 - 28 * density) / TRUNCATED_STDDEV**4

    def fill(self, result: np.ndarray, pair: Pair, region: Region | None, *, fresh: bool) -> None:
        kernel = f"truncated/{_dtypes.FLOATS[self.dtype]}"
        _random.fill(kernel, pair, result, self.shape, region, fresh=fresh, scale=self.scale, shift=self.loc)


@dataclass(frozen=True)
class Constant(Distribution):
    """One value everywhere."""

    value: Any
    kind: ClassVar[str] = "constant"

    @property
    def bounds(self) -> tuple[float, float]:
        return self.mean, self.mean

    @property
    def mean(self) -> float:
        return float(self.value.real)

    @property
    def stddev(self) -> float:
        return 0.0

    def fill(self, result: np.ndarray, pair: Pair, region: Region | None, *, fresh: bool) -> None:
        result[...] = self.value


@dataclass(frozen=True)
class Identity(Distribution):
    """`gain` on the diagonal of a matrix, `gain * 0` elsewhere."""

    gain: float
    kind: ClassVar[str] = "identity"

    def __post_init__(self) -> None:
        self._round("gain")

    @property
    def bounds(self) -> tuple[float, float]:
        return min(self.gain, 0.0), max(self.gain, 0.0)

    @property
    def mean(self) -> float:
        return self.gain * min(self.shape) / max(1, self.size)

    @property
    def stddev(self) -> float:
        share = min(self.shape) / max(1, self.size)
        return abs(self.gain) * math.sqrt(share * (1 - share))

    def fill(self, result: np.ndarray, pair: Pair, region: Region | None, *, fresh: bool) -> None:
        result[...] = self.gain * 0.0
        row, column = (0, 0) if region is None else region.starts
        matrix = result if region is None else result[region.restored_axes]
        first = max(row, column)  # the first diagonal element within the region
        diagonal = np.arange(first, max(first, min(row + matrix.shape[0], column + matrix.shape[1])))
        matrix[diagonal - row, diagonal - column] = self.gain


@dataclass(frozen=True)
class Orthogonal(Distribution):
    """A matrix with orthonormal rows or columns, whichever are fewer, times `gain`, reshaped.

    The matrix has the last axis as its columns, all others as its rows.
    """

    gain: float
    kind: ClassVar[str] = "orthogonal"

    @property
    def _matrix_shape(self) -> tuple[int, int]:
        return math.prod(self.shape[:-1]), self.shape[-1]

    @property
    def bounds(self) -> tuple[float, float]:
        return -abs(self.gain), abs(self.gain)

    @property
    def mean(self) -> float:
        return 0.0

    @property
    def stddev(self) -> float:
        return abs(self.gain) / math.sqrt(max(1, *self._matrix_shape))

    def fill(self, result: np.ndarray, pair: Pair, region: Region | None, *, fresh: bool) -> None:
        if not result.size:
            return
        rows, columns = self._matrix_shape
        # 16-bit tensors are made in float32 and rounded once.
        dtype = np.dtype(np.float64 if self.dtype.itemsize == 8 else np.float32)
        tall = (max(rows, columns), min(rows, columns))
        matrix = np.empty(tall, dtype, order="F")  # LAPACK's order; the kernel writes in any
        _random.fill(f"normal/{_dtypes.FLOATS[dtype]}", pair, matrix, tall)
        q, signs = orthonormal_columns(matrix)
        with np.errstate(over="ignore"):  # a large gain may make an infinity of a 16-bit value
            q *= signs * dtype.type(self.gain)
            whole = (q if rows >= columns else q.T).reshape(self.shape)
            result[...] = whole if region is None else whole[region.slices]
