"""Small pictures in a line: what they show, and that a parser takes them."""

from xml.etree import ElementTree

import numpy as np
import pytest

from fanin.report import inline


def parsed(html: str) -> ElementTree.Element:
    """An element of HTML that is XML, too."""
    return ElementTree.fromstring(html)


def test_strip() -> None:
    """Parts are as wide as they are many, the least of them is seen, and those that are none are left out."""
    found = parsed(inline.strip({"right": (9_999, "good"), "odd": (1, "warn"), "wrong": (0, "bad")}))
    first, second = found.iter("rect")
    assert (first.get("class"), second.get("class")) == ("good", "warn")
    assert float(second.get("width", 0)) >= 3
    assert float(first.get("width", 0)) == float(second.get("x", 0))
    assert "".join(found.itertext()).strip() == "9,999 right, 1 odd"


def test_strip_of_nothing() -> None:
    """Without parts, there is no strip; its words are escaped."""
    assert inline.strip({"a": (0, "good")}) == ""
    assert "&lt;b&gt;" in inline.strip({"a": (1, "good")}, "<b>")


def test_bars() -> None:
    """The tallest bar has the full height, and the outline of what is expected is on the same scale."""
    bars, outline = parsed(inline.bars([1, 4, 0], [2, 2, 2], "a < b")).iter("path")
    assert bars.get("d") == "M0 16V12h3V0h3V16h3V16z"
    assert outline.get("d") == "M0 16V8h3V8h3V8h3V16"


@pytest.mark.parametrize("values", [[], [0.0, -1.0], [np.nan]])
def test_no_line(values: list[float]) -> None:
    """Without positive numbers there is no line."""
    assert inline.line(values) == ""


def test_line() -> None:
    """A line is logarithmic, flat if nothing changes, and interrupted where a number is missing."""
    [path] = parsed(inline.line([1e-4, 1e-2, np.nan, 1.0])).iter("path")
    assert path.get("d") == "M0 15L32 8M96 1"
    [flat] = parsed(inline.line([1.0, 1.0])).iter("path")
    assert flat.get("d") == "M0 8L96 8"
