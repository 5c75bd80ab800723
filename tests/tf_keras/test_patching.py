"""`patch`: tf_keras uses fanin's classes wherever it looks an initializer up."""

from __future__ import annotations

import importlib
import os
import pathlib
import random
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import fanin
from keras_kit import GOLDEN, SCRIPT, printed
from strategies import CLASSES, FIXED_SCALINGS, RANDOM
from tf_keras_kit import (
    LAYERS,
    Bounded,
    F,
    K,
    L,
    assert_all_same,
    assert_same,
    of,
    tf,
    tf_keras,
)

their_module: Any = importlib.import_module("tf_keras.src.initializers")
backend: Any = importlib.import_module("tf_keras.src.backend")


def their_table() -> dict[str, Any]:
    """Every string that tf_keras knows, with what it stands for."""
    their_module.populate_deserializable_objects()
    return dict(their_module.LOCAL.ALL_OBJECTS)


NAMES = their_table()


@pytest.mark.parametrize("name", NAMES)
def test_patch_reaches_every_name(name: str) -> None:
    """Every name of tf_keras, however it is looked up, is fanin's class in force, and tf_keras's before and after."""
    config: dict[str, Any] = {"class_name": name, "config": {}}
    theirs = NAMES[name]
    ours = getattr(F, theirs.__name__) if theirs.__name__ in CLASSES else theirs
    assert (ours is theirs) == (theirs is K.Initializer)
    for expected, force in ((theirs, nullcontext), (ours, F.patch), (theirs, nullcontext)):
        with force():
            found = [K.get(name), K.get(config), K.deserialize(name), K.deserialize(config)]
            found.append(K.deserialize(config, use_legacy_format=True))
            found.append(L.Dense(1, kernel_initializer=name).kernel_initializer)
            if name == theirs.__name__ or hasattr(K, name):
                with_module = {"module": "keras.initializers", **config, "registered_name": None}
                found += [K.get(with_module), tf_keras.saving.deserialize_keras_object(with_module)]
            assert {type(each) for each in found} == {expected}


@pytest.mark.parametrize("kind", LAYERS)
def test_patch_reaches_the_defaults_of_layers(kind: str) -> None:
    """The initializers that a layer has by itself are fanin's in force, and in layers made of its configuration."""

    def modules(layer: Any) -> set[str]:
        found = [value for name, value in vars(vars(layer).get("cell", layer)).items() if name.endswith("_initializer")]
        return {type(value).__module__ for value in found if value is not None}

    make, arguments = getattr(L, kind), LAYERS[kind][0]
    plain = make(**arguments)
    with F.patch():
        layer = make(**arguments)
        for each in (layer, make.from_config(plain.get_config()), make.from_config(layer.get_config())):
            assert modules(each) == {"fanin.tf_keras"}
        assert layer.get_config() == {**plain.get_config(), "name": layer.name}
    for each in (make(**arguments), make.from_config(layer.get_config())):
        assert modules(each) == {"tf_keras.src.initializers.initializers"}


def in_force() -> bool:
    """Whether tf_keras finds fanin's classes."""
    return type(K.get("he_normal")) is F.HeNormal


def test_patch_begins_and_ends() -> None:
    """Blocks end what they have begun and nothing else; both functions may be called again; errors end a block too."""

    def tables() -> list[Any]:
        return [dict(vars(K)), their_module.LOCAL, their_module.populate_deserializable_objects, their_table()]

    before = tables()
    with F.patch():
        with F.patch():
            assert in_force()
        assert in_force()
    assert not in_force()
    F.patch()
    with F.patch():
        F.patch()
    assert in_force()
    for _ in range(2):
        F.unpatch()
        assert not in_force()
    with pytest.raises(KeyError), F.patch():
        raise KeyError
    assert not in_force()
    with F.patch():
        F.unpatch()
        assert not in_force()
    assert tables() == before


def test_patch_leaves_named_classes_alone() -> None:
    """Classes that a script names itself, and names of one's own, stay what they are; so what is written for them."""
    F.as_tf_keras(Bounded)
    with F.patch(), tf_keras.saving.custom_object_scope({"mine": K.HeNormal}):
        for name in CLASSES:
            named = getattr(K, name)
            assert named.__module__ == "tf_keras.src.initializers.initializers"
            assert type(K.get(named)) is type(L.Dense(1, kernel_initializer=named()).kernel_initializer) is named
            assert K.serialize(of(K, name)) == K.serialize(of(F, name))
        assert type(K.get("mine")) is K.HeNormal
        assert type(K.get("Bounded")) is F.as_tf_keras(Bounded)


def test_patch_reaches_orthogonal_objects() -> None:
    """tf_keras's Orthogonal, which equals fanin's to rounding, has fanin's bits in force, so clones have the same."""
    initializer = K.Orthogonal(seed=1)
    before = initializer((5, 4)).numpy()
    with F.patch():
        model = tf_keras.Sequential([tf_keras.Input((5,)), L.Dense(4, kernel_initializer=initializer)])
        assert type(model.layers[0].kernel_initializer) is K.Orthogonal
        for each in (model, tf_keras.models.clone_model(model)):
            assert_same(each.layers[0].kernel.numpy(), fanin.Orthogonal(seed=1)((5, 4)))
    assert_same(initializer((5, 4)).numpy(), before)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
@pytest.mark.parametrize("form", ["clone", "keras", "h5"])
def test_patch_leaves_constants_of_arrays_to_tf_keras(form: str, tmp_path: pathlib.Path) -> None:
    """In force, a Constant of an array is tf_keras's, also in clones and files; one of a number is fanin's."""
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    with F.patch():
        layer = L.Dense(3, kernel_initializer=K.Constant(values.tolist()), bias_initializer=K.Constant(0.5))
        model = tf_keras.Sequential([tf_keras.Input((4,)), layer])
        if form == "clone":
            again = tf_keras.models.clone_model(model)
        else:
            model.save(tmp_path / f"model.{form}")
            again = tf_keras.models.load_model(tmp_path / f"model.{form}")
        found = again.layers[0]
        assert (type(found.kernel_initializer), type(found.bias_initializer)) == (K.Constant, F.Constant)
        assert_same(found.kernel.numpy(), values)


def test_patch_as_a_decorator() -> None:
    """A decorated function has the patch in force during each call, and not before, between or after."""
    decorated = F.patch()(in_force)
    for _ in range(2):
        assert not in_force()
        assert decorated()
    assert not in_force()


def test_patch_in_other_threads() -> None:
    """A thread that was there before sees the patch begin and end, and so does one that begins in between."""
    seen: list[bool] = []
    both = threading.Barrier(2, timeout=60)

    def look() -> None:
        for _ in range(3):
            both.wait()
            seen.append(in_force())
            both.wait()

    thread = threading.Thread(target=look)
    thread.start()
    for force in (nullcontext, F.patch, nullcontext):
        with force():
            both.wait()
            both.wait()
            if force is F.patch:
                other = threading.Thread(target=lambda: seen.append(in_force()))
                other.start()
                other.join()
    thread.join()
    assert seen == [False, True, True, False]


def network() -> Any:
    """A network none of whose initializers is seeded or named as a class."""
    image, tokens = tf_keras.Input((6, 6, 2)), tf_keras.Input((5,))
    x = L.Conv2D(4, 3, kernel_initializer="he_uniform")(image)
    x = L.Flatten()(L.Dropout(0.5)(L.BatchNormalization(gamma_initializer="random_normal")(x)))
    x = L.Dense(7, bias_initializer={"class_name": "TruncatedNormal", "config": {"stddev": 0.1}})(x)
    y = L.Embedding(9, 4)(tokens)
    y = L.GRU(3, recurrent_initializer="lecun_normal", return_sequences=True)(L.MultiHeadAttention(2, 3)(y, y))
    y = L.LSTM(3, recurrent_initializer="variance_scaling", bias_initializer="uniform")(y)
    return tf_keras.Model([image, tokens], L.Dense(2, kernel_initializer="normal")(L.Concatenate()([x, y])))


@pytest.mark.filterwarnings("ignore:The initializer RandomUniform is unseeded:UserWarning")  # the LSTM's bias, in both
@pytest.mark.parametrize("seed", [42, None])
def test_patch_draws_the_same_weights(seed: int | None) -> None:
    """Two unseeded networks have tf_keras's weights to the bit after its seed (or Python's), which goes on alike."""
    runs = []
    for force, module in ((nullcontext, "tf_keras.src.initializers.initializers"), (F.patch, "fanin.tf_keras")):
        tf_keras.utils.set_random_seed(7 if seed is None else seed)
        fanin.utils.set_random_seed(1)  # which is nothing to tf_keras
        random.seed(7)
        if seed is None:
            backend._SEED_GENERATOR.generator = None
        with force():
            models = network(), network()
        assert {type(each.layers[-1].kernel_initializer).__module__ for each in models} == {module}
        weights = [weight for model in models for weight in model.get_weights()]
        runs.append((weights, (backend._SEED_GENERATOR.generator or random).getstate()))
    assert_all_same(runs[0][0], runs[1][0])
    assert runs[0][1] == runs[1][1]


@pytest.mark.parametrize("name", [*RANDOM, "Orthogonal"])
def test_patch_implies_released_calls(name: str) -> None:
    """In force, calls repeat as in tf_keras, whatever the setting is, which stays; afterwards they do no longer."""
    seeded, plain = of(F, name), of(fanin, name)
    with F.patch():
        assert_all_same([seeded((4, 3)) for _ in range(2)], [plain((4, 3))] * 2)
        assert fanin.config.call_semantics == "documented"
    first = of(fanin, name)((4, 3)).tobytes()
    assert (seeded((4, 3)).numpy().tobytes() == first) == (name not in FIXED_SCALINGS)


# A script, whose weights are recorded of tf_keras alone: FANIN_RECORD=1 records them anew. fanin.keras has the same.

RECORDED = GOLDEN / "keras_script.txt"


@pytest.mark.parametrize("force", [nullcontext, F.patch], ids=["alone", "patched"])
def test_script(force: Any) -> None:
    """A script that knows nothing of fanin has the same weights without the patch and with it."""
    with force():
        found = printed(SCRIPT.format(keras="tf_keras"))
    if os.environ.get("FANIN_RECORD") == "1" and force is nullcontext:
        RECORDED.write_text("\n".join([*found, ""]), encoding="utf-8")
    assert found == RECORDED.read_text(encoding="utf-8").splitlines()
    assert len(found) == 18


# What tf_keras tests of its own initializers, with fanin's in their place


@pytest.fixture(params=["eager", "graph"])
def values_of(request: pytest.FixtureRequest) -> Iterator[Callable[[Any], np.ndarray]]:
    """A function from tensors to values, eagerly or in a graph of TensorFlow 1, with the patch in force."""
    with F.patch():
        if request.param == "eager":
            yield np.asarray
        else:
            with tf.Graph().as_default(), tf.compat.v1.Session() as session:
                yield session.run


def read(name: str, seed: int | None) -> Any:
    """An initializer of a configuration."""
    return K.get({"class_name": name, "config": {**of(K, name).get_config(), "seed": seed}})


@pytest.mark.parametrize("name", [*RANDOM, "Orthogonal"])
@pytest.mark.parametrize("seed", [17, None])
def test_stateless_reuse(name: str, seed: int | None, values_of: Callable[..., Any]) -> None:
    """An initializer repeats; only without a seed, each call after the first warns, once, in tf_keras's words."""
    initializer, theirs, values = read(name, seed), getattr(K, name)(seed=seed), []
    assert type(initializer) is getattr(F, name)
    for _ in range(3):
        texts = []
        for each in (initializer, theirs):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                made = values_of(each((3, 2)))
            texts.append([str(warning.message) for warning in caught])
            values += [made] * (each is initializer)
        assert texts[0] == texts[1]
        assert len(texts[0]) == (seed is None and len(values) > 1)
    assert_all_same(values[1:], values[:1] * 2)
    assert (values_of(read(name, seed)((3, 2))).tobytes() == values[0].tobytes()) == (seed is not None)


@pytest.mark.parametrize("name", RANDOM)
def test_partitions_of_a_tensor(name: str, values_of: Callable[..., Any]) -> None:
    """A partition has the partition's shape; one offset repeats, without a warning, and another has other values."""
    initializer = read(name, None)
    first, again, other = (
        values_of(initializer((4, 2), partition_shape=(2, 2), partition_offset=offset))
        for offset in ((0, 0), (0, 0), (2, 0))
    )
    assert first.shape == (2, 2)
    assert_same(first, again)
    assert not (first == other).any()


@pytest.mark.parametrize("name", CLASSES)
def test_round_trips_through_configurations(name: str, values_of: Callable[..., Any]) -> None:
    """An initializer of a configuration draws what the one that wrote it draws, as its tf_keras namesake does."""
    initializer = K.get({"class_name": name, "config": of(K, name).get_config()})
    again = [type(initializer).from_config(initializer.get_config()), K.deserialize(K.serialize(initializer))]
    values = [values_of(each((4, 3))) for each in (initializer, *again)]
    assert_all_same(values[1:], values[:1] * 2)
    assert_same(values[0], values_of(of(K, name)((4, 3))), name)
    assert type(again[1]) is type(initializer) is getattr(F, name)
    assert values_of(initializer((4, 3), tf.float64)).dtype == np.float64


def test_default_attributes() -> None:
    """Defaults of tf_keras's strings are attributes; Keras's old "normal" scaling is a truncated one."""
    with F.patch():
        assert (K.get("uniform").minval, K.get("uniform").maxval) == (-0.05, 0.05)
        for name in ("normal", "truncated_normal"):
            assert (K.get(name).mean, K.get(name).stddev) == (0.0, 0.05)
        for name in ("VarianceScaling", "VarianceScalingV2"):
            config = {"distribution": "normal", "mode": "fan_avg", "scale": 1.0, "seed": None}
            made = K.deserialize({"class_name": name, "config": config})
            assert (type(made), made.distribution, made.mode) == (F.VarianceScaling, "truncated_normal", "fan_avg")


@pytest.mark.filterwarnings("ignore:The `keras.initializers.serialize:UserWarning")
def test_functions_as_initializers(values_of: Callable[..., Any]) -> None:
    """A model with a function for an initializer goes through its configuration, as it does without fanin."""

    def ones_of_ones_own(shape: Any, dtype: Any = None) -> Any:
        return tf.ones(shape, dtype)

    del values_of
    inputs = tf_keras.Input((10,))
    model = tf_keras.Model(inputs, L.Dense(1, kernel_initializer=ones_of_ones_own)(inputs))
    again = tf_keras.Model.from_config(model.get_config(), custom_objects={"ones_of_ones_own": ones_of_ones_own})
    assert again.layers[1].kernel_initializer is ones_of_ones_own
    assert type(again.layers[1].bias_initializer) is F.Zeros
