"""fanin.tf_keras on many devices: DTensor layouts, mirrored variables, parameter servers."""

from __future__ import annotations

import importlib
import json
import os
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fanin
from strategies import CLASSES, RANDOM
from tf_keras_support import (
    LAYERS,
    MODELS,
    Bounded,
    Given,
    assert_all_same,
    assert_same,
    functional,
    kernel_of,
    layer_with,
    memory_made,
    of,
    weights_of,
)

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
tf: Any = pytest.importorskip("tensorflow")
tf_keras: Any = pytest.importorskip("tf_keras")
F: Any = importlib.import_module("fanin.tf_keras")
K: Any = tf_keras.initializers
backend: Any = importlib.import_module("tf_keras.src.backend")
CHECKS: dict[str, dict[str, Callable[[], None]]] = {"devices": {}, "cluster": {}}
STATE: dict[str, Any] = {}


def in_process(kind: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Adds a check to those that a process runs."""
    return lambda check: CHECKS[kind].setdefault(check.__name__, check)


def start_devices() -> None:
    """Eight CPUs, as a mesh of four by two."""
    STATE["dtensor"] = dtensor = importlib.import_module("tensorflow.experimental").dtensor
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 8)
    STATE["mesh"] = dtensor.create_mesh([("x", 4), ("y", 2)], devices=[f"CPU:{number}" for number in range(8)])


def start_cluster() -> None:
    """A worker and two parameter servers, with strategies that cut variables in two and in three."""
    with socket.socket() as one, socket.socket() as two, socket.socket() as three:
        for each in (one, two, three):
            each.bind(("localhost", 0))
        worker, *servers = [f"localhost:{each.getsockname()[1]}" for each in (one, two, three)]
    cluster = tf.train.ClusterSpec({"worker": [worker], "ps": servers})
    STATE["servers"] = [tf.distribute.Server(cluster, *task) for task in (("worker", 0), ("ps", 0), ("ps", 1))]
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(cluster, rpc_layer="grpc")
    for number in (2, 3):
        cut = tf.distribute.experimental.partitioners.FixedShardsPartitioner(number)
        STATE[str(number)] = tf.distribute.experimental.ParameterServerStrategy(resolver, variable_partitioner=cut)


def run_checks(kind: str) -> None:
    """Runs the checks of a process, this one, and prints what each has raised."""
    {"devices": start_devices, "cluster": start_cluster}[kind]()
    outcomes = {}
    for name, check in CHECKS[kind].items():
        try:
            check()
            outcomes[name] = ""
        except Exception:
            outcomes[name] = traceback.format_exc()
    print(json.dumps(outcomes), flush=True)


@pytest.fixture(scope="module")
def outcomes() -> dict[str, dict[str, str]]:
    """What the checks have raised. Their processes run side by side, once."""

    def run(kind: str) -> dict[str, str]:
        command = [sys.executable, "-c", f"import test_tf_keras_devices; test_tf_keras_devices.run_checks({kind!r})"]
        process = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=300)
        assert process.returncode == 0, process.stderr
        return json.loads(process.stdout.splitlines()[-1])

    with ThreadPoolExecutor() as pool:
        return dict(zip(CHECKS, pool.map(run, CHECKS), strict=True))


@in_process("devices")
def mirrored_variables() -> None:
    """Both replicas of a MirroredStrategy have tf_keras's weights, of layers and of models built at a first call."""
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    for kind in ("Dense", "GRU", "MultiHeadAttention"):
        with strategy.scope():
            layer = layer_with(F, kind)
            weights_of(layer, kind)
        theirs = weights_of(layer_with(K, kind), kind)
        for variable, expected in zip(layer.weights, theirs, strict=True):
            assert_all_same([each.numpy() for each in variable.values], [expected] * 2)
    for make in (MODELS["Sequential, built late"], functional):
        with strategy.scope():
            model = make(F)
        theirs = make(K)
        theirs(tf.ones((1, 5, 2)))
        strategy.run(tf.function(model), args=(tf.ones((1, 5, 2)),))
        for variable, expected in zip(model.weights, theirs.get_weights(), strict=True):
            assert_all_same([each.numpy() for each in variable.values], [expected] * 2)


def layout_of(*names: str | None) -> Any:
    """A layout that cuts each axis along a dimension of the mesh, or not at all."""
    return STATE["dtensor"].Layout([name or STATE["dtensor"].UNSHARDED for name in names], STATE["mesh"])


def whole(value: Any) -> np.ndarray:
    """What a tensor is, put together of the pieces on all devices; which is which, TensorFlow says."""
    pieces = [each.numpy() for each in STATE["dtensor"].unpack(value)]
    result = np.empty(value.shape, pieces[0].dtype)
    for piece, shard in zip(pieces, STATE["dtensor"].fetch_layout(value).offset_to_shard(), strict=True):
        result[tuple(slice(at * length, (at + 1) * length) for at, length in zip(shard, piece.shape, strict=True))] = (
            piece
        )
    return result


@in_process("devices")
def layouts_need_a_seed() -> None:
    """Where no seed is set for all clients, unseeded initializers are refused in tf_keras's words; others are not."""
    backend._SEED_GENERATOR.generator = None
    for library in (K, F):
        with pytest.raises(ValueError, match="need to set the global seed before using any TF-Keras init") as caught:
            library.RandomNormal()((8, 8), layout=layout_of("x", None))
        assert "keras.utils.set_random_seed()" in str(caught.value)
    for name in ("Ones", "HeNormal"):
        assert_same(whole(of(F, name)((8, 8), layout=layout_of("x", None))), of(fanin, name)((8, 8)))
    for name in ("RandomNormal", "HeUniform"):
        tf_keras.utils.set_random_seed(5)
        value = of(F, name, None)((8, 8), layout=layout_of("x", "y"))
        tf_keras.utils.set_random_seed(5)
        assert_same(whole(value), of(K, name, None)((8, 8)))


@in_process("devices")
def layouts_are_pieces_of_one_tensor() -> None:
    """Whatever is cut, each different piece is made alone and once, and the whole is the tensor without a layout."""
    every = [("x", None), (None, "x"), ("y", None), (None, "y"), ("x", "y"), ("y", "x"), (None, None)]
    counts = {"x": 4, "y": 2, None: 1}
    for name, dtype, layouts in [
        *((name, "float32", every[4:5]) for name in CLASSES),
        *(("HeNormal", dtype, every) for dtype in ("float32", "bfloat16")),
        ("Constant", "int64", every[:1]),
    ]:
        for names in layouts:
            with memory_made() as made:
                value = of(F, name)((8, 12), dtype, layout=layout_of(*names))
            piece = (8 // counts[names[0]], 12 // counts[names[1]])
            if name != "Orthogonal":
                assert [each.shape for each in made] == [piece] * (counts[names[0]] * counts[names[1]])
            assert STATE["dtensor"].fetch_layout(value) == layout_of(*names)
            assert {tuple(each.shape) for each in STATE["dtensor"].unpack(value)} == {piece}
            assert_same(whole(value), of(fanin, name)((8, 12), dtype))
    for shape, names in [((), ()), ((8,), ("y",)), ((3, 4, 5), (None, "x", None))]:
        assert_same(whole(F.HeNormal(1)(shape, layout=layout_of(*names))), fanin.HeNormal(1)(shape))


@in_process("devices")
def layouts_count_calls() -> None:
    """A call with a layout is a call like any other: the next one has the values that the documentation says."""
    for name in ("HeNormal", "RandomNormal", "Orthogonal"):
        initializer, plain = of(F, name), of(fanin, name)
        for layout in (layout_of("x", "y"), layout_of(None, None), None, layout_of("x", "y")):
            value = initializer((8, 8), layout=layout)
            assert_same(value if layout is None else whole(value), plain((8, 8)))


@in_process("devices")
def layouts_that_do_not_fit() -> None:
    """Lengths that cannot be cut evenly say so, and so do other arguments at once; none of these calls counts."""
    initializer = F.HeNormal(1)
    for shape, names, keywords, message in [
        ((6, 8), ("x", None), {}, "axis 0 of length 6, in 4 pieces along mesh dimension 'x'"),
        ((8, 6), ("y", "x"), {}, "axis 1 of length 6, in 4 pieces along mesh dimension 'x'"),
        ((8, 8), ("x", "y"), {"partition_shape": (2, 8), "partition_offset": (0, 0)}, "partition_shape"),
        ((8, 8), ("x", "y"), {"region": np.s_[:1]}, "region"),
    ]:
        with pytest.raises(ValueError, match=message):
            initializer(shape, layout=layout_of(*names), **keywords)
    assert_same(initializer((8, 8)), fanin.HeNormal(1)((8, 8)))


@in_process("devices")
def layouts_of_another_rank() -> None:
    """A layout for another number of axes says so."""
    for names in (("x",), ("x", "y", None)):
        with pytest.raises(ValueError, match="rank"):
            F.HeNormal(1)((8, 8), layout=layout_of(*names))


@in_process("devices")
def layouts_of_layers() -> None:
    """Layers with layouts have the weights of layers without, also those that the patch makes."""
    layouts = {"kernel_layout": layout_of(None, "y"), "bias_layout": layout_of("y")}
    named = {"kernel_initializer": "he_uniform", "bias_initializer": "normal"}

    def built(library: Any, named: dict[str, str], **more: Any) -> Any:
        tf_keras.utils.set_random_seed(8)
        with F.patch() if library is F else nullcontext():
            layer = layer_with(library, "Dense", units=6, **named, **more)
            layer.build((None, 4))
        return layer.weights

    for each in (named, {}):
        ours, theirs = built(F, each, **layouts), built(K, each)
        assert [weight.layout for weight in ours] == list(layouts.values())
        assert_all_same([whole(weight.read_value()) for weight in ours], theirs)


@in_process("devices")
def layouts_of_own_classes() -> None:
    """A class of one's own is cut in pieces too."""
    value = F.as_tf_keras(Bounded(0.5, 3))((8, 6), layout=layout_of("x", "y"))
    assert_same(whole(value), Bounded(0.5, 3)((8, 6)))


@in_process("devices")
def layouts_of_own_calls() -> None:
    """So is one whose call returns the whole tensor."""
    value = F.as_tf_keras(Given(lambda: fanin.HeNormal(1)((8, 6))))((8, 6), layout=layout_of("x", "y"))
    assert value.shape == (8, 6)
    assert_same(whole(value), fanin.HeNormal(1)((8, 6)))


def shards_of(strategy: str, initializer: Any) -> list[np.ndarray]:
    """What each parameter server gets of a kernel."""
    with STATE[strategy].scope():
        return [each.numpy() for each in kernel_of(initializer, (7, 5)).variables]


@in_process("cluster")
def shards_are_pieces_of_one_tensor() -> None:
    """Each shard is made alone, and all together are the tensor without a strategy, of every class."""
    for strategy, shapes in {"2": [(4, 5), (3, 5)], "3": [(3, 5), (2, 5), (2, 5)]}.items():
        for name in CLASSES:
            with memory_made() as made:
                shards = shards_of(strategy, of(F, name))
            assert [each.shape for each in shards] == shapes
            if name != "Orthogonal":
                assert [each.shape for each in made if len(each.shape) == 2] == shapes
            assert_same(np.concatenate(shards), of(fanin, name)((7, 5)))
            assert_same(np.concatenate(shards), of(K, name)((7, 5)), name)


@in_process("cluster")
def shards_of_unseeded_initializers() -> None:
    """An unseeded initializer's shards are of one tensor too, and the seed is tf_keras's."""
    for name in (*RANDOM, "Orthogonal"):
        tf_keras.utils.set_random_seed(9)
        shards = shards_of("3", of(F, name, None))
        tf_keras.utils.set_random_seed(9)
        assert_same(np.concatenate(shards), of(K, name, None)((7, 5)), name)


@in_process("cluster")
def released_shards() -> None:
    """With "released" calls each shard is a tensor of its own, as in tf_keras."""
    with fanin.config.using(call_semantics="released"):
        for strategy in ("2", "3"):
            for name in CLASSES:
                shards = shards_of(strategy, of(F, name)), shards_of(strategy, of(K, name))
                for ours, theirs in zip(*shards, strict=True):
                    assert_same(ours, theirs, name)


@in_process("cluster")
def shards_with_the_patch() -> None:
    """With the patch in force too, for names and for instances; and no longer afterwards."""
    for name in ("he_normal", "uniform", "lecun_uniformV2", "Orthogonal", "zeros", "identity"):
        runs = []
        for force in (F.patch, nullcontext):
            tf_keras.utils.set_random_seed(4)
            with force():
                runs.append(shards_of("3", name))
        for ours, theirs in zip(*runs, strict=True):
            assert_same(ours, theirs, name)
    with F.patch():
        assert_all_same(shards_of("2", F.HeNormal(1)), shards_of("2", K.HeNormal(1)))
    assert_same(np.concatenate(shards_of("2", F.HeNormal(1))), fanin.HeNormal(1)((7, 5)))


@in_process("cluster")
def shards_of_own_classes() -> None:
    """Classes of one's own are cut likewise, also where their call returns the whole tensor."""
    for plain in (Bounded(0.5, 3), Given(lambda: fanin.HeNormal(1)((7, 5)))):
        assert_same(np.concatenate(shards_of("2", F.as_tf_keras(plain))), plain((7, 5)))


def sharded_weights(library: Any, kind: str) -> list[np.ndarray]:
    """What the two servers get of all weights of a layer."""
    with STATE["2"].scope():
        layer = layer_with(library, kind)
        layer.build((None, *LAYERS[kind][2]))
    return [each.numpy() for each in layer.weights]


def assert_same_shards(kind: str) -> None:
    """All weights of a layer, put together, are tf_keras's without a strategy."""
    found, theirs = sharded_weights(F, kind), weights_of(layer_with(K, kind), kind)
    assert len(found) == 2 * len(theirs)
    assert_all_same([np.concatenate(found[at : at + 2]) for at in range(0, len(found), 2)], theirs)


@in_process("cluster")
def shards_of_layers() -> None:
    """The weights of layers are pieces of one tensor; with "released" calls they are tf_keras's."""
    for kind in ("Embedding", "GRU", "Conv2D", "EinsumDense"):
        assert_same_shards(kind)
    with fanin.config.using(call_semantics="released"):
        for kind in ("LSTM", "Embedding", "Conv2D"):
            assert_all_same(sharded_weights(F, kind), sharded_weights(K, kind))


@in_process("cluster")
def shards_of_forget_biases() -> None:
    """So is the bias of an LSTM, which asks each of three initializers for a partition of the three together."""
    assert_same_shards("LSTM")


@pytest.mark.parametrize(("kind", "check"), [(kind, check) for kind, checks in CHECKS.items() for check in checks])
def test_on_many_devices(kind: str, check: str, outcomes: dict[str, dict[str, str]]) -> None:
    """DTensor, mirrored variables and parameter servers: the function of that name says what it checks."""
    assert outcomes[kind][check] == ""
