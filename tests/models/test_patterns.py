"""Patterns of paths: the same matches as Python's, in a time that grows no faster than the text."""

import copy
import pickle
import re
import time
from collections.abc import Callable

import hypothesis
import pytest
from hypothesis import strategies as st

from fanin.models.patterns import AnyGlob, Regex, Substitution
from strategies import examples

LONG = "a" * 3000


def seconds(action: Callable[[], object]) -> float:
    """The time that something takes."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


atoms = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\w", r"\.", "c"])
expressions = st.recursive(
    atoms,
    lambda inner: (
        st.builds("{}{}".format, inner, inner)
        | st.builds("({}|{})".format, inner, inner)
        | st.builds("(?:{}){}".format, inner, st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "{1,}", "{,2}", "*?"]))
    ),
    max_leaves=8,
)


@hypothesis.given(expressions, st.text("abc.", max_size=8))
@examples(300)
def test_expressions_match_as_in_python(expression: str, text: str) -> None:
    """What `re.fullmatch` matches, and nothing else."""
    assert Regex(expression).matches(text) == bool(re.fullmatch(expression, text))


def test_anchors_and_flags() -> None:
    """Anchors at the ends change nothing, and flags at the beginning count."""
    assert Regex(r"^a\.b$").matches("a.b")
    assert Regex(r"\Aa.*\Z").matches("abc")
    assert Regex("(?i)A[b]").matches("aB")
    assert not Regex("A").matches("a")


@pytest.mark.parametrize("expression", ["(a+)+b", "(a|a)*b", "(a*)*b", "a*a*a*a*a*a*b", "(a|aa)+b", "(.*)*(.*)*b"])
def test_expressions_that_would_never_end(expression: str) -> None:
    """Nested and adjacent repetitions take no longer than others."""
    assert seconds(lambda: Regex(expression).matches(LONG)) < 1


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("(", "missing ), unterminated subpattern at position 0"),
        ("a{99999999999}", "the repetition number is too large"),
        ("(" * 9000 + ")" * 9000, "it is nested too deeply"),
        ("a{9}" * 60, "it has more than 500 characters and classes, counting repetitions"),
        ("((((a{9}){9}){9}){9}){9}", "it has more than 500 characters and classes, counting repetitions"),
        *[(each, f"{each!r} is not supported, ") for each in ("(?=a)", "(?<!a)b", r"\b", "(?>a)", "a$b"[1:])],
        (r"(a)\1", r"'\\1' is not supported, "),
        ("a++", "'++' is not supported, "),
    ],
)
def test_expressions_that_are_refused(expression: str, problem: str) -> None:
    """What is no regular expression, or cannot be matched in linear time, says so."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the message is compared below)
        Regex(expression)
    assert str(caught.value).startswith(problem)


def test_many_characters_and_positions() -> None:
    """Each character is compared with each class once, however often the class occurs."""
    text = "".join(map(chr, range(300, 20_300)))
    assert seconds(lambda: Regex("[^a]{0,240}.{0,240}.*").matches(text)) < 0.5


def test_expressions_are_copied() -> None:
    """By copying and by pickling."""
    for each in (copy.deepcopy(Regex("a+b")), pickle.loads(pickle.dumps(Regex("a+b")))):
        assert each.matches("aab")
        assert not each.matches("b")


# Characters that classes, cases and counts of other alphabets treat in their own ways.
odd = st.text("aAkKſßİı٣é_9 .\n-]{}", max_size=6)
odd_atoms = st.sampled_from(
    [
        *"aAkßİ٣ ",
        r"\d",
        r"\W",
        r"\s",
        ".",
        "[a-z]",
        "[^k]",
        "[]a]",
        "[^]a]",
        r"[\d\]]",
        "[{}]",
        "{",
        "a{٣}",
        "a{",
        "a{,x}",
    ]
)
odd_expressions = st.recursive(
    odd_atoms,
    lambda inner: (
        st.builds("{}{}".format, inner, inner)
        | st.builds("({}|{}|)".format, inner, inner)
        | st.builds(
            "({}){}".format, inner, st.sampled_from(["*", "+", "??", "{2}", "{0}", "{,}", "{,2}?", "{٣}", "{}"])
        )
    ),
    max_leaves=6,
)


@hypothesis.given(st.sampled_from(["", "(?i)", "(?a)", "(?ai)", "(?s)", "^"]), odd_expressions, odd)
@hypothesis.example("", "a{٣}", "aaa")
@hypothesis.example("", "(){٣}", "")
@examples(500)
def test_odd_expressions_match_as_in_python(flags: str, expression: str, text: str) -> None:
    """Flags, braces that count nothing, digits of other alphabets, and empty alternatives."""
    assert Regex(flags + expression).matches(text) == bool(re.fullmatch(flags + expression, text))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("expression", ["[[a]", "[a--b]", "[a&&b]", "[a||b]", "[a~~b]"])
def test_classes_that_will_mean_something_else(expression: str) -> None:
    """What Python warns of is refused, in place of a warning at a line of fanin's."""
    with pytest.raises(ValueError, match=r"^Possible (nested set|set .*) at position .: write a backslash before "):
        Regex(expression)


@hypothesis.given(st.text("ab.*", min_size=1, max_size=6), st.text("xy*", max_size=5), st.text("ab.", max_size=8))
@examples(300)
def test_each_star_takes_as_much_as_it_can(pattern: str, template: str, text: str) -> None:
    """The first star before the others, as the groups of a regular expression do."""
    hypothesis.assume(template.count("*") <= pattern.count("*"))
    expression = "(.*)".join(map(re.escape, pattern.split("*")))
    match = re.fullmatch(expression, text)
    groups = iter(match.groups() if match else ())
    expected = None if match is None else re.sub(r"\*", lambda _: next(groups), template)
    assert Substitution(pattern, template).of(text) == expected


@pytest.mark.parametrize("pattern", ["*a*a*a*a*a*b", "*" * 50 + "b", "*aa" * 20 + "*b"])
def test_globs_that_would_never_end(pattern: str) -> None:
    """Many stars take no longer than one."""
    assert seconds(lambda: Substitution(pattern, "*").of(LONG)) < 1
    assert seconds(lambda: AnyGlob([pattern]).matches(LONG)) < 1


def test_any_of_many_globs() -> None:
    """One of them is enough, whether it has a wildcard or not; none match nothing."""
    globs = AnyGlob(["a/b", "c.*", "d.?", "e.[xy]"])
    assert [globs.matches(each) for each in ("a.b", "c.d.e", "d.z", "e.y", "a.bc", "d.zz", "e.z")] == [
        *[True] * 4,
        *[False] * 3,
    ]
    assert globs.matches_any({"q", "c.d"})
    assert not globs.matches_any({"q", "c"})
    assert not AnyGlob([])
    assert not AnyGlob([]).matches("")
