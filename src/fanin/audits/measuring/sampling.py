"""Samples of a tensor: numbers that are spread over it evenly, at places that depend on its size alone."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from fanin._core import dtypes
from fanin._core.shapes import c_strides
from fanin._core.types import Array, DType, Shape
from fanin.audits.measuring import fingerprints
from fanin.audits.measuring.elements import Elements

MOST = 2**16  # numbers
_MANY = 2**12  # numbers, from which it is faster to count those of each value than to sort them
_MARGIN = 5  # more equal pairs than were seen


@lru_cache(maxsize=16)
def positions(size: int) -> Array:
    """The places of the sample among so many numbers: all of a few, or one in each of 2**16 equal stretches.

    Where a number lies in its stretch looks random, since every n-th number may come from a few columns only.
    """
    if size <= MOST:
        return np.arange(size)
    edges = np.arange(MOST + 1) * size // MOST
    random = fingerprints.mixed(np.zeros(MOST, np.uint32), np.arange(MOST)) >> np.uint64(11)
    return edges[:-1] + (random * 2.0**-53 * np.diff(edges)).astype(np.int64)


def is_run(shape: Shape, lengths: Shape) -> bool:
    """Whether a region of these lengths has elements that follow one another in a tensor in C order."""
    inner = len(shape)
    while inner and lengths[inner - 1] == shape[inner - 1]:
        inner -= 1
    return math.prod(lengths[: max(0, inner - 1)]) == 1


def first_index(shape: Shape, starts: Shape) -> int:
    """The index, in C order, of the first element of a region."""
    return sum(start * stride for start, stride in zip(starts, c_strides(shape), strict=True))


def sampled(shape: Shape, elements: Elements, starts: Shape, array: Array) -> tuple[Array | slice, Array]:
    """What a region has of the sample of a tensor: the numbers' places in the sample, and the numbers.

    Args:
        shape: the tensor's shape.
        elements: how its elements are read.
        starts: where the region begins.
        array: the elements of the region.
    """
    every = positions(math.prod(shape) * elements.numbers)
    if is_run(shape, array.shape) and array.flags.c_contiguous:
        begin = first_index(shape, starts)
        low, high = np.searchsorted(every, np.array([begin, begin + array.size]) * elements.numbers)
        places = slice(int(low), int(high))
        indices = every[places] if elements.numbers == 1 else every[places] // elements.numbers
        chosen = array.reshape(-1).take(indices - begin)
    else:
        coordinates = np.unravel_index(every // elements.numbers, shape)
        inner = [each - start for each, start in zip(coordinates, starts, strict=True)]
        inside = [(each >= 0) & (each < length) for each, length in zip(inner, array.shape, strict=True)]
        places = np.flatnonzero(np.logical_and.reduce(inside))
        chosen = array[tuple(each[places] for each in inner)]
    numbers = elements.as_numbers(np.ascontiguousarray(chosen)).astype(np.float64)
    if elements.numbers > 1:
        numbers = np.take_along_axis(numbers, every[places][:, None] % elements.numbers, -1)
    return places, numbers[:, 0]


def in_order(sample: Array, elements: Elements) -> Array:
    """The numbers of a sample that are no NaN, in ascending order, as float64."""
    is_nan = np.isnan(sample)
    numbers = sample[~is_nan] if is_nan.any() else sample
    if elements.part == dtypes.FLOAT32:
        return np.sort(numbers.astype(np.float32)).astype(np.float64)  # narrow numbers are faster to sort
    if elements.part.itemsize > 2 or len(numbers) < _MANY:
        return np.sort(numbers)
    values, order = _values(elements.part)
    counts = np.bincount((numbers + 0.0).astype(elements.part).view(elements.word), minlength=len(values))
    return np.repeat(values, counts[order])


@lru_cache(maxsize=8)
def _values(dtype: DType) -> tuple[Array, Array]:
    """All numbers of a dtype of at most 16 bits, in ascending order, and their bits."""
    bits = np.arange(256**dtype.itemsize, dtype=f"u{dtype.itemsize}")
    values = bits.view(dtype).astype(np.float64)
    order = np.argsort(values)
    return values[order], order


def distinct(ordered: Array) -> int:
    """How many different numbers there are, of some in ascending order."""
    return min(1, len(ordered)) + int(np.count_nonzero(ordered[1:] != ordered[:-1]))


def coincidence(sample: Array) -> float:
    """An upper bound for the chance that two numbers are equal, by how many of a sample are."""
    _, counts = np.unique(sample, return_counts=True)
    equal, pairs = int((counts * (counts - 1) // 2).sum()), math.comb(len(sample), 2)
    return min(1.0, (equal + _MARGIN) / max(1, pairs))
