"""How large the signal is in each layer of a deep network of ReLU: README's first figure."""

from __future__ import annotations

from functools import cache
from typing import Any

import fanin
from fanin.report.charts import Axis, Chart, Marks
from fanin.theory.compared import Comparison
from pictures.canvas import SCHEMES, Canvas
from pictures.charts import Frame, draw

WIDTH, DEPTH, NETWORKS = 1024, 30, 3
# What each is called, and the initializer: PyTorch's is that of `nn.Linear`, kaiming_uniform_ with a = √5.
CHOSEN: dict[str, Any] = {
    "random_normal, 0.05": fanin.RandomNormal(stddev=0.05),
    "he_normal": fanin.HeNormal(),
    "Keras: glorot_uniform": fanin.GlorotUniform(),
    "PyTorch: nn.Linear": fanin.VarianceScaling(1 / 3, "fan_in", "uniform"),
}


@cache
def compared() -> Comparison:
    """The networks, simulated once."""
    return fanin.compare(CHOSEN.values(), "relu", DEPTH, WIDTH, batch=16, networks=NETWORKS)


def chart() -> Chart:
    """The sizes as a chart: theory as lines, simulated networks as dots."""
    marks = []
    for color, (name, row) in zip((1, 2, 0, 3), zip(CHOSEN, compared().rows, strict=True), strict=True):
        assert row.theory is not None
        assert row.simulation is not None
        layers = range(DEPTH + 1)
        marks.append(Marks.of("line", layers, [each**0.5 for each in row.theory.signal], name, color=color))
        measured = [each**0.5 for each in row.simulation.mean.signal]
        marks.append(Marks.of("dots", layers[::3], measured[::3], color=color))
    return Chart(
        "signal",
        "With He’s weights, a deep ReLU network keeps its signal",
        f"Through {DEPTH} layers, "
        + "; ".join(f"{name} {row.verdict}" for name, row in zip(CHOSEN, compared().rows, strict=True))
        + ". Theory and simulated networks agree.",
        Axis("layer", limits=(0, DEPTH)),
        Axis("size of the signal (root mean square)", is_log=True, limits=(1e-13, 1e3)),
        tuple(marks),
    )


def signal(scheme: str) -> str:
    """The figure."""
    made = chart()
    canvas = Canvas(760, 452, made.title, made.description, SCHEMES[scheme])
    canvas.heading(
        made.title, f"{WIDTH:,} units a layer, no biases. Lines: theory. Dots: mean of {NETWORKS} simulated networks."
    )
    notes = {name: f"× {row.layer_factors[0]} a layer" for name, row in zip(CHOSEN, compared().rows, strict=True)}
    draw(canvas, made, Frame(52, 94, 530, 400), notes)
    return str(canvas)


PICTURES = {"signal": signal}
