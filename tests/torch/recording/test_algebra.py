"""What operators make of draws: draws again, formulas, and programs."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")


from fanin.torch.recording.expressions import (  # noqa: E402
    Constant,
    Draw,
    Operation,
    Table,
    Unit,
)
from recorder_kit import read  # noqa: E402

DRAWS = {
    "exponential_": (lambda: torch.empty(3).exponential_(4.0), Unit("exponential"), 0.25, 0.0),
    "log_normal_": (lambda: torch.empty(3).log_normal_(1.0, 0.5), Unit("log_normal", (1.0, 0.5)), 1.0, 0.0),
    "bernoulli_": (lambda: torch.empty(3).bernoulli_(0.3), Unit("bernoulli", (0.3,)), 1.0, 0.0),
    "random_": (lambda: torch.empty(3).random_(2, 5), Unit("integers", (2.0, 5.0)), 1.0, 0.0),
    "random_ without bounds": (lambda: torch.empty(3).random_(), Unit("integers", (0.0, 2.0**24 + 1)), 1.0, 0.0),
    "randint": (lambda: torch.randint(7, (3,)), Unit("integers", (0.0, 7.0)), 1.0, 0.0),
    "randint_like": (lambda: torch.randint_like(torch.ones(3), 1, 7), Unit("integers", (1.0, 7.0)), 1.0, 0.0),
    "rand": (lambda: torch.rand(3) * 2 - 1, Unit("uniform"), 2.0, -1.0),
    "rand_like": (lambda: 1 - torch.rand_like(torch.ones(3)), Unit("uniform"), -1.0, 1.0),
    "randn": (lambda: -torch.randn(3) / 2 + 3, Unit("normal"), -0.5, 3.0),
    "normal": (lambda: torch.normal(1.0, 2.0, (3,)), Unit("normal"), 2.0, 1.0),
    "normal of tensors": (lambda: torch.normal(torch.ones(3), torch.full((3,), 2.0)), Unit("normal"), 2.0, 1.0),
    "by a tensor": (lambda: torch.randn(3) * torch.full((3,), 0.5) + torch.tensor(1.0), Unit("normal"), 0.5, 1.0),
    "in bfloat16": (lambda: torch.randn(3).to(torch.bfloat16).mul_(2), Unit("normal"), 2.0, 0.0),
    "sub with alpha": (lambda: torch.rand(3).sub_(1, alpha=2), Unit("uniform"), 1.0, -2.0),
}


@pytest.mark.parametrize("name", DRAWS)
def test_draws(name: str) -> None:
    """The unit variable, the scale and the origin."""
    make, unit, scale, origin = DRAWS[name]
    found = read(make)
    assert (found.source.unit, found.scale, found.origin) == (unit, scale, origin)


FORMULAS = {
    "log of uniform": lambda: torch.log(torch.rand(3) * 15 + 1),
    "cauchy_": lambda: torch.empty(3).cauchy_(1.0, 2.0),
    "geometric_": lambda: torch.empty(3).geometric_(0.3),
    "bernoulli of a table": lambda: torch.bernoulli(torch.tensor([0.1, 0.2, 0.3])),
    "clamped": lambda: torch.randn(3).clamp_(-1, 1),
    "times a table": lambda: torch.randn(3) * torch.tensor([1.0, 2.0, 3.0]),
    "of two draws": lambda: torch.randn(3) + torch.rand(3),
    "where": lambda: torch.where(torch.rand(3) > 0.5, torch.ones(3), torch.zeros(3)),
    "softplus inverse": lambda: (lambda dt: dt + torch.log(-torch.expm1(-dt)))(torch.exp(torch.rand(3))),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas(name: str) -> None:
    """They are pointwise operators, all the way down."""

    def is_pointwise(expression: Any) -> bool:
        if isinstance(expression, Operation):
            return expression.is_pointwise and all(map(is_pointwise, expression.parts))
        return isinstance(expression, (Draw, Constant, Table))

    found = read(FORMULAS[name])
    assert isinstance(found, Operation)
    assert is_pointwise(found)


PROGRAMS = {
    "norm": lambda: torch.randn(3, 4).norm(dim=1),
    "svd": lambda: torch.linalg.svd(torch.randn(3, 3))[1],
    "product": lambda: torch.randn(3, 4) @ torch.randn(4, 3),
    "permutation": lambda: torch.randperm(5),
    "broadcast": lambda: torch.randn(3, 1) * torch.ones(3, 4),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name: str) -> None:
    """They mix drawn elements."""
    found = read(PROGRAMS[name])
    assert isinstance(found, Operation)
    assert found.is_drawn
    assert not found.is_pointwise


def test_rounding_of_copies() -> None:
    """A draw in half precision stays rounded in a wider dtype."""
    found = read(lambda: torch.randn(3).half().float())
    assert isinstance(found, Operation)
    assert found.parts[0].dtype == torch.float16
    assert isinstance(read(lambda: torch.randn(3).half().bfloat16()), Draw)
