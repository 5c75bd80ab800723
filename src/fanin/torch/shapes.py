"""The shapes of parameters that follow from the attributes of PyTorch's layers.

A parameter with another shape is not what its layer says: a shard, a packed weight, or one that was replaced.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from fanin._core.types import Shape

_Shapes = dict[str, Shape]


def _linear(module: Any) -> _Shapes:
    return {"weight": (module.out_features, module.in_features), "bias": (module.out_features,)}


def _bilinear(module: Any) -> _Shapes:
    weight = (module.out_features, module.in1_features, module.in2_features)
    return {"weight": weight, "bias": (module.out_features,)}


def _convolution(module: Any) -> _Shapes:
    ends = (module.in_channels, module.out_channels) if module.transposed else (module.out_channels, module.in_channels)
    return {
        "weight": (ends[0], ends[1] // module.groups, *module.kernel_size),
        "bias": (module.out_channels,),
    }


def _embedding(module: Any) -> _Shapes:
    return {"weight": (module.num_embeddings, module.embedding_dim)}


def _recurrent(module: Any) -> _Shapes:
    gates = {"LSTM": 4, "GRU": 3}.get(module.mode, 1) * module.hidden_size
    state = module.proj_size or module.hidden_size
    found = {}
    for layer in range(module.num_layers):
        inputs = module.input_size if layer == 0 else state * (2 if module.bidirectional else 1)
        for suffix in (f"_l{layer}", f"_l{layer}_reverse"):
            found |= {f"weight_ih{suffix}": (gates, inputs), f"weight_hh{suffix}": (gates, state)}
            found |= {f"bias_ih{suffix}": (gates,), f"bias_hh{suffix}": (gates,)}
            found[f"weight_hr{suffix}"] = (module.proj_size, module.hidden_size)
    return found


def _cell(module: Any) -> _Shapes:
    count = 4 if isinstance(module, nn.LSTMCell) else 3 if isinstance(module, nn.GRUCell) else 1
    gates = count * module.hidden_size
    weights = {"weight_ih": (gates, module.input_size), "weight_hh": (gates, module.hidden_size)}
    return {**weights, "bias_ih": (gates,), "bias_hh": (gates,)}


def _attention(module: Any) -> _Shapes:
    size = module.embed_dim
    found = {"in_proj_weight": (3 * size, size), "in_proj_bias": (3 * size,), "q_proj_weight": (size, size)}
    return {**found, "k_proj_weight": (size, module.kdim), "v_proj_weight": (size, module.vdim)}


def _both(shape: Shape) -> _Shapes:
    return {"weight": shape, "bias": shape}


_TABLE: tuple[tuple[tuple[type, ...], Callable[[Any], _Shapes]], ...] = (
    ((nn.PReLU,), lambda module: {"weight": (module.num_parameters,)}),
    ((nn.Linear,), _linear),
    ((nn.Bilinear,), _bilinear),
    ((nn.modules.conv._ConvNd,), _convolution),
    ((nn.Embedding, nn.EmbeddingBag), _embedding),
    ((nn.RNNBase,), _recurrent),
    ((nn.RNNCell, nn.LSTMCell, nn.GRUCell), _cell),
    ((nn.MultiheadAttention,), _attention),
    ((nn.modules.batchnorm._NormBase,), lambda module: _both((module.num_features,))),
    ((nn.LayerNorm, nn.RMSNorm), lambda module: _both(tuple(module.normalized_shape))),
    ((nn.GroupNorm,), lambda module: _both((module.num_channels,))),
)


def declared_shape(module: nn.Module, leaf: str) -> Shape | None:
    """The shape of a parameter by its layer's attributes; None if the layer or the name is unknown.

    Args:
        module: the layer.
        leaf: the parameter's name there.
    """
    for classes, shapes in _TABLE:
        if isinstance(module, classes):
            return shapes(module).get(leaf)
    if is_transformers_conv1d(module):
        layer: Any = module
        return {"weight": (layer.nx, layer.nf), "bias": (layer.nf,)}.get(leaf)
    return None


# The attributes that have the lengths of a weight's axes.
_SIZES: tuple[tuple[tuple[type, ...], tuple[str, ...]], ...] = (
    ((nn.Linear,), ("out_features", "in_features")),
    ((nn.Embedding, nn.EmbeddingBag), ("num_embeddings", "embedding_dim")),
)


def resized(module: nn.Module, whole: Mapping[str, torch.Tensor]) -> nn.Module:
    """A copy of a layer that holds shards, with whole parameters in their place and the sizes that follow from them.

    Args:
        module: the layer, such as a Linear of a part of the outputs.
        whole: tensors of the shapes of whole parameters, by name.
    """
    twin = copy.copy(module)
    twin._parameters = {**module._parameters, **whole}  # pyright: ignore[reportAttributeAccessIssue]
    weight = whole.get("weight")
    for classes, names in _SIZES:
        if isinstance(module, classes) and weight is not None:
            vars(twin).update(zip(names, weight.shape, strict=True))
        elif isinstance(module, nn.Linear) and "bias" in whole:
            vars(twin)["out_features"] = whole["bias"].shape[0]
    return twin


def is_transformers_conv1d(module: nn.Module) -> bool:
    """Whether this is Hugging Face's Conv1D: a Linear whose weight is (in, out)."""
    cls = type(module)
    return re.fullmatch(r"(Parametrized|FSDP)?Conv1D", cls.__name__) is not None and any(
        each.__module__.startswith("transformers.") for each in cls.__mro__
    )
