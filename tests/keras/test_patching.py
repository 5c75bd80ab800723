"""`patch`: Keras 3 uses fanin's classes wherever it looks an initializer up."""

from __future__ import annotations

import contextlib
import importlib
import pathlib
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import fanin
from keras3_kit import (
    ARGUMENTS,
    KERAS_NAMES,
    LAYERS,
    K,
    L,
    SeedGenerator,
    array,
    assert_holds,
    drawn_in_turn,
    initializer_arguments,
    keras,
    made,
    ours,
)
from keras_kit import GOLDEN, SCRIPT, Kit, printed
from strategies import assert_same_bits

rng_utils: Any = importlib.import_module("keras.src.utils.rng_utils")
SET_RANDOM_SEED = keras.utils.set_random_seed


def assert_in_force(library: Any) -> None:
    """Names, configurations and defaults mean this library's classes, and `set_random_seed` is as it should be."""
    for name, cls in KERAS_NAMES.items():
        described = {"class_name": name, "config": ARGUMENTS[cls]}
        written = {"module": "keras.initializers", "class_name": cls, "config": ARGUMENTS[cls], "registered_name": None}
        found = [K.get(described), K.deserialize(written), keras.saving.deserialize_keras_object(written)]
        if cls != "Constant" or library is ours:  # for which Keras wants a value
            found += [K.get(name), L.Dense(1, bias_initializer=name).bias_initializer]
        assert {type(each) for each in found} == {getattr(library, cls)}
        assert type(K.get(getattr(K, cls))) is getattr(K, cls)  # a class that is named itself
    for name, (arguments, _) in LAYERS.items():
        layer = getattr(L, name)(**arguments)
        for key in initializer_arguments(name):
            default = getattr(getattr(layer, "cell", layer), key)
            assert type(default) is getattr(library, type(default).__name__)
    assert keras.utils.set_random_seed == rng_utils.set_random_seed
    assert (keras.utils.set_random_seed is SET_RANDOM_SEED) is (library is K)


def test_patch() -> None:
    """What Keras looks up is fanin's in a block, nested, repeated, raising or ended within, and Keras's after it."""
    function = keras.utils.set_random_seed
    ours.unpatch()  # nothing to end
    assert_in_force(K)
    with contextlib.suppress(KeyError), ours.patch():
        assert_in_force(ours)
        with ours.patch():
            pass
        assert_in_force(ours)
        raise KeyError
    assert_in_force(K)
    for _ in range(2):
        ours.patch()
    with ours.patch():
        pass
    assert_in_force(ours)
    with ours.patch():
        ours.unpatch()
        assert_in_force(K)
    assert_in_force(K)
    assert keras.utils.set_random_seed is function


def test_patch_sets_both_seeds() -> None:
    """Under the patch, `keras.utils.set_random_seed` gives fanin's sequence, and Keras's own state as without it."""

    def state() -> list[Any]:
        keras.utils.set_random_seed(42)
        uniform = array(keras.random.uniform((3,))).tolist()
        return [rng_utils.get_random_seed(), random.random(), float(np.random.rand()), uniform]

    expected = state()
    fanin.utils.set_random_seed(42)
    plain = [fanin.GlorotUniform()((4, 5)), fanin.RandomUniform()((7, 3)), fanin.HeNormal()((5, 2))]
    with ours.patch():
        assert state() == expected
        keras.utils.set_random_seed(42)
        layers = [L.Dense(5), L.Embedding(7, 3), L.Dense(2, kernel_initializer="he_normal")]
        for layer, values in zip(layers, plain, strict=True):
            layer.build((None, values.shape[0]))
            assert_same_bits(values, layer.get_weights()[0])
    assert state() == expected


def test_patch_repeats_calls() -> None:
    """Under the patch a call repeats the one before, in every thread, whatever the setting; after it, no longer."""
    initializer, plain = ours.HeNormal(seed=3), fanin.HeNormal(seed=3)
    first, _, third = (plain((4, 3)) for _ in range(3))
    with ours.patch(), fanin.config.using(call_semantics="documented"):
        assert_holds(initializer((4, 3)), first)
        with ThreadPoolExecutor(1) as pool:
            assert_holds(pool.submit(initializer, (4, 3)).result(), first)
        assert fanin.config.call_semantics == "documented"
    assert_holds(initializer((4, 3)), third)


# Classes that a script names itself


@pytest.mark.parametrize("name", [*ARGUMENTS, "einsum", "generator"])
@pytest.mark.parametrize("when", ["before", "within"])
def test_patch_reaches_named_classes(name: str, when: str, tmp_path: pathlib.Path) -> None:
    """A layer with an object of Keras's own class has fanin's bits, and so have its clones and what is loaded."""
    cls = {"einsum": "HeNormal", "generator": "LecunUniform"}.get(name, name)
    more = {"seed": SeedGenerator(7)} if name == "generator" else {}
    initializer = made(K, cls, **more) if when == "before" else None
    expected = array(drawn_in_turn(cls, 7, (4, 3))[0] if more else made(ours, cls)((4, 3)))
    with ours.patch():
        initializer = made(K, cls, **more) if initializer is None else initializer
        if name == "einsum":
            layer: Any = L.EinsumDense("ab,bcd->acd", (2, 3), kernel_initializer=initializer)
            peer = L.EinsumDense("ab,bcd->acd", (2, 3), kernel_initializer=made(ours, cls))
            peer.build((None, 4))
            expected = array(peer.kernel)
        else:
            layer = L.Dense(3, kernel_initializer=initializer)
        model = keras.Sequential([keras.Input((4,)), layer])
        assert type(layer.kernel_initializer) is getattr(K, cls)
        models = [model]
        if name != "Identity":  # whose gain Keras leaves out of configurations
            models.append(keras.models.clone_model(model))
            models.append(keras.models.model_from_json(model.to_json()))
        for each in models:
            assert_same_bits(array(each.layers[0].kernel), expected)
            assert_same_bits(array(each.layers[0].kernel), expected)
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        assert_same_bits(array(loaded.layers[0].kernel), expected)


def test_named_classes_are_kerass_again_after_the_patch() -> None:
    """After the patch, Keras's classes have their own calls, and objects their own values, also those of the block."""
    calls = {name: getattr(K, name).__call__ for name in ARGUMENTS}
    initializer = K.HeNormal(seed=1)
    before = array(initializer((4, 3)))
    with ours.patch():
        within = K.HeNormal(seed=1)
        assert_holds(within((4, 3)), fanin.HeNormal(seed=1)((4, 3)))
        assert_holds(initializer((4, 3)), fanin.HeNormal(seed=1)((4, 3)))
    assert {name: getattr(K, name).__call__ for name in ARGUMENTS} == calls
    assert vars(initializer) == vars(within) == vars(K.HeNormal(seed=1))
    for each in (initializer, within):
        assert_same_bits(array(each((4, 3))), before)


@pytest.mark.filterwarnings("ignore:The initializer .* is unseeded:UserWarning")
def test_unseeded_named_classes() -> None:
    """Without a seed, they take the next of the sequence that `set_random_seed` gives, and repeat its values."""
    fanin.utils.set_random_seed(42)
    expected = [fanin.GlorotUniform()((4, 3)), fanin.HeNormal()((4, 3))]
    with ours.patch():
        keras.utils.set_random_seed(42)
        for initializer, values in zip([K.GlorotUniform(), K.HeNormal()], expected, strict=True):
            assert_holds(initializer((4, 3)), values)
            assert_holds(initializer((4, 3)), values)


def test_attributes_of_named_classes() -> None:
    """An attribute that a script assigns counts from the next call on."""
    with ours.patch():
        initializer = K.RandomNormal(seed=1)
        initializer((4, 3))
        initializer.stddev = 2.0
        assert_holds(initializer((4, 3)), fanin.RandomNormal(stddev=2.0, seed=1)((4, 3)))


def test_derived_classes_keep_their_values() -> None:
    """Objects of a class that a script derives from Keras's have the values that they have without the patch."""

    class Halved(K.HeNormal):  # pyright: ignore[reportUntypedBaseClass]
        """Half of Keras's values."""

        def __call__(self, shape: Any, dtype: Any = None) -> Any:
            return super().__call__(shape, dtype) / 2

    expected = array(Halved(seed=1)((4, 3)))
    with ours.patch():
        assert_same_bits(array(Halved(seed=1)((4, 3))), expected)


def test_constants_of_arrays_are_left_to_keras(tmp_path: pathlib.Path) -> None:
    """Under the patch, a Constant of an array is Keras's, also in clones and files; one of a number is fanin's."""
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    with ours.patch():
        layer = L.Dense(3, kernel_initializer=K.Constant(values), bias_initializer=K.Constant(0.5))
        model = keras.Sequential([keras.Input((4,)), layer])
        model.save(tmp_path / "model.keras")
        for each in (keras.models.clone_model(model), keras.models.load_model(tmp_path / "model.keras"), model):
            assert type(each.layers[0].kernel_initializer) is K.Constant
            assert_same_bits(array(each.layers[0].kernel), values)
            assert_same_bits(array(each.layers[0].bias), np.full(3, 0.5, np.float32))


# As a decorator


def test_patch_as_a_decorator() -> None:
    """A decorated function has the patch in force during each call, and not before, between or after."""

    @ours.patch()
    def build(units: int) -> Any:
        """A layer."""
        return L.Dense(units)

    assert build.__doc__ == "A layer."
    for units in (3, 4):
        assert type(L.Dense(1).kernel_initializer) is K.GlorotUniform
        layer = build(units)
        assert (type(layer.kernel_initializer), layer.units) == (ours.GlorotUniform, units)
    assert type(L.Dense(1).kernel_initializer) is K.GlorotUniform


def test_decorated_calls_within_one_another() -> None:
    """A call within another leaves the patch in force when it ends; one that raises ends it."""

    @ours.patch()
    def build(depth: int) -> Any:
        if depth == 2:
            raise KeyError
        if depth == 0:
            build(1)
        return L.Dense(1).kernel_initializer

    assert type(build(0)) is ours.GlorotUniform
    with pytest.raises(KeyError):
        build(2)
    assert type(K.get("he_normal")) is K.HeNormal


@pytest.mark.parametrize("kind", ["generator", "coroutine", "class", "number"])
def test_what_cannot_be_decorated(kind: str) -> None:
    """What runs after its call is refused, and the patch is not in force then."""

    def generator() -> Iterator[int]:
        yield 1

    async def coroutine() -> None:
        pass

    things: dict[str, Any] = {"generator": generator, "coroutine": coroutine, "class": Kit, "number": 3}
    with pytest.raises(TypeError, match=r"^`patch\(\)` decorates functions whose code runs while they are called"):
        ours.patch()(things[kind])
    assert type(K.get("he_normal")) is K.HeNormal


def test_blocks_that_overlap() -> None:
    """Of two blocks that overlap, as in two threads, the one that ends first leaves the patch in force."""
    first, second = contextlib.ExitStack(), contextlib.ExitStack()
    first.enter_context(ours.patch())
    second.enter_context(ours.patch())
    first.close()
    assert type(K.get("he_normal")) is ours.HeNormal
    second.close()
    assert type(K.get("he_normal")) is K.HeNormal


# A script, which has the weights that are recorded of tf_keras alone

WEIGHTS = (GOLDEN / "keras_script.txt").read_text(encoding="utf-8").splitlines()
# The same models, and fanin's classes and seeds by name.
EXPLICIT = SCRIPT.format(keras="keras")
for before, after in {
    "import hashlib": "import fanin, hashlib, fanin.keras as ours",
    "keras.utils.set": "fanin.utils.set",
    '"he_normal"': "ours.HeNormal()",
    '"lecun_uniform"': "ours.LecunUniform()",
    '"glorot_uniform"': "ours.GlorotUniform(), kernel_initializer=ours.GlorotUniform()",
    '"TruncatedNormal"': "ours.TruncatedNormal()",
    'bias_initializer="random_normal"': "ours.GlorotUniform(), ours.RandomNormal()",
    "DepthwiseConv2D(3": "DepthwiseConv2D(3, depthwise_initializer=ours.GlorotUniform()",
    "Embedding(50, 6": "Embedding(50, 6, ours.RandomUniform()",
}.items():
    assert SCRIPT.count(before) == 1
    EXPLICIT = EXPLICIT.replace(before, after)
EXPLICIT = EXPLICIT.replace("Dense(3, ours", "Dense(3, None, True, ours")


def test_script() -> None:
    """A script that knows nothing of fanin has tf_keras's weights under the patch."""
    assert len(WEIGHTS) == 18
    with ours.patch():
        assert printed(SCRIPT.format(keras="keras")) == WEIGHTS


def test_script_that_names_classes() -> None:
    """So has one that names fanin's classes, without the patch."""
    assert printed(EXPLICIT) == WEIGHTS
