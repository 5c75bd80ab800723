"""fanin.jax in processes of their own: on eight devices, with 64 bits, in two processes that make one array."""

from __future__ import annotations

import functools
import json
import os
import socket
import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip("jax")

import jax_processes as processes


def started(group: str, *arguments: str, devices: int, x64: bool = False) -> subprocess.Popen[str]:
    """A process that runs a group of checks with so many devices."""
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_ENABLE_X64": str(int(x64)),
        "PYTHONPATH": os.pathsep.join(filter(None, (*sys.path, os.environ.get("PYTHONPATH", "")))),
    }
    command, pipe = [sys.executable, processes.__file__, group, *arguments], subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)


@functools.cache
def outcomes(group: str) -> list[dict[str, Any]]:
    """What each process of a group printed."""
    if group == "pair":
        with socket.socket() as free:
            free.bind(("localhost", 0))
            address = f"localhost:{free.getsockname()[1]}"
        running = [started(group, address, str(number), devices=4) for number in range(2)]
    else:
        running = [started(group, devices=8 if group == "devices" else 1, x64=group == "x64")]
    found = []
    try:
        for process in running:
            output, errors = process.communicate(timeout=180)
            assert process.returncode == 0, errors
            found.append(json.loads(output.splitlines()[-1]))
    finally:
        for process in running:
            process.kill()
    return found


@pytest.mark.parametrize(
    ("group", "check"), [(group, check) for group, checks in processes.GROUPS.items() for check in checks]
)
def test_checks(group: str, check: str) -> None:
    """Each check of jax_processes.py holds, in each process that runs it."""
    for outcome in outcomes(group):
        error = outcome["errors"].get(check, "did not run")
        if error.startswith("needs "):
            pytest.skip(error)
        assert not error, error


@pytest.mark.parametrize("group", processes.GROUPS)
def test_keys_mean_the_same_in_every_process(group: str) -> None:
    """On many devices, with 64 bits, next to another process: the bytes of this one."""
    for outcome in outcomes(group):
        assert outcome["digests"] == processes.digests()
