"""From seeds to values: key and counter of a stream, and the one call into the kernels.

A stream is chosen by a pair of 64-bit integers; an initializer's seed s is the pair (s, 0).
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import numpy as np

from fanin import _native
from fanin._arrays import as_unsigned
from fanin._shapes import Region, c_strides
from fanin._words import shown
from fanin.settings import REFERENCE, config

Pair = tuple[int, int]

_SCRAMBLE_KEY = 0x02461E293EC8F720  # TensorFlow's, by which a seed pair becomes a key and a counter
_UINT64 = 2**64 - 1


@lru_cache(maxsize=1024)
def stream(pair: Pair) -> tuple[int, int]:
    """Key and upper half of the counter of the stream that a seed pair chooses."""
    a, b = pair
    m0, m1, m2, m3 = _native.philox(a & _UINT64, b & _UINT64, _SCRAMBLE_KEY)
    return m0 | m1 << 32, m2 | m3 << 32


def fold_in(pair: Pair, number: int) -> Pair:
    """Another seed pair, chosen by a pair and a number, as `tf.random.experimental.stateless_fold_in` does it."""
    number = _signed(number, 64)
    key, counter = stream(pair)
    words = _native.philox(0, counter, key)
    if -(2**31) <= number < 2**31:
        return _signed(words[0], 32), number
    return _signed(words[0] | words[1] << 32, 64), number


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def checked_seed(seed: Any) -> int | None:
    """A seed as a Python int in [-2**63, 2**63 - 1], or None."""
    if seed is None:
        return None
    try:
        if isinstance(seed, bool):
            raise TypeError
        value = operator.index(seed)
    except TypeError:
        raise TypeError(
            f"`seed` must be an integer or None. Received: seed={seed!r} (of type {type(seed).__name__})."
        ) from None
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"`seed` must lie in [-2**63, 2**63 - 1]. Received: seed={shown(value)}.")
    return value


# What the calling thread's unseeded initializers take their seeds from; every thread begins without.
_generator: ContextVar[Any] = ContextVar("fanin_generator", default=None)


def seed_thread(seed: int) -> None:
    """Sets what the calling thread's unseeded initializers take their seeds from."""
    import random  # here and below: not on the way to seeded values

    _generator.set(random.Random(seed))


@contextmanager
def seeds_from(generator: Any) -> Iterator[None]:
    """Has unseeded initializers take their seeds from this `random.Random` in the block; None leaves things be."""
    if generator is None:
        yield
        return
    token = _generator.set(generator)
    try:
        yield
    finally:
        _generator.reset(token)


def choose_seed() -> int:
    """A seed for an initializer without one, as tf_keras chooses it."""
    import random

    return (_generator.get() or random).randint(1, 10**9)


def fill(
    kernel: str,
    pair: Pair,
    result: np.ndarray,
    shape: tuple[int, ...],
    region: Region | None = None,
    *,
    fresh: bool = False,
    scale: float = 1.0,
    shift: float = 0.0,
    minval: int = 0,
    span: int = 0,
) -> None:
    """Fills `result` with a stream's tensor of the given shape, or with a region of it. The only place that draws.

    Args:
        kernel: a name of the native table.
        result: a writable array of the tensor's or region's shape; nothing is checked here.
        fresh: `result` is all of what `allocate` made, so its memory can be filled as one run.
    """
    if not result.size:
        return
    key, counter = stream(pair)
    cpu = config.cpu
    if cpu == REFERENCE:
        from fanin import _reference  # seldom wanted

        indices = _flat_indices(*_geometry(shape, region), result.shape)
        made = _reference.draw(kernel, key, counter, indices, scale=scale, shift=shift, minval=minval, span=span)
        as_unsigned(result)[...] = as_unsigned(made)
        return
    tier, number, threads = _native.TIERS[cpu], _native.KERNELS[kernel], config.threads
    draw = (key, counter, scale, shift, minval & _UINT64, span, threads)
    if fresh and region is None:
        _native.fill_memory(result.base, tier, number, *draw)
    else:
        first, strides = _geometry(shape, region)
        _native.fill_buffer(as_unsigned(result), tier, number, *draw, first, strides)


def _geometry(shape: tuple[int, ...], region: Region | None) -> tuple[int, tuple[int, ...]]:
    """The flat index of the first element, and by how much the index grows along each axis."""
    return (0, c_strides(shape)) if region is None else (region.first_index, region.index_strides)


def _flat_indices(first: int, strides: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    indices = np.full((), first, np.uint64)
    for stride, length in zip(strides, shape, strict=True):
        indices = indices[..., None] + np.arange(length, dtype=np.uint64) * np.uint64(stride)
    return indices
