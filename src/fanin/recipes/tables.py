"""Plans as tables, in which the parameters of repeated blocks share a row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fanin.models.traits import KERNELS
from fanin.recipes.entry import Entry

COLUMNS = ("shape", "dtype", "layout", "layer", "role", "rule", "initializer", "fans", "std", "seed")


@dataclass(frozen=True)
class Row:
    """A row of a table: the path, in which ranges may replace numbers, and the cells by column name."""

    path: str
    cells: Mapping[str, str]


def cells_of(entry: Entry) -> dict[str, str]:
    """The cells of an entry of a plan, by column name."""
    parameter = entry.parameter
    stddev = entry.stddev
    return {
        "name": _unnumbered(entry.name) if entry.name != entry.path else "",
        "shape": "×".join(map(str, parameter.shape)) or "()",
        "dtype": parameter.dtype.name,
        "layout": parameter.layout,
        "layer": parameter.layer,
        "role": parameter.role,
        "rule": entry.rule or ("!" if entry.problem else "none"),
        "initializer": "!" if entry.problem else entry.description,
        "fans": ""
        if entry.fans is None or parameter.role not in (*KERNELS, "embedding")
        else "→".join(map(str, entry.fans)),
        "std": "" if stddev is None else f"{stddev:.4g}",
        "seed": ", ".join(map(str, entry.seeds)) if len(entry.seeds) < 2 else f"{len(entry.seeds)} seeds",
    }


def folded(entries: Iterable[Entry]) -> list[Row]:
    """Rows in which the parameters of repeated blocks are folded into one, if they differ only in their seeds."""
    groups: dict[tuple[Any, ...], list[tuple[tuple[int, ...], dict[str, str]]]] = {}
    names: dict[tuple[str, tuple[int, ...]], str] = {}
    for entry in entries:
        template, numbers = _template(entry.path)
        names[template, numbers] = entry.name if entry.name != entry.path else ""
        cells = cells_of(entry)
        key = (template, *(text for column, text in cells.items() if column != "seed"))
        groups.setdefault(key, []).append((numbers, cells))
    rows = []
    for (template, *_), members in groups.items():
        by_numbers = dict(members)
        for texts, folded in _ranges(list(by_numbers)):
            cells = dict(by_numbers[folded[0]])
            if len(folded) == 1:
                cells["name"] = names[template, folded[0]]
            seeds = {by_numbers[numbers]["seed"] for numbers in folded}
            if len(seeds) > 1:
                cells["seed"] = f"{len(seeds)} seeds"
            rows.append(Row(template.format(*texts), cells))
    return rows


def _unnumbered(name: str) -> str:
    """A name with a dot in place of each block's number."""
    template, numbers = _template(name)
    return template.format(*"·" * len(numbers))


def _template(path: str) -> tuple[str, tuple[int, ...]]:
    """A path with placeholders for block numbers, and the numbers."""
    numbers, parts = [], []
    for part in path.replace("{", "{{").replace("}", "}}").split("."):
        stem, underscore, tail = part.rpartition("_")
        if part.isdecimal() and str(int(part)) == part:
            numbers.append(int(part))
            parts.append("{}")
        elif underscore and tail.isdecimal() and str(int(tail)) == tail:
            numbers.append(int(tail))
            parts.append(stem + "_{}")
        else:
            parts.append(part)
    return ".".join(parts), tuple(numbers)


def _ranges(tuples: list[tuple[int, ...]]) -> Iterator[tuple[tuple[str, ...], list[tuple[int, ...]]]]:
    """Tuples of numbers as products of ranges, each with the tuples that it covers."""
    axes = [sorted(set(axis)) for axis in zip(*tuples, strict=True)]
    if math.prod(map(len, axes)) == len(tuples):
        yield tuple(map(_range, axes)), tuples
        return
    for first in dict.fromkeys(each[0] for each in tuples):
        for rest, folded in _ranges([each[1:] for each in tuples if each[0] == first]):
            yield (str(first), *rest), [(first, *each) for each in folded]


def _range(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return str(numbers[0])
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return "[" + ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs) + "]"
