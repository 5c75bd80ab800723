"""What the tests of fanin.keras and fanin.tf_keras share: the libraries of this process, models in them, comparisons.

Keras 3 reads `KERAS_BACKEND` when it is imported, once in a process; `scripts/test-keras` runs the tests on each one.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import json
import math
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fanin
from fanin._keras.describe import Scan

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
BACKENDS = ("tensorflow", "jax", "torch")
BACKEND = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# tf_keras has no backend but TensorFlow: what is about both libraries is about both in one run alone.
LIBRARIES = ("tf_keras", "keras") if BACKEND == "tensorflow" else ("keras",)
WARNINGS = (
    "ignore:__array__ implementation:DeprecationWarning",  # of Keras's own variables
    "ignore:Explicitly requested dtype float64:UserWarning",  # JAX's
)
GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
SEED = 11

# A script that knows nothing of fanin, for one of the libraries; it prints a hash of each weight.
SCRIPT = """
import hashlib
import {keras} as keras
layers = keras.layers
keras.utils.set_random_seed(42)
image = keras.Input((12, 12, 3))
hidden = layers.Conv2D(8, 3, kernel_initializer="he_normal")(image)
hidden = layers.DepthwiseConv2D(3)(layers.BatchNormalization()(hidden))
hidden = layers.Dense(10, kernel_initializer="lecun_uniform")(layers.Flatten()(layers.Dropout(0.3)(hidden)))
first = keras.Model(image, layers.Dense(3, bias_initializer="random_normal")(hidden))
text = keras.Sequential([keras.Input((7,)), layers.Embedding(50, 6)])
text.add(layers.LSTM(5, recurrent_initializer="glorot_uniform"))
text.add(layers.Dense(2, kernel_initializer="TruncatedNormal"))
for layer in first.layers + text.layers:
    for weight in layer.get_weights():
        print(type(layer).__name__, weight.shape, hashlib.sha256(weight.tobytes()).hexdigest())
"""


class Kit:
    """One of the two libraries on the backend of this process. A test is skipped where the library is missing.

    Attributes:
        name: "tf_keras" or "keras".
        keras: the library, and L: its layers.
        ours: fanin's module for it.
        backend: "tensorflow", "jax" or "torch".
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.keras: Any = imported(name)
        self.ours: Any = importlib.import_module(f"fanin.{name}")
        self.L: Any = self.keras.layers
        self.backend: str = self.keras.backend.backend()
        # Keras on PyTorch draws each value of a truncated normal four times at most: this share lies beyond its bounds.
        self.beyond = math.erfc(math.sqrt(2)) ** 4 if self.backend == "torch" else 0.0

    def array(self, variable: Any) -> np.ndarray:
        """A variable or tensor as an array."""
        if isinstance(variable, np.ndarray):
            return variable
        if self.name == "tf_keras":
            return np.asarray(variable.numpy())
        return np.asarray(self.keras.ops.convert_to_numpy(variable))

    def arrays(self, model: Any) -> list[np.ndarray]:
        """The weights of a model."""
        return [self.array(variable) for variable in model.weights]

    def variables(self, model: Any) -> dict[str, Any]:
        """The variables of a model by the paths of its plan."""
        framework = importlib.import_module(f"fanin.{self.name}.origins").FRAMEWORK
        return Scan(model, framework).variables

    def plan(self, model: Any, recipe: Any = None, names: Any = None) -> Any:
        """What `initialize` would do."""
        return (preset() if recipe is None else recipe).plan(model, names=names)

    def by_path(self, model: Any) -> dict[str, np.ndarray]:
        """The weights of a model by the paths of its plan."""
        return {path: self.array(variable) for path, variable in self.variables(model).items()}

    def by_name(self, model: Any, names: Any = None) -> dict[str, np.ndarray]:
        """The weights of a model by the names under which they are drawn."""
        entries = self.plan(model, names=names).entries
        values = self.by_path(model)
        found = {entry.name: values[entry.path] for entry in entries}
        assert len(found) == len(entries)
        return found

    def initialize(self, model: Any, recipe: Any = None, **options: Any) -> Any:
        """What the library's `initialize` returns, by Keras's own defaults unless a recipe is given."""
        return self.ours.initialize(model, preset() if recipe is None else recipe, **options)

    def compile(self, model: Any, rate: float = 0.0) -> Any:
        """The model, compiled."""
        model.compile(self.keras.optimizers.SGD(rate, momentum=0.9), "mse")
        return model

    def sequential(self, *layers: Any, shape: tuple[int, ...] | None = None, **options: Any) -> Any:
        """A Sequential model, built if a shape is given."""
        first = [] if shape is None else [self.keras.Input(shape)]
        return self.keras.Sequential([*first, *layers], **options)

    def policy(self, name: str) -> Any:
        """A policy of dtypes."""
        return (self.keras.mixed_precision.Policy if self.name == "tf_keras" else self.keras.DTypePolicy)(name)

    @contextlib.contextmanager
    def global_policy(self, name: str) -> Iterator[None]:
        """Layers that are made in the block have this policy."""
        module = self.keras.mixed_precision
        before = module.global_policy() if self.name == "tf_keras" else module.dtype_policy()
        set_policy = module.set_global_policy if self.name == "tf_keras" else module.set_dtype_policy
        set_policy(self.policy(name))
        try:
            yield
        finally:
            set_policy(before)

    def held(self, values: np.ndarray) -> np.ndarray:
        """What a variable holds of an array: JAX without x64 has float32 for float64."""
        return values.astype(np.float32) if self.backend == "jax" and values.dtype == np.float64 else values


def imported(name: str) -> Any:
    """A library of the tests' backend; the test, or the module, is skipped where it is missing."""
    if name == "keras":
        pytest.importorskip(BACKEND)
        keras = pytest.importorskip("keras", minversion="3.0")
        assert keras.config.backend() == BACKEND, "Keras was imported before, with another backend"
        return keras
    pytest.importorskip("tensorflow")
    return pytest.importorskip(name)


def allow_warnings(item: pytest.Item) -> None:
    """Lets a test go on where the libraries warn of what is theirs."""
    for each in WARNINGS:
        item.add_marker(pytest.mark.filterwarnings(each))


@functools.cache
def preset(name: str = "keras", seed: int = SEED) -> fanin.Recipe:
    """A preset with the tests' seed."""
    return fanin.Recipe.preset(name, seed=seed)


def normal(**more: Any) -> fanin.Recipe:
    """A recipe of one rule for everything."""
    return fanin.Recipe([{"path": "*", "initializer": "random_normal", **more}], seed=SEED)


def drawn(name: str, shape: tuple[int, ...], cls: str = "GlorotUniform", dtype: str = "float32", **more: Any) -> Any:
    """What a recipe with the tests' seed draws under a name: float32, or float64, rounded to the dtype once."""
    initializer = getattr(fanin, cls)(seed=SEED, **more).spawn(name)
    return rounded(initializer(shape, "float64" if dtype == "float64" else "float32"), dtype)


def rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    """The values in another dtype, each rounded once."""
    return values.astype(fanin.Zeros()((), dtype).dtype)


def same(ours: Any, theirs: Any) -> None:
    """Arrays, or lists or dicts of arrays, have the same dtypes, shapes and bytes."""
    if isinstance(ours, dict):
        assert list(ours) == list(theirs), (list(ours), list(theirs))
        ours, theirs = list(ours.values()), list(theirs.values())
    elif isinstance(ours, np.ndarray):
        ours, theirs = [ours], [theirs]
    assert len(ours) == len(theirs), (len(ours), len(theirs))
    for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        assert (one.dtype, one.shape) == (other.dtype, other.shape), (number, one.dtype, one.shape, other.shape)
        assert one.tobytes() == other.tobytes(), (number, one.ravel()[:4], other.ravel()[:4])


def differ(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    """Some of the arrays differ."""
    assert [each.tobytes() for each in ours] != [each.tobytes() for each in theirs]


def raised(kind: type[Exception], call: Callable[[], Any]) -> str:
    """The message of the error that a call raises; it is of this very class."""
    caught: list[Exception] = []
    try:
        call()
    except kind as error:
        caught.append(error)
    assert [type(each) for each in caught] == [kind], caught
    return str(caught[0])


def ones(*shape: int) -> np.ndarray:
    """Numbers for a model to work on, which differ: 1, 1/2, 1/3, …"""
    return (1 / np.arange(1, 1 + math.prod(shape), dtype=np.float32)).reshape(shape)


def answers(program: str, *arguments: Any, **environment: str) -> Any:
    """What a program in a process of its own prints last, as JSON; its arguments are JSON, too."""
    command = [sys.executable, "-c", program, *map(json.dumps, arguments)]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def printed(script: str) -> list[str]:
    """The lines that a script prints."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(script, {"__name__": "script"})
    return output.getvalue().splitlines()
