"""A batch's passage on TensorFlow, which both tf_keras and Keras 3 run on: forwards under a tape, and back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from fanin._keras.probe import Root


def is_tensor(value: Any) -> bool:
    """Whether something is a TensorFlow tensor of floats, whose values are there."""
    import tensorflow as tf

    return tf.is_tensor(value) and not tf.is_symbolic_tensor(value) and _is_dense(value) and value.dtype.is_floating


def _is_dense(value: Any) -> bool:
    import tensorflow as tf

    return not isinstance(value, (tf.SparseTensor, tf.RaggedTensor))


def convert(batch: Any) -> Any:
    """The arrays of a batch as tensors."""
    import tensorflow as tf

    return tf.nest.map_structure(tf.convert_to_tensor, batch)


def array(tensor: Any) -> np.ndarray:
    """A tensor as an array; one of rows of a table, as gradients of embeddings are, as a whole."""
    import tensorflow as tf

    return tf.convert_to_tensor(tensor).numpy()


def run(forward: Callable[[Any], Any], batch: Any, variables: Sequence[Any], root: Root | None) -> Sequence[Any]:
    """Calls a model, and returns the gradients of variables if there is a root that they begin at."""
    import tensorflow as tf

    if root is None:
        forward(batch)
        return ()
    sources = [_variable(each) for each in variables]
    inputs = [each for each in tf.nest.flatten(batch) if is_tensor(each)]
    with tf.GradientTape() as tape:
        for each in (*sources, *inputs):
            tape.watch(each)
        value, cotangent = root(forward(batch))
    upstream = None if cotangent is None else tf.cast(cotangent, value.dtype)
    return tape.gradient(value, [*sources, *inputs], output_gradients=upstream)[: len(sources)]


def _variable(variable: Any) -> Any:
    """The variable of TensorFlow's that a variable of Keras 3 holds; the same one for tf_keras's."""
    import tensorflow as tf

    return variable if isinstance(variable, tf.Variable) else variable.value


@contextlib.contextmanager
def generators(seed: int) -> Iterator[None]:
    """Sets TensorFlow's seed, and puts back what it was, and the generator that it draws operations' seeds from."""
    import tensorflow as tf
    from tensorflow.python.eager import context

    own = vars(context.context())
    before = {name: own[name] for name in ("_seed", "_rng") if name in own}  # the second is there after the first draw
    tf.random.set_seed(seed)
    try:
        yield
    finally:
        own.pop("_rng", None)
        own.update(before)
