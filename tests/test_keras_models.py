"""Models of tf_keras, and of Keras 3 on each backend, from one recipe; each has a process of its own."""

from __future__ import annotations

import functools
import json
import pathlib
from typing import Any

import pytest

import keras_models  # noqa: F401 (which registers all cases)
from keras_kit import CASES
from test_keras import need, run_python

PLACES = {"tf_keras": ("tf_keras", "tensorflow"), **{each: ("keras", each) for each in ("tensorflow", "jax", "torch")}}
RUNS = [(place, name) for place, (library, _) in PLACES.items() for name in CASES if library in CASES[name].libraries]


@functools.cache
def outcomes(place: str) -> tuple[dict[str, Any], str]:
    """What keras_models.py found, by case, in the process of a place; and how it ended."""
    library, backend = PLACES[place]
    script = pathlib.Path(__file__).with_name("keras_models.py")
    code, output, errors = run_python(script, library, KERAS_BACKEND=backend)
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("[")]
    return dict(lines), f"The process ended with {code}.\n{errors[-5000:]}"


def found_in(place: str, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], str]:
    """The same; skips a test where the place is missing."""
    library, backend = PLACES[place]
    if library == "tf_keras":
        pytest.importorskip("tf_keras")
    else:
        need(backend, monkeypatch)
    return outcomes(place)


@pytest.mark.parametrize(("place", "name"), RUNS, ids=[f"{place}-{name}" for place, name in RUNS])
def test_case(place: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The case holds in the library and on the backend of the place."""
    found, more = found_in(place, monkeypatch)
    assert name in found, more
    assert not found[name], found[name]


@pytest.mark.parametrize("place", list(PLACES)[1:])
def test_same_weights_everywhere(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same code has the same names and weights in tf_keras and in Keras 3 on every backend."""
    expected, found = (found_in(each, monkeypatch)[0].get("hashes", {}) for each in ("tf_keras", place))
    assert len(expected) > 180
    assert found == expected
