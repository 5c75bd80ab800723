"""Constants and tables: kinds of values that fit kinds of dtypes, how they are rounded, and where values go."""

import json
import math
from typing import Any

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


@pytest.mark.parametrize(
    "values", [2.5, [1, 2, 3], [[1], [2]], [[1, 2, 3], [4, 5, 6]], [[[0]]], True, [1 + 2j]], ids=str
)
def test_tables_are_broadcast(values: Any) -> None:
    """As NumPy broadcasts, whole and in regions, into memory of any strides."""
    dtype = "complex64" if np.iscomplexobj(values) else "float32"
    expected = np.broadcast_to(np.array(values, dtype), (4, 2, 3))
    table = fanin.Table(values)
    assert table((4, 2, 3), dtype).tobytes() == expected.tobytes()
    for region in (np.s_[1:, 1], np.s_[..., 2], np.s_[3, 1, 0], np.s_[2:2]):
        assert table((4, 2, 3), dtype, region=region).tobytes() == expected[region].tobytes()
    out = np.zeros((3, 2, 4), dtype).T
    assert table((4, 2, 3), dtype, out=out).tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([0.1, 1e300, -1e-300, math.nan], "float64"),
        ([0.1, 1e300, math.inf], "float32"),
        ([1 + 2**-9 + 2**-40, 70000.0], "float16"),
        ([0.1, 1e39], "bfloat16"),
        ([-128, 127], "int8"),
        ([2**64 - 1, 0], "uint64"),
        ([-(2**63), 3], "int64"),
        ([True, False], "bool"),
        ([True, False], "float32"),
        ([1, 0.5, 1j], "complex128"),
        ([7, -8], "int4"),
        ([0.3, 500.0], "float8_e4m3fn"),
    ],
    ids=str,
)
def test_tables_are_rounded_as_constants_are(values: list[Any], dtype: str) -> None:
    """Each element is what a constant of it would be."""
    if dtype == "float8_e4m3fn":  # which has no infinity: 500.0 is NaN
        with pytest.raises(ValueError, match="The dtype must be able to represent the values"):
            fanin.Table(values)((2,), dtype)
        return
    kind = complex if dtype.startswith("complex") else type(values[-1])
    expected = [fanin.Constant(kind(each))((), dtype).tobytes() for each in values]
    assert [each.tobytes() for each in fanin.Table(values)((len(values),), dtype)] == expected


def test_what_tables_are_made_of() -> None:
    """Arrays of any dtype, of PyTorch too, and lists; the array is copied, and cannot be changed afterwards."""
    array = np.array([0.5, 0.25], ml_dtypes.bfloat16)
    table = fanin.Table(array)
    array[0] = 7
    assert table.get_config() == {"values": [0.5, 0.25]}
    with pytest.raises(ValueError, match="read-only"):
        table.values[0] = 7
    torch = pytest.importorskip("torch")
    for dtype in (torch.bfloat16, torch.float32, torch.int16):
        assert fanin.Table(torch.tensor([3, 2], dtype=dtype))((2,)).tolist() == [3, 2]
    assert fanin.Table(torch.nn.Parameter(torch.ones(2)))((2,)).tolist() == [1, 1]


def test_tables_compare_and_describe_themselves() -> None:
    """By kind, shape and bytes; the configuration is nested lists, and a large table's representation is short."""
    assert fanin.Table([1, 2]) == fanin.Table(np.array([1, 2], np.int8))
    assert hash(fanin.Table([1, 2])) == hash(fanin.Table((1, 2)))
    assert len({fanin.Table(each) for each in ([1, 2], [1.0, 2.0], [[1, 2]], [True, True], [0.0], [-0.0])}) == 6
    assert fanin.Table([math.nan]) == fanin.Table([math.nan])
    large = fanin.Table(np.arange(100_000).reshape(100, -1) / 3)
    assert repr(large) == "Table(values=<float64 of shape (100, 1000)>)"
    assert fanin.Table.from_config(json.loads(json.dumps(large.get_config()))) == large
    assert fanin.Table([1, 2]).distribution((3, 2)) == fanin.Table([1.0, 2.0]).distribution((3, 2))
    assert fanin.Table([1, 2]).distribution((3, 2)) != fanin.Table([[1, 2]]).distribution((3, 2))


def test_tables_in_rules() -> None:
    """A rule has a table's values as lists."""
    recipe = fanin.Recipe([{"path": "*", "initializer": "table", "values": [[1, 2], [3, 4]]}])
    (entry,) = recipe.plan([{"path": "w", "shape": [2, 2], "layout": "torch"}]).entries
    assert entry.make().tolist() == [[1, 3], [2, 4]]
