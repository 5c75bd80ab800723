"""Results and JAX: memory taken without a copy, its dtypes, shapes and scalars as arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given

pytest.importorskip("jax")

import jax
import jax.numpy as jnp

import fanin
from strategies import FLOAT_DTYPES, Call, calls, examples

SHAPES = [(), (1,), (7, 5), (3, 1, 4), (257, 129)]


@given(call=calls())
@examples(200)
def test_results_are_aligned(call: Call) -> None:
    """Every result starts at a multiple of 64 bytes, as JAX wants it, unless it is empty; it can be written to."""
    array = call.run(fanin)
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert array.size == 0 or array.ctypes.data % 64 == 0


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16"])
def test_results_are_taken_without_a_copy(dtype: str, shape: tuple[int, ...]) -> None:
    """`jax.device_put` shares the result's memory on the CPU: it is aligned as JAX wants it."""
    array = fanin.GlorotUniform(seed=3)(shape, dtype)
    on_jax = jax.device_put(array, may_alias=True)
    assert on_jax.dtype == array.dtype
    assert on_jax.unsafe_buffer_pointer() == array.ctypes.data
    assert np.asarray(on_jax).tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_dlpack_takes_results_without_a_copy(dtype: str) -> None:
    """`jax.dlpack.from_dlpack` with `copy=False` takes a result as it is."""
    array = fanin.RandomNormal(seed=3)((33, 5), dtype)
    on_jax = jax.dlpack.from_dlpack(array, copy=False)
    assert on_jax.unsafe_buffer_pointer() == array.ctypes.data


def test_memory_outlives_the_array() -> None:
    """An array of JAX keeps the memory it shares when fanin's array is gone."""
    array = fanin.RandomNormal(seed=3)((300, 300))
    expected = array.copy()
    on_jax = jax.dlpack.from_dlpack(array, copy=False)
    del array
    others = [fanin.RandomUniform(seed=3)((300, 300)) for _ in range(8)]
    assert len(others) == 8
    assert np.asarray(on_jax).tobytes() == expected.tobytes()


@pytest.mark.parametrize("is_object", [False, True])
@pytest.mark.parametrize("name", ["bool", "int32", "int64", "uint8", "complex64", *FLOAT_DTYPES, "float8_e4m3fn"])
def test_dtypes(name: str, is_object: bool) -> None:
    """A dtype of JAX, and its scalar type, means the dtype of its name."""
    dtype = jnp.dtype(name) if is_object else getattr(jnp, name if name != "bool" else "bool_")
    expected, ones = fanin.Ones()((2, 3), name), fanin.Ones()((2, 3), dtype)
    assert ones.dtype == expected.dtype
    assert ones.tobytes() == expected.tobytes()


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(shape: tuple[int, ...]) -> None:
    """What JAX's arrays call their shape is one."""
    expected = fanin.HeNormal(seed=3)(shape)
    assert fanin.HeNormal(seed=3)(jnp.zeros(shape).shape).tobytes() == expected.tobytes()


SCALARS: dict[str, Callable[[float], Any]] = {
    "an array": jnp.asarray,
    "bfloat16": lambda value: jnp.asarray(value, jnp.bfloat16),
    "a scalar type": lambda value: jnp.float32(value),
}


@pytest.mark.parametrize("kind", SCALARS)
def test_scalars_as_arguments(kind: str) -> None:
    """Scalar arrays are the numbers they hold."""
    make = SCALARS[kind]
    initializer = fanin.RandomNormal(make(1.5), make(0.25), seed=1)
    assert initializer.get_config() == {"mean": 1.5, "stddev": 0.25, "seed": 1}
    assert [type(value) for value in initializer.get_config().values()] == [float, float, int]
    assert initializer((9,)).tobytes() == fanin.RandomNormal(1.5, 0.25, seed=1)((9,)).tobytes()
    assert fanin.Constant(make(1.5))((2,)).tolist() == [1.5, 1.5]
