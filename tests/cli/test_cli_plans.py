"""`fanin plan` where it differs from Python's plans: comparisons, standard input, terminals, factories that raise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fanin.recipes import Recipe

testing = pytest.importorskip("click.testing")
main = pytest.importorskip("fanin.cli").main

RECIPE = 'seed = 3\n\n[[rules]]\npath = "*"\ninitializer = "random_normal"\n'
MODEL = [{"path": f"model.encoder.layers.{n}.query.weight", "shape": [4, 8], "role": "kernel"} for n in range(3)]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a recipe, a model and its plan, as the working directory."""
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "model.json").write_text(json.dumps(MODEL))
    (tmp_path / "plan.json").write_text(Recipe.from_toml(RECIPE).plan(MODEL).to_json())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, given: str | bytes = "") -> Any:
    """An invocation with this on standard input, and what it printed."""
    return testing.CliRunner().invoke(main, arguments, prog_name="fanin", input=given)


def compared(*arguments: str) -> Any:
    """A comparison with the plan."""
    return run("plan", "recipe.toml", "--model", "model.json", "--compare", "plan.json", *arguments)


def test_old_comes_before_new(folder: Path) -> None:
    """What the earlier plan had, an arrow, and what it is now; 3 says that something differs."""
    (folder / "recipe.toml").write_text(f"{RECIPE}stddev = 0.25\n")
    outcome = compared()
    assert outcome.exit_code == 3
    assert "~ model.encoder.layers.[0-2].query.weight: stddev 0.05 → 0.25" in outcome.stdout.splitlines()


def test_comparisons_as_json(folder: Path) -> None:
    """The same as data, also where nothing differs."""
    assert json.loads(compared("--json").stdout) == {"added": [], "removed": [], "changed": {}}
    (folder / "model.json").write_text(json.dumps([{**MODEL[0], "shape": [2, 2]}, {"path": "new.w", "shape": [1]}]))
    outcome = compared("--json")
    data = json.loads(outcome.stdout)
    assert (outcome.exit_code, data["added"], data["removed"]) == (3, ["new.w"], [each["path"] for each in MODEL[1:]])
    assert data["changed"] == {MODEL[0]["path"]: {"shape": {"before": [4, 8], "after": [2, 2]}}}


def test_a_comparison_with_a_recipe_that_does_not_fit(folder: Path) -> None:
    """Exits with 1, and says why, whatever differs."""
    (folder / "recipe.toml").write_text(RECIPE.replace("random_normal", "he_normal"))
    outcome = compared()
    assert outcome.exit_code == 1
    assert "The recipe does not fit the model.\n  model.encoder.layers.[0-2].query.weight, in rule 1" in outcome.stderr


def test_a_recipe_on_standard_input() -> None:
    """TOML, with its lines in messages."""
    outcome = run("plan", "-", "--model", "model.json", "--json", given=RECIPE)
    assert json.loads(outcome.stdout)["entries"] == Recipe.from_toml(RECIPE).plan(MODEL).as_dict()["entries"]
    wrong = run("plan", "-", "--model", "model.json", given="seed = 1.5\n")
    assert (wrong.exit_code, "standard input (TOML):1: `seed` must be an integer" in wrong.stderr) == (2, True)
    assert run("recipe", "lint", "-", given=RECIPE).stdout == "-: no mistakes\n"
    assert run("recipe", "lint", "-", given="seed = 1.5\n").exit_code == 1


def test_a_model_on_standard_input() -> None:
    """A JSON list of shapes."""
    outcome = run("plan", "recipe.toml", "--model", "-", given=json.dumps(MODEL))
    assert (outcome.exit_code, "standard input: 3 parameters" in outcome.stdout) == (0, True)
    assert "standard input is not JSON" in run("plan", "recipe.toml", "--model", "-", given="{").stderr
    assert "Standard input must be UTF-8" in run("plan", "recipe.toml", "--model", "-", given=b"\xff").stderr


def test_a_plan_on_standard_input(folder: Path) -> None:
    """To compare with; only one of the three can be on it."""
    outcome = run(
        "plan", "recipe.toml", "--model", "model.json", "--compare", "-", given=(folder / "plan.json").read_text()
    )
    assert (outcome.stdout, outcome.exit_code) == ("The plans are the same.\n", 0)
    twice = run("plan", "-", "--model", "-", given=RECIPE)
    assert (twice.exit_code, "Only one of RECIPE, --model and --compare can be -" in twice.stderr) == (2, True)


def test_suffixes_in_capitals(folder: Path) -> None:
    """.JSON is a list of shapes, as .json is."""
    (folder / "model.json").rename(folder / "MODEL.JSON")
    assert run("plan", "recipe.toml", "--model", "MODEL.JSON").exit_code == 0


def test_tracebacks_of_factories(folder: Path) -> None:
    """Where a factory raises, its own lines are shown, and none of fanin's."""
    (folder / "made.py").write_text("def inner():\n    raise KeyError('\\x1b')\n\ndef make():\n    inner()\n")
    outcome = run("plan", "recipe.toml", "--model", "made:make")
    assert outcome.exit_code == 2
    assert "Traceback" in outcome.stderr
    assert "line 2, in inner" in outcome.stderr
    assert "cli.py" not in outcome.stderr
    assert outcome.stderr.endswith("Received: made:make, which raised KeyError: '\\x1b'\n")


ENDS = {
    "sys.exit(0)": "SystemExit: 0",  # as modules without `if __name__ == "__main__":` do when they are imported
    "raise ValueError('a\\x1b]0;t\\x07\\u202e')": r"ValueError: a\x1b]0;t\x07\u202e",
    "raise type('Silent', (Exception,), {'__str__': lambda self: 1 / 0})": "made.Silent: <exception str() failed>",
}


@pytest.mark.parametrize("statement", ENDS)
@pytest.mark.parametrize("place", ["", "def make():\n    "])
def test_ends_of_factories(statement: str, place: str, folder: Path) -> None:
    """Whatever a factory or its module raises is wrong usage, even the end of the program, and is shown escaped."""
    (folder / "made.py").write_text(f"import sys\n{place}{statement}\n")
    sys.modules.pop("made", None)
    outcome = run("plan", "recipe.toml", "--model", "made:make")
    assert outcome.exit_code == 2
    assert outcome.stderr.endswith(f"Received: made:make, which raised {ENDS[statement]}\n")
    assert outcome.stderr.replace("\n", "").isprintable()


def test_a_file_that_cannot_be_written_is_refused_at_once() -> None:
    """Before anything is measured."""
    outcome = run("bench", "--json", "nowhere/x.json")
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert "--json must be a file in a folder that exists. Received: 'nowhere/x.json'." in outcome.stderr


def test_control_characters_in_messages() -> None:
    """Are escaped, wherever they come from."""
    outcome = run("plan", "recipe\x1b]0;t\x07.toml", "--model", "model.json")
    assert (outcome.exit_code, "\x1b" in outcome.stderr) == (2, False)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_terminals() -> None:
    """The table fits the terminal; anywhere else it is whole."""
    import pty

    command = [sys.executable, "-m", "fanin", "plan", "recipe.toml", "--model", "model.json"]
    ours, theirs = pty.openpty()
    subprocess.run(command, stdout=theirs, env={**os.environ, "COLUMNS": "70"}, check=True)
    os.close(theirs)
    text = os.read(ours, 100_000).decode().replace("\r\n", "\n")
    os.close(ours)
    plan = Recipe.load("recipe.toml").plan(MODEL)
    assert text.partition("\n\n")[0] == plan.table(width=70).partition("\n\n")[0]
    assert max(map(len, text.splitlines())) <= 70
    whole = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "70"})
    assert whole.stdout.partition("\n\n")[0] == plan.table().partition("\n\n")[0]


def test_a_factory_that_is_not_there(folder: Path) -> None:
    """A module without the name is no factory that raised: the message says so once, and which name is near."""
    (folder / "my_factories.py").write_text("def tiny_model(): ...\n")
    outcome = run("plan", "recipe.toml", "--model", "my_factories:tiny_modle")
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert outcome.stderr == (
        "Error: --model must be a factory. Received: my_factories:tiny_modle, but my_factories has no 'tiny_modle'. "
        "Did you mean 'tiny_model'?\n"
    )


def test_a_part_of_a_factory_that_is_not_there(folder: Path) -> None:
    """Of a dotted name, the part that lacks the next one is named."""
    (folder / "my_classes.py").write_text("class Model: ...\n")
    outcome = run("plan", "recipe.toml", "--model", "my_classes:Model.make")
    assert outcome.stderr == (
        "Error: --model must be a factory. Received: my_classes:Model.make, but my_classes:Model has no 'make'.\n"
    )


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ".h5", ".keras", ".PT", ".npz"])
def test_other_files_of_weights(suffix: str) -> None:
    """Files of weights that fanin does not read: what to give instead."""
    outcome = run("plan", "recipe.toml", "--model", f"runs/model{suffix}")
    assert outcome.exit_code == 2
    assert f"Received: 'runs/model{suffix}'. fanin does not read {suffix.lower()} files, which say nothing of " in (
        outcome.stderr
    )
    assert outcome.stderr.endswith(
        "Give a factory, which makes the model, or save the weights as .safetensors for a plan of names and shapes.\n"
    )


@pytest.mark.parametrize("command", [["plan", "-", "--model", "model.json"], ["recipe", "lint", "-"]])
def test_yaml_on_standard_input(command: list[str]) -> None:
    """Standard input is TOML, which the message says."""
    outcome = run(*command, given="seed: 3\nrules:\n  - path: '*'\n")
    assert outcome.exit_code == (2 if command[0] == "plan" else 1)
    assert "standard input (TOML):1: Expected '='" in outcome.stderr
