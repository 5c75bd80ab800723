"""Rules: which parameters they match, the initializers that may stand in them, and what they say of themselves."""

from typing import Any

import numpy as np
import pytest

import fanin
from fanin.recipes import Model, Parameter, Recipe, Rule, Traits
from recipe_kit import FLOAT32, assert_says, drawn, planned, refused

CONDITIONS = {
    "first": ([{"path": "a.*"}, {"path": "*"}], 1),
    "second": ([{"path": "b*"}, {"path": "*"}], 2),
    "glob over dots": ([{"path": "a*w"}], 1),
    "glob of all": ([{"path": "b.w"}, {"path": "*.w"}], 2),
    "part of a path": ([{"path": "b.w"}, {"path": "a.b"}, {"path": "w"}], None),
    "slashes": ([{"path": "a/*/w"}], 1),
    "one of several": ([{"path": ["c", "a.b.w"]}], 1),
    "a tie": ([{"path": "tied.w"}], 1),
    "classes": ([{"path": "a.[!b].w"}, {"path": "a.?.w"}], 2),
    "regex": ([{"regex": r"a\.b"}, {"regex": r"a\.(b|c)\.\w"}], 2),
    "regex of a tie": ([{"regex": r"tied\.w"}], 1),
    "layer": ([{"layer": "Line"}, {"layer": "Lin*"}], 2),
    "layer's case": ([{"layer": "linear"}, {"layer": ["a", "Linear"]}], 2),
    "role": ([{"role": "bias"}, {"role": ["bias", "kernel"]}], 2),
    "rank": ([{"rank": 1}, {"rank": [1, 3]}, {"rank": 2}], 3),
    "within": ([{"within": "Linear"}, {"within": "Atten*"}], 2),
    "all": ([{"path": "*", "rank": 1}, {"path": "*", "role": "kernel", "layer": "x"}, {"path": "*", "rank": 2}], 3),
    "block": ([{"path": "*", "block": "forget"}, {"rank": 2}], 2),
    "none": ([{"path": "q"}], None),
}


@pytest.mark.parametrize("name", list(CONDITIONS))
def test_conditions(name: str) -> None:
    """The first rule all of whose conditions are met counts."""
    conditions, number = CONDITIONS[name]
    rules = [{**each, "initializer": "constant", "value": place} for place, each in enumerate(conditions, 1)]
    parameter = Parameter(
        "a.b.w", (2, 3), FLOAT32, "Linear", within=("Model", "Attention"), traits=Traits("kernel"), tied=("tied.w",)
    )
    entry = planned(rules, parameter).entries[0]
    assert (entry.rule, entry.matched) == (f"rule {number}" if number else "", number is not None)
    assert {*drawn(entry).flat} == {number or 99.0}


def test_rules() -> None:
    """A rule says itself what it is, and what is wrong with it."""
    rule = Rule(role="kernel", initializer="random_normal", stddev="1 / fan_in")
    assert repr(rule) == "Rule(role='kernel', initializer='random_normal', stddev='1 / fan_in')"
    assert rule == eval(repr(rule)) != Rule(role="kernel", initializer="random_normal", stddev="1/fan_in")
    assert hash(rule) == hash(eval(repr(rule)))
    assert rule != "rule"
    assert refused(lambda: Rule(role="kernel")) == (
        'A rule needs an `initializer`, such as initializer = "he_normal", or "keep".'
    )
    assert refused(Recipe, [rule, {"path": "*"}]).startswith("rule 2: A rule needs an `initializer`")
    assert refused(Recipe, "abc") == "A recipe needs `rules`, a list of rules. Received: 'abc'."
    assert refused(Recipe, [rule], None) == "`seed` must be an integer. Received: seed=None."
    assert refused(Recipe.from_dict, 3).endswith("Received: 3.")


class Bounded(fanin.SeededInitializer):
    """A user's own initializer, which says what it draws and no configuration."""

    def distribution(self, shape: Any, dtype: Any = None) -> Any:
        """A tenth to either side."""
        return fanin.RandomUniform(-0.1, 0.1).distribution(shape, dtype)


class Configured(Bounded):
    """One with a configuration."""

    def get_config(self) -> dict[str, Any]:
        """The seed."""
        return {"seed": self.seed}


class OnlyCalled(fanin.Initializer):
    """One that does not say what it draws."""

    def __call__(self, shape: Any, dtype: Any = None, **kwargs: Any) -> Any:
        """Zeros."""
        return np.zeros(shape)


def test_initializers_in_rules() -> None:
    """Initializers and configurations in the place of names: drawn with the recipe's seed, and written by name."""
    same = Recipe([{"path": "*", "initializer": "RandomNormal", "mean": 0.0, "stddev": 3}], seed=7)
    model = [{"path": "w", "shape": [5]}]
    initializer = fanin.RandomNormal(stddev=3)
    for given in (initializer, fanin.serialize(initializer), {"class_name": "normal", "config": {"stddev": 3}}):
        recipe = Recipe([{"path": "*", "initializer": given}], seed=7)
        assert recipe.to_toml() == same.to_toml()
        assert recipe.plan(model).entries[0].seeds == same.plan(model).entries[0].seeds
    assert Recipe([{"path": "*", "initializer": fanin.Zeros}]).as_dict()["rules"][0]["initializer"] == "Zeros"
    assert not initializer.has_seed


REFUSED = (
    (
        fanin.HeNormal(seed=3),
        "A rule's initializer must not have a seed: each parameter's seed comes from the recipe's …",
    ),
    ({"class_name": "HeNormal", "config": {"seed": 3}}, "A rule's initializer must not have a seed: …"),
    (OnlyCalled(), "`initializer` must be a name, or an initializer that overrides `distribution`. …"),
    (len, "`initializer` must be a name, or an initializer that …"),
    ({"class_name": "HeNorml", "config": {}}, "Unknown initializer: 'HeNorml'.… Did you mean 'HeNormal'?"),
    ({"class_name": "Zeros"}, "Improper config format for {'class_name': 'Zeros'}.…"),
    (np.zeros(3), "…"),
    (True, "Could not interpret initializer identifier: True.…"),
)


@pytest.mark.parametrize(("given", "message"), REFUSED, ids=[str(number) for number in range(len(REFUSED))])
def test_refused_initializers(given: Any, message: str) -> None:
    """Seeds would be everyone's, and what does not say what it draws cannot be drawn in pieces."""
    assert_says(refused(Recipe, [{"path": "*", "initializer": given}]), f"rule 1: {message}")


@pytest.mark.parametrize("cls", [Configured, Bounded])
def test_classes_of_ones_own(cls: type[fanin.SeededInitializer]) -> None:
    """They draw, from the recipe's seed and the name alone; no file can name them."""
    model = [{"path": "w", "shape": [3, 4]}]
    plans = [Recipe([{"path": "*", "initializer": cls()}], seed=7).plan(model) for _ in range(2)]
    expected = fanin.RandomUniform(-0.1, 0.1, seed=7).spawn("w")((3, 4))
    for plan in plans:
        array = np.empty((3, 4), np.float32)
        plan.entries[0].fill(array)
        assert array.tobytes() == expected.tobytes()
    with pytest.raises(TypeError, match=r"^Only fanin's own initializers can be named in a file\. Received: rule"):
        Recipe([{"path": "*", "initializer": cls()}]).to_toml()


def test_whole_numbers_words_flags_and_axes() -> None:
    """An argument that takes whole numbers has expressions of them; words, flags and axes are as they are written."""
    rules = [
        {"path": "conv", "initializer": "dirac", "groups": "config.groups", "gain": "1 / 2", "layout": "torch"},
        {"path": "table", "initializer": "rotary", "part": "cos", "repeated": "halves", "start": 3},
        {"path": "pairs", "initializer": "sinusoidal", "interleaved": False},
        {"path": "frames", "initializer": "stft", "window": "hamming", "layout": "torch"},
        {"path": "experts", "initializer": "orthogonal", "batch_axis": [0], "column_axis": 1},
    ]
    shapes = {"conv": (6, 2, 3), "table": (5, 8), "pairs": (5, 8), "frames": (9, 1, 16), "experts": (2, 3, 4)}
    model = Model(tuple(Parameter(path, shape, FLOAT32) for path, shape in shapes.items()), "m", {"": {"groups": 3.0}})
    plan = Recipe.from_toml(Recipe(rules, seed=1).to_toml()).plan(model)
    assert not plan.problems
    conv = fanin.Dirac(0.5, 3)((3, 2, 6))
    assert drawn(plan.entry("conv")).tobytes() == conv.transpose(2, 1, 0).tobytes()
    assert plan.entry("table").initializer == fanin.Rotary("cos", start=3, repeated="halves")
    assert plan.entry("pairs").initializer == fanin.Sinusoidal(interleaved=False)
    assert plan.entry("frames").initializer == fanin.STFT(window="hamming")
    seed = plan.entry("experts").seeds[0]
    assert plan.entry("experts").initializer == fanin.Orthogonal(seed=seed, column_axis=1, batch_axis=[0])


def test_an_expression_that_must_be_whole() -> None:
    """Groups of two and a half are refused with their name, and nothing is drawn."""
    recipe = Recipe([{"path": "*", "initializer": "dirac", "groups": "size / 4", "layout": "torch"}])
    (entry,) = recipe.plan(Model((Parameter("w", (5, 2, 1), FLOAT32),), "m", {})).entries
    assert "`groups` must be a whole number. Received: 2.5 of 'size / 4'" in entry.problem
    assert "groups" in refused(Recipe, [{"path": "*", "initializer": "dirac", "groups": 2.5}])


def test_a_kernel_of_unknown_layout_is_no_kernel_of_dirac() -> None:
    """Which axis has the inputs is not guessed: the rule must say so."""
    recipe = Recipe([{"path": "*", "initializer": "dirac"}])
    (entry,) = recipe.plan(Model((Parameter("w", (5, 2, 1), FLOAT32),), "m", {})).entries
    assert "Dirac needs the order of the axes, which is unknown here. Give the rule a `layout`" in entry.problem


@pytest.mark.parametrize(
    "rule",
    [
        {"initializer": "he_normal", "in_axis": 0, "fan_in": 7},
        {"initializer": "variance_scaling", "batch_axis": [0], "fan_out": "2 * fan_out"},
        {"initializer": fanin.GlorotNormal(batch_axis=0), "fan_in": 7},
    ],
    ids=["numbers", "expressions", "objects"],
)
def test_fans_are_given_once(rule: dict[str, Any]) -> None:
    """By numbers, or by axes: a rule with both would leave one of them aside."""
    assert "Fans are given once: by numbers, or by axes" in refused(Recipe, [{"path": "*", **rule}])
