"""Models as people write them by hand: after nanoGPT, torchtitan and litgpt, and single habits of initialization."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrizations

from recorded_cases import Case, Make

WIDTH, LAYERS, TOKENS, LENGTH = 48, 3, 96, 32

# After Karpathy's nanoGPT (github.com/karpathy/nanoGPT): `apply`, then a loop over the names of parameters, and a tie.


class GPTBlock(nn.Module):
    """A block of nanoGPT, with its queries, keys and values in one layer and a mask in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.c_attn = nn.Linear(WIDTH, 3 * WIDTH)
        self.c_fc = nn.Linear(WIDTH, 4 * WIDTH)
        self.attention = nn.ModuleDict({"c_proj": nn.Linear(WIDTH, WIDTH)})
        self.mlp = nn.ModuleDict({"c_proj": nn.Linear(4 * WIDTH, WIDTH)})
        self.register_buffer("bias", torch.tril(torch.ones(LENGTH, LENGTH)).view(1, 1, LENGTH, LENGTH))


class NanoGPT(nn.Module):
    """The model of nanoGPT."""

    def __init__(self, layers: int = LAYERS) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(TOKENS, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.h = nn.ModuleList(GPTBlock() for _ in range(layers))
        self.ln_f = nn.LayerNorm(WIDTH)
        self.lm_head = nn.Linear(WIDTH, TOKENS, bias=False)
        self.wte.weight = self.lm_head.weight
        self.apply(self._init_weights)
        for path, parameter in self.named_parameters():
            if path.endswith("c_proj.weight"):
                nn.init.normal_(parameter, mean=0.0, std=0.02 / math.sqrt(2 * layers))

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, mean=0.0, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, mean=0.0, std=0.02)


# After torchtitan (github.com/pytorch/torchtitan): made on the meta device, given memory, then its own init_weights.


class TitanBlock(nn.Module):
    """A block of torchtitan's Llama, whose truncated normals depend on its depth."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.wq, self.wk = nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, WIDTH // 4, bias=False)
        self.wv, self.wo = nn.Linear(WIDTH, WIDTH // 4, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.w1, self.w3 = nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.w2 = nn.Linear(4 * WIDTH, WIDTH, bias=False)
        self.attention_norm, self.ffn_norm = nn.RMSNorm(WIDTH), nn.RMSNorm(WIDTH)
        self.weight_init_std = 0.02 / (2 * (depth + 1)) ** 0.5

    def init_weights(self) -> None:
        """Gives the block its values."""
        for norm in (self.attention_norm, self.ffn_norm):
            norm.reset_parameters()
        for linear in (self.wq, self.wk, self.wv, self.w1):
            nn.init.trunc_normal_(linear.weight, mean=0.0, std=0.02)
        for linear in (self.wo, self.w2, self.w3):
            nn.init.trunc_normal_(linear.weight, mean=0.0, std=self.weight_init_std)


class Titan(nn.Module):
    """A Llama as torchtitan writes it, with rotary frequencies that init_weights makes."""

    def __init__(self) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(TOKENS, WIDTH)
        self.register_buffer("freqs_cis", self._frequencies(), persistent=False)
        self.layers = nn.ModuleDict({str(depth): TitanBlock(depth) for depth in range(LAYERS)})
        self.norm = nn.RMSNorm(WIDTH)
        self.output = nn.Linear(WIDTH, TOKENS, bias=False)

    def _frequencies(self) -> torch.Tensor:
        inverse = 1.0 / (10000.0 ** (torch.arange(0, 12, 2)[:6].float() / 12))
        angles = torch.outer(torch.arange(LENGTH, device=inverse.device), inverse).float()
        return torch.polar(torch.ones_like(angles), angles)

    def init_weights(self) -> None:
        """Gives the model its values, and its frequencies."""
        with torch.device(self.tok_embeddings.weight.device):
            self.freqs_cis = self._frequencies()
        nn.init.normal_(self.tok_embeddings.weight)
        for layer in self.layers.values():
            layer.init_weights()  # pyright: ignore[reportCallIssue]
        self.norm.reset_parameters()
        cut = 3 * WIDTH**-0.5
        nn.init.trunc_normal_(self.output.weight, mean=0.0, std=WIDTH**-0.5, a=-cut, b=cut)


def titan() -> nn.Module:
    """The model as torchtitan's trainer makes it."""
    with torch.device("meta"):
        model = Titan()
    model.to_empty(device="cpu")
    with torch.no_grad():
        model.init_weights()
    return model


# After litgpt (github.com/Lightning-AI/litgpt): reset_parameters is replaced on each layer, then called on all.


class LitBlock(nn.Module):
    """A block of litgpt."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.RMSNorm(WIDTH), nn.RMSNorm(WIDTH)
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)


class LitGPT(nn.Module):
    """The model of litgpt, whose output follows its tokens' embedding and is not tied."""

    def __init__(self) -> None:
        super().__init__()
        self.lm_head = nn.Linear(WIDTH, TOKENS, bias=False)
        self.wte = nn.Embedding(TOKENS, WIDTH)
        self.h = nn.ModuleList(LitBlock() for _ in range(LAYERS))
        angles = torch.outer(torch.arange(LENGTH), 1.0 / 10000 ** (torch.arange(0, 12, 2) / 12)).repeat(1, 2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)


def litgpt() -> nn.Module:
    """The model after litgpt's initialize_weights."""

    def init_weights(module: Any, std: float) -> None:
        nn.init.normal_(module.weight, mean=0.0, std=std)
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)

    model = LitGPT()
    modules: list[Any] = list(model.modules())
    for module in modules:
        if isinstance(module, (nn.Embedding, nn.Linear)):
            module.reset_parameters = partial(init_weights, module, std=math.sqrt(2.0 / 5 / WIDTH))
    for module in modules:
        if isinstance(module, LitBlock):
            module.proj.reset_parameters = partial(init_weights, module.proj, std=1 / math.sqrt(WIDTH) / LAYERS)
    for module in modules:
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return model


# Single habits.


@torch.no_grad()
def forget_gates() -> nn.Module:
    """An LSTM with orthogonal recurrent blocks and a forget gate that is open at first."""
    lstm = nn.LSTM(24, 20, num_layers=2)
    for name, parameter in lstm.named_parameters():
        if "weight_ih" in name:
            nn.init.xavier_uniform_(parameter)
        elif "weight_hh" in name:
            for block in parameter.chunk(4):
                nn.init.orthogonal_(block)
        else:
            parameter.zero_()
            parameter[20:40].fill_(1.0)
    return lstm


@torch.no_grad()
def fused_qkv() -> nn.Module:
    """A fused layer whose queries, keys and values differ, with the keys' bias at zero and a zeroed output."""
    model: Any = nn.ModuleDict({"qkv": nn.Linear(32, 96), "out": nn.Linear(32, 32)})
    weight = model["qkv"].weight
    nn.init.xavier_normal_(weight[:32])
    nn.init.normal_(weight[32:64], std=0.01)
    weight[64:].uniform_(-0.3, 0.3)
    model["qkv"].bias[32:64] = 0
    nn.init.zeros_(model["out"].weight)
    return model


class Mamba(nn.Module):
    """The parameters of a Mamba (Gu and Dao 2023): a table of logarithms, and the inverse softplus of log-uniforms."""

    def __init__(self, inner: int = 64, states: int = 16) -> None:
        super().__init__()
        self.A_log = nn.Parameter(torch.log(torch.arange(1, states + 1).float().repeat(inner, 1)))
        self.D = nn.Parameter(torch.ones(inner))
        self.dt_proj = nn.Linear(8, inner)
        nn.init.uniform_(self.dt_proj.weight, -(8**-0.5), 8**-0.5)
        steps = torch.exp(torch.rand(inner) * (math.log(0.1) - math.log(0.001)) + math.log(0.001)).clamp(min=1e-4)
        with torch.no_grad():
            self.dt_proj.bias.copy_(steps + torch.log(-torch.expm1(-steps)))


def old_truncated_normal() -> nn.Module:
    """A truncated normal by way of erfinv, in double precision, then rounded."""
    layer = nn.Linear(40, 30).to(torch.bfloat16)
    with torch.no_grad():
        wide = torch.empty(30, 40, dtype=torch.float64)
        bound = math.erf(2 / math.sqrt(2))
        wide.uniform_(-bound, bound).erfinv_().mul_(0.02 * math.sqrt(2)).clamp_(-0.04, 0.04)
        layer.weight.copy_(wide)
        layer.bias.zero_()
    return layer


class Siren(nn.Module):
    """A SIREN (Sitzmann et al. 2020): the first layer's weights are wider."""

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Linear(3 if not depth else 32, 32) for depth in range(3)]
        for depth, layer in enumerate(layers):
            width = layer.in_features
            limit = bound(width) if depth else 1 / width
            layer.weight.data.uniform_(-limit, limit)
        self.layers = nn.ModuleList(layers)


def bound(width: int, omega: float = 30.0) -> float:
    """The bound of a SIREN's uniforms."""
    return math.sqrt(6 / width) / omega


@torch.no_grad()
def lora() -> nn.Module:
    """An adapter written by hand: frozen, with a scale and a zeroed half."""
    model: Any = nn.ModuleDict({"base": nn.Linear(40, 30), "a": nn.Linear(40, 4, False), "b": nn.Linear(4, 30, False)})
    nn.init.kaiming_uniform_(model["a"].weight, a=math.sqrt(5))
    nn.init.zeros_(model["b"].weight)
    model["base"].requires_grad_(False)
    return model


def deep_norm() -> nn.Module:
    """DeepNet (Wang et al. 2022): values and outputs are scaled by the depth after PyTorch's own initialization."""
    model: Any = nn.ModuleDict({name: nn.Linear(32, 32) for name in ("q", "k", "v", "o", "up", "down")})
    for name in ("v", "o", "up", "down"):
        nn.init.xavier_normal_(model[name].weight, gain=(8 * LAYERS) ** -0.25)
    for name in ("o", "down"):
        model[name].weight.data.div_(math.sqrt(2 * LAYERS))
    return model


def normed() -> nn.Module:
    """A convolution under weight_norm, whose weight was drawn before."""
    layer = nn.Conv1d(12, 16, 5)
    nn.init.kaiming_normal_(layer.weight)
    return parametrizations.weight_norm(layer)


class Sinusoids(nn.Module):
    """A frozen table of positions (Vaswani et al. 2017), a temperature, random features and a detector's prior."""

    def __init__(self) -> None:
        super().__init__()
        rates = torch.exp(torch.arange(0, WIDTH, 2) * (-math.log(10000.0) / WIDTH))
        table = torch.zeros(LENGTH, WIDTH)
        table[:, 0::2] = torch.sin(torch.arange(LENGTH)[:, None] * rates)
        table[:, 1::2] = torch.cos(torch.arange(LENGTH)[:, None] * rates)
        self.positions = nn.Parameter(table, requires_grad=False)
        self.logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())
        self.head = nn.Conv2d(16, 9, 3)
        nn.init.constant_(self.head.bias, -math.log((1 - 0.01) / 0.01))  # pyright: ignore[reportArgumentType]
        self.register_buffer("features", torch.randn(2, 64))
        self.gates = nn.Parameter(torch.empty(64).exponential_(2.0))
        self.signs = nn.Parameter(2 * torch.bernoulli(torch.full((400,), 0.5)) - 1)


def by_halves() -> nn.Module:
    """A module made in bfloat16 under the default dtype."""
    torch.set_default_dtype(torch.bfloat16)
    try:
        return nn.Sequential(nn.Linear(40, 30), nn.LayerNorm(30), nn.Embedding(20, 30, padding_idx=0))
    finally:
        torch.set_default_dtype(torch.float32)


def with_rows() -> nn.Module:
    """An embedding of which some rows were set afterwards, and one loaded from the other."""
    first, second = nn.Embedding(50, 24), nn.Embedding(50, 24)
    with torch.no_grad():
        first.weight[:4] = 0.0
        first.weight[7].fill_(1.0)
    second.load_state_dict(first.state_dict())
    return nn.ModuleDict({"first": first, "second": second})


MODELS: dict[str, Callable[..., Any]] = {
    "nanoGPT": NanoGPT,
    "torchtitan": titan,
    "litgpt": litgpt,
    "forget gates": forget_gates,
    "fused qkv": fused_qkv,
    "Mamba": Mamba,
    "truncated normals of old": old_truncated_normal,
    "SIREN": Siren,
    "LoRA": lora,
    "DeepNorm": deep_norm,
    "weight_norm": normed,
    "sinusoids": Sinusoids,
    "bfloat16": by_halves,
    "rows": with_rows,
}


def written() -> Iterable[Case]:
    """All of them."""
    for name, make in MODELS.items():
        yield Case.of("hand-written", name, make)


def trillion(layers: int = 61, experts: int = 256) -> Make:
    """A mixture of experts with a trillion parameters, whose experts are layers of their own as in DeepSeek's code."""
    width, hidden = 7168, 2816

    def make() -> nn.Module:
        def expert() -> nn.Module:
            sizes = {"gate": (width, hidden), "up": (width, hidden), "down": (hidden, width)}
            return nn.ModuleDict({name: nn.Linear(*size, bias=False) for name, size in sizes.items()})

        return nn.ModuleList(nn.ModuleList(expert() for _ in range(experts)) for _ in range(layers))

    return make
