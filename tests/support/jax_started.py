"""Groups of checks of fanin.jax that run in processes of their own, with as many simulated devices as they want."""

from __future__ import annotations

import functools
import json
import os
import socket
import subprocess
import sys
from typing import Any


def started(file: str, group: str, *arguments: str, devices: int, x64: bool = False) -> subprocess.Popen[str]:
    """A process that runs a group of a file's checks with so many devices."""
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_ENABLE_X64": str(int(x64)),
        "PYTHONPATH": os.pathsep.join(filter(None, (*sys.path, os.environ.get("PYTHONPATH", "")))),
    }
    command, pipe = [sys.executable, file, group, *arguments], subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)


@functools.cache
def outcomes(file: str, group: str, devices: int = 8, x64: bool = False) -> list[dict[str, Any]]:
    """What each process of a group printed in its last line; of the group "pair", two that share the devices."""
    if group == "pair":
        with socket.socket() as free:
            free.bind(("localhost", 0))
            address = f"localhost:{free.getsockname()[1]}"
        running = [started(file, group, address, str(number), devices=devices // 2) for number in range(2)]
    else:
        running = [started(file, group, devices=devices, x64=x64)]
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
