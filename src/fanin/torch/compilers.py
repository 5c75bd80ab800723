"""Functions that `torch.compile` leaves alone: fanin draws outside of graphs.

`torch.compiler.disable` does this, too, but imports the whole compiler, which takes longer than all of fanin.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, ParamSpec, TypeVar

import torch

_P = ParamSpec("_P")
_R = TypeVar("_R")
_frames: Any = getattr(torch._C, "_dynamo").eval_frame  # noqa: B009 (there without the compiler, too)
_SKIP = getattr(_frames, "_FrameAction").SKIP  # noqa: B009


def uncompiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """The function, marked: it breaks the compiler's graphs, and runs as it is, with all that it calls.

    All functions of the same code are marked at once: give one whose code is its own, or all of whose kind are meant.
    """
    assert isinstance(function, FunctionType)
    strategy = getattr(_frames, "_FrameExecStrategy")(_SKIP, _SKIP)  # noqa: B009 (of the frame, and of those within)
    _frames.set_code_exec_strategy(function.__code__, strategy)
    marks = {"_torchdynamo_disable": True, "_torchdynamo_disable_msg": "fanin draws outside of graphs"}
    vars(function).update(marks)  # which the compiler reads where it would inline the call
    return function
