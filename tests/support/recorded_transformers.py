"""Every architecture of Hugging Face's transformers, at the size of its default configuration and made small."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import transformers
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM
from transformers.models.auto import modeling_auto

from recorded_cases import Case, Make, first_small

transformers.logging.set_verbosity_error()

_HEAD = {"head_dim": 128}
_HORIZON = {"prediction_length": 24}
_ROPE = {kind: {"rope_type": "default", "rope_theta": 10000.0} for kind in ("full_attention", "sliding_attention")}
# What a default configuration lacks for its model to be made at all, with transformers 5.24.
NEEDED: dict[str, dict[str, Any]] = {
    "autoformer": _HORIZON,
    "aya_vision": {"vision_config": {"model_type": "siglip_vision_model", "num_attention_heads": 16}},
    "chameleon": {"vocabulary_map": {"<image>": 1}},
    "cohere_compass": {"text_config": {"rope_parameters": _ROPE}},
    "cohere_compass_text": {"rope_parameters": _ROPE},
    "dbrx": {"attn_config": {"clip_qkv": 8, "rope_theta": 10000.0}},
    "deepseek_ocr2": {"text_config": {"mlp_layer_types": ["dense"] + 31 * ["sparse"]}},
    "diffusion_gemma": {"text_config": {"moe_intermediate_size": 64, "num_experts": 8, "top_k_experts": 2}},
    "dots1": {"n_routed_experts": 128, "n_shared_experts": 2},
    "emu3": {"vocabulary_map": {"<|extra_200|>": 1, "<image>": 2}},
    "esm": {"vocab_size": 33, "pad_token_id": 1},
    "hunyuan_v1_dense": _HEAD,
    "hunyuan_v1_moe": _HEAD,
    "hunyuan_vl": {"text_config": _HEAD},
    "hunyuan_vl_text": _HEAD,
    "informer": _HORIZON,
    "lfm2_moe": {"layer_types": 16 * ["conv", "full_attention"]},
    "ministral": _HEAD,
    "nemotron": {"num_key_value_heads": 8},
    "time_series_transformer": _HORIZON,
}
_AUTO = {"AutoModel": AutoModel, "AutoModelForCausalLM": AutoModelForCausalLM}
_TABLES: dict[str, Any] = {
    "AutoModel": modeling_auto.MODEL_MAPPING,
    "AutoModelForCausalLM": modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING,
}


def architectures() -> Iterator[tuple[str, str, str]]:
    """The types of models, the automatic class that makes them and the name of the class made, each class once."""
    tables = {
        "AutoModel": modeling_auto.MODEL_MAPPING_NAMES,
        "AutoModelForCausalLM": modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    }
    seen = set()
    for auto, table in tables.items():
        for kind, classes in sorted(table.items()):
            name = classes if isinstance(classes, str) else classes[0]
            if (kind, name) not in seen:
                seen.add((kind, name))
                yield kind, auto, name


def full() -> Iterable[Case]:
    """All architectures as they are by default."""
    for kind, auto, name in architectures():
        yield Case("transformers", f"{kind}/{name}", partial(_prepared, kind, auto))


def small() -> Iterable[Case]:
    """All architectures made small: each with the first of several reductions that its constructor accepts."""
    for kind, auto, name in architectures():
        yield Case("transformers, small", f"{kind}/{name}", partial(_prepared_small, kind, auto))


def _config(kind: str) -> Any:
    return AutoConfig.for_model(kind, **copy.deepcopy(NEEDED.get(kind, {})))


def _made(auto: str, config: Any) -> Any:
    """A model; constructors may change what they are given."""
    return _AUTO[auto].from_config(copy.deepcopy(config))


def _prepared(kind: str, auto: str) -> Make:
    config = _config(kind)
    _TABLES[auto][type(config)]  # its module is imported before anything is recorded
    return partial(_made, auto, config)


def _prepared_small(kind: str, auto: str) -> Make:
    reductions = (partial(_made, auto, reduced(_config(kind), factor)) for factor in FACTORS)
    return first_small(reductions, kind)


# Making a configuration small.

FACTORS = (32, 16, 8, 4, 12, 2, 1)
WIDTHS = re.compile(
    r"\w+_(size|sizes|dim|dims|channel|channels|width|widths|rank|features)|dims?|width|hidden"
    r"|d_model|d_ff|d_kv|d_inner|d_state|n_embd|n_inner"
)
# Widths of what comes in or goes out, whose numbers fit others.
KEPT = re.compile(
    r"(vocab|patch|image|tile|kernel|window|chunk|input|block|group|spatial|conv_kernel|pool|sampling|crop|sample|"
    r"num_channels|tubelet|temporal|stride|codebook|pretrain|in_channels|out_channels|audio_channels|type).*"
)
CHANNELS = ("block_out_channels", "base_channels", "decoder_block_out_channels", "encoder_block_out_channels")
LAYERS = re.compile(
    r".*(num|n)_\w*(layers?|blocks?|stages)|n_layers?|num_layers|depths?|layers|num_blocks|layer_depths"
)
EXPERTS = re.compile(r"(num|n)_(local_|routed_|)experts|moe_num_experts|num_experts")
CHOSEN = re.compile(r"(num_experts_per_\w+|top_k\w*|moe_top_?k|topk_group|n_group|num_experts_per_tok)")
VOCABULARY = re.compile(r"\w*vocab_size\w*|max_position_embeddings|n_positions|max_\w*positions?|max_seq_len\w*")


def reduced(config: Any, factor: int) -> Any:
    """The configuration with its widths divided, and few layers, experts and tokens; those within it likewise."""
    for name, value in list(vars(config).items()):
        if isinstance(value, transformers.PreTrainedConfig):
            reduced(value, factor)
        elif isinstance(value, int) and not isinstance(value, bool):
            vars(config)[name] = number(name, value, factor)
        elif isinstance(value, (list, tuple)) and value and all(type(each) is int for each in value):
            vars(config)[name] = type(value)(number(name, each, factor) for each in value)
    return config


def number(name: str, value: int, factor: int) -> int:
    """A smaller number in place of one of a configuration, or of an argument, by its name."""
    if VOCABULARY.fullmatch(name):
        return min(value, 512)
    if name.endswith("token_id") or name == "padding_idx":
        return min(value, 3)
    if EXPERTS.fullmatch(name):
        return min(value, 4)
    if name == "norm_num_groups":
        return min(value, 4)
    if CHOSEN.fullmatch(name):
        return min(value, 2)
    if name == "first_k_dense_replace":
        return min(value, 1)
    if LAYERS.fullmatch(name):
        return min(value, 2)
    is_width = name in CHANNELS or (WIDTHS.fullmatch(name) and not KEPT.fullmatch(name))
    if is_width and value % factor == 0 and value // factor >= 4:
        return value // factor
    return value
