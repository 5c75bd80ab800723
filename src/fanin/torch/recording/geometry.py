"""Which elements of a storage a tensor has, compared: the same ones, all of them, some, or none."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from fanin.torch.recording.expressions import Geometry, Write

_LARGEST_PAINTED = 2**26  # elements, after blocks that nothing cuts were made one
UNCOVERED = -1


def whole(length: int) -> Geometry:
    """All of a storage, as one row."""
    return Geometry((length,), (1,), 0)


@lru_cache(maxsize=2**14)
def order(geometry: Geometry) -> tuple[tuple[int, int], ...]:
    """The sizes and strides that walk the same elements in the same order in the fewest dimensions."""
    merged: list[tuple[int, int]] = []
    for size, stride in zip(geometry.size, geometry.stride, strict=True):
        if size == 1:
            continue
        if merged and merged[-1][1] == size * stride:
            merged[-1] = merged[-1][0] * size, stride
        else:
            merged.append((size, stride))
    return tuple(merged)


def same_walk(first: Geometry, second: Geometry) -> bool:
    """Whether two geometries have the same elements in the same row-major order."""
    return first == second or (first.offset == second.offset and order(first) == order(second))


@lru_cache(maxsize=2**14)
def span(geometry: Geometry) -> tuple[int, int]:
    """The first element and the one after the last."""
    if 0 in geometry.size:
        return geometry.offset, geometry.offset
    reach = sum((size - 1) * stride for size, stride in zip(geometry.size, geometry.stride, strict=True))
    return geometry.offset, geometry.offset + reach + 1


@lru_cache(maxsize=2**14)
def is_dense(geometry: Geometry) -> bool:
    """Whether the elements are each of their span, once."""
    expected = 1
    for size, stride in sorted(order(geometry), key=lambda each: each[1]):
        if stride != expected:
            return False
        expected *= size
    return True


def covers(over: Geometry, under: Geometry) -> bool:
    """Whether it is certain that the first has all elements of the second."""
    if over == under:
        return True
    start, stop = span(under)
    first, last = span(over)
    if start < first or stop > last:
        return False
    return is_dense(over) or (over.offset == under.offset and order(over) == order(under))


def are_apart(first: Geometry, second: Geometry) -> bool:
    """Whether it is certain that two geometries have no element in common."""
    start, stop = span(first)
    start2, stop2 = span(second)
    return stop <= start2 or stop2 <= start


def visible(writes: list[Write], geometry: Geometry, length: int) -> list[int]:
    """Which writes a tensor shows something of.

    Args:
        writes: what was written to a storage, later ones over earlier ones.
        geometry: the elements of the tensor.
        length: the number of elements of the storage.

    Returns:
        The numbers of the writes in ascending order, with `UNCOVERED` first if some elements lie under none. Of a
        storage that is too large to be painted, all the writes that may show.
    """
    block = _common_block([geometry, *(write.geometry for write in writes)])
    if length // block + 1 > _LARGEST_PAINTED:
        total = sum(math.prod(write.geometry.size) for write in writes)
        return [UNCOVERED] * (total < math.prod(geometry.size)) + list(range(len(writes)))
    paint = np.full(length // block + 1, UNCOVERED, np.int32)
    for number, write in enumerate(writes):
        _strided(paint, write.geometry, block)[...] = number
    return np.unique(_strided(paint, geometry, block)).tolist()


def _common_block(geometries: list[Geometry]) -> int:
    """The largest number of neighbours that each of the geometries has all of or none of."""
    block = 0
    for geometry in geometries:
        walk = order(geometry)
        inner = walk[-1][0] if walk and walk[-1][1] == 1 else 1
        strides = [stride for _, stride in (walk[:-1] if inner > 1 else walk)]
        block = math.gcd(block, inner, geometry.offset, *strides)
    return block or 1


def _strided(paint: np.ndarray[Any, Any], geometry: Geometry, block: int) -> np.ndarray[Any, Any]:
    walk = list(order(geometry))
    if block > 1:
        *outer, (inner, _) = walk
        walk = [(size, stride // block) for size, stride in outer] + [(inner // block, 1)]
    itemsize = paint.itemsize
    return np.lib.stride_tricks.as_strided(
        paint[geometry.offset // block :],
        [size for size, _ in walk],
        [stride * itemsize for _, stride in walk],
    )


def runs(known: np.ndarray[Any, Any]) -> list[tuple[int, int]]:
    """Where the runs of true elements of a row begin and end."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], known, [False]))))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
