"""Figures: matplotlib's own objects have what was given; nothing global changes; without matplotlib, an error."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fanin.report import plots


@pytest.fixture
def matplotlib() -> Any:
    """matplotlib, if it is installed."""
    return pytest.importorskip("matplotlib")


def luminance(color: str) -> float:
    """The relative luminance of a colour, as WCAG 2 defines it."""
    channels = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.03928 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


@pytest.mark.parametrize("color", plots.COLORS)
def test_contrast(color: str) -> None:
    """Each colour has a contrast of 3 with white and with a notebook's dark background."""
    assert 1.05 / (luminance(color) + 0.05) >= 3
    assert (luminance(color) + 0.05) / (luminance("#111111") + 0.05) >= 3


def test_lines_by_depth(matplotlib: Any) -> None:
    """Lines have the numbers; what a logarithmic axis cannot show is left out."""
    with plots.figure() as (figure, [axes]):
        series = [plots.Series("theory", [1, 0, np.inf, 8], kind="line"), plots.Series("", [2.0], [0.1], color=0)]
        plots.lines_by_depth(axes, series, title="Signal")
    theory, measured = axes.lines
    legend: Any = axes.get_legend()
    np.testing.assert_array_equal(theory.get_ydata(), [1, np.nan, np.nan, 8])
    assert theory.get_color() == measured.get_color() == plots.COLORS[0]
    assert axes.get_yscale() == "log"
    assert [text.get_text() for text in legend.get_texts()] == ["theory"]
    figure.draw_without_rendering()


def test_histogram(matplotlib: Any) -> None:
    """The densities of counts, the expected ones, and bounds."""
    with plots.figure() as (figure, [axes]):
        plots.histogram(axes, [0, 1, 3], [10, 30], expected=[20, 20], bounds=(0.0, np.inf))
    patches: list[Any] = list(axes.patches)
    measured, expected = (patch.get_data().values for patch in patches)
    np.testing.assert_allclose(measured, [0.25, 0.375])
    np.testing.assert_allclose(expected, [0.5, 0.25])
    assert len(axes.lines) == 1
    figure.draw_without_rendering()


def test_ratio_strip(matplotlib: Any) -> None:
    """Ratios about 1; those to be noticed apart; names to the letter."""
    with plots.figure() as (figure, [axes]):
        plots.ratio_strip(axes, ["_a$x$", "b"], [1.0, 4.0], errors=[0.1, 0.1], marked=[False, True])
    assert axes.get_yscale() == "log"
    assert [text.get_text() for text in axes.get_xticklabels()] == [r" _a\$x\$", "b"]
    figure.draw_without_rendering()


@pytest.mark.parametrize("theme", ["any", "light", "dark"])
def test_themes(matplotlib: Any, theme: Any, tmp_path: Path) -> None:
    """Every theme can be drawn and written, and shows itself in notebooks."""
    with plots.figure(theme=theme) as (figure, [axes]):
        plots.lines_by_depth(axes, [plots.Series("a", [1, 2])])
    figure.savefig(tmp_path / "a.svg")
    assert (tmp_path / "a.svg").stat().st_size > 1000
    assert figure._repr_png_().startswith(b"\x89PNG")  # pyright: ignore


def test_nothing_global_changes(matplotlib: Any) -> None:
    """Neither the settings nor pyplot's list of figures."""
    before = dict(matplotlib.rcParams)
    with plots.figure():
        pass
    assert dict(matplotlib.rcParams) == before
    code = "import sys; from fanin.report import plots\nwith plots.figure(): print('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_theme_that_is_none(matplotlib: Any) -> None:
    """The message says the rule."""
    wrong: Any = "blue"
    with (
        pytest.raises(ValueError, match="`theme` must be one of any, light, dark") as caught,
        plots.figure(theme=wrong),
    ):
        pass
    assert "Received: theme='blue'" in str(caught.value)


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "fanin.report.figures", raising=False)
    with pytest.raises(ImportError, match=r"matplotlib is not installed: pip install 'fanin\[plot\]'"), plots.figure():
        pass
