"""Mistakes of recipes: each with its file, its line, its rule and what to do, and all of them at once."""

import operator
import pickle
from pathlib import Path

import pytest

from fanin.recipes import Mistake, Recipe, RecipeError
from recipe_kit import assert_says, load, refused

ALL = '[[rules]]\npath = "*"\n'
ZEROS = ALL + 'initializer = "zeros"\n'
NORMAL = ALL + 'initializer = "random_normal"\n'
SCALING = ALL + 'initializer = "variance_scaling"\ndistribution = "uniform"\n'
CONSTANTS = ZEROS + "[constants]\na = 1\n"
KEYS = (
    "path, regex, layer, within, role, rank, trainable, block, "
    "name, initializer, layout, stacked, fan_in, fan_out, blocks, zero_rows, optional"
)
ROLES = (
    "kernel, recurrent_kernel, depthwise_kernel, bias, recurrent_bias, embedding, lora_a, lora_b, scale, offset, "
    "mean, variance, count, other"
)
LAYOUT = (
    '`layout` must be the order of its axes, if the layer table does not know it: "keras", "torch" or Keras\'s axes.'
)
SEED = "`seed` must be an integer. Received: seed="
# Lines that are a mistake behind a rule that is good, `ZEROS` or `NORMAL` (below it: 4), and what is said of them.
LINES = {
    'roll = "kernel"': "Unknown key 'roll'. Did you mean 'role'?",
    "qqq = 3": f"Unknown key 'qqq'. Known keys: {KEYS}; the initializer has the arguments mean, stddev.",
    "stdev = 3": "Unknown key 'stdev'. Did you mean 'stddev'?",
    "stddev = true": "`stddev` must be a number or an expression. Received: stddev = True.",
    "stddev = [1]": "`stddev` must be a number or an expression. Received: stddev = [1].",
    "stddev = inf": "`stddev` must be finite. Received: stddev=inf.",
    'regex = "("': "`regex` must be a regular expression (missing ), unterminated subpattern at position 0). "
    "Received: '('.",
    "regex = 3": "`regex` must be a regular expression (…",
    'role = ["bias", "kernal"]': "Unknown role 'kernal'. Did you mean 'kernel'?",
    'role = "qqq"': f"Unknown role 'qqq'. Known roles: {ROLES}.",
    "role = 3": f"`role` must be one of {ROLES}, or several. Received: role = 3.",
    "rank = -1": "`rank` must be a number of axes, or several. Received: rank = -1.",
    "rank = []": "`rank` must be a number of axes, or several. Received: rank = [].",
    "rank = [2, true]": "`rank` must be a number of axes, or several. Received: rank = [2, True].",
    "layer = []": "`layer` must be one or more globs of the type of its layer, such as Linear, "
    "or of one of the type's base classes. Received: layer = [].",
    "within = ['']": "`within` must be one or more globs of the type of a layer that contains it, at any depth. "
    "Received: …",
    "name = 3": "`name` must be a string. Received: name = 3.",
    "seed = 3": "A rule must not have a seed: each parameter's seed comes from the recipe's seed and "
    "the parameter's name.",
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
    "constants = { rank = 3 }": "A constant must not have the name of a variable. Received: 'rank'.",
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
    "far name": (
        ALL + 'initializer = "q"',
        "3, rule 1",
        "Unknown initializer 'q'. `fanin show --list` lists all names.",
    ),
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
        f"Unknown key 'stddev'. Known keys: {KEYS}; the initializer has no arguments.",
    ),
    "argument of keep": (ALL + 'initializer = "keep"\nmean = 3\n', "4, rule 1", "Unknown key 'mean'.…"),
    "range": (SCALING + "scale = -1", "5, rule 1", "`scale` must be positive float. Received: scale=-1."),
    "mode": (SCALING + "mode = 'fanin'", "5, rule 1", "Invalid `mode` argument: 'fanin'.… Did you mean 'fan_in'?"),
    "path": (
        '[[rules]]\npath = []\ninitializer = "zeros"\n',
        "2, rule 1",
        "`path` must be one or more globs of the parameter's path; * matches any text, including dots. "
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
    "no rules": ("# a", "1", "A recipe needs `rules`, a list of rules. Received: None."),
    "empty rules": ("seed = 1\nrules = []\n", "2", "A recipe needs at least one rule. Received: none."),
    "one rule": ("[rules]\na = 1\n", "1", "A recipe needs `rules`, a list of rules. Received: {'a': 1}."),
    "number": ("seed = 1\nrules = [3]\n", "2, rule 1", "A rule must be a table of keys and values. Received: 3."),
    "variable": (CONSTANTS + "fan_in = 3", "6", "A constant must not have the name of a variable. Received: 'fan_in'."),
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


@pytest.mark.parametrize("name", list(MISTAKES))
def test_mistake(name: str, tmp_path: Path) -> None:
    """A mistake in a TOML file, with the file's name, the line, the rule and what to do."""
    text, place, message = MISTAKES[name]
    assert_says(refused(load, tmp_path, text), f"recipe.toml:{place}: {message}")


def test_other_files(tmp_path: Path) -> None:
    """Endings, encodings and files that are not there."""
    (tmp_path / "recipe.json").write_text("{}")
    with pytest.raises(ValueError, match=r"^A recipe file must end in \.toml, \.yaml, \.yml\. Received: '.*json'"):
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
    (
        30,
        "rule 3",
        "A rule must not have a seed: each parameter's seed comes from the recipe's seed and the parameter's name.",
    ),
    (33, "", "A constant must not have the name of a variable. Received: 'fan_in'."),
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
    "twice at the top": ("seed: 1\nseed: 2\n" + YAML, "2: the key 'seed' occurs twice, first on line 1"),
    "twice in a rule": (YAML + "  path: a\n", "5: the key 'path' occurs twice, first on line 3"),
    "constant twice": (YAML + "constants:\n  a: 1\n  a: 2\n", "7: the key 'a' occurs twice, first on line 6"),
    "a tag": (
        "# a\nseed: !!python/object/apply:os.getcwd []\n",
        "2: a value must be a string, a number, true, false, a list or a table, not a python/object/apply:os.getcwd",
    ),
    "empty": ("", "1: A recipe must have seed, description, sources, constants, rules. Received: None."),
    "list": ("- 1\n", "1: A recipe must have seed, description, sources, constants, rules. Received: [1]."),
    "two documents": ("seed: 1\n---\nseed: 2\n", "2: …"),
    "itself": ("a: &a [*a]\n" + YAML, "1: …"),
    "deep": ("a: " + "[" * 5000, "1: …"),
    "list as key": ("? [a]\n: 3\n" + YAML, "1: …"),
    "list as key of a rule": (YAML + "  ? [a]\n  : 3\n", "5…"),
    "number as key": (
        YAML + "3: 4\n",
        "5: Unknown key '3'. A recipe has seed, description, sources, constants, rules.",
    ),
    "no date": ("description: 2024-13-45\n" + YAML, "1: …"),
    "top key": ("\nsead: 1\nrules:\n- {path: a, initializer: ones}\n", "2: Unknown key 'sead'. Did you mean 'seed'?"),
    "no seed": ("rules:\n- {path: a, initializer: zeros}\nseed:\n", f"3: {SEED}None."),
    "variable": (
        YAML + "constants:\n  a: 1\n  rank: 2\n",
        "7: A constant must not have the name of a variable.…'rank'.",
    ),
    "rule": (
        YAML + "\n- initializer: he_normal\n  name: b\n  role: kernl\n",
        "8, rule 2 (\"b\"): Unknown role 'kernl'. Did you mean 'kernel'?",
    ),
    "empty path": ("rules:\n- path:\n  initializer: zeros\n", "2, rule 1: `path` must be one or more globs of …"),
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


def test_pickled_error() -> None:
    """An error of another process has all mistakes."""
    error = RecipeError([Mistake("a.toml", 3, "rule 1", "b"), Mistake(None, None, "", "c")])
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is RecipeError
    assert (str(again), again.mistakes) == (str(error), error.mistakes)
    assert str(error) == "The recipe has 2 mistakes.\n  a.toml:3, rule 1: b\n  c"
