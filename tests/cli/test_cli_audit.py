"""`fanin check` without a recipe: what the tensors of a file are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fanin

testing = pytest.importorskip("click.testing")
main = pytest.importorskip("fanin.cli").main


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a healthy and a broken file."""
    kernels = {f"blocks.{number}.fc.weight": fanin.HeNormal(seed=number)((256, 192)).T for number in range(3)}
    healthy = {**kernels, "head.bias": np.zeros(10, "float32")}
    np.savez(tmp_path / "healthy.npz", **healthy)  # pyright: ignore
    np.savez(tmp_path / "broken.npz", **{**healthy, "blocks.1.fc.weight": np.full((192, 256), np.nan, "float32")})  # pyright: ignore
    (tmp_path / "recipe.toml").write_text('seed = 3\n\n[[rules]]\npath = "*"\ninitializer = "random_normal"\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Any:
    """An invocation, and what it printed."""
    return testing.CliRunner().invoke(main, ("check", *arguments), prog_name="fanin")


def last(outcome: Any) -> dict[str, Any]:
    """The last line of an outcome, which is JSON."""
    return json.loads(outcome.stdout.splitlines()[-1])


def test_a_healthy_file() -> None:
    """Exit code 0, a table in which blocks share a row, and a summary."""
    outcome = run("healthy.npz")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert "blocks.[0-2].fc.weight" in outcome.stdout
    assert "4 tensors: 4 consistent (expected by names and shapes; " in outcome.stdout


def test_every_block() -> None:
    """`--all` shows each block."""
    assert "blocks.1.fc.weight" in run("healthy.npz", "--all").stdout


def test_a_broken_file() -> None:
    """Exit code 1, and the finding with what to do."""
    outcome = run("broken.npz")
    assert (outcome.exit_code, outcome.stderr) == (1, "")
    assert "blocks.1.fc.weight: broken: " in outcome.stdout
    assert "3 consistent, 1 broken" in outcome.stdout


def test_json() -> None:
    """The last line has everything, with stable keys."""
    data = last(run("broken.npz", "--json"))
    assert (data["event"], data["ok"], data["counts"]["broken"]) == ("audited", False, 1)
    assert [each["problems"][0]["code"] for each in data["tensors"] if each["problems"]] == ["nan"]


def test_a_recipe_that_does_not_fit() -> None:
    """Where bits differ from a recipe's, what the tensors are instead is said as well."""
    outcome = run("healthy.npz", "--recipe", "recipe.toml")
    assert outcome.exit_code == 1
    assert "elements differ" in outcome.stdout
    assert "What they are instead:" in outcome.stdout
    data = last(run("healthy.npz", "--recipe", "recipe.toml", "--json"))
    assert (data["event"], data["audit"]["ok"]) == ("checked", False)


def made_by_the_recipe() -> dict[str, Any]:
    """Kernels with the values of the recipe in the folder."""
    shapes = [{"path": f"layers.{each}.kernel", "shape": [64, 48], "layout": "keras"} for each in range(3)]
    return {each.path: each.make() for each in fanin.Recipe.load("recipe.toml").plan(shapes).entries}


def test_the_summary_counts_what_is_exact(folder: Path) -> None:
    """The tensors whose every bit is right are counted beside those that differ; few of these blame no seed."""
    made = made_by_the_recipe()
    made["layers.1.kernel"][0, 0] += np.float32(0.01)
    np.savez(folder / "one.npz", **made)  # pyright: ignore
    outcome = run("one.npz", "--recipe", "recipe.toml")
    assert "\n3 tensors: 2 exact, 1 consistent (expected by the recipe, seed 3; " in outcome.stdout
    assert "another seed" not in outcome.stdout


def test_the_wrong_seed(folder: Path) -> None:
    """If nearly all differ and fit, the seed may be another one."""
    np.savez(folder / "made.npz", **made_by_the_recipe())  # pyright: ignore
    outcome = run("made.npz", "--recipe", "recipe.toml", "--seed", "4")
    assert outcome.exit_code == 1
    assert "note: 3 of 3 drawn tensors fit their distributions and have other bits than those of seed 4" in (
        " ".join(outcome.stdout.split())
    )


def test_audits_with_a_recipe() -> None:
    """`--audit` has verdicts also where a recipe says what the bits should be."""
    data = last(run("healthy.npz", "--recipe", "recipe.toml", "--audit", "--json"))
    assert (data["event"], data["source"], data["seed"]) == ("audited", "the recipe", 3)


def test_a_factory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code of a model's factory says what the tensors of a file should be."""
    torch = pytest.importorskip("torch")
    (folder / "made_here.py").write_text(
        "from torch.nn import Linear, Sequential\n\n\n"
        "def make():\n    return Sequential(Linear(64, 48), Linear(48, 8))\n"
    )
    monkeypatch.syspath_prepend(folder)
    layers = torch.nn.Sequential(torch.nn.Linear(64, 48), torch.nn.Linear(48, 8))
    torch.save(layers.state_dict(), "right.pt")
    data = last(run("right.pt", "--model", "made_here:make", "--json"))
    assert (data["ok"], data["source"], data["counts"]["consistent"]) == (True, "the model's own code", 4)
    with torch.no_grad():
        layers[0].weight.mul_(3)
    torch.save(layers.state_dict(), "wrong.pt")
    data = last(run("wrong.pt", "--model", "made_here:make", "--json"))
    assert [each["problems"][0]["code"] for each in data["tensors"] if each["problems"]] == ["stddev"]


def test_a_file_with_code(folder: Path) -> None:
    """A file that holds code is refused, and the code does not run."""
    import pickle

    class Harmful:
        """What a file could have run."""

        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return (Path.touch, (Path("harm"),))  # pyright: ignore

    (folder / "model.pt").write_bytes(pickle.dumps({"weight": Harmful()}))
    outcome = run("model.pt")
    assert outcome.exit_code in (1, 2)
    assert "Traceback" not in outcome.output
    assert not (folder / "harm").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("healthy.npz", "--seed", "1"), "--seed needs a --recipe."),
        (("missing.npz",), "does not exist"),
        (("recipe.toml",), "A checkpoint must be"),
        (("healthy.npz", "--model", "nothing:here"), "nothing"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], message: str) -> None:
    """Exit code 2, and a message on stderr."""
    outcome = run(*arguments)
    assert outcome.exit_code == 2
    assert message in outcome.stderr
