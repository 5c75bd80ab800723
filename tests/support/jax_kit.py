"""What the tests of JAX's models share: the arrays of trees, what initializers make, and small modules of flax."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import nnx
from flax.core import FrozenDict

import fanin
from fanin._core.streams import Stream

SEED = 3
FLAX, KERAS = fanin.Recipe.preset("flax", seed=SEED), fanin.Recipe.preset("keras", seed=SEED)


def flat(tree: Any) -> dict[str, np.ndarray]:
    """The arrays of a tree by fanin's paths."""
    if isinstance(tree, nnx.Module):
        state = nnx.to_flat_state(nnx.state(tree))
        return {
            ".".join(map(str, path)): plain(getattr(value, "get_value", lambda v=value: v)()) for path, value in state
        }
    named = {}
    for path, value in jax.tree_util.tree_leaves_with_path(tree):
        names = jax.tree_util.keystr(path, simple=True, separator=".").replace("/", ".").split(".")
        first = isinstance(tree, (dict, FrozenDict)) and names[0] in ("params", "batch_stats")
        named[".".join(names[first:]).removesuffix(".value")] = plain(value)
    return named


def plain(value: Any) -> np.ndarray:
    """An array as one of NumPy; of keys, their words."""
    typed = jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(value) if typed else value)


def same(first: Any, second: Any) -> bool:
    """Whether arrays, or trees' arrays, have the same shapes, dtypes and bytes."""
    if not isinstance(first, dict):
        first, second = {"": np.asarray(first)}, {"": np.asarray(second)}
    digests = [{path: (v.shape, v.dtype, v.tobytes()) for path, v in each.items()} for each in (first, second)]
    return digests[0] == digests[1]


def drawn(cls: Any, name: str, shape: tuple[int, ...], fans: Any = None, dtype: str = "float32", **more: Any) -> Any:
    """What an initializer of this seed and name makes."""
    initializer = cls(seed=SEED, **more).spawn(name)
    if fans is None:
        return initializer(shape, dtype)
    distribution = initializer.distribution_of_fans(shape, np.dtype(dtype), *fans)
    return fanin.Weight(distribution, Stream(initializer.settled_seed())).make()


class Holder(nnx.Module):
    """A module with one layer."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer


class Small(nn.Module):
    """Some of everything."""

    boxed: bool = False

    @nn.compact
    def __call__(self, x: Any) -> Any:
        init = nn.initializers.lecun_normal()
        x = nn.MultiHeadAttention(2, name="attention")(x)
        x = nn.BatchNorm(use_running_average=True, name="norm")(x)
        return nn.Dense(4, name="fc", kernel_init=nn.with_partitioning(init, ("a", "b")) if self.boxed else init)(x)


SMALL_INPUT = jnp.ones((1, 5, 8))
