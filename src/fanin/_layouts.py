"""Orders of axes: where a framework keeps a kernel's axes, told by where Keras has them."""

from __future__ import annotations

import operator
from typing import Any

from fanin._words import suggestion

LAYOUTS = ("keras", "torch")


def keras_axes(layout: Any, rank: int) -> tuple[int, ...]:
    """The axes of a tensor in the order in which Keras has them, as `transpose` and `permute` take them.

    Args:
        layout: "keras": the tensor has Keras's order, (…receptive field…, in, out), already. "torch": it is PyTorch's
            weight, (out, in, …receptive field…); a transposed convolution's, (in, out, …), is Keras's (…, out, in) by
            the same exchange. Or the axes themselves, for what is kept in yet another order.
        rank: how many axes the tensor has. One of fewer than two has nothing to exchange.

    Raises:
        ValueError, TypeError: no such layout, or not a permutation of the tensor's axes.
    """
    if isinstance(layout, str):
        if layout == "keras" or (layout == "torch" and rank < 2):
            return tuple(range(rank))
        if layout == "torch":
            return (*range(2, rank), 1, 0)
        raise ValueError(
            f"`layout` must be 'keras', 'torch' or a permutation of the axes. Received: layout={layout!r}."
            f"{suggestion(layout, LAYOUTS)}"
        )
    try:
        axes = tuple(map(operator.index, layout))
    except TypeError:
        raise TypeError(
            f"`layout` must be 'keras', 'torch' or a permutation of the axes. Received: layout={layout!r}."
        ) from None
    if sorted(axis % max(rank, 1) for axis in axes) != list(range(rank)) or not all(-rank <= a < rank for a in axes):
        raise ValueError(
            f"`layout` must have each of the tensor's {rank} axes once. Received: layout={layout!r}. "
            "It says where Keras's axes are, as in `tensor.permute(layout)`."
        )
    return tuple(axis % rank for axis in axes)


def permuted(values: tuple[Any, ...], axes: tuple[int, ...]) -> tuple[Any, ...]:
    """A shape or an index in the order of these axes."""
    return tuple(values[axis] for axis in axes)
