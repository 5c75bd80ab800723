"""Sines, cosines and arctangents that are the same on every processor, and frequencies of position tables.

Everything is float64 with only the rounded operations of IEEE 754 (+, -, *, /, sqrt), or exact integers and decimals.
"""

from __future__ import annotations

import math
from decimal import Context, Decimal
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from fanin._core.reference64 import exact_product, exact_sum, horner
from fanin._core.types import Array

# pi / 2 in four parts, of which the first three have 20 bits: 32 bits times one of them is exact.
_HALF_PI = tuple(
    float.fromhex(each) for each in ("0x1.921fap+0", "0x1.54442p-20", "0x1.a308cp-41", "0x1.313198a2e037p-61")
)
_PER_QUARTER = float.fromhex("0x1.45f306dc9c883p-1")  # 2 / pi
_HALF_PI_HIGH, _HALF_PI_LOW = float.fromhex("0x1.921fb54442d18p+0"), float.fromhex("0x1.1a62633145c07p-54")
# Of sin(a) = a + a**3 P(a**2), cos(a) = 1 - a**2 / 2 + a**4 Q(a**2) and atan(a) = a + a**3 R(a**2): what Taylor has, up
# to what rounds away within pi / 4 of 0 (for the arctangent, within tan(pi / 16)).
_SINE = [(-1) ** n / math.factorial(2 * n + 1) for n in range(1, 10)]
_COSINE = [(-1) ** n / math.factorial(2 * n) for n in range(2, 11)]
_ARCTANGENT = [(-1) ** n / (2 * n + 1) for n in range(1, 12)]
_DIGITS = Context(prec=50)


class Angles(NamedTuple):
    """Angles in radians, as quarter turns and what is left, within an eighth of a turn of them.

    Attributes:
        quarters: whole numbers of quarter turns, in float64.
        angle: the rest, rounded to float64.
        low: what the rounding of `angle` has left.
    """

    quarters: Array
    angle: Array
    low: Array

    def sine(self, more: Array | int = 0) -> Array:
        """The sine of the angle and `more` quarter turns, to one unit in the last place; that of 1 more is the cosine.

        >>> import numpy as np
        >>> of_turns(np.array([1, 1]), 12).sine(np.array([0, 1])).tolist()
        [0.5, 0.8660254037844386]
        """
        square = self.angle * self.angle
        half = square * 0.5
        near_one = 1.0 - half
        sine = self.angle + (self.angle * (square * horner(square, _SINE)) + self.low * near_one)
        rest = ((1.0 - near_one) - half) + ((square * square) * horner(square, _COSINE) - self.angle * self.low)
        quarter = (self.quarters.astype(np.int64) + more) & 3
        value = np.where(quarter & 1, near_one + rest, sine)
        return np.where(quarter & 2, -value, value)


def of_turns(numerator: Array, denominator: int) -> Angles:
    """The angles of `numerator / denominator` turns, of int64 numerators: the whole turns are dropped exactly."""
    fourfold = numerator % denominator * 4
    quarters = (fourfold * 2 + denominator) // (denominator * 2)
    left = (fourfold - quarters * denominator).astype(np.float64)
    share = left / denominator
    product, error = exact_product(share, float(denominator))
    share_low = ((left - product) - error) / denominator
    angle, angle_low = exact_product(share, _HALF_PI_HIGH)
    return Angles(quarters, angle, angle_low + (share * _HALF_PI_LOW + share_low * _HALF_PI_HIGH))


def of_products(positions: Array | float, high: Array, low: Array) -> Angles:
    """The angles `positions * (high + low)`, which broadcast.

    Args:
        positions: whole numbers of at most 2**32, in float64.
        high: frequencies, of at most one radian for each position.
        low: what rounding has left of them.
    """
    product, error = exact_product(positions, high)
    error = error + positions * low
    quarters = np.rint(product * _PER_QUARTER)
    first, second, third, last = _HALF_PI
    for part in (first, second, third):
        product, lost = exact_sum(product, -quarters * part)
        error = error + lost
    angle, rest = exact_sum(product, error - quarters * last)
    return Angles(quarters, angle, rest)


def rounded_product(positions: Array, high: Array | float, low: Array | float) -> Array:
    """The products `positions * (high + low)`, rounded to float64."""
    product, error = exact_product(positions, high)
    return product + (error + positions * low)


@lru_cache(maxsize=16)
def frequencies(base: float, features: int, start: int, stop: int) -> tuple[Array, Array]:
    """`base ** (-2 i / features)` for i from `start` to `stop`: the nearest float64 numbers, and what is left of them.

    They are computed to 50 digits: a product with a position of 32 bits takes 32 bits of its accuracy.
    """
    logarithm = _DIGITS.ln(Decimal(base))
    high, low = np.empty(stop - start), np.empty(stop - start)
    for index in range(start, stop):
        power = _DIGITS.divide(_DIGITS.multiply(logarithm, Decimal(-2 * index)), Decimal(features))
        value = _DIGITS.exp(power)
        nearest = float(value)
        high[index - start], low[index - start] = nearest, float(_DIGITS.subtract(value, Decimal(nearest)))
    high.flags.writeable = low.flags.writeable = False
    return high, low


def arctangent(x: Array) -> Array:
    """The arctangent of numbers in [-1, 1], to a few units in the last place."""
    for _ in range(2):  # half the angle, twice
        x = x / (1.0 + np.sqrt(1.0 + x * x))
    square = x * x
    return 4.0 * (x + x * (square * horner(square, _ARCTANGENT)))


def total(values: Array) -> Array:
    """The sums along the last axis, in an order of additions that depends on nothing but its length."""
    while values.shape[-1] > 1:
        half = values.shape[-1] // 2
        odd = values[..., 2 * half :]
        values = np.concatenate([values[..., :half] + values[..., half : 2 * half], odd], axis=-1)
    return values[..., 0]
