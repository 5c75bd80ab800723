"""The layer types of PyTorch in recipes: PyTorch's own defaults, and the bytes, fans and blocks of each parameter."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

import fanin
from fanin._core.streams import Stream
from fanin.torch import initialize
from torch_kit import ALL, PRESETS, SEED, Odd, bits, on_meta, spawned, without_warnings

DEFAULTS: dict[str, Callable[[], Any]] = {
    "Linear": lambda: nn.Linear(300, 200),
    "Bilinear": lambda: nn.Bilinear(20, 30, 40),
    "Conv1d": lambda: nn.Conv1d(30, 40, 5),
    "Conv2d": lambda: nn.Conv2d(16, 32, 3),
    "Conv2d, groups": lambda: nn.Conv2d(16, 32, 3, groups=4),
    "Conv2d, depthwise": lambda: nn.Conv2d(64, 128, 3, groups=64),
    "Conv3d": lambda: nn.Conv3d(8, 16, 3),
    "ConvTranspose1d": lambda: nn.ConvTranspose1d(30, 40, 5),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(16, 32, 3, groups=2),
    "ConvTranspose3d": lambda: nn.ConvTranspose3d(8, 16, 3),
    "Embedding": lambda: nn.Embedding(300, 40),
    "EmbeddingBag": lambda: nn.EmbeddingBag(300, 40),
    "RNN": lambda: nn.RNN(50, 60, num_layers=2, bidirectional=True),
    "LSTM": lambda: nn.LSTM(50, 60, num_layers=2, bidirectional=True),
    "LSTM, projected": lambda: nn.LSTM(50, 60, proj_size=20),
    "GRU": lambda: nn.GRU(50, 60),
    "RNNCell": lambda: nn.RNNCell(50, 60),
    "LSTMCell": lambda: nn.LSTMCell(50, 60),
    "GRUCell": lambda: nn.GRUCell(50, 60),
    "MultiheadAttention": lambda: nn.MultiheadAttention(64, 4, add_bias_kv=True),
    "MultiheadAttention, other sizes": lambda: nn.MultiheadAttention(64, 4, kdim=48, vdim=32),
    "TransformerEncoderLayer": lambda: nn.TransformerEncoderLayer(64, 4, 128),
    "BatchNorm2d": lambda: nn.BatchNorm2d(16),
    "SyncBatchNorm": lambda: nn.SyncBatchNorm(16),
    "InstanceNorm2d": lambda: nn.InstanceNorm2d(16, affine=True, track_running_stats=True),
    "LayerNorm": lambda: nn.LayerNorm([4, 8]),
    "GroupNorm": lambda: nn.GroupNorm(2, 16),
    "RMSNorm": lambda: nn.RMSNorm(16),
    "PReLU": lambda: nn.PReLU(8),
}


def made(name: str) -> Any:
    """A new module of the table."""
    return without_warnings(DEFAULTS[name])


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults_of_pytorch(name: str) -> None:
    """Under the preset `torch` each parameter has the distribution that PyTorch gives it."""
    torch.manual_seed(1)
    module = made(name)
    plan = PRESETS["torch"].plan(module)
    plan.check()
    theirs = {path: tensor.detach().numpy().copy() for path, tensor in module.state_dict().items()}
    assert {entry.path for entry in plan.entries} == set(theirs)
    for entry in plan.entries:
        values, distribution = theirs[entry.path].astype(float), entry.placements[0].weight.distribution
        assert entry.stddev is not None
        assert entry.mean is not None
        if not distribution.random:
            assert np.all(values == entry.mean), entry.path
            continue
        assert distribution.moments.kurtosis is not None
        error = entry.stddev * math.sqrt((distribution.moments.kurtosis - 1) / 4 / values.size)
        assert abs(values.std() - entry.stddev) < 4 * error + 1e-9, entry.path
        assert np.abs(values).max() <= distribution.bounds[1] * (1 + 1e-6), entry.path


@pytest.mark.parametrize("name", DEFAULTS)
def test_means(name: str) -> None:
    """What the preset `torch` draws has the plan's mean."""
    module = made(name)
    for entry in initialize(module, PRESETS["torch"]).plan.entries:
        values = module.state_dict()[entry.path].detach().double()
        assert entry.mean is not None
        assert entry.stddev is not None
        assert abs(values.mean().item() - entry.mean) <= 5 * entry.stddev / math.sqrt(values.numel()) + 1e-9


@pytest.mark.parametrize("name", DEFAULTS)
@pytest.mark.parametrize("preset", ["keras", "flax"])
def test_other_presets(name: str, preset: str) -> None:
    """The other defaults fit PyTorch's layers, too, but for what only PyTorch has."""
    plan = PRESETS[preset].plan(made(name))
    assert not plan.problems
    assert {entry.path for entry in plan.unmatched} <= {"bias_k", "bias_v"}


# The weight of each layer: where it is, the shape of Keras's kernel, and where that one's axes are.
KERNELS: dict[str, tuple[Callable[[], Any], str, tuple[int, ...], tuple[int, ...]]] = {
    "Linear": (lambda: nn.Linear(3, 4), "weight", (3, 4), (1, 0)),
    "Conv1d": (lambda: nn.Conv1d(4, 6, 5, groups=2), "weight", (5, 2, 6), (2, 1, 0)),
    "Conv3d": (lambda: nn.Conv3d(4, 6, (1, 2, 3)), "weight", (1, 2, 3, 4, 6), (2, 3, 4, 1, 0)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(4, 6, 3), "weight", (3, 3, 6, 4), (2, 3, 1, 0)),
    "Embedding": (lambda: nn.Embedding(7, 5), "weight", (7, 5), (0, 1)),
    "LSTM, inputs": (lambda: nn.LSTM(3, 5), "weight_ih_l0", (3, 20), (1, 0)),
    "LSTM, states": (lambda: nn.LSTM(3, 5), "weight_hh_l0", (5, 20), (1, 0)),
    "MultiheadAttention": (lambda: nn.MultiheadAttention(4, 2), "in_proj_weight", (4, 12), (1, 0)),
    "Bilinear": (lambda: nn.Bilinear(3, 4, 5), "weight", (3, 4, 5), (1, 2, 0)),
}


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_values(name: str, dtype: str) -> None:
    """A weight is its path's Keras kernel in PyTorch's order of axes; a 16-bit one is the float32 one, rounded."""
    make, leaf, shape, axes = KERNELS[name]
    module = nn.ModuleDict({"layer": make()}).to(getattr(torch, dtype))
    initialize(module, ALL)
    path = f"layer.{leaf}"
    kernel = spawned(fanin.RandomNormal, path, shape, "float64" if dtype == "float64" else "float32")
    expected = torch.from_numpy(kernel).to(getattr(torch, dtype))
    assert bits(module.get_parameter(path).permute(axes)) == bits(expected)


GROUPS = [(2, (36, 144)), (8, (9, 144))]


@pytest.mark.parametrize(("groups", "fans"), GROUPS)
def test_fans_of_groups(groups: int, fans: tuple[float, float]) -> None:
    """Fans of grouped and depthwise kernels are PyTorch's."""
    entry = PRESETS["torch"].plan(nn.Conv2d(8, 16, 3, groups=groups)).entry("weight")
    assert entry.fans == fans


def test_fans_of_depthwise_kernels() -> None:
    """The preset `keras` takes Keras's fans for a depthwise kernel."""
    entry = PRESETS["keras"].plan(nn.Conv2d(8, 16, 3, groups=8)).entry("weight")
    distribution: Any = entry.placements[0].weight.distribution
    keras = fanin.GlorotUniform().distribution((3, 3, 8, 2))
    assert (distribution.fan_in, distribution.fan_out) == (keras.fan_in, keras.fan_out)
    assert distribution.maxval == keras.bounds[1]


def test_gates_of_a_gru() -> None:
    """PyTorch keeps a GRU's gates in another order than Keras; the tensor that is drawn has Keras's."""
    module: Any = nn.GRU(3, 5)
    initialize(module, PRESETS["keras"])
    kernel = spawned(fanin.GlorotUniform, "weight_ih_l0", (3, 15))
    update, reset, candidate = np.split(kernel, 3, 1)
    expected = np.concatenate([reset, update, candidate], 1).T
    assert module.weight_ih_l0.detach().numpy().tobytes() == expected.tobytes()


@pytest.mark.parametrize(("number", "block"), [(0, "query"), (1, "key"), (2, "value")])
def test_queries_keys_and_values(number: int, block: str) -> None:
    """A fused kernel is drawn block by block where a rule says so, each with a name and fans of its own."""
    module = nn.MultiheadAttention(4, 2)
    initialize(module, PRESETS["keras"])
    weight = module.get_parameter("in_proj_weight").detach().numpy()[4 * number : 4 * number + 4]
    assert weight.T.tobytes() == spawned(fanin.GlorotUniform, f"in_proj_weight[{block}]", (4, 4)).tobytes()


def test_padding() -> None:
    """The padding row of an embedding is zero, as PyTorch has it; other rows are as without it."""
    padded, plain = nn.Embedding(6, 3, padding_idx=-2), nn.Embedding(6, 3)
    for module in (padded, plain):
        initialize(module, ALL)
    assert not padded.weight[4].any()
    others = [0, 1, 2, 3, 5]
    assert torch.equal(padded.weight[others], plain.weight[others])


class MyRMSNorm(nn.Module):
    """A norm of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))

    def forward(self, x: Any) -> Any:
        """The scale is the weight."""
        return x * self.weight


class ShiftedRMSNorm(MyRMSNorm):
    """One that scales by one more than its weight."""

    def forward(self, x: Any) -> Any:
        """As Gemma's."""
        return x * (1.0 + self.weight.float())


class AliasedRMSNorm(MyRMSNorm):
    """One whose code does not say so in one line."""

    def forward(self, x: Any) -> Any:
        """As Gemma's."""
        scale = torch.ones_like(self.weight)
        scale += self.weight
        return x * scale


class ChattyRMSNorm(MyRMSNorm):
    """One whose code has such a sum for something else."""

    def forward(self, x: Any) -> Any:
        """The scale is the weight."""
        count = self.weight.numel() + 1
        return x * self.weight if count else x


class Shifted1P(nn.LayerNorm):
    """One that is derived from PyTorch's own, as Nemotron's."""

    def __init__(self) -> None:
        super().__init__(3)

    def forward(self, input: Any) -> Any:
        """Its weight is one less than the scale."""
        return nn.functional.layer_norm(input, (3,), self.weight + 1, self.bias)


class ImageLayerNorm(MyRMSNorm):
    """One of channels, which come second."""

    def forward(self, x: Any) -> Any:
        """The scale is the weight."""
        return x * self.weight[:, None, None]


class GatedRMSNorm(MyRMSNorm):
    """One of two inputs."""

    def forward(self, x: Any, gate: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The scale is the weight."""
        return x * self.weight * gate.sigmoid()


class Unrunnable(MyRMSNorm):
    """One that wants what nobody can guess: RMSNorm by its base class's name."""

    def forward(self, x: Any) -> Any:
        """It raises."""
        return x.tokens * self.weight


NORMS: list[tuple[Callable[[], Any], str]] = [
    (MyRMSNorm, "scale"),
    (ShiftedRMSNorm, "other"),
    (AliasedRMSNorm, "other"),
    (ChattyRMSNorm, "scale"),
    (Shifted1P, "other"),
    (ImageLayerNorm, "scale"),
    (GatedRMSNorm, "scale"),
    (Unrunnable, "other"),
]


@pytest.mark.parametrize("start", ["cpu", "meta"])
@pytest.mark.parametrize(("norm", "role"), NORMS)
def test_norms_of_ones_own(norm: Callable[[], Any], role: str, start: str) -> None:
    """A norm is known by its class's name; one that adds one to its weight, by running it."""
    module = on_meta(norm) if start == "meta" else norm()
    assert PRESETS["torch"].plan(module).entries[0].parameter.role == role


def test_offsets_of_shifted_norms() -> None:
    """Only the weight of such a norm is not what it is in others."""
    assert PRESETS["torch"].plan(Shifted1P()).entry("bias").parameter.role == "offset"


def test_running_a_norm_changes_nothing() -> None:
    """It is a copy that runs, in evaluation mode."""
    module = MyRMSNorm()
    before, parameter = bits(module.weight), module.weight
    PRESETS["torch"].plan(module)
    assert (module.weight is parameter, bits(module.weight), module.training) == (True, before, True)


STACKS = [("torch", (16, 64)), ("keras", (64, 16))]


@pytest.mark.parametrize(("layout", "fans"), STACKS)
def test_fans_of_stacks_of_kernels(layout: str, fans: tuple[int, int]) -> None:
    """Kernels of experts in one parameter: a layout of the others' axes, and their fans."""
    module = nn.Module()
    module.experts = nn.Parameter(torch.zeros(4, 64, 16))
    rule = {"path": "experts", "initializer": "he_normal", "layout": layout, "stacked": 1}
    (entry,) = fanin.Recipe([rule]).plan(module).entries
    distribution: Any = entry.placements[0].weight.distribution
    assert (distribution.fan_in, distribution.fan_out) == fans


def test_stacks_of_kernels() -> None:
    """The kernels of a stack are one tensor in Keras's order of axes, with the fans of one of them."""
    module = nn.Module()
    module.experts = nn.Parameter(torch.zeros(4, 64, 16))
    rule = {"path": "experts", "initializer": "he_normal", "layout": "torch", "stacked": 1}
    initialize(module, fanin.Recipe([rule], seed=SEED))
    initializer = fanin.HeNormal(seed=SEED).spawn("experts")
    distribution = initializer.distribution_of_fans((4, 16, 64), "float32", 16, 64)
    expected = fanin.Weight(distribution, Stream(initializer.settled_seed())).make()
    assert module.experts.detach().numpy().transpose(0, 2, 1).tobytes() == expected.tobytes()


RULES: dict[str, tuple[dict[str, Any], tuple[int, int]]] = {
    "torch": ({"layout": "torch"}, (3, 2)),
    "keras": ({"layout": "keras"}, (2, 3)),
    "fans": ({"fan_in": 3, "fan_out": 2}, (3, 2)),
}


@pytest.mark.parametrize("case", RULES)
def test_what_a_rule_says_of_an_unknown_layer(case: str) -> None:
    """Layout or fans in the rule take the place of the table."""
    more, fans = RULES[case]
    recipe = fanin.Recipe([{"path": "scale", "initializer": "glorot_uniform", **more}], seed=1)
    distribution: Any = recipe.plan(Odd()).entry("scale").placements[0].weight.distribution
    assert (distribution.fan_in, distribution.fan_out) == fans
