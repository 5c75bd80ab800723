"""`fanin recipe from`: a model's own code as a recipe, and commands with recipes that ask it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fanin.recipes import Recipe

testing = pytest.importorskip("click.testing")
main = pytest.importorskip("fanin.cli").main
torch = pytest.importorskip("torch")

FACTORIES = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, width, layers):
        super().__init__()
        self.config = {"width": width}
        self.embed = nn.Embedding(11, width)
        self.h = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.table = nn.Parameter(torch.arange(40.0).sqrt())
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.embed.weight, std=0.02)
        for each in self.h:
            nn.init.normal_(each.weight, std=0.02 / (2 * layers) ** 0.5)
            nn.init.zeros_(each.bias)


def small():
    return Net(4, 3)


def large():
    return Net(6, 5)


def encoder():
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 3)


def looks():
    return nn.Linear(4, 4) if torch.randn(1).item() > 0 else None


def number():
    return 3


def needs(width):
    return Net(width, 1)


model = Net(4, 3)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a module of factories, in which commands run; other tests have one of that name, too."""
    (tmp_path / "factories.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("factories", None)
    yield tmp_path
    sys.modules.pop("factories", None)


def run(*arguments: str) -> Any:
    """The outcome of a command."""
    return testing.CliRunner().invoke(main, arguments, prog_name="fanin")


SMALL = """\
seed = 3
description = "Net, as its own code initializes it"

# 1 of 10 parameters
[[rules]]
path = "table"
initializer = "as_written"

# 1 of 10 parameters
[[rules]]
path = "embed.weight"
initializer = "random_normal"
stddev = 0.02

# 3 of 10 parameters
[[rules]]
path = "h.*.weight"
initializer = "random_normal"
stddev = "0.02 / sqrt(2 * n_layers)"

# 4 of 10 parameters
[[rules]]
path = "*.bias"
initializer = "zeros"

# 1 of 10 parameters
[[rules]]
path = "norm.weight"
initializer = "ones"
"""


def test_a_recipe(folder: Path) -> None:
    """The rules of a model go to standard output."""
    outcome = run("recipe", "from", "factories:small", "--seed", "3")
    assert (outcome.stderr, outcome.exit_code) == ("", 0)
    assert Recipe.from_toml(outcome.stdout) == Recipe.from_toml(SMALL)


def test_a_file(folder: Path) -> None:
    """With an output, they go to a file, which `lint` accepts."""
    outcome = run("recipe", "from", "factories:small", "-o", "recipe.toml")
    assert (outcome.output, outcome.exit_code) == ("", 0)
    assert run("recipe", "lint", "recipe.toml").exit_code == 0


def test_another_size(folder: Path) -> None:
    """The recipe of two sizes is one for both."""
    assert run("recipe", "from", "factories:small", "--also", "factories:large", "-o", "recipe.toml").exit_code == 0
    for name in ("small", "large"):
        outcome = run("plan", "recipe.toml", "--model", f"factories:{name}", "--json")
        assert outcome.exit_code == 0
        assert json.loads(outcome.stdout)["problems"] == []


def test_another_model(folder: Path) -> None:
    """A second model that the rules do not fit is spoken of, and not only within the file."""
    outcome = run("recipe", "from", "factories:small", "--also", "factories:encoder", "-o", "recipe.toml")
    assert "At the other size" in outcome.stderr
    assert outcome.exit_code == 0


@pytest.mark.parametrize("name", ["small", "encoder"])
def test_recipes_that_ask_the_model(folder: Path, name: str) -> None:
    """What is left to the model's own code is planned, written and checked like everything else."""
    assert run("recipe", "from", f"factories:{name}", "-o", "recipe.toml").exit_code == 0
    assert "as_written" in (folder / "recipe.toml").read_text()
    assert run("plan", "recipe.toml", "--model", f"factories:{name}").exit_code == 0
    written = run("write", "recipe.toml", "--model", f"factories:{name}", "-o", "out", "--format", "npz")
    assert written.exit_code == 0, written.output
    checked = run("check", "out", "--recipe", "recipe.toml", "--model", f"factories:{name}")
    assert checked.exit_code == 0, checked.output


CALLED = "must be a factory that can be called without arguments. Received: factories"
WRONG = {
    "factories": "must be package.module:factory. Received: 'factories'.",
    "factories:smal": "must be a factory. Received: factories:smal, but factories has no 'smal'. Did you mean 'small'?",
    "factories:needs": f"{CALLED}:needs, which needs arguments",
    "factories:model": f"{CALLED}:model, which is a model itself.",
    "factories:number": "must be a factory that returns a model of PyTorch, Keras 3, tf_keras, flax.nnx or equinox. "
    "Received: factories:number, which returns an object of type int.",
    "factories:looks": f"{CALLED}:looks, which raised ",
    "factorie:small": "must be a factory. Received: factorie:small, but there is no module factorie in this folder",
}


@pytest.mark.parametrize("factory", WRONG)
def test_wrong_factories(folder: Path, factory: str) -> None:
    """What is no factory of a model that can be read is refused, with what it is."""
    outcome = run("recipe", "from", factory)
    assert f"Error: FACTORY {WRONG[factory]}" in outcome.stderr
    assert (outcome.stdout, outcome.exit_code) == ("", 2)


def test_a_wrong_factory_of_another_size(folder: Path) -> None:
    """A message says which of the two is wrong."""
    outcome = run("recipe", "from", "factories:small", "--also", "factories:smal")
    assert "Error: --also must be a factory. Received: factories:smal" in outcome.stderr


def test_a_wrong_output(folder: Path) -> None:
    """A file that could not be loaded again is refused before anything is made."""
    outcome = run("recipe", "from", "factories:small", "-o", "recipe.txt")
    assert outcome.stderr == "Error: --output must be a file that ends in .toml. Received: 'recipe.txt'.\n"
    assert not (folder / "recipe.txt").exists()


def test_a_model_that_cannot_be_asked(folder: Path) -> None:
    """A list of shapes has no code: the plan says so."""
    (folder / "recipe.toml").write_text('[[rules]]\npath = "*"\ninitializer = "as_written"\n')
    (folder / "model.json").write_text(json.dumps([{"path": "w", "shape": [2]}]))
    outcome = run("plan", "recipe.toml", "--model", "model.json")
    assert outcome.exit_code == 1
    assert "w, in rule 1 (line 1): as_written asks the model's own code, which only" in outcome.stdout


OTHERS = {
    "keras3": (
        "keras",
        "import os\nos.environ.setdefault('KERAS_BACKEND', 'tensorflow')\nimport keras\n\n\ndef make():\n"
        "    model = keras.Sequential([keras.layers.Dense(16, name='a'), keras.layers.Dense(2, name='b')])\n"
        "    model.build((None, 8))\n    return model\n",
        {"path": "*.kernel", "initializer": "glorot_uniform"},
    ),
    "nnx": (
        "flax",
        "from flax import nnx\n\n\ndef make():\n"
        "    return nnx.List([nnx.Linear(8, 8, rngs=nnx.Rngs(0)), nnx.LayerNorm(8, rngs=nnx.Rngs(0))])\n",
        {"path": "*.kernel", "initializer": "lecun_normal"},
    ),
    "equinox": (
        "equinox",
        "import equinox\nimport jax\n\n\ndef make():\n    return equinox.nn.MLP(4, 3, 8, 2, key=jax.random.key(0))\n",
        {
            "path": ["*.weight", "*.bias"],
            "initializer": "random_uniform",
            "minval": "-1 / sqrt(fan_in)",
            "maxval": "1 / sqrt(fan_in)",
        },
    ),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.filterwarnings("ignore")  # those of the frameworks' imports
def test_other_frameworks(folder: Path, name: str) -> None:
    """The initializers of Keras's layers, and what the code of JAX's modules draws."""
    package, code, rule = OTHERS[name]
    pytest.importorskip(package)
    (folder / f"of_{name}.py").write_text(code)
    outcome = run("recipe", "from", f"of_{name}:make", "-o", "recipe.toml")
    assert outcome.exit_code == 0, outcome.output
    assert rule in Recipe.load("recipe.toml").as_dict()["rules"]
    assert run("plan", "recipe.toml", "--model", f"of_{name}:make").exit_code == 0
