"""What a model's code writes into its tensors, as expressions: constants, tables, draws, and operators on these.

An expression has a shape and a dtype, and no memory of its own. Draws name their source: two draws of one source have
the same unit variables, as a copy and its original do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, TypeAlias

import torch

from fanin.torch.recording.operators import operator_of

Size: TypeAlias = tuple[int, ...]


class Geometry(NamedTuple):
    """Which elements of a storage a tensor has.

    Attributes:
        size: the tensor's shape.
        stride: its strides, in elements.
        offset: the number of its first element.
    """

    size: Size
    stride: Size
    offset: int

    @classmethod
    def of(cls, tensor: torch.Tensor) -> Geometry:
        """The geometry of a tensor."""
        return cls(tuple(tensor.size()), tuple(tensor.stride()), int(tensor.storage_offset()))


@dataclass(frozen=True)
class Unit:
    """The law of a unit variable.

    Attributes:
        kind: "normal"; "uniform" on [0, 1); "truncated", a normal cut at `arguments`; "exponential" of rate 1;
            "log_normal", whose logarithm has the mean and the standard deviation `arguments`; "bernoulli" with a
            probability; "integers" from one bound up to but without another; "orthogonal", a matrix of orthonormal
            rows or columns; "sparse", with the share of zeros in each column and the standard deviation of the others.
        arguments: the numbers that belong to the kind.
    """

    kind: str
    arguments: tuple[float, ...] = ()

    @property
    def is_pointwise(self) -> bool:
        """Whether the elements are independent and alike, so that any of them in any order have the same law."""
        return self.kind not in ("orthogonal", "sparse")


@dataclass(frozen=True, eq=False)
class Source:
    """One call that drew: unit variables of a law, for a tensor of a shape. Each is equal only to itself.

    Attributes:
        unit: their law.
        shape: the shape that was drawn.
    """

    unit: Unit
    shape: Size


@dataclass(frozen=True, eq=False)
class Expression:
    """The values of a tensor.

    Attributes:
        shape: its shape.
        dtype: its dtype.
    """

    shape: Size
    dtype: torch.dtype
    parts: ClassVar[tuple[Expression, ...]] = ()  # the expressions that it is computed from

    @property
    def size(self) -> int:
        """The number of elements."""
        return torch.Size(self.shape).numel()

    @cached_property
    def is_drawn(self) -> bool:
        """Whether the values are random."""
        return any(part.is_drawn for part in self.parts)

    @cached_property
    def is_written(self) -> bool:
        """Whether the code wrote all of the values, or all that they are computed from."""
        return all(part.is_written for part in self.parts)

    @property
    def unreadable(self) -> str:
        """Why it cannot be read; "" if it can, or if nothing was written."""
        return next((part.unreadable for part in self.parts if not part.is_written and part.unreadable), "")

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """The sources of the draws in it, each once, in their order."""
        return tuple(dict.fromkeys(source for part in self.parts for source in part.sources))

    def evaluated(self, values: Values) -> torch.Tensor:
        """The values, from those of the parts."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Unwritten(Expression):
    """Memory that nothing was written to, or nothing that can be read.

    Attributes:
        reason: why what was written cannot be read; "" if nothing was.
    """

    reason: str = ""
    is_written: ClassVar[bool] = False  # pyright: ignore[reportIncompatibleVariableOverride]

    @property
    def unreadable(self) -> str:
        return self.reason

    def evaluated(self, values: Values) -> torch.Tensor:
        raise ValueError("Nothing was written to this memory.")


@dataclass(frozen=True, eq=False)
class Constant(Expression):
    """One value everywhere, as the dtype has it."""

    value: Any

    def evaluated(self, values: Values) -> torch.Tensor:
        return torch.full(self.shape, self.value, dtype=self.dtype)


@dataclass(frozen=True, eq=False)
class Table(Expression):
    """Values that the code computed."""

    values: torch.Tensor

    @classmethod
    def of(cls, values: torch.Tensor) -> Table:
        """The table of a tensor, which nobody else writes to."""
        return cls(tuple(values.shape), values.dtype, values)

    def evaluated(self, values: Values) -> torch.Tensor:
        return self.values


@dataclass(frozen=True, eq=False)
class Draw(Expression):
    """`origin + scale * x` for the unit variables x of a source. A matrix has an origin of 0."""

    source: Source
    scale: float = 1.0
    origin: float = 0.0

    is_drawn: ClassVar[bool] = True  # pyright: ignore[reportIncompatibleVariableOverride]

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        return (self.source,)

    def evaluated(self, values: Values) -> torch.Tensor:
        return values.drawn(self)


@dataclass(frozen=True, eq=False)
class Operation(Expression):
    """One result of an operator of PyTorch, or an argument that it overwrites.

    Attributes:
        function: the operator, an overload such as `torch.ops.aten.log.default`.
        arguments: its arguments, with expressions in place of tensors.
        keywords: its keyword arguments, likewise.
        output: the number of the result, or the name of the argument that is overwritten.
        is_pointwise: whether each element depends only on those at the same place.
    """

    function: Any
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any] = field(default_factory=dict)
    output: int | str = 0
    is_pointwise: bool = False

    def __post_init__(self) -> None:
        _settle(self)

    @cached_property
    def parts(self) -> tuple[Expression, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return tuple(_within((self.arguments, dict(self.keywords))))

    @property
    def name(self) -> str:
        """The name of the operator, such as `log`, whether it writes to its argument or not."""
        return operator_of(self.function).name

    def evaluated(self, values: Values) -> torch.Tensor:
        arguments, keywords = replaced((self.arguments, dict(self.keywords)), values.of)
        return run(self.function, arguments, keywords, self.output)


class Write(NamedTuple):
    """What was written where.

    Attributes:
        geometry: the elements of the storage.
        expression: their values.
    """

    geometry: Geometry
    expression: Expression


@dataclass(frozen=True, eq=False)
class Seen(Expression):
    """What a storage held at some time, seen as a tensor.

    Attributes:
        geometry: the elements of the storage that the tensor has.
        writes: what was written to the storage, in order: later ones lie over earlier ones.
        length: the number of elements of the storage.
        stored: the dtype that it was written in.
    """

    geometry: Geometry
    writes: tuple[Write, ...]
    length: int
    stored: torch.dtype

    def __post_init__(self) -> None:
        _settle(self)

    @cached_property
    def parts(self) -> tuple[Expression, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return tuple(write.expression for write in self.writes)

    def evaluated(self, values: Values) -> torch.Tensor:
        flat = torch.zeros(self.length, dtype=self.stored)
        for geometry, expression in self.writes:
            flat.as_strided(*geometry).copy_(values.of(expression).reshape(geometry.size))
        if self.stored != self.dtype:
            flat = flat.view(self.dtype)
        return flat.as_strided(*self.geometry)


def steps(expression: Expression) -> Iterator[Expression]:
    """An expression, and what its drawn steps are computed from, each once: steps can have parts in common."""
    seen: dict[int, Expression] = {}
    waiting = [expression]
    while waiting:
        part = waiting.pop()
        if id(part) not in seen:
            seen[id(part)] = part
            yield part
            waiting += part.parts if part.is_drawn else ()


class Values:
    """The values of expressions, each computed once.

    Attributes:
        drawn: the function that gives the values of a draw.
    """

    def __init__(self, drawn: Callable[[Draw], torch.Tensor] | None = None) -> None:
        """Without a function, no expression may be drawn."""
        self.drawn: Callable[[Draw], torch.Tensor] = drawn or _undrawn
        self._known: dict[int, tuple[Expression, torch.Tensor]] = {}  # holds the expressions, for their ids

    def of(self, expression: Expression) -> torch.Tensor:
        """The values of an expression, which the caller must not change."""
        open_ones = [expression]  # a list, as code can chain more operators than functions may call one another
        with torch.no_grad():
            while open_ones:
                last = open_ones[-1]
                missing = [part for part in last.parts if id(part) not in self._known]
                if not missing and id(last) not in self._known:
                    self._known[id(last)] = last, last.evaluated(self)
                if not missing:
                    open_ones.pop()
                open_ones += missing
        return self._known[id(expression)][1]


def _undrawn(draw: Draw) -> torch.Tensor:
    raise ValueError("The values are random.")


def run(function: Any, arguments: tuple[Any, ...], keywords: Mapping[str, Any], output: int | str) -> torch.Tensor:
    """The result of an operator on CPU tensors, none of which it changes.

    Args:
        function: the operator.
        arguments: its arguments.
        keywords: its keyword arguments.
        output: the number of the result, or the name of the argument that is overwritten.
    """
    operator = operator_of(function)
    arguments, keywords = replaced((arguments, dict(keywords)), _as_strided, torch.Tensor)
    named = {**dict(zip(operator.names, arguments, strict=False)), **keywords}
    for written in operator.written:
        if isinstance(named.get(written.name), torch.Tensor):
            named[written.name] = named[written.name].clone()
    if named.get("device") is not None:
        named["device"] = torch.device("cpu")
    positional = [named.pop(name) for name in operator.names[: len(arguments)]]
    with torch.no_grad():
        result = function(*positional, **named)
    if isinstance(output, str):
        at = operator.names.index(output)
        return positional[at] if at < len(positional) else named[output]
    return result[output] if isinstance(result, (tuple, list)) else result


def _as_strided(tensor: torch.Tensor) -> torch.Tensor:
    """A dense tensor as it is, any other one as a copy: not all operators take views."""
    return tensor.contiguous() if tensor.layout == torch.strided else tensor


def _settle(expression: Expression) -> None:
    """Has an expression know what follows from its parts, which know it already."""
    _ = expression.is_drawn, expression.is_written, expression.sources


def _within(value: Any) -> Iterator[Expression]:
    """The expressions in nested lists, tuples and dicts."""
    if isinstance(value, Expression):
        yield value
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _within(each)
    elif isinstance(value, dict):
        yield from _within(list(value.values()))


def replaced(value: Any, function: Callable[[Any], Any], kind: type = Expression) -> Any:
    """Nested lists, tuples and dicts with the results of a function in place of all instances of a class."""
    if isinstance(value, kind):
        return function(value)
    if isinstance(value, tuple):
        return tuple(replaced(each, function, kind) for each in value)
    if isinstance(value, list):
        return [replaced(each, function, kind) for each in value]
    if isinstance(value, dict):
        return {key: replaced(each, function, kind) for key, each in value.items()}
    return value
