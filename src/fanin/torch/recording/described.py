"""Modules as data, of which the rules of recipes can ask what their own code makes.

A rule that says `as_written` asks. The code is read then, once for a module, and not before.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial

from torch import nn

from fanin.models.parameters import Model, Parameter
from fanin.recipes.entry import Placement
from fanin.torch.describe import Scan
from fanin.torch.recording.again import recorded_again
from fanin.torch.recording.places import RecordingError
from fanin.torch.recording.recorded import Recorded, SeededRecording, recording_of


def own_code(module: nn.Module) -> Recorded:
    """What a module's own code writes: what was read while it was made, or else what is read now.

    Raises:
        RecordingError: the code cannot be called again, or does not tell what each parameter gets.
    """
    return recording_of(module) or recorded_again(module)


def described(module: nn.Module) -> Model:
    """The description of a module, with what its own code makes."""
    return replace(Scan(module).model(), stored=partial(_stored, module))


def _stored(module: nn.Module) -> Model:
    """The description of a module with each tensor as it is stored."""
    scan = Scan(module, as_stored=True)
    model = scan.model()

    @cache
    def asked() -> Model:
        return SeededRecording(own_code(module), scan, 0).with_own_code(model)

    def written(parameter: Parameter, name: str, seed: int) -> tuple[Placement, ...]:
        if name != parameter.path:
            raise ValueError("it is drawn under another name, which only `fanin.torch.initialize` can carry out")
        try:
            answer = asked().written
        except RecordingError as error:
            raise ValueError(str(error)) from None
        assert answer is not None
        return answer(parameter, name, seed)

    return replace(model, written=written)
