"""`fanin.keras.initialize`, where Keras 3 is not as tf_keras; tests/_keras has what they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from keras_kit import Kit, normal, ones, same
from keras_models import PATHS, check_added, small

# what a layer does, and the dtype of its weight
BY_POSITION: dict[str, tuple[Callable[[Any], Any], str]] = {
    "shape": (lambda layer: layer.add_weight((3, 4), name="w"), "float32"),
    "shape, initializer": (lambda layer: layer.add_weight((3, 4), "zeros", name="w"), "float32"),
    "shape, initializer, dtype": (lambda layer: layer.add_weight((3, 4), "zeros", "float16", name="w"), "float16"),
}


@pytest.mark.parametrize("late", [False, True], ids=["built", "unbuilt"])
@pytest.mark.parametrize("arguments", BY_POSITION)
def test_weights_by_position(arguments: str, late: bool, kit: Kit) -> None:
    """Keras 3's `add_weight(shape, initializer, dtype)` takes one to three by position."""
    add, dtype = BY_POSITION[arguments]
    check_added(kit, late, lambda layer: [add(layer)], ["w"], [dtype])


def test_seeds_of_dropout(kit: Kit) -> None:
    """The states of seed generators are neither planned nor changed."""
    dropout = kit.L.Dropout(0.5, seed=7)
    model = small(kit, dropout)
    dropout(ones(2, 4), training=True)
    before = kit.array(dropout.seed_generator.state)
    assert before.tolist() != [7, 0]
    report = kit.initialize(model, normal())
    assert sorted(report.filled) == sorted(PATHS)
    same(kit.array(dropout.seed_generator.state), before)
