"""What the tests of JAX's models share; as a script, `devices`, `mesh` or `x64`, checks for processes of their own."""

from __future__ import annotations

import sys
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import nnx
from flax.core import FrozenDict
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import fanin
import fanin.jax
from fanin.jax import initialize, layers_of
from fanin.plans import Entry

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
    typed = jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(value) if typed else value)


def same(first: Any, second: Any) -> bool:
    """Whether arrays, or trees' arrays, have the same shapes, dtypes and bytes."""
    if not isinstance(first, dict):
        first, second = {"": np.asarray(first)}, {"": np.asarray(second)}
    digests = [{path: (v.shape, v.dtype, v.tobytes()) for path, v in each.items()} for each in (first, second)]
    return digests[0] == digests[1]


def drawn(cls: type, name: str, shape: tuple[int, ...], fans: Any = None, dtype: str = "float32", **more: Any) -> Any:
    """What an initializer of this seed and name makes."""
    initializer = cls(seed=SEED, **more).spawn(name)
    if fans is None:
        return initializer(shape, dtype)
    return initializer.distribution_of_fans(shape, np.dtype(dtype), *fans).draw((initializer.seed, 0))


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


def check_devices() -> None:
    """Shardings of every kind: the bytes of the whole, of pieces that are each made alone."""
    mesh = jax.make_mesh((4, 2), ("x", "y"))
    rows, both, all_of_it = (NamedSharding(mesh, spec) for spec in (P("x"), P("x", "y"), P()))
    shapes = {
        "fc": {"kernel": jax.ShapeDtypeStruct((16, 24), jnp.float32), "bias": jax.ShapeDtypeStruct((24,), jnp.float32)}
    }
    recipe = fanin.Recipe(
        [{"role": "kernel", "initializer": "he_normal"}, {"role": "bias", "initializer": "random_uniform"}], seed=SEED
    )
    expected, fill = flat(initialize(shapes, recipe)[0]), Entry.fill
    by_shape = {
        "fc": {
            "kernel": jax.ShapeDtypeStruct((16, 24), jnp.float32, sharding=both),
            "bias": jax.ShapeDtypeStruct((24,), jnp.float32, sharding=all_of_it),
        }
    }
    cases = [
        (shapes, rows, rows, rows, {"fc.kernel": 4, "fc.bias": 4}),
        (
            shapes,
            lambda each: both if each.role == "kernel" else all_of_it,
            both,
            all_of_it,
            {"fc.kernel": 8, "fc.bias": 1},
        ),
        (shapes, lambda each: both if each.role == "kernel" else None, both, None, {"fc.kernel": 8, "fc.bias": 1}),
        (shapes, {"fc": {"kernel": both, "bias": rows}}, both, rows, {"fc.kernel": 8, "fc.bias": 4}),
        (by_shape, None, both, all_of_it, {"fc.kernel": 8, "fc.bias": 1}),
        (by_shape, rows, rows, rows, {"fc.kernel": 4, "fc.bias": 4}),
    ]
    for tree, shardings, kernel, bias, counts in cases:
        regions: dict[str, list[Any]] = {"fc.kernel": [], "fc.bias": []}

        def noting(self: Entry, array: Any, region: Any = None, regions: Any = regions) -> None:
            regions[self.path].append((array.shape, region))
            fill(self, array, region)

        with mock.patch.object(Entry, "fill", noting):
            made, _ = initialize(tree, recipe, shardings=shardings)
        assert same(flat(made), expected)
        assert made["fc"]["kernel"].sharding == kernel
        assert bias is None or made["fc"]["bias"].sharding == bias
        assert {path: len(each) for path, each in regions.items()} == counts
        assert {path: len(set(map(str, each))) for path, each in regions.items()} == counts
        for path, each in regions.items():
            total = sum(int(np.prod(shape)) for shape, _ in each)
            assert total == expected[path].size, path  # together they are the whole, each once
        for shard in made["fc"]["kernel"].addressable_shards:
            assert np.asarray(shard.data).tobytes() == expected["fc.kernel"][shard.index].tobytes()
    linear = nnx.eval_shape(lambda: nnx.List([nnx.Linear(16, 24, rngs=nnx.Rngs(0))]))
    made, _ = initialize(linear, recipe, shardings=lambda each: both if each.role == "kernel" else rows)
    assert made[0].kernel[...].sharding == both
    assert same(np.asarray(made[0].kernel[...]), drawn(fanin.HeNormal, "0.kernel", (16, 24)))
    cell = nnx.eval_shape(lambda: nnx.List([nnx.GRUCell(16, 24, rngs=nnx.Rngs(0))]))
    for recipe in (KERAS, FLAX):  # blocks in another order, cut elsewhere than between them
        made, _ = initialize(cell, recipe, shardings=lambda each: both if each.role.endswith("kernel") else None)
        assert made[0].dense_i.kernel[...].sharding == both
        assert same(flat(made), flat(initialize(cell, recipe)[0]))
    variables, layers = layers_of(Small(boxed=True), SMALL_INPUT)
    made, _ = initialize(variables, FLAX, layers=layers, shardings=NamedSharding(mesh, P()))
    assert made["params"]["fc"]["kernel"].names == ("a", "b")


def check_mesh() -> None:
    """Where a mesh is in force, abstract arrays have its shardings and axes' names; the arrays have them, too."""
    mesh = jax.make_mesh((4, 2), ("x", "y"))
    rules = [{"role": "kernel", "initializer": "he_normal"}, {"role": "bias", "initializer": "zeros"}]
    recipe = fanin.Recipe(rules, seed=SEED)
    with jax.set_mesh(mesh):
        init = nnx.with_partitioning(nnx.initializers.lecun_normal(), ("x", "y"))
        abstract = nnx.eval_shape(lambda: nnx.List([nnx.Linear(16, 24, kernel_init=init, rngs=nnx.Rngs(0))]))
        made, _ = initialize(abstract, recipe)
    assert made[0].kernel.get_metadata() == abstract[0].kernel.get_metadata()
    assert same(np.asarray(made[0].kernel[...]), drawn(fanin.HeNormal, "0.kernel", (16, 24)))
    assert made[0].kernel[...].sharding.is_equivalent_to(NamedSharding(mesh, P("x", "y")), 2)


def check_x64() -> None:
    """64 bits, where JAX has them."""
    made, _ = initialize({"fc": {"kernel": jax.ShapeDtypeStruct((9, 5), jnp.float64)}}, FLAX)
    assert made["fc"]["kernel"].dtype == jnp.float64
    assert same(made["fc"]["kernel"], drawn(fanin.LecunNormal, "fc.kernel", (9, 5), dtype="float64"))


if __name__ == "__main__":
    {"devices": check_devices, "mesh": check_mesh, "x64": check_x64}[sys.argv[1]]()
