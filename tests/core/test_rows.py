"""Fills whose neighbors in memory are far apart in the stream: PyTorch's layout, convolutions, shards, columns."""

from itertools import permutations
from typing import Any

import numpy as np
import pytest

from fanin import _native
from fanin._core import reference
from fanin._core.settings import TIERS
from fanin._core.streams import Stream, key_and_counter

NATIVE_TIERS = [tier for tier in TIERS if tier != "reference"]
KEY, COUNTER = key_and_counter(Stream(-7, 11))
KERNELS = list(_native.KERNELS)


def item_size(kernel: str) -> int:
    """The size of a kernel's elements, in bytes."""
    return {"16": 2, "32": 4, "64": 8}[kernel[-2:]]


def filled(kernel: str, tier: str, out: np.ndarray, first: int, strides: list[int], threads: int = 1) -> None:
    """Fills an array by a native kernel, with the strides of its axes in the stream."""
    span = 1000 if kernel.startswith("integers") else 0
    arguments = KEY, COUNTER, 0.375, -0.125, 5, span, threads, first, strides
    _native.fill_buffer(out, _native.TIERS[tier], _native.KERNELS[kernel], *arguments)


def expected(kernel: str, shape: tuple[int, ...], first: int, strides: list[int]) -> np.ndarray:
    """The same by the reference, element by element."""
    indices = np.full(shape, first, np.uint64)
    for axis, stride in enumerate(strides):
        steps = np.arange(shape[axis], dtype=np.uint64) * np.uint64(stride)
        indices += steps.reshape([-1 if axis == each else 1 for each in range(len(shape))])
    draws: dict[str, Any] = {"minval": 5, "span": 1000}
    if not kernel.startswith("integers"):
        draws = {"scale": 0.375, "origin": -0.125}
    return reference.values(kernel, KEY, COUNTER, indices.ravel(), **draws).reshape(shape)


def check(kernel: str, tier: str, shape: tuple[int, ...], first: int, strides: list[int], order: Any = None) -> None:
    """An array whose axes lie in memory in this order, the slowest first, has the reference's bytes and no more."""
    order = tuple(reversed(range(len(shape)))) if order is None else order
    memory = np.zeros(np.prod(shape, dtype=int) + 2, f"u{item_size(kernel)}")
    memory[[0, -1]] = 77
    out = memory[1:-1].reshape([shape[axis] for axis in order]).transpose(np.argsort(order))
    filled(kernel, tier, out, first, strides)
    wanted = expected(kernel, shape, first, strides).view(out.dtype)
    assert np.array_equal(out, wanted), (kernel, shape, first, strides, order)
    assert memory[0] == memory[-1] == 77


@pytest.mark.parametrize("tier", NATIVE_TIERS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_matrices(kernel: str, tier: str) -> None:
    """Kernels (in, out) that lie in memory as (out, in): every phase of lanes and of the first column."""
    for inputs, outputs in [(33, 8), (64, 5), (70, 6), (31, 7), (1, 9), (40, 1), (40, 2), (1100, 3), (3, 70)]:
        check(kernel, tier, (inputs, outputs), 0, [outputs, 1])
    for first in (1, 2, 3, 5):
        check(kernel, tier, (37, 6), first, [16, 1])
        check(kernel, tier, (37, 6), first, [19, 1])


@pytest.mark.parametrize("tier", NATIVE_TIERS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_convolutions(kernel: str, tier: str) -> None:
    """Kernels (height, width, in, out) in every order of their axes in memory."""
    for shape in [(3, 2, 5, 8), (2, 3, 3, 7)]:
        strides = [shape[1] * shape[2] * shape[3], shape[2] * shape[3], shape[3], 1]
        for order in permutations(range(4)):
            check(kernel, tier, shape, 0, strides, order)


@pytest.mark.parametrize("tier", NATIVE_TIERS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_shards_and_single_columns(kernel: str, tier: str) -> None:
    """Columns 5 to 8 and column 6 of a matrix of 22 columns, in both orders; no column at all."""
    for order in permutations(range(2)):
        check(kernel, tier, (50, 4), 5, [22, 1], order)
        check(kernel, tier, (50, 1), 6, [22, 1], order)
        check(kernel, tier, (50, 0), 6, [22, 1], order)
    check(kernel, tier, (50,), 6, [22])


@pytest.mark.parametrize("tier", NATIVE_TIERS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_counters_of_lanes(kernel: str, tier: str) -> None:
    """Lanes whose block numbers differ in their upper halves, at the wrap of the lower one, and at the stream's end."""
    group = 2 if item_size(kernel) == 8 else 4
    stride = {2: 128, 4: 256}[group] if kernel.startswith("truncated") else 1
    wrap = group * 2**32 // stride  # elements until the lowest word wraps
    for step in (100, 101):
        check(kernel, tier, (40, 5), wrap - 20 * step, [step, 1])
        check(kernel, tier, (40, 5), 7 * wrap - 20 * step - 1, [step, 1])
        check(kernel, tier, (40, 5), 2**63 - 40 * step, [step, 1])
    for step in (wrap // 3 + 1, 5 * wrap, 2**40 + 2, 2**57 + 2):
        check(kernel, tier, (33, 6), 3, [step, 1])
    if stride > 1:  # the carry into the third word
        carry = group * 2**64 // stride
        for step in (100, 101):
            check(kernel, tier, (40, 5), carry - 20 * step, [step, 1])
        # Two axes of lanes, whose last tile has one lane alone: the only one beyond the carry.
        for step in (100, 101):
            check(kernel, tier, (5, 205, 5), carry - 1024 * step, [205 * step, step, 1], (2, 0, 1))
            check(kernel, tier, (205, 5, 5), carry - 1024 * step, [step, 205 * step, 1], (2, 1, 0))


@pytest.mark.parametrize("tier", NATIVE_TIERS)
def test_tiles_and_threads(tier: str) -> None:
    """Arrays of many tiles, in any number of threads, equal the array in the stream's order."""
    previous = _native.set_elements_per_thread(1000)
    try:
        for kernel, inputs, outputs in [
            ("normal/float32", 1500, 300),
            ("truncated/bfloat16", 1100, 301),
            ("uniform/float64", 1025, 126),
            ("integers/64", 1025, 127),
        ]:
            whole = np.zeros((inputs, outputs), f"u{item_size(kernel)}")
            filled(kernel, tier, whole, 0, [outputs, 1])
            for threads in (1, 2, 7):
                for out in (
                    np.zeros((outputs, inputs), whole.dtype).T,
                    np.zeros((outputs, 2 * inputs), whole.dtype)[:, ::-2].T,
                    np.zeros((inputs, 3 * outputs), whole.dtype)[:, ::3],
                ):
                    filled(kernel, tier, out, 0, [outputs, 1], threads)
                    assert np.array_equal(out, whole), (kernel, threads)
    finally:
        _native.set_elements_per_thread(previous)
