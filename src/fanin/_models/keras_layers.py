"""The layer types of tf_keras and Keras 3: role, fans and blocks of each variable, and the way to it through a model.

Both have the same classes under the same names, so neither is imported here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fanin._models import role_of_name
from fanin._shapes import fans

LSTM_GATES = ("input", "forget", "cell", "output")
GRU_GATES = ("update", "reset", "candidate")

_ROLES = {
    "gamma": "scale",
    "beta": "offset",
    "moving_mean": "mean",
    "moving_variance": "variance",
    "mean": "mean",
    "variance": "variance",
    "count": "count",
}


def kernel(shape: tuple[int, ...], role: str = "kernel", **more: Any) -> dict[str, Any]:
    """What there is to know of a kernel in Keras's order of axes."""
    both = more.pop("fans", None) or fans(shape)
    known: dict[str, float] = {"units": shape[-1], "inputs": shape[-2] if len(shape) > 1 else 1}
    known |= {"receptive_field": math.prod(shape[:-2]), "groups": 1}
    known |= {"fan_in": both[0], "fan_out": both[1]} | more.pop("known", {})
    return {"role": role, "axes": tuple(range(len(shape))), "fans": both, "known": known, **more}


def _dense(layer: Any, leaf: str, shape: tuple[int, ...]) -> dict[str, Any] | None:
    return kernel(shape) if leaf == "kernel" else _beside(layer, leaf)


def _beside(layer: Any, leaf: str, attribute: str = "kernel", role: str = "bias") -> dict[str, Any] | None:
    """A bias has the fans and numbers of its layer's kernel."""
    if leaf != "bias":
        return None
    variable = getattr(layer, attribute, None)
    if variable is None:
        return {"role": role}
    beside = described(layer, attribute, tuple(variable.shape))
    return {key: beside[key] for key in ("fans", "known", "blocks") if key in beside} | {"role": role}


def _convolution(layer: Any, leaf: str, shape: tuple[int, ...]) -> dict[str, Any] | None:
    if leaf != "kernel":
        return _beside(layer, leaf)
    groups = getattr(layer, "groups", 1)
    described = kernel(shape)
    described["known"] |= {"groups": groups, "inputs": shape[-2] * groups}
    return described


def _transposed(layer: Any, leaf: str, shape: tuple[int, ...]) -> dict[str, Any] | None:
    if leaf != "kernel":
        return _beside(layer, leaf)
    return kernel(shape, known={"units": shape[-2], "inputs": shape[-1]})


def _depthwise(layer: Any, leaf: str, shape: tuple[int, ...]) -> dict[str, Any] | None:
    """A kernel of (…window…, channels, multiplier) is one of (…window…, 1, channels * multiplier) with groups."""
    if leaf not in ("kernel", "depthwise_kernel"):
        if leaf == "pointwise_kernel":
            return kernel(shape)
        pointwise = getattr(layer, "pointwise_kernel", None) is not None
        return _beside(layer, leaf, "pointwise_kernel" if pointwise else _own(layer))
    grouped = (*shape[:-2], 1, shape[-2] * shape[-1])
    known = {"units": grouped[-1], "inputs": shape[-2], "groups": shape[-2]}
    return kernel(shape, "depthwise_kernel", fans=fans(grouped), known=known, matrix_shape=grouped)


def _own(layer: Any) -> str:
    return "depthwise_kernel" if getattr(layer, "depthwise_kernel", None) is not None else "kernel"


def _embedding(layer: Any, leaf: str, shape: tuple[int, ...]) -> dict[str, Any] | None:
    return kernel(shape, "embedding") if leaf in ("embeddings", "position_embeddings", "reverse_embeddings") else None


def _recurrent(layer: Any, leaf: str, shape: tuple[int, ...]) -> dict[str, Any] | None:
    names = " ".join(cls.__name__ for cls in type(layer).__mro__)
    gates: tuple[str, ...] = LSTM_GATES if "LSTM" in names else GRU_GATES if "GRU" in names else ()
    units = shape[-1] // max(1, len(gates))
    if leaf in ("kernel", "recurrent_kernel"):
        return kernel(shape, leaf, known={"units": units}, blocks=gates)
    found = _beside(layer, leaf)
    return None if found is None else found | {"blocks": gates}


def _einsum(layer: Any, leaf: str, shape: tuple[int, ...]) -> dict[str, Any] | None:
    """By the equation: axes of the input alone are summed over, axes of the output alone are its units."""
    if leaf != "kernel":
        return _beside(layer, leaf)
    return einsum_kernel(layer.equation, shape)


def einsum_kernel(equation: str, shape: tuple[int, ...]) -> dict[str, Any] | None:
    """What there is to know of the second operand of an einsum, such as `abc,cde->abde`."""
    match = re.fullmatch(r"([\w.]+),(\w+)->([\w.]+)", equation.replace(" ", ""))
    if match is None or len(match[2]) != len(shape):
        return None
    inputs, axes, outputs = match[1], match[2], match[3]
    summed = [length for name, length in zip(axes, shape, strict=True) if name in inputs and name not in outputs]
    made = [length for name, length in zip(axes, shape, strict=True) if name in outputs and name not in inputs]
    fan_in, fan_out = math.prod(summed), math.prod(made)
    ordered = axes == "".join(sorted(axes, key=lambda name: name in outputs))
    alone = fan_in * fan_out == math.prod(shape)
    matrix = (fan_in, fan_out) if ordered and alone and len(shape) != 2 else None
    known = {"units": fan_out, "inputs": fan_in, "receptive_field": 1}
    return kernel(shape, fans=(fan_in, fan_out), known=known, matrix_shape=matrix)


def _norm(layer: Any, leaf: str, shape: tuple[int, ...]) -> dict[str, Any] | None:
    role = {"scale": "scale", **_ROLES}.get(leaf)
    return {"role": role} if role else None


def _other(layer: Any, leaf: str, shape: tuple[int, ...]) -> dict[str, Any] | None:
    return {}


_Row = Callable[[Any, str, tuple[int, ...]], "dict[str, Any] | None"]
# The first row one of whose names is that of the layer's class or of a base class of it.
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
    (("PReLU", "Attention", "BaseDenseAttention"), _other),
]


def described(layer: Any, leaf: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """What the table says of a variable, or Keras's names where it has no such layer."""
    names = {cls.__name__ for cls in type(layer).__mro__ if cls.__module__.partition(".")[0] in ("keras", "tf_keras")}
    for known, row in TABLE:
        if names.intersection(known):
            found = row(layer, leaf, shape)
            if found is not None:
                return found
            break
    # A layer of somebody's own: kernels are kernels there, too, in Keras's order of axes.
    role = role_of_name(leaf, shape)
    if role in ("kernel", "recurrent_kernel", "embedding") and len(shape) > 1:
        return kernel(shape, role)
    return {"role": role} if role != "other" else {}


@dataclass(frozen=True)
class Visit:
    """A layer within a model.

    Attributes:
        layer: the layer.
        path: its path, dotted, by the names of layers.
        name: the same with the numbers that Keras counts through the process counted within its parent.
        within: the types of the layers around it.
    """

    layer: Any
    path: str
    name: str
    within: tuple[str, ...]


def visits(root: Any) -> Iterator[Visit]:
    """Every layer of a model in every place, the outer ones first; the model's own name is in no path."""

    def walk(visit: Visit, above: frozenset[int]) -> Iterator[Visit]:
        yield visit
        if id(visit.layer) in above:
            return
        children = list(visit.layer._flatten_layers(include_self=False, recursive=False))
        names = _own_names(children)
        used: dict[str, int] = {}
        for child, name in zip(children, names, strict=True):
            path = child.name
            used[path] = used.get(path, 0) + 1
            if used[path] > 1:  # two of one name within a parent
                path = f"{path}#{used[path]}"
            within = (*visit.within, type(visit.layer).__name__)
            inner = Visit(child, _joined(visit.path, path), _joined(visit.name, name), within)
            yield from walk(inner, above | {id(visit.layer)})

    yield from walk(Visit(root, "", "", ()), frozenset())


def _own_names(layers: Sequence[Any]) -> list[str]:
    """Names in which the numbers of names that Keras made are counted anew.

    Keras counts them through the process: a second model of the same code has other names. A name that looks like
    Keras's (the class's, and a number) is taken for one, for nobody can tell.
    """
    given = {layer.name for layer in layers if not _is_automatic(layer)}
    names, used = [], set(given)
    for layer in layers:
        name = layer.name
        if name not in given:
            stem = _stem(layer)
            number = 0
            while (name := f"{stem}_{number}" if number else stem) in used:
                number += 1
        elif names.count(name):
            name = f"{name}#{names.count(name) + 1}"
        used.add(name)
        names.append(name)
    return names


def _stem(layer: Any) -> str:
    return re.sub(r"_\d+$", "", layer.name)


def _is_automatic(layer: Any) -> bool:
    snake = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", type(layer).__name__))
    snake = re.sub(r"([a-z])([A-Z])", r"\1_\2", snake).lower()
    # Bidirectional puts a word before the names of its two layers.
    return re.fullmatch(rf"((for|back)ward_)?{re.escape(snake)}(_\d+)?", layer.name) is not None


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
