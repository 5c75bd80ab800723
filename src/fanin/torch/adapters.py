"""Low-rank adapters: their pairs of matrices, of which one is zero at first, and the wrappers that PEFT puts around.

The pairs are known by the names that PEFT, loralib and torchtune give them. An adapter must leave its model as it is at
first, so its parameters start as those packages have it, unless a rule names their role.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from fanin._core.types import Shape
from fanin.models.names import own_classes
from fanin.models.traits import UNKNOWN, Traits, torch_kernel

_ROLES = {
    **dict.fromkeys(("lora_A", "lora_a", "lora_embedding_A"), "lora_a"),
    **dict.fromkeys(("lora_B", "lora_b", "lora_embedding_B"), "lora_b"),
}
_ZERO = {"initializer": "zeros"}
# kaiming_uniform_(a=sqrt(5)), as in loralib, torchtune and PEFT.
_DRAWN = {"initializer": "variance_scaling", "scale": 1 / 3, "mode": "fan_in", "distribution": "uniform"}
_REMEDY = (
    "Initialize the model before the adapter is added, or leave the adapter and its layer out with `skip=` "
    "(some adapters fit the layer's present values)."
)


def wraps_base(module: nn.Module, name: str) -> bool:
    """Whether a module of PEFT wraps its child of this name: a layer with an adapter, or the whole model."""
    if name == "base_layer":
        return hasattr(module, "adapter_layer_names")
    own, *_ = own_classes(type(module), "Module")
    return name in ("base_model", "model") and own.__module__.startswith("peft.")


def adapter_part(module: nn.Module, name: str) -> str:
    """The name of a layer's child if it is a part of an adapter of PEFT, else ""."""
    return name if name in getattr(module, "adapter_layer_names", ()) else ""


@dataclass(frozen=True)
class Adapters:
    """What the adapters of a model start from.

    Attributes:
        starts: PEFT's `init_lora_weights`, by the adapter's name; an adapter that is not named has the default, True.
    """

    starts: Mapping[str, Any] = field(default_factory=dict)

    def applied(self, part: str, path: str, shape: Shape, traits: Traits) -> tuple[str, Traits]:
        """The problem of a parameter that belongs to an adapter, "" if it has none, and its traits.

        Args:
            part: the part of an adapter of PEFT that it belongs to; "" if none.
            path: its path.
            shape: its shape.
            traits: its traits by the layer table.
        """
        components = path.split(".")
        place = next((at for at in range(len(components))[-3:] if components[at] in _ROLES), None)
        if place is None:
            problem = f"It belongs to an adapter, and the start of {part} is not known. {_REMEDY}" if part else ""
            return problem, traits
        name, adapter = components[place], ".".join(components[place + 1 : place + 2])
        scheme = self.starts.get(adapter, True)
        if isinstance(scheme, str) and scheme.lower() != "gaussian":
            return (
                f"Its adapter has init_lora_weights={scheme!r}, and only the starts of True, False and 'gaussian' are "
                f"known. {_REMEDY}",
                traits,
            )
        if traits is UNKNOWN and len(shape) > 1:
            traits = torch_kernel(shape)
        return "", replace(traits, role=_ROLES[name], start=_start(name, scheme, shape))


def _start(name: str, scheme: Any, shape: Shape) -> Mapping[str, Any] | None:
    """The settings of the rule for the usual start of one of the matrices, None if it is drawn like any kernel."""
    if scheme is False:
        return None
    if name == "lora_embedding_B":
        return {"initializer": "random_normal", "stddev": 1.0}
    if name == "lora_embedding_A" or _ROLES[name] == "lora_b":
        return _ZERO
    return _DRAWN if scheme is True else {"initializer": "random_normal", "stddev": 1 / shape[0]}


def adapter_starts(modules: Iterable[nn.Module]) -> Adapters:
    """What the adapters of a model start from, by the configurations that its modules have.

    Args:
        modules: all modules of the model.
    """
    starts: dict[str, Any] = {}
    for module in modules:
        configs: Any = vars(module).get("peft_config")
        for name, config in configs.items() if isinstance(configs, dict) else ():
            starts[name] = getattr(config, "init_lora_weights", True)
    return Adapters(starts)
