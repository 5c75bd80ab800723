"""The description and the initialization of tf_keras models."""

from __future__ import annotations

from typing import Any

from fanin._core.types import Globs, Unmatched
from fanin._keras.describe import Scan
from fanin._keras.initialize import initialize as _initialize
from fanin.models.names import Names
from fanin.models.parameters import Model
from fanin.recipes.execution import Options, Report
from fanin.recipes.recipe import Recipe
from fanin.tf_keras.origins import ORIGINS


def describe(model: Any) -> Model:
    """The description of a model's variables."""
    return ORIGINS.describe(Scan(model, ORIGINS.framework))


def values_of(model: Any) -> dict[str, Any]:
    """The variables of a model, by their paths."""
    return Scan(model, ORIGINS.framework).values()


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
) -> Report:
    """Gives every weight of a model the values that a recipe has for it.

    The values are a function of the recipe's seed, the weight's name and the index: other weights and their order do
    not matter. A model that is not built gets its values as its layers create their weights. The seeds of layers such
    as `Dropout` stay as they are.

    Names that Keras generates are numbered per parent, so that a second model of the same code gets the same weights:
    `dense_5` is drawn as `dense` if it is the first.

    Args:
        model: a tf_keras model or layer, which is changed in place.
        recipe: a recipe, or the name of a preset. `recipe.plan(model)` shows what each weight gets.
        seed: a seed that replaces the recipe's.
        only, skip, names, unmatched, progress, prefix: see `fanin.recipes.Options`.

    Returns:
        A report of what was filled and kept, and which layers are not built yet.

    Raises:
        fanin.recipes.PlanError: the recipe does not fit the model; nothing has been written. (A ValueError.) If the
            model is not built, this is raised when it is.
        TypeError: an argument is not a model, or not a recipe.

    >>> import fanin, fanin.tf_keras, tf_keras
    >>> model = tf_keras.Sequential([tf_keras.layers.Dense(3, name="fc")])
    >>> report = fanin.tf_keras.initialize(model, "keras", seed=1)
    >>> model.build((None, 2))
    >>> kernel = fanin.GlorotUniform(seed=1).spawn("fc.kernel")((2, 3))
    >>> bool((model.layers[0].kernel.numpy() == kernel).all())
    True
    """
    return _initialize(ORIGINS, model, recipe, seed, Options(only, skip, names, unmatched, progress, prefix))
