"""Whole models of flax, nnx and linen: a transformer and convolutional networks from shapes alone."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax")
pytest.importorskip("flax")

import jax.numpy as jnp
from flax import linen as nn
from flax import nnx

from fanin.jax import initialize, layers_of
from jax_kit import FLAX, flat, same

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the frameworks


TOKENS, PICTURES = jnp.arange(12).reshape(2, 6), jnp.ones((2, 8, 8, 3))


class NnxBlock(nnx.Module):
    """Attention and two dense layers."""

    def __init__(self, rngs: Any) -> None:
        self.norm1, self.norm2 = nnx.LayerNorm(32, rngs=rngs), nnx.LayerNorm(32, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(4, 32, decode=False, rngs=rngs)
        self.fc1, self.fc2 = nnx.Linear(32, 64, rngs=rngs), nnx.Linear(64, 32, rngs=rngs)
        self.dropout = nnx.Dropout(0.1, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = x + self.attention(self.norm1(x))
        return x + self.dropout(self.fc2(nnx.gelu(self.fc1(self.norm2(x)))))


class NnxTransformer(nnx.Module):
    """Embeddings, blocks and a head."""

    def __init__(self, rngs: Any, more: bool = False) -> None:
        self.tokens, self.positions = nnx.Embed(97, 32, rngs=rngs), nnx.Embed(40, 32, rngs=rngs)
        self.extra = nnx.Linear(32, 32, rngs=rngs) if more else None
        self.blocks = nnx.List([NnxBlock(rngs) for _ in range(2)])
        self.head = nnx.Linear(32, 97, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = self.tokens(x) + self.positions(jnp.arange(x.shape[1]))
        x = x if self.extra is None else self.extra(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class NnxCnn(nnx.Module):
    """Convolutions with norms, and a classifier."""

    def __init__(self, rngs: Any, more: bool = False) -> None:
        self.stem, self.norm = nnx.Conv(3, 48, (3, 3), rngs=rngs), nnx.BatchNorm(48, rngs=rngs)
        self.extra = nnx.Conv(48, 48, (1, 1), rngs=rngs) if more else None
        self.conv = nnx.Conv(48, 48, (3, 3), feature_group_count=4, rngs=rngs)
        self.up, self.fc = nnx.ConvTranspose(48, 16, (2, 2), rngs=rngs), nnx.Linear(16, 80, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = nnx.relu(self.norm(self.stem(x)))
        x = x if self.extra is None else self.extra(x)
        return self.fc(self.up(self.conv(x)).mean((1, 2)))


class LinenTransformer(nn.Module):
    """The same of linen."""

    more: bool = False

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.Embed(97, 32, name="tokens")(x) + nn.Embed(40, 32, name="positions")(jnp.arange(x.shape[1]))
        x = nn.Dense(32, name="extra")(x) if self.more else x
        for number in range(2):
            name = f"block_{number}_"
            x = x + nn.MultiHeadAttention(4, name=f"{name}attention")(nn.LayerNorm(name=f"{name}norm1")(x))
            hidden = nn.gelu(nn.Dense(64, name=f"{name}fc1")(nn.LayerNorm(name=f"{name}norm2")(x)))
            x = x + nn.Dense(32, name=f"{name}fc2")(hidden)
        return nn.Dense(97, name="head")(x)


class LinenResNet(nn.Module):
    """A stem and blocks of two convolutions each, with batch norms."""

    more: bool = False

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.Conv(48, (3, 3), use_bias=False, name="stem")(x)
        x = nn.Conv(48, (1, 1), name="extra")(x) if self.more else x
        for number in range(2):
            shortcut = x
            for part in "ab":
                x = nn.Conv(48, (3, 3), use_bias=False, name=f"block_{number}{part}_conv")(x)
                x = nn.relu(nn.BatchNorm(use_running_average=True, name=f"block_{number}{part}_norm")(x))
            x = x + shortcut
        return nn.Dense(80, name="fc")(x.mean((1, 2)))


MODELS: dict[str, tuple[Any, Any]] = {
    "nnx transformer": (NnxTransformer, TOKENS),
    "nnx CNN": (NnxCnn, PICTURES),
    "linen transformer": (LinenTransformer, TOKENS),
    "linen ResNet": (LinenResNet, PICTURES),
}


@functools.cache
def whole(name: str, more: bool = False) -> tuple[dict[str, np.ndarray], Any, Any]:
    """The values, the report and the output of a model."""
    cls: Any
    cls, inputs = MODELS[name]
    if name.startswith("nnx"):
        made, report = initialize(nnx.eval_shape(lambda: cls(nnx.Rngs(0), more)), FLAX)
        return flat(made), report, made(inputs)
    variables, layers = layers_of(cls(more), inputs)
    made, report = initialize(variables, FLAX, layers=layers)
    return flat(made), report, cls(more).apply(made, inputs)


@pytest.mark.parametrize("name", MODELS)
def test_plans(name: str) -> None:
    """Everything has a rule and its deviation; no two arrays are alike."""
    values, report, _ = whole(name)
    assert (report.plan.problems, report.plan.unmatched, report.kept) == ((), (), {})
    large = [entry for entry in report.plan.entries if entry.seeds and entry.parameter.size > 1000]
    assert len(large) >= 4
    for entry in large:
        kurtosis = entry.placements[0].weight.distribution.moments.kurtosis
        assert kurtosis is not None
        error = np.sqrt((kurtosis - 1) / 4 / entry.parameter.size) * entry.stddev
        assert abs(values[entry.path].std() - entry.stddev) < 4 * error, entry.path
    random = [values[entry.path].tobytes()[:64] for entry in report.plan.entries if entry.seeds]
    assert len(set(random)) == len(random)
    assert report.plan.equal_seeds == ()


@pytest.mark.parametrize("name", MODELS)
def test_outputs(name: str) -> None:
    """A model works."""
    _, _, output = whole(name)
    assert output.shape[-1] in (97, 80)
    assert bool(jnp.isfinite(output).all())
    assert float(jnp.std(output)) > 0


@pytest.mark.parametrize("name", MODELS)
def test_a_second_call_gives_the_same(name: str) -> None:
    """A recipe has no memory."""
    again, _, _ = whole.__wrapped__(name)
    assert same(again, whole(name)[0])


@pytest.mark.parametrize("name", MODELS)
def test_a_further_layer(name: str) -> None:
    """It changes no other's bytes."""
    (values, _, _), (longer, _, _) = whole(name), whole(name, more=True)
    assert set(values) < set(longer)
    assert same({path: longer[path] for path in values}, values)
