"""Where a user's code is while it runs, and what is to be said of that place."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch
from torch import nn

_LIBRARIES = tuple(str(Path(path).parent) + "/" for path in (torch.__file__, __file__))
_SKIPPED = ("contextlib", "fanin.torch.recording", "torch", "numpy")


class RecordingError(RuntimeError):
    """A model's code needs, while it is recorded, what only a drawn weight could tell."""


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


def _frames() -> list[FrameType]:
    """The frames of the code that is neither this package's nor PyTorch's, the innermost first."""
    frame: FrameType | None = sys._getframe(1)
    found: list[FrameType] = []
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if not any(name == each or name.startswith(f"{each}.") for each in _SKIPPED):
            found.append(frame)
        frame = frame.f_back
    return found


def where() -> str:
    """The file and the line of the user's code that runs."""
    for frame in _frames():
        return f"{frame.f_code.co_filename}:{frame.f_lineno}"
    return "unknown code"


def module_class() -> str:
    """The class of the module whose method runs; "" outside of all."""
    for frame in _frames():
        owner = frame.f_locals.get("self")
        if isinstance(owner, nn.Module):
            return type(owner).__name__
    return ""


def note(text: str) -> Note:
    """A note about the code that runs."""
    return Note(text, module_class(), where())


def refusal(rule: str, received: str, advice: str) -> RecordingError:
    """The error of code that asks for what cannot be known."""
    owner = module_class()
    return RecordingError(f"{rule} Received: {received} at {where()}{f', in {owner}' if owner else ''}. {advice}")
