"""Expressions: arithmetic as Python's own, to the bit, and nothing that is more than that."""

import json
import math
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

import fanin
from fanin.recipes.expressions import VARIABLES, Expression
from recipe_kit import assert_says, load, refused
from strategies import examples

RULE = '[[rules]]\npath = "*"\ninitializer = "random_normal"\n'
# Expressions that are none, and how that is said.
NO_EXPRESSIONS = {
    "1 +": "It must be an expression. Received: '1 +'. Allowed: numbers, + - * / // % **, parentheses, …",
    "": "It must be an expression. Received: ''.…",
    "1\n+2": "It must be an expression.…",
    "1\0": "It must be an expression.…",
    "x := 1": "It must be an expression.…",
    "fan_inn": "Unknown variable 'fan_inn' in 'fan_inn'. Did you mean 'fan_in'?",
    "widht": "Unknown variable 'widht' in 'widht'. Did you mean 'width'?",
    "2 * qqq": "Unknown variable 'qqq' in '2 * qqq'. Known variables: depth, fan_in, fan_out, …, width, config.NAME.",
    "config": "Unknown variable 'config' in 'config'. Known variables: …",
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
    NO_EXPRESSIONS[text] = f"{text!r} is not allowed. Received: {text!r}. Allowed: numbers, + - * / // % **, …"


@pytest.mark.parametrize("text", list(NO_EXPRESSIONS))
def test_no_expression(text: str, tmp_path: Path) -> None:
    """What is no expression, or one that is not allowed; nothing of it is ever run."""
    written = f"{RULE}mean = 1\nstddev = {json.dumps(text)}\n[constants]\nwidth = 3\n"
    assert_says(refused(load, tmp_path, written), f"recipe.toml:5, rule 1: `stddev`: {NO_EXPRESSIONS[text]}")


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
        with pytest.raises(
            ValueError, match=r"cannot be evaluated here|is not finite here|is too large here"
        ) as caught:
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
    "1 / 0": "cannot be evaluated here (division by zero).",
    "1 / (rank - 2)": "cannot be evaluated here (division by zero), with rank = 2.",
    "5 % (size - size)": "cannot be evaluated here (…",
    "9**9**9": "is too large here.",
    "exp(1e9)": "is too large here.",
    "log(0)": "cannot be evaluated here (…",
    "1e299 * 1e299": "is not finite here: inf.",
    "9**300 * width": "…",
    "(-1) ** 0.5": "cannot be evaluated here (a power that is not a real number).",
    "sqrt((-8) ** (1 / 3))": "…",
    "(-8) ** (1 / 3) % 2": "…",
    "config.hidden": "needs config.hidden, which is unknown here.",
    "depth": "needs depth, which is unknown here.",
    "fan_in / n_layers": "needs fan_in and n_layers, which are unknown here.",
}


@pytest.mark.parametrize("text", list(VALUES))
def test_no_value(text: str, tmp_path: Path) -> None:
    """An expression without a value here is a problem that names parameter, rule and expression."""
    recipe = load(tmp_path, f"[constants]\nwidth = 1e99\n{RULE}stddev = {text!r}\nname = 'odd'\n")
    plan = recipe.plan([{"path": "a.w", "shape": [2, 3]}])
    (problem,) = plan.problems
    assert_says(problem, f"a.w, in rule 1 (line 3) “odd”: {text!r} {VALUES[text]}".replace(" …", "…"))
    assert not plan.entries[0].placements


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("gain('gelu')", fanin.gain("gelu")),
        ('2 * gain("leaky_relu", fan_in / 10)', 2 * fanin.gain("leaky_relu", 0.2)),
        ("gain('relu') / sqrt(fan_in)", 1.0),
    ],
)
def test_gains(text: str, value: float) -> None:
    """The gain of an activation by its name, and of its parameter, which may be an expression."""
    assert Expression(text).value({"fan_in": 2}) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gain('gellu')", "Unknown activation: 'gellu'.*'gelu'"),
        ("gain(gelu)", "takes the name of an activation in quotes"),
        ("gain()", "takes the name of an activation in quotes"),
        ("gain('elu', 1, 2)", "takes the name of an activation in quotes"),
        ("gain('elu', x)", "Unknown variable 'x'"),
        ("'gelu'", "is not allowed"),
    ],
)
def test_what_is_no_gain(text: str, message: str) -> None:
    """A name that is unknown or has no quotes is refused when the recipe is read."""
    with pytest.raises(ValueError, match=message):
        Expression(text)
