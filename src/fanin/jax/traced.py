"""Models as the programs that make their arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax.extend import core

from fanin.jax.layers import Layer
from fanin.jax.programs import Computed, Value, values_of
from fanin.jax.trees import Tree, tree_of

MOST_VALUES = 4096  # of a table in a recipe


def traced(function: Callable[[], Any], layers: Mapping[str, Layer] | None = None) -> tuple[Tree, dict[str, Value]]:
    """The tree that a function makes, and what each of its parameters is by its path. Nothing is drawn.

    Args:
        function: makes a module, or any tree of arrays.
        layers: for flax.linen, the layers from `layers_of`.
    """
    trees: list[Tree] = []

    def arrays() -> list[Any]:
        tree = tree_of(function(), layers)
        trees.append(tree)
        return [leaf.value for leaf in tree.leaves if leaf.parameter is not None]

    program = jax.make_jaxpr(arrays)()
    (tree,) = trees
    paths = [leaf.path for leaf in tree.leaves if leaf.parameter is not None]
    values = values_of(program)
    few = [
        number
        for number, each in enumerate(values)
        if isinstance(each, Computed) and _size(program, number) <= MOST_VALUES
    ]
    for number, computed in zip(few, _computed(program, few), strict=True):
        values[number] = Computed(computed)
    return tree, dict(zip(paths, values, strict=True))


def _size(program: Any, number: int) -> int:
    return math.prod(program.out_avals[number].shape)


def _computed(program: Any, numbers: list[int]) -> list[Any]:
    """Some results of a program, of which only what they depend on is run."""
    run = core.jaxpr_as_fun(program)
    return jax.jit(lambda: [run()[number] for number in numbers])() if numbers else []
