"""Tables as text and as HTML: widths, alignment, and names that are text whatever they contain."""

from html.parser import HTMLParser

import pytest

from fanin.report.markup import STYLE, TONES
from fanin.report.tables import Table, Toned

HOSTILE = "<script>alert('x')</script>&\"\n\u202e"


class Reader(HTMLParser):
    """The elements and the texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.classes: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes an element."""
        self.tags.append(tag)
        self.classes += [value or "" for name, value in attrs if name == "class"]

    def handle_data(self, data: str) -> None:
        """Notes a text."""
        self.texts.append(data)


def table(**options: object) -> Table:
    """A table of two columns and two rows."""
    return Table.of(("name", "std"), [("kernel", "0.05"), (Toned("bias", "bad"), "0")], right=["std"], **options)  # pyright: ignore


def test_text() -> None:
    """To the letter, with a caption and a footnote."""
    assert table(caption="Weights", footnotes=["two rows"]).text() == (
        "Weights\n\nname     std\nkernel  0.05\nbias       0\n\ntwo rows"
    )
    assert str(table()) == "name     std\nkernel  0.05\nbias       0"


@pytest.mark.parametrize("width", [9, 14, 20])
def test_narrow_text(width: int) -> None:
    """Columns that may be spared go first, then texts are shortened."""
    made = Table.of(("path", "seed"), [("a.very.long.path.of.names", "123456")], spared=["seed"])
    lines = made.text(width).splitlines()
    assert len(lines[1]) <= width
    assert "…" in lines[1]
    assert lines[-1] == "left out: seed"


def test_html_is_escaped() -> None:
    """A name such as `<script>` is text wherever it stands, and control characters are shown."""
    made = Table.of((HOSTILE,), [(HOSTILE,), (Toned(HOSTILE, "warn"),)], caption=HOSTILE, footnotes=[HOSTILE])
    page = Reader(made.html())
    assert "script" not in page.tags
    assert sum("<script>alert('x')</script>&\"\\n\\u202e" in text for text in page.texts) == 5
    assert "\u202e" not in made.html()


def test_html_needs_nothing_else() -> None:
    """No script, no address, and the style with it; text keeps the colour that is around it."""
    page = table().html()
    assert STYLE in page
    assert not [each for each in ("http", "src=", "url(", "@import") if each in page]
    assert "color:inherit" in page
    read = Reader(page)
    assert read.tags[:4] == ["div", "style", "table", "thead"]
    assert read.tags[4:] == ["tr", "th", "th", "tbody", "tr", "td", "td", "tr", "td", "td"]
    assert read.classes == ["fanin", "right", "right", "bad", "right"]


def test_long_tables() -> None:
    """HTML shows the first rows, and says how many more there are."""
    rows = [(str(number),) for number in range(30)]
    page = Reader(Table.of(("number",), rows).html(most=10))
    assert page.tags.count("tr") == 11
    assert "and 20 more rows" in page.texts
    assert "more" not in Table.of(("number",), rows[:10]).html(most=10)


@pytest.mark.parametrize("tone", TONES)
def test_tones_have_a_style(tone: str) -> None:
    """Every tone looks like something."""
    assert f".{tone}{{" in STYLE


def test_errors() -> None:
    """A row of another length, and a tone that is none."""
    with pytest.raises(ValueError, match=r"Each row must have a cell for each of 2 columns\. Received: 1 cells"):
        Table.of(("a", "b"), [("1",)])
    with pytest.raises(ValueError, match=r"`tone` must be one of good, warn, bad, dim\. Received: tone='red'"):
        Toned("a", "red")  # pyright: ignore
