"""Tables of what was found of recorded models, as Markdown."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Found = Mapping[str, Any]  # what recorded_libraries.checked returns
DRAWN = ("normal", "truncated_normal", "uniform")
SHOWN = ("constant", *DRAWN, "table", "formula", "regions", "program")
LIBRARIES = ("transformers", "diffusers", "timm", "torchvision", "torch.nn", "hand-written", "peft")


def lines_of(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """A table, whose first column is text and whose others are numbers."""
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return [f"| {' | '.join(map(str, row))} |" for row in (heads, rule, *rows)]


def summary(found: Iterable[Found]) -> list[str]:
    """A row for each library: of how many models all is accounted for, and the kinds of their parameters."""
    heads = ("library", "models", "parameters", "elements", *map(_words, SHOWN), "other", "nothing", "seconds", "worst")
    return lines_of(heads, [_summed(library, rows) for library, rows in _grouped(found).items()])


def _summed(library: str, rows: list[Found]) -> list[object]:
    kinds = sum((Counter(row["kinds"]) for row in rows), Counter[str]())
    elements = sum(sum(row["elements"].values()) for row in rows)
    seconds = [row["seconds"] for row in rows]
    times = (f"{statistics.median(seconds):.2f}", f"{max(seconds):.1f}")
    return [library, len(rows), f"{kinds.total():,}", _large(elements), *_cells(kinds), *times]


def recipes(found: Iterable[Found]) -> list[str]:
    """A row for each library: how many recipes make the recorded plan, and how long they are."""
    heads = ("library", "recipes", "same plan", "rules, median", "90 %", "most")
    rows = []
    for library, group in _grouped(found).items():
        rules = sorted(row["rules"] for row in group)
        same = sum(row["same"] for row in group)
        nine = rules[min(len(rules) - 1, int(0.9 * len(rules)))]
        rows.append((library, len(group), same, statistics.median_low(rules), nine, rules[-1]))
    return lines_of(heads, rows)


def comparisons(found: Iterable[Found]) -> list[str]:
    """A row for each library: how many parameters were compared, and the furthest of them."""
    heads = ("library", "models", "equal", "drawn", "errors, most", "p, least", "models with a fault")
    rows = []
    for library, group in _grouped(found).items():
        exact, drawn = (sum(row[key] for row in group) for key in ("exact", "drawn"))
        errors, least = max(row["errors"] for row in group), min(row["least"] for row in group)
        faulty = sum(bool(row["faults"]) for row in group)
        rows.append((library, len(group), f"{exact:,}", f"{drawn:,}", f"{errors:.1f}", f"{least:.0e}", faulty))
    return lines_of(heads, rows)


def models(found: Iterable[Found]) -> list[str]:
    """A row for each model."""
    heads = ("model", "parameters", "elements", *map(_words, SHOWN), "other", "nothing", "rules", "same", "seconds")
    return lines_of(
        heads,
        [
            (
                row["name"],
                sum(row["kinds"].values()),
                _large(sum(row["elements"].values())),
                *_cells(Counter(row["kinds"])),
                row["rules"],
                "yes" if row["same"] else "no",
                f"{row['seconds']:.2f}",
            )
            for row in found
        ],
    )


def compared_models(found: Iterable[Found]) -> list[str]:
    """A row for each model that was made for real."""
    heads = ("model", "equal", "drawn", "errors, most", "p, least")
    return lines_of(
        heads,
        [(row["name"], row["exact"], row["drawn"], f"{row['errors']:.1f}", f"{row['least']:.0e}") for row in found],
    )


def _cells(kinds: Counter[str]) -> list[str]:
    """The number of parameters of each kind; "" for none."""
    other = sum(number for kind, number in kinds.items() if kind not in (*SHOWN, "nothing"))
    return [f"{number:,}" if number else "" for number in (*(kinds[kind] for kind in SHOWN), other)] + [
        str(kinds["nothing"])
    ]


def _grouped(found: Iterable[Found]) -> dict[str, list[Found]]:
    """The models that were made, by library."""
    groups: dict[str, list[Found]] = {library: [] for library in LIBRARIES}
    for row in found:
        if not row.get("unmade") and "kinds" in row:
            groups[row["library"].removesuffix(", small")].append(row)
    return {library: rows for library, rows in groups.items() if rows}


def _words(kind: str) -> str:
    return kind.replace("_normal", "").replace("_", " ")


def _large(number: int) -> str:
    """A number with a unit."""
    for unit, size in (("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)
