"""Layouts: where Keras's axes are in a tensor of PyTorch's order, or of any other."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanin._core.layouts import keras_axes, permuted
from strategies import examples

LAYOUTS: list[tuple[Any, int, tuple[int, ...]]] = [
    ("keras", 0, ()),
    ("keras", 3, (0, 1, 2)),
    ("torch", 0, ()),
    ("torch", 1, (0,)),
    ("torch", 2, (1, 0)),
    ("torch", 4, (2, 3, 1, 0)),
    ((2, 3, 0, 1), 4, (2, 3, 0, 1)),
    ([-1, 0], 2, (1, 0)),
    (np.array([1, 0]), 2, (1, 0)),
    ((), 0, ()),
]


@pytest.mark.parametrize(("layout", "rank", "expected"), LAYOUTS)
def test_layouts(layout: Any, rank: int, expected: tuple[int, ...]) -> None:
    """Names and permutations, negative axes among them."""
    assert keras_axes(layout, rank) == expected


RULE = "`layout` must be 'keras', 'torch' or a permutation of the axes. Received: layout="
ONCE = "`layout` must have each of the tensor's 2 axes once. Received: layout="
REFUSED: list[tuple[Any, type[Exception], str]] = [
    ("tourch", ValueError, f"{RULE}'tourch'. Did you mean 'torch'?"),
    ("nchw", ValueError, f"{RULE}'nchw'."),
    (None, TypeError, f"{RULE}None."),
    ((0.0, 1.0), TypeError, f"{RULE}(0.0, 1.0)."),
    ((0, 0), ValueError, f"{ONCE}(0, 0). It says where Keras's axes are, as in `tensor.permute(layout)`."),
    ((0,), ValueError, f"{ONCE}(0,)."),
    ((0, 2), ValueError, f"{ONCE}(0, 2)."),
    ((-3, 0), ValueError, f"{ONCE}(-3, 0)."),
]


@pytest.mark.parametrize(("layout", "error", "message"), REFUSED)
def test_refused_layouts(layout: Any, error: type[Exception], message: str) -> None:
    """What is no layout of a matrix, with the rule and what came."""
    with pytest.raises(error) as caught:
        keras_axes(layout, 2)
    assert str(caught.value).startswith(message)


@given(st.data())
@examples(60)
def test_permuted_is_what_transpose_does(data: st.DataObject) -> None:
    """Shapes and indices go into Keras's order as the array's axes do."""
    shape = tuple(data.draw(st.lists(st.integers(1, 3), max_size=5)))
    axes = tuple(data.draw(st.permutations(range(len(shape)))))
    index = tuple(data.draw(st.integers(0, length - 1)) for length in shape)
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    kernel = array.transpose(keras_axes(axes, len(shape)))
    assert kernel.shape == permuted(shape, axes)
    assert kernel[permuted(index, axes)] == array[index]
