"""Models of timm under their presets, for tests/test_transformers.py; a process of its own.

timm needs torchvision, and torchvision an operator of its compiled part that a build for other versions of PyTorch does
not have. Models need none of it, so what torchvision registers for it is left out.
"""

from __future__ import annotations

from typing import Any

import torch

register = torch.library.register_fake
torch.library.register_fake = lambda *_, **__: lambda function: function  # pyright: ignore
import timm  # noqa: E402  # pyright: ignore[reportMissingImports]
import torchvision.models  # noqa: E402  # pyright: ignore[reportMissingImports]

torch.library.register_fake = register

import fanin  # noqa: E402
import fanin.torch  # noqa: E402
from test_transformers import check_all_differ, check_moments, raw  # noqa: E402

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "vit_tiny_patch16_224": ("vit", {}),
    "deit3_small_patch16_224": ("vit", {}),
    "swin_tiny_patch4_window7_224": ("vit", {}),
    "resnet18": ("resnet", {}),
    "resnet50": ("resnet", {}),
    "mobilenetv3_small_100": ("torch", {}),
    "efficientnet_b0": ("keras", {}),
    "regnety_002": ("flax", {}),
}


def check(name: str, make: Any, preset: str) -> None:
    """A model from the meta device is the plan's, twice the same, and has the buffers of one that was never there."""
    recipe = fanin.Recipe.preset(preset, seed=2)
    with torch.device("meta"):
        model = make()
    # Nobody can make the masks of Swin's blocks again, whose constructors remember only some of their arguments.
    given = {path: tensor for path, tensor in make().named_buffers() if path.endswith("attn_mask")}
    report = fanin.torch.initialize(model, recipe, buffers=given)
    check_moments(model, report.plan)
    check_all_differ(model, report.plan)
    other = make()
    buffers = {path: tensor.clone() for path, tensor in other.named_buffers()}
    fanin.torch.initialize(other, recipe)
    assert raw(other) == raw(model), name
    found = dict(model.named_buffers())
    assert all(torch.equal(tensor, found[path]) for path, tensor in buffers.items()), name
    size = model.eval().default_cfg["input_size"] if hasattr(model, "default_cfg") else (3, 64, 64)
    with torch.no_grad():
        assert model.eval()(torch.ones(1, *size)).isfinite().all(), name


if __name__ == "__main__":
    for name, (preset, options) in MODELS.items():
        check(name, lambda name=name, options=options: timm.create_model(name, **options), preset)
    check("torchvision's resnet18", torchvision.models.resnet18, "resnet")
    print(len(MODELS) + 1, "models")
