"""PyTorch modules as data: every parameter with its places, ties and layer, and the other buffers."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from fanin import _native
from fanin._core.memory import as_numpy
from fanin._core.messages import class_name, visible
from fanin.models.names import WRAPPERS, class_names
from fanin.models.parameters import Model, Parameter
from fanin.models.traits import STATISTICS, UNKNOWN
from fanin.torch.adapters import adapter_part, adapter_starts, wraps_base
from fanin.torch.layers import traits_of
from fanin.torch.own_code import OwnCode
from fanin.torch.refusals import outline, partitioned_by_fsdp, shape_problem, tensor_problem
from fanin.torch.reparametrized import UNKNOWN_PARAMETRIZATION, Place, Reparametrized, reparametrized
from fanin.torch.shapes import declared_shape, resized
from fanin.torch.shards import Shard, ShardOf, is_dtensor, local_of, shard_of_dtensor, stand_in

# Wrappers whose only child is the wrapped module, under the name `module`.
_PARALLEL = {"DataParallel", "DistributedDataParallel", "FullyShardedDataParallel", "AveragedModel", "DeepSpeedEngine"}


# Roles whose usual values are constants: a frozen one is not a table of its module's.
_USUAL = {"bias", "recurrent_bias", "scale", "offset", *STATISTICS}


_COMPUTED_FROM_SHARD = (
    "Its layer computes its weight from it and from its norm, which needs the whole of it, but this process holds a "
    "shard. Initialize the model before it is sharded, or leave it out with `skip=`."
)


_SAYS_ITSELF = "It is a DTensor, which says itself what this process holds. Leave it out of `shards`."
_TIED_DIFFERENTLY = "It is tied, and `shards` says of its places that this process holds different parts of it."


class Source(NamedTuple):
    """A tensor of a module, as a scan finds it: its place, the name that its traits follow from, and what it is."""

    owner: nn.Module
    leaf: str
    name: str
    tensor: torch.Tensor
    is_buffer: bool = False
    weight: Reparametrized | None = None


@dataclass
class Held:
    """A parameter or buffer, and every place in the module where it occurs.

    Attributes:
        parameter: its description.
        tensor: the tensor.
        owners: the places where it occurs.
        paths: its paths in the state dict.
        weight: how its layer's weight is computed from it, if it is not the weight itself.
        layer_path: the path of that layer.
        shard: the part of it that this process holds; None if that is the whole.
    """

    parameter: Parameter
    tensor: torch.Tensor
    owners: list[Place] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    weight: Reparametrized | None = None
    layer_path: str = ""
    shard: Shard | None = None

    @property
    def local(self) -> torch.Tensor:
        """The tensor whose memory holds what this process has of it."""
        if self.shard is not None and self.shard.tensor is not None:
            return self.shard.tensor
        return local_of(self.tensor)

    @property
    def derived_paths(self) -> list[str]:
        """The paths of the tensors that are computed from it."""
        return [] if self.weight is None else [joined(self.layer_path, raw) for raw in self.weight.derived]


@dataclass
class Visit:
    """A module within another, with its path without wrappers and its raw path.

    Attributes:
        module: the module.
        path: its path without wrappers.
        raw: its path in the state dict.
        within: the types of the enclosing modules.
        parent: the module that owns it, and is not a wrapper.
        name: its name there.
        adapter: the part of an adapter of PEFT that it is or belongs to; "" if none.
    """

    module: nn.Module
    path: str
    raw: str
    within: tuple[str, ...]
    parent: nn.Module | None
    name: str
    adapter: str = ""


class Table(NamedTuple):
    """A frozen parameter that the module's own code makes, its values, and which code that is."""

    held: Held
    value: torch.Tensor
    how: str


class Scan:
    """The contents of a module: the tensors that recipes apply to, and the others.

    Args:
        root: the module.
        shard_of: what this process holds of tensors that are no DTensors.
        as_stored: whether each tensor is taken as it is stored, because a recording says what each of them gets. By
            default weights that are computed from others are drawn as such, and frozen tables are made by their code.

    Attributes:
        root: the module.
        inner: the module inside all wrappers.
        held: the tensors that recipes apply to, by id.
        buffers: the other buffers.
        tables: the frozen parameters that the module's own code makes.
        computed: the tensors that are computed from drawn ones, by path, with the reason.
    """

    def __init__(self, root: nn.Module, shard_of: ShardOf | None = None, *, as_stored: bool = False) -> None:
        self.root = root
        self._as_stored = as_stored
        self._given_shard: ShardOf = shard_of or (lambda path, tensor: None)
        self._shards: dict[int, Shard] = {}  # those that are given, by the id of the tensor
        self._misplaced: dict[int, str] = {}  # tensors whose shards cannot be what is given, by id, with the reason
        self.held: dict[int, Held] = {}
        self.buffers: list[tuple[Visit, str, torch.Tensor]] = []
        self.tables: list[Table] = []
        self.computed: dict[str, str] = {}
        self._visits = list(visits(root))
        self._partitioned = partitioned_by_fsdp(visit.module for visit in self._visits)
        self._settled: set[tuple[int, str]] = set()  # places of reparametrized weights
        self._adapters = adapter_starts(visit.module for visit in self._visits)
        self.inner: nn.Module = [visit.module for visit in self._visits if not visit.path][-1]
        if shard_of is not None:
            for visit in self._visits:
                self._take_shards(visit)
        for visit in self._visits:
            self._add(visit)
        self._tie_equal_memory()
        if not as_stored:
            self._set_tables_apart()

    def _add(self, visit: Visit) -> None:
        module = visit.module
        for weight in () if self._as_stored else reparametrized(module):
            self._add_reparametrized(visit, weight)
        for leaf, tensor in module._parameters.items():
            if tensor is not None and (id(module), leaf) not in self._settled:
                self._add_tensor(visit, Source(module, leaf, leaf, tensor))
        for leaf, tensor in module._buffers.items():
            if tensor is None or (id(module), leaf) in self._settled:
                continue
            if traits_of(module, leaf, tensor, visit.parent, visit.name).role in STATISTICS:
                self._add_tensor(visit, Source(module, leaf, leaf, tensor, is_buffer=True))
            else:
                self.buffers.append((visit, leaf, tensor))

    def _add_reparametrized(self, visit: Visit, weight: Reparametrized) -> None:
        """Adds the tensor that is drawn as the weight would be, under the weight's path."""
        module, leaf = weight.drawn
        self._add_tensor(visit, Source(module, leaf, weight.name, weight.tensor, weight=weight))
        for owner, name in (weight.drawn, *weight.derived.values()):
            self._settled.add((id(owner), name))
        path = joined(visit.path, weight.name)
        for raw in weight.derived:
            self.computed[joined(visit.path, raw)] = f"computed from {path}"

    def _add_tensor(self, visit: Visit, source: Source) -> None:
        tensor, module, within = source.tensor, visit.module, visit.within
        inner = source.leaf if source.weight is None else source.weight.raw
        raw, path = joined(visit.raw, inner), joined(visit.path, source.name)
        if nn.parameter.is_lazy(tensor):
            raise ValueError(
                f"Every parameter must have a shape. Received: {visible(raw)} of the lazy module "
                f"{class_name(type(module))}. Call the module on an input first."
            )
        shard = self._shard(tensor)
        whole = tensor if shard is None else stand_in(tensor, shard)
        layer_module = module if source.weight is not None else self._whole_layer(visit)
        problem, traits = self._problem(visit, source, shard, layer_module), UNKNOWN
        if not problem:
            traits = traits_of(layer_module, source.name, whole, visit.parent, visit.name)
            problem, traits = self._adapters.applied(visit.adapter, path, tuple(whole.shape), traits)
            problem = "" if self._as_stored else problem
        shape, dtype = outline(whole)
        layer, *bases = class_names(type(module), "Module")
        held = self.held.get(id(tensor))
        if held is None:
            parameter = Parameter(
                path,
                shape,
                dtype,
                layer,
                tuple(bases),
                within,
                traits,
                trainable=source.is_buffer or tensor.requires_grad,
                problem=problem,
            )
            held = Held(parameter, tensor, weight=source.weight, layer_path=visit.path, shard=shard)
            self.held[id(tensor)] = held
        elif path != held.parameter.path and path not in held.parameter.tied:
            held.parameter = replace(held.parameter, tied=(*held.parameter.tied, path))
            # The second layer may be in the table when the first is not, or an embedding, whose padding is zero.
            is_embedding = traits.role == "embedding" != held.parameter.role
            if traits != UNKNOWN and (held.parameter.role == "other" or is_embedding):
                held.parameter = replace(held.parameter, layer=layer, bases=tuple(bases), within=within, traits=traits)
        if source.weight is not None and joined(visit.path, inner) not in held.parameter.tied:
            held.parameter = replace(held.parameter, tied=(*held.parameter.tied, joined(visit.path, inner)))
        held.owners.append((source.owner, source.leaf))
        held.paths.append(raw)

    def _take_shards(self, visit: Visit) -> None:
        """Asks what this process holds of a module's tensors. Tied ones need be named once."""
        for leaf, tensor in (*visit.module._parameters.items(), *visit.module._buffers.items()):
            shard = None if tensor is None else self._given_shard(joined(visit.path, leaf), tensor)
            if tensor is None or shard is None:
                continue
            if is_dtensor(tensor):
                self._misplaced[id(tensor)] = _SAYS_ITSELF
            elif self._shards.setdefault(id(tensor), shard) != shard:
                self._misplaced[id(tensor)] = _TIED_DIFFERENTLY

    def _shard(self, tensor: torch.Tensor) -> Shard | None:
        """What this process holds of a tensor; None if that is the whole."""
        return shard_of_dtensor(tensor) if is_dtensor(tensor) else self._shards.get(id(tensor))

    def _whole_layer(self, visit: Visit) -> nn.Module:
        """The layer of a shard as it is in the whole model, with the sizes that its traits follow from."""
        module = visit.module
        tensors = {**module._parameters, **module._buffers} if self._shards else {}
        whole = {
            leaf: stand_in(tensor, self._shards[id(tensor)])
            for leaf, tensor in tensors.items()
            if tensor is not None and id(tensor) in self._shards
        }
        return resized(module, whole) if whole else module

    def _problem(self, visit: Visit, source: Source, shard: Shard | None, layer: nn.Module) -> str:
        """Why a parameter cannot be drawn, and what to do; "" if it can."""
        tensor, module = source.tensor, visit.module
        problem = self._misplaced.get(id(tensor), "") or tensor_problem(tensor, shard)
        problem = problem or ("" if shard else self._partitioned.get(id(tensor), ""))
        if problem:
            return problem
        if shard is not None and source.weight is not None:
            return _COMPUTED_FROM_SHARD
        if self._as_stored:
            return ""
        if isinstance(module, ParametrizationList) or "ParametrizationList" in visit.within:
            return UNKNOWN_PARAMETRIZATION  # which may have a state
        whole = tensor if shard is None else stand_in(tensor, shard)
        given = shard is not None and not is_dtensor(tensor)
        problem = shape_problem(whole, module, declared_shape(layer, source.name), given=given)
        return problem or ("" if source.weight is None else source.weight.problem)

    def _tie_equal_memory(self) -> None:
        """Ties parameters that are the same memory, and raises for those that share only a part of it."""
        spans: dict[int, list[tuple[int, int, int, int]]] = {}  # by their storages
        for position, (key, held) in enumerate(self.held.items()):
            if held.parameter.problem:
                continue
            tensor = held.local.detach()
            if not (tensor.is_cpu or tensor.is_meta) or not tensor.numel() or tensor.layout != torch.strided:
                continue
            reach = 1 + sum(s * (n - 1) for s, n in zip(tensor.stride(), tensor.shape, strict=True))
            try:
                storage, begin = _address(tensor)
            except (RuntimeError, NotImplementedError):  # no memory of its own; filling it raises
                continue
            spans.setdefault(storage, []).append((begin, begin + reach * tensor.element_size(), position, key))
        for each in spans.values():
            each.sort()
            for (begin, end, _, key), (begin2, end2, _, key2) in pairwise(each):
                if begin2 >= end:
                    continue
                first, second = self.held[key], self.held[key2]
                same = (begin, end, first.local.stride(), first.local.dtype)
                if same != (begin2, end2, second.local.stride(), second.local.dtype):
                    if not _share(first.local, second.local):
                        continue
                    raise ValueError(
                        "Parameters must have separate memory, or share all of it. Received: "
                        f"{visible(first.parameter.path)} and {visible(second.parameter.path)}, which share a part of "
                        "theirs."
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

    def _set_tables_apart(self) -> None:
        """Takes the frozen parameters that the module's own code makes out of what recipes apply to."""
        frozen = {
            id(each.tensor): each
            for each in self.all()
            if not each.parameter.trainable and not each.parameter.problem and each.parameter.role not in _USUAL
        }
        places = {
            place: each.tensor if each.shard is None else stand_in(each.tensor, each.shard)
            for each in frozen.values()
            for place in each.owners
            if each.weight is None
        }
        for found in OwnCode(self.root).tables(places) if places else ():
            held = frozen.get(id(found.tensor))
            if held is not None:
                self.tables.append(Table(held, found.value, found.how))
                self.held = {key: each for key, each in self.held.items() if each is not held}

    def all(self) -> list[Held]:
        """Each parameter once, in the module's order."""
        return list({id(held): held for held in self.held.values()}.values())

    @property
    def recurrent(self) -> list[nn.RNNBase]:
        """The recurrent layers, which keep their parameters in one piece of memory on some devices."""
        modules = {id(visit.module): visit.module for visit in self._visits}
        return [module for module in modules.values() if isinstance(module, nn.RNNBase)]

    def model(self) -> Model:
        """The description of the module, for a plan."""
        held = self.all()
        left = {joined(visit.path, leaf): "a buffer" for visit, leaf, _ in self.buffers} | self.computed
        left |= {each.held.parameter.path: f"a frozen parameter, made {each.how}" for each in self.tables}
        layers = tuple(f"{visit.path}." for visit in self._visits if visit.path)
        parameters = tuple(each.parameter for each in held)
        name, *_ = class_names(type(self.inner), "Module")
        return Model(parameters, name, _configs(self._visits), left, layers=layers)


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
            if _is_wrapper(module, name):
                inner = replace(visit, module=child, raw=raw)
            else:
                within = (*visit.within, class_names(type(module), "Module")[0])
                adapter = visit.adapter or adapter_part(module, name)
                inner = Visit(child, joined(visit.path, name), raw, within, module, name, adapter)
            yield from walk(inner, above | {id(module)})

    yield from walk(Visit(root, "", "", (), None, ""), frozenset())


def _is_wrapper(module: nn.Module, name: str) -> bool:
    """Whether a module only wraps its child of this name, whose path is then its own."""
    if class_names(type(module), "Module")[0] in _PARALLEL and name == "module":
        return True
    return name in WRAPPERS or wraps_base(module, name)


def joined(path: str, name: str) -> str:
    """The path of a module's child or tensor, from the module's path and its name."""
    return f"{path}.{name}" if path else name


def put(places: Iterable[Place], old: torch.Tensor, data: torch.Tensor) -> torch.Tensor:
    """Puts a new tensor, with the class and attributes of the old one, in all of its places at once, and returns it."""
    new: torch.Tensor = data
    if isinstance(old, nn.Parameter):
        new = torch.Tensor._make_subclass(type(old), data, old.requires_grad)
    vars(new).update(vars(old))
    put_itself(places, new)
    return new


def put_itself(places: Iterable[Place], tensor: torch.Tensor) -> None:
    """Puts a tensor in all of its places at once.

    An interrupt may come before or after it, and must not find a tied parameter in some of its places only.
    """
    _native.call_all([partial(operator.setitem, *each, tensor) for place in places for each in _entries(*place)])


def _entries(module: nn.Module, leaf: str) -> Iterator[tuple[Any, Any]]:
    """The containers that hold a tensor of a module, with its key in each: recurrent layers have a list, too."""
    yield (module._buffers if leaf in module._buffers else module._parameters), leaf
    if isinstance(module, nn.RNNBase):
        yield from ((module._flat_weights, at) for at, name in enumerate(module._flat_weights_names) if name == leaf)


def _address(tensor: torch.Tensor) -> tuple[int, int]:
    """What tells a tensor's storage from others, and where the tensor begins."""
    storage = tensor.untyped_storage()
    if tensor.is_meta:
        return -storage._cdata, int(tensor.storage_offset()) * tensor.element_size()
    return storage.data_ptr(), tensor.data_ptr()


def _share(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether two tensors have an element in common; interleaved memory alone does not count."""
    try:
        arrays = (_Layout(each) if each.is_meta else as_numpy(each) for each in (first, second))
        return np.shares_memory(*map(np.asarray, arrays), max_work=10**6)  # pyright: ignore
    except (ValueError, np.exceptions.TooHardError):
        return True


class _Layout:
    """A tensor on meta as an array that may be asked where its elements would lie, and must not be read."""

    def __init__(self, tensor: torch.Tensor) -> None:
        size = tensor.element_size()
        self.__array_interface__ = {
            "version": 3,
            "data": (_SOMEWHERE + int(tensor.storage_offset()) * size, True),
            "shape": tuple(tensor.shape),
            "strides": tuple(step * size for step in tensor.stride()),
            "typestr": f"|V{size}",
        }


_SOMEWHERE = 2**12  # an address, which nothing reads from


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
