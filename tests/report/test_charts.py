"""Charts as data, and as matplotlib draws them."""

import json
from typing import Any

import numpy as np
import pytest

from fanin.report.charts import Axis, Chart, Charts, Guide, Marks

CHART = Chart(
    "sizes",
    "Sizes <by> depth",
    "The size falls from 1 to 0.01 in ten layers.",
    Axis("layer"),
    Axis("size", is_log=True),
    (
        Marks.of("band", range(3), [0.5, 0.05, 0.005], upper=[2, 0.2, 0.02]),
        Marks.of("line", range(3), [1, 0.1, float("nan")], "theory"),
        Marks.of("dots", range(3), [1, 0.1, 0.01], "measured", color=1, labels=("a", "b", "$c"), emphasized=[2]),
    ),
    (Guide("y", 1.0, "expected"),),
)


def test_as_dict() -> None:
    """A chart is data that JSON can hold: what is not finite is None."""
    data = CHART.as_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["marks"][1]["y"] == [1.0, 0.1, None]
    assert data["y"] == {"label": "size", "is_log": True, "limits": None, "names": []}


def test_six_digits() -> None:
    """Numbers have six digits, whatever their size, of arrays and of lists."""
    assert Marks.of("line", np.array([1 / 3e9], "float32"), [2e9 / 3]).x == (3.33333e-10,)


@pytest.mark.parametrize(
    ("kind", "x", "upper"), [("bars", [0, 1], []), ("line", [0], []), ("band", [0, 1], [1]), ("dots", [0, 1], [1, 2])]
)
def test_numbers_that_do_not_fit(kind: str, x: list[float], upper: list[float]) -> None:
    """Coordinates that are not as many as they must be are refused."""
    with pytest.raises(ValueError, match=r"must have .* Received: "):
        Marks.of(kind, x, [1, 2], upper=upper)  # pyright: ignore[reportArgumentType]


def drawn(chart: Chart) -> Any:
    """The axes on which matplotlib has drawn a chart."""
    pytest.importorskip("matplotlib")
    from fanin.report import plots

    with plots.figure() as (_, [axes]):
        plots.draw(axes, chart)
    return axes


def test_drawn_by_matplotlib() -> None:
    """matplotlib draws every mark and guide where the chart says."""
    axes = drawn(CHART)
    line, dots, emphasized, guide = axes.lines
    assert line.get_ydata()[:2].tolist() == [1.0, 0.1]
    assert np.isnan(line.get_ydata()[2])
    assert (dots.get_linestyle(), emphasized.get_xdata().tolist()) == ("None", [2])
    assert guide.get_ydata() == [1.0, 1.0]
    assert (axes.get_yscale(), axes.get_title(loc="left")) == ("log", "Sizes <by> depth")
    assert [each.get_text() for each in axes.get_legend().get_texts()] == ["theory", "measured", "expected"]


def test_bars_by_matplotlib() -> None:
    """Bars stand on zero, between their edges, and an axis has the limits that it is given."""
    bars = Marks.of("bars", [0, 1, 3], [2, 1])
    axes = drawn(Chart("h", "", "", Axis("value", limits=(-1, 4)), Axis("density"), (bars,)))
    [stairs] = axes.patches
    assert stairs.get_data().edges.tolist() == [0, 1, 3]
    assert axes.get_ylim()[0] == 0
    assert axes.get_xlim() == (-1, 4)


def test_rows_by_matplotlib() -> None:
    """Rows are horizontal bars from zero, the first one at the top, with names in place of numbers."""
    rows = Marks.of("rows", [3, 1], [0, 1])
    axes = drawn(Chart("rules", "", "", Axis("elements"), Axis("", names=("_a$", "b")), (rows,)))
    assert [(each.get_width(), each.get_y() + each.get_height() / 2) for each in axes.patches] == [(3, 0), (1, 1)]
    assert [each.get_text() for each in axes.get_yticklabels()] == [r" _a\$", "b"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    assert axes.get_xlim()[0] == 0


def test_emphasized_alone_by_matplotlib() -> None:
    """Dots that are all to be noticed have the legend's mark, and no others beside them."""
    axes = drawn(Chart("a", "", "", Axis(""), Axis(""), (Marks.of("dots", [1], [2], "findings", emphasized=[0]),)))
    [line] = axes.lines
    assert (line.get_marker(), line.get_label()) == ("D", "findings")


def test_charts() -> None:
    """Charts are found by name; the reason for one that is missing is what the error says."""
    charts = Charts.of({"sizes": CHART, "density": "Every element is 0."})
    assert (len(charts), [*charts], charts["sizes"]) == (1, [CHART], CHART)
    with pytest.raises(KeyError, match=r"Every element is 0\."):
        charts["density"]
    with pytest.raises(KeyError, match=r"Known charts: sizes\. Received: 'size'"):
        charts["size"]
    assert charts.as_dict() == {"charts": [CHART.as_dict()], "missing": {"density": "Every element is 0."}}
