"""The table of docs/frameworks.md that says where bits are equal, generated anew and compared with the page."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import ml_dtypes  # noqa: F401 (NumPy then knows bfloat16)
import numpy as np
import pytest

import bits_column
from catalogue import CATALOGUE, FLOATS, KERAS

PAGE = Path(__file__).parents[2] / "docs/frameworks.md"
BEGIN, END = "<!-- bits -->\n", "\n<!-- /bits -->"
# heading → what makes the column, the backend of Keras 3, what must be installed
HEADINGS = {
    "tf_keras itself": ("tf_keras itself", "", ("tensorflow", "tf_keras")),
    "fanin.tf_keras": ("fanin.tf_keras", "", ("tensorflow", "tf_keras")),
    "fanin.keras, TensorFlow": ("fanin.keras", "tensorflow", ("tensorflow", "keras")),
    "fanin.keras, JAX": ("fanin.keras", "jax", ("jax", "keras")),
    "fanin.keras, PyTorch": ("fanin.keras", "torch", ("torch", "keras")),
    "fanin.torch": ("fanin.torch", "", ("torch",)),
    "fanin.jax": ("fanin.jax", "", ("jax",)),
}
Cells = dict[str, dict[str, list[str] | None]]


@functools.cache
def made(column: str, backend: str = "") -> Cells:
    """A column, made in a process of its own: Keras 3 has one backend in each."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_ENABLE_X64": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-W", "ignore", bits_column.__file__, column]
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


def signs(heading: str) -> dict[str, str]:
    """A column of the table, by class."""
    column, backend, _ = HEADINGS[heading]
    theirs, plain = made(column, backend), made("fanin")
    return {
        name: " ".join(sign(ours[dtype], theirs[name][dtype], dtype) for dtype in FLOATS)
        for name, ours in plain.items()
    }


def written() -> str:
    """The whole table, in Markdown."""
    columns = [signs(heading) for heading in HEADINGS]
    rows = [f"| {name} | {' | '.join(column[name] for column in columns)} |" for name in columns[0]]
    return "\n".join([f"| | {' | '.join(HEADINGS)} |", f"| --- |{' :---: |' * len(HEADINGS)}", *rows])


@pytest.fixture(scope="module")
def page() -> dict[str, dict[str, str]]:
    """The columns that the page has, by heading and class. FANIN_WRITE_BITS=1 writes the table anew before."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    found, _, after = rest.partition(END)
    if os.environ.get("FANIN_WRITE_BITS") == "1":
        found = written()
        PAGE.write_text(before + BEGIN + found + END + after, encoding="utf-8")
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in found.splitlines()]
    (_, *headings), rule, *rows = lines
    assert rule == ["---", *[":---:"] * len(headings)]
    return {heading: {name: cells[number] for name, *cells in rows} for number, heading in enumerate(headings)}


def test_the_page_has_every_column_and_class(page: dict[str, dict[str, str]]) -> None:
    """A column for each way, and in each a row for each of the fifteen classes."""
    assert list(page) == list(HEADINGS)
    classes = dict.fromkeys(type(CATALOGUE[name][0]).__name__ for name in KERAS)
    assert len(classes) == 15
    for column in page.values():
        assert list(column) == list(classes)


@pytest.mark.parametrize("heading", HEADINGS)
def test_columns(heading: str, page: dict[str, dict[str, str]]) -> None:
    """The page has the column that the framework gives today."""
    for package in HEADINGS[heading][2]:
        pytest.importorskip(package)
    assert page[heading] == signs(heading)


def test_a_difference_is_shown() -> None:
    """One bit in one tensor changes the table."""
    ours = [np.arange(4, dtype=np.float32).tobytes().hex()]
    theirs = [np.array([0, 1, 2, np.nextafter(np.float32(3), 4)], np.float32).tobytes().hex()]
    assert [sign(ours, each, "float32") for each in (ours, theirs, [ours[0][:-2] + "7f"], None)] == ["=", "≈", "≠", "–"]
