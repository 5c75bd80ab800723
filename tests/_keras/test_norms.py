"""Norms of other packages and of users: known by running them."""

from __future__ import annotations

import importlib
import random
from typing import Any

import numpy as np
import pytest

import fanin
from keras_kit import Kit

# keras_hub's norm → (its module, its arguments, whether it scales by its weight)
HUB: dict[str, tuple[str, tuple[Any, ...], bool]] = {
    "RMSNormalization": ("gemma.rms_normalization", (), False),
    "Qwen3_5LayerNorm": ("qwen3_5.qwen3_5_layers", (), False),
    "EdRecRMSNormalization": ("edrec.edrec_layers", (), False),
    "LlamaLayerNorm": ("llama.llama_layernorm", (), True),
    "T5LayerNorm": ("t5.t5_layer_norm", (), True),
    "Gemma3nRMSNorm": ("gemma3n.rms_normalization", (8,), True),
    "RmsNorm2d": ("mobilenetv5.mobilenetv5_layers", (8,), True),
}


def own_norm(kit: Kit, shift: float, **more: Any) -> Any:
    """A class of a user's, which scales by its weight and the shift."""

    class OwnNorm(kit.L.Layer):
        """Divides by the size and has a scale and an offset."""

        def build(self, shape: Any) -> None:
            self.gamma = self.add_weight(name="gamma", shape=(shape[-1],), initializer="random_normal")
            self.beta = self.add_weight(name="beta", shape=(shape[-1],), initializer="zeros")
            super().build(shape)

        def call(self, inputs: Any) -> Any:
            size = sum(inputs[..., each : each + 1] ** 2 for each in range(inputs.shape[-1])) ** 0.5
            return inputs / size * (self.gamma + shift) + self.beta

    for name, value in more.items():
        setattr(OwnNorm, name, value)
    return OwnNorm


def roles(kit: Kit, layer: Any) -> dict[str, str]:
    """The roles of a model's parameters, by their paths."""
    return {entry.path: entry.parameter.role for entry in kit.plan(layer).entries}


@pytest.mark.parametrize(("shift", "role"), [(0.0, "scale"), (1.0, "other")])
def test_norms_of_users(shift: float, role: str, kit: Kit) -> None:
    """A norm that scales by one more than its weight has no scale; it is not run itself, and no seed is drawn."""
    layer = own_norm(kit, shift)(dtype="float16")
    layer.build((None, 5))
    before, state = kit.arrays(layer), random.getstate()
    assert roles(kit, layer) == {"gamma": role, "beta": "offset"}
    assert [each.tobytes() for each in kit.arrays(layer)] == [each.tobytes() for each in before]
    assert random.getstate() == state


@pytest.mark.parametrize(("shift", "role"), [(0.0, "scale"), (1.0, "other")])
def test_norms_of_other_names(shift: float, role: str, kit: Kit) -> None:
    """What a class is called makes no difference."""
    layer = type("Rescaled", (own_norm(kit, shift),), {})()
    layer.build((None, 5))
    assert roles(kit, layer) == {"gamma": role, "beta": "offset"}


def test_scales_of_layers_that_cannot_be_run(kit: Kit) -> None:
    """The name of the variable counts where the layer does not tell."""

    def refuse(*_: Any) -> Any:
        raise RuntimeError

    layer = type("Rescaled", (own_norm(kit, 0.0),), {"call": refuse})()
    layer.build((None, 5))
    assert roles(kit, layer) == {"gamma": "scale", "beta": "offset"}


def test_shifted_norms_are_not_written(kit: Kit) -> None:
    """A preset refuses such a weight before it writes anything, and a rule of one's own gives it its zeros."""
    model = kit.sequential(kit.L.Dense(4, name="dense"), own_norm(kit, 1.0)(name="norm"), shape=(3,))
    before = [each.tobytes() for each in kit.arrays(model)]
    with pytest.raises(fanin.recipes.PlanError, match=r"norm\.gamma"):
        kit.initialize(model)
    assert [each.tobytes() for each in kit.arrays(model)] == before
    recipe = fanin.Recipe.preset("keras").extend([{"path": "norm.gamma", "initializer": "zeros"}])
    kit.initialize(model, recipe)
    assert not kit.by_path(model)["norm.gamma"].any()


def test_norms_within_a_build(kit: Kit) -> None:
    """A model that is built later, in a call of its own, has its norms known too."""
    model = kit.sequential(kit.L.Dense(4, name="dense"), own_norm(kit, 0.0)(name="norm"))
    kit.initialize(model)
    model(np.ones((2, 3), np.float32))
    assert kit.by_path(model)["norm.gamma"].tolist() == [1.0] * 4


def test_norms_that_cannot_be_run(kit: Kit) -> None:
    """The part of a weight is unknown if its norm cannot be run, or its outputs show neither."""

    def fails(self: Any, inputs: Any) -> Any:
        raise KeyError(inputs)

    def constant(self: Any, inputs: Any) -> Any:
        return inputs

    for call in (fails, constant):
        layer = own_norm(kit, 0.0, call=call)()
        layer.build((None, 5))
        assert roles(kit, layer)["gamma"] == "other"


@pytest.mark.parametrize("name", HUB)
def test_norms_of_keras_hub(name: str) -> None:
    """Gemma's norms and their kin are told from those that scale by their weight."""
    pytest.importorskip("keras_hub")
    module, arguments, scales = HUB[name]
    layer = getattr(importlib.import_module(f"keras_hub.src.models.{module}"), name)(*arguments)
    layer.build((2, 3, 8))
    assert list(roles(Kit("keras"), layer).values()) == ["scale" if scales else "other"]


def test_a_gemma_of_keras_hub() -> None:
    """With a rule for its norms, a Gemma has zeros there; without one, the preset does not fit."""
    hub, kit = pytest.importorskip("keras_hub"), Kit("keras")
    model = hub.models.GemmaBackbone(
        vocabulary_size=50,
        num_layers=2,
        num_query_heads=2,
        num_key_value_heads=1,
        hidden_dim=8,
        intermediate_dim=16,
        head_dim=4,
    )
    recipe = fanin.Recipe.preset("llama", seed=1)
    norms = ["decoder_block_0.pre_attention_norm.scale", "final_normalization.scale"]
    with pytest.raises(fanin.recipes.PlanError, match="scale"):
        kit.initialize(model, recipe)
    kit.initialize(model, recipe.extend([{"layer": "RMSNormalization", "initializer": "zeros"}]))
    assert not any(kit.by_path(model)[each].any() for each in norms)
