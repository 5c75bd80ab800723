"""Sharded models that were recorded: each shard has the elements of the whole."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

import numpy as np
import torch
from torch import nn

import fanin.torch
from torch_kit import bits

SEED = 5


class Several(nn.Module):
    """Parameters of every kind that a recording tells: draws, regions, a formula, a table, a program and a copy."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 8)
        self.embedding = nn.Embedding(8, 6, padding_idx=2)
        self.formula = nn.Parameter(torch.rand(8, 6).log())
        self.table = nn.Parameter(torch.arange(2000.0).view(8, 250).sin())
        self.blocks = nn.Parameter(torch.empty(8, 6))
        self.copied = nn.Parameter(self.linear.weight.detach().clone())
        self.program = nn.Parameter(self.linear.weight.detach().cumsum(0))
        self.orthogonal = nn.Parameter(torch.empty(8, 6))
        with torch.no_grad():
            self.blocks[:3].normal_()
            self.blocks[3:].uniform_(1, 2)
        nn.init.orthogonal_(self.orthogonal)


def recorded() -> tuple[fanin.torch.Recorded, Several]:
    """A recording, and the model that it is of."""
    with fanin.torch.recording() as found:
        model = Several()
    return found, model


def whole() -> dict[str, torch.Tensor]:
    """The values of the model, unsharded."""
    found, model = recorded()
    fanin.torch.initialize(model, found, seed=SEED)
    return {path: each.detach() for path, each in model.named_parameters()}


def test_dtensors(mesh: Any) -> None:
    """A model that `fully_shard` has sharded has the bytes of the whole."""
    from torch.distributed.fsdp import fully_shard

    found, model = recorded()
    fully_shard(model, mesh=mesh)
    fanin.torch.initialize(model, found, seed=SEED, prefix="")
    each: Any
    for path, each in model.named_parameters():
        assert bits(each.full_tensor()) == bits(whole()[path]), path


@pytest.mark.parametrize("path", whole())
@pytest.mark.parametrize(("start", "stop"), [(0, 3), (2, 5), (5, 8)])
def test_given_shards(path: str, start: int, stop: int) -> None:
    """A shard of rows of one parameter, on a plain tensor, has the rows of the whole."""
    found, model = recorded()
    owner: Any = model.get_submodule(path.rpartition(".")[0])
    leaf = path.rpartition(".")[2]
    shape = tuple(owner._parameters[leaf].shape)
    owner._parameters[leaf] = nn.Parameter(torch.zeros(stop - start, *shape[1:]))
    region = (slice(start, stop), *(None for _ in shape[1:]))
    shard = fanin.torch.Shard(shape, region=region)
    fanin.torch.initialize(model, found, seed=SEED, shards={path: shard}, prefix="")
    assert bits(owner._parameters[leaf]) == bits(whole()[path][start:stop])


def test_entries_make_any_region() -> None:
    """Every entry makes a region of its parameter with the bytes of the whole."""
    found, _ = recorded()
    for entry in found.plan(seed=SEED).entries:
        region = np.s_[2:5] if len(entry.shape) == 1 else np.s_[2:5, 1:4]
        assert entry.make(region).tobytes() == entry.make()[region].tobytes(), entry.path
