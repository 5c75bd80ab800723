"""Modules of narrow floats: each is the float32 module of the same recipe, rounded once, byte for byte.

PyTorch's own conversion is the judge.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")

import torch
from torch import nn

import fanin
from fanin._core.settings import TIERS
from fanin.torch import initialize
from strategies import examples, seeds
from torch_kit import SEED, bits, on_meta, raw

DTYPES = ("bfloat16", "float16", "float8_e4m3fn")


class Tied(nn.Module):
    """An embedding and a head with one weight, and a layer that is there twice."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(60, 30), nn.Linear(30, 60)
        self.head.weight = self.embedding.weight
        self.layer = self.again = nn.Linear(30, 30)


class Flat(nn.Module):
    """Parameters that are views of one buffer, one of them transposed, one of every other element, one of rank 0."""

    def __init__(self) -> None:
        super().__init__()
        flat = torch.zeros(10_000)
        self.first = nn.Parameter(flat[:600].view(20, 30))
        self.transposed = nn.Parameter(flat[600:1200].view(20, 30).T)
        self.apart = nn.Parameter(flat[2000:8000].view(60, 100)[1::2, ::3])
        self.number = nn.Parameter(flat[9999])


def channels_last() -> Any:
    """A convolution whose memory has another order than its axes."""
    module: Any = nn.Conv2d(64, 128, 3)
    return module.to(memory_format=torch.channels_last)


# The weights of the first two have more elements than are rounded at a time.
MODULES: dict[str, Callable[[], Any]] = {
    "linear": lambda: nn.Linear(300, 300),
    "channels last": channels_last,
    "depthwise": lambda: nn.Conv2d(16, 32, 3, groups=16),
    "transposed convolution": lambda: nn.ConvTranspose1d(6, 8, 3, groups=2),
    "ties": Tied,
    "queries, keys and values": lambda: nn.MultiheadAttention(32, 4),
    "LSTM": lambda: nn.LSTM(20, 30, bidirectional=True),
    "GRU": lambda: nn.GRU(20, 30),
    "padding": lambda: nn.Embedding(60, 30, padding_idx=3),
    "norms": lambda: nn.Sequential(nn.BatchNorm1d(30), nn.LayerNorm(30)),
    "empty": lambda: nn.Embedding(0, 30),
}
WIDTH = {"minval": -0.3, "maxval": 0.7}
RECIPES: dict[str, fanin.Recipe] = {
    **{name: fanin.Recipe.preset(name, seed=SEED) for name in ("torch", "keras")},
    "normal": fanin.Recipe([{"path": "*", "initializer": "random_normal", "mean": 0.1, "stddev": 0.7}], seed=SEED),
    "uniform": fanin.Recipe([{"path": "*", "initializer": "random_uniform", **WIDTH}], seed=SEED),
    "truncated normal": fanin.Recipe([{"path": "*", "initializer": "truncated_normal", "stddev": 0.3}], seed=SEED),
    "orthogonal": fanin.Recipe(
        [{"rank": [2, 3, 4], "initializer": "orthogonal"}, {"path": "*", "initializer": "ones"}], seed=SEED
    ),
    "subnormal": fanin.Recipe([{"path": "*", "initializer": "random_normal", "stddev": 1e-6}], seed=SEED),
    "constant": fanin.Recipe([{"path": "*", "initializer": "constant", "value": 0.3}], seed=SEED),
}
TOO_LARGE = fanin.Recipe([{"path": "*", "initializer": "random_normal", "stddev": 6e4}], seed=SEED)
LAWS = [name for name in RECIPES if name not in ("torch", "keras", "orthogonal")]


def assert_is_rounded(make: Callable[[], Any], recipe: fanin.Recipe, dtype: str, meta: bool = False) -> None:
    """A narrow module, made in memory or on the meta device, is the float32 one after PyTorch's conversion."""
    narrow, wide = (on_meta(make) if meta else make()).to(getattr(torch, dtype)), make()
    initialize(narrow, recipe)
    initialize(wide, recipe)
    assert {tensor.dtype for tensor in narrow.parameters()} == {getattr(torch, dtype)}
    assert raw(narrow) == raw(wide.to(getattr(torch, dtype)))


@pytest.mark.parametrize("meta", [False, True], ids=["in memory", "from meta"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("recipe", ["torch", "keras", "uniform"])
@pytest.mark.parametrize("name", MODULES)
def test_modules(name: str, recipe: str, dtype: str, meta: bool) -> None:
    """Every kind of module, under presets and a uniform law."""
    assert_is_rounded(MODULES[name], RECIPES[recipe], dtype, meta)


@pytest.mark.parametrize("dtype", [*DTYPES, "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes(recipe: str, dtype: str) -> None:
    """Every law and every narrow dtype, also where values become subnormal."""
    assert_is_rounded(lambda: nn.Linear(30, 20), RECIPES[recipe], dtype)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"])
def test_what_is_too_large(dtype: str) -> None:
    """Values that a dtype is too narrow for become what it has for them: infinity or NaN."""
    assert_is_rounded(lambda: nn.Linear(30, 20), TOO_LARGE, dtype)


def test_what_is_too_large_for_float8_e4m3fn() -> None:
    """It becomes NaN, as in ml_dtypes, where PyTorch's own conversion takes the largest number."""
    narrow, wide = nn.Linear(30, 20).to(torch.float8_e4m3fn), nn.Linear(30, 20)
    initialize(narrow, TOO_LARGE)
    initialize(wide, TOO_LARGE)
    with np.errstate(all="ignore"):
        expected = wide.weight.detach().numpy().astype(ml_dtypes.float8_e4m3fn)
    assert np.isnan(expected.astype(np.float32)).any()
    assert bits(narrow.weight) == expected.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("recipe", LAWS)
def test_views(recipe: str, dtype: str) -> None:
    """Parameters that are anywhere in one buffer, each with the bytes that a tensor of its own has."""
    narrow, wide = Flat(), Flat()
    initialize(wide, RECIPES[recipe])
    for name, parameter in list(narrow.named_parameters()):
        view = torch.zeros(10_000, dtype=getattr(torch, dtype)).as_strided(
            parameter.shape, parameter.stride(), parameter.storage_offset()
        )
        setattr(narrow, name, nn.Parameter(view))
    initialize(narrow, RECIPES[recipe])
    assert not narrow.apart.is_contiguous()
    assert raw(narrow) == raw(wide.to(getattr(torch, dtype)))


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("recipe", LAWS)
def test_tiers(recipe: str, dtype: str, tier: str) -> None:
    """In every tier of the processor, and by plain NumPy."""
    with fanin.config.using(tier=tier):
        assert_is_rounded(lambda: nn.Linear(30, 20), RECIPES[recipe], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_many_threads(dtype: str, many_threads: None) -> None:
    """However many threads share the work."""
    with fanin.config.using(threads=7):
        assert_is_rounded(MODULES["linear"], RECIPES["uniform"], dtype)


@given(
    law=st.sampled_from(["random_normal", "random_uniform", "truncated_normal"]),
    dtype=st.sampled_from(DTYPES),
    seed=seeds,
    scale=st.floats(2.0**-20, 2.0**6),
    sizes=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
@examples(100)
def test_any_numbers(law: str, dtype: str, seed: int, scale: float, sizes: tuple[int, int]) -> None:
    """Any seed, law, scale and size."""
    numbers = {"minval": -scale, "maxval": scale * 0.7} if law == "random_uniform" else {"stddev": scale}
    recipe = fanin.Recipe([{"path": "*", "initializer": law, **numbers}], seed=seed)
    assert_is_rounded(lambda: nn.Linear(*sizes), recipe, dtype)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("initializer", ["RandomUniform", "LecunUniform", "RandomNormal"])
def test_initializers_keep_their_own_bits(initializer: str, dtype: str) -> None:
    """A direct call draws in its dtype, as tf_keras does: its 16-bit tensor is another one than the rounded one."""
    cls = getattr(fanin, initializer)
    narrow, wide = (torch.zeros(40, 60, dtype=getattr(torch, each)) for each in (dtype, "float32"))
    fanin.torch.fill_(narrow, cls(seed=SEED))
    fanin.torch.fill_(wide, cls(seed=SEED))
    assert bits(narrow) != bits(wide.to(narrow.dtype))


def test_models_of_64_bits_are_no_rounded_ones() -> None:
    """A float64 module is drawn in float64: it has more bits than the float32 one."""
    module = nn.Linear(30, 20).double()
    initialize(module, RECIPES["normal"])
    kernel = fanin.RandomNormal(0.1, 0.7, seed=SEED).spawn("weight")((30, 20), "float64")
    assert bits(module.weight.T) == kernel.tobytes()
    assert not torch.equal(module.weight, module.weight.float().double())
