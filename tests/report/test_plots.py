"""Figures: matplotlib's own objects have what was given; nothing global changes; without matplotlib, an error."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fanin.report import plots
from fanin.report.charts import Axis, Chart, Charts, Marks

CHART = Chart(
    "sizes",
    "Sizes",
    "They fall.",
    Axis("layer"),
    Axis("size", is_log=True),
    (Marks.of("line", [0, 1], [1, 0.1], "theory"), Marks.of("dots", [0, 1], [1, 0.2], "measured", color=1)),
)


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


def test_drawn(matplotlib: Any) -> None:
    """A figure has the charts side by side, each with its title; an odd place stays empty."""
    figure = plots.drawn([CHART] * 3, title="All of $them$")
    assert [each.get_title(loc="left") for each in figure.axes] == ["Sizes", "Sizes", "Sizes", ""]
    assert [each.axison for each in figure.axes] == [True, True, True, False]
    figure.draw_without_rendering()


def test_nothing_to_draw(matplotlib: Any) -> None:
    """The error says why there is no chart."""
    with pytest.raises(ValueError, match=r"There is nothing to draw\. Every element is 0\.$"):
        plots.drawn(Charts.of({"density": "Every element is 0.", "quantiles": "Every element is 0."}))


def test_the_legend_is_below(matplotlib: Any) -> None:
    """The legend hides nothing: it lies below the label of the axis."""
    figure = plots.drawn([CHART])
    figure.draw_without_rendering()
    [axes] = figure.axes
    legend: Any = axes.get_legend()
    assert legend.get_window_extent().y1 <= axes.xaxis.label.get_window_extent().y0


@pytest.mark.parametrize("theme", ["any", "light", "dark"])
def test_themes(matplotlib: Any, theme: Any, tmp_path: Path) -> None:
    """Every theme can be drawn and written, and shows itself in notebooks."""
    figure: Any = plots.drawn([CHART], theme)
    figure.savefig(tmp_path / "a.svg")
    assert (tmp_path / "a.svg").stat().st_size > 1000
    assert figure._repr_png_().startswith(b"\x89PNG")


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
