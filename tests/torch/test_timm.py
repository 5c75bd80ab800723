"""Real models of timm and torchvision, each under its preset, in a process of its own.

FANIN_TIMM is the folder that timm and torchvision are installed in.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys

import pytest

import timm_models

pytest.importorskip("torch")

TIMM = os.environ.get("FANIN_TIMM")
pytestmark = pytest.mark.skipif(TIMM is None, reason="FANIN_TIMM is not the folder of timm and torchvision")


@functools.cache
def errors() -> dict[str, str]:
    """What was wrong with each model."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(TIMM)])}
    command = [sys.executable, "-W", "ignore", timm_models.__file__]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", timm_models.MODELS)
def test_models(name: str) -> None:
    """The plan's moments, no two parameters equal, the same bytes and buffers from the meta device or not."""
    error = errors().get(name, "did not run")
    assert not error, error


@pytest.mark.parametrize("name", timm_models.PATCHED)
def test_patched_models(name: str) -> None:
    """Under `fanin.torch.patch`, all that is drawn is fanin's, and PyTorch's seed repeats it."""
    error = errors().get(f"{name}, patched", "did not run")
    assert not error, error
