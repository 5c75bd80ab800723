"""Models that come with Keras: a rule for each weight, spreads as planned, no two alike, twice the same."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import pytest

from keras_kit import Kit, preset

# the models, and by which presets
APPLICATIONS = [
    ("ResNet50", "keras"),
    ("ResNet50", "resnet"),
    ("MobileNetV2", "keras"),
    ("EfficientNetB0", "keras"),
    ("DenseNet121", "keras"),
]


def made(kit: Kit, name: str) -> Any:
    """A model for small images."""
    return getattr(kit.keras.applications, name)(weights=None, input_shape=(32, 32, 3), classes=10)


def digests(values: dict[str, np.ndarray]) -> dict[str, bytes]:
    """The hash of each array, by its path."""
    return {path: hashlib.blake2b(array.tobytes()).digest() for path, array in values.items()}


def check_spread(entry: Any, values: np.ndarray) -> None:
    """Mean and standard deviation are those of the plan to within four and a half standard errors."""
    count, mean, stddev = values.size, entry.mean, entry.stddev
    (placement,) = entry.placements
    kurtosis = placement.weight.distribution.moments.kurtosis
    wide = values.astype(np.float64)
    assert abs(wide.mean() - mean) <= 4.5 * stddev / math.sqrt(count), (entry.path, wide.mean(), mean)
    error = stddev * math.sqrt((kurtosis - 1) / 4 / count)
    assert abs(wide.std() - stddev) <= 4.5 * error, (entry.path, wide.std(), stddev)


@pytest.mark.parametrize(("name", "recipe"), APPLICATIONS)
def test_applications(name: str, recipe: str, kit: Kit) -> None:
    """Every weight has a rule and the spread of its plan, no two are alike, and a second model has the same ones."""
    model = made(kit, name)
    report = kit.initialize(model, preset(recipe))
    plan, values = report.plan, kit.by_path(model)
    assert not report.kept, report.kept
    assert set(report.filled) == set(values)
    assert len(values) == len(model.weights)
    assert not plan.equal_seeds, plan.equal_seeds
    assert not plan.tied
    large = [entry for entry in plan.entries if entry.seeds and entry.parameter.size > 1000]
    assert len(large) > 40
    for entry in large:
        check_spread(entry, values[entry.path])
    found = digests(values)
    drawn = [found[entry.path] for entry in plan.entries if entry.seeds]
    assert len(set(drawn)) == len(drawn)
    check_constants(name, recipe, values)
    kit.initialize(model, preset(recipe, 12))
    assert digests(kit.by_path(model))[large[0].path] != found[large[0].path]
    model = made(kit, name)
    again = kit.initialize(model, preset(recipe)).plan
    assert [entry.name for entry in again.entries] == [entry.name for entry in plan.entries]
    assert list(digests(kit.by_path(model)).values()) == list(found.values())


def check_constants(name: str, recipe: str, values: dict[str, np.ndarray]) -> None:
    """The weights that are not drawn: norms, the last ones of ResNet's blocks among them, and their statistics."""
    for path, array in values.items():
        leaf = path.rpartition(".")[2]
        if leaf in ("gamma", "moving_variance"):
            last = recipe == "resnet" and leaf == "gamma" and "_3_bn" in path
            assert (array == (0 if last else 1)).all(), path
        elif leaf in ("beta", "moving_mean"):
            assert not array.any(), path
    if name == "ResNet50" and recipe == "resnet":
        assert sum(not array.any() for path, array in values.items() if path.endswith("gamma")) == 16
        fan_out = 7 * 7 * 64
        kernel = values["conv1_conv.kernel"].astype(np.float64)
        assert abs(kernel.std() / math.sqrt(2 / fan_out) - 1) < 0.05
        assert abs(values["predictions.bias"]).max() < 1 / math.sqrt(2048)
        assert values["predictions.bias"].any()
