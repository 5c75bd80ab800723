"""The pictures of README and docs: well made, used, and with the numbers that fanin makes now.

Those of layers have a test of their own (test_layout_pictures.py).
"""

from __future__ import annotations

import importlib
import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest

import fanin

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/pictures"
SVG = "{http://www.w3.org/2000/svg}"
FILES = sorted(FOLDER.rglob("*.svg"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "mkdocs.yml"]
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
NAMED = re.compile(r"pictures/([\w/-]+\.(?:svg|png|webp))")


def module(name: str) -> ModuleType:
    """A module of scripts/pictures."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        return importlib.import_module(f"pictures.{name}")
    finally:
        sys.path.pop(0)


def names() -> list[str]:
    """The names of the pictures, but those of layers."""
    return [name for name in module("catalogue").NAMES if not name.startswith("layouts/")]


def named(path: Path) -> str:
    """What a test of a file is called."""
    return str(path.relative_to(FOLDER))


def words(text: str) -> list[str]:
    """Everything that a picture says."""
    return [each.text or "" for each in ElementTree.fromstring(text).iter() if each.tag != f"{SVG}style"]


@cache
def committed() -> set[str]:
    """The pictures that are there."""
    return {named(path) for path in FOLDER.rglob("*.*")}


@cache
def mentioned() -> set[str]:
    """The pictures that pages name."""
    return {found for page in PAGES if page.exists() for found in NAMED.findall(page.read_text(encoding="utf-8"))}


# ---------------------------------------------------------------- every file


@pytest.mark.parametrize("path", FILES, ids=named)
def test_well_formed(path: Path) -> None:
    """A picture is XML, says its size, and has a title and a description for those who do not see it."""
    root = ElementTree.parse(path).getroot()
    assert root.tag == f"{SVG}svg"
    assert {"viewBox", "width", "height"} <= set(root.attrib)
    for tag in ("title", "desc"):
        found = root.find(f"{SVG}{tag}")
        assert found is not None
        assert found.text


@pytest.mark.parametrize("path", FILES, ids=named)
def test_stands_alone(path: Path) -> None:
    """A picture asks for nothing, runs nothing, and is small."""
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"<script|<image|<foreignObject|\bhref|url\((?!#)|@import|\son\w+=", text)
    assert set(re.findall(r"https?://[^\"' ]+", text)) == {"http://www.w3.org/2000/svg"}
    assert len(text.encode()) < 60_000


@pytest.mark.parametrize("path", [path for path in FILES if path.stem.endswith("-light")], ids=named)
def test_both_schemes(path: Path) -> None:
    """A picture has the same texts and the same size in both schemes, and other colours."""
    other = path.with_name(path.name.replace("-light.svg", "-dark.svg"))
    light, dark = (ElementTree.parse(each).getroot() for each in (path, other))
    assert light.get("viewBox") == dark.get("viewBox")
    assert [each.text for each in light.iter(f"{SVG}text")] == [each.text for each in dark.iter(f"{SVG}text")]
    assert path.read_text(encoding="utf-8") != other.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["report", "explorer"])
def test_screenshots(name: str) -> None:
    """A screenshot is there in both schemes, as wide as it says, and small."""
    for scheme in ("light", "dark"):
        data = (FOLDER / f"{name}-{scheme}.png").read_bytes()
        assert data.startswith(b"\x89PNG")
        assert int.from_bytes(data[16:20], "big") == module("screenshots").WIDTH
        assert len(data) < 150_000


def test_every_picture_that_a_page_names_is_there() -> None:
    """No page names a picture that is not there."""
    assert mentioned() - committed() == set()


def test_every_picture_is_used() -> None:
    """Each picture stands in a page."""
    assert committed() - mentioned() == set()


def test_every_picture_is_made() -> None:
    """No SVG is left over from a name that the script does not know, and none is missing."""
    catalogue = module("catalogue")
    made = {f"{name}.svg" for name in catalogue.SINGLE}
    made |= {f"{name}-{scheme}.svg" for name in catalogue.PICTURES for scheme in ("light", "dark")}
    assert {named(path) for path in FILES} == made


# ---------------------------------------------------------------- in a browser

# What texts, by their places, leave the picture or lie over one another.
CLASHES = """() => {
    const picture = document.querySelector("svg").getBoundingClientRect();
    const texts = [...document.querySelectorAll("text")].filter((text) => text.textContent.trim());
    const boxes = texts.map((text) => [text.textContent, text.getBoundingClientRect()]);
    const outside = ([, box]) => box.left < -1 || box.right > picture.right + 1 || box.bottom > picture.bottom + 2;
    const covers = (one, other) =>
        Math.min(one.right, other.right) - Math.max(one.left, other.left) > 1 &&
        Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > 5;
    const over = boxes.flatMap(([words, box], place) =>
        boxes.slice(place + 1).filter(([, other]) => covers(box, other)).map(([others]) => `${words} | ${others}`));
    return [...boxes.filter(outside).map(([words]) => words), ...over];
}"""


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.stem.endswith("-light") and path.stem != "terminal-light"], ids=named
)
def test_texts_have_room(browser: Any, path: Path) -> None:
    """No text leaves the picture or lies over another, in the widest of the fonts that may be there."""
    page = browser.new_page()
    page.set_content(f"<body style='margin:0'>{path.read_text(encoding='utf-8')}")
    clashes = page.evaluate(CLASHES)
    page.close()
    assert clashes == []


@pytest.mark.parametrize(("motion", "count"), [("reduce", 0), ("no-preference", 7)])
def test_the_terminal_moves_for_those_who_want_it(browser: Any, motion: str, count: int) -> None:
    """Who does not want motion has none, and sees the end: the last line is there, and nothing covers it."""
    page = browser.new_page(reduced_motion=motion)
    page.set_content((FOLDER / "terminal-light.svg").read_text(encoding="utf-8"))
    assert page.evaluate("document.getAnimations().length") == count
    if motion == "reduce":
        last = page.get_by_text("18 tensors").last
        box = page.evaluate("document.querySelector('svg').getBoundingClientRect().bottom")
        assert last.is_visible()
        assert last.bounding_box()["y"] < box
    page.close()


# ---------------------------------------------------------------- their numbers


@pytest.mark.parametrize("name", names())
def test_up_to_date(name: str) -> None:
    """The script makes the picture that is there: the same texts and shapes, at coordinates that are as good as equal.

    Simulated networks differ in their last digits from one BLAS to another, and so may the place of a mark.
    """
    for file, text in module("catalogue").files_of(name).items():
        stored = (FOLDER / file).read_text(encoding="utf-8")
        assert words(text) == words(stored)
        assert NUMBER.sub("#", text) == NUMBER.sub("#", stored)
        now, then = (list(map(float, NUMBER.findall(each))) for each in (text, stored))
        assert now == pytest.approx(then, rel=1e-6, abs=0.25)


@pytest.mark.parametrize("name", ["initializers/he_normal", "initializers/orthogonal", "bits"])
def test_deterministic(name: str) -> None:
    """A picture is the same, byte for byte, whenever it is made."""
    files = module("catalogue").files_of
    assert files(name) == files(name)


def test_every_initializer_has_a_picture() -> None:
    """Each documented class has one, under its name in snake case."""
    classes = {
        fanin.initializers.NAMES[name.rpartition("/")[2]] for name in names() if name.startswith("initializers/")
    }
    assert classes == set(fanin.initializers.CLASSES)


def test_the_signal_is_that_of_theory() -> None:
    """The figure's factors are those by hand: ReLU keeps half the variance, which of PyTorch's is 1 / (3 fan_in)."""
    text = (FOLDER / "signal-light.svg").read_text(encoding="utf-8")
    by_hand = {"he_normal": 1.0, "Keras: glorot_uniform": 0.5**0.5, "PyTorch: nn.Linear": (1 / 6) ** 0.5}
    by_hand["random_normal, 0.05"] = 0.05 * (1024 / 2) ** 0.5
    shown = re.findall(r">([^<>]+)</text>\n<text[^>]*>× ([\d.]+) a layer<", text)
    assert {name: float(factor) for name, factor in shown} == pytest.approx(by_hand, abs=0.005)


def test_bits_end_at_the_value() -> None:
    """The picture of bits ends at the value that fanin draws, and begins at its seed."""
    text = (FOLDER / "bits-light.svg").read_text(encoding="utf-8")
    seed, shape, place = re.findall(r"GlorotUniform\(seed=(\d+)\)\(\((.*?)\)\)\[(.*?)\]", text)[0]
    kernel = fanin.GlorotUniform(seed=int(seed))(tuple(map(int, shape.split(","))))
    value = float(kernel[tuple(map(int, place.split(",")))])
    assert f">{value:.9f}<".replace("-", "−") in text


def test_steps_have_the_numbers_of_their_sections() -> None:
    """The steps in the picture of bits are the numbered sections of its page, in their order."""
    steps = re.findall(r">(\d)  ([^<]+)<", (FOLDER / "bits-light.svg").read_text(encoding="utf-8"))
    page = (ROOT / "docs/bits.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\d)\. (.+)$", page, re.MULTILINE) == steps


def test_orthogonal_shows_its_values() -> None:
    """The image of a matrix has as many cells of each sign as the matrix has values that show."""
    matrix = fanin.Orthogonal(seed=42)((16, 16))
    text = (FOLDER / "initializers/orthogonal-light.svg").read_text(encoding="utf-8")
    product = matrix.T @ matrix
    for color, sign in (("#d55e00", 1), ("#0072b2", -1)):
        cells = sum(path.count("z") for path in re.findall(rf'<path d="([^"]*)" fill="{color}"', text))
        shades = (sign * each / max(abs(matrix).max(), abs(product).max()) for each in (matrix, product))
        assert cells == sum(int((each > 1 / 24).sum()) for each in shades)


# ---------------------------------------------------------------- the terminal


def test_the_terminal_prints_what_the_commands_print(tmp_path: Path) -> None:
    """Every line of text in the picture is one that the commands print, and none is missing; times are masked."""
    terminal = module("terminal")
    terminal.write_checkpoint(tmp_path / "model.safetensors")
    expected: list[str] = []
    for command in (terminal.SHOW, terminal.CHECK):
        printed = re.sub(r"\x1b\[[\d;]*m", "", terminal.printed(command, str(tmp_path)))
        expected += [f"$ {command}", *printed.splitlines()]
    lines: dict[float, list[tuple[float, str]]] = {}
    for each in ElementTree.parse(FOLDER / "terminal-light.svg").getroot().iter(f"{SVG}text"):
        lines.setdefault(float(each.attrib["y"]), []).append((float(each.attrib["x"]), each.text or ""))
    shown = [" ".join(text for _, text in sorted(line)) for _, line in sorted(lines.items())]
    assert " ".join(shown).split() == " ".join(expected).replace("█│", "█ │").replace("│█", "│ █").split()


# ---------------------------------------------------------------- benchmarks


def test_the_tables_are_those_of_the_run() -> None:
    """The tables of docs/benchmarks.md are what the JSON beside it says."""
    tables = module("tables")
    text = tables.PAGE.read_text(encoding="utf-8")
    assert tables.written(text, module("measured").load()) == text


def test_every_table_has_its_place() -> None:
    """The page has each table once."""
    tables = module("tables")
    places = re.findall(r"<!-- table: (.*?) -->", tables.PAGE.read_text(encoding="utf-8"))
    assert sorted(places) == sorted(tables.TABLES)


def test_the_benchmarks_are_of_a_full_run() -> None:
    """The run that is shown is no quick one, whose figures mean little."""
    from fanin.cli.bench import ELEMENTS, GROUPS

    bench = module("measured").load()
    assert {case.elements for case in bench.of("fill")} == {ELEMENTS}
    assert {case.group for case in bench.cases} == set(GROUPS)


def test_heads_of_tables_are_told_apart() -> None:
    """Every column of a table of docs/benchmarks.md has a head of its own; only the first may be without."""
    text = module("tables").PAGE.read_text(encoding="utf-8")
    heads = [line.strip("| ").split(" | ") for line in re.findall(r"^(\|.*)\n\| --- \|", text, re.MULTILINE)]
    assert len(heads) >= 15
    for head in heads:
        assert len(set(head)) == len(head), head
        assert all(head), head


def test_what_most_readers_look_for_comes_first() -> None:
    """The first tables are those of a large tensor and of whole models, and PyTorch's order comes after them."""
    text = module("tables").PAGE.read_text(encoding="utf-8")
    places = re.findall(r"<!-- table: (.*?) -->", text)
    assert places[:4] == ["machine", "fill, all threads", "fill, one thread", "models"]
    assert all(each.startswith("layouts") for each in places[-4:])
