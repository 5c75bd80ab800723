"""Lines of a tensor that repeat earlier ones: found by their hashes, and confirmed by other ones of all bits."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from fanin._core.shapes import c_strides
from fanin._core.types import Array
from fanin.audits import fingerprints
from fanin.audits.lines import LineSums, ranges
from fanin.audits.subjects import Subject

_BLOCK = 2**18  # words


def repeated(subject: Subject, axis: int, sums: LineSums) -> tuple[tuple[int, int, int], ...]:
    """Ranges of lines that repeat earlier ones, as (start, stop, start of the earlier).

    Lines of equal elements do not count.

    Args:
        subject: the tensor, which is read once more if there is something to confirm.
        axis: the axis that numbers the lines.
        sums: the hashes of the lines, and which of them are not all zero.
    """
    firsts = _first_equals(sums.hashes, sums.alive)
    involved = np.zeros(len(firsts), bool)
    late = np.flatnonzero(firsts != np.arange(len(firsts)))
    if not late.size:
        return ()
    involved[late] = involved[firsts[late]] = True
    hashes, varied = _confirmed(subject, axis, involved)
    both = sums.hashes ^ (hashes * np.uint64(3))
    return tuple(_in_ranges(_first_equals(both, involved & varied)))


def _first_equals(hashes: Array, among: Array) -> Array:
    """The number of the first of some lines that has the same hash as a line; its own number for all others."""
    numbers = np.arange(len(hashes))
    chosen = numbers[among]
    _, first, inverse = np.unique(hashes[among], return_index=True, return_inverse=True)
    numbers[among] = chosen[first[inverse]]
    return numbers


def _in_ranges(firsts: Array) -> Iterator[tuple[int, int, int]]:
    """Ranges of lines whose firsts follow one another, too.

    >>> list(_in_ranges(np.array([0, 1, 0, 1, 4, 1])))
    [(2, 4, 0), (5, 6, 1)]
    """
    back = np.arange(len(firsts)) - firsts
    for start, stop in ranges(back > 0):
        cuts = start + 1 + np.flatnonzero(np.diff(back[start:stop]))
        for first, last in zip((start, *cuts), (*cuts, stop), strict=True):
            yield int(first), int(last), int(firsts[first])


@np.errstate(over="ignore")
def _confirmed(subject: Subject, axis: int, involved: Array) -> tuple[Array, Array]:
    """Another hash of the lines that are involved, and whether a line has different elements."""
    hashes = np.zeros(len(involved), np.uint64)
    lines = np.flatnonzero(involved)
    least = np.full((len(involved), subject.elements.words), np.iinfo(np.uint32).max, np.uint32)
    most = np.zeros_like(least)
    for starts, part in subject.parts():
        begin, stop = np.searchsorted(lines, (starts[axis], starts[axis] + part.shape[axis]))
        here = lines[begin:stop]
        indices = _indices_within(subject, axis, starts, part.shape)
        across = np.moveaxis(part, axis, 0)
        step = max(1, _BLOCK // max(1, math.prod(across.shape[1:])))
        for first in range(0, len(here), step):
            chosen = here[first : first + step]
            block = np.ascontiguousarray(across[chosen - starts[axis]]).reshape(len(chosen), -1)
            words = subject.elements.as_words(block)
            hashes[chosen] += fingerprints.mixed(words.reshape(len(chosen), -1), indices).sum(1)
            least[chosen] = np.minimum(least[chosen], words.min(1))
            most[chosen] = np.maximum(most[chosen], words.max(1))
    return hashes, (least != most).any(-1)


def _indices_within(subject: Subject, axis: int, starts: tuple[int, ...], lengths: tuple[int, ...]) -> Array:
    """The indices of the words of a part within their lines."""
    shape, words = list(subject.shape), subject.elements.words
    shape[axis] = 1
    strides = c_strides(tuple(shape))
    indices = np.zeros((), np.int64)
    for other in range(len(shape)):
        if other != axis:
            along = np.arange(starts[other], starts[other] + lengths[other]) * strides[other]
            indices = indices[..., None] + along
    return (indices[..., None] * words + np.arange(words)).reshape(-1)
