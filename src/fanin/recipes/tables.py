"""Plans as tables, and lists of paths, in which repeated blocks share a row."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fanin._core.messages import visible
from fanin.initializers import VarianceScaling
from fanin.models.names import block_of
from fanin.models.traits import KERNELS
from fanin.recipes.entry import Entry

COLUMNS = ("shape", "dtype", "layout", "layer", "role", "rule", "initializer", "fans", "std", "seed")
# The columns that a narrow table leaves out, in this order, before it shortens the texts of others.
SPARED = ("layout", "dtype", "layer", "seed", "role", "name", "fans", "shape")
_MOST_LINES = 5  # paths with equal texts that have an item each
_MOST_NUMBERS = 8  # numbers of a path that may become ranges


@dataclass(frozen=True)
class Row:
    """A row of a table: the path, in which ranges may replace numbers, the cells by column name, and its parameters."""

    path: str
    cells: Mapping[str, str]
    paths: tuple[str, ...] = ()


def cells_of(entry: Entry) -> dict[str, str]:
    """The cells of an entry of a plan, by column name."""
    parameter = entry.parameter
    stddev = entry.stddev
    cells = {
        "name": unnumbered(entry.name) if entry.name != entry.path else "",
        "shape": "×".join(map(str, parameter.shape)) or "()",
        "dtype": parameter.dtype.name,
        "layout": parameter.layout,
        "layer": parameter.layer,
        "role": parameter.role,
        "rule": entry.rule or ("!" if entry.problem else "none"),
        "initializer": "!" if entry.problem else entry.description,
        "fans": _fans(entry),
        "std": "" if stddev is None else f"{stddev:.4g}",
        "seed": _seeds(entry.seeds),
    }
    return {column: visible(text) for column, text in cells.items()}


def _fans(entry: Entry) -> str:
    """The fans of kernels, and those that another initializer was given; those of blocks, if they differ."""
    of_kernel = entry.parameter.role in (*KERNELS, "embedding")
    traits = entry.parameter.traits
    used = [each.fans for each in entry.placements if of_kernel or isinstance(each.initializer, VarianceScaling)]
    fans = used or ([(traits.fan_in, traits.fan_out)] if of_kernel else [])
    texts = ("→".join("?" if fan is None else f"{fan:.10g}" for fan in each) for each in fans if any(each))
    return ", ".join(dict.fromkeys(texts))


def _seeds(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds)) if len(seeds) < 2 else f"{len(seeds)} seeds"


def folded(entries: Iterable[Entry]) -> list[Row]:
    """Rows in which the parameters of repeated blocks are folded into one, if they differ only in their seeds."""
    by_path = {entry.path: (entry, cells_of(entry)) for entry in entries}
    keys = {path: tuple({**cells, "seed": ""}.items()) for path, (_, cells) in by_path.items()}
    rows = []
    for text, paths in folded_paths(keys):
        entry, cells = by_path[paths[0]]
        if len(paths) == 1:
            name = visible(entry.name) if entry.name != entry.path else ""
            rows.append(Row(text, {**cells, "name": name}, tuple(paths)))
        else:
            seeds = dict.fromkeys(seed for path in paths for seed in by_path[path][0].seeds)
            rows.append(Row(text, {**cells, "seed": _seeds(tuple(seeds))}, tuple(paths)))
    return rows


def folded_paths(keys: Mapping[str, Hashable]) -> list[tuple[str, list[str]]]:
    """Paths in which ranges replace the numbers of repeated blocks, each with the paths that it stands for.

    Args:
        keys: the paths; only those with equal values are folded.
    """
    groups: dict[tuple[str, Hashable], dict[tuple[int, ...], str]] = {}
    for path, key in keys.items():
        template, numbers = _template(path)
        groups.setdefault((template, key), {})[numbers] = path
    return [
        (visible(template.format(*texts)), [by_numbers[numbers] for numbers in covered])
        for (template, _), by_numbers in groups.items()
        for texts, covered in _ranges(list(by_numbers))
    ]


def folded_lines(texts: Mapping[str, str]) -> list[tuple[str, str]]:
    """Paths and the text of each, in which the paths of repeated blocks with equal texts share an item."""
    return [(path, visible(texts[paths[0]])) for path, paths in folded_paths(texts)]


def short_lines(texts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The same of parameters, of which those with equal texts share one item, with their number, if they are many."""
    by_text: dict[str, list[str]] = {}
    for path, text in folded_lines(texts):
        by_text.setdefault(text, []).append(path)
    counts = Counter(map(visible, texts.values()))
    for text, paths in by_text.items():
        if len(paths) > _MOST_LINES:
            paths = [f"{counts[text]} parameters, such as {paths[0]}"]
        yield from ((path, text) for path in paths)


def unnumbered(name: str) -> str:
    """A name with a dot in place of each block's number."""
    template, numbers = _template(name)
    return template.format(*"·" * len(numbers))


def _template(path: str) -> tuple[str, tuple[int, ...]]:
    """A path with placeholders for block numbers, and the numbers."""
    numbers, parts = [], []
    for part in path.replace("{", "{{").replace("}", "}}").split("."):
        stem, number = block_of(part)
        plain = f"{stem}_{number}" if stem else str(number)
        if number is None or part != plain or len(numbers) == _MOST_NUMBERS:
            parts.append(part)
        else:
            numbers.append(number)
            parts.append(f"{stem}_{{}}" if stem else "{}")
    return ".".join(parts), tuple(numbers)


def _ranges(tuples: list[tuple[int, ...]]) -> Iterator[tuple[tuple[str, ...], list[tuple[int, ...]]]]:
    """Tuples of numbers as products of ranges, each with the tuples that it covers."""
    axes = [sorted(set(axis)) for axis in zip(*tuples, strict=True)]
    if math.prod(map(len, axes)) == len(tuples):
        yield tuple(map(_range, axes)), tuples
        return
    inner: dict[int, list[tuple[int, ...]]] = {}
    for first, *rest in tuples:
        inner.setdefault(first, []).append(tuple(rest))
    for first, each in inner.items():
        for texts, covered in _ranges(each):
            yield (str(first), *texts), [(first, *rest) for rest in covered]


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
