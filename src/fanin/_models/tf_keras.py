"""Models of tf_keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from fanin._models.keras_common import Framework, Scan
from fanin._tensors import to_tensorflow
from fanin.plans import Found


def _own(layer: Any) -> list[Any]:
    return [*layer._trainable_weights, *layer._non_trainable_weights]


def _assign(variable: Any, array: np.ndarray) -> None:
    with tf.init_scope():
        variable.assign(to_tensorflow(array))


FRAMEWORK = Framework(layer_class=tf_keras.layers.Layer, own=_own, assign=_assign, tensor=to_tensorflow)


def describe(model: Any) -> Found:
    """A model's variables."""
    return Scan(model, FRAMEWORK).found()
