"""`initialize`, which makes the arrays of a tree with the values that a recipe has for them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from jax.sharding import PartitionSpec, Sharding

from fanin._core.messages import visible
from fanin._core.types import Globs, RegionLike, Unmatched
from fanin.jax.annotations import own_sharding
from fanin.jax.layers import Layer
from fanin.jax.shards import array_of, checked_sharding, compiling, or_replicated
from fanin.jax.trees import Leaf, Tree, tree_of
from fanin.models.names import Names
from fanin.models.parameters import Parameter
from fanin.recipes.entry import Entry
from fanin.recipes.execution import Execution, Options, Report
from fanin.recipes.plan import Plan, PlanError
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
    shardings: Sharding | PartitionSpec | Callable[[Parameter], Sharding | PartitionSpec | None] | Any = None,
) -> tuple[Any, Report]:
    """Makes a tree of arrays, each with the values that a recipe has for it.

    The values are a function of the recipe's seed, the array's name and the index: other arrays and their order do not
    matter. The given tree is not changed. In a function that JAX compiles (`jax.jit`, `nnx.jit`), callbacks make the
    same values when the program runs, and the program itself contains none of them. The report is then about the
    program, which has run only when its results are there.

    Args:
        model: a flax.nnx module (`nnx.eval_shape(lambda: Model(rngs=nnx.Rngs(0)))`), an equinox module
            (`eqx.filter_eval_shape(Model, key)`), the variables of a flax.linen module or what `layers_of` returns for
            it, or any tree of arrays or shapes. Random states of flax.nnx are made, too, from the seed and their paths.
        recipe: a recipe, or the name of a preset. `recipe.plan(model)` shows what each array gets.
        seed: a seed that replaces the recipe's.
        only, skip, names, unmatched, progress, prefix: see `fanin.recipes.Options`.
        layers: for flax.linen, the layers from `layers_of`. Without them, traits come from flax's names alone, and a
            kernel's fans are unknown if the names do not determine its axes.
        shardings: a sharding; a `PartitionSpec` for the mesh in force (`jax.set_mesh`); a function of a `Parameter`
            that returns one of these or None; or a tree with the model's structure and one of these for each array.
            Each device's shard is then made separately. Arrays and shapes that have a sharding need none here, nor do
            those that flax's metadata have one for (`nnx.with_partitioning`, `nn.with_partitioning`), if a mesh is in
            force.

    Returns:
        The tree, and a report of what was made and kept.

    Raises:
        fanin.recipes.PlanError: the recipe does not fit the tree, or a leaf that no rule draws is a shape. (A
            ValueError.)
        TypeError: an argument is not a tree of arrays, or not a recipe, or `shardings` has something else in it.
        ValueError: a sharding does not divide an array evenly, a `PartitionSpec` is given and no mesh is in force, or
            `shardings` is a tree of another structure. Nothing has been made.

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
    _refuse_abstract(held, execution.plan, own_path, execution.passed)
    chosen = {own_path[entry.path] for entry in execution.plan.entries if entry.placements}
    given = _shardings(held, shardings)
    placed = {leaf.path: _checked(leaf, given.get(leaf.path)) for leaf in held.leaves if leaf.path in chosen}
    values = {leaf.path: leaf.value for leaf in held.leaves}
    for entry in execution.entries():
        path = own_path[entry.path]
        source = entry if entry.covers else _Overlaid(entry, values[path])
        values[path] = array_of(source.pieces, source.make, entry.shape, entry.parameter.dtype, placed[path])
    for leaf in held.leaves:
        if leaf.make is not None:
            path = options.placed(leaf.path)
            values[leaf.path] = leaf.make(recipe.seed, path)
            execution.buffers[path] = "a random state, from the seed and its path"
    return held.rebuilt([values[leaf.path] for leaf in held.leaves]), execution.report()


class _Overlaid:
    """An array with the blocks that a rule keeps, and new values for the others."""

    def __init__(self, entry: Entry, value: Any) -> None:
        self._values = entry.over(np.asarray(value))

    def make(self) -> np.ndarray:
        """The whole array."""
        return self._values

    def pieces(self, regions: Iterable[RegionLike]) -> list[np.ndarray]:
        """An array for each region."""
        return [self._values[region] for region in regions]  # pyright: ignore[reportArgumentType]


def _refuse_abstract(held: Tree, plan: Plan, own_path: Mapping[str, str], passed: Collection[str]) -> None:
    """Raises if a leaf that is not drawn is a shape instead of an array."""
    partial = {own_path[entry.path] for entry in plan.entries if entry.placements and not entry.covers}
    kept = {own_path[entry.path] for entry in plan.entries if not entry.covers and entry.path not in passed}
    traced = [leaf.path for leaf in held.leaves if leaf.path in partial and isinstance(leaf.value, Tracer)]
    if traced:
        raise PlanError(
            "Rules that keep some blocks of an array need its values, which a function that JAX compiles does not "
            "have while it is traced; nothing has been made.\n"
            + "".join(f"  {visible(path)}\n" for path in traced)
            + "  Call `initialize` outside of the function."
        )
    shapes = [
        leaf.path
        for leaf in held.leaves
        if isinstance(leaf.value, jax.ShapeDtypeStruct)
        and leaf.make is None
        and (leaf.parameter is None or leaf.path in kept)
    ]
    if shapes:
        raise PlanError(
            f"Leaves of {visible(held.model)} that rules keep, or draw in part, must be arrays, not shapes; nothing "
            "has been made.\n"
            + "".join(f"  {visible(path)}\n" for path in shapes)
            + "  Give them values, or leave them out of the tree."
        )


_SHARDING = (Sharding, PartitionSpec)


def _checked(leaf: Leaf, given: Any) -> Sharding | None:
    """The sharding of a new array: the given one, or else the one that the leaf has itself."""
    own = own_sharding(leaf.value, leaf.annotation) if given is None else None
    sharding = given if own is None else own
    sharding = or_replicated(sharding) if compiling() else sharding
    name = "shardings" if own is None else "sharding"
    return checked_sharding(sharding, tuple(leaf.value.shape), name, leaf.path)


def _shardings(held: Tree, shardings: Any) -> dict[str, Any]:
    """What is given as the sharding of each array, by path: one for all, a function of a parameter, or a tree."""
    if shardings is None:
        return {}
    if isinstance(shardings, _SHARDING):
        return {leaf.path: shardings for leaf in held.leaves}
    if callable(shardings) and jax.tree_util.all_leaves([shardings]):  # a module may be callable, and is a tree
        return {leaf.path: shardings(leaf.parameter) for leaf in held.leaves if leaf.parameter is not None}
    given = held.paths_of(shardings, lambda each: each is None or isinstance(each, _SHARDING))
    known = [leaf.path for leaf in held.leaves]
    lacking = [leaf.path for leaf in held.leaves if leaf.parameter is not None and leaf.path not in given]
    unknown = [path for path, each in given.items() if each is not None and path not in known]
    if lacking or unknown:
        problems = [f"it has none for {path}" for path in lacking[:1]]
        problems += [f"{held.model} has no {path}" for path in unknown[:1]]
        raise ValueError(
            "`shardings` must be a sharding, a PartitionSpec, a function of a parameter, or a tree with the model's "
            f"structure and a sharding, a PartitionSpec or None for each array. Received: {type(shardings).__name__}; "
            f"{', and '.join(problems)}."
        )
    return given
