"""`fanin explore`: the page, where it is written, and what is refused before anything is."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import pytest

from fanin import theory

click_testing = pytest.importorskip("click.testing")
cli = importlib.import_module("fanin.cli")


def run(*arguments: str) -> Any:
    """The result of a command."""
    return click_testing.CliRunner().invoke(cli.main, ["explore", *arguments])


def test_page(tmp_path: Path) -> None:
    """The file is the page, and nothing else is left beside it."""
    file = tmp_path / "explorer.html"
    result = run("-o", str(file))
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{file}: open it in a browser.\n"
    assert file.read_text(encoding="utf-8") == theory.explorer()
    assert os.listdir(tmp_path) == ["explorer.html"]


def test_old_page(tmp_path: Path) -> None:
    """A page that is there is replaced."""
    file = tmp_path / "explorer.html"
    file.write_text("old")
    assert run("--output", str(file)).exit_code == 0
    assert file.read_text(encoding="utf-8") == theory.explorer()


def test_old_page_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is there stays if the new one cannot be renamed, and nothing is left beside it."""
    file = tmp_path / "explorer.html"
    file.write_text("old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device", str(file))

    monkeypatch.setattr(Path, "replace", fail)
    result = run("-o", str(file))
    assert result.exit_code == 2
    assert "No space left on device" in result.stderr
    assert (file.read_text(), os.listdir(tmp_path)) == ("old", ["explorer.html"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing option '-o' / '--output'."),
        (["-o", "page.txt"], "-o must be a file that ends in .html or .htm. Received: 'page.txt'."),
        (["-o", "no/folder/page.html"], "-o must be a file in a folder that exists. Received: 'no/folder/page.html'."),
        (["-o", "folder.html"], "-o must be a file. Received: 'folder.html', a folder."),
    ],
)
def test_refusals(arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 2, and what is wrong on standard error."""
    monkeypatch.chdir(tmp_path)
    Path("folder.html").mkdir()
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
