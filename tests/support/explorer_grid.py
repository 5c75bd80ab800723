"""The grid on which the explorer's theory is compared with Python's, and Python's numbers on it.

They take minutes, so `tests/golden/explorer.json` keeps them. `python tests/support/explorer_grid.py` writes it again.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fanin import theory
from fanin.theory import blocks, exploring

FILE = Path(__file__).parent.parent / "golden" / "explorer.json"
# The weights' variance times their number of inputs and of outputs, the biases' standard deviation, and the depth.
NETWORKS = ((2.0, 2.0, 0.0, 8), (4.5, 2.5, 0.0, 5), (0.3, 0.5, 0.3, 20))
DEEP = (1.7, 1.7, 1.0, 100)
DEEP_ACTIVATIONS = ("relu", "tanh", "gelu")
PLACES = (0, 1, 2, 4, -1)  # of the numbers by depth that are kept
BIASES = (0.0, 0.5)
FIELDS = ((0.9, 0.0), (1.3, 0.4), (2.5, 0.0))  # σ_w and σ_b


def networks(activation: str) -> list[tuple[float, float, float, int]]:
    """The networks of an activation."""
    return [*NETWORKS, DEEP] if activation in DEEP_ACTIVATIONS else [*NETWORKS]


def record_of(name: str, of_blocks: Iterable[str] = tuple(blocks.BLOCKS)) -> dict[str, Any]:
    """Python's numbers for an activation."""
    activation = theory.activation(name)
    fields = [theory.mean_field(activation, *each) for each in FIELDS]
    return {
        "critical": [_critical(activation, bias) for bias in BIASES],
        "fields": [_plain([field.fixed_point, field.chi]) for field in fields],
        "profiles": {block: profiles(activation, block, networks(name)) for block in of_blocks},
    }


def profiles(activation: theory.Activation, name: str, cases: Iterable[tuple[float, float, float, int]]) -> list[Any]:
    """What `fanin.theory.blocks.profile` says of networks: signals, pre-activations and gradients at `PLACES`."""
    block = blocks.BLOCKS[name]
    made = []
    for inputs, outputs, bias, depth in cases:
        weights = [blocks.Weights(inputs, outputs)] * len(block.dense)
        found = blocks.profile(block, activation, weights, depth, bias)
        series = (found.signal, found.preactivations, found.gradient)
        made.append([_plain([numbers[place] for place in PLACES]) for numbers in series])
    return made


def _critical(activation: theory.Activation, bias: float) -> float | None:
    try:
        return _plain([theory.critical_stddev(activation, bias)])[0]
    except ValueError:
        return None


def _plain(numbers: Iterable[float]) -> list[float | None]:
    """Numbers with ten digits; None for those that are not finite."""
    return [float(f"{each:.10g}") if math.isfinite(each) else None for each in numbers]


if __name__ == "__main__":
    kept = {}
    for each in exploring.activations():
        kept[each] = record_of(each)
        sys.stdout.write(f"{each}\n")
        sys.stdout.flush()
    lines = [f"{json.dumps(name)}: {json.dumps(record, separators=(',', ':'))}" for name, record in kept.items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
