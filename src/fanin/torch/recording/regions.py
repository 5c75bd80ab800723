"""Which region of a tensor each write covers, and what shows of it when later writes lie over it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from fanin.torch.recording.expressions import Geometry, Size, Write
from fanin.torch.recording.geometry import are_apart, is_dense, order

Box: TypeAlias = tuple[tuple[int, int], ...]  # the (start, stop) along each axis
_MOST_CELLS = 2**16  # of the grid that the boxes of all writes cut a tensor into


@dataclass(frozen=True)
class Covered:
    """A write to a box of a tensor.

    Attributes:
        write: the write.
        box: the box.
        shown: disjoint boxes of what no later write lies over.
        is_in_order: whether the elements were written in the order of the tensor's axes.
    """

    write: Write
    box: Box
    shown: tuple[Box, ...]
    is_in_order: bool


def covered(geometry: Geometry, writes: Sequence[Write]) -> tuple[list[Covered], tuple[Box, ...]] | None:
    """The writes that show, in their order, and the boxes of a tensor that nothing was written to.

    Args:
        geometry: the tensor.
        writes: what was written to its storage, in order.

    Returns:
        None if a write is no box of the tensor.
    """
    if not is_dense(geometry):
        return None
    inside = [write for write in writes if not are_apart(geometry, write.geometry)]
    boxes = [box_of(geometry, write.geometry) for write in inside]
    known = [box for box in boxes if box is not None]
    if len(known) < len(boxes):
        return None
    whole: Box = tuple((0, length) for length in geometry.size)
    cuts = [sorted({edge for box in [whole, *known] for edge in box[axis]}) for axis in range(len(whole))]
    lengths = [len(edges) - 1 for edges in cuts]
    if np.prod(lengths, dtype=float) > _MOST_CELLS:
        return None
    last = np.full(lengths, -1)
    for number, box in enumerate(known):
        last[tuple(slice(edges.index(a), edges.index(b)) for edges, (a, b) in zip(cuts, box, strict=True))] = number
    shown = {int(number): _merged(last == number, cuts) for number in np.unique(last)}
    found = [
        Covered(inside[number], known[number], shown[number], _is_in_order(geometry, inside[number].geometry))
        for number in range(len(inside))
        if number in shown
    ]
    return found, shown.get(-1, ())


def box_of(geometry: Geometry, part: Geometry) -> Box | None:
    """The box of a dense tensor that has the same elements as another view of its memory; None if no box has."""
    axes = sorted(_axes(geometry), key=lambda axis: -geometry.stride[axis])
    starts, counts = dict.fromkeys(range(len(geometry.size)), 0), dict.fromkeys(range(len(geometry.size)), 1)
    rest = part.offset - geometry.offset
    if rest < 0:
        return None
    for axis in axes:
        starts[axis], rest = divmod(rest, geometry.stride[axis])
        if starts[axis] >= geometry.size[axis]:
            return None
    if rest:
        return None
    by_stride = {geometry.stride[axis]: axis for axis in axes}
    for length, stride in order(_descending(part)):
        while length > 1:
            axis = by_stride.get(stride)
            if axis is None or counts[axis] > 1:
                return None
            if starts[axis] + length <= geometry.size[axis]:
                counts[axis], length = length, 1
            elif starts[axis] or length % geometry.size[axis]:
                return None
            else:  # it runs through several axes
                counts[axis] = geometry.size[axis]
                length, stride = length // geometry.size[axis], stride * geometry.size[axis]
    return tuple((starts[axis], starts[axis] + counts[axis]) for axis in range(len(geometry.size)))


def _descending(geometry: Geometry) -> Geometry:
    """The same elements, with the axes in the order of memory."""
    axes = sorted(zip(geometry.size, geometry.stride, strict=True), key=lambda axis: -axis[1])
    return Geometry(tuple(size for size, _ in axes), tuple(stride for _, stride in axes), geometry.offset)


def lengths_of(box: Box) -> Size:
    """The shape of a box."""
    return tuple(stop - start for start, stop in box)


def _axes(geometry: Geometry) -> list[int]:
    return [axis for axis, length in enumerate(geometry.size) if length != 1]


def _is_in_order(geometry: Geometry, part: Geometry) -> bool:
    """Whether a view that is a box of a tensor has its elements in the order of the tensor's axes."""
    box = box_of(geometry, part)
    assert box is not None
    return order(part) == order(Geometry(lengths_of(box), geometry.stride, part.offset))


def _merged(mask: np.ndarray, cuts: Sequence[Sequence[int]]) -> tuple[Box, ...]:
    """Few disjoint boxes of the cells of a grid that a mask selects."""
    if not mask.ndim:
        return ((),) if mask else ()
    boxes: list[Box] = [tuple((cell, cell + 1) for cell in cells) for cells in np.argwhere(mask).tolist()]
    for axis in reversed(range(mask.ndim)):
        boxes = list(_merged_along(boxes, axis))
    return tuple(tuple((edges[a], edges[b]) for edges, (a, b) in zip(cuts, box, strict=True)) for box in boxes)


def _merged_along(boxes: Sequence[Box], axis: int) -> Iterator[Box]:
    """The same boxes, with neighbours along an axis that are alike along the others as one."""

    def others(box: Box) -> Box:
        return box[:axis] + box[axis + 1 :]

    for _, alike in itertools.groupby(sorted(boxes, key=lambda box: (others(box), box[axis])), others):
        open_box: Box | None = None
        for box in alike:
            if open_box is not None and open_box[axis][1] == box[axis][0]:
                open_box = (*box[:axis], (open_box[axis][0], box[axis][1]), *box[axis + 1 :])
                continue
            if open_box is not None:
                yield open_box
            open_box = box
        if open_box is not None:
            yield open_box
