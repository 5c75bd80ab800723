"""What stands before every function: overriding by tensors and modes, recordings, warnings at the caller's line."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch.overrides import handle_torch_function, has_torch_function_variadic

from fanin._core.types import Seed
from fanin.torch.exchanged import uncompiled
from fanin.torch.recording.functions import is_recording, remark

_P = ParamSpec("_P")
_R = TypeVar("_R")
_Initializer = Callable[Concatenate[torch.Tensor, _P], torch.Tensor]


def public(function: _Initializer[_P]) -> _Initializer[_P]:
    """The function as callers see it: tensors and modes may override it, and a recording reads PyTorch's own."""

    @uncompiled
    @wraps(function)
    def call(tensor: torch.Tensor, *args: _P.args, **kwargs: _P.kwargs) -> torch.Tensor:
        if is_recording():
            return _recorded(function.__name__, tensor, *args, **kwargs)
        if has_torch_function_variadic(tensor):
            return handle_torch_function(call, (tensor,), tensor, *args, **kwargs)
        return function(tensor, *args, **kwargs)

    return call


def _recorded(name: str, tensor: torch.Tensor, *args: Any, seed: Seed = None, **kwargs: Any) -> torch.Tensor:
    """What PyTorch's function of a name does, within a recording."""
    if seed is not None:
        remark("a seed of the code's own, which has no effect on what is drawn later")
    return getattr(torch.nn.init, name)(tensor, *args, **kwargs)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warns at the line that called the function, by this name or by PyTorch's."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and _is_between(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _is_between(module: str) -> bool:
    return module == "torch.nn.init" or module.startswith(("fanin.torch", "torch.overrides", "torch.utils"))


def deprecated(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """The function by the name that it had without an underscore."""
    name: str = getattr(function, "__name__")  # noqa: B009
    old = name[:-1]

    def called(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        warn(f"`init.{old}` is deprecated, as in PyTorch: use `init.{name}`.", FutureWarning)
        return function(*args, **kwargs)

    called.__name__ = called.__qualname__ = old
    called.__doc__ = f"`{name}`, by the name that it had first; deprecated, as in PyTorch."
    return called
