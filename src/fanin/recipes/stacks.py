"""Parameters that stack those of several layers, such as `nn.scan` makes: the layers one by one, and put together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from fanin._core.types import Shape
from fanin.models.parameters import Parameter
from fanin.recipes.entry import Entry, Placement

# In the name of a stack, what stands for the number of each layer. Each layer is then drawn under its own name.
LAYER = "{layer}"


def stack_lengths(parameter: Parameter) -> Shape:
    """The lengths of the axes that stack layers; () if the parameter is no stack, as far as that is known."""
    return parameter.kernel_shape[: parameter.traits.stacked]


def stack_axes(parameter: Parameter) -> Shape:
    """The axes along which layers are stacked in a parameter whose name has `{layer}`: the first if that is unknown.

    Raises:
        ValueError: it is no stack.
    """
    traits = parameter.traits
    if not parameter.shape or (traits.axes is not None and not traits.stacked):
        raise ValueError(
            f"its name has {LAYER}, but it has the shape of a single layer. Remove {LAYER} from its name, or, for "
            "flax.linen, give `layers` from fanin.jax.layers_of, which tell stacks from kernels"
        )
    return (0,) if traits.axes is None else traits.axes[: traits.stacked]


def layer_of(parameter: Parameter) -> Parameter:
    """One layer of a stack, without the axes of the stack."""
    stacked, traits = stack_axes(parameter), parameter.traits
    others = [axis for axis in range(len(parameter.shape)) if axis not in stacked]
    axes = None if traits.axes is None else tuple(others.index(axis) for axis in traits.axes[len(stacked) :])
    shape = tuple(parameter.shape[axis] for axis in others)
    return replace(parameter, shape=shape, traits=replace(traits, axes=axes, stacked=0))


def joined(parameter: Parameter, name: str, entries: Sequence[Entry]) -> Entry:
    """The entry of a stack, from the entries of its layers in order.

    Raises:
        ValueError: rules apply to some layers only, or lay them out differently.
    """
    stacked = stack_axes(parameter)
    lengths = tuple(parameter.shape[axis] for axis in stacked)
    problem = next((entry.problem for entry in entries if entry.problem), "")
    labels = tuple(dict.fromkeys(entry.rule for entry in entries))
    if not problem and len(labels) > 1 and "" in labels:
        bare = [number for number, entry in enumerate(entries) if not entry.matched]
        raise ValueError(f"no rule matches its layers {', '.join(map(str, bare))}")
    orders = {entry.parameter.traits.axes for entry in entries}
    if len(orders) > 1:
        raise ValueError("rules give its layers different layouts")
    others = [axis for axis in range(len(parameter.shape)) if axis not in stacked]
    order = next(iter(orders), None) or tuple(range(len(others)))
    traits = entries[0].parameter.traits if entries else parameter.traits
    axes = (*stacked, *(others[axis] for axis in order))
    return Entry(
        replace(parameter, traits=replace(traits, axes=axes, stacked=len(stacked))),
        name,
        ", ".join(filter(None, labels)),
        tuple(dict.fromkeys(number for entry in entries for number in entry.rules)),
        tuple(
            _placed(placement, place)
            for entry, place in zip(entries, places(lengths), strict=True)
            for placement in entry.placements
        ),
        kept=bool(entries) and all(entry.kept for entry in entries),
        problem=problem,
    )


def places(lengths: Shape) -> list[Shape]:
    """The index of each layer along the axes of a stack, in order."""
    return [
        tuple(number // math.prod(lengths[axis + 1 :]) % length for axis, length in enumerate(lengths))
        for number in range(math.prod(lengths))
    ]


def _placed(placement: Placement, place: Shape) -> Placement:
    """A layer's placement at its place in the stack."""
    return replace(placement, target=(*((index, index + 1) for index in place), *placement.target))


def restricted(placement: Placement, place: Shape) -> Placement:
    """The part of a whole stack's placement that fills one layer."""
    count = len(place)
    return replace(
        placement,
        target=(*((index, index + 1) for index in place), *placement.target[count:]),
        source=(*place, *placement.source[count:]),
    )
