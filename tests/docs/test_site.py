"""The documentation site: built strictly, complete, and sound in a real browser."""

from __future__ import annotations

import functools
import http.server
import importlib
import os
import re
import subprocess
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

import doc_pages
from browsers import opened

LLMS = doc_pages.DOCS / "llms.txt"
# Pages of every kind: tabs, tables, prose, the API, long code.
MAIN = ["index.html", "coming_from.html", "seeds.html", "api/settings.html", "commands.html"]
# Public modules, and what must be installed to import them.
MODULES = {
    "fanin": (),
    "fanin.initializers": (),
    "fanin.distributions": (),
    "fanin.utils": (),
    "fanin.recipes": (),
    "fanin.checkpoints": (),
    "fanin.audits": (),
    "fanin.theory": (),
    "fanin.torch": ("torch",),
    "fanin.torch.init": ("torch",),
    "fanin.jax": ("jax", "flax"),
    "fanin.jax.initializers": ("jax",),
    "fanin.keras": ("tensorflow", "keras"),
    "fanin.tf_keras": ("tensorflow", "tf_keras"),
}
Scheme = Literal["light", "dark"]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server of files that says nothing."""

    def log_message(self, format: str, *args: Any) -> None:
        """Does nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly: a link or an anchor that leads nowhere is an error."""
    for package in ("mkdocs", "material", "mkdocstrings", "click"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("site")
    run = subprocess.run(
        [doc_pages.ROOT / "scripts/site", "build", "--site-dir", folder], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return folder


@pytest.fixture(scope="module")
def server(site: Path) -> Iterator[str]:
    """The address that the site is served at."""
    handler = functools.partial(Quiet, directory=os.fspath(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_port}/"
        found.shutdown()


def pages(site: Path) -> list[str]:
    """The pages that the theme makes; those that stand alone have tests of their own."""
    return sorted(
        path.relative_to(site).as_posix()
        for path in site.rglob("*.html")
        if "md-main" in path.read_text(encoding="utf-8")
    )


# Completeness


def inventory(site: Path) -> set[str]:
    """The names that the API's pages have anchors for (Sphinx's format, which other sites link by)."""
    content = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    return {line.split()[0] for line in zlib.decompress(content).decode().splitlines()}


@pytest.mark.filterwarnings("ignore")  # those of the frameworks' imports
@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_on_the_site(module: str, site: Path) -> None:
    """Each name of a module's `__all__` has an entry, or is named on its page."""
    for package in MODULES[module]:
        pytest.importorskip(package)
    known = inventory(site)
    text = "".join(path.read_text(encoding="utf-8") for path in (site / "api").glob("*.html"))
    known |= set(re.findall(r"<code>([\w.]+)</code>", text.replace("<wbr>", "")))
    names = importlib.import_module(module).__all__
    assert [name for name in names if not {name, f"fanin.{name}", f"{module}.{name}"} & known] == []


def test_llms_lists_every_page(site: Path) -> None:
    """llms.txt has the form of llmstxt.org, and a line with a sentence for each page, and no other."""
    text = LLMS.read_text(encoding="utf-8")
    assert (site / "llms.txt").read_text(encoding="utf-8") == text
    title, summary = text.split("\n\n")[:2]
    assert title == "# fanin"
    assert summary.startswith("> ")
    listed = re.findall(r"^- \[[^\]]+\]\(([^)]+)\): \S.*[^.]$", text, re.MULTILINE)
    assert len(listed) == text.count("\n- ")
    assert sorted(listed) == [page for page in pages(site) if page != "404.html"]


def test_no_address_but_links(site: Path) -> None:
    """No page, style or script of the site loads anything from elsewhere."""
    for name in pages(site):
        text = (site / name).read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|img|iframe|source)[^>]+src(?:set)?="(?:https?:)?//[^"]*"', text)
        assert not re.findall(r'<link[^>]+href="(?:https?:)?//[^"]*"', text)


def test_docstrings_are_rendered(site: Path) -> None:
    """Examples became code, not quotations; references stand out; no function is taken for the module of its name."""
    for path in (site / "api").glob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert "<blockquote>" not in text, path
        assert ">References: " not in text, path
        assert "doc-symbol-module" not in text, path
        assert not re.search(r"\d<strong>", text), path
    assert "language-pycon" in (site / "api/initializers.html").read_text(encoding="utf-8")


# In a browser


def test_every_page_is_sound(site: Path, server: str, browser: Any) -> None:
    """No errors, no request that leaves the site, and nothing wider than a telephone."""
    with opened(browser, server + "404.html", width=390) as found:
        for name in pages(site):
            found.page.goto(server + name)
            assert found.errors == [], name
            assert [each for each in found.requests if not each.startswith(server)] == [], name
            assert found.overflow() <= 0, name


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", MAIN)
def test_access(name: str, scheme: Scheme, server: str, browser: Any) -> None:
    """axe-core finds nothing serious, and the page has the scheme that the reader's system has."""
    with opened(browser, server + name, scheme=scheme) as found:
        body = found.page.locator("body")
        assert body.get_attribute("data-md-color-scheme") == {"light": "default", "dark": "slate"}[scheme]
        assert found.faults() == []
        assert found.errors == []


def test_schemes(server: str, browser: Any) -> None:
    """The button goes from the system's scheme to light, to dark, and back."""
    with opened(browser, server + "index.html", scheme="dark") as found:
        seen = []
        for _ in range(3):
            found.page.locator("label.md-header__button[for^=__palette]:visible").click()
            seen.append(found.page.locator("body").get_attribute("data-md-color-scheme"))
        assert seen == ["default", "slate", "slate"]


@pytest.mark.parametrize("place", ["server", "folder"])
def test_search(place: str, site: Path, server: str, browser: Any) -> None:
    """Search finds a page without a network, also in a page that was opened from a folder."""
    address = server + "index.html" if place == "server" else site / "index.html"
    with opened(browser, address) as found:
        found.page.keyboard.press("/")
        found.page.keyboard.type("lsuv", delay=20)
        result = found.page.locator(".md-search-result__link").first
        result.wait_for(timeout=10_000)
        assert "probe" in result.get_attribute("href") or "torch" in result.get_attribute("href")
        assert found.errors == []


def test_tabs(server: str, browser: Any) -> None:
    """The start page has a tab for each framework, which a click or an arrow key opens."""
    with opened(browser, server + "index.html") as found:
        labels = found.page.locator(".tabbed-labels label")
        assert labels.all_inner_texts() == ["NumPy", "PyTorch", "JAX", "Keras 3", "tf_keras"]
        labels.nth(1).click()
        assert found.page.locator(".tabbed-block:visible").inner_text().count("fanin.torch.he_normal_") == 1
        found.page.keyboard.press("ArrowRight")
        assert "fanin.jax" in found.page.locator(".tabbed-block:visible").inner_text()


def test_copied_code(server: str, browser: Any) -> None:
    """The button beside a session copies what is typed, without prompts and results."""
    with opened(browser, server + "guide.html", permissions=["clipboard-read", "clipboard-write"]) as found:
        found.page.locator(".md-clipboard, [data-clipboard-target]").first.click()
        copied = found.page.evaluate("navigator.clipboard.readText()")
        assert copied.splitlines()[0] == "import fanin"
        assert ">>>" not in copied


def test_wide_regions_take_the_focus(server: str, browser: Any) -> None:
    """Tables and code that are wider than the page are reached by keyboard."""
    with opened(browser, server + "peers.html", width=390) as found:
        found.page.locator(".md-typeset__scrollwrap[tabindex='0']").first.wait_for(timeout=5_000)


def test_each_page_has_one_name(site: Path, server: str, browser: Any) -> None:
    """The bar and the window call a page what its first heading calls it."""
    with opened(browser, server + "404.html") as found:
        for name in pages(site):
            if name == "404.html":
                continue
            found.page.goto(server + name)
            heading = found.page.locator("h1").first.evaluate("each => each.firstChild.textContent.trim()")
            topic = found.page.locator("[data-md-component=header-topic]").text_content()
            assert (name, topic.strip()) == (name, heading)
            assert name == "index.html" or found.page.title() == f"{heading} - fanin"


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("orthogonal", "initializers.html#orthogonal"),
        ("he", "initializers.html#henormal"),
        ("glorot", "initializers.html"),
        ("fan_in", "layouts.html"),
    ],
)
def test_search_begins_with_what_explains_a_word(words: str, first: str, server: str, browser: Any) -> None:
    """The first result is the page that a reader means, and the right section is among the first."""
    with opened(browser, server + "index.html") as found:
        found.page.keyboard.press("/")
        found.page.keyboard.type(words, delay=20)
        found.page.locator(".md-search-result__link").first.wait_for(timeout=10_000)
        links = (
            found.page.locator(".md-search-result__item")
            .first.locator("a")
            .evaluate_all("each => each.map((link) => link.getAttribute('href').replace(/\\?h=[^#]*/, ''))")
        )
        page, _, section = first.partition("#")
        found_pages = [link.removeprefix(server) for link in links]
        assert found_pages[0].split("#")[0] == page
        assert not section or first in found_pages[:3]


def test_the_bar_has_equal_margins(server: str, browser: Any) -> None:
    """The search box is as far from the right edge as the logo from the left one."""
    with opened(browser, server + "index.html", width=1280) as found:
        left = found.page.locator(".md-header .md-logo img").bounding_box()["x"]
        box = found.page.locator(".md-search__form").bounding_box()
        assert abs(1280 - box["x"] - box["width"] - left) <= 2


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_covers_code(width: int, server: str, browser: Any) -> None:
    """The button that copies stands beside the code."""
    with opened(browser, server + "initializers.html", width=width) as found:
        found.page.locator(".md-code__nav").first.wait_for(timeout=5_000)
        ends = found.page.locator("pre:has(> .md-code__nav)").evaluate_all(
            "all => all.map((pre) => [pre.querySelector('code'), pre.querySelector('nav')]"
            ".map((each) => each.getBoundingClientRect())).map(([code, nav]) => nav.left - code.right)"
        )
        assert min(ends) >= 0


def test_equivalents_are_seen_on_a_telephone(server: str, browser: Any) -> None:
    """Of the tables of equivalents, fanin's column is in the window; where a table goes on, its edge has a shadow."""
    with opened(browser, server + "coming_from.html", width=390) as found:
        cells = found.page.locator("td:nth-child(2)").all()
        assert len(cells) > 30
        assert max(box["x"] + box["width"] for each in cells if (box := each.bounding_box())) < 390
        assert "local" in found.page.locator(".md-typeset__scrollwrap").first.evaluate(
            "each => getComputedStyle(each).backgroundAttachment"
        )


def test_examples_are_said_once(site: Path) -> None:
    """What a script does stands above its code, not in it, too; the notebook comes first, with what its cells show."""
    text = (site / "examples.html").read_text(encoding="utf-8")
    assert text.count("in place and in PyTorch's order of axes.") == 1
    assert 0 < text.index('id="my_network_does_not_trainipynb"') < text.index('id="as_written_torchpy"')
    assert "signal vanishes" in text
    figures = re.findall(r'src="(examples/[\w-]+\.png)"', text)
    assert len(figures) == 3
    assert all((site / each).read_bytes().startswith(b"\x89PNG") for each in figures)
