"""The commands in the pages, run one after another in an empty folder."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# A command with its further lines, and what it prints.
COMMAND = re.compile(r"^\$ (.*(?:\n>.*)*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
NEEDS = {
    "audit.md": ("click", "rich", "torch", "transformers", "safetensors"),
    "checkpoints.md": ("click", "rich", "torch", "transformers"),
}


@pytest.mark.parametrize("page", NEEDS)
def test_commands(page: str, tmp_path: Path) -> None:
    """Every command of a page prints what the page says, in which three dots stand for anything."""
    for package in NEEDS[page]:
        pytest.importorskip(package)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "120", "OMP_NUM_THREADS": "1"}
    environment["PATH"] = os.pathsep.join(
        [str(commands(tmp_path / "bin")), sysconfig.get_path("scripts"), os.environ["PATH"]]
    )
    (tmp_path / "work").mkdir()
    blocks = BLOCK.findall((PAGES / page).read_text(encoding="utf-8"))
    found = [match for block in blocks for match in COMMAND.findall(block)]
    assert sum(command.count("fanin ") for command, _ in found) >= 4
    for command, expected in found:
        command = re.sub(r"\n> ?", "\n", command)
        run = subprocess.run(
            ["bash", "-c", command],
            env=environment,
            cwd=tmp_path / "work",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        matches = doctest.OutputChecker().check_output(expected, run.stdout, doctest.ELLIPSIS)
        assert run.returncode == 0, f"{command}\n{run.stdout}"
        assert matches, f"{command}\n{run.stdout}"


def commands(folder: Path) -> Path:
    """A folder with `fanin` and `python` as commands, of this interpreter and this source."""
    folder.mkdir()
    for name, arguments in (("fanin", "-m fanin"), ("python", "")):
        (folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} {arguments} "$@"\n')
        (folder / name).chmod(0o755)
    return folder
