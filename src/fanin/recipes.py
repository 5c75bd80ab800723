"""Recipes: a seed and ordered rules that say which initializer each parameter of a model gets.

>>> import fanin
>>> recipe = fanin.Recipe([
...     {"path": "*.c_proj.weight", "initializer": "random_normal", "stddev": "0.02 / sqrt(2 * n_layers)"},
...     {"role": ["kernel", "embedding"], "initializer": "random_normal", "stddev": 0.02},
...     {"role": "scale", "initializer": "ones"},
...     {"role": ["bias", "offset"], "initializer": "zeros"},
... ], seed=1)
>>> plan = recipe.plan([
...     {"path": "h.0.attn.c_proj.weight", "shape": [64, 64], "role": "kernel", "layout": "keras"},
...     {"path": "h.0.attn.c_proj.bias", "shape": [64], "role": "bias"},
... ])
>>> print(plan.entries[0].initializer)
RandomNormal(mean=0.0, stddev=0.014142135623730949, seed=8749084111350807520)
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fanin import _planner, plans
from fanin._expressions import VARIABLES
from fanin._parameters import NameMap
from fanin._random import checked_seed
from fanin._recipe_files import Source, UnreadableError, read, written
from fanin._rules import Checker, Mistake, RecipeError, Rule
from fanin._words import shown, suggestion

__all__ = ["PRESETS", "Mistake", "Recipe", "RecipeError", "Rule", "checked_recipe", "preset_path"]

PRESETS = ("bert", "flax", "gpt2", "keras", "llama", "mup", "resnet", "t5", "torch", "vit")
_TOP = ("seed", "description", "sources", "constants", "rules")


class Recipe:
    """A seed and ordered rules: which initializer each parameter of a model gets. The first rule that matches counts.

    Every parameter's values are a function of the seed, its name and the index alone: neither the order of the
    parameters nor what else is in the model matters.

    Args:
        rules: rules, as `Rule` or as dicts with the same keys, in order.
        seed: an integer in [-2**63, 2**63 - 1].
        constants: numbers by name, for the rules' expressions. `n_layers` may be among them, for a piece of a model.
        description: what the recipe is for, in a sentence.
        sources: where its rules come from.

    Raises:
        RecipeError: the recipe has mistakes; it has all of them. (A ValueError.)

    >>> import fanin
    >>> recipe = fanin.Recipe([{"path": "*", "initializer": "random_normal", "stddev": "1 / width"}],
    ...                       seed=1, constants={"width": 64})
    >>> print(recipe.to_toml())
    seed = 1
    <BLANKLINE>
    [constants]
    width = 64
    <BLANKLINE>
    [[rules]]
    path = "*"
    initializer = "random_normal"
    stddev = "1 / width"
    <BLANKLINE>
    """

    seed: int
    rules: tuple[Rule, ...]
    constants: dict[str, float]
    description: str
    sources: tuple[str, ...]

    def __init__(
        self,
        rules: Iterable[Any],
        seed: int = 0,
        *,
        constants: Mapping[str, float] | None = None,
        description: str = "",
        sources: Iterable[str] | None = (),
    ) -> None:
        data = {"rules": rules, "seed": seed, "constants": constants or {}, "description": description}
        several = [sources] if isinstance(sources, str) else () if sources is None else sources
        self._read({**data, "sources": several}, Source())

    def _read(self, data: Any, source: Source) -> None:
        if not isinstance(data, Mapping):
            raise RecipeError(
                [Mistake(source.file, 1, "", f"A recipe must have {', '.join(_TOP)}. Received: {data!r}.")]
            )
        constants = data.get("constants", {})
        checker = Checker(source, constants if isinstance(constants, Mapping) else {})
        for key in data:
            if key not in _TOP:
                hint = suggestion(key, _TOP) or f" A recipe has {', '.join(_TOP)}."
                checker.add(f"Unknown key {key!r}.{hint}", str(key))
        self.seed = self._checked_seed(checker, data.get("seed", 0))
        self.description = data.get("description", "")
        if not isinstance(self.description, str):
            checker.add(f"`description` must be a string. Received: {self.description!r}.", "description")
        sources = data.get("sources", [])
        if not isinstance(sources, (list, tuple)) or not all(isinstance(each, str) for each in sources):
            checker.add(f"`sources` must be a list of strings. Received: {sources!r}.", "sources")
            sources = []
        self.sources = tuple(sources)
        self.constants = self._checked_constants(checker, constants)
        self.rules = self._checked_rules(checker, data.get("rules"))
        self.file = source.file
        if checker.mistakes:
            raise RecipeError(sorted(checker.mistakes, key=lambda mistake: mistake.line or 0))

    @staticmethod
    def _checked_seed(checker: Checker, seed: Any) -> int:
        try:
            if seed is None:
                raise ValueError("`seed` must be an integer. Received: seed=None.")
            return checked_seed(seed) or 0
        except (TypeError, ValueError) as error:
            checker.add(str(error).replace(" or None", ""), "seed")
            return 0

    @staticmethod
    def _checked_constants(checker: Checker, constants: Any) -> dict[str, float]:
        if not isinstance(constants, Mapping):
            checker.add(f"`constants` must be a table of numbers. Received: {constants!r}.", "constants")
            return {}
        found = {}
        for name, value in constants.items():
            key = f"constants.{name}"
            if not isinstance(name, str) or not name.isidentifier() or name == "config":
                checker.add(f"A constant's name must be an identifier other than config. Received: {name!r}.", key)
            elif name in VARIABLES and name != "n_layers":
                checker.add(f"A constant must not be named as a variable. Received: {name!r}.", key)
            elif isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:
                checker.add(f"A constant must be a finite number. Received: {name} = {value!r}.", key)
            else:
                found[name] = value
        return found

    @staticmethod
    def _checked_rules(checker: Checker, rules: Any) -> tuple[Rule, ...]:
        if isinstance(rules, (str, bytes, Mapping)) or not isinstance(rules, Iterable):
            checker.add(f"A recipe needs `rules`, a list of them. Received: {rules!r}.", "rules")
            return ()
        found = []
        rules = list(rules)
        if not rules:
            checker.add("A recipe needs at least one rule. Received: none.", "rules")
        for number, data in enumerate(rules):
            checker.in_rule(number, data)
            rule = Rule.checked(checker, data)
            if rule is not None:
                found.append(rule)
        checker.in_rule(None)
        return tuple(found)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Recipe:
        """A recipe from what `as_dict` returns: `seed`, `rules`, `constants`, `description`, `sources`.

        Raises:
            RecipeError: with every mistake.

        >>> import fanin
        >>> fanin.Recipe.from_dict({"seed": 3, "rules": [{"path": "*", "initializer": "zeros"}]})
        Recipe([Rule(path='*', initializer='zeros')], seed=3)
        """
        recipe = cls.__new__(cls)
        recipe._read(data, Source())
        return recipe

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, seed: int | None = None) -> Recipe:
        """A recipe from a TOML or YAML file.

        Args:
            path: a file that ends in .toml, .yaml or .yml (which needs PyYAML: `pip install 'fanin[yaml]'`).
            seed: another seed than the file's.

        Raises:
            RecipeError: with every mistake, its line and its rule.
            OSError: the file cannot be read.
        """
        path = Path(path)
        try:
            data, source = read(path)
        except UnreadableError as error:
            raise RecipeError([Mistake(path.name, error.line, "", str(error))]) from None
        recipe = cls.__new__(cls)
        recipe._read(data, source)
        return recipe if seed is None else recipe.with_seed(seed)

    @classmethod
    def preset(cls, name: str, seed: int = 0, **constants: float) -> Recipe:
        """One of the recipes that come with fanin: bert, flax, gpt2, keras, llama, mup, resnet, t5, torch or vit.

        Args:
            name: the preset's name. Its file, with its sources, is printed by `fanin recipe new --preset NAME`.
            seed: the seed.
            **constants: other values for the preset's constants.

        Raises:
            ValueError: no such preset, or no such constant in it.

        >>> import fanin
        >>> fanin.Recipe.preset("gpt2", seed=1).description
        'GPT-2, and transformers made after it'
        """
        recipe = cls.load(preset_path(name), seed=seed)
        for constant in constants:
            if constant not in recipe.constants:
                there = ", ".join(recipe.constants) or "none"
                raise ValueError(
                    f"A constant must be one of the preset's, which are: {there}. Received: {constant!r}."
                    f"{suggestion(constant, recipe.constants)}"
                )
        return (
            cls.from_dict({**recipe.as_dict(), "constants": {**recipe.constants, **constants}}) if constants else recipe
        )

    def with_seed(self, seed: int) -> Recipe:
        """The same rules with another seed."""
        checker = Checker(Source(), {})
        other = type(self).__new__(type(self))
        vars(other).update(vars(self))
        other.seed = self._checked_seed(checker, seed)
        if checker.mistakes:
            raise RecipeError(checker.mistakes)
        return other

    def as_dict(self) -> dict[str, Any]:
        """The recipe as plain data, which `from_dict` takes.

        Raises:
            TypeError: an initializer is of a class that no file can name.
        """
        data: dict[str, Any] = {"seed": self.seed}
        if self.description:
            data["description"] = self.description
        if self.sources:
            data["sources"] = list(self.sources)
        if self.constants:
            data["constants"] = dict(self.constants)
        data["rules"] = [rule.as_dict() for rule in self.rules]
        return data

    def to_toml(self, path: str | os.PathLike[str] | None = None) -> str:
        """The recipe as TOML, which `load` reads; written to a file, too, if a path is given."""
        text = written(self.as_dict())
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def plan(self, model: Any, *, names: Any = None, layers: Any = None) -> plans.Plan:
        """What each parameter of a model would get. Nothing is drawn.

        Args:
            model: a module of PyTorch, a model of tf_keras or Keras 3, a module of flax.nnx or equinox or a tree of
                arrays or shapes of JAX; or a list of dicts with `path` and `shape`, and `dtype`, `layer`, `role`,
                `layout`, `fan_in` and `fan_out` where they are known.
            names: under which names parameters are drawn, where those are not their paths: a mapping of globs to names,
                in which each `*` stands for what it stands for in the glob, or a function of a parameter. Models of
                different frameworks get the same weights where names are the same.
            layers: for trees of flax.linen, what `fanin.jax.layers_of` found.

        Returns:
            A `Plan`. What stands in the way of its execution is in `plan.problems` and `plan.unmatched`.

        >>> import fanin
        >>> recipe = fanin.Recipe([{"path": "*", "initializer": "random_normal"}])
        >>> recipe.plan([{"path": "w", "shape": [2, 3]}]).entries[0].name
        'w'
        """
        from fanin import _models

        found = _models.describe(model, **({} if layers is None else {"layers": layers}))
        return self.plan_of(found, names=names)

    def plan_of(self, found: Any, *, names: Any = None) -> plans.Plan:
        """The plan for parameters that have been found already, a `plans.Found`."""
        return _planner.made(self, found, NameMap(names))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Recipe):
            return NotImplemented
        return (self.seed, self.rules, self.constants) == (other.seed, other.rules, other.constants)

    def __hash__(self) -> int:
        return hash((self.seed, self.rules))

    def __repr__(self) -> str:
        constants = f", constants={self.constants!r}" if self.constants else ""
        return f"Recipe({list(self.rules)!r}, seed={self.seed}{constants})"


def preset_path(name: str) -> Path:
    """The file of a preset."""
    if not isinstance(name, str) or name not in PRESETS:
        raise ValueError(
            f"A preset must be one of {', '.join(PRESETS)}. Received: {name!r}.{suggestion(name, PRESETS)}"
        )
    return Path(__file__).parent / "presets" / f"{name}.toml"


def checked_recipe(recipe: Any) -> Recipe:
    """The recipe, if it is one."""
    if isinstance(recipe, Recipe):
        return recipe
    hint = f" Write Recipe.preset({recipe!r})." if str(recipe) in PRESETS else " Load a file by Recipe.load(path)."
    raise TypeError(
        f"`recipe` must be a fanin.Recipe. Received: {shown(recipe)}.{hint if isinstance(recipe, str) else ''}"
    )
