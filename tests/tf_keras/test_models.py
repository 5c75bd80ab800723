"""`fanin.tf_keras.initialize`, where tf_keras is not as Keras 3; tests/_keras has what they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from keras_kit import Kit
from keras_models import check_added

# what a layer does, and the dtype of its weight
BY_POSITION: dict[str, tuple[Callable[[Any], Any], str]] = {
    "name": (lambda layer: layer.add_weight("w", shape=(3, 4)), "float32"),
    "name, shape": (lambda layer: layer.add_weight("w", (3, 4)), "float32"),
    "name, shape, dtype": (lambda layer: layer.add_weight("w", (3, 4), "float16"), "float16"),
    "name, shape, dtype, initializer": (lambda layer: layer.add_weight("w", (3, 4), None, "zeros"), "float32"),
}


@pytest.mark.parametrize("late", [False, True], ids=["built", "unbuilt"])
@pytest.mark.parametrize("arguments", BY_POSITION)
def test_weights_by_position(arguments: str, late: bool, kit: Kit) -> None:
    """tf_keras's `add_weight(name, shape, dtype, initializer)` takes one to four by position."""
    add, dtype = BY_POSITION[arguments]
    check_added(kit, late, lambda layer: [add(layer)], ["w"], [dtype])
