"""Distributions of values that a model's own code computes: tables, formulas of drawn elements, and programs.

A formula takes each element from draws at the same place: it keeps regions and shards. A program, such as the norm of a
drawn weight, needs all of its values at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import torch

from fanin._core import dtypes
from fanin._core.memory import as_numpy
from fanin._core.shapes import Region, checked_shape, chunks, parse_region
from fanin._core.streams import Stream
from fanin._core.types import Array, DTypeLike, ShapeLike
from fanin.distributions import Distribution, Moments
from fanin.initializers import SeededInitializer
from fanin.torch.recording.expressions import (
    Constant,
    Draw,
    Expression,
    Operation,
    Source,
    Values,
    replaced,
    run,
    steps,
)
from fanin.torch.recording.reading import words

_CHUNK = 2**16  # elements of a formula that are computed at a time
_STRATA = 2**14  # elements that the moments of a formula are taken from
_MOST_MEASURED = 2**20  # elements of a table or a program that its moments are taken from

# The values of a draw in a region of it, as float64 or as integers; None for all of it.
Sampler = Callable[[Draw, Region | None], torch.Tensor]


@dataclass(frozen=True)
class Computed(Distribution):
    """Values that a model's code computes.

    Attributes:
        expression: how.
        sampler: the values of the draws in it.
    """

    expression: Expression = field(compare=False)
    sampler: Sampler | None = field(default=None, compare=False, repr=False)
    is_own_code: ClassVar[bool] = True

    def parameters(self) -> dict[str, Any]:
        return {"values": words(self.expression)}

    @property
    def bounds(self) -> tuple[float, float]:
        return -math.inf, math.inf

    @cached_property
    def moments(self) -> Moments:
        if not 0 < self.size <= _MOST_MEASURED:
            return Moments(math.nan, math.nan)
        return _measured(self._values())

    def _values(self) -> torch.Tensor:
        sampler = self.sampler
        drawn = None if sampler is None else lambda draw: sampler(draw, None).to(draw.dtype)
        return Values(drawn).of(self.expression)

    def fill(self, out: Array, stream: Stream, region: Region | None = None) -> None:
        values = as_numpy(self._values().contiguous())
        with np.errstate(all="ignore"):  # an overflow becomes whatever the dtype has for it
            out[...] = values[() if region is None else region.slices].astype(out.dtype)


class Tabulated(Computed):
    """Values that a model's code computes from no random ones."""

    kind: ClassVar[str] = "table"
    is_made_whole: ClassVar[bool] = True


class Program(Computed):
    """Values that a model's code computes from drawn ones as a whole."""

    kind: ClassVar[str] = "program"
    random: ClassVar[bool] = True
    is_made_whole: ClassVar[bool] = True


class Formula(Computed):
    """Values each of which a model's code computes from drawn elements at the same place.

    They are computed in float64, and rounded once.
    """

    kind: ClassVar[str] = "formula"
    random: ClassVar[bool] = True

    @cached_property
    def moments(self) -> Moments:
        sources = self.expression.sources
        strata = {source: _stratified(source, number) for number, source in enumerate(sources)}
        if self.size and all(each is not None for each in strata.values()) and not _has_tables(self.expression):
            values = _evaluated(self.expression, lambda draw: _affine(draw, strata[draw.source]))
            return _measured(values)
        return super().moments

    def fill(self, out: Array, stream: Stream, region: Region | None = None) -> None:
        sampler = self.sampler
        assert sampler is not None
        wanted = parse_region(..., self.shape) if region is None else region
        out = out[(*wanted.restored_axes, ...)]
        wanted = wanted._replace(dropped=(False,) * len(self.shape))
        for chunk in chunks(wanted.lengths, _CHUNK):
            lengths = tuple(stop - start for start, stop in chunk)
            starts = tuple(begin + start for begin, (start, _) in zip(wanted.starts, chunk, strict=True))
            part = wanted._replace(starts=starts, lengths=lengths)
            values = _evaluated(self.expression, lambda draw, part=part: sampler(draw, part), part)
            target = out[(*(slice(*each) for each in chunk), ...)]
            with np.errstate(all="ignore"):  # as above
                target[...] = as_numpy(values.expand(lengths).contiguous()).astype(out.dtype)


def _evaluated(
    expression: Expression, drawn: Callable[[Draw], torch.Tensor], region: Region | None = None
) -> torch.Tensor:
    """The values of a formula, in float64 unless they are integers.

    Args:
        expression: the formula.
        drawn: the values of its draws.
        region: the region that is wanted; None if the draws say it, and there are no tables.
    """
    known: dict[int, torch.Tensor] = {}

    def of(part: Expression) -> torch.Tensor:
        if id(part) not in known:
            known[id(part)] = value(part)
        return known[id(part)]

    def value(part: Expression) -> torch.Tensor:
        if isinstance(part, Draw):
            return drawn(part)
        if isinstance(part, Constant):
            return _wide(torch.tensor(part.value, dtype=part.dtype))
        if not part.is_drawn:
            return _wide(_slice(Values().of(part), region))
        assert isinstance(part, Operation)
        if part.name == "_to_copy":  # in float64, no rounding between
            first = of(part.parts[0])
            return first if part.dtype.is_floating_point else first.to(part.dtype)
        keywords = {key: each for key, each in part.keywords.items() if key not in ("dtype", "device", "layout")}
        arguments, keywords = replaced((part.arguments, keywords), of)
        if isinstance(part.output, str):  # a constant that is written to must have the shape of the result
            shape = torch.broadcast_shapes(*(of(each).shape for each in part.parts))
            arguments, keywords = replaced((arguments, keywords), lambda each: each.expand(shape), torch.Tensor)
        return _wide(run(part.function, arguments, keywords, part.output))

    with torch.no_grad():
        return of(expression)


def _wide(values: torch.Tensor) -> torch.Tensor:
    return values.double() if values.dtype.is_floating_point else values


def _slice(table: torch.Tensor, region: Region | None) -> torch.Tensor:
    """A region of a table that is broadcast to the tensor's shape."""
    if region is None or not table.ndim:
        return table
    starts, lengths = region.starts[-table.ndim :], region.lengths[-table.ndim :]
    axes = zip(table.shape, starts, lengths, strict=True)
    return table[tuple(slice(None) if size == 1 else slice(a, a + length) for size, a, length in axes)]


def _has_tables(expression: Expression) -> bool:
    """Whether a formula has tables, besides constants."""
    return any(not part.is_drawn and not isinstance(part, Constant) for part in steps(expression))


def _affine(draw: Draw, unit: torch.Tensor | None) -> torch.Tensor:
    assert unit is not None
    return draw.origin + draw.scale * unit


def _stratified(source: Source, number: int) -> torch.Tensor | None:
    """Unit variables that lie evenly in their distribution; None if that is not known here."""
    order = torch.randperm(_STRATA, generator=torch.Generator().manual_seed(number)) if number else ...
    shares = (torch.arange(_STRATA, dtype=torch.float64) + 0.5)[order] / _STRATA
    kind, arguments = source.unit.kind, source.unit.arguments
    if kind == "uniform":
        return shares
    if kind == "normal":
        return torch.special.ndtri(shares)
    if kind == "truncated":
        low, high = torch.special.ndtr(torch.tensor(arguments, dtype=torch.float64))
        return torch.special.ndtri(low + shares * (high - low))
    if kind == "exponential":
        return -torch.log1p(-shares)
    return None


def _measured(values: torch.Tensor) -> Moments:
    wide = (values.real if values.is_complex() else values).double()  # of complex numbers, those of the real part
    return Moments(float(wide.mean()), float(wide.std(correction=0)))


class OwnCode(SeededInitializer):
    """An initializer of one tensor, whose values its model's own code computes.

    Args:
        expression: how the values are computed.
        sampler: the values of the draws.
        seed: the seed of the first draw.
    """

    law: ClassVar[type[Computed]]

    @property
    def summary(self) -> str:
        return f"{self.law.kind}: {words(self.expression)}"

    def __init__(self, expression: Expression, sampler: Sampler | None = None, seed: int | None = None) -> None:
        super().__init__(seed)
        self.expression: Expression = expression
        self.sampler: Sampler | None = sampler

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        """The distribution of the values of the tensor.

        Args:
            shape: the shape that the tensor was recorded with.
            dtype: the dtype that the values are rounded to.
        """
        return self.law(checked_shape(shape), dtypes.resolve(dtype), self.expression, self.sampler)

    def get_config(self) -> dict[str, Any]:
        """What is computed, in words. No data recreates it."""
        return {"values": words(self.expression), "seed": self.seed}

    @classmethod
    def from_config(cls, config: Any) -> Self:
        """Raises an error: the code is the model's."""
        raise TypeError("Values that a model's own code computes cannot be made from a configuration.")

    def __repr__(self) -> str:
        return f"<{self.summary}>"


class OwnTable(OwnCode):
    """A table that a model's own code computes."""

    law: ClassVar[type[Computed]] = Tabulated


class OwnFormula(OwnCode):
    """Values each of which a model's own code computes from drawn elements at the same place."""

    law: ClassVar[type[Computed]] = Formula


class OwnProgram(OwnCode):
    """Values that a model's own code computes from drawn ones as a whole."""

    law: ClassVar[type[Computed]] = Program
