"""What initializers do, with formulas and sources, as their own descriptions have it: a part of any page's appendix."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable

from fanin.initializers import Initializer
from fanin.report.markup import element, text
from fanin.report.pages import prose

_DESCRIBED_UNTIL = re.compile(r"^(>>> |Args:|Returns:|Raises:|Attributes:|References:)", re.MULTILINE)
_ALSO = re.compile(r"Also available as [^.]*\.\s*")
_REFERENCES = re.compile(r"^(References: .*?)(?:\n\n|\Z)", re.MULTILINE | re.DOTALL)


def formulas(classes: Iterable[type[Initializer]]) -> str:
    """What initializers do, with their formulas and sources, as their own descriptions have it, as HTML.

    Args:
        classes: the initializers, each of which is described once, by its name.

    >>> import fanin
    >>> from fanin.recipes.pages import formulas
    >>> "sqrt(2 / fan_in)" in formulas([fanin.HeNormal, fanin.HeNormal])
    True
    """
    chosen = sorted(set(classes), key=lambda each: each.__name__)
    return "".join(
        element("div", element("h4", element("code", text(each.__name__))) + _described(each), class_="formula")
        for each in chosen
    )


def _described(cls: type[Initializer]) -> str:
    """What a class says of itself, without its arguments and examples."""
    said = inspect.getdoc(cls) or ""
    end = _DESCRIBED_UNTIL.search(said)
    body = _ALSO.sub("", said[: end.start()] if end else said).strip()
    sources = _REFERENCES.search(said)
    paragraphs = [*re.split(r"\n\n+", body), *([sources[1]] if sources else [])]
    return "".join(_block(each) for each in paragraphs if each)


def _block(paragraph: str) -> str:
    """A paragraph, or a table line by line, as HTML."""
    lines = paragraph.split("\n")
    if paragraph.startswith("|"):
        return element("pre", "\n".join(map(text, lines)))
    return element("p", prose(" ".join(lines)))
