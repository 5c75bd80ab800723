"""The initializer classes of fanin.keras: their calls, seeds, configurations and copies, and users' own classes."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest

import fanin
from catalogue import FLOATS
from fanin.initializers import KERAS_CLASSES, NAMES
from keras3_kit import (
    ARGUMENTS,
    KERAS_NAMES,
    ON_JAX,
    OWN,
    PEER,
    SEEDED,
    K,
    SeedGenerator,
    array,
    assert_as_keras,
    assert_holds,
    drawn_in_turn,
    framework,
    keras,
    made,
    ours,
)
from strategies import FIXED_SCALINGS

# Calls


@pytest.mark.parametrize("dtype", [None, *FLOATS])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_calls(name: str, dtype: str | None) -> None:
    """Calls, the next one and regions are tensors of the backend and the dtype with plain fanin's bytes."""
    carrier, plain, named = made(ours, name), made(fanin, name), dtype or "float32"
    for more in ({}, {}, {"region": np.s_[1:, 2]}):
        tensor = carrier((4, 3), dtype=dtype, **more)
        assert isinstance(tensor, framework.Array if ON_JAX else framework.Tensor)
        assert keras.backend.standardize_dtype(tensor.dtype) == ("float32" if ON_JAX and dtype == "float64" else named)
        assert_holds(tensor, plain((4, 3), named, **more))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ARGUMENTS)
def test_dtypes_of_the_backend(name: str, dtype: str) -> None:
    """The backend's own dtypes are taken, and shapes as lists."""
    their_dtype = getattr(framework.numpy if ON_JAX else framework, dtype)
    assert_holds(made(ours, name)([2, 2], their_dtype), made(fanin, name)((2, 2), dtype))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ARGUMENTS)
def test_default_dtype(name: str, dtype: str) -> None:
    """Without a dtype, Keras's own default counts."""
    keras.config.set_floatx(dtype)
    try:
        assert_holds(made(ours, name)((4, 3)), made(fanin, name)((4, 3), dtype))
    finally:
        keras.config.set_floatx("float32")


@pytest.mark.parametrize("dtype", ["int32", "bool", "uint8"])
@pytest.mark.parametrize("name", ["Zeros", "Ones"])
def test_whole_numbers(name: str, dtype: str) -> None:
    """Zeros and ones are made of other dtypes, too, of no elements and of one."""
    for shape in ((2, 0, 3), ()):
        assert_holds(made(ours, name)(shape, dtype), made(fanin, name)(shape, dtype))


@pytest.mark.backend("tensorflow", "torch")
@pytest.mark.parametrize("name", ARGUMENTS)
def test_layouts_are_of_jax_alone(name: str) -> None:
    """Elsewhere, a layout is an error that says so."""
    with pytest.raises(ValueError, match=r"`layout` must be None: only the JAX backend supports layouts\. Received: "):
        made(ours, name)((2, 2), layout=object())


# Seed generators and placeholders


@pytest.mark.parametrize("name", SEEDED)
def test_seed_generators(name: str) -> None:
    """A SeedGenerator advances at each call and is written as by Keras; the values are Keras's own on TensorFlow."""
    generator = SeedGenerator(77)
    carrier, other = made(ours, name, seed=generator), made(K, name, seed=generator)
    peer = made(PEER, name, seed=SeedGenerator(77))
    shapes = [(4, 3), (4, 3), (2, 5)]
    expected = drawn_in_turn(name, 77, *shapes)
    for shape, values in zip(shapes, expected, strict=True):
        tensor = carrier(shape)
        assert_holds(tensor, values)
        assert_as_keras(name, tensor, peer(shape))
    assert array(generator.state).tolist() == [77, 3]
    assert K.serialize(carrier) == {**K.serialize(other), "build_config": {}}
    described = json.loads(json.dumps(K.serialize(carrier)))
    for each in (carrier.clone(), type(carrier)(**described["config"]), ours.get(described)):
        assert type(each) is type(carrier)
        for shape, values in zip(shapes, expected, strict=True):
            assert_holds(each(shape), values)
    assert carrier.seed is copy.copy(carrier).seed is ours.as_keras(carrier).seed is generator


@pytest.mark.parametrize("seed", ["integer", "none", "generator"])
@pytest.mark.parametrize("name", ["HeNormal", "RandomNormal", "Orthogonal"])
def test_placeholders(name: str, seed: str) -> None:
    """Calls in a stateless scope neither count, warn, draw a seed nor advance a generator; the variable is as ever."""
    generator = SeedGenerator(6)
    idle, initializer = (made(ours, name, seed={"integer": 6, "none": None}.get(seed, generator)) for _ in range(2))
    fanin.utils.set_random_seed(31)
    with keras.StatelessScope():
        variable = keras.Variable(initializer, (4, 3))
        for _ in range(2):
            shapes = {tuple(each.shape) for each in (idle((4, 3)), initializer((4, 3)), variable.value)}
            assert shapes == {(4, 3)}
    assert array(generator.state).tolist() == [6, int(seed == "generator")]
    fanin.utils.set_random_seed(31)
    plain = made(fanin, name, seed=None if seed == "none" else 6)
    assert_holds(variable, plain((4, 3)))
    if seed == "integer":
        assert_holds(initializer((4, 3)), plain((4, 3)))


# Configurations, copies and comparisons


@pytest.mark.parametrize("name", ARGUMENTS)
def test_configurations(name: str) -> None:
    """What Keras writes is what it writes for its own, but for a mark and Identity's gain, after calls too."""
    for more in ({}, {"seed": None}) if name in SEEDED else ({},):
        carrier, other = made(ours, name, **more), made(K, name, **more)
        assert isinstance(carrier, type(other))
        for calls in (0, 1):
            for _ in range(calls):
                carrier((3, 3))
            for write in (K.serialize, keras.saving.serialize_keras_object, lambda each: each.get_config()):
                expected = write(other)
                if "class_name" in expected:
                    expected["build_config"] = {}
                if name == "Identity":
                    expected.get("config", expected)["gain"] = -0.3
                assert write(carrier) == json.loads(json.dumps(write(carrier))) == expected


@pytest.mark.parametrize("name", ["Dense", "Adam", "STFT", "Initializer", *sorted(KERAS_NAMES)])
def test_names_of_keras_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class of one's own with a name that Keras looks up would load where Keras's is meant."""
    monkeypatch.setattr("keras.src.saving.object_registration.GLOBAL_CUSTOM_OBJECTS", {})
    own = type(name, (fanin.Zeros,), {})
    for given in (own, own()):
        with pytest.raises(ValueError, match="Your class must not have a name that keras uses: ") as caught:
            ours.as_keras(given)
        assert str(caught.value).endswith(f"Received: a class named {name!r}. Rename it.")


@pytest.mark.filterwarnings("ignore:The initializer .* is unseeded:UserWarning")
@pytest.mark.parametrize("name", [*ARGUMENTS, *OWN])
def test_copies_and_comparisons(name: str) -> None:
    """copy, deepcopy, pickle and as_keras keep seed and count; ==, hash and repr go by class and configuration."""
    cls, config = OWN[name] if name in OWN else (getattr(fanin, name), ARGUMENTS[name])
    for arguments in [config, {**config, "seed": None}] if "seed" in config else [config]:
        carrier, again = (ours.as_keras(cls(**arguments)) for _ in range(2))
        assert (carrier == again) is (arguments.get("seed", 0) is not None)
        assert carrier == carrier != ours.Constant(17)
        assert hash(carrier) == hash(again)
        assert repr(carrier) == f"fanin.keras.{cls(**arguments)!r}"
        first = array(carrier((3, 3)))
        copies = [copy.copy(carrier), copy.deepcopy(carrier), pickle.loads(pickle.dumps(carrier))]
        copies += [ours.as_keras(carrier), ours.as_keras(carrier.source)]
        second = array(carrier((3, 3)))
        assert (first.tobytes() != second.tobytes()) is (name in FIXED_SCALINGS)
        for each in copies:
            assert type(each) is type(carrier)
            assert each.get_config() == carrier.get_config()
            assert_holds(each((3, 3)), second)
    for wrong in ("he_normal", 3, None, int, len, K.HeNormal, K.HeNormal(seed=1)):
        with pytest.raises(TypeError, match="must be a fanin initializer"):
            ours.as_keras(wrong)


@pytest.mark.parametrize("identifier", sorted(name for name, cls in NAMES.items() if cls in KERAS_CLASSES))
def test_get(identifier: str) -> None:
    """Every name that fanin knows, a configuration, classes and instances give this module's class."""
    cls = NAMES[identifier]
    name, described = cls.__name__, {"class_name": identifier, "config": ARGUMENTS[cls.__name__]}
    for given in (identifier, cls, getattr(ours, name), described, fanin.get(described), made(ours, name)):
        found = ours.get(given)
        assert type(found) is getattr(ours, name)
        assert found.get_config().keys() == getattr(ours, name)().get_config().keys()
    assert_holds(ours.get(described)((3, 4)), made(fanin, name)((3, 4)))
    assert ours.get(None) is None
