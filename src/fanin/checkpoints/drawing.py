"""Drawing in pieces: the values of many tensors, one after another, in buffers of bounded size.

Only a matrix that is decomposed as a whole is made as a whole: once, when its first piece is wanted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np

from fanin._core.memory import allocate
from fanin._core.shapes import Region, chunks
from fanin._core.streams import Stream
from fanin._core.types import Array
from fanin.distributions import Distribution
from fanin.recipes.entry import Entry, Placement

BUFFER = 2**26  # bytes of a buffer
_ALIGNMENT = 64


class Segment(NamedTuple):
    """Bytes of a tensor.

    Attributes:
        number: the number of the tensor among those that are drawn.
        data: the bytes, in a buffer.
        is_last: whether they are the tensor's last ones.
    """

    number: int
    data: memoryview
    is_last: bool


def drawn(entries: Iterable[Entry], take: Callable[[], Array]) -> Iterator[tuple[Segment, ...]]:
    """The bytes of tensors (little-endian, in C order, without gaps), as the contents of one buffer after another.

    Args:
        entries: the entries of the tensors.
        take: returns a free buffer, an array of bytes. It is free again when its contents have been used.
    """
    buffer: Array | None = None
    contents: list[Segment] = []
    used = 0
    for number, entry in enumerate(entries):
        entry = _with_matrices_once(entry)
        shape, dtype = entry.shape, entry.parameter.dtype
        for chunk in chunks(shape, BUFFER // dtype.itemsize):
            lengths = tuple(stop - start for start, stop in chunk)
            nbytes = math.prod(lengths) * dtype.itemsize
            if buffer is None or used + nbytes > len(buffer):
                if contents:
                    yield tuple(contents)
                buffer, contents, used = take(), [], 0
            data = buffer[used : used + nbytes]
            used += -(-nbytes // _ALIGNMENT) * _ALIGNMENT
            out = data.view(dtype).reshape(lengths)
            entry.fill(out, None if lengths == shape else tuple(slice(*each) for each in chunk))
            is_last = all(stop == length for (_, stop), length in zip(chunk, shape, strict=True))
            contents.append(Segment(number, data.data, is_last))
    if contents:
        yield tuple(contents)


def reserve_memory(entries: Iterable[Entry]) -> None:
    """Raises MemoryError if there is no memory for a matrix of these entries that is made as a whole."""
    for entry in entries:
        for each in entry.placements:
            each.weight.distribution.reserve()


def new_buffer() -> Array:
    """A buffer."""
    return allocate((BUFFER,), np.dtype(np.uint8))


@dataclass(frozen=True)
class _Once(Distribution):
    """A distribution whose tensors are made as a whole, made once for all regions of one.

    Attributes:
        whole: the distribution.
        made: the last tensor that was made, by the distribution, stream and dtype. All tensors of an entry share it.
    """

    whole: Distribution
    made: dict[tuple[Distribution, Stream, np.dtype], Array]
    random: ClassVar[bool] = True

    def rounds_to(self, dtype: np.dtype) -> bool:
        return self.whole.rounds_to(dtype)

    def fill(self, out: Array, stream: Stream, region: Region | None = None) -> None:
        key = self.whole, stream, out.dtype
        if key not in self.made:
            self.made.clear()  # before another one takes memory
            made = allocate(self.shape, out.dtype)
            self.whole.fill(made, stream)
            self.made[key] = made
        out[...] = self.made[key][() if region is None else region.slices]


def _with_matrices_once(entry: Entry) -> Entry:
    """The same entry, whose matrices that are decomposed as a whole are made once for all its regions."""
    made: dict[tuple[Distribution, Stream, np.dtype], Array] = {}

    def once(placement: Placement) -> Placement:
        whole = placement.weight.distribution
        if not whole.is_made_whole:
            return placement
        distribution = _Once(whole.shape, whole.dtype, whole, made, own_fans=whole.own_fans)
        return replace(placement, weight=placement.weight._replace(distribution=distribution))

    return replace(entry, placements=tuple(map(once, entry.placements)))
