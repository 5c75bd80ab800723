"""What the tests of PyTorch share: the bytes of tensors and modules, kernels in layouts, and what a plan promises."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

import fanin

SEED = 5
PRESETS = {name: fanin.Recipe.preset(name, seed=SEED) for name in ("torch", "keras", "flax")}
ALL = fanin.Recipe([{"path": "*", "initializer": "random_normal"}], seed=SEED)


def bits(tensor: Any) -> bytes:
    """A tensor's bytes in C order."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def raw(module: Any) -> dict[str, bytes]:
    """The bytes of all parameters and buffers, under each of their paths."""
    tensors = {**module.state_dict(), **dict(module.named_buffers(remove_duplicate=False))}
    return {path: bits(tensor) for path, tensor in tensors.items()}


def moved(kernel: np.ndarray, layout: Any) -> np.ndarray:
    """A Keras kernel in the order of axes that a layout says."""
    if layout == "torch" and kernel.ndim >= 2:
        return np.moveaxis(kernel, (-1, -2), (0, 1))
    return kernel if isinstance(layout, str) else np.moveaxis(kernel, range(kernel.ndim), layout)


def spawned(initializer: type, name: str, shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    """What an initializer of this name draws."""
    return initializer(seed=SEED).spawn(name)(shape, dtype)


def on_meta(make: Callable[[], Any]) -> Any:
    """A module on the meta device."""
    with torch.device("meta"):
        return make()


def without_warnings(make: Callable[[], Any]) -> Any:
    """What a call returns; PyTorch's own advice and its notes on prototypes are its own affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()


def two_layers() -> Any:
    """A module of two layers and a norm."""
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))


class Odd(nn.Module):
    """A parameter of a layer that no table has, and a frozen one of integers, which come from a generator."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(2, 3))
        self.steps = nn.Parameter(torch.randint(9, (2,), dtype=torch.int32), requires_grad=False)


def assert_moments(module: Any, plan: Any) -> None:
    """The standard deviation of each parameter is within four standard errors of the plan's; constants are exact."""
    tensors = dict([*module.named_parameters(), *module.named_buffers()])
    for entry in plan.entries:
        values, distribution = tensors[entry.path].detach().double(), entry.placements[0].weight.distribution
        if entry.parameter.traits.zero_rows:
            values = values[[row for row in range(len(values)) if row not in entry.parameter.traits.zero_rows]]
        if not distribution.random:
            assert (values == entry.mean).all(), entry.path
            continue
        error = entry.stddev * math.sqrt((distribution.moments.kurtosis - 1) / 4 / values.numel())
        assert abs(values.std().item() - entry.stddev) < 4 * error, entry.path


def assert_all_differ(module: Any, plan: Any) -> None:
    """No two parameters that are drawn have the same values; what is tied is one parameter."""
    seen: dict[bytes, str] = {}
    values = raw(module)
    for entry in plan.entries:
        if entry.placements[0].weight.distribution.random:
            other = seen.setdefault(values[entry.path][:64], entry.path)
            assert other == entry.path, f"{entry.path} begins as {other}"
    assert not plan.equal_seeds
