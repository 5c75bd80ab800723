"""Sharded parameters: DTensors in several processes, and other shardings on plain tensors made like theirs."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from torch import nn

import fanin
import torch_processes
from fanin.recipes import PlanError
from fanin.torch import Shard, initialize
from torch_kit import ALL, SEED, bits, on_meta, two_layers

SUPPORT = Path(torch_processes.__file__).parent


@cache
def results(world: int, directory: Path) -> list[dict[str, str]]:
    """The errors of all checks in each of `world` processes."""
    store = directory / f"store_{world}"
    command = [sys.executable, str(SUPPORT / "torch_processes.py"), str(store)]
    processes = [
        subprocess.Popen([*command, str(rank), str(world)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for rank in range(world)
    ]
    try:
        outputs = [each.communicate(timeout=600) for each in processes]
    finally:
        for each in processes:
            each.kill()
    for each, (_, errors) in zip(processes, outputs, strict=True):
        assert each.returncode == 0, errors[-3000:]
    return [json.loads(output) for output, _ in outputs]


@pytest.fixture(scope="session")
def directory(tmp_path_factory: Any) -> Path:
    """A folder for the processes to meet in."""
    return tmp_path_factory.mktemp("processes")


@pytest.mark.parametrize("name", torch_processes.CHECKS)
@pytest.mark.parametrize("world", [2, 4])
def test_in_processes(world: int, name: str, directory: Path) -> None:
    """Each check holds in every process."""
    for rank, errors in enumerate(results(world, directory)):
        assert errors[name] == "", f"process {rank}: {errors[name]}"


def whole_and_parts(shape: tuple[int, ...], shards: list[Shard], dtype: torch.dtype = torch.float32) -> None:
    """Each shard, filled by itself, holds the elements of the whole tensor that it says."""
    expected = nn.Module()
    expected.weight = nn.Parameter(torch.zeros(shape, dtype=dtype))
    initialize(expected, ALL, prefix="")
    for shard in shards:
        for start in ("cpu", "meta"):
            module = nn.Module()
            module.weight = nn.Parameter(torch.zeros(shard.local_shape, dtype=dtype, device=start))
            initialize(module, ALL, shards={"weight": shard}, prefix="")
            for region, view in shard.parts(module.weight.detach()):
                assert bits(view) == bits(expected.weight.detach()[region]), (shard, region, start)
            assert sum(view.numel() for _, view in shard.parts(module.weight.detach())) == module.weight.numel()


@pytest.mark.parametrize("shape", [(), (7,), (5, 3), (4, 3, 5), (3, 1, 2, 4)])
def test_every_flat_piece(shape: tuple[int, ...]) -> None:
    """Every piece of a flattened tensor."""
    size = math.prod(shape)
    step = max(1, size // 12)
    pieces = [
        Shard(shape, flat=(start, stop)) for start in range(0, size + 1, step) for stop in range(start, size + 1, step)
    ]
    whole_and_parts(shape, pieces)


def test_regions_of_several_slices() -> None:
    """Boxes, several slices of an axis, in any order, and empty ones."""
    shape = (6, 5, 4)
    whole_and_parts(
        shape,
        [
            Shard(shape),
            Shard(shape, (slice(2, 5), None, slice(0, 1))),
            Shard(shape, ((slice(4, 6), slice(0, 2)), None, (slice(3, 4), slice(0, 1)))),
            Shard(shape, (slice(3, 3), None, None)),
        ],
        torch.bfloat16,
    )


class ColumnParallel(nn.Module):
    """A layer like Megatron's: a part of the outputs, of each of `stride` matrices one after the other."""

    def __init__(self, inputs: int, outputs: int, world: int, stride: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs // world, inputs))
        self.bias = nn.Parameter(torch.empty(outputs // world))
        each: Any
        for each in (self.weight, self.bias):
            each.tensor_model_parallel, each.partition_dim, each.partition_stride = True, 0, stride


@pytest.mark.parametrize("stride", [1, 2])
def test_megatron(stride: int) -> None:
    """Partitions that attributes of Megatron's parameters describe, with the two halves of a gate."""
    world, rule = 4, {"path": "*", "initializer": "he_normal", "fan_in": 12}
    recipe = fanin.Recipe([{"role": "bias", "initializer": "zeros"}, rule], seed=SEED)
    expected = nn.Module()
    expected.weight, expected.bias = nn.Parameter(torch.empty(16, 12)), nn.Parameter(torch.empty(16))
    initialize(expected, recipe, prefix="")
    parts = []
    for rank in range(world):

        def shards(path: str, parameter: Any, rank: int = rank) -> Shard | None:
            if not getattr(parameter, "tensor_model_parallel", False):
                return None
            axis, own = parameter.partition_dim, parameter.shape[parameter.partition_dim]
            shape = [length * world if n == axis else length for n, length in enumerate(parameter.shape)]
            each = own // parameter.partition_stride  # rows of each matrix that this rank has
            starts = range(0, shape[axis], shape[axis] // parameter.partition_stride)
            runs = [slice(start + rank * each, start + (rank + 1) * each) for start in starts]
            return Shard(tuple(shape), tuple(runs if n == axis else None for n in range(len(shape))))

        module: Any = ColumnParallel(12, 16, world, stride)
        initialize(module, recipe, shards=shards, prefix="")
        assert module.weight.tensor_model_parallel
        parts.append(module.weight.detach().reshape(stride, -1, 12))
    whole = torch.cat(parts, 1).reshape(16, 12)
    assert bits(whole) == bits(expected.weight)


def test_zero_3() -> None:
    """DeepSpeed's flat pieces: the parameter is empty, and `ds_tensor` has the piece, with padding."""
    world, expected = 3, two_layers()
    initialize(expected, ALL, prefix="")
    pieces: dict[str, list[torch.Tensor]] = {path: [] for path, _ in expected.named_parameters()}
    for rank in range(world):
        module = two_layers()
        for parameter in module.parameters():
            size = -(-parameter.numel() // world)
            parameter.ds_shape, parameter.ds_id = parameter.shape, 0
            parameter.ds_tensor = torch.full((size,), torch.nan)
            parameter.data = torch.empty(0)

        def shards(path: str, parameter: Any, rank: int = rank) -> Shard:
            size, most = parameter.ds_tensor.numel(), parameter.ds_shape.numel()
            flat = (min(rank * size, most), min((rank + 1) * size, most))
            return Shard(parameter.ds_shape, flat=flat, tensor=parameter.ds_tensor)

        with pytest.raises(PlanError, match="say what this process holds with `shards=`"):
            initialize(module, ALL, prefix="")
        initialize(module, ALL, shards=shards, prefix="")
        for path, parameter in module.named_parameters():
            pieces[path].append(parameter.ds_tensor)
    for path, wanted in expected.named_parameters():
        held = torch.cat(pieces[path])
        assert bits(held[: wanted.numel()]) == bits(wanted), path
        assert held[wanted.numel() :].isnan().all(), path  # the padding stays as it is


def test_fans_are_those_of_the_whole() -> None:
    """A Linear that holds a part of its inputs is drawn with the fans of the whole, its bias too."""
    recipe = fanin.Recipe.preset("torch", seed=SEED)
    expected = nn.Linear(24, 8)
    initialize(expected, recipe, prefix="")
    module = nn.Linear(6, 8)
    shards = {"weight": Shard((8, 24), (None, slice(6, 12)))}
    initialize(module, recipe, shards=shards, prefix="")
    assert bits(module.weight) == bits(expected.weight[:, 6:12])
    assert bits(module.bias) == bits(expected.bias)


def test_a_whole_matrix_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An orthogonal matrix is computed once, however many parts of it the process holds."""
    from fanin.distributions import matrices

    made: list[int] = []
    compute = matrices.orthonormal_columns  # pyright: ignore[reportPrivateImportUsage]
    monkeypatch.setattr(matrices, "orthonormal_columns", lambda each: made.append(1) or compute(each))
    recipe = fanin.Recipe([{"path": "*", "initializer": "orthogonal"}], seed=SEED)
    expected, module = nn.Linear(8, 12, bias=False), nn.Linear(8, 6, bias=False)
    initialize(expected, recipe, prefix="")
    runs = (slice(0, 2), slice(4, 6), slice(8, 10))
    initialize(module, recipe, shards={"weight": Shard((12, 8), (runs, None))}, prefix="")
    assert len(made) == 2
    assert bits(module.weight) == bits(torch.cat([expected.weight[each] for each in runs]))


@pytest.mark.parametrize("covers", [True, False])
def test_pieces_for_other_devices(covers: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values for memory that is not the CPU's are made in pieces of a bounded size, and kept blocks stay."""
    from fanin.torch import shards

    sizes = []

    def fill(out: np.ndarray, region: Any) -> None:
        sizes.append(out.size)
        if covers:
            out[...] = np.arange(60.0).reshape(10, 6)[region]

    monkeypatch.setattr(shards, "_PIECE", 64)  # 16 elements
    local = torch.full((10, 6), 7.0)
    shards._fill_in_pieces(fill, (slice(0, 10), slice(0, 6)), local, covers)
    assert max(sizes) <= 16
    assert sum(sizes) == 60
    assert torch.equal(local, torch.arange(60.0).reshape(10, 6) if covers else torch.full((10, 6), 7.0))


MISTAKES: dict[str, tuple[Any, type[Exception], str]] = {
    "not a Shard": (lambda path, each: (4, 3), TypeError, "must return a fanin.torch.Shard, or None"),
    "not a function": (3, TypeError, "must be a function of a path and a parameter"),
    "not in a mapping": ({"*": 3}, TypeError, "or a function of a parameter, for each glob"),
    "another length": ({"0.weight": Shard((8, 3), (slice(0, 2), None))}, PlanError, "Its shard holds (2, 3)"),
    "another rank": ({"0.weight": Shard((8, 3), flat=(0, 12))}, PlanError, "Its shard holds (12,)"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name: str) -> None:
    """What cannot be a shard of a parameter is refused before anything is written."""
    shards, error, message = MISTAKES[name]
    module = two_layers()
    before = [bits(each) for each in module.parameters()]
    with pytest.raises(error) as caught:
        initialize(module, ALL, shards=shards)
    assert message in str(caught.value)
    assert [bits(each) for each in module.parameters()] == before


FIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "both": ({"region": (None, None), "flat": (0, 1)}, "must have `region` or `flat`"),
    "too few axes": ({"region": (None,)}, "for each axis"),
    "beyond": ({"region": (slice(0, 9), None)}, "must lie within the shape"),
    "steps": ({"region": (slice(0, 4, 2), None)}, "with step 1"),
    "too far": ({"flat": (0, 13)}, "of some of the 12 elements"),
}


@pytest.mark.parametrize("name", FIELDS)
def test_fields(name: str) -> None:
    """A Shard checks its fields."""
    fields, message = FIELDS[name]
    with pytest.raises((TypeError, ValueError), match=message):
        Shard((4, 3), **fields)


def test_an_unused_glob_is_refused() -> None:
    """A glob of `shards=` that matches no parameter is a mistake."""
    with pytest.raises(ValueError, match="must match a parameter"):
        initialize(two_layers(), ALL, shards={"layer*": Shard((4, 3))})


def test_pipeline_stage() -> None:
    """A stage with the paths of the whole, and the whole's number of layers as a constant, has the whole's values."""
    rule = {"path": "*", "initializer": "random_normal", "stddev": "0.02 / sqrt(2 * n_layers)"}
    recipe = fanin.Recipe([rule], seed=SEED, constants={"n_layers": 4})
    expected = nn.ModuleDict({"layers": nn.ModuleList(two_layers() for _ in range(4))})
    initialize(expected, recipe, prefix="")
    stage = on_meta(lambda: nn.ModuleDict({"layers": nn.ModuleDict({str(n): two_layers() for n in (2, 3)})}))
    initialize(stage, recipe, prefix="")
    whole = expected.state_dict()
    assert all(bits(each) == bits(whole[path]) for path, each in stage.state_dict().items())


_ONE_OF_MANY = """
import sys, torch, torch.distributed as dist, fanin
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module
from torch.testing._internal.distributed.fake_pg import FakeStore
from fanin.torch import init, initialize

recipe = fanin.Recipe([{"path": "*", "initializer": "truncated_normal"}], seed=5)
whole = torch.nn.Linear(40, 300)
initialize(whole, recipe, prefix="")
dist.init_process_group("fake", store=FakeStore(), rank=int(sys.argv[1]), world_size=512)
mesh = init_device_mesh("cpu", (128, 4), mesh_dim_names=("data", "tensor"))
with torch.device("meta"):
    model = torch.nn.Linear(40, 300)
parallelize_module(model, mesh["tensor"], ColwiseParallel())
fully_shard(model, mesh=mesh["data"])
initialize(model, recipe, prefix="")
for name, each in model.named_parameters():
    wanted = distribute_tensor(getattr(whole, name).detach(), each.device_mesh, each.placements, src_data_rank=None)
    assert torch.equal(each.to_local(), wanted.to_local()), (name, each.placements)
for keywords in ({"seed": 5}, {}):  # without a seed, nobody answers, and this process's own is taken
    weight = dict(model.named_parameters())["weight"]
    torch.manual_seed(3)
    init.xavier_uniform_(weight, **keywords)
    torch.manual_seed(3)
    alone = init.xavier_uniform_(torch.empty(300, 40), **keywords)
    wanted = distribute_tensor(alone, weight.device_mesh, weight.placements, src_data_rank=None)
    assert torch.equal(weight.to_local(), wanted.to_local()), keywords
"""


@pytest.mark.parametrize("rank", [0, 5, 302, 511])
def test_one_process_of_many(rank: int) -> None:
    """One of 512 processes makes its shards without the others, which do not exist."""
    run = subprocess.run([sys.executable, "-c", _ONE_OF_MANY, str(rank)], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr[-3000:]
