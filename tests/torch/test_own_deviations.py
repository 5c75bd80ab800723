"""Measured standard deviations of transformers' models and of PEFT's adapters, against those of their own code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers
from torch import nn

import fanin
from fanin.torch import initialize

transformers.logging.set_verbosity_error()
pytestmark = pytest.mark.filterwarnings("ignore")  # those of transformers
SMALL: dict[str, Any] = {"hidden_size": 96, "num_attention_heads": 4, "intermediate_size": 160, "num_hidden_layers": 2}
LAYERS: dict[str, Any] = {
    f"{part}_{name}": value
    for part in ("encoder", "decoder")
    for name, value in (("layers", 2), ("attention_heads", 4), ("ffn_dim", 160))
}
NORMAL: dict[str, Any] = {"initializer": "random_normal"}
USUAL = [
    {"role": ["kernel", "embedding"], **NORMAL, "stddev": 0.02},
    {"role": "scale", "initializer": "ones"},
    {"role": ["bias", "offset"], "initializer": "zeros"},
]


def llama() -> Any:
    """Llama."""
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL, vocab_size=90))


def bert() -> Any:
    """BERT."""
    return transformers.BertForMaskedLM(transformers.BertConfig(**SMALL, vocab_size=90))


def gemma() -> Any:
    """Gemma, whose norms scale by one more than their weight."""
    config = transformers.GemmaConfig(**SMALL, num_key_value_heads=2, head_dim=24, vocab_size=90)
    return transformers.GemmaForCausalLM(config)


def whisper() -> Any:
    """Whisper, whose encoder has a frozen table of sinusoids."""
    tokens = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 1)
    config: Any = transformers.WhisperConfig(**LAYERS, **tokens, d_model=96, vocab_size=90)
    return transformers.WhisperModel(config)


def clip() -> Any:
    """CLIP, whose deviations follow from the sizes of its two parts."""
    text = {**SMALL, "vocab_size": 90}
    vision = {**SMALL, "num_hidden_layers": 3, "image_size": 32, "patch_size": 8}
    return transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=64))


def wav2vec2() -> Any:
    """Wav2Vec2, which has a weight under weight_norm."""
    sizes: dict[str, Any] = {"conv_dim": (48, 64), "conv_stride": (5, 2), "conv_kernel": (10, 3)}
    config = transformers.Wav2Vec2Config(
        **SMALL, **sizes, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, vocab_size=90
    )
    return transformers.Wav2Vec2ForCTC(config)


CLIP = [
    {
        "path": ["*q_proj.weight", "*k_proj.weight", "*v_proj.weight"],
        **NORMAL,
        "stddev": "(units * 2 * n_layers)**-0.5",
    },
    {"path": "*out_proj.weight", **NORMAL, "stddev": "units**-0.5"},
    {"path": "*fc1.weight", **NORMAL, "stddev": "(2 * inputs)**-0.5"},
    {"path": "*fc2.weight", **NORMAL, "stddev": "(units * 2 * n_layers)**-0.5"},
    {"path": "*_projection.weight", **NORMAL, "stddev": "inputs**-0.5"},
    {"path": "*class_embedding", **NORMAL, "stddev": "size**-0.5"},
    {"path": "logit_scale", "initializer": "keep"},
]
UNIFORM = {"initializer": "random_uniform", "minval": "-(fan_in**-0.5)", "maxval": "fan_in**-0.5"}
WAV2VEC2 = [
    # Its code draws a wider weight, but into the product of the parametrization, where that is lost.
    {"path": "*pos_conv_embed.conv.weight", **UNIFORM},
    {"path": "*feature_projection.projection.*", **UNIFORM},
    {"path": "*masked_spec_embed", "initializer": "random_uniform", "minval": 0, "maxval": 1},
    {"path": "*conv_layers*conv.weight", **NORMAL, "stddev": "(2 / fan_in)**0.5"},
]
MODELS: dict[str, tuple[Callable[[], Any], Any]] = {
    "Llama": (llama, USUAL),
    "BERT": (bert, USUAL),
    "Gemma": (gemma, [{"layer": "GemmaRMSNorm", "initializer": "zeros"}, *USUAL]),
    "Whisper": (whisper, USUAL),
    "CLIP": (clip, [*CLIP, *USUAL]),
    "Wav2Vec2": (wav2vec2, [*WAV2VEC2, *USUAL]),
}


def measured(model: nn.Module) -> dict[str, tuple[float, float]]:
    """The deviation of each parameter, and what sampling may change about it (five standard errors)."""
    found = {}
    for path, tensor in model.named_parameters():
        values = tensor.detach().double().flatten()
        deviation = values.std().item() if len(values) > 1 else 0.0
        fourth = ((values - values.mean()) ** 4).mean().item() / deviation**4 if deviation else 1.0
        found[path] = deviation, 5 * deviation * (max(0.0, fourth - 1) / 4 / len(values)) ** 0.5
    return found


def assert_alike(ours: nn.Module, theirs: nn.Module) -> None:
    """Every parameter of the two models has the same deviation, up to sampling."""
    expected = measured(theirs)
    wrong = {
        path: (deviation, expected[path][0])
        for path, (deviation, error) in measured(ours).items()
        if abs(deviation - expected[path][0]) > error + expected[path][1]
    }
    assert not wrong


@pytest.mark.parametrize("name", MODELS)
def test_deviations_of_transformers(name: str) -> None:
    """With a recipe that says what a model's own code does, every deviation is that of the own code."""
    make, rules = MODELS[name]
    torch.manual_seed(1)
    theirs, ours = make(), make()
    report = initialize(ours, fanin.Recipe(rules, seed=1))
    assert (report.plan.unmet, report.empty) == ((), {})
    assert_alike(ours, theirs)


@pytest.mark.parametrize("scheme", [True, "gaussian"])
def test_deviations_of_adapters(scheme: Any) -> None:
    """PEFT's adapters on a model that PyTorch's preset initializes as PyTorch does."""
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=24, target_modules=["0", "2"], init_lora_weights=scheme)
    torch.manual_seed(1)
    theirs, ours = (
        peft.get_peft_model(nn.Sequential(nn.Linear(96, 160), nn.ReLU(), nn.Linear(160, 48)), config) for _ in range(2)
    )
    initialize(ours, "torch", seed=1)
    assert_alike(ours, theirs)
