"""What notebooks show: names are text, nothing is a script, and reports of thousands of tensors stay small."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fanin
from fanin.models.lists import described_list
from fanin.theory.probes import Probe, ProbedLayer
from fanin.theory.signals import Values, measure

HOSTILE = "<script>alert('&')</script>"
MANY = 1_500  # with five times as many, nothing is larger: tables and lists end before


def audit(count: int, name: str = "m") -> Any:
    """An audit of so many tensors, no two of them alike, of which one is broken."""
    arrays = {f"{name}.{n * 7919 % 10007}x.kernel": np.full((2, 3 + n % 50), n) for n in range(count)}
    arrays[f"{name}.broken"] = np.full((4, 4), np.nan)
    return fanin.audit(arrays)


def plan(count: int, name: str = "m") -> Any:
    """A plan of so many parameters, no two of them alike."""
    listed = [
        {"path": f"{name}.{n * 7919 % 10007}x.kernel", "shape": [2, 3 + n % 50], "dtype": "float32"}
        for n in range(count)
    ]
    return fanin.Recipe([{"path": "*", "initializer": "zeros"}]).plan(described_list(listed))


def probe(count: int, name: str = "m") -> Any:
    """A probe of so many layers."""
    signal = measure(Values.of(np.random.default_rng(0).standard_normal((32, 8))))
    return Probe(tuple(ProbedLayer(f"{name}.{n}", "Dense", signal) for n in range(count)), name, False)


def comparison(count: int, name: str = "m") -> Any:
    """A comparison of initializers."""
    return fanin.compare(["he_normal", "glorot_uniform"], simulate=False)


MAKERS: list[Callable[..., Any]] = [audit, plan, probe, comparison]


@pytest.mark.parametrize("make", MAKERS)
def test_many(make: Callable[..., Any]) -> None:
    """Reports of many parameters take at most 200 KB, and say how many rows they leave out."""
    html = make(MANY)._repr_html_()
    assert len(html.encode()) < 200_000
    assert "more rows" in html or make is comparison


@pytest.mark.parametrize("make", MAKERS)
def test_hostile_names(make: Callable[..., Any]) -> None:
    """Names are text; there is no script, no handler and nothing from elsewhere."""
    html = make(3, HOSTILE)._repr_html_()
    assert "<script" not in html
    assert not re.search(r"<[^>]*\s(on\w+|href|src)=", html)
    assert make is comparison or "&lt;script&gt;" in html


def test_an_audit_shows_its_verdicts() -> None:
    """A strip of verdicts, a sparkline for each row, and the findings."""
    html = audit(3)._repr_html_()
    assert html.count('class="spark"') == 0  # constants have none
    assert 'class="strip"' in html
    assert "All elements are NaN" in html or "are NaN" in html
    drawn = fanin.audit({"a.kernel": fanin.HeNormal(seed=1)((64, 64))})._repr_html_()
    assert drawn.count('class="spark"') == 1
    assert 'aria-label="values from -0.' in drawn


def test_sparklines_of_depth() -> None:
    """A comparison has a line for signal and gradient in each row; the terminal's table has none."""
    report = comparison(0)
    assert report._repr_html_().count('class="spark"') == 4
    assert "by depth" not in str(report)


def test_a_plan_tells_unmatched_parameters() -> None:
    """The strip of a plan says how many parameters have a rule."""
    listed = [{"path": name, "shape": [2], "dtype": "float32"} for name in ("a", "b", "c")]
    html = fanin.Recipe([{"path": "a", "initializer": "zeros"}]).plan(described_list(listed))._repr_html_()
    assert "1 with a rule, 2 unmatched" in html


@pytest.mark.parametrize("make", MAKERS)
def test_text_in_notebooks(make: Callable[..., Any]) -> None:
    """Beside the HTML, a notebook stores the text of a terminal, not all of the data."""
    pretty = pytest.importorskip("IPython.lib.pretty")
    report = make(3)
    assert pretty.pretty(report) == str(report)
