"""Models as the programs that make their arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax

from fanin.jax.layers import Layer
from fanin.jax.programs import Value, values_of
from fanin.jax.trees import Tree, tree_of


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
    return tree, dict(zip(paths, values_of(program), strict=True))
