"""`recipe_of`, which reads the initializers of JAX modules from the program that makes their arrays."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import jax

from fanin._core.messages import class_name, shown
from fanin.jax.linen import layers_of
from fanin.jax.programs import Value
from fanin.jax.readings import readings_of
from fanin.jax.rebuilt import is_likely, values_of_layers
from fanin.jax.traced import traced
from fanin.jax.trees import Tree, tree_of
from fanin.recipes.readings import Reading, Readings, Unreadable
from fanin.recipes.recipe import Recipe


def recipe_of(model: Any, *args: Any, seed: int = 0, unreadable: Unreadable = "error", **kwargs: Any) -> Recipe:
    """The recipe of a model's own initializers: each array gets the distribution that the model's code draws it from.

    JAX turns the code that makes the arrays into a program, without running it, and fanin reads there what becomes of
    the values of `jax.random`: in the initializers of JAX, flax and equinox, and in your own functions, as long as
    these scale, shift, reshape, split or stack what they draw. The recipe's seed replaces the keys.

    Args:
        model: a module of flax.linen; or a function without arguments that makes a module of flax.nnx or equinox, or
            any tree of arrays, as `lambda: hk.transform(f).init(key, inputs)` does. A module of equinox is read, too:
            its layers are followed once more with the arguments that they keep, and its values must be likely ones.
            One of flax.nnx is not, since it does not keep its initializers.
        *args: for flax.linen, the arguments that the module is called with, as arrays or `jax.ShapeDtypeStruct`.
        seed: the recipe's seed.
        unreadable: "error", or "warn" to keep arrays as they are whose values cannot be read.
        **kwargs: for flax.linen, the keyword arguments of the call.

    Returns:
        A recipe whose plan for the model has the same distributions. Standard deviations that follow from the fans of
        a kernel by a usual rule are written as that rule (`LecunNormal`), others as numbers.

    Raises:
        ValueError: arrays cannot be read; the message lists them, with the reasons and the lines of the code.
        TypeError: `model` is none of these.

    >>> import fanin.jax, jax
    >>> from flax import nnx
    >>> normal = jax.nn.initializers.normal(0.02)
    >>> make = lambda: nnx.Linear(784, 256, kernel_init=normal, rngs=nnx.Rngs(0))
    >>> recipe = fanin.jax.recipe_of(make, seed=1)
    >>> [entry.description for entry in recipe.plan(nnx.eval_shape(make)).entries]
    ['Zeros()', 'RandomNormal(mean=0, stddev=0.02)']
    """
    tree, values = _read(model, args, kwargs)
    parameters = {leaf.path: leaf.parameter for leaf in tree.leaves if leaf.parameter is not None}
    of_equinox = _is_of(model, "equinox", "Module")
    held = {leaf.path: leaf.value for leaf in tree.leaves if of_equinox and leaf.parameter is not None}
    read: dict[str, tuple[Reading, ...]] = {}
    unread: dict[str, str] = {}
    for path, outcome in readings_of({path: values[path] for path in parameters}, parameters):
        if isinstance(outcome, Reading) and path in held and not is_likely(outcome, parameters[path], held[path]):
            outcome = "its values are not those that its layer's constructor draws: it was changed, or trained"
        if isinstance(outcome, str):
            unread[path] = outcome
        else:
            read[path] = (outcome,)
    return Readings(tree.description(), read, unread).recipe(seed, unreadable)


def _read(model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Tree, dict[str, Value]]:
    """The tree of a model's arrays, and what each of them is by its path."""
    if _is_of(model, "flax.linen", "Module"):
        _, layers = layers_of(model, *args, **kwargs)
        return traced(lambda: model.init(jax.random.key(0), *args, **kwargs), layers)
    if args or kwargs:
        raise TypeError(
            "Arguments are for modules of flax.linen, which they give their shapes. "
            f"Received: {len(args) + len(kwargs)} with a model of type {class_name(type(model))}."
        )
    if _is_of(model, "equinox", "Module"):
        tree = tree_of(model)
        return tree, values_of_layers(tree)
    if not callable(model) or any(_is_of(model, *each) for each in _MODULES):
        raise TypeError(
            "`model` must be a module of flax.linen or equinox, or a function without arguments that makes a model, "
            "such as `lambda: Model(rngs=nnx.Rngs(0))`: modules of flax.nnx do not keep their initializers. "
            f"Received: {shown(model)[:100]} (of type {class_name(type(model))})."
        )
    return traced(model)


# The classes of modules that do not keep their initializers, but may be functions.
_MODULES = (("flax.nnx", "Pytree"), ("flax.nnx", "Module"))


def _is_of(model: Any, module: str, name: str) -> bool:
    """Whether this is an object of a class of a framework; False if that has not been imported."""
    cls = getattr(sys.modules.get(module), name, None)
    return cls is not None and isinstance(model, cls)
