"""`fanin plan` and `fanin recipe`: output, exit codes, messages, and that nothing is written."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fanin
from fanin.recipes import PRESETS, Recipe, preset_path

testing = pytest.importorskip("click.testing")
main = pytest.importorskip("fanin.cli").main
ROOT = Path(__file__).parents[2]

RECIPE = """\
seed = 3

[[rules]]
name = "residual"
path = "*.c_proj.kernel"
initializer = "random_normal"
stddev = "0.02 / sqrt(2 * n_layers)"

[[rules]]
role = "kernel"
initializer = "he_normal"

[[rules]]
role = "bias"
initializer = "zeros"
"""
MODEL = [
    *(
        {"path": f"h.{number}.{name}.kernel", "shape": [4, 8], "layout": "keras", "role": "kernel"}
        for number in range(3)
        for name in ("c_attn", "c_proj")
    ),
    {"path": "head.bias", "shape": [8], "dtype": "bfloat16"},
]
TABLE = """\
path                   shape  dtype     layout  layer  role    rule                         initializer                           fans  std      seed
h.[0-2].c_attn.kernel  4×8    float32   keras          kernel  rule 2 (line 9)              HeNormal()                            4→8   0.7071   3 seeds
h.[0-2].c_proj.kernel  4×8    float32   keras          kernel  rule 1 (line 3) “residual”  RandomNormal(mean=0, stddev=0.00816497)  4→8   0.008165  3 seeds
head.bias              8      bfloat16                 bias    rule 3 (line 13)             Zeros()                                     0

model.json: 7 parameters, 200 elements, 784 bytes, seed 3
"""
FACTORIES = """\
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(3, 4)

class Made:
    make = Net

def broken():
    raise RuntimeError("no such luck")

def number():
    return 3
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a recipe, a model, and factories, as the working directory."""
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "model.json").write_text(json.dumps(MODEL))
    (tmp_path / "factories.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Any:
    """An invocation, and what it printed."""
    return testing.CliRunner().invoke(main, arguments, prog_name="fanin", env={"COLUMNS": "100"})


def words(text: str) -> list[list[str]]:
    """A table without its widths."""
    return [line.split() for line in text.splitlines()]


def test_plan(folder: Path) -> None:
    """The table, with repeated blocks in one row; nothing is written."""
    before = sorted(folder.iterdir())
    outcome = run("plan", "recipe.toml", "--model", "model.json")
    assert (outcome.stderr, outcome.exit_code) == ("", 0)
    assert words(outcome.stdout) == words(TABLE)
    assert len(run("plan", "recipe.toml", "--model", "model.json", "--all").stdout.splitlines()) == 10
    assert sorted(folder.iterdir()) == before


def test_plan_as_json() -> None:
    """The plan as data, with another seed if one is given."""
    outcome = run("plan", "recipe.toml", "--model", "model.json", "--json", "--seed", "7")
    assert json.loads(outcome.stdout) == Recipe.load("recipe.toml", seed=7).plan(MODEL).as_dict() | {
        "model": "model.json"
    }


@pytest.mark.parametrize("name", ["recipe.toml", *PRESETS])
def test_recipes_by_file_and_by_name(name: str) -> None:
    """RECIPE is a file or the name of a preset, and the plan is the one that Python makes of the same."""
    plan = (Recipe.load(name) if name.endswith(".toml") else Recipe.preset(name)).plan(MODEL)
    outcome = run("plan", name, "--model", "model.json", "--json")
    assert json.loads(outcome.stdout) == plan.as_dict() | {"model": "model.json"}
    assert bool(plan.problems) is (name in ("resnet", "torch"))  # their biases need the fan-in of a kernel beside them
    wrong = ("The recipe does not fit the model.\n", 1)
    assert (outcome.stderr, outcome.exit_code) == (wrong if plan.problems else ("", 0))


@pytest.mark.parametrize("name", ["recipe.toml", "keras"])
def test_python_m(name: str) -> None:
    """`python -m fanin plan` prints the same plan."""
    command = [sys.executable, "-m", "fanin", "plan", name, "--model", "model.json"]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (outcome.stderr, outcome.returncode) == ("", 0)
    assert outcome.stdout == run("plan", name, "--model", "model.json").stdout


def test_compare(folder: Path) -> None:
    """What differs from an earlier plan, and an exit code that says whether anything does."""
    (folder / "plan.json").write_text(run("plan", "recipe.toml", "--model", "model.json", "--json").stdout)
    same = run("plan", "recipe.toml", "--model", "model.json", "--compare", "plan.json")
    assert (same.stdout, same.exit_code) == ("The plans are the same.\n", 0)
    text = (folder / "plan.json").read_text()
    (folder / "plan.json").write_text(text, encoding="utf-8-sig")  # with a byte-order mark, as some shells write it
    assert run("plan", "recipe.toml", "--model", "model.json", "--compare", "plan.json").stdout == same.stdout
    (folder / "model.json").write_text(json.dumps([*MODEL[1:-1], {"path": "new.bias", "shape": [2]}]))
    other = run("plan", "recipe.toml", "--model", "model.json", "--compare", "plan.json")
    assert (other.stdout, other.exit_code) == ("- h.0.c_attn.kernel\n- head.bias\n+ new.bias\n", 3)
    (folder / "plan.json").write_text("[]")
    assert "the data of the JSON that `fanin plan --json` makes. Received: list." in run(
        "plan", "recipe.toml", "--model", "model.json", "--compare", "plan.json"
    ).stderr  # fmt: skip
    (folder / "plan.json").write_text("{")
    assert "--compare must be the JSON of a plan, which `fanin plan --json` makes. Received: 'plan.json'" in run(
        "plan", "recipe.toml", "--model", "model.json", "--compare", "plan.json"
    ).stderr  # fmt: skip


def test_models_in_toml(folder: Path) -> None:
    """A list of shapes may be TOML."""
    (folder / "model.toml").write_text('[[parameters]]\npath = "a.kernel"\nshape = [2, 3]\nlayout = "keras"\n')
    outcome = run("plan", "keras", "--model", "model.toml", "--seed", "1")
    assert outcome.exit_code == 0
    assert words(outcome.stdout)[1][:4] == ["a.kernel", "2×3", "float32", "keras"]


def test_safetensors(folder: Path) -> None:
    """Names, shapes and dtypes come from the header; what names do not say, rules by path do."""
    numpy = pytest.importorskip("safetensors.numpy")
    numpy.save_file(
        {"h.0.fc.weight": np.zeros((3, 4), np.float16), "h.0.fc.bias": np.zeros(3, np.float32)}, "model.safetensors"
    )
    outcome = run("plan", "gpt2", "--model", "model.safetensors")
    assert outcome.exit_code == 1
    assert outcome.stderr == "The recipe does not fit the model.\n"
    assert "unmatched: h.0.fc.weight\n" in outcome.stdout
    assert "note: a file has only names and shapes" in outcome.stdout
    (folder / "by_path.toml").write_text(
        '[[rules]]\npath = "*.weight"\nlayout = "torch"\ninitializer = "lecun_normal"\n\n'
        '[[rules]]\npath = "*"\ninitializer = "zeros"\n'
    )
    outcome = run("plan", "by_path.toml", "--model", "model.safetensors", "--json")
    entries = {entry["path"]: entry for entry in json.loads(outcome.stdout)["entries"]}
    assert (entries["h.0.fc.weight"]["dtype"], entries["h.0.fc.weight"]["fans"]) == ("float16", [4, 3])
    assert outcome.exit_code == 0


def test_factories() -> None:
    """A factory's model is built on the meta device, and classes and attributes are factories, too."""
    pytest.importorskip("torch")
    for factory in ("factories:Net", "factories:Made.make"):
        outcome = run("plan", "keras", "--model", factory)
        assert (outcome.stderr, outcome.exit_code) == ("", 0)
        assert words(outcome.stdout)[1][:6] == ["fc.weight", "4×3", "float32", "torch", "Linear", "kernel"]


LINEN = """\
import jax.numpy as jnp
from flax import linen as nn
from fanin.jax import layers_of

X = jnp.ones((1, 4))

def pair():
    return layers_of(nn.Dense(3), X)

def module_and_variables():
    return nn.Dense(3), pair()[0]

def variables_and_configuration():
    return pair()[0], {"width": 3, "name": "small"}
"""


def test_factories_of_variables_and_layers(folder: Path) -> None:
    """A factory may return what `layers_of` returns; the plan is that of the variables with their layers."""
    pytest.importorskip("flax")
    (folder / "linen.py").write_text(LINEN)
    outcome = run("plan", "flax", "--model", "linen:pair", "--seed", "3", "--json")
    assert (outcome.stderr, outcome.exit_code) == ("", 0)
    import linen  # pyright: ignore[reportMissingImports]

    variables, layers = linen.pair()
    plan = Recipe.preset("flax", seed=3).plan(variables, layers=layers)
    assert json.loads(outcome.stdout) == plan.as_dict()
    assert plan.entry("kernel").parameter.layer == "Dense"


@pytest.mark.parametrize(
    ("factory", "received"),
    [("module_and_variables", "Dense at position 0"), ("variables_and_configuration", "dict at position 1")],
)
def test_factories_of_other_tuples(folder: Path, factory: str, received: str) -> None:
    """A tuple of a model and of something else is no model: its parameters would have other names."""
    pytest.importorskip("flax")
    (folder / "linen.py").write_text(LINEN)
    outcome = run("plan", "flax", "--model", f"linen:{factory}")
    assert (outcome.stdout, outcome.exit_code) == ("", 2)
    assert f"Received: one of type {received}. Return the model alone." in outcome.stderr


BAD: dict[str, tuple[list[str], str]] = {
    "no recipe": (["nope.toml"], "RECIPE must be a file, - or one of the presets, bert, flax, gpt2, keras"),
    "preset": (["gpt"], "Received: 'gpt'. Did you mean 'gpt2'?"),
    "ending": (["model.json"], "A recipe file must end in .toml, .yaml, .yml. Received: 'model.json'."),
    "broken": (["broken.toml"], 'broken.toml:2, rule 1: Unknown initializer \'he_norml\'. Did you mean \'he_normal\'?'),
    "no file": (["keras", "--model", "nope.json"], "--model must be a file that can be read. Received: 'nope.json' (No such file or directory)."),
    "no model": (["keras", "--model", "gpt2"], "--model must be a file that ends in .json, .toml, .safetensors, - or package.module:factory. Received: 'gpt2'."),
    "a path": (["keras", "--model", "a/b:c"], "or package.module:factory. Received: 'a/b:c'."),
    "JSON": (["keras", "--model", "bad.json"], "bad.json is not JSON: "),
    "no list": (["keras", "--model", "empty.json"], "empty.json must have a list of parameters, each with `path` and `shape` (in TOML, [[parameters]]). Received: []."),
    "a bad entry": (["keras", "--model", "entry.json"], "Entry 1 of the list, 'w': Unknown key 'shap'. Did you mean 'shape'?"),
    "no shape": (["keras", "--model", "shape.json"], "Entry 1 of the list, 'w': `shape` is missing."),
    "safetensors": (["keras", "--model", "bad.safetensors"], "bad.safetensors is not a safetensors file: "),
    "no module": (["keras", "--model", "nope:f"], "Received: nope:f, but there is no module nope in this folder"),
    "no factory": (["keras", "--model", "factories:nope"], "Received: factories:nope, but factories has no 'nope'."),
    "raises": (["keras", "--model", "factories:broken"], "Received: factories:broken, which raised RuntimeError: no such luck"),
    "no module's": (["keras", "--model", "factories:number"], "A plan needs a model: "),
    "a seed": (["keras", "--model", "model.json", "--seed", str(2**63)], "`seed` must lie in"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_usage(kind: str, folder: Path) -> None:
    """Exit code 2, nothing on standard output, and a message."""
    for name, text in {
        "broken.toml": '[[rules]]\ninitializer = "he_norml"\npath = "*"\n',
        "bad.json": "[",
        "empty.json": "[]",
        "entry.json": '[{"path": "w", "shap": [1]}]',
        "shape.json": '[{"path": "w"}]',
        "bad.safetensors": "x",
    }.items():
        (folder / name).write_text(text)
    arguments, message = BAD[kind]
    if "safetensors" in arguments[-1]:
        pytest.importorskip("safetensors")
    if "factories" in arguments[-1]:
        pytest.importorskip("torch")
    outcome = run("plan", *arguments, *([] if "--model" in arguments else ["--model", "model.json"]))
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert message in outcome.stderr


def test_a_recipe_that_does_not_fit(folder: Path) -> None:
    """Exit code 1: the table says what is unmatched, and what the problems are."""
    (folder / "recipe.toml").write_text(
        '[[rules]]\nrole = "kernel"\ninitializer = "random_normal"\nstddev = "1 / depth"\n'
    )
    outcome = run("plan", "recipe.toml", "--model", "model.json")
    assert outcome.exit_code == 1
    assert outcome.stderr == "The recipe does not fit the model.\n"
    assert "unmatched: head.bias\n" in outcome.stdout
    problem = "problem: h.0.c_attn.kernel, in rule 1 (line 1): '1 / depth' cannot be evaluated here (division by zero), with depth = 0."
    assert problem in outcome.stdout


@pytest.mark.parametrize("name", PRESETS)
def test_new(name: str, folder: Path) -> None:
    """A preset's file, with its sources and comments, is a recipe without mistakes."""
    outcome = run("recipe", "new", "--preset", name)
    assert outcome.stdout == preset_path(name).read_text(encoding="utf-8")
    assert tomllib.loads(outcome.stdout)["sources"]
    (folder / "new.toml").write_text(run("recipe", "new", "--preset", name, "--seed", "12").stdout)
    assert Recipe.load("new.toml") == Recipe.preset(name, seed=12)
    checked = run("recipe", "lint", "new.toml", "recipe.toml")
    assert (checked.stdout, checked.exit_code) == ("new.toml: no mistakes\nrecipe.toml: no mistakes\n", 0)
    assert run("recipe", "new", "--preset", "gpt3").exit_code == 2


def test_lint(folder: Path) -> None:
    """Every mistake of every file, with its line, and exit code 1."""
    (folder / "one.toml").write_text(RECIPE.replace("stddev", "stdev").replace('"kernel"', '"kernl"'))
    (folder / "two.toml").write_text("seed = \n")
    outcome = run("recipe", "lint", "one.toml", "recipe.toml", "two.toml")
    assert (outcome.stdout, outcome.exit_code) == ("recipe.toml: no mistakes\n", 1)
    assert outcome.stderr.splitlines()[:2] == [
        "one.toml:7, rule 1 (\"residual\"): Unknown key 'stdev'. Did you mean 'stddev'?",
        "one.toml:10, rule 2: Unknown role 'kernl'. Did you mean 'kernel'?",
    ]
    assert outcome.stderr.splitlines()[2].startswith("two.toml:1: Invalid value (at line 1, column 8)")
    assert run("recipe", "lint").exit_code == run("recipe", "lint", "nope.toml").exit_code == 2


RULE = {"path": "*", "initializer": "he_normal"}
REFUSED: list[dict[str, Any]] = [
    {},
    {"rules": []},
    {"rules": [{"initializer": "he_normal"}]},
    {"rules": [{"path": "*"}]},
    {"rules": [{**RULE, "initializer": "he_norml"}]},
    {"rules": [{**RULE, "pth": "*"}]},
    {"rules": [{**RULE, "seed": 1}]},
    {"rules": [{**RULE, "role": "kernl"}]},
    {"rules": [{**RULE, "rank": -1}]},
    {"rules": [{**RULE, "blocks": ["a"]}]},
    {"rules": [{**RULE, "layout": "jax"}]},
    {"rules": [RULE], "seed": 1.5},
    {"rules": [RULE], "sed": 1},
    {"rules": [RULE], "constants": {"depth": 1}},
    {"rules": [RULE], "constants": {"a b": 1}},
    {"rules": [RULE], "constants": {"a": "1"}},
]


def validator() -> Any:
    """What `fanin recipe schema` prints, as a validator."""
    jsonschema = pytest.importorskip("jsonschema")
    return jsonschema.Draft202012Validator(json.loads(run("recipe", "schema").stdout))


def test_schema() -> None:
    """The schema is that of the documentation, and it is one."""
    schema = validator().schema
    assert schema == json.loads((ROOT / "docs/recipe.schema.json").read_text(encoding="utf-8"))
    validator().check_schema(schema)
    validator().validate({"rules": [RULE], "constants": {"n_layers": 3}})


@pytest.mark.parametrize("name", PRESETS)
def test_the_schema_takes_presets(name: str) -> None:
    """Every preset is valid."""
    validator().validate(tomllib.loads(preset_path(name).read_text(encoding="utf-8")))


@pytest.mark.parametrize("wrong", REFUSED, ids=str)
def test_the_schema_refuses_what_recipes_refuse(wrong: dict[str, Any]) -> None:
    """What is no recipe is not valid."""
    assert not validator().is_valid(wrong)
    with pytest.raises(fanin.recipes.RecipeError):
        Recipe.from_dict(wrong)


@pytest.mark.parametrize("command", [["plan"], ["recipe"], ["recipe", "new"], ["recipe", "lint"], ["recipe", "schema"]])
def test_help(command: list[str]) -> None:
    """Each command says what it does."""
    outcome = run(*command, "--help")
    assert outcome.exit_code == 0
    assert outcome.stdout.startswith(f"Usage: fanin {' '.join(command)} ")


def test_lint_remarks(folder: Path) -> None:
    """A constant that no rule uses is a remark: the exit code stays."""
    rule = '[[rules]]\npath = "*"\ninitializer = "random_normal"\nstddev = "1 / width"\n'
    (folder / "odd.toml").write_text(f"[constants]\nwidth = 3\nwidht = 4\n{rule}")
    outcome = run("recipe", "lint", "odd.toml")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.stdout == "odd.toml: no mistakes\nodd.toml: remark: no rule uses the constant widht\n"


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_need_no_remark(preset: str) -> None:
    """Their rules use all of their constants."""
    assert Recipe.preset(preset).unused_constants == ()
