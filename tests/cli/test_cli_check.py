"""`fanin check`: its exit codes, what it prints, and what it takes for the recipe and the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fanin import checkpoints
from fanin.recipes import Recipe

testing = pytest.importorskip("click.testing")
main = pytest.importorskip("fanin.cli").main

RECIPE = 'seed = 3\n\n[[rules]]\npath = "*"\ninitializer = "random_normal"\n'
MODEL = [{"path": "a.weight", "shape": [4, 8]}, {"path": "b", "shape": [5], "dtype": "float16"}]
PLAN = Recipe.from_toml(RECIPE).plan(MODEL)


def save(path: Path, arrays: dict[str, Any]) -> None:
    """Writes arrays as NumPy does."""
    np.savez(path, **arrays)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a recipe, a model, and a checkpoint in `out` and in `right.npz`."""
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "model.json").write_text(json.dumps(MODEL))
    checkpoints.write(PLAN, tmp_path / "out")
    save(tmp_path / "right.npz", {entry.path: entry.make() for entry in PLAN.entries})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, given: str = "") -> Any:
    """An invocation with this on standard input, and what it printed."""
    return testing.CliRunner().invoke(main, ("check", *arguments), prog_name="fanin", input=given)


def last(outcome: Any) -> dict[str, Any]:
    """The last line of an outcome, which is JSON."""
    return json.loads(outcome.stdout.splitlines()[-1])


def test_a_folder_with_a_manifest() -> None:
    """Needs nothing else."""
    outcome = run("out")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.stdout.startswith("2 of 2 tensors are bit-exact (138 bytes in ")


@pytest.mark.parametrize("arguments", [("--model", "model.json"), ()], ids=["model", "its own names"])
@pytest.mark.parametrize("path", ["right.npz", "out/model.safetensors", "out"])
def test_a_recipe(path: str, arguments: tuple[str, ...]) -> None:
    """A recipe says what is right, for a model or for the names and shapes in the file."""
    assert run(path, "--recipe", "recipe.toml", *arguments).exit_code == 0
    outcome = run(path, "--recipe", "recipe.toml", "--seed", "4", *arguments)
    assert outcome.exit_code == 1
    assert outcome.stdout.startswith("0 of 2 tensors are bit-exact (")
    assert "\na.weight: 32 of 32 elements differ. The first is number 0, at (0, 0): it is " in outcome.stdout


def test_a_recipe_on_standard_input() -> None:
    """As for `fanin plan`."""
    assert run("right.npz", "--recipe", "-", given=RECIPE).exit_code == 0


def test_a_model_has_what_a_file_lacks(folder: Path) -> None:
    """With a model, missing tensors are found."""
    np.savez(folder / "some.npz", b=PLAN.entries[1].make())
    outcome = run("some.npz", "--recipe", "recipe.toml", "--model", "model.json")
    assert outcome.exit_code == 1
    assert outcome.stdout.splitlines()[1:] == ["a.weight: it is missing."]
    assert run("some.npz", "--recipe", "recipe.toml").exit_code == 0


def test_json(folder: Path) -> None:
    """One object at the end, with the same keys for right and wrong checkpoints."""
    right = last(run("out", "--json"))
    assert (right["event"], right["ok"], right["findings"]) == ("checked", True, [])
    values = {entry.path: entry.make() for entry in PLAN.entries}
    values["a.weight"][2, 3] = 0
    save(folder / "wrong.npz", values)
    outcome = run("wrong.npz", "--recipe", "recipe.toml", "--json")
    wrong = last(outcome)
    assert (outcome.exit_code, outcome.stderr) == (1, "")
    assert wrong.keys() == right.keys()
    (finding,) = wrong["findings"]
    assert (finding["name"], finding["index"], finding["position"]) == ("a.weight", 19, [2, 3])
    assert (finding["stored"], finding["differing"]) == ("0.0", 1)


def test_a_damaged_manifest(folder: Path) -> None:
    """An error that is no wrong usage: 1, as text and as an event."""
    (folder / "out" / "fanin.json").write_text("{")
    for arguments in ((), ("--json",)):
        outcome = run("out", *arguments)
        assert outcome.exit_code == 1
        assert outcome.stderr.startswith("fanin.json is not a manifest that fanin wrote: it is not JSON")
    assert last(outcome)["event"] == "error"


def test_a_truncated_file(folder: Path) -> None:
    """A finding: 1."""
    path = folder / "out" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    outcome = run("out")
    assert outcome.exit_code == 1
    assert "\nmodel.safetensors: model.safetensors is not a whole safetensors file: it is cut short" in outcome.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing",), "Path 'nothing' does not exist"),
        (
            ("recipe.toml", "--recipe", "recipe.toml"),
            "A checkpoint must be a .safetensors, .npz, .bin, .pt, .pth, .ckpt, .keras, .h5 or .hdf5 file",
        ),
        (("out", "--seed", "1"), "--seed needs a --recipe. `fanin recipe from package.module:factory > recipe.toml`"),
        (("out", "--recipe", "recipe.tml"), "RECIPE must be a file, - or one of the presets"),
        (("right.npz", "--recipe", "keras"), "The recipe does not fit right.npz"),
        (("right.npz", "--recipe", "keras"), "If the recipe is made for this model, give it --model"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], message: str) -> None:
    """What cannot be checked: 2, and why."""
    outcome = run(*arguments)
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert message in outcome.stderr
