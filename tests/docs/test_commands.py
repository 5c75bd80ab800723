"""The consoles in the pages, run one after another in an empty folder."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import doc_pages
from page_commands import commands

# A command with its further lines, and what it prints.
COMMAND = re.compile(r"^\$ (.*(?:\n>.*)*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
CONSOLES = {
    doc_pages.name_of(path): found
    for path in doc_pages.PAGES
    if (found := [block for block in doc_pages.blocks(path) if block.language == "console" and not block.reason])
}
# What the commands of a page need besides click and rich.
NEEDS = {
    "docs/audit.md": ("torch", "transformers", "safetensors"),
    "docs/checkpoints.md": ("torch", "transformers"),
    "docs/sharding.md": ("jax", "flax"),
}

FEWEST = {"docs/audit.md": 4, "docs/checkpoints.md": 4, "docs/sharding.md": 0}  # uses of `fanin` on a page, if not one


@pytest.mark.parametrize("page", CONSOLES)
def test_commands(page: str, tmp_path: Path) -> None:
    """Every command of a page prints what the page says, in which three dots stand for anything."""
    for package in ("click", "rich", *NEEDS.get(page, ())):
        pytest.importorskip(package)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "120", "OMP_NUM_THREADS": "1"}
    environment["PATH"] = os.pathsep.join(
        [str(commands(tmp_path / "bin")), sysconfig.get_path("scripts"), os.environ["PATH"]]
    )
    work = tmp_path / "work"
    work.mkdir()
    (work / "examples").symlink_to(doc_pages.ROOT / "examples")
    found = [match for block in CONSOLES[page] for match in COMMAND.findall(block.source)]
    assert sum(command.count("fanin ") for command, _ in found) >= FEWEST.get(page, 1)
    for command, expected in found:
        command = re.sub(r"\n> ?", "\n", command)
        run = subprocess.run(
            ["bash", "-c", command],
            env=environment,
            cwd=work,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        matches = doctest.OutputChecker().check_output(expected, run.stdout, doctest.ELLIPSIS)
        assert run.returncode == 0, f"{command}\n{run.stdout}"
        assert matches, f"{command}\n{run.stdout}"


def test_pages_with_consoles() -> None:
    """The pages that are known to have consoles are among those that are run."""
    assert set(CONSOLES) >= {"docs/audit.md", "docs/checkpoints.md", "docs/guide.md", "docs/sharding.md"}
