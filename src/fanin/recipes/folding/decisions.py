"""Ordered decisions for groups of parameters, as few and simple as a greedy search finds: the first match counts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import NamedTuple

from fanin.recipes.folding.conditions import Conditions, Group, Masks, alone, candidates, cost_of, shared
from fanin.recipes.folding.settings import Wanted

# What counts besides the number of groups that a decision is for: the cost of its settings, the number of other groups
# that it would match, and, where all else is equal, the number of parameters.
_OF_SETTINGS, _OF_OTHERS, _OF_SIZE = 0.3, 0.02, 1e-9


class _Choice(NamedTuple):
    """Settings, and what they cost."""

    wanted: Wanted
    cost: float


@dataclass(frozen=True)
class Decision:
    """Conditions, and what the parameters that meet them get unless an earlier decision applies.

    Attributes:
        conditions: the conditions.
        wanted: the settings.
        mask: the groups that meet the conditions.
    """

    conditions: Conditions
    wanted: Wanted
    mask: int


class Decisions:
    """Finds the decisions for groups of parameters.

    Args:
        groups: the groups.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self._groups = groups
        self._masks = Masks(groups)
        self._all = (1 << len(groups)) - 1
        self._needed = sum(1 << number for number, group in enumerate(groups) if group.needed)
        self._accepting: dict[Wanted, int] = {}
        for number, group in enumerate(groups):
            for wanted in group.choices:
                self._accepting[wanted] = self._accepting.get(wanted, 0) | 1 << number

    def found(self) -> list[Decision]:
        """The decisions, in their order."""
        decisions = self._merged(self._simpler(self._merged(list(self._greedy()))))
        return self._ordered(self._fewer(decisions))

    def taken(self, decisions: Sequence[Decision]) -> list[list[Group]]:
        """The groups that each decision applies to."""
        alive, taken = self._all, []
        for decision in decisions:
            taken.append([self._groups[number] for number in _numbers(decision.mask & alive)])
            alive &= ~decision.mask
        return taken

    def _greedy(self) -> Iterator[Decision]:
        """Takes the conditions of most groups that can get the same, removes these groups, and begins again."""
        known = [(each, self._masks.of(each), cost_of(each)) for each in candidates(self._groups)]
        alive, needed = self._all, self._needed
        while needed:
            best, most = None, -math.inf
            known = [each for each in known if each[1] & needed]
            for conditions, mask, cost in known:
                gain = (mask & needed).bit_count() - cost - _OF_OTHERS * (mask & ~alive).bit_count()
                if gain > most and (common := self._common(mask & alive)) is not None:
                    score = gain - _OF_SETTINGS * common.cost + _OF_SIZE * self._size(mask & alive)
                    if score > most:
                        best, most = Decision(conditions, common.wanted, mask), score
            if best is None:
                best = self._alone(_numbers(needed)[0])
            alive &= ~best.mask
            needed &= ~best.mask
            yield best

    def _size(self, mask: int) -> int:
        """The number of parameters in some groups."""
        return sum(len(self._groups[number].items) for number in _numbers(mask))

    def _common(self, mask: int) -> _Choice | None:
        """The cheapest settings that all of some groups may have; None if there are none."""
        choices = self._groups[_numbers(mask)[0]].choices.items()
        common = (_Choice(wanted, cost) for wanted, cost in choices if not mask & ~self._accepting[wanted])
        return min(common, key=lambda each: each.cost, default=None)

    def _alone(self, number: int) -> Decision:
        """The decision for a group that only its own paths tell from the others."""
        group = self._groups[number]
        wanted = min(group.choices, key=group.choices.__getitem__)
        conditions = alone([item.parameter for item in group.items])
        return Decision(conditions, wanted, self._masks.of(conditions) | 1 << number)

    def _holds(self, decisions: Sequence[Decision]) -> bool:
        """Whether all groups get what they may have."""
        alive = self._all
        for decision in decisions:
            if decision.mask & alive & ~self._accepting[decision.wanted]:
                return False
            alive &= ~decision.mask
        return not alive & self._needed

    def _merged(self, decisions: list[Decision]) -> list[Decision]:
        """Decisions with the same settings in one, where the order allows it."""
        while (merged := self._with_two_merged(decisions)) is not None:
            decisions = merged
        return decisions

    def _with_two_merged(self, decisions: Sequence[Decision]) -> list[Decision] | None:
        """The decisions with two of them in one, somewhere between them; None if no two can be."""
        taken = self.taken(decisions)
        for first, second in combinations(range(len(decisions)), 2):
            one, other = decisions[first], decisions[second]
            if one.wanted != other.wanted:
                continue
            others = [each for at, each in enumerate(decisions) if at not in (first, second)]
            for conditions in (*_united(one.conditions, other.conditions), *shared([*taken[first], *taken[second]])):
                both = Decision(conditions, one.wanted, self._masks.of(conditions))
                for place in range(first, second):
                    changed = [*others[:place], both, *others[place:]]
                    if self._holds(changed):
                        return changed
        return None

    def _simpler(self, decisions: list[Decision]) -> list[Decision]:
        """Decisions for what several groups have in common, in place of those for each of them."""
        for at in range(len(decisions)):
            decision, own = decisions[at], self.taken(decisions)[at]
            others = decisions[:at] + decisions[at + 1 :]
            given = [replace(decision, conditions=each, mask=self._masks.of(each)) for each in shared(own)]
            simpler = [each for each in given if self._price(each, own) < self._price(decision, own)]
            for one in sorted(simpler, key=lambda each: self._price(each, own)):
                places = ([*others[:place], one, *others[place:]] for place in range(at, len(decisions)))
                found = next(filter(self._holds, places), None)
                if found is not None:
                    decisions = found
                    break
        return decisions

    def _price(self, decision: Decision, own: Sequence[Group]) -> float:
        """What the conditions of a decision cost, with the other groups that it would match."""
        return cost_of(decision.conditions) + _OF_OTHERS * (decision.mask.bit_count() - len(own))

    def _fewer(self, decisions: list[Decision]) -> list[Decision]:
        """The decisions that are needed."""
        for at in reversed(range(len(decisions))):
            fewer = decisions[:at] + decisions[at + 1 :]
            if self._holds(fewer):
                decisions = fewer
        return decisions

    def _ordered(self, decisions: list[Decision]) -> list[Decision]:
        """In the order of the model, except that a decision stays before those that also match what is its own."""
        alive, first_own = self._all, []
        for decision in decisions:
            first_own.append(_numbers(decision.mask & alive)[0])
            alive &= ~decision.mask
        waiting, ordered = list(range(len(decisions))), []
        while waiting:
            free = [each for each in waiting if not self._is_held_back(each, waiting, decisions)]
            ordered.append(min(free, key=first_own.__getitem__))
            waiting.remove(ordered[-1])
        return [decisions[each] for each in ordered]

    def _is_held_back(self, number: int, waiting: Sequence[int], decisions: Sequence[Decision]) -> bool:
        """Whether a decision would take groups from one that waits before it."""
        return any(other < number and decisions[other].mask & decisions[number].mask for other in waiting)


def _numbers(mask: int) -> list[int]:
    """The numbers of the bits that are set."""
    numbers = []
    while mask:
        lowest = mask & -mask
        numbers.append(lowest.bit_length() - 1)
        mask ^= lowest
    return numbers


def _united(first: Conditions, second: Conditions) -> Iterator[Conditions]:
    """The conditions that are met where either is, if these differ in the values of one key."""
    one, other = dict(first), dict(second)
    differing = [key for key in one if one[key] != other.get(key)]
    if one.keys() == other.keys() and len(differing) == 1:
        yield tuple((key, tuple(dict.fromkeys((*values, *other[key])))) for key, values in first)
