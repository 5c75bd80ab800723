"""The kernels in plain NumPy, element by element: the slowest tier, and the specification that the others must match.

Nothing here is shared with the native code. Every function takes the flat indices of the wanted elements, which makes
it explicit that a weight is a function of (seed, index).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import ml_dtypes
import numpy as np

from fanin._core import reference64

_MASK = np.uint64(0xFFFFFFFF)
_FLOAT_TYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32, "float64": np.float64}
_UNIT_BITS = {"float16": 10, "bfloat16": 7, "float32": 23}
_EPSILON = 1e-7


def _hex(text: str) -> np.ndarray:
    return np.array([float.fromhex(number) for number in text.split()])


# logf's table and polynomial, sinf's and cosf's polynomials (native/elementary.h names their source).
_RECIPROCALS = _hex("""
    0x1.661ec79f8f3bep+0 0x1.571ed4aaf883dp+0 0x1.49539f0f010bp+0 0x1.3c995b0b80385p+0 0x1.30d190c8864a5p+0
    0x1.25e227b0b8eap+0 0x1.1bb4a4a1a343fp+0 0x1.12358f08ae5bap+0 0x1.0953f419900a7p+0 0x1p+0 0x1.e608cfd9a47acp-1
    0x1.ca4b31f026aap-1 0x1.b2036576afce6p-1 0x1.9c2d163a1aa2dp-1 0x1.886e6037841edp-1 0x1.767dcf5534862p-1
""")
_LOGARITHMS = _hex("""
    -0x1.57bf7808caadep-2 -0x1.2bef0a7c06ddbp-2 -0x1.01eae7f513a67p-2 -0x1.b31d8a68224e9p-3 -0x1.6574f0ac07758p-3
    -0x1.1aa2bc79c81p-3 -0x1.a4e76ce8c0e5ep-4 -0x1.1973c5a611cccp-4 -0x1.252f438e10c1ep-5 0x0p+0 0x1.aa5aa5df25984p-5
    0x1.c5e53aa362eb4p-4 0x1.526e57720db08p-3 0x1.bc2860d22477p-3 0x1.1058bc8a07ee1p-2 0x1.4043057b6ee09p-2
""")
_A1, _A2, _A3 = _hex("-0x1.ffffef20a4123p-2 0x1.5575b0be00b6ap-2 -0x1.00ea348b88334p-2")
_S1, _S2, _S3 = _hex("-0x1.555545995a603p-3 0x1.1107605230bc4p-7 -0x1.994eb3774cf24p-13")
_C1, _C2, _C3, _C4 = _hex("-0x1.ffffffd0c621cp-2 0x1.55553e1068f19p-5 -0x1.6c087e89a359dp-10 0x1.99343027bf8c3p-16")


def philox(counter: list[np.ndarray], key: int) -> list[np.ndarray]:
    """Philox4x32-10 of arrays of counter words (uint64, below 2**32), least significant first."""
    x0, x1, x2, x3 = counter
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        p0, p1 = x0 * np.uint64(0xD2511F53), x2 * np.uint64(0xCD9E8D57)
        x0, x1, x2, x3 = (p1 >> 32) ^ x1 ^ np.uint64(k0), p1 & _MASK, (p0 >> 32) ^ x3 ^ np.uint64(k1), p0 & _MASK
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return [x0, x1, x2, x3]


class Blocks:
    """The blocks of one stream: block i is Philox of the stream's counter plus i."""

    def __init__(self, key: int, counter: int) -> None:
        self.key, self.counter = key, counter

    def __call__(self, low: np.ndarray, high: np.ndarray | int = 0) -> list[np.ndarray]:
        """The words of the blocks with the indices `high * 2**64 + low`."""
        upper = np.full(low.shape, self.counter, np.uint64) + np.asarray(high, np.uint64)  # wraps, as intended
        return philox([low & _MASK, low >> 32, upper & _MASK, upper >> 32], self.key)


def logf(unit: np.ndarray) -> np.ndarray:
    """glibc's logf, for float32 arguments in (0, 1)."""
    bits = unit.astype(np.float32).view(np.uint32)
    difference = bits - np.uint32(0x3F330000)
    interval = (difference >> 19) & 15
    k = difference.view(np.int32) >> 23
    z = (bits - (difference & np.uint32(0xFF800000))).view(np.float32).astype(np.float64)
    r = z * _RECIPROCALS[interval] - 1
    y0 = _LOGARITHMS[interval] + k * float.fromhex("0x1.62e42fefa39efp-1")
    r2 = r * r
    return (((_A3 * r + _A2) * r + _A1) * r2 + (y0 + r)).astype(np.float32)


def sincosf(mantissa: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """glibc's sinf and cosf of float32(2 pi mantissa / 2**23)."""
    v = (2 * math.pi * (mantissa.astype(np.float64) / 2**23)).astype(np.float32).astype(np.float64)
    quadrant = (mantissa.astype(np.int64) + 2**20) >> 21
    x = v - quadrant * float.fromhex("0x1.921fb54442d18p0")
    x2 = x * x
    sine = (x + x * x2 * (_S1 + x2 * (_S2 + x2 * _S3))).astype(np.float32)
    cosine = (1 + x2 * (_C1 + x2 * (_C2 + x2 * (_C3 + x2 * _C4)))).astype(np.float32)
    odd = quadrant & 1 == 1
    sine, cosine = np.where(odd, cosine, sine), np.where(odd, sine, cosine)
    return np.where(quadrant & 2, -sine, sine), np.where((quadrant + 1) & 2, -cosine, cosine)


def _unit_double(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    return (np.uint64(0x3FF << 52) | (high & np.uint64(0xFFFFF)) << 32 | low).view(np.float64) - 1


def _pairs32(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Box-Muller pairs in float32, from two words each: shape `(2, n)`, sine before cosine."""
    mantissa = (first & np.uint64(0x7FFFFF)).astype(np.float32)
    unit = np.maximum(mantissa / np.float32(2**23), np.float32(_EPSILON))
    radius = np.sqrt(np.float32(-2) * logf(unit))
    sine, cosine = sincosf(second & np.uint64(0x7FFFFF))
    return np.stack([sine * radius, cosine * radius])


def _pairs64(words: list[np.ndarray]) -> np.ndarray:
    """Box-Muller pairs in float64, from a block each: shape `(2, n)`."""
    radius = np.sqrt(-2 * reference64.log(np.maximum(_unit_double(words[0], words[1]), _EPSILON)))
    sine, cosine = reference64.sincos(2 * math.pi * _unit_double(words[2], words[3]))
    return np.stack([sine * radius, cosine * radius])


def _block_normals(words: list[np.ndarray], double: bool) -> np.ndarray:
    """All normals of each block, in the order of the stream: shape `(4, n)`, or `(2, n)` for float64."""
    if double:
        return _pairs64(words)
    return np.concatenate([_pairs32(words[0], words[1]), _pairs32(words[2], words[3])])


def _uniform(blocks: Blocks, indices: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "float64":
        words, odd = blocks(indices // 2), indices % 2 == 1
        return _unit_double(np.where(odd, words[2], words[0]), np.where(odd, words[3], words[1]))
    bits = _UNIT_BITS[dtype]
    word = np.choose((indices % 4).astype(np.intp), blocks(indices // 4))
    return ((word & np.uint64(2**bits - 1)).astype(np.float64) / 2**bits).astype(_FLOAT_TYPES[dtype])


def _normal(blocks: Blocks, indices: np.ndarray, dtype: str) -> np.ndarray:
    size = 2 if dtype == "float64" else 4
    made = _block_normals(blocks(indices // size), dtype == "float64")
    return np.choose((indices % size).astype(np.intp), made).astype(_FLOAT_TYPES[dtype])


def _truncated(blocks: Blocks, indices: np.ndarray, dtype: str) -> np.ndarray:
    size, stride = (2, 128) if dtype == "float64" else (4, 256)
    shift = stride.bit_length() - 1
    groups, inverse = np.unique(indices // size, return_inverse=True)
    kept = np.zeros((len(groups), size), np.float64 if size == 2 else np.float32)
    count = np.zeros(len(groups), np.intp)
    block = 0
    while (unfinished := np.flatnonzero(count < size)).size:
        group = groups[unfinished]
        low = (group << np.uint64(shift)) + np.uint64(block)
        for values in _block_normals(blocks(low, group >> np.uint64(64 - shift)), size == 2):
            accepted = (np.abs(values) < 2) & (count[unfinished] < size)
            rows = unfinished[accepted]
            kept[rows, count[rows]] = values[accepted]
            count[rows] += 1
        block += 1
    return kept[inverse, (indices % size).astype(np.intp)].astype(_FLOAT_TYPES[dtype])


_LAWS: dict[str, Callable[[Blocks, np.ndarray, str], np.ndarray]] = {
    "uniform": _uniform,
    "normal": _normal,
    "truncated": _truncated,
}


def _open_unit(blocks: Blocks, indices: np.ndarray, dtype: str) -> np.ndarray:
    """Doubles in (0, 1), neither of which is reached: the middles of 2**32 equal intervals, or 2**52 for float64."""
    if dtype == "float64":
        return _uniform(blocks, indices, dtype) + 2.0**-53
    word = np.choose((indices % 4).astype(np.intp), blocks(indices // 4))
    return (word.astype(np.float64) + 0.5) * 2.0**-32


def _bounded(
    unit: np.ndarray,
    scale: float,
    origin: float,
    below: float = 0.0,
    above: float = 0.0,
    width: float = 1.0,
    centre: float = -0.5,
    lowest: float = -math.inf,
    highest: float = math.inf,
) -> np.ndarray:
    """Normals between bounds: `streams.run_kernel` says what the numbers are."""
    lower, upper = unit * width + below, (1.0 - unit) * width + above
    value = reference64.quantile(lower, upper, unit * width + centre) * scale + origin
    value = np.where(value < highest, value, highest)
    return np.where(value > lowest, value, lowest)


def _exponential(unit: np.ndarray, scale: float, origin: float) -> np.ndarray:
    return -reference64.log(unit) * scale + origin


def _lognormal(unit: np.ndarray, scale: float, origin: float) -> np.ndarray:
    return reference64.exp(reference64.quantile(unit, 1.0 - unit, unit - 0.5) * scale + origin)


_QUANTILES: dict[str, Callable[..., np.ndarray]] = {
    "bounded": _bounded,
    "exponential": _exponential,
    "lognormal": _lognormal,
}


def quantiles(law: str, unit: np.ndarray, scale: float, origin: float, interval: Sequence[float] = ()) -> np.ndarray:
    """The doubles, not rounded yet, that a law makes of unit doubles in (0, 1)."""
    with np.errstate(all="ignore"):  # what is too large is infinite
        return _QUANTILES[law](unit, scale, origin, *interval)


def _integers(blocks: Blocks, indices: np.ndarray, width: str, minval: int, span: int) -> np.ndarray:
    """minval + bits mod span, modulo 2**width; a span of 0 stands for the full range."""
    if width == "32":
        bits = np.choose((indices % 4).astype(np.intp), blocks(indices // 4))
    else:
        words, odd = blocks(indices // 2), indices % 2 == 1
        bits = np.where(odd, words[2] | words[3] << 32, words[0] | words[1] << 32)
    if span:
        bits = bits % np.uint64(span) + np.uint64(minval % 2**64)
    return bits.astype(f"uint{width}")


def values(
    kernel: str,
    key: int,
    counter: int,
    indices: np.ndarray,
    scale: float = 1.0,
    origin: float = 0.0,
    minval: int = 0,
    span: int = 0,
    interval: Sequence[float] = (),
) -> np.ndarray:
    """The values of a kernel, named as in the native table, at the given flat indices (uint64, any shape)."""
    law, dtype, *rounded = kernel.split("/")
    blocks, flat = Blocks(key, counter), indices.reshape(-1)
    with np.errstate(all="ignore"):  # overflow means infinity, and unsigned integers wrap
        if law == "integers":
            return _integers(blocks, flat, dtype, minval, span).reshape(indices.shape)
        number = _FLOAT_TYPES[dtype]
        if law in _QUANTILES:
            made = quantiles(law, _open_unit(blocks, flat, dtype), scale, origin, interval).astype(number)
            return (made.astype(_FLOAT_TYPES[rounded[0]]) if rounded else made).reshape(indices.shape)
        # NumPy's and ml_dtypes' 16-bit arithmetic rounds every operation, as required here.
        made = _LAWS[law](blocks, flat, dtype) * number(scale) + number(origin)
        if rounded:
            made = made.astype(_FLOAT_TYPES[rounded[0]])
    return made.reshape(indices.shape)
