"""Models of Keras 3, on any backend."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from fanin._models.keras_common import Framework, Scan
from fanin._tensors import to_jax, to_tensorflow, to_torch
from fanin.plans import Found


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
)


def describe(model: Any) -> Found:
    """A model's variables."""
    return Scan(model, FRAMEWORK).found()
