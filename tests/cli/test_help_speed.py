"""`--help` of every command answers at once: nothing heavy is imported for it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from fanin.cli import main

LIMIT = 0.25  # seconds
HEAVY = {"numpy", "matplotlib", "rich.console", "fanin.audits", "fanin.recipes", "fanin.report", "fanin.theory"}
RUNS = 12  # at most; the shortest counts, since other processes take turns with this one


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of a command and of those below it."""
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*path, name))


def seconds(*arguments: str) -> float:
    """How long a process takes that shows the help of a command."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "fanin", *arguments, "--help"], env=environment, capture_output=True, check=True
    )
    assert done.stdout.startswith(b"Usage: ")
    return time.perf_counter() - start


def test_commands_are_found() -> None:
    """Those of groups are among them."""
    assert {(), ("show",), ("recipe", "from")} <= set(commands(main))


@pytest.mark.parametrize("command", list(commands(main)), ids=lambda words: " ".join(("fanin", *words)))
def test_help(command: tuple[str, ...]) -> None:
    """The help is there within a quarter of a second, at best of several runs."""
    assert any(seconds(*command) < LIMIT for _ in range(RUNS))


@pytest.mark.parametrize("command", list(commands(main)), ids=lambda words: " ".join(("fanin", *words)))
def test_help_is_light(command: tuple[str, ...]) -> None:
    """The help needs neither NumPy nor what the command needs when it runs."""
    code = (
        "import sys; from fanin.cli import main\n"
        f"try: main({[*command, '--help']})\n"
        f"except SystemExit: print({HEAVY} & {{*sys.modules}})"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "set()"
