"""Ordered rules for groups of parameters: as few and as simple as a greedy search finds; the first that matches counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from fanin.recipes.folding.conditions import Conditions, Group, Masks, candidates, cost_of, exactly
from fanin.recipes.folding.settings import Wanted

# What outweighs a group more that a decision is for: its settings' costs, and groups that it also matches without need.
_OF_SETTINGS, _OF_OTHERS = 0.3, 0.01


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
        return self._ordered(self._fewer(self._merged(list(self._greedy()))))

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
        sizes = [len(group.items) for group in self._groups]
        alive, needed = self._all, self._needed
        while needed:
            best, most = None, float("-inf")
            for conditions, mask, cost in known:
                live, gain = mask & alive, (mask & needed).bit_count() - cost
                gain -= _OF_OTHERS * (mask & ~alive).bit_count()
                if not mask & needed or gain <= most:
                    continue
                found = self._common(live)
                if found is None:
                    continue
                wanted, cost = found
                score = gain - _OF_SETTINGS * cost + 1e-9 * sum(sizes[number] for number in _numbers(live))
                if score > most:
                    best, most = Decision(conditions, wanted, mask), score
            if best is None:
                best = self._alone(_numbers(needed)[0])
            alive &= ~best.mask
            needed &= ~best.mask
            known = [each for each in known if each[1] & needed]
            yield best

    def _common(self, mask: int) -> tuple[Wanted, float] | None:
        """The cheapest settings that all of some groups may have, and their cost; None if there are none."""
        choices = self._groups[_numbers(mask)[0]].choices
        common = [(cost, at, wanted) for at, (wanted, cost) in enumerate(choices.items()) if not mask & ~self._accepting[wanted]]
        return (lambda least: (least[2], least[0]))(min(common)) if common else None

    def _alone(self, number: int) -> Decision:
        """The decision for a group that no conditions but its own paths tell from the others."""
        group = self._groups[number]
        wanted = min(group.choices, key=group.choices.__getitem__)
        return Decision((("path", exactly(item.parameter for item in group.items)),), wanted, 1 << number)

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
        for first, second in combinations(range(len(decisions)), 2):
            one, other = decisions[first], decisions[second]
            conditions = _united(one.conditions, other.conditions) if one.wanted == other.wanted else None
            if conditions is None:
                continue
            both = replace(one, conditions=conditions, mask=self._masks.of(conditions))
            for place in (first, second):
                changed = [both if at == place else each for at, each in enumerate(decisions) if at in (place,) or at not in (first, second)]
                if self._holds(changed):
                    return self._merged(changed)
        return decisions

    def _fewer(self, decisions: list[Decision]) -> list[Decision]:
        """The decisions that are needed."""
        for at in reversed(range(len(decisions))):
            fewer = decisions[:at] + decisions[at + 1 :]
            if self._holds(fewer):
                decisions = fewer
        return decisions

    def _ordered(self, decisions: list[Decision]) -> list[Decision]:
        """In the order of the model, except that a decision stays before those that also match what is its own."""
        firsts = [_numbers(mask)[0] for mask in self._own_masks(decisions)]
        waiting, ordered = list(range(len(decisions))), []
        while waiting:
            free = [
                each for each in waiting if not any(decisions[other].mask & decisions[each].mask for other in waiting if other < each)
            ]
            ordered.append(min(free, key=firsts.__getitem__))
            waiting.remove(ordered[-1])
        return [decisions[each] for each in ordered]

    def _own_masks(self, decisions: Sequence[Decision]) -> Iterator[int]:
        alive = self._all
        for decision in decisions:
            yield decision.mask & alive
            alive &= ~decision.mask


def _numbers(mask: int) -> list[int]:
    """The numbers of the bits that are set."""
    numbers = []
    while mask:
        lowest = mask & -mask
        numbers.append(lowest.bit_length() - 1)
        mask ^= lowest
    return numbers


def _united(first: Conditions, second: Conditions) -> Conditions | None:
    """The conditions that are met where either is, if these differ in the values of one key; else None."""
    one, other = dict(first), dict(second)
    differing = [key for key in one if one[key] != other.get(key)]
    if one.keys() != other.keys() or len(differing) != 1:
        return None
    return tuple((key, tuple(dict.fromkeys((*values, *other[key])))) for key, values in first)
