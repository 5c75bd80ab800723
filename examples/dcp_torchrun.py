"""Saves a model's initial values by torch.distributed.checkpoint, and loads them: `torchrun --nproc-per-node 2 …`."""

import os
import tempfile

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.fsdp import fully_shard

import fanin
import fanin.torch
from fanin import checkpoints

for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29511"}.items():
    os.environ.setdefault(name, value)  # without torchrun, one process
dist.init_process_group("gloo")
with torch.device("meta"):
    model = torch.nn.Sequential(torch.nn.Linear(784, 512), torch.nn.ReLU(), torch.nn.Linear(512, 10))
plan = fanin.Recipe.preset("keras", seed=42).plan(model)

own = tempfile.TemporaryDirectory()
shared = [own.name]
dist.broadcast_object_list(shared)  # the folder of rank 0
fanin.torch.save_plan(plan, shared[0])  # each rank makes and writes its part

mesh = dist.init_device_mesh("cpu", (dist.get_world_size(),))
fully_shard(model, mesh=mesh)
model.to_empty(device="cpu")
dcp.load(model.state_dict(), checkpoint_id=shared[0])  # each rank reads its shards
whole = {name: each.full_tensor() for name, each in model.state_dict().items()}
if dist.get_rank() == 0:
    print("ranks:", dist.get_world_size())
    print(str(checkpoints.check(shared[0])).partition(" (")[0])
    print("as initialized:", all((each.numpy() == plan.entry(name).make()).all() for name, each in whole.items()))
dist.destroy_process_group()
