"""Initializers with the same value everywhere: zeros, ones, a constant."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fanin import distributions
from fanin._core import dtypes
from fanin._core.environment import quietly
from fanin._core.messages import class_name, shown
from fanin._core.shapes import checked_shape
from fanin._core.types import DType, DTypeLike, ShapeLike
from fanin.distributions import Distribution
from fanin.initializers.base import Initializer, scalar


def _numeric_dtype(dtype: DTypeLike) -> DType:
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
        resolved = _numeric_dtype(dtype)
        return _constant(shape, resolved, resolved.type(0), 0)


class Ones(Initializer):
    """Makes ones of any numeric dtype or bool.

    Also available as `ones`.

    >>> import fanin
    >>> initializer = fanin.initializers.Ones()
    >>> values = initializer(shape=(2, 2))
    """

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        resolved = _numeric_dtype(dtype)
        return _constant(shape, resolved, resolved.type(1), 1)


_KINDS = ("bool", "integer", "float", "complex")


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
                "Only scalar values are allowed."
            )

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        resolved = _numeric_dtype(dtype)
        return _constant(shape, resolved, self._converted(resolved), self.value)

    def _converted(self, dtype: DType) -> np.generic:
        types = {bool: "bool", int: "integer", float: "float", complex: "complex"}
        kind, dtype_kind = types[type(self.value)], dtypes.kind(dtype)
        if _KINDS.index(kind) > _KINDS.index(dtype_kind):
            raise TypeError(
                f"A value of kind {kind} does not fit a dtype of kind {dtype_kind}. "
                f"Received: value={shown(self.value)}, dtype={dtype.name}."
            )
        if dtype_kind == "integer":
            smallest, largest = dtypes.integer_range(dtype)
            if not smallest <= self.value <= largest:
                raise ValueError(
                    f"`value` must lie in the dtype's range, [{smallest}, {largest}]. "
                    f"Received: value={shown(self.value)}, dtype={dtype.name}."
                )
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
