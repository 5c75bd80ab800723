"""The tensors of a PyTorch module as they are, for what measures and compares models."""

from __future__ import annotations

from itertools import chain

import torch
from torch import nn

from fanin._core.messages import class_name, shown
from fanin.torch.shards import is_dtensor, local_of


def values_of(module: nn.Module) -> dict[str, torch.Tensor]:
    """The parameters and buffers of a module by their names, tied ones under each of theirs.

    Raises:
        ValueError: one has no values yet, or this process has a part of it only.
    """
    named = chain(
        module.named_parameters(remove_duplicate=False),
        module.named_buffers(remove_duplicate=False),
    )
    return {name: _whole(name, tensor) for name, tensor in named}


def _whole(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """A tensor with all of its elements in this process."""
    if nn.parameter.is_lazy(tensor):
        raise ValueError(
            f"Every tensor must have values. Received: {shown(name)}, a {class_name(type(tensor))}. Call the module on "
            "an input first."
        )
    if not is_dtensor(tensor):
        return tensor
    local = local_of(tensor)
    is_partial = any(each.is_partial() for each in tensor.placements)  # pyright: ignore[reportAttributeAccessIssue]
    if is_partial or local.shape != tensor.shape:
        raise ValueError(
            f"Every tensor must be whole in this process. Received: {shown(name)}, a DTensor of shape "
            f"{tuple(tensor.shape)}, of which this process has {tuple(local.shape)}. Gather the model first, by "
            "torch.distributed.checkpoint.state_dict.get_model_state_dict with full_state_dict=True, and pass what "
            "that returns; or save it, and pass the folder."
        )
    return local
