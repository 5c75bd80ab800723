"""The rules of recipes, which check their keys, match parameters, and make initializers."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from fanin import initializers
from fanin._core.messages import shown, suggestion, visible
from fanin._core.types import Layout
from fanin.initializers import Initializer, SeededInitializer
from fanin.initializers.arguments import Kind, arguments_of, takes_none
from fanin.models.parameters import Parameter
from fanin.models.patterns import AnyGlob, Regex
from fanin.models.traits import ROLES
from fanin.recipes.expressions import Expression
from fanin.recipes.files import Source

# Instead of an initializer: the parameter stays as it is, or is made as the model's own code makes it.
KEEP, AS_WRITTEN = "keep", "as_written"
NONE = "none"  # instead of a word: None

CONDITIONS = {
    "path": "one or more globs of the parameter's path; * matches any text, including dots",
    "regex": "a regular expression that must match the whole path",
    "layer": "one or more globs of the type of its layer, such as Linear, or of one of the type's base classes",
    "within": "one or more globs of the type of a layer that contains it, at any depth",
    "role": f"one of {', '.join(ROLES)}, or several",
    "rank": "one or more numbers of axes",
    "trainable": "true, or false for frozen parameters",
    "block": "a glob of the name of a block of a fused parameter, such as forget or query",
}
SETTINGS = {
    "name": "a name for the rule, for tables and messages",
    "initializer": "the name of an initializer, or keep, or as_written",
    "layout": 'the order of its axes, if the layer table does not know it: "keras", "torch" or Keras\'s axes',
    "stacked": "how many of the first axes stack kernels; layout and fans refer to the remaining axes",
    "fan_in": "the fan-in, a number or an expression, instead of the layer table's",
    "fan_out": "the fan-out, a number or an expression, instead of the layer table's",
    "blocks": "the names of the equal blocks along its outputs; each block is drawn on its own",
    "zero_rows": "the rows that are zero, instead of the layer table's padding; [] for none",
    "optional": "true if no warning is wanted where no parameter uses the rule",
}
# The keys of a rule that says as_written: a model's own code makes whole parameters, and needs to be told nothing.
_OF_AS_WRITTEN = {*CONDITIONS, "name", "initializer", "optional"} - {"block"}
_MOST_AXES = 1000  # beyond what any framework has
# What stands for an expression while a rule is checked, by the kind of its argument; others are as they are given.
_TRIED: Mapping[Kind, Any] = {Kind.NUMBER: 1.0, Kind.INTEGER: 1, Kind.VALUES: 1.0}


class Mistake(NamedTuple):
    """One mistake in a recipe.

    Attributes:
        file: the file's name; None for a recipe made in Python.
        line: the line in the file.
        rule: the rule in words; "" outside of rules.
        problem: what is wrong, and what to do.
    """

    file: str | None
    line: int | None
    rule: str
    problem: str

    def __str__(self) -> str:
        place = "" if self.file is None else f"{self.file}:{self.line or 1}"
        return visible(": ".join(filter(None, [", ".join(filter(None, [place, self.rule])), self.problem])))


class RecipeError(ValueError):
    """The error for a recipe with mistakes; the message lists all of them.

    Attributes:
        mistakes: a tuple of `Mistake`.
    """

    __module__ = "fanin.recipes"  # where it is public

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes: tuple[Mistake, ...] = tuple(mistakes)
        count = f"{len(self.mistakes)} mistakes" if len(self.mistakes) > 1 else "a mistake"
        super().__init__(f"The recipe has {count}.\n" + "\n".join(f"  {each}" for each in self.mistakes))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.mistakes,)


class Checker:
    """Reads a recipe's data, and collects its mistakes instead of stopping at the first."""

    source: Source
    constants: Mapping[str, float]
    label: str

    def __init__(self, source: Source, constants: Mapping[str, float]) -> None:
        self.source, self.constants = source, constants
        self.mistakes: list[Mistake] = []
        self.number: int | None = None
        self.label = ""

    def add(self, problem: str, key: str | None = None) -> None:
        """Records a mistake, of a key if one is given."""
        line = self.source.line(self.number, key)
        self.mistakes.append(Mistake(self.source.file, line, self.label, problem))

    def in_rule(self, number: int | None, data: Any = None) -> None:
        """Sets the rule that the next mistakes belong to."""
        self.number = number
        name = data.get("name") if isinstance(data, Mapping) else None
        named = f' ("{name}")' if isinstance(name, str) else ""
        self.label = "" if number is None else f"rule {number + 1}{named}"

    def strings(self, data: Mapping[str, Any], key: str) -> tuple[str, ...]:
        """The strings under a key, whose value is one string or a list of them."""
        if key not in data:
            return ()
        value = data[key]
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, (list, tuple)) or not values or not all(isinstance(v, str) and v for v in values):
            self.add(f"`{key}` must be {CONDITIONS.get(key) or SETTINGS[key]}. Received: {key} = {shown(value)}.", key)
            return ()
        return tuple(values)

    def regex(self, value: Any) -> Regex | None:
        """A regular expression; None, and a mistake, if the value is none."""
        problem = "not a string"
        if isinstance(value, str):
            try:
                return Regex(value)
            except ValueError as error:
                problem = str(error)
        self.add(f"`regex` must be a regular expression ({problem}). Received: {shown(value)}.", "regex")
        return None

    def expression(self, key: str, value: Any) -> Any:
        """A number or an `Expression`; None, and a mistake, if the value is neither."""
        if isinstance(value, str):
            try:
                return Expression(value, self.constants)
            except ValueError as error:
                self.add(f"`{key}`: {error}", key)
                return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.add(f"`{key}` must be a number or an expression. Received: {key} = {shown(value)}.", key)
            return None
        return value


class Rule:
    """One rule of a recipe: conditions, all of which a parameter must meet, and the initializer that it then gets.

    Args:
        **data: the keys of a rule. Conditions: `path`, `regex`, `layer`, `within`, `role`, `rank`, `trainable`,
            `block`. Settings: `initializer` and its own arguments, as numbers or expressions; `name`, `layout`,
            `stacked`, `fan_in`, `fan_out`, `blocks`, `zero_rows`, `optional`.

    Raises:
        RecipeError: the rule has mistakes; the error lists all of them.

    >>> from fanin.recipes import Rule
    >>> Rule(role="kernel", initializer="he_normal")
    Rule(role='kernel', initializer='he_normal')
    """

    number: int | None
    line: int | None
    name: str | None
    layout: Layout | None
    stacked: int
    blocks: tuple[str, ...]
    zero_rows: tuple[int, ...] | None
    optional: bool
    as_written: bool  # whether the model's own code makes the parameters
    comment: str = ""  # lines about it that files have above it
    variables: tuple[str, ...]  # in its expressions, with constants and `config.NAME`

    def __init__(self, **data: Any) -> None:
        checker = Checker(Source(), {})
        checker.in_rule(None, data)
        self._read(checker, data)
        if checker.mistakes:
            raise RecipeError(checker.mistakes)

    @classmethod
    def checked(cls, checker: Checker, data: Any) -> Rule | None:
        """The rule of an item in a recipe's data; None, and mistakes in the checker, if it is invalid."""
        comment = ""
        if isinstance(data, Rule):
            data, comment = dict(data._data), data.comment
        if not isinstance(data, Mapping) or not all(isinstance(key, str) for key in data):
            checker.add(f"A rule must be a table of keys and values. Received: {shown(data)}.")
            return None
        before = len(checker.mistakes)
        rule = cls.__new__(cls)
        rule.comment = comment
        rule._read(checker, dict(data))
        return rule if len(checker.mistakes) == before else None

    def _read(self, checker: Checker, data: dict[str, Any]) -> None:
        self._data = data
        self.number = checker.number
        self.line = checker.source.line(checker.number) if checker.number is not None else None
        self.name = data.get("name")
        if self.name is not None and not isinstance(self.name, str):
            checker.add(f"`name` must be a string. Received: name = {shown(self.name)}.", "name")
        self._read_conditions(checker, data)
        self._read_initializer(checker, data)
        self._read_overrides(checker, data)
        values = [*self._arguments.values(), *self._fans]
        self.variables = tuple({name: None for each in values if isinstance(each, Expression) for name in each.names})

    def _read_conditions(self, checker: Checker, data: dict[str, Any]) -> None:
        if not any(key in data for key in CONDITIONS):
            checker.add(f'A rule needs a condition: {", ".join(CONDITIONS)}. For all parameters write path = "*".')
        self._paths = AnyGlob(checker.strings(data, "path"))
        self._layers = AnyGlob(checker.strings(data, "layer"))
        self._within = AnyGlob(checker.strings(data, "within"))
        self._blocks = AnyGlob(checker.strings(data, "block"))
        self._roles = checker.strings(data, "role")
        for role in self._roles:
            if role not in ROLES:
                hint = suggestion(role, ROLES) or f" Known roles: {', '.join(ROLES)}."
                checker.add(f"Unknown role {shown(role)}.{hint}", "role")
        self._regex = None
        if "regex" in data:
            self._regex = checker.regex(data["regex"])
        ranks = data.get("rank", [])
        ranks = list(ranks) if isinstance(ranks, (list, tuple)) else [ranks]
        if ("rank" in data and not ranks) or not all(map(_is_count, ranks)):
            checker.add(f"`rank` must be a number of axes, or several. Received: rank = {shown(data['rank'])}.", "rank")
        self._ranks = ranks
        self._trainable = data.get("trainable")
        if self._trainable is not None and not isinstance(self._trainable, bool):
            checker.add(f"`trainable` must be true or false. Received: {shown(self._trainable)}.", "trainable")
        self.optional = data.get("optional", False)
        if not isinstance(self.optional, bool):
            checker.add(f"`optional` must be true or false. Received: {shown(self.optional)}.", "optional")

    def _read_initializer(self, checker: Checker, data: dict[str, Any]) -> None:
        self.as_written = False
        self._given: Initializer | None = None
        self._class: type[Initializer] | None = None
        self._arguments: dict[str, Any] = {}
        arguments = {key: value for key, value in data.items() if key not in CONDITIONS and key not in SETTINGS}
        value = data.get("initializer")
        if value is None:
            checker.add('A rule needs an `initializer`, such as initializer = "he_normal", or "keep".', "initializer")
        elif isinstance(value, str) and value in (KEEP, AS_WRITTEN):
            self.as_written = value == AS_WRITTEN
        elif isinstance(value, str):
            found = initializers.NAMES.get(value)
            if found is None or found is Initializer:
                hint = (
                    initializers.name_hint(value, [*initializers.NAMES, KEEP, AS_WRITTEN])
                    or " `fanin show --list` lists all names."
                )
                checker.add(f"Unknown initializer {shown(value)}.{hint}", "initializer")
                arguments = {key: None for key in arguments if suggestion(key, [*CONDITIONS, *SETTINGS])}
            else:
                self._class = found
        else:
            self._read_object(checker, value)
        known = () if self._class is None else [each for each in arguments_of(self._class) if each != "seed"]
        for key in arguments:
            if key not in known:
                self._unknown_key(checker, key, known)
        if self._class is not None:
            self._read_arguments(checker, {key: value for key, value in arguments.items() if key in known})

    def _read_object(self, checker: Checker, value: Any) -> None:
        """Reads an initializer or its configuration, which must have no seed: all parameters would share it."""
        try:
            found = initializers.get(value)
            found = getattr(found, "source", found)
        except (TypeError, ValueError) as error:
            checker.add(str(error), "initializer")
            return
        except RecursionError:
            checker.add(f"`initializer` is nested too deeply. Received: {shown(value)}.", "initializer")
            return
        if not isinstance(found, Initializer) or type(found).distribution is Initializer.distribution:
            checker.add(
                "`initializer` must be a name, or an initializer that overrides `distribution`. "
                f"Received: {shown(value)}.",
                "initializer",
            )
        elif isinstance(found, SeededInitializer) and found.seed is not None:
            checker.add(
                "A rule's initializer must not have a seed: each parameter's seed comes from the recipe's seed and the "
                f"parameter's name. Received: {shown(found)}.",
                "initializer",
            )
        else:
            self._given = found

    def _unknown_key(self, checker: Checker, key: str, arguments: Iterable[str]) -> None:
        if key == "seed":
            checker.add(
                "A rule must not have a seed: each parameter's seed comes from the recipe's seed and the parameter's "
                "name.",
                key,
            )
            return
        known = [*CONDITIONS, *SETTINGS, *arguments]
        hint = suggestion(key, known)
        if not hint:
            of = f"the arguments {', '.join(arguments)}" if arguments else "no arguments"
            hint = f" Known keys: {', '.join([*CONDITIONS, *SETTINGS])}; the initializer has {of}."
        checker.add(f"Unknown key {shown(key)}.{hint}", key)

    def _read_arguments(self, checker: Checker, arguments: dict[str, Any]) -> None:
        assert self._class is not None
        constructed = {}
        for key, value in arguments.items():
            kind = arguments_of(self._class)[key]
            is_number = kind is Kind.NUMBER and value is not None
            is_expression = is_number or (kind in _TRIED and isinstance(value, str))
            before = len(checker.mistakes)
            found = checker.expression(key, value) if is_expression else _word(self._class, key, value)
            if len(checker.mistakes) > before:
                return
            self._arguments[key] = found
            constructed[key] = _TRIED[kind] if isinstance(found, Expression) else found
        try:
            self._class(**constructed)  # checks arguments that are numbers or words
        except (TypeError, ValueError) as error:
            key = next((each for each in arguments if f"`{each}`" in str(error)), "initializer")
            checker.add(str(error), key)
        except RecursionError:
            checker.add(f"An argument is nested too deeply. Received: {shown(arguments)}.", "initializer")

    def _read_overrides(self, checker: Checker, data: dict[str, Any]) -> None:
        self.layout = data.get("layout")
        if isinstance(self.layout, str) and self.layout not in ("keras", "torch"):
            hint = suggestion(self.layout, ["keras", "torch"])
            checker.add(f"`layout` must be {SETTINGS['layout']}. Received: {shown(self.layout)}.{hint}", "layout")
        elif isinstance(self.layout, (list, tuple)):
            if not all(type(axis) is int and abs(axis) < _MOST_AXES for axis in self.layout) or len(
                set(self.layout)
            ) != len(self.layout):
                checker.add(f"`layout` must be {SETTINGS['layout']}. Received: {shown(self.layout)}.", "layout")
            self.layout = tuple(self.layout)
        elif self.layout is not None and not isinstance(self.layout, str):
            checker.add(f"`layout` must be {SETTINGS['layout']}. Received: {shown(self.layout)}.", "layout")
        self.stacked = data.get("stacked", 0)
        if not _is_count(self.stacked) or (self.stacked and self.layout is None):
            rule = "`stacked` must be a number of axes, and needs a `layout`"
            checker.add(f"{rule}. Received: {shown(self.stacked)}.", "stacked")
        fans = {key: checker.expression(key, data[key]) for key in ("fan_in", "fan_out") if key in data}
        for key, value in fans.items():
            if isinstance(value, (int, float)) and not 0 < value < 1e300:
                checker.add(f"`{key}` must be a positive number. Received: {key} = {shown(value)}.", key)
        self._fans = tuple(fans.get(key) for key in ("fan_in", "fan_out"))
        self._check_axes(checker, fans)
        self.blocks = checker.strings(data, "blocks")
        if len(set(self.blocks)) != len(self.blocks) or len(self.blocks) == 1 or isinstance(data.get("blocks"), str):
            checker.add(f"`blocks` must be two or more different names. Received: {shown(data['blocks'])}.", "blocks")
        self.zero_rows = self._read_zero_rows(checker, data)
        if self.as_written:
            for key in data.keys() & SETTINGS.keys() | data.keys() & {"block"}:
                if key not in _OF_AS_WRITTEN:
                    rule = f"A rule that says {AS_WRITTEN} makes whole parameters as the model's own code does, without"
                    checker.add(f"{rule} `{key}`. Received: {key} = {shown(data[key])}.", key)

    def _check_axes(self, checker: Checker, fans: Collection[str]) -> None:
        """Records a mistake if the rule gives fans, and its initializer axes to take them from."""
        axes: list[str] = []
        if self._class is not None and issubclass(self._class, initializers.VarianceScaling):
            axes = [key for key in self._arguments if arguments_of(self._class)[key] is Kind.AXES]
        has_axes = axes or (isinstance(self._given, initializers.VarianceScaling) and self._given.has_own_axes)
        if fans and has_axes:
            named = " and ".join(f"`{key}`" for key in (*fans, *axes))
            checker.add(
                f"Fans are given once: by numbers, or by axes. Received: {named}. Leave one kind out.", min(fans)
            )

    @staticmethod
    def _read_zero_rows(checker: Checker, data: Mapping[str, Any]) -> tuple[int, ...] | None:
        rows = data.get("zero_rows")
        if "zero_rows" not in data:
            return None
        if not isinstance(rows, (list, tuple)) or not all(type(row) is int and row >= 0 for row in rows):
            checker.add(f"`zero_rows` must be a list of rows, from 0. Received: {shown(rows)}.", "zero_rows")
            return None
        return tuple(dict.fromkeys(rows))

    def renumbered(self, number: int) -> Rule:
        """The same rule at another position in a recipe, counted from 0."""
        other = self._copy()
        other.number = number
        return other

    def commented(self, comment: str) -> Rule:
        """The same rule with lines about it, which files have above it. (Reading a file ignores its comments.)"""
        other = self._copy()
        other.comment = comment
        return other

    def _copy(self) -> Rule:
        other = type(self).__new__(type(self))
        vars(other).update(vars(self))
        return other

    def matches(self, parameter: Parameter, name: str) -> bool:
        """Whether a parameter meets all conditions except `block`.

        Only rules that name their roles match running statistics, counters and adapters.
        """
        if parameter.role not in self._roles if self._roles else parameter.has_usual_start:
            return False
        return (
            (self._trainable is None or parameter.trainable == self._trainable)
            and (not self._ranks or len(parameter.shape) in self._ranks)
            and (not self._layers or any(map(self._layers.matches, (parameter.layer, *parameter.bases))))
            and (not self._within or any(map(self._within.matches, parameter.within)))
            and self._matches_path(parameter, name)
        )

    def _matches_path(self, parameter: Parameter, name: str) -> bool:
        """Whether one of a parameter's paths meets each condition of paths."""
        if not self._paths and self._regex is None:
            return True
        part = parameter.traits.part
        paths = {parameter.path, name, *parameter.tied, *(() if part is None else (part.path,))}
        return (not self._paths or any(map(self._paths.matches, paths))) and (
            self._regex is None or any(map(self._regex.matches, paths))
        )

    @property
    def by_block(self) -> bool:
        """Whether the rule is about blocks of fused parameters, each of which it draws separately."""
        return bool(self._blocks or self.blocks)

    def matches_block(self, block: str) -> bool:
        """Whether the rule is about this block."""
        return not self._blocks or self._blocks.matches(block)

    @property
    def names_its_parameters(self) -> bool:
        """Whether it is about parameters or layers of certain names, which a model may spell differently."""
        names = self._paths, self._layers, self._within
        return self._regex is not None or any(each and not each.is_everything for each in names)

    @property
    def sets_scale(self) -> bool:
        """Whether its parameters get random values, rather than constants, or stay as they are."""
        return isinstance(self._given, SeededInitializer) or (
            self._class is not None and issubclass(self._class, SeededInitializer)
        )

    @property
    def keeps(self) -> bool:
        """Whether the rule leaves parameters as they are."""
        return self._given is None and self._class is None and not self.as_written

    def initializer(self, known: Mapping[str, float], seed: int) -> Initializer:
        """The initializer, with its expressions evaluated and the recipe's seed.

        Raises:
            ValueError, TypeError: an expression has no value here, or one that the initializer does not accept.
        """
        if self._given is not None:
            return self._given.with_seed(seed)  # its configuration need not have a seed
        assert self._class is not None
        arguments = {
            key: self._value_of(key, value, known) if isinstance(value, Expression) else value
            for key, value in self._arguments.items()
        }
        seeds = {"seed": seed} if issubclass(self._class, SeededInitializer) else {}
        return self._class(**arguments, **seeds)

    def _value_of(self, key: str, expression: Expression, known: Mapping[str, float]) -> float:
        """The value of an argument's expression: an integer, if the argument takes nothing else."""
        assert self._class is not None
        value = expression.value(known)
        if arguments_of(self._class)[key] is not Kind.INTEGER:
            return value
        if value % 1:
            raise ValueError(f"`{key}` must be a whole number. Received: {value} of {shown(expression.text)}")
        return int(value)

    def fans(self, known: Mapping[str, float]) -> tuple[float | None, float | None]:
        """The fans that the rule itself sets; None for those that it does not set."""
        first, second = (each.value(known) if isinstance(each, Expression) else each for each in self._fans)
        for key, value, given in zip(("fan_in", "fan_out"), (first, second), self._fans, strict=True):
            if value is not None and value <= 0:
                raise ValueError(f"`{key}` must be positive. Received: {value} of {given}")
        return first, second

    def as_dict(self) -> dict[str, Any]:
        """The rule's keys, as plain data.

        Raises:
            TypeError: the class of its initializer has no name that a file can hold.
        """
        data = self._plain()
        if self._given is not None:
            if type(self._given) not in initializers.CLASSES:
                raise TypeError(
                    "Only fanin's own initializers can be named in a file. "
                    f"Received: {self.label} with {self._given!r}."
                )
            data = {**data, "initializer": type(self._given).__name__, **_said(self._given)}
        return data

    @property
    def label(self) -> str:
        """The rule in a few words: its number, line and name."""
        number = "" if self.number is None else f" {self.number + 1}"
        line = "" if self.line is None else f" (line {self.line})"
        return f"rule{number}{line}" + (f" “{self.name}”" if self.name else "")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Rule):
            return NotImplemented
        return self._comparable() == other._comparable()

    def __hash__(self) -> int:
        return hash(repr(sorted(self._comparable().items(), key=lambda item: item[0])))

    def _comparable(self) -> dict[str, Any]:
        """The data that is the same for equal rules, however they were written."""
        ours = self._given is None or type(self._given) in initializers.CLASSES
        return self.as_dict() if ours else self._plain()

    def _plain(self) -> dict[str, Any]:
        return {key: list(value) if isinstance(value, tuple) else value for key, value in self._data.items()}

    def __repr__(self) -> str:
        return f"Rule({', '.join(f'{key}={value!r}' for key, value in self._data.items())})"


def _word(cls: type[Initializer], key: str, value: Any) -> Any:
    """A value as an argument: None is a word in files, which have no other for it."""
    return None if value == NONE and _none_is_a_word(cls, key) else value


def _none_is_a_word(cls: type[Initializer], key: str) -> bool:
    return arguments_of(cls)[key] is Kind.WORD and takes_none(cls, key)


def _said(initializer: Initializer) -> dict[str, Any]:
    """What a rule says of an initializer besides its class: its configuration, without what None leaves unsaid."""
    cls = type(initializer)
    defaults = inspect.signature(cls).parameters
    config = {key: value for key, value in initializer.get_config().items() if key != "seed"}
    return {
        key: NONE if value is None and _none_is_a_word(cls, key) else value
        for key, value in config.items()
        if value is not None or defaults[key].default is not None
    }


def _is_count(value: Any) -> bool:
    """Whether a value is a number of axes."""
    return type(value) is int and 0 <= value < _MOST_AXES
