"""Tables of plans: repeated blocks in one row, to the letter."""

import re

import pytest

from recipe_kit import KERNEL, NORMAL, planned

FOLDED = {
    "a range": (["l.0.w", "l.1.w", "l.2.w"], ["l.[0-2].w"]),
    "gaps": (["l.0.w", "l.1.w", "l.4.w", "l.6.w", "l.7.w"], ["l.[0-1,4,6-7].w"]),
    "one": (["l.3.w"], ["l.3.w"]),
    "nested": ([f"l.{i}.h.{j}.w" for i in range(2) for j in range(3)], ["l.[0-1].h.[0-2].w"]),
    "ragged": (["l.0.h.0.w", "l.0.h.1.w", "l.1.h.0.w"], ["l.0.h.[0-1].w", "l.1.h.0.w"]),
    "names": (["block_1.w", "block_2.w", "block_x.w", "_3.w"], ["block_[1-2].w", "block_x.w", "_3.w"]),
    "braces": (["{}.0.w", "{}.1.w", "{0}.w"], ["{}.[0-1].w", "{0}.w"]),
    "no dots": (["0", "1", "w"], ["[0-1]", "w"]),
    "zeros in front": (["l.01.w", "l.1.w"], ["l.01.w", "l.1.w"]),
}


@pytest.mark.parametrize("name", list(FOLDED))
def test_folding(name: str) -> None:
    """Parameters of repeated blocks are one row, where all but the seeds is the same."""
    paths, rows = FOLDED[name]
    plan = planned([NORMAL], *paths)
    table = plan.table().split("\n\n")[0].splitlines()
    assert [line.split()[0] for line in table] == ["path", *rows]
    assert [line.split()[0] for line in plan.table(fold=False).split("\n\n")[0].splitlines()] == ["path", *paths]


WORDS = ["kernel", "rule 1", "RandomNormal(mean=0, stddev=0.001)"]


def test_table() -> None:
    """The table to the letter."""
    model = [{"path": f"layers.{number}.mlp.w1", "shape": [2, 3], "layer": "Dense", **KERNEL} for number in range(32)]
    model[3]["shape"] = [3, 3]
    plan = planned([{**NORMAL, "stddev": 0.001}], *model, {"path": "b", "shape": [], "dtype": "float64", "tied": ["c"]})
    seeds = [str(plan.entries[number].seeds[0]) for number in (3, 32)]
    assert [re.split(" {2,}", line) for line in plan.table().splitlines()[:4]] == [
        ["path", "shape", "dtype", "layout", "layer", "role", "rule", "initializer", "fans", "std", "seed"],
        ["layers.[0-2,4-31].mlp.w1", "2×3", "float32", "keras", "Dense", *WORDS, "2→3", "0.001", "31 seeds"],
        ["layers.3.mlp.w1", "3×3", "float32", "keras", "Dense", *WORDS, "3→3", "0.001", seeds[0]],
        ["b", "()", "float64", "other", *WORDS[1:], "0.001", seeds[1]],
    ]
    assert [line.find("  0.001  ") for line in plan.table().splitlines()[1:4]] == [plan.table().find("  std")] * 3
    assert "a list of shapes: 33 parameters, 196 elements, 788 bytes, seed 7" in plan.table().splitlines()
    assert "tied: b is also c" in plan.table().splitlines()
    assert (plan.size, plan.nbytes, plan.tied) == (196, 788, {"b": ("c",)})
    assert repr(plan) == "<Plan of 33 parameters of a list of shapes, seed 7>"
