"""How the elements of every dtype are read: as numbers in float64, and as words of bits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import ml_dtypes
import numpy as np

from fanin._core import dtypes
from fanin._core.messages import shown
from fanin._core.types import Array, DType
from fanin.audits.measuring.scratch import scratch

# The parts of complex dtypes.
_PARTS = {"complex64": "float32", "complex128": "float64", "complex32": "float16", "bcomplex32": "bfloat16"}
# The dtypes whose grids are looked for, the finest first; each is asked of those with more bits in the significand.
_GRIDS = ("float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")
_GLANCE = 64  # elements that are looked at before all are: most numbers are on no grid


@dataclass(frozen=True)
class Elements:
    """How elements of a dtype are read.

    Attributes:
        dtype: their dtype.
        part: the dtype of a number: that of the real and the imaginary part of complex elements.
        numbers: how many numbers an element has: 2 if it is complex.
        word: the dtype of a word: an unsigned integer of at most 32 bits.
        words: how many words an element has.
        smallest: the smallest number that is not subnormal; 0 if there are no subnormal ones.
        grids: the narrower dtypes that may hold the same numbers.
    """

    dtype: DType
    part: DType
    numbers: int
    word: DType
    words: int
    smallest: float
    grids: tuple[str, ...]

    def as_words(self, block: Array) -> Array:
        """The bits of a block that is in C order, as an array of one more axis."""
        return block.view(self.word) if not block.ndim else block.reshape(*block.shape, 1).view(self.word)

    def as_numbers(self, block: Array) -> Array:
        """The elements of a block that is in C order, as an array of one more axis, which is valid until the next call.

        It is in float64, or in float32 if that has all of the dtype's numbers.
        """
        return _converted(block.reshape(*block.shape, 1).view(self.part))


@lru_cache(maxsize=64)
def elements_of(dtype: DType) -> Elements:
    """How elements of a dtype are read.

    Raises:
        TypeError: they are no numbers, or of more than 64 bits.
    """
    part = dtypes.resolve(_PARTS.get(dtype.name, dtype))
    kind = dtypes.kind(part)
    if kind == "other" or part.itemsize > 8:
        raise TypeError(
            "The elements of a tensor must be numbers of at most 64 bits, or complex ones of two such parts. "
            f"Received: dtype={shown(dtype)}."
        )
    word = np.dtype(f"u{min(part.itemsize, 4)}")
    smallest, grids = 0.0, ()
    if kind == "float":
        limits = ml_dtypes.finfo(part)
        smallest = float(limits.smallest_normal)
        grids = tuple(each for each in _GRIDS if ml_dtypes.finfo(dtypes.resolve(each)).nmant < limits.nmant)
    return Elements(
        dtype, part, dtype.itemsize // part.itemsize, word, dtype.itemsize // word.itemsize, smallest, grids
    )


def _converted(block: Array) -> Array:
    """A block of real numbers in float64 or float32, by ways that are much faster than the casts of ml_dtypes."""
    if block.dtype in (dtypes.FLOAT32, dtypes.FLOAT64):
        return block
    if block.dtype == dtypes.BFLOAT16:
        wide = scratch("wide", block.shape, np.uint32)
        np.left_shift(block.view(np.uint16), np.uint32(16), out=wide, dtype=np.uint32)
        return wide.view(np.float32)  # a bfloat16 is the upper half of a float32
    numbers = scratch("wide", block.shape, np.float64)
    if block.dtype.itemsize == 1 and block.dtype.name in dtypes.ML_DTYPES:
        np.take(_table(block.dtype), block.view(np.uint8), out=numbers, mode="clip")
    else:
        np.copyto(numbers, block)
    return numbers


@lru_cache(maxsize=32)
def _table(dtype: DType) -> Array:
    """The number of each byte."""
    return np.arange(256, dtype=np.uint8).view(dtype).astype(np.float64)


def _held_exactly(numbers: Array, name: str) -> bool:
    """Whether a dtype has all of these numbers, which are finite."""
    if name == "float32":
        return bool((numbers.astype(np.float32) == numbers).all())
    if name == "bfloat16":
        single = numbers.astype(np.float32, copy=False)
        lower = np.bitwise_or.reduce(np.ascontiguousarray(single).view(np.uint32)) & 0xFFFF
        return not lower and bool((single == numbers).all())
    return bool((numbers.astype(dtypes.resolve(name)).astype(np.float64) == numbers).all())


def grids_of(numbers: Array, candidates: tuple[str, ...]) -> tuple[str, ...]:
    """Those of some dtypes that have all of these numbers, which are finite."""
    likely = [name for name in candidates if _held_exactly(numbers[:_GLANCE], name)]
    return tuple(name for name in likely if _held_exactly(numbers, name))
