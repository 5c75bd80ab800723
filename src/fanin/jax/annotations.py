"""The shardings that arrays, shapes and flax's metadata have by themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax.core import Tracer
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

from fanin.jax.shards import compiling, current_mesh

# A function that returns the sharding that a framework's metadata have for an array; None without one.
Annotation = Callable[[], Any]


def not_annotated() -> None:
    """The annotation of an array without metadata."""
    return


def annotation_of_variable(variable: Any) -> Annotation:
    """The annotation of a variable of flax.nnx, from `nnx.with_partitioning` and its kin."""
    metadata = variable.get_metadata()
    if not any(metadata.get(key) for key in ("out_sharding", "sharding_names", "sharding")):
        return not_annotated

    def annotation() -> Any:
        from flax import nnx

        own = metadata.get("out_sharding")
        if isinstance(own, NamedSharding):
            return own
        return _on_mesh(metadata.get("mesh"), nnx.get_partition_spec(variable).get_value())

    return annotation


def annotation_of_box(box: Any) -> Annotation:
    """The annotation of a box of flax.linen, from `nn.with_partitioning` or `nn.with_logical_partitioning`."""

    def annotation() -> Any:
        from flax import linen
        from flax.linen.spmd import logical_to_mesh

        spec = linen.get_partition_spec(box)
        if isinstance(box, linen.LogicallyPartitioned):
            spec = logical_to_mesh(spec, box.rules)
        return _on_mesh(getattr(box, "mesh", None), spec)

    return annotation


def _on_mesh(mesh: Any, spec: Any) -> Any:
    if not isinstance(spec, PartitionSpec):
        return None
    if mesh is not None:
        return NamedSharding(mesh, spec)
    return None if current_mesh() is None else spec


def own_sharding(value: Any, annotation: Annotation) -> Any:
    """The sharding that an array or a shape has itself, or else its annotation if a mesh is in force.

    The sharding of a shape may be on an abstract mesh; it is then returned as a `PartitionSpec` for the mesh in force.
    """
    traced = compiling()
    if isinstance(value, Tracer):
        sharding: Any = jax.typeof(value).sharding
        sharding = sharding if any(sharding.spec) else None  # without explicit axes, a tracer's sharding is not known
    else:
        sharding = getattr(value, "sharding", None)
        moves = traced and not isinstance(sharding, NamedSharding)  # where it was before does not matter to a program
        if isinstance(value, jax.Array) and (moves or not value.committed):
            sharding = None
    if isinstance(getattr(sharding, "mesh", None), AbstractMesh):
        sharding = sharding.spec if any(sharding.spec) or current_mesh() is not None else None
    is_settled = any(sharding) if isinstance(sharding, PartitionSpec) else sharding is not None
    return sharding if is_settled or _within_shard_map() else annotation() or sharding


def _within_shard_map() -> bool:
    """Whether each device has its own part of every array here, so that annotations of whole arrays do not apply."""
    return bool(jax.sharding.get_abstract_mesh().manual_axes)
