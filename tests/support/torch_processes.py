"""Checks of fanin.torch for processes of their own, which test_shards.py starts: sharded models over gloo on the CPU.

    python torch_processes.py STORE RANK WORLD

prints a JSON object with the error of each check, "" where it holds.
"""

from __future__ import annotations

import copy
import json
import sys
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, SequenceParallel, parallelize_module

import fanin
import fanin.torch
from catalogue import CATALOGUE, fitted, fresh, shape_for
from fanin import checkpoints
from fanin.torch import fill_, init, initialize

SEED = 42
CHECKS: dict[str, Callable[[], None]] = {}


def check(function: Callable[[], None]) -> Callable[[], None]:
    """Enters a check under its name."""
    CHECKS[function.__name__] = function
    return function


def bits(tensor: torch.Tensor) -> bytes:
    """A tensor's bytes."""
    return tensor.detach().contiguous().view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


def mesh_of(*shape: int, names: tuple[str, ...] | None = None) -> Any:
    """A mesh of processes on the CPU."""
    return init_device_mesh("cpu", shape, mesh_dim_names=names)


# Placements of single tensors.


class Own(nn.Module):
    """A module with one parameter."""

    def __init__(self, parameter: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(parameter)


RECIPE = fanin.Recipe([{"path": "*", "initializer": "truncated_normal"}], seed=SEED)
ORTHOGONAL = fanin.Recipe([{"path": "*", "initializer": "orthogonal"}], seed=SEED)


def placements(world: int) -> list[tuple[Any, tuple[Any, ...]]]:
    """Meshes and placements of a tensor of three axes, with even, uneven and empty shards."""
    from torch.distributed.tensor.placement_types import _StridedShard

    line = mesh_of(world)
    found = [(line, (each,)) for each in (Shard(0), Shard(1), Shard(2), Shard(-1), Replicate())]
    if world == 4:
        square = mesh_of(2, 2)
        each = (Shard(0), Shard(1), Shard(2), Replicate())
        found += [(square, (first, second)) for first in each for second in each]
        found += [(square, (_StridedShard(axis, split_factor=2), Shard(axis))) for axis in (0, 1, 2)]
        found += [(square, (_StridedShard(0, split_factor=3), Replicate()))]
        cube = mesh_of(1, 2, 2)
        found += [(cube, (Replicate(), Shard(1), Shard(0))), (cube, (Shard(0), Shard(0), Shard(0)))]
    return found


def check_placements(shape: tuple[int, ...], dtype: torch.dtype, recipe: fanin.Recipe) -> None:
    """Every shard has the bytes that PyTorch's own distribution of the whole tensor gives it."""
    whole = Own(torch.zeros(shape, dtype=dtype))
    initialize(whole, recipe, prefix="")
    for mesh, each in placements(dist.get_world_size()):
        expected = distribute_tensor(whole.weight.detach(), mesh, each, src_data_rank=None)
        for start in ("cpu", "meta"):
            given = distribute_tensor(torch.zeros(shape, dtype=dtype, device=start), mesh, each, src_data_rank=None)
            module: Any = Own(given)
            before = module.weight
            initialize(module, recipe, prefix="")
            assert module.weight is before, (mesh, each)
            assert module.weight.placements == tuple(given.placements), (mesh, each)
            assert module.weight.device.type == "cpu"
            assert isinstance(module.weight, nn.Parameter)
            local, wanted = module.weight.to_local(), expected.to_local()  # pyright: ignore
            assert local.shape == wanted.shape, (mesh, each, start)
            assert bits(local) == bits(wanted), (mesh, each, start)


for _shape in ((8, 12, 4), (5, 7, 3), (3, 1, 2), (1, 9, 1)):
    for _dtype in (torch.float32, torch.bfloat16):
        name = f"placements: {_shape}, {str(_dtype)[6:]}"
        CHECKS[name] = partial(check_placements, _shape, _dtype, RECIPE)
CHECKS["placements: orthogonal"] = partial(check_placements, (8, 6, 4), torch.float32, ORTHOGONAL)


@check
def fill_in_place() -> None:
    """`fill_` fills the local shard, in PyTorch's layout and in Keras's, and moves on with each call."""
    mesh = mesh_of(dist.get_world_size())
    for layout in ("torch", "keras"):
        for axis in (0, 1):
            initializer, twin = fanin.HeNormal(seed=3), fanin.HeNormal(seed=3)
            for _ in range(2):
                tensor = distribute_tensor(torch.zeros(10, 6), mesh, [Shard(axis)], src_data_rank=None)
                assert fill_(tensor, initializer, layout=layout) is tensor
                whole = fill_(torch.zeros(10, 6), twin, layout=layout)
                assert bits(tensor.full_tensor()) == bits(whole), (layout, axis)


@check
def every_initializer() -> None:
    """Each one of the catalogue, in a float or complex dtype, sharded along its first and last axis."""
    mesh = mesh_of(dist.get_world_size())
    for name, (_, dtypes, ranks) in CATALOGUE.items():
        shape = shape_for(name, 10, 6, 5, 8, 4) if 2 not in ranks else fitted(name, (6, 10))
        dtype = getattr(torch, "float32" if "float32" in dtypes else dtypes[0])
        whole = fill_(torch.zeros(shape, dtype=dtype), fresh(name), layout="keras")
        for axis in {0, len(shape) - 1}:
            given = distribute_tensor(torch.zeros(shape, dtype=dtype), mesh, [Shard(axis)], src_data_rank=None)
            fill_(given, fresh(name), layout="keras")
            wanted = distribute_tensor(whole, mesh, [Shard(axis)], src_data_rank=None)
            assert bits(given.to_local()) == bits(wanted.to_local()), (name, axis)


@check
def refusals() -> None:
    """Partial sums, unseeded initializers and tensors on the meta device are refused."""
    mesh = mesh_of(dist.get_world_size())
    partial_sum = DTensor.from_local(torch.zeros(4, 4), mesh, [Partial()], run_check=False)
    for call in (lambda: fill_(partial_sum, fanin.Zeros()), lambda: initialize(Own(partial_sum), RECIPE)):
        message = refusal(call)
        assert "the sum of what all processes hold" in message, message
    sharded = distribute_tensor(torch.zeros(4, 4), mesh, [Shard(0)], src_data_rank=None)
    assert "must have a seed" in refusal(lambda: fill_(sharded, fanin.HeNormal()))
    abstract = distribute_tensor(torch.zeros(4, 4, device="meta"), mesh, [Shard(0)], src_data_rank=None)
    assert "on the meta device" in refusal(lambda: fill_(abstract, fanin.HeNormal(seed=1)))
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
    fully_shard(normed, mesh=mesh)
    assert "needs the whole of it" in refusal(lambda: initialize(normed, RECIPE))


def drawn(name: str, tensor: torch.Tensor, **keywords: Any) -> torch.Tensor:
    """A tensor that one of the functions of fanin.torch.init has filled."""
    return getattr(init, name)(tensor, *{"sparse_": (0.5,)}.get(name, ()), **keywords)


DRAWING = (
    "uniform_", "normal_", "trunc_normal_", "xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_",
    "orthogonal_", "sparse_",
)  # fmt: skip


@check
def init_with_a_seed() -> None:
    """Shards that are filled with a seed are those of the whole, in every placement and of every law."""
    for name in DRAWING:
        for dtype in (torch.float32, torch.bfloat16):
            whole = drawn(name, torch.zeros(10, 6, dtype=dtype), seed=SEED)
            for mesh, each in placements(dist.get_world_size()):
                if all(getattr(placement, "dim", 0) < 2 for placement in each):
                    given = distribute_tensor(torch.zeros(10, 6, dtype=dtype), mesh, each, src_data_rank=None)
                    assert drawn(name, given, seed=SEED) is given
                    wanted = distribute_tensor(whole, mesh, each, src_data_rank=None)
                    assert bits(given.to_local()) == bits(wanted.to_local()), (name, mesh, each)


@check
def init_of_complex_numbers() -> None:
    """Shards of complex numbers are those of the whole."""
    whole = init.normal_(torch.zeros(10, 6, dtype=torch.complex64), seed=SEED)
    mesh = mesh_of(dist.get_world_size())
    for placement in (Shard(0), Shard(1), Replicate()):
        given = distribute_tensor(torch.zeros(10, 6, dtype=torch.complex64), mesh, [placement], src_data_rank=None)
        init.normal_(given, seed=SEED)
        wanted = distribute_tensor(whole, mesh, [placement], src_data_rank=None)
        assert torch.equal(given.to_local(), wanted.to_local()), placement


@check
def init_of_constants() -> None:
    """Constants have their places in the whole."""
    mesh = mesh_of(dist.get_world_size())
    for placement in (Shard(0), Shard(1), Replicate()):
        for name, shape in (("eye_", (10, 6)), ("dirac_", (6, 4, 3)), ("ones_", (5, 3)), ("zeros_", (5, 3))):
            given: Any = distribute_tensor(torch.full(shape, 7.0), mesh, [placement], src_data_rank=None)
            getattr(init, name)(given)
            assert bits(given.full_tensor()) == bits(getattr(torch.nn.init, name)(torch.empty(shape))), name


@check
def init_without_a_seed() -> None:
    """Processes with different seeds agree on the mesh's first one, by the functions and under the patch."""
    for name in DRAWING:
        unordered = DeviceMesh("cpu", [[3, 1], [0, 2]]) if dist.get_world_size() == 4 else mesh_of(2, 1)
        for mesh, each in [(unordered, (Shard(0), Replicate())), *placements(dist.get_world_size())]:
            if all(getattr(placement, "dim", 0) < 2 for placement in each):
                first = int(mesh.mesh.flatten()[0])
                for module in (init, torch.nn.init):
                    torch.manual_seed(first)
                    wanted = [drawn(name, torch.zeros(10, 6)) for _ in range(2)]
                    torch.manual_seed(dist.get_rank())
                    for whole in wanted:
                        given: Any = distribute_tensor(torch.zeros(10, 6), mesh, each, src_data_rank=None)
                        with fanin.torch.patch():
                            getattr(module, name)(given, *{"sparse_": (0.5,)}.get(name, ()))
                        local = distribute_tensor(whole, mesh, each, src_data_rank=None).to_local()
                        assert bits(given.to_local()) == bits(local), (name, mesh, each)


@check
def init_refusals() -> None:
    """Partial sums and tensors on the meta device are refused, and nothing is drawn or sent."""
    mesh = mesh_of(dist.get_world_size())
    state = torch.get_rng_state()
    partial_sum = DTensor.from_local(torch.zeros(4, 4), mesh, [Partial()], run_check=False)
    assert "the sum of what all processes hold" in refusal(lambda: init.normal_(partial_sum))
    abstract = distribute_tensor(torch.zeros(4, 4, device="meta"), mesh, [Shard(0)], src_data_rank=None)
    for call in (init.normal_, init.ones_, init.eye_):
        assert "on the meta device" in refusal(lambda call=call: call(abstract)), call
    with fanin.torch.patch():
        torch.nn.init.normal_(abstract)
    assert torch.equal(torch.get_rng_state(), state)


def refusal(call: Callable[[], object]) -> str:
    """The message of a call that is refused."""
    try:
        call()
    except ValueError as error:
        return str(error)
    raise AssertionError("not refused")


# Models.


class Block(nn.Module):
    """A block of two layers and a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(16), nn.Linear(16, 40), nn.Linear(40, 16)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """The hidden states after the block."""
        return hidden + self.down(self.up(self.norm(hidden)).relu())


class Written(nn.Module):
    """A hand-written model with a stack of blocks, tied weights, a padded embedding, a norm and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(30, 16, padding_idx=5)
        self.blocks = nn.ModuleList(Block() for _ in range(3))
        self.head = nn.Linear(16, 30, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("scales", torch.arange(16.0), persistent=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """The logits of tokens."""
        hidden = self.embed(tokens) * self.scales
        for block in self.blocks:
            hidden = block(hidden)
        return self.head(hidden)


def written(dtype: torch.dtype) -> tuple[Any, Any]:
    """The hand-written model, and its blocks."""
    model = Written().to(dtype)
    return model, model.blocks


def gpt2(dtype: torch.dtype) -> tuple[Any, Any]:
    """A small GPT-2 of transformers."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(n_layer=2, n_head=4, n_embd=32, vocab_size=50, n_positions=16)
    model: Any = GPT2LMHeadModel(config)
    model = model.to(dtype)
    return model, model.transformer.h


def llama(dtype: torch.dtype) -> tuple[Any, Any]:
    """A small Llama of transformers."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, vocab_size=50
    )
    model: Any = LlamaForCausalLM(config)
    model = model.to(dtype)
    return model, model.model.layers


def mixtral(dtype: torch.dtype) -> tuple[Any, Any]:
    """A small Mixtral of transformers, whose experts are stacked."""
    from transformers import MixtralConfig, MixtralForCausalLM

    config = MixtralConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=4,
        vocab_size=50,
    )
    model: Any = MixtralForCausalLM(config)
    model = model.to(dtype)
    return model, model.model.layers


MODELS = {"written": written, "gpt2": gpt2, "llama": llama, "mixtral": mixtral}
DRAWN = fanin.Recipe(
    [
        {"role": ["bias", "offset"], "initializer": "zeros"},
        {"role": "scale", "initializer": "ones"},
        {"role": "embedding", "initializer": "random_normal", "stddev": 0.02},
        {"role": "kernel", "initializer": "he_normal"},
        {"path": "*", "initializer": "random_normal", "stddev": "0.02 / sqrt(n_layers)"},
    ],
    seed=SEED,
)


def fsdp(model: nn.Module, blocks: Any) -> None:
    """FSDP2 over all processes."""
    mesh = mesh_of(dist.get_world_size())
    for block in blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


def hsdp(model: nn.Module, blocks: Any) -> None:
    """Replicas of FSDP2."""
    mesh = mesh_of(2, dist.get_world_size() // 2, names=("replicate", "shard"))
    for block in blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


_TENSOR_PARALLEL = {
    "written": {"up": ColwiseParallel(), "down": RowwiseParallel(), "norm": SequenceParallel()},
    "llama": {
        **{f"self_attn.{name}_proj": ColwiseParallel() for name in "qkv"},
        "self_attn.o_proj": RowwiseParallel(),
        "mlp.gate_proj": ColwiseParallel(),
        "mlp.up_proj": ColwiseParallel(),
        "mlp.down_proj": RowwiseParallel(),
    },
}
_TENSOR_PARALLEL["mixtral"] = {
    **{f"self_attn.{name}_proj": ColwiseParallel() for name in "qkv"},
    "self_attn.o_proj": RowwiseParallel(),
}


def parallel(kind: str, model: nn.Module, blocks: Any) -> None:
    """Tensor parallelism over all processes."""
    mesh = mesh_of(dist.get_world_size())
    for block in blocks:
        parallelize_module(block, mesh, _TENSOR_PARALLEL[kind])


def both(kind: str, model: nn.Module, blocks: Any) -> None:
    """FSDP2 over tensor parallelism."""
    mesh = mesh_of(dist.get_world_size() // 2, 2, names=("data", "tensor"))
    for block in blocks:
        parallelize_module(block, mesh["tensor"], _TENSOR_PARALLEL[kind])
        fully_shard(block, mesh=mesh["data"])
    fully_shard(model, mesh=mesh["data"])


def check_model(kind: str, shard: Callable[[nn.Module, Any], None], dtype: torch.dtype, start: str) -> None:
    """A model that is sharded first has the values of the unsharded one, and trains."""
    expected, _ = MODELS[kind](dtype)
    initialize(expected, DRAWN, prefix="")
    if start == "meta":
        with torch.device("meta"):
            model, blocks = MODELS[kind](dtype)
    else:
        model, blocks = MODELS[kind](dtype)
    shard(model, blocks)
    before: dict[str, Any] = dict(model.named_parameters())
    placed = {path: each.placements for path, each in before.items() if isinstance(each, DTensor)}
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    report = initialize(model, DRAWN, prefix="")
    assert not report.empty, report
    assert not report.kept, report
    after = dict(model.named_parameters())
    for path, wanted in expected.named_parameters():
        found = after[path]
        if path in placed:
            assert found is before[path], path
            assert found.placements == placed[path], path
            found = found.full_tensor()
        assert bits(found) == bits(wanted), path
    for path, wanted in expected.named_buffers():
        found = dict(model.named_buffers())[path]
        assert bits(found.full_tensor() if isinstance(found, DTensor) else found) == bits(wanted), path
    if shard_trains(kind, shard):
        train(kind, model, optimizer, before)


def shard_trains(kind: str, shard: Any) -> bool:
    """Whether PyTorch itself can train a model that is sharded so, which is no matter of initialization."""
    return not (isinstance(shard, partial) and kind != "llama")


def train(kind: str, model: nn.Module, optimizer: Any, before: dict[str, Any]) -> None:
    """One step, which changes the parameters that the optimizer has known from before."""
    tokens = torch.arange(12).reshape(2, 6)
    output = model(tokens)
    logits = output if isinstance(output, torch.Tensor) else output.logits
    logits.float().square().mean().backward()
    local = {path: torch.clone(each.to_local().detach()) for path, each in before.items() if isinstance(each, DTensor)}
    optimizer.step()
    changed = [path for path, old in local.items() if bits(before[path].to_local()) != bits(old)]
    assert changed or not any(old.numel() for old in local.values())
    assert all(torch.isfinite(each.to_local()).all() for each in before.values() if isinstance(each, DTensor))


for _kind in MODELS:
    for _dtype in (torch.float32, torch.bfloat16):
        for _start in ("meta", "cpu"):
            label = f"{_kind}, {str(_dtype)[6:]}, {_start}"
            CHECKS[f"fsdp: {label}"] = partial(check_model, _kind, fsdp, _dtype, _start)
            CHECKS[f"hsdp: {label}"] = partial(check_model, _kind, hsdp, _dtype, _start)
            if _kind in _TENSOR_PARALLEL:
                CHECKS[f"tensor: {label}"] = partial(check_model, _kind, partial(parallel, _kind), _dtype, _start)
                CHECKS[f"fsdp and tensor: {label}"] = partial(check_model, _kind, partial(both, _kind), _dtype, _start)


@check
def unsharded_for_now() -> None:
    """A model whose parameters are gathered for now is sharded again, and gets its values."""
    model, blocks = written(torch.float32)
    expected = copy.deepcopy(model)
    fsdp(model, blocks)
    initialize(model, DRAWN, prefix="")
    model(torch.arange(6).reshape(1, 6))
    for module in (model, *blocks):
        module.unshard()
    initialize(model, DRAWN, seed=1, prefix="")
    initialize(expected, DRAWN, seed=1, prefix="")
    for path, wanted in expected.named_parameters():
        assert bits(dict(model.named_parameters())[path].full_tensor()) == bits(wanted), path


@check
def experts() -> None:
    """Expert parallelism: stacked experts are split along their first axis."""
    with torch.device("meta"):
        model, _ = mixtral(torch.float32)
    expected, _ = mixtral(torch.float32)
    initialize(expected, DRAWN, prefix="")
    mesh = mesh_of(dist.get_world_size())
    for module in model.modules():
        for leaf, each in list(module._parameters.items()):
            if each is not None and each.ndim == 3:
                split = distribute_tensor(each.detach(), mesh, [Shard(0)], src_data_rank=None)
                module._parameters[leaf] = nn.Parameter(split)
    initialize(model, DRAWN, prefix="")
    found = dict(model.named_parameters())
    assert any(isinstance(each, DTensor) for each in found.values())
    for path, wanted in expected.named_parameters():
        each = found[path]
        assert bits(each.full_tensor() if isinstance(each, DTensor) else each) == bits(wanted), path


@check
def one_digest() -> None:
    """The gathered model has the digest that its plan has without a model."""
    model, blocks = llama(torch.bfloat16)
    plan = DRAWN.plan(model)
    fsdp(model, blocks)
    assert checkpoints.digest(DRAWN.plan(model)) == checkpoints.digest(plan)
    initialize(model, DRAWN, prefix="")
    gathered = {path: each.full_tensor().detach() for path, each in model.named_parameters()}
    assert checkpoints.digest_of_arrays(gathered) == checkpoints.digest(plan)


def main(store: str, rank: str, world: str, chosen: str = "") -> None:
    """Runs all checks, and prints their errors."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=int(rank), world_size=int(world))
    errors = {}
    for name, function in CHECKS.items():
        if chosen in name:
            try:
                function()
                errors[name] = ""
            except Exception:
                errors[name] = traceback.format_exc()
                if dist.get_world_size() > 1 and chosen:
                    break
    print(json.dumps(errors), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
