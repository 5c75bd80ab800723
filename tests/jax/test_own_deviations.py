"""Measured standard deviations of linen's, nnx's and equinox's stacks, against those of their own code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("flax")

import jax
from flax import linen as nn
from flax import nnx

from fanin.jax import initialize, layers_of
from jax_kit import flat

COUNT, WIDTH = 6, 32


class NnxBlock(nnx.Module):
    """Two dense layers."""

    def __init__(self, rngs: Any) -> None:
        self.up, self.down = nnx.Linear(WIDTH, 2 * WIDTH, rngs=rngs), nnx.Linear(2 * WIDTH, WIDTH, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return x + self.down(nnx.relu(self.up(x)))


class LinenBlock(nn.Module):
    """The same of linen, for `nn.scan`."""

    @nn.compact
    def __call__(self, x: Any, _: Any) -> Any:
        return x + nn.Dense(WIDTH, name="down")(nn.relu(nn.Dense(2 * WIDTH, name="up")(x))), None


def assert_alike(ours: Any, theirs: Any) -> None:
    """Each layer of each array has the deviation that its framework gives it, up to sampling."""
    expected = flat(theirs)
    arrays = flat(ours)
    assert arrays.keys() == expected.keys()
    for path, values in arrays.items():
        assert values.shape == expected[path].shape
        for layer, other in zip(values, expected[path], strict=True):
            error = 5 * other.std() / np.sqrt(layer.size)  # of two samples of bounded distributions
            assert abs(layer.std() - other.std()) <= error, path
        assert len({layer.tobytes() for layer in values}) == (len(values) if values.any() else 1)


def test_nnx() -> None:
    """Blocks that `nnx.vmap` stacks."""

    def stack() -> Any:
        return nnx.vmap(NnxBlock)(nnx.Rngs(0).split(COUNT))

    made, _ = initialize(nnx.eval_shape(stack), "flax", seed=1)
    assert_alike(made, stack())


def test_linen() -> None:
    """Blocks that `nn.scan` stacks."""
    scanned = nn.scan(LinenBlock, variable_axes={"params": 0}, split_rngs={"params": True}, length=COUNT)
    inputs = np.ones((2, WIDTH), np.float32)
    variables, layers = layers_of(scanned(), inputs, None)
    made, _ = initialize(variables, "flax", seed=1, layers=layers)
    assert_alike(made, scanned().init(jax.random.key(0), inputs, None))


def test_equinox() -> None:
    """Layers that `eqx.filter_vmap` stacks; equinox draws biases, too, as PyTorch does."""
    eqx = pytest.importorskip("equinox")

    def stack() -> Any:
        keys = jax.random.split(jax.random.key(0), COUNT)
        return eqx.filter_vmap(lambda key: eqx.nn.Linear(WIDTH, 2 * WIDTH, key=key))(keys)

    made, _ = initialize(eqx.filter_eval_shape(stack), "torch", seed=1)
    assert_alike(made, stack())
