"""Plans and initializes a PyTorch transformer on the meta device, then initializes one of its layers alone."""

import torch

import fanin
import fanin.torch

RECIPE = fanin.Recipe(
    [
        {"path": "*.linear2.weight", "initializer": "random_normal", "stddev": "0.02 / sqrt(2 * n_layers)"},
        {"path": "*.out_proj.weight", "initializer": "random_normal", "stddev": "0.02 / sqrt(2 * n_layers)"},
        {"role": ["kernel", "embedding"], "initializer": "random_normal", "stddev": 0.02},
        {"role": "scale", "initializer": "ones"},
        {"role": ["bias", "offset"], "initializer": "zeros"},
    ],
    seed=42,
)


def build() -> torch.nn.Module:
    """An embedding and four blocks."""
    block = torch.nn.TransformerEncoderLayer(64, 4, 256, batch_first=True)
    return torch.nn.ModuleDict({"tokens": torch.nn.Embedding(100, 64), "blocks": torch.nn.TransformerEncoder(block, 4)})


with torch.device("meta"):
    model = build()
print(RECIPE.plan(model), end="\n\n")  # draws nothing
print(str(fanin.torch.initialize(model, RECIPE)).partition(" in ")[0])

weight = model["blocks"].layers[2].linear2.weight.clone()
other = build()  # in another model, the same layer gets the same values
fanin.torch.initialize(other, RECIPE, only="blocks.layers.2.*")
print("the same values alone:", torch.equal(weight, other["blocks"].layers[2].linear2.weight))
