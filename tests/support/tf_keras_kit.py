"""What the tests of tests/tf_keras share: initializers, layers and models of either library, and comparisons."""

from __future__ import annotations

import importlib
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest

import fanin
from fanin._core import memory
from keras_kit import imported
from strategies import FILLS, assert_same_bits

tf_keras: Any = imported("tf_keras")
tf: Any = importlib.import_module("tensorflow")
F: Any = importlib.import_module("fanin.tf_keras")
K: Any = tf_keras.initializers
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
        made.append(memory.allocate(*arguments))
        return made[-1]

    with pytest.MonkeyPatch.context() as patched:
        for module in ("distributions.matrices", "initializers.base", "distributions.weight", "_core.tensors"):
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


# Parameter servers. A process that has joined a cluster can do little else, so these functions run in one of their own.

SERVERS: list[Any] = []
STRATEGIES: dict[int, Any] = {}  # by the number of shards that they cut variables in
OWN: dict[str, Callable[[], fanin.Initializer]] = {
    "distribution": lambda: Bounded(0.5, 3),
    "call": lambda: Given(lambda: fanin.HeNormal(1)((7, 5))),
}
MAKERS: dict[str, Callable[..., Any]] = {
    "ours": partial(of, F),
    "theirs": partial(of, K),
    "own": lambda name, _: F.as_tf_keras(OWN[name]()),
    "name": lambda name, _: name,
}


def start_cluster() -> None:
    """Starts a worker and two parameter servers."""
    with socket.socket() as one, socket.socket() as two, socket.socket() as three:
        for each in (one, two, three):
            each.bind(("localhost", 0))
        worker, *servers = [f"localhost:{each.getsockname()[1]}" for each in (one, two, three)]
    cluster = tf.train.ClusterSpec({"worker": [worker], "ps": servers})
    SERVERS.extend(tf.distribute.Server(cluster, *task) for task in (("worker", 0), ("ps", 0), ("ps", 1)))
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(cluster, rpc_layer="grpc")
    distribute = tf.distribute.experimental
    for number in (2, 3):
        cut = distribute.partitioners.FixedShardsPartitioner(number)
        STRATEGIES[number] = distribute.ParameterServerStrategy(resolver, variable_partitioner=cut)


class Shards(NamedTuple):
    """What the parameter servers get, and the shapes of the matrices that fanin has made for it."""

    arrays: list[np.ndarray]
    matrices: list[tuple[int, ...]]


def shards_of_kernel(
    number: int, maker: str, name: str, seed: int | None = 3, *, released: bool = False, patched: bool = False
) -> Shards:
    """A kernel of (7, 5) in so many shards, after `set_random_seed(9)`; with calls that repeat, or with the patch."""
    tf_keras.utils.set_random_seed(9)
    settings = fanin.config.using(call_semantics="released" if released else "documented")
    force = F.patch if patched else nullcontext
    with settings, force(), memory_made() as made, STRATEGIES[number].scope():
        kernel = kernel_of(MAKERS[maker](name, seed), (7, 5))
    return Shards([each.numpy() for each in kernel.variables], [each.shape for each in made if each.ndim == 2])


def shards_of_layer(maker: str, kind: str, *, released: bool = False) -> Shards:
    """All weights of a layer in two shards."""
    settings = fanin.config.using(call_semantics="released" if released else "documented")
    with settings, STRATEGIES[2].scope():
        layer = layer_with({"ours": F, "theirs": K}[maker], kind)
        layer.build((None, *LAYERS[kind][2]))
    return Shards([each.numpy() for each in layer.weights], [])
