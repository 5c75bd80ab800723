"""Lines of a tensor that repeat earlier ones: found by their hashes, and confirmed by those of another kind."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fanin._core.types import Array
from fanin.audits.measuring.hashes import hashes_of_lines
from fanin.audits.measuring.lines import LineSums, ranges
from fanin.audits.measuring.subjects import Subject


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
    hashes, varied = hashes_of_lines(subject, axis, involved)
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
