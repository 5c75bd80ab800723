"""Plans to write, and what folders hold, for the tests of checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fanin
from fanin.recipes import Plan

# Every dtype that fanin draws or fills with a constant and NumPy has, and those of ml_dtypes that files hold.
NUMPY_DTYPES = ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16")
NUMPY_DTYPES = (*NUMPY_DTYPES, "uint8", "bool", "complex64")
ML_DTYPES = ("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
RULES = [
    {"path": "*.float*", "initializer": "truncated_normal", "stddev": 0.5},
    {"path": "*.bfloat16*", "initializer": "random_uniform"},
    {"path": "*.bool*", "initializer": "constant", "value": True},
    {"path": "*.complex64*", "initializer": "constant", "value": 2.5},
    {"path": "q.*", "initializer": "orthogonal", "layout": "torch"},
    {"path": "w.*", "initializer": "random_normal"},
    {"path": "*", "initializer": "constant", "value": 3},
]


def plan_of(model: list[dict[str, Any]], rules: list[dict[str, Any]] = RULES, seed: int = 1) -> Plan:
    """The plan of a list of shapes."""
    return fanin.Recipe(rules, seed=seed).plan(model)


def mixed(dtypes: tuple[str, ...] = (*NUMPY_DTYPES, *ML_DTYPES)) -> Plan:
    """A plan of all these dtypes, in 0-d, empty, odd and larger tensors, in no order, with names of many kinds."""
    shapes = {"scalar": [], "empty": [0, 3], "odd": [3, 5, 1], "row": [257], 'a é"\\\n\x7f': [2, 2]}
    model = [
        {"path": f"{name}.{dtype}", "shape": shape, "dtype": dtype, "role": "other"}
        for dtype in reversed(dtypes)
        for name, shape in shapes.items()
    ]
    return plan_of(model)


def normal(rows: int = 64, count: int = 6, seed: int = 1) -> Plan:
    """A plan of equal float32 tensors of `rows` times 256 bytes."""
    return plan_of(
        [{"path": f"w.{number}", "shape": [rows, 64], "layout": "keras"} for number in range(count)], seed=seed
    )


def peak() -> int:
    """The largest memory that this process has had so far, in MiB, without that of the process that started it."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder, hidden ones too, by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
