"""Plans written as Orbax checkpoints: arrays are made while they are written, a few at a time.

>>> import tempfile, fanin.jax, jax, orbax.checkpoint as ocp
>>> from fanin.jax.orbax import save
>>> folder = tempfile.mkdtemp() + "/checkpoint"
>>> shapes = {"fc": {"kernel": jax.ShapeDtypeStruct((784, 256), "float32")}}
>>> report = save(folder, shapes, "flax", seed=1)
>>> restored = ocp.StandardCheckpointer().restore(folder, shapes)
>>> bool((restored["fc"]["kernel"] == fanin.jax.initialize(shapes, "flax", seed=1)[0]["fc"]["kernel"]).all())
True
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
from jax.sharding import PartitionSpec, Sharding

from fanin._core.messages import missing, visible
from fanin._core.types import Globs, Unmatched
from fanin.jax.layers import Layer
from fanin.jax.planned import PlannedArray, PlannedTree
from fanin.models.names import Names
from fanin.models.parameters import Parameter
from fanin.recipes.execution import Options, Report
from fanin.recipes.recipe import Recipe, recipe_of

try:
    import orbax.checkpoint as ocp
except ModuleNotFoundError as _error:
    raise missing(_error, "orbax", "Orbax", extra="orbax") from _error

__all__ = ["save"]

_GROUP = 2**26  # bytes that are made and written at once; a larger array is a group of its own


def save(
    path: str | os.PathLike[str],
    model: Any,
    recipe: Recipe | str,
    *,
    seed: int | None = None,
    only: Globs | None = None,
    skip: Globs | None = None,
    names: Names = None,
    unmatched: Unmatched = "error",
    progress: bool | None = None,
    prefix: str | None = None,
    layers: Mapping[str, Layer] | None = None,
    shardings: Sharding | PartitionSpec | Callable[[Parameter], Sharding | PartitionSpec | None] | Any = None,
    force: bool = False,
) -> Report:
    """Writes what `initialize` would make as an Orbax checkpoint, without having all of it in memory.

    Each process makes and writes the shards of its own devices, arrays of up to 64 MiB at a time, or one larger array.
    In several processes, each of them calls this with the same arguments. The folder gets its name when it is complete:
    a call that fails leaves one with a temporary name, which the next call replaces.

    Args:
        path: the folder of the checkpoint, or an address that Orbax writes to. It must not exist.
        model: as in `initialize`. Of a flax.nnx module, `nnx.state(model)` is written, any other tree as it is.
        recipe, seed: as in `initialize`.
        only, skip, names, unmatched, progress, prefix: see `fanin.recipes.Options`.
        layers, shardings: as in `initialize`. The checkpoint can be restored with any other shardings.
        force: whether a checkpoint that is there already is replaced.

    Returns:
        A report of what was made, written and kept.

    Raises:
        fanin.recipes.PlanError: as in `initialize`.
        TypeError: as in `initialize`, or a leaf is of a type that Orbax does not write.
        ValueError: as in `initialize`; an array is empty, which Orbax does not write; `path` exists; or there are
            several processes and an array has no sharding over them. Nothing has been made.
    """
    options = Options(only, skip, names, unmatched, progress, prefix)
    tree = PlannedTree(model, recipe_of(recipe, seed), options, layers=layers, shardings=shardings)
    leaves = {**tree.values(), **tree.planned()}
    registry = _registry(tree)
    for name, leaf in leaves.items():
        _refuse(name, leaf, registry)
    # Random values do not compress, and trying to takes a second copy of an array and half of the time.
    handler = ocp.PyTreeCheckpointHandler(type_handler_registry=registry, use_compression=False)
    with ocp.Checkpointer(handler) as checkpointer:
        checkpointer.save(_absolute(path), args=ocp.args.PyTreeSave(tree.stored(leaves)), force=force)
    return tree.report()


def _absolute(path: str | os.PathLike[str]) -> str:
    """The path as Orbax wants it; addresses such as gs://… are left as they are."""
    path = os.fspath(path)
    return path if "://" in path else os.path.abspath(path)


def _refuse(path: str, leaf: Any, registry: Any) -> None:
    """Raises if Orbax does not write this leaf."""
    if not registry.has(type(leaf)):
        raise TypeError(
            "Leaves of a checkpoint must be of types that Orbax writes: arrays, numbers and strings. "
            f"Received: one of type {type(leaf).__name__} for {visible(path)}. Leave it out of the tree."
        )
    if not isinstance(leaf, (PlannedArray, jax.Array)):
        return
    if 0 in leaf.shape:
        raise ValueError(
            f"Arrays of a checkpoint must have elements: Orbax writes no empty ones. Received: shape {leaf.shape} for "
            f"{visible(path)}. Leave it out of the tree."
        )
    if jax.process_count() > 1 and (leaf.sharding is None or leaf.sharding.is_fully_addressable):
        raise ValueError(
            "Arrays of a checkpoint must have a sharding over all processes if there are several. Received: sharding="
            f"{leaf.sharding} for {visible(path)} in process {jax.process_index()} of {jax.process_count()}. Pass "
            "`shardings`, or make the call in `with jax.set_mesh(mesh):`."
        )


def _registry(tree: PlannedTree) -> Any:
    """Orbax's handlers of its types, and one for planned arrays and those of JAX."""
    handlers = ocp.type_handlers
    writer = _Writer(tree)
    others = [(each, handlers.get_type_handler(each)) for each in handlers.supported_types() if each is not jax.Array]
    return handlers.create_type_handler_registry((PlannedArray, writer), (jax.Array, writer), *others)


class _Writer(ocp.type_handlers.TypeHandler):
    """The writer of arrays: those that are there as Orbax does it, planned ones group by group."""

    _array_metadata_store = None  # says to Orbax that there are no notes on every array, which are all made in one call

    def __init__(self, tree: PlannedTree) -> None:
        self._tree = tree
        self._present = ocp.type_handlers.get_type_handler(jax.Array)  # it notes the kinds of random keys
        # Replicas that share the writing of an array would each have a copy of their part.
        self._planned = ocp.type_handlers.ArrayHandler(use_replica_parallel=False)

    def typestr(self) -> str:
        """The name of the type: planned arrays are restored as JAX's."""
        return self._present.typestr()

    async def serialize(self, values: Sequence[Any], infos: Sequence[Any], args: Any = None) -> Sequence[Any]:
        """Writes arrays; the planned ones are written when this returns."""
        args = args or [ocp.SaveArgs()] * len(values)
        requests = list(zip(values, infos, args, strict=True))
        present = [each for each in requests if not isinstance(each[0], PlannedArray)]
        futures = await self._present.serialize(*map(list, zip(*present, strict=True))) if present else []
        of_path = {each[0].path: each for each in requests if isinstance(each[0], PlannedArray)}
        for group in _groups(self._tree.arrays()):
            _, infos, args = zip(*(of_path[each.path] for each in group), strict=True)
            for future in await self._planned.serialize([each.make() for each in group], infos, args):
                future.result()
        return futures

    async def deserialize(self, infos: Sequence[Any], args: Any = None) -> Sequence[Any]:
        """Reads arrays, as Orbax does."""
        return await self._present.deserialize(infos, args)

    async def metadata(self, infos: Sequence[Any]) -> Sequence[Any]:
        """Reads what is noted about arrays, as Orbax does."""
        return await self._present.metadata(infos)


def _groups(arrays: Iterable[PlannedArray]) -> Iterator[list[PlannedArray]]:
    """Successive arrays of which this process makes at most `_GROUP` bytes, and larger ones alone."""
    group: list[PlannedArray] = []
    total = 0
    for array in arrays:
        if group and total + array.local_nbytes > _GROUP:
            yield group
            group, total = [], 0
        group.append(array)
        total += array.local_nbytes
    if group:
        yield group
