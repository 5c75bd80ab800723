"""Layouts: the order in which a framework stores a kernel's axes, relative to Keras's order."""

from __future__ import annotations

import operator
from typing import Any

from fanin._core.messages import shown, suggestion
from fanin._core.types import Layout

LAYOUTS = ("keras", "torch")


def keras_axes(layout: Layout | str, rank: int) -> tuple[int, ...]:
    """The axes of a tensor in Keras's order, as `transpose` and `permute` take them.

    Args:
        layout: "keras" if the tensor already has Keras's order, (…receptive field…, in, out); "torch" for PyTorch's,
            (out, in, …receptive field…), which also turns a transposed convolution's (in, out, …) into Keras's
            (…, out, in); or the axes themselves, for any other order.
        rank: the number of the tensor's axes. A tensor of fewer than two has the same order in both layouts.

    Raises:
        ValueError, TypeError: the layout is unknown, or not a permutation of the tensor's axes.
    """
    if isinstance(layout, str):
        if layout == "keras" or (layout == "torch" and rank < 2):
            return tuple(range(rank))
        if layout == "torch":
            return (*range(2, rank), 1, 0)
        raise ValueError(
            f"`layout` must be 'keras', 'torch' or a permutation of the axes. Received: layout={shown(layout)}."
            f"{suggestion(layout, LAYOUTS)}"
        )
    try:
        axes = tuple(map(operator.index, layout))
    except TypeError:
        raise TypeError(
            f"`layout` must be 'keras', 'torch' or a permutation of the axes. Received: layout={shown(layout)}."
        ) from None
    if sorted(axis % max(rank, 1) for axis in axes) != list(range(rank)) or not all(-rank <= a < rank for a in axes):
        raise ValueError(
            f"`layout` must have each of the tensor's {rank} axes once. Received: layout={shown(layout)}. "
            "It says where Keras's axes are, as in `tensor.permute(layout)`."
        )
    return tuple(axis % rank for axis in axes)


def permuted(values: tuple[Any, ...], axes: tuple[int, ...]) -> tuple[Any, ...]:
    """A shape or an index in the order of these axes."""
    return tuple(values[axis] for axis in axes)
