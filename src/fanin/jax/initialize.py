"""`initialize`, which makes the arrays of a tree with the values that a recipe has for them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax

from fanin._core.tensors import to_jax, to_sharded_jax
from fanin._core.types import Globs, Unmatched
from fanin.jax.layers import Layer
from fanin.jax.trees import Tree, tree_of
from fanin.models.names import Names
from fanin.models.parameters import Parameter
from fanin.recipes.entry import Entry
from fanin.recipes.execution import Execution, Options, Report
from fanin.recipes.plan import PlanError
from fanin.recipes.recipe import Recipe, recipe_of


def initialize(
    model: Any,
    recipe: Recipe | str,
    *,
    seed: int | None = None,
    only: Globs | None = None,
    skip: Globs | None = None,
    names: Names = None,
    unmatched: Unmatched = "error",
    progress: bool | None = None,
    prefix: str | None = None,
    layers: Mapping[str, Layer] | None = None,
    shardings: jax.sharding.Sharding | Callable[[Parameter], jax.sharding.Sharding | None] | Any = None,
) -> tuple[Any, Report]:
    """Makes a tree of arrays, each with the values that a recipe has for it.

    The values are a function of the recipe's seed, the array's name and the index: other arrays and their order do not
    matter. The given tree is not changed.

    Args:
        model: a flax.nnx module (`nnx.eval_shape(lambda: Model(rngs=nnx.Rngs(0)))`), an equinox module
            (`eqx.filter_eval_shape(Model, key)`), the variables of a flax.linen module (see `layers_of`), or any tree
            of arrays or shapes. Random states of flax.nnx are made, too, from the seed and their paths.
        recipe: a recipe, or the name of a preset. `recipe.plan(model)` shows what each array gets.
        seed: a seed that replaces the recipe's.
        only, skip, names, unmatched, progress, prefix: see `fanin.recipes.Options`.
        layers: for flax.linen, the layers from `layers_of`. Without them, traits come from flax's names alone, and a
            kernel's fans are unknown if the names do not determine its axes.
        shardings: a sharding, a function of a `Parameter` that returns one or None, or a tree of them. Each device's
            shard is then made separately. Shapes that have a sharding need none here.

    Returns:
        The tree, and a report of what was made and kept.

    Raises:
        fanin.recipes.PlanError: the recipe does not fit the tree, or a leaf that no rule draws is a shape. (A
            ValueError.)
        TypeError: an argument is not a tree of arrays, or not a recipe.

    >>> import fanin, fanin.jax, jax
    >>> from flax import nnx
    >>> abstract = nnx.eval_shape(lambda: nnx.Linear(784, 256, rngs=nnx.Rngs(0)))
    >>> linear, report = fanin.jax.initialize(abstract, "flax", seed=1)
    >>> bool((linear.kernel[...] == fanin.LecunNormal(seed=1).spawn("kernel")((784, 256))).all())
    True
    """
    recipe = recipe_of(recipe, seed)
    held = tree_of(model, layers)
    options = Options(only, skip, names, unmatched, progress, prefix)
    execution = Execution(held.description(), recipe, options)
    own_path = {options.placed(leaf.path): leaf.path for leaf in held.leaves}
    given = _shardings(held, shardings)
    kept = {own_path[entry.path] for entry in execution.plan.entries if not entry.placements}
    _refuse_abstract(held, kept - {own_path[path] for path in execution.passed})
    values = {leaf.path: leaf.value for leaf in held.leaves}
    for entry in execution.entries():
        path = own_path[entry.path]
        values[path] = _made(entry, given.get(path) or _abstract_sharding(values[path]))
    for leaf in held.leaves:
        if leaf.make is not None:
            path = options.placed(leaf.path)
            values[leaf.path] = leaf.make(recipe.seed, path)
            execution.buffers[path] = "a random state, from the seed and its path"
    return held.rebuilt([values[leaf.path] for leaf in held.leaves]), execution.report()


def _refuse_abstract(held: Tree, kept: Collection[str]) -> None:
    """Raises if a leaf that is to be in the tree as it is, such as those at these paths, is a shape and no array."""
    shapes = [
        leaf.path
        for leaf in held.leaves
        if isinstance(leaf.value, jax.ShapeDtypeStruct)
        and leaf.make is None
        and (leaf.parameter is None or leaf.path in kept)
    ]
    if shapes:
        raise PlanError(
            f"Leaves of {held.model} that no rule draws must be arrays, not shapes; nothing has been made.\n"
            + "".join(f"  {path}\n" for path in shapes)
            + "  Give them values, or leave them out of the tree."
        )


def _shardings(held: Tree, shardings: Any) -> dict[str, Any]:
    """The sharding of each array by path, from one for all, a function of a parameter, or a tree like the arrays'."""
    if shardings is None:
        return {}
    if isinstance(shardings, jax.sharding.Sharding):
        return {leaf.path: shardings for leaf in held.leaves}
    if callable(shardings):
        return {leaf.path: shardings(leaf.parameter) for leaf in held.leaves if leaf.parameter is not None}
    flat = jax.tree_util.tree_leaves(shardings, is_leaf=lambda each: isinstance(each, jax.sharding.Sharding))
    if len(flat) != len(held.leaves):
        raise ValueError(
            f"`shardings` must have a sharding for each of the tree's {len(held.leaves)} arrays. Received: {len(flat)}."
        )
    return {leaf.path: sharding for leaf, sharding in zip(held.leaves, flat, strict=True)}


def _abstract_sharding(value: Any) -> Any:
    """The sharding of an array or shape, on the current mesh if the sharding's own mesh is abstract."""
    sharding: Any = getattr(value, "sharding", None)
    if isinstance(getattr(sharding, "mesh", None), jax.sharding.AbstractMesh):
        mesh = jax.sharding.get_mesh()
        return None if mesh.empty else jax.sharding.NamedSharding(mesh, sharding.spec)
    return sharding


def _made(entry: Entry, sharding: Any) -> Any:
    """The array of an entry, made shard by shard if it has a sharding."""
    if sharding is None:
        return to_jax(entry.make())
    return to_sharded_jax(entry.pieces, entry.shape, entry.parameter.dtype, sharding)
