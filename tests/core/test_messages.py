"""Words of messages: suggestions for names that are nearly right, sizes, values of any length, lines to warn of."""

import math
import warnings
from typing import Any

import pytest

import fanin
from fanin._core.messages import class_name, missing, readable, shown, suggestion, warn

KNOWN = ["he_normal", "HeNormal", "zeros", "fan_in", "kernel"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("he_norml", " Did you mean 'he_normal'?"),
        ("HeNorml", " Did you mean 'HeNormal'?"),
        ("ZEROS", " Did you mean 'zeros'?"),
        ("fanin", " Did you mean 'fan_in'?"),
        ("qqq", ""),
        ("", ""),
        (3, ""),
        (None, ""),
        (["zeros"], ""),
    ],
)
def test_suggestions(name: object, expected: str) -> None:
    """The nearest name, whatever its case; nothing where none is near, or where what came is no name."""
    assert suggestion(name, KNOWN) == expected
    assert suggestion(name, iter([])) == ""


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (784, "784 bytes"),
        (1536, "1.5 KiB"),
        (2**20 * 100, "100 MiB"),
        (2**62 * 4, "16 EiB"),
        (2**100, "1.049e+06 YiB"),
    ],
)
def test_sizes(size: int, expected: str) -> None:
    """Bytes in the largest unit that is not too large."""
    assert readable(size) == expected


def test_values_of_any_length() -> None:
    """Python refuses to write integers of thousands of digits, and messages do without them."""
    assert shown("a") == "'a'"
    assert shown(math.inf) == "inf"
    assert shown(10**5000) == "one of type int, too long to be shown"
    assert shown((10**5000,)) == "(one of type int, too long to be shown,)"


def test_values_nested_too_deeply() -> None:
    """They are cut, whatever their depth."""
    nested: list[Any] = []
    for _ in range(10**5):
        nested = [nested]
    assert shown(nested) == f"{'[' * 20}...{']' * 20}"


def test_names_of_classes() -> None:
    """As they are, but for characters that a terminal obeys or that turn text around."""
    assert class_name(dict) == "dict"
    assert class_name(type("Größe", (), {})) == "Größe"
    assert class_name(type("A\x1b]0;t\x07\n\u202eB", (), {})) == r"A\x1b]0;t\x07\n\u202eB"


def test_missing_libraries() -> None:
    """What to install where a library is not there; where it lacks a part, its own error."""
    error = ModuleNotFoundError("No module named 'yaml'", name="yaml")
    said = missing(error, "yaml", "PyYAML", extra="yaml")
    assert (str(said), said.name) == ("PyYAML is not installed: pip install 'fanin[yaml]'.", "yaml")
    part = ModuleNotFoundError("No module named 'yaml.part'", name="yaml.part")
    assert missing(part, "yaml", "PyYAML", extra="yaml") is part


def test_control_characters_in_warnings() -> None:
    """Are escaped, whichever names a warning is about."""
    with pytest.warns(UserWarning, match="^a") as caught:
        warn("a\x1b]0;t\x07\n\u202e")
    assert str(caught[0].message) == r"a\x1b]0;t\x07\n\u202e"


def test_the_line_to_warn_of() -> None:
    """A warning names the first line outside of fanin, however deep within it comes up."""
    with pytest.warns(UserWarning, match="^direct$") as caught:
        warn("direct")
    assert caught[0].filename == __file__
    for use in (lambda each: each((2,)), lambda each: each.next_weight((2,)), lambda each: each((2,), "float64")):
        initializer = fanin.RandomNormal()
        use(initializer)
        with pytest.warns(UserWarning, match="is unseeded and being called multiple times") as caught:
            use(initializer)
        assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fanin.RandomNormal(seed=1)((2,))
