"""Modules of PyTorch described as parameters, materialised and filled."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from fanin import _dtypes, _foreign
from fanin._arrays import allocate, overlaps_itself
from fanin._models.report import Execution, Report, chosen
from fanin._models.torch_layers import described
from fanin._parameters import WRAPPERS, Parameter, glob, kinds_of, stripped
from fanin._tensors import to_torch
from fanin.plans import Entry, Found, Plan, PlanError

# Their only child is what they wrap, under the name `module`.
_PARALLEL = {"DataParallel", "DistributedDataParallel", "FullyShardedDataParallel", "AveragedModel", "DeepSpeedEngine"}
# Methods that write what a constructor writes into buffers.
_BUFFER_METHODS = ("init_non_persistent_buffers", "reset_buffers")
_LARGEST_REBUILT = 2**24  # elements; a module of more is not made a second time for its buffers


@dataclass
class _Held:
    """A parameter or buffer, and every place in the module that has it."""

    parameter: Parameter
    tensor: torch.Tensor
    owners: list[tuple[nn.Module, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)  # as the state dict has them


@dataclass
class _Visit:
    """A module within another, with its path without wrappers and the raw one."""

    module: nn.Module
    path: str
    raw: str
    within: tuple[str, ...]
    parent: nn.Module | None
    name: str


class _Scan:
    """Everything in a module: what a recipe is about, and buffers that it is not about."""

    def __init__(self, root: nn.Module) -> None:
        self.root = root
        self.held: dict[int, _Held] = {}
        self.buffers: list[tuple[_Visit, str, torch.Tensor]] = []
        for visit in _visits(root):
            self._add(visit)
        self._tie_equal_memory()
        self.inner = [visit.module for visit in _visits(root) if not visit.path][-1]  # what wrappers are around

    def _add(self, visit: _Visit) -> None:
        module = visit.module
        for leaf, tensor in module._parameters.items():
            if tensor is not None:
                self._add_tensor(visit, leaf, tensor, buffer=False)
        for leaf, tensor in module._buffers.items():
            if tensor is None:
                continue
            what = described(module, leaf, tensor, visit.parent, visit.name)
            if what.get("role") in ("mean", "variance", "count"):
                self._add_tensor(visit, leaf, tensor, buffer=True)
            else:
                self.buffers.append((visit, leaf, tensor))

    def _add_tensor(self, visit: _Visit, leaf: str, tensor: torch.Tensor, *, buffer: bool) -> None:
        raw = _joined(visit.raw, leaf)
        if nn.parameter.is_lazy(tensor):
            raise ValueError(
                f"Every parameter must have a shape. Received: {raw} of the lazy module {type(visit.module).__name__}. "
                "Call the module on an input first."
            )
        module, path, within = visit.module, _joined(visit.path, leaf), visit.within
        what: dict[str, Any] = described(module, leaf, tensor, visit.parent, visit.name)
        kinds = kinds_of(type(module), "Module")
        if isinstance(module, ParametrizationList):
            # The weight is computed from it, by a parametrization that may have a state.
            what = {"problem": "It belongs to a parametrization. Remove it, initialize, and register it again."}
        held = self.held.get(id(tensor))
        if held is None:
            dtype = _dtype(tensor)
            shape = tuple(tensor.shape)
            parameter = Parameter(path, shape, dtype, kinds[0], within, buffer=buffer, kinds=kinds[1:], **what)
            parameter = replace(parameter, trainable=buffer or tensor.requires_grad)
            held = self.held[id(tensor)] = _Held(parameter, tensor)
        elif path != held.parameter.path and path not in held.parameter.tied:
            held.parameter = replace(held.parameter, tied=(*held.parameter.tied, path))
            # The other layer may be one that the table has, or an embedding, whose padding is zero.
            if what and (held.parameter.role == "other" or what.get("role") == "embedding" != held.parameter.role):
                held.parameter = replace(held.parameter, layer=kinds[0], kinds=kinds[1:], within=within, **what)
        held.owners.append((module, leaf))
        held.paths.append(raw)

    def _tie_equal_memory(self) -> None:
        """Parameters that are the same memory are tied, too; ones that share a part of it are refused."""
        spans: dict[int, list[tuple[int, int, int]]] = {}
        for key, held in self.held.items():
            tensor = held.tensor.detach()
            if tensor.is_meta or not tensor.is_cpu or not tensor.numel() or tensor.layout != torch.strided:
                continue
            reach = 1 + sum(s * (n - 1) for s, n in zip(tensor.stride(), tensor.shape, strict=True))
            try:
                begin = tensor.data_ptr()
                storage = tensor.untyped_storage().data_ptr()
            except (RuntimeError, NotImplementedError):  # no memory of its own; refused when it is to be filled
                continue
            spans.setdefault(storage, []).append((begin, begin + reach * tensor.element_size(), key))
        for each in spans.values():
            each.sort()
            for (begin, end, key), (begin2, end2, key2) in pairwise(each):
                if begin2 >= end:
                    continue
                first, second = self.held[key], self.held[key2]
                same = (begin, end, first.tensor.stride(), first.tensor.dtype)
                if same != (begin2, end2, second.tensor.stride(), second.tensor.dtype):
                    if not _share(first.tensor, second.tensor):
                        continue
                    raise ValueError(
                        "Parameters must have memory of their own, or all of it in common. Received: "
                        f"{first.parameter.path} and {second.parameter.path}, which share a part."
                    )
                self._merge(key, key2)

    def _merge(self, key: int, key2: int) -> None:
        order = list(self.held)
        first, second = sorted((key, key2), key=order.index)
        kept, gone = self.held[first], self.held.pop(second)
        tied = (*kept.parameter.tied, gone.parameter.path, *gone.parameter.tied)
        kept.parameter = replace(kept.parameter, tied=tied)
        kept.owners += gone.owners
        kept.paths += gone.paths
        self.held[second] = kept  # for a third one; `values` takes each once

    def all(self) -> list[_Held]:
        """Each parameter once, in the module's order."""
        return list({id(held): held for held in self.held.values()}.values())

    def found(self) -> Found:
        """The description for a plan."""
        held = self.all()
        left = {_joined(visit.path, leaf): "a buffer" for visit, leaf, _ in self.buffers}
        visits = list(_visits(self.root))
        layers = tuple(f"{visit.path}." for visit in visits if visit.path)
        config = next(filter(None, (_config(visit.module) for visit in visits)), {})
        parameters = tuple(each.parameter for each in held)
        return Found(parameters, type(self.inner).__name__, config, left, layers=layers)


def _visits(root: nn.Module) -> Iterator[_Visit]:
    """Every module in every place, the outer ones first."""

    def walk(visit: _Visit, above: frozenset[int]) -> Iterator[_Visit]:
        yield visit
        module = visit.module
        if id(module) in above:
            return
        for name, child in module._modules.items():
            if child is None:
                continue
            raw = _joined(visit.raw, name)
            wrapper = type(module).__name__ in _PARALLEL and name == "module"
            if wrapper or name in WRAPPERS:
                yield from walk(
                    _Visit(child, visit.path, raw, visit.within, visit.parent, visit.name), above | {id(module)}
                )
                continue
            within = (*visit.within, kinds_of(type(module), "Module")[0])
            yield from walk(_Visit(child, _joined(visit.path, name), raw, within, module, name), above | {id(module)})

    yield from walk(_Visit(root, "", "", (), None, ""), frozenset())


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _share(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether two tensors have an element in common; that their memory is interleaved is not enough."""
    try:
        return np.shares_memory(_foreign.as_numpy(first), _foreign.as_numpy(second), max_work=10**6)  # pyright: ignore
    except (ValueError, np.exceptions.TooHardError):
        return True


def _dtype(tensor: torch.Tensor) -> np.dtype:
    return _dtypes.resolve(tensor.dtype)


def _config(module: nn.Module) -> dict[str, float]:
    """The numbers of a model's configuration, as Hugging Face's models have it."""
    config = getattr(module, "config", None)
    try:
        items = dict(config.to_dict()) if hasattr(config, "to_dict") else dict(vars(config))  # pyright: ignore
    except TypeError:
        return {}
    return {name: value for name, value in items.items() if type(value) in (int, float)}


def describe(module: nn.Module) -> Found:
    """A module's parameters, and the running statistics of its norms."""
    return _Scan(module).found()


def initialize(
    module: nn.Module,
    recipe: Any,
    *,
    device: Any,
    only: Any,
    skip: Any,
    only_missing: Any,
    names: Any,
    buffers: Any,
    unmatched: str,
    progress: bool | None,
) -> Report:
    """What `fanin.torch.initialize` does."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"`module` must be a torch.nn.Module. Received: module of type {type(module).__name__}.")
    device = _checked_device(device)
    scan = _Scan(module)
    plan = recipe.plan_of(scan.found(), names=names)
    held = {each.parameter.path: each for each in scan.all()}
    plan, passed = chosen(plan, only, skip, there=_there(only_missing, held))
    plan.check(unmatched)
    _check_memory(plan, held)
    everything = only is None and skip is None and only_missing is None
    restored, lost = _restored(scan, {} if buffers is None else buffers, device, everything=everything)
    execution = Execution(plan, progress)
    for path, reason in passed.items():
        abstract = held[path].tensor.is_meta
        execution.kept[path] = f"{reason}; it is on the meta device and has no values" if abstract else reason
    execution.kept.update(lost)
    for visit, leaf, value, how in restored:
        visit.module._buffers[leaf] = value
        execution.buffers[_joined(visit.path, leaf)] = how
    for entry in execution.entries():
        _fill(entry, held[entry.path], device)
    return execution.report()


def _checked_device(device: Any) -> torch.device:
    """The device, if there is memory on it."""
    try:
        found = torch.device("cpu" if device is None else device)
        if found.type == "meta":
            raise ValueError("the meta device has no memory")
        torch.empty(0, device=found)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"`device` must be a device with memory. Received: device={device!r} ({reason}).") from None
    return found


def _there(only_missing: Any, held: Mapping[str, _Held]) -> set[str]:
    """The paths of parameters that a state dict has, or that were not among its missing keys."""
    if only_missing is None:
        return set()
    if hasattr(only_missing, "missing_keys"):  # what load_state_dict returns
        missing = {stripped(key) for key in only_missing.missing_keys}
        return {path for path, each in held.items() if not missing & _names(each)}
    if isinstance(only_missing, (str, bytes)) or not isinstance(only_missing, Iterable):
        raise TypeError(
            "`only_missing` must be a state dict, its keys, or what `load_state_dict` returned. "
            f"Received: {type(only_missing).__name__}."
        )
    keys = {stripped(str(key)) for key in only_missing}
    return {path for path, each in held.items() if keys & _names(each)}


def _names(held: _Held) -> set[str]:
    names = {stripped(path) for path in held.paths} | {held.parameter.path, *held.parameter.tied}
    return names | {f"module.{name}" for name in names}


def _check_memory(plan: Plan, held: Mapping[str, _Held]) -> None:
    """Refuses, before anything is written, what cannot be written."""
    wrong = []
    for entry in plan.entries:
        tensor = held[entry.path].tensor
        if entry.kept and tensor.is_meta:
            wrong.append(
                f"{entry.path}: {entry.rule} keeps it as it is, but it is on the meta device and has no values."
            )
        if not entry.draws or tensor.is_meta or not tensor.is_cpu:
            continue
        try:
            array = _foreign.as_numpy(tensor)
            if overlaps_itself(array):
                raise ValueError("Its elements must have places of their own in memory, which `expand` does not give.")
        except ValueError as error:
            wrong.append(f"{entry.path}: {error}")
    if wrong:
        lines = "".join(f"\n  {each}" for each in wrong)
        raise PlanError(f"Parameters of {plan.found.model} cannot be written; nothing has been written.{lines}")


def _fill(entry: Entry, held: _Held, device: torch.device) -> None:
    """Gives one parameter its values, in its own memory or, where it has none, in new memory."""
    tensor = held.tensor
    if tensor.is_meta:
        _replace(held, _drawn(entry, tensor).to(device))
    elif tensor.is_cpu:
        entry.fill(_foreign.as_numpy(tensor))
        _foreign.note_write(tensor)
    else:
        with torch.no_grad():
            tensor.copy_(_drawn(entry, tensor))


def _drawn(entry: Entry, tensor: torch.Tensor) -> torch.Tensor:
    """A new tensor of the CPU with the parameter's values, and with the strides of the given one."""
    if tensor.is_contiguous():
        array = allocate(entry.parameter.shape, entry.parameter.dtype)
        entry.fill(array)
        return to_torch(array)
    fresh = torch.empty_like(tensor.detach(), device="cpu")
    entry.fill(_foreign.as_numpy(fresh))
    return fresh


def _replace(held: _Held, data: torch.Tensor) -> None:
    """Puts a new parameter where the old one was, in every place, so that what was tied stays tied."""
    old = held.tensor
    new: torch.Tensor = data
    if isinstance(old, nn.Parameter):
        new = torch.Tensor._make_subclass(type(old), data, old.requires_grad)
    vars(new).update(vars(old))
    for module, leaf in held.owners:
        (module._buffers if leaf in module._buffers else module._parameters)[leaf] = new  # pyright: ignore
    held.tensor = new


# Buffers that no recipe is about ------------------------------------------------------------------------------------


def _restored(
    scan: _Scan, given: Any, device: torch.device, *, everything: bool
) -> tuple[list[tuple[_Visit, str, torch.Tensor, str]], dict[str, str]]:
    """Values for the buffers that have none, made before anything is written, and the paths of those that stay so.

    Raises:
        PlanError: one cannot be made again, and all are wanted.
        ValueError, TypeError: `buffers` does not fit.
    """
    if not isinstance(given, Mapping) or not all(isinstance(pattern, str) for pattern in given):
        raise TypeError(f"`buffers` must be a mapping of paths to tensors. Received: {type(given).__name__}.")
    patterns = {pattern: glob(pattern) for pattern in given}
    found, lost, used = [], {}, set()
    made: dict[int, dict[str, tuple[torch.Tensor, str]]] = {}
    values: dict[int, tuple[torch.Tensor, str]] = {}  # of each buffer once, also where several modules have it
    for visit, leaf, tensor in scan.buffers:
        path = _joined(visit.path, leaf)
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
            found.append((visit, leaf, kept, how))
    unused = [pattern for pattern in patterns if pattern not in used]
    if unused:
        known = [_joined(visit.path, leaf) for visit, leaf, _ in scan.buffers]
        raise ValueError(f"`buffers` must name buffers of the module. Received: {unused[0]!r}. There are: {known}.")
    if lost and everything:
        raise PlanError(
            "Buffers on the meta device have no values, and those of these modules could not be made again; nothing "
            "has been written.\n"
            + "".join(f"  {each}\n" for each in lost.values())
            + "  Pass them, buffers={path: tensor}, or build these modules outside of the meta device."
        )
    return found, dict.fromkeys(lost, "a buffer that has no values, and could not be made again")


def _given_buffer(path: str, value: Any, tensor: torch.Tensor) -> torch.Tensor:
    if not isinstance(value, torch.Tensor) or value.shape != tensor.shape or value.is_meta:
        raise ValueError(
            f"The buffer {path} must be a tensor of shape {tuple(tensor.shape)} with values. Received: "
            f"{type(value).__name__}{f' of shape {tuple(value.shape)}' if isinstance(value, torch.Tensor) else ''}."
        )
    return value.detach().to(tensor.dtype, copy=True)


def _made_again(visit: _Visit, scan: _Scan) -> dict[str, tuple[torch.Tensor, str]]:
    """The buffers of a module, by its own code: a method for them, its model's, or its constructor."""
    module = visit.module
    model: Any = scan.inner
    wanted = {leaf: tensor for each, leaf, tensor in scan.buffers if each.module is module and tensor.is_meta}
    attempts = [(f"by {name}()", getattr(module, name, None)) for name in _BUFFER_METHODS]
    if hasattr(model, "_init_weights") and hasattr(model, "config"):  # as Hugging Face's models have it
        attempts.append((f"by {type(model).__name__}'s _init_weights", partial(model._init_weights, module)))
    for how, method in attempts:
        made = _written_by(method, module, wanted) if callable(method) else None
        if made is not None:
            return {leaf: (tensor, how) for leaf, tensor in made.items()}
    rebuilt = _rebuilt(module, wanted) or {}
    return {leaf: (tensor, f"as {type(module).__name__} makes it") for leaf, tensor in rebuilt.items()}


@contextmanager
def _shielded(module: nn.Module) -> Iterator[None]:
    """Nothing that is done to a module in the block lasts: it has other tensors there, and no generator moves on."""
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
    """What a method writes into the module's buffers; None unless it writes all of them.

    It is run twice, on memory of different bytes: what depends on the bytes was not written.
    """
    results = []
    for byte in (0x55, 0x2A):
        try:
            with _shielded(module):
                for leaf, tensor in wanted.items():
                    module._buffers[leaf] = _of_bytes(tensor, byte)
                method()
                results.append({leaf: module._buffers[leaf] for leaf in wanted})
        except Exception:  # whatever the method of somebody else raises, it is of no use here
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
    """A tensor of the CPU like this one, every byte of it the same."""
    if tensor.dtype == torch.bool:
        return torch.full(tensor.shape, byte == 0x55, device="cpu")
    size = tensor.numel() * tensor.element_size()
    return torch.full((size,), byte, dtype=torch.uint8, device="cpu").view(tensor.dtype).view(tensor.shape)


def _rebuilt(module: nn.Module, wanted: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
    """The buffers of a second module that the same constructor makes of what the first one remembers.

    Every argument must be an attribute of its name, or nobody knows what it was. The second module counts only if all
    plain attributes of both are the same, and if a third one, made with a generator elsewhere, has the same buffers.
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
