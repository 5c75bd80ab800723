"""What the rules of a parameter can say: the settings that give the weights of its entry in a plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from fanin._core.layouts import keras_axes
from fanin.models.parameters import Parameter
from fanin.models.patterns import escaped
from fanin.recipes.entry import Entry, Placement
from fanin.recipes.folding.numbers import Numbers, Vocabulary
from fanin.recipes.folding.spelling import Settings, bits, spelled
from fanin.recipes.rules import AS_WRITTEN, KEEP

# What a parameter needs: the settings of one rule, or of one for each kind of block, under the same conditions.
Wanted: TypeAlias = tuple[Settings, ...]
Choices: TypeAlias = Mapping[Wanted, float]  # with what each costs

WRITTEN: Wanted = ((("initializer", AS_WRITTEN),),)
_FEW, _MANY = 16, 2**10  # the most values of a table in a rule, where there is another way to say it and where not
_KEPT: Settings = (("initializer", KEEP),)


class Speller:
    """Finds the settings that parameters can have, for each kind of weight once.

    Args:
        vocabulary: the names of configurations that numbers may be written with.
        asks: whether a model's own code can be asked for large tables instead.
    """

    def __init__(self, vocabulary: Vocabulary, *, asks: bool) -> None:
        self._vocabulary, self._most_values = vocabulary, _FEW if asks else _MANY
        self._numbers: dict[tuple[tuple[str, float], ...], Numbers] = {}
        self._spelled: dict[tuple[Any, ...], Mapping[Settings, float]] = {}

    def choices(self, entry: Entry, parameter: Parameter, known: Mapping[str, float]) -> Choices:
        """The settings that may give a parameter what its entry says; empty if no initializer can.

        Args:
            entry: the entry of a plan.
            parameter: the parameter as the model describes it.
            known: the numbers that expressions can use for it, besides fans.
        """
        if entry.kept:
            return {(_KEPT,): 1.0}
        if _of_own_code(entry):
            return {}
        placements = [each for each in entry.placements if each.label != "padding"]
        common = (*_layout(entry.parameter, parameter), *_zero_rows(entry))
        if any(each.label and each.name != entry.name for each in placements):
            return self._of_blocks(entry, placements, known, common)
        return {((*settings, *common),): cost for settings, cost in self._of_all(entry, placements, known).items()}

    def _of_all(
        self, entry: Entry, placements: Sequence[Placement], known: Mapping[str, float]
    ) -> Mapping[Settings, float]:
        """The settings that all of some placements have in common: those of the layers of a stack, or of one tensor."""
        found: Mapping[Settings, float] = {}
        layers = len(placements) if not any(each.label for each in placements) else 1
        for number, placement in enumerate(placements):
            here = known if layers == 1 else {"depth": number, "n_layers": layers, **known}
            settings = self._of(placement, self._numbers_of({**here, **_fans(entry.parameter, placement)}))
            found = {key: cost for key, cost in found.items() if key in settings} if number else settings
        return found

    def _of_blocks(
        self, entry: Entry, placements: Sequence[Placement], known: Mapping[str, float], common: Settings
    ) -> Choices:
        """The settings of rules for blocks that are drawn by themselves; blocks that have the same share a rule."""
        traits = entry.parameter.traits
        stored = (traits.part.block,) if traits.part else traits.blocks.stored
        labels = stored or tuple(dict.fromkeys(each.label for each in placements))
        if not traits.part and not _are_blocks(entry.parameter, placements, len(labels)):
            return {}
        found: dict[str, Mapping[Settings, float]] = {}
        for label in labels:
            own = [each for each in placements if each.label == label]
            found[label] = self._of_all(entry, own, known) if own else {_KEPT: 1.0}
        if not all(found.values()):
            return {}
        declared = () if stored else (("blocks", labels),)
        choices: dict[Wanted, float] = {}
        for preference in (_cost, _plainness):
            chosen = {label: min(each.items(), key=preference) for label, each in found.items()}
            rules = _rules_of_blocks({label: settings for label, (settings, _) in chosen.items()}, bool(declared))
            wanted = tuple((*rule, *declared, *common) for rule in rules)
            choices.setdefault(wanted, sum(cost for _, cost in chosen.values()))
        return choices

    def _of(self, placement: Placement, numbers: Numbers) -> Mapping[Settings, float]:
        """The settings of a rule whose weight is that of a placement, up to its seed."""
        initializer, distribution, fans = placement.initializer, placement.weight.distribution, placement.fans
        key = type(initializer), bits(distribution), id(numbers), fans
        if key not in self._spelled:
            self._spelled[key] = dict(spelled(initializer, distribution, numbers, self._most_values, fans))
        return self._spelled[key]

    def _numbers_of(self, known: Mapping[str, float]) -> Numbers:
        """The ways to write numbers where these are known; the same object for equal ones."""
        relevant = self._vocabulary.relevant(known)
        key = tuple(relevant.items())
        if key not in self._numbers:
            self._numbers[key] = Numbers(relevant, self._vocabulary)
        return self._numbers[key]


def _of_own_code(entry: Entry) -> bool:
    """Whether a parameter has values that no initializer draws for it: computed ones, or those of another parameter."""
    return any(each.follows or each.weight.distribution.is_own_code for each in entry.placements)


def _are_blocks(parameter: Parameter, placements: Sequence[Placement], count: int) -> bool:
    """Whether placements lie in so many equal blocks of a parameter along its outputs."""
    *others, outputs = parameter.kernel_shape or (0,)
    if not count or outputs % count or outputs < count:
        return False
    whole = [(0, length) for length in others]
    ends = {(stop - start, start % (outputs // count)) for *_, (start, stop) in (each.target for each in placements)}
    return ends == {(outputs // count, 0)} and all([*each.target[:-1]] == whole for each in placements)


def _rules_of_blocks(chosen: Mapping[str, Settings], declared: bool) -> Iterable[Settings]:
    """The settings of each kind of block, with the names of its blocks."""
    kinds = tuple(dict.fromkeys(chosen.values()))
    if len(kinds) == 1:
        yield kinds[0] if declared else (*kinds[0], ("block", "*"))
        return
    for kind in kinds:
        labels = tuple(escaped(label) for label, each in chosen.items() if each == kind)
        yield (*kind, ("block", labels[0] if len(labels) == 1 else labels))


def _cost(choice: tuple[Settings, float]) -> float:
    return choice[1]


def _plainness(choice: tuple[Settings, float]) -> tuple[bool, float]:
    """Numbers first, and then what costs little."""
    settings, cost = choice
    return any(isinstance(value, str) for key, value in settings if key != "initializer"), cost


def _fans(parameter: Parameter, placement: Placement) -> dict[str, float]:
    """The fans that the planner gives a placement, as far as they are known: of its own tensor, such as a block."""
    traits, shape = parameter.traits, parameter.kernel_shape
    fans: dict[str, float] = {}
    if traits.fan_in is not None:
        fans["fan_in"] = traits.fan_in
    if traits.fan_out is not None:
        whole = placement.weight.shape[-1] if shape and shape[-1] else 1
        fans["fan_out"] = traits.fan_out * whole // shape[-1] if shape and shape[-1] else traits.fan_out
    return fans


def _layout(planned: Parameter, given: Parameter) -> Settings:
    """The order of axes that a plan gives a parameter, if its layer does not."""
    traits = planned.traits
    if traits.axes is None or (traits.axes, traits.stacked) == (given.traits.axes, given.traits.stacked):
        return ()
    inner = tuple(axis - traits.stacked for axis in traits.axes[traits.stacked :])
    named = [name for name in ("keras", "torch") if keras_axes(name, len(inner)) == inner]
    stacked = (("stacked", traits.stacked),) if traits.stacked else ()
    return (("layout", named[0] if named else inner), *stacked)


def _zero_rows(entry: Entry) -> Settings:
    """The rows that are zero, if they are not those of the layer table."""
    rows = tuple(each.target[0][0] for each in entry.placements if each.label == "padding")
    return () if rows == entry.parameter.traits.zero_rows else (("zero_rows", rows),)
