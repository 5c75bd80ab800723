"""Shards: the parts of parameters that this process holds, of DTensors or any other sharding, and how they are filled.

A shard is data: the shape of the whole parameter, and which elements of it are held. Since a weight is a function of
(seed, index), nothing else is needed to make them: no communication, and no whole parameter.
"""

from __future__ import annotations

import math
import operator
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import nn

from fanin._core.memory import as_numpy
from fanin._core.messages import class_name, shown, suggestion, visible
from fanin._core.shapes import checked_shape, chunks
from fanin._core.types import Array, Shape
from fanin.models.patterns import glob

Run: TypeAlias = tuple[int, int]  # the (start, stop) of neighboring indices along an axis
Runs: TypeAlias = tuple[Run, ...]  # in the order in which a shard has them
Box: TypeAlias = tuple[slice, ...]  # a region of the whole parameter
Fill: TypeAlias = Callable[[Array, Box], None]  # fills an array with the values of a region

_PIECE = 2**26  # bytes that are made at a time for a device without CPU memory


class Part(NamedTuple):
    """A region of the whole parameter, and the tensor, a view of the local one, that holds it."""

    region: Box
    view: torch.Tensor


@dataclass(frozen=True, eq=False)
class Shard:
    """The part of a parameter that this process holds.

    Attributes:
        shape: the shape of the whole parameter.
        region: for each axis, a slice, or several slices if the shard has several parts of the axis one after the
            other (a gate's rows, then those of the other half); None for an axis that is held whole. Without `region`
            and `flat`, the whole parameter is held.
        flat: for a shard that is a piece of the flattened parameter: the (start, stop) of its elements in C order.
            The tensor that holds it has one axis, and may be longer: the rest is padding, which stays as it is.
        tensor: the tensor that holds the shard, if it is not the parameter itself, such as `parameter.ds_tensor`.

    >>> import fanin.torch
    >>> shard = fanin.torch.Shard((4096, 1024), region=(slice(0, 2048), None))
    >>> shard.local_shape
    (2048, 1024)
    """

    shape: Shape
    region: tuple[slice | Sequence[slice] | None, ...] | None = None
    flat: Run | None = None
    tensor: torch.Tensor | None = None

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            TypeError, ValueError: they do not describe a part of a tensor of that shape.
        """
        object.__setattr__(self, "shape", checked_shape(self.shape))
        if self.region is not None and self.flat is not None:
            raise ValueError("A Shard must have `region` or `flat`, not both.")
        if self.region is not None:
            object.__setattr__(self, "region", self._checked_region(self.region))
        if self.flat is not None:
            object.__setattr__(self, "flat", self._checked_flat(self.flat))
        if self.tensor is not None and not isinstance(self.tensor, torch.Tensor):
            raise TypeError(f"`tensor` must be a torch.Tensor. Received: {class_name(type(self.tensor))}.")

    def _checked_region(self, region: Any) -> tuple[tuple[slice, ...], ...]:
        if not isinstance(region, Sequence) or isinstance(region, str) or len(region) != len(self.shape):
            raise ValueError(
                "`region` must have a slice, several slices or None for each axis. "
                f"Received: region={shown(region)} for the shape {self.shape}."
            )
        pairs = zip(region, self.shape, strict=True)
        return tuple(tuple(slice(*run) for run in _runs(each, length)) for each, length in pairs)

    def _checked_flat(self, flat: Any) -> Run:
        rule = f"`flat` must be the (start, stop) of some of the {math.prod(self.shape)} elements."
        try:
            start, stop = map(operator.index, flat)
        except (TypeError, ValueError):
            raise TypeError(f"{rule} Received: flat={shown(flat)}.") from None
        if not 0 <= start <= stop <= math.prod(self.shape):
            raise ValueError(f"{rule} Received: flat={shown(flat)}.")
        return start, stop

    @property
    def _runs(self) -> tuple[Runs, ...]:
        given = (None,) * len(self.shape) if self.region is None else self.region
        return tuple(_runs(each, length) for each, length in zip(given, self.shape, strict=True))

    @property
    def local_shape(self) -> Shape:
        """The shape of the tensor that holds the shard."""
        if self.flat is not None:
            return (self.flat[1] - self.flat[0],)
        return tuple(sum(stop - start for start, stop in runs) for runs in self._runs)

    @property
    def _key(self) -> tuple[Shape, tuple[Runs, ...], Run | None, int]:
        return self.shape, self._runs, self.flat, id(self.tensor)

    def __eq__(self, other: object) -> bool:
        """Whether it is the same part, held by the same tensor."""
        return self._key == other._key if isinstance(other, Shard) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    def problem(self, tensor: torch.Tensor) -> str:
        """Why a tensor cannot hold the shard, and what to do; "" if it can."""
        shape, local = tuple(tensor.shape), self.local_shape
        if shape == local or (self.flat is not None and len(shape) == 1 and shape >= local):
            return ""
        return (
            f"Its shard holds {local} of the shape {self.shape}, but the tensor's shape is {shape}. Correct what "
            "`shards` says of it."
        )

    def parts(self, local: torch.Tensor) -> Iterator[Part]:
        """The regions of the whole parameter that the shard consists of, with views of the tensor that holds it."""
        if self.flat is not None:
            yield from _flat_parts(self.shape, *self.flat, local)
            return
        for runs in product(*map(_placed, self._runs)):
            region = tuple(slice(start, stop) for start, stop, _ in runs)
            held = tuple(slice(offset, offset + stop - start) for start, stop, offset in runs)
            yield Part(region, local[held])


def _runs(given: Any, length: int) -> Runs:
    """The runs that a slice, several or None stand for, without empty ones."""
    if given is None:
        return ((0, length),) if length else ()
    slices = (given,) if isinstance(given, slice) else tuple(given) if isinstance(given, Iterable) else (given,)
    rule = "`region` must have slices of whole numbers with step 1, or None, for each axis."
    if not all(isinstance(each, slice) and each.step in (None, 1) for each in slices):
        raise TypeError(f"{rule} Received: {shown(given)}.")
    runs = []
    for each in slices:
        try:
            start = 0 if each.start is None else operator.index(each.start)
            stop = length if each.stop is None else operator.index(each.stop)
        except TypeError:
            raise TypeError(f"{rule} Received: {shown(each)}.") from None
        if not 0 <= start <= stop <= length:
            raise ValueError(
                f"`region` must lie within the shape. Received: slice({start}, {stop}) of an axis of length {length}."
            )
        if start < stop:
            runs.append((start, stop))
    return tuple(runs)


def _placed(runs: Runs) -> list[tuple[int, int, int]]:
    """The runs with the place of each in the shard."""
    placed, offset = [], 0
    for start, stop in runs:
        placed.append((start, stop, offset))
        offset += stop - start
    return placed


def _flat_parts(shape: Shape, start: int, stop: int, local: torch.Tensor) -> Iterator[Part]:
    """The parts of a piece of the flattened tensor: whole slices of the first axis, and its ends."""
    if start >= stop:
        return
    if not shape:
        yield Part((), local[0])
        return
    size = math.prod(shape[1:])
    first, last = -(-start // size), stop // size  # whole slices
    if first < last:
        held = local[first * size - start : last * size - start].view(last - first, *shape[1:])
        yield Part((slice(first, last), *(slice(0, length) for length in shape[1:])), held)
    # What is left is within one slice at each end, or within a single one.
    ends = [(start, min(stop, first * size)), (max(start, last * size), stop)] if first <= last else [(start, stop)]
    for begin, end in ends:
        if begin < end:
            row = begin // size
            inner = _flat_parts(shape[1:], begin - row * size, end - row * size, local[begin - start : end - start])
            yield from (Part((slice(row, row + 1), *region), view[None]) for region, view in inner)


ShardOf: TypeAlias = Callable[[str, torch.Tensor], Shard | None]  # of a path and a parameter
# What `shards=` may be: that, or for globs of paths a shard or a function of a parameter.
Shards: TypeAlias = ShardOf | Mapping[str, Shard | Callable[[torch.Tensor], Shard | None]]


class GivenShards:
    """What is given as `shards=`, as a function of a path and a parameter."""

    def __init__(self, given: Shards | None) -> None:
        """Checks what is given.

        Raises:
            TypeError: it is neither a function nor a mapping of globs, or has something else in it.
        """
        self._function = given if callable(given) else None
        if given is not None and not callable(given) and not isinstance(given, Mapping):
            raise TypeError(
                "`shards` must be a function of a path and a parameter that returns a Shard or None, or a mapping of "
                f"globs to Shards. Received: {type(given).__name__}."
            )
        if isinstance(given, Mapping) and not all(isinstance(each, str) for each in given):
            raise TypeError(f"The keys of `shards` must be globs of paths. Received: {shown([*given])}.")
        self._rows = {} if given is None or callable(given) else {each: glob(each) for each in given}
        self._values = {} if given is None or callable(given) else dict(given)
        for pattern, each in self._values.items():
            if not isinstance(each, Shard) and not callable(each):
                raise TypeError(
                    "`shards` must have a fanin.torch.Shard, or a function of a parameter, for each glob. "
                    f"Received: {class_name(type(each))} for {pattern!r}."
                )
        self._unused = set(self._rows)

    def __call__(self, path: str, tensor: torch.Tensor) -> Shard | None:
        """What this process holds of a parameter; None if that is the whole."""
        shard = self._found(path, tensor)
        if shard is None or isinstance(shard, Shard):
            return shard
        raise TypeError(
            "`shards` must return a fanin.torch.Shard, or None for a parameter that is whole. "
            f"Received: {class_name(type(shard))} for {visible(path)}."
        )

    def _found(self, path: str, tensor: torch.Tensor) -> Shard | None:
        if self._function is not None:
            return self._function(path, tensor)
        pattern = next((each for each, expression in self._rows.items() if expression.match(path)), None)
        if pattern is None:
            return None
        self._unused.discard(pattern)
        value = self._values[pattern]
        return value if isinstance(value, Shard) else value(tensor)

    def check_used(self, paths: Iterable[str]) -> None:
        """Raises if a glob has matched no parameter.

        Raises:
            ValueError: one has not.
        """
        for pattern in sorted(self._unused):
            raise ValueError(
                f"Each glob of `shards` must match a parameter. Received: {pattern!r}, which matches none that a glob "
                f"before it does not match.{suggestion(pattern, paths)}"
            )


def stand_in(tensor: torch.Tensor, shard: Shard) -> torch.Tensor:
    """A tensor without values, of the shape of the whole parameter and the dtype of what this process holds."""
    held = tensor if shard.tensor is None else shard.tensor
    return torch.empty(shard.shape, dtype=held.dtype, device="meta")


# DTensors, which are recognized without importing torch.distributed.


def is_dtensor(tensor: torch.Tensor) -> bool:
    """Whether this is a DTensor."""
    return any(
        cls.__name__ == "DTensor" and cls.__module__.startswith("torch.distributed.") for cls in type(tensor).__mro__
    )


def local_of(tensor: torch.Tensor) -> torch.Tensor:
    """The memory that a tensor has in this process: the local tensor of a DTensor, or itself."""
    if not is_dtensor(tensor):
        return tensor
    with torch.no_grad():
        local: torch.Tensor = tensor.to_local()  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
    return local


def dtensor_problem(tensor: Any) -> str:
    """Why a DTensor cannot be given values, and what to do; "" if it can."""
    partial = [each for each in tensor.placements if each.is_partial()]
    if partial:
        return (
            f"It is a DTensor with the placement {partial[0]}: its value is the sum of what all processes hold, so "
            "that no process has any element. Redistribute it to Shard or Replicate first."
        )
    local = local_of(tensor)
    if type(local) not in (torch.Tensor, nn.Parameter):
        return (
            f"It is a DTensor whose local tensor is a {type(local).__name__}, which defines its own operations. "
            "Initialize the model before its parameters are converted, or leave it out with `skip=`."
        )
    shard = shard_of_dtensor(tensor)
    same = shard.local_shape == tuple(local.shape) or math.prod(shard.local_shape) == local.numel() == 0
    if not same and tensor.device_mesh.get_coordinate() is not None:
        return (
            f"It is a DTensor with the placements {tensor.placements}, of which this process should hold "
            f"{shard.local_shape}, but holds {tuple(local.shape)}. Initialize the model before it is sharded."
        )
    return ""


def shard_of_dtensor(tensor: Any) -> Shard:
    """The part of a DTensor that this process holds, from its placements and the process's place in the mesh.

    Each placement splits what those before it left, as `torch.chunk` does. `_StridedShard`, which FSDP2 uses over
    tensor parallelism, splits each of several parts: the process then holds several runs of an axis.
    """
    shape, mesh = tuple(tensor.shape), tensor.device_mesh
    place = mesh.get_coordinate()
    if place is None:  # the process is not in the mesh
        return Shard(shape, tuple(slice(0, 0) for _ in shape))
    runs: list[Runs] = [((0, length),) if length else () for length in shape]
    for number in _order(tensor):
        placement = tensor.placements[number]
        axis = getattr(placement, "dim", None)
        if axis is None:  # Replicate
            continue
        count = mesh.size(number)
        factor = int(getattr(placement, "split_factor", 1))
        shares = [_chunks(part, count)[place[number]] for part in _chunks(runs[axis], factor)]
        runs[axis] = tuple(run for share in shares for run in share)
    return Shard(shape, tuple([slice(*run) for run in each] for each in runs))


def _order(tensor: Any) -> list[int]:
    """The dimensions of the mesh in the order in which they split the tensor: from left to right, unless it says so."""
    order = list(range(tensor.device_mesh.ndim))
    for entry in getattr(tensor._spec, "shard_order", None) or ():
        split = sorted(entry.mesh_dims)
        for number, mesh_dim in zip(split, entry.mesh_dims, strict=True):
            order[number] = mesh_dim
    return order


def _chunks(runs: Runs, count: int) -> list[Runs]:
    """Runs of indices, cut into `count` parts as `torch.chunk` cuts: of equal length, but for the last ones."""
    length = sum(stop - start for start, stop in runs)
    size = -(-length // count)
    return [_between(runs, min(n * size, length), min((n + 1) * size, length)) for n in range(count)]


def _between(runs: Runs, begin: int, end: int) -> Runs:
    """The indices from place `begin` up to `end` of the runs."""
    found = []
    for start, stop, offset in _placed(runs):
        first, last = max(begin - offset, 0), min(end - offset, stop - start)
        if first < last:
            found.append((start + first, start + last))
    return tuple(found)


# Filling.


def fill_shard(fill: Fill, shard: Shard, local: torch.Tensor, *, covers: bool = True, at_once: bool = False) -> None:
    """Fills the tensor that holds a shard, on any device.

    Values are made in the tensor's own memory if that is the CPU's, and otherwise in pieces that are copied.

    Args:
        fill: a function that fills an array with the values of a region of the whole parameter.
        shard: the shard.
        local: the tensor that holds it.
        covers: whether `fill` writes every element; otherwise the others keep their values.
        at_once: whether all regions are to be made in one call, because each call makes the whole matrix.
    """
    parts = [each for each in shard.parts(local.detach()) if each.view.numel()]
    if not parts:
        return
    if at_once and (len(parts) > 1 or not local.is_cpu):
        _fill_around(fill, parts, covers)
        return
    for region, view in parts:
        if view.is_cpu:
            fill(as_numpy(view), region)
        else:
            _fill_in_pieces(fill, region, view, covers)


def _fill_around(fill: Fill, parts: Sequence[Part], covers: bool) -> None:
    """Makes the smallest region around all parts, and copies the parts."""
    around = tuple(
        slice(min(each.start for each in axis), max(each.stop for each in axis))
        for axis in zip(*(part.region for part in parts), strict=True)
    )
    lengths = [each.stop - each.start for each in around]
    made = torch.empty(lengths, dtype=parts[0].view.dtype, device="cpu")  # whatever the default device is
    places = [made[_moved(region, [-each.start for each in around])] for region, _ in parts]
    if not covers:
        for place, (_, view) in zip(places, parts, strict=True):
            place.copy_(view)
    fill(as_numpy(made), around)
    for place, (_, view) in zip(places, parts, strict=True):
        view.copy_(place)


def _fill_in_pieces(fill: Fill, region: Box, view: torch.Tensor, covers: bool) -> None:
    """Makes pieces of a bounded size on the CPU, and copies each."""
    for chunk in chunks(tuple(view.shape), max(1, _PIECE // view.element_size())):
        place = view[tuple(slice(*each) for each in chunk)]
        piece = torch.empty(place.shape, dtype=view.dtype, device="cpu") if covers else place.to("cpu", copy=True)
        fill(as_numpy(piece), _moved(tuple(slice(*each) for each in chunk), [each.start for each in region]))
        place.copy_(piece)


def _moved(region: Box, by: Sequence[int]) -> Box:
    return tuple(slice(each.start + start, each.stop + start) for each, start in zip(region, by, strict=True))


def mesh_device(tensor: Any) -> torch.device:
    """The device of this process in the mesh of a DTensor."""
    kind = tensor.device_mesh.device_type
    return torch.device(kind) if kind == "cpu" else torch.device(kind, getattr(torch, kind).current_device())


def materialize(old: torch.Tensor, fill: Callable[[torch.Tensor], None], device: torch.device | None = None) -> None:
    """Gives a DTensor on the meta device memory; it stays the same object.

    FSDP2 and optimizers hold a sharded parameter itself, so that another one in its place would not do.

    Args:
        old: the DTensor.
        fill: a function that fills the local tensor, before anyone else sees it.
        device: the device; by default that of its mesh.

    Raises:
        RuntimeError: PyTorch cannot do it, because something else holds the tensor.
    """
    with torch.inference_mode(False), torch.no_grad():
        new: torch.Tensor = torch.empty_like(old, device=mesh_device(old) if device is None else device)
        fill(local_of(new))
        if isinstance(old, nn.Parameter):
            new = nn.Parameter(new, requires_grad=old.requires_grad)
    vars(new).update(vars(old))
    # In a thread of its own, where no signal's handler can run between the steps that swapping takes.
    problems: list[Exception] = []

    def swap() -> None:
        try:
            torch.utils.swap_tensors(old, new)
        except Exception as error:
            problems.append(error)

    swapping = threading.Thread(target=swap)
    swapping.start()
    swapping.join()
    if problems:
        raise RuntimeError(
            "A sharded parameter on the meta device must not be referred to by views or weak references when it gets "
            f"memory. PyTorch says: {problems[0]}"
        ) from problems[0]


def reset_fsdp(modules: Iterable[nn.Module]) -> None:
    """Has FSDP2 take over parameters that have new memory, as it does after `model.to_empty()`."""
    for module in modules:
        state: Any = module._get_fsdp_state() if is_fsdp(module) else None  # pyright: ignore[reportCallIssue]
        groups = getattr(state, "_fsdp_param_groups", None) or [getattr(state, "_fsdp_param_group", None)]
        with torch.no_grad():
            for group in filter(None, groups):
                for parameter in group.fsdp_params:
                    parameter.reset_sharded_param()


def is_fsdp(module: nn.Module) -> bool:
    """Whether FSDP2 shards the module's parameters."""
    return any(cls.__name__ == "FSDPModule" for cls in type(module).__mro__)


def copy_shard(value: torch.Tensor, shard: Shard, local: torch.Tensor) -> None:
    """Copies the part of a whole tensor that a shard holds."""
    with torch.no_grad():
        for region, view in shard.parts(local.detach()):
            view.copy_(value[region])
