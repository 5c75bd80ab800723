"""Sines, cosines, arctangents and frequencies against exact ones, at the arguments where reductions go wrong."""

import math
import random
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest

from fanin._core import angles
from fanin._core.dtypes import ML_DTYPES, rounded_values
from fanin._core.reference64 import log

mpmath: Any = pytest.importorskip("mpmath")

# Whole numbers that lie close to multiples of pi, the numerators of its continued fraction, and the largest ones.
NEAR_PI = [1, 3, 22, 333, 355, 103993, 104348, 208341, 312689, 833719, 1146408, 4272943, 5419351, 80143857, 165707065]
POSITIONS = [*NEAR_PI, 245850922, 411557987, 1068966896, 2**31 - 1, 2**31, 0, 2, 7, 11, 1000, 123456789]


@pytest.fixture(autouse=True)
def _digits() -> Any:
    """90 digits."""
    with mpmath.workdps(90):
        yield


def units(value: float, exact: Any) -> float:
    """How far a float64 number is from the exact one, in units of its last place."""
    return abs(float((exact - mpmath.mpf(float(value))) / mpmath.mpf(math.ulp(value))))


@pytest.mark.parametrize("turn", [0, 1], ids=["sine", "cosine"])
@pytest.mark.parametrize("denominator", [1, 2, 3, 5, 8, 12, 97, 1022, 1024, 2**31 - 1, 2**33])
def test_fractions_of_a_turn(denominator: int, turn: int) -> None:
    """Within a unit in the last place for any numerator, and exact where the value is 0, 1 or -1."""
    numbers = random.Random(denominator)
    numerators = [*range(13), denominator - 1, *(numbers.randrange(2**60) for _ in range(200))]
    values = angles.of_turns(np.array(numerators), denominator).sine(turn)
    function = mpmath.cospi if turn else mpmath.sinpi
    for numerator, value in zip(numerators, values.tolist(), strict=True):
        exact = function(mpmath.mpf(2 * (numerator % denominator)) / denominator)
        assert units(value, exact) < 0.75
        if exact in (-1, 0, 1):
            assert value == exact


@pytest.mark.parametrize("turn", [0, 1], ids=["sine", "cosine"])
@pytest.mark.parametrize(
    ("base", "features"), [(1.0, 4), (10000.0, 128), (500000.0, 128), (1e6, 256), (2.5, 18), (1e4, 5), (1e300, 20)]
)
def test_products_of_positions_and_frequencies(base: float, features: int, turn: int) -> None:
    """Within a unit in the last place for all positions up to 2**31, even next to multiples of pi."""
    positions = np.array(POSITIONS + [-each for each in POSITIONS], np.float64)
    numbers = range((features + 1) // 2)
    values = angles.of_products(positions[:, None], *angles.frequencies(base, features, 0, len(numbers))).sine(turn)
    function = mpmath.cos if turn else mpmath.sin
    for number in numbers:
        frequency = mpmath.mpf(base) ** (mpmath.mpf(-2 * number) / features)
        for position, value in zip(positions.tolist(), values[:, number].tolist(), strict=True):
            assert units(value, function(frequency * int(position))) < 0.75, (position, number)


def test_frequencies_are_exact_to_their_last_digit() -> None:
    """The float64 number is the nearest one, and with the rest 100 bits are right; no order of asking matters."""
    high, low = angles.frequencies(10000.0, 384, 0, 192)
    with localcontext(prec=60):
        for number in range(192):
            exact = Decimal(10000) ** (Decimal(-2 * number) / 384)
            assert high[number] == float(exact)
            assert abs((Decimal(float(high[number])) + Decimal(float(low[number]))) / exact - 1) < Decimal(2) ** -100
    parts = angles.frequencies(10000.0, 384, 77, 100)
    assert [each.tobytes() for each in parts] == [high[77:100].tobytes(), low[77:100].tobytes()]
    with pytest.raises(ValueError, match="read-only"):
        high[0] = 2.0


def test_arctangents() -> None:
    """Within four units in the last place, of either sign."""
    x = np.concatenate([np.logspace(-15, 0, 700), -np.logspace(-5, 0, 50), [0.0, 0.5, math.tan(math.pi / 8)]])
    for argument, value in zip(x.tolist(), angles.arctangent(x).tolist(), strict=True):
        assert units(value, mpmath.atan(mpmath.mpf(argument))) < 4


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 100, 1001])
def test_totals(length: int) -> None:
    """Sums of whole numbers are exact, of others close, and a row's does not depend on the rows beside it."""
    numbers = np.random.default_rng(length)
    whole = numbers.integers(-1000, 1000, (7, length)).astype(np.float64)
    assert (angles.total(whole) == whole.sum(axis=-1)).all()
    values = numbers.random((7, length))
    totals = angles.total(values)
    assert np.allclose(totals, [math.fsum(row) for row in values], rtol=1e-14)
    assert angles.total(values[3:4])[0] == totals[3]


def test_logarithms_of_whole_numbers() -> None:
    """Those of 1 to 3000 and of numbers about 1, within a unit in the last place; that of 1 is 0."""
    x = np.concatenate([np.arange(2.0, 3000.0), np.linspace(0.9, 1.2, 300), [1e300, 1e-300]])
    for argument, value in zip(x.tolist(), log(x).tolist(), strict=True):
        assert units(value, mpmath.log(mpmath.mpf(argument))) < 0.75
    assert log(np.array([1.0])).tolist() == [0.0]


NARROW = ["bfloat16", *(name for name in ML_DTYPES if name.startswith("float8") and name != "float8_e8m0fnu")]


@pytest.mark.parametrize("dtype", ["float16", *NARROW])
def test_values_are_rounded_once(dtype: str) -> None:
    """To the nearest number of the dtype, of two the even one, also a hair beside the middle between two."""
    narrow = np.dtype(ML_DTYPES.get(dtype, dtype))
    bits = np.arange(2 ** (8 * narrow.itemsize), dtype=np.uint32).astype(f"u{narrow.itemsize}")
    with np.errstate(invalid="ignore"):  # NaNs
        numbers = bits.view(narrow).astype(np.float64)
    numbers = np.unique(numbers[np.isfinite(numbers)])
    low, high = numbers[:-1], numbers[1:]
    middle = (low + high) / 2
    below, above = np.nextafter(middle, -np.inf), np.nextafter(middle, np.inf)
    assert (rounded_values(below, narrow).astype(np.float64) == low).all()
    assert (rounded_values(above, narrow).astype(np.float64) == high).all()
    tied = rounded_values(middle, narrow)
    assert ((tied.astype(np.float64) == low) | (tied.astype(np.float64) == high)).all()
    assert (tied.view(bits.dtype) % 2 == 0).all()
