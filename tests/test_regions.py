"""Pieces and strides: a region equals the slice of the whole, and `out` of any strides the contiguous result."""

import math
import time
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import fanin
from catalogue import CATALOGUE, fresh
from fanin._shapes import MAX_ELEMENTS
from fanin.settings import TIERS


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, str, tuple[int, ...]]:
    """A name of the catalogue, a dtype and a shape that it takes."""
    name = draw(st.sampled_from(list(CATALOGUE)))
    _, dtypes, ranks = CATALOGUE[name]
    rank = draw(st.sampled_from(ranks))
    longest = (1, 5000, 90, 20, 9, 6)[rank]
    shape = tuple(draw(st.lists(st.integers(0, longest), min_size=rank, max_size=rank)))
    return name, draw(st.sampled_from(dtypes)), shape


@st.composite
def regions(draw: st.DrawFn, shape: tuple[int, ...]) -> object:
    """Basic indexing with step 1: integers, slices in and out of range, Ellipsis, fewer entries than axes."""
    entries = []
    for length in shape:
        bound = st.none() | st.integers(-length - 2, length + 2)
        choices: list[st.SearchStrategy[object]] = [st.builds(slice, bound, bound)]
        if length:
            choices.append(st.integers(-length, length - 1))
        entries.append(draw(st.one_of(choices)))
    kept = draw(st.integers(0, len(entries)))
    kind = draw(st.sampled_from(["all", "leading", "ellipsis", "single"]))
    if kind == "leading":
        return tuple(entries[:kept])
    if kind == "ellipsis":
        after = draw(st.integers(kept, len(entries)))
        return (*entries[:kept], ..., *entries[after:])
    if kind == "single" and entries:
        return entries[0]
    return tuple(entries)


def strided(draw: Callable[[Any], Any], shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array of the given shape somewhere in memory: axes in any order, apart, backwards."""
    order = draw(st.permutations(range(len(shape))))
    gaps = [draw(st.integers(1, 3)) for _ in shape]
    room = np.zeros([shape[axis] * gaps[axis] for axis in order], np.dtype(f"V{dtype.itemsize}"))
    view = room.transpose(np.argsort(order)) if shape else room
    backwards = [draw(st.booleans()) for _ in shape]
    steps = (slice(None, None, -gap if flip else gap) for gap, flip in zip(gaps, backwards, strict=True))
    return view[(..., *steps)].view(dtype)


@given(st.data())
@settings(max_examples=400)
def test_a_region_equals_the_slice_of_the_whole(data: st.DataObject) -> None:
    """`initializer(shape, region=r)` has the bytes of `initializer(shape)[r]`, for every class, dtype and rank."""
    name, dtype, shape = data.draw(calls())
    region = data.draw(regions(shape))
    with fanin.config.using(cpu=data.draw(st.sampled_from(TIERS))):
        whole = fresh(name)(shape, dtype)
        piece = fresh(name)(shape, dtype, region=region)
    expected = whole[region]
    assert piece.shape == expected.shape
    assert piece.dtype == whole.dtype
    assert piece.tobytes() == expected.tobytes()


@given(st.data())
@settings(max_examples=400)
def test_strided_out_equals_the_contiguous_result(data: st.DataObject) -> None:
    """`out` with axes in any order, gaps and negative strides gets the same values, and nothing else is touched."""
    name, dtype, shape = data.draw(calls())
    region = data.draw(st.none() | regions(shape))
    with fanin.config.using(cpu=data.draw(st.sampled_from(TIERS)), threads=data.draw(st.sampled_from([1, 3]))):
        expected = fresh(name)(shape, dtype, region=region)
        out = strided(data.draw, expected.shape, expected.dtype)
        owner = out
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        assert fresh(name)(shape, dtype, region=region, out=out) is out
    assert out.tobytes() == expected.tobytes()
    raw = out.view(f"V{out.dtype.itemsize}")
    raw[...] = np.zeros((), raw.dtype)
    assert not any(owner.tobytes())


def test_large_strided_results() -> None:
    """Transposed and gapped targets of many tiles and threads."""
    for dtype, threads in [("float32", 1), ("float32", 2), ("bfloat16", 2), ("float64", 2)]:
        with fanin.config.using(threads=threads):
            expected = fanin.TruncatedNormal(seed=3)((1001, 777), dtype)
            for out in (
                np.empty((777, 1001), expected.dtype).T,
                np.empty((2002, 777 * 3), expected.dtype)[::2, ::-3],
                np.empty((1001, 777), expected.dtype)[::-1],
                np.empty((1001, 1, 777), expected.dtype)[:, 0],
            ):
                fanin.TruncatedNormal(seed=3)((1001, 777), dtype, out=out)
                assert out.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    "name", [name for name, (each, _, _) in CATALOGUE.items() if each._random and name != "Orthogonal"]
)
def test_far_out_in_a_huge_tensor(name: str) -> None:
    """Regions beyond 2**32 and 2**40 elements are addressed rightly, without the tensor being made."""
    shape = (2**20, 2**20)
    for dtype in CATALOGUE[name][1]:
        far = fresh(name)(shape, dtype, region=(slice(2**20 - 3, None), slice(-4, None)))
        with fanin.config.using(cpu="reference"):
            expected = fresh(name)(shape, dtype, region=(slice(-3, None), slice(2**20 - 4, 2**20)))
        assert far.tobytes() == expected.tobytes()
        # The same elements, one at a time, and from a tensor of another shape with the same fans.
        for row, column in [(2**20 - 3, 2**20 - 4), (2**20 - 1, 2**20 - 1), (2**13, 5)]:
            single = fresh(name)(shape, dtype, region=(row, column))
            row_of_it = fresh(name)(shape, dtype, region=row)
            assert single.tobytes() == row_of_it[column].tobytes()


def test_the_index_has_no_period_of_a_power_of_two() -> None:
    """Elements 2**32, 2**33, … further on are others: an index cut to fewer bits would repeat them."""
    row = fanin.RandomUniform(seed=1)((2**43 - 1, 2**20), region=(0, slice(0, 64))).tobytes()
    for power in range(20, 63):
        first = 2**power
        other = fanin.RandomUniform(seed=1)((2**43 - 1, 2**20), region=(first // 2**20, slice(0, 64))).tobytes()
        assert other != row


def test_memory_and_time_are_those_of_the_piece() -> None:
    """A piece of a tensor that no machine holds comes at once."""
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


def test_results_are_aligned_and_fresh() -> None:
    """Results are C-contiguous, writable, native and 64-byte aligned, each with memory of its own."""
    for name, (_, dtypes, ranks) in CATALOGUE.items():
        for dtype in dtypes:
            first, second = (fresh(name)((3,) * max(ranks[0], 1 if 1 in ranks else 0), dtype) for _ in range(2))
            assert first.ctypes.data % 64 == 0
            assert first.flags.c_contiguous
            assert first.flags.writeable
            assert first.dtype.isnative
            assert not np.shares_memory(first, second)
