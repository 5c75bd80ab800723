"""The values of a recorded model depend on the seed, the path and the index, and on nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from torch import nn

import fanin.torch
import recorded_processes
from recorded_checks import record
from recorded_processes import MODELS, SEED
from torch_kit import bits, raw

pytestmark = pytest.mark.filterwarnings("ignore")  # those of transformers and torch.distributed
PARTS = {"Llama": "model.layers.1", "mixture of experts": "model.layers.1", "nanoGPT": "h.2"}


def made(make: Any, seed: int = SEED) -> Any:
    """A model, recorded and initialized."""
    model, recorded = record(make)
    fanin.torch.initialize(model, recorded, seed=seed, prefix="")
    return model


@pytest.mark.parametrize("name", MODELS)
def test_same_seed(name: str) -> None:
    """A second recording gives the same bytes."""
    assert raw(made(MODELS[name])) == raw(made(MODELS[name]))


@pytest.mark.parametrize("name", MODELS)
def test_other_seed(name: str) -> None:
    """Another seed gives other values."""
    first, second = made(MODELS[name]), made(MODELS[name], seed=1)
    assert raw(first) != raw(second)


@pytest.mark.parametrize("name", MODELS)
def test_torch_seed(name: str) -> None:
    """PyTorch's own generator has no part in it, and is left as it was."""
    torch.manual_seed(1)
    first = raw(made(MODELS[name]))
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1))
    torch.manual_seed(2)
    assert raw(made(MODELS[name])) == first


@pytest.mark.parametrize("name", MODELS)
def test_order_of_layers(name: str) -> None:
    """Layers in another order have the same values under their paths."""

    def reordered() -> Any:
        model = MODELS[name]()
        for module in model.modules():  # a tied weight is drawn under the first of its paths, so the outermost stays
            if module is not model and not isinstance(module, (nn.ModuleList, nn.Sequential)):
                module._modules = dict(reversed(module._modules.items()))
        return model

    first, second = raw(made(MODELS[name])), raw(made(reordered))
    assert list(first) != list(second)
    assert first == second


class Pair(nn.Module):
    """Two layers, made in one order or the other."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        for name in names:
            self.add_module(name, nn.Linear(24, 24))


def test_order_of_draws() -> None:
    """The order in which the constructor draws makes no difference."""
    assert raw(made(lambda: Pair("first", "second"))) == raw(made(lambda: Pair("second", "first")))


def test_draws_before() -> None:
    """What the code draws besides makes no difference."""

    def late() -> Any:
        torch.randn(1000)
        nn.Linear(10, 10)
        return Pair("first", "second")

    assert raw(made(late)) == raw(made(lambda: Pair("first", "second")))


@pytest.mark.parametrize("name", MODELS)
def test_bfloat16(name: str) -> None:
    """In bfloat16, drawn values are those of float32 up to their rounding."""

    def halved() -> Any:
        return MODELS[name]().to(torch.bfloat16)

    wide, narrow = made(MODELS[name]), made(halved)
    for path, parameter in narrow.named_parameters():
        expected = wide.get_parameter(path).detach()
        assert parameter.dtype == torch.bfloat16, path
        torch.testing.assert_close(parameter.detach().float(), expected, rtol=2**-6, atol=1e-6, msg=path)


@pytest.mark.parametrize("name", MODELS)
def test_part(name: str) -> None:
    """A part that is initialized alone under its prefix has the values that it has within the model."""
    expected = made(MODELS[name]).get_submodule(PARTS[name])
    model, recorded = record(MODELS[name])
    part = model.get_submodule(PARTS[name])
    fanin.torch.initialize(part, recorded, seed=SEED, prefix=PARTS[name])
    assert raw(part) == raw(expected)
    assert sum(each.is_meta for each in model.parameters())


def test_part_recorded_alone() -> None:
    """A part that is recorded alone has the same values under the same path."""
    whole = made(lambda: nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 9)))
    part, recorded = record(lambda: nn.Linear(8, 9))
    fanin.torch.initialize(part, recorded, seed=SEED, prefix="1")
    assert raw(part) == raw(whole[1])


@cache
def errors(directory: Path) -> list[dict[str, str]]:
    """The errors of all checks in each of two processes."""
    command = [sys.executable, recorded_processes.__file__, str(directory / "store")]
    processes = [
        subprocess.Popen([*command, str(rank), "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    try:
        outputs = [each.communicate(timeout=300) for each in processes]
    finally:
        for each in processes:
            each.kill()
    for each, (_, messages) in zip(processes, outputs, strict=True):
        assert each.returncode == 0, messages[-3000:]
    return [json.loads(output.splitlines()[-1]) for output, _ in outputs]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: Any) -> Path:
    """A folder for the processes to meet in."""
    return tmp_path_factory.mktemp("processes")


@pytest.mark.parametrize("name", MODELS)
def test_sharded(name: str, directory: Path) -> None:
    """FSDP2 on two processes gives each its shards of the same values."""
    for rank, found in enumerate(errors(directory)):
        assert not found[name], f"rank {rank}: {found[name]}"


def test_bits_of_a_tied_weight() -> None:
    """A tied weight stays tied, with the values of its path."""
    model = made(MODELS["nanoGPT"])
    assert model.lm_head.weight is model.wte.weight
    assert bits(model.lm_head.weight) == bits(made(MODELS["nanoGPT"]).wte.weight)
