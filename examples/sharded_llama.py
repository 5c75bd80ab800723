"""A Llama, sharded by FSDP2, with the weights that its own code asks for: each process makes its own part of them.

Run it with `torchrun --nproc-per-node 2 examples/sharded_llama.py`. The sums that it prints are the same for any number
of processes.
"""

import os

import torch
import torch.distributed
from torch.distributed.fsdp import fully_shard
from transformers import LlamaConfig, LlamaForCausalLM

import fanin.torch

for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29512"}.items():
    os.environ.setdefault(name, value)  # without torchrun, one process
torch.distributed.init_process_group("gloo")
config = LlamaConfig(
    hidden_size=256, intermediate_size=688, num_hidden_layers=4, num_attention_heads=4, vocab_size=1000
)
with fanin.torch.recording() as recorded:  # nothing is allocated, nothing is drawn
    model = LlamaForCausalLM(config)
mesh = torch.distributed.init_device_mesh("cpu", (torch.distributed.get_world_size(),))
for layer in model.model.layers:
    fully_shard(layer, mesh=mesh)
fully_shard(model, mesh=mesh)
fanin.torch.initialize(model, recorded, seed=42)  # each process makes its own part

weight = model.model.layers[0].mlp.up_proj.weight
rank, local, whole = torch.distributed.get_rank(), weight.to_local(), weight.full_tensor()
print(f"process {rank} holds {tuple(local.shape)} of {tuple(whole.shape)}; the sum is {whole.double().sum():.9f}")
torch.distributed.destroy_process_group()
