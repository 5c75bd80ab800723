"""Rules that say `as_written`, which ask the model's own code, and rules that say which rows are zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import fanin
from fanin._core.streams import Stream
from fanin.distributions.weight import Weight
from fanin.models.parameters import Model, Parameter
from fanin.models.traits import Traits
from fanin.recipes import Entry, Placement, Recipe
from recipe_kit import FLOAT32, HE, NORMAL, SEED, drawn, planned, refused

WRITTEN = {"path": "*", "initializer": "as_written"}
ASKED: list[tuple[str, str, int]] = []


def written(parameter: Parameter, name: str, seed: int) -> tuple[Placement, ...]:
    """A model's own code: uniform values, except of biases."""
    ASKED.append((parameter.path, name, seed))
    if parameter.role == "bias":
        raise ValueError("nothing initializes it")
    initializer = fanin.RandomUniform(-0.5, 0.5, seed=seed).spawn(name)
    weight = Weight(initializer.distribution(parameter.shape), Stream(initializer.settled_seed()))
    target = tuple((0, length) for length in parameter.shape)
    return (Placement(name, initializer, weight, target, (0,) * len(target)),)


MODEL = Model(
    (Parameter("a.w", (4, 3), FLOAT32), Parameter("a.b", (3,), FLOAT32, traits=Traits("bias"))),
    "a model",
    written=written,
)


def entries(rules: Sequence[dict[str, Any]], model: Model = MODEL) -> tuple[Entry, ...]:
    """The entries of rules for a model."""
    return Recipe(rules, seed=SEED).plan(model).entries


def uniform(name: str) -> bytes:
    """What the code draws under a name."""
    return fanin.RandomUniform(-0.5, 0.5, seed=SEED).spawn(name)((4, 3)).tobytes()


def test_the_models_own_code() -> None:
    """The rule's parameters have the placements that the model's own code gives; the entry names the rule."""
    entry, other = entries([{**WRITTEN, "path": "*.w", "name": "own"}, NORMAL])
    assert drawn(entry).tobytes() == uniform("a.w")
    assert (entry.rule, entry.rules, entry.kept, entry.covers) == ("rule 1 “own”", (0,), False, True)
    assert type(other.initializer) is fanin.RandomNormal


def test_the_code_is_told_name_and_seed() -> None:
    """It is asked for the parameter under the name that the plan draws it by, with the recipe's seed."""
    ASKED.clear()
    Recipe([{**WRITTEN, "path": "*.w"}, NORMAL], seed=3).plan(MODEL, names={"a.*": "b.*"})
    assert ASKED == [("a.w", "b.w", 3)]


def test_a_reason() -> None:
    """What the code cannot say is a problem of the plan, with its reason and the rule."""
    _, entry = entries([WRITTEN])
    assert entry.problem == "a.b, in rule 1: nothing initializes it."


def test_a_model_without_code() -> None:
    """A model that cannot be asked has a problem that says so; nothing raises."""
    plan = planned([WRITTEN], "w")
    assert plan.problems == (
        "w, in rule 1: as_written asks the model's own code, which only models of PyTorch and built ones of Keras can "
        "be asked. Give the parameter an initializer by a rule in front.",
    )


def test_a_part_of_a_model() -> None:
    """A part is asked about its own parameter, which is drawn under the path that it has in the whole."""
    ASKED.clear()
    entry, _ = entries([WRITTEN], MODEL.placed("encoder"))
    assert ASKED[0] == ("a.w", "encoder.a.w", SEED)
    assert drawn(entry).tobytes() == uniform("encoder.a.w")


def test_a_part_of_a_part() -> None:
    """Paths may become longer twice."""
    entry, _ = entries([WRITTEN], MODEL.placed("encoder").placed("model"))
    assert drawn(entry).tobytes() == uniform("model.encoder.a.w")


def test_a_part_without_code() -> None:
    """A part of a model that cannot be asked cannot be asked either."""
    assert Model((), "m").placed("a").written is None


def test_blocks() -> None:
    """It makes whole parameters: a rule about one of its blocks contradicts it."""
    parameter = {"path": "w", "shape": [4, 6], "blocks": ["q", "k"]}
    (entry,) = planned([{**HE, "block": "q", "fan_in": 4, "fan_out": 3}, WRITTEN], parameter).entries
    assert entry.problem == (
        "w, in rule 1, rule 2: as_written makes a whole parameter, but another rule is about a block of it."
    )


@pytest.mark.parametrize(("key", "value"), {"block": "q", "layout": "torch", "zero_rows": [0], "fan_in": 3}.items())
def test_settings(key: str, value: Any) -> None:
    """Settings that would change what the code makes are mistakes."""
    said = refused(Recipe, [{**WRITTEN, key: value}])
    assert said == (
        "rule 1: A rule that says as_written makes whole parameters as the model's own code does, without "
        f"`{key}`. Received: {key} = {value!r}."
    )


def test_arguments() -> None:
    """It has no arguments."""
    said = refused(Recipe, [{**WRITTEN, "stddev": 1}])
    assert said.startswith("rule 1: Unknown key 'stddev'.")
    assert said.endswith("; the initializer has no arguments.")


def test_spelling() -> None:
    """A misspelled word is suggested."""
    assert "Did you mean 'as_written'?" in refused(Recipe, [{**WRITTEN, "initializer": "as_writen"}])


def test_files() -> None:
    """A file holds it."""
    recipe = Recipe([WRITTEN, {**NORMAL, "zero_rows": []}], seed=1)
    assert Recipe.from_toml(recipe.to_toml()) == recipe


EMBEDDING = Parameter("w", (6, 3), FLOAT32, traits=Traits("embedding", (0, 1), 6, 3, zero_rows=(2,)))


@pytest.mark.parametrize("rows", [[], [0], [5, 1], [4, 4]])
def test_zero_rows(rows: list[int]) -> None:
    """A rule's rows are zero, instead of the layer table's; no others change."""
    (entry,) = planned([{**NORMAL, "zero_rows": rows}], EMBEDDING).entries
    expected = fanin.RandomNormal(seed=SEED).spawn("w")((6, 3))
    expected[rows] = 0
    assert drawn(entry).tobytes() == expected.tobytes()
    assert entry.covers


def test_zero_rows_of_any_parameter() -> None:
    """Any parameter can have them, along the first of Keras's axes."""
    parameter = Parameter("w", (2, 5), FLOAT32, traits=Traits("kernel", (1, 0), 5, 2))
    (entry,) = planned([{**NORMAL, "zero_rows": [4]}], parameter).entries
    assert not drawn(entry)[:, 4].any()
    assert np.count_nonzero(drawn(entry)) == 8


@pytest.mark.parametrize(("shape", "has"), {(3, 2): "has 3 rows", (): "has no rows"}.items())
def test_rows_that_are_not_there(shape: tuple[int, ...], has: str) -> None:
    """A row beyond the parameter is a problem."""
    (entry,) = planned([{**NORMAL, "zero_rows": [3]}], {"path": "w", "shape": list(shape)}).entries
    assert entry.problem == f"w, in rule 1: `zero_rows` must be rows of the parameter, which {has}. Received: [3]."


@pytest.mark.parametrize("rows", [0, [-1], [True], ["0"], None])
def test_no_rows(rows: Any) -> None:
    """Anything else is a mistake."""
    said = refused(Recipe, [{**NORMAL, "zero_rows": rows}])
    assert said == f"rule 1: `zero_rows` must be a list of rows, from 0. Received: {rows!r}."
