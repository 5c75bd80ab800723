"""Norms of other packages, run to find out whether their weight is the scale of their output, or one less."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from fanin._core.interrupts import is_interrupt
from fanin.models.norms import is_shifted
from fanin.torch.shapes import copied


def scales_by(module: nn.Module, leaf: str) -> bool:
    """Whether a norm multiplies its normalized input by this parameter.

    Args:
        module: a norm, on any device. A copy of it is run on the CPU.
        leaf: the name of the parameter.

    Returns:
        False if the norm adds one to the parameter first, as Gemma's does, and also if it cannot be run on inputs of a
        usual shape: then the parameter's part is unknown.
    """
    key = _key(module, leaf)
    if key not in _results:
        found = _found(module, leaf)
        if key is None:
            return found
        _results[key] = found
    return _results[key]


_results: dict[tuple[object, ...] | None, bool] = {}  # of norms whose attributes are all plain values


def _key(module: nn.Module, leaf: str) -> tuple[object, ...] | None:
    """What the answer depends on; None if that is more than a class and plain values."""
    parts = [_plain(each) for each in module.modules()]
    return None if None in parts else (leaf, *parts, *(name for name, _ in module.named_modules()))


def _plain(module: nn.Module) -> tuple[object, ...] | None:
    """The class of a module and its plain values; None if it has others."""
    attributes = {name: value for name, value in vars(module).items() if name not in _INTERNAL}
    if not all(isinstance(each, (int, float, str, tuple, type(None))) for each in attributes.values()):
        return None
    tensors = (*module._parameters.items(), *module._buffers.items())
    shapes = [(name, None if each is None else tuple(each.shape)) for name, each in tensors]
    return type(module), repr(sorted(attributes.items())), *shapes


_INTERNAL = set(vars(nn.Module()))


def _found(module: nn.Module, leaf: str) -> bool:
    for inputs in _inputs(module._parameters.get(leaf, module._buffers.get(leaf))):  # a frozen norm has buffers
        try:
            return not is_shifted(lambda weight, inputs=inputs: _run(module, leaf, weight, inputs))
        except Exception as error:  # foreign code can raise anything; it may want inputs of another shape
            if is_interrupt(error):
                raise
    return False


def _inputs(weight: torch.Tensor | None) -> Iterator[torch.Tensor]:
    """Inputs with the norm's features last, and second as in images."""
    features = 1 if weight is None or not weight.shape else weight.shape[-1]
    for shape in ((2, 3, features), (2, features), (2, features, 3), (2, features, 3, 3)):
        values = np.cos(np.arange(np.prod(shape)) * 1.7 + 0.3).reshape(shape) + 0.25
        yield torch.tensor(values, dtype=torch.float32, device="cpu")


def _run(module: nn.Module, leaf: str, weight: float, inputs: torch.Tensor) -> np.ndarray:
    """The output of a copy of the norm in evaluation mode, with the given weight and other parameters of zero."""
    twin = copied(module)
    twin.training = False
    for name, tensor in twin._parameters.items():
        if tensor is not None:
            value = weight if name == leaf else 0.0
            twin._parameters[name] = nn.Parameter(torch.full(tensor.shape, value, device="cpu"), requires_grad=False)
    for name, tensor in twin._buffers.items():
        if tensor is not None:  # a running mean of zero and a running variance of one
            value = weight if name == leaf else 1 if "var" in name else 0
            twin._buffers[name] = torch.full(tensor.shape, value, dtype=tensor.dtype, device="cpu")
    required = [
        each
        for each in inspect.signature(twin.forward).parameters.values()
        if each.default is each.empty and each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]
    with torch.no_grad(), torch.random.fork_rng(devices=[]), torch.device("cpu"):
        output: Any = twin.forward(*[inputs] * len(required))
    output = output[0] if isinstance(output, tuple) else output
    return output.float().numpy()
