"""The same code has the same names and weights in tf_keras and in Keras 3 on every backend: those that are recorded.

`FANIN_RECORD=1 python -m pytest tests/_keras/test_same_weights.py` records those of tf_keras anew. A change of a
recorded hash is a breaking change.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

import fanin
from keras_kit import BACKEND, GOLDEN, SEED, Kit, answers, ones
from keras_models import MODELS, ROWS, built, everything, picture

RECORDED = GOLDEN / "keras_models.jsonl"
RECORDING = os.environ.get("FANIN_RECORD") == "1" and BACKEND == "tensorflow"
DIFFERENT = (
    "Bidirectional of two",  # tf_keras renames the second one
    "Normalization",  # the counters' dtypes differ
)


def called(make: Callable[[Kit], Any], kit: Kit) -> Any:
    """A model that has been called."""
    model = make(kit)
    model(ones(1, 4))
    return model


MAKERS: dict[str, Callable[[Kit], Any]] = {
    "picture": picture,
    **{name: partial(called, make) for name, make in MODELS.items()},
    **{
        name: partial(built, name=name)
        for name, row in ROWS.items()
        if len(row.libraries) == 2 and name not in DIFFERENT
    },
}


@pytest.fixture(scope="module")
def recorded() -> Iterator[dict[str, dict[str, str]]]:
    """The hash of every weight by the model and the name under which it is drawn."""
    rows = [json.loads(line) for line in RECORDED.read_text(encoding="utf-8").splitlines()] if not RECORDING else []
    found = {row["model"]: row["weights"] for row in rows}
    yield found
    if RECORDING:
        lines = [json.dumps({"model": name, "weights": weights}) + "\n" for name, weights in found.items()]
        RECORDED.write_text("".join(lines), encoding="utf-8")


def digest(values: np.ndarray) -> str:
    """A hash of an array's bytes."""
    return hashlib.blake2b(values.tobytes(), digest_size=8).hexdigest()


# The bits of orthogonal matrices are those of the machine's LAPACK, so there is nothing to record.
ORTHOGONAL = """
import json, sys, fanin
seed, name, shape = map(json.loads, sys.argv[1:])
print(json.dumps(fanin.Orthogonal(seed=seed).spawn(name)(shape).tobytes().hex()))
"""


@pytest.mark.parametrize("name", MAKERS)
def test_same_weights_everywhere(name: str, kit: Kit, recorded: dict[str, dict[str, str]]) -> None:
    """Names, and bytes of weights, are the recorded ones; orthogonal ones are those of a process with fanin alone."""
    model = MAKERS[name](kit)
    plan = kit.initialize(model, everything()).plan
    found = {}
    for entry, values in zip(plan.entries, kit.by_name(model).values(), strict=True):
        found[entry.name] = digest(values)
        if isinstance(entry.initializer, fanin.Orthogonal):
            found[entry.name] = "orthogonal"
            assert values.tobytes().hex() == answers(ORTHOGONAL, SEED, entry.name, values.shape)
    if RECORDING and kit.name == "tf_keras":
        recorded[name] = found
    assert found == recorded[name]


def test_all_models_are_recorded(recorded: dict[str, dict[str, str]]) -> None:
    """The file has every model and no other, and most weights are not orthogonal."""
    assert list(recorded) == list(MAKERS)
    hashes = [value for weights in recorded.values() for value in weights.values()]
    assert len(hashes) > 180
    assert hashes.count("orthogonal") < 20
