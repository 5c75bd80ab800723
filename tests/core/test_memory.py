"""Memory of results: fresh and aligned, and no temporary of the tensor's size, however values are asked for."""

import subprocess
import sys

import numpy as np
import pytest

from catalogue import CATALOGUE, fresh

MIB = 2**20
PEAK = """
import re, sys
import numpy as np
import fanin

def status(name):
    return int(re.search(rf"^{name}:\\s+(\\d+) kB$", open("/proc/self/status").read(), re.M)[1]) * 1024

exec(sys.argv[1])                       # what is there before
fanin.GlorotNormal(seed=1)((64, 64))    # whatever is loaded at a first call
open("/proc/self/clear_refs", "w").write("5")  # the peak starts anew from here
before = status("VmRSS")
exec(sys.argv[2])
print(status("VmHWM") - before)
"""
measured = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def peak(call: str, before: str = "") -> int:
    """The bytes by which memory rises at most during a call, in a process of its own."""
    run = subprocess.run([sys.executable, "-c", PEAK, before, call], capture_output=True, text=True, check=True)
    return int(run.stdout)


@measured
@pytest.mark.parametrize(
    ("call", "tensor"),
    [
        ("x = fanin.GlorotNormal(seed=1)((8192, 4096))", 128),
        ("x = fanin.GlorotUniform(seed=1)((8192, 4096), 'bfloat16')", 64),
        ("x = fanin.RandomNormal(seed=1)((4096, 4096), 'float64')", 128),
        ("x = fanin.RandomUniform(0, 9, seed=1)((8192, 4096), 'int32')", 128),
        ("x = fanin.Ones()((8192, 4096))", 128),
        ("x = fanin.HeNormal(seed=1)((2**20, 2**20), region=np.s_[5:8197, :4096])", 128),
        ("x = fanin.HeNormal(seed=1)((8192, 4096), region=np.s_[:, 1:])", 128),
        ("x = fanin.HeNormal(seed=1).weight((8192, 4096))._replace(stored=np.dtype('float16')).make()", 64),
        ("x = fanin.HeNormal(seed=1).weight((8192, 4096))._replace(stored=np.dtype('float8_e5m2')).make()", 32),
        ("x = fanin.HeNormal(seed=1).weight((8192, 4096))._replace(axes=(1, 0)).make()", 128),
    ],
)
def test_results_take_their_own_size(call: str, tensor: int) -> None:
    """The tensor and at most 16 MiB more; and not much less, or this measures nothing."""
    assert 0.98 * tensor * MIB < peak(call) < (tensor + 16) * MIB


@measured
@pytest.mark.parametrize("view", ["a", "a.T", "a[::-1]", "a.reshape(64, 64, -1).transpose(2, 0, 1)"])
def test_out_takes_nothing(view: str) -> None:
    """Filling memory that is there, of any strides, takes none of its size."""
    assert (
        peak("fanin.HeNormal(seed=1)(v.shape, out=v)", f"a = np.ones((4096, 4096), 'float32'); v = {view}") < 16 * MIB
    )


@measured
def test_a_temporary_would_be_noticed() -> None:
    """The measurement can fail: a copy shows."""
    assert peak("x = fanin.HeNormal(seed=1)((4096, 4096)) * 2") > 120 * MIB


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
