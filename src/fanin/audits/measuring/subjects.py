"""What is measured: a tensor of a checkpoint, or a box of it, and its parts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from fanin._core.messages import shown
from fanin._core.shapes import chunks
from fanin._core.types import Array, Shape
from fanin.audits.measuring.elements import Elements, elements_of
from fanin.audits.measuring.lines import Halves
from fanin.checkpoints.files import CheckpointError
from fanin.checkpoints.stored import Slices, Stored
from fanin.recipes.entry import Box

_PART = 2**21  # bytes that are read, and measured by one thread, at once


@dataclass(frozen=True)
class Subject:
    """A tensor, or a box of it.

    Attributes:
        stored: the tensor.
        box: the box.
        elements: how its elements are read.
        halves: how the box is seen as a matrix.
    """

    stored: Stored
    box: Box
    elements: Elements
    halves: Halves

    @staticmethod
    def of(stored: Stored, box: Box | None = None) -> Subject:
        """A tensor, or a box of it.

        Raises:
            CheckpointError: the tensor's elements are no numbers that NumPy or ml_dtypes has.
            ValueError: the box does not lie within the tensor.
        """
        if stored.dtype is None:
            raise CheckpointError(
                f"A tensor must have a dtype that NumPy or ml_dtypes has. Received: {shown(stored.name)} of dtype "
                f"{shown(stored.dtype_name)}."
            )
        try:
            elements = elements_of(stored.dtype)
        except TypeError as error:
            raise CheckpointError(f"{error} It is that of {shown(stored.name)}.") from None
        whole = tuple((0, length) for length in stored.shape)
        if box is not None and (
            len(box) != len(whole)
            or not all(0 <= start <= stop <= length for (start, stop), (_, length) in zip(box, whole, strict=True))
        ):
            raise ValueError(
                f"`box` must have a start and a stop within the shape for each axis. Received: box={shown(box)} for "
                f"shape {stored.shape}."
            )
        box = whole if box is None else box
        lengths = tuple(stop - start for start, stop in box)
        return Subject(stored, box, elements, Halves.of(lengths or (1,), elements.words))

    @property
    def shape(self) -> Shape:
        """The lengths of the box; those of a 0-d tensor are (1,)."""
        return self.halves.shape

    def parts(self) -> Iterator[tuple[Shape, Array]]:
        """Parts of a few MiB that tile the box: where each begins, counted from the box's own begin, and its elements.

        Raises:
            CheckpointError: the file is damaged.
            OSError: it cannot be read.
        """
        if not math.prod(self.shape):
            return
        itemsize = self.elements.dtype.itemsize
        for region, array in self.stored.parts(self._regions(_PART // itemsize)):
            starts, inside = self._cropped(region, array)
            for chunk in chunks(inside.shape, _PART // itemsize) if inside.size else ():
                begin = tuple(start + first for start, (first, _) in zip(starts, chunk, strict=True))
                yield begin, inside[tuple(slice(*each) for each in chunk)]

    def _regions(self, most: int) -> Iterator[Slices]:
        """Regions that tile the box and are read at once; files are read from their first element to their last one."""
        lengths, shape = tuple(stop - start for start, stop in self.box), self.stored.shape
        share = math.prod(lengths[1:]) / max(1, math.prod(shape[1:]))
        for chunk in chunks(lengths, max(1, int(most * share))):
            yield tuple(
                slice(begin + start, begin + stop) for (begin, _), (start, stop) in zip(self.box, chunk, strict=True)
            )

    def _cropped(self, region: Slices, array: Array) -> tuple[Shape, Array]:
        """What of a region lies within the box: where it begins there, and its elements."""
        if not region:
            return (0,), array.reshape(1)
        inner = []
        for part, (begin, end) in zip(region, self.box, strict=True):
            start, stop = max(part.start, begin), min(part.stop, end)
            inner.append((start - begin, slice(start - part.start, max(start, stop) - part.start)))
        return tuple(start for start, _ in inner), array[tuple(each for _, each in inner)]
