"""The variables of tf_keras models: their values, and the initializers that they were made with."""

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
from fanin._keras.describe import Framework
from fanin._keras.origins import Note, Origins
from fanin._keras.readings import Reader
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
    """The recipe of a model's own initializers: each variable gets the distribution that tf_keras draws it from.

    Each layer is built once more from its configuration, without values, to see the initializer that makes each of its
    variables. The recipe has the same initializers with the same arguments, and the fans that tf_keras computes, from
    the last two axes. Their seeds are not taken over: all of a recipe's values come from its one seed.

    Args:
        model: a model or layer of tf_keras, which must be built; or a function without arguments that makes one, which
            is watched instead, for layers that cannot be made again from their configurations.
        seed: the recipe's seed.
        unreadable: "error", or "warn" to keep variables as they are whose initializers cannot be read.

    Returns:
        A recipe whose plan for the model has the same distributions.

    Raises:
        ValueError: the model is not built; or variables have initializers that cannot be read, such as functions that
            do not return a constant. The message lists them, with their layers and the reasons.
        TypeError: `model` is none of tf_keras's.

    >>> import fanin.tf_keras, tf_keras
    >>> bias = tf_keras.initializers.Constant(0.5)
    >>> dense = tf_keras.layers.Dense(3, kernel_initializer="he_normal", bias_initializer=bias)
    >>> dense.build((None, 2))
    >>> [entry.description for entry in fanin.tf_keras.recipe_of(dense, seed=1).plan(dense).entries]
    ['HeNormal()', 'Constant(value=0.5)']
    """
    return ORIGINS.recipe_of(model, seed, unreadable)
