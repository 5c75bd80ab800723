"""Buffers without values, such as rotary tables and position ids, rebuilt by the code of their modules."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from fanin.models.patterns import glob
from fanin.recipes.plan import PlanError
from fanin.torch.describe import Scan, Visit, joined

# Methods that write into buffers what the constructor wrote.
_BUFFER_METHODS = ("init_non_persistent_buffers", "reset_buffers")
_LARGEST_REBUILT = 2**24  # elements; a larger module is not constructed a second time for its buffers


@dataclass(frozen=True)
class Restored:
    """A buffer whose values are restored.

    Attributes:
        visit: the module that owns it.
        leaf: its name there.
        value: its values.
        how: where they come from, in words.
    """

    visit: Visit
    leaf: str
    value: torch.Tensor
    how: str

    @property
    def path(self) -> str:
        """The buffer's path."""
        return joined(self.visit.path, self.leaf)


def restored_buffers(
    scan: Scan, given: Mapping[str, torch.Tensor], device: torch.device, *, everything: bool
) -> tuple[list[Restored], dict[str, str]]:
    """Values for buffers that have none, made before anything is written, and the paths of those left without values.

    Args:
        scan: the module.
        given: values by globs of paths.
        device: the device for the values.
        everything: whether all buffers must have values.

    Raises:
        PlanError: a buffer cannot be rebuilt, and all must have values.
        ValueError, TypeError: the given values do not fit the module.
    """
    if not isinstance(given, Mapping) or not all(isinstance(pattern, str) for pattern in given):
        raise TypeError(f"`buffers` must be a mapping of paths to tensors. Received: {type(given).__name__}.")
    patterns = {pattern: glob(pattern) for pattern in given}
    restored, lost, used = [], {}, set()
    made: dict[int, dict[str, tuple[torch.Tensor, str]]] = {}
    values: dict[int, tuple[torch.Tensor, str]] = {}  # of each buffer once, even if several modules have it
    for visit, leaf, tensor in scan.buffers:
        path = joined(visit.path, leaf)
        pattern = next((each for each, expression in patterns.items() if expression.match(path)), None)
        if pattern is not None:
            used.add(pattern)
            value = _given_buffer(path, given[pattern], tensor), "given"
        elif tensor.is_meta:
            if id(visit.module) not in made:
                made[id(visit.module)] = _made_again(visit, scan)
            value = made[id(visit.module)].get(leaf)
        else:
            continue
        if value is None:
            lost[path] = f"{path} of {type(visit.module).__name__}, {tuple(tensor.shape)}, {tensor.dtype}"
        else:
            kept, how = values.setdefault(id(tensor), (value[0].to(device), value[1]))
            restored.append(Restored(visit, leaf, kept, how))
    unused = [pattern for pattern in patterns if pattern not in used]
    if unused:
        known = ", ".join(joined(visit.path, leaf) for visit, leaf, _ in scan.buffers) or "none"
        raise ValueError(f"`buffers` must name buffers of the module. Received: {unused[0]!r}. Known buffers: {known}.")
    if lost and everything:
        raise PlanError(
            "Buffers on the meta device have no values, and these could not be rebuilt; nothing has been written.\n"
            + "".join(f"  {each}\n" for each in lost.values())
            + "  Pass them as buffers={path: tensor}, or build these modules outside of the meta device."
        )
    return restored, dict.fromkeys(lost, "a buffer that has no values and could not be rebuilt")


def _given_buffer(path: str, value: Any, tensor: torch.Tensor) -> torch.Tensor:
    if not isinstance(value, torch.Tensor) or value.shape != tensor.shape or value.is_meta:
        received = type(value).__name__
        if isinstance(value, torch.Tensor):
            received += f" of shape {tuple(value.shape)}{' on the meta device' if value.is_meta else ''}"
        raise ValueError(
            f"The buffer {path} must be a tensor of shape {tuple(tensor.shape)} with values. Received: {received}."
        )
    return value.detach().to(tensor.dtype, copy=True)


def _made_again(visit: Visit, scan: Scan) -> dict[str, tuple[torch.Tensor, str]]:
    """The buffers of a module, rebuilt by a method of its own, a method of its model, or its constructor."""
    module = visit.module
    model: Any = scan.inner
    wanted = {leaf: tensor for each, leaf, tensor in scan.buffers if each.module is module and tensor.is_meta}
    attempts = [(f"by {name}()", getattr(module, name, None)) for name in _BUFFER_METHODS]
    if hasattr(model, "_init_weights") and hasattr(model, "config"):  # as in Hugging Face models
        attempts.append((f"by {type(model).__name__}'s _init_weights", partial(model._init_weights, module)))
    for how, method in attempts:
        made = _written_by(method, module, wanted) if callable(method) else None
        if made is not None:
            return {leaf: (tensor, how) for leaf, tensor in made.items()}
    rebuilt = _rebuilt(module, wanted) or {}
    return {leaf: (tensor, f"as {type(module).__name__}'s constructor makes it") for leaf, tensor in rebuilt.items()}


@contextmanager
def _shielded(module: nn.Module) -> Iterator[None]:
    """Replaces a module's tensors within the block, so that changes do not last, and leaves generators unchanged."""
    kept = [(each, dict(each._parameters), dict(each._buffers)) for each in module.modules()]
    try:
        for each, parameters, buffers in kept:
            for leaf, tensor in parameters.items():
                abstract = None if tensor is None else nn.Parameter(tensor.to("meta"), tensor.requires_grad)
                each._parameters[leaf] = abstract
            for leaf, tensor in buffers.items():
                each._buffers[leaf] = None if tensor is None else tensor.clone()
        with torch.no_grad(), torch.random.fork_rng(devices=[]), torch.device("cpu"):
            yield
    finally:
        for each, parameters, buffers in kept:
            pairs: list[tuple[Any, Any]] = [(each._parameters, parameters), (each._buffers, buffers)]
            for own, before in pairs:
                own.clear()
                own.update(before)


def _written_by(
    method: Callable[[], object], module: nn.Module, wanted: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor] | None:
    """The values that a method writes into the module's buffers; None unless it writes all of them.

    The method runs twice, on buffers of different bytes: values that depend on those bytes were not written.
    """
    results = []
    for byte in (0x55, 0x2A):
        try:
            with _shielded(module):
                for leaf, tensor in wanted.items():
                    module._buffers[leaf] = _of_bytes(tensor, byte)
                method()
                results.append({leaf: module._buffers[leaf] for leaf in wanted})
        except Exception:  # foreign code can raise anything; the method is of no use then
            return None
    first, second = results
    for leaf, tensor in wanted.items():
        values, others = first[leaf], second[leaf]
        if values is None or others is None or values.is_meta or values.shape != tensor.shape:
            return None
        if values.dtype != tensor.dtype or not torch.equal(values, others):
            return None
    return first


def _of_bytes(tensor: torch.Tensor, byte: int) -> torch.Tensor:
    """A CPU tensor like this one, with every byte the same."""
    if tensor.dtype == torch.bool:
        return torch.full(tensor.shape, byte == 0x55, device="cpu")
    size = tensor.numel() * tensor.element_size()
    return torch.full((size,), byte, dtype=torch.uint8, device="cpu").view(tensor.dtype).view(tensor.shape)


def _rebuilt(module: nn.Module, wanted: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
    """The buffers of a second module, constructed with the arguments that the first one has as attributes.

    Every argument must be an attribute of the same name; otherwise its value is unknown. The second module counts only
    if all of its plain attributes equal the first one's, and if a third one, constructed with other random numbers, has
    the same buffers.
    """
    if sum(tensor.numel() for tensor in module.parameters()) > _LARGEST_REBUILT:
        return None
    arguments: dict[str, Any] = {}
    made = []
    try:
        for name, argument in inspect.signature(type(module)).parameters.items():
            if name in ("device", "dtype"):
                if argument.default is argument.empty:
                    return None
            elif argument.kind is argument.KEYWORD_ONLY or argument.kind is argument.POSITIONAL_OR_KEYWORD:
                if name not in vars(module):
                    return None
                arguments[name] = vars(module)[name]
            else:
                return None
        for seed in (0, 1):
            with torch.no_grad(), torch.random.fork_rng(devices=[]), torch.device("cpu"):
                torch.manual_seed(seed)
                made.append(type(module)(**arguments))
    except Exception:  # as above
        return None
    values = [{leaf: each._buffers.get(leaf) for leaf in wanted} for each in made]
    if any(_plain(each) != _plain(module) for each in made):
        return None
    for leaf, tensor in wanted.items():
        first, second = (each[leaf] for each in values)
        if first is None or second is None or first.is_meta or first.shape != tensor.shape:
            return None
        if not torch.equal(first, second):
            return None
    return {leaf: values[0][leaf].to(tensor.dtype) for leaf, tensor in wanted.items()}  # pyright: ignore


_INTERNAL = set(vars(nn.Module()))


def _plain(module: nn.Module) -> dict[str, str]:
    kinds = (int, float, complex, str, bytes, tuple, list, dict, type(None))
    return {
        name: repr(value) for name, value in vars(module).items() if name not in _INTERNAL and isinstance(value, kinds)
    }
