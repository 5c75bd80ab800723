"""Writes the weights of a Keras model into its PyTorch counterpart, in place and in PyTorch's order of axes."""

import torch

import fanin
import fanin.torch

model = torch.nn.Sequential(
    torch.nn.Conv2d(1, 16, 3),
    torch.nn.ReLU(),
    torch.nn.Flatten(),
    torch.nn.Linear(26 * 26 * 16, 10, dtype=torch.bfloat16),
)
fanin.torch.he_normal_(model[0].weight, seed=1)
fanin.torch.fill_(model[3].weight, fanin.GlorotUniform(seed=2))
for layer in (model[0], model[3]):
    fanin.torch.zeros_(layer.bias)

# PyTorch stores (out, in, height, width), Keras (height, width, in, out). The values are the same, transposed.
kernel = fanin.HeNormal(seed=1)((3, 3, 1, 16))
assert model[0].weight.detach().permute(2, 3, 1, 0).numpy().tobytes() == kernel.tobytes()
print("Conv2d weight", tuple(model[0].weight.shape), "is the Keras kernel", kernel.shape)

# One seed for a whole model: each parameter's own seed depends on its name, not on the order of the layers.
for name, parameter in model.named_parameters():
    if name.endswith("weight"):
        fanin.torch.fill_(parameter, fanin.HeNormal(seed=7).spawn(name))
        print(f"{name:<10} std {parameter.std().item():.4f}")
