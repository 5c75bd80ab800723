"""Distributions as plain data: a kind, parameters as the dtype rounds them, and the moments that follow from them.

`initializer.distribution(shape, dtype)` returns the distribution that an initializer draws from; weights, reports and
audits read the same object.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from fanin._core import dtypes
from fanin._core.environment import quietly, undisturbed
from fanin._core.linalg import copy_in_blocks, orthonormal_columns
from fanin._core.memory import allocate, fill_constant
from fanin._core.shapes import Region, fans, parse_region
from fanin._core.streams import Stream, has_kernel, run_kernel
from fanin._core.types import Array, DType

__all__ = [
    "LARGEST_NORMAL",
    "TRUNCATED_STDDEV",
    "Affine",
    "Constant",
    "Distribution",
    "Identity",
    "Matrix",
    "Moments",
    "Normal",
    "Orthogonal",
    "TruncatedNormal",
    "Uniform",
    "UniformInteger",
]

# The standard deviation of a unit normal truncated at two standard deviations: sqrt(1 - 4 phi(2) / (2 Phi(2) - 1)).
TRUNCATED_STDDEV = 0.87962566103423978
# The largest unit normal: the Box-Muller radius for the smallest argument of the logarithm, 1e-7.
LARGEST_NORMAL = math.sqrt(-2 * math.log(1e-7))


class Moments(NamedTuple):
    """The moments of a tensor's elements.

    Attributes:
        mean: the expected value of an element.
        stddev: its standard deviation, after any truncation.
        kurtosis: its fourth central moment over its squared variance; None if the spread is not random.
    """

    mean: float
    stddev: float
    kurtosis: float | None = None


@dataclass(frozen=True)
class Distribution:
    """The distribution of a tensor's elements. The fields of subclasses are named like Keras's arguments.

    Attributes:
        shape: the tensor's shape.
        dtype: its dtype, as a NumPy dtype.
        own_fans: fan_in and fan_out, if they are not those of the last two axes; None if they are.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    own_fans: tuple[float, float] | None = field(default=None, kw_only=True)
    kind: ClassVar[str] = "unknown"
    random: ClassVar[bool] = False  # whether values depend on the seed
    # Whether `fill` leaves all arithmetic to the kernels, which shut out the caller's floating-point environment.
    in_kernels: ClassVar[bool] = False
    is_made_whole: ClassVar[bool] = False  # whether `fill` makes the whole tensor, whatever the region
    is_own_code: ClassVar[bool] = False  # whether a model's own code computes the values

    @undisturbed
    def __post_init__(self) -> None:
        if self.own_fans is not None and self.own_fans == fans(self.shape):  # so that equal distributions compare equal
            object.__setattr__(self, "own_fans", None)
        self._round_parameters()

    def _round_parameters(self) -> None:
        """Rounds the parameters to the dtype, in the default floating-point environment."""

    @property
    def fan_in(self) -> float:
        """The number of units that feed one output."""
        return self._fans[0]

    @property
    def fan_out(self) -> float:
        """The number of units that one input feeds."""
        return self._fans[1]

    @cached_property
    def _fans(self) -> tuple[float, float]:
        return fans(self.shape) if self.own_fans is None else self.own_fans

    def with_fans(self, fan_in: float, fan_out: float) -> Self:
        """The same distribution for a kernel whose fans are not those of its last two axes."""
        return replace(self, own_fans=(fan_in, fan_out))

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest value that can be drawn, up to one rounding in the dtype."""
        raise NotImplementedError

    @cached_property
    def moments(self) -> Moments:
        """The moments of the elements."""
        raise NotImplementedError

    def parameters(self) -> dict[str, Any]:
        """The distribution's own parameters, by name."""
        return {
            name: value
            for name, value in vars(self).items()
            if name in self.__dataclass_fields__ and name not in Distribution.__dataclass_fields__
        }

    def reserve(self) -> None:
        """Raises MemoryError if the temporary memory that `fill` needs cannot be allocated."""

    def rounds_to(self, dtype: DType) -> bool:
        """Whether `fill` can write values that are rounded once to this other dtype."""
        return False

    def fill(self, out: Array, stream: Stream, region: Region | None = None) -> None:
        """Fills an array with the tensor of a stream, or with a region of it. Nothing is checked.

        Args:
            out: a writable array of the tensor's or the region's shape, of this dtype or one that `rounds_to` accepts.
            stream: the stream of the values, if they are random.
            region: a region of the tensor; None for all of it.
        """
        raise NotImplementedError

    def _round(self, dtype: DType, *names: str) -> None:
        """Rounds these parameters to a dtype."""
        for name in names:
            object.__setattr__(self, name, float(dtypes.rounded(getattr(self, name), dtype)))


class Affine(Distribution):
    """Floats `x * scale + origin` for a unit variable x, with every operation rounded in the dtype."""

    random: ClassVar[bool] = True
    in_kernels: ClassVar[bool] = True
    _law: ClassVar[str]  # the distribution of x, as kernels name it

    def unit_cdf(self, x: float) -> float:
        """The probability that the unit variable lies below x."""
        raise NotImplementedError

    @undisturbed
    def cdf(self, value: float) -> float:
        """The probability that an element lies below a value, ignoring the dtype's rounding."""
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

    @cached_property
    def _own_kernel(self) -> str:
        return f"{self._law}/{dtypes.FLOATS[self.dtype]}"

    def _kernel(self, dtype: DType) -> str:
        """The name of the kernel that draws in this distribution's dtype and stores in the given one."""
        return self._own_kernel if dtype == self.dtype else f"{self._own_kernel}/{dtype.name}"

    def rounds_to(self, dtype: DType) -> bool:
        return has_kernel(self._kernel(dtype))

    def fill(self, out: Array, stream: Stream, region: Region | None = None) -> None:
        dtype = out.dtype
        kernel = self._own_kernel if dtype is self.dtype else self._kernel(dtype)
        run_kernel(kernel, stream, out, self.shape, region, scale=self.scale, origin=self.origin)

    @cached_property
    @undisturbed
    def grid(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Every possible value and its probability, for 16-bit dtypes, whose grid is coarse; None for other dtypes.

        This applies the kernels' arithmetic to all values that the unit variable has in the dtype.
        """
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
class Normal(Affine):
    """Floats `x * stddev + mean` for a unit normal x, with every operation rounded in the dtype."""

    mean: float
    stddev: float
    kind: ClassVar[str] = "normal"
    _law: ClassVar[str] = "normal"

    def _round_parameters(self) -> None:
        self._round(self.dtype, "mean", "stddev")

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


@dataclass(frozen=True)
class Constant(Distribution):
    """One value everywhere."""

    value: Any
    kind: ClassVar[str] = "constant"

    @property
    @undisturbed
    def bounds(self) -> tuple[float, float]:
        return float(self.value.real), float(self.value.real)

    @cached_property
    @undisturbed
    def moments(self) -> Moments:
        return Moments(float(self.value.real), 0.0)

    def fill(self, out: Array, stream: Stream, region: Region | None = None) -> None:
        fill_constant(out, self.value)


@dataclass(frozen=True)
class Matrix(Distribution):
    """A matrix, or a reshaped one: a tensor whose last axes are the columns and whose other axes are the rows.

    Attributes:
        gain: the factor of the matrix.
        column_axes: how many of the last axes are the columns.
    """

    gain: float
    column_axes: int = 1

    def parameters(self) -> dict[str, Any]:
        return {"gain": self.gain}

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """The numbers of rows and columns."""
        cut = len(self.shape) - self.column_axes
        return math.prod(self.shape[:cut]), math.prod(self.shape[cut:])

    def reshaped(self, shape: tuple[int, ...], column_axes: int) -> Self:
        """The same matrix as a tensor of another shape, whose last `column_axes` axes are the columns."""
        return replace(self, shape=shape, column_axes=column_axes)


@dataclass(frozen=True)
class Identity(Matrix):
    """`gain` on the diagonal of a matrix, `gain * 0` elsewhere."""

    kind: ClassVar[str] = "identity"

    def _round_parameters(self) -> None:
        self._round(self.dtype, "gain")

    @property
    @undisturbed
    def bounds(self) -> tuple[float, float]:
        return min(self.gain, 0.0), max(self.gain, 0.0)

    @cached_property
    @undisturbed
    def moments(self) -> Moments:
        share = min(self.matrix_shape) / max(1, self.size)
        return Moments(self.gain * share, abs(self.gain) * math.sqrt(share * (1 - share)))

    def fill(self, out: Array, stream: Stream, region: Region | None = None) -> None:
        fill_constant(out, self.gain * 0.0)
        if len(self.shape) != 2 or self.column_axes != 1:
            out[self._on_diagonal(region)] = self.gain
            return
        row, column = (0, 0) if region is None else region.starts
        matrix = out if region is None else out[region.restored_axes]
        first = max(row, column)  # the first diagonal element within the region
        diagonal = np.arange(first, max(first, min(row + matrix.shape[0], column + matrix.shape[1])))
        matrix[diagonal - row, diagonal - column] = self.gain

    def _on_diagonal(self, region: Region | None) -> Array:
        """A mask of the elements of a region that lie on the diagonal of the matrix."""
        wanted = parse_region(..., self.shape) if region is None else region
        cut = len(self.shape) - self.column_axes
        numbers = []  # the row and the column of every element
        for axes in (range(cut), range(cut, len(self.shape))):
            number = np.zeros((1,) * len(self.shape), np.int64)
            for axis in axes:
                along = np.arange(wanted.starts[axis], wanted.starts[axis] + wanted.lengths[axis])
                number = number * self.shape[axis] + along.reshape(-1, *(1,) * (len(self.shape) - axis - 1))
            numbers.append(number)
        diagonal = np.broadcast_to(numbers[0] == numbers[1], wanted.lengths)
        return diagonal if region is None else diagonal.reshape(wanted.shape)


@dataclass(frozen=True)
class Orthogonal(Matrix):
    """A matrix with orthonormal rows or columns, whichever are fewer, times `gain`, reshaped."""

    kind: ClassVar[str] = "orthogonal"
    random: ClassVar[bool] = True
    is_made_whole: ClassVar[bool] = True

    def _round_parameters(self) -> None:
        self._round(self._matrix_dtype, "gain")

    @property
    def _matrix_dtype(self) -> DType:
        """The dtype that the matrix is computed in: 16-bit tensors are computed in float32 and rounded once."""
        return dtypes.FLOAT64 if self.dtype.itemsize == 8 else dtypes.FLOAT32

    @property
    @undisturbed
    def bounds(self) -> tuple[float, float]:
        return -abs(self.gain), abs(self.gain)

    @cached_property
    @undisturbed
    def moments(self) -> Moments:
        return Moments(0.0, abs(self.gain) / math.sqrt(max(1, *self.matrix_shape)))

    def rounds_to(self, dtype: DType) -> bool:
        return self.dtype == self._matrix_dtype

    def fill(self, out: Array, stream: Stream, region: Region | None = None) -> None:
        if not out.size:
            return
        rows, columns = self.matrix_shape
        dtype = self._matrix_dtype
        matrix = np.empty(self._tall, dtype, order="F")  # LAPACK's order; kernels write any
        run_kernel(f"normal/{dtypes.FLOATS[dtype]}", stream, matrix, self._tall)
        with np.errstate(all="ignore"):  # large and small gains overflow and underflow
            q, signs = orthonormal_columns(matrix)
            q *= signs * dtype.type(self.gain)
            whole = q if rows >= columns else q.T
            if region is None and out.flags.c_contiguous:
                copy_in_blocks(whole, out.reshape(rows, columns))
            else:
                out[...] = whole.reshape(self.shape)[() if region is None else region.slices]

    @property
    def _tall(self) -> tuple[int, int]:
        rows, columns = self.matrix_shape
        return max(rows, columns), min(rows, columns)

    def reserve(self) -> None:
        allocate(self._tall, self._matrix_dtype)  # `fill` needs the whole matrix: is there room for it?
