"""Models that transformers, torchvision and timm initialize: nothing is wrong, and each of ten faults is found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("safetensors")

from audited_models import FAULTS, MODELS, cases

SCRIPT = Path(__file__).parents[1] / "support/audited_models.py"
# What names and shapes alone do not tell: a file has one tensor for both names, and a spread by another fan may be one
# that another initializer gives.
UNKNOWN_TO_FILES = {"tie broken", "transposed fans"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for files."""
    return tmp_path_factory.mktemp("models")


@cache
def examined(name: str, folder: Path) -> dict[str, Any]:
    """What audits find in a model, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, str(SCRIPT), name, str(folder)]
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    found = json.loads(run.stdout.splitlines()[-1])
    if "missing" in found:
        pytest.skip(f"{found['missing']} is not installed")
    return found


@pytest.mark.parametrize("name", MODELS)
def test_healthy_models(name: str, folder: Path) -> None:
    """Nothing is wrong with a model, nor with the file of its state dict, with or without the model beside it."""
    for found in examined(name, folder)["healthy"]:
        assert found["ok"], found["text"]
        assert found["counts"]["trained"] == 0, found["text"]
        assert found["counts"]["consistent"] > 0.9 * found["tensors"], found["text"]


@pytest.mark.parametrize(("name", "fault"), cases())
def test_faults(name: str, fault: str, folder: Path) -> None:
    """An audit of the model finds the fault where it is, and nothing else; so does one of the file, if it can."""
    found = examined(name, folder)[fault]
    assert FAULTS[fault].codes.intersection(found["live"]), found["text"]
    assert found["others"] == [], found["text"]
    if fault not in UNKNOWN_TO_FILES:
        assert FAULTS[fault].codes.intersection(found["file"]), found["file"]
