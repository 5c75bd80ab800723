"""`recipe_of`, which reads the initializers of JAX modules from the program that makes their arrays."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax

from fanin._core.messages import class_name, shown
from fanin.jax.layers import Layer
from fanin.jax.linen import layers_of
from fanin.jax.programs import Value, values_of
from fanin.jax.readings import readings_of
from fanin.jax.trees import Tree, tree_of
from fanin.recipes.readings import Reading, Readings, Unreadable
from fanin.recipes.recipe import Recipe


def recipe_of(model: Any, *args: Any, seed: int = 0, unreadable: Unreadable = "error", **kwargs: Any) -> Recipe:
    """The recipe of a model's own initializers."""
    tree, values = _read(model, args, kwargs)
    parameters = {leaf.path: leaf.parameter for leaf in tree.leaves if leaf.parameter is not None}
    read: dict[str, tuple[Reading, ...]] = {}
    unread: dict[str, str] = {}
    for path, outcome in readings_of({path: values[path] for path in parameters}, parameters):
        if isinstance(outcome, str):
            unread[path] = outcome
        else:
            read[path] = (outcome,)
    return Readings(tree.description(), read, unread).recipe(seed, unreadable)


def _read(model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Tree, dict[str, Value]]:
    """The tree of a model's arrays, and what each of them is by its path."""
    if _is_of(model, "flax.linen", "Module"):
        _, layers = layers_of(model, *args, **kwargs)
        return _traced(lambda: model.init(jax.random.key(0), *args, **kwargs), layers)
    if args or kwargs:
        raise TypeError(
            "Arguments are for modules of flax.linen, which they give their shapes. "
            f"Received: {len(args) + len(kwargs)} with a model of type {class_name(type(model))}."
        )
    if not callable(model) or any(_is_of(model, *each) for each in _MODULES):
        raise TypeError(
            "`model` must be a module of flax.linen, or a function without arguments that makes a model, such as "
            "`lambda: Model(rngs=nnx.Rngs(0))`: the arrays of one that is made do not tell what they were drawn from. "
            f"Received: {shown(model)[:100]} (of type {class_name(type(model))})."
        )
    return _traced(model)


# The modules of frameworks, which may be functions, too, and the names of their classes there.
_MODULES = (("flax.nnx", "Pytree"), ("flax.nnx", "Module"), ("equinox", "Module"))


def _is_of(model: Any, module: str, name: str) -> bool:
    """Whether this is an object of a class of a framework; False if that has not been imported."""
    cls = getattr(sys.modules.get(module), name, None)
    return cls is not None and isinstance(model, cls)


def _traced(function: Callable[[], Any], layers: Mapping[str, Layer] | None = None) -> tuple[Tree, dict[str, Value]]:
    """The tree that a function makes, and what each of its parameters is by its path. Nothing is drawn."""
    trees: list[Tree] = []

    def arrays() -> list[Any]:
        tree = tree_of(function(), layers)
        trees.append(tree)
        return [leaf.value for leaf in tree.leaves if leaf.parameter is not None]

    program = jax.make_jaxpr(arrays)()
    (tree,) = trees
    paths = [leaf.path for leaf in tree.leaves if leaf.parameter is not None]
    return tree, dict(zip(paths, values_of(program), strict=True))
