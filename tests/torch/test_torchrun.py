"""Several processes on one machine, as torchrun starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

_SCRIPT = """
import os, fanin
weight = fanin.RandomNormal(seed=1)((2048, 2048))
os.write(1, f"{os.environ['RANK']}: {fanin.config.threads} thread\\n".encode())  # at once: all write to one pipe
"""


def test_eight_processes_do_not_oversubscribe(tmp_path: Path) -> None:
    """torchrun sets OMP_NUM_THREADS to 1 for each of eight processes, and fanin fills with one thread."""
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    removed = ("OMP_NUM_THREADS", "FANIN_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in removed}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=8", str(script)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    assert sorted(run.stdout.splitlines()) == [f"{rank}: 1 thread" for rank in range(8)]
