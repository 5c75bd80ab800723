"""Where arrays are made: shardings that are checked before anything is drawn, and callbacks in compiled programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from jax.sharding import NamedSharding, PartitionSpec, Sharding

from fanin._core.messages import shown
from fanin._core.tensors import to_jax, to_sharded_jax
from fanin._core.types import DType, RegionLike, Shape
from fanin.distributions.weight import Weight
from fanin.initializers.base import Initializer


@dataclass(frozen=True)
class Source:
    """What a callback makes values of, for those who read the program.

    Attributes:
        initializer: the initializer.
        weight: the whole tensor, of any stream.
    """

    initializer: Initializer
    weight: Weight


@dataclass(frozen=True, eq=False)
class Callback:
    """A function that a program calls for values, with what it makes them of."""

    function: Callable[..., np.ndarray]
    source: Source | None

    def __call__(self, *operands: Any) -> np.ndarray:
        return self.function(*operands)


def compiling() -> bool:
    """Whether JAX traces a function here (`jit`, `nnx.jit`, `eval_shape`), so that an array would become a constant."""
    return isinstance(jax.numpy.zeros(()), Tracer)


def current_mesh() -> Any:
    """The mesh in force, from `jax.set_mesh`; None if there is none."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or compiling():
        return None if mesh.empty else mesh
    # `jax.sharding.get_mesh` refuses to answer in functions that `vmap` and `grad` run, but arrays are on that mesh.
    return getattr(jax.numpy.zeros(()).sharding, "mesh", None)


def or_replicated(sharding: Any) -> Any:
    """The sharding itself; without one, all devices of the mesh in force hold the array, as in JAX."""
    if sharding is not None or jax.sharding.get_abstract_mesh().manual_axes or current_mesh() is None:
        return sharding
    return PartitionSpec()


def checked_sharding(sharding: Any, shape: Shape, name: str, owner: str = "") -> Sharding | None:
    """A sharding for a tensor of this shape, from a sharding, a `PartitionSpec` for the mesh in force, or None.

    Args:
        sharding: what was given.
        shape: the shape of the tensor.
        name: the argument, for messages.
        owner: the path of the array, for messages.

    Raises:
        TypeError: it is neither, or not a `NamedSharding` in a function that JAX compiles.
        ValueError: no mesh is in force, the mesh lacks an axis, or the sharding does not divide the shape evenly.
    """
    if sharding is None:
        return None
    of_owner = f" for {owner}" if owner else ""
    received = f"Received: {name}={shown(sharding)}{of_owner}"
    if isinstance(sharding, PartitionSpec):
        sharding = _on_current_mesh(sharding, name, received)
    if not isinstance(sharding, Sharding):
        raise TypeError(
            f"`{name}` must be a jax.sharding.Sharding, or a PartitionSpec for the mesh in force. {received}."
        )
    if compiling() and not isinstance(sharding, NamedSharding):
        raise TypeError(
            f"`{name}` must be a NamedSharding or a PartitionSpec in a function that JAX compiles. {received}. "
            "Write NamedSharding(mesh, PartitionSpec(…)), or leave the placement to `out_shardings` of jax.jit."
        )
    if isinstance(sharding, NamedSharding) and len(sharding.spec) > len(shape):
        raise ValueError(
            f"`{name}` must have at most one entry for each axis. {received}, whose shape {shape} has {len(shape)}."
        )
    try:
        sharding.shard_shape(shape)
    except ValueError:
        raise ValueError(
            f"`{name}` must divide each axis evenly. {received}, whose shape is {shape}. "
            "Leave that axis out of the PartitionSpec (None), or change its length."
        ) from None
    return sharding


def _on_current_mesh(spec: PartitionSpec, name: str, received: str) -> NamedSharding:
    mesh = current_mesh()
    if mesh is None:
        raise ValueError(
            f"`{name}` must be a sharding if no mesh is in force: a PartitionSpec has no devices. {received}. "
            "Write NamedSharding(mesh, spec), or make the call in `with jax.set_mesh(mesh):`."
        )
    try:
        return NamedSharding(mesh, spec)
    except ValueError as error:
        raise ValueError(
            f"`{name}` must have only axes of the mesh in force, {', '.join(map(str, mesh.axis_names))}. {received} "
            f"({error}). Logical names of axes need rules: nn.logical_axis_rules or nnx.logical_axis_rules."
        ) from None


def array_of(
    pieces: Callable[[Iterable[RegionLike]], Sequence[np.ndarray]],
    make: Callable[[], np.ndarray],
    shape: Shape,
    dtype: DType,
    sharding: Sharding | None,
    source: Source | None = None,
) -> jax.Array:
    """A tensor as an array, made shard by shard if it has a sharding, and by callbacks in a function that JAX compiles.

    Args:
        pieces: a function that makes the arrays of regions.
        make: a function that makes the whole tensor.
        shape: its shape.
        dtype: its dtype.
        sharding: its sharding.
        source: what makes it, if that is one initializer.
    """
    if compiling():
        return traced(lambda region: pieces([region])[0], shape, dtype, sharding, source=source)
    return to_jax(make()) if sharding is None else to_sharded_jax(pieces, shape, dtype, sharding)


def traced(
    make: Callable[..., np.ndarray],
    shape: Shape,
    dtype: DType,
    sharding: Sharding | None,
    *operands: Any,
    source: Source | None = None,
) -> jax.Array:
    """The tensor, or each device's shard of it, made by callbacks when the program runs; the program has no values.

    Args:
        make: a function of a region, and of the operands, that makes the region's values.
        shape: the shape of the tensor.
        dtype: its dtype; JAX may replace it by a narrower one.
        sharding: None, or a `NamedSharding` that has been checked.
        *operands: arrays, traced or not.
        source: what makes the tensor, if that is one initializer.
    """
    dtype = np.dtype(jax.dtypes.canonicalize_dtype(dtype))
    if sharding is None:

        def whole(*operands: np.ndarray) -> np.ndarray:
            return make(..., *operands).astype(dtype, copy=False)

        result = jax.ShapeDtypeStruct(shape, dtype)
        return jax.pure_callback(Callback(whole, source), result, *operands, vmap_method="sequential")

    assert isinstance(sharding, NamedSharding)
    lengths = sharding.shard_shape(shape)
    names = [() if entry is None else (entry,) if isinstance(entry, str) else tuple(entry) for entry in sharding.spec]
    names += [()] * (len(lengths) - len(names))

    def shard(numbers: Sequence[Any], *operands: np.ndarray) -> np.ndarray:
        starts = [int(number) * length for number, length in zip(numbers, lengths, strict=True)]
        region = tuple(slice(start, start + length) for start, length in zip(starts, lengths, strict=True))
        return make(region, *operands).astype(dtype, copy=False)

    def local(*operands: Any) -> Any:
        numbers = [jax.lax.axis_index(each) if each else 0 for each in names]
        result = jax.ShapeDtypeStruct(lengths, dtype)
        return jax.pure_callback(Callback(shard, source), result, numbers, *operands, vmap_method="sequential")

    shards = jax.shard_map(
        local, mesh=sharding.mesh, in_specs=PartitionSpec(), out_specs=sharding.spec, check_vma=False
    )
    return shards(*operands)
