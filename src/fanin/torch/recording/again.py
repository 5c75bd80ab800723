"""Recordings of models that exist: their code is called again, on the meta device.

A model is made again from its configuration, or from the arguments that it has as attributes, and counts if it is the
same. Layers of PyTorch reset their own parameters. Of other modules, only the call that their constructor ends with is
trusted: whatever came before it, it has the last word about all that it writes.
"""

from __future__ import annotations

import ast
import copy
import inspect
import math
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from fanin._core.interrupts import is_interrupt
from fanin._core.messages import class_name, visible
from fanin.torch.describe import joined, visits
from fanin.torch.own_code import constructor_arguments, own_class, plain_attributes, shielded
from fanin.torch.recording.expressions import Constant, Draw, Expression, Operation, Seen, Table, Unwritten
from fanin.torch.recording.places import RecordingError
from fanin.torch.recording.recorded import Recorded, warn_of_notes
from fanin.torch.recording.recorder import Recorder, watching
from fanin.torch.refusals import outline

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_COMPARED = 8  # elements, before all others
_RESETTING = ("reset_parameters", "_reset_parameters")
# Attributes that say how a module is used, not how it was made.
_USE = ("gradient_checkpointing",)
_Taken = dict[nn.Module, dict[str, Expression]]


def recorded_again(model: nn.Module, *, altered: bool = False) -> Recorded:
    """What a model's code writes when it is called again.

    Args:
        model: the model.
        altered: whether its values and ties may have been changed since it was made. Copies and ties of the model as it
            is now then do not count: only its structure has to be that of the model that is made again.

    Raises:
        RecordingError: it cannot be called again, or does not tell what each parameter gets.
    """
    inner = [visit.module for visit in visits(model) if not visit.path][-1]
    with watching() as recorder:
        again = _Again(recorder, altered)
        again.read(inner, "")
    if not altered:
        _check_ties(inner, again.taken)
        _check_copies(inner, again.taken)
    warn_of_notes(recorder.notes)
    return Recorded.of_existing(recorder, model, again.taken)


class _Again:
    """Reads modules, each in the way that is sure for it.

    Attributes:
        taken: what the tensors of each module get.
    """

    def __init__(self, recorder: Recorder, altered: bool) -> None:
        self.taken: _Taken = {}
        self._recorder, self._altered = recorder, altered

    def read(self, module: nn.Module, path: str) -> None:
        """Reads a module and all that it has.

        Raises:
            RecordingError: No way is sure.
        """
        if all(tensor is None for each in module.modules() for tensor in _tensors(each).values()):
            return
        if own_class(module) in _CONTAINERS:
            for name, child in module.named_children():
                self.read(_unwrapped(child), joined(path, name))
        elif _is_layer(module):
            self._call(module, lambda: _reset(module), path)
        else:
            self._read_own(module, path)

    def _read_own(self, module: nn.Module, path: str) -> None:
        """Reads a module of a class that is not PyTorch's."""
        arguments = constructor_arguments(module, by_config=True)
        lacking = [*arguments.unknown, *(name for name, value in arguments.known.items() if _has_tensors(value))]
        if not lacking:
            self._make(module, arguments.known, path)
        elif (call := _last_call(module)) is not None:
            self._call(module, call, path)
        else:
            names = ", ".join(lacking)
            raise _refusal(module, path, f"it does not have as attributes what it was constructed with: {names}")

    def _make(self, module: nn.Module, arguments: dict[str, Any], path: str) -> None:
        """Reads a second module, made from the first one's arguments."""
        try:
            twin = own_class(module)(**{name: copy.deepcopy(value) for name, value in arguments.items()})
        except Exception as error:  # foreign code can raise anything
            if is_interrupt(error):
                raise
            reason = f"its constructor raises {type(error).__name__} when it is called again: {visible(str(error))}"
            raise _refusal(module, path, reason) from error
        reason = _difference(module, twin)
        if not reason and not self._altered and _ties(module) != _ties(twin):
            reason = "made again, it has other ties"
        if reason:
            raise _refusal(module, path, reason)
        twins = _by_path(twin)
        for inner, each in _by_path(module).items():
            self._take(each, _tensors(twins[inner]))

    def _call(self, module: nn.Module, code: Callable[[], object], path: str) -> None:
        """Reads what code writes to stand-ins for the tensors of a module."""

        def called() -> None:
            _empty_buffers(module)
            if not _is_layer(module):  # whose layers have running statistics by themselves, but no sure parameters
                _reset(module)
                for each in module.modules():
                    each._parameters.update({leaf: _like(tensor) for leaf, tensor in each._parameters.items()})
            code()
            for each in module.modules():
                self._take(each, _tensors(each) if _is_layer(each) else dict(each._parameters))

        try:
            shielded(module, called)
        except Exception as error:
            if is_interrupt(error):
                raise
            reason = f"its code raises {type(error).__name__} when it is called again: {visible(str(error))}"
            raise _refusal(module, path, reason) from error
        for each_path, each in _by_path(module).items():
            for leaf in each._parameters:
                found = self.taken[each].get(leaf)
                if found is not None and not found.is_written:
                    where = visible(joined(joined(path, each_path), leaf))
                    raise _refusal(module, path, f"the call that ends its constructor does not write all of {where}")

    def _take(self, module: nn.Module, tensors: Mapping[str, torch.Tensor | None]) -> None:
        found = {leaf: self._recorder.read(tensor) for leaf, tensor in tensors.items() if tensor is not None}
        parameters = set(module._parameters)
        self.taken[module] = {leaf: each for leaf, each in found.items() if leaf in parameters or each.is_written}


def _refusal(module: nn.Module, path: str, reason: str) -> RecordingError:
    place = f" at {visible(path)}" if path else ""
    return RecordingError(
        f"A model's code is read while it is made, or again where that is sure to give the same. Received: "
        f"{class_name(type(module))}{place}, which is made already, and {reason}. Make the model within "
        "`with fanin.torch.recording() as recorded:`, and pass `recorded`; or pass a recipe."
    )


# Layers of PyTorch, and constructors


def _is_layer(module: nn.Module) -> bool:
    """Whether a module is one of PyTorch's own, whose constructor ends with resetting its parameters."""
    is_own = own_class(module).__init__.__module__.startswith("torch.nn.modules.")
    is_single = not any(True for _ in module.children()) or isinstance(module, nn.MultiheadAttention)
    return is_own and is_single and any(hasattr(module, name) for name in _RESETTING)


def _reset(module: nn.Module) -> None:
    """Has a module's layers reset their parameters and buffers, the inner ones first."""
    for each in reversed(list(module.modules())):
        if _is_layer(each):
            for name in _RESETTING:
                getattr(each, name, lambda: None)()


def _empty_buffers(module: nn.Module) -> None:
    """Puts buffers that nothing was written to in the place of those of a module's layers."""
    for each in module.modules():
        if _is_layer(each):
            each._buffers.update({leaf: _empty(tensor) for leaf, tensor in each._buffers.items()})


def _last_call(module: nn.Module) -> Callable[[], object] | None:
    """The call that a constructor ends with: `self.name()`, or `self.apply(self.name)`."""
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(own_class(module).__init__))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return None
    if not isinstance(tree, ast.FunctionDef) or not isinstance(tree.body[-1], ast.Expr):
        return None
    call = tree.body[-1].value
    if not isinstance(call, ast.Call) or call.keywords:
        return None
    name = _of_self(call.func)
    if name == "apply" and len(call.args) == 1:
        applied = _of_self(call.args[0])
        return None if applied is None else lambda: module.apply(getattr(module, applied))
    return None if name is None or call.args else lambda: getattr(module, name)()


def _of_self(node: ast.expr) -> str | None:
    """The name in `self.name`."""
    is_own = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    return node.attr if is_own and isinstance(node, ast.Attribute) else None


# Comparisons


def _difference(module: nn.Module, twin: nn.Module) -> str:
    """In what way a module that was made again is another one; "" if it is the same."""
    first, second = _by_path(module), _by_path(twin)
    if first.keys() != second.keys():
        different = min(first.keys() ^ second.keys())
        return f"made again, it has other modules: {visible(different)}"
    for path, each in first.items():
        other = second[path]
        if own_class(each) is not own_class(other):
            return f"made again, its {visible(path)} is a {class_name(type(other))}"
        shapes, others = (_shapes(one) for one in (each, other))
        if shapes != others:
            leaf = min(leaf for leaf in {*shapes, *others} if shapes.get(leaf) != others.get(leaf))
            return f"made again, its {visible(joined(path, leaf))} has another shape"
        if each._parameters or not path:
            attributes, expected = _attributes(each), _attributes(other)
            for name in sorted(attributes.keys() | expected.keys()):
                if attributes.get(name) != expected.get(name):
                    return f"made again, its {visible(joined(path, name))} is {expected.get(name)}"
    return ""


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {leaf: tuple(outline(each)[0]) for leaf, each in module._parameters.items() if each is not None}


def _attributes(module: nn.Module) -> dict[str, str]:
    found = plain_attributes(module)
    return {name: value for name, value in found.items() if not name.startswith("_") and name not in _USE}


def _ties(module: nn.Module) -> set[frozenset[str]]:
    """The paths that each tied parameter has."""
    paths: dict[int, set[str]] = {}
    for path, each in _by_path(module).items():
        for leaf, tensor in each._parameters.items():
            if tensor is not None:
                paths.setdefault(id(tensor), set()).add(joined(path, leaf))
    return {frozenset(each) for each in paths.values() if len(each) > 1}


def _check_ties(model: nn.Module, taken: _Taken) -> None:
    """Raises if a tied parameter gets one thing in one place and another thing in another."""
    first: dict[int, tuple[str, Expression]] = {}
    for path, each in _by_path(model).items():
        for leaf, found in taken.get(each, {}).items():
            tensor = each._parameters.get(leaf)
            if tensor is None:
                continue
            here = joined(path, leaf)
            there, known = first.setdefault(id(tensor), (here, found))
            if not _are_alike(known, found):
                reason = f"its tied parameter gets one thing as {visible(there)} and another as {visible(here)}"
                raise _refusal(model, "", reason)


def _check_copies(model: nn.Module, taken: _Taken) -> None:
    """Raises if drawn parameters have equal values now, as copies do, but would be drawn apart."""
    first: dict[Any, tuple[str, torch.Tensor, Expression]] = {}
    for path, each in _by_path(model).items():
        for leaf, found in taken.get(each, {}).items():
            tensor = each._parameters.get(leaf)
            if tensor is None or tensor.is_meta or type(tensor) is not nn.Parameter or not found.is_drawn:
                continue
            here = joined(path, leaf)
            start = tuple(tensor.detach().reshape(-1)[:_COMPARED].tolist())
            there, known, other = first.setdefault((tuple(tensor.shape), start), (here, tensor, found))
            if known is not tensor and other.sources != found.sources and torch.equal(known, tensor):
                raise _refusal(model, "", f"{visible(here)} has the values of {visible(there)}, as a copy of it has")


def _are_alike(first: Any, second: Any) -> bool:
    """Whether two expressions have the same distribution, each for itself."""
    if first is second:
        return True
    if type(first) is not type(second):
        return False
    if isinstance(first, Draw):
        same = first.source.unit == second.source.unit
        return same and math.isclose(abs(first.scale), abs(second.scale)) and first.origin == second.origin
    if isinstance(first, Table):
        return first.values.shape == second.values.shape and torch.equal(first.values, second.values)
    if isinstance(first, Seen):
        places = [[write.geometry for write in each.writes] for each in (first, second)]
        return places[0] == places[1] and _are_alike(list(first.parts), list(second.parts))
    if isinstance(first, Operation):
        same = first.function is second.function and first.output == second.output
        return same and _are_alike([*first.arguments, dict(first.keywords)], [*second.arguments, dict(second.keywords)])
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(_are_alike, first, second))
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_are_alike(first[name], second[name]) for name in first)
    if isinstance(first, (Constant, Unwritten)):
        return isinstance(first, Unwritten) or repr(first.value) == repr(second.value)
    return first == second


# Modules and their tensors


def _by_path(module: nn.Module) -> dict[str, nn.Module]:
    """The modules by their paths, of wrappers the module inside."""
    return {visit.path: visit.module for visit in visits(module)}


def _unwrapped(module: nn.Module) -> nn.Module:
    return [visit.module for visit in visits(module) if not visit.path][-1]


def _tensors(module: nn.Module) -> dict[str, torch.Tensor | None]:
    return {**module._buffers, **module._parameters}


def _has_tensors(value: Any) -> bool:
    """Whether a value is a tensor or a module, or a list or the like with one in it."""
    return any(isinstance(each, (torch.Tensor, nn.Module)) for each in _flat(value))


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple, set)):
        for each in value:
            yield from _flat(each)
    elif isinstance(value, dict):
        yield from _flat(list(value.values()))
    else:
        yield value


def _empty(tensor: torch.Tensor | None) -> torch.Tensor | None:
    """A tensor of the same shape that nothing was written to."""
    return None if tensor is None else torch.empty(tuple(tensor.shape), dtype=tensor.dtype)


def _like(parameter: nn.Parameter | None) -> nn.Parameter | None:
    if parameter is None:
        return None
    return nn.Parameter(torch.empty(tuple(parameter.shape), dtype=parameter.dtype), parameter.requires_grad)
