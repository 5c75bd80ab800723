"""The layer table of PyTorch: the traits of each parameter, by the module that owns it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from fanin._core.types import Shape
from fanin.models.names import own_classes
from fanin.models.traits import (
    GRU_RESET_FIRST,
    LSTM,
    NO_BLOCKS,
    QKV,
    UNKNOWN,
    Traits,
    beside,
    kernel,
    norm,
    torch_kernel,
)
from fanin.torch.norms import scales_by
from fanin.torch.shapes import declared_shape, is_transformers_conv1d

# Norms of other packages are recognized by their names, as in those packages themselves.
_NORM = re.compile(r"(Layer|RMS|Rms|Group|Batch|Instance)_?[Nn]orm")


def _linear(module: Any, leaf: str, shape: Shape) -> Traits | None:
    weight = torch_kernel((module.out_features, module.in_features))
    return {"weight": weight, "bias": beside(weight)}.get(leaf)


def _bilinear(module: Any, leaf: str, shape: Shape) -> Traits | None:
    first, second, out = module.in1_features, module.in2_features, module.out_features
    weight = kernel((out, first, second), (1, 2, 0), fans=(first * second, out), receptive_field=1, inputs=first)
    return {"weight": weight, "bias": beside(weight)}.get(leaf)


def _convolution(module: Any, leaf: str, shape: Shape) -> Traits | None:
    if leaf not in ("weight", "bias"):
        return None
    groups, inputs, outputs = module.groups, module.in_channels, module.out_channels
    ends = (inputs, outputs // groups) if module.transposed else (outputs, inputs // groups)
    role = "depthwise_kernel" if groups > 1 and groups == inputs else "kernel"
    weight = torch_kernel((*ends, *module.kernel_size), role=role, units=outputs, inputs=inputs, groups=groups)
    return weight if leaf == "weight" else beside(weight)


def _embedding(module: Any, leaf: str, shape: Shape) -> Traits | None:
    if leaf != "weight":
        return None
    padding = getattr(module, "padding_idx", None)
    return kernel(shape, role="embedding", zero_rows=() if padding is None else (padding % shape[0],))


def _recurrent(module: Any, leaf: str, shape: Shape) -> Traits | None:
    mode = module.mode if isinstance(module, nn.RNNBase) else type(module).__mro__[0].__name__
    blocks = LSTM if "LSTM" in mode else GRU_RESET_FIRST if "GRU" in mode else NO_BLOCKS
    if not blocks and isinstance(module, nn.RNNCellBase) and not isinstance(module, nn.RNNCell):
        return None  # a user-defined cell
    name = re.sub(r"_l\d+(_reverse)?$", "", leaf)
    units = module.hidden_size
    if name == "weight_hr":
        return torch_kernel(shape, units=units)
    if name in ("weight_ih", "weight_hh"):
        role = "kernel" if name == "weight_ih" else "recurrent_kernel"
        return torch_kernel(shape, role=role, blocks=blocks, units=units)
    if name in ("bias_ih", "bias_hh"):
        kernel_leaf = "weight_" + leaf.removeprefix("bias_")
        kernel_shape = declared_shape(module, kernel_leaf) or tuple(getattr(module, kernel_leaf).shape)
        weight = torch_kernel(kernel_shape, units=units)
        return beside(weight, "bias" if name == "bias_ih" else "recurrent_bias", blocks)
    return None


def _attention(module: Any, leaf: str, shape: Shape) -> Traits | None:
    if leaf in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
        return torch_kernel(shape, blocks=QKV if leaf == "in_proj_weight" else NO_BLOCKS)
    if leaf == "in_proj_bias":
        return beside(torch_kernel((3 * module.embed_dim, module.embed_dim)), blocks=QKV)
    return None


def _norm(module: Any, leaf: str, shape: Shape) -> Traits | None:
    traits = norm(leaf)
    cls = own_classes(type(module), "Module")[0]
    if traits is None or traits.role != "scale" or cls.__module__.startswith("torch.nn."):
        return traits
    return traits if scales_by(module, leaf) else None


def _conv1d(module: Any, leaf: str, shape: Shape) -> Traits | None:
    weight = kernel((module.nx, module.nf))
    return {"weight": weight, "bias": beside(weight)}.get(leaf)


def _unknown(module: Any, leaf: str, shape: Shape) -> Traits | None:
    return None


_Row = Callable[[Any, str, Shape], Traits | None]
# The first row with a class that the module is an instance of applies.
TABLE: list[tuple[tuple[type, ...], _Row]] = [
    ((nn.PReLU,), _unknown),
    ((nn.Linear,), _linear),
    ((nn.Bilinear,), _bilinear),
    ((nn.modules.conv._ConvNd,), _convolution),
    ((nn.Embedding, nn.EmbeddingBag), _embedding),
    ((nn.RNNBase, nn.RNNCellBase), _recurrent),
    ((nn.MultiheadAttention,), _attention),
    ((nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm), _norm),
]
# Linear layers whose outputs are concatenated queries, keys and values: (package, class, attribute).
_FUSED = (
    ("transformers", "GPT2Attention", "c_attn"),
    ("timm", "Attention", "qkv"),
    ("timm", "WindowAttention", "qkv"),
    ("timm", "ParallelScalingBlock", "qkv"),
)


def traits_of(module: nn.Module, leaf: str, tensor: torch.Tensor, parent: nn.Module | None, name: str) -> Traits:
    """The traits of a parameter; `UNKNOWN` if the table does not have its layer.

    Args:
        module: the module that owns it.
        leaf: its name there.
        tensor: the parameter.
        parent: the module that owns the module.
        name: the module's name there.
    """
    shape = tuple(tensor.shape)
    for classes, row in TABLE:
        if isinstance(module, classes):
            return _fused(row(module, leaf, shape) or UNKNOWN, parent, name)
    if is_transformers_conv1d(module):
        return _fused(_conv1d(module, leaf, shape) or UNKNOWN, parent, name)
    names = [cls.__name__ for cls in type(module).__mro__]
    if len(shape) <= 1 and any(map(_NORM.search, names)):
        return _norm(module, leaf, shape) or UNKNOWN
    return UNKNOWN


def _fused(traits: Traits, parent: nn.Module | None, name: str) -> Traits:
    """The same traits, with queries, keys and values as blocks if the layer fuses them."""
    if parent is None or traits.fans is None:
        return traits
    cls = own_classes(type(parent), "Module")[0]
    package = cls.__module__.partition(".")[0]
    is_fused = (package, cls.__name__, name) in _FUSED and traits.numbers["units"] % 3 == 0
    return replace(traits, blocks=QKV) if is_fused else traits
