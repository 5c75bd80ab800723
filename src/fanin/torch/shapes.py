"""The shapes of parameters that follow from the attributes of PyTorch's layers.

A parameter with another shape is not what its layer says: a shard, a packed weight, or one that was replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from fanin._core.types import Shape
from fanin.models.names import own_classes

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


def _sizes_of_linear(module: Any, whole: Mapping[str, Shape]) -> dict[str, Any]:
    if "weight" in whole:
        return dict(zip(("out_features", "in_features"), whole["weight"], strict=True))
    return {"out_features": whole["bias"][0]}


def _sizes_of_convolution(module: Any, whole: Mapping[str, Shape]) -> dict[str, Any]:
    if "weight" not in whole:
        return {"out_channels": whole["bias"][0]}
    # Groups are split with the axis that comes first.
    shape, own = whole["weight"], module.weight.shape
    groups = module.groups * shape[0] // own[0] if module.groups > 1 else 1
    ends = shape[0], shape[1] * groups
    channels = ("in_channels", "out_channels") if module.transposed else ("out_channels", "in_channels")
    return {**dict(zip(channels, ends, strict=True)), "groups": groups, "kernel_size": shape[2:]}


def _sizes_of_embedding(module: Any, whole: Mapping[str, Shape]) -> dict[str, Any]:
    return dict(zip(("num_embeddings", "embedding_dim"), whole["weight"], strict=True))


def _sizes_of(name: str, *, as_tuple: bool = False) -> Callable[[Any, Mapping[str, Shape]], dict[str, Any]]:
    """The sizes of a layer whose parameters all have one shape."""

    def sizes(module: Any, whole: Mapping[str, Shape]) -> dict[str, Any]:
        shape = next(iter(whole.values()))
        return {name: shape if as_tuple else shape[0]} if shape else {}

    return sizes


# What a layer's attributes are where its parameters have these shapes.
_SIZES: tuple[tuple[tuple[type, ...], Callable[[Any, Mapping[str, Shape]], dict[str, Any]]], ...] = (
    ((nn.Linear,), _sizes_of_linear),
    ((nn.modules.conv._ConvNd,), _sizes_of_convolution),
    ((nn.Embedding, nn.EmbeddingBag), _sizes_of_embedding),
    ((nn.modules.batchnorm._NormBase,), _sizes_of("num_features")),
    ((nn.LayerNorm, nn.RMSNorm), _sizes_of("normalized_shape", as_tuple=True)),
    ((nn.GroupNorm,), _sizes_of("num_channels")),
    ((nn.PReLU,), _sizes_of("num_parameters")),
)


def resized(module: nn.Module, whole: Mapping[str, torch.Tensor]) -> nn.Module:
    """A copy of a layer that holds shards, with whole parameters in their place and the sizes that follow from them.

    Args:
        module: the layer, such as a Linear of a part of the outputs.
        whole: tensors of the shapes of whole parameters and buffers, by name.
    """
    twin = copied(module)
    for leaf, tensor in whole.items():
        (twin._buffers if leaf in twin._buffers else twin._parameters)[leaf] = tensor  # pyright: ignore
    shapes = {leaf: tuple(tensor.shape) for leaf, tensor in whole.items() if leaf != "num_batches_tracked"}
    for classes, sizes in _SIZES:
        if isinstance(module, classes) and shapes:
            vars(twin).update(sizes(module, shapes))
    return twin


def copied(module: nn.Module) -> nn.Module:
    """A copy of a module with the same attributes, and dictionaries of tensors of its own.

    Its class is the layer's own: a copy of a module that FSDP shards is not sharded.
    """
    cls = type(module)
    own = own_classes(cls, "Module")[0]
    twin: nn.Module = nn.Module.__new__(cls if cls.__name__.startswith("Parametrized") else own)
    vars(twin).update(vars(module))
    twin._parameters, twin._buffers = dict(module._parameters), dict(module._buffers)
    return twin


def is_transformers_conv1d(module: nn.Module) -> bool:
    """Whether this is Hugging Face's Conv1D: a Linear whose weight is (in, out)."""
    cls = own_classes(type(module), "Module")[0]
    return cls.__name__ == "Conv1D" and any(each.__module__.startswith("transformers.") for each in cls.__mro__)
