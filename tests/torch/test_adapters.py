"""Low-rank adapters: one matrix of each pair is zero at first, so that the model is what it was without them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

import fanin
import fanin.torch
from fanin.recipes import PlanError
from fanin.torch import initialize
from torch_kit import ALL, PRESETS, SEED, bits, on_meta, raw

pytestmark = pytest.mark.filterwarnings("ignore")  # those of transformers and peft


def gpt2() -> Any:
    """GPT-2."""
    transformers = pytest.importorskip("transformers")
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(n_layer=2, n_embd=32, n_head=2, vocab_size=90))


def adapted(**options: Any) -> Any:
    """GPT-2 with adapters of PEFT."""
    peft = pytest.importorskip("peft")
    modules = ["c_attn", "c_proj", "wte"]
    config = peft.LoraConfig(**{"r": 4, "target_modules": modules, "fan_in_fan_out": True, **options})
    return peft.get_peft_model(gpt2(), config)


@pytest.mark.parametrize("scheme", [True, "gaussian"])
@pytest.mark.parametrize("start", ["cpu", "meta"])
@pytest.mark.parametrize("recipe", [ALL, fanin.Recipe.preset("gpt2", seed=SEED)], ids=["all", "gpt2"])
def test_lora_of_peft(recipe: Any, start: str, scheme: Any) -> None:
    """Adapters start as PEFT starts them, and the model's weights are those that it has without them."""
    torch.manual_seed(1)
    theirs = {path: tensor.detach().clone() for path, tensor in adapted(init_lora_weights=scheme).named_parameters()}
    model, plain = adapted(init_lora_weights=scheme), gpt2()
    model = on_meta(lambda: adapted(init_lora_weights=scheme)) if start == "meta" else model
    initialize(model, recipe)
    initialize(plain, recipe)
    base = {path.replace(".base_layer", ""): bits(tensor) for path, tensor in model.named_parameters()}
    for path, tensor in plain.named_parameters():
        assert base[f"base_model.model.{path}"] == bits(tensor), path
    pairs = [path for path in theirs if "lora_" in path]
    assert len(pairs) == 14
    for path in pairs:
        values = model.get_parameter(path).detach()
        if "lora_B" in path or "lora_embedding_A" in path:
            assert not values.any(), path
            continue
        count, spread = values.numel(), theirs[path].std().item()
        assert abs(values.std().item() / spread - 1) < 8 / math.sqrt(count), path
        if scheme is True and "lora_A" in path:
            assert values.abs().max().item() <= 1 / math.sqrt(values.shape[1]), path


def test_frozen_weights_are_reported() -> None:
    """What PEFT has frozen and the recipe drew is listed."""
    report = initialize(adapted(), "gpt2", seed=SEED)
    assert "transformer.h.0.attn.c_attn.weight" in report.frozen
    assert not any("lora" in path for path in report.frozen)


def test_adapters_alone() -> None:
    """Their roles have names, and a rule of a role replaces the usual start."""
    model = adapted()
    before = raw(model)
    recipe = fanin.Recipe([{"role": "lora_a", "initializer": "ones"}, {"path": "*", "initializer": "zeros"}])
    report = initialize(model, recipe, only="*lora_*")
    assert all("lora_" in path for path in report.filled)
    values = model.get_parameter("base_model.model.transformer.h.1.attn.c_attn.lora_A.default.weight")
    assert (values == 1).all()
    assert all(value == before[path] for path, value in raw(model).items() if "lora_" not in path)


DEPENDENT: dict[str, tuple[dict[str, Any], str]] = {
    "DoRA": ({"use_dora": True, "target_modules": ["c_attn"]}, "the start of lora_magnitude_vector is not known"),
    "PiSSA": (
        {"init_lora_weights": "pissa", "target_modules": ["c_attn"]},
        "Its adapter has init_lora_weights='pissa', and only the starts of True, False and 'gaussian' are known",
    ),
    "orthogonal matrices": (
        {"init_lora_weights": "orthogonal", "target_modules": ["c_attn"]},
        "Its adapter has init_lora_weights='orthogonal', and only the starts of True, False and 'gaussian' are known",
    ),
}


@pytest.mark.parametrize("case", DEPENDENT)
def test_adapters_of_other_starts(case: str) -> None:
    """They are refused before anything is written, with what to do."""
    options, reason = DEPENDENT[case]
    model = adapted(**options)
    before = raw(model)
    with pytest.raises(PlanError, match=reason) as caught:
        initialize(model, ALL)
    assert "Initialize the model before the adapter is added, or leave the adapter and its layer out" in str(
        caught.value
    )
    assert raw(model) == before


def test_other_adapters_of_peft() -> None:
    """An adapter whose start is not known is refused, too, for a rule for everything would change the model."""
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(gpt2(), peft.IA3Config(target_modules=["c_attn"], feedforward_modules=[]))
    with pytest.raises(PlanError, match="the start of ia3_l is not known"):
        initialize(model, ALL)
    initialize(model, ALL, skip="*ia3_l*")


class OfParameters(nn.Linear):
    """A layer with an adapter, as loralib has it."""

    def __init__(self) -> None:
        super().__init__(6, 5)
        self.lora_A, self.lora_B = nn.Parameter(torch.ones(2, 6)), nn.Parameter(torch.ones(5, 2))


class OfLayers(nn.Linear):
    """A layer with an adapter, as torchtune has it."""

    def __init__(self) -> None:
        super().__init__(6, 5)
        self.lora_a, self.lora_b = nn.Linear(6, 2, bias=False), nn.Linear(2, 5, bias=False)


@pytest.mark.parametrize("layer", [OfParameters, OfLayers])
def test_adapters_of_other_packages(layer: Callable[[], Any]) -> None:
    """They are known by their names: a uniform draw, as for a Linear, and zeros."""
    module = layer()
    plan = initialize(module, PRESETS["keras"]).plan
    tensors = {entry.parameter.role: (entry, module.get_parameter(entry.path)) for entry in plan.entries}
    first, drawn = tensors["lora_a"]
    second, zero = tensors["lora_b"]
    assert not zero.any()
    assert 0 < drawn.abs().max() <= 1 / math.sqrt(6)
    assert (first.rule, second.rule) == ("its default initial value", "its default initial value")
    assert first.fans == (6, 2)


def test_reports_are_short() -> None:
    """What is frozen, and what `only` leaves out, is a line with a count."""
    model = adapted(target_modules=["c_attn"])
    report = initialize(model, "gpt2", seed=SEED)
    said = [line for line in str(report).splitlines() if "frozen" in line]
    assert said == ["initialized although frozen: 28 parameters, such as transformer.wte.weight"]
    assert len(report.frozen) == 28
    report = initialize(model, "gpt2", seed=SEED, only="*lora_*")
    assert str(report).splitlines()[1:] == [
        "kept: 28 parameters, such as transformer.wte.weight (not selected by `only`)"
    ]
    remarks = fanin.Recipe.preset("gpt2").plan(model).table().splitlines()
    assert "frozen, but initialized as well: 28 parameters, such as transformer.wte.weight" in remarks


def test_lora_added_after_a_recording() -> None:
    """Adapters that are added to a recorded model start as PEFT starts them; the model has its recorded values."""
    peft = pytest.importorskip("peft")
    with fanin.torch.recording() as recorded:
        model = gpt2()
    config = peft.LoraConfig(r=4, target_modules=["c_attn", "wte"], fan_in_fan_out=True)
    with torch.device("meta"):
        model = peft.get_peft_model(model, config, low_cpu_mem_usage=True)
    initialize(model, recorded, seed=SEED)
    with fanin.torch.recording() as recorded:
        plain = gpt2()
    initialize(plain, recorded, seed=SEED, prefix="")
    own = {path.replace("base_layer.", ""): each for path, each in raw(model.base_model.model).items()}
    assert {path: own[path] for path in raw(plain)} == raw(plain)
    for path, each in model.named_parameters():
        if "lora_B" in path:
            assert not each.any(), path
        elif "lora_A" in path:
            assert abs(float(each.std()) * math.sqrt(3 * each.shape[1]) - 1) < 0.15, path
