"""The table of the documentation that says where bits are equal, generated anew and compared with the page."""

import json
import os
import subprocess
import sys
from pathlib import Path

import ml_dtypes  # noqa: F401 (NumPy then knows bfloat16)
import numpy as np
import pytest

from catalogue import FLOATS

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "docs/frameworks.md"
# heading → what makes the column, the backend of Keras 3
COLUMNS = {
    "tf_keras itself": ("tf_keras itself", ""),
    "fanin.tf_keras": ("fanin.tf_keras", ""),
    "fanin.keras, TensorFlow": ("fanin.keras", "tensorflow"),
    "fanin.keras, JAX": ("fanin.keras", "jax"),
    "fanin.keras, PyTorch": ("fanin.keras", "torch"),
    "fanin.torch": ("fanin.torch", ""),
    "fanin.jax": ("fanin.jax", ""),
}
Cells = dict[str, dict[str, list[str] | None]]


def made(name: str, backend: str) -> Cells:
    """A column, made in a process of its own: Keras 3 has one backend in each."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_ENABLE_X64": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-W", "ignore", str(FOLDER / "bits_column.py"), name]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def sign(ours: list[str] | None, theirs: list[str] | None, dtype: str) -> str:
    """= for equal bits, ≈ for values that agree to rounding, ≠ for others, – where there are none."""
    assert ours is not None
    if theirs is None:
        return "–"
    if ours == theirs:
        return "="
    tolerance = {"float16": 1e-2, "float32": 1e-5, "float64": 1e-12}[dtype]
    pairs = [[np.frombuffer(bytes.fromhex(each), dtype) for each in pair] for pair in zip(ours, theirs, strict=True)]
    return "≈" if all(np.abs(a.astype(float) - b.astype(float)).max() <= tolerance for a, b in pairs) else "≠"


def table(columns: dict[str, Cells], plain: Cells) -> str:
    """The table, in Markdown."""
    lines = [f"| | {' | '.join(columns)} |", f"| --- |{' :---: |' * len(columns)}"]
    for name, ours in plain.items():
        cells = [" ".join(sign(ours[dtype], each[name][dtype], dtype) for dtype in FLOATS) for each in columns.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def test_the_table_of_bits() -> None:
    """The page has the table that the frameworks give today. FANIN_WRITE_BITS=1 writes it."""
    for framework in ("tensorflow", "tf_keras", "keras", "torch", "jax"):
        pytest.importorskip(framework)
    columns = {heading: made(*column) for heading, column in COLUMNS.items()}
    written, page = table(columns, made("fanin", "")), PAGE.read_text(encoding="utf-8")
    assert len(written.splitlines()) == 2 + 15
    begin, end = "<!-- bits -->\n", "\n<!-- /bits -->"
    before, _, rest = page.partition(begin)
    found, _, after = rest.partition(end)
    if os.environ.get("FANIN_WRITE_BITS"):
        PAGE.write_text(before + begin + written + end + after, encoding="utf-8")
    else:
        assert found == written


def test_a_difference_is_shown() -> None:
    """One bit in one tensor changes the table."""
    ours = [np.arange(4, dtype=np.float32).tobytes().hex()]
    theirs = [np.array([0, 1, 2, np.nextafter(np.float32(3), 4)], np.float32).tobytes().hex()]
    assert [sign(ours, each, "float32") for each in (ours, theirs, [ours[0][:-2] + "7f"], None)] == ["=", "≈", "≠", "–"]
