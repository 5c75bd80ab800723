"""Links of README, CONTRIBUTING, CHANGELOG and docs, as GitHub follows them.

`scripts/site` follows those of the site.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import doc_links
import doc_pages

PAGES = [*doc_pages.PAGES, doc_pages.ROOT / "CHANGELOG.md"]
# Files that the site has and the repository has not: hooks make them.
MADE = {"changelog.md", "commands.md", "contributing.md", "examples.md", "explore.html", "sample-report.html"}


def broken(path: Path) -> list[str]:
    """The links of a page that lead to no file, or to no heading of it."""
    found = []
    for link in doc_pages.links(path):
        parts = urlsplit(link)
        if parts.scheme:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if target.parent == doc_pages.DOCS and target.name in MADE:
            continue
        is_known = target.exists() and target.is_relative_to(doc_pages.ROOT)
        if not is_known or (
            parts.fragment and target.suffix == ".md" and parts.fragment not in doc_pages.anchors(target)
        ):
            found.append(link)
    return found


@pytest.mark.parametrize("path", PAGES, ids=doc_pages.name_of)
def test_links_within_the_repository(path: Path) -> None:
    """Every relative link leads to a file, and its anchor to a heading of that file."""
    assert broken(path) == []


def test_broken_links_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing file, a missing heading and a file beyond the repository are found; what is in code is no link."""
    monkeypatch.setattr(doc_pages, "ROOT", tmp_path)
    (tmp_path / "other.md").write_text("# A `name`, and more\n\n## Twice\n\n## Twice\n")
    page = tmp_path / "page.md"
    good = "[a](other.md) [b](other.md#a-name-and-more) [c](other.md#twice-1) [`d`](#here) `[e](gone.md)`"
    page.write_text(f"# Here\n\n{good} [f](gone.md) [g](other.md#gone) ![h](../h.svg)\n\n```\n[i](gone.md)\n```\n")
    assert broken(page) == ["gone.md", "other.md#gone", "../h.svg"]


@pytest.mark.parametrize("address", doc_links.external())
def test_links_that_lead_elsewhere(address: str) -> None:
    """They are encrypted and well-formed. `scripts/site links` asks whether they answer."""
    parts = urlsplit(address)
    assert parts.scheme == "https"
    assert "." in parts.netloc
    assert not set(address) & set(" <>\"'")


def test_scripts_link_nowhere_unknown() -> None:
    """The list of external links has those that pages are known to have."""
    assert "https://keras.io/2/api/layers/initializers/" in doc_links.external()


def test_usage() -> None:
    """`scripts/site` says what it takes."""
    run = subprocess.run([doc_pages.ROOT / "scripts/site", "nonsense"], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (2, "usage: scripts/site [build|serve|links]\n")
