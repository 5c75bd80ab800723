"""Hashes that confirm what sums of products suspect: each word is mixed with its index before it is added.

A tensor is read once more for them.
"""

from __future__ import annotations

import numpy as np

from fanin._core.shapes import c_strides, chunks
from fanin._core.types import Array, Shape
from fanin.audits.measuring import fingerprints
from fanin.audits.measuring.subjects import Subject

_BLOCK = 2**18  # words


@np.errstate(all="ignore")
def hash_of(subject: Subject, *, by_value: bool = False, transposed: bool = False) -> int:
    """The hash of all elements of a tensor.

    Args:
        subject: the tensor.
        by_value: whether tensors of equal numbers have equal hashes, whatever their dtypes; else those of equal bits.
        transposed: whether to return that of the tensor with its axes reversed.

    Raises:
        CheckpointError: the file is damaged.
        OSError: it cannot be read.
    """
    total = 0
    strides = c_strides(subject.shape[::-1])[::-1] if transposed else c_strides(subject.shape)
    for starts, part in subject.parts():
        for chunk in chunks(part.shape, _BLOCK // subject.elements.words):
            block = np.ascontiguousarray(part[tuple(slice(*each) for each in chunk)])
            if by_value:
                # Adding 0 turns -0 into 0, which is equal to it.
                words = (subject.elements.as_numbers(block).astype(np.float64) + 0.0).view(np.uint32)
            else:
                words = subject.elements.as_words(block)
            words = words.reshape(block.size, -1)
            begin = tuple(start + first for start, (first, _) in zip(starts, chunk, strict=True))
            indices = _indices(strides, begin, block.shape, words.shape[1])
            total += int(fingerprints.mixed(words.reshape(-1), indices).sum())
    return total % 2**64


@np.errstate(all="ignore")
def hashes_of_lines(subject: Subject, axis: int, involved: Array) -> tuple[Array, Array]:
    """The hashes of some of the lines along an axis, and whether each of them has different elements.

    Args:
        subject: the tensor.
        axis: the axis.
        involved: a flag for each line: whether to read it.
    """
    hashes = np.zeros(len(involved), np.uint64)
    lines, words = np.flatnonzero(involved), subject.elements.words
    least = np.full((len(involved), words), np.iinfo(np.uint32).max, np.uint32)
    most = np.zeros_like(least)
    shape = tuple(1 if each == axis else length for each, length in enumerate(subject.shape))
    strides = tuple(0 if each == axis else stride for each, stride in enumerate(c_strides(shape)))
    for starts, part in subject.parts():
        begin, stop = np.searchsorted(lines, (starts[axis], starts[axis] + part.shape[axis]))
        across = np.moveaxis(part, axis, 0)
        inner = tuple(1 if each == axis else length for each, length in enumerate(part.shape))
        indices = _indices(strides, starts, inner, words)
        step = max(1, _BLOCK // len(indices))
        for first in range(begin, stop, step):
            chosen = lines[first : min(stop, first + step)]
            block = np.ascontiguousarray(across[chosen - starts[axis]]).reshape(len(chosen), -1)
            bits = subject.elements.as_words(block)
            hashes[chosen] += fingerprints.mixed(bits.reshape(len(chosen), -1), indices).sum(1)
            least[chosen] = np.minimum(least[chosen], bits.min(1))
            most[chosen] = np.maximum(most[chosen], bits.max(1))
    return hashes, (least != most).any(-1)


def _indices(strides: Shape, starts: Shape, lengths: Shape, words: int) -> Array:
    """The indices of the words of a region, for strides in elements."""
    indices = np.zeros((), np.int64)
    for stride, start, length in zip(strides, starts, lengths, strict=True):
        indices = indices[..., None] + np.arange(start, start + length) * stride
    return (indices[..., None] * words + np.arange(words)).reshape(-1)
