"""Hashes of words that are sums over the words, so that they can be added up in any order and along any axis.

The hash of words u(0), u(1), … is the sum of g**i * u(i), modulo 2**64, with an odd g. A tensor's is the same however
it is cut into parts; and since g**(i + j) = g**i * g**j, the hashes of its rows make that of the tensor.

References:
    R. M. Karp and M. O. Rabin, "Efficient randomized pattern-matching algorithms", IBM Journal of Research and
    Development 31(2), 1987.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from fanin._core.types import Array

_GENERATOR = 0x9E3779B97F4A7C15  # 5 modulo 8, so that its powers repeat only after 2**62
_MODULUS = 2**64
_BITS = 18
MOST = 1 << _BITS  # factors that are at hand
_MASK = MOST - 1


@cache
def _table(digit: int) -> Array:
    """The powers g**i for a digit of i, to the base of 2**18."""
    factors = np.full(MOST, pow(_GENERATOR, 1 << (_BITS * digit), _MODULUS), np.uint64)
    factors[0] = 1
    return np.multiply.accumulate(factors)


def power(index: int) -> np.uint64:
    """The factor of one word."""
    return np.uint64(pow(_GENERATOR, index, _MODULUS))


def first_powers(count: int) -> Array:
    """The factors of the first words, at most `MOST`."""
    return _table(0)[:count]


def powers(indices: Array) -> Array:
    """The factors of the words at these indices."""
    result = _table(0)[indices & _MASK]
    rest, digit = indices >> _BITS, 1
    while rest.any():
        result *= _table(digit)[rest & _MASK]
        rest, digit = rest >> _BITS, digit + 1
    return result


def mixed(words: Array, indices: Array) -> Array:
    """Another hash of each word at an index, which no sum of others makes: the finalizer of SplitMix64.

    References:
        G. L. Steele Jr., D. Lea and C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    state = (words.astype(np.uint64) << np.uint64(32)) ^ (indices.astype(np.uint64) * np.uint64(_GENERATOR))
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
