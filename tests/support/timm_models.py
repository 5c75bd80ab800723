"""Models of timm and torchvision under their presets: checks for a process of its own. test_timm.py runs them.

    python timm_models.py

prints a JSON object with the error of each model, "" where all is well.

timm needs torchvision, and torchvision an operator of its compiled part that a build for other versions of PyTorch does
not have. Models need none of it, so what torchvision registers for it is left out.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# The preset of each model.
MODELS = {
    "vit_tiny_patch16_224": "vit",
    "deit3_small_patch16_224": "vit",
    "swin_tiny_patch4_window7_224": "vit",
    "resnet18": "resnet",
    "resnet50": "resnet",
    "mobilenetv3_small_100": "torch",
    "efficientnet_b0": "keras",
    "regnety_002": "flax",
    "torchvision's resnet18": "resnet",
}


@contextmanager
def without_operators() -> Iterator[None]:
    """A context in which torchvision, and what needs it, can be imported without its operators."""
    import torch

    register = torch.library.register_fake
    torch.library.register_fake = lambda *_, **__: lambda function: function  # pyright: ignore
    try:
        yield
    finally:
        torch.library.register_fake = register


def made(name: str) -> Any:
    """A new model."""
    with without_operators():
        import timm  # pyright: ignore[reportMissingImports]
        import torchvision.models  # pyright: ignore[reportMissingImports]
    return torchvision.models.resnet18() if name.startswith("torchvision") else timm.create_model(name)


def check(name: str) -> None:
    """A model from the meta device is the plan's, twice the same, and has the buffers of one that was never there."""
    import torch

    import fanin
    import fanin.torch
    from torch_kit import assert_all_differ, assert_moments, on_meta, raw

    recipe = fanin.Recipe.preset(MODELS[name], seed=2)
    model = on_meta(lambda: made(name))
    # Nobody can make the masks of Swin's blocks again, whose constructors remember only some of their arguments.
    given = {path: tensor for path, tensor in made(name).named_buffers() if path.endswith("attn_mask")}
    report = fanin.torch.initialize(model, recipe, buffers=given)
    assert_moments(model, report.plan)
    assert_all_differ(model, report.plan)
    other = made(name)
    buffers = {path: tensor.clone() for path, tensor in other.named_buffers()}
    fanin.torch.initialize(other, recipe)
    assert raw(other) == raw(model), name
    found = dict(model.named_buffers())
    assert all(torch.equal(tensor, found[path]) for path, tensor in buffers.items()), name
    size = model.eval().default_cfg["input_size"] if hasattr(model, "default_cfg") else (3, 64, 64)
    with torch.no_grad():
        assert model.eval()(torch.ones(1, *size)).isfinite().all(), name


def check_patched(name: str) -> None:
    """Under the patch, a model is the same after the same seed, and all that is drawn in it is fanin's."""
    import torch

    import fanin.torch
    from torch_kit import raw

    torch.manual_seed(1)
    theirs = raw(made(name))
    rounds = []
    with fanin.torch.patch():
        for _ in range(2):
            torch.manual_seed(1)
            rounds.append((raw(made(name)), raw(made(name))))
    assert rounds[0] == rounds[1]
    first, second = rounds[0]
    same = [path for path in first if first[path] == theirs[path]]
    assert same == [path for path in first if first[path] == second[path]], same  # constants and buffers
    torch.manual_seed(1)
    assert raw(made(name)) == theirs


PATCHED = ("vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "resnet18", "torchvision's resnet18")

if __name__ == "__main__":
    errors = {}
    checks = [(name, check, name) for name in MODELS]
    checks += [(f"{name}, patched", check_patched, name) for name in PATCHED]
    for label, function, each in checks:
        try:
            function(each)
            errors[label] = ""
        except Exception:
            errors[label] = traceback.format_exc()
    print(json.dumps(errors), flush=True)
