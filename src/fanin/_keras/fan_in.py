"""What a probe must know of Keras's layers: how many inputs an output is a sum of, and the ends of their range."""

from __future__ import annotations

import math
from typing import Any

from fanin._core.types import Shape
from fanin._keras.layers import traits_of
from fanin.theory.records import FanIn
from fanin.theory.signals import taps

_ENDS = {
    "tanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
    "hard_tanh": (-1.0, 1.0),
    "sigmoid": (0.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
}
_TRANSPOSED = {"BaseConvTranspose", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"}
_DEPTHWISE = {"BaseDepthwiseConv", "DepthwiseConv", "DepthwiseConv1D", "DepthwiseConv2D"}
_SEPARABLE = {"BaseSeparableConv", "SeparableConv"}
_CONVOLUTIONS = {"BaseConv", "Conv"}


def ends_of(layer: Any, activation: Any = None) -> tuple[float, float] | None:
    """The ends of the range of an activation, or of a layer that is one; None if it has none."""
    if activation is None:
        activation = getattr(layer, "activation", None) if type(layer).__name__ == "Activation" else None
    return _ENDS.get(getattr(activation, "__name__", ""))


def units_axis(layer: Any, rank: int, before: int) -> int:
    """The axis of the units of a layer's outputs.

    Args:
        layer: the layer; None for an activation.
        rank: the number of axes of its outputs.
        before: the axis of the units of the layer before.
    """
    data_format = getattr(layer, "data_format", None)
    if data_format is not None:
        return 1 if data_format == "channels_first" and rank > 2 else -1
    axis = getattr(layer, "axis", None)
    if isinstance(axis, int) and getattr(layer, "gamma", None) is not None:
        return axis
    is_alike = layer is None or not (layer.trainable_variables or layer.non_trainable_variables)
    return before if is_alike and rank > 2 else -1


def fan_in_of(layer: Any) -> FanIn | None:
    """The fan-in of a layer as a function of the shapes of its inputs and outputs; None if theory has none for it."""
    names = {cls.__name__ for cls in type(layer).__mro__ if cls.__module__.partition(".")[0] in ("keras", "tf_keras")}
    kernel = getattr(layer, "depthwise_kernel", None) if names & _DEPTHWISE else None
    kernel = getattr(layer, "kernel", None) if kernel is None else kernel
    if kernel is None or names & _SEPARABLE:
        return None
    shape = tuple(int(length) for length in kernel.shape)
    if names & _TRANSPOSED:
        return lambda inputs, outputs: shape[-1] * _windows(layer, shape, outputs, inputs, transposed=True)
    if names & _DEPTHWISE:
        return lambda inputs, outputs: _windows(layer, shape, inputs, outputs)
    if names & _CONVOLUTIONS:
        return lambda inputs, outputs: shape[-2] * _windows(layer, shape, inputs, outputs)
    if "EinsumDense" in names or "Dense" in names:
        fans = traits_of(layer, "kernel", shape).fans
        return None if fans is None else lambda inputs, outputs: fans[0]
    return None


def _windows(layer: Any, kernel: Shape, longer: Shape, shorter: Shape, *, transposed: bool = False) -> float:
    """The mean number of taps that an output has in its input, over all spatial axes.

    Args:
        layer: the convolution.
        kernel: the shape of its kernel.
        longer: the shape that a window passes over: the inputs, or the outputs of a transposed convolution.
        shorter: the shape that has an element for each position of the window.
        transposed: whether it is a transposed convolution.
    """
    first = 2 if getattr(layer, "data_format", "") == "channels_first" else 1
    return math.prod(
        _taps(layer, dim, kernel[dim], longer[first + dim], shorter[first + dim])
        / (longer[first + dim] if transposed else shorter[first + dim])
        for dim in range(len(kernel) - 2)
    )


def _taps(layer: Any, dim: int, kernel: int, length: int, positions: int) -> int:
    stride, dilation = _at(layer.strides, dim), _at(layer.dilation_rate, dim)
    reach = dilation * (kernel - 1)
    padding = str(layer.padding).lower()
    before = reach if padding == "causal" else 0
    if padding == "same":
        before = max((positions - 1) * stride + reach + 1 - length, 0) // 2
    return taps(positions, length, kernel, stride, before, dilation)


def _at(value: Any, dim: int) -> int:
    return int(value if isinstance(value, int) else value[dim])
