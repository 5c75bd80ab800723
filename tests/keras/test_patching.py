"""`patch`: Keras 3 uses fanin's classes wherever it looks an initializer up."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

import fanin
from keras3_kit import (
    ARGUMENTS,
    KERAS_NAMES,
    LAYERS,
    K,
    L,
    array,
    assert_holds,
    initializer_arguments,
    keras,
    ours,
)
from keras_kit import GOLDEN, SCRIPT, printed
from strategies import assert_same_bits

rng_utils: Any = importlib.import_module("keras.src.utils.rng_utils")


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
    assert inspect.isfunction(keras.utils.set_random_seed) is (library is K)


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
