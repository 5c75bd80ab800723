"""`initialize`, which makes the arrays of a tree with the values that a recipe has for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jax.sharding import PartitionSpec, Sharding

from fanin._core.types import Globs, Unmatched
from fanin.jax.layers import Layer
from fanin.jax.planned import PlannedTree
from fanin.models.names import Names
from fanin.models.parameters import Parameter
from fanin.recipes.execution import Options, Report
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
        model: a flax.nnx module (`nnx.eval_shape(lambda: Model(rngs=nnx.Rngs(0)))`) or its state, an equinox module
            (`eqx.filter_eval_shape(Model, key)`), the variables of a flax.linen module or what `layers_of` returns for
            it, or any tree of arrays or shapes. Random states of flax.nnx are made, too, from the seed and their paths.
        recipe: a recipe, or the name of a preset. `recipe.plan(model)` shows what each array gets.
        seed: a seed that replaces the recipe's.
        only, skip, names, unmatched, progress, prefix: see `fanin.recipes.Options`.
        layers: for flax.linen, the layers from `layers_of`. Without them, traits come from flax's names alone, and a
            kernel's fans are unknown if the names do not determine its axes.
        shardings: a sharding; a `PartitionSpec` for the mesh in force (`jax.set_mesh`); a function of a `Parameter`
            that returns one of these or None; or a tree with the model's structure and one of these for each array.
            Each process makes the shards of its own devices, each distinct one once. Arrays and shapes that have a
            sharding need none here, nor do those that flax's metadata have one for (`nnx.with_partitioning`,
            `nn.with_partitioning`), if a mesh is in force; all other arrays then lie on each of its devices, as JAX's
            own do.

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
    options = Options(only, skip, names, unmatched, progress, prefix)
    planned = PlannedTree(model, recipe_of(recipe, seed), options, layers=layers, shardings=shardings)
    values = planned.values()
    for array in planned.arrays():
        values[array.path] = array.make()
    return planned.rebuilt(values), planned.report()
