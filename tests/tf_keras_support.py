"""What the tests of fanin.tf_keras share: initializers, layers and models of either library, and comparisons."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import fanin
from fanin import _arrays
from strategies import FILLS, assert_same_bits

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
tf: Any = pytest.importorskip("tensorflow")
tf_keras: Any = pytest.importorskip("tf_keras")
L: Any = tf_keras.layers
FORMATS = ("model.keras", "model.h5", "model")  # the last one is a SavedModel
HDF5 = "ignore:You are saving your model as an HDF5 file:UserWarning"
EAGER_OR_GRAPH = pytest.mark.parametrize("compiled", [False, True], ids=["eager", "graph"])
WAYS: dict[str, Callable[[Any], Any]] = {
    "eager": lambda call: call,
    "function": tf.function,
    "jit": lambda call: tf.function(call, jit_compile=True),
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "RandomNormal": {"mean": 0.1, "stddev": 0.7},
    "TruncatedNormal": {"mean": -0.1, "stddev": 0.3},
    "RandomUniform": {"minval": -1, "maxval": 0.5},
    "VarianceScaling": {"scale": 0.1, "mode": "fan_out", "distribution": "untruncated_normal"},
    "Orthogonal": {"gain": 1.3},
    "Identity": {"gain": -0.3},
    "Constant": {"value": 3},
}


@contextmanager
def memory_made() -> Iterator[list[np.ndarray]]:
    """The arrays that fanin makes in the block: results, and copies of them if there are any."""
    made: list[np.ndarray] = []

    def allocate(*arguments: Any) -> np.ndarray:
        made.append(_arrays.allocate(*arguments))
        return made[-1]

    with pytest.MonkeyPatch.context() as patched:
        for module in ("distributions", "_tensors"):
            patched.setattr(f"fanin.{module}.allocate", allocate)
        yield made


class Bounded(fanin.SeededInitializer):
    """An initializer of one's own."""

    def __init__(self, limit: float = 0.1, seed: int | None = None) -> None:
        super().__init__(seed)
        self.limit = limit

    def distribution(self, shape: Any, dtype: Any = None) -> Any:
        return fanin.RandomUniform(-self.limit, self.limit).distribution(shape, dtype)

    def get_config(self) -> dict[str, Any]:
        return {"limit": self.limit, "seed": self.seed}


class Given(fanin.Initializer):
    """One that overrides the call, and returns whatever array it likes."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make

    def __call__(self, *_: Any, **__: Any) -> Any:
        return self.make()


def of(library: Any, name: str, seed: int | None = 3) -> Any:
    """An initializer of any class, with a seed if it takes one."""
    return getattr(library, name)(**ARGUMENTS.get(name, {}), **({} if name in FILLS else {"seed": seed}))


def kernel_of(initializer: Any, shape: tuple[int, int] = (4, 3), **arguments: Any) -> Any:
    """The kernel of a Dense layer built with an initializer."""
    layer = L.Dense(shape[1], kernel_initializer=initializer, **arguments)
    layer.build((None, shape[0]))
    return layer.kernel


def assert_same(ours: Any, theirs: Any, name: str = "") -> None:
    """The same bytes; for Orthogonal, the same to rounding."""
    ours, theirs = (np.asarray(each.numpy() if hasattr(each, "numpy") else each) for each in (ours, theirs))
    if name == "Orthogonal":
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        assert np.abs(ours - theirs).max() <= (1e-12 if ours.dtype == np.float64 else 1e-5)
    else:
        assert_same_bits(ours, theirs)


def assert_all_same(ours: Any, theirs: Any) -> None:
    """The same bytes in each of two lists."""
    for our, their in zip(ours, theirs, strict=True):
        assert_same(our, their)


# layer → its arguments, what it has initializers for, the shape of an input
LAYERS: dict[str, tuple[dict[str, Any], str, tuple[int, ...]]] = {
    "Dense": ({"units": 3}, "kernel bias", (4,)),
    "EinsumDense": ({"equation": "abc,cd->abd", "output_shape": (None, 3), "bias_axes": "d"}, "kernel bias", (3, 4)),
    "Conv1D": ({"filters": 3, "kernel_size": 2}, "kernel bias", (5, 2)),
    "Conv2D": ({"filters": 3, "kernel_size": 2}, "kernel bias", (5, 5, 2)),
    "Conv3D": ({"filters": 3, "kernel_size": 2}, "kernel bias", (3, 3, 3, 2)),
    "Conv1DTranspose": ({"filters": 3, "kernel_size": 2}, "kernel bias", (5, 2)),
    "Conv2DTranspose": ({"filters": 3, "kernel_size": 2}, "kernel bias", (5, 5, 2)),
    "Conv3DTranspose": ({"filters": 3, "kernel_size": 2}, "kernel bias", (3, 3, 3, 2)),
    "DepthwiseConv1D": ({"kernel_size": 2}, "depthwise bias", (5, 2)),
    "DepthwiseConv2D": ({"kernel_size": 2, "depth_multiplier": 2}, "depthwise bias", (5, 5, 2)),
    "SeparableConv1D": ({"filters": 3, "kernel_size": 2}, "depthwise pointwise bias", (5, 2)),
    "SeparableConv2D": ({"filters": 3, "kernel_size": 2}, "depthwise pointwise bias", (5, 5, 2)),
    "Embedding": ({"input_dim": 7, "output_dim": 3}, "embeddings", (4,)),
    "LSTM": ({"units": 3, "unit_forget_bias": True}, "kernel recurrent bias", (4, 2)),
    "GRU": ({"units": 3}, "kernel recurrent bias", (4, 2)),
    "MultiHeadAttention": ({"num_heads": 2, "key_dim": 3}, "kernel bias", (4, 5)),
    "BatchNormalization": ({}, "gamma beta moving_mean moving_variance", (4,)),
}


def layer_with(library: Any, kind: str, **more: Any) -> Any:
    """A layer each of whose initializers is another class; those of biases are called more than once, and repeat."""
    arguments, names, _ = LAYERS[kind]
    classes = {"bias": "RandomNormal", "recurrent": "VarianceScaling", "beta": "RandomUniform", "pointwise": "HeNormal"}
    drawn = {f"{name}_initializer": of(library, classes.get(name, "GlorotUniform")) for name in names.split()}
    return getattr(L, kind)(**{**arguments, **drawn, **more})


def weights_of(layer: Any, kind: str, way: str = "eager") -> list[np.ndarray]:
    """The weights of a layer that is built at its first call, here."""
    WAYS[way](lambda x: layer(x, x) if kind == "MultiHeadAttention" else layer(x))(tf.zeros((1, *LAYERS[kind][2])))
    return layer.get_weights()


class Subclassed(tf_keras.Model):
    """A model that is built at its first call."""

    def __init__(self, library: Any) -> None:
        super().__init__()
        self.steps = [layer_with(library, kind) for kind in ("Conv1D", "SeparableConv1D", "Dense")]

    def call(self, inputs: Any) -> Any:
        for step in self.steps:
            inputs = step(inputs)
        return inputs


def functional(library: Any) -> Any:
    """A model whose layers are built when it is made."""
    inputs = tf_keras.Input((5, 2))
    return tf_keras.Model(inputs, Subclassed(library).call(inputs))


MODELS: dict[str, Callable[[Any], Any]] = {
    "Sequential": lambda k: tf_keras.Sequential([tf_keras.Input((5, 2)), *Subclassed(k).steps]),
    "Sequential, built late": lambda k: tf_keras.Sequential(Subclassed(k).steps),
    "functional": functional,
    "subclassed": Subclassed,
}
