"""Models that their own libraries initialize, and ten faults that are put into them: checks for a process of its own.

    python audited_models.py NAME FOLDER

prints a JSON object: what audits find in the healthy model and with each fault, live and in a file in FOLDER. A process
of its own keeps the folder of timm and torchvision out of the path of everything else, where transformers finds them.
"""

from __future__ import annotations

import copy
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

import fanin
import fanin.torch
from fanin.audits import Audit
from timm_models import without_operators


def gpt2() -> nn.Module:
    """GPT-2, as transformers initializes it."""
    import transformers

    return transformers.GPT2LMHeadModel(transformers.GPT2Config(n_layer=6))


def llama() -> nn.Module:
    """A small Llama, as transformers initializes it."""
    import transformers

    config = transformers.LlamaConfig(
        hidden_size=512, intermediate_size=1376, num_hidden_layers=4, num_attention_heads=8, vocab_size=8000
    )
    return transformers.LlamaForCausalLM(config)


def vit() -> nn.Module:
    """A ViT, as transformers initializes it."""
    import transformers

    return transformers.ViTForImageClassification(transformers.ViTConfig(hidden_size=384, intermediate_size=1536))


def resnet50() -> nn.Module:
    """ResNet-50, as torchvision initializes it."""
    with _timm():
        import torchvision  # pyright: ignore[reportMissingImports]

    return torchvision.models.resnet50(weights=None)


def timm_vit() -> nn.Module:
    """ViT-S, as timm initializes it."""
    with _timm():
        import timm  # pyright: ignore[reportMissingImports]

    return timm.create_model("vit_small_patch16_224")


def _timm() -> AbstractContextManager[None]:
    """Where timm and torchvision can be imported, from the folder that FANIN_TIMM names."""
    folder = os.environ.get("FANIN_TIMM")
    if folder and folder not in sys.path:
        sys.path.append(folder)
    return without_operators()


MODELS: dict[str, Callable[[], nn.Module]] = {
    "gpt2": gpt2,
    "llama": llama,
    "vit": vit,
    "resnet50": resnet50,
    "timm_vit": timm_vit,
}


@dataclass(frozen=True)
class Places:
    """Where the faults of a model go, by paths of its parameters.

    Attributes:
        head: a kernel of another shape than all others.
        inner: a kernel of a block that is not square.
        same: a kernel of the same shape and law in another block.
        residual: a kernel whose spread is scaled down for the residual stream; "" if there is none.
        tied: a parameter that is tied to another; "" if there is none.
    """

    head: str
    inner: str
    same: str
    residual: str = ""
    tied: str = ""


PLACES = {
    "gpt2": Places(
        "transformer.wpe.weight",
        "transformer.h.2.mlp.c_fc.weight",
        "transformer.h.4.mlp.c_fc.weight",
        "transformer.h.3.mlp.c_proj.weight",
        "lm_head.weight",
    ),
    "llama": Places("lm_head.weight", "model.layers.1.mlp.up_proj.weight", "model.layers.3.mlp.up_proj.weight"),
    "vit": Places(
        "classifier.weight",
        "vit.layers.2.mlp.fc1.weight",
        "vit.layers.5.mlp.fc1.weight",
    ),
    "resnet50": Places("fc.weight", "layer3.1.conv1.weight", "layer3.3.conv1.weight"),
    "timm_vit": Places("head.weight", "blocks.2.mlp.fc1.weight", "blocks.5.mlp.fc1.weight"),
}


@dataclass(frozen=True)
class Fault:
    """A fault that is put into a model.

    Attributes:
        place: where it goes: the name of a field of `Places`.
        put: changes the tensor, in place, or the model.
        codes: the codes of the problems of which an audit finds one there.
    """

    place: str
    put: Callable[[nn.Module, torch.Tensor, str, Places], None]
    codes: frozenset[str]

    def into(self, model: nn.Module, places: Places) -> str:
        """Puts it into a model, and returns the path of the parameter that is wrong then."""
        path = getattr(places, self.place)
        with torch.no_grad():
            self.put(model, model.get_parameter(path), path, places)
        return path


def _uninitialized(_: nn.Module, tensor: torch.Tensor, path: str, places: Places) -> None:
    """What memory holds that was used before: text, pointers, small integers and zeros."""
    words = torch.frombuffer(bytearray((sys.version * 40).encode()[:2048] + bytes(4096)), dtype=torch.int32)
    pointers = torch.arange(0x7F31_0000_0000, 0x7F31_0000_0000 + 64 * 500, 64).view(torch.int32)
    memory = torch.cat([words, pointers, torch.arange(300, dtype=torch.int32)])
    tensor.view(-1).copy_(memory.repeat(tensor.numel() // len(memory) + 1)[: tensor.numel()].view(torch.float32))


def _transposed(_: nn.Module, tensor: torch.Tensor, path: str, places: Places) -> None:
    """The spread that the other fan gives: of a kernel (out, in, …) that was taken for (in, out, …)."""
    ratio = tensor.shape[0] / tensor.shape[1]
    tensor.mul_(ratio**0.5 if ratio != 1 else 2**0.5)


def _doubled(_: nn.Module, tensor: torch.Tensor, path: str, places: Places) -> None:
    tensor.mul_(2)


def _unscaled(model: nn.Module, tensor: torch.Tensor, path: str, places: Places) -> None:
    tensor.mul_((2 * model.config.n_layer) ** 0.5)  # pyright: ignore


def _untied(model: nn.Module, tensor: torch.Tensor, path: str, places: Places) -> None:
    owner, _, leaf = path.rpartition(".")
    setattr(model.get_submodule(owner), leaf, nn.Parameter(torch.randn_like(tensor) * tensor.std()))


def _copied(model: nn.Module, tensor: torch.Tensor, path: str, places: Places) -> None:
    tensor.copy_(model.get_parameter(places.same))


def _clipped(_: nn.Module, tensor: torch.Tensor, path: str, places: Places) -> None:
    """Drawn in bfloat16 and clipped at two standard deviations."""
    bound = 2 * tensor.std()
    tensor.copy_(tensor.clamp(-bound, bound).bfloat16().float())


def _zeros(_: nn.Module, tensor: torch.Tensor, path: str, places: Places) -> None:
    tensor.zero_()


def _truncated(_: nn.Module, tensor: torch.Tensor, path: str, places: Places) -> None:
    """Cut at one standard deviation, and scaled up again to the same spread."""
    std = float(tensor.std())
    nn.init.trunc_normal_(tensor, std=1.0, a=-1.0, b=1.0)
    tensor.mul_(std / tensor.std())


def _repeated(_: nn.Module, tensor: torch.Tensor, path: str, places: Places) -> None:
    half = tensor.shape[0] // 2
    tensor[half : 2 * half] = tensor[:half]


FAULTS = {
    "uninitialized head": Fault("head", _uninitialized, frozenset({"garbage"})),
    "transposed fans": Fault("inner", _transposed, frozenset({"transposed", "stddev"})),
    "doubled std": Fault("inner", _doubled, frozenset({"stddev"})),
    "residual scaling missing": Fault("residual", _unscaled, frozenset({"residual", "stddev"})),
    "tie broken": Fault("tied", _untied, frozenset({"untied"})),
    "layer copied": Fault("inner", _copied, frozenset({"duplicate"})),
    "clipped in bfloat16": Fault("inner", _clipped, frozenset({"clipped", "grid"})),
    "zeros left": Fault("inner", _zeros, frozenset({"zeros"})),
    "wrong truncation": Fault("inner", _truncated, frozenset({"truncation", "distribution"})),
    "shard repeated": Fault("inner", _repeated, frozenset({"repeated"})),
}


def cases() -> list[tuple[str, str]]:
    """Each model with each fault that it can have."""
    return [
        (model, fault)
        for model, places in PLACES.items()
        for fault, each in FAULTS.items()
        if getattr(places, each.place)
    ]


def state_of(model: nn.Module) -> dict[str, Any]:
    """The tensors of a model, as a state dict that a file can hold, in which ties are written once."""
    seen: dict[int, str] = {}
    state = {}
    for name, tensor in model.state_dict().items():
        if seen.setdefault(tensor.data_ptr(), name) == name:
            state[name] = tensor
    return state


def examined(name: str, folder: Path) -> dict[str, Any]:
    """What audits find in a model, as data: healthy, and with each fault that it can have."""
    torch.manual_seed(1)
    model = MODELS[name]()
    found: dict[str, Any] = {"healthy": [_found(audit) for audit in _healthy(model, folder / "model.safetensors")]}
    for each, fault in cases():
        if each == name:
            found[fault] = _with_fault(copy.deepcopy(model), PLACES[name], FAULTS[fault], folder / "model.safetensors")
    return found


def _healthy(model: nn.Module, path: Path) -> Iterator[Audit]:
    """The audits of a model, of its file, and of the file with the model beside it."""
    save_file(state_of(model), path)
    yield fanin.audit(model)
    yield fanin.audit(path)
    yield fanin.audit(path, model=model)


def _found(audit: Audit) -> dict[str, Any]:
    """What an audit finds, as data."""
    return {"ok": bool(audit), "counts": audit.counts, "text": str(audit), "tensors": len(audit)}


def _with_fault(model: nn.Module, places: Places, fault: Fault, path: Path) -> dict[str, Any]:
    """What audits find in a model with a fault: of its place, live and in the file, and of other tensors."""
    name = fault.into(model, places)
    live = fanin.audit(model)
    save_file(state_of(model), path)
    alone = fanin.audit(path)
    return {
        "live": _codes(live, name),
        "others": sorted({each.name for each in live.findings} - {name, places.same}),
        "file": _codes(alone, name),
        "text": str(live),
    }


def _codes(audit: Audit, name: str) -> list[str]:
    """The codes of the problems of a tensor; none if a tie has another name in the file."""
    return [problem.code for each in audit.tensors if each.name == name for problem in each.verdict.problems]


if __name__ == "__main__":
    try:
        result = examined(sys.argv[1], Path(sys.argv[2]))
    except ModuleNotFoundError as error:
        result = {"missing": error.name}
    print(json.dumps(result))
