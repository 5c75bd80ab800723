"""Modules as data, of which the rules of recipes can ask what their own code makes.

A rule that says `as_written` asks. The code is read then, once for a module and a seed, and not before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from torch import nn

from fanin.models.names import NameMap
from fanin.models.parameters import Model, Parameter
from fanin.recipes.entry import Entry, Placement
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

    @lru_cache(maxsize=1)
    def entries(seed: int) -> Mapping[str, Entry]:
        scan = Scan(module, as_stored=True)
        seeded = SeededRecording(own_code(module), scan, seed)
        return seeded.drawn(scan.model().parameters, seed, NameMap(None))

    def written(parameter: Parameter, name: str, seed: int) -> tuple[Placement, ...]:
        if name != parameter.path:
            raise ValueError("it is drawn under another name, which only `fanin.torch.initialize` can carry out")
        try:
            entry = entries(seed).get(parameter.path)
        except RecordingError as error:
            raise ValueError(str(error)) from None
        if entry is None:
            raise ValueError("its own code makes it of other tensors; `fanin.torch.initialize` can carry that out")
        if entry.problem:
            raise ValueError(entry.problem.removeprefix(f"{entry.path}: "))
        return entry.placements

    return replace(Scan(module).model(), written=written)
