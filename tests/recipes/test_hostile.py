"""Hostile recipes, models and names: every mistake is a RecipeError or a ValueError, and none takes long."""

import functools
import re
import time
from pathlib import Path
from typing import Any

import pytest

import fanin
from fanin.models.files import describe_text
from fanin.models.lists import described_list
from fanin.recipes import Recipe, RecipeError, Report, Rule
from recipe_kit import NORMAL, load, planned, refused

HUGE = 10**5000
LONG_DESCRIPTION = "one of type int, too long to be shown"


@functools.cache
def nested(kind: type, depth: int = 100_000) -> Any:
    """Lists in lists, or dicts in dicts."""
    value: Any = kind()
    for _ in range(depth):
        value = [value] if kind is list else {"a": value}
    return value


def with_key(key: str, value: Any) -> dict[str, Any]:
    """A recipe of one rule with this key."""
    return {"rules": [{**NORMAL, key: value}]}


KEYS = (
    *("path", "regex", "layer", "within", "role", "rank", "trainable", "block", "name", "initializer", "layout"),
    *("stacked", "fan_in", "fan_out", "blocks", "optional", "stddev", "seed", "nonsense"),
)


@pytest.mark.parametrize("kind", [list, dict])
@pytest.mark.parametrize("key", KEYS)
def test_deep_values_in_rules(key: str, kind: type) -> None:
    """Any depth of nesting is a mistake, whose message stays short."""
    assert len(refused(Recipe.from_dict, with_key(key, nested(kind)))) < 900


@pytest.mark.parametrize("kind", [list, dict])
@pytest.mark.parametrize("key", ["seed", "description", "sources", "constants", "rules", "nonsense"])
def test_deep_values_at_the_top(key: str, kind: type) -> None:
    """Also outside of rules, and for a recipe and a rule themselves."""
    assert len(refused(Recipe.from_dict, {"rules": [NORMAL], key: nested(kind)})) < 2000
    assert len(refused(Recipe.from_dict, {"rules": [nested(kind)]})) < 2000


@pytest.mark.parametrize("key", ["rank", "layout", "stacked", "fan_in", "blocks", "stddev", "name", "trainable"])
def test_long_integers(key: str) -> None:
    """Integers that Python refuses to print are described."""
    assert LONG_DESCRIPTION in refused(Recipe.from_dict, with_key(key, HUGE))
    assert refused(Recipe.from_dict, with_key("rank", [HUGE]))


def test_long_integers_at_the_top() -> None:
    """As seeds, constants, names of constants and keys."""
    said = refused(Recipe.from_dict, {"rules": [NORMAL], "seed": HUGE, "constants": {"a": HUGE, HUGE: 1}, HUGE: 1})
    assert said.count(LONG_DESCRIPTION) == 4


DIGITS = "9" * 5000
YAML = "rules: [{path: a, initializer: zeros}]\n"
FILES = {
    "digits.toml": (f"seed = 1\ndescription = {DIGITS}\n", "2: a number has too many digits"),
    "deep.toml": (f"a = {'[' * 9000}", "1: it is nested too deeply"),
    "digits.yaml": (f"{YAML}seed: {DIGITS}\n", "2: '999"),
    "timestamp.yaml": (
        f"{YAML}seed: !!timestamp foo\n",
        "2: a value must be a string, a number, true, false, a list or a",
    ),
    "date.yaml": (
        f"{YAML}seed: 2024-01-01\n",
        "2: a value must be a string, a number, true, false, a list or a table, no",
    ),
    "int.yaml": (f"{YAML}seed: !!int ''\n", "2: '' is not a value of the type int"),
    "bool.yaml": (f"{YAML}seed: !!bool foo\n", "2: 'foo' is not a value of the type bool"),
    "float.yaml": (f"{YAML}seed: !!float foo\n", "2: 'foo' is not a value of the type float"),
    "object.yaml": (
        f"{YAML}seed: !!python/object/apply:os.getcwd []\n",
        "2: a value must be a string, a number, true, ",
    ),
    "list.yaml": (f"{YAML}sources: !!seq foo\n", "2: a text or a number cannot have the tag !!seq"),
    "table.yaml": (f"{YAML}constants: !!map foo\n", "2: a text or a number cannot have the tag !!map"),
    "number.yaml": (f"{YAML}seed: !!int [1]\n", "2: a list cannot have the tag !!int"),
    "text.yaml": (f"{YAML}seed: !!str {{a: 1}}\n", "2: a table cannot have the tag !!str"),
    "sixty.yaml": (f"{YAML}constants: {{a: {':'.join(['59'] * 900)}.5}}\n", "2: '59:59:"),
    "itself.yaml": (f"{YAML}seed: &a [*a]\n", "2: it contains itself"),
    "deep.yaml": (f"{YAML}seed: {'[' * 9000}", "2: it is nested too deeply"),
    "deep_blocks.yaml": ("- " * 9000, "1: it is nested too deeply"),
    "merge.yaml": (f"{YAML}seed:\n  <<: 3\n", "3: << needs a table, or several. Received: 3"),
}


@pytest.mark.parametrize("name", FILES)
def test_files(name: str, tmp_path: Path) -> None:
    """What is no recipe's value says so, with its line."""
    if name.endswith("yaml"):
        pytest.importorskip("yaml")
    text, expected = FILES[name]
    assert refused(load, tmp_path, text, Path(name).suffix).startswith(f"recipe{Path(name).suffix}:{expected}")


def test_aliases_are_read_once(tmp_path: Path) -> None:
    """Aliases of aliases, which stand for more values than there is time for, are read and refused at once."""
    pytest.importorskip("yaml")
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    begin = time.perf_counter()
    assert "Unknown key 'a11'" in refused(load, tmp_path, "\n".join([*lines, YAML]), ".yaml")
    assert time.perf_counter() - begin < 2


def test_merged_rules(tmp_path: Path) -> None:
    """The key << takes over another table's keys, and its own count more."""
    pytest.importorskip("yaml")
    text = "rules:\n- &a {path: a, initializer: ones, name: n}\n- {<<: *a, path: b}\n"
    assert load(tmp_path, text, ".yaml").rules[1] == Rule(path="b", initializer="ones", name="n")


@pytest.mark.parametrize("bracket", ["[", "{", "[a,", "{? "])
def test_deep_brackets_take_no_time(bracket: str, tmp_path: Path) -> None:
    """PyYAML would take a second for a thousand of them."""
    pytest.importorskip("yaml")
    begin = time.process_time()
    assert "it is nested too deeply" in refused(load, tmp_path, bracket * 9000, ".yaml")
    assert time.process_time() - begin < 0.2


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("text", ["1if 1else 2", "'\\d'", "1or 2", "1 is 1", "[0x1for x in y]"])
def test_python_does_not_warn_of_expressions(text: str) -> None:
    """They are refused, without a warning of Python's compiler at a line of fanin's."""
    assert "is not allowed" in refused(lambda: Rule(path="*", initializer="constant", value=text))


def test_many_constants(tmp_path: Path) -> None:
    """The lines of thousands of keys are found in one pass."""
    text = "[constants]\n" + "".join(f"c{number} = {number}\n" for number in range(4000)) + "c0 = 1"
    begin = time.perf_counter()
    assert "Cannot overwrite a value" in refused(load, tmp_path, text)
    recipe = load(tmp_path, text.removesuffix("c0 = 1") + '[[rules]]\npath = "*"\ninitializer = "zeros"\n')
    assert (len(recipe.constants), recipe.rules[0].line) == (4000, 4002)
    assert time.perf_counter() - begin < 5


def test_yaml_takes_exponents_for_numbers(tmp_path: Path) -> None:
    """2e-2, a string by YAML 1.1, is a number among constants, as it is in rules."""
    pytest.importorskip("yaml")
    text = "constants: {a: 2e-2, b: 1.e3, c: 1.0e-5}\nrules: [{path: a, initializer: random_normal, stddev: 2e-2}]\n"
    recipe = load(tmp_path, text, ".yaml")
    assert recipe.constants == {"a": 0.02, "b": 1000.0, "c": 1e-5}
    assert recipe.plan([{"path": "a", "shape": [1]}]).entries[0].initializer == fanin.RandomNormal(
        stddev=0.02, seed=0
    ).spawn("a")


def test_regular_expressions_are_strings() -> None:
    """Bytes, which `re` takes, match no path."""
    for value in (b"a", 3, ["a"]):
        assert "`regex` must be a regular expression (not a string)" in refused(lambda value=value: Rule(
            regex=value, initializer="zeros"
        ))  # fmt: skip
    assert "the repetition number is too large" in refused(lambda: Rule(regex="a{99999999999}", initializer="zeros"))


def test_deep_and_long_values_in_lists() -> None:
    """Every key of a list of shapes."""
    for key in ("path", "shape", "dtype", "layer", "role", "layout", "fan_in", "blocks", "tied"):
        for value in (nested(list), HUGE):
            with pytest.raises(ValueError, match=r"^Entry 1 of the list, "):
                described_list([{"path": "a", "shape": [1], key: value}])


@pytest.mark.parametrize("text", ["[" * 100_000, f"[{DIGITS}]", "{", '{"a": 1}'])
def test_texts_that_are_no_models(text: str) -> None:
    """Whatever JSON cannot read, or is no list, names the file."""
    with pytest.raises(ValueError, match=r"^x\.json (is not JSON|must )"):
        describe_text(text, "x.json")


def test_long_numbers_in_paths() -> None:
    """A number of thousands of digits is no block's."""
    path = "layer_" + DIGITS
    plan = planned([NORMAL], {"path": f"{path}.w", "shape": [2]}, {"path": f"{DIGITS}.w", "shape": [2]})
    assert path in plan.table()


def test_control_characters_are_shown_escaped() -> None:
    """In tables, remarks, errors and HTML: escapes, line ends and marks of direction."""
    path = "a\x1b]0;title\x07\nfake row\u202e"
    shown = r"a\x1b]0;title\x07\nfake row\u202e"
    rules = [{"path": "*", "initializer": "he_normal", "name": "x\ny\x1b"}]
    plan = planned(rules, {"path": path, "shape": [2], "layer": "L\x1b[31m"})
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the message is compared below)
        plan.check()
    comparison = plan.compare(planned([NORMAL], "b"))
    for text in (plan.table(), plan._repr_html_(), str(caught.value), str(comparison)):
        assert shown in text
        assert not re.search("[\x1b\x07\u202e]|fake row\n", text)
    assert r"x\ny\x1b" in plan.table()
    with pytest.raises(RecipeError, match=r"\\x1b"):
        Recipe([{"path": "a", "initializer": "zeros", "name": "\x1b", "qqq": 1}])


def test_control_characters_in_names_of_models() -> None:
    """A plan and a report print on one line, escaped, in an interactive session."""
    plan = Recipe([NORMAL]).plan(described_list([{"path": "a", "shape": [2]}], "x\x1b]0;\n.json"))
    for text in (repr(plan), repr(Report(plan))):
        assert r"x\x1b]0;\n.json" in text
        assert text.isprintable()
