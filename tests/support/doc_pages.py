"""The pages of the documentation as tests read them: blocks of code, headings and links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# Pages of the root, and those of the site, generated ones apart.
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
FENCE = re.compile(r"^(?P<margin> *)```(?P<language>\w*)\n(?P<source>.*?)^(?P=margin)```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
# A comment above a block says why nothing runs it.
MARKER = re.compile(r"<!-- not run: (.+?) -->\n\Z")
LINK = re.compile(r"!?\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+?) *#*$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        page: the page, from the repository's root.
        line: the line of the page that the code begins at.
        language: what follows the fence.
        source: the code.
        reason: why nothing runs it; "" for the others.
    """

    page: str
    line: int
    language: str
    source: str
    reason: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def is_session(self) -> bool:
        """Whether it is a session of Python, with prompts."""
        return self.language in ("python", "pycon") and self.source.lstrip().startswith(">>> ")


def name_of(path: Path) -> str:
    """A page's name in tests."""
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path) -> list[Block]:
    """Every block of code of a page, in order."""
    text = path.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        marker = MARKER.search(text, 0, match.start())
        line = text.count("\n", 0, match.start("source")) + 1
        found.append(
            Block(name_of(path), line, match["language"], match["source"], marker[1] if marker is not None else "")
        )
    return found


def prose(path: Path) -> str:
    """A page without its blocks of code."""
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def links(path: Path) -> list[str]:
    """Where the links and pictures of a page lead, HTML's included."""
    text = CODE.sub("", prose(path))
    return [*LINK.findall(text), *re.findall(r'(?:href|src|srcset)="([^"]+)"', text)]


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings, and those that the page sets itself."""
    found: dict[str, int] = {}
    for heading in HEADING.findall(prose(path)):
        text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
    repeated = {f"{slug}-{number}" for slug, most in found.items() for number in range(1, most + 1)}
    return {*found, *repeated, *re.findall(r'(?:id|name)="([^"]+)"', prose(path))}
