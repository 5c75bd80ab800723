"""Initializers of given values: zeros, ones, a constant, a table."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fanin import distributions
from fanin._core import dtypes
from fanin._core.environment import quietly, undisturbed
from fanin._core.memory import as_numpy, is_torch
from fanin._core.messages import class_name, shown
from fanin._core.shapes import checked_shape
from fanin._core.types import Array, DType, DTypeLike, Shape, ShapeLike
from fanin.distributions import Distribution
from fanin.initializers.base import Initializer, scalar


def numeric_dtype(dtype: DTypeLike) -> DType:
    """The resolved dtype, if it is of numbers or bool."""
    resolved = dtypes.resolve(dtype)
    if dtypes.kind(resolved) == "other":
        raise ValueError(f"Expected numeric or boolean dtype, got {dtypes.name(resolved)}.")
    return resolved


def _constant(shape: ShapeLike, dtype: DType, converted: Any, value: Any) -> Distribution:
    if converted != converted and value == value:  # NaN: float8_e8m0fnu has only powers of two
        raise ValueError(
            f"The dtype must be able to represent the value. Received: value={shown(value)}, dtype={dtype.name}."
        )
    return distributions.Constant(checked_shape(shape), dtype, converted)


class Zeros(Initializer):
    """Makes zeros of any numeric dtype or bool.

    Also available as `zeros`.

    >>> import fanin
    >>> initializer = fanin.initializers.Zeros()
    >>> values = initializer(shape=(2, 2))
    """

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        resolved = numeric_dtype(dtype)
        return _constant(shape, resolved, resolved.type(0), 0)


class Ones(Initializer):
    """Makes ones of any numeric dtype or bool.

    Also available as `ones`.

    >>> import fanin
    >>> initializer = fanin.initializers.Ones()
    >>> values = initializer(shape=(2, 2))
    """

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        resolved = numeric_dtype(dtype)
        return _constant(shape, resolved, resolved.type(1), 1)


_KINDS = ("bool", "integer", "float", "complex")
_KIND_OF: dict[type, str] = {bool: "bool", int: "integer", float: "float", complex: "complex"}


def _check_kinds(kind: str, dtype: DType, received: str) -> None:
    """Raises if values of a kind do not fit a dtype of a plainer kind."""
    dtype_kind = dtypes.kind(dtype)
    if _KINDS.index(kind) > _KINDS.index(dtype_kind):
        raise TypeError(
            f"A value of kind {kind} does not fit a dtype of kind {dtype_kind}. "
            f"Received: {received}, dtype={dtype.name}."
        )


def _check_range(lowest: int, highest: int, dtype: DType, name: str, received: str) -> None:
    """Raises if integers do not fit an integer dtype."""
    smallest, largest = dtypes.integer_range(dtype)
    if not smallest <= lowest <= highest <= largest:
        raise ValueError(
            f"`{name}` must lie in the dtype's range, [{smallest}, {largest}]. "
            f"Received: {received}, dtype={dtype.name}."
        )


class Constant(Initializer):
    """Makes tensors of one value.

    Also available as `constant`.

    >>> import fanin
    >>> initializer = fanin.initializers.Constant(3.)
    >>> values = initializer(shape=(2, 2))

    Args:
        value: a Python or NumPy scalar, or a 0-d array or tensor: a bool, an integer, a float or a complex number.

    Raises:
        TypeError: the value is not a scalar; at the call, it does not fit the dtype (3.0 for int32, 0 for bool).
        ValueError: at the call, an integer lies outside the dtype's range.
    """

    def __init__(self, value: Any = 0) -> None:
        self.value: Any = scalar(value)
        if not isinstance(self.value, (bool, int, float, complex)):
            raise TypeError(
                f"`value` must be a scalar. Received: value={shown(value)} (of type {class_name(type(value))}). "
                "Only scalar values are allowed. An array is a table: fanin.Table(array)."
            )

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        resolved = numeric_dtype(dtype)
        return _constant(shape, resolved, self._converted(resolved), self.value)

    def _converted(self, dtype: DType) -> np.generic:
        kind, dtype_kind = _KIND_OF[type(self.value)], dtypes.kind(dtype)
        _check_kinds(kind, dtype, f"value={shown(self.value)}")
        if dtype_kind == "integer":
            _check_range(self.value, self.value, dtype, "value", f"value={shown(self.value)}")
        if dtype_kind == "float":
            return dtypes.rounded(_as_float(self.value), dtype)
        value = _as_float(self.value) if dtype_kind == "complex" and kind != "complex" else self.value
        return quietly(dtype.type, value)

    def get_config(self) -> dict[str, Any]:
        return {"value": self.value}


def _as_float(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


class Table(Initializer):
    """Makes tensors of given values, broadcast to the shape as NumPy broadcasts them.

    Also available as `table`.

    >>> import fanin
    >>> fanin.initializers.Table([1, 2, 3])((2, 3)).tolist()
    [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]

    Args:
        values: an array or tensor in CPU memory, which is copied, or nested lists: of bools, integers, floats or
            complex numbers.

    Attributes:
        values: the values as a read-only NumPy array: of bool, int64, uint64, float64 or complex128.

    Raises:
        TypeError, ValueError: the values are not numbers, or no array of them; at the call, they cannot be broadcast to
            the shape, or do not fit the dtype (3.0 for int32, 300 for int8).
    """

    def __init__(self, values: Any) -> None:
        self.values: Array = _table(values)

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        resolved, shape = numeric_dtype(dtype), checked_shape(shape)
        if not _broadcasts(self.values.shape, shape):
            raise ValueError(
                "`values` must be broadcastable to the shape. "
                f"Received: values of shape {self.values.shape}, shape={shape}."
            )
        return distributions.Table(shape, resolved, self._converted(resolved))

    def _converted(self, dtype: DType) -> Array:
        values, received = self.values, f"values of shape {self.values.shape}"
        _check_kinds(dtypes.kind(values.dtype), dtype, received)
        if dtypes.kind(dtype) == "integer" and values.size:
            _check_range(int(values.min()), int(values.max()), dtype, "values", received)
        with np.errstate(all="ignore"):
            if dtypes.kind(dtype) == "float" and dtype.itemsize < 4:  # as a constant is rounded
                values = values.astype(np.float32)
            converted = values.astype(dtype)
            if (np.isnan(converted.astype(np.complex128)) & ~np.isnan(values.astype(np.complex128))).any():
                raise ValueError(
                    f"The dtype must be able to represent the values. Received: {received}, dtype={dtype.name}."
                )
        converted.flags.writeable = False
        return converted

    def get_config(self) -> dict[str, Any]:
        return {"values": self.values.tolist()}

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other) or not isinstance(other, Table):
            return NotImplemented
        return self._exact() == other._exact()

    def __hash__(self) -> int:
        return hash(self._exact())

    def _exact(self) -> tuple[Any, ...]:
        return type(self), self.values.shape, self.values.dtype.str, self.values.tobytes()

    def __repr__(self) -> str:
        if self.values.size > _MOST_SHOWN:
            return f"{class_name(type(self))}(values=<{self.values.dtype} of shape {self.values.shape}>)"
        return f"{class_name(type(self))}(values={self.values.tolist()})"


_MOST_SHOWN = 16  # values in a representation


@undisturbed
def _table(values: Any) -> Array:
    """The values as an array of the widest dtype of their kind."""
    try:
        array = np.array(as_numpy(values) if hasattr(values, "__dlpack__") or is_torch(values) else values)
        if array.dtype == np.float64 and not isinstance(values, np.ndarray) and (np.abs(array) >= 2.0**63).any():
            array = _large_integers(values, array)
        kind = dtypes.kind(array.dtype)
        if kind not in _KINDS:
            raise TypeError(f"they are of dtype {dtypes.name(array.dtype)}")
    except (TypeError, ValueError) as error:
        raise type(error)(
            "`values` must be an array of numbers, or nested lists of them with equal lengths. "
            f"Received: values={shown(values)} ({error})."
        ) from None
    if kind == "integer":
        wide = np.uint64 if array.size and int(array.max()) > np.iinfo(np.int64).max else np.int64
    else:
        wide = {"bool": np.bool_, "float": np.float64, "complex": np.complex128}[kind]
    array = array.astype(wide)
    array.flags.writeable = False
    return array


def _large_integers(values: Any, array: Array) -> Array:
    """Lists of integers that int64 has not, of which NumPy makes floats, as uint64; of other numbers, the array."""
    objects = np.array(values, object)
    if all(type(each) is int and 0 <= each < 2**64 for each in objects.reshape(-1)):
        return objects.astype(np.uint64)
    return array


def _broadcasts(shape: Shape, to: Shape) -> bool:
    try:
        return np.broadcast_shapes(shape, to) == to
    except ValueError:
        return False
