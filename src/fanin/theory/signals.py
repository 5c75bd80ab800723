"""What flows through a layer, measured in bounded memory: moments, zeros, dead units, saturation and effective rank."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fanin._core.types import Array, Shape

_BLOCK = 2**18  # elements that are read at once
_MOST_ROWS = _MOST_FEATURES = 128  # of the matrix whose effective rank is computed
_NEAR = 0.005  # of an activation's range: outputs that are nearer to one of its ends are saturated


@dataclass(frozen=True)
class Values:
    """A tensor of any framework, which is read block by block.

    Attributes:
        shape: its shape, of at least one axis.
        axis: the axis of units: the channels of a convolution, the features of a dense layer.
        read: a function that returns the elements at an index as an array of real numbers. The index has a slice for
            each axis, or arrays of the same length for all axes but that of units; the axis of units then comes last.
    """

    shape: Shape
    axis: int
    read: Callable[[tuple[Any, ...]], Array]

    @classmethod
    def of(cls, array: Any, axis: int = -1) -> Values:
        """Those of a NumPy array, or of what NumPy reads without a copy. Complex elements count as two numbers each."""
        array = np.atleast_1d(np.asarray(array))
        axis %= array.ndim
        if np.iscomplexobj(array):
            array = np.stack([array.real, array.imag], axis=-1)
        return cls(tuple(array.shape), axis, array.__getitem__)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def units(self) -> int:
        """The number of units."""
        return self.shape[self.axis]

    @property
    def rows(self) -> int:
        """The number of elements of each unit: samples, times the positions of each."""
        return self.size // max(1, self.units)

    def blocks(self) -> Iterator[Array]:
        """All elements, in blocks of a bounded size that hold whole axes of units where these are not too long."""
        for index in _indices(self.shape, self.axis, 0):
            yield np.asarray(self.read(index)).astype(np.float64)

    def sample(self) -> Array:
        """Evenly spread elements as a matrix: at most 128 rows, one for each sample and position, by 128 units."""
        others = tuple(length for axis, length in enumerate(self.shape) if axis != self.axis)
        places = iter(np.unravel_index(_spread(self.rows, _MOST_ROWS), others) if others else ())
        index = tuple(slice(None) if axis == self.axis else next(places) for axis in range(len(self.shape)))
        rows = np.asarray(self.read(index)).astype(np.float64).reshape(-1, self.units)
        return rows[:, _spread(self.units, _MOST_FEATURES)]


def _spread(count: int, most: int) -> Array:
    taken = min(count, most)
    return np.arange(taken) * count // max(1, taken)


def _indices(shape: Shape, axis: int, first: int) -> Iterator[tuple[slice, ...]]:
    """Indices of blocks that cover a shape, cut along the axes from `first` on, and along that of units at last."""
    whole = tuple(slice(0, length) for length in shape)
    size = math.prod(shape)
    if size <= _BLOCK:
        yield whole
        return
    order = [*(each for each in range(first, len(shape)) if each != axis), axis]
    cut = next(each for each in order if shape[each] > 1)
    step = max(1, _BLOCK // (size // shape[cut]))
    for begin in range(0, shape[cut], step):
        length = min(step, shape[cut] - begin)
        part = (*shape[:cut], length, *shape[cut + 1 :])
        for index in _indices(part, axis, first):
            yield (*index[:cut], slice(begin, begin + length), *index[cut + 1 :])


@dataclass(frozen=True)
class Signal:
    """What one pass over a tensor finds. Moments are of the finite elements, in float64.

    Attributes:
        shape: the tensor's shape.
        mean, std: its mean and its standard deviation; NaN without finite elements.
        nonfinite: how many elements are NaN or infinite.
        zeros: the share of elements that are zero.
        units: the number of units: channels of a convolution, features of a dense layer.
        dead: how many units are zero at every sample and position.
        saturated: the share of elements near the ends of the activation's range; None if it has no such ends.
        rank: the effective rank of the outputs; None if it was not computed, or not all of them are finite.
        rank_limit: the rank that the matrix it was computed of can have.
        rows: how many elements each unit has.
    """

    shape: Shape
    mean: float
    std: float
    nonfinite: int
    zeros: float
    units: int
    dead: int
    saturated: float | None
    rank: float | None
    rank_limit: int
    rows: int

    @property
    def second_moment(self) -> float:
        """The mean of the squares."""
        return self.mean**2 + self.std**2


@dataclass
class _Moments:
    """Moments of blocks, merged as Chan, Golub and LeVeque do (1983), without loss where the mean is large."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0  # the sum of squares about the mean

    def add(self, block: Array) -> None:
        """Adds the elements of a block."""
        if not block.size:
            return
        mean, count = float(block.mean()), self.count + block.size
        distance = mean - self.mean
        self.squares += float(np.square(block - mean).sum()) + distance**2 * self.count * block.size / count
        self.mean += distance * block.size / count
        self.count = count

    @property
    def std(self) -> float:
        """The standard deviation; NaN without elements."""
        return math.sqrt(self.squares / self.count) if self.count else math.nan


@dataclass
class _Meter:
    """All that is known of the blocks so far."""

    values: Values
    ends: tuple[float, float] | None
    moments: _Moments = field(default_factory=_Moments)
    nonfinite: int = 0
    zeros: int = 0
    saturated: int = 0

    def add(self, block: Array) -> None:
        """Adds the elements of a block."""
        finite = np.isfinite(block)
        whole = bool(finite.all())
        self.nonfinite += 0 if whole else int(block.size - finite.sum())
        self.moments.add(block if whole else block[finite])
        self.zeros += int(block.size - np.count_nonzero(block))
        if self.ends is not None:
            low, high = self.ends
            near = _NEAR * (high - low)
            self.saturated += int(np.count_nonzero((block < low + near) | (block > high - near)))


@np.errstate(over="ignore", invalid="ignore")
def measure(values: Values, ends: tuple[float, float] | None = None, *, rank: bool = True) -> Signal:
    """Measures a tensor in one pass, and in memory that does not grow with it.

    Args:
        values: the tensor.
        ends: the ends of the activation's range, such as (-1, 1) of tanh. Elements that are nearer to one of them than
            0.5 % of the range, |y| > 0.99 for tanh, are saturated.
        rank: whether to compute the effective rank, of at most 128 rows and units.

    >>> import numpy as np
    >>> from fanin.theory.signals import Values, measure
    >>> signal = measure(Values.of(np.array([[1.0, 0.0], [3.0, 0.0]])))
    >>> signal.mean, signal.zeros, signal.dead, signal.units, signal.rank
    (1.0, 0.5, 1, 2, 1.0)
    """
    meter, alive = _Meter(values, ends), np.zeros(values.units, bool)
    for index in _indices(values.shape, values.axis, 0) if values.size else ():
        block = np.asarray(values.read(index)).astype(np.float64)
        meter.add(block)
        others = tuple(axis for axis in range(block.ndim) if axis != values.axis)
        alive[index[values.axis]] |= (block != 0).any(axis=others)
    size = max(1, values.size)
    matrix = values.sample() if rank and values.size and not meter.nonfinite else None
    return Signal(
        values.shape,
        meter.moments.mean if meter.moments.count else math.nan,
        meter.moments.std,
        meter.nonfinite,
        meter.zeros / size,
        values.units,
        int(values.units - alive.sum()) if values.size else 0,
        None if ends is None else meter.saturated / size,
        None if matrix is None else effective_rank(matrix),
        0 if matrix is None else min(matrix.shape),
        values.rows,
    )


def effective_rank(matrix: Array) -> float:
    """The effective rank of a matrix: the exponential of the entropy of its singular values, scaled to a sum of 1.

    It is the rank if all singular values are equal, 1 if one dominates, and 0 for a matrix of zeros.

    References: Roy and Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO 2007.

    >>> import numpy as np
    >>> from fanin.theory.signals import effective_rank
    >>> round(effective_rank(np.diag([2.0, 2.0, 2.0, 0.0])), 9)
    3.0
    """
    largest = float(np.abs(matrix).max(initial=0.0))
    if not largest or not math.isfinite(largest):
        return 0.0 if not largest else math.nan
    values = np.linalg.svd(matrix / largest, compute_uv=False)
    shares = values / values.sum()
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def second_moment(values: Values) -> float:
    """The mean of the squares of a tensor's elements.

    >>> import numpy as np
    >>> from fanin.theory.signals import Values, second_moment
    >>> second_moment(Values.of(np.array([3.0, 4.0])))
    12.5
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return sum(float(np.square(block).sum()) for block in values.blocks()) / max(1, values.size)


def taps(positions: int, length: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """How many of a window's taps lie within an axis, over all of the window's positions: the others are padding.

    Args:
        positions: the number of positions of the window.
        length: the length of the axis that it passes over.
        kernel, stride, padding, dilation: those of the convolution along the axis; `padding` is that before it.

    >>> from fanin.theory.signals import taps
    >>> taps(positions=4, length=4, kernel=3, padding=1)  # of 12, of which 2 are padding
    10
    """
    places = np.arange(positions)[:, None] * stride - padding + np.arange(kernel) * dilation
    return int(((places >= 0) & (places < length)).sum())


def expected_std(fan_in: float, weight: float, inputs: float, bias: float = 0.0) -> float:
    """The standard deviation of a layer's outputs, if its weights are independent of its inputs and have a mean of 0.

    It is the root of `fan_in · E[w²] · E[x²] + E[b²]`: what a sum of `fan_in` such products has, in expectation.

    Args:
        fan_in: the number of inputs that an output is a sum of, padding left out.
        weight, inputs, bias: the second moments of weights, inputs and biases, as measured.

    References: Glorot and Bengio, AISTATS 2010, and He, Zhang, Ren and Sun, ICCV 2015, who choose E[w²] by it.

    >>> from fanin.theory.signals import expected_std
    >>> expected_std(fan_in=256, weight=2 / 256, inputs=0.5)
    1.0
    """
    return math.sqrt(max(0.0, fan_in * weight * inputs + bias))
