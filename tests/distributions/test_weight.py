"""Weights: functions of (seed, index) that fill any region, in any order of axes, rounded once to the dtype kept."""

import pickle
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fanin
from catalogue import CATALOGUE, FLOATS, fitted, fresh, shape_for
from fanin._core.settings import TIERS
from fanin._core.shapes import parse_region
from fanin._core.streams import Stream
from regions import catalogued, owner, regions, strided
from strategies import assert_same_bits, examples

STORED = ("float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")
# Tensors of more elements than are rounded at once: long rows, many rows, several axes.
LARGE = {0: (), 1: (2**17 + 3,), 2: (3, 30011), 3: (257, 7, 47), 4: (2, 3, 211, 67), 5: (2, 2, 3, 5, 1201)}


def kept(initializer: Any, shape: tuple[int, ...], dtype: str, stored: Any, axes: Any) -> tuple[fanin.Weight, Any]:
    """A weight that is stored in a dtype and an order of axes, and its values by way of a call."""
    called = type(initializer).from_config(initializer.get_config())(shape, dtype)
    if stored is not None:
        with np.errstate(all="ignore"):
            called = called.astype(stored)
    if axes is not None:
        called = called.transpose(np.argsort(axes))
    stored = None if stored is None else np.dtype(stored)
    return initializer.weight(shape, dtype)._replace(stored=stored, axes=axes), called


@given(st.data())
@examples(400)
def test_any_region_in_any_memory(data: st.DataObject) -> None:
    """Whatever is drawn, kept in any dtype and order of axes: a region has the bytes of the call's, and no others."""
    name, dtype, shape = data.draw(catalogued())
    stored = data.draw(st.sampled_from([None, *STORED])) if dtype in FLOATS else None
    axes = data.draw(st.none() | st.permutations(range(len(shape))).map(tuple))
    with fanin.config.using(tier=data.draw(st.sampled_from(TIERS))):
        weight, expected = kept(fresh(name), shape, dtype, stored, axes)
        assert (weight.shape, weight.dtype) == (expected.shape, expected.dtype)
        assert weight.make().tobytes() == expected.tobytes()
        region = data.draw(regions(weight.shape))
        part = expected[region]
        assert_same_bits(weight.make(region), part)
        out = strided(data.draw, part.shape, part.dtype)
        weight.fill(out, data.draw(st.sampled_from([region, parse_region(region, weight.shape)])))
    assert out.tobytes() == part.tobytes()
    raw = out.view(f"V{out.dtype.itemsize}")
    raw[...] = np.zeros((), raw.dtype)
    assert not any(owner(out).tobytes())


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("name", [name for name, (_, dtypes, _) in CATALOGUE.items() if "float32" in dtypes])
def test_values_are_rounded_once(name: str, stored: str) -> None:
    """A float32 tensor kept in fewer bits is that tensor rounded, on every tier, whole and in regions."""
    for rank in CATALOGUE[name][2]:
        shape = fitted(name, LARGE[rank])
        for tier in TIERS if rank == 2 else TIERS[-1:]:
            with fanin.config.using(tier=tier):
                weight, expected = kept(fresh(name), shape, "float32", stored, None)
                assert weight.make().tobytes() == expected.tobytes()
        for axes in (tuple(range(rank))[::-1], (*range(1, rank), 0)[:rank]):
            weight, moved = kept(fresh(name), shape, "float32", stored, axes)
            for region in (..., (slice(1, None), ...), (..., slice(1, -1)))[: 3 if rank else 1]:
                assert weight.make(region).tobytes() == moved[region].tobytes()


def test_overflow_while_rounding() -> None:
    """What a narrow dtype cannot hold is what it has for that, infinity or NaN, and no warning or error of NumPy's."""
    for stored in STORED:
        weight, expected = kept(fanin.RandomNormal(0.0, 1e30, seed=1), (40, 5), "float32", stored, None)
        with np.errstate(all="raise"):
            made = weight.make()
        assert_same_bits(made, expected)
        assert np.isfinite(made.astype(np.float32)).all() == (stored == "bfloat16")


@pytest.mark.parametrize("name", CATALOGUE)
def test_pieces(name: str) -> None:
    """An array for each region, in their order; equal regions share one, however they are written."""
    weight = fresh(name).weight(shape_for(name, 6, 5, 4), CATALOGUE[name][1][0])
    whole = weight.make()
    wanted = [np.s_[:3], np.s_[3:], np.s_[0:3, :], np.s_[-6:-3, ...], np.s_[:], 2]
    pieces = weight.pieces(iter(wanted))
    assert [piece.tobytes() for piece in pieces] == [whole[region].tobytes() for region in wanted]
    assert pieces[0] is pieces[2] is pieces[3]
    assert len({id(piece) for piece in pieces}) == 4
    assert weight.pieces([]) == []


def test_new_arrays() -> None:
    """They are 64-byte aligned, in C order, writable, and each has memory of its own."""
    weight = fanin.HeNormal(seed=1).weight((7, 9))
    for stored in (None, *map(np.dtype, STORED)):
        for axes in (None, (1, 0)):
            for region in (None, np.s_[1:, 2:]):
                kept_so = weight._replace(stored=stored, axes=axes)
                first, second = kept_so.make(region), kept_so.make(region)
                assert first.ctypes.data % 64 == 0
                assert first.flags.c_contiguous
                assert first.flags.writeable
                assert not np.shares_memory(first, second)


def test_fill() -> None:
    """An array of the weight's shape, or of a region's, given as NumPy's indexing or as it has been parsed."""
    weight = fanin.HeNormal(seed=1).weight((5, 7))
    whole = np.zeros((5, 7), np.float32)
    weight.fill(whole)
    assert whole.tobytes() == weight.make().tobytes()
    for region in ((2, ...), np.s_[1:3], np.s_[..., 4], np.s_[:, -2:], (4, 6, ...), ...):
        for given_region in (region, parse_region(region, (5, 7))):
            out, expected = np.zeros_like(whole), np.zeros_like(whole)
            weight.fill(out[region], given_region)
            expected[region] = whole[region]
            assert out.tobytes() == expected.tobytes()


def test_a_weight_is_plain_data() -> None:
    """Equal weights have equal values; they go through pickle, and into sets."""
    weight = fanin.HeNormal(seed=3).weight((4, 6), "float64")
    assert weight == fanin.HeNormal(seed=3).weight([4, 6], np.float64) == pickle.loads(pickle.dumps(weight))
    assert weight != fanin.HeNormal(seed=4).weight((4, 6), "float64")
    assert weight != weight._replace(stored=np.dtype(np.float32))
    assert weight == fanin.Weight(weight.distribution, Stream(3))
    assert len({weight, weight._replace(axes=(1, 0)), fanin.HeNormal(seed=3).weight((4, 6), "float64")}) == 2
    assert (weight.shape, weight.dtype) == ((4, 6), np.dtype(np.float64))
    turned = weight._replace(stored=np.dtype(ml_dtypes.bfloat16), axes=(1, 0))
    assert (turned.shape, turned.dtype) == ((6, 4), np.dtype(ml_dtypes.bfloat16))


def test_another_stream() -> None:
    """A weight of a stream of one's own does not look at the seed, and draws none."""
    initializer = fanin.HeNormal()
    weight = initializer.weight((3, 4), stream=Stream(5).fold_in_wide(2))
    assert weight.stream == Stream(5).fold_in_wide(2)
    assert not initializer.has_seed
    third = fanin.HeNormal(seed=5)
    values = [third((3, 4)) for _ in range(3)]
    assert weight.make().tobytes() == values[2].tobytes()


def test_refused_regions() -> None:
    """Regions are those of the tensor as it is kept; what cannot be made is said before it is tried."""
    weight = fanin.HeNormal(seed=1).weight((3, 5))._replace(axes=(1, 0))
    assert weight.make(4).shape == (3,)
    with pytest.raises(IndexError, match=r"^`region` must lie within the shape \(5, 3\)\. Received: region=5, index 5"):
        weight.make(5)
    with pytest.raises(IndexError, match=r"^`region` must lie within the shape \(5, 3\)"):
        weight.pieces([0, 5])
    with pytest.raises(MemoryError, match=r"^Unable to allocate 4 TiB for a tensor of shape \(1099511627776,\)"):
        fanin.HeNormal(seed=1).weight((2**40,)).make()
    with pytest.raises(MemoryError, match=r"^Unable to allocate 64 TiB for a tensor of shape \(4194304, 4194304\)"):
        fanin.Orthogonal(seed=1).weight((2**22, 2**22)).make((0, 0))
