"""What the cases of fanin.tf_keras and fanin.keras with models share: the library that a process is about, and helpers.

Nothing of a framework is imported before a `Kit` is made, so that tests can list the cases.
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import fanin

BOTH = ("tf_keras", "keras")
SEED = 11


class Case(NamedTuple):
    """A function of a kit that raises on failure, and the libraries that it is for."""

    run: Callable[[Any], None]
    libraries: tuple[str, ...]


CASES: dict[str, Case] = {}


def case(*libraries: str) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Adds a function to the cases, under its name."""

    def add(function: Callable[[Any], None]) -> Callable[[Any], None]:
        assert function.__name__ not in CASES
        CASES[function.__name__] = Case(function, libraries or BOTH)
        return function

    return add


class Kit:
    """One of the two libraries on the backend of this process.

    Attributes:
        name: "tf_keras" or "keras".
        keras: the library, and L: its layers.
        ours: fanin's module for it.
        backend: "tensorflow", "jax" or "torch".
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.keras: Any = importlib.import_module(name)
        self.ours: Any = importlib.import_module(f"fanin.{name}")
        self.L: Any = self.keras.layers
        self.backend: str = self.keras.backend.backend()
        self.common: Any = importlib.import_module("fanin._models.keras_common")
        self.models: Any = importlib.import_module(f"fanin._models.{name}")

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
        return self.common.Scan(model, self.models.FRAMEWORK).variables

    def plan(self, model: Any, recipe: Any = None, names: Any = None) -> Any:
        """What `initialize` would do."""
        return (preset() if recipe is None else recipe).plan_of(self.models.describe(model), names=names)

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

    def held(self, values: np.ndarray) -> np.ndarray:
        """What a variable holds of an array: JAX without x64 has float32 for float64."""
        return values.astype(np.float32) if self.backend == "jax" and values.dtype == np.float64 else values


@functools.cache
def preset(name: str = "keras", seed: int = SEED) -> fanin.Recipe:
    """A preset with the seed of the cases."""
    return fanin.Recipe.preset(name, seed=seed)


def normal(**more: Any) -> fanin.Recipe:
    """A recipe of one rule for everything."""
    return fanin.Recipe([{"path": "*", "initializer": "random_normal", **more}], seed=SEED)


def drawn(name: str, shape: tuple[int, ...], cls: str = "GlorotUniform", dtype: str = "float32", **more: Any) -> Any:
    """What an initializer draws under a name, by the seed of the cases."""
    return getattr(fanin, cls)(seed=SEED, **more).spawn(name)(shape, dtype)


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
