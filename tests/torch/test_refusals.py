"""Tensors that cannot be given values: shards, partitions, tensors without values, and shapes that contradict a layer.

Each is refused before anything is written, and all of them at once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch._subclasses import FakeTensorMode

import fanin
from fanin.recipes import PlanError
from fanin.torch import initialize
from torch_kit import ALL, SEED, bits, on_meta, raw, two_layers

pytestmark = pytest.mark.filterwarnings("ignore")  # those of torch.distributed


def sharded(module: Any, mesh: Any) -> Any:
    """As FSDP2 shards it."""
    from torch.distributed.fsdp import fully_shard

    return fully_shard(module, mesh=mesh)


def parallelized(module: Any, mesh: Any) -> Any:
    """As tensor parallelism shards two of its layers."""
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    return parallelize_module(module, mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()})


def refusal(module: Any, **options: Any) -> str:
    """The message of a refused call, which leaves every parameter the same object, with the same bytes."""
    before = {path: (tensor, local(tensor)) for path, tensor in module.named_parameters()}
    with pytest.raises(PlanError) as caught:
        initialize(module, ALL, **options)
    after = {path: (tensor, local(tensor)) for path, tensor in module.named_parameters()}
    assert after.keys() == before.keys()
    assert all(after[path][0] is before[path][0] and after[path][1] == before[path][1] for path in before)
    return str(caught.value)


def local(tensor: Any) -> Any:
    """The bytes of a tensor or of its shard; None where there are none."""
    tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return None if tensor.is_meta or type(tensor).__name__ == "FakeTensor" else bits(tensor)


@pytest.mark.parametrize("start", ["meta", "cpu"])
@pytest.mark.parametrize("shard", [sharded, parallelized])
def test_device_of_another_type(shard: Callable[[Any, Any], Any], start: str, mesh: Any) -> None:
    """Shards on the meta device go to the device of their mesh, and to no other."""
    module = shard(on_meta(two_layers) if start == "meta" else two_layers(), mesh)
    report = initialize(module, ALL, device="cpu", prefix="")
    assert len(report.filled) == 6
    assert not any(each.is_meta for each in module.parameters())


def test_shards_can_be_left_out(mesh: Any) -> None:
    """What is not chosen is not refused."""
    module = parallelized(two_layers(), mesh)
    report = initialize(module, ALL, only="1.*")
    assert report.filled == ("1.weight", "1.bias")


@pytest.mark.parametrize("originals", [False, True])
def test_flat_parameters(originals: bool, mesh: Any) -> None:
    """FSDP1's flat parameter is refused; the parameters that it shows on one process are whole, and are drawn."""
    from torch.distributed.fsdp import FullyShardedDataParallel

    module = FullyShardedDataParallel(two_layers(), device_id=torch.device("cpu"), use_orig_params=originals)
    expected = two_layers()
    initialize(expected, ALL)
    if not originals:
        assert (
            "_flat_param: It is a FlatParameter, which holds several parameters. Initialize before that, say what this "
            "process holds with `shards=`, or initialize within "
            "FullyShardedDataParallel.summon_full_params(model), or leave it out with `skip=`."
        ) in refusal(module)
    with FullyShardedDataParallel.summon_full_params(module):
        initialize(module, ALL)
    with FullyShardedDataParallel.summon_full_params(module):
        assert list(raw(module).values()) == list(raw(expected).values())


def test_partitions_of_two_processes(tmp_path: Path) -> None:
    """FSDP1's views of its partitions are refused, whatever their layers; `summon_full_params` makes them whole."""
    script = tmp_path / "partitions.py"
    script.write_text(
        """
import sys, torch, torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
import fanin, fanin.torch
dist.init_process_group("gloo", store=dist.FileStore(sys.argv[2], 2), rank=int(sys.argv[1]), world_size=2)
class Token(nn.Module):
    def __init__(self):
        super().__init__()
        self.token, self.linear = nn.Parameter(torch.zeros(5, 3)), nn.Linear(3, 4)
recipe = fanin.Recipe([{"path": "*", "initializer": "random_normal"}], seed=5)
model = FSDP(Token(), device_id=torch.device("cpu"), use_orig_params=True)
try:
    fanin.torch.initialize(model, recipe)
except fanin.recipes.PlanError as error:
    print(str(error).count("It is partitioned by FullyShardedDataParallel."))
with FSDP.summon_full_params(model):
    fanin.torch.initialize(model, recipe)
expected = Token()
fanin.torch.initialize(expected, recipe, prefix="")
with FSDP.summon_full_params(model):
    print(all(torch.equal(*pair) for pair in zip(model.parameters(), expected.parameters())))
dist.destroy_process_group()
"""
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", script, str(rank), tmp_path / "store"],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    printed = [process.communicate(timeout=120)[0].split() for process in processes]
    assert [each[1] for each in printed] == ["True", "True"]
    assert all(int(each[0]) >= 2 for each in printed)  # a parameter may be whole on one of them


def test_fake_tensors() -> None:
    """A tensor of FakeTensorMode has no values and takes none."""
    with FakeTensorMode():
        module = two_layers()
    message = refusal(module)
    for path in ("[0-2].weight", "[0-2].bias"):
        assert f"{path}: It is a FakeTensor, which has no values. Build the model outside of FakeTensorMode" in message


def test_within_fake_tensor_mode() -> None:
    """Tensors have no memory there, whatever their class."""
    module = two_layers()
    before = raw(module)
    with FakeTensorMode(allow_non_fake_inputs=True), pytest.raises(PlanError, match="a call within FakeTensorMode"):
        initialize(module, ALL)
    assert raw(module) == before


def test_fake_buffers_are_empty() -> None:
    """A buffer of FakeTensorMode has no values, and the report says so."""
    module = two_layers()
    with FakeTensorMode():
        module.register_buffer("table", torch.ones(3))
    with pytest.warns(UserWarning, match="Not every tensor of the model has values: table"):
        report = initialize(module, ALL)
    assert "FakeTensor" in report.empty["table"]


FOREIGN: dict[str, tuple[Callable[[], torch.Tensor], str]] = {
    "nested": (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "a nested tensor"),
    "a dtype of four bits": (
        lambda: torch.zeros(2, 2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2),
        "Its dtype is torch.float4_e2m1fn_x2",
    ),
}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("kind", FOREIGN)
def test_tensors_that_numpy_has_not(kind: str) -> None:
    """They are refused by their paths, and can be skipped."""
    make, message = FOREIGN[kind]
    module = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Module()})
    module["b"].register_parameter("odd", nn.Parameter(make(), requires_grad=False))
    with pytest.raises(PlanError, match=f"b.odd: .*{message}"):
        initialize(module, ALL)
    assert initialize(module, ALL, skip="b.odd").kept == {"b.odd": "selected by `skip`"}


class Dispatching(torch.Tensor):
    """A tensor with operations of its own."""

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """PyTorch's, in truth."""
        return super().__torch_dispatch__(func, types, args, kwargs or {})  # pyright: ignore


class Overriding(nn.Parameter):
    """A parameter that changes functions."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """PyTorch's, in truth."""
        return super().__torch_function__(func, types, args, kwargs or {})


@pytest.mark.parametrize("kind", [Dispatching, Overriding])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_classes_with_operations_of_their_own(kind: Any, device: str) -> None:
    """Nobody knows what a write to their memory would do."""
    module = two_layers().to(device)
    tensor = torch.zeros(4, 3, device=device).as_subclass(kind)
    module[0]._parameters["weight"] = tensor
    message = refusal(module, only="0.*")
    assert f"0.weight: It is a {kind.__name__}, which defines its own operations" in message


class Named(nn.Parameter):
    """A parameter with a name of its own, and nothing else."""


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_classes_without_operations_of_their_own(device: str) -> None:
    """They are parameters like any, and keep their class."""
    module, expected = two_layers().to(device), two_layers()
    module[0].weight = Named(module[0].weight.data)
    for each in (module, expected):
        initialize(each, ALL)
    assert type(module[0].weight) is Named
    assert raw(module) == raw(expected)


def test_partitions_of_deepspeed() -> None:
    """A parameter with `ds_shape` is a partition, unless it is gathered."""
    module = two_layers()
    whole, weight = module[0].weight, nn.Parameter(torch.zeros(0))
    weight.ds_id, weight.ds_shape = 0, whole.shape  # pyright: ignore[reportAttributeAccessIssue]
    module[0].weight = weight
    expected = (
        "0.weight: It is partitioned by DeepSpeed. Initialize before that, say what this process holds with `shards=`, "
        "or initialize within deepspeed.zero.GatheredParameters"
    )
    assert expected in refusal(module)
    weight.data = whole.data
    initialize(module, ALL)
    assert bits(weight) == bits(initialized()[0].weight)


def initialized() -> Any:
    """Two layers with their values."""
    module = two_layers()
    initialize(module, ALL)
    return module


CONTRADICTIONS: dict[str, tuple[Callable[[], Any], str, tuple[int, ...], str]] = {
    "empty": (lambda: nn.Linear(3, 4), "weight", (0,), "(4, 3)"),
    "sharded": (lambda: nn.Linear(3, 4), "weight", (6,), "(4, 3)"),
    "half": (lambda: nn.Linear(3, 4), "weight", (2, 3), "(4, 3)"),
    "bias": (lambda: nn.Linear(3, 4), "bias", (2,), "(4,)"),
    "bilinear": (lambda: nn.Bilinear(2, 3, 4), "weight", (0,), "(4, 2, 3)"),
    "convolution": (lambda: nn.Conv2d(4, 6, 3, groups=2), "weight", (0,), "(6, 2, 3, 3)"),
    "transposed": (lambda: nn.ConvTranspose1d(4, 6, 3), "weight", (0,), "(4, 6, 3)"),
    "embedding": (lambda: nn.Embedding(5, 3, padding_idx=0), "weight", (0,), "(5, 3)"),
    "LSTM": (lambda: nn.LSTM(3, 5, 2, bidirectional=True), "weight_ih_l1_reverse", (0,), "(20, 10)"),
    "cell": (lambda: nn.GRUCell(3, 5), "weight_hh", (0,), "(15, 5)"),
    "attention": (lambda: nn.MultiheadAttention(4, 2), "in_proj_weight", (0,), "(12, 4)"),
    "norm": (lambda: nn.LayerNorm(4), "weight", (0,), "(4,)"),
    "batch norm": (lambda: nn.BatchNorm1d(4), "bias", (0,), "(4,)"),
    "group norm": (lambda: nn.GroupNorm(2, 4), "weight", (0,), "(4,)"),
    "PReLU": (lambda: nn.PReLU(4), "weight", (0,), "(4,)"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_shapes_that_contradict_their_layer(case: str) -> None:
    """A layer's attributes say what it should be; the message says both."""
    make, leaf, shape, declared = CONTRADICTIONS[case]
    module = nn.ModuleDict({"layer": make()})
    module["layer"]._parameters[leaf] = nn.Parameter(torch.zeros(shape))
    message = refusal(module)
    assert f"layer.{leaf}: Its shape is {shape}, but the attributes of its " in message
    assert f"say {declared}: it is sharded, packed or replaced." in message


def test_all_refusals_at_once() -> None:
    """One error lists them all."""
    module = two_layers()
    module[0]._parameters["weight"] = nn.Parameter(torch.zeros(0))
    module[2]._parameters["weight"] = torch.zeros(2, 4).as_subclass(Dispatching)
    message = refusal(module)
    assert "0.weight: Its shape is (0,)" in message
    assert "2.weight: It is a Dispatching" in message


def test_plans_of_what_is_refused() -> None:
    """A plan can be looked at, and says what stands against it."""
    module = two_layers()
    module[0]._parameters["weight"] = nn.Parameter(torch.zeros(0))
    plan = fanin.Recipe.preset("torch", seed=SEED).plan(module)
    assert "problem: 0.weight: Its shape is (0,)" in str(plan)


def test_buffers_of_fake_tensors() -> None:
    """A buffer of such a class is not replaced by a plain tensor."""
    module: Any = nn.Sequential(nn.Linear(2, 2), nn.Module())
    module[1].register_buffer("table", torch.zeros(3, device="meta").as_subclass(Dispatching))
    with pytest.raises(PlanError, match=r"could not be rebuilt"):
        initialize(module, ALL)
