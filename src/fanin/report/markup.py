"""HTML for notebooks and pages: escaped text, elements, and the style that fits light and dark backgrounds."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any, Literal, TypeAlias, get_args

from fanin._core.messages import visible

Tone: TypeAlias = Literal["good", "warn", "bad", "dim"]
TONES: tuple[Tone, ...] = get_args(Tone)

# Text keeps the colour of what is around it, and tints lie beneath it, so that it is legible on light and on dark
# backgrounds, of whichever notebook. Tints differ in lightness, too, for people who do not tell their hues apart.
STYLE = (
    ".fanin{overflow-x:auto;color:inherit;font-size:.9em;line-height:1.35}"
    ".fanin table{border-collapse:collapse;border:0;margin:.3em 0}"
    ".fanin caption{caption-side:top;text-align:left;font-weight:600;padding:.2em .6em;color:inherit}"
    ".fanin th,.fanin td{text-align:left;vertical-align:top;white-space:nowrap;padding:.15em .6em;border:0;"
    "background:none;font-variant-numeric:tabular-nums}"
    ".fanin th{border-bottom:1px solid rgba(128,128,128,.6)}"
    ".fanin tbody tr+tr td{border-top:1px solid rgba(128,128,128,.2)}"
    ".fanin .right{text-align:right}"
    ".fanin .good{background:rgba(0,158,115,.12)}"
    ".fanin .warn{background:rgba(230,159,0,.28)}"
    ".fanin .bad{background:rgba(213,94,0,.42);font-weight:600}"
    ".fanin .dim{opacity:.7}"
    ".fanin p{margin:.15em .6em}"
    ".fanin svg{vertical-align:middle}"
    ".fanin .strip{width:16em;max-width:100%;height:.7em;margin-right:.4em;border-radius:2px}"
    ".fanin .strip .good{fill:#009e73}.fanin .strip .warn{fill:#e69f00}"
    ".fanin .strip .bad{fill:#d55e00}.fanin .strip .dim{fill:#888}"
    ".fanin .spark .of{fill:currentColor;opacity:.35}"
    ".fanin .spark .by{fill:none;stroke:#d55e00;stroke-width:1.2}"
)


def printed(report: object, printer: Any, cycle: bool) -> None:
    """What notebooks store as text beside HTML: the text that a terminal shows, and not all of a report's data.

    IPython looks for it in a class's own `_repr_pretty_`.
    """
    printer.text("…" if cycle else str(report))


def element(tag: str, content: str, **attributes: str) -> str:
    """An element of HTML. The content is HTML already; attributes are escaped, and those that are empty left out.

    Underscores within the names of attributes stand for hyphens.

    >>> from fanin.report.markup import element, text
    >>> element("td", text("<script>"), class_="right")
    '<td class="right">&lt;script&gt;</td>'
    """
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(value)}"' for name, value in attributes.items() if value
    )
    return f"<{tag}{given}>{content}</{tag}>"


def text(content: str) -> str:
    """A text as HTML: what has a meaning in HTML is escaped, and control characters are shown."""
    return escape(visible(content))


def paragraphs(lines: Iterable[str]) -> str:
    """Texts as paragraphs."""
    return "".join(element("p", text(line)) for line in lines)


def fragment(*parts: str) -> str:
    """Parts of HTML with the style that they need, as notebooks show them."""
    return element("div", element("style", STYLE) + "".join(parts), class_="fanin")
