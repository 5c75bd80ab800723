"""Strides: `out` of any strides and alignment has the contiguous result, and nothing beside it is touched."""

from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import fanin
from catalogue import CATALOGUE, fresh
from fanin._core.settings import TIERS
from regions import catalogued, owner, regions, strided


@given(st.data())
@settings(max_examples=400)
def test_strided_out_equals_the_contiguous_result(data: st.DataObject) -> None:
    """`out` with axes in any order, gaps and negative strides gets the same values, and nothing else is touched."""
    name, dtype, shape = data.draw(catalogued())
    region = data.draw(st.none() | regions(shape))
    with fanin.config.using(tier=data.draw(st.sampled_from(TIERS)), threads=data.draw(st.sampled_from([1, 3]))):
        expected = fresh(name)(shape, dtype, region=region)
        out = strided(data.draw, expected.shape, expected.dtype)
        assert fresh(name)(shape, dtype, region=region, out=out) is out
    assert out.tobytes() == expected.tobytes()
    raw = out.view(f"V{out.dtype.itemsize}")
    raw[...] = np.zeros((), raw.dtype)
    assert not any(owner(out).tobytes())


@pytest.mark.parametrize("tier", TIERS)
def test_misaligned_out(tier: str) -> None:
    """Memory at any address: a field of packed records, a view at an odd offset."""
    for name in ("RandomNormal", "RandomUniform", "TruncatedNormal", "RandomUniform, integers"):
        for dtype in CATALOGUE[name][1]:
            with fanin.config.using(tier=tier):
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
