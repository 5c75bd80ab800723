"""Functions of doubles in plain NumPy: glibc's log, sin and cos for a Box-Muller transform, exp and normal quantiles.

The steps of the former, and where their multiply-adds are fused, are those of glibc's x86-64 build with fused
multiply-add (native/elementary64.h has the details). The fused ones are computed from sums and products, so no special
instruction and no libm is needed. Branches select, as in glibc, what belongs to an argument.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fanin._core.reference_tables import LOGARITHM, QUANTILE, SINE_COSINE

_TERMS = tuple[np.ndarray, np.ndarray]


def exact_sum(a: np.ndarray, b: np.ndarray) -> _TERMS:
    """The rounded sum and its error (Knuth)."""
    total = a + b
    of_b = total - a
    return total, (a - (total - of_b)) + (b - of_b)


def _halves(a: np.ndarray | float) -> tuple[Any, Any]:
    """The upper 26 bits of a double and the rest (Veltkamp)."""
    scaled = a * 134217729.0
    upper = scaled - (scaled - a)
    return upper, a - upper


def exact_product(a: np.ndarray | float, b: np.ndarray | float) -> tuple[Any, Any]:
    """The rounded product and its error (Dekker)."""
    product = a * b
    (a1, a2), (b1, b2) = _halves(a), _halves(b)
    return product, a2 * b2 - (((product - a1 * b1) - a2 * b1) - a1 * b2)


def _sum_to_odd(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The sum, an inexact one rounded to the neighbour whose mantissa is odd."""
    total, error = exact_sum(a, b)
    even = (total.view(np.uint64) & np.uint64(1)) == 0
    return np.where((error != 0) & even, np.nextafter(total, np.copysign(np.inf, error)), total)


def fma(a: np.ndarray | float, b: np.ndarray | float, c: np.ndarray | float) -> np.ndarray:
    """a * b + c, rounded once, if nothing overflows or underflows.

    By S. Boldo and G. Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to
    odd", IEEE Transactions on Computers 57(4), 2008.
    """
    a, b, c = np.broadcast_arrays(*(np.asarray(value, np.float64) for value in (a, b, c)))
    product, product_error = exact_product(a, b)
    low, low_error = exact_sum(c, product_error)
    high, high_error = exact_sum(product, low)
    return high + _sum_to_odd(low_error, high_error)


def _polynomial(x: np.ndarray, *coefficients: float | str) -> np.ndarray:
    """c0 + c1 x + c2 x**2 + …, by Horner's scheme with fused multiply-adds."""
    *rest, value = (float.fromhex(c) if isinstance(c, str) else c for c in coefficients)
    value = np.full(x.shape, value)
    for coefficient in reversed(rest):
        value = fma(value, x, coefficient)
    return value


def _log_near_one(x: np.ndarray) -> np.ndarray:
    r = x - 1
    r2 = r * r
    r3 = r * r2

    def terms(c0: str, c1: str, c2: str) -> np.ndarray:
        return fma(r2, float.fromhex(c2), _polynomial(r, c0, c1))

    upper = terms("0x1.c7184282ad6cap-4", "-0x1.999eb43b068ffp-4", "0x1.78182f7afd085p-4")
    upper = fma(r3, float.fromhex("-0x1.5521375d145cdp-4"), upper)
    upper = fma(upper, r3, terms("-0x1.55555556745a7p-3", "0x1.24924a344de3p-3", "-0x1.fffffa4423d65p-4"))
    upper = fma(upper, r3, terms("0x1.5555555555577p-2", "-0x1.ffffffffffdcbp-3", "0x1.999999995dd0cp-3"))
    r_high = (r + r * 2**27) - r * 2**27
    w = r_high * r_high * -0.5
    high = r + w
    low = fma((r - r_high) * -0.5, r + r_high, (r - high) + w)
    return high + fma(upper, r3, low)


def log_below_one(x: np.ndarray) -> np.ndarray:
    """glibc's log of normal doubles below 0.9375, or above 1.0647."""
    bits = x.view(np.int64)
    difference = bits - 0x3FE6000000000000
    k = difference >> 52
    z = (bits - (k << 52)).view(np.float64)
    reciprocal, log_centre = LOGARITHM[(difference >> 45) & 127].T
    r = fma(z, reciprocal, -1.0)
    r2 = r * r
    w = k * float.fromhex("0x1.62e42fefa38p-1") + log_centre
    high = w + r
    low = fma(k, float.fromhex("0x1.ef35793c7673p-45"), (w - high) + r)
    low = fma(r2, float.fromhex("-0x1.0000000000001p-1"), low)
    upper = _polynomial(r, "0x1.999b324f10111p-3", "-0x1.55575e506c89fp-3")
    upper = fma(upper, r2, _polynomial(r, "0x1.555555551305bp-2", "-0x1.fffffffeb459p-3"))
    return fma(r * r2, upper, low) + high


def log(x: np.ndarray) -> np.ndarray:
    """glibc's log of positive normal doubles."""
    value = np.empty_like(x)
    near_one = (x >= 0.9375) & (x < float.fromhex("0x1.109p+0"))
    value[near_one] = _log_near_one(x[near_one])
    value[~near_one] = log_below_one(x[~near_one])
    return value


def _reduced(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x as n quarter turns and an angle in two parts: the angle, its rest, and n."""
    half_pi = [float.fromhex(part) for part in ("0x1.921fb58p0", "-0x1.dde973cp-27", "-0x1.cb3b398p-55")]
    n = fma(x, float.fromhex("0x1.45f306dc9c883p-1"), 1.5 * 2**52) - 1.5 * 2**52
    last = float.fromhex("-0x1.d747f23e32ed7p-83")
    y = fma(-n, half_pi[1], fma(-n, half_pi[0], x))
    total = fma(-n, half_pi[2], y)
    angle = fma(-n, last, total)
    rest = fma(-n, half_pi[2], y - total) + fma(-n, last, total - angle)
    first, second = x < float.fromhex("0x1.b6p-1"), x < float.fromhex("0x1.368fdp1")
    # About one quarter turn pi/2 has two parts; below, the angle is x itself.
    y = x - float.fromhex("0x1.921fb54442d18p0")
    low = float.fromhex("0x1.1a62633145c07p-54")
    quarter = y - low
    angle = np.where(first, x, np.where(second, quarter, angle))
    rest = np.where(first, 0.0, np.where(second, (y - quarter) - low, rest))
    return angle, rest, np.where(first, 0, np.where(second, 1, n)).astype(np.int64)


def _sine_terms(t2: np.ndarray) -> np.ndarray:
    return _polynomial(t2, -1.66666666666664880952546298448555e-01, 8.33333214285722277379541354343671e-03)


def _cosine_terms(t2: np.ndarray) -> np.ndarray:
    return _polynomial(
        t2,
        4.99999999999999999999950396842453e-01,
        -4.16666666666664434524222570944589e-02,
        1.38888874007937613028114285595617e-03,
    )


def _sine_of_small(a: np.ndarray, rest: np.ndarray) -> np.ndarray:
    a2 = a * a
    series = _polynomial(
        a2, "-0x1.5555555555555p-3", "0x1.1111111110ecep-7", "-0x1.a01a019db08b8p-13", "0x1.71de27b9a7ed9p-19",
        "-0x1.addffc2fcdf59p-26",
    )  # fmt: skip
    return a + fma(fma(series, a, -0.5 * rest), a2, rest)


def sincos(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """glibc's sin and cos of doubles in [0, 2 pi]."""
    angle, rest, n = _reduced(x)
    negative = np.signbit(angle)
    a, rest = np.abs(angle), np.where(negative, -rest, rest)
    k = np.rint(a * 128)
    t = a - k / 128
    sine_k, sine_k_rest, cosine_k, cosine_k_rest = SINE_COSINE[k.astype(np.intp)].T

    t2 = t * t
    s = t + fma(t * t2, _sine_terms(t2), rest)
    c = fma(t, rest, t2 * _cosine_terms(t2))
    sine = sine_k + fma(s, cosine_k, fma(-c, sine_k, fma(s, cosine_k_rest, sine_k_rest)))
    sine = np.where(a < 0.126, _sine_of_small(a, rest), sine)

    t = t + rest
    t2 = t * t
    s = fma(t * t2, _sine_terms(t2), t)
    c = t2 * _cosine_terms(t2)
    cosine = cosine_k + fma(-s, sine_k, fma(-c, cosine_k, fma(-s, sine_k_rest, cosine_k_rest)))

    sine = np.where(negative, -sine, sine)
    odd = n & 1 == 1
    sine, cosine = np.where(odd, cosine, sine), np.where(odd, sine, cosine)
    return np.where(n & 2, -sine, sine), np.where((n + 1) & 2, -cosine, cosine)


def horner(x: np.ndarray, coefficients: Sequence[float]) -> np.ndarray:
    """c0 + c1 x + c2 x**2 + …, by Horner's scheme, with every operation rounded."""
    *rest, value = coefficients
    result = np.full(x.shape, value)
    for coefficient in reversed(rest):
        result = result * x + coefficient
    return result


_LN2_HIGH, _LN2_LOW = float.fromhex("0x1.62e42fefa38p-1"), float.fromhex("0x1.ef35793c7673p-45")
_INVERSE_FACTORIALS = [1 / math.factorial(n) for n in range(2, 14)]
_MAGIC = 1.5 * 2**52  # a sum with it has no fraction


def exp(x: np.ndarray) -> np.ndarray:
    """The exponential function of any doubles but NaN, to about a unit in the last place.

    `x = n ln 2 + r`, and the Taylor polynomial of degree 13 for |r| <= ln 2 / 2. Every operation is rounded.
    """
    x = np.where(x < -750.0, -750.0, np.where(x > 710.0, 710.0, x))
    n = (x * float.fromhex("0x1.71547652b82fep+0") + _MAGIC) - _MAGIC
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    mantissa = 1.0 + (r + (r * r) * horner(r, _INVERSE_FACTORIALS))
    half = (n * 0.5 + _MAGIC) - _MAGIC  # two powers of two, since 2**n alone may overflow or underflow
    return mantissa * _power_of_two(half) * _power_of_two(n - half)


def _power_of_two(n: np.ndarray) -> np.ndarray:
    return ((n.astype(np.int64) + 1023) << 52).view(np.float64)


def quantile(lower: np.ndarray, upper: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Where a unit normal has the probability `lower` below and `upper` above, to a few units in the last place.

    Args:
        lower: normal doubles in (0, 1).
        upper: `1 - lower`, of its own accuracy.
        centre: `lower - 1/2`, of its own accuracy.
    """
    log_product = -log_below_one(lower * upper)
    t = log_product - float.fromhex("0x1.62e42fefa39efp+0")
    middle = centre * (horner(t, QUANTILE["middle"][0]) / horner(t, QUANTILE["middle"][1]))
    r = np.sqrt(-log_below_one(np.minimum(lower, upper)))
    near, far = (
        horner(r - start, QUANTILE[part][0]) / horner(r - start, QUANTILE[part][1])
        for part, start in (("tail", 1.6), ("far tail", 5.0))
    )
    return np.where(log_product < 6.5, middle, np.copysign(np.where(r < 5.0, near, far), centre))
