"""The kept inputs of the fuzzers (`scripts/fuzz`), one by one: hand-made ones, and those that the fuzzers found."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz_targets import CORPUS, TARGETS

pytest.importorskip("yaml")
pytest.importorskip("safetensors")

# Inputs on which fanin still misbehaves, with the reason.
_DIGITS = "integers of over 4,300 digits are not refused in fanin's own words"
_TAGS = "values that YAML's tags do not fit are not refused in fanin's own words"
KNOWN = {
    "recipe_toml/long_constant": _DIGITS,
    "recipe_toml/long_integer": _DIGITS,
    "recipe_yaml/long_integer": _DIGITS,
    "shapes_json/digits": _DIGITS,
    "shapes_toml/digits": _DIGITS,
    "recipe_yaml/bool": _TAGS,
    "recipe_yaml/int": _TAGS,
    "recipe_yaml/timestamp": _TAGS,
    "recipe_toml/regex_repeats": "a count that Python's regular expressions cannot hold is not refused",
}


def inputs() -> list[object]:
    """Every input as `target/file`."""
    names = sorted(f"{file.parent.name}/{file.name}" for file in CORPUS.glob("*/*"))
    return [
        pytest.param(name, marks=pytest.mark.xfail(strict=True, reason=KNOWN[name], raises=AssertionError))
        if name in KNOWN
        else name
        for name in names
    ]


@pytest.mark.parametrize("name", inputs())
def test_kept_inputs(name: str, tmp_path: Path) -> None:
    """Documented errors only, in time, without a foreign import."""
    TARGETS[name.partition("/")[0]]((CORPUS / name).read_bytes(), tmp_path)


def test_every_target_has_inputs() -> None:
    """A target without a corpus would be tested by nothing."""
    assert {folder.name for folder in CORPUS.iterdir()} == set(TARGETS)
