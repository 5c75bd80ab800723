"""`fanin compare`: output, exit codes, files, and what `--help` may not import."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

click_testing = pytest.importorskip("click.testing")
pytest.importorskip("rich")
cli = importlib.import_module("fanin.cli")
SMALL = ["--depth", "3", "--width", "8", "--networks", "2", "--batch", "4"]


def run(*arguments: str) -> Any:
    """The result of a command."""
    return click_testing.CliRunner().invoke(cli.main, ["compare", *arguments])


def test_text() -> None:
    """A table, and a sentence for each initializer."""
    result = run("he_normal", "glorot_uniform:2", "--theory", "--depth", "10")
    assert result.exit_code == 0, result.output
    assert "relu, 10 plain blocks of width 256" in result.stdout
    assert result.stdout.splitlines()[-2:] == [
        "he_normal: keeps its size (× 1.00 a layer)",
        "glorot_uniform × 2: grows (× 1.41 a layer)",
    ]


def test_json() -> None:
    """One object, with the numbers of theory and simulation."""
    result = run("he_normal", "--activation", "leaky_relu", "--param", "0.2", "--block", "pre_norm", "--json", *SMALL)
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert (data["activation"], data["block"], data["networks"]) == ("leaky_relu(0.2)", "pre_norm", 2)
    assert len(data["rows"][0]["simulation"]["mean"]["gradient"]) == 4


@pytest.mark.parametrize("name", ["a.png", "a.svg"])
def test_plot(name: str, tmp_path: Path) -> None:
    """A figure in a file."""
    pytest.importorskip("matplotlib")
    result = run("he_normal", "--plot", str(tmp_path / name), *SMALL)
    assert result.exit_code == 0, result.output
    assert (tmp_path / name).stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["he_norml"], "Unknown initializer: 'he_norml'."),
        (["he_normal:x"], "GAIN must be a number, as in he_normal:0.5. Received: 'he_normal:x'."),
        (["he_normal", "--activation", "geluu"], "Did you mean 'gelu'?"),
        (["he_normal", "--param", "1"], "`relu` has no parameter."),
        (["he_normal", "--block", "x"], "`block` must be one of plain, layer_norm,"),
        (["he_normal", "--depth", "0"], "`depth` must be from 1 to 10,000. Received: depth=0."),
        (["he_normal", "--plot", "a.gif"], "--plot must be a file that ends in .png, .svg, .pdf. Received: 'a.gif'."),
        (["he_normal", "--plot", "no/folder/a.png"], "--plot must be a file in a folder that exists."),
        ([], "Missing argument 'NAME[:GAIN]...'"),
    ],
)
def test_errors(arguments: list[str], message: str) -> None:
    """Exit code 2, and what is wrong on standard error."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_gains_out_of_range() -> None:
    """Weights that no float32 holds are refused, and those that it holds have a verdict."""
    result = run("he_normal:1e308", "--theory")
    assert result.exit_code == 2
    assert "at most 3.4e+38 in float32. Received: he_normal × 1e+308" in result.output
    assert "explodes" in run("he_normal:1e37", "--theory").output
