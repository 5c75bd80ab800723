"""Pieces and strides: a region equals the slice of the whole, and `out` of any strides the contiguous result."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import fanin
from catalogue import CATALOGUE, fresh
from fanin import _random, _reference
from fanin._shapes import MAX_ELEMENTS
from fanin.distributions import Affine
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


@pytest.mark.parametrize("cpu", TIERS)
def test_misaligned_out(cpu: str) -> None:
    """Memory at any address: a field of packed records, a view at an odd offset."""
    for name in ("RandomNormal", "RandomUniform", "TruncatedNormal", "RandomUniform, integers"):
        for dtype in CATALOGUE[name][1]:
            with fanin.config.using(cpu=cpu):
                expected = fresh(name)((7, 300), dtype)
                kind = expected.dtype
                packed = np.zeros((7, 300), np.dtype([("pad", "u1"), ("field", kind)]))["field"]
                odd = np.zeros(7 * 300 * kind.itemsize + 1, np.uint8)[1:].view(kind).reshape(7, 300)
                for out in (packed, odd, odd[:, ::-1], odd.reshape(300, 7).T):
                    assert fresh(name)(out.shape, dtype, out=out).tobytes() == fresh(name)(out.shape, dtype).tobytes()


def test_out_of_array_subclasses(tmp_path: Path) -> None:
    """The data of a masked array is written whatever its mask; a memory map is as good as any."""
    expected = fanin.RandomNormal(seed=1)((4, 5))
    masked = np.ma.MaskedArray(np.zeros((4, 5), np.float32), mask=True, hard_mask=True)
    assert fanin.RandomNormal(seed=1)((4, 5), out=masked) is masked
    assert masked.data.tobytes() == expected.tobytes()
    assert fanin.Ones()((4, 5), out=masked).data.tobytes() == np.ones((4, 5), np.float32).tobytes()
    mapped: Any = np.memmap(tmp_path / "weights", np.float32, "w+", shape=(4, 5))
    fanin.RandomNormal(seed=1)((4, 5), out=mapped)
    mapped.flush()
    assert (tmp_path / "weights").read_bytes() == expected.tobytes()


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


def reference_values(drawn: Any, pair: tuple[int, int], indices: np.ndarray) -> np.ndarray:
    """Elements of a distribution's tensor by their flat indices."""
    key, counter = _random.stream(pair)
    if isinstance(drawn, Affine):
        kernel = f"{drawn._law}/{drawn.dtype.name}"
        return _reference.draw(kernel, key, counter, indices, scale=drawn.factor, shift=drawn.offset)
    width = 8 * drawn.dtype.itemsize
    span = (drawn.high - drawn.low) % 2**width
    return _reference.draw(f"integers/{width}", key, counter, indices, minval=drawn.low if span else 0, span=span)


@pytest.mark.parametrize(
    "name", [name for name, (each, _, _) in CATALOGUE.items() if each._is_random and name != "Orthogonal"]
)
def test_far_out_in_a_huge_tensor(name: str) -> None:
    """Regions beyond 2**32 and 2**40 elements are addressed rightly, without the tensor being made."""
    shape = (2**20, 2**20)
    for dtype in CATALOGUE[name][1]:
        drawn = fresh(name).distribution(shape, dtype)
        for row, column in [(0, 2**20 - 3), (2**12, 5), (2**13 + 1, 7), (2**20 - 1, 2**20 - 4)]:
            piece = fresh(name)(shape, dtype, region=(row, slice(column, column + 3)))
            # The reference, given the flat indices in so many words.
            indices = np.array([row * 2**20 + column + i for i in range(3)], np.uint64)
            expected = reference_values(drawn, (fresh(name).get_config()["seed"], 0), indices)
            assert piece.tobytes() == expected.tobytes(), (row, column)


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
