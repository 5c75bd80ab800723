"""Where a user's code is while it runs, and what is to be said of that place."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

import torch
from torch import nn

_OURS = ("fanin.torch.exchanged", "fanin.torch.init", "fanin.torch.patching", "fanin.torch.recording")
_SKIPPED = (*_OURS, "contextlib", "functools", "numpy", "random", "torch", "typing_extensions")
# What lies between the code of torch.nn and this package.
_BETWEEN = (
    *_OURS, "contextlib", "torch._compile", "torch._dynamo", "torch._ops", "torch._tensor", "torch.functional",
    "torch.overrides", "torch.utils",
)  # fmt: skip


class RecordingError(RuntimeError):
    """A model's code needs, while it is recorded, what only a drawn weight could tell."""

    __module__ = "fanin.torch"  # where it is public


@dataclass(frozen=True)
class Note:
    """Something that a recording cannot read.

    Attributes:
        text: what it is, in words.
        module: the class of the module whose code it is; "" if it is of no module.
        place: the file and the line of the code.
    """

    text: str
    module: str
    place: str

    def __str__(self) -> str:
        return f"{self.place}{f' ({self.module})' if self.module else ''}: {self.text}"


def _frames(skipped: tuple[str, ...]) -> Iterator[FrameType]:
    """The frames of the code that is not of some packages, the innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if not any(name == each or name.startswith(f"{each}.") for each in skipped):
            yield frame
        frame = frame.f_back


def is_library_code() -> bool:
    """Whether the code that runs is that of PyTorch's own modules."""
    frame = next(_frames(_BETWEEN), None)
    return frame is not None and frame.f_globals.get("__name__", "").startswith("torch.nn.")


def is_importing() -> bool:
    """Whether the code that runs is that of a module while it is imported."""
    return any(frame.f_globals.get("__name__", "").startswith("importlib.") for frame in _frames(()))


def where() -> str:
    """The file and the line of the user's code that runs."""
    for frame in _frames(_SKIPPED):
        return f"{frame.f_code.co_filename}:{frame.f_lineno}"
    return "unknown code"


def module_class() -> str:
    """The class of the module whose method runs; "" outside of all."""
    for frame in _frames(_SKIPPED):
        owner = frame.f_locals.get("self")
        if isinstance(owner, nn.Module):
            return type(owner).__name__
    return ""


def note(text: str) -> Note:
    """A note about the code that runs."""
    return Note(text, module_class(), where())


def check_plain_tensors() -> None:
    """Raises where PyTorch makes fake tensors, as sharding and compiling do.

    Raises:
        RecordingError: It does.
    """
    if torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE) is not None:
        raise refusal(
            "A recording follows plain tensors.",
            "fake tensors, as sharding and compiling make them,",
            "Shard or compile the model after its recording.",
        )


def refusal(rule: str, received: str, advice: str) -> RecordingError:
    """The error of code that asks for what cannot be known."""
    owner = module_class()
    return RecordingError(f"{rule} Received: {received} at {where()}{f', in {owner}' if owner else ''}. {advice}")
