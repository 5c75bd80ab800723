"""Arguments without measure: integers of thousands of digits, deep nesting, names that a terminal would obey."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

import fanin

LONG = 10**5000  # Python refuses to write it


def nested(wrap: Callable[[Any], Any]) -> Any:
    """A value within 100,000 others."""
    value: Any = 0
    for _ in range(10**5):
        value = wrap(value)
    return value


LIST = nested(lambda value: [value])
TUPLE = nested(lambda value: (value,))
CONFIG = nested(lambda value: {"class_name": "Constant", "config": value})
VALUES = {"a long integer": LONG, "a deep list": LIST, "a deep tuple": TUPLE, "a deep dict": CONFIG}
HEAVY: Any = type("A\x1b]0;t\x07\n\u202e", (), {})()  # whose class has a name that a terminal would obey

USES: dict[str, Callable[[Any], Any]] = {
    "get": fanin.get,
    "deserialize": fanin.deserialize,
    "class_name": lambda value: fanin.deserialize({"class_name": value, "config": {}}),
    "registered_name": lambda value: fanin.deserialize({"class_name": "x", "config": {}, "registered_name": value}),
    "config of a seed": lambda value: fanin.deserialize({"class_name": "HeNormal", "config": {"seed": value}}),
    "config of a value": lambda value: fanin.deserialize(
        {"class_name": "Constant", "config": {"value": {"class_name": "__tensor__", "config": {"value": [value]}}}}
    ),
    "config of axes": lambda value: fanin.HeNormal.from_config({"input_axes": value}),
    "from_config": fanin.HeNormal.from_config,
    "serialize": fanin.serialize,
    "value": lambda value: fanin.Constant([value]),
    "seed": fanin.HeNormal,
    "mean": fanin.RandomNormal,
    "minval": fanin.RandomUniform,
    "maxval": lambda value: fanin.RandomUniform(0, value),
    "gain": fanin.Orthogonal,
    "scale": lambda value: fanin.VarianceScaling(value),
    "mode": lambda value: fanin.VarianceScaling(1.0, value),
    "distribution": lambda value: fanin.VarianceScaling(1.0, "fan_in", value),
    "in_axis": lambda value: fanin.HeNormal(in_axis=value)((2, 2)),
    "batch_axis": lambda value: fanin.HeNormal(batch_axis=(value,))((2, 2)),
    "shape": lambda value: fanin.Zeros()(value),
    "length": lambda value: fanin.Zeros()((value,)),
    "length beside a zero": lambda value: fanin.Zeros()((0, value)),
    "dtype": lambda value: fanin.Zeros()((2,), value),
    "region": lambda value: fanin.Zeros()((2,), region=value),
    "region of a weight": lambda value: fanin.HeNormal(1).weight((2,)).make(value),
    "step of a region": lambda value: fanin.Zeros()((2,), region=slice(0, 1, value)),
    "start of a region": lambda value: fanin.Zeros()((2,), region=slice([value], 1)),  # pyright: ignore[reportArgumentType]
    "partition_shape": lambda value: fanin.Zeros()((2,), partition_shape=value),
    "partition_offset": lambda value: fanin.Zeros()((2,), partition_offset=(value, 0.5)),
    "layout": lambda value: fanin.Zeros()((2,), layout=value),
    "out": lambda value: fanin.Zeros()((2,), out=value),
    "spawn": lambda value: fanin.HeNormal(1).spawn(value),
    "set_random_seed": lambda value: fanin.utils.set_random_seed(value),
    "threads": lambda value: setattr(fanin.config, "threads", value),
    "tier": lambda value: setattr(fanin.config, "tier", value),
    "floatx": lambda value: setattr(fanin.config, "floatx", value),
}


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("use", USES)
def test_values_without_measure(use: str, value: str) -> None:
    """Each is refused in fanin's own words: no RecursionError, nothing of Python's limits."""
    with pytest.raises((TypeError, ValueError, IndexError)) as caught:
        USES[use](VALUES[value])
    assert type(caught.value) in (TypeError, ValueError, IndexError)
    message = str(caught.value)
    assert "Exceeds the limit" not in message
    assert "recursion" not in message
    assert len(message) < 1000


# Where a message has the class of what came.
NAMED = [use for use in USES if use not in ("class_name", "registered_name", "config of axes", "start of a region")]


@pytest.mark.parametrize("use", NAMED)
def test_names_of_classes_are_escaped(use: str) -> None:
    """No message passes a terminal's commands on, from the name of the value's class."""
    with pytest.raises((TypeError, ValueError, IndexError)) as caught:
        USES[use](HEAVY)
    own = str(caught.value).replace(repr(HEAVY), "")  # the repr of a value has its own characters
    assert "\x1b" not in own
    assert "\u202e" not in own


def test_constants_of_any_size() -> None:
    """An integer of thousands of digits is a value like others: repr, equality, hash, configuration."""
    constant = fanin.Constant(LONG)
    assert repr(constant) == "Constant(value=one of type int, too long to be shown)"
    assert constant == fanin.Constant(LONG)
    assert constant != fanin.Constant(LONG + 1)
    assert hash(constant) == hash(fanin.Constant(LONG))
    assert fanin.Constant.from_config(constant.get_config()) == constant


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "complex64"])
def test_constants_beyond_a_floating_dtype(dtype: str) -> None:
    """They are infinite, as those of 40 digits are in float32."""
    assert (fanin.Constant(LONG)((2,), dtype) == float("inf")).all()
    assert (fanin.Constant(-LONG)((2,), dtype) == float("-inf")).all()


@pytest.mark.parametrize("dtype", ["int32", "uint64", "int4", "bool", "float8_e8m0fnu"])
def test_constants_beyond_other_dtypes(dtype: str) -> None:
    """They are refused."""
    with pytest.raises((TypeError, ValueError), match="Received: value=one of type int, too long to be shown"):
        fanin.Constant(LONG)((2,), dtype)


def test_equality_tells_values_apart() -> None:
    """1 from 1.0 and True, 0.0 from -0.0; a NaN equals itself."""
    values = (1, 1.0, True, 0.0, -0.0, 0, False, 1 + 0j, float("nan"))
    for i, first in enumerate(values):
        for j, second in enumerate(values):
            assert (fanin.Constant(first) == fanin.Constant(second)) == (i == j)


@pytest.mark.parametrize("name", ["\x00", "\x01", "\n", "float32\x1b[2J", "f4," * 10**5, "(" * 10**5, "S" + "9" * 5000])
def test_hostile_names_of_dtypes(name: str) -> None:
    """NumPy would take a control character for the number of a dtype."""
    with pytest.raises((TypeError, ValueError), match=r"^(Cannot convert value|Expected numeric)") as caught:
        fanin.Zeros()((2,), name)
    assert "\x1b" not in str(caught.value)


def test_names_that_are_no_unicode_text() -> None:
    """A lone surrogate, as in some files' names, has seeds of its own."""
    seeds = {fanin.HeNormal(1).spawn(name).seed for name in ("a", "\ud800", "\udfff", "?")}
    assert len(seeds) == 4


def test_the_limit_of_digits_stays() -> None:
    """Nothing is gained by lifting Python's limit for the whole process."""
    assert sys.get_int_max_str_digits() == sys.int_info.default_max_str_digits
