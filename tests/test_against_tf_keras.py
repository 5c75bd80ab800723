"""fanin against tf_keras itself, eager, on the CPU: the same bytes, names, configurations, warnings and errors."""

from __future__ import annotations

import inspect
import json
import math
import os
import platform
import random
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fanin
from fanin.initializers import NAMES
from fanin.settings import TIERS
from strategies import (
    CLASSES,
    FILLS,
    FIXED_SCALINGS,
    FLOAT_DTYPES,
    NUMERIC_DTYPES,
    RANDOM,
    Call,
    assert_same_bits,
    calls,
    configs,
    dtypes_of,
    examples,
    parameters,
    seeds,
    shapes,
)

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
tf = pytest.importorskip("tensorflow")
tf_keras = pytest.importorskip("tf_keras")
K = tf_keras.initializers

# Elsewhere TensorFlow's own float64 normals have other last bits.
HAS_FMA = "avx2" in TIERS or platform.machine() in ("aarch64", "arm64")
IMAGES = {name: getattr(tf, name) for name in NUMERIC_DTYPES}
LARGEST_NORMAL = math.sqrt(-2 * math.log(1e-7))


def assert_same_draw(call: Call, **settings: Any) -> None:
    """Both libraries return the same bytes."""
    with fanin.config.using(**settings):
        ours = call.run(fanin)
    theirs = call.run(K).numpy()
    if call.dtype == "float64" and call.name in RANDOM and not HAS_FMA:
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    else:
        assert_same_bits(ours, theirs)


@pytest.fixture
def tf_keras_floatx() -> Iterator[Callable[[str], None]]:
    """A function that sets tf_keras's default dtype, until the test ends."""
    before = tf_keras.backend.floatx()
    yield tf_keras.backend.set_floatx
    tf_keras.backend.set_floatx(before)


# Values


@pytest.mark.parametrize("name", RANDOM)
@given(data=st.data())
@examples(150)
def test_random_calls_have_the_same_bits(name: str, data: Any) -> None:
    """Any arguments, seed, shape, dtype and partition: tf_keras's bytes."""
    assert_same_draw(data.draw(calls([name])))


@pytest.mark.parametrize("name", FILLS)
@given(data=st.data())
@examples(100)
def test_fills_have_the_same_bits(name: str, data: Any) -> None:
    """Zeros, Ones, Constant and Identity of any dtype, NaNs and infinities included."""
    assert_same_draw(data.draw(calls([name])))


@pytest.mark.parametrize("name", ["Zeros", "Ones"])
@pytest.mark.parametrize("dtype", [*NUMERIC_DTYPES, "int4", "uint4"])
def test_zeros_and_ones_of_every_dtype(name: str, dtype: str) -> None:
    """Every dtype that TensorFlow fills has the same bytes."""
    assert_same_draw(Call(name, {}, (3, 5), dtype))


@pytest.mark.parametrize("tier", TIERS)
@given(data=st.data())
@examples(60)
def test_every_tier_has_the_same_bits(tier: str, data: Any) -> None:
    """Each processor tier alone draws tf_keras's bytes."""
    call = data.draw(calls(max_size=3000 if tier == "reference" else 10**4))
    assert_same_draw(call, cpu=tier)


@pytest.mark.parametrize("dtype", FLOAT_DTYPES)
@pytest.mark.parametrize("name", ["RandomNormal", "RandomUniform", "TruncatedNormal"])
def test_large_tensors_on_many_threads(name: str, dtype: str) -> None:
    """A million elements, cut among threads, have tf_keras's bytes."""
    for threads in (1, 2, 5):
        assert_same_draw(Call(name, {"seed": -7}, (1021, 1031), dtype), threads=threads)


@pytest.mark.parametrize("shape", [(25390, 3), (3, 3, 1045), (77, 3001)])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", FIXED_SCALINGS)
def test_limits_reach_16_bits_through_float32(name: str, dtype: str, shape: tuple[int, ...]) -> None:
    """Shapes whose limit or spread is near a tie have the same bits; rounded at once, 95 % of one would differ."""
    assert_same_draw(Call(name, {"seed": 1}, shape, dtype))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])  # all that tf_keras takes
@pytest.mark.parametrize("name", CLASSES)
def test_default_dtype(name: str, dtype: str, tf_keras_floatx: Callable[[str], None]) -> None:
    """Without a dtype, `fanin.config.floatx` makes what `tf_keras.backend.set_floatx` does."""
    tf_keras_floatx(dtype)
    config = {} if name in FILLS else {"seed": 5}
    theirs = getattr(K, name)(**config)((2, 1)).numpy()
    with fanin.config.using(floatx=dtype):
        ours = getattr(fanin, name)(**config)((2, 1))
    assert ours.dtype == theirs.dtype
    if name == "Orthogonal":
        assert np.abs(ours - theirs).max() < (1e-2 if dtype == "float16" else 1e-6)
    elif dtype != "float64" or HAS_FMA:
        assert_same_bits(ours, theirs)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
@given(data=st.data())
@examples(60)
def test_subnormals_differ_by_the_flush_alone(dtype: str, data: Any) -> None:
    """Where fanin's value is subnormal, TensorFlow's is zero; all others have the same bits."""
    tiny, most = (2.0**-1022, 1e-290) if dtype == "float64" else (2.0**-126, 1e-35)
    name = data.draw(st.sampled_from(["RandomNormal", "TruncatedNormal", "RandomUniform"]))
    spread = data.draw(st.floats(tiny * 1.01, most)) * data.draw(st.sampled_from([1, -1]))
    config = {"minval": 0.0, "maxval": spread} if name == "RandomUniform" else {"mean": 0.0, "stddev": spread}
    call = Call(name, {**config, "seed": data.draw(seeds)}, (data.draw(st.integers(1, 3000)),), dtype)
    ours, theirs = call.run(fanin), call.run(K).numpy()
    subnormal = np.abs(ours.astype(np.float64)) < tiny
    assert not theirs[subnormal].any()
    if dtype == "bfloat16":  # rounding may make the smallest normal of what was flushed before it
        subnormal |= (np.abs(ours.astype(np.float64)) == tiny) & (theirs == 0)
    assert_same_bits(np.where(subnormal, np.zeros_like(ours), ours), theirs)


@given(data=st.data())
@examples(60)
def test_float16_subnormals_are_kept(data: Any) -> None:
    """TensorFlow does not flush float16, so its subnormals have the same bits."""
    stddev = data.draw(st.floats(2.0**-24, 2.0**-13))
    call = Call("RandomNormal", {"stddev": stddev, "seed": data.draw(seeds)}, (200,), "float16")
    assert (np.abs(call.run(fanin)) < 2.0**-14).any()
    assert_same_draw(call)


@pytest.mark.parametrize("dtype", FLOAT_DTYPES)
@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("RandomNormal", ("mean", "stddev")),
        ("TruncatedNormal", ("mean", "stddev")),
        ("RandomUniform", ("minval", "maxval")),
        ("Identity", ("gain",)),
    ],
)
def test_negative_zeros(name: str, names: tuple[str, ...], dtype: str) -> None:
    """-0.0 as a parameter gives the signed zeros that it gives in TensorFlow."""
    # TensorFlow gets tensors: its table of constants mixes up the Python numbers -0.0 and 0.0.
    seed = {} if name == "Identity" else {"seed": 1}
    for values in np.ndindex(*(3,) * len(names)):
        numbers = dict(zip(names, ((0.0, -0.0, 1.0)[value] for value in values), strict=True))
        tensors = {
            key: tf.convert_to_tensor(np.array(value, IMAGES[dtype].as_numpy_dtype)) for key, value in numbers.items()
        }
        ours = getattr(fanin, name)(**numbers, **seed)((4, 5), dtype)
        assert_same_bits(ours, getattr(K, name)(**tensors, **seed)((4, 5), dtype).numpy())


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@given(data=st.data())
@examples(60)
def test_orthogonal_agrees_to_rounding(dtype: str, data: Any) -> None:
    """Any gain and rank: tf_keras's matrix to rounding, with orthonormal rows or columns."""
    shape = data.draw(shapes(3000, 2, 4))
    gain = data.draw(st.sampled_from([1.0, 1, -1.0, 0.5, 3, math.sqrt(2)]))
    config = {"gain": gain, "seed": data.draw(seeds)}
    ours = fanin.Orthogonal(**config)(shape, dtype)
    assert ours.shape == shape
    if not ours.size:
        return
    theirs = K.Orthogonal(**config)(shape, dtype).numpy()
    assert ours.dtype == theirs.dtype
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    tall = sorted((math.prod(shape[:-1]), shape[-1]), reverse=True)
    # An ill-conditioned matrix makes more of the same rounding.
    normal = fanin.RandomNormal(0.0, 1.0, config["seed"])(tall, "float64" if dtype == "float64" else "float32")
    condition = max(1.0, float(np.linalg.cond(normal.astype(np.float64))) / 10)
    tolerance = {"float32": 1e-5, "float64": 1e-12, "float16": 1e-2}[dtype] * abs(gain) * condition
    assert np.abs(ours - theirs).max() <= tolerance
    matrix = ours.reshape(-1, shape[-1]) / gain
    gram = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    assert np.abs(gram - np.eye(len(gram))).max() <= {"float32": 2e-6, "float64": 4e-15, "float16": 4e-3}[dtype]


def test_orthogonal_in_bfloat16_is_fanins_alone() -> None:
    """tf_keras refuses bfloat16; fanin rounds the float32 matrix once."""
    with pytest.raises(tf.errors.InvalidArgumentError):
        K.Orthogonal(seed=1)((4, 3), "bfloat16")
    ours = fanin.Orthogonal(seed=1)((4, 3), "bfloat16")
    assert_same_bits(ours, fanin.Orthogonal(seed=1)((4, 3)).astype(ours.dtype))


# Seeds and calls


def drawn_in_turn(library: Any, keywords: list[Any], steps: list[Any]) -> tuple[list[np.ndarray], list[str]]:
    """The results of calls of several initializers, and the warnings on the way."""
    initializers = [getattr(library, name)(**config) for name, config in keywords]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = [np.asarray(initializers[index](shape, "float32", **more)) for index, shape, more in steps]
    return results, [str(warning.message) for warning in caught if warning.category is UserWarning]


@given(data=st.data())
@examples(150)
def test_unseeded_initializers_after_set_random_seed(data: Any) -> None:
    """Unseeded and seeded initializers, called in any order and in pieces: values and warnings are tf_keras's."""
    seed = data.draw(st.integers(0, 2**32 - 1))
    names = data.draw(st.lists(st.sampled_from(RANDOM), min_size=1, max_size=6))
    made = [(name, {"seed": data.draw(st.sampled_from([None, None, 3]))}) for name in names]
    keywords = st.sampled_from(
        [{}, {}, {"partition_offset": (0, 0)}, {"partition_shape": (2, 2), "partition_offset": (0, 2)}]
    )
    steps = data.draw(
        st.lists(st.tuples(st.integers(0, len(names) - 1), shapes(64), keywords), min_size=1, max_size=12)
    )
    tf_keras.utils.set_random_seed(seed)
    theirs, their_warnings = drawn_in_turn(K, made, steps)
    fanin.utils.set_random_seed(seed)
    with fanin.config.using(call_semantics="released"):
        ours, our_warnings = drawn_in_turn(fanin, made, steps)
    for our, their in zip(ours, theirs, strict=True):
        assert_same_bits(our, their)
    assert our_warnings == their_warnings


def test_set_random_seed_seeds_python_and_numpy_alike() -> None:
    """Python's `random` and NumPy's global generator go on as after tf_keras's function."""

    def numbers(library: Any) -> list[float]:
        library.utils.set_random_seed(1234)
        return [random.random(), float(np.random.rand())]

    assert numbers(fanin) == numbers(tf_keras)


def test_weights_of_a_whole_model() -> None:
    """A model built after `set_random_seed(42)` has the weights of unseeded fanin initializers in the same order."""
    layers = tf_keras.layers
    tf_keras.utils.set_random_seed(42)
    tokens = layers.Input((6,))
    hidden = layers.Embedding(11, 8)(tokens)
    hidden = layers.Conv1D(12, 3, kernel_initializer="he_uniform")(hidden)
    hidden = layers.SeparableConv1D(8, 2, depthwise_initializer="lecun_normal")(hidden)
    hidden = layers.LSTM(5)(hidden)
    hidden = layers.Dense(7, kernel_initializer=K.TruncatedNormal(stddev=0.02), bias_initializer="ones")(hidden)
    outputs = layers.Dense(3, kernel_initializer=K.GlorotNormal(seed=9))(layers.LayerNormalization()(hidden))
    weights = tf_keras.Model(tokens, outputs).get_weights()

    fanin.utils.set_random_seed(42)
    drawn = [
        fanin.RandomUniform()((11, 8)),
        fanin.HeUniform()((3, 8, 12)),
        fanin.Zeros()((12,)),
        fanin.LecunNormal()((2, 12, 1)),
        fanin.GlorotUniform()((1, 12, 8)),
        fanin.Zeros()((8,)),
        fanin.GlorotUniform()((8, 20)),
        fanin.Orthogonal()((5, 20)),
        np.concatenate([fanin.Zeros()((5,)), fanin.Ones()((5,)), fanin.Zeros()((10,))]),
        fanin.TruncatedNormal(stddev=0.02)((5, 7)),
        fanin.Ones()((7,)),
        fanin.Ones()((7,)),
        fanin.Zeros()((7,)),
        fanin.GlorotNormal(seed=9)((7, 3)),
        fanin.Zeros()((3,)),
    ]
    for number, (ours, theirs) in enumerate(zip(drawn, weights, strict=True)):
        if number == 7:  # orthogonal
            assert np.abs(ours - theirs).max() < 1e-5
        else:
            assert_same_bits(ours, theirs)


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("semantics", ["released", "documented"])
def test_later_calls_of_a_seeded_initializer(name: str, semantics: str) -> None:
    """ "released" repeats as tf_keras does; "documented" lets Glorot, He and Lecun go on and all others repeat."""
    ours, theirs = getattr(fanin, name)(seed=21), getattr(K, name)(seed=21)
    with fanin.config.using(call_semantics=semantics):
        first = ours((5, 4))
        assert_same_bits(first, theirs((5, 4)))
        for _ in range(2):
            later, their_later = ours((5, 4)), theirs((5, 4)).numpy()
            if semantics == "released" or name not in FIXED_SCALINGS:
                assert_same_bits(later, their_later)
            else:
                assert later.tobytes() != first.tobytes()
    # a piece belongs to the first call, however many came before it
    assert_same_bits(ours((5, 4), partition_offset=(5, 0)), theirs((5, 4), partition_offset=(5, 0)))


def scaled_draw(name: str, pair: Any, shape: tuple[int, int], dtype: str) -> np.ndarray:
    """What a Glorot, He or Lecun initializer makes of a seed pair, in TensorFlow's own operations."""
    fan_in, fan_out = shape
    scale = {"He": 2.0, "Le": 1.0, "Gl": 1.0}[name[:2]] / max(
        1.0, (fan_in + fan_out) / 2 if name.startswith("Gl") else fan_in
    )
    if name.endswith("Uniform"):
        limit = math.sqrt(3.0 * scale)
        return tf.random.stateless_uniform(shape, pair, -limit, limit, dtype).numpy()
    stddev = math.sqrt(scale) / 0.87962566103423978
    return tf.random.stateless_truncated_normal(shape, pair, 0.0, stddev, dtype).numpy()


@pytest.mark.parametrize("name", FIXED_SCALINGS)
@given(seed=seeds, dtype=st.sampled_from(("float32", "float16", "bfloat16")), shape=shapes(500, 2, 2))
@examples(25)
def test_documented_calls_fold_in_their_number(name: str, seed: int, dtype: str, shape: tuple[int, int]) -> None:
    """Call n of a seeded initializer draws from `stateless_fold_in([seed, 0], n)`."""
    ours = getattr(fanin, name)(seed=seed)
    pair = tf.constant([seed, 0], tf.int64)
    assert_same_bits(ours(shape, dtype), scaled_draw(name, pair, shape, dtype))
    for number in range(1, 4):
        folded = tf.random.experimental.stateless_fold_in(pair, number)
        assert_same_bits(ours(shape, dtype), scaled_draw(name, folded, shape, dtype))


@pytest.mark.parametrize("name", FIXED_SCALINGS)
def test_documented_calls_of_an_unseeded_initializer(name: str) -> None:
    """Unseeded, the calls go on likewise from tf_keras's first value, and without its warning."""
    tf_keras.utils.set_random_seed(3)
    theirs = getattr(K, name)()((4, 3)).numpy()
    fanin.utils.set_random_seed(3)
    initializer = getattr(fanin, name)()
    assert_same_bits(initializer((4, 3)), theirs)
    pair = tf.constant([random.Random(3).randint(1, 10**9), 0], tf.int64)
    folded = tf.random.experimental.stateless_fold_in(pair, 1)
    assert_same_bits(initializer((4, 3)), scaled_draw(name, folded, (4, 3), "float32"))


@pytest.mark.parametrize("name", [name for name in RANDOM if name not in FIXED_SCALINGS] + ["Orthogonal"])
def test_reuse_warning(name: str) -> None:
    """The second call of an unseeded initializer that repeats warns in tf_keras's words."""
    texts = []
    for library in (K, fanin):
        initializer = getattr(library, name)()
        initializer((3, 3))
        with pytest.warns(UserWarning, match="unseeded and being called multiple times") as caught:
            initializer((3, 3))
        texts.append([str(warning.message) for warning in caught])
    assert texts[0] == texts[1]


# Names, signatures, configurations


def their_names() -> dict[str, type]:
    """Every string that tf_keras's `get` knows, with its class."""
    from tf_keras.src.initializers import LOCAL, populate_deserializable_objects  # pyright: ignore[reportMissingImports]

    populate_deserializable_objects()
    return dict(LOCAL.ALL_OBJECTS)


def test_the_same_strings_are_known() -> None:
    """Every string of tf_keras's `get` is fanin's and the other way round, for the same class and configuration."""
    theirs = their_names()
    assert set(NAMES) == set(theirs)
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
    """Parameters, their order and defaults are tf_keras's, of the class and of its call."""
    ours, theirs = getattr(fanin, name), getattr(K, name)

    def described(function: Any) -> list[tuple[str, Any]]:
        return [(parameter.name, parameter.default) for parameter in inspect.signature(function).parameters.values()]

    assert described(ours) == described(theirs)
    positional = [each for each in described(ours.__call__) if each[0] not in ("region", "out")]
    assert positional == described(theirs.__call__)


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


# Errors

MATRIX = (3, 3)
# what is called, the type of both libraries' exceptions, how both messages begin
SAME_ERRORS: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "normal of integers": (
        lambda k: k.RandomNormal(seed=1)(MATRIX, "int32"),
        ValueError,
        "Expected floating point type, got ",
    ),
    "normal of bools": (
        lambda k: k.RandomNormal(seed=1)(MATRIX, "bool"),
        ValueError,
        "Expected floating point type, got ",
    ),
    "normal of complex": (
        lambda k: k.HeNormal(seed=1)(MATRIX, "complex64"),
        ValueError,
        "Expected floating point type, got ",
    ),
    "orthogonal of integers": (
        lambda k: k.Orthogonal(seed=1)(MATRIX, "int32"),
        ValueError,
        "Expected floating point type, got ",
    ),
    "identity of integers": (lambda k: k.Identity()(MATRIX, "int32"), ValueError, "Expected floating point type, got "),
    "normal of strings": (
        lambda k: k.RandomNormal(seed=1)(MATRIX, "string"),
        ValueError,
        "Expected floating point type, got ",
    ),
    "uniform of strings": (
        lambda k: k.RandomUniform(seed=1)(MATRIX, "string"),
        ValueError,
        "Expected float or integer dtype, got ",
    ),
    "uniform of bools": (
        lambda k: k.RandomUniform(seed=1)(MATRIX, "bool"),
        ValueError,
        "Expected float or integer dtype, got ",
    ),
    "uniform of complex": (
        lambda k: k.RandomUniform(seed=1)(MATRIX, "complex64"),
        ValueError,
        "Expected float or integer dtype, got ",
    ),
    "zeros of strings": (lambda k: k.Zeros()(MATRIX, "string"), ValueError, "Expected numeric or boolean dtype, got "),
    "ones of strings": (lambda k: k.Ones()(MATRIX, "string"), ValueError, "Expected numeric or boolean dtype, got "),
    "unknown dtype": (lambda k: k.Zeros()(MATRIX, "float33"), TypeError, "Cannot convert "),
    "default bounds, int32": (lambda k: k.RandomUniform(seed=1)(MATRIX, "int32"), TypeError, ""),
    "default bounds, int64": (lambda k: k.RandomUniform(seed=1)(MATRIX, "int64"), TypeError, ""),
    "float bounds, int32": (lambda k: k.RandomUniform(0.0, 5.0, seed=1)(MATRIX, "int32"), TypeError, ""),
    "default bounds, uint32": (lambda k: k.RandomUniform(seed=1)(MATRIX, "uint32"), ValueError, ""),
    "bounds, uint64": (lambda k: k.RandomUniform(0, 5, seed=1)(MATRIX, "uint64"), ValueError, ""),
    "int8": (lambda k: k.RandomUniform(0, 5, seed=1)(MATRIX, "int8"), ValueError, ""),
    "uint8": (lambda k: k.RandomUniform(None, None, seed=1)(MATRIX, "uint8"), ValueError, ""),
    "one bound of integers": (lambda k: k.RandomUniform(0, None, seed=1)(MATRIX, "int32"), ValueError, ""),
    "other bound of integers": (lambda k: k.RandomUniform(None, 5, seed=1)(MATRIX, "int64"), ValueError, ""),
    "bound out of int64": (lambda k: k.RandomUniform(0, 2**63, seed=1)(MATRIX, "int64"), ValueError, ""),
    "no lower bound": (lambda k: k.RandomUniform(None, 1.0, seed=1)(MATRIX), ValueError, ""),
    "no bounds": (lambda k: k.RandomUniform(None, None, seed=1)(MATRIX), ValueError, ""),
    "scale 0": (lambda k: k.VarianceScaling(0), ValueError, "`scale` must be positive float. Received: scale=0."),
    "scale -1.5": (
        lambda k: k.VarianceScaling(-1.5),
        ValueError,
        "`scale` must be positive float. Received: scale=-1.5.",
    ),
    "scale '1'": (lambda k: k.VarianceScaling("1"), TypeError, ""),
    "mode": (lambda k: k.VarianceScaling(mode="fan"), ValueError, "Invalid `mode` argument: "),
    "distribution": (
        lambda k: k.VarianceScaling(distribution="cauchy"),
        ValueError,
        "Invalid `distribution` argument: ",
    ),
    "orthogonal vector": (
        lambda k: k.Orthogonal(seed=1)((3,)),
        ValueError,
        "The tensor to initialize must be at least two-dimensional. Received: shape=(3,) of rank 1.",
    ),
    "identity of rank 3": (
        lambda k: k.Identity()((3, 3, 3)),
        ValueError,
        "Identity matrix initializer can only be used for 2D matrices. Received: shape=(3, 3, 3) of rank 3.",
    ),
    "orthogonal partition": (
        lambda k: k.Orthogonal(seed=1)(MATRIX, partition_shape=(2, 2)),
        ValueError,
        "Orthogonal initializer doesn't support partition-related arguments.",
    ),
    "orthogonal partition None": (
        lambda k: k.Orthogonal(seed=1)(MATRIX, partition_offset=None),
        ValueError,
        "Orthogonal initializer doesn't support partition-related arguments.",
    ),
    "identity partition": (
        lambda k: k.Identity()(MATRIX, partition_offset=(0, 0)),
        ValueError,
        "Identity initializer doesn't support partition-related arguments.",
    ),
    "unknown keywords": (
        lambda k: k.Zeros()(MATRIX, foo=1, bar=2),
        TypeError,
        "Unknown keyword arguments: ['foo', 'bar']. "
        "Allowed keyword arguments: ['partition_shape', 'partition_offset', 'layout'].",
    ),
    "too many arguments": (lambda k: k.HeNormal(1, 2), TypeError, ""),
    "unknown argument": (lambda k: k.RandomNormal(sed=1), TypeError, ""),
    "seed too large": (lambda k: k.RandomNormal(seed=2**63)(MATRIX), ValueError, ""),
    "seed too small": (lambda k: k.HeNormal(seed=-(2**63) - 1)(MATRIX), ValueError, ""),
    "mean '0'": (lambda k: k.RandomNormal(mean="0", seed=1)(MATRIX), TypeError, ""),
    "mean 1j": (lambda k: k.RandomNormal(mean=1j, seed=1)(MATRIX), TypeError, ""),
    "minval 'a'": (lambda k: k.RandomUniform(minval="a", seed=1)(MATRIX), TypeError, ""),
    "orthogonal gain 'a'": (lambda k: k.Orthogonal(gain="a", seed=1)(MATRIX), TypeError, ""),
    "identity gain 'a'": (lambda k: k.Identity(gain="a")(MATRIX), TypeError, ""),
    "constant 3.7 of integers": (lambda k: k.Constant(3.7)(MATRIX, "int32"), TypeError, ""),
    "constant 3.0 of integers": (lambda k: k.Constant(3.0)(MATRIX, "int32"), TypeError, ""),
    "constant 0 of bools": (lambda k: k.Constant(0)(MATRIX, "bool"), TypeError, ""),
    "constant 1j of floats": (lambda k: k.Constant(1j)(MATRIX, "float32"), TypeError, ""),
    "constant '3'": (lambda k: k.Constant("3")(MATRIX), TypeError, ""),
    "bare base class": (
        lambda k: k.Initializer()(MATRIX),
        NotImplementedError,
        "Initializer subclasses must implement the `__call__()` method.",
    ),
    "unknown name": (lambda k: k.get("nope"), ValueError, "Unknown initializer: 'nope'. "),
    "name in other case": (lambda k: k.get("HENORMAL"), ValueError, "Unknown initializer: 'HENORMAL'. "),
    "unknown class name": (
        lambda k: k.get({"class_name": "Nope", "config": {}}),
        ValueError,
        "Unknown initializer: 'Nope'. ",
    ),
    "no identifier": (lambda k: k.get(3), ValueError, "Could not interpret initializer identifier: 3"),
    "list as identifier": (lambda k: k.get([]), ValueError, "Could not interpret initializer identifier: []"),
    "empty dict": (lambda k: k.get({}), ValueError, "Improper config format for {}. "),
    "dict without config": (
        lambda k: k.get({"class_name": "Zeros"}),
        ValueError,
        "Improper config format for {'class_name': 'Zeros'}. ",
    ),
    "dict without class": (lambda k: k.get({"config": {}}), ValueError, "Improper config format for {'config': {}}. "),
    "unknown config key": (lambda k: k.get({"class_name": "HeNormal", "config": {"sed": 1}}), TypeError, ""),
    "unknown key for from_config": (lambda k: k.Zeros.from_config({"a": 1}), TypeError, ""),
}
# where tf_keras raises something of TensorFlow's own, or by chance of another type: fanin's type
OTHER_ERRORS: dict[str, tuple[Callable[[Any], Any], type[Exception]]] = {
    "float8": (lambda k: k.RandomNormal(seed=1)(MATRIX, "float8_e5m2"), ValueError),
    "equal integer bounds": (lambda k: k.RandomUniform(5, 5, seed=1)(MATRIX, "int32"), ValueError),
    "reversed integer bounds": (lambda k: k.RandomUniform(5, 0, seed=1)(MATRIX, "int64"), ValueError),
    "bound out of int32": (lambda k: k.RandomUniform(0, 2**31, seed=1)(MATRIX, "int32"), ValueError),
    "seed 1.5": (lambda k: k.RandomNormal(seed=1.5)(MATRIX), TypeError),
    "seed '1'": (lambda k: k.RandomNormal(seed="1")(MATRIX), TypeError),
    "seed True": (lambda k: k.RandomNormal(seed=True)(MATRIX), TypeError),
    "mean None": (lambda k: k.RandomNormal(mean=None, seed=1)(MATRIX), TypeError),
    "gain None": (lambda k: k.Identity(gain=None)(MATRIX), TypeError),
    "distribution None": (lambda k: k.VarianceScaling(distribution=None), ValueError),
    "bare shape": (lambda k: k.RandomNormal(seed=1)(3), TypeError),
    "no shape": (lambda k: k.RandomNormal(seed=1)(None), TypeError),
    "unknown length": (lambda k: k.RandomNormal(seed=1)((2, None)), TypeError),
    "float length": (lambda k: k.RandomNormal(seed=1)((2, 2.0)), TypeError),
    "negative length": (lambda k: k.HeNormal(seed=1)((2, -1)), ValueError),
    "negative length of zeros": (lambda k: k.Zeros()((-2, 3)), ValueError),
    "too many elements": (lambda k: k.RandomNormal(seed=1)((2**62, 2**62)), ValueError),
    "constant None": (lambda k: k.Constant(None)(MATRIX), TypeError),
    "constant of two": (lambda k: k.Constant([1, 2])(MATRIX), TypeError),
}


@pytest.mark.parametrize("case", SAME_ERRORS)
def test_errors_of_the_same_type(case: str) -> None:
    """Both libraries raise the same exception; where tf_keras has words of its own, fanin's begin with them."""
    function, expected, beginning = SAME_ERRORS[case]
    for library in (K, fanin):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - the type is checked next
            function(library)
        assert caught.type is expected
        assert str(caught.value).startswith(beginning)


@pytest.mark.parametrize("case", OTHER_ERRORS)
def test_errors_of_another_type(case: str) -> None:
    """What tf_keras refuses, fanin refuses too, with a plain exception."""
    function, expected = OTHER_ERRORS[case]
    with pytest.raises(Exception):  # noqa: B017, PT011 - TensorFlow's own, whatever it is
        function(K)
    with pytest.raises(expected) as caught:
        function(fanin)
    assert caught.type is expected


@pytest.mark.parametrize("call", [Call("RandomNormal", {"mean": math.nan, "seed": 1}, (2,), "float32")])
def test_not_finite_parameters_are_refused(call: Call) -> None:
    """A documented difference: tf_keras returns NaNs where fanin says what is wrong."""
    assert np.isnan(call.run(K).numpy()).all()
    with pytest.raises(ValueError, match="finite"):
        call.run(fanin)


def test_integer_constants_out_of_range_are_refused() -> None:
    """A documented difference: tf_keras wraps integers where fanin says what is wrong."""
    assert (K.Constant(-1)((2,), "uint8").numpy() == 255).all()
    with pytest.raises(ValueError, match="range"):
        fanin.Constant(-1)((2,), "uint8")


# Objects of TensorFlow


@pytest.mark.parametrize("name", NUMERIC_DTYPES)
def test_dtype_objects(name: str) -> None:
    """TensorFlow's dtypes, their names and NumPy types mean the same dtype to both."""
    dtype = IMAGES[name]
    for given_dtype in (dtype, dtype.name, dtype.as_numpy_dtype, np.dtype(dtype.as_numpy_dtype)):
        assert_same_bits(fanin.Ones()((2, 3), given_dtype), K.Ones()((2, 3), given_dtype))
        if name in FLOAT_DTYPES:
            assert_same_bits(fanin.HeUniform(seed=1)((2, 3), given_dtype), K.HeUniform(seed=1)((2, 3), given_dtype))


@pytest.mark.parametrize("alias", ["half", "float", "double", float, tf.half, tf.double, np.half, bool])
def test_dtype_aliases(alias: Any) -> None:
    """Other names of dtypes, Python's float and bool among them, mean the same to both."""
    assert_same_bits(fanin.Ones()((2, 3), alias), K.Ones()((2, 3), alias))


@pytest.mark.parametrize("name", RANDOM)
def test_shapes_of_tensorflow_and_numpy(name: str) -> None:
    """TensorShape, lists and arrays of lengths make the tensor that a tuple makes."""
    for shape in (tf.TensorShape([3, 1, 4]), [3, 1, 4], np.array([3, 1, 4]), tuple(np.array([3, 1, 4], np.int32))):
        assert_same_bits(getattr(fanin, name)(seed=6)(shape), getattr(K, name)(seed=6)(shape))
    assert_same_bits(getattr(fanin, name)(seed=6)(tf.constant([3, 1, 4])), getattr(K, name)(seed=6)((3, 1, 4)))


@pytest.mark.parametrize("make", [tf.constant, tf.Variable, np.float32, np.array, tf.convert_to_tensor])
@given(first=parameters("float32"), second=parameters("float32"), seed=seeds)
@examples(15)
def test_scalar_tensors_as_parameters(make: Callable[[Any], Any], first: float, second: float, seed: int) -> None:
    """Scalar tensors and arrays as parameters draw tf_keras's bytes and describe themselves as Python numbers."""
    with np.errstate(over="ignore"):
        first, second = (float(np.float32(min(max(value, -1e38), 1e38))) for value in (first, second))
    parts = [
        np.float32(value) if make in (np.array, tf.constant, tf.Variable, tf.convert_to_tensor) else value
        for value in (first, second)
    ]
    for name in ("RandomNormal", "TruncatedNormal", "RandomUniform"):
        ours = getattr(fanin, name)(*map(make, parts), seed=seed)
        assert_same_bits(ours((40,)), getattr(K, name)(*map(make, parts), seed=seed)((40,)))
        assert list(ours.get_config().values()) == [first, second, seed]
        assert [type(value) for value in ours.get_config().values()] == [float, float, int]
    assert_same_bits(fanin.Identity(make(parts[0]))((2, 3)), K.Identity(make(parts[0]))((2, 3)))
    assert_same_bits(fanin.Constant(make(parts[0]))((2, 3)), K.Constant(make(parts[0]))((2, 3)))


def test_integer_tensors_as_bounds() -> None:
    """Scalar integer tensors as bounds draw tf_keras's integers."""
    for dtype in ("int32", "int64"):
        bounds = (tf.constant(-3, dtype), tf.constant(99, dtype))
        assert_same_bits(
            fanin.RandomUniform(*bounds, seed=4)((50,), dtype), K.RandomUniform(*bounds, seed=4)((50,), dtype)
        )


def test_no_value_passes_the_documented_reach() -> None:
    """The largest unit normal both libraries can draw is sqrt(-2 log 1e-7)."""
    values = [library.RandomNormal(0.0, 1.0, seed=2)((400_000,)) for library in (fanin, K)]
    assert all(np.abs(np.asarray(value)).max() < LARGEST_NORMAL for value in values)


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
