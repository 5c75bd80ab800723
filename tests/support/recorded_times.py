"""How long recording takes, and initializing a model from its recording against its author's own code."""

from __future__ import annotations

import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch

import fanin.torch
from recorded_cases import Make
from recorded_checks import SEED, record
from recorded_written import trillion


def llama(width: int, hidden: int, layers: int, heads: int, tokens: int = 32000) -> Make:
    """A Llama of transformers."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=width,
        intermediate_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        vocab_size=tokens,
    )
    return lambda: LlamaForCausalLM(config)


def whisper() -> Make:
    """Whisper small, of transformers."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    config = WhisperConfig(
        d_model=768,
        encoder_layers=12,
        decoder_layers=12,
        encoder_attention_heads=12,
        decoder_attention_heads=12,
        encoder_ffn_dim=3072,
        decoder_ffn_dim=3072,
    )
    return lambda: WhisperForConditionalGeneration(config)


def vit() -> Make:
    """ViT-L, of timm."""
    from timm_models import made

    if (folder := os.environ["FANIN_TIMM"]) not in sys.path:
        sys.path.append(folder)
    return lambda: made("vit_large_patch16_224")


def deepseek() -> Make:
    """A mixture of experts of a trillion parameters: DeepSeek V3 of transformers with 384 experts, as Kimi K2."""
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

    config = DeepseekV3Config(n_routed_experts=384, num_attention_heads=64, num_key_value_heads=64)
    return lambda: DeepseekV3ForCausalLM(config)


INITIALIZED: dict[str, Callable[[], Make]] = {
    "ViT-L (timm)": vit,
    "Llama 350M": lambda: llama(1024, 2816, 24, 16),
    "Whisper small": whisper,
}
RECORDED: dict[str, Callable[[], Make]] = {
    "Llama 7B": lambda: llama(4096, 11008, 32, 32),
    "mixture of experts, 1T, stacked": deepseek,
    "mixture of experts, 1T, 46,848 layers": trillion,
}


def initialized(name: str, rounds: int = 5) -> dict[str, Any]:
    """Seconds for a model with its values, by the author's own code and by fanin, one after the other in each round.

    fanin's time is that of recording the model and of initializing it from the meta device.
    """
    make = INITIALIZED[name]()
    found: dict[str, list[float]] = {"own code": [], "recorded": [], "initialized": []}
    size = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for turn in range(rounds + 1):  # the first warms up
            times: dict[str, float] = {}
            torch.manual_seed(turn)
            model, times["own code"] = _timed(make)
            size = sum(each.numel() for each in model.parameters())
            del model
            (model, recorded), times["recorded"] = _timed(lambda: record(make))
            _, times["initialized"] = _timed(lambda m=model, r=recorded: fanin.torch.initialize(m, r, seed=SEED))
            del model, recorded
            if turn:
                for key, value in times.items():
                    found[key].append(value)
    return {"name": name, "elements": size, **{key: statistics.median(values) for key, values in found.items()}}


def recorded(name: str, rounds: int = 3) -> dict[str, Any]:
    """Seconds for recording a model of full size."""
    make = RECORDED[name]()
    times, size, count = [], 0, 0
    for _ in range(rounds):
        (model, found), seconds = _timed(lambda: record(make))
        times.append(seconds)
        size = sum(each.numel() for each in model.parameters())
        count = sum(1 for _ in model.parameters())
        del model, found
    return {"name": name, "elements": size, "parameters": count, "seconds": statistics.median(times)}


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start
