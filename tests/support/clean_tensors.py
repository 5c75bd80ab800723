"""Many clean tensors: what initializers and NumPy's generator make, of many seeds, laws, shapes and dtypes."""

from __future__ import annotations

import math
from collections.abc import Iterator

import ml_dtypes
import numpy as np

from fanin.audits.judging.laws import Law
from fanin.distributions import Normal, Uniform
from labelled import FLOATS, INITIALIZERS, Labelled

_SHAPES = ((8, 8), (16, 64), (64, 33), (3, 3, 8, 16), (7, 100))
_LARGER = ((300, 200), (128, 512))


def _shape(number: int) -> tuple[int, ...]:
    """A small shape, and now and then a larger one."""
    return _LARGER[number // 40 % 2] if number % 40 == 39 else _SHAPES[number % len(_SHAPES)]


def of_fanin(count: int) -> Iterator[Labelled]:
    """Tensors of fanin's initializers, with what is expected of them and without."""
    labels = tuple(INITIALIZERS.items())
    for seed in range(count):
        label, make = labels[seed % len(labels)]
        shape, dtype = _shape(seed // 16), FLOATS[seed // 3 % len(FLOATS)]
        initializer = make(seed=seed)
        alone = seed % 2 == 0 and label not in ("exponential", "log_normal", "bernoulli", "truncated at bounds")
        law = None if alone else Law.of(initializer.distribution(shape, dtype), words=label)
        yield Labelled(
            f"{label}, {dtype}, {shape}, {seed}", "dense.kernel", initializer(shape, dtype), "consistent", (), law
        )


def of_numpy(count: int) -> Iterator[Labelled]:
    """Tensors of NumPy's generator in the dtypes of checkpoints, with what is expected of them and without."""
    names = ("float32", "bfloat16", "float16", "float8_e4m3fn", "float64")
    for seed in range(count):
        rng = np.random.default_rng(seed)
        shape, name = _shape(seed), names[seed // 8 % len(names)]
        dtype = np.dtype(getattr(ml_dtypes, name, name))
        fan_in = shape[1] * math.prod(shape[2:])
        wide = np.dtype("float64" if name == "float64" else "float32")
        if seed % 2:
            array, drawn = rng.normal(0, 0.02, shape), Normal(shape, wide, 0.0, 0.02)
        else:
            limit = 1 / math.sqrt(fan_in)
            array, drawn = rng.uniform(-limit, limit, shape), Uniform(shape, wide, -limit, limit)
        law = None if seed % 3 == 0 else Law.of(drawn, dtype)
        yield Labelled(
            f"{drawn.kind}, {name}, {shape}, {seed}",
            "fc.weight",
            array.astype(wide).astype(dtype),
            "consistent",
            (),
            law,
        )


def of_layers(count: int) -> Iterator[Labelled]:
    """Biases, norms and statistics, as layers make them."""
    for seed in range(count):
        rng, length = np.random.default_rng(seed), (8, 64, 300)[seed % 3]
        cases = (
            ("fc.bias", rng.uniform(-1, 1, length) / math.sqrt(length)),
            ("fc.bias", np.zeros(length)),
            ("norm.weight", np.ones(length)),
            ("bn.running_var", np.ones(length)),
            ("pos_embed", rng.normal(0, 0.02, (1, length, 16))),
            ("cls_token", rng.normal(0, 0.02, (1, 1, length))),
        )
        name, array = cases[seed // 3 % len(cases)]
        yield Labelled(f"{name}, {seed}", name, array.astype(np.float32), "consistent")


def every() -> Iterator[Labelled]:
    """Ten thousand of them."""
    yield from of_fanin(5_000)
    yield from of_numpy(4_000)
    yield from of_layers(1_000)
