"""Charts of numbers by depth."""

import math

import numpy as np
import pytest

from fanin.report.charts import Guide
from fanin.report.depth import Series, by_depth, dots, is_wide


def test_lines_and_bands() -> None:
    """Theory is a line, measured numbers are dots of its colour, and errors a band of two on each side, beneath."""
    theory = Series("theory", [1.0, 2.0], kind="line", color=3)
    measured = Series("measured", [1.5, 2.5], errors=[0.1, 0.2], kind="dots", color=3, start=1)
    chart = by_depth("signal", "Signal", "", [theory, measured], y="std", guides=[Guide("y", 1.0)])
    band, line, points = chart.marks
    assert [each.kind for each in chart.marks] == ["band", "line", "dots"]
    assert {each.color for each in chart.marks} == {3}
    assert (band.x, band.y, band.upper) == ((1, 2), (1.3, 2.1), (1.7, 2.9))
    assert (line.name, points.name, points.x) == ("theory", "measured", (1, 2))
    assert chart.y.is_log


def test_a_line_with_dots_has_one_name() -> None:
    """A line with dots is named once, and each series has a colour of its own."""
    chart = by_depth("s", "", "", [Series("a", [1, 2]), Series("b", [3, 4])])
    assert [(each.kind, each.name, each.color) for each in chart.marks] == [
        ("line", "a", 0),
        ("dots", "", 0),
        ("line", "b", 1),
        ("dots", "", 1),
    ]


@pytest.mark.parametrize(("labels", "kinds"), [((), ["line"]), (tuple("x" * 100), ["line", "dots"])])
def test_many_dots(labels: tuple[str, ...], kinds: list[str]) -> None:
    """Dots that would hide their line are drawn only if they have names to tell."""
    chart = by_depth("s", "", "", [Series("a", np.ones(100), labels=labels)])
    assert [each.kind for each in chart.marks] == kinds


def test_findings_are_apart() -> None:
    """What is to be noticed has marks of its own, with a name for the legend, and keeps its labels."""
    usual, found = dots([0, 1, 2], [1, 9, 3], "std", labels="abc", emphasized=[1])
    assert (usual.x, usual.labels, usual.emphasized) == ((0, 2), ("a", "c"), ())
    assert (found.x, found.y, found.labels, found.emphasized, found.name) == ((1,), (9,), ("b",), (0,), "findings")


@pytest.mark.parametrize(("values", "wide"), [([1, 1.9], False), ([1, 3], True), ([0, math.inf], False), ([], False)])
def test_is_wide(values: list[float], wide: bool) -> None:
    """An axis is logarithmic if numbers differ by more than a factor of two."""
    assert is_wide(values) is wide
