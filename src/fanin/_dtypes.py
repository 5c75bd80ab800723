"""Dtypes: what may be asked for, under which names, and how a parameter is rounded to one."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import ml_dtypes
import numpy as np

from fanin._words import suggestion
from fanin.settings import config

FLOAT16, FLOAT32, FLOAT64 = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
# What can be drawn, with the kernels' names for them (a NumPy dtype takes its time to say its name).
FLOATS = {FLOAT16: "float16", BFLOAT16: "bfloat16", FLOAT32: "float32", FLOAT64: "float64"}
INTEGERS = tuple(np.dtype(name) for name in ("int32", "int64", "uint32", "uint64"))

# The random bits of a unit float of each dtype.
UNIT_BITS = {FLOAT16: 10, BFLOAT16: 7, FLOAT32: 23, FLOAT64: 52}

_ALIASES = {"half": "float16", "float": "float32", "double": "float64", "string": "str"}
ML_DTYPES = {
    name: np.dtype(getattr(ml_dtypes, name))
    for name in dir(ml_dtypes)
    if isinstance(getattr(ml_dtypes, name), type) and issubclass(getattr(ml_dtypes, name), np.generic)
}
_NUMPY_NAMES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32")
_NAMES = (*_NUMPY_NAMES, "float64", "complex64", "complex128", *ML_DTYPES, *_ALIASES)


def resolve(dtype: Any) -> np.dtype:
    """The native NumPy dtype that a name or a dtype of NumPy, ml_dtypes or a framework means; None is floatx."""
    if dtype is None:
        return _resolved(config.floatx)
    try:
        return _resolved(dtype)
    except (TypeError, ValueError, SyntaxError) as error:  # NumPy parses strings such as "(2,)f4"
        if isinstance(dtype, str):
            hint = suggestion(dtype, _NAMES) or f" Known names: {', '.join(_NAMES)}."
            raise TypeError(f"Cannot convert value {dtype!r} to a dtype.{hint}") from None
        raise TypeError(
            f"Cannot convert value {dtype!r} to a dtype. It must be a name such as 'float32', or a dtype of NumPy, "
            f"ml_dtypes, TensorFlow, PyTorch or JAX. Received: dtype={dtype!r} (of type {type(dtype).__name__})."
        ) from error


@lru_cache(maxsize=256, typed=True)  # typed, for tf.int32 == 3 and the like
def _resolved(dtype: Any) -> np.dtype:
    if isinstance(dtype, str):
        dtype = ML_DTYPES.get(_ALIASES.get(dtype, dtype), _ALIASES.get(dtype, dtype))
    elif dtype is float:
        dtype = np.float32  # as in tf_keras; NumPy would say float64
    elif type(dtype).__module__.partition(".")[0] == "torch":
        name = str(dtype).removeprefix("torch.")
        dtype = ML_DTYPES.get(name, name)
    elif hasattr(dtype, "as_numpy_dtype"):  # TensorFlow
        dtype = str if dtype.as_numpy_dtype is object else dtype.as_numpy_dtype  # its strings are NumPy's objects
    elif not isinstance(dtype, (type, np.dtype)):  # a scalar or an array, say, which NumPy would take for its own dtype
        raise TypeError(f"{type(dtype).__name__} is no dtype")
    return np.dtype(dtype).newbyteorder("=")


def name(dtype: np.dtype) -> str:
    """The dtype's name in messages: NumPy's names of strings have their lengths in them."""
    return "string" if dtype.kind in "SUT" else dtype.name


def kind(dtype: np.dtype) -> str:
    """ "bool", "integer", "float", "complex" or "other"."""
    kinds = {"b": "bool", "i": "integer", "u": "integer", "f": "float", "c": "complex"}
    if dtype.kind in kinds:
        return kinds[dtype.kind]
    if dtype in ML_DTYPES.values():
        return "integer" if "int" in dtype.name else "float"
    return "other"


def integer_range(dtype: np.dtype) -> tuple[int, int]:
    """The smallest and largest value of an integer dtype, ml_dtypes' narrow ones included."""
    limits: Any = (ml_dtypes.iinfo if dtype.name in ML_DTYPES else np.iinfo)(dtype)
    return int(limits.min), int(limits.max)


def rounded(value: float, dtype: np.dtype) -> np.generic:
    """A parameter in a floating dtype. It reaches the dtypes under 32 bits through float32, as in TensorFlow."""
    if dtype is FLOAT64 or (dtype is FLOAT32 and abs(value) < 1e38):  # nothing to overflow: the quick way
        return dtype.type(value)
    with np.errstate(all="ignore"):  # overflow means infinity here
        return dtype.type(value if dtype.itemsize >= 8 else np.float32(value))


def quietly(operation: Callable[..., Any], *operands: Any) -> Any:
    """An operation's result, infinities and NaNs as IEEE 754 has them, without a warning."""
    with np.errstate(all="ignore"):
        return operation(*operands)
