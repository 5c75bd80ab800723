"""The operators of a model's code: each gets meta tensors, and what it writes goes to their memories."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from fanin.torch.recording.algebra import are_same, converted, result
from fanin.torch.recording.disguise import CPU, META
from fanin.torch.recording.draws import drawn
from fanin.torch.recording.expressions import Constant, Expression, Geometry, Operation, Unwritten, replaced, run
from fanin.torch.recording.memory import SMALL, settled
from fanin.torch.recording.operators import Operator, operator_of
from fanin.torch.recording.places import refusal
from fanin.torch.recording.tensors import Tensors, has_no_storage

_LARGEST_TRIED = 2**22  # elements of the arguments of an operator that is run for the shapes of its results
_Arguments = tuple[Any, ...]
_Keywords = dict[str, Any]
_Handler = Callable[[Operator, _Arguments, _Keywords], Any]


class Dispatch(TorchDispatchMode):
    """Gives each operator of the code its meta tensors, and the recorder what it writes."""

    def __init__(self, tensors: Tensors) -> None:
        super().__init__()
        self._tensors = tensors
        self._handlers: dict[Any, tuple[_Handler, Operator]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """PyTorch imports its compiler for modes that do not say so."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Runs an operator."""
        if types and any(_has_dispatch(each) for each in types):
            raise refusal(
                "A recording follows plain tensors.",
                f"{', '.join(sorted({each.__name__ for each in types if _has_dispatch(each)}))} in {func}",
                "Shard, quantize or convert the model after its recording.",
            )
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
        if operator.name.startswith("_foreach_"):
            return self._foreach
        if operator.is_view or operator.name == "_unsafe_view":
            return self._view
        if operator.is_random:
            return self._random
        if operator.name in _FILLED and not operator.written:
            return self._filled
        if not operator.takes_tensors:
            return self._factory
        return self._general

    # Operators one by one

    def _view(self, operator: Operator, args: _Arguments, kwargs: _Keywords) -> Any:
        return operator.function(*args, **kwargs)

    def _detach(self, operator: Operator, args: _Arguments, kwargs: _Keywords) -> Any:
        return operator.function(self._tensors.on_meta(args[0]))

    def _lift_fresh(self, operator: Operator, args: _Arguments, kwargs: _Keywords) -> Any:
        tensor = args[0]
        if tensor.is_meta or tensor.layout != torch.strided:
            return operator.function(tensor)
        if not tensor.untyped_storage().resizable():  # NumPy's memory, which NumPy may write to
            self._tensors.share(tensor)
            return self._tensors.on_meta(tensor)
        return self._tensors.made(tensor.size(), tensor.stride(), tensor.dtype, settled(tensor.detach()))

    def _fill(self, operator: Operator, args: _Arguments, kwargs: _Keywords) -> Any:
        tensor, value = args[0], args[1] if len(args) > 1 else kwargs["value"]
        if isinstance(value, torch.Tensor):
            self._tensors.put(tensor, converted(self._tensors.expression_of(value), tensor.size(), tensor.dtype))
        else:
            self._put_constant(tensor, value)
        return tensor

    def _zero(self, operator: Operator, args: _Arguments, kwargs: _Keywords) -> Any:
        self._tensors.put(args[0], _constant(args[0], 0))
        return args[0]

    def _copy(self, operator: Operator, args: _Arguments, kwargs: _Keywords) -> Any:
        tensor, source = args[:2]
        shape = tuple(tensor.size())
        if tuple(source.size()) != shape:
            source.expand(shape)  # raises as copying would
        self._tensors.put(tensor, converted(self._tensors.expression_of(source), shape, tensor.dtype))
        return tensor

    def _set(self, operator: Operator, args: _Arguments, kwargs: _Keywords) -> Any:
        tensor, *rest = args
        return operator.function(tensor, *(self._source(tensor, each) for each in rest), **kwargs)

    def _source(self, tensor: torch.Tensor, source: Any) -> Any:
        """What a tensor's memory is set to, on meta."""
        if isinstance(source, torch.Tensor):
            return self._tensors.on_meta(source)
        if isinstance(source, torch.UntypedStorage) and source.device.type != "meta":
            return self._tensors.on_meta(torch.empty(0, dtype=tensor.dtype).set_(source)).untyped_storage()
        return source

    def _resize(self, operator: Operator, args: _Arguments, kwargs: _Keywords) -> Any:
        return operator.function(*args, **kwargs)

    def _filled(self, operator: Operator, args: _Arguments, kwargs: _Keywords) -> Any:
        """`zeros`, `ones_like`, `new_full`, `empty` …"""
        tensor = self._on_meta(operator, args, kwargs)
        kind = operator.name.removeprefix("new_").removesuffix("_like")
        if kind in ("zeros", "ones"):
            self._tensors.put(tensor, _constant(tensor, int(kind == "ones")))
        elif kind in ("full", "scalar_tensor"):
            self._put_constant(tensor, kwargs.get("fill_value", kwargs.get("s", args[-1] if args else None)))
        return tensor

    def _put_constant(self, tensor: torch.Tensor, value: Any) -> None:
        if isinstance(value, float) and value not in (0.0, 1.0):
            self._tensors.values_came_in()
        self._tensors.put(tensor, _constant(tensor, value))

    def _factory(self, operator: Operator, args: _Arguments, kwargs: _Keywords) -> Any:
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
            self._tensors.put(tensor, found)
        return tensor

    def _random(self, operator: Operator, args: _Arguments, kwargs: _Keywords) -> Any:
        """An operator that draws."""
        if kwargs.get("generator") is not None:
            self._tensors.remark("a generator of the code's own draws, which has no effect on what is drawn later")
            kwargs = {**kwargs, "generator": None}
        tensor = args[0] if operator.written and not operator.written[0].is_output else None
        if tensor is None:
            tensor = self._on_meta(operator, args, kwargs)
        given = self._named(operator, args, kwargs)
        found = drawn(operator.name, tuple(tensor.size()), tensor.dtype, given)
        if found is None:
            reason = f"{operator.name} draws from no distribution that is known here"
            self._tensors.remark(reason)
            found = Unwritten(tuple(tensor.size()), tensor.dtype, reason)
        self._tensors.put(tensor, found)
        return tensor

    def _named(self, operator: Operator, args: _Arguments, kwargs: _Keywords) -> dict[str, Any]:
        """The arguments of an operator by their names, with expressions in place of tensors."""
        named = {**dict(zip(operator.names, args, strict=False)), **kwargs}
        if operator.name == "bernoulli" and not operator.written and "p" not in named:
            named["p"] = args[0]
        return {
            name: self._tensors.expression_of(value) if isinstance(value, torch.Tensor) else value
            for name, value in named.items()
            if value is not None and name not in ("self", "generator")
        }

    # All others

    def _general(self, operator: Operator, args: _Arguments, kwargs: _Keywords) -> Any:
        if not operator.returns_tensors:
            return self._answer(operator, args, kwargs)
        tensors = _flat((args, kwargs))
        if all(each.numel() <= SMALL for each in tensors):
            values = self._all_values(operator, tensors, args, kwargs)
            if values is not None:
                return self._run(operator, args, kwargs, values, tensors)
        return self._follow(operator, args, kwargs)

    def _all_values(
        self, operator: Operator, tensors: list[torch.Tensor], args: _Arguments, kwargs: _Keywords
    ) -> dict[int, torch.Tensor] | None:
        """The values of all tensors, by their ids: of those that are written to, their memory itself."""
        if any(each.is_output for each in operator.written):
            return None
        found: dict[int, torch.Tensor] = {}
        for tensor in tensors:
            values = self._tensors.values_of(tensor)
            if values is None:
                return None
            found[id(tensor)] = values
        for each in operator.written:
            tensor = each.of(args, kwargs)
            if tensor is None:
                continue
            if not isinstance(tensor, torch.Tensor):
                return None
            values = self._tensors.memory_of(tensor).writable(Geometry.of(tensor), tensor.dtype)
            if values is None:
                return None
            found[id(tensor)] = values
        return found

    def _run(
        self,
        operator: Operator,
        args: _Arguments,
        kwargs: _Keywords,
        values: dict[int, torch.Tensor],
        tensors: list[torch.Tensor],
    ) -> Any:
        """Runs an operator on values."""
        given, named = replaced((args, dict(kwargs)), lambda tensor: values[id(tensor)], torch.Tensor)
        if not operator.written and not _is_cheap(operator, tensors):
            try:
                like = self._on_meta(operator, args, kwargs)
            except (NotImplementedError, RuntimeError):
                like = ()  # which running it will explain
            if sum(each.numel() for each in _flat(like)) > SMALL:
                return self._written_results(operator, args, kwargs, like)
        if named.get("device") is not None:
            named["device"] = CPU
        with torch.no_grad():
            found = operator.function(*given, **named)
        return self._returned(operator, args, kwargs, replaced(found, self._taken, torch.Tensor))

    def _taken(self, values: torch.Tensor) -> torch.Tensor:
        """A new tensor with values that an operator just made."""
        if has_no_storage(values):
            return values
        return self._tensors.made(values.size(), values.stride(), values.dtype, settled(values))

    def _returned(self, operator: Operator, args: _Arguments, kwargs: _Keywords, results: Any) -> Any:
        """The results, with arguments where an operator returns these."""
        if not operator.written:
            return results
        found = [
            new if written is None else written.of(args, kwargs)
            for written, new in zip(operator.returned, _listed(results), strict=False)
        ]
        return None if not found else found[0] if len(found) == 1 else type(results)(found)

    def _follow(self, operator: Operator, args: _Arguments, kwargs: _Keywords) -> Any:
        """An operator some of whose tensors are drawn, large or not written to."""
        if all(written is not None and not written.is_output for written in operator.returned) and operator.written:
            results = [each.of(args, kwargs) for each in operator.returned if each is not None]
            return self._written_results(operator, args, kwargs, results[0] if len(results) == 1 else results)
        try:
            results = self._on_meta(operator, args, kwargs)
        except (NotImplementedError, RuntimeError) as error:
            return self._shaped_by_values(operator, args, kwargs, error)
        return self._written_results(operator, args, kwargs, results)

    def _written_results(self, operator: Operator, args: _Arguments, kwargs: _Keywords, results: Any) -> Any:
        """Gives the results, and the arguments that are written to, what an operator makes of its arguments."""
        ignored = {id(each.of(args, kwargs)) for each in operator.written if each.is_output}

        def of(tensor: torch.Tensor) -> Expression:
            if id(tensor) in ignored:
                return Constant(tuple(tensor.shape), tensor.dtype, 0)
            return self._tensors.expression_of(tensor)

        given, named = replaced((args, dict(kwargs)), of, torch.Tensor)
        named.pop("pin_memory", None)
        changed: list[tuple[torch.Tensor, int | str]] = [
            (tensor, each.name)
            for each in operator.written
            if not each.is_output and isinstance(tensor := each.of(args, kwargs), torch.Tensor)
        ]
        for number, tensor in enumerate(_flat(results)):
            if not any(tensor is each for each, _ in changed):
                changed.append((tensor, number))
        for tensor, output in changed:
            self._tensors.put(tensor, result(operator, given, named, tuple(tensor.shape), tensor.dtype, output))
        return self._returned(operator, args, kwargs, results)

    def _foreach(self, operator: Operator, args: _Arguments, kwargs: _Keywords) -> Any:
        """An operator on lists of tensors, as one on each of them."""
        single = getattr(torch.ops.aten, operator.function._schema.name.removeprefix("aten::_foreach_"), None)
        if single is None:
            raise NotImplementedError(f"{operator.function} while a model is recorded")
        with self:
            found = [
                single(
                    *(each[number] if isinstance(each, (list, tuple)) else each for each in args),
                    **{
                        name: each[number] if isinstance(each, (list, tuple)) else each for name, each in kwargs.items()
                    },
                )
                for number in range(len(args[0]))
            ]
        return None if operator.written else found

    def _shaped_by_values(self, operator: Operator, args: _Arguments, kwargs: _Keywords, error: Exception) -> Any:
        """An operator that PyTorch does not know on meta, or whose results have shapes that values decide."""
        given, named = replaced((args, dict(kwargs)), self._tensors.expression_of, torch.Tensor)
        parts: list[Expression] = []
        replaced((given, named), parts.append)
        is_known = not any(part.is_drawn or not part.is_written for part in parts)
        if not is_known and not isinstance(error, NotImplementedError):
            raise error
        if is_known or operator.is_shaped_by_values or sum(part.size for part in parts) > _LARGEST_TRIED:
            given, named = replaced((given, named), lambda part: self._tensors.computed(part, operator.name))
        else:
            given, named = replaced((given, named), lambda part: torch.ones(part.shape, dtype=part.dtype))
        with torch.no_grad():
            found = operator.function(*given, **named)
        if is_known:
            return replaced(found, self._taken, torch.Tensor)
        return self._written_results(operator, args, kwargs, replaced(found, _empty_like, torch.Tensor))

    def _answer(self, operator: Operator, args: _Arguments, kwargs: _Keywords) -> Any:
        """An operator whose result is no tensor."""

        if operator.name == "equal" and are_same(*map(self._tensors.expression_of, args)):
            return True

        def values(tensor: torch.Tensor) -> torch.Tensor:
            return self._tensors.computed(self._tensors.expression_of(tensor), operator.name)

        given, named = replaced((args, dict(kwargs)), values, torch.Tensor)
        with torch.no_grad():
            return operator.function(*given, **named)

    def _on_meta(self, operator: Operator, args: _Arguments, kwargs: _Keywords) -> Any:
        """The results of an operator on meta."""
        device = kwargs.get("device")
        if operator.takes_tensors:
            args, kwargs = replaced((args, kwargs), self._tensors.on_meta, torch.Tensor)
        if operator.takes_device:
            kwargs = dict(kwargs)
            if device is not None or not operator.takes_tensors:
                kwargs["device"] = META
            kwargs.pop("pin_memory", None)
        found = operator.function(*args, **kwargs)
        if device is not None and device.type not in ("cpu", "meta"):
            for tensor in _flat(found):
                self._tensors.memory_of(tensor).device = device
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


def _empty_like(values: torch.Tensor) -> torch.Tensor:
    if has_no_storage(values):
        return values
    return torch.empty_strided(values.size(), values.stride(), dtype=values.dtype, device=META)


def _listed(results: Any) -> list[Any]:
    return list(results) if isinstance(results, (list, tuple)) else [] if results is None else [results]


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
