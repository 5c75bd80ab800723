"""Dtypes: every way to name one, what is known of it, and how a parameter is rounded to it."""

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fanin
from fanin._core import dtypes
from strategies import examples, near_ties


class OfTensorFlow:
    """What a dtype of TensorFlow is to fanin."""

    def __init__(self, dtype: Any) -> None:
        self.as_numpy_dtype = dtype


NAMES: list[tuple[Any, Any]] = [
    ("float32", np.float32),
    ("half", np.float16),
    ("float", np.float32),
    ("double", np.float64),
    ("bfloat16", ml_dtypes.bfloat16),
    ("float8_e4m3fn", ml_dtypes.float8_e4m3fn),
    ("int4", ml_dtypes.int4),
    ("f2", np.float16),
    (">f4", np.float32),
    (np.dtype(">i8"), np.int64),
    (np.float64, np.float64),
    (float, np.float32),
    (int, np.int64),
    (bool, np.bool_),
    (ml_dtypes.bfloat16, ml_dtypes.bfloat16),
    (OfTensorFlow(np.float16), np.float16),
    (OfTensorFlow(ml_dtypes.bfloat16), ml_dtypes.bfloat16),
    (OfTensorFlow(object), np.str_),
]


@pytest.mark.parametrize(("given_dtype", "expected"), NAMES, ids=[str(number) for number in range(len(NAMES))])
def test_names(given_dtype: Any, expected: Any) -> None:
    """Names, dtypes and types mean NumPy's native dtype; Keras's `float` is float32."""
    resolved = dtypes.resolve(given_dtype)
    assert resolved == np.dtype(expected)
    assert resolved.isnative


def test_no_dtype_is_floatx() -> None:
    """None means the setting, which is read each time."""
    assert dtypes.resolve(None) == np.float32
    with fanin.config.using(floatx="bfloat16"):
        assert dtypes.resolve(None) == ml_dtypes.bfloat16


KINDS = {
    "bool": ["bool"],
    "integer": ["int8", "uint64", "int4", "uint2"],
    "float": ["float16", "float64", "bfloat16", "float8_e5m2", "float8_e8m0fnu", "float4_e2m1fn"],
    "complex": ["complex64", "complex128"],
    "other": ["str", "datetime64[s]", "O", "V4"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds(kind: str) -> None:
    """ml_dtypes' narrow numbers are integers and floats as NumPy's are."""
    assert {dtypes.kind(dtypes.resolve(name)) for name in KINDS[kind]} == {kind}


def test_what_is_known_of_a_dtype() -> None:
    """Ranges of integers, names for messages, and which floats have signs."""
    assert dtypes.integer_range(np.dtype(np.uint8)) == (0, 255)
    assert dtypes.integer_range(np.dtype(np.int64)) == (-(2**63), 2**63 - 1)
    assert dtypes.integer_range(np.dtype(ml_dtypes.int4)) == (-8, 7)
    assert dtypes.name(np.dtype("<U5")) == "string"
    assert dtypes.name(np.dtype(ml_dtypes.bfloat16)) == "bfloat16"
    unsigned = [
        name
        for name, dtype in dtypes.ML_DTYPES.items()
        if dtypes.kind(dtype) == "float" and not dtypes.is_signed(dtype)
    ]
    assert unsigned == ["float8_e8m0fnu"]


@given(st.floats() | near_ties("float16") | near_ties("bfloat16"))
@examples(200)
def test_rounding(value: float) -> None:
    """Narrow dtypes are reached through float32, as in TensorFlow; overflow is infinity and no warning."""
    with np.errstate(all="ignore"):
        single = np.float32(value)
        expected = {dtype: single.astype(dtype) for dtype in (np.float32, np.float16, ml_dtypes.bfloat16)}
    for dtype, number in expected.items():
        made = dtypes.rounded(value, np.dtype(dtype))
        assert made.tobytes() == number.tobytes() or math.isnan(value)
        assert type(made) is dtype
    assert math.isnan(value) or dtypes.rounded(value, np.dtype(np.float64)) == value
