"""How often each fault is found in tensors of each size: the table of docs/power.md."""

from __future__ import annotations

import math
from collections.abc import Callable

import ml_dtypes
import numpy as np

from fanin.audits.arrays import InMemory
from fanin.audits.judging.judgement import judge
from fanin.audits.judging.laws import Law, cut_normal, normal, uniform
from fanin.audits.judging.roles import roles_of
from fanin.audits.statistics import measure

SIDES = (8, 16, 32, 64, 128, 256, 512)  # of square matrices
DRAWS = 20
FLOAT32, BFLOAT16 = np.dtype("float32"), np.dtype(ml_dtypes.bfloat16)
Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]

NORMAL = normal(1.0, FLOAT32)
UNIFORM = uniform(math.sqrt(3), FLOAT32)
CUT = cut_normal(1.0, 2.0, FLOAT32)


def _normals(factor: float = 1.0, mean: float = 0.0) -> Draw:
    return lambda rng, shape: rng.normal(mean, factor, shape)


def _uniforms(factor: float = 1.0) -> Draw:
    return lambda rng, shape: rng.uniform(-1, 1, shape) * math.sqrt(3) * factor


def _cut(at: float) -> Draw:
    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        values = rng.normal(0, 1, shape)
        while (beyond := np.abs(values) > at).any():
            values[beyond] = rng.normal(0, 1, np.count_nonzero(beyond))
        return values

    return draw


def _two_spreads(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    values = rng.normal(0, 1, shape)
    values[: shape[0] // 2] *= 1.25
    return values


# What is expected, what came, and how it was drawn.
FAULTS: tuple[tuple[str, str, Law, Draw], ...] = (
    ("normal", "2 times the spread", NORMAL, _normals(2.0)),
    ("normal", "1.41 times the spread", NORMAL, _normals(math.sqrt(2))),
    ("normal", "1.1 times the spread", NORMAL, _normals(1.1)),
    ("normal", "1.02 times the spread", NORMAL, _normals(1.02)),
    ("uniform", "1.1 times the spread", UNIFORM, _uniforms(1.1)),
    ("uniform", "0.9 times the spread", UNIFORM, _uniforms(0.9)),
    ("normal", "a mean of 0.1 standard deviations", NORMAL, _normals(1.0, 0.1)),
    ("normal", "truncated at 1.5 standard deviations", NORMAL, _cut(1.5)),
    ("normal", "truncated at 2", NORMAL, _cut(2.0)),
    ("normal", "truncated at 3", NORMAL, _cut(3.0)),
    ("truncated at 2", "not truncated", CUT, _normals()),
    ("truncated at 2", "truncated at 2.5", CUT, _cut(2.5)),
    ("normal", "uniform of the same spread", NORMAL, _uniforms()),
    ("normal", "Laplace of the same spread", NORMAL, lambda rng, shape: rng.laplace(0, math.sqrt(0.5), shape)),
    ("normal", "clipped at 2", NORMAL, lambda rng, shape: np.clip(rng.normal(0, 1, shape), -2, 2)),
    ("normal", "half of the rows 1.25 times the spread", NORMAL, _two_spreads),
    ("normal", "drawn in bfloat16", NORMAL, lambda rng, shape: rng.normal(0, 1, shape).astype(BFLOAT16)),
    ("normal", "nothing wrong", NORMAL, _normals()),
)


def share_found(law: Law, draw: Draw, side: int) -> float:
    """How many of the tensors with a fault are not called consistent."""
    shape, found = (side, side), 0
    role = roles_of({"dense.kernel": (shape, FLOAT32)})["dense.kernel"]
    for seed in range(DRAWS):
        array = draw(np.random.default_rng(seed), shape).astype(np.float32)
        found += judge(measure(InMemory("dense.kernel", array)), role, law, ()).kind != "consistent"
    return found / DRAWS


def table() -> str:
    """The table in Markdown."""
    heads = ["expected", "what it is", *(f"{side}²" for side in SIDES)]
    lines = [heads, ["---", "---", *("---:" for _ in SIDES)]]
    for expected, words, law, draw in FAULTS:
        shares = [share_found(law, draw, side) for side in SIDES]
        lines.append([expected, words, *(f"{100 * share:.0f} %" for share in shares)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
