"""The native kernels against Random123's known answers, the machine's libm and the reference in NumPy."""

import platform
from typing import Any

import numpy as np
import pytest

import fanin
from fanin import _native, _random, _reference
from fanin.settings import TIERS

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
    made = _reference.philox([np.array([word], np.uint64) for word in c], joined(k))
    assert [int(word[0]) for word in made] == words


@pytest.mark.parametrize("tier", NATIVE_TIERS)
@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_known_answers_of_a_tier(tier: str, counter: str, key: str, answer: str) -> None:
    """The vectorised Philox of every tier gives Random123's words."""
    c, k, words = ([int(word, 16) for word in text.split()] for text in (counter, key, answer))
    assert list(_native.philox(joined(c[:2]), joined(c[2:]), joined(k), _native.TIERS[tier])) == words


def test_the_carry_of_the_counter() -> None:
    """Blocks behind the lowest and the second counter word's wrap are those of the 128-bit counter."""
    blocks = _reference.Blocks(key=5, counter=2**64 - 1)
    for tier in NATIVE_TIERS:
        for first_block in (2**32 - 3, 2**61 - 2):
            out = np.zeros(4 * 6, np.uint32)
            kernel = _native.KERNELS["integers/32"]
            first = 4 * first_block
            _native.fill_buffer(out, _native.TIERS[tier], kernel, 5, 2**64 - 1, 1, 0, 0, 0, 1, first, [1])
            words = blocks(np.arange(first_block, first_block + 6, dtype=np.uint64))
            assert out.reshape(6, 4).T.tolist() == [word.tolist() for word in words]


@pytest.mark.parametrize("function", [0, 1, 2], ids=["logf", "sinf", "cosf"])
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the functions are glibc's")
def test_every_input_of_the_elementary_functions(function: int) -> None:
    """On all 2**23 inputs every tier has the machine's libm's bits, and so has the reference."""
    libm = np.empty(2**23, np.float32)
    _native.elementary(libm, function, -1)
    assert len(np.unique(libm)) > 2**20  # it is a function of its input
    for tier in NATIVE_TIERS:
        made = np.empty(2**23, np.float32)
        _native.elementary(made, function, _native.TIERS[tier])
        assert made.tobytes() == libm.tobytes(), tier
    mantissa = np.arange(2**23, dtype=np.uint64)
    if function == 0:
        reference = _reference.logf(np.maximum(mantissa.astype(np.float32) / np.float32(2**23), np.float32(1e-7)))
    else:
        reference = _reference.sincosf(mantissa)[function - 1]
    assert reference.tobytes() == libm.tobytes()


@pytest.mark.parametrize("tier", NATIVE_TIERS)
@pytest.mark.parametrize("kernel", list(_native.KERNELS))
def test_every_kernel_equals_the_reference(tier: str, kernel: str) -> None:
    """Runs that begin and end anywhere, short and long, near the start and far out, equal the reference."""
    law, _, dtype = kernel.partition("/")
    size = {"16": 2, "32": 4, "64": 8}[dtype[-2:]]
    key, counter = _random.stream((99, 3))
    draws: dict[str, Any] = {"minval": 5, "span": 1000} if law == "integers" else {"scale": 0.375, "shift": -0.125}
    group = 2 if dtype.endswith("64") else 4
    wrap = group * 2**32 // ({2: 128, 4: 256}[group] if law == "truncated" else 1)  # where the lowest word wraps
    for first, count in [
        (0, 1),
        (0, 7000),
        (1, 5),
        (3, 300),
        (2, 2049),
        (wrap - 40, 90),
        (5 * wrap - 1, 3),
        (2**63 - 9, 8),
    ]:
        made = np.full(count + 2, 7, f"u{size}")
        _native.fill_buffer(
            made[1:-1],
            _native.TIERS[tier],
            _native.KERNELS[kernel],
            key,
            counter,
            draws.get("scale", 1.0),
            draws.get("shift", 0.0),
            draws.get("minval", 0),
            draws.get("span", 0),
            1,
            first,
            [1],
        )
        indices = np.uint64(first) + np.arange(count, dtype=np.uint64)
        expected = _reference.draw(kernel, key, counter, indices, **draws).view(f"u{size}")
        assert made[1:-1].tobytes() == expected.tobytes(), (first, count)
        assert made[0] == made[-1] == 7  # nothing was written beside the run


@pytest.mark.parametrize("tier", NATIVE_TIERS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_extreme_parameters(tier: str, dtype: str) -> None:
    """Overflow, underflow to subnormals, signed zeros and NaNs are the reference's."""
    extremes = [0.0, -0.0, 1e-45, 6e-8, 3e-5, 65504.0, 65519.9, 65520.0, 3.4e38, 1e300, -1e300]
    for scale in extremes:
        for initializer in (
            fanin.RandomNormal(-0.0, scale, seed=3),
            fanin.TruncatedNormal(scale, 1e-3, seed=3),
            fanin.RandomUniform(-scale, scale, seed=3),
        ):
            with fanin.config.using(cpu="reference"):
                expected = initializer((700,), dtype)
            with fanin.config.using(cpu=tier):
                assert initializer((700,), dtype).tobytes() == expected.tobytes(), (initializer, scale)


def test_results_do_not_depend_on_threads(many_threads: None) -> None:
    """Fills cut among threads in all ways are the same bytes, contiguous, transposed and in pieces."""
    for initializer in (fanin.TruncatedNormal(seed=1), fanin.RandomUniform(seed=1), fanin.RandomNormal(seed=1)):
        for shape in ((1031, 1033), (7, 3, 5), (100003,)):
            for dtype in ("float32", "bfloat16", "float64"):
                expected = initializer(shape, dtype)
                for threads in (2, 3, 7, 64):
                    with fanin.config.using(threads=threads):
                        assert initializer(shape, dtype).tobytes() == expected.tobytes()
                        transposed = np.empty(shape[::-1], expected.dtype).T
                        assert initializer(shape, dtype, out=transposed).tobytes() == expected.tobytes()
                        region = tuple(slice(1, length - 1) for length in shape)
                        assert initializer(shape, dtype, region=region).tobytes() == expected[region].tobytes()


def test_buffers_that_do_not_fit_are_refused() -> None:
    """The native code checks what could make it write outside of a buffer."""
    kernel, tier = _native.KERNELS["uniform/float32"], _native.TIERS["baseline"]
    arguments = (0, 0, 1.0, 0.0, 0, 0, 1, 0)
    with pytest.raises(ValueError, match="items do not fit"):
        _native.fill_buffer(np.zeros(4, np.uint16), tier, kernel, *arguments, [1])
    with pytest.raises(ValueError, match="rank does not fit"):
        _native.fill_buffer(np.zeros((2, 2), np.uint32), tier, kernel, *arguments, [1])
    with pytest.raises(ValueError, match="no such kernel"):
        _native.fill_buffer(np.zeros(4, np.uint32), tier, 99, *arguments, [1])
    with pytest.raises(ValueError, match="no such tier"):
        _native.fill_buffer(np.zeros(4, np.uint32), -1, kernel, *arguments, [1])
    read_only = np.zeros(4, np.uint32)
    read_only.flags.writeable = False
    with pytest.raises((ValueError, BufferError), match="read-only"):
        _native.fill_buffer(read_only, tier, kernel, *arguments, [1])
    with pytest.raises(ValueError, match=r"2\*\*23 floats"):
        _native.elementary(np.zeros(4, np.float32), 0, tier)
