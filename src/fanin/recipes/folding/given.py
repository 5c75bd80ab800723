"""A plan that is folded: what its parameters may have, and whether rules give them that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from fanin._core.messages import visible
from fanin.models.names import NameMap
from fanin.models.parameters import Model, Parameter
from fanin.recipes import planner
from fanin.recipes.entry import Entry, Placement
from fanin.recipes.folding.conditions import Item, alone, needed_role
from fanin.recipes.folding.settings import WRITTEN, Choices, Speller, Wanted
from fanin.recipes.folding.spelling import bits
from fanin.recipes.folding.texts import rules_of
from fanin.recipes.plan import Plan
from fanin.recipes.rules import Rule
from fanin.recipes.tables import folded_lines


class Given:
    """A plan, against which rules are checked.

    Args:
        plan: the plan.

    Attributes:
        plan: the plan.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._entries = {entry.path: entry for entry in plan.entries}
        self._choices: dict[str, Choices] = {}

    def check(self) -> None:
        """Raises ValueError unless there are parameters, and each of them has weights or is kept."""
        if not self.plan.entries:
            raise ValueError(
                f"A plan must have parameters. Received: one of {visible(self.plan.model.name)}, which has none."
            )
        wrong = {entry.path: f": {entry.problem}" for entry in self.plan.entries if entry.problem}
        wrong |= {entry.path: ": no rule matches it" for entry in self.plan.unmatched}
        self._refuse(wrong, "A plan can be folded if each of its parameters is drawn or kept.")

    def _refuse(self, wrong: Mapping[str, str], rule: str) -> None:
        if wrong:
            lines = "".join(f"\n  {path}{text}" for path, text in folded_lines(wrong))
            raise ValueError(f"{rule} Received: a plan of {visible(self.plan.model.name)} with{lines}")

    @cached_property
    def _names(self) -> NameMap:
        """The names that the plan draws under, where these are not the usual ones."""
        usual, names = NameMap(None), {}
        for entry in self.plan.entries:
            part = entry.parameter.traits.part
            home = entry.path if part is None else part.path
            if entry.name != usual.of(entry.parameter, home):
                names[home] = entry.name
            for each in entry.placements:
                if each.label and each.name not in (entry.name, f"{entry.name}[{each.label}]"):
                    names[f"{home}[{each.label}]"] = each.name
        return NameMap(names)

    def items(self, speller: Speller) -> Iterator[Item]:
        """The parameters, with what they may have."""
        model = self.plan.model
        usual = self._planned(
            replace(model, parameters=tuple(each for each in model.parameters if each.has_usual_start)), ()
        )
        for parameter, known in zip(model.parameters, planner.numbers_of(model), strict=True):
            entry = self._entries.get(parameter.path)
            if entry is None:
                continue
            choices = self._choices_of(entry, parameter, speller, known)
            self._choices[parameter.path] = choices
            needed = parameter.path not in usual or not same(usual[parameter.path], entry)
            yield Item(parameter, entry.name, choices, needed)

    def _choices_of(self, entry: Entry, parameter: Parameter, speller: Speller, known: Mapping[str, float]) -> Choices:
        found = speller.choices(entry, parameter, known)
        if found:
            return found
        if self.plan.model.written is None:
            self._refuse({entry.path: f": {entry.description}"}, "A rule must be able to say each weight of a plan.")
        return {WRITTEN: 1.0}

    def _planned(self, model: Model, rules: Sequence[Rule]) -> dict[str, Entry]:
        planned = planner.plan(replace(model, complete=False), rules, {}, self.plan.seed, self._names)
        return {entry.path: entry for entry in planned.entries}

    def differing(self, rules: Sequence[Rule]) -> list[Entry]:
        """The entries that the plan of rules does not have."""
        planned = self._planned(self.plan.model, rules)
        return [entry for entry in self.plan.entries if not same(planned[entry.path], entry)]

    def corrected(self, rules: list[Rule]) -> list[Rule]:
        """Rules that make the plan: those that are given, after others for what they would give differently.

        Raises:
            ValueError: no rule can make the weights of a parameter.
        """
        alike: dict[tuple[Wanted, tuple[str, ...]], list[Parameter]] = {}
        wrong = {}
        parameters = {each.path: each for each in self.plan.model.parameters}
        for entry in self.differing(rules):
            parameter = parameters[entry.path]
            wanted = self._exact(entry, parameter)
            if wanted is None:
                wrong[entry.path] = f": {entry.description}"
            else:
                alike.setdefault((wanted, needed_role(parameter)), []).append(parameter)
        self._refuse(wrong, "A rule must be able to say each weight of a plan.")
        if not alike:
            return rules
        added = [
            rule
            for (wanted, _), several in alike.items()
            for rule in rules_of(alone(several), wanted, "for these alone")
        ]
        self._refuse(
            {each.path: f": {each.description}" for each in self.differing([*added, *rules])},
            "Rules must be able to tell the parameters of a plan from each other.",
        )
        return [*added, *rules]

    def _exact(self, entry: Entry, parameter: Parameter) -> Wanted | None:
        """Settings that make an entry, in a model of this parameter alone; None if there are none."""
        model = self.plan.model
        paths = tuple(path for each in model.parameters for path in (each.path, *each.tied))
        single = replace(model, parameters=(parameter,), layers=(*paths, *model.layers))
        choices = self._choices[entry.path]
        asked = [WRITTEN] if model.written is not None else []
        for wanted in (*sorted(choices, key=choices.__getitem__), *asked):
            rules = rules_of(alone([parameter]), wanted)
            if same(self._planned(single, rules)[entry.path], entry):
                return wanted
        return None


def same(first: Entry, second: Entry) -> bool:
    """Whether two entries of one parameter have weights of the same bytes, under the same names at the same places."""
    return _signature(first) == _signature(second)


def _signature(entry: Entry) -> tuple[Any, ...]:
    placements = tuple(map(_of_placement, entry.placements))
    return entry.kept, bool(entry.problem), entry.parameter.kernel_axes if placements else (), placements


def _of_placement(placement: Placement) -> tuple[Any, ...]:
    weight = placement.weight
    stream = weight.stream if weight.distribution.random else None
    place = placement.name, placement.label, placement.target, placement.source
    return *place, weight.dtype, weight.axes, stream, bits(weight.distribution)
