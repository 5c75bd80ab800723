"""fanin against tf_keras itself: seeds, later calls, and the weights of whole models."""

from __future__ import annotations

import math
import random
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fanin
from strategies import (
    FIXED_SCALINGS,
    RANDOM,
    assert_same_bits,
    examples,
    seeds,
    shapes,
)
from tf_keras_kit import K, tf, tf_keras


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
    """Unseeded and seeded initializers, called in any order and for partitions: values and warnings are tf_keras's."""
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
    # a partition belongs to the first call, however many came before it
    assert_same_bits(ours((5, 4), partition_offset=(5, 0)), theirs((5, 4), partition_offset=(5, 0)))


def folded_wide(stream: Any, number: int) -> Any:
    """TensorFlow's `stateless_fold_in` as it would be if it kept 64 bits for every number."""
    return tf.stack([tf.random.stateless_uniform((), stream, None, None, tf.int64), tf.constant(number, tf.int64)])


def scaled_draw(name: str, stream: Any, shape: tuple[int, int], dtype: str) -> np.ndarray:
    """What a Glorot, He or Lecun initializer makes of a stream, in TensorFlow's own operations."""
    fan_in, fan_out = shape
    scale = {"He": 2.0, "Le": 1.0, "Gl": 1.0}[name[:2]] / max(
        1.0, (fan_in + fan_out) / 2 if name.startswith("Gl") else fan_in
    )
    if name.endswith("Uniform"):
        limit = math.sqrt(3.0 * scale)
        return tf.random.stateless_uniform(shape, stream, -limit, limit, dtype).numpy()
    stddev = math.sqrt(scale) / 0.87962566103423978
    return tf.random.stateless_truncated_normal(shape, stream, 0.0, stddev, dtype).numpy()


@pytest.mark.parametrize("name", FIXED_SCALINGS)
@given(seed=seeds, dtype=st.sampled_from(("float32", "float16", "bfloat16")), shape=shapes(500, 2, 2))
@examples(25)
def test_documented_calls_fold_in_their_number(name: str, seed: int, dtype: str, shape: tuple[int, int]) -> None:
    """Call n of a seeded initializer draws from the stream of a 64-bit integer, drawn from [seed, 0], and of n."""
    ours = getattr(fanin, name)(seed=seed)
    stream = tf.constant([seed, 0], tf.int64)
    assert_same_bits(ours(shape, dtype), scaled_draw(name, stream, shape, dtype))
    for number in range(1, 4):
        folded = folded_wide(stream, number)
        assert_same_bits(ours(shape, dtype), scaled_draw(name, folded, shape, dtype))


@pytest.mark.parametrize("name", FIXED_SCALINGS)
def test_documented_calls_of_an_unseeded_initializer(name: str) -> None:
    """Unseeded, the calls go on likewise from tf_keras's first value, and without its warning."""
    tf_keras.utils.set_random_seed(3)
    theirs = getattr(K, name)()((4, 3)).numpy()
    fanin.utils.set_random_seed(3)
    initializer = getattr(fanin, name)()
    assert_same_bits(initializer((4, 3)), theirs)
    stream = tf.constant([random.Random(3).randint(1, 10**9), 0], tf.int64)
    folded = folded_wide(stream, 1)
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
