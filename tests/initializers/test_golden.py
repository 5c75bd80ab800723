"""Recorded calls of tf_keras 2.21 (golden/tf_keras_2_21.jsonl): equal bytes, on every tier, with 1, 2 and 7 threads."""

import hashlib
import json
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  (gives NumPy the name bfloat16)
import numpy as np
import pytest

import fanin
from fanin._core.settings import TIERS

ROWS: list[dict[str, Any]] = [
    json.loads(line) for line in (Path(__file__).parents[1] / "golden/tf_keras_2_21.jsonl").read_text().splitlines()
]
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}  # of Orthogonal: no two QR routines agree to the last bit


def mistakes(row: dict[str, Any]) -> list[str]:
    """What a call returns otherwise than tf_keras did."""
    initializer = getattr(fanin, row["class"])(**row["config"])
    call = {name: tuple(value) for name, value in row["call"].items()}
    result = initializer(row["shape"], dtype=row["dtype"], **call)
    if list(result.shape) != row["result_shape"] or result.dtype.name != row["dtype"]:
        return [f"shape {result.shape}, dtype {result.dtype}"]
    bits = result.reshape(-1)[:8].view(f"u{result.dtype.itemsize}") if result.dtype.kind not in "bc" else None
    if "bytes" in row:
        recorded = np.frombuffer(bytes.fromhex(row["bytes"]), row["dtype"]).reshape(result.shape)
        furthest = float(np.abs(result - recorded).max(initial=0))
        return [] if furthest <= TOLERANCE[row["dtype"]] else [f"{furthest} away"]  # NaN is far
    digest = hashlib.sha256(result.astype(result.dtype.newbyteorder("<")).tobytes()).hexdigest()
    if digest == row["sha256"]:
        return []
    return [f"bits {[] if bits is None else [format(each, 'x') for each in bits.tolist()]} for {row['head']}"]


def test_all_rows_are_here() -> None:
    """The recording is the whole one."""
    assert len(ROWS) == 2134
    assert sum("bytes" in row for row in ROWS) == 56


@pytest.mark.parametrize(
    ("tier", "threads"),
    [(tier, threads) for tier in TIERS for threads in (1, 2, 7) if tier != "reference" or threads == 1],
)
def test_every_row(tier: str, threads: int, many_threads: None) -> None:
    """Every recorded call returns tf_keras's bytes."""
    found, seeded = [], None
    with fanin.config.using(tier=tier, threads=threads):
        for number, row in enumerate(ROWS):
            if (seed := row.get("set_random_seed")) is not None and seed != seeded:
                fanin.utils.set_random_seed(seed)
            seeded = seed
            found += [(number, row["class"], row["config"], row["shape"], each) for each in mistakes(row)]
    assert found == []


def test_a_changed_row_is_noticed() -> None:
    """The comparison can fail: another seed gives other bytes, another matrix is too far away."""
    for name in ("HeNormal", "Orthogonal"):
        row = next(
            row for row in ROWS if row["class"] == name and row["config"].get("seed") == 1 and len(row["head"]) > 1
        )
        assert mistakes(row) == []
        assert mistakes({**row, "config": {**row["config"], "seed": 2}}) != []
