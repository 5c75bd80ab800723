"""Models of tf_keras, and of Keras 3 on each backend, from one recipe; each has a process of its own."""

from __future__ import annotations

import functools
import json
import pathlib

import pytest

import keras_models  # noqa: F401 (which registers all cases)
from keras_kit import CASES
from test_keras import need, run_python

PLACES = {"tf_keras": ("tf_keras", "tensorflow"), **{each: ("keras", each) for each in ("tensorflow", "jax", "torch")}}
RUNS = [(place, name) for place, (library, _) in PLACES.items() for name in CASES if library in CASES[name].libraries]


@functools.cache
def outcomes(place: str) -> tuple[dict[str, str], str]:
    """What keras_models.py found, by case, in the process of a place; and what it printed besides."""
    library, backend = PLACES[place]
    script = pathlib.Path(__file__).with_name("keras_models.py")
    code, output, errors = run_python(script, library, KERAS_BACKEND=backend)
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("[")]
    return dict(lines), f"The process ended with {code}.\n{errors[-5000:]}"


@pytest.mark.parametrize(("place", "name"), RUNS, ids=[f"{place}-{name}" for place, name in RUNS])
def test_case(place: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The case holds in the library and on the backend of the place."""
    library, backend = PLACES[place]
    if library == "tf_keras":
        pytest.importorskip("tf_keras")
    else:
        need(backend, monkeypatch)
    found, more = outcomes(place)
    assert name in found, more
    assert not found[name], found[name]
