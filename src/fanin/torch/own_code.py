"""Tensors that a module's own code makes, such as tables of positions: made again by that code, and nothing guessed.

The code is a method of the module, its model's `_init_weights`, or its constructor. It runs on stand-ins for the
module's tensors and leaves the module, and the generators of random numbers, as they were.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from fanin import _native
from fanin._core.interrupts import is_interrupt
from fanin.models.names import own_classes
from fanin.torch.reparametrized import Place

# Methods that write into buffers what the constructor wrote.
_METHODS = ("init_non_persistent_buffers", "reset_buffers")
_LARGEST_REBUILT = 2**24  # elements; a larger module is not constructed a second time for its tensors

Wanted = Mapping[Place, torch.Tensor]
_Values = dict[Place, torch.Tensor]
_Result = TypeVar("_Result")


class Made(NamedTuple):
    """A tensor, the values that its module's own code gives it, and in words which code that is."""

    tensor: torch.Tensor
    value: torch.Tensor
    how: str


class OwnCode:
    """The code of a model's modules that makes their tensors."""

    def __init__(self, root: nn.Module) -> None:
        self._parents = {id(child): module for module in root.modules() for child in module.children()}
        self._sure: dict[tuple[int, str], set[int]] = {}

    def made_again(self, module: nn.Module, wanted: Wanted) -> list[Made]:
        """The tensors of a module if its code makes all of them, else none.

        Args:
            module: the module that owns the tensors.
            wanted: the tensors by their places.
        """
        for how, method in self._methods(module):
            values = _written_by(method, module, wanted)
            if values is not None:
                return [Made(tensor, values[place], how) for place, tensor in wanted.items()]
        values = _rebuilt(module, wanted)
        return [] if values is None else [Made(each, values[place], _how(module)) for place, each in wanted.items()]

    def tables(self, places: Wanted) -> list[Made]:
        """The frozen parameters that the code of their modules, or of the modules around these, makes.

        Code that draws random numbers makes no table, and a constructor makes one only if it freezes it.

        Args:
            places: the frozen parameters by their places; of a shard, a tensor like the whole.
        """
        found: dict[int, Made] = {}
        for (module, leaf), whole in places.items():
            tensor = module._parameters[leaf]
            if tensor is not None and id(tensor) not in found:
                made = self._table(module, leaf, tensor, whole)
                if made is not None:
                    found[id(tensor)] = made
        return list(found.values())

    def _table(self, module: nn.Module, leaf: str, tensor: torch.Tensor, whole: torch.Tensor) -> Made | None:
        wanted = {(module, leaf): whole}
        around = [each for each in (self._parents.get(id(module)), module) if each is not None]
        for each in around:  # the outer one, which writes after the inner one, first
            for how, method in self._methods(each):
                key = id(each), how
                if key not in self._sure:
                    self._sure[key] = _sure_writes(method, each)
                values = _written_by(method, each, wanted) if id(tensor) in self._sure[key] else None
                if values is not None:
                    return Made(tensor, values[module, leaf], how)
        if own_class(module).__module__.startswith("torch.nn."):  # their constructors freeze nothing
            return None
        values = _rebuilt(module, wanted)
        return None if values is None else Made(tensor, values[module, leaf], _how(module))

    def _methods(self, module: nn.Module) -> Iterator[tuple[str, Callable[[], object]]]:
        """The methods that may make a module's tensors, and in words which they are."""
        for name in _METHODS:
            method = getattr(module, name, None)
            if callable(method):
                yield f"by {name}()", method
        model: Any = module
        while model is not None:  # the models around it, as Hugging Face's are within one another
            if hasattr(model, "_init_weights") and hasattr(model, "config"):
                yield f"by {type(model).__name__}'s _init_weights", partial(model._init_weights, module)
            model = self._parents.get(id(model))


def _how(module: nn.Module) -> str:
    return f"as {own_class(module).__name__}'s constructor makes it"


def own_class(module: nn.Module) -> Callable[..., nn.Module]:
    """A module's class, without what frameworks derive from it."""
    return own_classes(type(module), "Module")[0]


def shielded(module: nn.Module, code: Callable[[], _Result]) -> _Result:
    """The result of code that may change a module: it gets stand-ins for the tensors, and no change of it lasts."""
    tables: list[dict[str, Any]] = [
        table for each in module.modules() for table in (vars(each), each._parameters, each._buffers)
    ]
    # A single call of built-in functions, so that no interrupt finds the module restored in part.
    restore = [each for table in tables for each in (table.clear, partial(table.update, dict(table)))]
    try:
        for each in module.modules():
            vars(each).pop("_is_hf_initialized", None)  # Hugging Face's mark of a module that is not to be made again
            for leaf, tensor in each._parameters.items():
                abstract = (
                    None if tensor is None else nn.Parameter(_abstract(tensor), requires_grad=tensor.requires_grad)
                )
                each._parameters[leaf] = abstract
            for leaf, tensor in each._buffers.items():
                each._buffers[leaf] = None if tensor is None else tensor.clone()
        with torch.no_grad(), torch.random.fork_rng(devices=[]), torch.device("cpu"):
            return code()
    finally:
        _native.call_all(restore)


def _abstract(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of this shape and dtype without values, whatever the tensor is."""
    return torch.empty(tuple(tensor.shape), dtype=tensor.dtype, device="meta")


def _written_by(method: Callable[[], object], module: nn.Module, wanted: Wanted) -> _Values | None:
    """The values that a method writes into a module's tensors; None unless it writes all of them.

    The method runs twice, on tensors of different bytes: values that depend on those bytes were not written.
    """
    results: list[_Values] = []
    for byte in (0x55, 0x2A):
        try:
            results.append(shielded(module, partial(_values_written, method, wanted, byte)))
        except Exception as error:  # foreign code can raise anything; the method is of no use then
            if is_interrupt(error):
                raise
            return None
    first, second = results
    for place, tensor in wanted.items():
        values, others = first[place], second[place]
        if values.is_meta or values.shape != tensor.shape or values.dtype != tensor.dtype:
            return None
        if not torch.equal(values, others):
            return None
    return first


def _values_written(method: Callable[[], object], wanted: Wanted, byte: int) -> _Values:
    for place, tensor in wanted.items():
        _put(place, _of_bytes(tensor, byte))
    method()
    return {place: _taken(place) for place in wanted}


def _of_bytes(tensor: torch.Tensor, byte: int) -> torch.Tensor:
    """A CPU tensor like this one, with every byte the same."""
    if tensor.dtype == torch.bool:
        return torch.full(tensor.shape, byte == 0x55, device="cpu")
    size = tensor.numel() * tensor.element_size()
    return torch.full((size,), byte, dtype=torch.uint8, device="cpu").view(tensor.dtype).view(tensor.shape)


def _put(place: Place, tensor: torch.Tensor) -> None:
    module, leaf = place
    if leaf in module._buffers:
        module._buffers[leaf] = tensor
    else:
        module._parameters[leaf] = nn.Parameter(tensor, requires_grad=False)


def _taken(place: Place) -> torch.Tensor:
    module, leaf = place
    return getattr(module, leaf).detach()


def _sure_writes(method: Callable[[], object], module: nn.Module) -> set[int]:
    """The parameters, by id, that a method writes without random numbers.

    It runs on tensors without values, which costs nothing, however large they are.
    """
    originals = {
        (id(each), leaf): tensor
        for each in module.modules()
        for leaf, tensor in each._parameters.items()
        if tensor is not None
    }
    writes = _Writes()

    def watched() -> list[tuple[int, int]]:
        """The storages of the stand-ins, each with the parameter that it stands for."""
        stand_ins = [
            (_storage(each._parameters[leaf]), id(originals[id(each), leaf]))
            for each in module.modules()
            for leaf in each._parameters
            if (id(each), leaf) in originals
        ]
        with writes:
            method()
        return stand_ins

    try:
        stand_ins = shielded(module, watched)
    except Exception as error:  # as above
        if is_interrupt(error):
            raise
        return set()
    return {original for storage, original in stand_ins if writes.sure.get(storage, False)}


class _Writes(TorchDispatchMode):
    """Notes which storages are written, and whether their last whole values came without random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.sure: dict[int, bool] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operation, and notes what it writes."""
        is_random = torch.Tag.nondeterministic_seeded in func.tags
        for declared, value in zip(func._schema.arguments, args, strict=False):
            if declared.alias_info is None or not declared.alias_info.is_write or not isinstance(value, torch.Tensor):
                continue
            key = _storage(value)
            is_whole = value.numel() * value.element_size() == value.untyped_storage().nbytes()
            self.sure[key] = not is_random and (is_whole or self.sure.get(key, True))
        return func(*args, **(kwargs or {}))


def _storage(tensor: Any) -> int:
    return tensor.untyped_storage()._cdata


def _rebuilt(module: nn.Module, wanted: Wanted) -> _Values | None:
    """The tensors of a second module, constructed with the arguments that the first one has as attributes.

    Every argument must be an attribute of the same name; otherwise its value is unknown. The second module counts only
    if all of its plain attributes equal the first one's, and if a third one, constructed with other random numbers, has
    the same tensors. A parameter counts only if the second module has it frozen.
    """
    if sum(tensor.numel() for tensor in module.parameters()) > _LARGEST_REBUILT:
        return None
    made: list[nn.Module] = []
    try:
        arguments = constructor_arguments(module)
        if arguments.unknown:
            return None
        for seed in (0, 1):
            with torch.no_grad(), torch.random.fork_rng(devices=[]), torch.device("cpu"):
                torch.manual_seed(seed)
                made.append(own_class(module)(**arguments.known))
    except Exception as error:  # as above
        if is_interrupt(error):
            raise
        return None
    if any(plain_attributes(each) != plain_attributes(module) for each in made):
        return None
    values: _Values = {}
    for (owner, leaf), tensor in wanted.items():
        first, second = ({**each._parameters, **each._buffers}.get(leaf) for each in made)
        if first is None or second is None or first.is_meta or first.shape != tensor.shape:
            return None
        if first.requires_grad or not torch.equal(first, second):
            return None
        values[owner, leaf] = first.detach().to(tensor.dtype)
    return values


class Arguments(NamedTuple):
    """What a module was constructed with, as far as it is known.

    Attributes:
        known: the arguments that the module has as attributes, or in its configuration, by their names.
        unknown: the names of the others.
    """

    known: dict[str, Any]
    unknown: list[str]


def constructor_arguments(module: nn.Module, *, by_config: bool = False) -> Arguments:
    """The arguments that a module was constructed with.

    Args:
        module: the module.
        by_config: whether a configuration counts: one that is an argument of its own, as transformers' models have it,
            beside which others may be left out; or a mapping of all arguments, as diffusers' models have it.
    """
    found = Arguments({}, [])
    declared = inspect.signature(own_class(module)).parameters
    config = getattr(module, "config", None) if by_config else None
    given = {**vars(module), **(config if isinstance(config, Mapping) else {})}
    is_configured = config is not None and "config" in declared
    for name, argument in declared.items():
        if name in ("device", "dtype") and argument.default is not argument.empty:
            continue
        if argument.kind in _NAMED and name in given:
            found.known[name] = given[name]
        elif not is_configured or (argument.default is argument.empty and argument.kind in _NAMED):
            found.unknown.append(name)
    return found


_NAMED = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_INTERNAL = set(vars(nn.Module()))
# Marks of modules that are sharded or replicated.
_SHARDING = re.compile("__composable_api|_is_fsdp_|_fsdp_|_distribute_module_applied|_ddp_")


def plain_attributes(module: nn.Module) -> dict[str, str]:
    """The attributes of a module that are numbers, texts or lists and the like of these, as text."""
    kinds = (int, float, complex, str, bytes, tuple, list, dict, type(None))
    return {
        name: repr(value)
        for name, value in vars(module).items()
        if name not in _INTERNAL and not _SHARDING.match(name) and isinstance(value, kinds)
    }
