"""Models that exist: what is read when their code is called again, and what is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import fanin.torch  # noqa: E402
from fanin.torch.recording.again import recorded_again  # noqa: E402
from fanin.torch.recording.described import own_plan  # noqa: E402
from fanin.torch.recording.places import RecordingError  # noqa: E402


class Arguments(nn.Module):
    """Has all arguments of its constructor as attributes."""

    def __init__(self, size: int, depth: int = 2, *, stddev: float = 0.1) -> None:
        super().__init__()
        self.size, self.depth, self.stddev = size, depth, stddev
        self.layers = nn.ModuleList([nn.Linear(size, size) for _ in range(depth)])
        self.register_buffer("table", torch.arange(size).float())
        self.register_buffer("spread", torch.randn(size), persistent=False)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=stddev)


class LastCall(nn.Module):
    """Ends its constructor with the initialization of everything."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width)
        self.apply(self._init_weights)

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm1d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


class Partly(LastCall):
    """Ends its constructor with the initialization of something."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.more = nn.Linear(width, width)
        self.init_weights()

    def init_weights(self) -> None:
        """Leaves out the others."""
        nn.init.ones_(self.more.weight)
        nn.init.ones_(self.more.bias)


class Unknown(nn.Module):
    """Has arguments that nobody knows any more."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)


class Overwritten(LastCall):
    """Writes, after that call, what it did not say."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.apply(self._init_weights)
        nn.init.ones_(self.first.weight)


def tied(first: Any, second: Any) -> nn.Module:
    """A model whose layers share a weight."""
    second.weight = first.weight
    return nn.Sequential(first, second)


def copied(layer: nn.Module) -> nn.Module:
    """A model of two equal layers."""
    return nn.Sequential(layer, copy.deepcopy(layer))


class Registered(nn.Module):
    """Keeps its arguments in a configuration, as diffusers' models do."""

    def __init__(self, width: int, depth: int = 1) -> None:
        super().__init__()
        self.config = {"width": width, "depth": depth}
        self.layers = nn.ModuleList([nn.Linear(width, width) for _ in range(depth)])


SURE: dict[str, Callable[[], nn.Module]] = {
    "a layer": lambda: nn.Linear(3, 4),
    "layers": lambda: nn.Sequential(
        nn.Linear(3, 4, bias=False),
        nn.ReLU(),
        nn.BatchNorm1d(4),
        nn.Embedding(5, 4, padding_idx=0),
        nn.LSTM(3, 4),
        nn.MultiheadAttention(4, 2),
        nn.ModuleDict({"conv": nn.Conv2d(3, 4, 3), "norm": nn.GroupNorm(2, 4), "prelu": nn.PReLU()}),
    ),
    "arguments": lambda: Arguments(3, stddev=0.5),
    "the last call": lambda: LastCall(3),
    "within containers": lambda: nn.Sequential(Arguments(3), nn.ModuleList([LastCall(2), nn.Bilinear(2, 3, 4)])),
    "compiled": lambda: nn.Sequential(torch.compile(Arguments(3))),
    "a configuration of all arguments": lambda: Registered(3, depth=2),
    "tied alike": lambda: tied(nn.Linear(3, 3), nn.Linear(3, 3)),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # of PyTorch's compiler about itself
@pytest.mark.parametrize("name", SURE)
def test_sure(name: str) -> None:
    """What is read is what was read while the same model was made; the model stays as it is."""
    with fanin.torch.recording() as recorded:
        first = SURE[name]()
    model = SURE[name]()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    again = recorded_again(model).of(model)
    expected = recorded.of(first)
    assert {path: str(reading) for path, reading in again.items() if path not in dict(model.named_buffers())} == {
        path: str(reading) for path, reading in expected.items() if path not in dict(first.named_buffers())
    }
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "unknown": (lambda: Unknown(3), "what it was constructed with: width"),
    "within a container": (lambda: nn.Sequential(Unknown(3)), "Unknown at 0, which is made already"),
    "partly": (lambda: Partly(3), "does not write all of first.weight"),
    "overwritten": (lambda: Overwritten(3), "what it was constructed with: width"),
    "copies": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, batch_first=True), 2),
        "constructed with: encoder_layer",
    ),
    "copied": (lambda: copied(nn.Linear(3, 3)), "1.weight has the values of 0.weight, as a copy of it has"),
    "tied otherwise": (
        lambda: tied(nn.Embedding(3, 3), nn.Linear(3, 3)),
        "thing as 0.weight and another as 1.weight",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    """The error says why, and what to do; the model stays as it is."""
    make, reason = REFUSED[name]
    model = make()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(RecordingError) as caught:
        fanin.torch.initialize(model, seed=1)
    assert reason in str(caught.value)
    assert "with fanin.torch.recording() as recorded:" in str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def changed(change: Callable[[Any], object]) -> nn.Module:
    """A model that was changed after it was made."""
    model = Arguments(3)
    change(model)
    return model


CHANGED: dict[str, tuple[Callable[[Any], object], str]] = {
    "a module": (lambda m: m.add_module("more", nn.Linear(2, 2)), "other modules: more"),
    "a class": (lambda m: m.layers.__setitem__(0, nn.Bilinear(3, 3, 3)), "its layers.0 is a Linear"),
    "a shape": (
        lambda m: setattr(m.layers[0], "weight", nn.Parameter(torch.ones(2, 3))),
        "layers.0.weight has another",
    ),
    "a parameter": (lambda m: setattr(m.layers[0], "bias", None), "layers.0.bias has another shape"),
    "an attribute": (lambda m: setattr(m, "training_steps", 3), "training_steps is None"),
    "a tie": (lambda m: setattr(m.layers[0], "weight", m.layers[1].weight), "other ties"),
    "an argument": (lambda m: setattr(m, "depth", 3), "other modules"),
    "an argument of another kind": (lambda m: setattr(m, "size", "x"), "its constructor raises TypeError"),
}


@pytest.mark.parametrize("name", CHANGED)
def test_changed(name: str) -> None:
    """A model that is not the one that its constructor makes is refused, with the difference."""
    change, reason = CHANGED[name]
    with pytest.raises(RecordingError, match=reason):
        recorded_again(changed(change))


def test_use_makes_no_difference() -> None:
    """The mode, devices, dtypes, checkpointing flags, dropout."""
    model: Any = Arguments(3).eval().to(torch.bfloat16).to("meta")
    model.gradient_checkpointing = True
    assert str(recorded_again(model).of(model)["layers.0.weight"]) == "normal(mean=0, stddev=0.1)"


def test_sharded(mesh: Any) -> None:
    """Shards are as the whole."""
    from torch.distributed.fsdp import fully_shard

    model = nn.Sequential(nn.Linear(4, 4), Arguments(4))
    fully_shard(model[1], mesh=mesh)
    fully_shard(model, mesh=mesh)
    assert str(recorded_again(model).of(model)["1.layers.0.weight"]) == "normal(mean=0, stddev=0.1)"


def test_initialize_without_a_recording() -> None:
    """The same bytes as with one."""
    with fanin.torch.recording() as recorded:
        first = nn.Sequential(Arguments(5), nn.Linear(5, 2))
    fanin.torch.initialize(first, recorded, seed=7)
    second = nn.Sequential(Arguments(5), nn.Linear(5, 2))
    fanin.torch.initialize(second, seed=7, prefix="")
    assert all(torch.equal(first.state_dict()[key], value) for key, value in second.state_dict().items())


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "clip", "t5", "wav2vec2"])
def test_transformers(name: str) -> None:
    """Models of Hugging Face, from their configurations."""
    transformers = pytest.importorskip("transformers")
    with fanin.torch.recording() as recorded:
        model = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(name))
    expected = {path: str(reading) for path, reading in recorded.items()}
    assert {path: str(reading) for path, reading in recorded_again(model).of(model).items()} == expected


def test_transformers_with_another_size() -> None:
    """A configuration that the model was changed away from is refused."""
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    model = transformers.BertModel(config, add_pooling_layer=False)
    with pytest.raises(RecordingError, match="other modules: pooler"):
        recorded_again(model)


def test_notes() -> None:
    """What could not be read is said, as for a recording."""

    class Noted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(np.random.rand(3)))

    with pytest.warns(UserWarning, match="NumPy's generator"):
        recorded_again(Noted())


def test_altered_models() -> None:
    """What a model's own code gives is known, too, if its ties were broken or its layers copied since."""
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=2, n_head=2, n_embd=8, vocab_size=16, bos_token_id=0, eos_token_id=0)
    model = transformers.GPT2LMHeadModel(config)
    model.lm_head.weight = nn.Parameter(torch.ones(16, 8))
    blocks = model.transformer.h
    blocks[1].load_state_dict(blocks[0].state_dict())
    with pytest.raises(RecordingError):
        recorded_again(model)
    entries = {entry.path: entry for entry in own_plan(model).entries}
    assert entries["lm_head.weight"].copy_of == "transformer.wte.weight"
    assert entries["transformer.h.1.mlp.c_proj.weight"].stddev == pytest.approx(0.02 / 2)
    assert entries["transformer.h.1.mlp.c_proj.weight"].copy_of == ""
