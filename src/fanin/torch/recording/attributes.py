"""Tensors that modules keep as attributes, or in lists, tuples and dicts: neither parameters nor buffers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

_INTERNAL = set(vars(nn.Module()))


@dataclass(frozen=True, eq=False)
class Attribute:
    """A tensor that a module keeps as an attribute, or within one.

    Attributes:
        module: the module.
        name: the name of the attribute.
        key: its place in the list, tuple or dict that the attribute is; None if it is the attribute itself.
        tensor: the tensor.
    """

    module: nn.Module
    name: str
    key: Any
    tensor: torch.Tensor

    @property
    def path(self) -> str:
        """What it is called within the module, such as `anchors[2]`."""
        return self.name if self.key is None else f"{self.name}[{self.key!r}]"

    def put(self, tensor: torch.Tensor) -> None:
        """Puts another tensor in its place."""
        attributes = vars(self.module)
        if self.key is None:
            attributes[self.name] = tensor
            return
        held = attributes[self.name]
        if isinstance(held, tuple):
            changed = [tensor if number == self.key else each for number, each in enumerate(held)]
            attributes[self.name] = type(held)(*changed) if hasattr(held, "_fields") else type(held)(changed)
        else:
            held[self.key] = tensor


def attributes_of(module: nn.Module) -> Iterator[Attribute]:
    """The tensors on the meta device that a module keeps in attributes, but for weights that hooks compute."""
    hooked = {getattr(hook, "name", None) for hook in module._forward_pre_hooks.values()}
    for name, value in list(vars(module).items()):
        if name not in _INTERNAL and name not in hooked:
            for key, each in _items(value):
                if isinstance(each, torch.Tensor) and each.is_meta and each.layout == torch.strided:
                    yield Attribute(module, name, key, each)


def _items(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, torch.Tensor):
        return [(None, value)]
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, (list, tuple)) else []
