"""fanin against tf_keras itself: names, signatures, configurations and the documented examples."""

from __future__ import annotations

import inspect
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fanin
from fanin.initializers import KERAS_CLASSES, NAMES
from fanin.initializers.names import ALIASES
from strategies import (
    CLASSES,
    assert_same_bits,
    configs,
    dtypes_of,
    examples,
)
from tf_keras_kit import K, tf_keras

# Names and signatures


def their_names() -> dict[str, type]:
    """Every string that tf_keras's `get` knows, with its class."""
    from tf_keras.src.initializers import LOCAL, populate_deserializable_objects  # pyright: ignore[reportMissingImports]

    populate_deserializable_objects()
    return dict(LOCAL.ALL_OBJECTS)


def test_the_same_strings_are_known() -> None:
    """Every string of tf_keras's `get` is fanin's, and no other but aliases, for the same class and configuration."""
    theirs = their_names()
    known = {name for name, cls in NAMES.items() if cls in (*KERAS_CLASSES, fanin.Initializer)}
    assert known - set(ALIASES) == set(theirs)
    assert not set(ALIASES) & set(theirs)
    for name, their_class in theirs.items():
        ours, their = fanin.get(name), K.get(name)
        assert type(ours).__name__ == type(their).__name__ == their_class.__name__
        assert ours.get_config() == their.get_config()
        assert type(fanin.deserialize(name)).__name__ == type(K.deserialize(name)).__name__


def test_every_public_name_of_tf_keras_is_fanins() -> None:
    """All of `tf_keras.initializers` is in fanin, shortcuts being the classes themselves in both."""
    names = [name for name in dir(K) if not name.startswith("_") and not inspect.ismodule(getattr(K, name))]
    assert set(CLASSES) < set(names)
    for name in names:
        ours, theirs = getattr(fanin, name), getattr(K, name)
        assert ours.__name__ == theirs.__name__
        if inspect.isclass(theirs):
            assert ours is getattr(fanin, theirs.__name__)


@pytest.mark.parametrize("name", [*CLASSES, "Initializer"])
def test_signatures(name: str) -> None:
    """Parameters, their order and defaults are tf_keras's, of the class and of its call; others have names alone."""
    ours, theirs = getattr(fanin, name), getattr(K, name)

    def described(function: Any) -> list[tuple[str, Any]]:
        parameters = inspect.signature(function).parameters.values()
        return [(each.name, each.default) for each in parameters if each.kind is not each.KEYWORD_ONLY]

    assert described(ours) == described(theirs)
    assert described(ours.__call__) == described(theirs.__call__)


@pytest.mark.parametrize("name", ["get", "serialize", "deserialize"])
def test_signatures_of_functions(name: str) -> None:
    """Parameters, their order and defaults of `get`, `serialize` and `deserialize` are tf_keras's."""
    ours, theirs = (inspect.signature(getattr(library, name)).parameters.values() for library in (fanin, K))
    assert [(each.name, each.default) for each in ours] == [(each.name, each.default) for each in theirs]


def test_positional_arguments() -> None:
    """Arguments without names mean the same."""
    for name, arguments in {
        "RandomNormal": (0.5, 2.0, 3),
        "TruncatedNormal": (0.5, 2.0, 3),
        "RandomUniform": (-1, 2, 3),
        "VarianceScaling": (2.0, "fan_out", "uniform", 3),
        "GlorotUniform": (3,),
        "LecunNormal": (3,),
        "Identity": (2.0,),
        "Constant": (2.0,),
    }.items():
        ours, theirs = getattr(fanin, name)(*arguments), getattr(K, name)(*arguments)
        assert ours.get_config() == theirs.get_config()
        assert_same_bits(ours((3, 4), "float32"), theirs((3, 4), "float32"))


@pytest.mark.parametrize("name", CLASSES)
@given(data=st.data())
@examples(40)
def test_configurations_travel_both_ways(name: str, data: Any) -> None:
    """`get_config` and `serialize` are equal in both formats; each loads in the other library, draws the same bytes."""
    # tf_keras cannot serialize complex constants
    dtype = data.draw(st.sampled_from([each for each in dtypes_of(name) if not each.startswith("complex")]))
    config = data.draw(configs(name, dtype))
    ours, theirs = getattr(fanin, name)(**config), getattr(K, name)(**config)
    our_config, their_config = ours.get_config(), theirs.get_config()
    assert list(our_config) == list(their_config)
    assert repr(our_config) == repr(their_config)  # types too; and NaN is itself
    shape = (3, 4)
    for legacy in (False, True):
        described, their_described = fanin.serialize(ours, legacy), K.serialize(theirs, use_legacy_format=legacy)
        assert repr(described) == repr(their_described)
        described, their_described = json.loads(json.dumps([described, their_described]))
        in_theirs = K.deserialize(described, use_legacy_format=legacy)
        in_ours = fanin.deserialize(their_described, use_legacy_format=legacy)
        assert type(in_theirs) is type(theirs)
        assert type(in_ours) is type(ours)
        if name != "Orthogonal":
            assert_same_bits(in_ours(shape, dtype), theirs(shape, dtype))
            assert_same_bits(type(ours).from_config(our_config)(shape, dtype), in_theirs(shape, dtype))
        assert repr(fanin.get(fanin.serialize(ours, legacy)).get_config()) == repr(our_config)
        assert repr(K.get(fanin.serialize(ours, legacy)).get_config()) == repr(their_config)


@pytest.mark.filterwarnings("ignore:The initializer:UserWarning")
@pytest.mark.parametrize("name", CLASSES)
def test_configurations_without_a_seed(name: str) -> None:
    """Unseeded initializers describe themselves alike, before and after their first call."""
    ours, theirs = getattr(fanin, name)(), getattr(K, name)()
    for _ in range(2):
        assert ours.get_config() == theirs.get_config()
        assert fanin.serialize(ours) == K.serialize(theirs)
        ours((2, 2))
        theirs((2, 2))


def test_numpy_parameters_describe_themselves_in_python_numbers() -> None:
    """Configurations of NumPy parameters load in tf_keras and hold Python numbers."""
    ours = fanin.RandomNormal(np.float32(0.1), np.int64(2), np.int16(7))
    described = json.loads(json.dumps(fanin.serialize(ours)))
    assert [type(value) for value in ours.get_config().values()] == [float, int, int]
    assert_same_bits(ours((50,)), K.deserialize(described)((50,)))
    assert_same_bits(ours((50,)), K.RandomNormal(np.float32(0.1), np.int64(2), np.int16(7))((50,)))


def test_layers_of_tf_keras_take_fanins_configurations() -> None:
    """A Dense layer's configuration with fanin's initializer dict in it builds in tf_keras."""
    config = tf_keras.layers.Dense(4).get_config()
    config["kernel_initializer"] = fanin.serialize(fanin.HeNormal(seed=8))
    layer = tf_keras.layers.Dense.from_config(config)
    layer.build((None, 6))
    assert_same_bits(fanin.HeNormal(seed=8)((6, 4)), layer.get_weights()[0])
    ours = fanin.get(layer.get_config()["kernel_initializer"])
    assert_same_bits(ours((6, 4)), layer.get_weights()[0])


EXAMPLES: list[tuple[str, dict[str, Any]]] = [
    ("RandomNormal", {"mean": 0.0, "stddev": 1.0}),
    ("RandomUniform", {"minval": 0.0, "maxval": 1.0}),
    ("TruncatedNormal", {"mean": 0.0, "stddev": 1.0}),
    ("Zeros", {}),
    ("Ones", {}),
    ("GlorotNormal", {}),
    ("GlorotUniform", {}),
    ("HeNormal", {}),
    ("HeUniform", {}),
    ("Identity", {}),
    ("Orthogonal", {}),
    ("Constant", {"value": 3.0}),
    ("VarianceScaling", {"scale": 0.1, "mode": "fan_in", "distribution": "uniform"}),
    ("LecunNormal", {}),
    ("LecunUniform", {}),
]


@pytest.mark.parametrize(("name", "config"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_the_documented_examples(name: str, config: dict[str, Any]) -> None:
    """Both examples of each class: standalone, and in a layer, whose kernel is that of tf_keras's own initializer."""
    assert getattr(fanin.initializers, name)(**config)(shape=(2, 2)).shape == (2, 2)
    kernels = []
    libraries: tuple[Any, ...] = (fanin, tf_keras)
    for library in libraries:
        library.utils.set_random_seed(5)
        layer = tf_keras.layers.Dense(3, kernel_initializer=getattr(library.initializers, name)(**config))
        layer.build((None, 3))
        kernels.append(layer.kernel.numpy())
    if name == "Orthogonal":
        assert np.abs(kernels[0] - kernels[1]).max() < 1e-5
    else:
        assert kernels[0].tobytes() == kernels[1].tobytes()
