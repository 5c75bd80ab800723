"""Every layer of torch.nn that has parameters, found by walking the module, and utilities that change parameters."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from recorded_cases import Case, Make

# Values for arguments that have no default, by their names.
ARGUMENTS: dict[str, Any] = {
    "in_features": 24,
    "in1_features": 6,
    "in2_features": 7,
    "out_features": 20,
    "in_channels": 8,
    "out_channels": 12,
    "kernel_size": 3,
    "num_features": 16,
    "num_channels": 16,
    "num_groups": 4,
    "num_embeddings": 40,
    "embedding_dim": 12,
    "normalized_shape": (6, 8),
    "d_model": 16,
    "nhead": 4,
    "embed_dim": 16,
    "num_heads": 4,
    "input_size": 10,
    "hidden_size": 14,
    "n_classes": 60,
    "cutoffs": [20, 40],
}
# Layers made with other arguments, too.
VARIANTS: dict[str, tuple[dict[str, Any], ...]] = {
    "Embedding": ({"padding_idx": 3}, {"max_norm": 1.0}),
    "EmbeddingBag": ({"padding_idx": 0},),
    "Conv2d": ({"groups": 4}, {"bias": False}, {"dtype": torch.bfloat16}),
    "ConvTranspose2d": ({"groups": 4},),
    "Linear": ({"bias": False}, {"dtype": torch.float64}),
    "LSTM": ({"num_layers": 2, "bidirectional": True}, {"proj_size": 5}),
    "GRU": ({"num_layers": 2},),
    "MultiheadAttention": ({"kdim": 12, "vdim": 10}, {"add_bias_kv": True}),
}
# Layers that are made of layers.
COMPOSED: dict[str, Make] = {
    "TransformerEncoder": lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 24), 2),
    "TransformerDecoder": lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(16, 4, 24), 2),
    "Transformer": lambda: nn.Transformer(16, 4, 1, 1, 24),
    "SyncBatchNorm": lambda: nn.SyncBatchNorm.convert_sync_batchnorm(
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    ),
    "ParameterList": lambda: nn.ParameterList([torch.randn(12, 10) for _ in range(3)]),
    "ParameterDict": lambda: nn.ParameterDict({"first": torch.randn(12, 10), "second": torch.zeros(3)}),
    "utils.weight_norm": lambda: nn.utils.weight_norm(nn.Linear(24, 20)),
    "utils.spectral_norm": lambda: nn.utils.spectral_norm(nn.Linear(24, 20)),
    "utils.skip_init": lambda: _initialized(nn.utils.skip_init(nn.Linear, 24, 20)),
    "parametrizations.weight_norm": lambda: parametrizations.weight_norm(nn.Conv2d(8, 12, 3), dim=0),
    "parametrizations.orthogonal": lambda: parametrizations.orthogonal(nn.Linear(24, 20)),
    "parametrizations.orthogonal, cayley": lambda: parametrizations.orthogonal(
        nn.Linear(20, 20), orthogonal_map="cayley"
    ),
    "parametrizations.spectral_norm": lambda: parametrizations.spectral_norm(nn.Linear(24, 20)),
    "parametrize": lambda: _halved(nn.Linear(24, 20)),
}
# Containers and bases, which have no parameters of their own.
BASES = {"Module", "Container", "RNNBase", "RNNCellBase", "NLLLoss2d"}  # the last warns that it is deprecated


class Half(nn.Module):
    """A parametrization: half of what is stored."""

    def forward(self, stored: torch.Tensor) -> torch.Tensor:
        """Half of it."""
        return stored / 2

    def right_inverse(self, value: torch.Tensor) -> torch.Tensor:
        """Twice the value."""
        return value * 2


def _halved(layer: nn.Module) -> nn.Module:
    parametrize.register_parametrization(layer, "weight", Half())
    return layer


def _initialized(layer: Any) -> nn.Module:
    nn.init.trunc_normal_(layer.weight, std=0.02)
    nn.init.constant_(layer.bias, 0.1)
    return layer


def layers() -> Iterable[Case]:
    """All of them."""
    for name, make in sorted({**_walked(), **COMPOSED}.items()):
        yield Case.of("torch.nn", name, make)


def _walked() -> dict[str, Make]:
    """The layers whose constructors need only known arguments, and that have parameters. Lazy ones have none yet."""
    found: dict[str, Make] = {}
    for name, cls in inspect.getmembers(nn, inspect.isclass):
        if not issubclass(cls, nn.Module) or name in BASES or name in COMPOSED or name.startswith("Lazy"):
            continue
        arguments = _arguments(cls)
        if arguments is None:
            continue
        if name.startswith("InstanceNorm"):
            arguments["affine"] = True
        if not _has_parameters(partial(cls, **arguments)):
            continue
        found[name] = partial(cls, **arguments)
        for more in VARIANTS.get(name, ()):
            label = ", ".join(f"{key}={str(value).removeprefix('torch.')}" for key, value in more.items())
            found[f"{name}({label})"] = partial(cls, **arguments, **more)
    return found


def _arguments(cls: Any) -> dict[str, Any] | None:
    """Values for the arguments of a class that have no default; None if one is not known."""
    if cls in (nn.RNN, nn.LSTM, nn.GRU):
        return {name: ARGUMENTS[name] for name in ("input_size", "hidden_size")}
    needed = [
        name
        for name, argument in inspect.signature(cls).parameters.items()
        if argument.default is argument.empty and argument.kind is argument.POSITIONAL_OR_KEYWORD
    ]
    return {name: ARGUMENTS[name] for name in needed} if ARGUMENTS.keys() >= set(needed) else None


def _has_parameters(make: Make) -> bool:
    try:
        with torch.device("meta"):
            return any(True for _ in make().parameters())
    except ValueError:  # a pooling layer that wants one of two arguments
        return False
