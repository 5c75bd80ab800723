"""Trees of narrow floats: each array is the float32 array of the same recipe, rounded once, byte for byte.

ml_dtypes' own conversion is the judge. Sharded ones are in jax_processes.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("jax")
pytest.importorskip("flax")
pytest.importorskip("equinox")

import equinox as eqx
import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import nnx

import fanin
from fanin._core.settings import TIERS
from fanin.jax import as_jax, initialize, layers_of
from jax_kit import FLAX, KERAS, SEED, flat, same
from strategies import examples, seeds

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the frameworks
DTYPES = ("bfloat16", "float16", "float8_e4m3fn")
WIDTH = {"minval": -0.3, "maxval": 0.7}
RECIPES: dict[str, fanin.Recipe] = {
    "flax": FLAX,
    "keras": KERAS,
    "uniform": fanin.Recipe([{"path": "*", "initializer": "random_uniform", **WIDTH}], seed=SEED),
    "normal": fanin.Recipe([{"path": "*", "initializer": "random_normal", "mean": 0.1, "stddev": 0.7}], seed=SEED),
    "truncated normal": fanin.Recipe([{"path": "*", "initializer": "truncated_normal", "stddev": 0.3}], seed=SEED),
    "subnormal": fanin.Recipe([{"path": "*", "initializer": "random_normal", "stddev": 1e-6}], seed=SEED),
    "constant": fanin.Recipe([{"path": "*", "initializer": "constant", "value": 0.3}], seed=SEED),
}
SEQUENCE, IMAGE, K = jnp.ones((1, 3, 12)), jnp.ones((1, 7, 7, 8)), jax.random.key(0)


def of_linen(module: Any, inputs: Any) -> Callable[[], tuple[Any, dict[str, Any]]]:
    """The variables of a module of linen, and what `initialize` needs besides them."""

    def make() -> tuple[Any, dict[str, Any]]:
        variables, layers = layers_of(module, inputs)
        return variables, {"layers": layers}

    return make


def of_equinox(make: Callable[[], Any]) -> Callable[[], tuple[Any, dict[str, Any]]]:
    """The same of a module of equinox."""
    return lambda: (eqx.filter_eval_shape(make), {})


# The kernel of the first has more elements than are rounded at a time.
MODELS: dict[str, Callable[[], tuple[Any, dict[str, Any]]]] = {
    "Dense": of_linen(nn.Dense(300), jnp.ones((1, 300))),
    "DenseGeneral": of_linen(nn.DenseGeneral((4, 6)), SEQUENCE),
    "Conv in groups": of_linen(nn.Conv(12, (3, 3), feature_group_count=4), IMAGE),
    "attention": of_linen(nn.MultiHeadAttention(2, qkv_features=12), SEQUENCE),
    "LSTM": of_linen(nn.RNN(nn.LSTMCell(5)), SEQUENCE),
    "GRU": of_linen(nn.RNN(nn.GRUCell(5)), SEQUENCE),
    "norm": of_linen(nn.BatchNorm(use_running_average=True), SEQUENCE),
    "Embed": of_linen(nn.Embed(20, 6), jnp.ones((2, 3), int)),
    "equinox's Linear": of_equinox(lambda: eqx.nn.Linear(9, 7, key=K)),
    "equinox's Conv2d": of_equinox(lambda: eqx.nn.Conv2d(6, 8, 3, groups=2, key=K)),
    "equinox's LSTM": of_equinox(lambda: eqx.nn.LSTMCell(6, 5, key=K)),
    "equinox's GRU": of_equinox(lambda: eqx.nn.GRUCell(6, 5, key=K)),
}


def narrowed(tree: Any, dtype: str) -> Any:
    """The same shapes of another dtype."""
    return jax.tree.map(lambda each: jax.ShapeDtypeStruct(each.shape, dtype), tree)


def assert_is_rounded(narrow: Any, wide: Any, dtype: str) -> None:
    """The arrays of a tree are those of the other one after ml_dtypes' conversion."""
    expected = {path: value.astype(jnp.dtype(dtype)) for path, value in flat(wide).items()}
    assert expected
    assert same(flat(narrow), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("recipe", ["flax", "keras", "uniform"])
@pytest.mark.parametrize("name", MODELS)
def test_models(name: str, recipe: str, dtype: str) -> None:
    """Every kind of layer, under presets and a uniform law."""
    tree, options = MODELS[name]()
    narrow, _ = initialize(narrowed(tree, dtype), RECIPES[recipe], **options)
    wide, _ = initialize(tree, RECIPES[recipe], **options)
    assert_is_rounded(eqx.filter(narrow, eqx.is_array), eqx.filter(wide, eqx.is_array), dtype)


@pytest.mark.parametrize("dtype", [*DTYPES, "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"])
@pytest.mark.parametrize("recipe", [name for name in RECIPES if name not in ("flax", "keras")])
def test_recipes(recipe: str, dtype: str) -> None:
    """Every law and every narrow dtype, also where values become subnormal."""
    tree = {"a": jax.ShapeDtypeStruct((30, 20), "float32"), "b": jax.ShapeDtypeStruct((), "float32")}
    narrow, wide = (initialize(each, RECIPES[recipe])[0] for each in (narrowed(tree, dtype), tree))
    assert_is_rounded(narrow, wide, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("recipe", ["flax", "keras"])
@pytest.mark.parametrize("cell", ["GRUCell", "LSTMCell", "OptimizedLSTMCell"])
def test_fused_gates_of_nnx(cell: str, recipe: str, dtype: str) -> None:
    """Gates in another order than Keras's, in one kernel."""

    def make(param_dtype: Any) -> Any:
        return nnx.eval_shape(lambda: getattr(nnx, cell)(6, 5, param_dtype=param_dtype, rngs=nnx.Rngs(0)))

    narrow, wide = (initialize(make(each), RECIPES[recipe])[0] for each in (jnp.dtype(dtype), jnp.float32))
    assert_is_rounded(narrow, wide, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_shared_arrays_of_nnx(dtype: str) -> None:
    """An array that is there twice is one, of which the float32 one is rounded."""

    def make(param_dtype: Any) -> Any:
        pair: Any = nnx.List([nnx.Linear(6, 6, param_dtype=param_dtype, rngs=nnx.Rngs(0)) for _ in range(2)])
        pair[1].kernel = pair[0].kernel
        return pair

    narrow, wide = (initialize(make(each), RECIPES["uniform"])[0] for each in (jnp.dtype(dtype), jnp.float32))
    assert narrow[0].kernel is narrow[1].kernel
    assert_is_rounded(narrow, wide, dtype)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_tiers(dtype: str, tier: str) -> None:
    """In every tier of the processor, and by plain NumPy."""
    tree = {"a": jax.ShapeDtypeStruct((30, 20), "float32")}
    wide, _ = initialize(tree, RECIPES["uniform"])
    with fanin.config.using(tier=tier):
        narrow, _ = initialize(narrowed(tree, dtype), RECIPES["uniform"])
    assert_is_rounded(narrow, wide, dtype)


@given(
    law=st.sampled_from(["random_normal", "random_uniform", "truncated_normal"]),
    dtype=st.sampled_from(DTYPES),
    seed=seeds,
    scale=st.floats(2.0**-20, 2.0**6),
    shape=st.lists(st.integers(0, 9), max_size=4),
)
@examples(100)
def test_any_numbers(law: str, dtype: str, seed: int, scale: float, shape: list[int]) -> None:
    """Any seed, law, scale and shape."""
    numbers = {"minval": -scale, "maxval": scale * 0.7} if law == "random_uniform" else {"stddev": scale}
    recipe = fanin.Recipe([{"path": "*", "initializer": law, **numbers}], seed=seed)
    tree = {"a": jax.ShapeDtypeStruct(tuple(shape), "float32")}
    narrow, wide = (initialize(each, recipe)[0] for each in (narrowed(tree, dtype), tree))
    assert_is_rounded(narrow, wide, dtype)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_initializers_keep_their_own_bits(dtype: str) -> None:
    """A key's array is drawn in its dtype: it is another one than the rounded one."""
    init = as_jax(fanin.RandomUniform(seed=SEED))
    narrow, wide = (np.asarray(init(K, (40, 60), each)) for each in (dtype, "float32"))
    assert narrow.tobytes() != wide.astype(narrow.dtype).tobytes()
