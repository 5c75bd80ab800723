"""Recipes: every mistake with its line, its rule and what to do; files and back; arithmetic as Python's own."""

import json
import math
import operator
import pickle
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import yaml
from hypothesis import strategies as st

import fanin
from fanin._expressions import VARIABLES, Expression
from fanin.recipes import Mistake, Recipe, RecipeError, Rule
from strategies import examples

ALL = '[[rules]]\npath = "*"\n'
ZEROS = ALL + 'initializer = "zeros"\n'
NORMAL = ALL + 'initializer = "random_normal"\n'
SCALING = ALL + 'initializer = "variance_scaling"\ndistribution = "uniform"\n'
CONSTANTS = ZEROS + "[constants]\na = 1\n"
KEYS = (
    "path, regex, layer, within, role, rank, trainable, block, "
    "name, initializer, layout, stacked, fan_in, fan_out, blocks"
)
ROLES = (
    "kernel, recurrent_kernel, depthwise_kernel, bias, recurrent_bias, embedding, scale, offset, mean, variance, "
    "count, other"
)
LAYOUT = '`layout` must be the order of its axes where the table of layers has none: "keras", "torch" or Keras\'s axes.'
SEED = "`seed` must be an integer. Received: seed="

# Lines that are a mistake behind a rule that is good, `ZEROS` or `NORMAL` (below it: 4), and what is said of them.
LINES = {
    'roll = "kernel"': "Unknown key 'roll'. Did you mean 'role'?",
    "qqq = 3": f"Unknown key 'qqq'. There are {KEYS}; the initializer has the arguments mean, stddev.",
    "stdev = 3": "Unknown key 'stdev'. Did you mean 'stddev'?",
    "stddev = true": "`stddev` must be a number or an expression. Received: stddev = True.",
    "stddev = [1]": "`stddev` must be a number or an expression. Received: stddev = [1].",
    "stddev = inf": "`stddev` must be finite. Received: stddev=inf.",
    'regex = "("': "`regex` must be a regular expression (missing ), unterminated subpattern at position 0). "
    "Received: '('.",
    "regex = 3": "`regex` must be a regular expression (…",
    'role = ["bias", "kernal"]': "Unknown role 'kernal'. Did you mean 'kernel'?",
    'role = "qqq"': f"Unknown role 'qqq'. There are {ROLES}.",
    "role = 3": f"`role` must be one of {ROLES}, or several. Received: role = 3.",
    "rank = -1": "`rank` must be a number of axes, or several. Received: rank = -1.",
    "rank = []": "`rank` must be a number of axes, or several. Received: rank = [].",
    "rank = [2, true]": "`rank` must be a number of axes, or several. Received: rank = [2, True].",
    "layer = []": "`layer` must be a glob, or several, of the type of its layer, such as Linear, "
    "or of a class that this is derived from. Received: layer = [].",
    "within = ['']": "`within` must be a glob, or several, of the type of any layer around that one. Received: …",
    "name = 3": "`name` must be a string. Received: name = 3.",
    "seed = 3": "A rule has no seed: each parameter's comes from the recipe's seed and its name.",
    'layout = "tourch"': f"{LAYOUT} Received: 'tourch'. Did you mean 'torch'?",
    "layout = [0, 0]": f"{LAYOUT} Received: [0, 0].",
    "layout = 3": f"{LAYOUT} Received: 3.",
    'blocks = ["a"]': "`blocks` must be two or more different names. Received: ['a'].",
    'blocks = ["a", "a"]': "`blocks` must be two or more different names. Received: ['a', 'a'].",
    'blocks = "ab"': "`blocks` must be two or more different names. Received: 'ab'.",
    "blocks = [1, 2]": "`blocks` must be the names of the equal blocks …",
    'fan_in = "fan_inn"': "`fan_in`: Unknown variable 'fan_inn' in 'fan_inn'. Did you mean 'fan_in'?",
    "fan_out = true": "`fan_out` must be a number or an expression. Received: fan_out = True.",
}
# Lines that are a mistake before a good rule.
FIRST_LINES = {
    "sead = 1": "Unknown key 'sead'. Did you mean 'seed'?",
    "zzz = 1": "Unknown key 'zzz'. A recipe has seed, description, sources, constants, rules.",
    "[rule]": "Unknown key 'rule'. Did you mean 'rules'?",
    "seed = = 3": "Invalid value (at line 1, column 8)",
    "seed = true": SEED + "True (of type bool).",
    "seed = 1.0": SEED + "1.0 (of type float).",
    'seed = "1"': SEED + "'1' (of type str).",
    "seed = 9223372036854775808": "`seed` must lie in [-2**63, 2**63 - 1]. Received: seed=9223372036854775808.",
    "constants = 3": "`constants` must be a table of numbers. Received: 3.",
    "constants = { rank = 3 }": "A constant must not be named as a variable. Received: 'rank'.",
    "description = 3": "`description` must be a string. Received: 3.",
    'sources = "a"': "`sources` must be a list of strings. Received: 'a'.",
    "a = " + "[" * 5000: "…",
}
# Texts of files otherwise; the place of the mistake, and what is said of it.
MISTAKES = {
    "end": (ZEROS + 'name = """a', "4", "…"),
    "name": (
        ALL + 'initializer = "he_norml"',
        "3, rule 1",
        "Unknown initializer 'he_norml'. Did you mean 'he_normal'?",
    ),
    "far name": (ALL + 'initializer = "q"', "3, rule 1", "Unknown initializer 'q'. `fanin show --list` has all names."),
    "base": (ALL + 'initializer = "Initializer"', "3, rule 1", "Unknown initializer 'Initializer'.…"),
    "keep": (ALL + 'initializer = "kep"', "3, rule 1", "Unknown initializer 'kep'. Did you mean 'keep'?"),
    "no name": (ALL + "initializer = 3", "3, rule 1", "Could not interpret initializer identifier: 3.…"),
    "no initializer": (
        "\n" + ALL,
        "2, rule 1",
        'A rule needs an `initializer`, such as initializer = "he_normal", or "keep".',
    ),
    "argument of none": (
        ZEROS + "stddev = 3\n",
        "4, rule 1",
        f"Unknown key 'stddev'. There are {KEYS}; the initializer has no arguments.",
    ),
    "argument of keep": (ALL + 'initializer = "keep"\nmean = 3\n', "4, rule 1", "Unknown key 'mean'.…"),
    "range": (SCALING + "scale = -1", "5, rule 1", "`scale` must be positive float. Received: scale=-1."),
    "mode": (SCALING + "mode = 'fanin'", "5, rule 1", "Invalid `mode` argument: 'fanin'.… Did you mean 'fan_in'?"),
    "path": (
        '[[rules]]\npath = []\ninitializer = "zeros"\n',
        "2, rule 1",
        "`path` must be a glob, or several, of the parameter's path; * stands for any text, dots among it. "
        "Received: path = [].",
    ),
    "no condition": (
        '[[rules]]\nname = "n"\ninitializer = "zeros"\n',
        '1, rule 1 ("n")',
        "A rule needs a condition: path, regex, layer, within, role, rank, trainable, block. "
        'For all parameters write path = "*".',
    ),
    "second rule": (
        ZEROS + '\n# b\n[[rules]]\nname = "output"\nrole = "bais"\ninitializer = "zeros"\n',
        '8, rule 2 ("output")',
        "Unknown role 'bais'. Did you mean 'bias'?",
    ),
    "no rules": ("# a", "1", "A recipe needs `rules`, a list of them. Received: None."),
    "empty rules": ("seed = 1\nrules = []\n", "2", "A recipe needs at least one rule. Received: none."),
    "one rule": ("[rules]\na = 1\n", "1", "A recipe needs `rules`, a list of them. Received: {'a': 1}."),
    "number": ("seed = 1\nrules = [3]\n", "2, rule 1", "A rule must be a table of keys and values. Received: 3."),
    "variable": (CONSTANTS + "fan_in = 3", "6", "A constant must not be named as a variable. Received: 'fan_in'."),
    "text": (CONSTANTS + "width = 'b'", "6", "A constant must be a finite number. Received: width = 'b'."),
    "infinity": (CONSTANTS + "b = inf", "6", "A constant must be a finite number. Received: b = inf."),
    "truth": (CONSTANTS + "b = true", "6", "A constant must be a finite number. Received: b = True."),
    "spaces": (
        CONSTANTS + "'b c' = 1",
        "6",
        "A constant's name must be an identifier other than config. Received: 'b c'.",
    ),
    "config": (CONSTANTS + "config = 1", "6", "A constant's name must be an identifier other than config.…"),
}
MISTAKES |= {line: (NORMAL + line, "4, rule 1", said) for line, said in LINES.items()}
MISTAKES |= {line[:20]: (f"{line}\n{ZEROS}", "1", said) for line, said in FIRST_LINES.items()}

# Expressions that are none, and how that is said.
NO_EXPRESSIONS = {
    "1 +": "It must be an expression. Received: '1 +'. Allowed are numbers, + - * / // % **, parentheses, …",
    "": "It must be an expression. Received: ''.…",
    "1\n+2": "It must be an expression.…",
    "1\0": "It must be an expression.…",
    "x := 1": "It must be an expression.…",
    "fan_inn": "Unknown variable 'fan_inn' in 'fan_inn'. Did you mean 'fan_in'?",
    "widht": "Unknown variable 'widht' in 'widht'. Did you mean 'width'?",
    "2 * qqq": "Unknown variable 'qqq' in '2 * qqq'. There are depth, fan_in, fan_out, …, width, and config.NAME.",
    "config": "Unknown variable 'config' in 'config'. There are …",
    "sqr(2)": "Unknown function 'sqr'. Received: 'sqr(2)'. Did you mean 'sqrt'?",
    "__import__('os')": "Unknown function '__import__'. Received: \"__import__('os')\".…",
    "print(1)": "Unknown function 'print'. Received: 'print(1)'.…",
    "sqrt(1, 2)": "sqrt takes …",
    "sqrt()": "sqrt takes …",
    "min(1)": "min takes two or more arguments. Received: 'min(1)'.",
    "max(*[1])": "max takes two or more arguments. Received: 'max(*[1])'.",
    "1e400": "A number must be finite. Received: '1e400'.",
    "1" * 201: "An expression must have at most 200 characters. Received: 201 characters.",
    "(" * 120 + "1" + ")" * 120: "An expression must have at most 200 characters. Received: 241 characters.",
    "(" * 199: "It must be an expression.…",
}
FORBIDDEN = (
    "fan_in.real|().__class__|fan_in[0]|lambda: 1|[x for x in (1,)]|[1]|'a'|b'a'|f'{1}'|sqrt(x=1)|max(1, key=abs)|"
    "max(1, 2, **{})|abs(1)(2)|config.a.b|True|None|1j|1 if 1 else 2|1 < 2|1 and 2|(1, 2)|fan_in @ 2|~1|1 << 3|not 1|"
    "...|(yield)|await x|{1: 2}|{1}|sqrt.__self__|math.pi"
)
for text in FORBIDDEN.split("|"):
    NO_EXPRESSIONS[text] = f"{text!r} is not allowed. Received: {text!r}. Allowed are numbers, + - * / // % **, …"


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


@pytest.mark.parametrize("name", list(MISTAKES))
def test_mistake(name: str, tmp_path: Path) -> None:
    """A mistake in a TOML file, with the file's name, the line, the rule and what to do."""
    text, place, message = MISTAKES[name]
    assert_says(refused(load, tmp_path, text), f"recipe.toml:{place}: {message}")


@pytest.mark.parametrize("text", list(NO_EXPRESSIONS))
def test_no_expression(text: str, tmp_path: Path) -> None:
    """What is no expression, or one that is not allowed; nothing of it is ever run."""
    written = f"{NORMAL}mean = 1\nstddev = {json.dumps(text)}\n[constants]\nwidth = 3\n"
    assert_says(refused(load, tmp_path, written), f"recipe.toml:5, rule 1: `stddev`: {NO_EXPRESSIONS[text]}")


def test_other_files(tmp_path: Path) -> None:
    """Endings, encodings and files that are not there."""
    (tmp_path / "recipe.json").write_text("{}")
    with pytest.raises(
        ValueError, match=r"^A recipe is a file that ends in \.toml, \.yaml, \.yml\. Received: '.*json'"
    ):
        Recipe.load(tmp_path / "recipe.json")
    (tmp_path / "recipe.toml").write_bytes(b"# \xff\n" + ZEROS.encode())
    assert_says(refused(Recipe.load, tmp_path / "recipe.toml"), "recipe.toml:1: the file must be UTF-8 (…")
    with pytest.raises(FileNotFoundError, match=r"missing\.toml"):
        Recipe.load(tmp_path / "missing.toml")
    (tmp_path / "recipe.TOML").write_bytes(b"\xef\xbb\xbf" + ZEROS.encode())  # a byte order mark
    assert Recipe.load(str(tmp_path / "recipe.TOML"), seed=3) == Recipe([{"path": "*", "initializer": "zeros"}], seed=3)


MANY = '''seed = true
description = """
[[rules]]
path = 3
[constants]
"""
zzzz = [
  "[[rules]]",
  """
path = 4
  """,
]

[[rules]]
path = "*"
initializer = "zeros"
name = "first"

  [[ rules ]]  # indented
role = ["kernel",
  "biass"]
initializer = "he_norml"
stdev = 3
"name" = "second"

[[rules]]
path = "a"
initializer = "random_normal"
'mean' = "1 +"
seed = 3

[constants]
fan_in = 3
'''
ALL_OF_MANY = [
    (1, "", SEED + "True (of type bool)."),
    (7, "", "Unknown key 'zzzz'.…"),
    (20, 'rule 2 ("second")', "Unknown role 'biass'. Did you mean 'bias'?"),
    (22, 'rule 2 ("second")', "Unknown initializer 'he_norml'. Did you mean 'he_normal'?"),
    (29, "rule 3", "`mean`: It must be an expression. Received: '1 +'.…"),
    (30, "rule 3", "A rule has no seed: each parameter's comes from the recipe's seed and its name."),
    (33, "", "A constant must not be named as a variable. Received: 'fan_in'."),
]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_all_mistakes_at_once(end: str, tmp_path: Path) -> None:
    """Several mistakes are one error, each with its line, whatever stands in strings and however lines end."""
    with pytest.raises(RecipeError, match=r"^The recipe has 7 mistakes\.\n") as caught:
        load(tmp_path, MANY.replace("\n", end))
    mistakes = sorted(caught.value.mistakes, key=operator.attrgetter("line"))
    assert [(each.line, each.rule) for each in mistakes] == [(line, rule) for line, rule, _ in ALL_OF_MANY]
    for mistake, (_, _, problem) in zip(mistakes, ALL_OF_MANY, strict=True):
        assert mistake.file == "recipe.toml"
        assert_says(mistake.problem, problem)


def test_inline_rules(tmp_path: Path) -> None:
    """Rules in a list have the list's line."""
    text = 'seed = 1\nrules = [{path = "*", initializer = "zerros"},\n  {role = "kernl", initializer = "zeros"}]\n'
    assert refused(load, tmp_path, text).splitlines() == [
        "  recipe.toml:2, rule 1: Unknown initializer 'zerros'. Did you mean 'zeros'?",
        "  recipe.toml:2, rule 2: Unknown role 'kernl'. Did you mean 'kernel'?",
    ]
    assert load(tmp_path, 'rules = [{path = "*", initializer = "zeros"}]').rules[0].line == 1


YAML = "seed: 1\nrules:\n- path: '*'\n  initializer: zeros\n"
YAML_MISTAKES = {
    "syntax": ("seed: 1\nrules: [1\n", "3: expected ',' or ']', but got '<stream end>'"),
    "tab": ("seed: 1\n\trules: 3\n", "2: found character '\\t' that cannot start any token"),
    "twice at the top": ("seed: 1\nseed: 2\n" + YAML, "2: the key 'seed' is there twice, first in line 1"),
    "twice in a rule": (YAML + "  path: a\n", "5: the key 'path' is there twice, first in line 3"),
    "constant twice": (YAML + "constants:\n  a: 1\n  a: 2\n", "7: the key 'a' is there twice, first in line 6"),
    "a tag": ("# a\nseed: !!python/object/apply:os.getcwd []\n", "2: could not determine a constructor for the tag …"),
    "empty": ("", "1: A recipe must have seed, description, sources, constants, rules. Received: None."),
    "list": ("- 1\n", "1: A recipe must have seed, description, sources, constants, rules. Received: [1]."),
    "two documents": ("seed: 1\n---\nseed: 2\n", "2: …"),
    "itself": ("a: &a [*a]\n" + YAML, "1: …"),
    "deep": ("a: " + "[" * 5000, "1: …"),
    "list as key": ("? [a]\n: 3\n" + YAML, "1: …"),
    "list as key of a rule": (YAML + "  ? [a]\n  : 3\n", "5…"),
    "number as key": (YAML + "3: 4\n", "5: Unknown key 3. A recipe has seed, description, sources, constants, rules."),
    "no date": ("description: 2024-13-45\n" + YAML, "1: …"),
    "top key": ("\nsead: 1\nrules:\n- {path: a, initializer: ones}\n", "2: Unknown key 'sead'. Did you mean 'seed'?"),
    "no seed": ("rules:\n- {path: a, initializer: zeros}\nseed:\n", f"3: {SEED}None."),
    "variable": (YAML + "constants:\n  a: 1\n  rank: 2\n", "7: A constant must not be named as a variable.…'rank'."),
    "rule": (
        YAML + "\n- initializer: he_normal\n  name: b\n  role: kernl\n",
        "8, rule 2 (\"b\"): Unknown role 'kernl'. Did you mean 'kernel'?",
    ),
    "empty path": ("rules:\n- path:\n  initializer: zeros\n", "2, rule 1: `path` must be a glob, or several, of …"),
    "empty role": (YAML + "  role:\n", "5, rule 1: `role` must be one of …"),
    "no initializer": (YAML + "- path: a\n", "5, rule 2: A rule needs an `initializer`, such as …"),
    "flow": (
        "rules:\n- {path: a,\n  initializer: zerros}\n",
        "3, rule 1: Unknown initializer 'zerros'. Did you mean 'zeros'?",
    ),
}


@pytest.mark.parametrize("name", list(YAML_MISTAKES))
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_mistake_in_yaml(name: str, end: str, tmp_path: Path) -> None:
    """The same in YAML; keys that are there twice are mistakes, too, and nothing is made of tags."""
    text, message = YAML_MISTAKES[name]
    assert_says(refused(load, tmp_path, text.replace("\n", end), ".yml"), f"recipe.yml:{message}")


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
            "role": one_or_several(st.sampled_from(ROLES.split(", "))),
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
    assert refused(recipe.with_seed, True) == SEED + "True (of type bool)."
    tuples = Recipe([{"path": ("a", "b"), "initializer": "zeros"}], seed=3, constants={"a": 1})
    assert Recipe.from_dict(tuples.as_dict()) == tuples
    assert Rule(initializer="zeros", path="a") == Rule(path="a", initializer="zeros")


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
    assert refused(Recipe, "abc") == "A recipe needs `rules`, a list of them. Received: 'abc'."
    assert refused(Recipe, [rule], None) == SEED + "None."
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
    assert initializer._drawn_seed is None


REFUSED = (
    (fanin.HeNormal(seed=3), "An initializer of a rule must have no seed: each parameter's comes from the recipe's …"),
    ({"class_name": "HeNormal", "config": {"seed": 3}}, "An initializer of a rule must have no seed: …"),
    (OnlyCalled(), "`initializer` must be a name or an initializer that says what to draw, by its method …"),
    (len, "`initializer` must be a name or an initializer that says what to draw, …"),
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
    with pytest.raises(
        TypeError, match=r"^Only fanin's own initializers have names that a file can hold\. Received: rule"
    ):
        Recipe([{"path": "*", "initializer": cls()}]).to_toml()


def test_pickled_error() -> None:
    """An error of another process has all mistakes."""
    error = RecipeError([Mistake("a.toml", 3, "rule 1", "b"), Mistake(None, None, "", "c")])
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is RecipeError
    assert (str(again), again.mistakes) == (str(error), error.mistakes)
    assert str(error) == "The recipe has 2 mistakes.\n  a.toml:3, rule 1: b\n  c"


KNOWN = {"fan_in": 3, "fan_out": 0.5, "depth": 0, "size": 12, "config.hidden": 7, "width": 2.5}
atoms = st.sampled_from(list(KNOWN)) | st.integers(0, 99).map(str) | st.floats(0, 99).map(repr)
expressions = st.recursive(
    atoms,
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner)
        | st.builds("{}{}".format, st.sampled_from(["-", "+", "- -"]), inner)
        | st.builds("{}({})".format, st.sampled_from(["sqrt", "exp", "log", "log2", "abs"]), inner)
        | st.builds("{}({}, {})".format, st.sampled_from(["min", "max"]), inner, inner)
        | st.builds("({} ** float({}))".format, inner, inner)  # Python's own power of integers has no bounds
    ),
    max_leaves=6,
)


@hypothesis.given(expressions)
@examples(300)
def test_arithmetic(text: str) -> None:
    """Values are Python's own, to the bit; what has none is a ValueError that names the expression."""
    hypothesis.assume(len(text) <= 200)
    names = {name: getattr(math, name) for name in ("sqrt", "exp", "log", "log2")}
    config = type("Config", (), {"hidden": KNOWN["config.hidden"]})
    expected: Any = None
    try:
        expected = eval(text, {**names, **KNOWN, "config": config})
        finite = not isinstance(expected, complex) and math.isfinite(expected)
    except (ArithmeticError, ValueError, TypeError):
        finite = False
    written = text.replace("float(", "(")
    expression = Expression(written, ["width"])
    assert expression.names == {name for name in KNOWN if name in text}
    if finite:
        value = expression.value(KNOWN)
        assert (type(value), repr(value)) == (type(expected), repr(expected))
    else:
        with pytest.raises(ValueError, match=r"has no value here|is not finite here|is too large here") as caught:
            expression.value(KNOWN)
        assert repr(written) in str(caught.value)


def test_precedence() -> None:
    """As in Python, whatever the spaces; powers are floats."""
    for text in ("-2 ** 2", "2 ** 3 ** 2", "2 * 3 + 4", "7 // 2 * 2", "-7 % 3", " 1e-2", "0x1F", "max(1, 2, 3)"):
        assert Expression(text).value({}) == eval(text.strip())
    assert repr(Expression("2 ** 3").value({})) == "8.0"
    assert repr(Expression("1 + 2")) == "Expression('1 + 2')"
    assert {name for name in VARIABLES if Expression(name).value({name: 3}) == 3} == set(VARIABLES)


VALUES = {
    "1 / 0": "has no value here (division by zero).",
    "1 / (rank - 2)": "has no value here (division by zero), with rank = 2.",
    "5 % (size - size)": "has no value here (…",
    "9**9**9": "is too large here.",
    "exp(1e9)": "is too large here.",
    "log(0)": "has no value here (…",
    "1e299 * 1e299": "is not finite here: inf.",
    "9**300 * width": "…",
    "(-1) ** 0.5": "has no value here (a power that is no real number).",
    "sqrt((-8) ** (1 / 3))": "…",
    "(-8) ** (1 / 3) % 2": "…",
    "config.hidden": "needs config.hidden, which is not known here.",
    "depth": "needs depth, which is not known here.",
    "fan_in / n_layers": "needs fan_in and n_layers, which are not known here.",
}


@pytest.mark.parametrize("text", list(VALUES))
def test_no_value(text: str, tmp_path: Path) -> None:
    """An expression without a value here is a problem that names parameter, rule and expression."""
    recipe = load(tmp_path, f"[constants]\nwidth = 1e99\n{NORMAL}stddev = {text!r}\nname = 'odd'\n")
    plan = recipe.plan([{"path": "a.w", "shape": [2, 3]}])
    (problem,) = plan.problems
    assert_says(problem, f"a.w, by rule 1 (line 3) “odd”: {text!r} {VALUES[text]}".replace(" …", "…"))
    assert not plan.entries[0].draws
