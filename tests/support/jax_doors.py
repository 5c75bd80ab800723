"""Every function of fanin.jax.initializers once, with what it is in JAX and in fanin; and checks for other processes.

    python jax_doors.py GROUP

prints a JSON object with the error of each check of the group, as jax_processes.py does.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

import fanin
from fanin.jax import as_jax, initializers
from jax_processes import KEY, assert_is_whole, errors_of, meshes, same, shardings

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """A call of a function that JAX and fanin have.

    Attributes:
        build: a function of the library that makes its initializer.
        source: the fanin initializer that makes the values.
        shape: a shape for it, whose axes 8 devices can divide.
        dtype: the dtype.
    """

    build: Callable[[Any], Any]
    source: fanin.Initializer
    shape: Shape = (16, 24)
    dtype: str = "float32"


def scaling(scale: float, mode: str, distribution: str, dtype: str = "float32", **axes: Any) -> Case:
    """A case of `variance_scaling`."""
    ours = {"normal": "untruncated_normal"}.get(distribution, distribution)
    cls = fanin.ComplexVarianceScaling if dtype == "complex64" else fanin.VarianceScaling
    shape = (16, 8, 24) if axes else (16, 24)
    given = {"dtype": dtype} if dtype == "complex64" else {}
    return Case(
        lambda library: library.variance_scaling(scale, mode, distribution, **given, **axes),
        cls(scale, mode, ours, **axes),
        shape,
        dtype,
    )


CASES: dict[str, Case] = {
    "zeros": Case(lambda library: library.zeros, fanin.Zeros()),
    "ones": Case(lambda library: library.ones, fanin.Ones()),
    "constant": Case(lambda library: library.constant(0.3), fanin.Constant(0.3)),
    "constant, array": Case(lambda library: library.constant(jnp.arange(24.0)), fanin.Table(np.arange(24.0))),
    "uniform": Case(lambda library: library.uniform(), fanin.RandomUniform(0.0, 0.01)),
    "uniform, scale": Case(lambda library: library.uniform(jnp.float32(2.0)), fanin.RandomUniform(0.0, 2.0)),
    "normal": Case(lambda library: library.normal(), fanin.RandomNormal(0.0, 0.01)),
    "normal, complex": Case(lambda library: library.normal(0.5), fanin.ComplexNormal(0.5), dtype="complex64"),
    "truncated_normal": Case(
        lambda library: library.truncated_normal(), fanin.TruncatedNormal(0.0, 0.01, lower=-2.0, upper=2.0)
    ),
    "truncated_normal, tail": Case(
        lambda library: library.truncated_normal(0.1, lower=3.0, upper=4.0),
        fanin.TruncatedNormal(0.0, 0.1, lower=3.0, upper=4.0),
    ),
    "truncated_normal, one bound": Case(
        lambda library: library.truncated_normal(0.1, lower=-jnp.inf, upper=1.0),
        fanin.TruncatedNormal(0.0, 0.1, upper=1.0),
    ),
    "truncated_normal, no bound": Case(
        lambda library: library.truncated_normal(0.1, lower=-np.inf, upper=np.inf), fanin.RandomNormal(0.0, 0.1)
    ),
    "glorot_normal": Case(lambda library: library.glorot_normal(), fanin.GlorotNormal()),
    "glorot_uniform": Case(lambda library: library.glorot_uniform(), fanin.GlorotUniform()),
    "lecun_normal": Case(lambda library: library.lecun_normal(), fanin.LecunNormal()),
    "lecun_uniform": Case(lambda library: library.lecun_uniform(), fanin.LecunUniform()),
    "he_normal": Case(lambda library: library.he_normal(), fanin.HeNormal()),
    "he_uniform": Case(lambda library: library.he_uniform(), fanin.HeUniform()),
    "he_normal, convolution": Case(lambda library: library.he_normal(), fanin.HeNormal(), (3, 2, 16, 8)),
    "he_normal, axes": Case(
        lambda library: library.he_normal(in_axis=0, out_axis=(1, 2)),
        fanin.HeNormal(in_axis=0, out_axis=(1, 2)),
        (16, 8, 24),
    ),
    "glorot_uniform, experts": Case(
        lambda library: library.glorot_uniform(batch_axis=0), fanin.GlorotUniform(batch_axis=0), (8, 16, 24)
    ),
    "variance_scaling, vector": Case(
        lambda library: library.variance_scaling(1, "fan_in", "normal", in_axis=[0], out_axis=[]),
        fanin.VarianceScaling(1.0, "fan_in", "untruncated_normal", in_axis=[0], out_axis=[]),
        (384,),
    ),
    "variance_scaling, flax's embeddings": Case(
        lambda library: library.variance_scaling(1.0, "fan_in", "normal", out_axis=0),
        fanin.VarianceScaling(1.0, "fan_in", "untruncated_normal", in_axis=-1, out_axis=0),
    ),
    "variance_scaling, zeros": Case(lambda library: library.variance_scaling(0.0, "fan_in", "uniform"), fanin.Zeros()),
    **{
        f"variance_scaling, {mode}, {distribution}": scaling(1.7, mode, distribution)
        for mode in ("fan_in", "fan_out", "fan_avg", "fan_geo_avg")
        for distribution in ("truncated_normal", "normal", "uniform")
    },
    **{
        f"variance_scaling, complex {distribution}": scaling(1.7, "fan_geo_avg", distribution, "complex64")
        for distribution in ("truncated_normal", "normal", "uniform")
    },
    "variance_scaling, two inputs": scaling(1.7, "fan_avg", "uniform", in_axis=(0, 1), out_axis=2),
    "orthogonal": Case(lambda library: library.orthogonal(1.5), fanin.Orthogonal(1.5)),
    "orthogonal, tall": Case(lambda library: library.orthogonal(), fanin.Orthogonal(), (24, 16)),
    "orthogonal, columns": Case(
        lambda library: library.orthogonal(column_axis=1), fanin.Orthogonal(column_axis=1), (4, 16, 4)
    ),
    "orthogonal, complex": Case(lambda library: library.orthogonal(0.5), fanin.Unitary(0.5), dtype="complex64"),
    "delta_orthogonal": Case(lambda library: library.delta_orthogonal(), fanin.DeltaOrthogonal(), (3, 2, 16, 24)),
}

GROUPS: dict[str, dict[str, Callable[[], None]]] = {"devices": {}, "x64": {}}


def check(group: str, name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Enters a check of a case in a group."""

    def enter(function: Callable[..., None]) -> Callable[..., None]:
        GROUPS[group][f"{function.__name__}: {name}"] = partial(function, CASES[name])
        return function

    return enter


def shards_equal_the_whole(case: Case) -> None:
    """Every sharding, eager and the last one compiled, has the bytes of the array of one device, as JAX places it."""
    init = case.build(initializers)
    whole = np.asarray(init(KEY, case.shape, case.dtype))
    specs = [P(), P(*(None,) * (len(case.shape) - 2), "y", "x")] if len(case.shape) > 1 else [P(), P(("x", "y"))]
    placed = list(shardings(specs))
    for sharding in placed:
        assert_is_whole(init(KEY, case.shape, case.dtype, sharding), whole, sharding)
    compiled = jax.jit(init, static_argnums=(1, 2, 3))
    assert_is_whole(compiled(jnp.asarray(KEY), case.shape, case.dtype, placed[-1]), whole, placed[-1])


def specs_are_of_the_mesh_in_force(case: Case) -> None:
    """A `PartitionSpec` is of the mesh that `jax.set_mesh` has set; without one, all devices hold the array."""
    init = case.build(initializers)
    whole = same(init(KEY, case.shape, case.dtype))
    for mesh in meshes():
        with jax.set_mesh(mesh):
            placed, everywhere = init(KEY, case.shape, case.dtype, P(None)), init(KEY, case.shape, case.dtype)
        assert len(placed.addressable_shards) == len(everywhere.addressable_shards) == jax.device_count()
        assert same(placed) == same(everywhere) == whole


def mapped_functions_make_the_same(case: Case) -> None:
    """In `shard_map`, each device has the array that its key chooses."""
    init, mesh, spec = case.build(initializers), meshes()[0], P(("x", "y"))
    keys = jax.random.split(jax.random.key(7), 8)

    def local(keys: Any) -> Any:
        return init(keys[0], case.shape, case.dtype)[None]

    mapped = jax.shard_map(local, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
    made = np.asarray(jax.jit(mapped)(keys))
    for key, each in zip(keys, made, strict=True):
        assert each.tobytes() == same(init(key, case.shape, case.dtype))


def wide_dtypes(case: Case) -> None:
    """Where 64 bits are enabled, the default dtype has them, and the bytes are those of fanin's class."""
    init = case.build(initializers)
    if case.dtype == "float32":
        assert init(KEY, case.shape).dtype == case.build(jax.nn.initializers)(jnp.asarray(KEY), case.shape).dtype
        assert init(KEY, case.shape).dtype == "float64"
    wide = {"float32": "float64", "complex64": "complex128"}[case.dtype]
    made = init(KEY, case.shape, wide)
    assert made.dtype == wide
    assert same(made) == same(as_jax(case.source)(KEY, case.shape, wide))


# Shards know nothing of modes: one of them is enough.
_PLACED = [name for name in CASES if not name.startswith(("variance_scaling, fan_in", "variance_scaling, fan_out"))]
for _name in CASES:
    check("x64", _name)(wide_dtypes)
    for _function in (shards_equal_the_whole, specs_are_of_the_mesh_in_force, mapped_functions_make_the_same):
        if _name in _PLACED:
            check("devices", _name)(_function)


if __name__ == "__main__":
    print(json.dumps({"errors": errors_of(GROUPS[sys.argv[1]])}))
