"""Traits of parameters: role, axes, fans and blocks, and the functions that layer tables build them with.

Each framework has its own layer table, such as `fanin.torch.layers`; everything that two of them share is here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from fanin._core.layouts import keras_axes, permuted
from fanin._core.shapes import fans as fans_of_shape
from fanin._core.types import Shape

# The roles of parameters in their layers.
ROLES = {
    "kernel": "the matrix that inputs are multiplied by",
    "recurrent_kernel": "the matrix that a recurrent layer's previous outputs are multiplied by",
    "depthwise_kernel": "the kernel of a convolution that keeps channels separate",
    "bias": "the vector that is added to a kernel's outputs",
    "recurrent_bias": "the vector that is added to a recurrent kernel's outputs",
    "embedding": "a table of vectors, (tokens, features)",
    "lora_a": "the matrix of a low-rank adapter that inputs are multiplied by",
    "lora_b": "the matrix of a low-rank adapter that makes its outputs, which are zero at first",
    "scale": "the factor of a normalized input",
    "offset": "the term that is added to a scaled input",
    "mean": "a running mean",
    "variance": "a running variance",
    "count": "a counter",
    "other": "anything else, such as a class token",
}
KERNELS = ("kernel", "recurrent_kernel", "depthwise_kernel")
# The initial values of statistics, which only a rule that names their role changes.
STATISTICS = {"mean": 0, "variance": 1, "count": 0}

# The roles of a norm's parameters and statistics, by the names that frameworks give them.
_NORM_ROLES = {
    **dict.fromkeys(("weight", "scale", "gamma"), "scale"),
    **dict.fromkeys(("bias", "beta"), "offset"),
    **dict.fromkeys(("mean", "running_mean", "moving_mean"), "mean"),
    **dict.fromkeys(("var", "variance", "running_var", "moving_variance"), "variance"),
    **dict.fromkeys(("count", "num_batches_tracked"), "count"),
}
# The roles that the last component of a path implies, whatever the layer.
_NAMED_ROLES = {
    "bias": "bias",
    "gamma": "scale",
    "beta": "offset",
    "scale": "scale",
    "running_mean": "mean",
    "running_var": "variance",
    "moving_mean": "mean",
    "moving_variance": "variance",
    "num_batches_tracked": "count",
    "embedding": "embedding",
    "embeddings": "embedding",
    "kernel": "kernel",
    "recurrent_kernel": "recurrent_kernel",
}


def role_of_name(leaf: str, shape: Shape) -> str:
    """The role that a parameter's name and shape alone imply; "other" if they imply none."""
    if leaf == "weight" and len(shape) == 1:
        return "scale"
    return _NAMED_ROLES.get(leaf, "other")


@dataclass(frozen=True)
class Blocks:
    """The names of the equal blocks of a fused parameter, along the last of Keras's axes.

    Attributes:
        stored: the names in the order of this framework.
        keras: the names in the order of Keras.
    """

    stored: tuple[str, ...] = ()
    keras: tuple[str, ...] = ()

    @classmethod
    def of(cls, *names: str, keras: tuple[str, ...] | None = None) -> Blocks:
        """Blocks with these names, in the same order in Keras unless another is given."""
        return cls(names, names if keras is None else keras)

    def __bool__(self) -> bool:
        return bool(self.stored)


NO_BLOCKS = Blocks()
LSTM = Blocks.of("input", "forget", "cell", "output")
GRU = Blocks.of("update", "reset", "candidate")
GRU_RESET_FIRST = Blocks.of("reset", "update", "candidate", keras=GRU.keras)  # PyTorch, flax and equinox
MGU = Blocks.of("forget", "candidate")
QKV = Blocks.of("query", "key", "value")


class Part(NamedTuple):
    """The place of a parameter in a tensor that other frameworks store fused.

    Attributes:
        path: the path of that tensor.
        block: the name of this block.
        blocks: the names of all blocks, in Keras's order along the tensor's last axis.
    """

    path: str
    block: str
    blocks: tuple[str, ...]


@dataclass(frozen=True)
class Traits:
    """The traits of a parameter, which follow from its layer.

    Attributes:
        role: one of `ROLES`.
        axes: the axes in Keras's order, as `transpose` takes them; None if unknown.
        fan_in: the number of units that feed one output of its layer; None if unknown.
        fan_out: the number of units that one input of its layer feeds; None if unknown.
        column_axes: how many of the last axes, in Keras's order, are the columns of the matrix that is decomposed.
        blocks: the equal blocks that it consists of.
        part: the fused tensor that it is a block of, if it is one.
        stacked: how many of its first axes stack layers.
        zero_rows: the rows that are always zero (the padding of embeddings).
        numbers: further numbers for expressions, such as `units`.
        start: the initializer and its arguments, as in a rule, of a parameter that only a rule that names its role
            changes, such as an adapter's; None for others.
    """

    role: str = "other"
    axes: Shape | None = None
    fan_in: float | None = None
    fan_out: float | None = None
    column_axes: int = 1
    blocks: Blocks = NO_BLOCKS
    part: Part | None = None
    stacked: int = 0
    zero_rows: tuple[int, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    start: Mapping[str, Any] | None = None

    @property
    def fans(self) -> tuple[float, float] | None:
        """Fan-in and fan-out; None unless both are known."""
        return None if self.fan_in is None or self.fan_out is None else (self.fan_in, self.fan_out)

    def with_numbers(self, **numbers: float) -> Traits:
        """The same traits, with these numbers added or replaced."""
        return replace(self, numbers={**self.numbers, **numbers})


UNKNOWN = Traits()


def kernel(
    shape: Shape,
    axes: Shape | None = None,
    *,
    role: str = "kernel",
    fans: tuple[float, float] | None = None,
    column_axes: int = 1,
    blocks: Blocks = NO_BLOCKS,
    zero_rows: tuple[int, ...] = (),
    **numbers: float,
) -> Traits:
    """The traits of a kernel, or of a table of embeddings.

    Args:
        shape: its shape as stored.
        axes: the axes in Keras's order; None if it is stored in that order.
        role: its role.
        fans: fan-in and fan-out, if they are not those of the shape in Keras's order.
        column_axes: as in `Traits`.
        blocks: as in `Traits`.
        zero_rows: as in `Traits`.
        **numbers: values for `units`, `inputs`, `receptive_field` and `groups` that replace those of the shape.
    """
    axes = tuple(range(len(shape))) if axes is None else axes
    ordered = permuted(shape, axes)
    fan_in, fan_out = fans_of_shape(ordered) if fans is None else fans
    known: dict[str, float] = {
        "units": ordered[-1],
        "inputs": ordered[-2] if len(ordered) > 1 else 1,
        "receptive_field": math.prod(ordered[:-2]),
        "groups": 1,
        **numbers,
    }
    return Traits(role, axes, fan_in, fan_out, column_axes, blocks, zero_rows=zero_rows, numbers=known)


def torch_kernel(shape: Shape, *, role: str = "kernel", blocks: Blocks = NO_BLOCKS, **numbers: float) -> Traits:
    """The traits of a kernel in the order of PyTorch and equinox, (out, in, …)."""
    return kernel(shape, keras_axes("torch", len(shape)), role=role, blocks=blocks).with_numbers(**numbers)


def beside(weight: Traits, role: str = "bias", blocks: Blocks | None = None) -> Traits:
    """The traits of a kernel's bias: the kernel's fans and numbers, and its blocks unless others are given."""
    kept = weight.blocks if blocks is None else blocks
    return Traits(role, fan_in=weight.fan_in, fan_out=weight.fan_out, blocks=kept, numbers=weight.numbers)


def norm(leaf: str) -> Traits | None:
    """The traits of a norm's parameter or statistic by its name; None if norms have none of that name."""
    role = _NORM_ROLES.get(leaf)
    return None if role is None else Traits(role)


def einsum(equation: str, shape: Shape) -> Traits | None:
    """The traits of the second operand of an einsum, such as `abc,cde->abde`.

    Axes that it shares only with the input are summed over and make the fan-in; those shared only with the output make
    the units.
    """
    match = re.fullmatch(r"([\w.]+),(\w+)->([\w.]+)", equation.replace(" ", ""))
    if match is None or len(match[2]) != len(shape):
        return None
    inputs, axes, outputs = match[1], match[2], match[3]
    summed = [length for name, length in zip(axes, shape, strict=True) if name in inputs and name not in outputs]
    made = [length for name, length in zip(axes, shape, strict=True) if name in outputs and name not in inputs]
    fan_in, fan_out = math.prod(summed), math.prod(made)
    ordered = axes == "".join(sorted(axes, key=lambda name: name in outputs))
    is_matrix = ordered and fan_in * fan_out == math.prod(shape)
    column_axes = len(made) if is_matrix else 1
    return kernel(
        shape, fans=(fan_in, fan_out), column_axes=column_axes, units=fan_out, inputs=fan_in, receptive_field=1
    )
