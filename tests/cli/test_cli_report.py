"""`fanin report`: pages and pictures of checkpoints and plans, exit codes, and what is refused at once."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reports

click_testing = pytest.importorskip("click.testing")
pytest.importorskip("rich")
cli = importlib.import_module("fanin.cli")
RECIPE = 'seed = 3\n[[rules]]\npath = "*"\ninitializer = "he_normal"\n'


def run(*arguments: str) -> Any:
    """The result of a command."""
    return click_testing.CliRunner().invoke(cli.main, ["report", *arguments])


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a healthy and a faulty checkpoint, a recipe, and a model; the working directory."""
    monkeypatch.chdir(tmp_path)
    made = {each.path: each.make() for each in reports.plan().entries}
    np.savez("good.npz", **made)  # pyright: ignore[reportArgumentType]
    np.savez("small.npz", head=made["head.weight"])
    made["head.weight"] = np.full((64, 10), np.nan, np.float32)
    np.savez("bad.npz", **made)  # pyright: ignore[reportArgumentType]
    Path("model.json").write_text(json.dumps(reports.shapes()))
    Path("recipe.toml").write_text(RECIPE)
    return tmp_path


def test_a_checkpoint(work: Path) -> None:
    """The page of a checkpoint is written, and one line says what it is."""
    result = run("good.npz", "-o", "report.html")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("report.html: 18 tensors: ")
    assert reports.data_of(Path("report.html").read_text())["audit"]["format"] == "npz"


def test_findings(work: Path) -> None:
    """With findings the exit code is 1, and the page is there."""
    result = run("bad.npz", "-o", "report.html")
    assert result.exit_code == 1
    assert "1 broken" in result.stdout
    assert len(reports.data_of(Path("report.html").read_text(), "view")["findings"]) == 1


def test_a_recipe_says_what_is_expected(work: Path) -> None:
    """With a recipe and a seed, bits are compared."""
    given = ("--recipe", "recipe.toml", "--model", "model.json", "--seed", "5")
    result = run("good.npz", *given, "-o", "report.html")
    data = reports.data_of(Path("report.html").read_text())["audit"]
    assert (data["source"], data["seed"]) == ("the recipe", 5)
    assert result.exit_code == 1


def test_a_plan(work: Path) -> None:
    """A recipe and a model give the page of a plan."""
    result = run("recipe.toml", "--model", "model.json", "--seed", "9", "-o", "plan.html")
    assert result.exit_code == 0, result.output
    assert "plan.html: 18 parameters of model.json, seed 9. Every one gets its values." in result.stdout
    assert reports.data_of(Path("plan.html").read_text())["plan"]["seed"] == 9


def test_a_plan_that_does_not_fit(work: Path) -> None:
    """A preset that leaves parameters out has exit code 1, the page, and the reasons."""
    Path("recipe.toml").write_text(RECIPE.replace('"*"', '"h.*"'))
    result = run("recipe.toml", "--model", "model.json", "-o", "plan.html")
    assert result.exit_code == 1
    assert "No rule matches 2 of 18 parameters" in result.stderr
    assert Path("plan.html").is_file()


@pytest.mark.parametrize("arguments", [("small.npz",), ("recipe.toml", "--model", "model.json")])
def test_pictures(work: Path, arguments: tuple[str, ...]) -> None:
    """The charts come as PNG and SVG as well."""
    pytest.importorskip("matplotlib")
    result = run(*arguments, "-o", "report.html", "--png", "figures")
    assert result.exit_code == 0, result.output
    names = {each.name for each in Path("figures").iterdir()}
    assert {"std.png", "std.svg"} <= names


def test_a_probe(work: Path) -> None:
    """The JSON of a probe is in the page."""
    numbers = {"std": 1.0, "expected_std": None, "gradient_std": None}
    layer = {"path": "fc", "call": 1, **numbers, "verdict": {"word": "ok"}}
    probe = {"layers": [layer], "verdicts": [{"word": "ok", "sentence": "fine"}], "gradients": False}
    Path("probe.json").write_text(json.dumps(probe))
    result = run("good.npz", "--probe", "probe.json", "-o", "report.html")
    assert result.exit_code == 0, result.output
    assert reports.data_of(Path("report.html").read_text())["probe"] == probe


def test_a_page_is_replaced(work: Path) -> None:
    """A page that is there is replaced, as the other commands replace their files."""
    Path("report.html").write_text("old")
    run("good.npz", "-o", "report.html")
    assert Path("report.html").read_text().startswith("<!doctype html>")


def test_a_path_of_a_presets_name(work: Path) -> None:
    """What could be both is refused, and the path has a way to be meant."""
    Path("good.npz").rename("gpt2")
    result = run("gpt2", "-o", "report.html")
    assert result.exit_code == 2
    assert "write './gpt2' for the path" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.npz", "-o", "a.html"), "PATH|RECIPE must be a checkpoint that is there, a preset, or a recipe"),
        (("good.npz", "-o", "a.txt"), "-o must be a file that ends in .html or .htm. Received: 'a.txt'."),
        (("good.npz", "-o", "no/a.html"), "-o must be a file in a folder that exists. Received: 'no/a.html'."),
        (("good.npz",), "Missing option '-o'"),
        (("good.npz", "--seed", "1", "-o", "a.html"), "--seed needs a --recipe."),
        (("good.npz", "--probe", "model.json", "-o", "a.html"), "`probe` must be what `fanin.torch.probe`"),
        (("good.npz", "--probe", "recipe.toml", "-o", "a.html"), "--probe must be the JSON of a probe's as_dict()."),
        (("good.npz", "--under", "x", "-o", "a.html"), "`under` must be what names begin with. Received: 'x'"),
        (("recipe.toml", "-o", "a.html"), "'recipe.toml' is a recipe, which needs a --model."),
        (("gpt2", "--model", "model.json", "--under", "x", "-o", "a.html"), "--under goes with a checkpoint."),
        (("-", "--model", "-", "-o", "a.html"), "Only one of RECIPE and --model can be -"),
        (("good.npz", "--png", "recipe.toml", "-o", "a.html"), "Pictures must go into a folder."),
    ],
)
def test_errors(work: Path, arguments: tuple[str, ...], message: str) -> None:
    """Wrong usage has exit code 2 and a message, and nothing is written."""
    if "--png" in arguments:
        pytest.importorskip("matplotlib")
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.stderr.split())
    assert not list(work.glob("*.html"))


def test_damaged_files(work: Path) -> None:
    """A file that cannot be read is a finding of the page, and the exit code is 1."""
    Path("good.npz").write_bytes(b"PK" + bytes(100))
    result = run("good.npz", "-o", "report.html")
    assert result.exit_code == 1
    [finding] = reports.data_of(Path("report.html").read_text(), "view")["findings"]
    assert (finding["code"], finding["path"]) == ("unreadable", "good.npz")


def test_what_is_lost_is_told(work: Path) -> None:
    """The terminal says which files are damaged, and how many parameters are missing."""
    Path("small.npz").write_bytes(b"PK" + bytes(100))
    assert "small.npz: " in run("small.npz", "-o", "report.html").stderr
    arrays: Any = {"embed.weight": np.zeros((300, 32), "float32")}
    np.savez("part.npz", **arrays)
    result = run("part.npz", "--recipe", "recipe.toml", "--model", "model.json", "-o", "report.html")
    assert "17 parameters of the model missing" in result.stderr


def test_notes_are_told(work: Path) -> None:
    """The terminal says what was left alone, as `fanin check` does, beside the line of the page."""
    result = run("good.npz", "--under", "embed", "-o", "report.html")
    assert result.stderr == "note: Left alone: 17 tensors not under embed.\n"
    assert result.stdout.startswith("report.html: 1 tensor: ")


@pytest.mark.parametrize("name", ["page.html", "link.html"])
def test_the_page_is_no_input(work: Path, name: str) -> None:
    """A page never replaces the checkpoint that it is made from, by whatever name."""
    Path("good.npz").rename("page.html")
    Path("link.html").symlink_to("page.html")
    before = Path("page.html").read_bytes()
    result = run("page.html", "-o", name)
    assert result.exit_code == 2
    assert "-o must not be what the page is made from." in result.stderr
    assert Path("page.html").read_bytes() == before


def test_no_list_of_tensors(work: Path) -> None:
    """Where nothing says which tensors there are, the exit code is 1, and there is no page."""
    Path("out").mkdir()
    Path("out/model.safetensors.index.json").write_text("{")
    result = run("out", "-o", "report.html")
    assert result.exit_code == 1
    assert "model.safetensors.index.json" in result.stderr
    assert not Path("report.html").exists()
