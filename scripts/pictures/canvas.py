"""An SVG that is written by hand: shapes and texts in the colours of a scheme, with a title for those who listen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

SANS = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', 'Liberation Sans', sans-serif"
MONO = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"


@dataclass(frozen=True)
class Scheme:
    """The colours of a picture, which are those of fanin's pages.

    Attributes:
        name: "light" or "dark".
        ink: what is read first.
        soft: what is read second.
        line: axes and grids.
        raised: the ground of boxes.
        paper: the page, which shows through everywhere else.
        colors: what tells things apart.
    """

    name: str
    ink: str
    soft: str
    line: str
    raised: str
    paper: str
    colors: tuple[str, ...]


LIGHT = Scheme(
    "light",
    "#1c1e21",
    "#575c63",
    "#d6d9dd",
    "#f2f4f6",
    "#ffffff",
    ("#0072b2", "#d55e00", "#00815c", "#aa5488", "#8f6400", "#6f6f6f"),
)
DARK = Scheme(
    "dark",
    "#e6e8ea",
    "#a4a9b0",
    "#3d424a",
    "#1e2228",
    "#0d1117",
    ("#4aa8dc", "#f08138", "#33b68b", "#d48bb6", "#cf9d37", "#a0a0a0"),
)
SCHEMES = {scheme.name: scheme for scheme in (LIGHT, DARK)}


class Canvas:
    """A picture that grows: `str(canvas)` is the SVG.

    Args:
        width, height: its size, in pixels where it is shown at full size.
        title: what it is called.
        description: what is seen, in a sentence or two.
        scheme: its colours.
    """

    def __init__(self, width: float, height: float, title: str, description: str, scheme: Scheme) -> None:
        self.width, self.height, self.scheme = width, height, scheme
        self._title, self._description = title, description
        self._parts: list[str] = []

    def add(self, markup: str) -> None:
        """Adds markup as it is."""
        self._parts.append(markup)

    def shape(self, tag: str, **attributes: object) -> None:
        """Adds an element without content; numbers have a tenth of a pixel, and `_` stands for `-`."""
        self.add(f"<{tag}{_written(attributes)}/>")

    def path(self, data: str, **attributes: object) -> None:
        """Adds a path, which is not filled unless it says so."""
        self.shape("path", d=data, **{"fill": "none", **attributes})

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = 15,
        color: str = "",
        anchor: str = "start",
        bold: bool = False,
        mono: bool = False,
        **attributes: object,
    ) -> None:
        """Adds a text.

        Args:
            x, y: where its baseline begins, or ends, or has its middle, as `anchor` says.
            words: the text.
            size: in pixels.
            color: its colour; that of ink by default.
            anchor: "start", "middle" or "end".
            bold, mono: how it looks.
            **attributes: further attributes.
        """
        given: dict[str, object] = {"x": x, "y": y, "font_size": size, "fill": color or self.scheme.ink}
        if anchor != "start":
            given["text_anchor"] = anchor
        if bold:
            given["font_weight"] = 600
        if mono:
            given["font_family"] = MONO
        self.add(f"<text{_written({**given, **attributes})}>{escape(words)}</text>")

    def heading(self, title: str, subtitle: str = "", size: float = 19) -> None:
        """What stands above the picture, from its left edge."""
        self.text(0, size, title, size=size, bold=True)
        if subtitle:
            self.text(0, size + 23, subtitle, size=14, color=self.scheme.soft)

    def __str__(self) -> str:
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {number(self.width)} {number(self.height)}" '
            f'width="{number(self.width)}" height="{number(self.height)}" role="img" font-family="{SANS}">\n'
            f"<title>{escape(self._title)}</title>\n<desc>{escape(self._description)}</desc>\n"
            + "\n".join(self._parts)
            + "\n</svg>\n"
        )


def _written(attributes: dict[str, object]) -> str:
    """Attributes as markup."""
    return "".join(
        f" {name.replace('_', '-')}={quoteattr(number(value) if isinstance(value, float | int) else str(value))}"
        for name, value in attributes.items()
    )


def number(value: float) -> str:
    """A coordinate with a tenth of a pixel."""
    return f"{round(float(value), 1) + 0.0:g}"


def polyline(points: Iterable[tuple[float, float]]) -> str:
    """A path through points."""
    return "M" + "L".join(f"{number(x)},{number(y)}" for x, y in points)


def dots(points: Iterable[tuple[float, float]]) -> str:
    """A path that is a dot at each point, if its ends are round."""
    return "".join(f"M{number(x)},{number(y)}h0" for x, y in points)


def spread(places: list[float], least: float) -> list[float]:
    """Places for labels: as near as they can be to where they belong, in the same order, and so far from one another.

    Groups that would overlap are set about their common middle.
    """
    groups: list[list[int]] = []
    order = sorted(range(len(places)), key=places.__getitem__)

    def top(group: list[int]) -> float:
        return sum(places[each] for each in group) / len(group) - least * (len(group) - 1) / 2

    for each in order:
        groups.append([each])
        while len(groups) > 1 and top(groups[-2]) + least * len(groups[-2]) > top(groups[-1]):
            last = groups.pop()
            groups[-1] += last
    found = list(places)
    for group in groups:
        for place, each in enumerate(group):
            found[each] = top(group) + least * place
    return found
