"""`probe` for tf_keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fanin._core.spies import spy_tensorflow
from fanin._core.types import Globs
from fanin._keras import taped
from fanin._keras.probe import Backend, Wishes
from fanin._keras.probe import probe as _probe
from fanin.tf_keras.origins import FRAMEWORK
from fanin.theory.probes import Probe


def probe(
    model: Any,
    batch: Any,
    *,
    loss: Callable[..., Any] | None = None,
    target: Any = None,
    gradients: bool = True,
    training: bool = True,
    seed: int = 0,
    layers: Globs | None = None,
) -> Probe:
    """Measures what a batch does in each layer of a tf_keras model: signal and gradient by depth, dead units, rank.

    The model runs eagerly once, and once back, whatever it was compiled for. Nothing of it changes: not its variables,
    moving statistics among them, nor the states of global generators, also if its code raises.

    A layer with a kernel and an activation has two rows: what its kernel makes, and `….activation`. Recurrent layers
    count as a whole. Functions that a model's own `call` applies between layers are not seen.

    Args:
        model: a built model or layer of tf_keras: functional, sequential or subclassed.
        batch: its inputs, as `model(batch)` takes them: an array or tensor, or a list or dict of them.
        loss: a function that makes one number of the model's output, and of `target` if that is given. Without one, the
            gradient begins with independent standard normal numbers at the first output.
        target: the second argument of the loss.
        gradients: whether to measure gradients. They take the memory of a step of training.
        training: whether layers behave as in training, as `Dropout` and `BatchNormalization` do.
        seed: the seed of the gradient's beginning, and of what the model draws from global generators.
        layers: globs of the paths of layers to watch. Without it, all are that have weights, or no layers in them.

    Returns:
        A report, which prints as a table.

    Raises:
        ValueError: the batch has no samples, the model is not built, no layer ran, or `layers` matches none.
        TypeError: `model` is none of tf_keras's.

    References: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS
    2010.

    >>> import fanin, fanin.tf_keras, tf_keras
    >>> dense = tf_keras.layers.Dense(256, "relu", kernel_initializer=fanin.tf_keras.HeNormal(seed=1), name="fc")
    >>> model = tf_keras.Sequential([tf_keras.Input((64,)), dense])
    >>> probe = fanin.tf_keras.probe(model, fanin.RandomNormal(stddev=1.0, seed=2)((128, 64)))
    >>> [(each.path, each.layer, round(each.output.zeros, 1)) for each in probe.layers]
    [('fc', 'Dense', 0.0), ('fc.activation', 'relu', 0.5)]
    """
    backend = Backend(
        FRAMEWORK, taped.is_tensor, taped.convert, spy_tensorflow, taped.array, taped.run, taped.generators
    )
    return _probe(backend, model, batch, Wishes(loss, target, gradients, training, seed, layers))
