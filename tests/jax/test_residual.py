"""The presets that scale what ends in the residual stream know the last layer of flax's own attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("jax")
pytest.importorskip("flax")

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import nnx

from fanin.jax import layers_of
from fanin.recipes import Recipe

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the frameworks

WIDTH, DEPTH = 32, 3


class NnxBlock(nnx.Module):
    """Attention of any name, a usual name, and a dense layer of the same name that is no part of it."""

    def __init__(self, rngs: Any) -> None:
        self.attn = nnx.MultiHeadAttention(4, WIDTH, rngs=rngs)
        self.mix = nnx.MultiHeadAttention(4, WIDTH, rngs=rngs)
        self.out = nnx.Linear(WIDTH, WIDTH, rngs=rngs)


class NnxModel(nnx.Module):
    """A list of blocks."""

    def __init__(self, rngs: Any) -> None:
        self.h = nnx.List([NnxBlock(rngs) for _ in range(DEPTH)])


class LinenModel(nn.Module):
    """Blocks of every attention that linen has, under its own names, a usual one and another."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        for number in range(DEPTH):
            x = LinenBlock(name=f"h_{number}")(x)
        return x


class LinenBlock(nn.Module):
    """One of these blocks."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.SelfAttention(4)(nn.MultiHeadDotProductAttention(4)(x))
        x = nn.MultiHeadAttention(4, name="mix")(nn.MultiHeadAttention(4, name="cross_attention")(x))
        return nn.Dense(WIDTH, name="out")(x)


INPUT = jnp.zeros((1, 4, WIDTH))
MODELS: dict[str, tuple[Callable[[], Any], set[str]]] = {
    "nnx": (lambda: nnx.eval_shape(lambda: NnxModel(nnx.Rngs(0))), {"attn", "mix"}),
    "linen": (
        lambda: layers_of(LinenModel(), INPUT),
        {"SelfAttention_0", "MultiHeadDotProductAttention_0", "cross_attention", "mix"},
    ),
    "a tree of linen, without types": (
        lambda: jax.eval_shape(LinenModel().init, jax.random.key(0), INPUT),
        {"SelfAttention_0", "MultiHeadDotProductAttention_0", "cross_attention"},
    ),
}


@pytest.mark.parametrize("preset", ["gpt2", "llama"])
@pytest.mark.parametrize("model", MODELS)
def test_flax_attention(model: str, preset: str) -> None:
    """Its `out` is scaled by depth; queries, keys, values and other layers called `out` are not."""
    make, attention = MODELS[model]
    entries = Recipe.preset(preset).plan(make()).entries
    scaled = {each.path for each in entries if each.parameter.role == "kernel" and "residual" in each.rule}
    separator = "." if model == "nnx" else "_"
    assert scaled == {f"h{separator}{n}.{name}.out.kernel" for n in range(DEPTH) for name in attention}
    stddevs = [each.stddev or 0 for each in entries if each.parameter.role == "kernel"]
    assert min(stddevs) == pytest.approx(max(stddevs) / (2 * DEPTH) ** 0.5)
