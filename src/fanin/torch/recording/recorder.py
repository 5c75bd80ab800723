"""The recorder: a model's code runs, its tensors stay on meta, and what it writes to them is followed."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from fanin.torch.recording.algebra import converted, result
from fanin.torch.recording.disguise import CPU, META, Disguise
from fanin.torch.recording.draws import drawn
from fanin.torch.recording.expressions import (
    Constant,
    Expression,
    Geometry,
    Operation,
    Seen,
    Size,
    Table,
    Values,
    replaced,
    run,
)
from fanin.torch.recording.functions import is_recording, replaced_functions
from fanin.torch.recording.memory import SMALL, Memory, settled
from fanin.torch.recording.operators import Operator, operator_of
from fanin.torch.recording.places import Note, note, refusal
from fanin.torch.recording.randomness import Generators

_LARGEST_TRIED = 2**22  # elements of the arguments of an operator that is run for the shapes of its results
_ADVICE = (
    "Compute it from what does not depend on drawn weights, or initialize this module without recording: by a recipe, "
    "or by its own code."
)
_Handler = Callable[[Operator, tuple[Any, ...], dict[str, Any]], Any]


class Recorder:
    """What the code of a recording wrote.

    Attributes:
        notes: the randomness that cannot be read, once for each place in the code.
    """

    def __init__(self) -> None:
        self.notes: list[Note] = []
        self._memories: dict[int, Memory] = {}
        self._addresses: dict[int, int] = {}
        self._pickled: list[tuple[torch.Tensor, Expression]] = []
        self._generators = Generators()

    # For the reader

    def read(self, tensor: torch.Tensor) -> Expression:
        """What a tensor has, now: of one that was made outside, its values.

        Args:
            tensor: a tensor on meta that the recorded code made, or any other one.
        """
        with _disable_current_modes(), torch._C.DisableTorchFunction():
            return self.expression_of(tensor)

    def knows(self, tensor: torch.Tensor) -> bool:
        """Whether the recorded code made the tensor's storage, read it or wrote to it."""
        return tensor.untyped_storage()._cdata in self._memories

    # For the modes; none of them is on while these run

    def memory_of(self, tensor: torch.Tensor) -> Memory:
        """What was written to a tensor's storage."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        memory = self._memories.get(key)
        if memory is None:
            memory = self._new_memory(tensor, storage)
            self._remember(storage, memory)
        return memory

    def _new_memory(self, tensor: torch.Tensor, storage: Any) -> Memory:
        length = storage.nbytes() // tensor.element_size()
        if tensor.is_meta:
            return Memory(length, tensor.dtype)
        return Memory.outside(tensor.detach().as_strided((length,), (1,), 0))

    def _remember(self, storage: Any, memory: Memory) -> None:
        """Knows a storage until it dies."""
        key = storage._cdata
        self._memories[key] = memory
        memory.owners.append(weakref.ref(storage, partial(self._memories.pop, key)))

    def expression_of(self, tensor: torch.Tensor) -> Expression:
        """What a tensor has."""
        found = self.memory_of(tensor).read(Geometry.of(tensor), tensor.dtype)
        if tensor.is_conj():
            found = _alone(torch.ops.aten._conj_physical.default, found)
        return _alone(torch.ops.aten.neg.default, found) if tensor.is_neg() else found

    def values_of(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """The values of a tensor, for an operator to read at once; None if they are drawn, large or missing."""
        values = self.memory_of(tensor).values(Geometry.of(tensor), tensor.dtype)
        if values is not None and tensor.is_conj():
            values = values.conj()
        return torch.ops.aten._neg_view(values) if values is not None and tensor.is_neg() else values

    def put(self, tensor: torch.Tensor, expression: Expression) -> None:
        """Writes to a tensor."""
        self.memory_of(tensor).write(Geometry.of(tensor), tensor.dtype, expression)

    def made(self, shape: Size, stride: Size, dtype: torch.dtype, expression: Expression) -> torch.Tensor:
        """A new tensor with values."""
        tensor = torch.empty_strided(shape, stride, dtype=dtype, device=META)
        self.put(tensor, expression)
        return tensor

    def remark(self, text: str) -> None:
        """Notes what a recording cannot read."""
        found = note(text)
        if found not in self.notes:
            self.notes.append(found)

    # Answers of the disguise

    def device_of(self, tensor: torch.Tensor) -> torch.device:
        """The device that the code asked for."""
        memory = self._memories.get(tensor.untyped_storage()._cdata)
        return CPU if memory is None or memory.device is None else memory.device

    def asked(self, tensor: torch.Tensor, question: str) -> torch.Tensor:
        """The values of a tensor, which the caller may change.

        Args:
            tensor: the tensor.
            question: the name of the operator or the method that asks.

        Raises:
            RecordingError: They are random, or nothing was written.
        """
        with _disable_current_modes(), torch._C.DisableTorchFunction():
            expression = self.expression_of(tensor)
            values = self.computed(expression, question).detach().clone()
            if isinstance(expression, (Operation, Seen)):
                self.put(tensor, Table.of(values.clone()))  # so that they are not computed again for the next question
            return values

    def computed(self, expression: Expression, question: str) -> torch.Tensor:
        """The values of an expression, likewise."""
        if expression.is_drawn:
            raise refusal(
                "While a model is recorded, nothing is drawn, so its code must not depend on drawn values.",
                f"{question} of drawn values of shape {list(expression.shape)}",
                _ADVICE,
            )
        if not expression.is_written:
            raise refusal(
                "A model's code must not depend on memory that nothing was written to.",
                f"{question} of such memory of shape {list(expression.shape)}",
                "Initialize it first.",
            )
        return Values().of(expression)

    def described(self, tensor: torch.Tensor) -> torch.Tensor | str:
        """The values of a tensor, or what they are in words."""
        with _disable_current_modes(), torch._C.DisableTorchFunction():
            expression = self.expression_of(tensor)
            if not expression.is_drawn and expression.is_written:
                return Values().of(expression)
        what = "drawn" if expression.is_drawn else "not written"
        return f"tensor(<{what}>, size={tuple(tensor.shape)}, dtype={tensor.dtype})"

    def moved_in(self, tensor: torch.Tensor) -> torch.Tensor:
        """A meta tensor in place of one with memory of its own: what is written to one is written to both."""
        if tensor.is_meta:
            return tensor
        with _disable_current_modes(), torch._C.DisableTorchFunction():
            twin = torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device=META)
            memory = self.memory_of(tensor)
            if tensor.storage_offset() or memory.length * tensor.element_size() != twin.untyped_storage().nbytes():
                flat = torch.empty(memory.length, dtype=tensor.dtype, device=META)
                twin = flat.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())
            self._remember(twin.untyped_storage(), memory)
            return twin

    def address_of(self, tensor: torch.Tensor) -> int:
        """A number that tells the tensor's first element from all others."""
        memory = self.memory_of(tensor)
        number = self._addresses.setdefault(id(memory), len(self._addresses) + 1)
        return (number << 44) + int(tensor.storage_offset()) * tensor.element_size()

    def reduced(self, tensor: torch.Tensor) -> tuple[Any, ...]:
        """How to pickle a tensor within this process: by what it has now."""
        number = len(self._pickled)
        self._pickled.append((tensor.detach(), self.expression_of(tensor)))
        return _unpickled, (id(self), number, tensor.requires_grad)

    def unpickled(self, number: int, requires_grad: bool) -> torch.Tensor:
        """A copy of a tensor that was pickled."""
        tensor, expression = self._pickled[number]
        with _disable_current_modes(), torch._C.DisableTorchFunction():
            copy = torch.empty_like(tensor)
            self.put(copy, expression)
        return copy.requires_grad_(requires_grad)

    def values_came_in(self) -> None:
        """Notes whether NumPy's or Python's generator was used since the last time."""
        for whose in self._generators.used():
            self.remark(f"{whose} generator draws, and what it drew is taken for fixed values")

    def close(self) -> None:
        """Puts the global generators back."""
        self.values_came_in()
        self._generators.restore()


_recorders: weakref.WeakValueDictionary[int, Recorder] = weakref.WeakValueDictionary()


def _unpickled(recorder: int, number: int, requires_grad: bool) -> torch.Tensor:
    return _recorders[recorder].unpickled(number, requires_grad)


def _alone(function: Any, expression: Expression) -> Expression:
    """A pointwise operator of one argument."""
    return result(operator_of(function), (expression,), {}, expression.shape, expression.dtype)


@contextmanager
def watching() -> Iterator[Recorder]:
    """A context in which tensors are made on meta and what is written to them is recorded, in this thread.

    Returns:
        The recorder, which may be asked within the context and after it.

    Raises:
        RuntimeError: This thread records already.
    """
    if is_recording():
        raise RuntimeError("A recording must not begin within another one. Received: one that this thread has begun.")
    recorder = Recorder()
    _recorders[id(recorder)] = recorder
    try:
        with replaced_functions(recorder), Disguise(recorder), Dispatch(recorder):
            yield recorder
    finally:
        recorder.close()


class Dispatch(TorchDispatchMode):
    """Gives each operator of the code its meta tensors, and the recorder what it writes."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder
        self._handlers: dict[Any, tuple[_Handler, Operator]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Runs an operator."""
        if types and any(_has_dispatch(each) for each in types):
            return NotImplemented
        found = self._handlers.get(func)
        if found is None:
            operator = operator_of(func)
            found = self._handlers[func] = self._handler(operator), operator
        with torch._C.DisableTorchFunction():
            return found[0](found[1], args, kwargs or {})

    def _handler(self, operator: Operator) -> _Handler:
        special = getattr(self, f"_{operator.name.strip('_')}", None)
        if special is not None and operator.name in _SPECIAL:
            return special
        if operator.is_view:
            return self._view
        if operator.is_random:
            return self._random
        if operator.name in _FILLED and not operator.written:
            return self._filled
        if not operator.takes_tensors:
            return self._factory
        return self._general

    # Operators one by one

    def _view(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return operator.function(*args, **kwargs)

    def _detach(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return operator.function(self._recorder.moved_in(args[0]))

    def _lift_fresh(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tensor = args[0]
        if tensor.is_meta or tensor.layout != torch.strided:
            return operator.function(tensor)
        return self._recorder.made(tensor.size(), tensor.stride(), tensor.dtype, settled(tensor.detach()))

    def _fill(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tensor, value = args[0], args[1] if len(args) > 1 else kwargs["value"]
        if isinstance(value, torch.Tensor):
            self._recorder.put(tensor, converted(self._recorder.expression_of(value), tensor.size(), tensor.dtype))
        else:
            self._recorder.put(tensor, _constant(tensor, value))
        return tensor

    def _zero(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._recorder.put(args[0], _constant(args[0], 0))
        return args[0]

    def _copy(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tensor, source = args[:2]
        shape = tuple(tensor.size())
        if tuple(source.size()) != shape:
            source.expand(shape)  # raises as copying would
        self._recorder.put(tensor, converted(self._recorder.expression_of(source), shape, tensor.dtype))
        return tensor

    def _set(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tensor, *rest = args
        rest = [self._recorder.moved_in(each) if isinstance(each, torch.Tensor) else each for each in rest]
        return operator.function(tensor, *rest, **kwargs)

    def _resize(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return operator.function(*args, **kwargs)

    def _filled(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """`zeros`, `ones_like`, `new_full`, `empty` …"""
        tensor = self._on_meta(operator, args, kwargs)
        kind = operator.name.removeprefix("new_").removesuffix("_like")
        if kind in ("zeros", "ones"):
            self._recorder.put(tensor, _constant(tensor, int(kind == "ones")))
        elif kind in ("full", "scalar_tensor"):
            value = kwargs.get("fill_value", kwargs.get("s", args[-1] if args else None))
            self._recorder.put(tensor, _constant(tensor, value))
        return tensor

    def _factory(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """`arange`, `linspace`, `eye` …"""
        if not operator.takes_device:
            return operator.function(*args, **kwargs)
        tensor = self._on_meta(operator, args, kwargs)
        if isinstance(tensor, torch.Tensor):
            given = {name: value for name, value in kwargs.items() if name != "pin_memory"}
            if tensor.numel() <= SMALL:
                found = settled(run(operator.function, args, given, 0))
            else:
                found = Operation(tuple(tensor.shape), tensor.dtype, operator.function, args, given)
            self._recorder.put(tensor, found)
        return tensor

    def _random(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An operator that draws."""
        if kwargs.get("generator") is not None:
            self._recorder.remark("a generator of the code's own draws, which has no effect on what is drawn later")
            kwargs = {**kwargs, "generator": None}
        tensor = args[0] if operator.written and not operator.written[0].is_output else None
        if tensor is None:
            tensor = self._on_meta(operator, args, kwargs)
        given = self._named(operator, args, kwargs)
        found = drawn(operator.name, tuple(tensor.size()), tensor.dtype, given)
        if found is None:
            raise refusal(
                "What a model's code draws must be of a known distribution.",
                operator.name,
                _ADVICE,
            )
        self._recorder.put(tensor, found)
        return tensor

    def _named(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments of an operator by their names, with expressions in place of tensors."""
        named = {**dict(zip(operator.names, args, strict=False)), **kwargs}
        if operator.name == "bernoulli" and not operator.written and "p" not in named:
            named["p"] = args[0]
        return {
            name: self._recorder.expression_of(value) if isinstance(value, torch.Tensor) else value
            for name, value in named.items()
            if value is not None and name not in ("self", "generator")
        }

    # All others

    def _general(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tensors: list[torch.Tensor] = []
        replaced((args, kwargs), tensors.append, torch.Tensor)
        if not operator.returns_tensors:
            return self._answer(operator, args, kwargs)
        if all(each.numel() <= SMALL for each in tensors):
            values = self._all_values(operator, tensors, args, kwargs)
            if values is not None:
                return self._run(operator, args, kwargs, values, tensors)
        return self._follow(operator, args, kwargs)

    def _all_values(
        self, operator: Operator, tensors: list[torch.Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> dict[int, torch.Tensor] | None:
        """The values of all tensors, by their ids: of those that are written to, their memory itself."""
        written = [_argument(each.name, each.position, args, kwargs) for each in operator.written]
        if any(each.is_output for each in operator.written) or any(isinstance(each, (list, tuple)) for each in written):
            return None
        found: dict[int, torch.Tensor] = {}
        for tensor in tensors:
            values = self._recorder.values_of(tensor)
            if values is None:
                return None
            found[id(tensor)] = values
        for tensor in written:
            values = self._recorder.memory_of(tensor).writable(Geometry.of(tensor), tensor.dtype)
            if values is None:
                return None
            found[id(tensor)] = values
        return found

    def _run(
        self,
        operator: Operator,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        values: dict[int, torch.Tensor],
        tensors: list[torch.Tensor],
    ) -> Any:
        """Runs an operator on values."""
        given, named = replaced((args, dict(kwargs)), lambda tensor: values[id(tensor)], torch.Tensor)
        if not operator.written and not _is_cheap(operator, tensors):
            try:
                shapes = self._on_meta(operator, args, kwargs)
            except (NotImplementedError, RuntimeError):
                shapes = ()  # as many elements as the values say
            if sum(each.numel() for each in _flat(shapes)) > SMALL:
                return self._written_results(operator, args, kwargs, shapes)
        if named.get("device") is not None:
            named["device"] = CPU
        with torch.no_grad():
            found = operator.function(*given, **named)
        if operator.written:
            return _argument(operator.written[0].name, operator.written[0].position, args, kwargs)
        return replaced(found, self._taken, torch.Tensor)

    def _taken(self, values: torch.Tensor) -> torch.Tensor:
        """A new tensor with values that an operator just made."""
        if values.layout != torch.strided:
            return values
        return self._recorder.made(values.size(), values.stride(), values.dtype, settled(values))

    def _follow(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An operator some of whose tensors are drawn, large or not written to."""
        if operator.written and not any(each.is_output for each in operator.written):
            return self._overwrite(operator, args, kwargs)
        try:
            outputs = self._on_meta(operator, args, kwargs)
        except (NotImplementedError, RuntimeError) as error:
            return self._shaped_by_values(operator, args, kwargs, error)
        return self._written_results(operator, args, kwargs, outputs)

    def _written_results(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any) -> Any:
        """Gives new tensors the expressions of what an operator makes of its arguments."""
        ignored = {id(_argument(each.name, each.position, args, kwargs)) for each in operator.written}

        def of(tensor: torch.Tensor) -> Expression:
            if id(tensor) in ignored:
                return Constant(tuple(tensor.shape), tensor.dtype, 0)
            return self._recorder.expression_of(tensor)

        given, named = replaced((args, dict(kwargs)), of, torch.Tensor)
        named.pop("pin_memory", None)
        for number, output in enumerate(_flat(outputs)):
            found = result(operator, given, named, tuple(output.shape), output.dtype, number)
            self._recorder.put(output, found)
        return outputs

    def _overwrite(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An operator that changes arguments."""
        given, named = replaced((args, dict(kwargs)), self._recorder.expression_of, torch.Tensor)
        for each in operator.written:
            tensor = _argument(each.name, each.position, args, kwargs)
            if isinstance(tensor, torch.Tensor):
                found = result(operator, given, named, tuple(tensor.shape), tensor.dtype, each.name)
                self._recorder.put(tensor, found)
        return _argument(operator.written[0].name, operator.written[0].position, args, kwargs)

    def _shaped_by_values(
        self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any], error: Exception
    ) -> Any:
        """An operator whose results have shapes that its arguments' values decide."""
        given, named = replaced((args, dict(kwargs)), self._recorder.expression_of, torch.Tensor)
        parts: list[Expression] = []
        replaced((given, named), parts.append)
        if any(part.is_drawn or not part.is_written for part in parts):
            if not isinstance(error, NotImplementedError):
                raise error
            if not operator.is_shaped_by_values and sum(part.size for part in parts) <= _LARGEST_TRIED:
                return self._written_results(operator, args, kwargs, self._tried(operator, args, kwargs))
            for part in parts:
                self._recorder.computed(part, operator.name)
        given, named = replaced((given, named), lambda part: self._recorder.computed(part, operator.name))
        with torch.no_grad():
            return replaced(operator.function(*given, **named), self._taken, torch.Tensor)

    def _tried(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Tensors like the results of an operator that PyTorch does not know on meta, found by running it on ones."""
        given, named = replaced(
            (args, dict(kwargs)), lambda each: torch.ones(each.size(), dtype=each.dtype), torch.Tensor
        )
        with torch.no_grad():
            found = operator.function(*given, **named)
        return replaced(
            found,
            lambda each: torch.empty_strided(each.size(), each.stride(), dtype=each.dtype, device=META),
            torch.Tensor,
        )

    def _answer(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An operator whose result is no tensor."""
        given, named = replaced(
            (args, dict(kwargs)),
            lambda tensor: self._recorder.computed(self._recorder.expression_of(tensor), operator.name),
            torch.Tensor,
        )
        with torch.no_grad():
            return operator.function(*given, **named)

    def _on_meta(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The results of an operator on meta."""
        device = kwargs.get("device")
        if operator.takes_tensors:
            args, kwargs = replaced((args, dict(kwargs)), self._recorder.moved_in, torch.Tensor)
        if operator.takes_device:
            kwargs = dict(kwargs)
            if device is not None or not operator.takes_tensors:
                kwargs["device"] = META
            kwargs.pop("pin_memory", None)
        found = operator.function(*args, **kwargs)
        if device is not None and device.type not in ("cpu", "meta"):
            for tensor in _flat(found):
                self._recorder.memory_of(tensor).device = device
        return found


_SPECIAL = {"detach", "lift_fresh", "fill", "zero", "copy", "set", "resize"}
_FILLED = {
    "zeros", "ones", "full", "scalar_tensor", "empty", "empty_strided", "empty_permuted", "zeros_like", "ones_like",
    "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty", "new_empty_strided",
}  # fmt: skip


def _has_dispatch(kind: type) -> bool:
    """Whether a class of tensors runs operators in a way of its own."""
    return getattr(kind, "__torch_dispatch__", None) is not torch._C._disabled_torch_dispatch_impl


def _is_cheap(operator: Operator, tensors: list[torch.Tensor]) -> bool:
    return operator.is_pointwise and math.prod(each.numel() for each in tensors) <= SMALL


def _argument(name: str, position: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[position] if position < len(args) else kwargs.get(name)


def _flat(results: Any) -> list[torch.Tensor]:
    """The tensors among an operator's results."""
    found: list[torch.Tensor] = []
    replaced(results, found.append, torch.Tensor)
    return found


def _constant(tensor: torch.Tensor, value: Any) -> Constant:
    """A constant in a tensor's dtype."""
    if isinstance(value, torch.Tensor):
        value = value.item()
    return Constant(tuple(tensor.size()), tensor.dtype, torch.full((), value, dtype=tensor.dtype).item())
