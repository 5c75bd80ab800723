"""Tensors that modules make themselves, such as rotary tables and position ids: given, or made again by their code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from fanin._core.messages import visible
from fanin.models.patterns import glob
from fanin.recipes.plan import PlanError
from fanin.torch.describe import Scan, Visit, joined, put
from fanin.torch.own_code import Made, OwnCode
from fanin.torch.refusals import tensor_problem
from fanin.torch.reparametrized import Place
from fanin.torch.shards import Shard, copy_shard, is_dtensor, local_of, materialize, shard_of_dtensor

_LOST = "it has no values, and its module's code could not make it again"
_UNSURE = "its module's code could not make it again; whether it has values is unknown"


@dataclass(frozen=True)
class Restored:
    """A tensor whose values are restored.

    Attributes:
        path: its path.
        places: where it occurs.
        tensor: the tensor so far.
        value: its values.
        how: where they come from, in words.
        shard: the part of it that this process holds; None if that is the whole.
        local: the tensor whose memory holds that part.
    """

    path: str
    places: tuple[Place, ...]
    tensor: torch.Tensor
    value: torch.Tensor
    how: str
    shard: Shard | None = None
    local: torch.Tensor | None = None

    def restore(self, device: torch.device) -> None:
        """Gives the tensor its values: in its own memory or, if it has none, in new memory on a device."""
        if self.shard is not None and self.local is not None:
            self._restore_shard(self.shard, self.local, device)
            return
        if self.tensor.is_meta:
            put(self.places, self.tensor, self.value.to(device))
            return
        with torch.no_grad():
            self.tensor.copy_(self.value)

    def _restore_shard(self, shard: Shard, local: torch.Tensor, device: torch.device) -> None:
        copy = partial(copy_shard, self.value, shard)
        if not local.is_meta:
            copy(local)
        elif is_dtensor(self.tensor):
            materialize(self.tensor, copy)
        else:
            fresh = torch.zeros_like(local, device="cpu")
            copy(fresh)
            put(self.places, self.tensor, fresh.to(device))


@dataclass(frozen=True)
class Restoration:
    """What becomes of the tensors that modules make themselves.

    Attributes:
        restored: those that get values.
        empty: why others have none, or may have none, by path.
    """

    restored: tuple[Restored, ...]
    empty: Mapping[str, str]


def restoration(
    scan: Scan,
    given: Mapping[str, torch.Tensor],
    recorded: Mapping[str, Callable[[], torch.Tensor]],
    *,
    everything: bool,
    remake: bool,
) -> Restoration:
    """Values for buffers and frozen tables that have none, made before anything is written.

    Args:
        scan: the module.
        given: values of buffers by globs of paths.
        recorded: functions that make the values of buffers that a recording knows, by their paths.
        everything: whether all buffers must have values.
        remake: whether to remake non-persistent buffers and frozen tables that have memory, too.

    Raises:
        PlanError: a buffer cannot be rebuilt, and all must have values.
        ValueError, TypeError: the given values do not fit the module.
    """
    restored = [
        Restored(
            each.held.parameter.path,
            tuple(each.held.owners),
            each.held.tensor,
            each.value,
            each.how,
            each.held.shard,
            each.held.local,
        )
        for each in scan.tables
        if remake or each.held.tensor.is_meta
    ]
    values = _given(scan, given)
    code = OwnCode(scan.root)
    made: dict[int, dict[str, Made]] = {}
    lost, empty = [], {}
    for visit, leaf, tensor in scan.buffers:
        path, place = joined(visit.path, leaf), (visit.module, leaf)
        if path in values:
            restored.append(_of_buffer(path, place, tensor, values[path], "given"))
            continue
        if path in recorded and (everything or _is_wanted(visit.module, leaf, tensor, remake)):
            restored.append(_of_buffer(path, place, tensor, recorded[path](), "as recorded"))
            continue
        if not _is_wanted(visit.module, leaf, tensor, remake):
            if type(tensor).__name__ == "FakeTensor":
                empty[path] = tensor_problem(tensor)
            continue
        if id(visit.module) not in made:
            made[id(visit.module)] = _made_again(visit, scan, code, remake)
        found = made[id(visit.module)].get(leaf)
        if found is not None:
            restored.append(_of_buffer(path, place, tensor, found.value, found.how))
            continue
        empty[path] = tensor_problem(tensor) or (_LOST if tensor.is_meta else _UNSURE)
        if tensor.is_meta:
            lost.append(f"{path} of {type(visit.module).__name__}, {tuple(tensor.shape)}, {tensor.dtype}")
    if lost and everything:
        raise PlanError(
            "Buffers on the meta device have no values, and these could not be rebuilt; nothing has been written.\n"
            + "".join(f"  {visible(each)}\n" for each in lost)
            + "  Pass them as buffers={path: tensor}, or build these modules outside of the meta device."
        )
    return Restoration(tuple(_once(restored)), empty)


def _of_buffer(path: str, place: Place, tensor: torch.Tensor, value: torch.Tensor, how: str) -> Restored:
    shard = shard_of_dtensor(tensor) if is_dtensor(tensor) else None
    return Restored(path, (place,), tensor, value, how, shard, local_of(tensor))


def _once(restored: list[Restored]) -> Iterator[Restored]:
    """Each tensor once, even if several modules have it."""
    places: dict[int, list[Place]] = {}
    for each in restored:
        places.setdefault(id(each.tensor), []).extend(each.places)
    first: dict[int, Restored] = {}
    for each in restored:
        value = first.setdefault(id(each.tensor), each).value
        yield replace(each, places=tuple(places[id(each.tensor)]), value=value)


def _is_wanted(module: nn.Module, leaf: str, tensor: torch.Tensor, remake: bool) -> bool:
    return tensor.is_meta or (remake and leaf in module._non_persistent_buffers_set)


def _given(scan: Scan, given: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The given values by the paths of buffers."""
    if not isinstance(given, Mapping) or not all(isinstance(pattern, str) for pattern in given):
        raise TypeError(f"`buffers` must be a mapping of paths to tensors. Received: {type(given).__name__}.")
    patterns = {pattern: glob(pattern) for pattern in given}
    values, used = {}, set()
    for visit, leaf, tensor in scan.buffers:
        path = joined(visit.path, leaf)
        pattern = next((each for each, expression in patterns.items() if expression.match(path)), None)
        if pattern is not None:
            used.add(pattern)
            values[path] = _given_buffer(path, given[pattern], tensor)
    unused = [pattern for pattern in patterns if pattern not in used]
    if unused:
        known = ", ".join(joined(visit.path, leaf) for visit, leaf, _ in scan.buffers) or "none"
        raise ValueError(f"`buffers` must name buffers of the module. Received: {unused[0]!r}. Known buffers: {known}.")
    return values


def _given_buffer(path: str, value: Any, tensor: torch.Tensor) -> torch.Tensor:
    if not isinstance(value, torch.Tensor) or value.shape != tensor.shape or value.is_meta:
        received = type(value).__name__
        if isinstance(value, torch.Tensor):
            received += f" of shape {tuple(value.shape)}{' on the meta device' if value.is_meta else ''}"
        raise ValueError(
            f"The buffer {visible(path)} must be a tensor of shape {tuple(tensor.shape)} with values. "
            f"Received: {received}."
        )
    return value.detach().to(tensor.dtype, copy=True)


def _made_again(visit: Visit, scan: Scan, code: OwnCode, remake: bool) -> dict[str, Made]:
    """The buffers of a module that its own code makes, by name."""
    module = visit.module
    wanted = {
        (module, leaf): tensor
        for each, leaf, tensor in scan.buffers
        if each.module is module and _is_wanted(module, leaf, tensor, remake) and not tensor_problem(tensor)
    }
    made = code.made_again(module, wanted)
    return {leaf: each for (_, leaf), each in zip(wanted, made, strict=False)}
