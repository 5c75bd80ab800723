"""The layer types of PyTorch: role, order of axes, fans and blocks of each parameter."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import nn

from fanin._layouts import keras_axes, permuted
from fanin._shapes import fans

LSTM_GATES = ("input", "forget", "cell", "output")
GRU_GATES = ("reset", "update", "candidate")  # as PyTorch keeps them
KERAS_GRU_GATES = ("update", "reset", "candidate")
QKV = ("query", "key", "value")

# A norm of a package's own is known by its name, as those packages themselves know it.
_NORM = re.compile(r"(Layer|RMS|Rms|Group|Batch|Instance)_?[Nn]orm")
# Some scale by 1 + weight: their weights are no scales, and their start is 0.
_SHIFTED = re.compile(r"\b1(\.0*)? \+ self\.\w+|self\.\w+(\.\w+\(\))? \+ 1\b")


def kernel(shape: tuple[int, ...], layout: Any = "torch", role: str = "kernel", **more: Any) -> dict[str, Any]:
    """What there is to know of a kernel by its layout."""
    axes = keras_axes(layout, len(shape))
    ordered = permuted(shape, axes)
    known = {"units": ordered[-1], "receptive_field": math.prod(ordered[:-2]), "groups": 1, **more.pop("known", {})}
    both = fans(ordered)
    known |= {"inputs": ordered[-2], "fan_in": both[0], "fan_out": both[1]}
    return {"role": role, "axes": axes, "fans": both, "known": known, **more}


def beside(described: dict[str, Any], role: str = "bias", **more: Any) -> dict[str, Any]:
    """What there is to know of a bias beside a kernel: that one's fans and numbers."""
    return {"role": role, "fans": described["fans"], "known": described["known"], **more}


def _linear(module: Any, leaf: str, shape: tuple[int, ...]) -> dict[str, Any] | None:
    weight = kernel((module.out_features, module.in_features))
    return {"weight": weight, "bias": beside(weight)}.get(leaf)


def _bilinear(module: Any, leaf: str, shape: tuple[int, ...]) -> dict[str, Any] | None:
    first, second, out = module.in1_features, module.in2_features, module.out_features
    weight = kernel((out, first, second), (1, 2, 0), fans=(first * second, out))
    weight["known"] |= {"receptive_field": 1, "inputs": first, "fan_in": first * second, "fan_out": out}
    return {"weight": weight, "bias": beside(weight)}.get(leaf)


def _convolution(module: Any, leaf: str, shape: tuple[int, ...]) -> dict[str, Any] | None:
    if leaf not in ("weight", "bias"):
        return None
    groups, inputs, outputs = module.groups, module.in_channels, module.out_channels
    ends = (inputs, outputs // groups) if module.transposed else (outputs, inputs // groups)
    depthwise = groups > 1 and groups == inputs
    weight = kernel((*ends, *module.kernel_size), role="depthwise_kernel" if depthwise else "kernel")
    weight["known"] |= {"units": outputs, "inputs": inputs, "groups": groups}
    return weight if leaf == "weight" else beside(weight)


def _embedding(module: Any, leaf: str, shape: tuple[int, ...]) -> dict[str, Any] | None:
    if leaf != "weight":
        return None
    padding = getattr(module, "padding_idx", None)
    rows = () if padding is None else (padding % shape[0],)
    return kernel(shape, "keras", "embedding", zero_rows=rows)


def _recurrent(module: Any, leaf: str, shape: tuple[int, ...]) -> dict[str, Any] | None:
    mode = module.mode if isinstance(module, nn.RNNBase) else type(module).__mro__[0].__name__
    order: dict[str, Any] = {}
    if "LSTM" in mode:
        order = {"blocks": LSTM_GATES, "keras_blocks": LSTM_GATES}
    elif "GRU" in mode:
        order = {"blocks": GRU_GATES, "keras_blocks": KERAS_GRU_GATES}
    elif isinstance(module, nn.RNNCellBase) and not isinstance(module, nn.RNNCell):
        return None  # a cell of somebody's own
    name = re.sub(r"_l\d+(_reverse)?$", "", leaf)
    numbers = {"units": module.hidden_size}
    if name == "weight_hr":
        return kernel(shape, known=numbers) | {"role": "kernel"}
    if name in ("weight_ih", "weight_hh"):
        described = kernel(shape, role="kernel" if name == "weight_ih" else "recurrent_kernel", **order)
        described["known"] |= numbers
        return described
    if name in ("bias_ih", "bias_hh"):
        width = getattr(module, "weight_" + leaf.removeprefix("bias_")).shape
        weight = kernel(tuple(width))
        weight["known"] |= numbers
        return beside(weight, "bias" if name == "bias_ih" else "recurrent_bias", **order)
    return None


def _attention(module: Any, leaf: str, shape: tuple[int, ...]) -> dict[str, Any] | None:
    if leaf in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
        return kernel(shape, blocks=QKV if leaf == "in_proj_weight" else ())
    if leaf == "in_proj_bias":
        return beside(kernel((3 * module.embed_dim, module.embed_dim)), blocks=QKV)
    return None


def _norm(module: Any, leaf: str, shape: tuple[int, ...]) -> dict[str, Any] | None:
    roles = {
        "weight": "scale",
        "bias": "offset",
        "running_mean": "mean",
        "running_var": "variance",
        "num_batches_tracked": "count",
    }
    return {"role": roles[leaf]} if leaf in roles else None


def _conv1d(module: Any, leaf: str, shape: tuple[int, ...]) -> dict[str, Any] | None:
    """Hugging Face's Conv1D: a Linear whose weight is (in, out)."""
    weight = kernel(tuple(module.weight.shape), "keras")
    return {"weight": weight, "bias": beside(weight)}.get(leaf)


_Row = Callable[[Any, str, tuple[int, ...]], "dict[str, Any] | None"]
TABLE: list[tuple[tuple[type, ...], _Row]] = [
    ((nn.Linear,), _linear),
    ((nn.Bilinear,), _bilinear),
    ((nn.modules.conv._ConvNd,), _convolution),
    ((nn.Embedding, nn.EmbeddingBag), _embedding),
    ((nn.RNNBase, nn.RNNCellBase), _recurrent),
    ((nn.MultiheadAttention,), _attention),
    ((nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm), _norm),
]
# Linear layers whose outputs are queries, keys and values one after the other: (package, class, attribute).
_FUSED = (
    ("transformers", "GPT2Attention", "c_attn"),
    ("timm", "Attention", "qkv"),
    ("timm", "WindowAttention", "qkv"),
    ("timm", "ParallelScalingBlock", "qkv"),
)


def described(
    module: nn.Module, leaf: str, tensor: torch.Tensor, parent: nn.Module | None, name: str
) -> dict[str, Any]:
    """What the table says of a parameter; nothing, where it has no such layer.

    Args:
        module: the module that owns it.
        leaf: its name there.
        tensor: the parameter.
        parent: the module that owns the module.
        name: the module's name there.
    """
    shape = tuple(tensor.shape)
    if isinstance(module, nn.PReLU):
        return {}
    for classes, row in TABLE:
        if isinstance(module, classes):
            found = row(module, leaf, shape)
            if found is not None:
                return found | _fused(found, module, parent, name)
            return {}
    if type(module).__name__ == "Conv1D" and type(module).__module__.startswith("transformers."):
        found = _conv1d(module, leaf, shape) or {}
        return found | _fused(found, module, parent, name)
    names = [cls.__name__ for cls in type(module).__mro__]
    if len(shape) <= 1 and any(map(_NORM.search, names)) and not _is_shifted(type(module)):
        return _norm(module, {"scale": "weight", "gamma": "weight", "beta": "bias"}.get(leaf, leaf), shape) or {}
    return {}


@cache
def _is_shifted(cls: type) -> bool:
    """Whether a norm's own code adds one to its weight; also where its code cannot be read, and so nobody knows."""
    try:
        return _SHIFTED.search(inspect.getsource(cls.forward)) is not None  # pyright: ignore[reportAttributeAccessIssue]
    except (AttributeError, OSError, TypeError):
        return True


def _fused(found: dict[str, Any], module: nn.Module, parent: nn.Module | None, name: str) -> dict[str, Any]:
    if parent is None or "fans" not in found:
        return {}
    package = type(parent).__module__.partition(".")[0]
    return (
        {"blocks": QKV} if (package, type(parent).__name__, name) in _FUSED and found["known"]["units"] % 3 == 0 else {}
    )
