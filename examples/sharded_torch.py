"""A model that FSDP2 shards over two processes on the meta device, with the values of the unsharded one."""

import tempfile

import torch
import torch.distributed
import torch.multiprocessing
from torch import nn
from torch.distributed.fsdp import fully_shard

import fanin.torch


def build() -> nn.Sequential:
    """The model, on the device in force."""
    return nn.Sequential(nn.Linear(784, 301), nn.ReLU(), nn.Linear(301, 10))


def work(rank: int, store: str) -> None:
    """Makes one process's shards, and compares the gathered model with the whole."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    with torch.device("meta"):
        model = build()
    fully_shard(model, mesh=torch.distributed.init_device_mesh("cpu", (2,)))
    fanin.torch.initialize(model, "torch", seed=42)
    whole = build()
    fanin.torch.initialize(whole, "torch", seed=42, prefix="")
    for name, parameter in model.named_parameters():
        same = torch.equal(parameter.full_tensor(), whole.get_parameter(name))
        print(f"process {rank} holds {tuple(parameter.to_local().shape)} of {name}: {same}", flush=True)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(work, (f"{folder}/store",), nprocs=2)
