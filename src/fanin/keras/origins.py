"""The variables of Keras 3 models, on any backend: their values, and the initializers that they were made with."""

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
from fanin._keras.describe import Framework
from fanin._keras.origins import Note, Origins
from fanin._keras.readings import Reader
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


_watching = threading.RLock()


@contextlib.contextmanager
def _gains_in_configs() -> Iterator[None]:
    """Has the configurations of Keras's Identity say its gain, which Keras leaves out, so that copies keep it."""
    identity = keras.initializers.Identity
    theirs = identity.get_config

    @functools.wraps(theirs)
    def get_config(self: Any) -> dict[str, Any]:
        return {**theirs(self), "gain": self.gain}

    identity.get_config = get_config
    try:
        yield
    finally:
        identity.get_config = theirs


@contextlib.contextmanager
def _watch(note: Note) -> Iterator[None]:
    """Tells a function of each variable that this thread creates."""
    with _watching, _gains_in_configs():
        theirs, thread = Variable.__init__, threading.get_ident()

        @functools.wraps(theirs)
        def init(self: Any, initializer: Any, *args: Any, **kwargs: Any) -> None:
            theirs(self, initializer, *args, **kwargs)
            if threading.get_ident() == thread:
                named = isinstance(initializer, str)
                seen = keras.initializers.get(initializer) if named else initializer
                note(self, seen, tuple(self.shape), self.dtype)

        Variable.__init__ = init
        try:
            yield
        finally:
            Variable.__init__ = theirs


ORIGINS = Origins(
    FRAMEWORK,
    Reader("keras", keras.initializers),
    watching=_watch,
    valueless=lambda: keras.StatelessScope(initialize_variables=False),
    inner=lambda variable: variable,
)


def recipe_of(model: Any, seed: int = 0, *, unreadable: Unreadable = "error") -> Recipe:
    """The recipe of a model's own initializers: each variable gets the distribution that Keras draws it from.

    Each layer is built once more from its configuration, without values, to see the initializer that makes each of its
    variables. The recipe has the same initializers with the same arguments, and the fans that Keras computes: from the
    last two axes, and for einsum kernels from the axes of the equation. Their seeds are not taken over: all of a
    recipe's values come from its one seed.

    Args:
        model: a model or layer of Keras, which must be built; or a function without arguments that makes one, which is
            watched instead, for layers that cannot be made again from their configurations.
        seed: the recipe's seed.
        unreadable: "error", or "warn" to keep variables as they are whose initializers cannot be read.

    Returns:
        A recipe whose plan for the model has the same distributions.

    Raises:
        ValueError: the model is not built; or variables have initializers that cannot be read, such as functions that
            do not return a constant. The message lists them, with their layers and the reasons.
        TypeError: `model` is none of Keras's.

    >>> import fanin.keras, keras
    >>> bias = keras.initializers.Constant(0.5)
    >>> dense = keras.layers.Dense(3, kernel_initializer="he_normal", bias_initializer=bias)
    >>> dense.build((None, 2))
    >>> [entry.description for entry in fanin.keras.recipe_of(dense, seed=1).plan(dense).entries]
    ['HeNormal()', 'Constant(value=0.5)']
    """
    return ORIGINS.recipe_of(model, seed, unreadable)
