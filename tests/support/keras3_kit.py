"""What the tests of tests/keras share: Keras 3 on the backend of this process, its initializers and fanin's for it."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import numpy as np

import fanin
from catalogue import CATALOGUE, KERAS
from fanin._core.streams import Stream
from keras_kit import BACKEND, imported
from strategies import FILLS, FIXED_SCALINGS, assert_same_bits

keras: Any = imported("keras")
ours: Any = importlib.import_module("fanin.keras")
theirs: Any = importlib.import_module("keras.src.initializers")
framework: Any = importlib.import_module(BACKEND)
K, L, SeedGenerator = keras.initializers, keras.layers, keras.random.SeedGenerator
ON_TENSORFLOW, ON_JAX = BACKEND == "tensorflow", BACKEND == "jax"
PEER = K if ON_TENSORFLOW else ours  # whose bytes are fanin's

ARGUMENTS = {type(CATALOGUE[name][0]).__name__: CATALOGUE[name][0].get_config() for name in reversed(KERAS)}
SEEDED = [name for name in ARGUMENTS if name not in FILLS]
SCALINGS = (*FIXED_SCALINGS, "VarianceScaling")
KERAS_NAMES = {name: cls.__name__ for name, cls in theirs.ALL_OBJECTS_DICT.items() if cls.__name__ in ARGUMENTS}

# layer → (arguments, shape of the input)
LAYERS: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "Dense": ({"units": 3}, (2, 4)),
    **{f"Conv{n}D": ({"filters": 3, "kernel_size": 2}, (1, *(5,) * n, 4)) for n in (1, 2, 3)},
    **{f"Conv{n}DTranspose": ({"filters": 3, "kernel_size": 2}, (1, *(5,) * n, 4)) for n in (1, 2, 3)},
    **{f"DepthwiseConv{n}D": ({"kernel_size": 2, "depth_multiplier": 2}, (1, *(5,) * n, 4)) for n in (1, 2)},
    **{f"SeparableConv{n}D": ({"filters": 3, "kernel_size": 2}, (1, *(5,) * n, 4)) for n in (1, 2)},
    "Embedding": ({"input_dim": 11, "output_dim": 5}, (2, 6)),
    **{name: ({"units": 3}, (2, 5, 4)) for name in ("SimpleRNN", "LSTM", "GRU")},
    **{name: ({}, (2, 4)) for name in ("BatchNormalization", "LayerNormalization")},
}


def initializer_arguments(name: str) -> list[str]:
    """The arguments of a layer that are initializers."""
    return [key for key in inspect.signature(getattr(L, name)).parameters if key.endswith("_initializer")]


def made(library: Any, name: str, **more: Any) -> Any:
    """A new initializer of a class."""
    return getattr(library, name)(**{**ARGUMENTS[name], **more})


def array(tensor: Any) -> np.ndarray:
    """A tensor or variable of the backend as an array."""
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def assert_holds(tensor: Any, values: np.ndarray) -> None:
    """A tensor or variable has these bytes; JAX without x64 has float32 for float64."""
    assert_same_bits(values.astype(np.float32) if ON_JAX and values.dtype == np.float64 else values, array(tensor))


def assert_as_keras(name: str, tensor: Any, other: Any) -> None:
    """The bytes of Keras's own class; of Orthogonal the values to rounding."""
    if name == "Orthogonal":
        assert np.abs(array(tensor) - array(other)).max() < 1e-5
    else:
        assert_same_bits(array(tensor), array(other))


def drawn_in_turn(name: str, seed: int, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    """What a class makes of the states of a SeedGenerator, one for each shape: (seed, 0), (seed, 1), …"""
    plain = made(fanin, name)
    return [plain.weight(shape, stream=Stream(seed, number)).make() for number, shape in enumerate(shapes)]


class Smaller(fanin.Initializer):
    """A class that makes its values itself, by Keras 3's plainest signature."""

    def __init__(self, gain: float, **options: int) -> None:
        self.gain, self.options = gain, options

    def __call__(self, shape: Any, dtype: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return fanin.RandomNormal(0.0, self.gain, seed=sum(self.options.values()))(shape, dtype)

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain, **self.options}


class Rule(fanin.VarianceScaling):
    """A class that says what to draw, with keyword arguments alone."""

    def __init__(self, *, seed: int | None = None) -> None:
        super().__init__(3.0, "fan_out", "uniform", seed)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}


# users' own classes and arguments of them
OWN: dict[str, tuple[Any, dict[str, Any]]] = {
    "Smaller": (Smaller, {"gain": 0.1, "more": 3}),
    "Rule": (Rule, {"seed": 3}),
}
