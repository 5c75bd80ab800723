"""Modules as data, of which the rules of recipes can ask what their own code makes.

A rule that says `as_written` asks. The code is read then, once for a module, and not before.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial

from torch import nn

from fanin.models.parameters import Model, Parameter
from fanin.recipes.entry import Entry, Placement
from fanin.recipes.plan import Plan
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


def own_plan(module: nn.Module) -> Plan:
    """What a module's own code gives each of its parameters, though their values may have been changed since.

    A parameter that the code ties to another one, and that is tied no longer, is a copy of it in this plan.

    Raises:
        ValueError: the code cannot be called again, or does not tell what each parameter gets.
    """
    try:
        recorded = recording_of(module) or recorded_again(module, altered=True)
    except RecordingError as error:
        raise ValueError(str(error)) from None
    scan = Scan(module, as_stored=True)
    plan = SeededRecording(recorded, scan, 0).plan(scan.model())
    owners = {held.parameter.path: held.owners[0] for held in scan.all()}
    first: dict[int, str] = {}  # the path of a parameter, by the id of what it gets
    entries = []
    for entry in plan.entries:
        given = recorded.expression(*owners[entry.path])
        source = first.setdefault(id(given), entry.path) if given is not None and given.is_drawn else entry.path
        entries.append(entry if source == entry.path else _following(entry, source))
    return replace(plan, entries=tuple(entries))


def _following(entry: Entry, source: str) -> Entry:
    """An entry that says that its parameter has the values of another one."""
    return replace(entry, placements=tuple(replace(each, follows=(source,)) for each in entry.placements))


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
