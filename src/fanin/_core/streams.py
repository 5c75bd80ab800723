"""The streams of the generator, from seeds to random words, and the only call into the kernels.

Two 64-bit integers select a stream; an initializer's seed s selects `Stream(s, 0)`.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fanin import _native
from fanin._core.memory import as_unsigned
from fanin._core.messages import class_name, shown
from fanin._core.settings import REFERENCE, config
from fanin._core.shapes import Region, c_strides, chunks

if TYPE_CHECKING:
    import random

    from fanin._core.types import Array, Seed, Shape

_SCRAMBLE_KEY = 0x02461E293EC8F720  # TensorFlow's, which turns a stream's two integers into a key and a counter
_UINT64 = 2**64 - 1
_CHUNK = 2**16  # elements that the reference makes at once: it needs much memory for each
_TIERS, _KERNELS, _Memory = _native.TIERS, _native.KERNELS, _native.Memory  # looked up at every call


class Stream(NamedTuple):
    """A sequence of random words that can be entered anywhere.

    Attributes:
        seed: a signed 64-bit integer.
        folded: the number that was folded in last; 0 if none was.
    """

    seed: int
    folded: int = 0

    def fold_in(self, number: int) -> Stream:
        """The stream that this one and a number select, as in `tf.random.experimental.stateless_fold_in`.

        Of a number that fits 32 bits, TensorFlow keeps 32 of the new stream's bits, so that streams of different seeds
        can meet. This is for values that must be TensorFlow's; `fold_in_wide` is for all others.
        """
        number = _signed(number, 64)
        low, high = self._first_words()
        if -(2**31) <= number < 2**31:
            return Stream(_signed(low, 32), number)
        return Stream(_signed(low | high << 32, 64), number)

    def fold_in_wide(self, number: int) -> Stream:
        """The stream that this one and a number select, with all of its 64 bits."""
        low, high = self._first_words()
        return Stream(_signed(low | high << 32, 64), _signed(number, 64))

    def _first_words(self) -> tuple[int, int]:
        key, counter = key_and_counter(self)
        return _native.philox(0, counter, key)[:2]


@lru_cache(maxsize=1024)
def key_and_counter(stream: Stream) -> tuple[int, int]:
    """The Philox key of a stream, and the upper half of the counter at which it begins."""
    seed, folded = stream
    m0, m1, m2, m3 = _native.philox(seed & _UINT64, folded & _UINT64, _SCRAMBLE_KEY)
    return m0 | m1 << 32, m2 | m3 << 32


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def checked_seed(seed: Seed) -> int | None:
    """A seed as a Python int in [-2**63, 2**63 - 1], or None."""
    if seed is None:
        return None
    try:
        if isinstance(seed, bool):
            raise TypeError
        value = operator.index(seed)
    except TypeError:
        raise TypeError(
            f"`seed` must be an integer or None. Received: seed={shown(seed)} (of type {class_name(type(seed))})."
        ) from None
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"`seed` must lie in [-2**63, 2**63 - 1]. Received: seed={shown(value)}.")
    return value


def derived_seed(seed: int, name: str) -> int:
    """A seed that depends only on another seed and a name: 63 bits of their BLAKE2b digest."""
    from hashlib import blake2b  # imported late, since values do not need it

    # A lone surrogate, as in the names of some files, has no UTF-8 of its own.
    digest = blake2b(
        name.encode("utf-8", "surrogatepass"), key=seed.to_bytes(8, "little", signed=True), digest_size=8
    ).digest()
    return int.from_bytes(digest, "little") >> 1


# The source of seeds for the calling thread's unseeded initializers; every thread begins without one.
_generator: ContextVar[random.Random | None] = ContextVar("fanin_generator", default=None)


def seed_thread(seed: int) -> None:
    """Makes the calling thread's unseeded initializers take their seeds from a generator with this seed."""
    import random  # imported late, here and below, since seeded values do not need it

    _generator.set(random.Random(seed))


@contextmanager
def seeds_from(generator: Any) -> Iterator[None]:
    """Makes unseeded initializers take their seeds from this `random.Random` within the block; None does nothing."""
    if generator is None:
        yield
        return
    token = _generator.set(generator)
    try:
        yield
    finally:
        _generator.reset(token)


def choose_seed() -> int:
    """A seed for an unseeded initializer, chosen as in tf_keras."""
    import random

    return (_generator.get() or random).randint(1, 10**9)


def has_kernel(kernel: str) -> bool:
    """Whether there is a kernel of this name."""
    return kernel in _KERNELS


def run_kernel(
    kernel: str,
    stream: Stream,
    out: Array,
    shape: Shape,
    region: Region | None = None,
    *,
    scale: float = 1.0,
    origin: float = 0.0,
    minval: int = 0,
    span: int = 0,
    interval: Sequence[float] = (),
) -> None:
    """Fills an array with a stream's tensor of the given shape, or a region of it. All random values come from here.

    Args:
        kernel: a name of the native table, such as "normal/float32".
        stream: the stream of the values.
        out: a writable array of the tensor's or the region's shape and of the kernel's dtype; nothing is checked here.
        shape: the shape of the whole tensor.
        region: a region of the tensor; None for all of it.
        scale: the factor of unit floats.
        origin: the term that is added to the product: the value of a unit float of 0.
        minval: the smallest integer.
        span: the number of integers; 0 stands for the full range.
        interval: for the law "bounded" alone, the probabilities of lying below, above and within the bounds, that of
            lying below less 1/2, and the smallest and the largest value.
    """
    if not out.size:
        return
    key, counter = key_and_counter(stream)
    tier = config.tier
    if tier == REFERENCE:
        from fanin._core import reference  # rarely used

        first, strides = _geometry(shape, region)
        for chunk in chunks(out.shape, _CHUNK):
            indices = _flat_indices(first, strides, chunk)
            values = _native.undisturbed(
                reference.values, kernel, key, counter, indices, scale, origin, minval, span, interval
            )
            as_unsigned(out)[(*(slice(*each) for each in chunk), ...)] = as_unsigned(values)
        return
    arguments = (key, counter, scale, origin, minval & _UINT64, span, config.threads)
    memory = out.base
    if region is None and isinstance(memory, _Memory):  # a whole array from `allocate`: one run
        _native.fill_memory(memory, _TIERS[tier], _KERNELS[kernel], *arguments, interval)
    else:
        first, strides = _geometry(shape, region)
        _native.fill_buffer(as_unsigned(out), _TIERS[tier], _KERNELS[kernel], *arguments, first, strides, interval)


def _geometry(shape: Shape, region: Region | None) -> tuple[int, Shape]:
    """The flat index of the first element, and the stride of the index along each axis."""
    return (0, c_strides(shape)) if region is None else (region.first_index, region.index_strides)


def _flat_indices(first: int, strides: Shape, chunk: Iterable[tuple[int, int]]) -> Array:
    indices = np.full((), first, np.uint64)
    for stride, (start, stop) in zip(strides, chunk, strict=True):
        indices = indices[..., None] + np.arange(start, stop, dtype=np.uint64) * np.uint64(stride)
    return indices
