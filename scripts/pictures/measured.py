"""What `fanin bench --json` wrote: each case with the median time of each candidate."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

PATH = Path(__file__).parents[2] / "docs/benchmarks.json"
_OURS = "fanin"


@dataclass(frozen=True)
class Case:
    """What was measured of one task.

    Attributes:
        group, name: what it is called.
        threads: the number of threads.
        elements: the number of values.
        seconds: the median time of each candidate.
    """

    group: str
    name: str
    threads: int
    elements: int
    seconds: Mapping[str, float]

    @property
    def tiers(self) -> list[str]:
        """fanin's tiers, the fastest first, as candidates are called; just "fanin" where the best is used."""
        return [name for name in self.seconds if name.split()[0] == _OURS and "," not in name]

    @property
    def best(self) -> float:
        """The time of fanin's best tier."""
        return self.seconds[self.tiers[0]]

    def rate(self, candidate: str) -> float:
        """How many millions of values a candidate makes a second."""
        return self.elements / self.seconds[candidate] / 1e6

    def times(self, candidate: str) -> float:
        """A candidate's time, divided by fanin's."""
        return self.seconds[candidate] / self.best


@dataclass(frozen=True)
class Bench:
    """A run.

    Attributes:
        machine, versions: where, and of what.
        cases: the cases, in the order in which they were measured.
    """

    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    cases: tuple[Case, ...]

    @property
    def most_threads(self) -> int:
        """The largest number of threads."""
        return max(case.threads for case in self.cases)

    def of(self, *groups: str, threads: int | None = None, containing: str = "") -> Iterator[Case]:
        """The cases of groups, perhaps only those with so many threads, or whose names contain a word."""
        for case in self.cases:
            if case.group in groups and threads in (None, case.threads) and containing in case.name:
                yield case


@cache
def load(path: Path = PATH) -> Bench:
    """The run that a file holds."""
    data = json.loads(path.read_text(encoding="utf-8"))
    cases: dict[tuple[str, str, int], Case] = {}
    for row in data["results"]:
        key = row["group"], row["case"], row["threads"]
        known = cases.get(key, Case(*key, row["elements"], {}))
        cases[key] = Case(*key, row["elements"], {**known.seconds, row["candidate"]: row["seconds"]})
    return Bench(data["machine"], data["versions"], tuple(cases.values()))
