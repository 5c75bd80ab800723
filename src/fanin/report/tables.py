"""Tables, as text that fits a terminal and as HTML."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias
from unicodedata import combining, east_asian_width

from fanin._core.messages import plural, visible
from fanin.report import markup
from fanin.report.markup import TONES, Tone, printed

_LEAST = 8  # characters that a text is shortened to
_MOST_ROWS = 1000  # of a table in a notebook, which slows down if it has more


@dataclass(frozen=True)
class Toned:
    """A cell that says something good or bad: tinted in HTML, and only its text in a terminal.

    Attributes:
        text: the text of the cell.
        tone: "good", "warn", "bad", or "dim" for what matters less.
    """

    text: str
    tone: Tone

    def __post_init__(self) -> None:
        if self.tone not in TONES:
            raise ValueError(f"`tone` must be one of {', '.join(TONES)}. Received: tone={self.tone!r}.")

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Pictured:
    """A cell with a small picture in HTML, and a text in its place in a terminal.

    Attributes:
        text: the text.
        picture: the picture as HTML, whose texts are escaped already.
    """

    text: str
    picture: str

    def __str__(self) -> str:
        return self.text


Cell: TypeAlias = str | Toned | Pictured


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its head.
        is_right: whether its cells end at the right, as those of numbers do.
    """

    name: str
    is_right: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of cells under columns, shown as text or as HTML.

    Attributes:
        columns: the columns.
        rows: the cells of each row.
        spared: the names of the columns that a narrow terminal may leave out, in this order.
        caption: a line above the table; "" for none.
        footnotes: lines below it.

    >>> from fanin.report.tables import Table
    >>> print(Table.of(("name", "std"), [("kernel", "0.05"), ("bias", "0")], right=["std"]).text())
    name     std
    kernel  0.05
    bias       0
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    spared: tuple[str, ...] = ()
    caption: str = ""
    footnotes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        heads: Sequence[str],
        rows: Iterable[Sequence[Cell]],
        *,
        right: Collection[str] = (),
        spared: Sequence[str] = (),
        caption: str = "",
        footnotes: Iterable[str] = (),
    ) -> Table:
        """A table from the names of its columns and its cells.

        Args:
            heads: the names of the columns.
            rows: the cells of each row.
            right: the names of the columns whose cells end at the right.
            spared: the names of the columns that a narrow terminal may leave out, in this order.
            caption: a line above the table.
            footnotes: lines below it.
        """
        columns = tuple(Column(head, head in right) for head in heads)
        return cls(columns, tuple(map(tuple, rows)), tuple(spared), caption, tuple(footnotes))

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"Each row must have a cell for each of {len(self.columns)} columns. Received: {len(row)} cells."
                )

    @property
    def heads(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.columns)

    def with_column(self, name: str, cells: Iterable[Cell], before: str) -> Table:
        """The table with one more column.

        Args:
            name: its name.
            cells: its cells.
            before: the name of the column that it comes before.

        >>> from fanin.report.tables import Table
        >>> Table.of(("name", "std"), [("kernel", "0.05")]).with_column("size", ["8"], before="std").heads
        ('name', 'size', 'std')
        """
        place = self.heads.index(before)
        columns = (*self.columns[:place], Column(name), *self.columns[place:])
        rows = ((*row[:place], cell, *row[place:]) for row, cell in zip(self.rows, cells, strict=True))
        return replace(self, columns=columns, rows=tuple(rows))

    def text(self, width: int | None = None) -> str:
        """The table as text, a line for each row.

        Args:
            width: the number of characters that a line may have; None for no limit. To fit, the table first leaves out
                columns that may be spared, and then shortens the longest texts in the middle. Captions and footnotes
                stay as they are.
        """
        cells = [tuple(visible(str(cell)) for cell in row) for row in self.rows]
        right = {column.name for column in self.columns if column.is_right}
        lines = lines_of(self.heads, cells, width, self.spared, right)
        above = [visible(self.caption), ""] if self.caption else []
        below = ["", *map(visible, self.footnotes)] if self.footnotes else []
        return "\n".join([*above, *lines, *below])

    def html(self, most: int = _MOST_ROWS) -> str:
        """The table as a fragment of HTML that needs nothing else: names are escaped, and there is no script.

        Args:
            most: the number of rows to show; a last line says how many more there are.
        """
        return markup.fragment(self.element(most), markup.paragraphs(self.notes(most)))

    def element(self, most: int = _MOST_ROWS) -> str:
        """The `<table>` alone, for a page that has the style and shows the `notes` itself."""
        heads = "".join(
            markup.element("th", markup.text(each.name), scope="col", class_="right" if each.is_right else "")
            for each in self.columns
        )
        rows = (
            "".join(self._cell(column, cell) for column, cell in zip(self.columns, row, strict=True))
            for row in self.rows[:most]
        )
        return markup.element(
            "table",
            (markup.element("caption", markup.text(self.caption)) if self.caption else "")
            + markup.element("thead", markup.element("tr", heads))
            + markup.element("tbody", "".join(markup.element("tr", row) for row in rows)),
        )

    def notes(self, most: int = _MOST_ROWS) -> list[str]:
        """The lines below the table in HTML: the footnotes, and how many rows it does not show."""
        more = max(0, len(self.rows) - most)
        return [*([f"and {more:,} more {plural(more, 'row')}"] if more else []), *self.footnotes]

    @staticmethod
    def _cell(column: Column, cell: Cell) -> str:
        content = cell.picture if isinstance(cell, Pictured) else markup.text(str(cell))
        classes = ["right"] if column.is_right else []
        if isinstance(cell, Toned):
            classes.append(cell.tone)
        return markup.element("td", content, class_=" ".join(classes))

    def __str__(self) -> str:
        return self.text()

    _repr_pretty_ = printed

    def _repr_html_(self) -> str:
        return self.html()


def lines_of(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int | None = None,
    spared: Sequence[str] = (),
    right: Collection[str] = (),
) -> list[str]:
    """The lines of a table.

    Args:
        heads: the names of the columns.
        rows: the cells of each row.
        width: the width to fit: columns are left out first, then texts shortened. A last line says which columns.
        spared: the names of the columns that may be left out, in this order.
        right: the names of the columns whose cells end at the right.
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
    fill = [_filled_before if head in right else _filled for head in heads]
    lines = [
        "  ".join(fill[each](_shortened(row[each], widths[each]), widths[each]) for each in kept).rstrip()
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


def _filled_before(text: str, width: int) -> str:
    return " " * (width - _width(text)) + text


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
