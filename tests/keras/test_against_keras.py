"""fanin against Keras 3: on TensorFlow the same bytes for most seeds; on every backend configurations that travel."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fanin
from keras3_kit import ON_TENSORFLOW, keras
from strategies import (
    CLASSES,
    FILLS,
    FIXED_SCALINGS,
    FLOAT_DTYPES,
    RANDOM,
    Call,
    assert_same_bits,
    calls,
    configs,
    examples,
    shapes,
)

K = keras.initializers
PEER: Any = K if ON_TENSORFLOW else fanin  # who draws fanin's bytes
draws = pytest.mark.backend("tensorflow")  # where Keras 3 does

# Keras 3 reduces seeds modulo 2**31 - 2; below, they stay themselves.
keras_seeds = st.integers(0, 2**31 - 3) | st.sampled_from([0, 1, 2**31 - 3])


def rounds_its_bounds(call: Call) -> bool:
    """Whether this is a float64 uniform, whose bounds Keras 3 rounds to float32."""
    uniform = "Uniform" in call.name or call.config.get("distribution", "").lower() == "uniform"
    return uniform and call.dtype == "float64"


def takeable(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with bounds that Keras 3 takes: no None, nothing out of float32's range."""
    numbers = {
        name: 1 if config[name] is None else config[name] for name in ("minval", "maxval", "scale") if name in config
    }
    return {**config, **{name: min(max(value, -3e38), 3e38) for name, value in numbers.items()}}


def their_draw(call: Call) -> np.ndarray:
    """Keras 3's tensor, as an array."""
    return call.run(K).numpy()


@draws
@pytest.mark.parametrize("name", RANDOM)
@given(data=st.data())
@examples(60)
def test_random_calls_have_the_same_bits(name: str, data: Any) -> None:
    """Any arguments, shape and floating dtype, seeds in [0, 2**31 - 2): Keras 3's bytes."""
    call = data.draw(calls([name], FLOAT_DTYPES, 10**4, partitions=False, seeds=keras_seeds))
    call.config.update(takeable(call.config))
    if rounds_its_bounds(call):
        return
    assert_same_bits(call.run(fanin), their_draw(call))


@draws
@pytest.mark.parametrize("name", ["GlorotUniform", "RandomUniform"])
def test_float64_uniforms_differ_by_the_rounding_of_bounds(name: str) -> None:
    """Keras 3's float64 uniforms are fanin's of bounds that were rounded to float32: a documented difference."""
    call = Call(name, {"seed": 3}, (64, 64), "float64")
    ours, theirs = call.run(fanin), their_draw(call)
    assert ours.tobytes() != theirs.tobytes()
    drawn: Any = call.initializer(fanin).distribution((64, 64), "float64")
    minval, maxval = (float(np.float32(bound)) for bound in (drawn.minval, drawn.maxval))
    assert_same_bits(fanin.RandomUniform(minval, maxval, seed=3)((64, 64), "float64"), theirs)


@draws
@pytest.mark.parametrize("seed", [2**31 - 2, 2**31 - 1, 2**32 + 5])
def test_larger_seeds_are_reduced(seed: int) -> None:
    """From 2**31 - 2 on, Keras 3 draws what fanin draws from the seed modulo that: a documented difference."""
    theirs = K.HeNormal(seed=seed)((4, 4)).numpy()
    assert_same_bits(fanin.HeNormal(seed=seed % (2**31 - 2))((4, 4)), theirs)
    assert fanin.HeNormal(seed=seed)((4, 4)).tobytes() != theirs.tobytes()


@draws
@pytest.mark.parametrize("name", ["Zeros", "Ones", "Constant", "Identity"])
@given(data=st.data())
@examples(30)
def test_fills_have_the_same_bits(name: str, data: Any) -> None:
    """Zeros, Ones, Constant and Identity of floating dtypes have Keras 3's bytes."""
    dtype = data.draw(st.sampled_from(FLOAT_DTYPES))
    if name == "Constant":
        config = {"value": data.draw(st.floats(-100, 100, width=16).map(lambda value: value + 0.0))}
    else:
        config = {"gain": data.draw(st.floats(0.5, 4))} if name == "Identity" else {}
    call = Call(name, config, data.draw(shapes(200, 2, 2 if name == "Identity" else 4)), dtype)
    assert_same_bits(call.run(fanin), their_draw(call))


@draws
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(8, 8), (3, 7), (7, 3), (2, 3, 4)])
def test_orthogonal_agrees_to_rounding(shape: tuple[int, ...], dtype: str) -> None:
    """Orthogonal agrees with Keras 3's as closely as with tf_keras's."""
    call = Call("Orthogonal", {"gain": 1.5, "seed": 8}, shape, dtype)
    assert np.abs(call.run(fanin) - their_draw(call)).max() <= {"float32": 1e-5, "float64": 1e-12}[dtype]


# Configurations


@pytest.mark.parametrize("name", CLASSES)
@given(data=st.data())
@examples(20)
def test_configurations_travel_both_ways(name: str, data: Any) -> None:
    """What one library serializes, the other loads through JSON, and draws the same bytes."""
    config = takeable(data.draw(configs(name, "float32", keras_seeds)))
    if name == "Constant":
        config = {"value": data.draw(st.floats(-100, 100) | st.integers(-100, 100)) + 0.0}
    if name == "Identity":
        config = {}  # Keras 3 leaves the gain out of the configuration
    ours, theirs = getattr(fanin, name)(**config), getattr(K, name)(**config)
    for load in (fanin.deserialize, fanin.get):
        loaded = load(json.loads(json.dumps(K.serialize(theirs))))
        assert type(loaded) is type(ours)
        assert loaded.get_config() == ours.get_config()
        if name != "Orthogonal":
            assert_same_bits(loaded((3, 4), "float32"), getattr(PEER, name)(**config)((3, 4), "float32"))
    for legacy in (False, True):
        described = json.loads(json.dumps(fanin.serialize(ours, legacy)))
        for loaded in (K.deserialize(described), K.get(described)):
            assert type(loaded) is type(theirs)
            assert name == "Identity" or ours.get_config().items() <= loaded.get_config().items()
            if ON_TENSORFLOW and name != "Orthogonal":
                assert_same_bits(
                    type(ours).from_config(ours.get_config())((3, 4), "float32"), loaded((3, 4), "float32")
                )


@draws
def test_gain_of_identity_reaches_keras3() -> None:
    """Identity's gain, which Keras 3 does not write, is read by it."""
    described = fanin.serialize(fanin.Identity(2.5))
    assert_same_bits(fanin.Identity(2.5)((3, 4), "float32"), K.deserialize(described)((3, 4), "float32"))


@pytest.mark.parametrize("name", [*FIXED_SCALINGS, "VarianceScaling"])
def test_axes_of_none_are_read(name: str) -> None:
    """Keras 3 writes `input_axes` and `output_axes` for scalings; None changes nothing and is read."""
    described = K.serialize(getattr(K, name)(seed=4))
    config = {**described["config"], "input_axes": None, "output_axes": None}
    ours = fanin.deserialize({**described, "config": config})
    assert_same_bits(ours((5, 6)), getattr(PEER, name)(seed=4)((5, 6)))
    assert set(ours.get_config()) == set(getattr(fanin, name)().get_config())


@pytest.mark.parametrize("axes", ["input_axes", "output_axes"])
def test_axes_that_change_fans_are_refused(axes: str) -> None:
    """Axes of one's own would give other fans, so they are refused by name."""
    described = K.serialize(K.VarianceScaling(seed=4))
    described["config"][axes] = [0]
    with pytest.raises(ValueError, match=axes):
        fanin.deserialize(described)


@draws
@pytest.mark.parametrize("name", [*RANDOM, "Orthogonal"])
def test_seed_generators_are_read(name: str) -> None:
    """A SeedGenerator's configuration as seed stands for Keras 3's first draw."""
    theirs = getattr(K, name)(seed=keras.random.SeedGenerator(77))
    described = json.loads(json.dumps(K.serialize(theirs)))
    assert described["config"]["seed"]["class_name"] == "SeedGenerator"
    ours = fanin.deserialize(described)
    assert ours.seed == 77
    if name == "Orthogonal":
        assert np.abs(ours((5, 6)) - theirs((5, 6)).numpy()).max() < 1e-5
    else:
        assert_same_bits(ours((5, 6)), theirs((5, 6)))


def test_seed_generators_without_a_seed_are_refused() -> None:
    """What is no SeedGenerator's configuration is refused as a seed."""
    described = K.serialize(K.HeNormal(seed=keras.random.SeedGenerator(77)))
    described["config"]["seed"]["class_name"] = "Other"
    with pytest.raises(ValueError, match="seed"):
        fanin.deserialize(described)


@pytest.mark.parametrize("name", [name for name in CLASSES if name not in FILLS])
def test_unseeded_configurations(name: str) -> None:
    """Unseeded initializers load unseeded."""
    assert fanin.deserialize(K.serialize(getattr(K, name)())).seed is None
    assert K.deserialize(fanin.serialize(getattr(fanin, name)())).get_config()["seed"] is None


LAYERS: dict[str, Callable[[], Any]] = {
    "Dense": lambda: keras.layers.Dense(4, kernel_initializer=K.HeNormal(seed=2), bias_initializer="ones"),
    "Conv2D": lambda: keras.layers.Conv2D(4, 3, kernel_initializer=K.LecunUniform(seed=2)),
}


@draws
@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_keras3(name: str) -> None:
    """The initializers in a layer's configuration load in fanin and make the layer's weights."""
    layer = LAYERS[name]()
    layer.build((None, 6) if name == "Dense" else (None, 8, 8, 3))
    config = json.loads(json.dumps(layer.get_config()))
    for weight, key in zip(layer.get_weights(), ("kernel_initializer", "bias_initializer"), strict=True):
        assert_same_bits(fanin.get(config[key])(weight.shape), weight)
