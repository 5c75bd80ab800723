"""Recipes: what makes two of them equal, recipes that extend others, presets, and what may stand for a recipe."""

from pathlib import Path
from typing import Any

import pytest

import fanin
from fanin.recipes import PRESETS, Recipe, RecipeError, Rule, preset_path
from fanin.recipes.recipe import recipe_of
from recipe_kit import load, refused


def test_equal_recipes() -> None:
    """Seed, rules and constants are what counts, and neither the order of keys nor the kind of sequence."""
    rule = {"path": ["a", "b"], "initializer": "zeros"}
    recipe = Recipe([rule], seed=3, constants={"a": 1})
    assert recipe == Recipe([Rule(**rule)], seed=3, constants={"a": 1}, description="b", sources="c")
    assert recipe != Recipe([rule], seed=4, constants={"a": 1})
    assert recipe != Recipe([rule], seed=3, constants={"a": 2})
    assert recipe != Recipe([rule, rule], seed=3, constants={"a": 1})
    assert recipe != rule
    assert Recipe([rule]).with_seed(3).seed == 3
    assert repr(recipe) == "Recipe([Rule(path=['a', 'b'], initializer='zeros')], seed=3, constants={'a': 1})"
    assert refused(recipe.with_seed, True) == "`seed` must be an integer. Received: seed=True (of type bool)."
    tuples = Recipe([{"path": ("a", "b"), "initializer": "zeros"}], seed=3, constants={"a": 1})
    assert Recipe.from_dict(tuples.as_dict()) == tuples
    assert Rule(initializer="zeros", path="a") == Rule(path="a", initializer="zeros")


ZEROS = {"path": "head.*", "initializer": "zeros"}
BASE = """\
seed = 5

[constants]
width = 4

[[rules]]
name = "all"
path = "*"
initializer = "random_normal"
stddev = "1 / width"
"""


def test_extend(tmp_path: Path) -> None:
    """Further rules come first, and what they do not match is left to the recipe's own."""
    recipe = load(tmp_path, BASE)
    extended = recipe.extend([ZEROS, Rule(path="tail", initializer="ones")])
    assert [rule.label for rule in extended.rules] == ["rule 1", "rule 2", "rule 3 (line 6) “all”"]
    assert [rule.label for rule in recipe.rules] == ["rule 1 (line 6) “all”"]
    assert (extended.seed, extended.constants) == (5, {"width": 4})
    model = [{"path": path, "shape": [3]} for path in ("head.a", "tail", "b")]
    plan = extended.plan(model)
    assert [entry.rule for entry in plan.entries] == ["rule 1", "rule 2", "rule 3 (line 6) “all”"]
    assert [type(entry.initializer).__name__ for entry in plan.entries] == ["Zeros", "Ones", "RandomNormal"]
    assert plan.entry("b").make().tobytes() == recipe.plan(model).entry("b").make().tobytes()
    twice = extended.extend([{"path": "head.a", "initializer": "ones"}])
    assert type(twice.plan(model).entry("head.a").initializer) is fanin.Ones
    assert [rule.number for rule in twice.rules] == [0, 1, 2, 3]
    assert [rule.line for rule in twice.rules] == [None, None, None, 6]


def test_an_extended_recipe_is_a_recipe(tmp_path: Path) -> None:
    """It equals the one written out, goes to files and back, and keeps what the first one says of itself."""
    recipe = fanin.Recipe.preset("gpt2", seed=3)
    extended = recipe.extend([ZEROS])
    assert extended == Recipe([ZEROS, *recipe.rules], seed=3)
    assert (extended.description, extended.sources) == (recipe.description, recipe.sources)
    assert extended.to_toml(tmp_path / "more.toml") == extended.to_toml()
    assert Recipe.load(tmp_path / "more.toml") == extended != recipe
    assert recipe == fanin.Recipe.preset("gpt2", seed=3)
    assert extended.with_seed(4).extend([ZEROS]).seed == 4


def test_constants_of_an_extended_recipe(tmp_path: Path) -> None:
    """New rules know the recipe's constants and further ones; other values count for its own rules, too."""
    recipe = load(tmp_path, BASE)
    rule = {"path": "a", "initializer": "constant", "value": "width + more"}
    extended = recipe.extend([rule], width=8, more=0.5)
    assert (extended.constants, recipe.constants) == ({"width": 8, "more": 0.5}, {"width": 4})
    plan = extended.plan([{"path": path, "shape": [3]} for path in "ab"])
    assert plan.entry("a").mean == 8.5
    assert plan.entry("b").stddev == 1 / 8
    assert recipe.extend([], width=8) == Recipe(recipe.rules, seed=5, constants={"width": 8})
    assert recipe.extend(()) == recipe
    deep = extended.extend([{"path": "a", "initializer": "constant", "value": "n_layers"}], n_layers=12)
    assert deep.plan([{"path": "a", "shape": [1]}]).entry("a").mean == 12


def test_mistakes_of_an_extension(tmp_path: Path) -> None:
    """All mistakes of the new rules and constants are one error; the recipe stays as it was."""
    recipe = load(tmp_path, BASE)
    wrong = [{"path": "a", "initializer": "he_norml"}, {"role": "kernl", "initializer": "zeros", "name": "b"}]
    assert refused(recipe.extend, wrong).splitlines() == [
        "  rule 1: Unknown initializer 'he_norml'. Did you mean 'he_normal'?",
        "  rule 2 (\"b\"): Unknown role 'kernl'. Did you mean 'kernel'?",
    ]
    said = refused(recipe.extend, [{"path": "a", "initializer": "constant", "value": "widht"}])
    assert said == "rule 1: `value`: Unknown variable 'widht' in 'widht'. Did you mean 'width'?"
    assert (
        refused(lambda: recipe.extend([ZEROS], rank=3))
        == "A constant must not have the name of a variable. Received: 'rank'."
    )
    assert refused(recipe.extend, "abc") == "A recipe needs `rules`, a list of rules. Received: 'abc'."
    assert recipe == load(tmp_path, BASE)


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name: str) -> None:
    """Each has a description and sources, is found by its name, and says the same in a file of its own."""
    preset = Recipe.preset(name, seed=9)
    assert preset.description
    assert preset.sources
    assert preset.seed == 9
    assert preset == recipe_of(name, 9) == Recipe.load(preset_path(name), seed=9)
    assert Recipe.from_dict(preset.as_dict()) == preset
    kernel = {"path": "layers.0.kernel", "shape": [6, 8], "role": "kernel", "layout": "keras"}
    assert not Recipe.preset(name).plan([kernel]).problems


def test_constants_of_presets() -> None:
    """A preset's constants can have other values, and there are no others."""
    preset = Recipe.preset("mup", 1, base_width=64)
    assert preset.constants == {"base_width": 64, "embedding_stddev": 1.0}
    assert preset.seed == 1
    with pytest.raises(
        ValueError, match=r"^Unknown constant 'with_base'\. Known constants of the preset: base_width, embedding_stdd"
    ):
        Recipe.preset("mup", with_base=64)
    with pytest.raises(ValueError, match=r"^Unknown constant 'width'\. Known constants of the preset: none\.$"):
        Recipe.preset("keras", width=64)
    with pytest.raises(ValueError, match=r"^A preset must be one of bert, .* Received: 'gpt'\. Did you mean 'gpt2'\?$"):
        Recipe.preset("gpt")


def test_what_stands_for_a_recipe() -> None:
    """A recipe itself, or a preset's name; with another seed, where one is given."""
    recipe = Recipe([ZEROS], seed=3)
    assert recipe_of(recipe) is recipe
    assert recipe_of(recipe, 4) == Recipe([ZEROS], seed=4)
    assert recipe.seed == 3
    assert recipe_of("gpt2") == Recipe.preset("gpt2")
    assert recipe_of("gpt2", -7) == Recipe.preset("gpt2", seed=-7)
    with pytest.raises(RecipeError, match=r"`seed` must lie in \[-2\*\*63, 2\*\*63 - 1\]"):
        recipe_of("gpt2", 2**63)


NO_RECIPES: list[tuple[Any, type[Exception], str]] = [
    ("gpt", ValueError, "Received: 'gpt'. Did you mean 'gpt2'?"),
    ("recipe.toml", ValueError, "Received: 'recipe.toml'. Load a file with Recipe.load(path)."),
    (None, TypeError, "Received: None (of type NoneType)."),
    (3, TypeError, "Received: 3 (of type int)."),
    ([ZEROS], TypeError, "(of type list)."),
    (Path("recipe.toml"), TypeError, "(of type PosixPath)."),
    (Recipe, TypeError, "(of type type)."),
]


@pytest.mark.parametrize(("given", "error", "message"), NO_RECIPES, ids=[str(n) for n in range(len(NO_RECIPES))])
def test_what_stands_for_none(given: Any, error: type[Exception], message: str) -> None:
    """Anything else, with the rule and what came."""
    with pytest.raises(error) as caught:
        recipe_of(given)
    assert str(caught.value).startswith("`recipe` must be a fanin.Recipe or the name of a preset")
    assert str(caught.value).endswith(message)


@pytest.mark.parametrize("path", ["attn.out_proj.weight", "attn.out.weight", "attn.layout.kernel", "ffn.out.kernel"])
@pytest.mark.parametrize("preset", ["gpt2", "llama"])
def test_residual_projections_are_no_more_than_they_name(preset: str, path: str) -> None:
    """What presets know of flax's attention is about nothing of PyTorch, and nothing beside attention."""
    model = [{"path": f"h.{number}.{path}", "shape": [4, 4], "role": "kernel"} for number in range(2)]
    assert {"residual" in each.rule for each in Recipe.preset(preset).plan(model).entries} == {False}
