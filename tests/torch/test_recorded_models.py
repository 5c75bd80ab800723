"""Models of many libraries are recorded whole at full size, and are what their authors' code makes.

`scripts/recordings` does the same for all models; these are some. timm, torchvision and diffusers are in the folder
that FANIN_TIMM names, and run in processes of their own.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")
pytest.importorskip("scipy")

import torch
from torch import nn

import recorded_checks
import recorded_libraries
from recorded_cases import Case, sample_of
from recorded_libraries import cases, checked

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the libraries
APART = pytest.mark.skipif(not os.environ.get("FANIN_TIMM"), reason="FANIN_TIMM is not the folder of the library")
# Known ones, and some chosen by chance.
KNOWN = (
    "clip/CLIPModel",
    "deepseek_v3/DeepseekV3ForCausalLM",
    "gemma3/Gemma3Model",
    "gpt2/GPT2LMHeadModel",
    "gpt_oss/GptOssForCausalLM",
    "llama/LlamaForCausalLM",
    "mamba/MambaForCausalLM",
    "mixtral/MixtralForCausalLM",
    "siglip/SiglipModel",
    "wav2vec2/Wav2Vec2Model",
    "whisper/WhisperModel",
)
MEASURED = sorted({*KNOWN, *(each.name for each in sample_of(cases("measure", "transformers").values(), 50))})
COMPARED = (
    "clip/CLIPModel",
    "convnextv2/ConvNextV2Model",
    "deepseek_v3/DeepseekV3ForCausalLM",
    "dinov2/Dinov2Model",
    "gpt2/GPT2Model",
    "jamba/JambaModel",
    "llama/LlamaForCausalLM",
    "mamba/MambaModel",
    "mamba2/Mamba2Model",
    "mixtral/MixtralModel",
    "qwen3_moe/Qwen3MoeForCausalLM",
    "rwkv/RwkvModel",
    "siglip/SiglipModel",
    "swin/SwinModel",
    "t5/T5Model",
    "vit/ViTModel",
    "wav2vec2/Wav2Vec2Model",
    "whisper/WhisperModel",
)
OTHERS = {
    "timm": (
        "byobnet/test_byobnet",
        "convnext/test_convnext",
        "efficientnet/test_efficientnet",
        "mambaout/test_mambaout",
        "maxxvit/test_coatnet",
        "nfnet/test_nfnet",
        "resnet/test_resnet",
        "vision_transformer/test_vit",
    ),
    "torchvision": ("mobilenet_v3_small", "resnet18", "shufflenet_v2_x0_5"),
    "diffusers": (
        "AutoencoderKL",
        "DiTTransformer2DModel",
        "FluxTransformer2DModel",
        "SD3Transformer2DModel",
        "UNet1DModel",
        "UNet2DModel",
    ),
}


def names(library: str) -> list[str]:
    """The names of the models of a library."""
    return [*cases("compare", library)]


@functools.cache
def apart(library: str) -> dict[str, Any]:
    """What is found of some models of a library, in a process of its own."""
    command = [sys.executable, "-W", "ignore", recorded_libraries.__file__, "compare", library, *OTHERS[library]]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", MEASURED)
def test_full_size(name: str) -> None:
    """Every parameter of an architecture is accounted for, or it cannot be made without recording either."""
    found = checked("measure", "transformers", name)
    assert not found["faults"], found["faults"]


@pytest.mark.parametrize("name", COMPARED)
def test_transformers(name: str) -> None:
    """A model made small has the distributions of its author's code."""
    found = checked("compare", "transformers", name)
    assert not found["faults"], found["faults"]
    assert not found["unmade"]


@pytest.mark.parametrize("name", names("torch.nn"))
def test_layers(name: str) -> None:
    """A layer of torch.nn has the distributions of its constructor."""
    found = checked("compare", "torch.nn", name)
    assert not found["faults"], found["faults"]
    assert not found["unmade"]


@pytest.mark.parametrize("name", names("hand-written"))
def test_written(name: str) -> None:
    """A model written by hand has the distributions that are written."""
    found = checked("compare", "hand-written", name)
    assert not found["faults"], found["faults"]
    assert not found["unmade"]


@pytest.mark.parametrize("name", names("peft"))
def test_adapters(name: str) -> None:
    """An adapter of PEFT has the distributions of its method, and fits the weights that it adapts."""
    found = checked("compare", "peft", name)
    assert not found["faults"], found["faults"]
    assert not found["unmade"]


@APART
@pytest.mark.parametrize(("library", "name"), [(library, name) for library, few in OTHERS.items() for name in few])
def test_others(library: str, name: str) -> None:
    """A model of another library has the distributions of its author's code."""
    found = apart(library)[name]
    assert not found["faults"], found["faults"]
    assert not found["unmade"]


class Layer(nn.Module):
    """A parameter that a function fills."""

    def __init__(self, fill: Callable[[torch.Tensor], object]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(200, 100))
        with torch.no_grad():
            fill(self.weight)


Fill = Callable[[torch.Tensor], object]
# What the author's code does, and what a recording would have misread.
MISREAD: dict[str, tuple[Fill, Fill, str]] = {
    "a constant": (nn.init.ones_, lambda w: w.fill_(0.999), "is not what the code makes each time"),
    "a constant, drawn": (lambda w: w.normal_(0, 1e-3), nn.init.zeros_, "the code draws it"),
    "a mean": (lambda w: w.normal_(0, 1), lambda w: w.normal_(0.05, 1), "standard errors"),
    "a standard deviation": (lambda w: w.normal_(0, 1), lambda w: w.normal_(0, 1.03), "standard errors"),
    "a bound": (lambda w: w.uniform_(-1, 1), lambda w: w.uniform_(-0.999, 0.999), "is beyond"),
    "a law": (lambda w: w.normal_(0, 1), lambda w: w.uniform_(-(3**0.5), 3**0.5), "is not distributed as"),
    "a row": (lambda w: w.normal_()[3].zero_(), lambda w: w.normal_()[4].zero_(), "each time are not all alike"),
    "half of it": (lambda w: w.normal_()[:100].mul_(2), lambda w: w.normal_()[:80].mul_(2), "is not distributed as"),
}


@pytest.mark.parametrize("name", MISREAD)
def test_misreadings_are_found(name: str) -> None:
    """The comparison finds what a recording has misread."""
    theirs, ours, message = MISREAD[name]
    calls = iter([theirs] * len(recorded_checks.SEEDS) + [ours])
    found = recorded_checks.compare(Case.of("hand-written", name, lambda: Layer(next(calls))))
    assert any(message in fault for fault in found.faults), found.faults


@pytest.mark.parametrize("name", MISREAD)
def test_right_readings_pass(name: str) -> None:
    """The comparison finds nothing where there is nothing."""
    theirs, _, _ = MISREAD[name]
    assert not recorded_checks.compare(Case.of("hand-written", name, lambda: Layer(theirs))).faults
