"""Audits of Keras 3 models, as Keras initializes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")

import fanin.keras  # noqa: E402


@pytest.fixture(scope="module")
def application() -> Any:
    """MobileNetV2, as Keras initializes it."""
    keras.utils.set_random_seed(3)
    return keras.applications.MobileNetV2(weights=None, input_shape=(96, 96, 3), classes=100)


def test_an_application(application: Any) -> None:
    """Nothing is wrong, and everything is consistent with the initializers that the layers have."""
    found = fanin.audit(application)
    assert found, str(found)
    assert found.source == "the model's own code"
    assert found.counts["consistent"] == len(found), str(found)


@pytest.mark.parametrize("units", [2, 20])
@pytest.mark.parametrize("layer", ["LSTM", "GRU", "SimpleRNN"])
def test_recurrent_layers_in_both_directions(layer: str, units: int) -> None:
    """The biases of both directions are equal, as they should be: a forget gate's are ones."""
    keras.utils.set_random_seed(1)
    both = keras.layers.Bidirectional(getattr(keras.layers, layer)(units))
    found = fanin.audit(keras.Sequential([keras.Input((5, 3)), both]))
    assert found.counts["consistent"] == len(found), str(found)


def test_a_doubled_kernel(application: Any) -> None:
    """A kernel of twice the spread is suspicious, and nothing else is."""
    kernel = application.get_layer("block_5_expand").kernel
    before = keras.ops.convert_to_numpy(kernel)
    kernel.assign(2 * before)
    try:
        found = fanin.audit(application)
    finally:
        kernel.assign(before)
    assert [problem.code for each in found.findings for problem in each.verdict.problems] == ["stddev"]
    assert "block_5_expand" in found.findings[0].name


def test_a_recipe(application: Any) -> None:
    """A model that fanin has initialized is exact."""
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16), keras.layers.Dense(2)])
    recipe = fanin.Recipe(
        [{"role": "kernel", "initializer": "he_normal"}, {"path": "*", "initializer": "zeros"}], seed=1
    )
    fanin.keras.initialize(model, recipe)
    assert fanin.audit(model, recipe).counts["exact"] == 4
    model.layers[0].kernel.assign(np.zeros((8, 16)))
    assert [each.verdict.problems[0].code for each in fanin.audit(model, recipe).findings] == ["zeros"]


def test_files(application: Any, tmp_path: object) -> None:
    """The file of a model's weights, alone and beside the model."""
    path = f"{tmp_path}/model.weights.h5"
    application.save_weights(path)
    assert fanin.audit(path), str(fanin.audit(path))
