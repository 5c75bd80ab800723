"""Pages in a real browser: Chromium, which Playwright drives, with a record of what went wrong in them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

# Those that Debian and others install; Playwright's own download is not needed.
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# The script of axe-core (`npm install axe-core`), which finds what people with other senses cannot use.
AXE = os.environ.get("FANIN_AXE", "")
SERIOUS = ("serious", "critical")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser, for as long as the context lasts; the test is skipped if there is none."""
    api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("could not find Chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Opened:
    """A page in a browser.

    Attributes:
        page: Playwright's page.
        errors: what the console and the scripts complained of.
        requests: the addresses of what was asked for, beyond the page itself.
    """

    page: Any
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def overflow(self) -> int:
        """By how many pixels the page is wider than its window."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    def faults(self) -> list[str]:
        """What axe-core finds serious or worse: the rule, and the first element that breaks it."""
        if not AXE:
            pytest.skip("could not find axe-core: FANIN_AXE must name its axe.min.js")
        # Through the debugger, since the page's own policy lets no further script in.
        self.page.evaluate(Path(AXE).read_text(encoding="utf-8"))
        found = self.page.evaluate("async () => (await axe.run()).violations")
        return [
            f"{each['id']}: {each['nodes'][0]['html'][:200]}: {each['nodes'][0]['failureSummary']}"
            for each in found
            if each["impact"] in SERIOUS
        ]


@contextmanager
def opened(
    browser: Any,
    address: str | Path,
    *,
    width: int = 1280,
    height: int = 800,
    scheme: Literal["light", "dark"] = "light",
    **options: Any,
) -> Iterator[Opened]:
    """A page, opened in a context of its own.

    Args:
        browser: the browser.
        address: a file, or where a server has the page.
        width, height: the size of the window.
        scheme: the colour scheme that the user prefers.
        **options: further arguments of Playwright's `new_context`.
    """
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **options)
    try:
        found = Opened(context.new_page())
        where = address.resolve().as_uri() if isinstance(address, Path) else address
        found.page.on("console", lambda said: found.errors.append(said.text) if said.type == "error" else None)
        found.page.on("pageerror", lambda error: found.errors.append(str(error)))
        found.page.on("request", lambda asked: _noted(found, asked, where))
        found.page.goto(where)
        yield found
    finally:
        context.close()


def _noted(opened: Opened, request: Any, where: str) -> None:
    """Notes a request that is not the page's own."""
    if request.url.partition("#")[0].partition("?")[0] != where.partition("#")[0].partition("?")[0]:
        opened.requests.append(request.url)
