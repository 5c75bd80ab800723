"""Modules of PyTorch from recipes: layer types, the meta device, ties, buffers, and what is refused."""

from __future__ import annotations

import copy
import io
import math
import signal
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fanin
from fanin.plans import Draw, Entry, PlanError

torch = pytest.importorskip("torch")
nn = torch.nn
initialize = pytest.importorskip("fanin.torch").initialize

SEED = 5
PRESETS = {name: fanin.Recipe.preset(name, seed=SEED) for name in ("torch", "keras", "flax")}
ALL = fanin.Recipe([{"path": "*", "initializer": "random_normal"}], seed=SEED)


def raw(module: Any) -> dict[str, bytes]:
    """The bytes of all parameters and buffers."""
    return {name: tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes() if tensor.ndim else
            tensor.numpy().tobytes() for name, tensor in module.state_dict().items()}  # fmt: skip


def spawned(initializer: type, name: str, shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    """What an initializer of this name draws."""
    return initializer(seed=SEED).spawn(name)(shape, dtype)


def on_meta(make: Callable[[], Any]) -> Any:
    """A module on the meta device."""
    with torch.device("meta"):
        return make()


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
    "LayerNorm": lambda: nn.LayerNorm((4, 8)),
    "GroupNorm": lambda: nn.GroupNorm(2, 16),
    "RMSNorm": lambda: nn.RMSNorm(16),
    "PReLU": lambda: nn.PReLU(8),
}


@pytest.mark.parametrize("name", DEFAULTS)
@pytest.mark.filterwarnings("ignore")  # PyTorch's own advice
def test_defaults_of_pytorch(name: str) -> None:
    """Under the preset `torch` each parameter has the distribution that PyTorch gives it."""
    torch.manual_seed(1)
    module = DEFAULTS[name]()
    plan = PRESETS["torch"].plan(module)
    plan.check()
    theirs = {path: tensor.detach().numpy().copy() for path, tensor in module.state_dict().items()}
    assert {entry.path for entry in plan.entries} == set(theirs)
    for entry in plan.entries:
        values, drawn = theirs[entry.path].astype(float), entry.draws[0].distribution
        assert entry.stddev is not None
        assert entry.mean is not None
        if not drawn.random:
            assert np.all(values == entry.mean), entry.path
            continue
        assert drawn.kurtosis is not None
        error = entry.stddev * math.sqrt((drawn.kurtosis - 1) / 4 / values.size)
        assert abs(values.std() - entry.stddev) < 4 * error + 1e-9, entry.path
        assert np.abs(values).max() <= drawn.bounds[1] * (1 + 1e-6), entry.path
    initialize(module, PRESETS["torch"])
    for entry in plan.entries:
        values = module.state_dict()[entry.path].detach().double()
        assert entry.mean is not None
        assert entry.stddev is not None
        assert abs(values.mean().item() - entry.mean) <= 5 * entry.stddev / math.sqrt(values.numel()) + 1e-9


@pytest.mark.parametrize("name", DEFAULTS)
@pytest.mark.parametrize("preset", ["keras", "flax"])
@pytest.mark.filterwarnings("ignore")
def test_other_presets(name: str, preset: str) -> None:
    """The other defaults fit PyTorch's layers, too, but for what only PyTorch has."""
    plan = PRESETS[preset].plan(DEFAULTS[name]())
    assert not plan.problems
    assert {entry.path for entry in plan.unmatched} <= {"bias_k", "bias_v"}


KERNELS: list[tuple[Callable[[], Any], str, tuple[int, ...], tuple[int, ...]]] = [
    (lambda: nn.Linear(3, 4), "weight", (3, 4), (1, 0)),
    (lambda: nn.Conv1d(4, 6, 5, groups=2), "weight", (5, 2, 6), (2, 1, 0)),
    (lambda: nn.Conv3d(4, 6, (1, 2, 3)), "weight", (1, 2, 3, 4, 6), (2, 3, 4, 1, 0)),
    (lambda: nn.ConvTranspose2d(4, 6, 3), "weight", (3, 3, 6, 4), (2, 3, 1, 0)),
    (lambda: nn.Embedding(7, 5), "weight", (7, 5), (0, 1)),
    (lambda: nn.LSTM(3, 5), "weight_ih_l0", (3, 20), (1, 0)),
    (lambda: nn.LSTM(3, 5), "weight_hh_l0", (5, 20), (1, 0)),
    (lambda: nn.MultiheadAttention(4, 2), "in_proj_weight", (4, 12), (1, 0)),
    (lambda: nn.Bilinear(3, 4, 5), "weight", (3, 4, 5), (1, 2, 0)),
]


@pytest.mark.parametrize(("make", "leaf", "shape", "axes"), KERNELS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_values(make: Any, leaf: str, shape: tuple[int, ...], axes: tuple[int, ...], dtype: str) -> None:
    """A weight is the Keras kernel in PyTorch's order of axes, from the seed that its path spawns."""
    module = nn.ModuleDict({"layer": make()}).to(getattr(torch, dtype))
    initialize(module, ALL)
    path = f"layer.{leaf}"
    kernel = module.get_parameter(path).detach().permute(axes).contiguous()
    expected = spawned(fanin.RandomNormal, path, shape, dtype)
    assert kernel.view(-1).view(torch.uint8).numpy().tobytes() == expected.tobytes()


def test_fans_of_groups() -> None:
    """Fans of grouped and depthwise kernels are PyTorch's; the preset `keras` takes Keras's for the latter."""
    module = nn.Sequential(nn.Conv2d(8, 16, 3, groups=2), nn.Conv2d(8, 16, 3, groups=8))
    assert [PRESETS["torch"].plan(module).entry(f"{n}.weight").fans for n in (0, 1)] == [(36, 144), (9, 144)]
    drawn: Any = PRESETS["keras"].plan(module).entry("1.weight").draws[0].distribution
    keras = fanin.GlorotUniform().distribution((3, 3, 8, 2))
    assert (drawn.fan_in, drawn.fan_out, drawn.high) == (keras.fan_in, keras.fan_out, keras.bounds[1])


def test_gates_of_a_gru() -> None:
    """PyTorch keeps a GRU's gates in another order than Keras; the tensor that is drawn has Keras's."""
    module = nn.GRU(3, 5)
    initialize(module, PRESETS["keras"])
    kernel = spawned(fanin.GlorotUniform, "weight_ih_l0", (3, 15))
    update, reset, candidate = np.split(kernel, 3, 1)
    expected = np.concatenate([reset, update, candidate], 1).T
    assert module.weight_ih_l0.detach().numpy().tobytes() == expected.tobytes()


def test_queries_keys_and_values() -> None:
    """A fused kernel is drawn block by block where a rule says so, each with a name and fans of its own."""
    module = nn.MultiheadAttention(4, 2)
    initialize(module, PRESETS["keras"])
    for number, block in enumerate(("query", "key", "value")):
        weight = module.in_proj_weight.detach().numpy()[4 * number : 4 * number + 4]
        assert weight.T.tobytes() == spawned(fanin.GlorotUniform, f"in_proj_weight[{block}]", (4, 4)).tobytes()


def test_padding() -> None:
    """The padding row of an embedding is zero, as PyTorch has it; other rows are as without it."""
    padded, plain = nn.Embedding(6, 3, padding_idx=-2), nn.Embedding(6, 3)
    for module in (padded, plain):
        initialize(module, ALL)
    assert not padded.weight[4].any()
    others = [0, 1, 2, 3, 5]
    assert torch.equal(padded.weight[others], plain.weight[others])


class Tied(nn.Module):
    """Two embeddings and a head that share a weight, a frozen parameter and one with an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Embedding(6, 4), nn.Embedding(6, 4)
        self.head = nn.Linear(4, 6, bias=False)
        self.second.weight = self.first.weight
        self.head.weight = self.first.weight
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.frozen.weight.note = "kept"  # pyright: ignore
        self.frozen_again = self.frozen


def test_meta_device() -> None:
    """A module of the meta device gets memory, stays tied, and has the values of one that was never there."""
    module = on_meta(Tied)
    report = initialize(module, ALL)
    assert module.first.weight is module.second.weight is module.head.weight
    assert module.frozen is module.frozen_again
    assert not module.frozen.weight.requires_grad
    assert module.first.weight.requires_grad
    assert module.frozen.weight.note == "kept"
    assert type(module.first.weight) is nn.Parameter
    assert report.plan.tied["first.weight"] == ("second.weight", "head.weight")
    assert report.filled == ("first.weight", "frozen.weight", "frozen.bias")
    other = Tied()
    initialize(other, ALL)
    assert raw(module) == raw(other)


def test_meta_device_keeps_strides_and_dtypes() -> None:
    """Channels-last weights stay so, and bfloat16 stays bfloat16."""
    module = on_meta(lambda: nn.Conv2d(4, 6, 3).to(memory_format=torch.channels_last, dtype=torch.bfloat16))
    initialize(module, ALL)
    assert module.weight.is_contiguous(memory_format=torch.channels_last)
    expected = nn.Conv2d(4, 6, 3).bfloat16()
    initialize(expected, ALL)
    assert torch.equal(module.weight, expected.weight)


def test_partly_on_the_meta_device() -> None:
    """What has memory keeps it; what has none gets it."""
    module = nn.Sequential(nn.Linear(3, 4), on_meta(lambda: nn.Linear(4, 2)))
    weight = module[0].weight
    initialize(module, ALL)
    assert module[0].weight is weight
    assert not module[1].weight.is_meta


def test_in_place() -> None:
    """Parameters stay the same objects in the same memory; optimizers and graphs notice as after any write."""
    module = nn.Linear(3, 4)
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    place, version = module.weight.data_ptr(), module.weight._version
    loss = module(torch.ones(3, requires_grad=True)).sum()
    initialize(module, ALL)
    assert module.weight.data_ptr() == place
    assert module.weight._version > version
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    module(torch.ones(3)).sum().backward()
    optimizer.step()


def test_equal_memory_is_tied() -> None:
    """Two parameters over the same memory are one; over a part of it, they are refused."""
    module = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    module[2].weight = nn.Parameter(module[0].weight.data)
    assert initialize(module, ALL).plan.tied == {"0.weight": ("2.weight",)}
    assert torch.equal(module[2].weight, module[0].weight)
    module[1].weight = nn.Parameter(module[0].weight.data[:2])
    with pytest.raises(ValueError, match=r"all of it in common. Received: .*, which share a part"):
        initialize(module, ALL)


def wrapped_in_parallel(module: Any) -> Any:
    """As DataParallel wraps it."""
    return nn.DataParallel(module)


WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "compiled": lambda module: torch.compile(module),
    "parallel": wrapped_in_parallel,
    "averaged": lambda module: torch.optim.swa_utils.AveragedModel(module),
    "both": lambda module: wrapped_in_parallel(torch.compile(module)),
    "inside": lambda module: nn.Sequential(torch.compile(module[0]), wrapped_in_parallel(module[1])),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.filterwarnings("ignore")
def test_wrappers(wrapper: str) -> None:
    """A wrapper changes neither paths nor values."""
    plain = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    wrapped = WRAPPERS[wrapper](copy.deepcopy(plain))
    initialize(plain, ALL)
    report = initialize(wrapped, ALL)
    assert report.plan.found.model == "Sequential"
    paths = [entry.path for entry in report.plan.entries]
    assert [path for path in paths if "averaged" not in path] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    ours = [value for name, value in raw(wrapped).items() if name != "n_averaged"]
    assert ours == list(raw(plain).values())


def test_a_module_named_module() -> None:
    """Only wrappers are passed by: a child of that name is a child."""
    module = nn.Sequential()
    module.add_module("module", nn.Linear(2, 2))
    assert ALL.plan(module).entries[0].path == "module.weight"


def test_parametrizations() -> None:
    """What a weight is computed from is refused, for the computation may have a state."""
    module = torch.nn.utils.parametrizations.spectral_norm(nn.Linear(3, 4))
    before = raw(module)
    with pytest.raises(
        PlanError, match=r"It belongs to a parametrization\. Remove it, initialize, and register it again\."
    ):
        initialize(module, ALL)
    assert raw(module) == before
    torch.nn.utils.parametrize.remove_parametrizations(module, "weight")
    plain = nn.Linear(3, 4)
    for each in (module, plain):
        initialize(each, ALL)
    assert torch.equal(module.weight, plain.weight)


def test_layers_are_known_by_what_they_are_derived_from() -> None:
    """A condition on the layer may name a base class; PyTorch's own output projection is a Linear, too."""

    class Mine(nn.Linear):
        pass

    module = nn.ModuleDict({"mine": Mine(2, 2), "attention": nn.MultiheadAttention(2, 1), "norm": nn.LayerNorm(2)})
    plan = fanin.Recipe([{"layer": "Linear", "initializer": "ones"}]).plan(module)
    matched = {entry.path for entry in plan.entries if entry.matched}
    assert matched == {"mine.weight", "mine.bias", "attention.out_proj.weight", "attention.out_proj.bias"}
    assert plan.entry("mine.weight").parameter.layer == "Mine"


# Buffers


class Rotary(nn.Module):
    """A table that its constructor makes."""

    def __init__(self, width: int, base: float = 10000.0) -> None:
        super().__init__()
        self.width, self.base = width, base
        self.register_buffer("table", base ** (-torch.arange(0, width, 2) / width), persistent=False)


class Forgetful(Rotary):
    """It remembers half of what it was told."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.width = width // 2


class Defaulted(nn.Module):
    """It does not remember what it was told, and has a default for it."""

    def __init__(self, base: float = 10.0) -> None:
        super().__init__()
        self.register_buffer("table", torch.full((4,), base), persistent=False)


class Private(Defaulted):
    """It remembers, under another name."""

    def __init__(self, base: float) -> None:
        super().__init__(base)
        self._base = base


class Random(nn.Module):
    """A table from a generator."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("table", torch.randn(width))


class Several(nn.Module):
    """Arguments without names."""

    def __init__(self, *lengths: int) -> None:
        super().__init__()
        self.lengths = lengths
        self.register_buffer("table", torch.zeros(4) + sum(lengths))


class Methodical(nn.Module):
    """A method makes the table."""

    def __init__(self, secret: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.register_buffer("table", torch.empty(4, 1, dtype=torch.int64))
        self.register_buffer("flag", torch.empty((), dtype=torch.bool), persistent=False)
        self._secret = secret
        self.reset_buffers()

    def reset_buffers(self) -> None:
        """Fills both."""
        self.table.copy_(torch.arange(4)[:, None] + self._secret)
        self.flag.fill_(True)


class Model(nn.Module):
    """A model with a method for the weights and buffers of each of its modules, which draws from a generator, too."""

    config: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Module()
        self.inner.weight = nn.Parameter(torch.zeros(3, 3))
        self.inner.register_buffer("ids", torch.arange(5), persistent=False)

    def _init_weights(self, module: Any) -> None:
        if hasattr(module, "ids"):
            module.ids.copy_(torch.arange(5))
            module.weight.normal_()
            if hasattr(module, "other"):
                module.other.zero_()
            torch.rand(1)


BUFFERS: dict[str, tuple[Callable[[], Any], str]] = {
    "constructor": (lambda: nn.Sequential(nn.Linear(3, 4), Rotary(8)), "as Rotary makes it"),
    "method": (lambda: nn.Sequential(nn.Linear(3, 4), Methodical(3)), "by reset_buffers()"),
    "model": (Model, "by Model's _init_weights"),
}


@pytest.mark.parametrize("kind", BUFFERS)
def test_buffers(kind: str) -> None:
    """Buffers that have no values on the meta device are made again by the code of their modules."""
    make, how = BUFFERS[kind]
    module, expected = on_meta(make), make()
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    report = initialize(module, ALL)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert set(report.buffers.values()) == {how}
    found = dict(module.named_buffers())
    for path, buffer in expected.named_buffers():
        assert torch.equal(found[path], buffer), path
        assert path in report.buffers
        assert f"restored: {path} ({how})" in str(report)
    initialize(expected, ALL)
    assert raw(module) == raw(expected)


def test_buffers_that_are_there_stay() -> None:
    """A module with values keeps its buffers, but for running statistics, which start anew."""
    module = nn.Sequential(nn.BatchNorm1d(3), Rotary(8))
    module[0](torch.randn(2, 3))
    module[1].table.fill_(7)
    report = initialize(module, fanin.Recipe.preset("torch", seed=1))
    assert not report.buffers
    assert (module[1].table == 7).all()
    assert [tensor.tolist() for tensor in module[0].buffers()] == [[0, 0, 0], [1, 1, 1], 0]


def test_making_buffers_again_changes_nothing_else() -> None:
    """The code that makes a buffer again may write to parameters that are to stay; they do."""
    module = Model()
    module.inner.register_buffer("ids", torch.empty(5, dtype=torch.int64, device="meta"), persistent=False)
    module.inner.register_buffer("other", torch.full((3,), 7.0))
    module.inner.weight.data.fill_(3)
    initialize(module, ALL, skip="*")
    assert module.inner.ids.tolist() == [0, 1, 2, 3, 4]
    assert (module.inner.weight == 3).all()
    assert (module.inner.other == 7).all()
    assert type(module.inner.weight) is nn.Parameter


def test_running_statistics_of_the_meta_device() -> None:
    """They have their start, in memory."""
    module = on_meta(lambda: nn.BatchNorm1d(3))
    initialize(module, PRESETS["torch"])
    assert [tensor.tolist() for tensor in module.buffers()] == [[0, 0, 0], [1, 1, 1], 0]


LOST: list[Callable[[], Any]] = [
    lambda: Forgetful(8),
    lambda: Defaulted(500.0),
    lambda: Private(3.0),
    lambda: Random(4),
    lambda: Several(1, 2),
]


@pytest.mark.parametrize("make", LOST)
def test_buffers_that_nobody_can_make(make: Callable[[], Any]) -> None:
    """Where an argument was forgotten, or a generator was used, nothing is guessed."""
    module = on_meta(lambda: nn.Sequential(nn.Linear(2, 2), make()))
    with pytest.raises(PlanError, match="could not be made again"):
        initialize(module, ALL)
    assert module[0].weight.is_meta
    report = initialize(module, ALL, only="0.*")
    assert report.kept["1.table"] == "a buffer that has no values, and could not be made again"


def test_shared_buffers() -> None:
    """A buffer of two modules stays one; what is given is copied."""

    def make() -> Any:
        module = nn.Sequential(Rotary(8), Rotary(8), nn.Linear(2, 2))
        module[1].table = module[0].table
        return module

    for options in ({}, {"buffers": {"*.table": torch.ones(4)}}):
        module = on_meta(make)
        initialize(module, ALL, **options)
        assert module[0].table is module[1].table
    given = torch.ones(4)
    module = on_meta(lambda: nn.Sequential(Rotary(8), Rotary(8)))
    initialize(nn.Sequential(module, nn.Linear(2, 2)), ALL, buffers={"*.table": given})
    module[0].table.add_(1)
    assert module[1].table.tolist() == given.tolist() == [1, 1, 1, 1]


def test_buffers_that_are_lost() -> None:
    """A buffer that nobody can make again is refused before anything is written, or given."""
    module = on_meta(lambda: nn.Sequential(nn.Linear(3, 4), Forgetful(8)))
    with pytest.raises(PlanError) as caught:
        initialize(module, ALL)
    assert str(caught.value) == (
        "Buffers on the meta device have no values, and those of these modules could not be made again; nothing has been "
        "written.\n  1.table of Forgetful, (4,), torch.float32\n  Pass them, buffers={path: tensor}, or build these modules "
        "outside of the meta device."
    )
    assert module[0].weight.is_meta
    report = initialize(module, ALL, buffers={"*.table": torch.ones(4, dtype=torch.float64)})
    assert report.buffers == {"1.table": "given"}
    assert module[1].table.tolist() == [1, 1, 1, 1]
    assert module[1].table.dtype == torch.float32


BAD_BUFFERS: list[tuple[Any, str]] = [
    ({"1.table": torch.ones(3)}, "The buffer 1.table must be a tensor of shape (4,) with values. Received: Tensor of shape (3,)."),
    ({"1.table": [1, 2]}, "The buffer 1.table must be a tensor of shape (4,) with values. Received: list."),
    ({"tabel": torch.ones(4)}, "`buffers` must name buffers of the module. Received: 'tabel'. There are: ['1.table']."),
]  # fmt: skip


@pytest.mark.parametrize(("buffers", "message"), BAD_BUFFERS)
def test_bad_buffers(buffers: Any, message: str) -> None:
    """What does not fit is refused before anything is written."""
    module = on_meta(lambda: nn.Sequential(nn.Linear(3, 4), Forgetful(8)))
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (compared below)
        initialize(module, ALL, buffers=buffers)
    assert str(caught.value) == message
    assert module[0].weight.is_meta


# Choices


def two_layers() -> Any:
    """A module of two layers and a norm."""
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))


def test_only_and_skip() -> None:
    """Patterns choose; the others stay as they are, and have the same values as in a call for all."""
    module, everything = two_layers(), two_layers()
    before = raw(module)
    report = initialize(module, ALL, only=["0.*", "2/*"], skip="*.bias")
    initialize(everything, ALL)
    expected = {**before, **{path: raw(everything)[path] for path in ("0.weight", "2.weight")}}
    assert raw(module) == expected
    assert report.kept == {
        "0.bias": "among `skip`",
        "1.weight": "not among `only`",
        "1.bias": "not among `only`",
        "2.bias": "among `skip`",
    }


def test_only_missing() -> None:
    """What a state dict has stays as it was loaded, whichever way the loading is told."""
    source, expected = two_layers(), two_layers()
    initialize(expected, ALL)
    loaded = {name: tensor for name, tensor in source.state_dict().items() if name.startswith("0.")}
    for told in (loaded, list(loaded), None):
        module = on_meta(two_layers)
        result = module.load_state_dict(loaded, strict=False, assign=True)
        initialize(module, ALL, only_missing=result if told is None else told)
        assert raw(module) == {**raw(expected), **{name: raw(source)[name] for name in loaded}}
    wrapped = nn.DataParallel(two_layers())
    report = initialize(wrapped, ALL, only_missing={f"module.{name}": 0 for name in loaded})
    assert set(report.kept) == set(loaded)


def test_order_and_neighbours_do_not_matter() -> None:
    """Inserting a module changes no other's values; neither does the order."""
    first = nn.ModuleDict({"a": nn.Linear(3, 4), "b": nn.Linear(4, 3)})
    second = nn.ModuleDict({"b": nn.Linear(4, 3), "c": nn.Conv1d(2, 2, 2), "a": nn.Linear(3, 4)})
    for module in (first, second):
        initialize(module, ALL)
    assert {name: raw(second)[name] for name in raw(first)} == raw(first)


def test_names() -> None:
    """Modules whose paths differ get the same values by a map."""
    first, second = nn.ModuleDict({"a": nn.Linear(3, 4)}), nn.ModuleDict({"z": nn.Linear(3, 4)})
    initialize(first, ALL)
    report = initialize(second, ALL, names={"z.*": "a.*"})
    assert list(raw(first).values()) == list(raw(second).values())
    assert [entry.name for entry in report.plan.entries] == ["a.weight", "a.bias"]


def test_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A parameter has its old values or its new ones then, and a second call completes the work."""
    module, expected = on_meta(two_layers), two_layers()
    initialize(expected, ALL)
    fill, paths = Entry.fill, []

    def interrupted(entry: Entry, *arguments: Any) -> None:
        paths.append(entry.path)
        if len(paths) == 3:
            raise KeyboardInterrupt
        fill(entry, *arguments)

    monkeypatch.setattr(Entry, "fill", interrupted)
    with pytest.raises(KeyboardInterrupt):
        initialize(module, ALL)
    assert [tensor.is_meta for tensor in module.parameters()] == [False, False, True, True, True, True]
    assert {name: raw(expected)[name] for name in ("0.weight", "0.bias")} == {
        name: value for name, value in raw(module[0:1]).items()
    }
    monkeypatch.undo()
    initialize(module, ALL)
    assert raw(module) == raw(expected)


def test_an_interrupt_within_a_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is drawn in several parts is finished before it is noticed."""
    module, expected = nn.Embedding(6, 3, padding_idx=1), nn.Embedding(6, 3, padding_idx=1)
    initialize(expected, ALL)
    fill = Draw.fill

    def interrupted(draw: Draw, *arguments: Any) -> None:
        fill(draw, *arguments)
        if not draw.label:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Draw, "fill", interrupted)
    with pytest.raises(KeyboardInterrupt):
        initialize(module, ALL)
    assert raw(module) == raw(expected)
    assert not module.weight[1].any()


def test_progress(capfd: pytest.CaptureFixture[str]) -> None:
    """A bar on standard error where one is wanted; nothing where nobody looks."""
    pytest.importorskip("rich")
    initialize(two_layers(), ALL)
    initialize(two_layers(), ALL, progress=False)
    assert capfd.readouterr() == ("", "")
    initialize(two_layers(), ALL, progress=True)
    assert capfd.readouterr().out == ""


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long work shows itself on a terminal, unless it is told not to."""
    pytest.importorskip("rich")
    monkeypatch.setattr("fanin._models.report._LONG", 0)
    monkeypatch.setenv("TERM", "xterm")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    shown = []
    for progress in (None, False):
        monkeypatch.setattr(sys, "stderr", Terminal())
        initialize(two_layers(), ALL, progress=progress)
        shown.append("initialize" in getattr(sys.stderr, "getvalue", str)())
    assert shown == [True, False]


# What is refused


class Odd(nn.Module):
    """A parameter of a layer that no table has, and one of integers."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(2, 3))
        self.steps = nn.Parameter(torch.zeros(2, dtype=torch.int32), requires_grad=False)


def expanded() -> Any:
    """A layer whose weight is one number in many places."""
    module = nn.Linear(3, 2)
    module.weight = nn.Parameter(torch.zeros(1, 1).expand(2, 3))
    return module


def inference() -> Any:
    """A layer made in inference mode."""
    with torch.inference_mode():
        return nn.Linear(3, 2)


GLOROT = fanin.Recipe([{"path": "*", "initializer": "glorot_uniform", "name": "all"}])
REFUSED: dict[str, tuple[Callable[[], Any], Any, dict[str, Any], type[Exception], str]] = {
    "no module": (lambda: 3, ALL, {}, TypeError, "`module` must be a torch.nn.Module. Received: module of type int."),
    "no recipe": (two_layers, "gpt2", {}, TypeError, "`recipe` must be a fanin.Recipe. Received: 'gpt2'. Write Recipe.preset('gpt2')."),
    "a file": (two_layers, "a.toml", {}, TypeError, "Received: 'a.toml'. Load a file by Recipe.load(path)."),
    "lazy": (lambda: nn.LazyLinear(3), ALL, {}, ValueError, "Every parameter must have a shape. Received: weight of the lazy module LazyLinear. Call the module on an input first."),
    "expanded": (expanded, ALL, {}, PlanError, "weight: Its elements must have places of their own in memory"),
    "inference": (inference, ALL, {}, PlanError, "weight: The tensor must be writable."),
    "sparse": (lambda: nn.ParameterDict({"w": nn.Parameter(torch.eye(3).to_sparse())}), ALL, {}, PlanError, "w: The tensor must be dense memory"),
    "integers": (Odd, ALL, {"only": "steps"}, PlanError, "steps, by rule 1: Expected floating point type, got int32."),
    "unknown fans": (Odd, GLOROT, {"only": "scale"}, PlanError, "scale, by rule 1 “all”: GlorotUniform needs the fans of a parameter of a layer of type Odd, which nobody knows. Write `fan_in = …` and `fan_out = …` into rule 1 “all”, or, if it is a kernel, `layout = \"torch\"` or `layout = \"keras\"`, with `stacked = 1` if its first axis is a stack of kernels."),
    "unmatched": (Odd, fanin.Recipe.preset("torch"), {}, PlanError, "No rule matches 2 of 2 parameters:\n    scale 2×3, Odd\n    steps 2, Odd\n    Add rules for them"),
    "only": (two_layers, ALL, {"only": "0.wieght"}, ValueError, "`only` must match parameters of the model. Received: '0.wieght', which matches none. Did you mean '0.weight'?"),
    "skip": (two_layers, ALL, {"skip": 3}, TypeError, "`skip` must be a glob of paths, or several. Received: skip=3."),
    "only_missing": (two_layers, ALL, {"only_missing": 3}, TypeError, "`only_missing` must be a state dict, its keys, or what `load_state_dict` returned. Received: int."),
    "device": (two_layers, ALL, {"device": "meta"}, ValueError, "`device` must be a device with memory. Received: device='meta' (the meta device has no memory)."),
    "no device": (two_layers, ALL, {"device": "gpu"}, ValueError, "`device` must be a device with memory. Received: device='gpu'"),
    "unmatched=": (two_layers, ALL, {"unmatched": "drop"}, ValueError, "`unmatched` must be \"error\" or \"keep\". Received: unmatched='drop'."),
    "names": (two_layers, ALL, {"names": [1]}, TypeError, "`names` must be a mapping of paths to names, or a function of a parameter. Received: names of type list."),
    "keep": (lambda: on_meta(two_layers), fanin.Recipe([{"path": "0.*", "initializer": "keep"}, {"path": "*", "initializer": "zeros"}]), {}, PlanError, "0.weight: rule 1 keeps it as it is, but it is on the meta device and has no values."),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_refused(kind: str) -> None:
    """Each with its message, and before anything is written."""
    make, recipe, options, error, message = REFUSED[kind]
    module = make()
    torch_module = isinstance(module, nn.Module) and kind not in ("lazy", "sparse", "keep")
    before = raw(module) if torch_module else None
    with pytest.raises(error) as caught:
        initialize(module, recipe, **options)
    assert message in str(caught.value)
    assert not torch_module or raw(module) == before


def test_unmatched_parameters_can_stay() -> None:
    """With `unmatched="keep"`."""
    module = Odd()
    report = initialize(module, fanin.Recipe([{"path": "scale", "initializer": "ones"}]), unmatched="keep")
    assert report.kept == {"steps": "no rule matches it"}
    assert module.scale.tolist() == [[1, 1, 1], [1, 1, 1]]


def test_what_a_rule_says_of_an_unknown_layer() -> None:
    """Layout or fans in the rule take the place of the table."""
    module = Odd()
    for more, fans in (
        ({"layout": "torch"}, (3, 2)),
        ({"layout": "keras"}, (2, 3)),
        ({"fan_in": 3, "fan_out": 2}, (3, 2)),
    ):
        recipe = fanin.Recipe([{"path": "scale", "initializer": "glorot_uniform", **more}], seed=1)
        drawn = recipe.plan(module).entry("scale").draws[0].distribution
        assert (drawn.fan_in, drawn.fan_out) == fans


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


def test_norms_of_ones_own() -> None:
    """A norm is known by its class's name; one that adds one to its weight, by its code."""
    roles = [PRESETS["torch"].plan(cls()).entries[0].parameter.role for cls in (MyRMSNorm, ShiftedRMSNorm)]
    assert roles == ["scale", "other"]


def test_frozen_parameters() -> None:
    """They are drawn like others, the plan says so, and a rule can keep them."""
    module = two_layers()
    module[0].requires_grad_(False)
    assert "frozen, and drawn all the same: 0.weight, 0.bias" in str(ALL.plan(module))
    recipe = fanin.Recipe([{"trainable": False, "initializer": "keep"}, {"path": "*", "initializer": "random_normal"}])
    before = raw(module)
    report = initialize(module, recipe)
    assert set(report.kept) == {"0.weight", "0.bias"}
    assert {path for path, value in raw(module).items() if value == before[path]} == {"0.weight", "0.bias"}
    assert "frozen" not in str(recipe.plan(module))


def test_stacks_of_kernels() -> None:
    """Kernels of experts in one parameter: a layout of the others' axes, and their fans."""
    module = nn.Module()
    module.experts = nn.Parameter(torch.zeros(4, 64, 16))
    for layout, fans in (("torch", (16, 64)), ("keras", (64, 16))):
        rule = {"path": "experts", "initializer": "he_normal", "layout": layout, "stacked": 1}
        (entry,) = fanin.Recipe([rule]).plan(module).entries
        drawn: Any = entry.draws[0].distribution
        assert (drawn.fan_in, drawn.fan_out) == fans
    initialize(module, fanin.Recipe([{**rule, "layout": "torch"}], seed=SEED))
    initializer: Any = fanin.HeNormal(seed=SEED).spawn("experts")
    expected = initializer.distribution_of_fans((4, 16, 64), "float32", 16, 64).draw((initializer.seed, 0))
    assert module.experts.detach().numpy().transpose(0, 2, 1).tobytes() == expected.tobytes()


def test_names_must_differ() -> None:
    """Two parameters of one name would have the same values."""
    module = two_layers()
    before = raw(module)
    with pytest.raises(PlanError, match=r"0\.weight, 2\.weight would have the same values: names must differ\."):
        initialize(module, ALL, names={"*.weight": "w"})
    assert raw(module) == before


def test_containers_of_models() -> None:
    """A model within a list has the depths that it has alone; numbers of blocks count those without parameters."""
    blocks = nn.ModuleDict({"h": nn.ModuleList([nn.Linear(2, 2) for _ in range(4)])})
    recipe = fanin.Recipe([{"path": "*", "initializer": "constant", "value": "depth + 100 * n_layers"}])
    for module, prefix in ((blocks, ""), (nn.Sequential(blocks, nn.Linear(2, 2)), "0.")):
        initialize(module, recipe)
        assert module.get_parameter(f"{prefix}h.3.bias").tolist() == [403, 403]
    plain = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    initialize(plain, recipe)
    assert plain[2].bias.tolist() == [302, 302]


def test_ties_of_other_layers() -> None:
    """A tied embedding is one, with its padding, whichever comes first."""
    head, embedding = nn.Linear(4, 10, bias=False), nn.Embedding(10, 4, padding_idx=0)
    head.weight = embedding.weight
    for module in (nn.ModuleDict({"a": head, "b": embedding}), nn.ModuleDict({"a": embedding, "b": head})):
        entry = PRESETS["torch"].plan(module).entries[0]
        assert (entry.parameter.role, entry.parameter.zero_rows) == ("embedding", (0,))


def test_a_second_call_gives_the_same() -> None:
    """A recipe has no memory; neither does its plan."""
    module = two_layers()
    initialize(module, ALL)
    before = raw(module)
    with torch.no_grad():
        for tensor in module.parameters():
            tensor.zero_()
    report = initialize(module, ALL)
    assert raw(module) == before
    assert not report.plan.compare(ALL.plan(module))
    assert str(report).startswith("Sequential: 6 parameters initialized (136 bytes) in ")


def test_a_catch_all_leaves_running_statistics() -> None:
    """They have their usual start, also under a rule for everything; a rule of their role says another."""
    everything = {"path": "*", "initializer": "random_normal"}
    module = nn.BatchNorm1d(3)
    initialize(module, fanin.Recipe([everything]))
    assert [tensor.tolist() for tensor in module.buffers()] == [[0, 0, 0], [1, 1, 1], 0]
    assert module.weight.std() > 0
    initialize(module, fanin.Recipe([{"role": "variance", "initializer": "constant", "value": 4}, everything]))
    assert [tensor.tolist() for tensor in module.buffers()] == [[0, 0, 0], [4, 4, 4], 0]
