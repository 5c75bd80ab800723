"""The page of an audit in Chromium: what its controls do, and what it does with any name and any number of tensors."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fanin
import reports
from browsers import Opened, opened
from fanin._core.messages import visible
from fanin.audits.audited import AuditedTensor
from fanin.audits.verdicts import KINDS

# The whole paths of the rows, from the first to the last, as one scrolls through them.
PATHS = """async () => {
  const grid = document.querySelector(".treegrid");
  const found = new Map();
  for (let top = 0; top <= grid.scrollHeight; top += 200) {
    grid.scrollTop = top;
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    for (const row of grid.querySelectorAll(".spacer .row"))
      found.set(Number(row.getAttribute("aria-rowindex")), row.querySelector(".named").title);
  }
  return [...found].sort((a, b) => a[0] - b[0]).map((each) => each[1]);
}"""
ROWS = ".treegrid .spacer .row"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pages."""
    folder = tmp_path_factory.mktemp("reports")
    for name, audit in (
        ("faulty", reports.faulty()),
        ("hostile", reports.hostile()),
        ("large", reports.large()),
        ("twins", reports.twins()),
    ):
        audit.to_html(folder / f"{name}.html")
    return folder


@pytest.fixture
def page(browser: Any, folder: Path) -> Iterator[Opened]:
    """The page of the model with faults."""
    with opened(browser, folder / "faulty.html") as found:
        yield found


def as_list(found: Opened) -> None:
    """Shows every tensor in a row of its own."""
    found.page.uncheck("[name=fold]")


def tensors() -> tuple[AuditedTensor, ...]:
    """The tensors of that model."""
    return reports.faulty().tensors


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["faulty", "hostile", "large"])
def test_nothing_goes_wrong(browser: Any, folder: Path, name: str, scheme: Any) -> None:
    """No error is reported, and nothing is asked of a network."""
    with opened(browser, folder / f"{name}.html", scheme=scheme) as found:
        found.page.click(f"{ROWS} >> nth=0")
        assert found.errors == []
        assert found.requests == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible(browser: Any, folder: Path, scheme: Any) -> None:
    """axe-core finds nothing serious, with everything open that can be."""
    with opened(browser, folder / "faulty.html", scheme=scheme) as found:
        found.page.click(".finding a >> nth=0")
        for each in found.page.query_selector_all("summary"):
            each.click()
        assert found.faults() == []


@pytest.mark.parametrize("width", [390, 760, 1280])
@pytest.mark.parametrize("name", ["faulty", "hostile"])
def test_fits_the_window(browser: Any, folder: Path, name: str, width: int) -> None:
    """No part is wider than the window, whatever is open."""
    with opened(browser, folder / f"{name}.html", width=width) as found:
        found.page.click(".finding a >> nth=0")
        found.page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
        assert found.overflow() <= 0


@pytest.mark.parametrize("key", ["verdict", "role", "dtype"])
def test_filters(page: Opened, key: str) -> None:
    """Each value of a filter leaves the tensors that have it."""
    as_list(page)
    have: Callable[[AuditedTensor], str] = {
        "verdict": lambda each: each.verdict.kind,
        "role": lambda each: each.role,
        "dtype": lambda each: each.dtype,
    }[key]
    for value in {have(each) for each in tensors()} - {""}:
        page.page.select_option(f"select[name={key}]", value)
        assert page.page.evaluate(PATHS) == [each.name for each in tensors() if have(each) == value]


def test_counts_filter(page: Opened) -> None:
    """A count in the head shows its tensors, and all again when it is pressed twice."""
    page.page.click("[data-verdict=broken]")
    assert page.page.input_value("select[name=verdict]") == "broken"
    assert page.page.inner_text(".status") == f"2 of {len(tensors())} tensors"
    page.page.click("[data-verdict=broken]")
    assert page.page.inner_text(".status").startswith(f"{len(tensors())} tensors")


@pytest.mark.parametrize("text", ["QUERY", "h.1", "nan", "stddev", "HeUniform", "no such thing"])
def test_search(page: Opened, text: str) -> None:
    """A search finds names, initializers and codes of problems, in any case."""
    as_list(page)
    page.page.fill("[name=search]", text)

    def said(each: AuditedTensor) -> str:
        codes = ", ".join(dict.fromkeys(problem.code for problem in each.verdict.problems))
        return codes or " or ".join(each.verdict.fits) or each.verdict.reason

    expected = [each.name for each in tensors() if text.lower() in f"{each.name}\n{said(each)}".lower()]
    assert page.page.evaluate(PATHS) == expected


KEYS: dict[str, Callable[[AuditedTensor], Any]] = {
    "shape": lambda each: math.prod(each.shape),
    "std": lambda each: _number(each.statistics and each.statistics.stddev),
    "ratio": lambda each: _number(each.ratio),
    "verdict": lambda each: KINDS.index(each.verdict.kind),
    "dtype": lambda each: each.dtype,
}


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


@pytest.mark.parametrize("is_descending", [False, True])
@pytest.mark.parametrize("key", KEYS)
def test_order(page: Opened, key: str, is_descending: bool) -> None:
    """The head of a column sorts by it, upwards and then downwards; what has no number comes last."""
    page.page.set_viewport_size({"width": 1600, "height": 900})  # which has room for every column
    as_list(page)
    for _ in range(1 + is_descending):
        page.page.click(f".heads .{key} button")
    value = KEYS[key]
    known = [each for each in tensors() if value(each) is not None]
    expected = sorted(known, key=value, reverse=is_descending)
    if is_descending:  # equal ones stay in their order
        expected = sorted(reversed(known), key=value)[::-1]
    expected += [each for each in tensors() if value(each) is None]
    assert page.page.evaluate(PATHS) == [each.name for each in expected]
    order = page.page.get_attribute(f".heads .{key}", "aria-sort")
    assert order == ("descending" if is_descending else "ascending")


def test_order_by_name(page: Opened) -> None:
    """Names are sorted so that numbers in them count as numbers."""
    as_list(page)
    page.page.click(".heads .name button")
    found = page.page.evaluate(PATHS)
    assert found == sorted(each.name for each in tensors())  # with less than ten blocks, that is the same


def test_a_third_press_ends_the_order(page: Opened) -> None:
    """A head that is pressed three times leaves the order of the model."""
    as_list(page)
    for _ in range(3):
        page.page.click(".heads .std button")
    assert page.page.evaluate(PATHS) == [each.name for each in tensors()]


def test_rows_are_those_of_the_table(page: Opened) -> None:
    """The folded list has the rows of the audit's own table."""
    page.page.check("[name=form][value=list]")
    assert page.page.evaluate(PATHS) == [str(row[0]) for row in reports.faulty().table().rows]


def test_tree(page: Opened) -> None:
    """The tree has every row, in branches that are parts of the names, and opens and closes as a whole."""
    folded = [str(row[0]) for row in reports.faulty().table().rows]
    page.page.click("[name=expand]")
    everything = page.page.evaluate(PATHS)
    assert sorted(set(everything) & set(folded)) == sorted(folded)
    assert all(any(row.startswith(path) for row in folded) for path in everything)
    page.page.click("[name=collapse]")
    assert len(page.page.evaluate(PATHS)) == 3


def test_branches_open(page: Opened) -> None:
    """A press on a branch closes it, and opens it again."""
    before = page.page.evaluate(PATHS)
    branch = page.page.locator(ROWS, has_text="h").filter(has=page.page.locator(".caret.open")).first
    branch.click()
    assert len(page.page.evaluate(PATHS)) < len(before)
    page.page.locator(f"{ROWS}.active").click()
    assert page.page.evaluate(PATHS) == before


def test_clear(page: Opened) -> None:
    """Filters, search and order are taken back at once."""
    as_list(page)
    page.page.fill("[name=search]", "query")
    page.page.select_option("select[name=dtype]", "float32")
    page.page.click(".heads .std button")
    page.page.click("[name=clear]")
    assert page.page.evaluate(PATHS) == [each.name for each in tensors()]
    assert page.page.input_value("[name=search]") == ""


def test_keyboard(page: Opened) -> None:
    """Tab, arrows, Enter and Escape suffice: to the table, through it, into a branch, to a tensor and back."""
    press = page.page.keyboard.press
    for _ in range(40):
        if page.page.evaluate("document.activeElement.getAttribute('role')") == "treegrid":
            break
        press("Tab")
    press("Home")
    active = "document.querySelector('#' + document.activeElement.getAttribute('aria-activedescendant'))"
    assert page.page.evaluate(f"{active}.querySelector('.named').title") == "embed.weight"
    press("ArrowDown")
    assert page.page.evaluate(f"{active}.getAttribute('aria-expanded')") == "true"
    press("ArrowLeft")
    assert page.page.evaluate(f"{active}.getAttribute('aria-expanded')") == "false"
    press("ArrowRight")
    press("ArrowRight")
    assert page.page.evaluate(f"{active}.getAttribute('aria-level')") == "2"
    press("End")
    assert page.page.evaluate(f"{active}.querySelector('.named').title") == "head.weight"
    press("Enter")
    assert page.page.inner_text(".detail h3") == "head.weight"
    assert page.page.evaluate("document.activeElement.closest('.detail') !== null")
    press("Escape")
    assert page.page.is_hidden(".detail")
    assert page.page.evaluate("document.activeElement.getAttribute('role')") == "treegrid"


def test_arrows_change_what_is_shown(page: Opened) -> None:
    """While a tensor is shown, the arrows go to the next one."""
    as_list(page)
    page.page.click(f"{ROWS} >> nth=0")
    page.page.focus(".treegrid")
    page.page.keyboard.press("ArrowDown")
    assert page.page.inner_text(".detail h3") == tensors()[1].name


def test_findings_are_the_audits(page: Opened) -> None:
    """Findings say what the audit's lines say, in their order, with what to do."""
    shown = page.page.eval_on_selector_all(
        ".finding", "all => all.map((each) => [...each.querySelectorAll('h3 bdi, p')].map((part) => part.textContent))"
    )
    expected = [
        [each.path, each.message, *([f"What to do: {each.problem.advice}"] if each.problem.advice else [])]
        for each in reports.faulty().folded_findings
    ]
    assert shown == expected
    assert len(shown) == 3


def test_many_findings(browser: Any, tmp_path: Path) -> None:
    """Of many findings the first ones are shown, and the others when they are asked for."""
    names = [f"{'abcdefgh'[place % 8]}{place}x.kernel" for place in range(40)]
    audit = fanin.audit({name: np.full((8, 8), np.nan, np.float32) for name in names})
    with opened(browser, reports.written(audit.to_html(), tmp_path)) as found:
        assert found.page.locator(".finding").count() == 30
        found.page.click("text=Show 10 more")
        assert found.page.locator(".finding").count() == 40
        assert found.page.locator(".more").count() == 0


def test_alike_tensors(page: Opened) -> None:
    """A row of several tensors shows one of them, and says so."""
    page.page.check("[name=form][value=list]")
    page.page.fill("[name=search]", "mlp.out")
    page.page.click(f"{ROWS} >> nth=0")
    assert page.page.inner_text(".detail h3") == "h.[0-3].mlp.out.weight"
    assert "4 tensors that are alike" in page.page.inner_text(".detail .several")
    assert page.page.locator(".detail figcaption").count() >= 2


def test_rows_unfold(page: Opened) -> None:
    """A folded row opens into its tensors, by its caret."""
    page.page.check("[name=form][value=list]")
    page.page.fill("[name=search]", "mlp.out")
    page.page.click(f"{ROWS} .caret >> nth=0")
    assert page.page.evaluate(PATHS) == ["h.[0-3].mlp.out.weight", *(f"h.{block}.mlp.out.weight" for block in range(4))]


@pytest.mark.parametrize("number", range(3))
def test_findings_lead_to_their_tensors(page: Opened, number: int) -> None:
    """The link of a finding opens its tensor, with charts and the reason."""
    finding = reports.faulty().folded_findings[number]
    page.page.fill("[name=search]", "nothing has this name")
    page.page.click(f".finding a >> nth={number}")
    assert page.page.inner_text(".detail h3") == finding.names[0]
    assert page.page.inner_text(".detail .reason") == reports.faulty()[finding.names[0]].verdict.reason
    assert page.page.get_attribute(f"{ROWS}.active .named", "title") == finding.names[0]
    titles = page.page.locator(".detail figcaption").all_inner_texts()
    assert titles == [each.title for each in reports.faulty().charts(finding.names[0])]


def test_addresses(browser: Any, folder: Path) -> None:
    """An address may name a tensor, so that people can send one another links."""
    with opened(browser, f"{(folder / 'faulty.html').as_uri()}#parameter-4") as found:
        assert found.page.inner_text(".detail h3") == tensors()[4].name


def test_numbers_of_a_tensor(page: Opened) -> None:
    """The detail has the numbers of the audit."""
    as_list(page)
    page.page.fill("[name=search]", "h.2.mlp.proj")
    page.page.click(f"{ROWS} >> nth=0")
    shown = dict(
        page.page.eval_on_selector_all(
            ".detail .facts div", "all => all.map((each) => [...each.children].map((part) => part.textContent))"
        )
    )
    found = reports.faulty()["h.2.mlp.proj.weight"]
    assert found.statistics is not None
    assert float(shown["std"]) == pytest.approx(found.statistics.stddev, rel=1e-3)
    assert float(shown["std ÷ expected"]) == pytest.approx(2, rel=0.02)
    assert shown["Elements"] == "6,144"
    assert shown["Shape"] == "64×96"


def test_left_out_charts_are_said(browser: Any, folder: Path) -> None:
    """Of a tensor whose charts the page does not have, it says so, and where they are."""
    with opened(browser, folder / "large.html") as found:
        as_list(found)
        found.page.fill("[name=search]", "part_9999x")
        found.page.click(f"{ROWS} >> nth=0")
        assert 'audit.charts("part_9999x.weight") has them' in found.page.inner_text(".detail")


@pytest.mark.parametrize("number", range(len(reports.HOSTILE)))
def test_names_are_text(browser: Any, folder: Path, number: int) -> None:
    """Whatever a name is, it is shown as Python shows it on one line, and nothing of it runs."""
    name = visible(reports.HOSTILE[number])
    with opened(browser, folder / "hostile.html") as found:
        as_list(found)
        assert found.page.evaluate(PATHS)[number] == name
        found.page.evaluate(f"location.hash = '#parameter-{number}'")
        found.page.wait_for_selector(".detail h3")
        assert found.page.text_content(".detail h3") == name
        assert found.page.evaluate("document.querySelectorAll('main script, main img').length") == 0


def test_few_rows_of_many_are_in_the_page(browser: Any, folder: Path) -> None:
    """Of 10,000 rows, those in sight are there, at any place."""
    with opened(browser, folder / "large.html") as found:
        as_list(found)
        for top in (0, 150_000, 10**9):
            found.page.eval_on_selector(".treegrid", "(grid, top) => (grid.scrollTop = top)", top)
            found.page.wait_for_timeout(100)
            assert found.page.locator(ROWS).count() < 60
        assert found.page.locator(ROWS).last.get_attribute("aria-rowindex") == "10001"
        assert found.page.get_attribute(".treegrid", "aria-rowcount") == "10001"


def test_many_tensors_are_fast(browser: Any, folder: Path) -> None:
    """10,000 tensors load in seconds and scroll smoothly, with much room for busy machines."""
    with opened(browser, folder / "large.html") as found:
        timing = "performance.getEntriesByType('navigation')[0].loadEventEnd"
        assert found.page.evaluate(timing) < 6000  # milliseconds; about 500 on two idle cores
        as_list(found)
        frames = found.page.evaluate(
            """() => new Promise((done) => {
              const grid = document.querySelector(".treegrid");
              const times = [];
              const step = (now) => {
                times.push(now);
                grid.scrollTop += 100;
                if (times.length < 60) requestAnimationFrame(step);
                else done(times.slice(1).map((time, place) => time - times[place]).sort((a, b) => a - b));
              };
              requestAnimationFrame(step);
            })"""
        )
        assert frames[len(frames) // 2] < 60  # milliseconds; 17 on two idle cores


def test_paper(page: Opened) -> None:
    """On paper, every row, the charts of every finding and the explanations are there, and no control is."""
    page.page.emulate_media(media="print")
    page.page.wait_for_selector(".paper tr")
    rows = page.page.locator(".paper tbody th").all_inner_texts()
    folded = [str(row[0]) for row in reports.faulty().table().rows]
    assert [row.partition(" (")[0] for row in rows] == folded
    assert page.page.locator(".finding figure svg").count() >= 6
    assert page.page.is_visible("#appendix dd >> nth=0")
    assert not page.page.is_visible(".tools")
    page.page.emulate_media(media="screen")
    page.page.wait_for_selector(".paper tr", state="detached")


def test_charts_of_the_whole(page: Opened) -> None:
    """The charts of the audit are drawn, and told to those who do not see them."""
    chart = reports.faulty().charts()["std"]
    label = page.page.get_attribute("#charts svg[role=img]", "aria-label")
    assert label == f"{chart.title}: {chart.description}"


def test_without_scripts(browser: Any, folder: Path) -> None:
    """Where scripts do not run, the verdict is there, and a sentence says what is not."""
    with opened(browser, folder / "faulty.html", java_script_enabled=False) as found:
        text = found.page.inner_text("main")
        assert "2 are broken and 1 is suspicious" in text
        found.page.wait_for_selector("text=by its own script, which does not run here")


@pytest.fixture
def twins(browser: Any, folder: Path) -> Iterator[Opened]:
    """The page of a model of two blocks with long names."""
    with opened(browser, folder / "twins.html") as found:
        yield found


ODD = "model.layers.1.mlp.up_proj.weight"


def test_findings_are_in_sight(twins: Opened) -> None:
    """The row of a finding is in the table's window at once, while branches without findings begin closed."""
    sees = """(title) => {
        const row = [...document.querySelectorAll(".treegrid .spacer .named")].find((each) => each.title === title);
        const [inner, outer] = [row, document.querySelector(".treegrid")].map((each) => each.getBoundingClientRect());
        return inner.top >= outer.top && inner.bottom <= outer.bottom;
    }"""
    assert twins.page.evaluate(sees, ODD)
    assert "model.layers.[0-1].mlp.down_proj.weight" not in twins.page.evaluate(PATHS)


def test_only_findings(twins: Opened) -> None:
    """One press leaves the tensors with findings, and another, or clearing filters, shows all."""
    twins.page.check("[name=form][value=list]")
    everything = twins.page.evaluate(PATHS)
    button = twins.page.locator("[name=only]")
    assert button.inner_text() == "Only findings (1)"
    button.click()
    assert twins.page.evaluate(PATHS) == [ODD]
    assert button.get_attribute("aria-pressed") == "true"
    twins.page.click("[name=clear]")
    assert button.get_attribute("aria-pressed") == "false"
    assert twins.page.evaluate(PATHS) == everything


def test_branches_say_what_is_wrong_in_them(twins: Opened) -> None:
    """A branch has the worst verdict and how many have it, and no ratio, which may be that of another tensor."""
    row = twins.page.locator(f"{ROWS}.branch").first
    assert row.locator(".cell.verdict .badge").text_content() == "suspicious1"
    assert row.locator(".cell.ratio").inner_text() == ""


def test_what_blocks_share_is_said(twins: Opened) -> None:
    """Where a branch has what blocks share, and another what one of them has alone, both say so."""
    notes = twins.page.eval_on_selector_all(
        ".branch .named", "all => all.map((each) => [each.title, each.querySelector('.about')?.textContent ?? ''])"
    )
    assert ["model.layers.[0-1].", "what is alike"] in notes
    assert ["model.", ""] in notes


@pytest.mark.parametrize("is_open", [False, True])
def test_names_keep_their_ends(twins: Opened, is_open: bool) -> None:
    """However little room there is, the end of a name is seen: it tells names apart."""
    as_list(twins)
    if is_open:
        twins.page.click(f"{ROWS} >> nth=1")
    cut = twins.page.eval_on_selector_all(
        f"{ROWS} .named bdi", "all => all.filter((each) => each.scrollWidth > each.clientWidth + 1).length"
    )
    assert cut == 0
    names = twins.page.locator(f"{ROWS} .named bdi").all_text_contents()
    assert ODD in names
    ends = twins.page.eval_on_selector_all(
        f"{ROWS} .named bdi:has(.start)", "all => all.map((each) => [each.textContent, each.lastChild.textContent])"
    )
    assert ends
    assert [end for name, end in ends if len(end) < 12 and end != re.split("[./]", name)[-1]] == []


LONG = "vision_tower.vision_model.encoder.layers."
# Of each row: its name, the letters of it that are seen, how high its ellipsis is, whether all that follows is seen.
SEEN = """() => [...document.querySelectorAll(".treegrid .spacer .row")].map((row) => {
  const [cell, named] = [row.querySelector(".cell.name").getBoundingClientRect(), row.querySelector(".named")];
  const isIn = (box) =>
    box.top >= cell.top - 1 && box.bottom <= cell.bottom + 1 && box.left >= cell.left && box.right <= cell.right;
  const texts = document.createTreeWalker(named.querySelector("bdi"), NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  let seen = "";
  while (texts.nextNode())
    for (let at = 0; at < texts.currentNode.length; at++) {
      range.setStart(texts.currentNode, at);
      range.setEnd(texts.currentNode, at + 1);
      if (isIn(range.getBoundingClientRect())) seen += range.toString();
    }
  const ellipsis = parseFloat(getComputedStyle(named, "::before").height) || 0;
  const others = [...named.querySelectorAll(".count, .about")].map((each) => each.getBoundingClientRect());
  return [named.querySelector("bdi").textContent, seen, ellipsis, others.every(isIn)];
})"""


@pytest.fixture(scope="module")
def deep(folder: Path) -> Path:
    """The page of a model whose names are longer than two lines of a phone."""
    parts = [f"attention.self.{name}_projection.lora_{half}.default" for name in ("query", "key") for half in "AB"]
    names = [f"{LONG}{block}.{part}.weight" for block in range(3) for part in parts]
    names += [f"model.layers.{block}.self_attn.q_proj.weight" for block in range(3)] + ["head." + "x" * 300]
    made = {name: fanin.RandomNormal(seed=place)((16, 8)) for place, name in enumerate(names)}
    made[names[5]][0] = np.nan
    return reports.written(fanin.audit(made).to_html(), folder, "deep.html")


@pytest.mark.parametrize("form", ["tree", "list", "single"])
@pytest.mark.parametrize("width", [320, 390])
def test_names_keep_their_ends_on_phones(browser: Any, deep: Path, form: str, width: int) -> None:
    """On a phone, the end of a name is seen, enough to tell it apart, after an ellipsis if that is not all."""
    with opened(browser, deep, width=width, height=3000) as found:
        if form == "tree":
            found.page.click("[name=expand]")
        found.page.set_checked("[name=fold]", form != "single")
        found.page.check(f"[name=form][value={'tree' if form == 'tree' else 'list'}]")
        found.page.wait_for_timeout(100)
        rows = found.page.evaluate(SEEN)
        assert len(rows) > 5
        for name, seen, ellipsis, is_rest_seen in rows:
            assert name.endswith(seen), name
            assert len(seen) >= min(len(name), 20), name
            assert (ellipsis > 10) == (seen != name), name
            assert is_rest_seen, name
        if form == "list" and width == 390:
            assert len({seen for _, seen, *_ in rows}) == len(rows)
        assert any(seen != name for name, seen, *_ in rows)


def test_what_it_is_has_room(browser: Any, tmp_path: Path) -> None:
    """In a window of common width, the initializer that a tensor fits can be read with its number."""
    audit = fanin.audit({"self_attn.q_proj.weight": fanin.RandomNormal(0.0, 0.0213, seed=1)((64, 48))})
    with opened(browser, reports.written(audit.to_html(), tmp_path)) as found:
        cell = found.page.locator(f"{ROWS} .cell.what")
        assert cell.inner_text() == "normal (stddev 0.0219)"
        assert cell.evaluate("(each) => each.scrollWidth <= each.clientWidth")


def test_the_end_of_an_order_is_the_tree_again(twins: Opened) -> None:
    """A head that is pressed three times gives the tree back that was there before."""
    before = twins.page.evaluate(PATHS)
    for _ in range(3):
        twins.page.click(".heads .std button")
    assert twins.page.is_checked("[name=form][value=tree]")
    assert twins.page.evaluate(PATHS) == before


def test_empty_parts_of_names(browser: Any, tmp_path: Path) -> None:
    """A part of a name that is empty adds nothing to what rows are called."""
    names = ("x.a..b", "x.c", "d..e.f", "g")
    audit = fanin.audit({name: fanin.HeNormal(seed=place)((16, 16)) for place, name in enumerate(names)})
    with opened(browser, reports.written(audit.to_html(), tmp_path)) as found:
        rows = found.page.locator(f"{ROWS} .named bdi").all_text_contents()
        assert rows == ["x", "a..b", "c", "d..e.f", "g"]
