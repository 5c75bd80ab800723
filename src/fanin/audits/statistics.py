"""What one pass over a tensor finds, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

from fanin._core.types import Array


@dataclass(frozen=True)
class Lines:
    """The rows of a tensor along one axis, each with all elements of the other axes.

    Attributes:
        axis: the axis.
        count: the number of rows.
        length: the number of elements of each.
        dead: the rows whose elements are all zero, if others are not, as (start, stop) ranges.
        repeated: ranges of rows that have the values of earlier ones, bit for bit: (start, stop, start of the earlier).
            Rows of equal elements (such as zeros) do not count.
        dispersion: the variance of the rows' mean squares, divided by what it is for independent elements of the
            tensor's own kurtosis: about 1 for weights that were drawn, more for those that were trained; NaN if that
            is unknown.
        dispersion_error: its standard error for independent elements.
    """

    axis: int
    count: int
    length: int
    dead: tuple[tuple[int, int], ...] = ()
    repeated: tuple[tuple[int, int, int], ...] = ()
    dispersion: float = float("nan")
    dispersion_error: float = float("nan")


@dataclass(frozen=True)
class Statistics:
    """What one pass over a tensor, or a box of it, finds.

    Numbers are of the finite elements, in float64. Complex elements count as two numbers each.

    Attributes:
        size: the number of elements.
        nans, infinities, zeros, subnormals: how many of them are that.
        mean, stddev, kurtosis: the moments; NaN without elements, and the kurtosis of equal elements is NaN.
        low, high: the smallest and the largest element; NaN without elements.
        at_low, at_high: how many elements are that.
        sample: evenly spread elements in the order of their index, as float64, at most 2**16 of them; all of a smaller
            tensor. Where they lie depends on the size alone. NaN and infinities among them stay.
        distinct: how many different values the sample has.
        grids: narrower dtypes that hold every element exactly, such as ("bfloat16",) of a float32 tensor.
        lines: rows along the first and the last axis, of tensors of two axes or more.
        fingerprint: equal for tensors of equal bytes in C order, and different for nearly all others.
    """

    size: int
    nans: int
    infinities: int
    zeros: int
    subnormals: int
    mean: float
    stddev: float
    kurtosis: float
    low: float
    high: float
    at_low: int
    at_high: int
    sample: Array
    distinct: int
    grids: tuple[str, ...]
    lines: tuple[Lines, ...]
    fingerprint: bytes
