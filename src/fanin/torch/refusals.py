"""Tensors that hold a part of a parameter, or no values at all, and cannot be given any: why, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

from fanin._core import dtypes
from fanin._core.types import Shape
from fanin.recipes.plan import PlanError
from fanin.torch.recording.functions import is_recording
from fanin.torch.shards import Shard, dtensor_problem, is_dtensor

_OR_SKIP = "or leave it out with `skip=`"
_OR_SAY = "say what this process holds with `shards=`"
# By the class's name, since importing the modules of most of them takes long. First what it is, then what to do.
_KNOWN_CLASSES = {
    "FakeTensor": ("has no values", "Build the model outside of FakeTensorMode, on the CPU or the meta device."),
}
_BEFORE = f"Initialize the model before its parameters are converted, {_OR_SKIP}."
_PLAIN = (torch.Tensor, nn.Parameter)
_OWN_RULES = (
    "defines its own operations, so that writing to its memory might not change its values",
    _BEFORE,
)


def tensor_problem(tensor: torch.Tensor, shard: Shard | None = None) -> str:
    """Why this kind of tensor cannot be given values, and what to do; "" if it can.

    Args:
        tensor: a parameter or buffer, on any device.
        shard: what this process holds of it, if that is known.
    """
    if is_dtensor(tensor):
        return dtensor_problem(tensor)
    if shard is not None:
        held = tensor if shard.tensor is None else shard.tensor
        return shard.problem(held) or _kind_problem(held)
    return _kind_problem(tensor) or _partition_problem(tensor)


def _kind_problem(tensor: torch.Tensor) -> str:
    cls = type(tensor)
    if _has_own_rules(cls):
        reason, remedy = _KNOWN_CLASSES.get(cls.__name__, _OWN_RULES)
        return f"It is a {cls.__name__}, which {reason}. {remedy}"
    if tensor.is_nested:
        return f"It is a nested tensor, which has no one shape. {_BEFORE}"
    try:
        dtypes.resolve(tensor.dtype)
    except TypeError:
        return f"Its dtype is {tensor.dtype}, which neither NumPy nor ml_dtypes has. {_BEFORE}"
    return ""


def _partition_problem(tensor: torch.Tensor) -> str:
    """Why a tensor that DeepSpeed or FSDP has partitioned cannot be given values, if nothing says what it holds."""
    whole: Any = getattr(tensor, "ds_shape", None)
    is_deepspeed = hasattr(tensor, "ds_id") or whole is not None
    if is_deepspeed and (whole is None or tuple(whole) != tuple(tensor.shape)):
        return (
            f"It is partitioned by DeepSpeed. Initialize before that, {_OR_SAY}, or initialize within "
            f"deepspeed.zero.GatheredParameters(model.parameters(), modifier_rank=0), {_OR_SKIP}."
        )
    if getattr(tensor, "_is_flat_param", False):
        return f"It is a FlatParameter, which holds several parameters. {_of_fsdp()}"
    return ""


def outline(tensor: torch.Tensor) -> tuple[Shape, np.dtype]:
    """The shape and dtype that a tensor has in plans: () and bytes if it has no one shape, or no dtype of NumPy's."""
    shape = () if tensor.is_nested else tuple(tensor.shape)
    try:
        return shape, dtypes.resolve(tensor.dtype)
    except TypeError:
        return shape, np.dtype((np.void, tensor.element_size()))


def check_mode() -> None:
    """Raises if tensors have no memory here, whatever class they have: in FakeTensorMode, and in a recording.

    Raises:
        PlanError: they have none.
    """
    if is_recording():
        raise PlanError(
            "`initialize` must be called where tensors have memory; nothing has been written. Received: a call within "
            "`fanin.torch.recording()`. Call it after the context has ended."
        )
    made = type(torch.empty(0, device="cpu")).__name__
    if made == "FakeTensor":
        raise PlanError(
            "`initialize` must be called where tensors have memory; nothing has been written. Received: a call within "
            "FakeTensorMode. Call it outside of the mode."
        )


def shape_problem(tensor: torch.Tensor, module: nn.Module, declared: Shape | None, *, given: bool = False) -> str:
    """Why a parameter's shape contradicts its layer, and what to do; "" if it does not.

    Args:
        tensor: the parameter.
        module: its layer.
        declared: the shape that follows from the layer's attributes; None if unknown.
        given: whether `shards=` says what the shape of the whole is.
    """
    shape = tuple(tensor.shape)
    if declared is None or shape == declared:
        return ""
    if given:
        return (
            f"`shards` says that its whole shape is {shape}, but the sizes of the whole {type(module).__name__}, of "
            f"which this process has a part, are not known here. Initialize the model before it is sharded, {_OR_SKIP}."
        )
    return (
        f"Its shape is {shape}, but the attributes of its {type(module).__name__} say {declared}: it is sharded, "
        f"packed or replaced. Initialize the model before that, {_OR_SAY}, correct the attributes, {_OR_SKIP}."
    )


def partitioned_by_fsdp(modules: Iterable[nn.Module]) -> dict[int, str]:
    """The parameters, by id, that are one process's part of a FullyShardedDataParallel module, and the problem."""
    found = {}
    for module in modules:
        flat: Any = getattr(getattr(module, "_handle", None), "flat_param", None)
        originals: Any = getattr(flat, "_params", None) or ()
        for original, whole in zip(originals, getattr(flat, "_shapes", ()), strict=False):
            if original.shape != whole:
                found[id(original)] = f"It is partitioned by FullyShardedDataParallel. {_of_fsdp()}"
    return found


def _of_fsdp() -> str:
    return (
        f"Initialize before that, {_OR_SAY}, or initialize within "
        f"FullyShardedDataParallel.summon_full_params(model), {_OR_SKIP}."
    )


def _has_own_rules(cls: type[torch.Tensor]) -> bool:
    """Whether a class of tensors replaces PyTorch's operations by its own."""
    plain = [(_method(each, "__torch_function__"), _method(each, "__torch_dispatch__")) for each in _PLAIN]
    functions, dispatches = zip(*plain, strict=True)
    return _method(cls, "__torch_function__") not in functions or _method(cls, "__torch_dispatch__") not in dispatches


def _method(cls: Any, name: str) -> Any:
    method = getattr(cls, name)
    return getattr(method, "__func__", method)
