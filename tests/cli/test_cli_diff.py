"""`fanin diff`: exit codes, tables and JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import fanin
from fanin.cli.diff import diff


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Checkpoints of one tensor: a draw, the same under another name, another draw, and one of twice the spread."""
    monkeypatch.chdir(tmp_path)
    draw, other = (fanin.RandomNormal(stddev=0.02, seed=seed)((60, 70)) for seed in (1, 2))
    for name, arrays in {
        "a": {"w": draw},
        "renamed": {"model.w": draw},
        "drawn": {"w": other},
        "doubled": {"w": 2 * draw},
    }.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)  # pyright: ignore[reportArgumentType]
    return tmp_path


def run(*arguments: str) -> Result:
    """The command with these arguments."""
    return CliRunner().invoke(diff, arguments)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("a.npz", "a.npz"), 0, "1 tensor: 1 identical"),
        (("a.npz", "drawn.npz"), 0, "1 tensor: 1 of the same distribution"),
        (("a.npz", "drawn.npz", "--exact"), 1, "1 tensor: 1 of the same distribution"),
        (("a.npz", "doubled.npz"), 1, "different: stddev 0.0"),
        (("a.npz", "renamed.npz"), 1, "1 only in A"),
        (("a.npz", "renamed.npz", "--rename", "model.*=*", "--exact"), 0, "1 identical"),
    ],
)
def test_exit_codes(files: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    """0 for what is the same, 1 for what is not."""
    result = run(*arguments)
    assert (result.exit_code, words in result.output) == (code, True), result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("a.npz", "none.npz"), "does not exist"),
        (("a.npz", "a.npz", "--rename", "w"), "--rename must be GLOB=NAME"),
        (("a.npz", "a.npz", "--rename", "w=*"), "as many stars"),
        (("a.npz", "a.npz", "--rename", "w=a", "--rename", "w=b"), "Each glob can be renamed once"),
        (("a.npz", "a.npz", "--rename", "modle.*=*"), "'modle.*', which fits none of 1 names, such as 'w'"),
    ],
)
def test_wrong_usage(files: Path, arguments: tuple[str, ...], words: str) -> None:
    """2, with what to do."""
    result = run(*arguments)
    assert (result.exit_code, words in result.output) == (2, True), result.output


def test_json(files: Path) -> None:
    """The last line is the report."""
    result = run("a.npz", "doubled.npz", "--json")
    data = json.loads(result.output.splitlines()[-1])
    assert (data["event"], data["same"], data["counts"]["different"]) == ("compared", False, 1)


def test_damaged_files(files: Path) -> None:
    """1, with the reason on standard error, and as an event."""
    (files / "a.npz").write_bytes(b"PK\x03\x04")
    result = run("a.npz", "drawn.npz", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["event"] == "error"
    assert "is not a whole .npz file" in result.stderr
