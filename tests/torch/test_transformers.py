"""Real models of Hugging Face's transformers, from their configurations alone, each under its preset."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers

import fanin
from fanin.torch import initialize
from torch_kit import assert_all_differ, assert_moments, bits, on_meta, raw

transformers.logging.set_verbosity_error()

pytestmark = pytest.mark.filterwarnings("ignore")  # those of transformers
SMALL: dict[str, Any] = {"hidden_size": 96, "num_attention_heads": 4, "intermediate_size": 160, "num_hidden_layers": 3}
TOKENS = {"input_ids": torch.arange(12).view(2, 6) % 90}
PIXELS = {"pixel_values": torch.linspace(-1, 1, 2 * 3 * 32 * 32).view(2, 3, 32, 32)}


def gpt2() -> Any:
    """GPT-2."""
    config = transformers.GPT2Config(n_layer=3, n_embd=96, n_head=4, vocab_size=90, n_positions=64)
    return transformers.GPT2LMHeadModel(config)


def llama() -> Any:
    """Llama, with fewer keys than queries."""
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL, num_key_value_heads=2, vocab_size=90))


def bert() -> Any:
    """BERT."""
    return transformers.BertForMaskedLM(transformers.BertConfig(**SMALL, vocab_size=90))


def vit() -> Any:
    """A vision transformer."""
    config = transformers.ViTConfig(**SMALL, image_size=32, patch_size=8)
    return transformers.ViTForImageClassification(config)


def t5() -> Any:
    """T5."""
    config = transformers.T5Config(vocab_size=90, d_model=96, d_kv=16, d_ff=160, num_layers=3, num_heads=4)
    return transformers.T5ForConditionalGeneration(config)


def untied_t5() -> Any:
    """T5 1.1, with a gated feed-forward and a head of its own."""
    sizes = {"d_model": 96, "d_kv": 16, "d_ff": 160, "num_layers": 2, "num_heads": 4}
    more: dict[str, Any] = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
    config = transformers.T5Config(vocab_size=90, **sizes, **more)
    return transformers.T5ForConditionalGeneration(config)


def resnet() -> Any:
    """A residual network of bottlenecks."""
    config = transformers.ResNetConfig(embedding_size=32, hidden_sizes=[64, 128], depths=[2, 2])
    return transformers.ResNetForImageClassification(config)


MODELS: dict[str, tuple[Callable[[], Any], str, dict[str, Any]]] = {
    "GPT-2": (gpt2, "gpt2", TOKENS),
    "Llama": (llama, "llama", TOKENS),
    "BERT": (bert, "bert", TOKENS),
    "ViT": (vit, "vit", PIXELS),
    "T5": (t5, "t5", {**TOKENS, "decoder_input_ids": TOKENS["input_ids"]}),
    "T5 1.1": (untied_t5, "t5", {**TOKENS, "decoder_input_ids": TOKENS["input_ids"]}),
    "ResNet": (resnet, "resnet", PIXELS),
    "GPT-2 as PyTorch": (gpt2, "torch", TOKENS),
    "Llama as Keras": (llama, "keras", TOKENS),
    "BERT under mup": (bert, "mup", TOKENS),
}


def recipe_for(name: str) -> fanin.Recipe:
    """The preset of a model."""
    return fanin.Recipe.preset(MODELS[name][1], seed=3)


@pytest.mark.parametrize("name", MODELS)
def test_plans(name: str) -> None:
    """Everything has a rule, values have the plan's moments, and no two parameters are equal, from the meta device."""
    model, recipe = on_meta(MODELS[name][0]), recipe_for(name)
    plan = recipe.plan(model)
    assert (plan.unmatched, plan.problems) == ((), ())
    report = initialize(model, recipe)
    assert len(report.filled) == len(plan.entries)
    assert not any(tensor.is_meta for tensor in [*model.parameters(), *model.buffers()])
    assert_moments(model, plan)
    assert_all_differ(model, plan)


@pytest.mark.parametrize("name", MODELS)
def test_models(name: str) -> None:
    """From the meta device or not: the same bytes and outputs, and the buffers that the model's own code makes."""
    make, _, inputs = MODELS[name]
    model, recipe = on_meta(make), recipe_for(name)
    initialize(model, recipe)
    torch.manual_seed(1)
    other = make()
    buffers = {path: tensor.clone() for path, tensor in other.named_buffers()}
    initialize(other, recipe)
    assert raw(other) == raw(model)
    for path, tensor in model.named_buffers():
        assert torch.equal(buffers[path], tensor), path
    with torch.no_grad():
        results = [each.eval()(**inputs).logits for each in (model, other)]
    assert torch.equal(*results)
    assert results[0].isfinite().all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", MODELS)
def test_models_of_16_bits(name: str, dtype: str) -> None:
    """A 16-bit model from the meta device is the rounded float32 model."""
    make, recipe = MODELS[name][0], recipe_for(name)
    narrow, wide = on_meta(make).to(getattr(torch, dtype)), make()
    initialize(narrow, recipe)
    initialize(wide, recipe)
    assert raw(narrow) == raw(wide.to(getattr(torch, dtype)))


@pytest.mark.parametrize("name", ["GPT-2", "Llama", "BERT", "ViT", "T5", "ResNet"])
def test_inserting_a_layer(name: str) -> None:
    """An adapter in the first block and a further head change no other parameter."""
    make, recipe = MODELS[name][0], recipe_for(name)
    model, adapted = make(), make()
    blocks = [path for path, module in adapted.named_modules() if path.rpartition(".")[2] == "0"]
    adapted.get_submodule(blocks[0]).adapter = torch.nn.Linear(8, 8)
    adapted.head_of_another_task = torch.nn.Linear(4, 4)
    for each in (model, adapted):
        initialize(each, recipe)
    before, after = raw(model), raw(adapted)
    assert {path: after[path] for path in before} == before
    assert len(after) == len(before) + 4


def gpt2_of(layers: int) -> Any:
    """GPT-2 with so many blocks."""
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(n_layer=layers, n_embd=96, n_head=4, vocab_size=90))


def test_one_block_more() -> None:
    """A deeper model has a shallower one's weights, but where the depth is in a rule."""
    recipe, (shallow, deep) = recipe_for("GPT-2"), map(gpt2_of, (3, 4))
    plans = [initialize(model, recipe).plan for model in (shallow, deep)]
    before, after = raw(shallow), raw(deep)
    changed = {path for path in before if before[path] != after[path]}
    assert changed == {path for path in before if path.endswith("c_proj.weight")}
    assert {path for path, fields in plans[0].compare(plans[1]).changed.items() if "stddev" in fields} == changed


def test_one_block_more_with_the_depth_given() -> None:
    """A recipe that says the depth has the shallower model's weights in the deeper one."""
    recipe, (shallow, deep) = recipe_for("GPT-2"), map(gpt2_of, (3, 4))
    initialize(shallow, recipe)
    initialize(deep, fanin.Recipe.from_dict({**recipe.as_dict(), "constants": {"n_layers": 3}}))
    before = raw(shallow)
    assert {path: raw(deep)[path] for path in before} == before


OWN: dict[str, dict[str, float]] = {
    # What OpenAI's code has and Hugging Face's has not: position embeddings of 0.01.
    "GPT-2": {"transformer.wpe.weight": 0.5},
    "T5": {},
    "T5 1.1": {},
}


@pytest.mark.parametrize("name", OWN)
def test_presets_are_as_transformers_has_it(name: str) -> None:
    """Hugging Face's own initialization has the plan's standard deviations, but for what the preset names."""
    make, preset, _ = MODELS[name]
    torch.manual_seed(1)
    model = make()
    for entry in fanin.Recipe.preset(preset).plan(model).entries:
        values, moments = (
            model.get_parameter(entry.path).detach().double(),
            entry.placements[0].weight.distribution.moments,
        )
        assert entry.stddev is not None
        expected = entry.stddev / OWN[name].get(entry.path, 1.0)
        error = expected * math.sqrt(((moments.kurtosis or 1) - 1) / 4 / values.numel())
        assert abs(values.std().item() - expected) <= 5 * error, entry.path


def test_fused_queries() -> None:
    """GPT-2's c_attn is queries, keys and values, which a rule can tell apart."""
    recipe = fanin.Recipe(
        [
            {"block": "query", "initializer": "zeros"},
            {"path": "*", "role": "kernel", "initializer": "he_normal"},
            {"path": "*", "initializer": "zeros"},
        ],
        seed=3,
    )
    model = gpt2()
    initialize(model, recipe)
    weight = model.transformer.h[1].attn.c_attn.weight
    assert not weight[:, :96].any()
    whole = fanin.HeNormal(seed=3).spawn("transformer.h.1.attn.c_attn.weight")((96, 288))
    assert weight[:, 96:].detach().numpy().tobytes() == whole[:, 96:].tobytes()


def test_half_a_checkpoint() -> None:
    """What a checkpoint lacks is drawn, the rest stays as it was loaded."""
    recipe, model, expected = recipe_for("BERT"), on_meta(bert), bert()
    loaded = {name: tensor for name, tensor in bert().state_dict().items() if ".layer.0." in name}
    before = {name: bits(tensor) for name, tensor in loaded.items()}  # whose memory the model has from now on
    result = model.load_state_dict(loaded, strict=False, assign=True)
    report = initialize(model, recipe, only_missing=result)
    assert set(report.kept) == set(loaded)
    initialize(expected, recipe)
    assert raw(model) == {**raw(expected), **before}


def test_memory(tmp_path: Path) -> None:
    """From the meta device to initialized in bfloat16, a model takes its own size and at most 64 MiB."""
    script = tmp_path / "memory.py"
    script.write_text(
        """
import resource, torch, transformers, fanin, fanin.torch
transformers.logging.set_verbosity_error()
config = transformers.GPT2Config(n_layer=8, n_embd=1536, n_head=16)
with torch.device("meta"):
    model = transformers.GPT2LMHeadModel(config).to(torch.bfloat16)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
fanin.torch.initialize(model, "gpt2", seed=1)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
size = sum(parameter.nbytes for parameter in model.parameters())
print(size >> 20, (peak >> 10) - (size >> 20))
"""
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "ignore", script]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    size, more = map(int, run.stdout.split())
    assert size > 500
    assert more < 64


def test_configurations_of_parts() -> None:
    """`config.NAME` is that of the part of the model that a parameter is in, or else of what is around it."""
    text = transformers.CLIPTextConfig(**SMALL, vocab_size=90)
    vision = transformers.CLIPVisionConfig(**{**SMALL, "hidden_size": 48, "image_size": 32, "patch_size": 16})
    config = transformers.CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=24)
    model = on_meta(lambda: transformers.CLIPModel(config))
    rules = [{"path": "*", "initializer": "random_normal", "stddev": "config.hidden_size"}]
    plan = fanin.Recipe(rules).plan(model)
    assert plan.entry("text_model.encoder.layers.0.mlp.fc1.weight").stddev == 96
    assert plan.entry("vision_model.encoder.layers.0.mlp.fc1.weight").stddev == 48
    assert "config.hidden_size, which is unknown here" in plan.entry("text_projection.weight").problem
    whole = fanin.Recipe([{**rules[0], "stddev": "config.projection_dim"}]).plan(model)
    assert whole.entry("text_projection.weight").stddev == 24


def test_presets_for_a_part() -> None:
    """`n_layers` may be given to a preset whose rules depend on it, and to no other."""
    block = on_meta(gpt2).transformer.h[1]
    plan = fanin.Recipe.preset("gpt2", n_layers=12).plan(block)
    assert plan.entry("attn.c_proj.weight").stddev == pytest.approx(0.02 / 24**0.5)
    with pytest.raises(ValueError, match=r"^Unknown constant 'n_layers'\. Known constants of the preset: none\."):
        fanin.Recipe.preset("bert", n_layers=12)
