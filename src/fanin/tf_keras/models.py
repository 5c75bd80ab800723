"""The description and the initialization of tf_keras models."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow.python.ops import init_ops_v2  # TensorFlow's own classes, such as tf.random_normal_initializer
from tf_keras.src.engine import base_layer_utils  # makes the variables of every layer

from fanin._core.tensors import to_tensorflow
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


def _own(layer: Any) -> list[Any]:
    return [*layer._trainable_weights, *layer._non_trainable_weights]


def _assign(variable: Any, array: np.ndarray) -> None:
    with tf.init_scope():
        variable.assign(to_tensorflow(array))


def _value(variable: Any) -> np.ndarray:
    with tf.init_scope():
        return variable.numpy()


FRAMEWORK = Framework(tf_keras.layers.Layer, own=_own, assign=_assign, tensor=to_tensorflow, value=_value)


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
    return _initialize(FRAMEWORK, model, recipe, seed, Options(only, skip, names, unmatched, progress, prefix))


_watching = threading.RLock()


@contextlib.contextmanager
def _watch(note: Note) -> Iterator[None]:
    """Tells a function of each variable that a layer creates in this thread."""
    with _watching:
        theirs, thread = base_layer_utils.make_variable, threading.get_ident()

        @functools.wraps(theirs)
        def make_variable(
            name: Any, shape: Any = None, dtype: Any = tf.float32, initializer: Any = None, **rest: Any
        ) -> Any:
            variable = theirs(name, shape, dtype, initializer, **rest)
            if threading.get_ident() == thread:
                note(variable, initializer, tuple(variable.shape), variable.dtype)
            return variable

        base_layer_utils.make_variable = make_variable
        try:
            yield
        finally:
            base_layer_utils.make_variable = theirs


ORIGINS = Origins(
    FRAMEWORK,
    Reader("tf_keras", tf_keras.initializers, init_ops_v2),
    watching=_watch,
    valueless=lambda: tf.Graph().as_default(),
    inner=lambda variable: getattr(variable, "_variable", variable),  # of one that casts it
)


def recipe_of(model: Any, seed: int = 0, *, unreadable: Unreadable = "error") -> Recipe:
    """The recipe of a model's own initializers: each variable gets the distribution that tf_keras draws it from."""
    return ORIGINS.recipe_of(model, seed, unreadable)
