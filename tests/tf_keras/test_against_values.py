"""fanin against tf_keras itself, eager, on the CPU: the same bytes of every call, of TensorFlow's objects too."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fanin
from fanin._core.settings import TIERS
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
    examples,
    parameters,
    seeds,
    shapes,
)
from tf_keras_kit import K, tf, tf_keras

# Elsewhere TensorFlow's own float64 normals, which use the system's functions, may have other last bits.
HAS_FMA = "avx2" in TIERS
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
    assert_same_draw(call, tier=tier)


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


# The spreads and origins from which on, docs/promise.md says, no value and no product is subnormal.
LEAST = {"float32": (3e-28, 2e-31), "bfloat16": (3e-28, 2e-31), "float64": (8e-286, 2e-292)}


@pytest.mark.parametrize("dtype", LEAST)
@pytest.mark.parametrize("name", ["RandomNormal", "TruncatedNormal", "RandomUniform"])
@given(data=st.data())
@examples(60)
def test_from_which_spreads_on_the_flush_is_not_seen(name: str, dtype: str, data: Any) -> None:
    """With a spread and an origin of at least what docs/promise.md says, or an origin of 0: the same bits."""
    spread, origin = LEAST[dtype]
    signs = st.sampled_from([1, -1])
    by = spread * 10 ** data.draw(st.floats(0, 5) | st.floats(0, 30)) * data.draw(signs)
    begin = data.draw(st.just(0.0) | st.floats(0, 30).map(lambda power: origin * 10**power)) * data.draw(signs)
    begin = begin + 0.0  # see `parameters`
    config = {"minval": begin, "maxval": begin + by} if name == "RandomUniform" else {"mean": begin, "stddev": by}
    if begin and name == "RandomUniform" and abs(config["maxval"] - begin) < spread:
        return  # their difference is rounded away
    assert_same_draw(Call(name, {**config, "seed": data.draw(seeds)}, (2000,), dtype))


@pytest.mark.parametrize("maxval", [-2.9, 2.9, 1e30])
@pytest.mark.parametrize("minval", [2.0**-127, -(2.0**-127), 1e-40])
def test_a_subnormal_minval_is_seen_at_any_spread(minval: float, maxval: float) -> None:
    """A bfloat16 uniform is `minval` once in 128 elements, and TensorFlow's zero; all others have the same bits."""
    call = Call("RandomUniform", {"minval": minval, "maxval": maxval, "seed": 1}, (20_000,), "bfloat16")
    ours, theirs = call.run(fanin), call.run(K).numpy()
    lowest = ours == fanin.Constant(minval)((), "bfloat16")
    assert 100 < lowest.sum() < 220
    assert not theirs[lowest].any()
    assert_same_bits(ours[~lowest], theirs[~lowest])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64", "complex64", "complex128"])
def test_a_subnormal_constant(dtype: str) -> None:
    """fanin keeps it; TensorFlow flushes it in bfloat16 and complex64 only."""
    call = Call("Constant", {"value": 1e-309 if dtype in ("float64", "complex128") else 1e-40}, (3,), dtype)
    assert call.run(fanin).all()
    assert call.run(K).numpy().all() == (dtype not in ("bfloat16", "complex64"))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_a_subnormal_gain(dtype: str) -> None:
    """fanin keeps it; TensorFlow flushes the diagonal."""
    call = Call("Identity", {"gain": 1e-309 if dtype == "float64" else 1e-40}, (3, 3), dtype)
    assert call.run(fanin).diagonal().all()
    assert not call.run(K).numpy().any()


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
