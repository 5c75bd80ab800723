"""One file of HTML from a title, a body, data, and the assets that it needs."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from fanin._core.messages import shown
from fanin.report import markup, plain
from fanin.report.files import replacing

PAGE_ENDS = (".html", ".htm")  # of the names of pages
# What every page needs; a page's own assets come after.
_STYLES = ("page.css",)
_SCRIPTS = ("dom.js", "charts.js")
# What a page has no use for: comments, indentation, and ends of lines beside brackets and commas, which end nothing.
# No text of an asset has several lines or the beginning of a comment; a test looks.
_COMMENTS = re.compile(r"^[ \t]*(?://.*|/\*(?s:.*?)\*/[ \t]*)\n|(?<=\S) // .*$", re.MULTILINE)
_SPACE = re.compile(r"^[ \t]+|\n(?=\n)|(?<=[;,{(\[])\n[ \t]*|\n[ \t]*(?=[}\])])", re.MULTILINE)
# Marks that need no space around them: in styles, and operators of scripts that no text of theirs has.
_STYLE_MARKS = re.compile(r"\s*([{};,])\s*|(?<=[\w-])(:) ")
_OPERATORS = re.compile(r" (=>|[!=]==|&&|\|\|) ")
# What would end a script element, or begin a comment in it, stays text. JSON has none of these outside its strings.
_UNSAFE = {ord(each): f"\\u{ord(each):04x}" for each in "<>&\u2028\u2029"}


def page(title: str, body: str, *, styles: Sequence[str] = (), scripts: Sequence[str] = (), data: Any = None) -> str:
    """A page that stands alone: its policy lets nothing but its own style and script in, and no request out.

    Args:
        title: the title, as text.
        body: the body, as HTML whose texts are escaped already.
        styles, scripts: names of assets of the page, beyond those that every page has, in their order.
        data: what the scripts read from the element `data`: anything that `fanin.report.plain` makes plain.

    Returns:
        The page, as text to be written in UTF-8.

    >>> from fanin.report.pages import page
    >>> "<title>a &lt; b</title>" in page("a < b", "<main></main>")
    True
    """
    style = "\n".join(map(_shortened, (*_STYLES, *styles)))
    script = "\n".join(map(_shortened, (*_SCRIPTS, *scripts)))
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return "".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            '<meta name="color-scheme" content="light dark">\n',
            f"<title>{markup.text(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n{body}\n",
            f"{island(data)}\n<script>{script}</script>\n</body>\n</html>\n",
        )
    )


def island(data: Any, name: str = "data") -> str:
    """Data in a page, as an element that holds JSON, whatever names it has.

    Args:
        data: anything that `fanin.report.plain` makes plain.
        name: the element's id.

    >>> from fanin.report.pages import island
    >>> island({"name": "</script>"})
    '<script type="application/json" id="data">{"name":"\\\\u003c/script\\\\u003e"}</script>'
    """
    text = json.dumps(plain(data), separators=(",", ":"), ensure_ascii=False, allow_nan=False).translate(_UNSAFE)
    # A lone half of a surrogate pair cannot be written in UTF-8, but escaped in JSON.
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return f'<script type="application/json" id="{name}">{text}</script>'


def write_page(content: str, path: str | os.PathLike[str] | None) -> str:
    """Writes a page beside its place and renames it, so that a page that was there stays until the new one is whole.

    Args:
        content: the page.
        path: the file; None to write nothing.

    Returns:
        The same page.

    Raises:
        ValueError: its name does not end in .html or .htm.
        OSError: the file cannot be written.
    """
    if path is not None:
        if not is_page(path):
            raise ValueError(
                f"The page must be a file that ends in {' or '.join(PAGE_ENDS)}. Received: {shown(os.fspath(path))}."
            )
        with replacing(path) as beside:
            beside.write_text(content, encoding="utf-8")
    return content


def is_page(path: str | os.PathLike[str]) -> bool:
    """Whether the name of a file ends as that of a page does, in letters of any case.

    Args:
        path: the file.

    >>> from fanin.report.pages import is_page
    >>> is_page("report.HTML"), is_page("report.txt")
    (True, False)
    """
    return Path(path).suffix.lower() in PAGE_ENDS


@lru_cache
def asset(name: str) -> str:
    """The text of a file in `assets/`."""
    return files("fanin.report.pages").joinpath("assets", name).read_text(encoding="utf-8")


@lru_cache
def _shortened(name: str) -> str:
    """A style or script without its comments and most of its space, which are a quarter of it; `asset` has them."""
    text = _SPACE.sub("", _COMMENTS.sub("", asset(name)))
    return _STYLE_MARKS.sub(r"\1\2", text) if name.endswith(".css") else _OPERATORS.sub(r"\1", text)


def _digest(content: str) -> str:
    """What a Content-Security-Policy calls an inline style or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
