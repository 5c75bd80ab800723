"""How docstrings become pages: a griffe extension, which reads them without importing anything.

Examples in fanin's docstrings stand where they belong in the text, as doctest finds them, and a source of a formula
follows "References:" on one line. Markdown would take the first for quotations, and the second for a sentence. It would
also take the powers of `2**63` for bold type.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

PROMPT = re.compile(r"^( *)>>> ")
# Code, names of arguments and marks of lists, which keep their asterisks, or an asterisk.
ASTERISK = re.compile(r"(`[^`]*`|^ *\*+(?=\w+[^:\n]*:| ))|\*", re.MULTILINE)
REFERENCES = re.compile(r"^References: (?=\S)", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Puts fences around examples, and a heading above references."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called for each object that was read."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    """A docstring in which Markdown sees what a reader sees."""
    parts = "\n".join(fenced(text.splitlines())).split("```")
    parts[::2] = [ASTERISK.sub(lambda found: found[1] or r"\*", part) for part in parts[::2]]
    return REFERENCES.sub("**References:** ", "```".join(parts))


def fenced(lines: list[str]) -> list[str]:
    """The lines, with a fence around each example: from its first prompt to an empty line."""
    found, is_open, margin = [], False, ""
    for line in [*lines, ""]:
        prompt = PROMPT.match(line)
        if prompt and not is_open:
            margin, is_open = prompt[1], True
            found += ["", f"{margin}```pycon"]
        elif is_open and not line.strip():
            found += [f"{margin}```"]
            is_open = False
        found.append(line)
    return found[:-1]
