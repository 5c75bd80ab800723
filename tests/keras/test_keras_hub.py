"""Presets on keras_hub's models: every rule that sets a scale is used, and residual projections have theirs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras")

import keras

import fanin.keras
from agreement import check_plan
from fanin.recipes import Recipe
from keras_kit import Kit

models = pytest.importorskip("keras_hub").models
pytestmark = pytest.mark.filterwarnings("ignore")  # those of keras_hub
DEPTH = 3
SHIFTED = [{"layer": "RMSNormalization", "initializer": "zeros"}]  # Gemma's norms scale by one more than their weight
SHIFTED_OPTIONAL = [{**SHIFTED[0], "optional": True}]
DOWN = ("attention_output", "feedforward_output_dense", "ffw_linear")
MODELS: dict[str, tuple[str, Callable[[], Any]]] = {
    "GPT-2": ("gpt2", lambda: models.GPT2Backbone(90, DEPTH, 4, 96, 160, max_sequence_length=64)),
    "Llama": ("llama", lambda: models.LlamaBackbone(90, DEPTH, 4, 96, 160, 2)),
    "Gemma": ("llama", lambda: models.GemmaBackbone(90, DEPTH, 4, 2, 96, 320, 24)),
    "Mistral": ("llama", lambda: models.MistralBackbone(90, DEPTH, 4, 96, 160, 2)),
    "BERT": ("bert", lambda: models.BertBackbone(90, DEPTH, 4, 96, 160, max_sequence_length=64)),
    "ViT": ("vit", lambda: models.ViTBackbone((32, 32, 3), 16, DEPTH, 4, 96, 160)),
}


@pytest.mark.parametrize("name", MODELS)
def test_presets(name: str) -> None:
    """No warning, and measured standard deviations that are those of the preset."""
    preset, make = MODELS[name]
    model = make()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        report = fanin.keras.initialize(model, Recipe.preset(preset).extend(SHIFTED), seed=1)
    assert report.plan.unmet == ()
    residual = 0
    for entry in report.plan.entries:
        if entry.parameter.role == "kernel" and preset in ("gpt2", "llama"):
            down = entry.path.split(".")[-2] in DOWN
            residual += down
            stddev = 0.02 / (2 * DEPTH) ** 0.5 if down else 0.02
            assert np.std(entry.make()) == pytest.approx(stddev * (1 if preset == "gpt2" else 0.8796), rel=0.05)
    assert residual == (2 * DEPTH if preset in ("gpt2", "llama") else 0)


MADE: dict[str, Callable[[], Any]] = {
    **{name: make for name, (_, make) in MODELS.items()},
    "T5": lambda: models.T5Backbone(90, DEPTH, 4, 96, 160, key_value_dim=24),  # whose norms have no configuration
    "Bloom": lambda: models.BloomBackbone(90, DEPTH, 4, 96, 160),  # which has layers that are never built
    "Mixtral": lambda: models.MixtralBackbone(90, DEPTH, 4, 96, 160, 2, 4),
}


@pytest.mark.parametrize("name", MADE)
def test_own_initializers(name: str, kit: Kit) -> None:
    """The recipe of a model's own initializers agrees with what the model draws, and is short."""
    keras.utils.set_random_seed(2)
    model = MADE[name]()
    recipe = fanin.keras.recipe_of(model, seed=1)
    check_plan(recipe.plan(model), kit.by_path(model), beyond=kit.beyond)
    assert len(recipe.rules) <= 8


def test_position_embeddings() -> None:
    """GPT-2's are half as wide as its tokens."""
    plan = Recipe.preset("gpt2").plan(MODELS["GPT-2"][1]())
    assert plan.entry("position_embedding.embeddings").stddev == pytest.approx(0.01)
    assert plan.entry("token_embedding.embeddings").stddev == pytest.approx(0.02)


def test_t5_needs_numbers() -> None:
    """Its sizes are not in the model's configuration as Hugging Face has it, which is an error rather than a guess.

    Nor can a copy of its norms be made to see how they scale: they have no configuration.
    """
    model = models.T5Backbone(90, DEPTH, 4, 96, 160, key_value_dim=24)
    complaints = "\n".join(Recipe.preset("t5").plan(model).complaints())
    assert "needs config.d_kv, which is unknown here" in complaints
    numbers = [
        {"path": "*self_attention.embeddings", "initializer": "random_normal", "stddev": "1 / sqrt(96)"},
        {"path": "*query_projector.kernel", "initializer": "random_normal", "stddev": "1 / sqrt(fan_in * 24)"},
        {"layer": "T5LayerNorm", "initializer": "ones"},
    ]
    assert Recipe.preset("t5").extend(numbers).plan(model).complaints() == []


def test_other_models_are_warned_of() -> None:
    """A preset for another architecture says that its residual projections are not there."""
    model = keras.Sequential([keras.layers.Dense(3)])
    model.build((None, 3))
    with pytest.warns(UserWarning, match=r"uses rule 1 \(line \d+\) “residual projections”, rule 3"):
        report = fanin.keras.initialize(model, "gpt2")
    assert "used by no parameter: rule 1" in str(report)


NORMAL = {"initializer": "random_normal", "stddev": 0.02}
NARROW = {"initializer": "random_normal", "stddev": 0.01}
TRUNCATED = {"initializer": "truncated_normal", "stddev": 0.02}
FAN_IN: dict[str, Any] = {"initializer": "variance_scaling", "mode": "fan_in", "distribution": "untruncated_normal"}
TABLES = {"role": "embedding"}
# What each model's own code does, as rules.
OWN: dict[str, list[dict[str, Any]]] = {
    "GPT-2": [{"path": "token_embedding.*", **NARROW}, {"role": ["kernel", "embedding"], **NORMAL}],
    "Llama": [{"path": "token_embedding.*", **NARROW}, {"role": "kernel", **NORMAL}],
    "Gemma": [{**TABLES, **FAN_IN}, {"role": "kernel", "initializer": "glorot_uniform"}],
    "BERT": [{"role": ["kernel", "embedding"], **TRUNCATED}],
}
CONSTANTS = [{"role": "scale", "initializer": "ones"}, {"role": ["bias", "offset"], "initializer": "zeros"}]


@pytest.mark.parametrize("name", OWN)
def test_deviations(name: str) -> None:
    """With a recipe that says what a model's own code does, every deviation is that of the own code."""
    make = MODELS[name][1]
    keras.utils.set_random_seed(1)
    theirs, ours = make(), make()
    fanin.keras.initialize(ours, Recipe([*SHIFTED_OPTIONAL, *OWN[name], *CONSTANTS], seed=1))
    for one, other in zip(ours.weights, theirs.weights, strict=True):
        values, expected = (np.asarray(keras.ops.convert_to_numpy(each), np.float64) for each in (one, other))
        error = 6 * expected.std() / np.sqrt(values.size)  # of two samples; the widest distribution is normal
        assert abs(values.std() - expected.std()) <= error, one.path
