"""The description and the initialization of Keras 3 models, on any backend."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras.src.backend.common.variables import Variable  # the base class of each backend's

from fanin._core.tensors import to_jax, to_tensorflow, to_torch
from fanin._core.types import Globs, Unmatched
from fanin._keras.describe import Framework, Scan
from fanin._keras.initialize import initialize as _initialize
from fanin._keras.origins import Note, Origins
from fanin._keras.readings import Reader
from fanin.models.names import Names
from fanin.models.parameters import Model
from fanin.recipes.execution import Options, Report
from fanin.recipes.readings import Unreadable
from fanin.recipes.recipe import Recipe


def to_backend(array: np.ndarray) -> Any:
    """A fresh array as a tensor of Keras's backend."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return to_tensorflow(array)
    if backend == "jax":
        return to_jax(array)
    return keras.ops.convert_to_tensor(to_torch(array) if backend == "torch" else array)


def _own(layer: Any) -> list[Any]:
    return [*layer._trainable_variables, *layer._non_trainable_variables]


FRAMEWORK = Framework(
    layer_class=keras.Layer,
    own=_own,
    assign=lambda variable, array: variable.assign(to_backend(array)),
    tensor=to_backend,
    value=lambda variable: np.asarray(keras.ops.convert_to_numpy(variable)),
)


def describe(model: Any) -> Model:
    """The description of a model's variables."""
    return Scan(model, FRAMEWORK).model()


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
        model: a Keras 3 model or layer, which is changed in place.
        recipe: a recipe, or the name of a preset. `recipe.plan(model)` shows what each weight gets.
        seed: a seed that replaces the recipe's.
        only, skip, names, unmatched, progress, prefix: see `fanin.recipes.Options`.

    Returns:
        A report of what was filled and kept, and which layers are not built yet.

    Raises:
        fanin.recipes.PlanError: the recipe does not fit the model; nothing has been written. (A ValueError.) If the
            model is not built, this is raised when it is.
        TypeError: an argument is not a model, or not a recipe.

    >>> import fanin, fanin.keras, keras
    >>> model = keras.Sequential([keras.layers.Dense(3, name="fc")])
    >>> report = fanin.keras.initialize(model, "keras", seed=1)
    >>> model.build((None, 2))
    >>> kernel = fanin.GlorotUniform(seed=1).spawn("fc.kernel")((2, 3))
    >>> bool((keras.ops.convert_to_numpy(model.layers[0].kernel) == kernel).all())
    True
    """
    return _initialize(FRAMEWORK, model, recipe, seed, Options(only, skip, names, unmatched, progress, prefix))


_watching = threading.RLock()


@contextlib.contextmanager
def _watch(note: Note) -> Iterator[None]:
    """Tells a function of each variable that this thread creates."""
    with _watching:
        theirs, thread = Variable.__init__, threading.get_ident()

        @functools.wraps(theirs)
        def init(self: Any, initializer: Any, *args: Any, **kwargs: Any) -> None:
            theirs(self, initializer, *args, **kwargs)
            if threading.get_ident() == thread:
                note(
                    self,
                    keras.initializers.get(initializer) if isinstance(initializer, str) else initializer,
                    *_kind(self),
                )

        Variable.__init__ = init
        try:
            yield
        finally:
            Variable.__init__ = theirs


def _kind(variable: Any) -> tuple[tuple[int, ...], str]:
    return tuple(variable.shape), variable.dtype


ORIGINS = Origins(
    FRAMEWORK,
    Reader("keras", keras.initializers),
    watching=_watch,
    valueless=lambda: keras.StatelessScope(initialize_variables=False),
    inner=lambda variable: variable,
)


def recipe_of(model: Any, seed: int = 0, *, unreadable: Unreadable = "error") -> Recipe:
    """The recipe of a model's own initializers: each variable gets the distribution that Keras draws it from."""
    return ORIGINS.recipe_of(model, seed, unreadable)
