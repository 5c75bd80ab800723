"""Dtypes: which ones are supported, their names, and how a parameter is rounded to one."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import ml_dtypes
import numpy as np

from fanin._core.messages import class_name, shown, suggestion
from fanin._core.settings import config
from fanin._core.types import DTypeLike

FLOAT16, FLOAT32, FLOAT64 = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
# The floating dtypes that can be drawn, with the kernels' names for them (a NumPy dtype's `name` is slow).
FLOATS = {FLOAT16: "float16", BFLOAT16: "bfloat16", FLOAT32: "float32", FLOAT64: "float64"}
COMPLEX64, COMPLEX128 = np.dtype(np.complex64), np.dtype(np.complex128)
INTEGERS = tuple(np.dtype(name) for name in ("int32", "int64", "uint32", "uint64"))

# The number of random bits in a unit float of each dtype.
UNIT_BITS = {FLOAT16: 10, BFLOAT16: 7, FLOAT32: 23, FLOAT64: 52}

_ALIASES = {"half": "float16", "float": "float32", "double": "float64", "string": "str"}
ML_DTYPES = {
    name: np.dtype(getattr(ml_dtypes, name))
    for name in dir(ml_dtypes)
    if isinstance(getattr(ml_dtypes, name), type) and issubclass(getattr(ml_dtypes, name), np.generic)
}
_NUMPY_NAMES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32")
_NAMES = (*_NUMPY_NAMES, "float64", "complex64", "complex128", *ML_DTYPES, *_ALIASES)


def resolve(dtype: DTypeLike) -> np.dtype:
    """The native NumPy dtype for a name or a dtype of NumPy, ml_dtypes or a framework; None means `floatx`."""
    if dtype is None:
        return _resolved(config.floatx)
    try:
        if isinstance(dtype, (tuple, list, dict)):  # NumPy's structures, and too deep ones to be hashed
            raise TypeError(f"{class_name(type(dtype))} is no dtype")
        return _resolved(dtype)
    except (TypeError, ValueError, SyntaxError) as error:  # NumPy parses strings such as "(2,)f4"
        if isinstance(dtype, str):
            hint = suggestion(dtype, _NAMES) or f" Known names: {', '.join(_NAMES)}."
            raise TypeError(f"Cannot convert value {shown(dtype)} to a dtype.{hint}") from None
        raise TypeError(
            f"Cannot convert value {shown(dtype)} to a dtype. It must be a name such as 'float32', or a dtype of "
            "NumPy, ml_dtypes, TensorFlow, PyTorch or JAX. "
            f"Received: dtype={shown(dtype)} (of type {class_name(type(dtype))})."
        ) from error


@lru_cache(maxsize=256, typed=True)  # typed, because tf.int32 == 3, for example
def _resolved(dtype: Any) -> np.dtype:
    if isinstance(dtype, str):
        if not dtype.isprintable():
            raise TypeError("NumPy takes control characters for the numbers of dtypes")
        dtype = ML_DTYPES.get(_ALIASES.get(dtype, dtype), _ALIASES.get(dtype, dtype))
    elif dtype is float:
        dtype = np.float32  # as in tf_keras; in NumPy it is float64
    elif type(dtype).__module__.partition(".")[0] == "torch":
        name = str(dtype).removeprefix("torch.")
        dtype = ML_DTYPES.get(name, name)
    elif hasattr(dtype, "as_numpy_dtype"):  # TensorFlow
        dtype = str if dtype.as_numpy_dtype is object else dtype.as_numpy_dtype  # which is object for strings
    elif not isinstance(dtype, (type, np.dtype)):  # such as an array, whose dtype NumPy would return
        raise TypeError(f"{class_name(type(dtype))} is no dtype")
    return np.dtype(dtype).newbyteorder("=")


def name(dtype: np.dtype) -> str:
    """The dtype's name for messages, without the length that NumPy puts into the names of string dtypes."""
    return "string" if dtype.kind in "SUT" else dtype.name


def kind(dtype: np.dtype) -> str:
    """ "bool", "integer", "float", "complex" or "other"."""
    kinds = {"b": "bool", "i": "integer", "u": "integer", "f": "float", "c": "complex"}
    if dtype.kind in kinds:
        return kinds[dtype.kind]
    if dtype in ML_DTYPES.values():
        return "integer" if "int" in dtype.name else "float"
    return "other"


def is_signed(dtype: np.dtype) -> bool:
    """Whether a floating dtype has negative numbers, and so a zero; float8_e8m0fnu has neither."""
    limits: Any = ml_dtypes.finfo(dtype)
    return float(limits.min) < 0


def integer_range(dtype: np.dtype) -> tuple[int, int]:
    """The smallest and the largest value of an integer dtype, including ml_dtypes' narrow ones."""
    limits: Any = (ml_dtypes.iinfo if dtype.name in ML_DTYPES else np.iinfo)(dtype)
    return int(limits.min), int(limits.max)


def rounded(value: float, dtype: np.dtype) -> np.generic:
    """A parameter rounded to a floating dtype, by way of float32 for dtypes under 32 bits, as in TensorFlow."""
    if dtype is FLOAT64 or (dtype is FLOAT32 and abs(value) < 1e38):  # the fast path: cannot overflow
        return dtype.type(value)
    with np.errstate(all="ignore"):  # overflow means infinity here
        return dtype.type(value if dtype.itemsize >= 8 else np.float32(value))


def rounded_values(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Float64 or complex128 values rounded once to a dtype, to nearest even.

    NumPy converts float64 to ml_dtypes' dtypes by way of float32, which would round twice. A float32 number that is
    rounded to odd instead has all that the second rounding needs (S. Boldo and G. Melquiond, "Emulation of FMA and
    correctly rounded sums: proved algorithms using rounding to odd", IEEE Transactions on Computers 57(4), 2008).
    """
    if dtype in ML_DTYPES.values():
        single = values.astype(np.float32)
        left = values - single
        even = (single.view(np.uint32) & np.uint32(1)) == 0
        toward = np.copysign(np.float32(np.inf), left.astype(np.float32))
        values = np.where(even & (left != 0), np.nextafter(single, toward), single)
    return values.astype(dtype)
