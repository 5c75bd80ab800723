"""The layer types of flax (nnx and linen) and equinox: role, order of axes, fans and blocks of each array.

Neither library is imported here; layers are known by the names of their classes and the package that these are from.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from fanin._layouts import keras_axes, permuted
from fanin._models.keras_layers import einsum_kernel, kernel
from fanin._parameters import Part

LSTM_GATES = ("input", "forget", "cell", "output")
GRU_GATES = ("reset", "update", "candidate")  # as flax and equinox keep them
KERAS_GRU_GATES = ("update", "reset", "candidate")
MGU_GATES = ("forget", "candidate")
_FUSED_CELLS = {
    "OptimizedLSTMCell": (LSTM_GATES, LSTM_GATES),
    "GRUCell": (GRU_GATES, KERAS_GRU_GATES),
    "SimpleCell": ((), ()),
}


def _gate_layers(letters: str, gates: tuple[str, ...]) -> dict[str, tuple[bool, str]]:
    """For cells whose gates are layers of their own: whether each is the input's (or the state's), and its gate."""
    return {f"{side}{each}": (side == "i", gate) for side in "ih" for each, gate in zip(letters, gates, strict=True)}


_GATES = {
    "LSTMCell": (_gate_layers("ifgo", LSTM_GATES), LSTM_GATES),
    "GRUCell": (_gate_layers("rzn", GRU_GATES), KERAS_GRU_GATES),
    "MGUCell": (_gate_layers("fn", MGU_GATES), MGU_GATES),
}
_NORM_ROLES = {"scale": "scale", "bias": "offset", "mean": "mean", "var": "variance"}
_DENSE = ("Dense", "Linear")
_GENERAL = ("DenseGeneral", "LinearGeneral")
# The layers that the functions below know, besides norms.
LAYERS = (*_DENSE, *_GENERAL, "Einsum", "Conv", "ConvTranspose", "Embed")


def flax_layer(layer: str, info: Mapping[str, Any], leaf: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """What there is to know of an array of a flax layer.

    Args:
        layer: the layer's class.
        info: what matters of it: groups, numbers of axes in and out, an equation, the kernel's shape, and that of one
            layer's.
        leaf: the array's name.
        shape: its shape. Of a stack of layers, as `nn.scan` and `vmap` make it, it has more axes than one layer's.
    """
    leaf = leaf.rpartition(".")[2]
    if "Norm" in layer:
        return {"role": _NORM_ROLES[leaf]} if leaf in _NORM_ROLES else {}
    if leaf == "bias":
        weight = flax_layer(layer, info, "kernel", info["kernel_shape"]) if info.get("kernel_shape") else {}
        kept = ("fans", "known", "blocks", "keras_blocks")
        return {key: weight[key] for key in kept if key in weight} | {"role": "bias"}
    if leaf not in ("kernel", "embedding") or layer not in LAYERS:
        return {}
    single = tuple(info.get("single") or shape)  # the shape of one layer's
    if layer in (*_DENSE, "Embed") and len(single) != 2:
        return {}
    return _stacked(_flax_kernel(layer, info, single), single, shape)


def _flax_kernel(layer: str, info: Mapping[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
    """What there is to know of a kernel, or of a table of embeddings."""
    if layer == "Embed":
        return kernel(shape, "embedding")
    if layer in _GENERAL:
        batch, ins = info["batch"], info["ins"]
        both = math.prod(shape[batch : batch + ins]), math.prod(shape[batch + ins :])
        known = {"inputs": both[0], "units": both[1], "receptive_field": 1}
        matrix = None if batch or len(shape) == 2 else both
        return kernel(shape, fans=both, known=known, matrix_shape=matrix)
    if layer == "Einsum":
        return einsum_kernel(info["equation"], shape) or {}
    if layer == "Conv":
        groups = info.get("groups", 1)
        role = "depthwise_kernel" if groups > 1 and shape[-2] == 1 else "kernel"
        return kernel(shape, role, known={"groups": groups, "inputs": shape[-2] * groups})
    if layer == "ConvTranspose" and info.get("transposed"):
        return kernel(shape, known={"units": shape[-2], "inputs": shape[-1]})
    return kernel(shape)


def _stacked(found: dict[str, Any], single: tuple[int, ...], shape: tuple[int, ...]) -> dict[str, Any]:
    """The same of a stack of such arrays, which has more axes, wherever these are; nothing, if it is no such stack."""
    count = len(shape) - len(single)
    if not count or "axes" not in found:
        return found if single == shape else {}
    rest = Counter(shape)
    rest.subtract(single)
    if min(rest.values()) < 0:
        return {}
    known = {"n_layers": math.prod(rest.elements()), **found["known"]}
    return {**found, "axes": tuple(range(len(shape))), "known": known, "stacked": count, "matrix_shape": None}


def flax_cell(cell: str, name: str, leaf: str, path: str, found: dict[str, Any]) -> dict[str, Any]:
    """What a layer within a recurrent cell adds to what there is to know: roles, blocks, and whose part it is.

    Args:
        cell: the cell's class.
        name: the layer's name in the cell.
        leaf: the array's name.
        path: the cell's path.
        found: what is known of the array as that of its layer.
    """
    if cell in _GATES and name.rstrip("_") in _GATES[cell][0]:
        layers, gates = _GATES[cell]
        of_input, gate = layers[name.rstrip("_")]
        whole = _whole(cell, leaf, of_input)
        return {**found, "role": whole, "part": Part(f"{path}.{whole}" if path else whole, gate, gates)}
    if cell in _FUSED_CELLS and name in ("dense_i", "dense_h", "i", "h"):
        blocks, keras_blocks = _FUSED_CELLS[cell]
        role = _whole(cell, leaf, name.endswith("i"))
        known = dict(found.get("known", {}))
        if "units" in known:
            known["units"] //= max(1, len(blocks))
        return {**found, "known": known, "role": role, "blocks": blocks, "keras_blocks": keras_blocks}
    return found


def _whole(cell: str, leaf: str, of_input: bool) -> str:
    if leaf == "kernel":
        return "kernel" if of_input else "recurrent_kernel"
    # LSTMs have one bias, beside the hidden state's kernel; GRUs have one beside each.
    return "bias" if of_input or "GRU" not in cell else "recurrent_bias"


def cell_of_names(names: set[str]) -> str:
    """The cell whose gates are these layers, where only names are known; "" if it is none."""
    for cell, (layers, _) in _GATES.items():
        if names >= set(layers):
            return cell
    return ""


def torch_kernel(shape: tuple[int, ...], role: str = "kernel", **more: Any) -> dict[str, Any]:
    """A kernel that is kept as PyTorch keeps it."""
    axes = keras_axes("torch", len(shape))
    return {**kernel(permuted(shape, axes), role, **more), "axes": axes}


def equinox_layer(layer: Any, name: str, leaf: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """What there is to know of an array of an equinox layer.

    Args:
        layer: the layer itself, whose arrays may be shapes.
        name: its class.
        leaf: the array's name.
        shape: its shape.
    """
    if name in ("LayerNorm", "GroupNorm", "RMSNorm", "BatchNorm"):
        return {"weight": {"role": "scale"}, "bias": {"role": "offset"}}.get(leaf, {})
    single = _equinox_shape(layer, name, leaf, shape)
    if single != shape:
        return _stacked(equinox_layer(layer, name, leaf, single), single, shape)
    if name == "Embedding":
        return kernel(shape, "embedding") if leaf == "weight" else {}
    if name in ("LSTMCell", "GRUCell"):
        lstm = name == "LSTMCell"
        order = {"blocks": LSTM_GATES if lstm else GRU_GATES, "keras_blocks": LSTM_GATES if lstm else KERAS_GRU_GATES}
        known = {"units": layer.hidden_size}
        roles = {"weight_ih": "kernel", "weight_hh": "recurrent_kernel"}
        if leaf in roles:
            return torch_kernel(shape, roles[leaf], known=known, **order)
        weight = torch_kernel(_equinox_shape(layer, name, "weight_ih", shape), known=known)
        beside = {"fans": weight["fans"], "known": weight["known"]}
        return {"bias": {"role": "bias", **beside, **order}, "bias_n": {"role": "recurrent_bias", **beside}}.get(
            leaf, {}
        )
    if name == "Linear" or name.startswith("Conv"):
        weight_shape = _equinox_shape(layer, name, "weight", tuple(layer.weight.shape))
        groups = getattr(layer, "groups", 1)
        depthwise = groups > 1 and groups == getattr(layer, "in_channels", None)
        known = {"groups": groups, "inputs": weight_shape[1] * groups if len(weight_shape) > 1 else 1}
        weight = torch_kernel(weight_shape, "depthwise_kernel" if depthwise else "kernel", known=known)
        return {"weight": weight, "bias": {"role": "bias", "fans": weight["fans"], "known": weight["known"]}}.get(
            leaf, {}
        )
    return {}


def _equinox_shape(layer: Any, name: str, leaf: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of one such array, as the layer's numbers have it; a stack of layers has more axes."""
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
