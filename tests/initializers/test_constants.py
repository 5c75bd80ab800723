"""Constants: kinds of values that fit kinds of dtypes, and how they are rounded."""

import math

import ml_dtypes
import numpy as np
import pytest

import fanin
from fanin._core import dtypes


def test_constants() -> None:
    """Kinds that fit, on their way through float32 to the narrow dtypes."""
    assert fanin.Constant(True)((2,), "int8").tolist() == [1, 1]
    assert fanin.Constant(True)((1,), "bool").tolist() == [True]
    assert fanin.Constant(3)((1,), "complex64").tolist() == [3 + 0j]
    assert fanin.Constant(1e300)((1,), "float32").tolist() == [math.inf]
    assert fanin.Constant(-(10**400))((1,), "float64").tolist() == [-math.inf]
    assert math.isnan(fanin.Constant(math.nan)((1,))[0])
    assert fanin.Constant(np.float32(0.1))((1,), "float64").tolist() == [float(np.float32(0.1))]
    assert fanin.Constant(np.array(5))(()).tolist() == 5.0
    halfway = 1 + 2**-9 + 2**-40  # above the middle between two float16 numbers, but not in float32
    assert fanin.Constant(halfway + 2**-11 - 2**-9)((1,), "float16").tolist() == [1.0]


NUMERIC = [
    *("bool", "int8", "uint16", "int64", "uint64", "float16", "float32", "float64", "complex64", "complex128"),
    *(name for name in dtypes.ML_DTYPES if name not in ("float8_e8m0fnu", "int1")),
]


@pytest.mark.parametrize("dtype", NUMERIC)
def test_zeros_and_ones(dtype: str) -> None:
    """Every numeric dtype and bool, ml_dtypes' narrow ones among them."""
    for initializer, value in ((fanin.Zeros(), 0), (fanin.Ones(), 1), (fanin.Constant(True), 1)):
        array = initializer((2, 3), dtype)
        assert array.dtype.name == dtype
        assert array.astype(np.complex128).tolist() == [[value] * 3] * 2


def test_a_dtype_without_zero() -> None:
    """float8_e8m0fnu has powers of two alone."""
    assert fanin.Ones()((2,), "float8_e8m0fnu").tolist() == [1, 1]
    assert fanin.Constant(4)((2,), ml_dtypes.float8_e8m0fnu).tolist() == [4, 4]
    with pytest.raises(
        ValueError, match=r"^The dtype must be able to represent the value\. Received: value=0, dtype=float8_e8m0fnu\.$"
    ):
        fanin.Zeros()((2,), "float8_e8m0fnu")
