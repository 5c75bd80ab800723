"""Recordings of models that exist: their code is called again, on the meta device."""

from __future__ import annotations

from torch import nn

from fanin._core.messages import class_name
from fanin.torch.recording.places import RecordingError
from fanin.torch.recording.recorded import Recorded


def recorded_again(model: nn.Module) -> Recorded:
    """What a model's code writes when it is called again.

    Raises:
        RecordingError: it cannot be called again, or does not tell what each parameter gets.
    """
    raise RecordingError(
        f"A model's code is read while it is made. Received: {class_name(type(model))}, which exists. Make it within "
        "`with fanin.torch.recording() as recorded:`, and pass `recorded`; or pass a recipe."
    )
