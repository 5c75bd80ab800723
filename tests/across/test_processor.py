"""Modes of the processor that PyTorch and others set: no bit depends on them, and a call leaves them as they are."""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import fanin
from fanin._core.settings import TIERS
from strategies import FLOAT_DTYPES, Call

torch = pytest.importorskip("torch")


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """The processor flushes subnormal numbers in this thread, as `torch.set_flush_denormal(True)` makes it."""
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush subnormal numbers")
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def rounding(mode: int) -> Callable[[], Any]:
    """A context in which the processor rounds this thread's operations otherwise."""

    @contextmanager
    def context() -> Iterator[None]:
        libm = ctypes.CDLL("libm.so.6")
        before = libm.fegetround()
        assert libm.fesetround(mode) == 0
        try:
            yield
        finally:
            libm.fesetround(before)

    return context


# FE_DOWNWARD, FE_UPWARD and FE_TOWARDZERO of x86
MODES = {
    "flush": flushed_denormals,
    "downward": rounding(0x400),
    "upward": rounding(0x800),
    "toward zero": rounding(0xC00),
}
rounding_modes_are_known = pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.machine() != "x86_64", reason="modes are set by the numbers of x86"
)


@rounding_modes_are_known
@pytest.mark.parametrize("dtype", FLOAT_DTYPES)
@pytest.mark.parametrize("tier", [tier for tier in TIERS if tier != "reference"])  # NumPy obeys the thread's modes
@pytest.mark.parametrize("mode", MODES)
def test_modes_of_the_processor_reach_no_kernel(mode: str, tier: str, dtype: str) -> None:
    """However the calling thread rounds or flushes, kernels draw the same bytes, on threads of their own too."""
    smallest = {"float16": 2.0**-14, "float64": 2.0**-1022}.get(dtype, 2.0**-126)  # as a spread, it makes subnormals
    cases = [  # whose parameters are exact in every dtype
        Call("RandomNormal", {"mean": 0.125, "stddev": 0.75, "seed": 3}, (10_003,), dtype),
        Call("TruncatedNormal", {"mean": 0.125, "stddev": 0.75, "seed": 3}, (1100, 1000), dtype),
        Call("RandomUniform", {"minval": -0.125, "maxval": 0.75, "seed": 3}, (10_003,), dtype),
        Call("RandomNormal", {"stddev": smallest, "seed": 3}, (5000,), dtype),
    ]
    with fanin.config.using(tier=tier, threads=2):
        for call in cases:
            expected = call.run(fanin)
            with MODES[mode]():
                result = call.run(fanin)
            assert result.tobytes() == expected.tobytes(), call


PARAMETER_CALLS = {
    "subnormal spread": Call("RandomNormal", {"stddev": 1e-39, "seed": 1}, (1000,), "float32"),
    "subnormal mean": Call("TruncatedNormal", {"mean": 1e-40, "stddev": 1e-38, "seed": 1}, (1000,), "float32"),
    "subnormal bounds": Call("RandomUniform", {"minval": -1e-40, "maxval": 2e-40, "seed": 1}, (1000,), "float32"),
    "subnormal bfloat16": Call("RandomNormal", {"stddev": 1e-38, "seed": 1}, (1000,), "bfloat16"),
    "subnormal float16": Call("RandomNormal", {"stddev": 1e-5, "seed": 1}, (1000,), "float16"),
    "subnormal float64": Call("RandomNormal", {"stddev": 1e-309, "seed": 1}, (1000,), "float64"),
    "subnormal constant": Call("Constant", {"value": 1e-40}, (3,), "float32"),
    "subnormal gain": Call("Identity", {"gain": 1e-40}, (3, 3), "float32"),
    "normal": Call("RandomNormal", {"mean": 0.1, "stddev": 0.7, "seed": 1}, (1000,), "float32"),
    "normal float16": Call("RandomNormal", {"mean": 0.1, "stddev": 0.7, "seed": 1}, (1000,), "float16"),
    "normal bfloat16": Call("RandomNormal", {"mean": 0.1, "stddev": 0.7, "seed": 1}, (1000,), "bfloat16"),
    "normal float64": Call("RandomNormal", {"mean": 0.1, "stddev": 0.7, "seed": 1}, (1000,), "float64"),
    "uniform": Call("RandomUniform", {"minval": -0.1, "maxval": 0.7, "seed": 1}, (1000,), "float32"),
    "uniform float64": Call("RandomUniform", {"minval": -0.1, "maxval": 0.7, "seed": 1}, (1000,), "float64"),
    "constant": Call("Constant", {"value": 0.1}, (3,), "float32"),
    "constant float16": Call("Constant", {"value": 0.1}, (3,), "float16"),
    "identity": Call("Identity", {"gain": 0.1}, (3, 3), "bfloat16"),
}


@rounding_modes_are_known
@pytest.mark.parametrize("case", PARAMETER_CALLS)
@pytest.mark.parametrize("mode", MODES)
def test_modes_of_the_processor_reach_no_parameter(mode: str, case: str) -> None:
    """Parameters are rounded to the dtype alike, however the calling thread rounds or flushes."""
    call = PARAMETER_CALLS[case]
    expected = call.run(fanin)
    with MODES[mode]():
        result = call.run(fanin)
    assert result.tobytes() == expected.tobytes()


@rounding_modes_are_known
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("mode", MODES)
def test_modes_of_the_processor_reach_no_fan(mode: str, dtype: str) -> None:
    """Limits computed from fans are alike, and none that was made in another mode is kept for later."""
    rows = 201 + list(MODES).index(mode)  # a shape of its own, as what was computed for one is remembered
    with MODES[mode]():
        inside = fanin.LecunUniform(seed=1)((rows, 89), dtype)
    # of the same fan-in, and so of the same limit: the same elements, and more of them
    outside = fanin.LecunUniform(seed=1)((rows, 90), dtype).reshape(-1)[: inside.size]
    assert inside.tobytes() == outside.tobytes()
    assert fanin.LecunUniform(seed=1)((rows, 89), dtype).tobytes() == outside.tobytes()


@rounding_modes_are_known
@pytest.mark.parametrize("tier", TIERS)
def test_rounding_is_given_back(tier: str) -> None:
    """A call leaves the direction of rounding as it found it, in every tier."""
    libm = ctypes.CDLL("libm.so.6")
    with MODES["upward"](), fanin.config.using(tier=tier):
        fanin.RandomNormal(seed=1)((5000,))
        assert libm.fegetround() == 0x800


@pytest.mark.parametrize("tier", TIERS)
def test_flushing_is_given_back(tier: str) -> None:
    """A call leaves the thread flushing subnormal numbers, where it did so before, in every tier."""
    with flushed_denormals(), fanin.config.using(tier=tier):
        fanin.RandomNormal(seed=1)((5000,))
        assert torch.tensor([1e-39]).mul(torch.tensor([1.0])).item() == 0.0
