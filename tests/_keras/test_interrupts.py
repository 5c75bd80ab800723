"""`initialize` of Keras models that signals interrupt: each weight is old or new, and a second call completes them."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from interrupts import SIGNALS, handlers, interrupted
from keras_kit import Kit

SIZE = 2500


def wide(kit: Kit) -> Any:
    """A built model whose initialization takes a while, with ones in it."""
    layers = [kit.L.Dense(SIZE, name=name, kernel_initializer="ones", bias_initializer="ones") for name in "abc"]
    return kit.keras.Sequential([kit.keras.Input((SIZE,)), *layers])


@pytest.mark.parametrize("name", SIGNALS)
def test_signals(name: str, kit: Kit) -> None:
    """At random moments: what the handler raises comes out, and no weight is written in part."""
    chance = random.Random(7)
    complete = wide(kit)
    old = {path: values.tobytes() for path, values in kit.by_path(complete).items()}
    begin = time.perf_counter()
    kit.initialize(complete)
    whole, ended = time.perf_counter() - begin, 0
    new = {path: values.tobytes() for path, values in kit.by_path(complete).items()}
    with handlers():
        for attempt in range(60):  # on a machine that has just become idle, the first signals come too late
            if attempt >= 6 and ended:
                break
            model = wide(kit)
            error, _ = interrupted(lambda model=model: kit.initialize(model), name, chance.uniform(0, whole))
            ended += error is not None
            for path, values in kit.by_path(model).items():
                assert values.tobytes() in (old[path], new[path])
                if error is not None and values.tobytes() == old[path]:
                    assert type(error) is SIGNALS[name]
            kit.initialize(model)
            assert {path: values.tobytes() for path, values in kit.by_path(model).items()} == new
    assert ended


def test_the_note(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the weight that the call was at."""
    model, made = wide(kit), []

    def broken(entry: Any, region: Any = None) -> Any:
        made.append(entry.path)
        raise KeyboardInterrupt

    monkeypatch.setattr("fanin.recipes.entry.Entry.make", broken)
    with pytest.raises(KeyboardInterrupt) as caught:
        kit.initialize(model)
    (note,) = caught.value.__notes__
    assert f"while it made {made[0]}, " in note
