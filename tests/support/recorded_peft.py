"""Adapters of PEFT around a small Llama, whose weights are drawn before them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import peft
import transformers

from recorded_cases import Case

_ATTENTION = ["q_proj", "v_proj"]
_LORA = {"r": 4, "target_modules": _ATTENTION}
METHODS: dict[str, tuple[type, dict[str, Any]]] = {
    "LoRA": (peft.LoraConfig, _LORA),
    "LoRA, gaussian": (peft.LoraConfig, {**_LORA, "init_lora_weights": "gaussian"}),
    "LoRA, orthogonal": (peft.LoraConfig, {**_LORA, "init_lora_weights": "orthogonal"}),
    "LoRA of the embedding": (peft.LoraConfig, {**_LORA, "target_modules": ["embed_tokens", "q_proj"]}),
    "rsLoRA": (peft.LoraConfig, {**_LORA, "use_rslora": True}),
    "DoRA": (peft.LoraConfig, {**_LORA, "use_dora": True}),
    "PiSSA": (peft.LoraConfig, {**_LORA, "init_lora_weights": "pissa"}),
    "OLoRA": (peft.LoraConfig, {**_LORA, "init_lora_weights": "olora"}),
    "AdaLoRA": (peft.AdaLoraConfig, {"target_modules": _ATTENTION, "total_step": 10}),
    "LoHa": (peft.LoHaConfig, {"r": 4, "target_modules": _ATTENTION}),
    "LoKr": (peft.LoKrConfig, {"r": 4, "target_modules": _ATTENTION}),
    "IA3": (peft.IA3Config, {"target_modules": _ATTENTION, "feedforward_modules": []}),
    "BOFT": (peft.BOFTConfig, {"boft_block_size": 4, "target_modules": _ATTENTION}),
    "OFT": (peft.OFTConfig, {"oft_block_size": 4, "r": 0, "target_modules": _ATTENTION}),
    "prompt tuning": (peft.PromptTuningConfig, {"task_type": "CAUSAL_LM", "num_virtual_tokens": 4}),
    "prefix tuning": (peft.PrefixTuningConfig, {"task_type": "CAUSAL_LM", "num_virtual_tokens": 4}),
    "P-tuning": (
        peft.PromptEncoderConfig,
        {"task_type": "CAUSAL_LM", "num_virtual_tokens": 4, "encoder_hidden_size": 16},
    ),
}


def base() -> Any:
    """A small Llama."""
    config = transformers.LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        vocab_size=50,
    )
    return transformers.LlamaForCausalLM(config)


def _made(config: type, arguments: dict[str, Any]) -> Any:
    return peft.get_peft_model(base(), config(**arguments))


def adapters() -> Iterable[Case]:
    """The base under every method."""
    for name, (config, arguments) in METHODS.items():
        yield Case.of("peft", name, partial(_made, config, arguments))
