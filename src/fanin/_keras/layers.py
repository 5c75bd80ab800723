"""The layer table of tf_keras and Keras 3: the traits of each variable, by the layer that owns it.

Both have classes with the same names, by which layers are recognized, so neither is imported here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fanin._core.shapes import fans
from fanin._core.types import Shape
from fanin._keras.norms import may_be_norm, scales_by
from fanin.models.traits import (
    GRU,
    LSTM,
    NO_BLOCKS,
    UNKNOWN,
    Blocks,
    Traits,
    beside,
    einsum,
    kernel,
    norm,
    role_of_name,
)


def _dense(layer: Any, leaf: str, shape: Shape) -> Traits | None:
    return kernel(shape) if leaf == "kernel" else _bias(layer, leaf)


def _bias(layer: Any, leaf: str, attribute: str = "kernel", blocks: Blocks | None = None) -> Traits | None:
    """The traits of a bias, with the fans and numbers of its layer's kernel; None for other variables."""
    if leaf != "bias":
        return None
    variable = getattr(layer, attribute, None)
    if variable is None:
        return Traits("bias")
    return beside(traits_of(layer, attribute, tuple(variable.shape)), blocks=blocks)


def _convolution(layer: Any, leaf: str, shape: Shape) -> Traits | None:
    if leaf != "kernel":
        return _bias(layer, leaf)
    groups = getattr(layer, "groups", 1)
    return kernel(shape, groups=groups, inputs=shape[-2] * groups)


def _transposed(layer: Any, leaf: str, shape: Shape) -> Traits | None:
    if leaf != "kernel":
        return _bias(layer, leaf)
    return kernel(shape, units=shape[-2], inputs=shape[-1])


def _depthwise(layer: Any, leaf: str, shape: Shape) -> Traits | None:
    """A kernel (…window…, channels, multiplier) is a grouped kernel (…window…, 1, channels * multiplier)."""
    if leaf not in ("kernel", "depthwise_kernel"):
        if leaf == "pointwise_kernel":
            return kernel(shape)
        names = ("pointwise_kernel", "depthwise_kernel")
        return _bias(layer, leaf, next((name for name in names if getattr(layer, name, None) is not None), "kernel"))
    grouped = (*shape[:-2], 1, shape[-2] * shape[-1])
    return kernel(
        shape,
        role="depthwise_kernel",
        fans=fans(grouped),
        column_axes=2,
        units=grouped[-1],
        inputs=shape[-2],
        groups=shape[-2],
    )


def _embedding(layer: Any, leaf: str, shape: Shape) -> Traits | None:
    tables = ("embeddings", "position_embeddings", "reverse_embeddings")
    return kernel(shape, role="embedding") if leaf in tables else None


def _recurrent(layer: Any, leaf: str, shape: Shape) -> Traits | None:
    names = " ".join(cls.__name__ for cls in type(layer).__mro__)
    gates = LSTM if "LSTM" in names else GRU if "GRU" in names else NO_BLOCKS
    if leaf in ("kernel", "recurrent_kernel"):
        return kernel(shape, role=leaf, blocks=gates, units=shape[-1] // max(1, len(gates.stored)))
    return _bias(layer, leaf, blocks=gates)


def _einsum(layer: Any, leaf: str, shape: Shape) -> Traits | None:
    return einsum(layer.equation, shape) if leaf == "kernel" else _bias(layer, leaf)


def _norm(layer: Any, leaf: str, shape: Shape) -> Traits | None:
    return norm(leaf)


def _unknown(layer: Any, leaf: str, shape: Shape) -> Traits | None:
    return UNKNOWN


_Row = Callable[[Any, str, Shape], Traits | None]
# The first row with the name of the layer's class, or of one of its base classes, applies.
TABLE: list[tuple[tuple[str, ...], _Row]] = [
    (("LSTMCell", "GRUCell", "SimpleRNNCell", "ConvLSTMCell"), _recurrent),
    (("DepthwiseConv", "BaseDepthwiseConv", "DepthwiseConv1D", "DepthwiseConv2D"), _depthwise),
    (("SeparableConv", "BaseSeparableConv"), _depthwise),
    (("BaseConvTranspose", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), _transposed),
    (("BaseConv", "Conv"), _convolution),
    (("EinsumDense",), _einsum),
    (("Dense",), _dense),
    (("Embedding", "PositionEmbedding"), _embedding),
    (
        (
            "BatchNormalization",
            "BatchNormalizationBase",
            "LayerNormalization",
            "GroupNormalization",
            "RMSNormalization",
            "UnitNormalization",
            "Normalization",
        ),
        _norm,
    ),
    (("PReLU", "Attention", "BaseDenseAttention"), _unknown),
]


# The pairs that `enable_lora` adds, and what it makes of them.
_ADAPTER = re.compile(r"lora_\w+_([ab])")
_STARTS = {"a": {"initializer": "he_uniform"}, "b": {"initializer": "zeros"}}


def traits_of(layer: Any, leaf: str, shape: Shape) -> Traits:
    """The traits of a variable, from the table or, if it does not have the layer, from the variable's name."""
    adapter = _ADAPTER.fullmatch(leaf)
    if adapter is not None:
        return replace(kernel(shape), role=f"lora_{adapter[1]}", start=_STARTS[adapter[1]])
    of_norm = norm(leaf)
    if of_norm is not None and of_norm.role == "scale" and may_be_norm(layer, shape):
        return of_norm if scales_by(layer, leaf, shape) else UNKNOWN
    return _by_table(layer, leaf, shape) or _by_name(leaf, shape)


def _by_table(layer: Any, leaf: str, shape: Shape) -> Traits | None:
    names = {cls.__name__ for cls in type(layer).__mro__ if cls.__module__.partition(".")[0] in ("keras", "tf_keras")}
    row = next((row for known, row in TABLE if names.intersection(known)), None)
    return None if row is None else row(layer, leaf, shape)


def _by_name(leaf: str, shape: Shape) -> Traits:
    """The traits that a name implies. In user-defined layers, too, a kernel is in Keras's axis order."""
    role = role_of_name(leaf, shape)
    if role in ("kernel", "recurrent_kernel", "embedding") and len(shape) > 1:
        return kernel(shape, role=role)
    return Traits(role)
