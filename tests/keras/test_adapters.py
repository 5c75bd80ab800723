"""Pairs of low-rank matrices that `enable_lora` adds to layers of Keras 3."""

from typing import Any

import pytest

import fanin
from keras_kit import Kit

KIT = Kit("keras")


def lora_model() -> Any:
    """A model with a pair in each kind of layer that has them."""
    model = KIT.sequential(
        KIT.L.Embedding(7, 6, name="embedding"),
        KIT.L.Conv1D(5, 2, name="conv"),
        KIT.L.EinsumDense("abc,cd->abd", (None, 4), name="einsum"),
        KIT.L.Dense(3, name="dense"),
        shape=(4,),
    )
    for layer in model.layers:
        layer.enable_lora(2)
    return model


PAIRS = {
    "embedding": "lora_embeddings",
    "conv": "lora_kernel",
    "einsum": "lora_kernel",
    "dense": "lora_kernel",
}


@pytest.mark.parametrize("rules", ["preset", "catch-all"])
def test_adapters_leave_their_layers_as_they_are(rules: str) -> None:
    """The second matrix of each pair is zero and the first as Keras makes it, whatever catches all."""
    model = lora_model()
    recipe = None if rules == "preset" else fanin.Recipe([{"path": "*", "initializer": "random_normal"}], seed=11)
    KIT.initialize(model, recipe)
    values = KIT.by_path(model)
    for layer, pair in PAIRS.items():
        first, second = f"{layer}.{pair}_a", f"{layer}.{pair}_b"
        assert not values[second].any()
        expected = fanin.HeUniform(seed=11).spawn(first)(values[first].shape)
        assert values[first].tobytes() == expected.tobytes()


def test_roles_of_adapters() -> None:
    """A rule that names the role changes them."""
    model = lora_model()
    recipe = fanin.Recipe.preset("keras").extend([{"role": "lora_a", "initializer": "ones"}])
    KIT.initialize(model, recipe)
    assert all((KIT.by_path(model)[f"{layer}.{pair}_a"] == 1).all() for layer, pair in PAIRS.items())


def test_frozen_variables_are_reported() -> None:
    """The kernels that `enable_lora` froze are listed as frozen, and running statistics are not."""
    model = lora_model()
    report = KIT.initialize(model)
    assert report.frozen == ("embedding.embeddings", "conv.kernel", "einsum.kernel", "dense.kernel")
    norm = KIT.L.BatchNormalization()
    norm.build((None, 3))
    assert KIT.initialize(norm).frozen == ()
    norm.trainable = False
    assert len(KIT.initialize(norm).frozen) == 4
