"""fanin.tf_keras on many devices: DTensor layouts and mirrored variables."""

from __future__ import annotations

import importlib
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import fanin
from keras_kit import Kit, differ, drawn, ones, same
from keras_models import small
from strategies import CLASSES
from tf_keras_kit import (
    MODELS,
    Bounded,
    F,
    Given,
    K,
    assert_all_same,
    assert_same,
    layer_with,
    memory_made,
    of,
    tf,
    tf_keras,
    weights_of,
)

backend: Any = importlib.import_module("tf_keras.src.backend")
dtensor: Any = importlib.import_module("tensorflow.experimental").dtensor


# Mirrored variables


@pytest.fixture(scope="module")
def mirrored() -> Any:
    """A strategy of two devices."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.mark.parametrize("kind", ["Dense", "GRU", "MultiHeadAttention"])
def test_mirrored_layers(kind: str, mirrored: Any) -> None:
    """Both replicas have tf_keras's weights."""
    with mirrored.scope():
        layer = layer_with(F, kind)
        weights_of(layer, kind)
    theirs = weights_of(layer_with(K, kind), kind)
    for variable, expected in zip(layer.weights, theirs, strict=True):
        assert_all_same([each.numpy() for each in variable.values], [expected] * 2)


@pytest.mark.parametrize("kind", ["Sequential, built late", "functional"])
def test_mirrored_models(kind: str, mirrored: Any) -> None:
    """Both replicas of a model that is built at its first call, or before, have tf_keras's weights."""
    make = MODELS[kind]
    with mirrored.scope():
        model = make(F)
    theirs = make(K)
    theirs(tf.ones((1, 5, 2)))
    mirrored.run(tf.function(model), args=(tf.ones((1, 5, 2)),))
    for variable, expected in zip(model.weights, theirs.get_weights(), strict=True):
        assert_all_same([each.numpy() for each in variable.values], [expected] * 2)


def test_mirrored_models_from_recipes(kit: Kit, mirrored: Any) -> None:
    """By `initialize` every replica has the values, built before or after; steps and new models go on."""
    plain = small(kit)
    kit.initialize(plain)
    with mirrored.scope():
        model = kit.compile(small(kit), 0.1)
        late = kit.sequential(*(kit.L.Dense(4, name=name) for name in ("one", "two")))
        kit.initialize(late)
        late.build((None, 4))
    for kernel, name in ((each.kernel, each.name) for each in late.layers):
        for replica in mirrored.experimental_local_results(kernel):
            same(kit.array(replica), drawn(f"{name}.kernel", (4, 4)))
    kit.initialize(model)
    for variable, expected in zip(model.weights, kit.arrays(plain), strict=True):
        replicas = mirrored.experimental_local_results(variable)
        assert len(replicas) == 2
        for replica in replicas:
            same(kit.array(replica), expected)
    with mirrored.scope():
        kit.initialize(model)
    same(kit.arrays(model), kit.arrays(plain))
    model.fit(ones(8, 4), ones(8, 2), verbose=0)
    differ(kit.arrays(model), kit.arrays(plain))


# DTensor

COUNTS = {"x": 4, "y": 2, None: 1}  # how many devices there are along each dimension of the mesh
Names = tuple[str | None, ...]


@pytest.fixture(scope="module")
def mesh() -> Any:
    """Eight devices, as a mesh of four by two."""
    return dtensor.create_mesh([("x", 4), ("y", 2)], devices=[f"CPU:{number}" for number in range(8)])


def layout_of(mesh: Any, *names: str | None) -> Any:
    """A layout that cuts each axis along a dimension of the mesh, or not at all."""
    return dtensor.Layout([name or dtensor.UNSHARDED for name in names], mesh)


def whole(value: Any) -> np.ndarray:
    """What a tensor is, put together of the shards on all devices; which is which, TensorFlow says."""
    shards = [each.numpy() for each in dtensor.unpack(value)]
    result = np.empty(value.shape, shards[0].dtype)
    for shard, numbers in zip(shards, dtensor.fetch_layout(value).offset_to_shard(), strict=True):
        starts = [number * length for number, length in zip(numbers, shard.shape, strict=True)]
        box = tuple(slice(start, start + length) for start, length in zip(starts, shard.shape, strict=True))
        result[box] = shard
    return result


@pytest.mark.parametrize("library", [K, F], ids=["tf_keras", "fanin"])
def test_layouts_need_a_seed(library: Any, mesh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no seed is set for all clients, unseeded initializers are refused in tf_keras's words."""
    monkeypatch.setattr(backend._SEED_GENERATOR, "generator", None, raising=False)
    with pytest.raises(ValueError, match="need to set the global seed before using any TF-Keras init") as caught:
        library.RandomNormal()((8, 8), layout=layout_of(mesh, "x", None))
    assert "keras.utils.set_random_seed()" in str(caught.value)


@pytest.mark.parametrize("name", ["Ones", "HeNormal"])
def test_layouts_of_seeded_initializers(name: str, mesh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that have a seed, or need none, are not."""
    monkeypatch.setattr(backend._SEED_GENERATOR, "generator", None, raising=False)
    assert_same(whole(of(F, name)((8, 8), layout=layout_of(mesh, "x", None))), of(fanin, name)((8, 8)))


@pytest.mark.parametrize("name", ["RandomNormal", "HeUniform"])
def test_layouts_of_unseeded_initializers(name: str, mesh: Any) -> None:
    """Once a seed is set, an unseeded initializer has the seed that tf_keras's has."""
    tf_keras.utils.set_random_seed(5)
    value = of(F, name, None)((8, 8), layout=layout_of(mesh, "x", "y"))
    tf_keras.utils.set_random_seed(5)
    assert_same(whole(value), of(K, name, None)((8, 8)))


EVERY: list[Names] = [("x", None), (None, "x"), ("y", None), (None, "y"), ("x", "y"), ("y", "x"), (None, None)]
LAYOUTS = [
    *((name, "float32", EVERY[4]) for name in CLASSES),
    *(("HeNormal", dtype, names) for dtype in ("float32", "bfloat16") for names in EVERY),
    ("Constant", "int64", EVERY[0]),
]


@pytest.mark.parametrize(("name", "dtype", "names"), LAYOUTS)
def test_layouts_are_regions_of_one_tensor(name: str, dtype: str, names: Names, mesh: Any) -> None:
    """Whatever is cut, each different region is made alone and once, and the whole is the tensor without a layout."""
    with memory_made() as made:
        value = of(F, name)((8, 12), dtype, layout=layout_of(mesh, *names))
    shard = (8 // COUNTS[names[0]], 12 // COUNTS[names[1]])
    if name != "Orthogonal":
        assert [each.shape for each in made] == [shard] * (COUNTS[names[0]] * COUNTS[names[1]])
    assert dtensor.fetch_layout(value) == layout_of(mesh, *names)
    assert {tuple(each.shape) for each in dtensor.unpack(value)} == {shard}
    assert_same(whole(value), of(fanin, name)((8, 12), dtype))


@pytest.mark.parametrize(("shape", "names"), [((), ()), ((8,), ("y",)), ((3, 4, 5), (None, "x", None))])
def test_layouts_of_every_rank(shape: tuple[int, ...], names: Names, mesh: Any) -> None:
    """So it is of other ranks."""
    value = F.HeNormal(1)(shape, layout=layout_of(mesh, *names))
    assert_same(whole(value), fanin.HeNormal(1)(shape))


@pytest.mark.parametrize("name", ["HeNormal", "RandomNormal", "Orthogonal"])
def test_layouts_count_calls(name: str, mesh: Any) -> None:
    """A call with a layout is a call like any other: the next one has the values that the documentation says."""
    initializer, plain = of(F, name), of(fanin, name)
    for layout in (layout_of(mesh, "x", "y"), layout_of(mesh, None, None), None, layout_of(mesh, "x", "y")):
        value = initializer((8, 8), layout=layout)
        assert_same(value if layout is None else whole(value), plain((8, 8)))


UNFIT: list[tuple[tuple[int, ...], Names, dict[str, Any], str]] = [
    ((6, 8), ("x", None), {}, "axis 0 of length 6, in 4 shards along mesh dimension 'x'"),
    ((8, 6), ("y", "x"), {}, "axis 1 of length 6, in 4 shards along mesh dimension 'x'"),
    ((8, 8), ("x", "y"), {"partition_shape": (2, 8), "partition_offset": (0, 0)}, "partition_shape, partition_offset"),
    ((8, 8), ("x", "y"), {"region": np.s_[:1]}, "region"),
    ((8, 8), ("x",), {}, r"the rank of the shape \(8, 8\), 2\. Received: a layout of rank 1"),
    ((8, 8), ("x", "y", None), {}, r"the rank of the shape \(8, 8\), 2\. Received: a layout of rank 3"),
]


@pytest.mark.parametrize(("shape", "names", "keywords", "message"), UNFIT)
def test_layouts_that_do_not_fit(
    shape: tuple[int, ...], names: Names, keywords: dict[str, Any], message: str, mesh: Any
) -> None:
    """Lengths that cannot be cut evenly, other arguments and other ranks are errors; none of these calls counts."""
    initializer = F.HeNormal(1)
    with pytest.raises(ValueError, match=message):
        initializer(shape, layout=layout_of(mesh, *names), **keywords)
    assert_same(initializer((8, 8)), fanin.HeNormal(1)((8, 8)))


@pytest.mark.parametrize(
    "named", [{"kernel_initializer": "he_uniform", "bias_initializer": "normal"}, {}], ids=["names", "instances"]
)
def test_layouts_of_layers(named: dict[str, str], mesh: Any) -> None:
    """Layers with layouts have the weights of layers without, also those that the patch makes."""
    layouts = {"kernel_layout": layout_of(mesh, None, "y"), "bias_layout": layout_of(mesh, "y")}

    def built(library: Any, **more: Any) -> Any:
        tf_keras.utils.set_random_seed(8)
        with F.patch() if library is F else nullcontext():
            layer = layer_with(library, "Dense", units=6, **named, **more)
            layer.build((None, 4))
        return layer.weights

    ours, theirs = built(F, **layouts), built(K)
    assert [weight.layout for weight in ours] == list(layouts.values())
    assert_all_same([whole(weight.read_value()) for weight in ours], theirs)


def test_layouts_of_own_classes(mesh: Any) -> None:
    """A class of one's own is cut in regions too."""
    value = F.as_tf_keras(Bounded(0.5, 3))((8, 6), layout=layout_of(mesh, "x", "y"))
    assert_same(whole(value), Bounded(0.5, 3)((8, 6)))


def test_layouts_of_own_calls(mesh: Any) -> None:
    """So is one whose call returns the whole tensor."""
    value = F.as_tf_keras(Given(lambda: fanin.HeNormal(1)((8, 6))))((8, 6), layout=layout_of(mesh, "x", "y"))
    assert value.shape == (8, 6)
    assert_same(whole(value), fanin.HeNormal(1)((8, 6)))
