"""`initialize` in every framework: the same arguments, and the same values for the same names, whatever the dtype."""

from __future__ import annotations

import importlib
import inspect
import os
import re
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import fanin

FRAMEWORKS = ("torch", "jax", "keras", "tf_keras")
# The arguments that all have, in their order, and the defaults of those that have one.
ARGUMENTS = {
    "model": inspect.Parameter.empty,
    "recipe": inspect.Parameter.empty,
    "seed": None,
    "only": None,
    "skip": None,
    "names": None,
    "unmatched": "error",
    "progress": None,
    "prefix": None,
}
RECIPE = fanin.Recipe(
    [
        {"role": "kernel", "initializer": "glorot_uniform"},
        {"role": "bias", "initializer": "random_uniform", "minval": -0.3, "maxval": 0.7},
    ],
    seed=7,
)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.filterwarnings("ignore")  # those of the frameworks' imports
def test_arguments(framework: str) -> None:
    """The common arguments come first, in one order and with one default; all but two are given by name."""
    pytest.importorskip(framework)
    parameters = list(inspect.signature(importlib.import_module(f"fanin.{framework}").initialize).parameters.values())
    common = parameters[: len(ARGUMENTS)]
    own = {"recipe": None} if framework == "torch" else {}  # where a model's own code can stand for a recipe
    assert {each.name: each.default for each in common} == {**ARGUMENTS, **own}
    assert [each.name for each in common] == list(ARGUMENTS)
    by_position, by_name = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    assert [each.kind for each in parameters] == [by_position] * 2 + [by_name] * (len(parameters) - 2)
    assert all(not each.default for each in parameters[len(ARGUMENTS) :])


def in_torch(recipe: Any, dtype: str, **options: Any) -> dict[str, bytes]:
    """The kernel and the bias of a dense layer in PyTorch, in Keras's order of axes."""
    torch = pytest.importorskip("torch")
    module = torch.nn.ModuleDict({"fc": torch.nn.Linear(30, 20)}).to(getattr(torch, dtype))
    importlib.import_module("fanin.torch").initialize(module, recipe, names={"fc.weight": "fc.kernel"}, **options)
    tensors = {"kernel": module["fc"].weight.T, "bias": module["fc"].bias}
    return {name: tensor.detach().contiguous().view(torch.uint8).numpy().tobytes() for name, tensor in tensors.items()}


def in_jax(recipe: Any, dtype: str, **options: Any) -> dict[str, bytes]:
    """The same in JAX."""
    jax = pytest.importorskip("jax")
    shapes = {"fc": {"kernel": jax.ShapeDtypeStruct((30, 20), dtype), "bias": jax.ShapeDtypeStruct((20,), dtype)}}
    made, _ = importlib.import_module("fanin.jax").initialize(shapes, recipe, **options)
    return {name: np.asarray(array).tobytes() for name, array in made["fc"].items()}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float8_e4m3fn"])
def test_values(dtype: str) -> None:
    """PyTorch and JAX have the same bytes for the same names."""
    assert in_torch(RECIPE, dtype) == in_jax(RECIPE, dtype)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float8_e4m3fn"])
def test_narrow_values(dtype: str) -> None:
    """What JAX has in a narrow dtype is what PyTorch's own conversion makes of the float32 values."""
    torch = pytest.importorskip("torch")
    for name, value in in_jax(RECIPE, "float32").items():
        rounded = torch.frombuffer(bytearray(value), dtype=torch.float32).to(getattr(torch, dtype))
        assert in_jax(RECIPE, dtype)[name] == rounded.view(torch.uint8).numpy().tobytes(), name


@pytest.mark.parametrize("preset", ["keras", "flax", "gpt2"])
@pytest.mark.filterwarnings("ignore:No parameter of")  # of a model that has no such layers
def test_presets_by_their_names(preset: str) -> None:
    """The name of a preset means the same recipe in both."""
    values = in_torch(preset, "float32", seed=42)
    assert values == in_jax(preset, "float32", seed=42)
    assert values == in_torch(fanin.Recipe.preset(preset, seed=42), "float32")


TENSORS = re.escape(
    " Tensors, such as its 'weight', do not say which layers they belong to: pass the model itself, or, for a plan, a "
    "list of dicts with `path`, `shape` and, if known, `layer`."
)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_state_dicts(framework: str) -> None:
    """A state dict of PyTorch is no model of any framework, nor of a plan; the message says what to pass."""
    pytest.importorskip(framework)
    torch = pytest.importorskip("torch")
    state = torch.nn.Linear(2, 3).state_dict()
    face = importlib.import_module(f"fanin.{framework}")
    for call in (lambda: face.initialize(state, RECIPE), lambda: RECIPE.plan(state)):
        with pytest.raises(TypeError, match=f"Received: .*OrderedDict.*{TENSORS}$"):
            call()


def test_tensors_in_a_tree() -> None:
    """Nor are tensors a part of a tree of arrays."""
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    face = importlib.import_module("fanin.jax")
    with pytest.raises(TypeError, match=r"^A plan needs a model: "):
        face.initialize({"kernel": jax.numpy.zeros((2, 3)), "more": [torch.zeros(3)]}, RECIPE)
