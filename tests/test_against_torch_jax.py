"""fanin next to PyTorch and JAX: results taken without a copy, and nothing that they do to a process changes a bit."""

from __future__ import annotations

import ctypes
import math
import os
import platform
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fanin
from fanin.settings import TIERS
from strategies import FLOAT_DTYPES, RANDOM, Call, calls, examples, seeds, shapes

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
jnp = jax.numpy

SHAPES = [(), (1,), (7, 5), (3, 1, 4), (257, 129)]


def drawn(name: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """A tensor of an initializer with a seed."""
    return getattr(fanin, name)(seed=3)(shape, dtype)


# Without a copy


@given(call=calls())
@examples(200)
def test_results_are_aligned(call: Call) -> None:
    """Every result that is not empty starts at a multiple of 64 bytes, in C order, and can be written to."""
    array = call.run(fanin)
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert array.size == 0 or array.ctypes.data % 64 == 0


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_torch_takes_results_without_a_copy(dtype: str, shape: tuple[int, ...]) -> None:
    """`torch.from_numpy` and DLPack share the result's memory, without a warning, and writes go through."""
    array = drawn("RandomNormal", shape, dtype)
    before = array.tobytes()
    for take in (torch.from_numpy, torch.from_dlpack, torch.as_tensor):
        tensor = take(array)
        assert tensor.data_ptr() == array.ctypes.data
        assert tensor.dtype == getattr(torch, dtype)
        assert tuple(tensor.shape) == shape
        assert tensor.numpy().tobytes() == before
    tensor.zero_()
    assert not array.any()


@pytest.mark.parametrize("shape", SHAPES)
def test_torch_takes_bfloat16_by_its_bits(shape: tuple[int, ...]) -> None:
    """A bfloat16 result goes to PyTorch as uint16, without a copy, with the same values."""
    array = drawn("HeNormal", shape, "bfloat16")
    tensor = torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)
    assert tensor.data_ptr() == array.ctypes.data
    assert np.array_equal(tensor.float().numpy(), array.astype(np.float32))


def test_memory_outlives_the_array() -> None:
    """A tensor keeps the memory it shares when fanin's array is gone."""
    array = drawn("RandomNormal", (300, 300), "float32")
    expected = array.copy()
    tensor = torch.from_numpy(array)
    on_jax = jax.dlpack.from_dlpack(array, copy=False)
    del array
    others = [drawn("RandomUniform", (300, 300), "float32") for _ in range(8)]
    assert len(others) == 8
    assert tensor.numpy().tobytes() == expected.tobytes()
    assert np.asarray(on_jax).tobytes() == expected.tobytes()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16"])
def test_jax_takes_results_without_a_copy(dtype: str, shape: tuple[int, ...]) -> None:
    """`jax.device_put` shares the result's memory on the CPU: it is aligned as JAX wants it."""
    array = drawn("GlorotUniform", shape, dtype)
    on_jax = jax.device_put(array, may_alias=True)
    assert on_jax.dtype == array.dtype
    assert on_jax.unsafe_buffer_pointer() == array.ctypes.data
    assert np.asarray(on_jax).tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_jax_takes_dlpack_without_a_copy(dtype: str) -> None:
    """`jax.dlpack.from_dlpack` with `copy=False` takes a result as it is."""
    array = drawn("RandomNormal", (33, 5), dtype)
    on_jax = jax.dlpack.from_dlpack(array, copy=False)
    assert on_jax.unsafe_buffer_pointer() == array.ctypes.data


# Objects of both


@pytest.mark.parametrize("name", ["bool", "int32", "int64", "uint8", "complex64", *FLOAT_DTYPES, "float8_e4m3fn"])
def test_dtype_objects(name: str) -> None:
    """Dtypes of PyTorch and JAX mean the dtype of their name."""
    expected = fanin.Ones()((2, 3), name)
    for dtype in (getattr(torch, name), getattr(jnp, name if name != "bool" else "bool_"), jnp.dtype(name)):
        ones = fanin.Ones()((2, 3), dtype)
        assert ones.dtype == expected.dtype
        assert ones.tobytes() == expected.tobytes()


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_of_torch(shape: tuple[int, ...]) -> None:
    """A `torch.Size` is a shape, and so is what JAX's arrays call theirs."""
    expected = drawn("HeNormal", shape, "float32").tobytes()
    assert fanin.HeNormal(seed=3)(torch.zeros(shape).shape).tobytes() == expected
    assert fanin.HeNormal(seed=3)(jnp.zeros(shape).shape).tobytes() == expected


@pytest.mark.parametrize(
    "make",
    [
        torch.tensor,
        lambda value: torch.tensor(value, requires_grad=True),
        lambda value: torch.nn.Parameter(torch.tensor(value)),
        lambda value: torch.tensor(value, dtype=torch.bfloat16),
        jnp.asarray,
        lambda value: jnp.asarray(value, jnp.bfloat16),
        lambda value: jnp.float32(value),
    ],
)
def test_scalar_tensors_as_parameters(make: Callable[[float], Any]) -> None:
    """Scalar tensors are the numbers they hold."""
    ours = fanin.RandomNormal(make(1.5), make(0.25), seed=1)
    assert ours.get_config() == {"mean": 1.5, "stddev": 0.25, "seed": 1}
    assert [type(value) for value in ours.get_config().values()] == [float, float, int]
    assert ours((9,)).tobytes() == fanin.RandomNormal(1.5, 0.25, seed=1)((9,)).tobytes()
    assert fanin.Constant(make(1.5))((2,)).tolist() == [1.5, 1.5]


@given(shape=shapes(600, 2, 2), dtype=st.sampled_from(["float32", "float16", "float64"]), seed=seeds)
@examples(60)
def test_out_fills_a_transposed_torch_parameter(shape: tuple[int, ...], dtype: str, seed: int) -> None:
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
    import ml_dtypes

    convolution = torch.nn.Conv2d(3, 8, (5, 4), dtype=torch.bfloat16)
    bits = convolution.weight.detach().view(torch.uint16).numpy()
    view = bits.view(ml_dtypes.bfloat16).transpose(2, 3, 1, 0)
    fanin.HeNormal(seed=5)((5, 4, 3, 8), "bfloat16", out=view)
    expected = fanin.HeNormal(seed=5)((5, 4, 3, 8), "bfloat16").astype(np.float32)
    assert np.array_equal(convolution.weight.detach().float().numpy(), expected.transpose(3, 2, 0, 1))


# Modes of the processor


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
    with fanin.config.using(cpu=tier, threads=2):
        for call in cases:
            expected = call.run(fanin)
            with MODES[mode]():
                result = call.run(fanin)
            assert result.tobytes() == expected.tobytes()


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
def test_the_mode_is_given_back(tier: str) -> None:
    """A call leaves the processor's modes as it found them, in every tier."""
    libm = ctypes.CDLL("libm.so.6")
    with MODES["upward"](), fanin.config.using(cpu=tier):
        fanin.RandomNormal(seed=1)((5000,))
        assert libm.fegetround() == 0x800
    with flushed_denormals(), fanin.config.using(cpu=tier):
        fanin.RandomNormal(seed=1)((5000,))
        assert torch.tensor([1e-39]).mul(torch.tensor([1.0])).item() == 0.0


# Threads and processes


def test_many_threads_among_busy_frameworks() -> None:
    """16 threads that draw at once, while PyTorch and JAX keep the cores busy, get the serial results."""
    named = [(name, dtype) for name in RANDOM for dtype in FLOAT_DTYPES]
    expected = {each: drawn(each[0], (70, 90), each[1]).tobytes() for each in named}
    done = threading.Event()

    def busy() -> None:
        matrix, product = torch.rand(200, 200), jax.jit(lambda x: x @ x)
        while not done.is_set():
            torch.mm(matrix, matrix)
            product(jnp.ones((100, 100))).block_until_ready()

    def work(number: int) -> bool:
        order = named[number:] + named[:number]
        with fanin.config.using(threads=1 + number % 3):
            return all(drawn(name, (70, 90), dtype).tobytes() == expected[name, dtype] for name, dtype in order)

    worker = threading.Thread(target=busy)
    worker.start()
    try:
        with ThreadPoolExecutor(16) as pool:
            assert all(pool.map(work, range(16)))
    finally:
        done.set()
        worker.join()


def test_one_initializer_called_by_many_threads() -> None:
    """Calls of one Glorot initializer from 16 threads are its first calls, each once."""
    reference = fanin.GlorotUniform(seed=9)
    expected = sorted(reference((40, 50)).tobytes() for _ in range(64))
    shared = fanin.GlorotUniform(seed=9)
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda _: shared((40, 50)).tobytes(), range(64)))
    assert sorted(results) == expected


def run_script(script: str) -> str:
    """What a Python of its own prints; warnings about forks are its own affair."""
    path = os.pathsep.join(part for part in (*sys.path, os.environ.get("PYTHONPATH", "")) if part)
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


FORK = """
    import hashlib, os, sys, threading
    import numpy as np
    import torch
    import fanin

    def digest():
        array = fanin.TruncatedNormal(seed=5)((1200, 1000))
        return hashlib.sha256(array.tobytes()).hexdigest()

    torch.mm(torch.rand(300, 300), torch.rand(300, 300))
    with fanin.config.using(threads=4):
        before = digest()
"""


def test_fork_after_use() -> None:
    """A child of `os.fork` draws the parent's bytes with threads of its own, and so does the parent afterwards."""
    script = """
    child = os.fork()
    if child == 0:
        with fanin.config.using(threads=4):
            os._exit(0 if digest() == before else 7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with fanin.config.using(threads=4):
        assert digest() == before
    print(before)
    """
    assert run_script(textwrap.dedent(FORK) + textwrap.dedent(script)).strip()


def test_multiprocessing_by_fork() -> None:
    """Workers that `multiprocessing` forks draw the parent's bytes."""
    script = """
    import multiprocessing
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert set(pool.starmap(digest, [()] * 6)) == {before}
    print(before)
    """
    assert run_script(textwrap.dedent(FORK) + textwrap.dedent(script)).strip()


def test_fork_while_other_threads_draw() -> None:
    """A fork in the middle of other threads' calls leaves the child no lock that is taken."""
    script = """
    stop = threading.Event()

    def draw():
        while not stop.is_set():
            fanin.HeNormal()((3, 3))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        child = os.fork()
        if child == 0:
            import signal
            signal.alarm(20)
            fanin.HeNormal()((3, 3))
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    stop.set()
    for thread in threads:
        thread.join()
    print("done")
    """
    assert run_script(textwrap.dedent(FORK) + textwrap.dedent(script)).strip() == "done"
