"""What a probe must know of PyTorch's layers: which axis has their units, the ends of their range, their fans."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from fanin.models.names import class_names
from fanin.theory.signals import Values, expected_std, second_moment, taps
from fanin.torch.describe import Visit, visits
from fanin.torch.shapes import is_transformers_conv1d

_CONVOLUTION = nn.modules.conv._ConvNd
# Layers whose units are channels, in the second axis of their outputs.
_CHANNELS = (
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.LocalResponseNorm,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._LPPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.Upsample,
    nn.PixelShuffle,
)
# Layers whose units are features, in the last axis of their outputs.
_FEATURES = (nn.Linear, nn.Bilinear, nn.Embedding, nn.EmbeddingBag, nn.LayerNorm, nn.RMSNorm, nn.RNNBase)
_ATTENTION = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
_PARAMETRIZED = "parametrizations"
_OF_NUMPY = (torch.float16, torch.float32, torch.float64)


def layers_of(model: nn.Module) -> dict[str, Visit]:
    """The layers of a module by path: modules with parameters of their own, and those without other modules in them."""
    found = {visit.path: visit for visit in every_module(model) if is_layer(visit.module)}
    return {path: found[path] for path in dict.fromkeys(_first_paths(found.values()))}


def every_module(model: nn.Module) -> Iterator[Visit]:
    """Every module, but for those that compute parametrized weights."""
    return (visit for visit in visits(model) if _PARAMETRIZED not in visit.raw.split("."))


def is_layer(module: nn.Module) -> bool:
    """Whether a module computes something itself, as far as one can see."""
    inner = [name for name, child in module._modules.items() if child is not None and name != _PARAMETRIZED]
    is_empty_list = isinstance(module, (nn.ModuleList, nn.ModuleDict, nn.Sequential)) and not inner
    own = any(each is not None for each in module._parameters.values())
    return own or not (inner or is_empty_list)


def _first_paths(layers: Iterable[Visit]) -> Iterator[str]:
    seen: set[int] = set()
    for visit in layers:
        if id(visit.module) not in seen:
            seen.add(id(visit.module))
            yield visit.path


def type_of(module: nn.Module) -> str:
    """The type of a module, without what wrappers derive from it."""
    return class_names(type(module), "Module")[0]


def values_of(tensor: torch.Tensor, axis: int = -1) -> Values:
    """A tensor on any device, and of any dtype, as values to be measured. Complex elements count as two numbers."""
    tensor = tensor.detach()
    tensor = tensor if tensor.ndim else tensor[None]
    axis %= tensor.ndim
    source = torch.view_as_real(tensor) if tensor.is_complex() else tensor

    def read(index: tuple[Any, ...]) -> np.ndarray:
        places = tuple(torch.from_numpy(each) if isinstance(each, np.ndarray) else each for each in index)
        part = source[places].cpu()
        return (part if part.dtype in _OF_NUMPY else part.float()).numpy()

    return Values(tuple(source.shape), axis, read)


def first_tensor(value: Any) -> torch.Tensor | None:
    """The first tensor of floats in what a layer returns or takes: a tensor, or tuples, lists and mappings of them."""
    if isinstance(value, torch.Tensor):
        is_real = value.is_floating_point() or value.is_complex()
        return value if is_real and not value.is_nested and value.layout == torch.strided else None
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return next((found for found in map(first_tensor, inner) if found is not None), None)


def units_axis(module: nn.Module, tensor: torch.Tensor, known: Mapping[Any, int]) -> int:
    """The axis of the units of a layer's outputs.

    Args:
        module: the layer.
        tensor: its outputs.
        known: the axes of outputs of earlier layers by their shapes, which activations and the like have, too.
    """
    if tensor.ndim < 2:
        return -1
    if isinstance(module, _CONVOLUTION):
        return tensor.ndim - 1 - len(module.kernel_size)
    if isinstance(module, _CHANNELS):
        return 1
    if isinstance(module, (*_FEATURES, *_ATTENTION)) or is_transformers_conv1d(module):
        return tensor.ndim - 1
    return known.get(tuple(tensor.shape), 1 if tensor.ndim > 3 else tensor.ndim - 1)


def ends_of(module: nn.Module) -> tuple[float, float] | None:
    """The ends of the range of an activation; None if it has none, or is at home at one of them, as ReLU6 is at 0."""
    if isinstance(module, (nn.Tanh, nn.Softsign)):
        return -1.0, 1.0
    if isinstance(module, (nn.Sigmoid, nn.Hardsigmoid)):
        return 0.0, 1.0
    if isinstance(module, nn.Hardtanh) and not isinstance(module, nn.ReLU6):
        return float(module.min_val), float(module.max_val)
    return None


def has_kernel(module: nn.Module) -> bool:
    """Whether a module is a dense layer or a convolution."""
    return isinstance(module, (nn.Linear, _CONVOLUTION)) or is_transformers_conv1d(module)


class Theory:
    """The standard deviations that theory expects of layers' outputs, from their parameters and their inputs."""

    def __init__(self) -> None:
        self._moments: dict[int, tuple[torch.Tensor, float]] = {}  # of parameters, by id; keeps them, for their ids

    def expected(self, module: nn.Module, inputs: torch.Tensor | None, output: torch.Tensor) -> float | None:
        """The standard deviation of a layer's outputs in theory; None if none is known.

        Of a weight that a parametrization computes, nothing is known without computing it once more, which may change
        its state.
        """
        fan_in = None if inputs is None else fan_in_of(module, inputs, output)
        own = {**vars(module), **module._parameters}
        weight, bias = own.get("weight"), own.get("bias")
        if inputs is None or fan_in is None or not isinstance(weight, torch.Tensor):
            return None
        of_bias = self._moment(bias) if isinstance(bias, torch.Tensor) else 0.0
        return expected_std(fan_in, self._moment(weight), second_moment(values_of(inputs)), of_bias)

    def _moment(self, tensor: torch.Tensor) -> float:
        if id(tensor) not in self._moments:
            self._moments[id(tensor)] = tensor, second_moment(values_of(tensor))
        return self._moments[id(tensor)][1]


def fan_in_of(module: nn.Module, inputs: torch.Tensor, output: torch.Tensor) -> float | None:
    """The number of inputs that an output is a sum of, without those that are padding; None if it is no such layer."""
    if not has_kernel(module):
        return None
    if not isinstance(module, _CONVOLUTION):
        return inputs.shape[-1]
    dims = range(len(module.kernel_size))
    channels = module.in_channels // module.groups
    return channels * math.prod(_taps(module, inputs, output, dim) for dim in dims)


def _taps(module: Any, inputs: torch.Tensor, output: torch.Tensor, dim: int) -> float:
    """The mean number of inputs that an output has along one axis of a convolution."""
    kernel, stride, dilation = module.kernel_size[dim], module.stride[dim], module.dilation[dim]
    length, outputs = (each.shape[dim - len(module.kernel_size)] for each in (inputs, output))
    if module.transposed:
        return taps(length, outputs, kernel, stride, module.padding[dim], dilation) / outputs
    if module.padding_mode != "zeros":
        return kernel
    if isinstance(module.padding, str):
        before = dilation * (kernel - 1) // 2 if module.padding == "same" else 0
    else:
        before = module.padding[dim]
    return taps(outputs, length, kernel, stride, before, dilation) / outputs
