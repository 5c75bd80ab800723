"""How folded recipes write numbers: the expressions that are found, and that each has the number's bits."""

from __future__ import annotations

import math
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from fanin.models.parameters import Model
from fanin.recipes.folding.numbers import Numbers, Vocabulary, shortest_number
from recipe_kit import FLOAT32
from strategies import examples

FLOAT64 = np.dtype(np.float64)
KNOWN = {
    "fan_in": 47,
    "fan_out": 166,
    "units": 89,
    "inputs": 13,
    "groups": 2,
    "receptive_field": 9,
    "depth": 10,
    "n_layers": 13,
    "config.initializer_range": 0.013,
    "config.d_model": 384,
    "config.num_layers": 5,
}
CONFIG = {name.removeprefix("config."): value for name, value in KNOWN.items() if name.startswith("config.")}
OTHER = {"initializer_range": 0.013, "d_model": 640, "num_layers": 3}


def model(config: dict[str, float]) -> Model:
    """A model with a configuration."""
    return Model((), "m", configs={"": config})


ALONE = Vocabulary.of(model(CONFIG))
WITH_TWIN = Vocabulary.of(model(CONFIG), model(OTHER))


def best(value: float, vocabulary: Vocabulary = ALONE) -> float | str:
    """The cheapest way to write a number."""
    wordings = Numbers(KNOWN, vocabulary).wordings(value, FLOAT32)
    return min(wordings, key=wordings.__getitem__)


FOUND: dict[str, float] = {
    "1 / sqrt(fan_in)": 47**-0.5,
    "1 / sqrt(fan_out)": 166**-0.5,
    "1 / sqrt(2 * fan_in)": 94**-0.5,
    "sqrt(2 / fan_in)": (2 / 47) ** 0.5,
    "sqrt(2 / fan_out)": (2 / 166) ** 0.5,
    "sqrt(2 / (fan_in + fan_out))": (2 / 213) ** 0.5,
    "sqrt(6 / (fan_in + fan_out))": (6 / 213) ** 0.5,
    "2 / sqrt(receptive_field * inputs)": 2 / 117**0.5,
    "1 / sqrt(units)": 89**-0.5,
    "1 / fan_in": 1 / 47,
    "0.02 / sqrt(2 * n_layers)": 0.02 / 26**0.5,
    "0.02 / sqrt(n_layers)": 0.02 / 13**0.5,
    "0.02 / sqrt(2 * (depth + 1))": 0.02 / 22**0.5,
    "1 / sqrt(2 * fan_in * n_layers)": (2 * 47 * 13) ** -0.5,
    "1 / sqrt(fan_in * (depth + 1))": (47 * 11) ** -0.5,
    "config.initializer_range": 0.013,
    "config.initializer_range / sqrt(2 * n_layers)": 0.013 / 26**0.5,
    "config.initializer_range / sqrt(2 * config.num_layers)": 0.013 / 10**0.5,
    "1 / sqrt(config.d_model)": 384**-0.5,
}


@pytest.mark.parametrize("text", FOUND)
def test_found(text: str) -> None:
    """A number that an expression says is written by it."""
    assert best(FOUND[text]) == text


@pytest.mark.parametrize("text", FOUND)
def test_negative(text: str) -> None:
    """So is its opposite."""
    assert best(-FOUND[text]) == f"-{text}"


@pytest.mark.parametrize("value", [0.0, 1.0, 0.02, 0.05, -0.5, 3.0, 0.125, 1e-6])
def test_simple_numbers(value: float) -> None:
    """A number of few digits is written as it is, though an expression may have the same value."""
    assert best(value) == value


def test_numbers_that_nothing_says() -> None:
    """Any other number has the digits that it needs in the dtype that is drawn."""
    assert best(0.123456789) == 0.12345679


def test_products_of_two_sizes() -> None:
    """A product of two numbers of the configuration needs a twin, in which both differ."""
    value = (384 * 5) ** -0.5
    assert best(value, WITH_TWIN) == "1 / sqrt(config.d_model * config.num_layers)"
    assert isinstance(best(value), float)


def test_names_that_a_twin_tells() -> None:
    """A number whose name gives nothing away is used if it differs at the other size, and not otherwise."""
    vocabulary = Vocabulary.of(model({"alpha": 0.37, "beta": 0.41}), model({"alpha": 0.39, "beta": 0.41}))
    numbers = Numbers({"config.alpha": 0.37, "config.beta": 0.41}, vocabulary)
    assert "config.alpha" in numbers.wordings(0.37, FLOAT32)
    assert "config.beta" not in numbers.wordings(0.41, FLOAT32)


@pytest.mark.parametrize("config", [{"init_std": math.nan}, {"init std": 0.3}, {"init_std": 1.0}, {"init_std": 0}])
def test_names_that_are_not_used(config: dict[str, float]) -> None:
    """What is no number, cannot be written, or means nothing."""
    assert not Vocabulary.of(model(config)).factors


@hypothesis.given(st.floats(-1e6, 1e6) | st.sampled_from([*FOUND.values()]), st.sampled_from([FLOAT32, FLOAT64]))
@examples(300)
def test_bits(value: float, dtype: Any) -> None:
    """Whatever is found has the number's bits in the dtype."""
    numbers = Numbers(KNOWN, WITH_TWIN)
    for text in numbers.wordings(value, dtype):
        written = numbers.value(text) if isinstance(text, str) else text
        assert dtype.type(written).tobytes() == dtype.type(value).tobytes()


@hypothesis.given(st.floats(width=32, allow_nan=False))
@examples(300)
def test_shortest(value: float) -> None:
    """No text with fewer digits has the bits of the shortest number."""
    shortest = shortest_number(value, FLOAT32)
    assert np.float32(shortest).tobytes() == np.float32(value).tobytes()
    assert len(repr(shortest)) <= len(repr(value))
