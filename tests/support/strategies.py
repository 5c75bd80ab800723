"""Hypothesis strategies that tests share: shapes, dtypes, seeds and calls of every class; and the comparison of bits.

Examples are the same in every run. `FANIN_TEST_EXAMPLES=20` draws twenty times as many instead, new ones each time.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

NORMALS = ("RandomNormal", "TruncatedNormal")
FIXED_SCALINGS = ("GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "LecunNormal", "LecunUniform")
RANDOM = (*NORMALS, "RandomUniform", "VarianceScaling", *FIXED_SCALINGS)  # whose bits are promised: not Orthogonal
FILLS = ("Zeros", "Ones", "Constant", "Identity")
CLASSES = (*RANDOM, *FILLS, "Orthogonal")

FLOAT_DTYPES = ("float32", "float16", "bfloat16", "float64")
INTEGER_DTYPES = ("int32", "int64", "uint32", "uint64")
WHOLE_DTYPES = (*INTEGER_DTYPES, "int8", "int16", "uint8", "uint16")
NUMERIC_DTYPES = (*FLOAT_DTYPES, *WHOLE_DTYPES, "bool", "complex64", "complex128")

# TensorFlow flushes subnormal values to zero. With parameters of at least these sizes no value, and no product on the
# way to one, is subnormal: the smallest unit normal other than 0 is 4e-11 in float32 and 3e-23 in float64.
SMALLEST = {"float16": 1e-300, "bfloat16": 1e-26, "float32": 1e-26, "float64": 1e-250}

_FACTOR = int(os.environ.get("FANIN_TEST_EXAMPLES", "1"))


def examples(number: int) -> settings:
    """A decorator: so many examples, no deadline."""
    return settings(
        max_examples=number * _FACTOR,
        derandomize=_FACTOR == 1,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@dataclass(frozen=True)
class Call:
    """An initializer and a call of it, for any library that has the class."""

    name: str
    config: dict[str, Any]
    shape: tuple[int, ...]
    dtype: str
    keywords: dict[str, Any] = field(default_factory=dict)

    def initializer(self, library: Any) -> Any:
        """A new initializer."""
        return getattr(library, self.name)(**self.config)

    def run(self, library: Any) -> Any:
        """What the first call of a new initializer returns."""
        return self.initializer(library)(self.shape, self.dtype, **self.keywords)


_EDGE_SEEDS = (0, 1, -1, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**32, 2**53 + 1, 2**63 - 1, -(2**63))
seeds = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 10**9) | st.sampled_from(_EDGE_SEEDS)

# Partition offsets: `()` folds nothing into the seed, all others do.
offsets = st.lists(st.integers(0, 10**4) | st.integers(-(2**63), 2**63 - 1), max_size=5).map(tuple)


@st.composite
def shapes(draw: Any, max_size: int = 10**5, min_rank: int = 0, max_rank: int = 5) -> tuple[int, ...]:
    """Shapes of up to `max_size` elements; now and then a length is 0."""
    room, lengths = max_size, []
    for _ in range(draw(st.integers(min_rank, max_rank))):
        lengths.append(draw(st.integers(1, min(room, 9)) | st.integers(1, room)))
        room //= lengths[-1]
    lengths = draw(st.permutations(lengths))
    if lengths and draw(st.integers(0, 15)) == 15:
        lengths[draw(st.integers(0, len(lengths) - 1))] = 0
    return tuple(lengths)


def near_ties(dtype: str) -> st.SearchStrategy[float]:
    """Numbers so near the middle of two 16-bit ones that rounding to float32 first changes where they go."""
    bits = {"float16": 11, "bfloat16": 8}.get(dtype)
    if bits is None:
        return st.nothing()
    return st.builds(
        lambda odd, tip, exponent, sign: (
            sign * math.ldexp(1 + (2 * odd + 1) / 2**bits, exponent) * (1 + tip * 2.0**-40)
        ),
        st.integers(0, 2 ** (bits - 1) - 1),
        st.sampled_from([-1, 1]),
        st.integers(-6, 6),
        st.sampled_from([-1, 1]),
    )


def parameters(dtype: str) -> st.SearchStrategy[int | float]:
    """Finite numbers from the smallest to those that overflow: zero, negative ones and integers among them.

    Never -0.0: TensorFlow keeps constants in a table where -0.0 and 0.0 are one key, so whichever comes first in a
    process stands for both from then on, in every test.
    """
    smallest, largest = SMALLEST[dtype], 1e308
    wide = st.floats(smallest, largest) | st.floats(-largest, -smallest)
    near = st.floats(-4.0, 4.0).map(lambda value: value if abs(value) >= smallest else 0.0)
    whole = st.integers(-1000, 1000) | st.integers(-(2**63), 2**63 - 1)
    return near_ties(dtype) | near | wide | whole | st.sampled_from([0, 0.0, 1.0, 65504, 65520.0])


@st.composite
def integer_bounds(draw: Any, dtype: str) -> dict[str, int | None]:
    """`minval` and `maxval` that an integer dtype allows: both None, or minval < maxval for signed ones."""
    if dtype.startswith("u") or draw(st.booleans()):
        return {"minval": None, "maxval": None}
    info = np.iinfo(dtype)
    low = draw(st.integers(-9, 9) | st.integers(int(info.min), int(info.max) - 1))
    return {
        "minval": low,
        "maxval": draw(st.integers(low + 1, min(low + 9, int(info.max))) | st.integers(low + 1, int(info.max))),
    }


# Whose constants TensorFlow makes of a bool too; fanin does it for all.
_TAKE_BOOLS = ("int32", "int64", "uint64", "float16", "float32", "float64", "complex128")


def _plain(value: Any, dtype: str) -> Any:
    """The number without signs of zeros, and without subnormals where TensorFlow converts by a cast that flushes."""
    if isinstance(value, complex):
        return complex(_plain(value.real, dtype), _plain(value.imag, dtype))
    return 0.0 if dtype in ("bfloat16", "complex64") and abs(value) < 2.0**-126 else value + 0.0


@st.composite
def constants(draw: Any, dtype: str) -> Any:
    """A value that fits the dtype: its kind or a plainer one."""
    if dtype == "bool":
        return draw(st.booleans())
    booleans = st.booleans() if dtype in _TAKE_BOOLS else st.nothing()
    if dtype in WHOLE_DTYPES:
        info = np.iinfo(dtype)
        return draw(st.integers(int(info.min), int(info.max)) | booleans)
    # integers over 2**24 and floats over float16's range test how a number is rounded on its way
    plain = near_ties(dtype) | st.floats().map(partial(_plain, dtype=dtype)) | st.integers(-(2**53), 2**53) | booleans
    return draw(
        plain | st.complex_numbers().map(partial(_plain, dtype=dtype)) if dtype.startswith("complex") else plain
    )


@st.composite
def configs(draw: Any, name: str, dtype: str, seeds: st.SearchStrategy[int] = seeds) -> dict[str, Any]:
    """Arguments of a class, each of which may be left out, for calls with a dtype."""
    numbers = parameters(dtype) if dtype in FLOAT_DTYPES else st.nothing()
    if name in NORMALS:
        config = {"mean": draw(numbers), "stddev": draw(numbers)}
    elif name == "RandomUniform" and dtype in FLOAT_DTYPES:
        config = {"minval": draw(numbers), "maxval": draw(numbers | st.none())}
    elif name == "RandomUniform":
        return {**draw(integer_bounds(dtype)), "seed": draw(seeds)}
    elif name == "VarianceScaling":
        config = {
            "scale": draw(st.floats(1e-3, 1e3) | st.floats(1e-40, 1e300) | st.integers(1, 100)),
            "mode": draw(st.sampled_from(["fan_in", "fan_out", "fan_avg"])),
            "distribution": draw(
                st.sampled_from(["truncated_normal", "untruncated_normal", "uniform", "normal", "Uniform"])
            ),
        }
    elif name in ("Identity", "Orthogonal"):
        config = {"gain": draw(numbers)}
    elif name == "Constant":
        config = {"value": draw(constants(dtype))}
    else:
        config = {}
    if not draw(st.integers(0, 3)) and name != "Constant":  # bare defaults; Constant's does not fit every dtype
        config = {}
    return {**config, "seed": draw(seeds)} if name not in FILLS else config


def dtypes_of(name: str) -> tuple[str, ...]:
    """The dtypes that a class can make."""
    if name == "RandomUniform":
        return FLOAT_DTYPES + INTEGER_DTYPES
    return NUMERIC_DTYPES if name in ("Zeros", "Ones", "Constant") else FLOAT_DTYPES


@st.composite
def calls(
    draw: Any,
    names: Sequence[str] = RANDOM,
    dtypes: Sequence[str] | None = None,
    max_size: int = 10**5,
    partitions: bool = True,
    seeds: st.SearchStrategy[int] = seeds,
) -> Call:
    """Calls that are no error, with any arguments."""
    name = draw(st.sampled_from(names))
    allowed = [dtype for dtype in dtypes_of(name) if dtypes is None or dtype in dtypes]
    dtype = draw(st.sampled_from(allowed))
    ranks = {"Identity": (2, 2), "Orthogonal": (2, 5)}.get(name, (0, 5))
    shape = draw(shapes(max_size, *ranks))
    keywords: dict[str, Any] = {}
    if partitions and name not in ("Identity", "Orthogonal"):
        if draw(st.integers(0, 3)) == 3:
            keywords["partition_shape"] = draw(shapes(max_size // 2))
        if draw(st.integers(0, 2)) == 2:
            keywords["partition_offset"] = draw(offsets)
    return Call(name, draw(configs(name, dtype, seeds)), shape, dtype, keywords)


def assert_same_bits(ours: np.ndarray, theirs: Any) -> None:
    """Dtype, shape and every byte are equal; of NaNs the bits may differ."""
    theirs = np.asarray(theirs)
    assert type(ours) is np.ndarray
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    if ours.tobytes() == theirs.tobytes():
        return
    part = np.real(ours).dtype  # of complex numbers, each half
    ours, theirs = ours.reshape(-1).view(part), theirs.reshape(-1).view(part)
    unsigned = np.dtype(f"u{part.itemsize}")
    differ = ours.view(unsigned) != theirs.view(unsigned)
    differ &= ~((ours != ours) & (theirs != theirs))
    where = np.flatnonzero(differ)
    assert not where.size, (
        f"{where.size} of {ours.size} differ, first at {where[0]}: {ours[where[0]]!r}, {theirs[where[0]]!r}"
    )
