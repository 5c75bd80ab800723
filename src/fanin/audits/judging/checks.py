"""Checks of every element of a tensor, where its statistics say too little: matrices, and values that are computed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np

from fanin import distributions
from fanin._core import dtypes
from fanin._core.streams import Stream
from fanin._core.types import Array
from fanin.distributions import Distribution
from fanin.report import number

Check: TypeAlias = Callable[[Array], str]

_MOST = 2**24  # elements of a tensor that is compared or multiplied
_MOST_ROWS = 256  # rows of a matrix whose products are made
_ROUNDED = 4.0  # roundings to its dtype that a product has: of its factors, and of the gain in both
_CLOSE = 64.0  # roundings of the arithmetic before that, for each fourth root of the length of a row
_NARROW = 2  # bytes of the dtypes whose values may have been rounded twice


def orthogonality(distribution: distributions.Orthogonal) -> Check | None:
    """A check that the products of the shorter side's vectors are those of orthogonal ones.

    >>> import fanin
    >>> check = orthogonality(fanin.Orthogonal().distribution((2, 2)))
    >>> check(np.eye(2)), check(np.ones((2, 2)))
    ('', 'The products of its rows are up to 2 from those of orthonormal rows.')
    """
    rows, columns = distribution.matrix_shape
    if not 0 < distribution.size <= _MOST or not distribution.gain:
        return None

    def check(tensor: Array) -> str:
        matrix = np.asarray(tensor).astype(np.complex128 if distribution.dtype.kind == "c" else np.float64)
        matrix = matrix.reshape(rows, columns) / distribution.gain
        short = matrix if rows <= columns else matrix.T
        short = short[:_MOST_ROWS]
        off = float(np.abs(short @ short.conj().T - np.eye(len(short))).max())
        eps = _eps_of(np.asarray(tensor))
        computed = min(eps, float(np.finfo(np.float32).eps))
        if off <= max(_ROUNDED * eps, _CLOSE * computed * math.sqrt(max(rows, columns)) ** 0.5):
            return ""
        side = "rows" if rows <= columns else "columns"
        return f"The products of its {side} are up to {number(off, 3)} from those of orthonormal {side}."

    return check


def equality(distribution: Distribution) -> Check | None:
    """A check of every value of a distribution that nothing is drawn for.

    >>> import fanin
    >>> check = equality(fanin.Identity().distribution((2, 2)))
    >>> check(np.eye(2)), check(np.ones((2, 2)))
    ('', '2 of 4 elements differ from identity.')
    """
    if not 0 < distribution.size <= _MOST:
        return None

    def check(tensor: Array) -> str:
        values = np.empty(distribution.shape, distribution.dtype)
        distribution.fill(values, Stream(0))
        given = np.asarray(tensor)
        different = int(np.count_nonzero(_differ(given, values)))
        return f"{different:,} of {given.size:,} elements differ from {distribution.kind}." if different else ""

    return check


@np.errstate(all="ignore")
def _differ(given: Array, values: Array) -> Array:
    """Which elements are not these values.

    In 16 bits or less, one that a dtype does not have may be the next one: it may have been rounded twice.
    """
    rounded = values.astype(given.dtype)
    is_other = given != rounded
    if given.dtype.itemsize > _NARROW or dtypes.kind(given.dtype) != "float":
        return is_other
    wide, expected = given.astype(np.float64), rounded.astype(np.float64)
    is_next = np.abs(wide - expected) <= _eps_of(given) * np.abs(expected)
    return is_other & ~(is_next & (values.astype(np.float64) != expected))


def _eps_of(tensor: Array) -> float:
    """The step of a tensor's dtype at 1; of a complex one, that of its parts."""
    dtype = tensor.dtype
    limits: Any = ml_dtypes.finfo(np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype)
    return float(limits.eps)
