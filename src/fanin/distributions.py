"""What to draw, as plain data: a kind, parameters as the dtype rounds them, and the moments that follow from them.

An initializer says what it would draw (`initializer.distribution(shape, dtype)`); the draw itself, reports and audits
read the same object.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from fanin import _dtypes, _random
from fanin._arrays import allocate, checked_out
from fanin._orthogonal import copy_in_blocks, orthonormal_columns
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
    random: ClassVar[bool] = False  # whether values depend on the seed

    @property
    def fan_in(self) -> int:
        """The number of units that feed one output."""
        return self._fans[0]

    @property
    def fan_out(self) -> int:
        """The number of units that one input feeds."""
        return self._fans[1]

    @cached_property
    def _fans(self) -> tuple[int, int]:
        return fans(self.shape)

    def with_fans(self, fan_in: int, fan_out: int) -> Distribution:
        """The same, of a kernel whose fans are not those of its last two axes."""
        other = copy.copy(self)
        vars(other)["_fans"] = fan_in, fan_out
        return other

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


class Affine(Distribution):
    """Floats `x * factor + offset` of a unit variable x, every operation rounded in the dtype."""

    random: ClassVar[bool] = True
    _law: ClassVar[str]  # of x, in the kernels' names

    def unit_cdf(self, x: float) -> float:
        """The probability that the unit variable lies below x."""
        raise NotImplementedError

    def cdf(self, value: float) -> float:
        """The probability of an element below a value, the dtype left out of account."""
        share = self.unit_cdf((value - self.offset) / self.factor)
        return share if self.factor > 0 else 1 - share

    @property
    def factor(self) -> float:
        """What the unit variable is multiplied by."""
        raise NotImplementedError

    @property
    def offset(self) -> float:
        """What is added then."""
        raise NotImplementedError

    def fill(self, result: np.ndarray, pair: Pair, region: Region | None, *, fresh: bool) -> None:
        kernel = f"{self._law}/{_dtypes.FLOATS[self.dtype]}"
        factor, offset = self.factor, self.offset
        _random.fill(kernel, pair, result, self.shape, region, fresh=fresh, scale=factor, shift=offset)

    @cached_property
    def grid(self) -> tuple[np.ndarray, np.ndarray] | None:
        """For 16-bit dtypes, whose grid is coarse, every value that can come and its probability; else None.

        It is the kernels' arithmetic, on all values that the unit variable has in the dtype.
        """
        if self.dtype.itemsize > 2:
            return None
        units, probabilities = self._unit_grid()
        with np.errstate(all="ignore"):
            values = units.astype(self.dtype) * self.dtype.type(self.factor) + self.dtype.type(self.offset)
        return values.astype(np.float64), probabilities

    def _unit_grid(self) -> tuple[np.ndarray, np.ndarray]:
        """All values of the unit variable in a 16-bit dtype, and the probability that each is the nearest."""
        every = np.arange(2**16, dtype=np.uint16).view(self.dtype)
        with np.errstate(invalid="ignore"):  # NaNs are among them
            units = np.unique(every[np.abs(every) < LARGEST_NORMAL].astype(np.float64))
        middles = (units[1:] + units[:-1]) / 2
        below = np.array([self.unit_cdf(middle) for middle in middles.tolist()])
        probabilities = np.diff(below, prepend=0.0, append=1.0)
        return units, (probabilities + probabilities[::-1]) / 2  # symmetric, but for erf's last bits

    @cached_property
    def _grid_moments(self) -> tuple[float, float, float] | None:
        """Mean, standard deviation and kurtosis on the dtype's grid."""
        if self.grid is None:
            return None
        values, probabilities = self.grid
        with np.errstate(all="ignore"):  # values that overflow have no moments
            # fsum is exact, so that symmetric values have a mean of 0; but it refuses infinities.
            mean = math.fsum(probabilities * values) if np.isfinite(values).all() else float(probabilities @ values)
            variance, fourth = (probabilities @ (values - mean) ** power for power in (2, 4))
            return mean, float(np.sqrt(variance)), float(fourth / variance**2)

    @property
    def mean(self) -> float:
        return self._grid_moments[0] if self._grid_moments else self._smooth_moments[0]

    @property
    def stddev(self) -> float:
        return self._grid_moments[1] if self._grid_moments else self._smooth_moments[1]

    @property
    def kurtosis(self) -> float:
        return self._grid_moments[2] if self._grid_moments else self._smooth_moments[2]

    @property
    def _smooth_moments(self) -> tuple[float, float, float]:
        """The same where the dtype is fine enough to be left out of account."""
        raise NotImplementedError


@dataclass(frozen=True)
class Uniform(Affine):
    """Floats in [low, high): `u * (high - low) + low`, every operation rounded in the dtype."""

    low: float
    high: float
    kind: ClassVar[str] = "uniform"
    _law: ClassVar[str] = "uniform"

    def __post_init__(self) -> None:
        self._round("low", "high")

    def unit_cdf(self, x: float) -> float:
        return min(max(x, 0.0), 1.0)

    @property
    def factor(self) -> float:
        return self._width

    @cached_property
    def _width(self) -> float:
        low, high = (self.dtype.type(value) for value in (self.low, self.high))
        return float(_dtypes.quietly(np.subtract, high, low))

    @property
    def offset(self) -> float:
        return self.low

    def _unit_grid(self) -> tuple[np.ndarray, np.ndarray]:
        count = 2 ** _dtypes.UNIT_BITS[self.dtype]
        return np.arange(count) / count, np.full(count, 1 / count)

    @property
    def bounds(self) -> tuple[float, float]:
        return min(self.low, self.high), max(self.low, self.high)

    @property
    def _smooth_moments(self) -> tuple[float, float, float]:
        width = self.high - self.low
        return self.low + width / 2, abs(width) / math.sqrt(12), 1.8


@dataclass(frozen=True)
class UniformInteger(Distribution):
    """Integers in [low, high): random bits modulo `high - low`, with the small bias that this has."""

    low: int
    high: int
    kind: ClassVar[str] = "uniform_integer"
    random: ClassVar[bool] = True

    @property
    def bounds(self) -> tuple[float, float]:
        return self.low, self.high - 1

    def below(self, count: int) -> float:
        """The probability of the first `count` integers: the smallest ones come a little more often."""
        words = 2 ** (8 * self.dtype.itemsize)
        often, rest = divmod(words, self.high - self.low)
        return (count * often + min(count, rest)) / words

    def _sums(self) -> tuple[int, int]:
        """Sums of i and i**2 over all random words, for the integers low + i that they become.

        The words make full rounds through the integers, and a last one through the first `rest`.
        """
        span = self.high - self.low
        rounds, rest = divmod(2 ** (8 * self.dtype.itemsize), span)
        parts = ((rounds, span), (1, rest))
        first = sum(times * count * (count - 1) // 2 for times, count in parts)
        second = sum(times * count * (count - 1) * (2 * count - 1) // 6 for times, count in parts)
        return first, second

    @property
    def mean(self) -> float:
        words = 2 ** (8 * self.dtype.itemsize)
        return (self.low * words + self._sums()[0]) / words

    @property
    def stddev(self) -> float:
        words = 2 ** (8 * self.dtype.itemsize)
        first, second = self._sums()
        return math.sqrt((second * words - first * first) / words**2)

    @property
    def kurtosis(self) -> float | None:
        count = self.high - self.low
        return 1.8 - 2.4 / (count**2 - 1) if count > 1 else None  # but for the bias

    def fill(self, result: np.ndarray, pair: Pair, region: Region | None, *, fresh: bool) -> None:
        width = 8 * self.dtype.itemsize
        span = (self.high - self.low) % 2**width  # 0, for the full range, leaves the bits as they are
        minval = self.low if span else 0
        kernel = f"integers/{width}"
        _random.fill(kernel, pair, result, self.shape, region, fresh=fresh, minval=minval, span=span)


@dataclass(frozen=True)
class Normal(Affine):
    """Floats `x * scale + loc` of the unit normal x, every operation rounded in the dtype."""

    loc: float
    scale: float
    kind: ClassVar[str] = "normal"
    _law: ClassVar[str] = "normal"

    def __post_init__(self) -> None:
        self._round("loc", "scale")

    def unit_cdf(self, x: float) -> float:
        return (1 + math.erf(x / math.sqrt(2))) / 2

    @property
    def factor(self) -> float:
        return self.scale

    @property
    def offset(self) -> float:
        return self.loc

    @property
    def bounds(self) -> tuple[float, float]:
        reach = LARGEST_NORMAL * abs(self.scale)
        return self.loc - reach, self.loc + reach

    @property
    def _smooth_moments(self) -> tuple[float, float, float]:
        return self.loc, abs(self.scale), 3.0


class TruncatedNormal(Normal):
    """Floats `x * scale + loc` of the unit normal x, drawn anew while |x| >= 2. `scale` is the spread before that."""

    kind: ClassVar[str] = "truncated_normal"
    _law: ClassVar[str] = "truncated"

    def unit_cdf(self, x: float) -> float:
        return (1 + math.erf(min(max(x, -2.0), 2.0) / math.sqrt(2)) / math.erf(math.sqrt(2))) / 2

    @property
    def bounds(self) -> tuple[float, float]:
        return self.loc - 2 * abs(self.scale), self.loc + 2 * abs(self.scale)

    @property
    def _smooth_moments(self) -> tuple[float, float, float]:
        # E[x**4] = 3 - 2 (a**3 + 3 a) phi(a) / (2 Phi(a) - 1) with a = 2
        density = math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2))
        return self.loc, TRUNCATED_STDDEV * abs(self.scale), (3 - 28 * density) / TRUNCATED_STDDEV**4


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
    random: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "gain", float(_dtypes.rounded(self.gain, self._matrix_dtype)))

    @property
    def _matrix_dtype(self) -> np.dtype:
        """16-bit tensors are made in float32 and rounded once."""
        return _dtypes.FLOAT64 if self.dtype.itemsize == 8 else _dtypes.FLOAT32

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
        dtype = self._matrix_dtype
        matrix = np.empty(self._tall, dtype, order="F")  # LAPACK's order; the kernel writes in any
        _random.fill(f"normal/{_dtypes.FLOATS[dtype]}", pair, matrix, self._tall)
        with np.errstate(all="ignore"):  # large and small gains overflow and underflow
            q, signs = orthonormal_columns(matrix)
            q *= signs * dtype.type(self.gain)
            whole = q if rows >= columns else q.T
            if region is None and result.flags.c_contiguous:
                copy_in_blocks(whole, result.reshape(rows, columns))
            else:
                result[...] = whole.reshape(self.shape)[() if region is None else region.slices]

    @property
    def _tall(self) -> tuple[int, int]:
        rows, columns = self._matrix_shape
        return max(rows, columns), min(rows, columns)

    def room(self, region: Region | None = None, out: np.ndarray | None = None) -> np.ndarray:
        allocate(self._tall, self._matrix_dtype)  # the whole matrix is needed on the way: is there room for it?
        return super().room(region, out)
