"""`initialize` of JAX trees that signals interrupt: nothing was written, and a second call has the same values."""

from __future__ import annotations

import random
import signal
import time
from functools import partial
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flax")

import jax
from flax import nnx

import fanin
from fanin.jax import initialize
from interrupts import SIGNALS, Stopped, handlers, interrupted

RECIPE = fanin.Recipe([{"path": "*", "initializer": "random_normal"}], seed=3)


def tree(value: float) -> dict[str, Any]:
    """Arrays that take a while to be made."""
    return {name: jax.numpy.full((2**12, 2**11), value) for name in "abcd"}


@pytest.mark.parametrize("name", SIGNALS)
def test_signals(name: str) -> None:
    """At random moments: the given arrays are what they were, and the second call's are those of any call."""
    chance, given = random.Random(7), tree(1.0)
    expected = {path: np.asarray(value).tobytes() for path, value in initialize(given, RECIPE)[0].items()}
    begin = time.perf_counter()
    initialize(given, RECIPE)
    whole, ended = time.perf_counter() - begin, 0
    with handlers():
        for _ in range(8):
            error, _ = interrupted(partial(initialize, given, RECIPE), name, chance.uniform(0, whole))
            if error is not None:
                assert type(error) is SIGNALS[name]
                assert not hasattr(error, "__notes__")
                ended += 1
            assert all((np.asarray(value) == 1.0).all() for value in given.values())
            again, _ = initialize(given, RECIPE)
            assert {path: np.asarray(value).tobytes() for path, value in again.items()} == expected
    assert ended


@pytest.mark.parametrize("called", ["RescalingNorm", "Rescaling"])
def test_a_signal_in_foreign_code(called: str) -> None:
    """An error of a layer's own code says that it is no norm; that of a handler meanwhile comes out."""

    class Rescaling(nnx.Module):
        def __init__(self) -> None:
            self.scale = nnx.Param(jax.numpy.zeros(4))

        def __call__(self, inputs: Any) -> Any:
            signal.raise_signal(signal.SIGALRM)
            return inputs * self.scale[...]

    Rescaling.__name__ = called
    with handlers(), pytest.raises(Stopped):
        initialize(Rescaling(), "flax", seed=1)
