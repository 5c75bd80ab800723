"""`initialize` that is interrupted, at any moment: what each tensor is then, and what a second call makes of it."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

import fanin
from fanin.torch import fill_, initialize
from fanin.torch.describe import put
from interrupts import SIGNALS, Stopped, handlers, interrupted, interrupted_at


class Frozen(nn.Module):
    """A module with a frozen table and a buffer, both made by its own code."""

    def __init__(self, length: int = 6) -> None:
        super().__init__()
        self.length = length
        self.table = nn.Parameter(torch.arange(3.0 * length).reshape(length, 3), requires_grad=False)
        self.register_buffer("positions", torch.arange(length), persistent=False)


class Net(nn.Module):
    """A model with ties, tables, buffers, running statistics, recurrent layers and computed weights."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size, 8, padding_idx=1)
        self.lstm = nn.LSTM(8, 4, num_layers=2)
        self.frozen = Frozen()
        self.norm = nn.BatchNorm1d(8)
        self.weighted = nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))
        self.square = nn.Linear(16, 16)
        self.again = nn.ModuleList([self.square, self.frozen])
        self.head = nn.Linear(8, size, bias=False)
        self.head.weight = self.embedding.weight
        self.tail = nn.Linear(8, size, bias=False)
        self.tail.weight = self.embedding.weight


RECIPE = fanin.Recipe(
    [
        {"path": "square.weight", "initializer": "orthogonal"},
        {"role": "mean", "initializer": "zeros"},
        {"role": "variance", "initializer": "ones"},
        {"path": "*", "initializer": "random_normal"},
    ],
    seed=3,
)


def on_meta(size: int) -> Any:
    """The model without memory."""
    with torch.device("meta"):
        return Net(size)


def in_memory(size: int) -> Any:
    """The model with values of its own, the same each time."""
    torch.manual_seed(0)
    return Net(size)


def bits(model: Any) -> dict[str, bytes | None]:
    """The bytes of each tensor at each of its places; None for those without memory."""
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return {name: None if each.is_meta else each.detach().numpy().tobytes() for name, each in named}


def assert_whole(model: Any, old: dict[str, Any], new: dict[str, Any], error: BaseException) -> None:
    """Ties hold, layers are in order, and each tensor is old or new, or the one that the exception's note names."""
    assert model.head.weight is model.embedding.weight is model.tail.weight
    assert model.again[0] is model.square
    lstm = model.lstm
    assert all(lstm._flat_weights[at] is getattr(lstm, name) for at, name in enumerate(lstm._flat_weights_names))
    notes = getattr(error, "__notes__", [])
    named = {"tied": ("embedding.weight", "head.weight", "tail.weight")}
    for name, value in bits(model).items():
        paths = named["tied"] if name in named["tied"] else (name,)
        if value not in (old[name], new[name]):
            plain = [path.replace("parametrizations.weight.original1", "weight") for path in paths]
            assert any(f"while it made {path}, " in note for path in plain for note in notes), name
            assert old[name] is not None, f"{name} was on meta, and is partly written"


MADE: dict[str, Callable[[int], Any]] = {"meta": on_meta, "memory": in_memory}


@pytest.mark.parametrize("make", MADE)
def test_an_exception_anywhere(make: str) -> None:
    """Wherever CPython may notice a signal in the code that writes, the model is whole."""
    complete = in_memory(9)
    initialize(complete, RECIPE, prefix="", remake_buffers=True)
    new, old = bits(complete), bits(MADE[make](9))

    def is_wanted(module: str) -> bool:
        return module.startswith("fanin.torch.") or module in ("fanin.recipes.execution", "fanin.recipes.entry")

    place, stopped, step = 0, 0, 29
    while True:
        model = MADE[make](9)
        work = partial(initialize, model, RECIPE, prefix="")
        error = interrupted_at(work, place, is_wanted)
        if error is None:
            break
        assert_whole(model, old, new, error)
        initialize(model, RECIPE, prefix="")
        assert bits(model) == new
        place, stopped = place + step, stopped + 1
    assert stopped > 50


@pytest.mark.parametrize("make", MADE)
@pytest.mark.parametrize("name", SIGNALS)
def test_signals(make: str, name: str) -> None:
    """Signals at random moments, INT and TERM two in a row: what a handler raises comes out, the model is whole."""
    size, chance = 2**18, random.Random(5)
    complete = in_memory(size)
    initialize(complete, RECIPE, prefix="")
    new, old = bits(complete), bits(MADE[make](size))
    begin = time.perf_counter()
    initialize(MADE[make](size), RECIPE, prefix="")
    whole, ended = time.perf_counter() - begin, 0
    with handlers():
        for _ in range(15):
            model = MADE[make](size)
            work = partial(initialize, model, RECIPE, prefix="")
            first = chance.uniform(0, whole)
            second = [] if name == "ALRM" else [first + chance.uniform(0, 0.001)]
            error, _ = interrupted(work, name, first, *second)
            if error is not None:
                assert type(error) is SIGNALS[name]
                assert_whole(model, old, new, error)
                ended += 1
            initialize(model, RECIPE, prefix="")
            assert bits(model) == new
    assert ended


def test_the_note() -> None:
    """It names the parameter in words, under its path with the prefix."""
    model = nn.Sequential(nn.Linear(2**12, 2**11), nn.Linear(3, 4)).double()
    recipe = fanin.Recipe([{"path": "*", "initializer": "random_normal"}])
    with handlers(), fanin.config.using(threads=1, tier="baseline"):  # the slowest there is: most of a second
        error, _ = interrupted(lambda: initialize(model, recipe, prefix="part", seed=1), "INT", 0.1)
    assert isinstance(error, KeyboardInterrupt)
    assert error.__notes__ == [
        "fanin: `initialize` ended while it made part.0.weight, which may be partly written. Every other parameter has "
        "its old or its new values, and a second call completes the work."
    ]


def test_recurrent_layers() -> None:
    """The list in which these keep their parameters besides has the new ones, so that they run."""
    with torch.device("meta"):
        lstm, gru = nn.LSTM(3, 4, num_layers=2, bidirectional=True), nn.GRU(3, 4)
    for layer in (lstm, gru):
        initialize(layer, "torch", seed=1, prefix="")
        assert all(layer._flat_weights[at] is getattr(layer, name) for at, name in enumerate(layer._flat_weights_names))
        assert not layer(torch.ones(2, 3))[0].is_meta


def test_a_tie_is_replaced_at_once() -> None:
    """An exception at any place of `put` finds all places with the old tensor, or all with the new one."""
    place = 0
    while True:
        modules = [nn.Linear(2, 2, bias=False, device="meta") for _ in range(3)]
        old = modules[0].weight
        for each in modules:
            each.weight = old
        data = torch.ones(2, 2)
        work = partial(put, [(each, "weight") for each in modules], old, data)
        error = interrupted_at(work, place, lambda name: name == "fanin.torch.describe")
        found = [each.weight is old for each in modules]
        assert all(found) or not any(found)
        if error is None:
            break
        place += 1
    assert place > 5
    assert not any(found)


def test_an_interrupted_fill_counts_as_a_write() -> None:
    """Autograd is told that a tensor has changed, though only in part."""
    tensor = torch.zeros(2**13, 2**12)
    with handlers(), fanin.config.using(threads=1, tier="baseline"):
        error, _ = interrupted(lambda: fill_(tensor, fanin.HeNormal(seed=1)), "ALRM", 0.05)
        assert isinstance(error, Stopped)
        assert tensor._version == 1
        error, _ = interrupted(lambda: fanin.HeNormal(seed=1)(tensor.shape, out=tensor), "ALRM", 0.05)
        assert isinstance(error, Stopped)
        assert tensor._version == 2


def test_a_signal_in_foreign_code() -> None:
    """An error of a module's own code means that the code is of no use; that of a handler meanwhile comes out."""

    class Slow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("table", torch.arange(4.0), persistent=False)

        def reset_buffers(self) -> None:
            signal.raise_signal(signal.SIGALRM)
            self.table = torch.arange(4.0)

    with torch.device("meta"):
        model = Slow()
    table = model.table
    with handlers(), pytest.raises(Stopped):
        initialize(model, "torch", seed=1)
    assert model._buffers == {"table": table}
