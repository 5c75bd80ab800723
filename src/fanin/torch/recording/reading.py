"""Readings: what a recorded tensor gets, as a few regions with an expression each, in words and as data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from fanin.distributions import LARGEST_NORMAL
from fanin.torch.recording.expressions import (
    Constant,
    Draw,
    Expression,
    Geometry,
    Operation,
    Seen,
    Size,
    Source,
    Table,
    Unwritten,
    steps,
)
from fanin.torch.recording.regions import Box, Covered, covered, lengths_of

# The names of laws in words, and of the numbers that belong to them.
_LAWS = {
    "normal": "normal",
    "uniform": "uniform",
    "truncated": "truncated_normal",
    "exponential": "exponential",
    "log_normal": "log_normal",
    "bernoulli": "bernoulli",
    "integers": "integers",
    "orthogonal": "orthogonal",
    "sparse": "sparse",
}
_MOST_WORDS = 6  # regions, or items of a list, that a text names
_MOST_STEPS = 100  # of a formula; what takes more is computed as a whole


@dataclass(frozen=True)
class Law:
    """What a draw is: the law of its elements and their numbers.

    Attributes:
        kind: "normal", "truncated_normal", "uniform", "exponential", "log_normal", "bernoulli", "integers",
            "orthogonal" or "sparse".
        numbers: the numbers by name.
    """

    kind: str
    numbers: dict[str, float]

    @classmethod
    def of(cls, draw: Draw) -> Law:
        """The law of a draw, of which the scale is positive."""
        unit, scale, origin = draw.source.unit, draw.scale, draw.origin
        ends = sorted(origin + scale * end for end in _ends(draw))
        if unit.kind == "truncated" and not cuts(draw):
            return cls("normal", {"mean": origin, "stddev": abs(scale)})
        numbers = {
            "normal": lambda: {"mean": origin, "stddev": abs(scale)},
            "uniform": lambda: {"minval": ends[0], "maxval": ends[1]},
            "truncated": lambda: {"mean": origin, "stddev": abs(scale), "minval": ends[0], "maxval": ends[1]},
            "exponential": lambda: {"rate": 1 / scale} if scale > 0 else {"rate": 1.0},
            "log_normal": lambda: dict(zip(("mean", "stddev"), unit.arguments, strict=True)),
            "bernoulli": lambda: {"p": unit.arguments[0]},
            "integers": lambda: {"minval": unit.arguments[0], "maxval": unit.arguments[1]},
            "orthogonal": lambda: {"gain": scale},
            "sparse": lambda: {"sparsity": unit.arguments[0], "stddev": unit.arguments[1] * abs(scale)},
        }[unit.kind]()
        return cls(_LAWS[unit.kind], numbers)

    def __str__(self) -> str:
        return f"{self.kind}({', '.join(f'{name}={number:.6g}' for name, number in self.numbers.items())})"


def cuts(draw: Draw) -> bool:
    """Whether the bounds of a truncated normal cut off anything that a normal of fanin can be."""
    low, high = draw.source.unit.arguments
    return low > -LARGEST_NORMAL or high < LARGEST_NORMAL


def _ends(draw: Draw) -> tuple[float, ...]:
    return (0.0, 1.0) if draw.source.unit.kind == "uniform" else draw.source.unit.arguments


@dataclass(frozen=True, eq=False)
class Part:
    """A region of a tensor, and its values.

    Attributes:
        expression: the values of the box, in the order of the tensor's axes.
        box: the (start, stop) along each axis.
        shown: disjoint boxes of what no later part lies over.
    """

    expression: Expression
    box: Box
    shown: tuple[Box, ...]

    @property
    def kind(self) -> str:
        """What it is, as in `Reading.kind`."""
        return kind_of(self.expression)


@dataclass(frozen=True, eq=False)
class Reading:
    """What a model's code writes into one parameter or buffer.

    Attributes:
        path: its path.
        shape: its shape.
        dtype: its dtype.
        parts: the regions that it consists of, in the order in which they were written: later ones lie over earlier
            ones.
    """

    path: str
    shape: Size
    dtype: torch.dtype
    parts: tuple[Part, ...]

    @property
    def kind(self) -> str:
        """What it is, in a word.

        "constant"; a law, such as "normal", "truncated_normal", "uniform" or "orthogonal"; "table", computed values;
        "formula", a function of each drawn element by itself; "program", values that are computed from drawn ones in
        another way; "regions", several of these; "nothing", if the code leaves some of it unwritten.
        """
        kinds = {part.kind for part in self.parts}
        if "nothing" in kinds:
            return "nothing"
        return kinds.pop() if len(self.parts) == 1 else "regions"

    @property
    def is_drawn(self) -> bool:
        """Whether the values are random."""
        return any(part.expression.is_drawn for part in self.parts)

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """The sources of its draws, each once."""
        return tuple(dict.fromkeys(source for part in self.parts for source in part.expression.sources))

    def as_dict(self) -> dict[str, Any]:
        """The reading as plain data, for JSON."""
        parts = [
            {"region": [list(edges) for edges in part.box], "kind": part.kind, **_data(part.expression)}
            for part in self.parts
        ]
        return {
            "path": self.path,
            "shape": list(self.shape),
            "dtype": str(self.dtype).removeprefix("torch."),
            "kind": self.kind,
            "parts": parts,
        }

    def __str__(self) -> str:
        if len(self.parts) == 1:
            return words(self.parts[0].expression)
        texts = [f"{region_words(part.box, self.shape)}{words(part.expression)}" for part in self.parts]
        if len(texts) > _MOST_WORDS:
            texts = [*texts[: _MOST_WORDS // 2], f"… {len(texts)} regions"]
        return "; ".join(texts)

    def __repr__(self) -> str:
        return f"<Reading of {self.path}: {self}>"


def reading_of(path: str, expression: Expression) -> Reading:
    """The reading of a tensor.

    Args:
        path: its path.
        expression: its values.
    """
    return Reading(path, expression.shape, expression.dtype, tuple(_parts(expression)))


def _parts(expression: Expression) -> Iterator[Part]:
    whole: Box = tuple((0, length) for length in expression.shape)
    found = None
    if isinstance(expression, Seen) and expression.stored == expression.dtype:
        found = covered(expression.geometry, expression.writes)
    if found is None:
        yield Part(expression, whole, (whole,))
        return
    assert isinstance(expression, Seen)
    writes, bare = found
    for each in writes:
        if isinstance(each.write.expression, Unwritten):
            bare = (*bare, *each.shown)
            continue
        yield Part(_of_write(expression, each), each.box, each.shown)
    for box in bare:
        yield Part(Unwritten(lengths_of(box), expression.dtype), box, (box,))


def _of_write(seen: Seen, covered: Covered) -> Expression:
    """The values of a box of a tensor, from the write that covers it."""
    lengths, written = lengths_of(covered.box), covered.write.expression
    if isinstance(written, Constant):
        return replace(written, shape=lengths)
    if isinstance(written, Draw) and written.source.unit.is_pointwise and covered.is_in_order:
        return replace(written, shape=lengths)
    if covered.is_in_order and written.shape == lengths:
        return written
    starts = (start for start, _ in covered.box)
    stride = seen.geometry.stride
    offset = seen.geometry.offset + sum(start * step for start, step in zip(starts, stride, strict=True))
    return replace(seen, shape=lengths, geometry=Geometry(lengths, stride, offset), writes=(covered.write,))


def kind_of(expression: Expression) -> str:
    """What an expression is, in a word: see `Reading.kind`."""
    if not expression.is_written:
        return "nothing"
    if isinstance(expression, Constant):
        return "constant"
    if not expression.is_drawn:
        return "table"
    if isinstance(expression, Draw):
        return Law.of(expression).kind if _is_plain(expression) else "formula"
    return "formula" if is_formula(expression, expression.shape) else "program"


def _is_plain(draw: Draw) -> bool:
    """Whether the law of a draw has a name, whatever its scale and origin."""
    kind, scale, origin = draw.source.unit.kind, draw.scale, draw.origin
    if kind == "exponential":
        return scale > 0 and origin == 0
    return kind not in ("log_normal", "bernoulli", "integers") or (scale, origin) == (1, 0)


def is_formula(expression: Expression, shape: Size) -> bool:
    """Whether each element of a tensor of this shape follows from draws and tables at the same place alone."""
    return all(number < _MOST_STEPS and _is_step(part, shape) for number, part in enumerate(steps(expression)))


def _is_step(part: Expression, shape: Size) -> bool:
    """Whether an expression can be a step of a formula, if those that it is computed from can."""
    if isinstance(part, Draw):
        return part.source.unit.is_pointwise and part.shape == shape
    if part.is_drawn:
        return isinstance(part, Operation) and part.is_pointwise and part.shape == shape
    return part.is_written and _broadcasts(part.shape, shape)


def _broadcasts(shape: Size, to: Size) -> bool:
    if len(shape) > len(to):
        return False
    return all(length in (1, other) for length, other in zip(reversed(shape), reversed(to), strict=False))


def words(expression: Expression, depth: int = 0) -> str:
    """An expression in words, such as `log(uniform(minval=1, maxval=16))`.

    Args:
        expression: the expression.
        depth: how many expressions it lies within; of deep ones, the inner ones are left out.
    """
    if not expression.is_written:
        return "nothing"
    if isinstance(expression, Constant):
        return _number(expression.value)
    if not expression.is_drawn:
        return f"a table of shape {expression.shape}"
    if isinstance(expression, Draw):
        law = str(Law.of(expression))
        return law if _is_plain(expression) else f"{expression.scale:.6g} * {law} + {expression.origin:.6g}"
    if depth > _DEEPEST:
        return "…"
    if isinstance(expression, Operation):
        if expression.name in _SAME_VALUES:
            return words(expression.parts[0], depth)
        given = [*expression.arguments, *(value for key, value in expression.keywords.items() if key in _TOLD)]
        shown = ", ".join(text for each in given if (text := _argument(each, depth + 1)))
        return f"{expression.name}({shown})"
    inner = expression.parts
    while len(inner) == 1 and isinstance(inner[0], Seen):
        inner = inner[0].parts
    texts = [words(part, depth + 1) for part in inner[:_MOST_WORDS]]
    return f"a view of {texts[0]}" if len(inner) == 1 else f"a mixture of {'; '.join(texts)}"


_DEEPEST = 6  # operators within operators that a text has
_TOLD = ("min", "max", "alpha", "p", "dim", "keepdim", "other")  # keyword arguments that tell something
_SAME_VALUES = ("_to_copy", "clone", "alias", "contiguous")  # operators that a reader need not know of


def _argument(value: Any, depth: int) -> str:
    if isinstance(value, Expression):
        return words(value, depth)
    if isinstance(value, (list, tuple)):
        texts = [_argument(each, depth) for each in value[:_MOST_WORDS]]
        return f"[{', '.join([*texts, '…'] if len(value) > _MOST_WORDS else texts)}]"
    return "" if value is None or isinstance(value, (torch.dtype, torch.device, torch.layout)) else _number(value)


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def region_words(box: Box, shape: Size) -> str:
    """A region in the form of an index, such as `[0:2, 3] `; "" for all of a tensor."""
    texts = []
    for (start, stop), length in zip(box, shape, strict=True):
        texts.append(":" if (start, stop) == (0, length) else str(start) if stop - start == 1 else f"{start}:{stop}")
    while texts and texts[-1] == ":":
        texts.pop()
    return f"[{', '.join(texts)}] " if texts else ""


def _data(expression: Expression) -> dict[str, Any]:
    """The numbers of an expression, for JSON, and the expression in words."""
    data: dict[str, Any] = {"text": words(expression)}
    if isinstance(expression, Constant):
        data["value"] = expression.value if not isinstance(expression.value, complex) else str(expression.value)
    if isinstance(expression, Draw) and _is_plain(expression):
        data["numbers"] = {
            name: number if math.isfinite(number) else str(number)
            for name, number in Law.of(expression).numbers.items()
        }
    if isinstance(expression, Table) and expression.values.numel() <= 64 and not expression.dtype.is_complex:
        data["values"] = expression.values.tolist()
    return data
