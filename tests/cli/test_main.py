"""`python -m fanin` is the command line."""

import subprocess
import sys

import pytest

import fanin

pytest.importorskip("click")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What `python -m fanin` does with these arguments."""
    return subprocess.run([sys.executable, "-m", "fanin", *arguments], capture_output=True, text=True, check=False)


def test_version() -> None:
    """It says its name and version."""
    outcome = run("--version")
    assert (outcome.stdout, outcome.stderr, outcome.returncode) == (f"fanin {fanin.__version__}\n", "", 0)


def test_usage() -> None:
    """It calls itself fanin, and passes exit codes on."""
    assert run("--help").stdout.startswith("Usage: fanin ")
    outcome = run("shwo")
    assert (outcome.stdout, outcome.returncode) == ("", 2)
    assert outcome.stderr.startswith("Usage: fanin ")
