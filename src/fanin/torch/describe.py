"""PyTorch modules as data: every parameter with its places, ties and layer, and the other buffers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from fanin._core import dtypes
from fanin._core.memory import as_numpy
from fanin.models.names import WRAPPERS, class_names
from fanin.models.parameters import Model, Parameter
from fanin.models.traits import STATISTICS, UNKNOWN
from fanin.torch.layers import traits_of

# Wrappers whose only child is the wrapped module, under the name `module`.
_PARALLEL = {"DataParallel", "DistributedDataParallel", "FullyShardedDataParallel", "AveragedModel", "DeepSpeedEngine"}


@dataclass
class Held:
    """A parameter or buffer, and every place in the module where it occurs."""

    parameter: Parameter
    tensor: torch.Tensor
    owners: list[tuple[nn.Module, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)  # as in the state dict


@dataclass
class Visit:
    """A module within another, with its path without wrappers and its raw path."""

    module: nn.Module
    path: str
    raw: str
    within: tuple[str, ...]
    parent: nn.Module | None
    name: str


class Scan:
    """The contents of a module: the tensors that recipes apply to, and the other buffers."""

    def __init__(self, root: nn.Module) -> None:
        self.root = root
        self.held: dict[int, Held] = {}
        self.buffers: list[tuple[Visit, str, torch.Tensor]] = []
        for visit in visits(root):
            self._add(visit)
        self._tie_equal_memory()
        # The module inside all wrappers.
        self.inner: nn.Module = [visit.module for visit in visits(root) if not visit.path][-1]

    def _add(self, visit: Visit) -> None:
        module = visit.module
        for leaf, tensor in module._parameters.items():
            if tensor is not None:
                self._add_tensor(visit, leaf, tensor, buffer=False)
        for leaf, tensor in module._buffers.items():
            if tensor is None:
                continue
            if traits_of(module, leaf, tensor, visit.parent, visit.name).role in STATISTICS:
                self._add_tensor(visit, leaf, tensor, buffer=True)
            else:
                self.buffers.append((visit, leaf, tensor))

    def _add_tensor(self, visit: Visit, leaf: str, tensor: torch.Tensor, *, buffer: bool) -> None:
        raw = joined(visit.raw, leaf)
        if nn.parameter.is_lazy(tensor):
            raise ValueError(
                f"Every parameter must have a shape. Received: {raw} of the lazy module {type(visit.module).__name__}. "
                "Call the module on an input first."
            )
        module, path, within = visit.module, joined(visit.path, leaf), visit.within
        traits = traits_of(module, leaf, tensor, visit.parent, visit.name)
        layer, *bases = class_names(type(module), "Module")
        problem = ""
        if isinstance(module, ParametrizationList):
            # The weight is computed from this tensor, by a parametrization that may have a state.
            problem = "It belongs to a parametrization. Remove the parametrization, initialize, and register it again."
        held = self.held.get(id(tensor))
        if held is None:
            parameter = Parameter(
                path,
                tuple(tensor.shape),
                dtypes.resolve(tensor.dtype),
                layer,
                tuple(bases),
                within,
                traits,
                trainable=buffer or tensor.requires_grad,
                problem=problem,
            )
            held = self.held[id(tensor)] = Held(parameter, tensor)
        elif path != held.parameter.path and path not in held.parameter.tied:
            held.parameter = replace(held.parameter, tied=(*held.parameter.tied, path))
            # The second layer may be in the table when the first is not, or an embedding, whose padding is zero.
            is_embedding = traits.role == "embedding" != held.parameter.role
            if traits != UNKNOWN and (held.parameter.role == "other" or is_embedding):
                held.parameter = replace(held.parameter, layer=layer, bases=tuple(bases), within=within, traits=traits)
        held.owners.append((module, leaf))
        held.paths.append(raw)

    def _tie_equal_memory(self) -> None:
        """Ties parameters that are the same memory, and raises for those that share only a part of it."""
        spans: dict[int, list[tuple[int, int, int, int]]] = {}
        for position, (key, held) in enumerate(self.held.items()):
            tensor = held.tensor.detach()
            if tensor.is_meta or not tensor.is_cpu or not tensor.numel() or tensor.layout != torch.strided:
                continue
            reach = 1 + sum(s * (n - 1) for s, n in zip(tensor.stride(), tensor.shape, strict=True))
            try:
                begin = tensor.data_ptr()
                storage = tensor.untyped_storage().data_ptr()
            except (RuntimeError, NotImplementedError):  # no memory of its own; filling it raises
                continue
            spans.setdefault(storage, []).append((begin, begin + reach * tensor.element_size(), position, key))
        for each in spans.values():
            each.sort()
            for (begin, end, _, key), (begin2, end2, _, key2) in pairwise(each):
                if begin2 >= end:
                    continue
                first, second = self.held[key], self.held[key2]
                same = (begin, end, first.tensor.stride(), first.tensor.dtype)
                if same != (begin2, end2, second.tensor.stride(), second.tensor.dtype):
                    if not _share(first.tensor, second.tensor):
                        continue
                    raise ValueError(
                        "Parameters must have separate memory, or share all of it. Received: "
                        f"{first.parameter.path} and {second.parameter.path}, which share a part of theirs."
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
        self.held[second] = kept  # so that a third one finds it; `all` takes each once

    def all(self) -> list[Held]:
        """Each parameter once, in the module's order."""
        return list({id(held): held for held in self.held.values()}.values())

    def model(self) -> Model:
        """The description of the module, for a plan."""
        held = self.all()
        left = {joined(visit.path, leaf): "a buffer" for visit, leaf, _ in self.buffers}
        every = list(visits(self.root))
        layers = tuple(f"{visit.path}." for visit in every if visit.path)
        parameters = tuple(each.parameter for each in held)
        return Model(parameters, type(self.inner).__name__, _configs(every), left, layers=layers)


def visits(root: nn.Module) -> Iterator[Visit]:
    """Every module at every place where it occurs, the outer ones first."""

    def walk(visit: Visit, above: frozenset[int]) -> Iterator[Visit]:
        yield visit
        module = visit.module
        if id(module) in above:
            return
        for name, child in module._modules.items():
            if child is None:
                continue
            raw = joined(visit.raw, name)
            wrapper = type(module).__name__ in _PARALLEL and name == "module"
            if wrapper or name in WRAPPERS:
                yield from walk(
                    Visit(child, visit.path, raw, visit.within, visit.parent, visit.name), above | {id(module)}
                )
                continue
            within = (*visit.within, class_names(type(module), "Module")[0])
            yield from walk(Visit(child, joined(visit.path, name), raw, within, module, name), above | {id(module)})

    yield from walk(Visit(root, "", "", (), None, ""), frozenset())


def joined(path: str, name: str) -> str:
    """The path of a module's child or tensor, from the module's path and its name."""
    return f"{path}.{name}" if path else name


def _share(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether two tensors have an element in common; interleaved memory alone does not count."""
    try:
        return np.shares_memory(as_numpy(first), as_numpy(second), max_work=10**6)  # pyright: ignore
    except (ValueError, np.exceptions.TooHardError):
        return True


def _configs(every: Iterable[Visit]) -> dict[str, dict[str, float]]:
    """The numbers in the configurations of a model and its parts, which Hugging Face models have, by path."""
    known: dict[int, tuple[object, dict[str, float]]] = {}  # parts share configurations; keeps them, for their ids
    found = {}
    for visit in every:
        config = getattr(visit.module, "config", None)
        if id(config) not in known:
            known[id(config)] = config, _numbers(config)
        if numbers := known[id(config)][1]:
            found[visit.path] = numbers
    return found


def _numbers(config: Any) -> dict[str, float]:
    try:
        items = dict(config.to_dict()) if hasattr(config, "to_dict") else dict(vars(config))
    except TypeError:
        return {}
    return {name: value for name, value in items.items() if type(value) in (int, float)}


def describe(module: nn.Module) -> Model:
    """The description of a module: its parameters, and the running statistics of its norms."""
    return Scan(module).model()
