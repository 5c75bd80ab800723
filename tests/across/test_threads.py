"""Threads and forks next to PyTorch and JAX: whatever these do to a process, the values are the serial ones."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import fanin
from strategies import FLOAT_DTYPES, RANDOM

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
jnp = jax.numpy


def drawn(name: str, dtype: str) -> bytes:
    """A matrix of an initializer with a seed."""
    return getattr(fanin, name)(seed=3)((70, 90), dtype).tobytes()


def test_many_threads_among_busy_frameworks() -> None:
    """16 threads that draw at once, while PyTorch and JAX keep the cores busy, get the serial results."""
    named = [(name, dtype) for name in RANDOM for dtype in FLOAT_DTYPES]
    expected = {each: drawn(*each) for each in named}
    done = threading.Event()

    def busy() -> None:
        matrix, product = torch.rand(200, 200), jax.jit(lambda x: x @ x)
        while not done.is_set():
            torch.mm(matrix, matrix)
            product(jnp.ones((100, 100))).block_until_ready()

    def work(number: int) -> bool:
        order = named[number:] + named[:number]
        with fanin.config.using(threads=1 + number % 3):
            return all(drawn(name, dtype) == expected[name, dtype] for name, dtype in order)

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
