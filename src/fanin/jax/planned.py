"""Trees with a plan: each array that a recipe draws as data that can make it, and the tree rebuilt with the results."""

from __future__ import annotations

import math
from collections.abc import Collection, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from jax.sharding import NamedSharding, PartitionSpec, Sharding

from fanin._core.memory import allocate
from fanin._core.messages import visible
from fanin._core.shapes import parse_region
from fanin._core.types import DType, RegionLike, Shape
from fanin.distributions.weight import pieces_of
from fanin.jax.annotations import own_sharding
from fanin.jax.layers import Layer
from fanin.jax.shards import array_of, checked_sharding, compiling, or_replicated
from fanin.jax.trees import Leaf, Tree, tree_of
from fanin.recipes.entry import Entry
from fanin.recipes.execution import Execution, Options, Report
from fanin.recipes.plan import Plan, PlanError
from fanin.recipes.recipe import Recipe


@dataclass(frozen=True)
class PlannedArray:
    """An array that a plan makes, before it is made.

    Attributes:
        path: the array's path in its tree.
        entry: what the plan has for it.
        value: the leaf that it replaces: an array or a shape.
        sharding: its sharding, which has been checked; None for the default device.
    """

    path: str
    entry: Entry
    value: Any
    sharding: Sharding | None

    @property
    def shape(self) -> Shape:
        """The shape of the whole array."""
        return self.entry.shape

    @property
    def dtype(self) -> DType:
        """The dtype of its elements."""
        return self.entry.parameter.dtype

    @property
    def nbytes(self) -> int:
        """The size of the whole array, in bytes."""
        return self.entry.parameter.nbytes

    @property
    def local_nbytes(self) -> int:
        """The size of what this process makes of it: each of its devices' distinct shards once, in bytes."""
        if self.sharding is None:
            return self.nbytes
        indices: Any = self.sharding.addressable_devices_indices_map(self.shape).values()
        regions = {parse_region(each, self.shape) for each in indices}
        return sum(math.prod(region.lengths) for region in regions) * self.dtype.itemsize

    def make(self) -> jax.Array:
        """The array, of which this process makes the shards of its own devices, each distinct one once."""
        source = self.entry if self.entry.covers else _Overlaid(self.entry, self.value)
        return array_of(source.pieces, source.make, self.shape, self.dtype, self.sharding)


class _Overlaid:
    """An array with the blocks that a rule keeps, and new values for the others."""

    def __init__(self, entry: Entry, value: Any) -> None:
        self._entry, self._value = entry, value

    def make(self) -> np.ndarray:
        """The whole array."""
        return self._entry.over(np.asarray(self._value))

    def pieces(self, regions: Iterable[RegionLike]) -> list[np.ndarray]:
        """An array for each region."""
        return pieces_of(self._entry.shape, self._region, regions)

    def _region(self, region: RegionLike) -> np.ndarray:
        present = _present(self._value, region)
        out = allocate(present.shape, self._entry.parameter.dtype)
        out[...] = present
        self._entry.fill(out, region)
        return out


def _present(value: Any, region: RegionLike) -> Any:
    """The present values of a region, which are a shard if the array is sharded in the same way."""
    if isinstance(value, jax.Array):
        wanted = parse_region(region, value.shape)
        for each in value.addressable_shards:
            if parse_region(each.index, value.shape) == wanted:
                return np.asarray(each.data)
    return np.asarray(value)[region]  # pyright: ignore[reportArgumentType]


class PlannedTree:
    """A tree and the plan of its arrays. Everything has been checked once it is there, and nothing has been made."""

    def __init__(
        self,
        model: Any,
        recipe: Recipe,
        options: Options,
        *,
        layers: Mapping[str, Layer] | None = None,
        shardings: Any = None,
    ) -> None:
        """Plans a tree.

        Args:
            model: the tree, as `initialize` takes it.
            recipe: the recipe.
            options: the options of `initialize`.
            layers: the layers of a flax.linen module.
            shardings: as in `initialize`.

        Raises:
            fanin.recipes.PlanError: the recipe does not fit the tree, or a leaf that no rule draws is a shape.
            TypeError: an argument is not a tree of arrays, or `shardings` has something else in it.
            ValueError: a sharding does not fit its array.
        """
        self._held = held = tree_of(model, layers)
        self._options, self._seed = options, recipe.seed
        self._execution = execution = Execution(held.description(), recipe, options)
        self._own_path = {options.placed(leaf.path): leaf.path for leaf in held.leaves}
        _refuse_abstract(held, execution.plan, self._own_path, execution.passed)
        chosen = {self._own_path[entry.path] for entry in execution.plan.entries if entry.placements}
        given = _given_shardings(held, shardings)
        self._placed = {
            leaf.path: _checked(leaf, given.get(leaf.path))
            for leaf in held.leaves
            if leaf.path in chosen or leaf.make is not None
        }
        self._leaves = {leaf.path: leaf for leaf in held.leaves}
        for entry in execution.plan.entries:
            if entry.placements and not entry.covers:
                _refuse_elsewhere(self._leaves[self._own_path[entry.path]], self._placed[self._own_path[entry.path]])

    def values(self) -> dict[str, Any]:
        """The leaves by path, as they are but for random states, which are made."""
        return {**{leaf.path: leaf.value for leaf in self._held.leaves}, **self._random_states()}

    def planned(self) -> dict[str, PlannedArray]:
        """The arrays that get values, by path."""
        entries = [entry for entry in self._execution.plan.entries if entry.placements]
        return {each.path: each for each in map(self._array, entries)}

    def arrays(self) -> Generator[PlannedArray, None, None]:
        """The arrays that get values, one after the other. One counts as made when the next one is requested."""
        return (self._array(entry) for entry in self._execution.entries())

    def _array(self, entry: Entry) -> PlannedArray:
        path = self._own_path[entry.path]
        return PlannedArray(path, entry, self._leaves[path].value, self._placed[path])

    def _random_states(self) -> dict[str, Any]:
        """The random states by path, from the seed and their paths; what must lie elsewhere, by one program for all."""
        makers = {leaf.path: leaf.make for leaf in self._held.leaves if leaf.make is not None}

        def made(paths: Iterable[str]) -> dict[str, Any]:
            return {path: makers[path](self._seed, self._options.placed(path)) for path in paths}

        states = made(makers)
        for path in makers:
            self._execution.buffers[self._options.placed(path)] = "a random state, from the seed and its path"
        if compiling():
            return states
        elsewhere = {path: self._placed[path] for path in makers if not _lies(states[path], self._placed[path])}
        if elsewhere:
            states |= jax.jit(made, static_argnums=0, out_shardings=elsewhere)(tuple(elsewhere))
        return states

    def rebuilt(self, values: Mapping[str, Any]) -> Any:
        """The tree with these values, by path."""
        return self._held.rebuilt([values[leaf.path] for leaf in self._held.leaves])

    def stored(self, values: Mapping[str, Any]) -> Any:
        """What a checkpoint has of the tree with these values: of a flax.nnx module its state, of others all."""
        return self._held.stored([values[leaf.path] for leaf in self._held.leaves])

    def report(self) -> Report:
        """The report of what has been made so far."""
        return self._execution.report()


def _lies(array: jax.Array, sharding: Sharding | None) -> bool:
    """Whether an array lies as a sharding says; without one, it does wherever it is."""
    return sharding is None or array.sharding.is_equivalent_to(sharding, array.ndim)


def _refuse_abstract(held: Tree, plan: Plan, own_path: Mapping[str, str], passed: Collection[str]) -> None:
    """Raises if a leaf that is not drawn is a shape instead of an array."""
    partial = {own_path[entry.path] for entry in plan.entries if entry.placements and not entry.covers}
    kept = {own_path[entry.path] for entry in plan.entries if not entry.covers and entry.path not in passed}
    traced = [leaf.path for leaf in held.leaves if leaf.path in partial and isinstance(leaf.value, Tracer)]
    if traced:
        raise PlanError(
            "Rules that keep some blocks of an array need its values, which a function that JAX compiles does not "
            "have while it is traced; nothing has been made.\n"
            + "".join(f"  {visible(path)}\n" for path in traced)
            + "  Call `initialize` outside of the function."
        )
    shapes = [
        leaf.path
        for leaf in held.leaves
        if isinstance(leaf.value, jax.ShapeDtypeStruct)
        and leaf.make is None
        and (leaf.parameter is None or leaf.path in kept)
    ]
    if shapes:
        raise PlanError(
            f"Leaves of {visible(held.model)} that rules keep, or draw in part, must be arrays, not shapes; nothing "
            "has been made.\n"
            + "".join(f"  {visible(path)}\n" for path in shapes)
            + "  Give them values, or leave them out of the tree."
            + (_OPTIMIZER if any("opt_state" in path.split(".") for path in shapes) else "")
        )


_OPTIMIZER = (
    " An optimizer makes its state itself, from the new parameters: initialize these alone, and then call "
    "`tx.init(params)`, `TrainState.create(…, params=params, tx=tx)` or `nnx.Optimizer(model, tx, wrt=nnx.Param)`."
)


def _refuse_elsewhere(leaf: Leaf, sharding: Sharding | None) -> None:
    """Raises if blocks are to be kept of an array whose values this process does not have where it needs them."""
    value = leaf.value
    if not isinstance(value, jax.Array) or value.is_fully_addressable:
        return
    if sharding is None or not sharding.is_equivalent_to(value.sharding, value.ndim):
        raise ValueError(
            "Where rules keep some blocks of an array that other processes have a part of, it must keep its sharding. "
            f"Received: {sharding} for {visible(leaf.path)}, which has {value.sharding}. Leave `shardings` out for it, "
            "or move the array first: jax.device_put(array, sharding)."
        )


_SHARDING = (Sharding, PartitionSpec)


def _checked(leaf: Leaf, given: Any) -> Sharding | None:
    """The sharding of a new array: the given one, or else its own, or else the whole on all of the mesh in force."""
    own = own_sharding(leaf.value, leaf.annotation) if given is None else None
    sharding = or_replicated(given if own is None else own)
    name = "shardings" if own is None else "sharding"
    return checked_sharding(sharding, tuple(leaf.value.shape), name, leaf.path)


def _given_shardings(held: Tree, shardings: Any) -> dict[str, Any]:
    """What is given as the sharding of each array, by path: one for all, a function of a parameter, or a tree."""
    if shardings is None:
        return {}
    if isinstance(shardings, _SHARDING):
        return {leaf.path: shardings if leaf.make is None else _replicated(shardings) for leaf in held.leaves}
    if callable(shardings) and jax.tree_util.all_leaves([shardings]):  # a module may be callable, and is a tree
        return {leaf.path: shardings(leaf.parameter) for leaf in held.leaves if leaf.parameter is not None}
    given = held.paths_of(shardings, lambda each: each is None or isinstance(each, _SHARDING))
    known = [leaf.path for leaf in held.leaves]
    lacking = [leaf.path for leaf in held.leaves if leaf.parameter is not None and leaf.path not in given]
    unknown = [path for path, each in given.items() if each is not None and path not in known]
    if lacking or unknown:
        problems = [f"it has none for {path}" for path in lacking[:1]]
        problems += [f"{held.model} has no {path}" for path in unknown[:1]]
        raise ValueError(
            "`shardings` must be a sharding, a PartitionSpec, a function of a parameter, or a tree with the model's "
            f"structure and a sharding, a PartitionSpec or None for each array. Received: {type(shardings).__name__}; "
            f"{', and '.join(problems)}."
        )
    return given


def _replicated(sharding: Any) -> Any:
    """The same devices as a sharding's, with all of an array on each."""
    if isinstance(sharding, NamedSharding):
        return NamedSharding(sharding.mesh, PartitionSpec())
    return PartitionSpec() if isinstance(sharding, PartitionSpec) else sharding
