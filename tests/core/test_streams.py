"""Streams: known answers of the generator, seeds folded in, and elements at any index of a tensor of any size."""

from typing import Any

import numpy as np
import pytest

import fanin
from catalogue import CATALOGUE, SEEDED, fresh
from fanin import _native
from fanin._core import reference
from fanin._core.settings import TIERS
from fanin._core.streams import Stream, key_and_counter
from fanin.distributions import Affine, Bernoulli, Quantile, UniformInteger

# Random123's known answers for philox4x32-10 (tests/kat_vectors): counter, key, words, all as 32-bit words.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
NATIVE_TIERS = [tier for tier in TIERS if tier != "reference"]


def joined(words: list[int]) -> int:
    """Words, the lowest first, as one integer."""
    return sum(word << (32 * position) for position, word in enumerate(words))


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_known_answers(counter: str, key: str, answer: str) -> None:
    """Philox4x32-10 gives Random123's words, one block at a time and in arrays."""
    c, k, words = ([int(word, 16) for word in text.split()] for text in (counter, key, answer))
    assert list(_native.philox(joined(c[:2]), joined(c[2:]), joined(k))) == words
    made = reference.philox([np.array([word], np.uint64) for word in c], joined(k))
    assert [int(word[0]) for word in made] == words


@pytest.mark.parametrize("tier", NATIVE_TIERS)
@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_known_answers_of_a_tier(tier: str, counter: str, key: str, answer: str) -> None:
    """The vectorised Philox of every tier gives Random123's words."""
    c, k, words = ([int(word, 16) for word in text.split()] for text in (counter, key, answer))
    assert list(_native.philox(joined(c[:2]), joined(c[2:]), joined(k), _native.TIERS[tier])) == words


def test_the_carry_of_the_counter() -> None:
    """Blocks behind the lowest and the second counter word's wrap are those of the 128-bit counter."""
    blocks = reference.Blocks(key=5, counter=2**64 - 1)
    for tier in NATIVE_TIERS:
        for first_block in (2**32 - 3, 2**61 - 2):
            out = np.zeros(4 * 6, np.uint32)
            kernel = _native.KERNELS["integers/32"]
            first = 4 * first_block
            _native.fill_buffer(out, _native.TIERS[tier], kernel, 5, 2**64 - 1, 1, 0, 0, 0, 1, first, [1])
            words = blocks(np.arange(first_block, first_block + 6, dtype=np.uint64))
            assert out.reshape(6, 4).T.tolist() == [word.tolist() for word in words]


def test_fold_in_is_a_function_of_stream_and_number() -> None:
    """Numbers that fit 32 bits and others take their own widths, as TensorFlow's fold_in (checked live elsewhere)."""
    streams = {Stream(5).fold_in(number) for number in (0, 1, -1, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**63 - 1)}
    assert len(streams) == 8
    assert Stream(5).fold_in(2**64 - 1) == Stream(5).fold_in(-1)


def test_fold_in_wide_keeps_64_bits() -> None:
    """Whatever the number, the new stream has the two words that `fold_in` takes for numbers of 64 bits."""
    for number in (0, 1, -1, 2**31, -(2**63)):
        folded = Stream(5).fold_in_wide(number)
        assert folded == (Stream(5).fold_in(2**40).seed, number)
        assert folded.seed % 2**32 == Stream(5).fold_in(1).seed % 2**32
    assert Stream(5).fold_in_wide(2**64 - 1) == Stream(5).fold_in_wide(-1)


@pytest.mark.parametrize("name", [name for name in SEEDED if not fresh(name).repeats])
def test_second_calls_of_different_seeds_differ(name: str) -> None:
    """The seeds 25412 and 72937, whose first 32 bits are equal after a fold of 1, have second calls of their own."""
    assert Stream(25412).fold_in(1) == Stream(72937).fold_in(1)
    second = []
    for seed in (25412, 72937):
        initializer = fresh(name).with_seed(seed)
        initializer((3, 4))
        second.append(initializer((3, 4)).tobytes())
    assert second[0] != second[1]


def reference_values(drawn: Any, stream: Stream, indices: np.ndarray) -> np.ndarray:
    """Elements of a distribution's tensor by their flat indices."""
    key, counter = key_and_counter(stream)
    if isinstance(drawn, Affine):
        kernel = f"{drawn._law}/{drawn.dtype.name}"
        return reference.values(kernel, key, counter, indices, scale=drawn.scale, origin=drawn.origin)
    if isinstance(drawn, Quantile):
        numbers: dict[str, Any] = {"scale": drawn.scale, "origin": drawn.origin, "interval": drawn.interval}
        return reference.values(drawn._kernel(drawn.dtype), key, counter, indices, **numbers)
    if isinstance(drawn, Bernoulli):
        words = reference.values("integers/32", key, counter, indices)
        return (words < np.uint64(drawn.threshold)).astype(drawn.dtype)
    assert isinstance(drawn, UniformInteger)
    width = 8 * drawn.dtype.itemsize
    span = (drawn.maxval - drawn.minval) % 2**width
    return reference.values(f"integers/{width}", key, counter, indices, minval=drawn.minval if span else 0, span=span)


# Classes whose elements are no kernel's: tested with the class.
WITHOUT_KERNELS = (
    *("ComplexGlorot", "ComplexHe", "ComplexNormal", "ComplexVarianceScaling"),
    *("DeltaOrthogonal", "Orthogonal", "Unitary", "Sparse"),
)


@pytest.mark.parametrize("name", [name for name in SEEDED if name.partition(",")[0] not in WITHOUT_KERNELS])
def test_far_out_in_a_huge_tensor(name: str) -> None:
    """Regions beyond 2**32 and 2**40 elements are addressed rightly, without the tensor being made."""
    shape = (2**20, 2**20)
    for dtype in CATALOGUE[name][1]:
        drawn = fresh(name).distribution(shape, dtype)
        for row, column in [(0, 2**20 - 3), (2**12, 5), (2**13 + 1, 7), (2**20 - 1, 2**20 - 4)]:
            piece = fresh(name)(shape, dtype, region=(row, slice(column, column + 3)))
            # The reference, given the flat indices in so many words.
            indices = np.array([row * 2**20 + column + i for i in range(3)], np.uint64)
            expected = reference_values(drawn, Stream(fresh(name).seed), indices)
            assert piece.tobytes() == expected.tobytes(), (row, column)


def test_the_index_has_no_period_of_a_power_of_two() -> None:
    """Elements 2**32, 2**33, … further on are others: an index cut to fewer bits would repeat them."""
    row = fanin.RandomUniform(seed=1)((2**43 - 1, 2**20), region=(0, slice(0, 64))).tobytes()
    for power in range(20, 63):
        first = 2**power
        other = fanin.RandomUniform(seed=1)((2**43 - 1, 2**20), region=(first // 2**20, slice(0, 64))).tobytes()
        assert other != row
