"""Decisions as rules, with comments that say how many parameters they are for and what else their numbers are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fanin._core.messages import plural
from fanin.recipes.folding.conditions import Conditions, Group
from fanin.recipes.folding.settings import Wanted
from fanin.recipes.rules import Rule

_ORDER = ("layer", "within", "role", "path")  # of a rule's conditions
_NUMBERS = ("stddev", "maxval", "value", "gain", "rate", "p")  # arguments that a comment explains
_MOST_OTHERS = 2  # ways to write a number that a comment mentions
_FAR_FETCHED = 4.0  # the cost of those that it does not


def rules_of(conditions: Conditions, wanted: Wanted, comment: str = "") -> list[Rule]:
    """The rules with these conditions and settings, the first of which has a comment."""
    values = dict(conditions)
    when = {key: _one_or_several(values[key]) for key in _ORDER if key in values}
    rules = [Rule(**when, **{key: _listed(value) for key, value in settings}) for settings in wanted]
    return [rules[0].commented(comment), *rules[1:]]


def _one_or_several(values: Sequence[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else list(values)


def _listed(value: Any) -> Any:
    return [_listed(each) for each in value] if isinstance(value, tuple) else value


def comment_of(wanted: Wanted, taken: Sequence[Group], count: int) -> str:
    """How many of the parameters a rule is for, and what its numbers may have to do with the configuration."""
    share = sum(len(group.items) for group in taken)
    lines = [f"{share} of {count} {plural(count, 'parameter')}"]
    if len(wanted) == 1:
        common = [
            dict(other[0])
            for other, cost in sorted(taken[0].choices.items(), key=lambda each: each[1])
            if cost < _FAR_FETCHED and len(other) == 1 and all(other in group.choices for group in taken)
        ]
        lines += _others(dict(wanted[0]), common)
    return "\n".join(lines)


def _others(said: Mapping[str, Any], common: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What else the number of a rule is: another name of the configuration, or the number that the name stands for."""
    same = [other for other in common if other.keys() == said.keys() and other["initializer"] == said["initializer"]]
    for key in [key for key in said if key in _NUMBERS]:
        text = f"{said[key]}"
        others = dict.fromkeys(f"{other[key]}" for other in same if other[key] != said[key])
        texts = [each for each in others if "config." in f"{text} {each}" and _shape(each) in (_shape(text), "number")]
        if not isinstance(said[key], str):
            texts = [each for each in others if _shape(each) == "name"]
        if texts:
            yield f"{text} is also {' and '.join(texts[:_MOST_OTHERS])}"


def _shape(text: str) -> str:
    """ "name" for a number of the configuration, "number" for any other, else the text without such names."""
    unnamed = re.sub(r"config\.\w+", "name", text)
    return "number" if re.fullmatch(r"-?[\d.]+(e-?\d+)?", text) else unnamed
