"""Recipes as files: TOML and YAML are the same recipe, and what is written is read back."""

import json
import pickle
import tomllib
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml

import fanin
from fanin.recipes import Recipe
from fanin.recipes.files import Source, UnreadableError, read
from recipe_kit import load, recipes
from strategies import examples


@hypothesis.given(recipes)
@examples(60)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, data: dict[str, Any]) -> None:
    """Plain data, TOML and YAML are the same recipe, and a recipe writes what it was made of."""
    recipe = Recipe.from_dict(data)
    assert recipe.as_dict() == data
    assert Recipe.from_dict(json.loads(json.dumps(data))) == recipe
    text = recipe.to_toml()
    assert Recipe.from_dict(tomllib.loads(text)) == recipe
    folder = tmp_path_factory.mktemp("recipe")
    assert recipe.to_toml(folder / "again.toml") == text
    again = Recipe.load(folder / "again.toml")
    assert again == load(folder, yaml.safe_dump(data, sort_keys=False), ".yaml") == recipe
    assert again.as_dict() == data
    assert hash(again) == hash(recipe) == hash(pickle.loads(pickle.dumps(recipe)))


TOML = """\
seed = 1  # a comment
description = "a"

[constants]
width = 3

[[rules]]
path = "a"
  'initializer' = "zeros"
[[rules]]
"path" = [
  "[[rules]]",
  "name = 3",
]
initializer = "ones"
"""
YAML = """\
seed: 1
constants:
  width: 3
rules:
- path: a
  initializer: zeros
-
  path: ["[[rules]]", "name = 3"]
  initializer: ones
"""
PLACES = {
    ".toml": ({"seed": 1, "constants": 4, "constants.width": 5, "rules": 7}, [(7, 8, 9), (10, 11, 15)]),
    ".yaml": ({"seed": 1, "constants": 2, "constants.width": 3, "rules": 4}, [(5, 5, 6), (8, 8, 9)]),
}


@pytest.mark.parametrize("suffix", [".toml", ".yaml"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines(suffix: str, end: str, tmp_path: Path) -> None:
    """Keys at the top, constants, rules and their keys have lines, and strings that look like keys have none."""
    path = tmp_path / f"recipe{suffix.upper()}"
    path.write_bytes((TOML if suffix == ".toml" else YAML).replace("\n", end).encode())
    data, source = read(path)
    top, rules = PLACES[suffix]
    assert [rule["initializer"] for rule in data["rules"]] == ["zeros", "ones"]
    assert {key: line for key, line in source.top.items() if key != "description"} == top
    for number, (rule, first, second) in enumerate(rules):
        assert (source.line(number), source.line(number, "nothing")) == (rule, rule)
        assert (source.line(number, "path"), source.line(number, "initializer")) == (first, second)
    assert source.place(0, "initializer") == f"recipe{suffix.upper()}:{rules[0][2]}"
    assert (source.line(7), source.line(key="nothing"), source.place(key="nothing")) == (
        top["rules"],
        None,
        f"recipe{suffix.upper()}:1",
    )
    assert Source().place(0) == ""


def test_unreadable_files(tmp_path: Path) -> None:
    """What is no TOML or YAML has the line where that shows."""
    for name, text, line in (("a.toml", "seed = 1\nb = = 2\n", 2), ("a.yml", "seed: 1\nrules: [1\n", 3)):
        (tmp_path / name).write_text(text)
        with pytest.raises(UnreadableError) as caught:
            read(tmp_path / name)
        assert caught.value.line == line


def test_an_initializer_whose_arguments_may_be_none_is_written_without_them() -> None:
    """A bound that is None is no key of the rule, so that TOML holds the recipe, and the same one is read."""
    recipe = Recipe([{"path": "*", "initializer": fanin.TruncatedNormal(minval=0.0)}])
    text = recipe.to_toml()
    assert "minval = 0.0" in text
    assert "maxval" not in text
    assert Recipe.from_toml(text) == recipe


def test_none_that_means_something_is_refused_with_its_name() -> None:
    """Bounds of None are the full range of an integer dtype, not the default: TOML cannot say so."""
    recipe = Recipe([{"path": "*", "initializer": fanin.RandomUniform(None, None)}])
    with pytest.raises(TypeError, match=r"TOML has no None\. Received: minval = None"):
        recipe.to_toml()
    assert Recipe.from_dict(json.loads(json.dumps(recipe.as_dict()))).rules[0].as_dict()["minval"] is None


def test_none_is_a_word_where_words_are_taken() -> None:
    """A kernel of a Fourier transform without scaling, in TOML."""
    recipe = Recipe([{"path": "*", "initializer": fanin.STFT(scaling=None), "layout": "keras"}])
    text = recipe.to_toml()
    assert 'scaling = "none"' in text
    again = Recipe.from_toml(text)
    assert again == recipe
    model = [{"path": "w", "shape": [8, 1, 5]}]
    assert again.plan(model).entries[0].initializer == fanin.STFT(scaling=None)
    assert "`side` must be one of" in str(refused(text.replace('side = "real"', 'side = "none"')))


def refused(text: str) -> Exception:
    """Why a recipe is refused."""
    with pytest.raises(ValueError, match="The recipe has") as caught:
        Recipe.from_toml(text)
    return caught.value
