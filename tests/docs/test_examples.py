"""The examples run, are short, and say what they should."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fanin

FOLDER = Path(__file__).parents[2] / "examples"
# example → what it imports, the backend of Keras 3, a line that it prints
EXAMPLES = [
    ("with_tf_keras.py", ("tf_keras",), "", "dense/kernel:0   (10816, 10)        the same bits"),
    (
        "with_keras.py",
        ("tensorflow", "keras"),
        "tensorflow",
        "sequential/dense/kernel  (10816, 10)        122232c06b3ad951",
    ),
    ("with_keras.py", ("jax", "keras"), "jax", "sequential/dense/kernel  (10816, 10)        122232c06b3ad951"),
    ("with_keras.py", ("torch", "keras"), "torch", "sequential/dense/kernel  (10816, 10)        122232c06b3ad951"),
    ("with_torch.py", ("torch",), "", "Conv2d weight (16, 1, 3, 3) is the Keras kernel (3, 3, 1, 16)"),
    ("with_jax.py", ("jax", "flax"), "", "8 shards of (256, 256), each as in the whole"),
    ("as_written_torch.py", ("torch",), "", "the same values alone: True"),
    (
        "sharded_llama.py",
        ("torch", "transformers"),
        "",
        "process 0 holds (688, 256) of (688, 256); the sum is -3.801974499",
    ),
    ("sharded_torch.py", ("torch",), "", "process 1 holds (150, 784) of 0.weight: True"),
    ("whole_model_torch.py", ("torch",), "", "the same values alone: True"),
    ("whole_model_keras.py", ("tensorflow", "keras", "torch"), "tensorflow", "outputs differ by less than 1e-6: True"),
    ("whole_model_keras.py", ("keras", "torch"), "torch", "outputs differ by less than 1e-6: True"),
    ("whole_model_jax.py", ("jax", "flax"), "", "the same values: True"),
    ("many_processes_jax.py", ("jax", "flax"), "", "process 1: 4 of 4 shards are those of the whole"),
    ("dcp_torchrun.py", ("torch",), "", "4 of 4 tensors are bit-exact"),
    ("write_with_dask.py", ("distributed",), "", "the same bytes as from one process: True"),
]


@pytest.mark.parametrize(("name", "modules", "backend", "line"), EXAMPLES, ids=lambda value: str(value)[:20])
def test_examples(name: str, modules: tuple[str, ...], backend: str, line: str, tmp_path: Path) -> None:
    """Each example ends well and prints its result."""
    for module in modules:
        pytest.importorskip(module)
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [sys.executable, FOLDER / name], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert line in run.stdout.splitlines()
    assert not list(tmp_path.iterdir()), "it left files behind"


def test_every_example_is_short_and_tested() -> None:
    """Under 40 lines each, with a docstring, and all in the list above."""
    assert {path.name for path in FOLDER.glob("*.py")} == {name for name, *_ in EXAMPLES}
    for path in FOLDER.glob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert len(source.splitlines()) < 40, path
        assert ast.get_docstring(ast.parse(source)), path


def test_the_recipe() -> None:
    """The example of a recipe's file is one without mistakes."""
    recipe = fanin.Recipe.load(FOLDER / "recipe.toml")
    assert (recipe.seed, len(recipe.rules)) == (42, 4)
