"""Tables as text that fits a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import combining, east_asian_width

_LEAST = 8  # characters that a text is shortened to


def lines_of(
    heads: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None, spared: Sequence[str] = ()
) -> list[str]:
    """The lines of a table.

    Args:
        heads: the names of the columns.
        rows: the cells of each row.
        width: the width to fit: columns are left out first, then texts shortened. A last line says which columns.
        spared: the names of the columns that may be left out, in this order.
    """
    kept, removable = list(range(len(heads))), [heads.index(each) for each in spared if each in heads]
    widths = [max(map(_width, column)) for column in zip(heads, *rows, strict=True)]
    left_out: list[int] = []
    while width is not None and removable and sum(widths[each] + 2 for each in kept) - 2 > width:
        left_out.append(removable.pop(0))
        kept.remove(left_out[-1])
    while width is not None and sum(widths[each] + 2 for each in kept) - 2 > width:
        widest = max(kept, key=widths.__getitem__)
        if widths[widest] <= _LEAST:
            break
        widths[widest] -= 1
    lines = [
        "  ".join(_filled(_shortened(row[each], widths[each]), widths[each]) for each in kept).rstrip()
        for row in (heads, *rows)
    ]
    return [*lines, f"left out: {', '.join(heads[each] for each in sorted(left_out))}"] if left_out else lines


def _width(text: str) -> int:
    """The columns of a terminal that a text takes: none for an accent that combines, two for a Chinese character."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(each) else 2 if east_asian_width(each) in "WF" else 1 for each in text)


def _filled(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _shortened(text: str, width: int) -> str:
    """A text in at most this width: an ellipsis replaces its middle, since paths often differ at both ends."""
    if _width(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{_beginning(text, width - 1 - tail)}…{_beginning(text[::-1], tail)[::-1]}"


def _beginning(text: str, width: int) -> str:
    """As much of a text as fits."""
    taken = text[:width]  # a character takes a column at least, unless it combines with another one
    while _width(taken) > width:
        taken = taken[:-1]
    return taken
