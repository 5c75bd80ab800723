"""Tensors that a module's own code makes: frozen tables, buffers after `to_empty`, and what stays empty."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

import fanin
from fanin.torch import initialize
from torch_kit import ALL, PRESETS, bits, on_meta, raw, two_layers


def sinusoids(length: int, width: int) -> torch.Tensor:
    """A table of positions."""
    angles = torch.arange(length)[:, None] / 100 ** (torch.arange(width) / width)
    return torch.where(torch.arange(width) % 2 == 0, angles.sin(), angles.cos())


class Positions(nn.Module):
    """A frozen table that its constructor makes."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.length, self.width = length, width
        self.weight = nn.Parameter(sinusoids(length, width), requires_grad=False)


class Embedding(nn.Embedding):
    """A frozen embedding whose constructor makes a table."""

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__(num_embeddings, embedding_dim)
        self.weight = nn.Parameter(sinusoids(num_embeddings, embedding_dim), requires_grad=False)


class Methodical(nn.Module):
    """A frozen table that a method of the model around it makes, as Whisper's and DistilBERT's."""

    config: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Embedding(5, 4).requires_grad_(False)
        self.linear = nn.Linear(4, 4).requires_grad_(False)
        for module in (self.positions, self.linear, self):
            self._init_weights(module)

    def _init_weights(self, module: Any) -> None:
        with torch.no_grad():
            if module is self:
                module.positions.weight.data[:, :] = sinusoids(5, 4)
            else:
                module.weight.data.normal_()


def shared() -> Any:
    """A table in two places."""
    module: Any = nn.Sequential(Positions(5, 4), Positions(5, 4))
    module[1].weight = module[0].weight
    return module


TABLES: dict[str, tuple[Callable[[], Any], str, str]] = {
    "constructor": (lambda: nn.Sequential(Positions(5, 4)), "0.weight", "as Positions's constructor makes it"),
    "embedding": (lambda: nn.Sequential(Embedding(5, 4)), "0.weight", "as Embedding's constructor makes it"),
    "method": (Methodical, "positions.weight", "by Methodical's _init_weights"),
    "shared": (shared, "0.weight", "as Positions's constructor makes it"),
}


@pytest.mark.parametrize("case", TABLES)
def test_frozen_tables(case: str) -> None:
    """They stay as they are; on the meta device, the same code makes them. Rules for everything pass them by."""
    make, path, how = TABLES[case]
    module, meta = make(), on_meta(make)
    report, made = initialize(module, ALL), initialize(meta, ALL)
    for each in (module, meta):
        table = each.get_parameter(path)
        assert bits(table) == bits(sinusoids(5, 4))
        assert not table.requires_grad
        assert type(table) is nn.Parameter
    assert (report.buffers, made.buffers) == ({}, {path: how})
    assert report.plan.model.left[path] == f"a frozen parameter, made {how}"
    assert path not in report.frozen
    assert raw(module) == raw(meta)


def test_ties_of_tables() -> None:
    """One table stays one."""
    module = on_meta(shared)
    initialize(module, ALL)
    assert module[0].weight is module[1].weight


def test_other_frozen_parameters_are_drawn() -> None:
    """A layer that was frozen from outside, and whose code draws it, is drawn like any, and the report says so."""
    module = Methodical()
    report = initialize(module, ALL)
    assert report.frozen == ("linear.weight", "linear.bias")
    assert "initialized although frozen: linear.weight" in str(report)
    expected = nn.ModuleDict({"linear": nn.Linear(4, 4)})
    initialize(expected, ALL)
    assert bits(module.linear.weight) == bits(expected.get_parameter("linear.weight"))


def test_frozen_norms_and_biases_are_drawn() -> None:
    """A constant is no table: a recipe says what biases and scales start from."""
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4)).requires_grad_(False)
    assert initialize(module, ALL).frozen == ("0.weight", "0.bias", "1.weight", "1.bias")


def test_looking_for_tables_changes_nothing() -> None:
    """The code runs on stand-ins."""
    module = Methodical()
    module.linear.weight.data.fill_(3)
    torch.manual_seed(1)
    state, before = torch.random.get_rng_state(), raw(module)
    parameters = list(module.parameters())
    PRESETS["torch"].plan(module)
    assert raw(module) == before
    assert all(each is other for each, other in zip(module.parameters(), parameters, strict=True))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_large_frozen_models_are_planned_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that draws random numbers runs without memory: a billion elements are nothing."""

    class Large(nn.Module):
        config: Any = None

        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2**15, 2**15, bias=False).requires_grad_(False)

        def _init_weights(self, module: Any) -> None:
            if isinstance(module, nn.Linear):
                module.weight.data.normal_()

    plan = PRESETS["torch"].plan(on_meta(Large))
    assert [entry.path for entry in plan.entries] == ["linear.weight"]


def whisper() -> Any:
    """Whisper."""
    transformers = pytest.importorskip("transformers")
    sizes: dict[str, Any] = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "d_model": 32}
    config = transformers.WhisperConfig(
        **sizes, vocab_size=90, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=64, decoder_ffn_dim=64,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, max_source_positions=50,
        max_target_positions=20,
    )  # fmt: skip
    return transformers.WhisperModel(config)


def distilbert() -> Any:
    """DistilBERT with sinusoids, frozen as in its published models."""
    transformers = pytest.importorskip("transformers")
    config = transformers.DistilBertConfig(
        vocab_size=90, dim=32, n_layers=2, n_heads=2, hidden_dim=64, sinusoidal_pos_embds=True
    )
    model = transformers.DistilBertModel(config)
    model.embeddings.position_embeddings.requires_grad_(False)
    return model


REAL = {
    "Whisper": (whisper, "encoder.embed_positions.weight"),
    "DistilBERT": (distilbert, "embeddings.position_embeddings.weight"),
}


@pytest.mark.filterwarnings("ignore")  # those of transformers
@pytest.mark.parametrize("name", REAL)
def test_sinusoids(name: str) -> None:
    """The sinusoids of Hugging Face's models are theirs, from the meta device or not."""
    make, path = REAL[name]
    model, meta = make(), on_meta(make)
    expected = bits(model.get_parameter(path))
    for each in (model, meta):
        initialize(each, "torch", seed=5)
        assert bits(each.get_parameter(path)) == expected
    assert raw(model) == raw(meta)


# to_empty


class Rotary(nn.Module):
    """A table that its constructor makes, and a state."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("table", torch.arange(float(width)), persistent=False)
        self.register_buffer("state", torch.zeros(2))


class Forgetful(Rotary):
    """Its argument is forgotten."""

    def __init__(self, width: int, secret: float) -> None:
        super().__init__(width)
        self.table += secret


def emptied(module: Any) -> Any:
    """A model after `to_empty`, whose memory is not what it was."""
    module = module.to("meta").to_empty(device="cpu")
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            tensor.fill_(77)
    return module


def test_buffers_after_to_empty() -> None:
    """Non-persistent buffers are made again where this is wanted, in their own memory; persistent ones stay."""
    module = emptied(nn.Sequential(nn.Linear(2, 2), Rotary(4)))
    place = module[1].table.data_ptr()
    report = initialize(module, ALL, remake_buffers=True)
    assert module[1].table.tolist() == [0, 1, 2, 3]
    assert module[1].table.data_ptr() == place
    assert module[1].state.tolist() == [77, 77]
    assert report.buffers == {"1.table": "as Rotary's constructor makes it"}


def test_tables_after_to_empty() -> None:
    """Frozen tables, too."""
    module = emptied(nn.Sequential(Positions(5, 4)))
    initialize(module, ALL, remake_buffers=True)
    assert bits(module[0].weight) == bits(sinusoids(5, 4))


def test_buffers_stay_without_the_option() -> None:
    """By default, a buffer with memory is taken to have its values."""
    module = emptied(nn.Sequential(nn.Linear(2, 2), Rotary(4)))
    assert not initialize(module, ALL).buffers
    assert module[1].table.tolist() == [77, 77, 77, 77]


def test_buffers_that_cannot_be_made_again() -> None:
    """The report has them under a heading of their own, and there is a warning."""
    module = emptied(nn.Sequential(nn.Linear(2, 2), Forgetful(4, 1.0)))
    with pytest.warns(UserWarning, match=r"Not every tensor of the model has values: 1\.table"):
        report = initialize(module, ALL, remake_buffers=True)
    reason = "its module's code could not make it again; whether it has values is unknown"
    assert report.empty == {"1.table": reason}
    assert module[1].table.tolist() == [77, 77, 77, 77]


@pytest.mark.filterwarnings("ignore")  # those of transformers
def test_llama_after_to_empty() -> None:
    """A real model's rotary tables are what its own code makes."""
    transformers = pytest.importorskip("transformers")
    sizes: dict[str, Any] = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2, "vocab_size": 90}
    model = transformers.LlamaModel(transformers.LlamaConfig(**sizes, intermediate_size=64))
    expected = {path: bits(tensor) for path, tensor in model.named_buffers()}
    model = emptied(model)
    initialize(model, "llama", remake_buffers=True)
    assert {path: bits(tensor) for path, tensor in model.named_buffers()} == expected


# What is left on the meta device

LEFT: dict[str, tuple[dict[str, Any], str]] = {
    "skip": ({"skip": "2.*"}, "selected by `skip`"),
    "only": ({"only": ["0.*", "1.*"]}, "not selected by `only`"),
    "only_missing": ({"only_missing": ["2.weight", "2.bias"]}, "already loaded"),
}


@pytest.mark.parametrize("case", LEFT)
def test_parameters_that_stay_empty(case: str) -> None:
    """What a choice leaves on the meta device is in the report, and there is a warning."""
    options, reason = LEFT[case]
    with pytest.warns(
        UserWarning, match=r"has values: 2\.weight \(.*, and 1 more, which the report lists as `empty`\."
    ):
        report = initialize(on_meta(two_layers), ALL, **options)
    reason = f"it is on the meta device, and stays there: {reason}"
    assert report.empty == {"2.weight": reason, "2.bias": reason}
    assert f"without values: 2.weight ({reason})" in str(report)


def test_unmatched_parameters_that_stay_empty() -> None:
    """So is what no rule matches."""
    recipe = fanin.Recipe([{"path": "0.*", "initializer": "zeros"}, {"path": "2.*", "initializer": "zeros"}])
    with pytest.warns(UserWarning, match="Not every tensor of the model has values: 1.weight"):
        report = initialize(on_meta(two_layers), recipe, unmatched="keep")
    assert list(report.empty) == ["1.weight", "1.bias"]


def test_full_models_have_nothing_empty() -> None:
    """And no warning, which would be an error here."""
    assert initialize(on_meta(two_layers), ALL).empty == {}
