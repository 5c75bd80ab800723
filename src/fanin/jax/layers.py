"""The layer table of flax (nnx and linen) and equinox: the traits of each array, by the layer that owns it.

Neither library is imported here: layers are recognized by the names of their classes and packages.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from fanin._core.types import Shape
from fanin.models.traits import (
    GRU_RESET_FIRST,
    LSTM,
    MGU,
    NO_BLOCKS,
    UNKNOWN,
    Blocks,
    Part,
    Traits,
    beside,
    einsum,
    kernel,
    norm,
    role_of_name,
    torch_kernel,
)


@dataclass(frozen=True)
class Layer:
    """A flax layer as data.

    Attributes:
        type: its class.
        known: the flax class that it is or derives from.
        groups: the number of groups of its convolution.
        transposed: whether its transposed convolution stores its kernel as (…, out, in).
        equation: the equation of an einsum.
        batch: how many of the first axes of a general dense layer's kernel are batch axes.
        ins: how many of the axes after them are input axes.
        kernel_shape: the shape of its kernel, which may be stacked.
        single: the shape of a single layer's kernel; a stack of layers, made by `nn.scan` or `vmap`, has more axes.
        scales: for a norm that is not flax's own, the names of the weights that it scales its inputs by; None for
            other layers.
    """

    type: str = ""
    known: str = ""
    groups: int = 1
    transposed: bool = False
    equation: str = ""
    batch: int = 0
    ins: int = 1
    kernel_shape: Shape | None = None
    single: Shape | None = None
    scales: frozenset[str] | None = None


_FUSED_CELLS = {"OptimizedLSTMCell": LSTM, "GRUCell": GRU_RESET_FIRST, "SimpleCell": NO_BLOCKS}


@dataclass(frozen=True)
class _GateLayers:
    """A cell whose gates are separate layers.

    Attributes:
        blocks: its gates, in the order of the letters and in Keras's order.
        letters: the letter of each gate in the names of its layers, such as `ii` for the input and `hi` for the state.
    """

    blocks: Blocks
    letters: str

    def gate(self, name: str) -> tuple[bool, str] | None:
        """Whether a layer of this name is for the input, and its gate; None if the cell has no such layer."""
        side, letter = name[:1], name[1:]
        if side not in ("i", "h") or len(letter) != 1 or letter not in self.letters:
            return None
        return side == "i", self.blocks.stored[self.letters.index(letter)]

    @property
    def names(self) -> set[str]:
        """The names of all its layers."""
        return {side + letter for side in "ih" for letter in self.letters}


_GATES = {
    "LSTMCell": _GateLayers(LSTM, "ifgo"),
    "GRUCell": _GateLayers(GRU_RESET_FIRST, "rzn"),
    "MGUCell": _GateLayers(MGU, "fn"),
}
_DENSE = ("Dense", "Linear")
_GENERAL = ("DenseGeneral", "LinearGeneral")
# The initializers of a low-rank adapter's matrices, by the names that flax gives them, which are also their roles.
_ADAPTERS = {"lora_a": "he_uniform", "lora_b": "zeros"}
# The layers that the functions below recognize, besides norms.
LAYERS = (*_DENSE, *_GENERAL, "Einsum", "Conv", "ConvTranspose", "Embed")


def flax_traits(layer: Layer, leaf: str, shape: Shape) -> Traits:
    """The traits of an array of a flax layer.

    Args:
        layer: the layer.
        leaf: the array's name.
        shape: its shape, which has more axes in a stack of layers than in a single one.
    """
    leaf = leaf.rpartition(".")[2]
    if leaf in _ADAPTERS:
        return _adapter_traits(leaf, shape)
    if "Norm" in layer.known:
        return norm(leaf) or UNKNOWN
    if leaf == "bias":
        if layer.kernel_shape is None:
            return beside(UNKNOWN)
        return _bias_of(flax_traits(layer, "kernel", layer.kernel_shape), layer.kernel_shape, shape)
    if leaf not in ("kernel", "embedding") or layer.known not in LAYERS:
        return UNKNOWN
    single = shape if layer.single is None else layer.single
    if layer.known in (*_DENSE, "Embed") and len(single) != 2:
        return UNKNOWN
    return _stacked(_flax_kernel(layer, single), single, shape)


def _flax_kernel(layer: Layer, shape: Shape) -> Traits:
    """The traits of a kernel, or of a table of embeddings."""
    if layer.known == "Embed":
        return kernel(shape, role="embedding")
    if layer.known in _GENERAL:
        outs = layer.batch + layer.ins
        fan_in, fan_out = math.prod(shape[layer.batch : outs]), math.prod(shape[outs:])
        column_axes = 1 if layer.batch else len(shape) - outs
        return kernel(
            shape, fans=(fan_in, fan_out), column_axes=column_axes, inputs=fan_in, units=fan_out, receptive_field=1
        )
    if layer.known == "Einsum":
        return einsum(layer.equation, shape) or UNKNOWN
    if layer.known == "Conv":
        role = "depthwise_kernel" if layer.groups > 1 and shape[-2] == 1 else "kernel"
        return kernel(shape, role=role, groups=layer.groups, inputs=shape[-2] * layer.groups)
    if layer.known == "ConvTranspose" and layer.transposed:
        return kernel(shape, units=shape[-2], inputs=shape[-1])
    return kernel(shape)


def _stacked(traits: Traits, single: Shape, shape: Shape) -> Traits:
    """The traits of a stack of such arrays, whose extra axes can be anywhere; `UNKNOWN` if it is not such a stack."""
    if traits.axes is None or single == shape:
        return traits if single == shape else UNKNOWN
    kept = _axes_of(single, shape)
    if kept is None:
        return UNKNOWN
    stack = tuple(axis for axis in range(len(shape)) if axis not in kept)
    axes = (*stack, *(kept[axis] for axis in traits.axes))
    return replace(traits, axes=axes, stacked=len(stack))


def _axes_of(single: Shape, shape: Shape) -> Shape | None:
    """The axes of a stack that a single layer has: the last ones if that is possible; None if it is not a stack."""
    kept: list[int] = []
    for axis in reversed(range(len(shape))):
        if len(kept) < len(single) and shape[axis] == single[-1 - len(kept)]:
            kept.append(axis)
    return tuple(reversed(kept)) if len(kept) == len(single) else None


def _bias_of(
    weight: Traits, weight_shape: Shape, shape: Shape, role: str = "bias", blocks: Blocks | None = None
) -> Traits:
    """The traits of a bias beside a kernel; beside a stack of kernels, it is stacked along the same axes."""
    traits, stack = beside(weight, role, blocks), (weight.axes or ())[: weight.stacked]
    if not stack or not all(axis < len(shape) and shape[axis] == weight_shape[axis] for axis in stack):
        return traits
    rest = (axis for axis in range(len(shape)) if axis not in stack)
    return replace(traits, axes=(*stack, *rest), stacked=len(stack))


def flax_by_name(leaf: str, shape: Shape) -> Traits:
    """The traits that the name of an array implies in flax."""
    if leaf in _ADAPTERS:
        return _adapter_traits(leaf, shape)
    role = "variance" if leaf == "var" else role_of_name(leaf, shape)
    if role in ("kernel", "embedding") and len(shape) > 1:
        known = "Embed" if role == "embedding" else "Dense" if len(shape) == 2 else "Conv"
        traits = flax_traits(Layer(known=known), leaf, shape)
        return Traits(role) if traits == UNKNOWN else traits
    return Traits(role)


def _adapter_traits(leaf: str, shape: Shape) -> Traits:
    """The traits of a matrix of a low-rank adapter, or of a stack of them, which starts as flax's does."""
    traits = _stacked(kernel(shape[-2:]), shape[-2:], shape) if len(shape) > 1 else UNKNOWN
    return replace(traits, role=leaf, start={"initializer": _ADAPTERS[leaf]})


def cell_traits(cell: str, name: str, leaf: str, path: str, traits: Traits) -> Traits:
    """The traits of an array in a recurrent cell, which adds role, blocks and part to the traits from its layer.

    Args:
        cell: the cell's class.
        name: the layer's name in the cell.
        leaf: the array's name.
        path: the cell's path.
        traits: the traits of the array from its layer.
    """
    gates = _GATES.get(cell)
    found = None if gates is None else gates.gate(name.rstrip("_"))
    if gates is not None and found is not None:
        of_input, gate = found
        role = _role_in_cell(cell, leaf, of_input)
        return replace(traits, role=role, part=Part(f"{path}.{role}" if path else role, gate, gates.blocks.keras))
    if cell in _FUSED_CELLS and name in ("dense_i", "dense_h", "i", "h"):
        blocks = _FUSED_CELLS[cell]
        if "units" in traits.numbers:
            traits = traits.with_numbers(units=traits.numbers["units"] // max(1, len(blocks.stored)))
        return replace(traits, role=_role_in_cell(cell, leaf, name.endswith("i")), blocks=blocks)
    return traits


def _role_in_cell(cell: str, leaf: str, of_input: bool) -> str:
    if leaf == "kernel":
        return "kernel" if of_input else "recurrent_kernel"
    # LSTMs have one bias, beside the hidden state's kernel; GRUs have one beside each kernel.
    return "bias" if of_input or "GRU" not in cell else "recurrent_bias"


def cell_of_names(names: set[str]) -> str:
    """The cell whose gates have these names; "" if there is none."""
    return next((cell for cell, gates in _GATES.items() if names >= gates.names), "")


def equinox_traits(layer: Any, name: str, leaf: str, shape: Shape) -> Traits:
    """The traits of an array of an equinox layer.

    Args:
        layer: the layer itself, whose arrays may be shapes.
        name: its class.
        leaf: the array's name.
        shape: its shape.
    """
    if name in ("LayerNorm", "GroupNorm", "RMSNorm", "BatchNorm"):
        return norm(leaf) or UNKNOWN
    single = _equinox_shape(layer, name, leaf, shape)
    if single != shape:
        return _stacked(equinox_traits(layer, name, leaf, single), single, shape)
    if name == "Embedding":
        return kernel(shape, role="embedding") if leaf == "weight" else UNKNOWN
    if name in ("LSTMCell", "GRUCell"):
        blocks, units = LSTM if name == "LSTMCell" else GRU_RESET_FIRST, layer.hidden_size
        roles = {"weight_ih": "kernel", "weight_hh": "recurrent_kernel"}
        if leaf in roles:
            return torch_kernel(shape, role=roles[leaf], blocks=blocks, units=units)
        whole = tuple(layer.weight_ih.shape)
        weight = equinox_traits(layer, name, "weight_ih", whole)
        if leaf == "bias":
            return _bias_of(weight, whole, shape)
        return _bias_of(weight, whole, shape, "recurrent_bias", NO_BLOCKS) if leaf == "bias_n" else UNKNOWN
    if name == "Linear" or name.startswith("Conv"):
        whole = tuple(layer.weight.shape)
        if leaf == "bias":
            return _bias_of(equinox_traits(layer, name, "weight", whole), whole, shape)
        groups = getattr(layer, "groups", 1)
        role = "depthwise_kernel" if groups > 1 and groups == getattr(layer, "in_channels", None) else "kernel"
        inputs = shape[1] * groups if len(shape) > 1 else 1
        return torch_kernel(shape, role=role, groups=groups, inputs=inputs) if leaf == "weight" else UNKNOWN
    return UNKNOWN


def _equinox_shape(layer: Any, name: str, leaf: str, shape: Shape) -> Shape:
    """The shape of a single layer's array, from the layer's sizes; a stack of layers has more axes."""
    if name == "Linear" and leaf == "weight":
        ends = [1 if each == "scalar" else each for each in (layer.out_features, layer.in_features)]
        return ends[0], ends[1]
    if name == "Embedding" and leaf == "weight":
        return layer.num_embeddings, layer.embedding_size
    if name.startswith("Conv") and leaf == "weight":
        return (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size)
    if name in ("LSTMCell", "GRUCell") and leaf in ("weight_ih", "weight_hh"):
        gates = 4 if name == "LSTMCell" else 3
        return gates * layer.hidden_size, layer.input_size if leaf == "weight_ih" else layer.hidden_size
    return shape
