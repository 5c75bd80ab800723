"""Results and PyTorch: memory taken without a copy, dtypes, shapes and scalars as arguments, parameters as `out=`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")

import torch

import fanin
from strategies import FLOAT_DTYPES, examples, seeds, shapes

SHAPES = [(), (1,), (7, 5), (3, 1, 4), (257, 129)]


@pytest.mark.parametrize("take", [torch.from_numpy, torch.from_dlpack, torch.as_tensor], ids=lambda take: take.__name__)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_results_are_taken_without_a_copy(dtype: str, shape: tuple[int, ...], take: Callable[[Any], Any]) -> None:
    """PyTorch's functions share the result's memory, without a warning, and writes go through."""
    array = fanin.RandomNormal(seed=3)(shape, dtype)
    before = array.tobytes()
    tensor = take(array)
    assert tensor.data_ptr() == array.ctypes.data
    assert tensor.dtype == getattr(torch, dtype)
    assert tuple(tensor.shape) == shape
    assert tensor.numpy().tobytes() == before
    tensor.zero_()
    assert not array.any()


@pytest.mark.parametrize("shape", SHAPES)
def test_bfloat16_is_taken_by_its_bits(shape: tuple[int, ...]) -> None:
    """A bfloat16 result goes to PyTorch as uint16, without a copy, with the same values."""
    array = fanin.HeNormal(seed=3)(shape, "bfloat16")
    tensor = torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)
    assert tensor.data_ptr() == array.ctypes.data
    assert np.array_equal(tensor.float().numpy(), array.astype(np.float32))


def test_memory_outlives_the_array() -> None:
    """A tensor keeps the memory it shares when fanin's array is gone."""
    array = fanin.RandomNormal(seed=3)((300, 300))
    expected = array.copy()
    tensor = torch.from_numpy(array)
    del array
    others = [fanin.RandomUniform(seed=3)((300, 300)) for _ in range(8)]
    assert len(others) == 8
    assert tensor.numpy().tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", ["bool", "int32", "int64", "uint8", "complex64", *FLOAT_DTYPES, "float8_e4m3fn"])
def test_dtypes(name: str) -> None:
    """A dtype of PyTorch means the dtype of its name."""
    expected, ones = fanin.Ones()((2, 3), name), fanin.Ones()((2, 3), getattr(torch, name))
    assert ones.dtype == expected.dtype
    assert ones.tobytes() == expected.tobytes()


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(shape: tuple[int, ...]) -> None:
    """A `torch.Size` is a shape."""
    expected = fanin.HeNormal(seed=3)(shape)
    assert fanin.HeNormal(seed=3)(torch.zeros(shape).shape).tobytes() == expected.tobytes()


SCALARS: dict[str, Callable[[float], Any]] = {
    "a tensor": torch.tensor,
    "one with a gradient": lambda value: torch.tensor(value, requires_grad=True),
    "a parameter": lambda value: torch.nn.Parameter(torch.tensor(value)),
    "bfloat16": lambda value: torch.tensor(value, dtype=torch.bfloat16),
}


@pytest.mark.parametrize("kind", SCALARS)
def test_scalars_as_arguments(kind: str) -> None:
    """Scalar tensors are the numbers they hold."""
    make = SCALARS[kind]
    initializer = fanin.RandomNormal(make(1.5), make(0.25), seed=1)
    assert initializer.get_config() == {"mean": 1.5, "stddev": 0.25, "seed": 1}
    assert [type(value) for value in initializer.get_config().values()] == [float, float, int]
    assert initializer((9,)).tobytes() == fanin.RandomNormal(1.5, 0.25, seed=1)((9,)).tobytes()
    assert fanin.Constant(make(1.5))((2,)).tolist() == [1.5, 1.5]


@given(shape=shapes(600, 2, 2), dtype=st.sampled_from(["float32", "float16", "float64"]), seed=seeds)
@examples(60)
def test_out_fills_a_transposed_parameter(shape: tuple[int, ...], dtype: str, seed: int) -> None:
    """`out=` fills the weight of a linear layer, the transpose of a Keras kernel, in place."""
    fan_in, fan_out = shape
    weight = torch.nn.Parameter(torch.full((fan_out, fan_in), math.nan, dtype=getattr(torch, dtype)))
    pointer = weight.data_ptr()
    view = weight.detach().numpy().T
    assert fanin.GlorotUniform(seed=seed)(shape, dtype, out=view) is view
    expected = fanin.GlorotUniform(seed=seed)(shape, dtype)
    assert weight.data_ptr() == pointer
    assert weight.detach().numpy().tobytes() == np.ascontiguousarray(expected.T).tobytes()


def test_out_fills_a_convolution_and_bfloat16() -> None:
    """`out=` fills a convolution's weight (out, in, height, width) from the Keras order, bfloat16 by its bits."""
    convolution = torch.nn.Conv2d(3, 8, (5, 4), dtype=torch.bfloat16)
    bits = convolution.weight.detach().view(torch.uint16).numpy()
    view = bits.view(ml_dtypes.bfloat16).transpose(2, 3, 1, 0)
    fanin.HeNormal(seed=5)((5, 4, 3, 8), "bfloat16", out=view)
    expected = fanin.HeNormal(seed=5)((5, 4, 3, 8), "bfloat16").astype(np.float32)
    assert np.array_equal(convolution.weight.detach().float().numpy(), expected.transpose(3, 2, 0, 1))
