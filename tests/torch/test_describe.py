"""Modules of PyTorch as data: ties, memory in common, wrappers, parametrizations, containers and classes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

import fanin
from fanin.recipes import PlanError
from fanin.torch import initialize
from torch_kit import ALL, PRESETS, raw, two_layers


def overlapping(*shared: int) -> Any:
    """Three layers, of which the last has the memory of the first, and others the first rows of it."""
    module: Any = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    module[2].weight = nn.Parameter(module[0].weight.data)
    for number in shared:
        module[number] = nn.Linear(4, 2, bias=False)
        module[number].weight = nn.Parameter(module[0].weight.data[:2])
    return module


def test_equal_memory_is_tied() -> None:
    """Two parameters over the same memory are one."""
    module = overlapping()
    assert initialize(module, ALL).plan.tied == {"0.weight": ("2.weight",)}
    assert torch.equal(module[2].weight, module[0].weight)


def test_memory_that_is_shared_in_part_is_refused() -> None:
    """Two parameters over a part of the same memory cannot both have their values."""
    module = overlapping(1)
    before = raw(module)
    with pytest.raises(ValueError, match=r"share all of it. Received: 1.weight and 0.weight, which share a part"):
        initialize(module, ALL)
    assert raw(module) == before


def compiled(module: Any) -> Any:
    """As `torch.compile` wraps it."""
    return torch.compile(module)


def parallel(module: Any) -> Any:
    """As DataParallel wraps it."""
    return nn.DataParallel(module)


WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "compiled": compiled,
    "parallel": parallel,
    "averaged": lambda module: torch.optim.swa_utils.AveragedModel(module),
    "both": lambda module: parallel(compiled(module)),
    "inside": lambda module: nn.Sequential(compiled(module[0]), parallel(module[1])),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.filterwarnings("ignore")
def test_wrappers(wrapper: str) -> None:
    """A wrapper changes neither paths nor values."""
    plain = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    wrapped = WRAPPERS[wrapper](copy.deepcopy(plain))
    initialize(plain, ALL)
    report = initialize(wrapped, ALL)
    assert report.plan.model.name == "Sequential"
    paths = [entry.path for entry in report.plan.entries]
    assert [path for path in paths if "averaged" not in path] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    values = [value for name, value in raw(wrapped).items() if name != "n_averaged"]
    assert values == list(raw(plain).values())


def test_a_module_named_module() -> None:
    """Only wrappers are passed by: a child of that name is a child."""
    module = nn.Sequential()
    module.add_module("module", nn.Linear(2, 2))
    assert ALL.plan(module).entries[0].path == "module.weight"


def orthogonal() -> Any:
    """A layer whose weight a parametrization computes."""
    return torch.nn.utils.parametrizations.orthogonal(nn.Linear(3, 4))


def test_parametrizations() -> None:
    """What an unknown computation makes a weight from is refused, for the computation may have a state."""
    module = orthogonal()
    before = raw(module)
    message = r"It belongs to a parametrization\. Remove the parametrization, initialize, and register it again\."
    with pytest.raises(PlanError, match=message):
        initialize(module, ALL)
    assert raw(module) == before


def test_removed_parametrizations() -> None:
    """Without its parametrization, a layer is one like any."""
    module, plain = orthogonal(), nn.Linear(3, 4)
    torch.nn.utils.parametrize.remove_parametrizations(module, "weight")
    for each in (module, plain):
        initialize(each, ALL)
    assert torch.equal(module.weight, plain.weight)


def test_layers_are_known_by_what_they_are_derived_from() -> None:
    """A condition on the layer may name a base class; PyTorch's own output projection is a Linear, too."""

    class Mine(nn.Linear):
        pass

    module = nn.ModuleDict({"mine": Mine(2, 2), "attention": nn.MultiheadAttention(2, 1), "norm": nn.LayerNorm(2)})
    plan = fanin.Recipe([{"layer": "Linear", "initializer": "ones"}]).plan(module)
    matched = {entry.path for entry in plan.entries if entry.matched}
    assert matched == {"mine.weight", "mine.bias", "attention.out_proj.weight", "attention.out_proj.bias"}
    assert plan.entry("mine.weight").parameter.layer == "Mine"


BLOCKS = nn.ModuleDict({"h": nn.ModuleList([nn.Linear(2, 2) for _ in range(4)])})
PLAIN = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
CONTAINERS: dict[str, tuple[nn.Module, str, int]] = {
    "alone": (BLOCKS, "h.3.bias", 403),
    "within a list": (nn.Sequential(BLOCKS, nn.Linear(2, 2)), "0.h.3.bias", 403),
    "blocks without parameters": (PLAIN, "2.bias", 302),
}


@pytest.mark.parametrize("case", CONTAINERS)
def test_containers_of_models(case: str) -> None:
    """A model within a list has the depths that it has alone; numbers of blocks count those without parameters."""
    module, path, expected = CONTAINERS[case]
    recipe = fanin.Recipe([{"path": "*", "initializer": "constant", "value": "depth + 100 * n_layers"}])
    initialize(module, recipe)
    assert module.get_parameter(path).tolist() == [expected, expected]


@pytest.mark.parametrize("order", ["head first", "embedding first"])
def test_ties_of_other_layers(order: str) -> None:
    """A tied embedding is one, with its padding, whichever comes first."""
    head, embedding = nn.Linear(4, 10, bias=False), nn.Embedding(10, 4, padding_idx=0)
    head.weight = embedding.weight
    pair = (head, embedding) if order == "head first" else (embedding, head)
    parameter = PRESETS["torch"].plan(nn.Sequential(*pair)).entries[0].parameter
    assert (parameter.role, parameter.traits.zero_rows) == ("embedding", (0,))


def test_layers_go_with_flax() -> None:
    """A module knows its layers: `layers`, which is what `fanin.jax.layers_of` finds, is a TypeError."""
    with pytest.raises(TypeError) as caught:
        ALL.plan(two_layers(), layers={})
    assert str(caught.value) == "`layers` is only for flax.linen trees. Received: a torch model."


def test_a_frozen_norm_has_buffers() -> None:
    """A batch norm whose weight and bias are buffers, as detectors have it, has no parameters."""

    class FrozenBatchNorm2d(nn.Module):
        weight: torch.Tensor
        bias: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("weight", torch.ones(4))
            self.register_buffer("bias", torch.zeros(4))

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs * self.weight.reshape(1, -1, 1, 1) + self.bias.reshape(1, -1, 1, 1)

    model = ALL.plan(FrozenBatchNorm2d()).model
    assert not model.parameters
    assert model.left == {"weight": "a buffer", "bias": "a buffer"}
