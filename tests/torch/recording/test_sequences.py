"""Random sequences of writes through views, recorded and run for real: the same values, drawn ones included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from fanin.torch.recording.expressions import Draw, Source, Values  # noqa: E402
from fanin.torch.recording.recorder import Recorder, watching  # noqa: E402

Tensor = Any
View = Callable[[Tensor], Tensor]
Write = Callable[[Tensor, "Drawer"], object]

VIEWS: dict[str, View] = {
    "all": lambda t: t,
    "a row": lambda t: t[1],
    "the last row": lambda t: t[-1],
    "some rows": lambda t: t[:2],
    "a column": lambda t: t[:, 1],
    "columns": lambda t: t[:, 1:3],
    "every other column": lambda t: t[:, ::2],
    "the other columns": lambda t: t[:, 1::2],
    "transposed": lambda t: t.t(),
    "a box": lambda t: t[1:3, 1:],
    "flat": lambda t: t.view(-1),
    "three dimensions": lambda t: t.view(2, 2, 4),
    "a transposed part": lambda t: t.view(2, 2, 4).transpose(0, 2)[1:],
    "the diagonal": lambda t: t.diagonal(),
    "one element": lambda t: t[2, 3],
    "unsqueezed": lambda t: t[:, None],
    "data": lambda t: t.data[1:],
}


class Drawer:
    """Draws: when it records, by the operator; else from a table of the values that each source has."""

    def __init__(self, recorder: Recorder | None, units: list[Tensor]) -> None:
        self.recorder = recorder
        self.units = units
        self.sources: list[Source] = []
        self._calls = 0

    def normal(self, tensor: Tensor, mean: float, std: float) -> None:
        """Writes a normal variable."""
        if self.recorder is not None:
            tensor.normal_(mean, std)
            expression = self.recorder.read(tensor)
            assert isinstance(expression, Draw)
            self.sources.append(expression.source)
            return
        unit = self.units[self._calls][: tensor.numel()].reshape(tensor.shape)
        self._calls += 1
        tensor.copy_(mean + std * unit)


def _copied(tensor: Tensor, drawer: Drawer) -> None:
    tensor.copy_(tensor.clone().flip(0) if tensor.dim() else tensor.clone())


def _masked(tensor: Tensor, drawer: Drawer) -> None:
    tensor.masked_fill_(
        torch.ones(tensor.shape, dtype=torch.bool).tril_() if tensor.dim() == 2 else tensor.shape == (), 3
    )


WRITES: dict[str, Write] = {
    "normal": lambda t, d: d.normal(t, 0.5, 2.0),
    "zero": lambda t, d: t.zero_(),
    "fill": lambda t, d: t.fill_(1.5),
    "double": lambda t, d: t.mul_(2),
    "add": lambda t, d: t.add_(0.25),
    "add twice": lambda t, d: t.add_(0.25, alpha=2),
    "subtract": lambda t, d: t.sub_(1),
    "halve": lambda t, d: t.div_(2),
    "negate": lambda t, d: t.neg_(),
    "square": lambda t, d: t.mul_(t),
    "clamp": lambda t, d: t.clamp_(-1, 1),
    "range": lambda t, d: t.copy_(torch.arange(t.numel()).reshape(t.shape)),
    "reversed": _copied,
    "by index": lambda t, d: t.view(-1).__setitem__(torch.tensor([0]), 7.0) if t.is_contiguous() else None,
    "out of place": lambda t, d: t.copy_((t * 2 + 1).to(torch.float64).to(torch.float32)),
    "data": lambda t, d: t.data.copy_(torch.full_like(t, 2.0)),
    "bits": lambda t, d: t.view(torch.int32).bitwise_and_(-2) if t.is_contiguous() else None,
}


def _made(start: str) -> Tensor:
    return {"empty": torch.empty, "zeros": torch.zeros, "ones": torch.ones}[start](4, 4)


def _run(start: str, steps: list[tuple[str, str]], drawer: Drawer) -> Tensor:
    tensor = _made(start)
    if start == "empty":
        tensor.fill_(0)
    for view, write in steps:
        with torch.no_grad():
            WRITES[write](VIEWS[view](tensor), drawer)
    return tensor


@settings(max_examples=150, deadline=None)
@given(
    start=st.sampled_from(["empty", "zeros", "ones"]),
    steps=st.lists(st.tuples(st.sampled_from(sorted(VIEWS)), st.sampled_from(sorted(WRITES))), max_size=8),
)
def test_sequences(start: str, steps: list[tuple[str, str]]) -> None:
    """What was read, computed from the values of its draws, is what the same code writes for real."""
    with watching() as recorder:
        watched = Drawer(recorder, [])
        recorded = _run(start, steps, watched)
    units = [torch.linspace(-1.5, 1.5, 16) * (number + 1) for number in range(len(watched.sources))]
    expected = _run(start, steps, Drawer(None, units))
    number = {id(source): position for position, source in enumerate(watched.sources)}

    def drawn(draw: Draw) -> Tensor:
        unit = units[number[id(draw.source)]][: torch.Size(draw.shape).numel()].reshape(draw.shape)
        return (draw.origin + draw.scale * unit.double()).to(draw.dtype)

    expression = recorder.read(recorded)
    values = Values(drawn).of(expression)
    assert values.shape == expected.shape
    assert values.dtype == expected.dtype
    if expression.is_drawn:
        torch.testing.assert_close(values, expected, rtol=1e-5, atol=1e-5)
    else:
        assert values.contiguous().view(torch.int32).equal(expected.view(torch.int32))
