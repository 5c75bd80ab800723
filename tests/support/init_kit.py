"""What the tests of fanin.torch.init and of its patch share: which functions there are, and tensors for them."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from fanin.torch import init

IN_PLACE = [name for name in init.__all__ if name.endswith("_")]
DRAWING = [name for name in IN_PLACE if "seed" in inspect.signature(getattr(init, name)).parameters]
# What a function must be given beside a tensor.
ARGUMENTS: dict[str, tuple[Any, ...]] = {"sparse_": (0.5,), "sparse": (0.5,), "constant_": (0.7,), "constant": (0.7,)}


def weight_for(name: str, dtype: str = "float32", device: str = "cpu") -> Any:
    """A tensor that a function can fill."""
    shape = (4, 6, 3) if name.startswith("dirac") else (4, 6)
    return torch.empty(shape, dtype=getattr(torch, dtype), device=device)


def call(module: Any, name: str, tensor: Any, *arguments: Any, **keywords: Any) -> Any:
    """What a module's function of a name returns, with the arguments that it must have."""
    return getattr(module, name)(tensor, *(arguments or ARGUMENTS.get(name, ())), **keywords)
