"""Calls: which repeat and which go on, which count, what partitions and regions belong to, and what is warned of."""

import warnings
from typing import Any

import numpy as np
import pytest

import fanin
from catalogue import made

REPEATING = ("RandomNormal", "RandomUniform", "TruncatedNormal", "VarianceScaling", "Orthogonal")
SEQUENTIAL = ("GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "LecunNormal", "LecunUniform")
RANDOM = REPEATING + SEQUENTIAL


@pytest.mark.parametrize("name", RANDOM)
def test_seeded_calls(name: str) -> None:
    """Documented: some classes repeat, the others go on through a sequence that every equal initializer has."""
    first, second = getattr(fanin, name)(seed=5), getattr(fanin, name)(seed=5)
    values = [made(first) for _ in range(4)]
    assert values == [made(second) for _ in range(4)]
    assert len(set(values)) == (1 if name in REPEATING else 4)


@pytest.mark.parametrize("name", RANDOM)
def test_released_semantics(name: str) -> None:
    """Released: every class repeats, and the setting is read at each call."""
    initializer = getattr(fanin, name)(seed=5)
    first = made(initializer)
    with fanin.config.using(call_semantics="released"):
        assert made(initializer) == first
    assert (made(initializer) == first) == (name in REPEATING)


@pytest.mark.parametrize("name", RANDOM)
def test_reuse_of_unseeded_initializers(name: str) -> None:
    """An unseeded initializer keeps its seed; the second whole call warns where values repeat."""
    initializer = getattr(fanin, name)()
    first = made(initializer)
    assert initializer.get_config()["seed"] is None
    if name in REPEATING:
        with pytest.warns(UserWarning, match=rf"The initializer {name} is unseeded and being called multiple times"):
            assert made(initializer) == first
    else:
        assert made(initializer) != first
        with fanin.config.using(call_semantics="released"), pytest.warns(UserWarning, match="is unseeded"):
            assert made(initializer) == first
    assert made(getattr(fanin, name)()) != first


def test_a_reuse_warning_points_at_the_caller() -> None:
    """The warning names the line that calls, not fanin's own."""
    initializer = fanin.RandomNormal()
    initializer((2,))
    with pytest.warns(UserWarning, match="unseeded") as caught:
        initializer((2,))
    assert caught[0].filename == __file__


def test_regions_belong_to_call_zero() -> None:
    """Calls for a region neither count nor warn, and draw from the first call's stream."""
    initializer = fanin.HeNormal(seed=3)
    whole = fanin.HeNormal(seed=3)((4, 6))
    for _ in range(2):
        assert initializer((4, 6), region=1).tobytes() == whole[1].tobytes()
    shard = {"partition_shape": (4, 6), "partition_offset": (0, 0)}
    shards = {made(initializer, (9, 9), **shard) for _ in range(3)}
    assert len(shards) == 1
    assert made(initializer, (4, 6)) == whole.tobytes()  # still call 0
    second = made(initializer, (4, 6))
    assert second != whole.tobytes()
    assert initializer((4, 6), region=...).tobytes() == whole.tobytes()
    assert {made(initializer, (9, 9), **shard)} == shards
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lazy = fanin.RandomNormal()
        rows = [lazy((4, 6), region=row) for row in range(4)]
        assert np.stack(rows).tobytes() == made(lazy, (4, 6))


def test_partition_shape_alone_is_a_region() -> None:
    """`partition_shape` without an offset, or with `()`, folds nothing in; `(0, 0)` does; lists are tuples."""
    initializer = fanin.RandomUniform(seed=3)
    whole = made(initializer, (4, 6))
    assert made(initializer, (9, 9), partition_shape=(4, 6)) == whole
    assert made(initializer, (9, 9), partition_shape=(4, 6), partition_offset=()) == whole
    folded = made(initializer, (9, 9), partition_shape=(4, 6), partition_offset=(0, 0))
    assert folded != whole
    assert made(initializer, (9, 9), partition_shape=[4, 6], partition_offset=[0, 0]) == folded
    assert made(initializer, (9, 9), partition_shape=(4, 6), partition_offset=(-1, 0)) not in (folded, whole)
    assert fanin.Ones()((9, 9), partition_shape=(4, 6)).shape == (4, 6)
    assert fanin.Zeros()((9, 9), layout=None).shape == (9, 9)


def test_a_call_that_raises_does_not_count() -> None:
    """Errors leave count and seed as they were."""
    initializer, other = fanin.GlorotUniform(seed=3), fanin.GlorotUniform(seed=3)
    bad: Any
    for bad in ({"dtype": "int32"}, {"out": np.zeros(3)}, {"region": 99}, {"nonsense": 1}):
        with pytest.raises((TypeError, ValueError, IndexError)):
            initializer((4, 6), **bad)
    with pytest.raises(MemoryError):
        initializer((2**30, 2**30))
    assert [made(initializer) for _ in range(3)] == [made(other) for _ in range(3)]

    fanin.utils.set_random_seed(1)
    expected = made(fanin.RandomNormal())
    fanin.utils.set_random_seed(1)
    lazy = fanin.RandomNormal()
    bad: Any
    for bad in ({"dtype": "int32"}, {"out": np.zeros(3)}, {"region": 99}):
        with pytest.raises((TypeError, ValueError, IndexError)):
            lazy((5, 7), **bad)
    with pytest.raises(MemoryError):
        lazy((2**30, 2**30))
    assert made(lazy) == expected


def test_a_warning_that_is_an_error_does_not_count() -> None:
    """With warnings as errors the refused call leaves no trace."""
    initializer = fanin.RandomNormal()
    first = made(initializer)
    for _ in range(2):
        with pytest.raises(UserWarning, match="unseeded"):
            initializer((5, 7))
    with pytest.warns(UserWarning, match="unseeded"):
        assert made(initializer) == first


def test_every_call_counts() -> None:
    """Whatever its shape, dtype or `out`, a call is one of the sequence."""
    plain, mixed = fanin.HeUniform(seed=9), fanin.HeUniform(seed=9)
    values = [made(plain) for _ in range(4)]
    mixed((2, 2))
    mixed((0, 3), "float16")
    out = np.empty((1, 1), "float64")
    mixed((1, 1), "float64", out=out)
    assert made(mixed) == values[3]


def test_float_errors_of_numpy_do_not_matter() -> None:
    """Overflow and underflow are values, not warnings or errors, whatever NumPy is told to do about its own."""
    with np.errstate(all="raise"):
        for initializer in (
            fanin.Orthogonal(1e-6, seed=1),
            fanin.Orthogonal(1e300, seed=1),
            fanin.Identity(1e300),
            fanin.Constant(1e300),
            fanin.RandomUniform(-1e300, 1e300, seed=1),
            fanin.TruncatedNormal(1e-40, 1e30, seed=1),
        ):
            for dtype in ("float16", "bfloat16", "float32"):
                assert initializer((3, 3), dtype).shape == (3, 3)
