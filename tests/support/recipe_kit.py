"""What the tests of recipes and models share: plans of lists, what entries draw, recipes in files, and messages."""

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

import fanin
from fanin.models.registry import describe
from fanin.recipes import ROLES, Entry, Model, Parameter, Plan, Recipe, RecipeError

SEED = 7
NORMAL = {"path": "*", "initializer": "random_normal"}
HE = {"path": "*", "initializer": "he_normal"}
GATES = ("input", "forget", "candidate", "output")
KERNEL = {"role": "kernel", "layout": "keras"}
FLOAT32 = np.dtype(np.float32)


def planned(rules: Sequence[dict[str, Any]], *model: Any, names: Any = None, **options: Any) -> Plan:
    """The plan of a recipe for a list: of dicts, of paths of vectors, or of described parameters."""
    recipe = Recipe(rules, seed=SEED, **options)
    if isinstance(model[0], Parameter):
        return recipe.plan(Model(model, "a model"), names=names)
    return recipe.plan([{"path": each, "shape": [3]} if isinstance(each, str) else each for each in model], names=names)


def met(names: Mapping[str, str], model: Any) -> dict[str, str]:
    """Those names, of a mapping for several models, that are about something in this one."""
    parts = [(each, each.traits.part) for each in describe(model).parameters]
    paths = {each.path if part is None else part.path for each, part in parts}
    return {key: name for key, name in names.items() if fnmatch.filter(paths, key.partition("[")[0])}


def drawn(entry: Entry) -> Any:
    """All values of a parameter."""
    array = np.full(entry.parameter.shape, 99, entry.parameter.dtype)
    entry.fill(array)
    return array


def spawned(name: str, shape: tuple[int, ...], cls: Any = fanin.HeNormal) -> np.ndarray:
    """What the initializer of a name draws."""
    return cls(seed=SEED).spawn(name)(shape)


def load(folder: Path, text: str, suffix: str = ".toml") -> Recipe:
    """The recipe that a file of this text is."""
    path = folder / f"recipe{suffix}"
    path.write_bytes(text.encode())
    return Recipe.load(path)


def refused(make: Callable[..., Any], *arguments: Any) -> str:
    """What a recipe's error says, without its first line where that is of one mistake."""
    with pytest.raises(RecipeError) as caught:
        make(*arguments)
    first, _, rest = str(caught.value).partition("\n")
    count = len(caught.value.mistakes)
    assert first == f"The recipe has {'a mistake' if count == 1 else f'{count} mistakes'}."
    assert rest == "\n".join(f"  {each}" for each in caught.value.mistakes)
    return rest.strip() if count == 1 else rest


def assert_says(said: str, expected: str) -> None:
    """The texts are equal; an ellipsis stands for any text."""
    start, _, end = expected.partition("…")
    assert said == expected if "…" not in expected else said.startswith(start) and said.endswith(end)


numbers = st.integers(-9, 9) | st.floats(-1e6, 1e6).map(lambda value: value + 0.0)
arguments = numbers | st.sampled_from(
    ["1 / fan_in", "0.02 / sqrt(2 * n_layers)", "width * config.hidden", "-max(1, 2)"]
)
words = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1, max_size=9)


def one_or_several(values: Any) -> Any:
    """A value or a list of some."""
    return values | st.lists(values, min_size=1, max_size=3)


initializations = (
    st.sampled_from(["zeros", "Ones", "he_normal", "GlorotUniformV2", "keep"]).map(lambda name: {"initializer": name})
    | st.builds(lambda mean, stddev: {"initializer": "normal", "mean": mean, "stddev": stddev}, arguments, arguments)
    | st.builds(lambda gain: {"initializer": "orthogonal", "gain": gain}, arguments)
    | st.builds(
        lambda scale, mode: {"initializer": "variance_scaling", "scale": scale, "mode": mode},
        st.floats(1e-3, 1e3) | st.just("width"),
        st.sampled_from(["fan_in", "fan_out"]),
    )
)
rules = st.builds(
    lambda conditions, settings, initialization: {**conditions, **settings, **initialization},
    st.fixed_dictionaries(
        {"path": one_or_several(words)},
        optional={
            "regex": st.sampled_from([".*", r"a\.(b|c)\d+"]),
            "layer": one_or_several(words),
            "within": words,
            "role": one_or_several(st.sampled_from(list(ROLES))),
            "rank": st.integers(0, 5) | st.lists(st.integers(0, 5), min_size=1, max_size=3),
            "block": words,
        },
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "name": words,
            "layout": st.sampled_from(["keras", "torch", [1, 0], [2, 0, 1]]),
            "fan_in": arguments.filter(lambda value: isinstance(value, str) or value > 0),
            "fan_out": arguments.filter(lambda value: isinstance(value, str) or value > 0),
            "blocks": st.lists(words, min_size=2, max_size=4, unique=True),
        },
    ),
    initializations,
)
recipes = st.fixed_dictionaries(
    {
        "seed": st.integers(-(2**63), 2**63 - 1),
        "rules": st.lists(rules, min_size=1, max_size=4),
        "constants": st.fixed_dictionaries({"width": numbers}, optional={"n_layers": st.integers(1, 99), "a": numbers}),
    },
    optional={"description": words, "sources": st.lists(words, min_size=1, max_size=2)},
)
