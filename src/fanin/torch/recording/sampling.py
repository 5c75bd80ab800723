"""Samples of drawn values, for questions of PyTorch's own modules whose answers are the same for nearly all values.

Nothing that is sampled is stored: what such code writes is computed from the values that the weights get.
"""

from __future__ import annotations

import torch

from fanin.torch.recording.expressions import Draw, Expression, Source, Values

_LARGEST = 2**24  # elements of all draws that a question depends on
_SEED = 20


def can_be_sampled(expression: Expression) -> bool:
    """Whether an expression depends on few enough drawn elements."""
    return expression.is_written and sum(torch.Size(source.shape).numel() for source in expression.sources) <= _LARGEST


def sampled(expression: Expression) -> torch.Tensor:
    """The values of an expression for some values of its draws, the same ones each time."""
    generator = torch.Generator().manual_seed(_SEED)
    units = {source: _unit(source, generator) for source in expression.sources}

    def drawn(draw: Draw) -> torch.Tensor:
        return (draw.origin + draw.scale * units[draw.source].reshape(draw.shape)).to(draw.dtype)

    return Values(drawn).of(expression)


def _unit(source: Source, generator: torch.Generator) -> torch.Tensor:
    """Values of a unit variable."""
    kind, arguments = source.unit.kind, source.unit.arguments
    values = torch.empty(source.shape, dtype=torch.float64)
    if kind == "uniform":
        return values.uniform_(generator=generator)
    if kind == "exponential":
        return values.exponential_(generator=generator)
    if kind == "log_normal":
        return values.log_normal_(*arguments, generator=generator)
    if kind == "bernoulli":
        return values.bernoulli_(*arguments, generator=generator)
    if kind == "integers":
        return values.random_(int(arguments[0]), int(arguments[1]), generator=generator)
    values.normal_(generator=generator)
    if kind == "truncated":
        return values.clamp_(*arguments)
    if kind == "orthogonal":
        return _orthogonal(values)
    if kind == "sparse":
        share, stddev = arguments
        return values * stddev * (torch.rand(source.shape, generator=generator) >= share)
    return values


def _orthogonal(values: torch.Tensor) -> torch.Tensor:
    """A matrix with orthonormal rows, or columns if it has fewer of these."""
    matrix = values.flatten(1)
    is_wide = matrix.shape[0] < matrix.shape[1]
    factor = torch.linalg.qr(matrix.T if is_wide else matrix)[0]
    return (factor.T if is_wide else factor).reshape(values.shape)
