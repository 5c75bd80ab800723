"""Recipes of what a model's own code draws for each parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import fanin
from fanin.models.lists import described_list
from fanin.models.parameters import Model
from fanin.recipes.readings import Reading, Readings, reading


def model(*shapes: dict[str, Any]) -> Model:
    """A model of shapes."""
    return described_list(list(shapes))


KERNEL = {"path": "fc.kernel", "shape": [12, 40], "role": "kernel", "layout": "keras", "layer": "Dense"}
BIAS = {"path": "fc.bias", "shape": [40], "role": "bias", "layer": "Dense"}
MEAN = {"path": "norm.mean", "shape": [40], "role": "mean", "layer": "Norm"}


def recipe(
    read: Mapping[str, Sequence[Reading]], *shapes: dict[str, Any], unread: Any = None, **more: Any
) -> fanin.Recipe:
    """The recipe of some readings."""
    return Readings(model(*shapes), read, unread or {}).recipe(more.get("seed", 1), more.get("unreadable", "error"))


def rules(made: fanin.Recipe) -> list[dict[str, Any]]:
    """What the rules of a recipe say besides their conditions."""
    return [{k: v for k, v in rule.as_dict().items() if k not in ("path", "layer", "role")} for rule in made.rules]


def test_the_same_initializers() -> None:
    """Each parameter gets what was read, by the recipe's seed alone."""
    read = {"fc.kernel": [reading(fanin.HeNormal(seed=9), (12, 40))], "fc.bias": [Reading(fanin.Constant(0.5))]}
    made = recipe(read, KERNEL, BIAS, seed=4)
    assert rules(made) == [{"initializer": "he_normal"}, {"initializer": "constant", "value": 0.5}]
    kernel, bias = made.plan(model(KERNEL, BIAS)).entries
    assert kernel.make().tobytes() == fanin.HeNormal(seed=4).spawn("fc.kernel")((12, 40)).tobytes()
    assert (bias.make() == 0.5).all()


def test_other_fans_than_the_layers() -> None:
    """The fans that the code computes are in the rule where they are not those of the layer."""
    made = recipe({"fc.kernel": [Reading(fanin.HeNormal(), (480, 7))]}, KERNEL)
    assert rules(made) == [{"initializer": "he_normal", "fan_in": 480}]
    (entry,) = made.plan(model(KERNEL)).entries
    assert entry.fans == (480, 40)
    assert entry.stddev == pytest.approx((2 / 480) ** 0.5, rel=1e-4)


def test_fans_that_are_equal_by_their_sum() -> None:
    """Where only the sum of the fans counts, and is the layer's, a rule need not say them."""
    made = recipe({"fc.kernel": [Reading(fanin.GlorotUniform(), (40, 12))]}, KERNEL)
    assert rules(made) == [{"initializer": "glorot_uniform"}]


def test_axes_of_fans() -> None:
    """The axes that Keras 3 gives an initializer are read as fans."""
    initializer = fanin.LecunNormal()
    initializer.fan_axes = (1,), (0, 2)
    found = reading(initializer, (3, 4, 5))
    assert found.fans == (4, 15)
    assert isinstance(found.initializer, fanin.LecunNormal)
    assert found.initializer.fan_axes is None


def test_tables() -> None:
    """A table of values is in the rule."""
    values = np.arange(12.0).reshape(3, 4)
    shape = {"path": "table", "shape": [3, 4]}
    made = recipe({"table": [Reading(fanin.initializers.Table(values))]}, shape)
    (entry,) = fanin.Recipe.from_toml(made.to_toml()).plan(model(shape)).entries
    assert (entry.make() == values).all()


def test_statistics_alone() -> None:
    """A model of statistics has a recipe, too."""
    made = recipe({"norm.mean": [Reading(fanin.Zeros())]}, MEAN)
    assert rules(made) == [{"initializer": "Zeros"}]


def test_unusual_statistics() -> None:
    """A statistic that does not start as usual has a rule that names its role."""
    read = {"norm.mean": [Reading(fanin.Constant(3.0))], "fc.bias": [Reading(fanin.Zeros())]}
    entries = recipe(read, MEAN, BIAS).plan(model(MEAN, BIAS)).entries
    assert [each.mean for each in entries] == [3.0, 0.0]


def test_names_for_paths() -> None:
    """Rules have the names that every model of the code has, and paths only where a name is another's path."""
    first, second = model({**KERNEL, "path": "fc_7.kernel"}, {**KERNEL, "path": "fc_8.kernel"}).parameters
    named = Model((replace(first, name="fc.kernel"), replace(second, name="fc_1.kernel")), "a model")
    read = {
        "fc_7.kernel": [reading(fanin.HeNormal(), (12, 40))],
        "fc_8.kernel": [reading(fanin.LecunNormal(), (12, 40))],
    }
    made = Readings(named, read).recipe(1, "error")
    assert [rule.as_dict()["path"] for rule in made.rules] == ["fc.kernel", "fc_1.kernel"]
    assert [type(each.initializer) for each in made.plan(named).entries] == [fanin.HeNormal, fanin.LecunNormal]


def test_names_that_are_paths_of_others() -> None:
    """Two parameters whose names are each other's paths cannot be told apart by rules, which is said."""
    first, second = model({**KERNEL, "path": "fc_1.kernel"}, {**KERNEL, "path": "fc.kernel"}).parameters
    named = Model((replace(first, name="fc.kernel"), replace(second, name="fc_1.kernel")), "a model")
    read = {"fc_1.kernel": [reading(fanin.HeNormal(), (12, 40))], "fc.kernel": [reading(fanin.LecunNormal(), (12, 40))]}
    with pytest.raises(ValueError, match="Rules must be able to tell the parameters of a plan from each other"):
        Readings(named, read).recipe(1, "error")


def test_names_that_are_paths_of_alike() -> None:
    """It does not matter where both get the same."""
    first, second = model({**KERNEL, "path": "fc_1.kernel"}, {**KERNEL, "path": "fc.kernel"}).parameters
    named = Model((replace(first, name="fc.kernel"), replace(second, name="fc_1.kernel")), "a model")
    read = {each: [reading(fanin.HeNormal(), (12, 40))] for each in ("fc_1.kernel", "fc.kernel")}
    made = Readings(named, read).recipe(1, "error")
    assert rules(made) == [{"initializer": "he_normal"}]
    assert [each.name for each in made.plan(named).entries] == ["fc.kernel", "fc_1.kernel"]


def test_errors_list_all() -> None:
    """Every parameter that cannot be read is in the message."""
    with pytest.raises(ValueError, match="Received: 2 parameters that have another:") as caught:
        recipe({}, KERNEL, BIAS, unread={"fc.kernel": "it is odd", "fc.bias": "so is this"})
    assert str(caught.value).splitlines()[1:3] == [
        "  fc.kernel (12, 40), Dense: it is odd.",
        "  fc.bias (40,), Dense: so is this.",
    ]


def test_nothing_to_keep() -> None:
    """If nothing can be read there is no recipe, also with a warning."""
    with pytest.raises(ValueError, match="Received: 1 parameter that has another:"):
        recipe({}, KERNEL, unread={"fc.kernel": "it is odd"}, unreadable="warn")


def test_initializers_that_do_not_fit() -> None:
    """An initializer that cannot make a parameter's dtype is an error."""
    counter = {"path": "counter", "shape": [3], "dtype": "int32"}
    with pytest.raises(ValueError, match="do not fit its parameters:\n  counter, in rule 1: Expected floating"):
        recipe({"counter": [Reading(fanin.HeNormal(), (3, 3))]}, counter)
