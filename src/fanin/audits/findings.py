"""Findings in words: those of repeated blocks together, and copies of whole blocks as one."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass

from fanin._core.messages import visible
from fanin.audits.verdicts import Problem
from fanin.recipes.tables import folded_paths

_MOST_NAMES = 3  # that a line lists
_RELATED = {
    "duplicate": "have the same values",
    "correlated": "are more alike than chance makes them",
}


@dataclass(frozen=True)
class _Pair:
    """Two tensors that have something in common: the parts of their names that differ, and what follows both."""

    first: str
    second: str
    rest: str

    @classmethod
    def of(cls, name: str, other: str) -> _Pair:
        """The pair of two names, in the order of the alphabet, so that both ways give the same."""
        one, two = (each.split(".") for each in sorted((name, other)))
        same = 0
        while same < min(len(one), len(two)) - 1 and one[-1 - same] == two[-1 - same]:
            same += 1
        ends = len(one) - same, len(two) - same
        return cls(".".join(one[: ends[0]]), ".".join(two[: ends[1]]), ".".join(one[ends[0] :]))


def lines_of(found: Iterable[tuple[str, Problem]]) -> list[str]:
    """Problems in words, in their order, those of repeated blocks together.

    Args:
        found: the name of each tensor and one of its problems.

    >>> from fanin.audits.findings import lines_of
    >>> from fanin.audits.verdicts import Problem
    >>> nan = Problem("nan", "broken", "All elements are NaN.")
    >>> lines_of([("h.0.kernel", nan), ("h.1.kernel", nan)])
    ['h.[0-1].kernel: broken: All elements are NaN.']
    """
    groups: dict[Hashable, list[tuple[str, Problem]]] = {}
    for name, problem in found:
        key: Hashable = problem.kind, problem.message, problem.advice
        if problem.other:
            pair = _Pair.of(name, problem.other)
            key = problem.code, pair.first, pair.second
        groups.setdefault(key, []).append((name, problem))
    return [line for group in groups.values() for line in _lines(group)]


def _lines(group: list[tuple[str, Problem]]) -> Iterator[str]:
    """The lines of problems that go together."""
    _, problem = group[0]
    advice = f" {visible(problem.advice)}" if problem.advice else ""
    if problem.other:
        pairs = list(dict.fromkeys(_Pair.of(name, each.other) for name, each in group))
        where = f"{visible(pairs[0].first)} and {visible(pairs[0].second)}"
        if len(pairs) > 1:
            rests = [visible(each.rest) for each in pairs]
            more = ", …" if len(rests) > _MOST_NAMES else ""
            what = f"{len(pairs)} tensors ({', '.join(rests[:_MOST_NAMES])}{more}) {_RELATED[problem.code]} in both."
            yield f"{where}: {problem.kind}: {what}{advice}"
            return
    names = [name for name, _ in group] if not problem.other else [group[0][0]]
    for path, _ in folded_paths(dict.fromkeys(names)):
        yield f"{path}: {problem.kind}: {visible(problem.message)}{advice}"
