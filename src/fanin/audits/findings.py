"""Findings in words: those of repeated blocks together, and copies of whole blocks as one."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from fanin._core.messages import visible
from fanin.audits.verdicts import Problem
from fanin.recipes.tables import folded_paths

_MOST_NAMES = 3  # that a line lists
_MEASURED = ("stddev", "mean", "residual", "transposed")  # codes whose messages have numbers that chance varies
_NEAR = 0.05  # relative to a number, that others of the same finding are from it
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?(?!\w)")
_RELATED = {
    "duplicate": "have the same values",
    "correlated": "are more alike than chance makes them",
}


@dataclass(frozen=True)
class _Relation:
    """Two tensors that have something in common: the parts of their names that differ, and what follows both."""

    first: str
    second: str
    rest: str

    @classmethod
    def of(cls, name: str, other: str) -> _Relation:
        """The relation of two names, in the order of the alphabet, so that both ways give the same."""
        one, two = (each.split(".") for each in sorted((name, other)))
        same = 0
        while same < min(len(one), len(two)) - 1 and one[-1 - same] == two[-1 - same]:
            same += 1
        ends = len(one) - same, len(two) - same
        return cls(".".join(one[: ends[0]]), ".".join(two[: ends[1]]), ".".join(one[ends[0] :]))


@dataclass(frozen=True)
class Finding:
    """A problem that tensors of repeated blocks share.

    Attributes:
        path: their names, in which ranges replace the numbers of the blocks.
        names: their names.
        problem: the problem of the first of them.
        message: what is wrong, in a sentence.
    """

    path: str
    names: tuple[str, ...]
    problem: Problem
    message: str

    @property
    def line(self) -> str:
        """The finding in words, with what to do."""
        advice = f" {visible(self.problem.advice)}" if self.problem.advice else ""
        return f"{self.path}: {self.problem.kind}: {self.message}{advice}"


def findings_of(found: Iterable[tuple[str, Problem]]) -> list[Finding]:
    """Problems in their order, those of repeated blocks together.

    Args:
        found: the name of each tensor and one of its problems.

    >>> from fanin.audits.findings import findings_of
    >>> from fanin.audits.verdicts import Problem
    >>> nan = Problem("nan", "broken", "All elements are NaN.")
    >>> [each.line for each in findings_of([("h.0.kernel", nan), ("h.1.kernel", nan)])]
    ['h.[0-1].kernel: broken: All elements are NaN.']
    """
    groups: dict[Hashable, list[tuple[str, Problem]]] = {}
    numbers: dict[Hashable, list[tuple[float, ...]]] = {}
    for name, problem in found:
        key: Hashable = problem.kind, problem.message, problem.advice
        if problem.other:
            relation = _Relation.of(name, problem.other)
            key = problem.code, relation.first, relation.second
        elif problem.code in _MEASURED:
            words = problem.kind, _NUMBER.sub("", problem.message), problem.advice
            key = words, _nearest(_numbers_in(problem.message), numbers.setdefault(words, []))
        groups.setdefault(key, []).append((name, problem))
    return [each for group in groups.values() for each in _folded(group)]


def _numbers_in(message: str) -> tuple[float, ...]:
    """The numbers in a message."""
    return tuple(float(each.replace(",", "")) for each in _NUMBER.findall(message))


def _nearest(numbers: tuple[float, ...], known: list[tuple[float, ...]]) -> tuple[float, ...]:
    """The first of some known numbers that differ from these by chance only; these themselves, which are then known."""
    for each in known:
        if all(abs(one - other) <= _NEAR * abs(other) for one, other in zip(numbers, each, strict=True)):
            return each
    known.append(numbers)
    return numbers


def _merged(messages: Sequence[str]) -> str:
    """The message of several that differ in their numbers: from the smallest to the largest.

    >>> _merged(["It is 2.84 times 0.02.", "It is 2.83 times 0.02."])
    'It is 2.83–2.84 times 0.02.'
    """
    found = [_NUMBER.findall(each) for each in dict.fromkeys(messages)]
    if len(found) == 1:
        return messages[0]
    ranges = []
    for several in zip(*found, strict=True):
        ends = sorted(several, key=lambda each: _numbers_in(each))
        ranges.append("–".join(dict.fromkeys((ends[0], ends[-1]))))
    texts = _NUMBER.split(messages[0])
    return "".join(text + each for text, each in zip(texts, (*ranges, ""), strict=True))


def _folded(group: list[tuple[str, Problem]]) -> Iterator[Finding]:
    """The findings of problems that go together."""
    names, problem = [name for name, _ in group], group[0][1]
    if problem.other:
        relations = list(dict.fromkeys(_Relation.of(name, each.other) for name, each in group))
        if len(relations) > 1:
            yield _of_blocks(names, relations, problem)
            return
        names = names[:1]  # the other one has the same to say
    messages = {name: each.message for name, each in group}
    for path, those in folded_paths(dict.fromkeys(names)):
        message = _merged([messages[name] for name in those]) if problem.code in _MEASURED else problem.message
        yield Finding(path, tuple(those), problem, visible(message))


def _of_blocks(names: list[str], relations: list[_Relation], problem: Problem) -> Finding:
    """What several tensors of two blocks have in common."""
    rests = [visible(each.rest) for each in relations]
    shown = ", ".join(rests[:_MOST_NAMES]) + (", …" if len(rests) > _MOST_NAMES else "")
    path = f"{visible(relations[0].first)} and {visible(relations[0].second)}"
    message = f"{len(rests)} tensors ({shown}) {_RELATED[problem.code]} in both."
    return Finding(path, tuple(names), problem, message)
