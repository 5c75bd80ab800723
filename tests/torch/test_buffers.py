"""Buffers of PyTorch's modules: those without values are made again by the code of their modules, or given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

import fanin
from fanin.recipes import PlanError
from fanin.torch import initialize
from torch_kit import ALL, PRESETS, on_meta, raw


class Rotary(nn.Module):
    """A table that its constructor makes."""

    def __init__(self, width: int, base: float = 10000.0) -> None:
        super().__init__()
        self.width, self.base = width, base
        self.register_buffer("table", base ** (-torch.arange(0, width, 2) / width), persistent=False)


class Forgetful(Rotary):
    """It remembers half of what it was told."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.width = width // 2


class Defaulted(nn.Module):
    """It does not remember what it was told, and has a default for it."""

    def __init__(self, base: float = 10.0) -> None:
        super().__init__()
        self.register_buffer("table", torch.full((4,), base), persistent=False)


class Private(Defaulted):
    """It remembers, under another name."""

    def __init__(self, base: float) -> None:
        super().__init__(base)
        self._base = base


class Random(nn.Module):
    """A table from a generator."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("table", torch.randn(width))


class Several(nn.Module):
    """Arguments without names."""

    def __init__(self, *lengths: int) -> None:
        super().__init__()
        self.lengths = lengths
        self.register_buffer("table", torch.zeros(4) + sum(lengths))


class Methodical(nn.Module):
    """A method makes the table."""

    table: torch.Tensor
    flag: torch.Tensor

    def __init__(self, secret: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.register_buffer("table", torch.empty(4, 1, dtype=torch.int64))
        self.register_buffer("flag", torch.empty((), dtype=torch.bool), persistent=False)
        self._secret = secret
        self.reset_buffers()

    def reset_buffers(self) -> None:
        """Fills both."""
        self.table.copy_(torch.arange(4)[:, None] + self._secret)
        self.flag.fill_(True)


class Model(nn.Module):
    """A model with a method for the weights and buffers of each of its modules, which draws from a generator, too."""

    config: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Module()
        self.inner.weight = nn.Parameter(torch.zeros(3, 3))
        self.inner.register_buffer("ids", torch.arange(5), persistent=False)

    def _init_weights(self, module: Any) -> None:
        if hasattr(module, "ids"):
            module.ids.copy_(torch.arange(5))
            module.weight.normal_()
            if hasattr(module, "other"):
                module.other.zero_()
            torch.rand(1)


BUFFERS: dict[str, tuple[Callable[[], Any], str]] = {
    "constructor": (lambda: nn.Sequential(nn.Linear(3, 4), Rotary(8)), "as Rotary's constructor makes it"),
    "method": (lambda: nn.Sequential(nn.Linear(3, 4), Methodical(3)), "by reset_buffers()"),
    "model": (Model, "by Model's _init_weights"),
}


@pytest.mark.parametrize("kind", BUFFERS)
def test_buffers(kind: str) -> None:
    """Buffers that have no values on the meta device are made again by the code of their modules."""
    make, how = BUFFERS[kind]
    module, expected = on_meta(make), make()
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    report = initialize(module, ALL)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert set(report.buffers.values()) == {how}
    found = dict(module.named_buffers())
    for path, buffer in expected.named_buffers():
        assert torch.equal(found[path], buffer), path
        assert path in report.buffers
        assert f"restored: {path} ({how})" in str(report)
    initialize(expected, ALL)
    assert raw(module) == raw(expected)


def test_buffers_that_are_there_stay() -> None:
    """A module with values keeps its buffers, but for running statistics, which start anew."""
    module: Any = nn.Sequential(nn.BatchNorm1d(3), Rotary(8))
    module[0](torch.randn(2, 3))
    module[1].table.fill_(7)
    report = initialize(module, fanin.Recipe.preset("torch", seed=1))
    assert not report.buffers
    assert (module[1].table == 7).all()
    assert [tensor.tolist() for tensor in module[0].buffers()] == [[0, 0, 0], [1, 1, 1], 0]


def test_making_buffers_again_changes_nothing_else() -> None:
    """The code that makes a buffer again may write to parameters that are to stay; they do."""
    module: Any = Model()
    module.inner.register_buffer("ids", torch.empty(5, dtype=torch.int64, device="meta"), persistent=False)
    module.inner.register_buffer("other", torch.full((3,), 7.0))
    module.inner.weight.data.fill_(3)
    initialize(module, ALL, skip="*")
    assert module.inner.ids.tolist() == [0, 1, 2, 3, 4]
    assert (module.inner.weight == 3).all()
    assert (module.inner.other == 7).all()
    assert type(module.inner.weight) is nn.Parameter


def test_running_statistics_of_the_meta_device() -> None:
    """They have their start, in memory."""
    module = on_meta(lambda: nn.BatchNorm1d(3))
    initialize(module, PRESETS["torch"])
    assert [tensor.tolist() for tensor in module.buffers()] == [[0, 0, 0], [1, 1, 1], 0]


LOST: dict[str, Callable[[], Any]] = {
    "half an argument": lambda: Forgetful(8),
    "no argument": lambda: Defaulted(500.0),
    "another name": lambda: Private(3.0),
    "a generator": lambda: Random(4),
    "arguments without names": lambda: Several(1, 2),
}


@pytest.mark.parametrize("case", LOST)
def test_buffers_that_nobody_can_make(case: str) -> None:
    """Where an argument was forgotten, or a generator was used, nothing is guessed."""
    module = on_meta(lambda: nn.Sequential(nn.Linear(2, 2), LOST[case]()))
    with pytest.raises(PlanError, match="could not be rebuilt"):
        initialize(module, ALL)
    assert module[0].weight.is_meta
    with pytest.warns(UserWarning, match=r"Not every tensor of the model has values: 1\.table \(it has no values"):
        report = initialize(module, ALL, only="0.*")
    reason = "it has no values, and its module's code could not make it again"
    assert report.empty == {"1.table": reason}
    assert f"without values: 1.table ({reason})" in str(report)


def sharing() -> Any:
    """Two modules with one buffer."""
    module: Any = nn.Sequential(Rotary(8), Rotary(8), nn.Linear(2, 2))
    module[1].table = module[0].table
    return module


@pytest.mark.parametrize("given", [False, True])
def test_shared_buffers(given: bool) -> None:
    """A buffer of two modules stays one, made again or given."""
    module = on_meta(sharing)
    initialize(module, ALL, buffers={"*.table": torch.ones(4)} if given else None)
    assert module[0].table is module[1].table


def test_given_buffers_are_copied() -> None:
    """Each module has a buffer of its own, which is not the given one."""
    given = torch.ones(4)
    module = on_meta(lambda: nn.Sequential(Rotary(8), Rotary(8)))
    initialize(nn.Sequential(module, nn.Linear(2, 2)), ALL, buffers={"*.table": given})
    module[0].table.add_(1)
    assert module[1].table.tolist() == given.tolist() == [1, 1, 1, 1]


def lost() -> Any:
    """A layer, and a module whose buffer nobody can make again."""
    return on_meta(lambda: nn.Sequential(nn.Linear(3, 4), Forgetful(8)))


def test_buffers_that_are_lost() -> None:
    """A buffer that nobody can make again is refused before anything is written."""
    module = lost()
    with pytest.raises(PlanError) as caught:
        initialize(module, ALL)
    assert str(caught.value) == (
        "Buffers on the meta device have no values, and these could not be rebuilt; nothing has been written.\n"
        "  1.table of Forgetful, (4,), torch.float32\n"
        "  Pass them as buffers={path: tensor}, or build these modules outside of the meta device."
    )
    assert module[0].weight.is_meta


def test_buffers_that_are_given() -> None:
    """A buffer that nobody can make again can be given, in any dtype."""
    module = lost()
    report = initialize(module, ALL, buffers={"*.table": torch.ones(4, dtype=torch.float64)})
    assert report.buffers == {"1.table": "given"}
    assert module[1].table.tolist() == [1, 1, 1, 1]
    assert module[1].table.dtype == torch.float32


TABLE = "The buffer 1.table must be a tensor of shape (4,) with values. Received: "
BAD_BUFFERS: dict[str, tuple[Any, type[Exception], str]] = {
    "shape": ({"1.table": torch.ones(3)}, ValueError, f"{TABLE}Tensor of shape (3,)."),
    "a list": ({"1.table": [1, 2]}, ValueError, f"{TABLE}list."),
    "no values": (
        {"1.table": torch.ones(4, device="meta")},
        ValueError,
        f"{TABLE}Tensor of shape (4,) on the meta device.",
    ),
    "a name": (
        {"tabel": torch.ones(4)},
        ValueError,
        "`buffers` must name buffers of the module. Received: 'tabel'. Known buffers: 1.table.",
    ),
    "no mapping": (
        [torch.ones(4)],
        TypeError,
        "`buffers` must be a mapping of paths to tensors. Received: list.",
    ),
}


@pytest.mark.parametrize("case", BAD_BUFFERS)
def test_bad_buffers(case: str) -> None:
    """What does not fit is refused before anything is written."""
    buffers, error, message = BAD_BUFFERS[case]
    module = lost()
    with pytest.raises(error) as caught:
        initialize(module, ALL, buffers=buffers)
    assert str(caught.value) == message
    assert module[0].weight.is_meta


EVERYTHING = {"path": "*", "initializer": "random_normal"}


def test_a_catch_all_leaves_running_statistics() -> None:
    """They have their usual start, also under a rule for everything."""
    module = nn.BatchNorm1d(3)
    initialize(module, fanin.Recipe([EVERYTHING]))
    assert [tensor.tolist() for tensor in module.buffers()] == [[0, 0, 0], [1, 1, 1], 0]
    assert module.weight.std() > 0


def test_a_rule_for_running_statistics() -> None:
    """A rule of their role says another start, whatever they were before."""
    module = nn.BatchNorm1d(3)
    initialize(module, fanin.Recipe([EVERYTHING]))
    initialize(module, fanin.Recipe([{"role": "variance", "initializer": "constant", "value": 4}, EVERYTHING]))
    assert [tensor.tolist() for tensor in module.buffers()] == [[0, 0, 0], [4, 4, 4], 0]
