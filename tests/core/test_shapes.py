"""Shapes, fans and regions: regions are NumPy's basic indexing, and equal the slice of the whole tensor."""

import math
import time
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import fanin
from catalogue import fresh
from fanin._core.settings import TIERS
from fanin._core.shapes import MAX_ELEMENTS, c_strides, checked_shape, fans, fans_of_axes, parse_region
from regions import catalogued, regions
from strategies import examples, shapes

SHAPES: dict[str, Any] = {
    "tuple": (2, 3),
    "list": [2, 3],
    "NumPy's integers": (np.int64(2), np.uint8(3)),
    "array": np.array([2, 3]),
    "generator": range(2, 4),
}


@pytest.mark.parametrize("kind", SHAPES)
def test_shapes(kind: str) -> None:
    """Any sequence of integers becomes a tuple of Python's."""
    shape = checked_shape(SHAPES[kind])
    assert shape == (2, 3)
    assert [type(length) for length in shape] == [int, int]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((), (1, 1)),
        ((7,), (7, 7)),
        ((3, 5), (3, 5)),
        ((2, 3, 5), (6, 10)),
        ((3, 3, 64, 128), (576, 1152)),
        ((0, 5), (0, 5)),
        ((2**40, 3, 2**40, 5), (3 * 2**80, 15 * 2**40)),
    ],
)
def test_fans(shape: tuple[int, ...], expected: tuple[int, int]) -> None:
    """Those of a scalar, a vector, a dense kernel and convolutions."""
    assert fans(shape) == expected


def test_fans_of_axes() -> None:
    """Products of the axes that are named, from the front or the back; others are refused."""
    assert fans_of_axes((2, 3, 5, 7), (0, 1), (-1,)) == (6, 7)
    assert fans_of_axes((2, 3), (), (0, 1)) == (1, 6)
    with pytest.raises(ValueError, match=r"^`output_axes` must be axes of the shape \(2, 3\)\. Received: output_axes="):
        fans_of_axes((2, 3), (0,), (2,))


@given(st.data())
@examples(300)
def test_regions_are_numpys_basic_indexing(data: st.DataObject) -> None:
    """A region has the shape and the elements that NumPy's indexing gives, and says where they are in the tensor."""
    shape = data.draw(shapes(2000))
    region = data.draw(regions(shape))
    indices = np.arange(math.prod(shape)).reshape(shape)
    expected = indices[region]
    box = parse_region(region, shape)
    assert box.shape == expected.shape
    assert np.array_equal(indices[box.slices], expected)
    assert expected[box.restored_axes].shape == box.lengths
    assert c_strides(shape) == tuple(stride // indices.itemsize for stride in indices.strides) or 0 in shape
    walked = sum(
        (np.arange(length) * stride).reshape(-1, *(1,) * (len(box.shape) - axis - 1))
        for axis, (length, stride) in enumerate(zip(box.shape, box.index_strides, strict=True))
    )
    assert np.array_equal(np.broadcast_to(box.first_index + walked, expected.shape), expected)


def test_equal_regions() -> None:
    """Regions that are the same elements in the same shape are equal, however they are written."""
    same = [np.s_[1:3], np.s_[1:3, :], np.s_[1:3, ...], np.s_[-4:-2, 0:99], (slice(1, 3), slice(None, None, 1))]
    assert len({parse_region(region, (5, 6)) for region in same}) == 1
    assert parse_region(1, (5, 6)) != parse_region(slice(1, 2), (5, 6))
    assert parse_region(..., (5, 6)) != parse_region(..., (6, 5))


@given(st.data())
@settings(max_examples=400)
def test_a_region_equals_the_slice_of_the_whole(data: st.DataObject) -> None:
    """`initializer(shape, region=r)` has the bytes of `initializer(shape)[r]`, for every class, dtype and rank."""
    name, dtype, shape = data.draw(catalogued())
    region = data.draw(regions(shape))
    with fanin.config.using(tier=data.draw(st.sampled_from(TIERS))):
        whole = fresh(name)(shape, dtype)
        part = fresh(name)(shape, dtype, region=region)
    expected = whole[region]
    assert part.shape == expected.shape
    assert part.dtype == whole.dtype
    assert part.tobytes() == expected.tobytes()


def test_memory_and_time_are_those_of_the_region() -> None:
    """A region of a tensor that no machine holds comes at once."""
    shape = (2**31, 2**31)
    assert math.prod(shape) <= MAX_ELEMENTS
    started = time.perf_counter()
    assert fanin.GlorotNormal(seed=1)(shape, region=np.s_[5:9, -3:]).shape == (4, 3)
    assert time.perf_counter() - started < 1


def test_regions_of_columns() -> None:
    """A column, whose elements lie a row apart in the stream, is that of the whole."""
    whole = fanin.RandomNormal(seed=4)((3000, 70))
    assert fanin.RandomNormal(seed=4)((3000, 70), region=np.s_[:, 69]).tobytes() == whole[:, 69].tobytes()
    assert fanin.RandomNormal(seed=4)((3000, 70), region=np.s_[:, 3:6]).tobytes() == whole[:, 3:6].tobytes()
