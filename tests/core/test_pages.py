"""Fresh memory: a fill takes the pages of what it writes, and no others."""

from __future__ import annotations

import ctypes
import mmap
import sys

import numpy as np
import pytest

from fanin import _native

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux which pages are there")

_SIZE = 24 << 20


def _resident(memory: mmap.mmap) -> np.ndarray:
    """Which pages of a mapping have memory."""
    libc = ctypes.CDLL(None, use_errno=True)
    pages = np.zeros(len(memory) // mmap.PAGESIZE, np.uint8)
    address = np.frombuffer(memory, np.uint8).ctypes.data
    result = libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(len(memory)), ctypes.c_void_p(pages.ctypes.data))
    assert result == 0, ctypes.get_errno()
    return (pages & 1).astype(bool)


def _fresh() -> tuple[mmap.mmap, np.ndarray]:
    memory = mmap.mmap(-1, _SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)  # pages of 4 KiB, whatever the system's default
    return memory, np.frombuffer(memory, np.uint32)


def _fill(out: np.ndarray, strides: list[int], threads: int = 1) -> None:
    best = _native.TIERS[list(_native.TIERS)[-1]]
    _native.fill_buffer(out, best, _native.KERNELS["uniform/float32"], 1, 2, 1.0, 0.0, 0, 0, threads, 0, strides)


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("layout", ["contiguous", "rows", "backwards", "convolution"])
def test_fresh_memory_gets_the_same_values(layout: str, threads: int) -> None:
    count = 5 << 20
    whole = np.zeros(count, np.uint32)
    _fill(whole, [1])
    memory, elements = _fresh()
    start = 3 * mmap.PAGESIZE // 4 + 5  # within a page
    part = elements[start : start + count]
    if layout == "contiguous":
        out, strides = part, [1]
    elif layout == "backwards":
        out, strides = part[::-1], [1]
    elif layout == "rows":
        out, strides = part.reshape(1 << 10, 5 << 10).T, [1 << 10, 1]
    else:
        out, strides = part.reshape(1 << 10, 20, 16, 16).transpose(2, 3, 1, 0), [16 * 20 << 10, 20 << 10, 1 << 10, 1]
    _fill(out, strides, threads)
    assert np.array_equal(out, whole.reshape(out.shape))
    resident = _resident(memory)
    first, last = start * 4 // mmap.PAGESIZE, (start + count) * 4 // mmap.PAGESIZE
    assert resident[first : last + 1].all()
    assert not resident[:first].any()
    assert not resident[last + 1 :].any()
    assert not elements[:start].any()
    assert not elements[start + count :].any()


def test_memory_between_elements_stays_untouched() -> None:
    """An array that leaves parts of its span out gets no pages for them."""
    memory, elements = _fresh()
    rows = elements.reshape(-1, 8 * mmap.PAGESIZE // 4)[:, : mmap.PAGESIZE // 4]
    _fill(rows, [rows.shape[1], 1], 2)
    resident = _resident(memory).reshape(-1, 8)
    assert resident[:, 0].all()
    assert not resident[:, 1:].any()
