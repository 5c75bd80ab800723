"""Reads how a hand-written transformer initializes itself, shows it, and initializes it: whole, and one block alone."""

import math

import torch
from torch import nn

import fanin.torch


class Transformer(nn.Module):
    """An embedding, blocks and a head that is tied to it, with GPT-2's initialization in a method of its own."""

    def __init__(self, blocks: int = 4, width: int = 64) -> None:
        super().__init__()
        self.tokens = nn.Embedding(100, width)
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(width, 4, 4 * width) for _ in range(blocks))
        self.head = nn.Linear(width, 100, bias=False)
        self.head.weight = self.tokens.weight
        for path, parameter in self.named_parameters():
            if parameter.dim() > 1:
                deep = path.endswith(("linear2.weight", "out_proj.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * blocks) if deep else 0.02)


with fanin.torch.recording() as recorded:
    model = Transformer()
print(recorded, end="\n\n")
print(recorded.recipe(seed=42).to_toml())
print(str(fanin.torch.initialize(model, recorded, seed=42)).partition(" in ")[0])

with fanin.torch.recording() as recorded:
    block = Transformer().blocks[2]
fanin.torch.initialize(block, recorded, seed=42, prefix="blocks.2")
print("the same values alone:", torch.equal(block.linear2.weight, model.blocks[2].linear2.weight))
