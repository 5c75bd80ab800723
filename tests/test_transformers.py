"""Real models of Hugging Face's transformers and of timm, from their configurations alone, each under its preset."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fanin

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
initialize = pytest.importorskip("fanin.torch").initialize
transformers.logging.set_verbosity_error()

pytestmark = pytest.mark.filterwarnings("ignore")  # those of transformers
SMALL = {"hidden_size": 96, "num_attention_heads": 4, "intermediate_size": 160, "num_hidden_layers": 3}
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
    config = transformers.T5Config(
        vocab_size=90,
        d_model=96,
        d_kv=16,
        d_ff=160,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
    )
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


def on_meta(make: Callable[[], Any]) -> Any:
    """A model on the meta device."""
    with torch.device("meta"):
        return make()


def raw(model: Any) -> dict[str, bytes]:
    """The bytes of all parameters and buffers."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return {name: tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes() for name, tensor in tensors}


def check_moments(model: Any, plan: Any) -> None:
    """The standard deviation of each parameter is within four standard errors of the plan's, constants are exact."""
    tensors = dict([*model.named_parameters(), *model.named_buffers()])
    for entry in plan.entries:
        values, drawn = tensors[entry.path].detach().double(), entry.draws[0].distribution
        if entry.parameter.zero_rows:
            values = values[[row for row in range(len(values)) if row not in entry.parameter.zero_rows]]
        if not drawn.random:
            assert (values == entry.mean).all(), entry.path
            continue
        error = entry.stddev * math.sqrt((drawn.kurtosis - 1) / 4 / values.numel())
        assert abs(values.std().item() - entry.stddev) < 4 * error, entry.path


def check_all_differ(model: Any, plan: Any) -> None:
    """No two parameters that are drawn have the same values; what is tied is one parameter."""
    seen: dict[bytes, str] = {}
    values = raw(model)
    for entry in plan.entries:
        if entry.draws[0].distribution.random:
            other = seen.setdefault(values[entry.path][:64], entry.path)
            assert other == entry.path, f"{entry.path} begins as {other}"
    assert not plan.equal_seeds


@pytest.mark.parametrize("name", MODELS)
def test_models(name: str) -> None:
    """Nothing unmatched, the plan's moments, no two equal, twice the same bytes, from the meta device or not."""
    make, preset, inputs = MODELS[name]
    recipe = fanin.Recipe.preset(preset, seed=3)
    model = on_meta(make)
    plan = recipe.plan(model)
    assert (plan.unmatched, plan.problems) == ((), ())
    report = initialize(model, recipe)
    assert len(report.filled) == len(plan.entries)
    assert not any(tensor.is_meta for tensor in [*model.parameters(), *model.buffers()])
    check_moments(model, plan)
    check_all_differ(model, plan)
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


@pytest.mark.parametrize("name", ["GPT-2", "Llama", "BERT", "ViT", "T5", "ResNet"])
def test_inserting_a_layer(name: str) -> None:
    """An adapter in the first block and a further head change no other parameter; neither does one block more, where no
    rule depends on the depth."""
    make, preset, _ = MODELS[name]
    recipe = fanin.Recipe.preset(preset, seed=3)
    model, adapted = make(), make()
    blocks = [path for path, module in adapted.named_modules() if path.rpartition(".")[2] == "0"]
    adapted.get_submodule(blocks[0]).adapter = torch.nn.Linear(8, 8)
    adapted.head_of_another_task = torch.nn.Linear(4, 4)
    for each in (model, adapted):
        initialize(each, recipe)
    before, after = raw(model), raw(adapted)
    assert {path: after[path] for path in before} == before
    assert len(after) == len(before) + 4


def test_one_block_more() -> None:
    """A deeper model has a shallower one's weights, but where the depth is in a rule."""
    recipe = fanin.Recipe.preset("gpt2", seed=3)
    shallow, deep = (
        transformers.GPT2LMHeadModel(transformers.GPT2Config(n_layer=layers, n_embd=96, n_head=4, vocab_size=90))
        for layers in (3, 4)
    )
    plans = [initialize(model, recipe).plan for model in (shallow, deep)]
    before, after = raw(shallow), raw(deep)
    changed = {path for path in before if before[path] != after[path]}
    assert changed == {path for path in before if path.endswith("c_proj.weight")}
    assert {path for path, fields in plans[0].compare(plans[1]).changed.items() if "stddev" in fields} == changed
    fixed = fanin.Recipe.from_dict({**recipe.as_dict(), "constants": {"n_layers": 3}})
    initialize(deep, fixed)
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
        values, drawn = model.get_parameter(entry.path).detach().double(), entry.draws[0].distribution
        assert entry.stddev is not None
        expected = entry.stddev / OWN[name].get(entry.path, 1.0)
        error = expected * math.sqrt(((drawn.kurtosis or 1) - 1) / 4 / values.numel())
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
    recipe = fanin.Recipe.preset("bert", seed=3)
    source, model = bert(), on_meta(bert)
    loaded = {name: tensor for name, tensor in source.state_dict().items() if ".layer.0." in name}
    result = model.load_state_dict(loaded, strict=False, assign=True)
    report = initialize(model, recipe, only_missing=result)
    assert set(report.kept) == set(loaded)
    assert {name: raw(model)[name] for name in loaded} == {name: raw(source)[name] for name in loaded}
    expected = bert()
    initialize(expected, recipe)
    assert {name: value for name, value in raw(expected).items() if name not in loaded} == {
        name: value for name, value in raw(model).items() if name not in loaded
    }


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
fanin.torch.initialize(model, fanin.Recipe.preset("gpt2", seed=1))
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


TIMM = os.environ.get("FANIN_TIMM")
SCRIPT = Path(__file__).parent / "timm_models.py"


@pytest.mark.skipif(TIMM is None, reason="FANIN_TIMM is not the folder of timm and torchvision")
def test_timm() -> None:
    """Nine models of timm under their presets, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(TIMM)])}
    command = [sys.executable, "-W", "ignore", SCRIPT]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.splitlines()[-1] == "9 models"
