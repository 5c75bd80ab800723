"""Recorded models that FSDP2 shards, for processes of their own, which test_recorded_bytes.py starts: gloo on the CPU.

    python recorded_processes.py STORE RANK WORLD

prints a JSON object with the error of each check, "" where it holds.
"""

from __future__ import annotations

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
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

import fanin.torch
from recorded_checks import record
from recorded_written import NanoGPT
from torch_kit import bits

SEED = 42
SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 50,
}


def llama() -> Any:
    """A small Llama of transformers."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(**SMALL))


def moe() -> Any:
    """A small DeepSeek V3 of transformers, a mixture of experts that are stacked."""
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

    sizes = {
        "moe_intermediate_size": 24,
        "n_routed_experts": 4,
        "n_group": 2,
        "topk_group": 1,
        "num_experts_per_tok": 2,
    }
    ranks = {"q_lora_rank": 16, "kv_lora_rank": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8}
    config: Any = DeepseekV3Config(**{**SMALL, **sizes, **ranks}, first_k_dense_replace=1)  # pyright: ignore
    return DeepseekV3ForCausalLM(config)


MODELS: dict[str, Callable[[], Any]] = {"Llama": llama, "mixture of experts": moe, "nanoGPT": NanoGPT}


def blocks_of(model: nn.Module) -> Any:
    """The stack of blocks that is sharded one by one."""
    return next(each for each in model.modules() if isinstance(each, nn.ModuleList))


def check(name: str) -> None:
    """A model that is sharded after it was recorded has the values of the unsharded one, in the same objects."""
    expected, recorded = record(MODELS[name])
    fanin.torch.initialize(expected, recorded, seed=SEED)
    model, recorded = record(MODELS[name])
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for block in blocks_of(model):
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    before = dict(model.named_parameters())
    report = fanin.torch.initialize(model, recorded, seed=SEED)
    assert not report.empty, report
    after = dict(model.named_parameters())
    assert any(isinstance(each, DTensor) for each in after.values())
    for path, wanted in expected.named_parameters():
        found = after[path]
        assert found is before[path], path
        whole = found.full_tensor() if isinstance(found, DTensor) else found
        assert bits(whole) == bits(wanted), path
    for path, wanted in expected.named_buffers():
        assert bits(dict(model.named_buffers())[path]) == bits(wanted), path


CHECKS = {name: partial(check, name) for name in MODELS}


def main(store: str, rank: str, world: str) -> None:
    """Runs all checks, and prints their errors."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=int(rank), world_size=int(world))
    errors = {}
    for name, function in CHECKS.items():
        try:
            function()
            errors[name] = ""
        except Exception:
            errors[name] = traceback.format_exc()
    print(json.dumps(errors), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
