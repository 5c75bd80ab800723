"""Checks of fanin.torch.save_plan for several processes at once, which test_dcp.py starts.

    python dcp_processes.py FOLDER WORLD RANK PORT

prints a JSON object with the error of each check, "" where it holds.
"""

from __future__ import annotations

import hashlib
import json
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
import torch.distributed.checkpoint
from torch import nn
from torch.distributed.checkpoint.state_dict import get_model_state_dict, set_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

import fanin
import fanin.torch
from fanin.recipes import Entry, Plan, PlanError
from torch_kit import bits, on_meta

dcp: Any = torch.distributed.checkpoint  # its names are not exported for type checkers
CHECKS: dict[str, Callable[[Path], None]] = {}
SMALL = 200  # bytes of a region, so that all tensors are cut
RECIPE = fanin.Recipe(
    [
        {"path": "square.weight", "initializer": "orthogonal"},
        {
            "layer": ["Linear", "Conv2d", "LSTM"],
            "role": ["kernel", "recurrent_kernel"],
            "initializer": "glorot_uniform",
        },
        {"path": "*", "initializer": "normal", "stddev": 0.01},
    ],
    seed=11,
)


class Mixed(nn.Module):
    """Parameters of many kinds: tied, padded, fused, of 16 bits, of one element and of none."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(37, 6, padding_idx=3)
        self.recurrent = nn.LSTM(6, 5)
        self.norm = nn.LayerNorm(6)
        self.narrow = nn.Linear(6, 9, dtype=torch.bfloat16)
        self.square = nn.Linear(8, 8)
        self.image = nn.Conv2d(4, 6, 3, groups=2)
        self.scale = nn.Parameter(torch.empty(1))
        self.empty = nn.Parameter(torch.empty(0, 4))
        self.head = nn.Linear(6, 37, bias=False)
        self.head.weight = self.tokens.weight


def check(function: Callable[[Path], None]) -> Callable[[Path], None]:
    """Enters a check under its name."""
    CHECKS[function.__name__] = function
    return function


def plan_of(seed: int = 11) -> Plan:
    """The plan of the model."""
    return RECIPE.with_seed(seed).plan(on_meta(Mixed))


def expected() -> dict[str, bytes]:
    """The bytes that `initialize` gives each tensor."""
    model = on_meta(Mixed)
    fanin.torch.initialize(model, RECIPE, prefix="")
    return {name: bits(tensor) for name, tensor in model.state_dict().items()}


def assert_as_initialized(state: Mapping[str, Any]) -> None:
    """Every tensor of a state dict, sharded or not, has the bytes of `initialize`."""
    wanted = expected()
    assert state.keys() == wanted.keys()
    for name, tensor in state.items():
        whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        assert bits(whole) == wanted[name], name


def sharded() -> nn.Module:
    """The model, whose parameters are sharded over all processes, without values."""
    model = on_meta(Mixed)
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for layer in (model.recurrent, model.narrow):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model.to_empty(device="cpu")


def empty_state() -> dict[str, torch.Tensor]:
    """The state dict of a model without values."""
    return on_meta(Mixed).to_empty(device="cpu").state_dict()


def digests(folder: Path) -> dict[str, str]:
    """A digest of the file of each name in a folder."""
    return {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in sorted(folder.iterdir())}


@check
def plain_model(folder: Path) -> None:
    """A checkpoint that all ranks have written loads into a plain model."""
    fanin.torch.save_plan(plan_of(), folder, most=SMALL)
    state = empty_state()
    dcp.load(state, checkpoint_id=folder)
    assert_as_initialized(state)


@check
def every_rank_writes(folder: Path) -> None:
    """Each rank writes a file of its own, and about as many bytes as the others."""
    made: list[int] = []
    fill = Entry.fill

    def counted(entry: Entry, out: Any, region: Any = None) -> None:
        made.append(out.nbytes)
        fill(entry, out, region)

    with mock.patch.object(Entry, "fill", counted):
        fanin.torch.save_plan(plan_of(), folder, most=SMALL)
    assert (folder / f"__{dist.get_rank()}_0.distcp").stat().st_size > sum(made)
    assert max(made) <= 8 * 8 * 4  # the orthogonal matrix, which is made as a whole
    total = sum(entry.parameter.nbytes * (1 + len(entry.parameter.tied)) for entry in plan_of().entries)
    assert abs(sum(made) - total / dist.get_world_size()) <= 8 * 8 * 4


@check
def fsdp2_model(folder: Path) -> None:
    """It loads into parameters that fully_shard has sharded."""
    fanin.torch.save_plan(plan_of(), folder, most=SMALL)
    model = sharded()
    state = model.state_dict()
    assert any(isinstance(tensor, DTensor) for tensor in state.values())
    dcp.load(state, checkpoint_id=folder)
    assert_as_initialized(model.state_dict())


@check
def tensor_parallel_model(folder: Path) -> None:
    """It loads into layers that parallelize_module has sharded, and that fully_shard has sharded once more."""
    world = dist.get_world_size()
    model = on_meta(lambda: nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 6)))
    plan = RECIPE.plan(model)
    fanin.torch.save_plan(plan, folder, most=SMALL)
    mesh = init_device_mesh("cpu", (world // 2, 2), mesh_dim_names=("data", "tensor"))
    parallelize_module(model, mesh["tensor"], {"0": ColwiseParallel(), "2": RowwiseParallel()})
    if world > 2:
        fully_shard(model, mesh=mesh["data"])
    model.to_empty(device="cpu")
    dcp.load(model.state_dict(), checkpoint_id=folder)
    for name, tensor in model.state_dict().items():
        assert isinstance(tensor, DTensor)
        assert len(tensor.placements) == (2 if world > 2 else 1)
        assert bits(tensor.full_tensor()) == plan.entry(name).make().tobytes(), name


@check
def state_dict_functions(folder: Path) -> None:
    """It loads by way of torch.distributed.checkpoint.state_dict, under a key."""
    fanin.torch.save_plan(plan_of(), folder, under="model", most=SMALL)
    model = sharded()
    state = {"model": get_model_state_dict(model)}
    dcp.load(state, checkpoint_id=folder)
    set_model_state_dict(model, state["model"])
    assert_as_initialized(get_model_state_dict(model))


@check
def hugging_face_files(folder: Path) -> None:
    """Files of safetensors, each by one rank, have all tensors once, others too, and DCP's reader loads them."""
    from safetensors.torch import load_file

    fanin.torch.save_plan(plan_of(), folder, others={"mean": torch.arange(5.0)}, format="safetensors", most=700)
    dist.barrier()
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    files = sorted(set(index["weight_map"].values()))
    assert [path.name for path in sorted(folder.glob("*.safetensors"))] == files
    assert len(files) > dist.get_world_size()
    loaded = [load_file(folder / name) for name in files]
    assert sum(map(len, loaded)) == len(index["weight_map"])
    every = {name: tensor for each in loaded for name, tensor in each.items()}
    assert every.pop("mean").tolist() == [0, 1, 2, 3, 4]
    assert_as_initialized(every)
    model = sharded()
    dcp.load(model.state_dict(), storage_reader=dcp.HuggingFaceStorageReader(str(folder)))
    assert_as_initialized(model.state_dict())


@check
def others(folder: Path) -> None:
    """Other values, plain and sharded, are saved beside those of the plan."""
    model = sharded()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(2.5)
    mean = torch.arange(5.0)
    saved = {"square.bias": model.state_dict()["square.bias"], "mean": mean}
    fanin.torch.save_plan(plan_of(), folder, others=saved, most=SMALL)
    state = {**empty_state(), "mean": torch.empty(5)}
    dcp.load(state, checkpoint_id=folder)
    assert bits(state.pop("mean")) == bits(mean)
    assert set(state.pop("square.bias").tolist()) == {2.5}
    wanted = expected()
    assert all(bits(tensor) == wanted[name] for name, tensor in state.items())


def raised(error: type[Exception], *arguments: Any, **options: Any) -> Any:
    """The error of this type that a call of `save_plan` raises."""
    try:
        fanin.torch.save_plan(*arguments, **options)
    except error as caught:
        return caught
    raise AssertionError("nothing was raised")


@check
def different_plans(folder: Path) -> None:
    """Ranks with different seeds are refused, on all ranks, before anything is written."""
    error = raised(PlanError, plan_of(seed=11 + dist.get_rank()), folder)
    ranks = ", ".join(str(rank) for rank in range(1, dist.get_world_size()))
    assert f"one on rank 0, and others on the ranks {ranks}. Use the same recipe" in str(error), str(error)
    dist.barrier()
    assert not list(folder.glob("*"))


@check
def an_error_on_one_rank(folder: Path) -> None:
    """An error while a rank writes is raised on every rank, and the folder is no checkpoint."""
    broken = mock.patch.object(Entry, "fill", side_effect=OSError(28, "No space left on device"))
    with broken if dist.get_rank() == 1 else nullcontext():
        error = raised(OSError, plan_of(), folder)
    assert error.errno == 28
    assert any("because rank 1 raised this" in note for note in error.__notes__)
    assert not (folder / ".metadata").exists()


@check
def a_folder_in_use(folder: Path) -> None:
    """A second checkpoint in the same folder is refused on every rank; after a failed one there is none."""
    an_error_on_one_rank(folder)
    dist.barrier()
    fanin.torch.save_plan(plan_of(), folder, most=SMALL)
    dist.barrier()
    before = digests(folder)
    assert "which has .metadata" in str(raised(FileExistsError, plan_of(seed=12), folder))
    dist.barrier()
    assert digests(folder) == before
    state = empty_state()
    dcp.load(state, checkpoint_id=folder)
    assert_as_initialized(state)


def main(folder: Path, world: int, rank: int, port: int) -> None:
    """Runs every check, and prints what it raised."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"tcp://localhost:{port}", world_size=world, rank=rank, timeout=timedelta(seconds=60)
    )
    errors = {}
    for name, function in CHECKS.items():
        try:
            function(folder / name)
        except Exception:
            errors[name] = traceback.format_exc()
        else:
            errors[name] = ""
        dist.barrier()
    dist.destroy_process_group()
    print(json.dumps(errors))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
