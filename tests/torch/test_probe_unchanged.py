"""What `fanin.torch.probe` leaves behind: nothing. Its memory is bounded, too."""

from __future__ import annotations

import random
import tracemalloc
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import fanin  # noqa: E402
import fanin.torch  # noqa: E402
from torch_kit import raw  # noqa: E402


class Restless(nn.Module):
    """A module whose code changes all that it can, and raises if it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 6, max_norm=0.1)
        self.norm = nn.BatchNorm1d(6)
        self.dropout = nn.Dropout(0.5)
        self.lstm = nn.LSTM(6, 6)
        self.old = nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6))
        self.frozen = nn.Linear(6, 6).requires_grad_(False)
        self.head = nn.Linear(6, 3)
        self.register_buffer("steps", torch.zeros(3))
        self.cache: list[Any] = []
        self.calls = 0
        self.fails = False

    def forward(self, tokens: Any) -> Any:
        self.calls += 1
        self.steps += 1
        self.register_buffer("extra", torch.ones(2))
        x = self.dropout(self.norm(self.embedding(tokens)))
        x, _ = self.lstm(x)
        x = self.frozen(self.old(x)) * torch.rand(()) * random.random() * np.random.rand()
        self.cache.append(x)
        self.head.train(False)
        if self.fails:
            raise RuntimeError("as told")
        return self.head(x)


def everything(model: nn.Module) -> Any:
    """All that a module is: bytes, gradients, flags, attributes, hooks; and the generators' states."""
    parameters = {
        name: (id(each), each.requires_grad, None if each.grad is None else each.grad.tolist())
        for name, each in model.named_parameters()
    }
    attributes = {
        path: (
            sorted(vars(module)),
            module.training,
            [len(vars(module)[name]) for name in sorted(vars(module)) if name.endswith("_hooks")],
            [id(each) for each in module._buffers.values()],
        )
        for path, module in model.named_modules()
    }
    flat = [[id(each) for each in module._flat_weights] for module in model.modules() if isinstance(module, nn.RNNBase)]
    generators = (torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state()))
    return (
        raw(model),
        parameters,
        attributes,
        flat,
        generators,
        getattr(model, "calls", 0),
        len(getattr(model, "cache", ())),
    )


@pytest.fixture
def restless() -> Any:
    """Such a module, with gradients of its own and hooks."""
    torch.manual_seed(3)
    model = Restless()
    model.head.weight.grad = torch.ones(3, 6)
    return model


TOKENS = torch.arange(8)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("gradients", [True, False])
def test_nothing_changes(restless: Any, training: bool, gradients: bool) -> None:
    """Not a byte, flag, gradient, attribute, hook or generator."""
    restless.train(training)
    before = everything(restless)
    fanin.torch.probe(restless, TOKENS, gradients=gradients)
    assert everything(restless) == before


def test_nothing_changes_if_it_raises(restless: Any) -> None:
    """Nor after an exception of the module's own code, or of the loss."""
    before = everything(restless)

    def fail(output: Any) -> Any:
        raise RuntimeError("as told")

    with pytest.raises(RuntimeError, match="as told"):
        fanin.torch.probe(restless, TOKENS, loss=fail)
    restless.fails = True
    with pytest.raises(RuntimeError, match="as told"):
        fanin.torch.probe(restless, TOKENS)
    assert everything(restless) == before


def test_it_repeats_itself(restless: Any) -> None:
    """With the same seed all that the module draws is the same, and with another it is not."""
    first, second, third = (fanin.torch.probe(restless, TOKENS, seed=seed).as_dict() for seed in (1, 1, 2))
    assert first == second != third


def test_hooks_of_others_run() -> None:
    """Hooks that are there see what they would see, and change outputs before these are measured."""
    model: Any = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    seen: list[str] = []
    model[0].register_forward_hook(lambda module, args, output: output * 0 + 2)
    model[0].register_full_backward_hook(lambda module, *gradients: seen.append("back"))
    model[0].weight.register_hook(lambda gradient: seen.append("weight"))
    model[0].weight.register_post_accumulate_grad_hook(lambda weight: seen.append("step"))
    probe = fanin.torch.probe(model, torch.ones(2, 3))
    assert probe.layers[0].output.mean == 2
    assert seen == ["back"]
    model(torch.ones(2, 3, requires_grad=True)).sum().backward()
    assert sorted(seen) == ["back", "back", "step", "weight"]


def test_the_batch_stays() -> None:
    """A module that writes to its input does not write to the batch."""
    batch = torch.tensor([[-1.0, 2.0]])
    fanin.torch.probe(nn.Sequential(nn.ReLU(inplace=True), nn.Linear(2, 2)), batch)
    assert batch.tolist() == [[-1.0, 2.0]]
    assert batch.grad is None
    assert not batch.requires_grad


def test_code_that_writes_to_parameters_is_reported() -> None:
    """What cannot be put back is said."""

    class Writes(nn.Linear):
        def forward(self, x: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            with torch.no_grad():
                self.weight.mul_(0.5)
            return super().forward(x)

    with pytest.warns(UserWarning, match="wrote to its parameters while the batch passed: weight"):
        fanin.torch.probe(Writes(2, 2), torch.ones(1, 2))


def test_memory_is_bounded() -> None:
    """Ten layers of 16 MB of outputs each are measured in 32 MB of NumPy's memory, and none is kept."""
    model = nn.Sequential(*[nn.Identity() for _ in range(10)])
    batch = torch.ones(4, 64, 128, 128)
    tracemalloc.start()
    probe = fanin.torch.probe(model, batch, gradients=False)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(probe.layers) == 10
    assert peak < 32e6
    assert kept < 1e6


def test_gradients_of_weights_are_let_go() -> None:
    """No two weights' gradients are there at the same time."""
    alive: list[int] = []
    model: Any = nn.Sequential(*[nn.Linear(32, 32) for _ in range(6)])

    class Spy(nn.Module):
        def forward(self, x: Any) -> Any:
            return _Count.apply(x, model, alive)

    fanin.torch.probe(nn.Sequential(model[0], Spy(), *model[1:]), torch.ones(2, 32))
    assert alive == [0]


class _Count(torch.autograd.Function):
    """Counts the gradients that are there when the backward pass comes by."""

    @staticmethod
    def forward(context: Any, x: Any, model: Any, alive: Any) -> Any:
        context.seen = (model, alive)
        return x.clone()

    @staticmethod
    def backward(context: Any, *gradients: Any) -> Any:
        model, alive = context.seen
        alive.append(sum(each.grad is not None for each in model.parameters()))
        return gradients[0], None, None
