"""The laws of `torch.nn.init` as distributions: what each function's arguments mean, and which it refuses.

Errors are those of PyTorch: RuntimeError for parameters that no generator takes, ValueError for shapes and names.

Sources:
    The functions' documentation: https://docs.pytorch.org/docs/stable/nn.init.html. That PyTorch draws the real and the
    imaginary part of a complex number apart, normal ones with half of the variance each:
    https://docs.pytorch.org/docs/stable/generated/torch.randn.html.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import torch

from fanin import distributions
from fanin._core import dtypes
from fanin._core.layouts import keras_axes
from fanin._core.messages import shown
from fanin._core.types import DType, Shape
from fanin.distributions import Distribution
from fanin.initializers import Orthogonal, Sparse, TruncatedNormal, VarianceScaling
from fanin.initializers.base import scalar
from fanin.theory import gains

_Size: TypeAlias = tuple[int, ...]  # in PyTorch's order
_PARTS = {torch.complex32: torch.float16, torch.complex64: torch.float32, torch.complex128: torch.float64}
# Most of the time for a small tensor goes into its distribution, so recent ones are kept. (They are plain data.)
_kept = lru_cache(maxsize=1024, typed=True)  # typed, since True is no slope and 1 is


class UnsupportedError(ValueError, NotImplementedError):
    """What PyTorch may be able to do and fanin is not: a ValueError as in fanin, a RuntimeError as in PyTorch."""


class Law(NamedTuple):
    """The distribution of a tensor, or of the parts of its complex numbers, which are then its last axis.

    Attributes:
        distribution: the distribution, in Keras's axis order.
        axes: the axes of the tensor in that order.
    """

    distribution: Distribution
    axes: Shape


def real(name: str, value: Any) -> float:
    """A parameter as a float, from a number or a tensor of one.

    Raises:
        TypeError: it is neither.
    """
    if type(value) is float:
        return value + 0.0  # without a negative zero, which equals another key of a cache
    plain = value.item() if isinstance(value, torch.Tensor) and value.numel() == 1 else scalar(value)
    if not isinstance(plain, (bool, int, float)):
        raise TypeError(f"`{name}` must be a real number. Received: {name}={shown(value)}.")
    return plain + 0.0


def fans(size: _Size) -> tuple[int, int]:
    """fan_in and fan_out of a tensor in PyTorch's order.

    Raises:
        ValueError: it has fewer than two axes.
    """
    if len(size) < 2:
        raise ValueError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions. "
            f"Received: a tensor of shape {tuple(size)}."
        )
    field = math.prod(size[2:])
    return size[1] * field, size[0] * field


def average_fan(size: _Size) -> float:
    """The mean of fan_in and fan_out.

    Raises:
        ValueError: the tensor has fewer than two axes.
        ZeroDivisionError: both fans are 0.
    """
    units = sum(fans(size)) / 2
    if not units:
        raise ZeroDivisionError(f"A tensor without inputs and outputs has no variance. Received: shape {tuple(size)}.")
    return units


class _Axes(NamedTuple):
    """What values are drawn for: a shape in Keras's order, and the floating dtype of elements or of their parts."""

    shape: Shape
    dtype: DType
    axes: Shape
    is_complex: bool

    @property
    def drawn(self) -> DType:
        """The dtype that values are drawn in before they are rounded once, as PyTorch does with floats of 16 bits."""
        return self.dtype if self.dtype.itemsize > 2 else dtypes.FLOAT32

    def law(self, distribution: Distribution) -> Law:
        """The law of a distribution of this shape."""
        return Law(distribution, self.axes)


def _axes(size: _Size, dtype: torch.dtype) -> _Axes:
    """Raises UnsupportedError for dtypes that have no random floats."""
    axes = keras_axes("torch", len(size))
    is_complex = dtype.is_complex
    resolved = dtypes.resolve(_PARTS[dtype] if is_complex else dtype)
    if resolved not in dtypes.FLOATS:
        raise UnsupportedError(
            f"The tensor must be of floats: {', '.join(dtypes.FLOATS.values())} or complex. Received: a tensor of "
            f"dtype {dtype}."
        )
    shape = tuple(size[axis] for axis in axes)
    if is_complex:
        shape, axes = (*shape, 2), (*axes, len(axes))
    return _Axes(shape, resolved, axes, is_complex)


def _plain_axes(size: _Size, dtype: torch.dtype) -> _Axes:
    """Raises UnsupportedError for complex dtypes, too."""
    if dtype.is_complex:
        raise UnsupportedError(f"The tensor must be of real numbers. Received: a tensor of dtype {dtype}.")
    return _axes(size, dtype)


@_kept
def uniform(size: _Size, dtype: torch.dtype, a: float, b: float) -> Law:
    """Uniform in [a, b), of complex numbers in both parts."""
    where = _axes(size, dtype)
    _check_uniform(a, b, dtype)
    return where.law(distributions.Uniform(where.shape, where.drawn, a, b))


def _check_uniform(a: float, b: float, dtype: torch.dtype) -> None:
    largest = torch.finfo(dtype).max
    if not (-largest <= a <= b <= largest and b - a <= largest):
        raise RuntimeError(
            f"The bounds of a uniform distribution must be an ascending interval within the dtype's range. Received: "
            f"[{a}, {b}) for {dtype}."
        )


@_kept
def normal(size: _Size, dtype: torch.dtype, mean: float, std: float) -> Law:
    """Normal; of complex numbers, both parts around the mean, with half of the variance each."""
    where = _axes(size, dtype)
    _check_normal(std)
    return where.law(distributions.Normal(where.shape, where.drawn, mean, _part(std, where)))


def _check_normal(std: float) -> None:
    if not std >= 0:
        raise RuntimeError(f"`std` must not be negative. Received: std={std}.")


def _part(std: float, where: _Axes) -> float:
    """The standard deviation of a part of numbers with this standard deviation."""
    return std / math.sqrt(2) if where.is_complex else std


@_kept
def trunc_normal(size: _Size, dtype: torch.dtype, mean: float, std: float, a: float, b: float) -> Law:
    """Normal before it is cut to [a, b]."""
    where = _plain_axes(size, dtype)
    if std == 0:
        raise ZeroDivisionError("`std` must not be 0. Received: std=0.0.")
    if not a <= b:
        raise RuntimeError(f"`a` must not be greater than `b`. Received: a={a}, b={b}.")
    if a == b:
        return where.law(distributions.Constant(where.shape, where.dtype, dtypes.rounded(a, where.dtype)))
    if -a == b == math.inf:
        return where.law(distributions.Normal(where.shape, where.drawn, mean, abs(std)))
    minval, maxval = (None if math.isinf(each) else each for each in (a, b))
    return where.law(_supported(TruncatedNormal, mean, abs(std), minval=minval, maxval=maxval, where=where))


@_kept
def trunc_normal_tf(size: _Size, dtype: torch.dtype, mean: float, std: float, a: float, b: float) -> Law:
    """Normal, cut to [a, b] in standard deviations from the mean, as timm's function of this name draws it."""
    where = _plain_axes(size, dtype)
    if not a < b or not all(map(math.isfinite, (mean, std, a, b))):
        raise UnsupportedError(f"`a` must be less than `b`, and all be finite. Received: {mean=}, {std=}, {a=}, {b=}.")
    if std == 0:
        return where.law(distributions.Constant(where.shape, where.dtype, dtypes.rounded(mean, where.dtype)))
    lower, upper = (a, b) if std > 0 else (-b, -a)
    return where.law(_supported(TruncatedNormal, mean, abs(std), lower=lower, upper=upper, where=where))


def _supported(initializer: Any, *arguments: Any, where: _Axes, **keywords: Any) -> Distribution:
    """An initializer's distribution, or its error as one of what is not supported."""
    try:
        made = initializer(*arguments, **keywords)
        drawn = made.distribution(where.shape, where.drawn)
        # Bounds hold in the tensor's own dtype, whose distribution rounds from float32 by itself.
        is_bounded = isinstance(drawn, distributions.BoundedNormal)
        return made.distribution(where.shape, where.dtype) if is_bounded else drawn
    except ValueError as error:
        raise UnsupportedError(str(error)) from None


@_kept
def xavier(size: _Size, dtype: torch.dtype, gain: float, kind: str) -> Law:
    """With a variance of `gain**2 * 2 / (fan_in + fan_out)`.

    Args:
        size: the tensor's shape.
        dtype: its dtype.
        gain: the factor of the standard deviation.
        kind: "uniform" or "untruncated_normal".
    """
    return _scaled(_axes(size, dtype), dtype, gain, gain * gain, average_fan(size), "fan_avg", kind)


@_kept
def kaiming(size: _Size, dtype: torch.dtype, slope: Any, mode: str, nonlinearity: str, kind: str) -> Law:
    """With a variance of `gain**2 / n`, where n is the fan of the mode."""
    lowered = mode.lower()
    if lowered not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    fan = fans(size)[lowered == "fan_out"]
    gain = gains.published(nonlinearity, slope)
    return _scaled(_axes(size, dtype), dtype, gain, _squared(gain, nonlinearity, slope), fan, lowered, kind)


def _squared(gain: float, nonlinearity: str, slope: Any) -> float:
    """The square of a gain, exact where the gain is a square root: He's rule has a variance of 2 / n."""
    if nonlinearity == "relu":
        return 2.0
    if nonlinearity == "leaky_relu":
        return 2.0 / (1 + (0.01 if slope is None else slope) ** 2)
    return gain * gain


def _scaled(where: _Axes, dtype: torch.dtype, gain: float, scale: float, units: float, mode: str, kind: str) -> Law:
    """With a variance of `scale / units`."""
    std = gain / math.sqrt(units)
    bound = math.sqrt(3.0) * std
    if kind == "uniform":
        _check_uniform(-bound, bound, dtype)
    else:
        _check_normal(std)
    is_scale = 0 < scale < math.inf
    if not where.is_complex and is_scale:
        return where.law(VarianceScaling(scale, mode, kind).distribution(where.shape, where.drawn))
    if kind == "uniform":
        return where.law(distributions.Uniform(where.shape, where.drawn, -bound, bound))
    std = math.sqrt(scale / units) if is_scale else std  # as `ComplexVarianceScaling` computes it
    return where.law(distributions.Normal(where.shape, where.drawn, 0.0, _part(std, where)))


@_kept
def orthogonal(size: _Size, dtype: torch.dtype, gain: float) -> Law:
    """A (semi-)orthogonal matrix of as many rows as the first axis has indices."""
    where = _plain_axes(size, dtype)
    return where.law(_supported(Orthogonal, gain, where=where))


@_kept
def sparse(size: _Size, dtype: torch.dtype, sparsity: float, std: float) -> Law:
    """Normal around 0, with the same share of zeros in each column."""
    if len(size) != 2:
        raise ValueError(f"Only tensors with 2 dimensions are supported. Received: a tensor of shape {tuple(size)}.")
    where = _plain_axes(size, dtype)
    _check_normal(std)
    return where.law(_supported(Sparse, sparsity, std, where=where))


@_kept
def variance_scaling(size: _Size, dtype: torch.dtype, scale: float, mode: str, distribution: str) -> Law:
    """With a variance of `scale / n`: timm's function of this name, whose "normal" is not truncated."""
    kind = {"normal": "untruncated_normal"}.get(distribution, distribution)
    where = _plain_axes(size, dtype)
    fans(size)
    return where.law(_supported(VarianceScaling, scale, mode, kind, where=where))
