"""Recipes, made in Python or read from files, and the presets that come with fanin."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fanin._core.messages import shown, suggestion
from fanin._core.streams import checked_seed
from fanin.models import registry
from fanin.models.names import NameMap, Names
from fanin.recipes import planner
from fanin.recipes.expressions import VARIABLES
from fanin.recipes.files import Source, UnreadableError, parsed, read, written
from fanin.recipes.plan import Plan
from fanin.recipes.rules import Checker, Mistake, RecipeError, Rule

PRESETS = ("bert", "flax", "gpt2", "keras", "llama", "mup", "resnet", "t5", "torch", "vit")
_TOP = ("seed", "description", "sources", "constants", "rules")


class Recipe:
    """A seed and ordered rules that say which initializer each parameter gets. The first rule that matches applies.

    The values of a parameter are a function of the seed, its name and the index alone: neither the order of the
    parameters nor the rest of the model matters.

    Args:
        rules: the rules in order, as `Rule` or as dicts with the same keys.
        seed: an integer in [-2**63, 2**63 - 1].
        constants: numbers by name, for the rules' expressions. `n_layers` may be among them, for a part of a model.
        description: what the recipe is for, in a sentence.
        sources: where its rules come from.

    Raises:
        RecipeError: the recipe has mistakes; the error lists all of them. (A ValueError.)

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
    file: str | None
    comment: str = ""  # lines about it that files have above it

    def __init__(
        self,
        rules: Iterable[Rule | Mapping[str, Any]],
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
                [Mistake(source.file, 1, "", f"A recipe must have {', '.join(_TOP)}. Received: {shown(data)}.")]
            )
        constants = data.get("constants", {})
        checker = Checker(source, constants if isinstance(constants, Mapping) else {})
        for key in data:
            if key not in _TOP:
                hint = suggestion(key, _TOP) or f" A recipe has {', '.join(_TOP)}."
                checker.add(f"Unknown key {shown(key)}.{hint}", key if isinstance(key, str) else None)
        self.seed = self._checked_seed(checker, data.get("seed", 0))
        self.description = data.get("description", "")
        if not isinstance(self.description, str):
            checker.add(f"`description` must be a string. Received: {shown(self.description)}.", "description")
        sources = data.get("sources", [])
        if not isinstance(sources, (list, tuple)) or not all(isinstance(each, str) for each in sources):
            checker.add(f"`sources` must be a list of strings. Received: {shown(sources)}.", "sources")
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
            checker.add(f"`constants` must be a table of numbers. Received: {shown(constants)}.", "constants")
            return {}
        found = {}
        for name, value in constants.items():
            key = f"constants.{name}" if isinstance(name, str) else "constants"
            if not isinstance(name, str) or not name.isidentifier() or name == "config":
                checker.add(f"A constant's name must be an identifier other than config. Received: {shown(name)}.", key)
            elif name in VARIABLES and name != "n_layers":
                checker.add(f"A constant must not have the name of a variable. Received: {shown(name)}.", key)
            elif isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:
                checker.add(f"A constant must be a finite number. Received: {name} = {shown(value)}.", key)
            else:
                found[name] = value
        return found

    @staticmethod
    def _checked_rules(checker: Checker, rules: Any) -> tuple[Rule, ...]:
        if isinstance(rules, (str, bytes, Mapping)) or not isinstance(rules, Iterable):
            checker.add(f"A recipe needs `rules`, a list of rules. Received: {shown(rules)}.", "rules")
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
        """A recipe from the data of `as_dict`: `seed`, `rules`, `constants`, `description`, `sources`.

        Raises:
            RecipeError: the data has mistakes; the error lists all of them.

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
            path: a file that ends in .toml, .yaml or .yml (YAML needs PyYAML: `pip install 'fanin[yaml]'`).
            seed: a seed that replaces the file's.

        Raises:
            RecipeError: the file has mistakes; the error lists all of them, with their lines and rules.
            OSError: the file cannot be read.
        """
        path = Path(path)
        recipe = cls._read_by(read, path, name=path.name)
        return recipe if seed is None else recipe.with_seed(seed)

    @classmethod
    def from_toml(cls, text: str, *, name: str | None = None) -> Recipe:
        """A recipe from the text of a TOML file, such as `to_toml` returns.

        Args:
            text: the text.
            name: what messages call it, in place of a file's name.

        Raises:
            RecipeError: the text has mistakes; the error lists all of them, with their lines and rules.

        >>> import fanin
        >>> fanin.Recipe.from_toml('rules = [{path = "*", initializer = "zeros"}]')
        Recipe([Rule(path='*', initializer='zeros')], seed=0)
        """
        return cls._read_by(parsed, text, name, ".toml", name=name)

    @classmethod
    def _read_by(cls, read: Callable[..., tuple[Any, Source]], *arguments: Any, name: str | None) -> Recipe:
        try:
            data, source = read(*arguments)
        except UnreadableError as error:
            raise RecipeError([Mistake(name, error.line, "", str(error))]) from None
        recipe = cls.__new__(cls)
        recipe._read(data, source)
        return recipe

    @classmethod
    def preset(cls, name: str, seed: int = 0, **constants: float) -> Recipe:
        """One of the recipes that come with fanin: bert, flax, gpt2, keras, llama, mup, resnet, t5, torch or vit.

        Args:
            name: the preset's name. `fanin recipe new --preset NAME` prints its file, with its sources.
            seed: the seed.
            **constants: values that replace those of the preset's constants; also `n_layers`, for a part of a model, if
                the preset's rules depend on it.

        Raises:
            ValueError: there is no such preset, or it has no such constant.

        >>> import fanin
        >>> fanin.Recipe.preset("gpt2", seed=1).description
        'GPT-2 and similar transformers'
        >>> fanin.Recipe.preset("gpt2", n_layers=12).constants
        {'n_layers': 12}
        """
        recipe = cls.load(preset_path(name), seed=seed)
        known = [
            *recipe.constants,
            *(["n_layers"] if any("n_layers" in rule.variables for rule in recipe.rules) else []),
        ]
        for constant in constants:
            if constant not in known:
                raise ValueError(
                    f"Unknown constant {shown(constant)}. Known constants of the preset: {', '.join(known) or 'none'}."
                    f"{suggestion(constant, known)}"
                )
        return (
            cls.from_dict({**recipe.as_dict(), "constants": {**recipe.constants, **constants}}) if constants else recipe
        )

    @property
    def is_as_written(self) -> bool:
        """Whether a rule leaves parameters to the model's own code, by `as_written`.

        >>> import fanin
        >>> fanin.Recipe([{"path": "*", "initializer": "as_written"}]).is_as_written
        True
        """
        return any(rule.as_written for rule in self.rules)

    @property
    def unused_constants(self) -> tuple[str, ...]:
        """The names of constants that no rule uses, which may be misspelled.

        >>> import fanin
        >>> rules = [{"path": "*", "initializer": "random_normal", "stddev": "1 / width"}]
        >>> fanin.Recipe(rules, constants={"width": 64, "depth_of_all": 3}).unused_constants
        ('depth_of_all',)
        """
        used = {name for rule in self.rules for name in rule.variables}
        return tuple(name for name in self.constants if name not in used)

    def with_seed(self, seed: int) -> Recipe:
        """The same rules with another seed."""
        checker = Checker(Source(), {})
        other = self._copy()
        other.seed = self._checked_seed(checker, seed)
        if checker.mistakes:
            raise RecipeError(checker.mistakes)
        return other

    def extend(self, rules: Iterable[Rule | Mapping[str, Any]], **constants: float) -> Recipe:
        """A recipe with further rules in front. This recipe's own rules apply where none of those matches.

        Args:
            rules: the rules that come first, as `Rule` or as dicts with the same keys; may be empty.
            **constants: constants to add or replace.

        Raises:
            RecipeError: the new rules have mistakes; the error lists all of them.

        >>> import fanin
        >>> recipe = fanin.Recipe.preset("gpt2", seed=1).extend([{"path": "lm_head.weight", "initializer": "zeros"}])
        >>> recipe.rules[0]
        Rule(path='lm_head.weight', initializer='zeros')
        """
        known = {**self.constants, **constants}
        checker = Checker(Source(), known)
        other = self._copy()
        other.constants = self._checked_constants(checker, known)
        if isinstance(rules, Iterable) and not isinstance(rules, (str, bytes, Mapping)):
            rules = list(rules)
        added = () if rules == [] else self._checked_rules(checker, rules)
        if checker.mistakes:
            raise RecipeError(checker.mistakes)
        other.rules = (*added, *(rule.renumbered(number) for number, rule in enumerate(self.rules, len(added))))
        return other

    def commented(self, comment: str) -> Recipe:
        """The same recipe with lines about it, which files have above it. (Reading a file ignores its comments.)"""
        other = self._copy()
        other.comment = comment
        return other

    def _copy(self) -> Recipe:
        other = type(self).__new__(type(self))
        vars(other).update(vars(self))
        return other

    def as_dict(self) -> dict[str, Any]:
        """The recipe as plain data, which `from_dict` takes.

        Raises:
            TypeError: the class of an initializer has no name that a file can hold.
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

    def _as_data(self) -> dict[str, Any] | None:
        """The recipe as plain data; None if no data can hold it."""
        try:
            return self.as_dict()
        except TypeError:
            return None

    def to_toml(self, path: str | os.PathLike[str] | None = None) -> str:
        """The recipe as TOML, which `load` reads; also written to a file if a path is given."""
        text = written(self.as_dict(), [rule.comment for rule in self.rules], self.comment)
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def plan(self, model: Any, *, names: Names = None, layers: Mapping[str, Any] | None = None) -> Plan:
        """The plan of what each parameter of a model gets. Nothing is drawn.

        Args:
            model: a PyTorch module, a tf_keras or Keras 3 model, a flax.nnx or equinox module, or a tree of JAX arrays
                or shapes; or a list of dicts with `path` and `shape` and, if known, `dtype`, `layer`, `role`,
                `layout`, `fan_in` and `fan_out`.
            names: the names that parameters are drawn under, if not their paths: a mapping of globs to names, in which
                each `*` stands for the text that it matches in the glob, or a function of a `Parameter`. Models in
                different frameworks get the same weights if the names are the same. `{layer}` in a name stands for
                the number of each layer in a stack, such as `nn.scan` makes, which is then drawn by itself.
            layers: for flax.linen trees, the layers from `fanin.jax.layers_of`, whose result is a model, too.

        Returns:
            A `Plan`. `plan.problems` and `plan.unmatched` say what prevents its execution.

        Raises:
            ValueError: a key of `names` matches no parameter, of a model whose layers are all built.
            TypeError: the argument is not a model, or `names` is of no use.

        >>> import fanin
        >>> recipe = fanin.Recipe([{"path": "*", "initializer": "random_normal"}])
        >>> recipe.plan([{"path": "w", "shape": [2, 3]}]).entries[0].name
        'w'
        """
        described = registry.describe(model, layers)
        if described.stored is not None and any(rule.as_written for rule in self.rules):
            described = described.stored()
        planned = planner.plan(described, self.rules, self.constants, self.seed, NameMap(names))
        return replace(planned, recipe=self._as_data())

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
    """The path of a preset's file."""
    if not isinstance(name, str) or name not in PRESETS:
        raise ValueError(
            f"A preset must be one of {', '.join(PRESETS)}. Received: {shown(name)}.{suggestion(name, PRESETS)}"
        )
    return Path(__file__).parent / "presets" / f"{name}.toml"


def recipe_of(recipe: Recipe | str, seed: int | None = None) -> Recipe:
    """The recipe itself, or the preset of that name, with another seed if one is given."""
    if isinstance(recipe, str):
        if recipe not in PRESETS:
            raise ValueError(
                f"`recipe` must be a fanin.Recipe or the name of a preset: {', '.join(PRESETS)}. Received: "
                f"{shown(recipe)}.{suggestion(recipe, PRESETS) or ' Load a file with Recipe.load(path).'}"
            )
        recipe = Recipe.preset(recipe)
    if not isinstance(recipe, Recipe):
        raise TypeError(
            f"`recipe` must be a fanin.Recipe or the name of a preset. Received: {shown(recipe)} "
            f"(of type {type(recipe).__name__})."
        )
    return recipe if seed is None else recipe.with_seed(seed)
