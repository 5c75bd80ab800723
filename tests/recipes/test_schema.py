"""The JSON schema of recipe files: it takes every recipe, and refuses what recipes refuse."""

import json
import tomllib
from typing import Any

import hypothesis
import pytest

from fanin.recipes import PRESETS, Recipe, RecipeError, preset_path
from fanin.recipes.schema import schema
from recipe_kit import recipes
from strategies import examples

jsonschema = pytest.importorskip("jsonschema")
VALIDATOR = jsonschema.Draft202012Validator(schema())
RULE = {"path": "*", "initializer": "he_normal"}


def test_the_schema_is_one() -> None:
    """It is plain JSON, and a schema by its own rules."""
    VALIDATOR.check_schema(schema())
    assert json.loads(json.dumps(schema())) == schema()


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name: str) -> None:
    """The presets' files fit it."""
    VALIDATOR.validate(tomllib.loads(preset_path(name).read_text(encoding="utf-8")))


@hypothesis.given(recipes)
@examples(60)
def test_every_recipe(data: dict[str, Any]) -> None:
    """What is a recipe fits the schema."""
    Recipe.from_dict(data)
    VALIDATOR.validate(data)


WRONG: list[dict[str, Any]] = [
    {"rules": [RULE], "constants": {"config": 1}},
    {"rules": [RULE], "constants": {"rank": 1}},
    {"rules": [RULE], "seed": 2**63},
    {"rules": [RULE], "seed": True},
    {"rules": [RULE], "sources": [1]},
    {"rules": [{**RULE, "path": []}]},
    {"rules": [{**RULE, "path": ""}]},
    {"rules": [{**RULE, "layout": [0, 0]}]},
    {"rules": [{**RULE, "trainable": 1}]},
    {"rules": [{**RULE, "stacked": -1}]},
    {"rules": [{**RULE, "blocks": ["a", "a"]}]},
    {"rules": [{**RULE, "mode": "fanin"}]},
    {"rules": {}},
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_no_recipes(number: int) -> None:
    """What is none fits neither."""
    with pytest.raises(RecipeError):
        Recipe.from_dict(WRONG[number])
    assert not VALIDATOR.is_valid(WRONG[number])
