"""The kernels of every tier against the machine's libm, the reference in NumPy, and one another."""

import hashlib
import math
import platform
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import doubles
import fanin
from fanin import _native
from fanin._core import reference, reference64
from fanin._core.reference_tables import SINE_COSINE
from fanin._core.settings import TIERS
from fanin._core.shapes import parse_region
from fanin._core.streams import Stream, key_and_counter, run_kernel
from strategies import assert_same_bits

NATIVE_TIERS = [tier for tier in TIERS if tier != "reference"]
HAS_GLIBC = platform.libc_ver()[0] == "glibc"
# Where there is no fused multiply-add, glibc has other last bits; fanin has not.
SAME_IN_GLIBC = HAS_GLIBC and "avx2" in TIERS
FUNCTIONS_64 = pytest.mark.parametrize("function", [doubles.LOG, doubles.SIN, doubles.COS], ids=["log", "sin", "cos"])


@pytest.mark.parametrize("function", [0, 1, 2], ids=["logf", "sinf", "cosf"])
@pytest.mark.skipif(not HAS_GLIBC, reason="the functions are glibc's")
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
        expected = reference.logf(np.maximum(mantissa.astype(np.float32) / np.float32(2**23), np.float32(1e-7)))
    else:
        expected = reference.sincosf(mantissa)[function - 1]
    assert expected.tobytes() == libm.tobytes()


RECORDED_64 = [  # of glibc 2.36, log and sincos
    "1604986f9ae03447ac86f23532b60ce2dae454b1761030d9e68120ac0b865513",
    "d4ae740c14fcaa3d728fc5e1b6404d045d07eb2d3e4f6bbd03087b5c8878e828",
    "ea7f9f4b21b8966676f46d597741d2def8dd9c94582c459f27b2dbd0b539f7ea",
]


def _values_64(tier: str, function: int, arguments: np.ndarray) -> np.ndarray:
    """log, sin or cos of doubles, by a native tier or, as "libm", by the machine."""
    made = np.empty_like(arguments)
    _native.elementary_64(arguments, made, function, _native.TIERS.get(tier, -1))
    return made


@FUNCTIONS_64
@pytest.mark.parametrize("tier", NATIVE_TIERS)
@pytest.mark.skipif(not SAME_IN_GLIBC, reason="the functions are glibc's with fused multiply-add")
def test_the_elementary_functions_of_doubles_are_glibcs(tier: str, function: int) -> None:
    """On a million arguments, random and beside every border, a tier has glibc's bits (see also scripts/prove64)."""
    arguments = doubles.arguments(function, 1, 2**20)
    assert_same_bits(_values_64(tier, function, arguments), _values_64("libm", function, arguments))


@FUNCTIONS_64
@pytest.mark.parametrize("tier", NATIVE_TIERS)
def test_the_elementary_functions_of_doubles_equal_the_reference(tier: str, function: int) -> None:
    """Every tier has the reference's bits, with or without an instruction for fused multiply-add."""
    arguments = doubles.arguments(function, 2, 100_000)
    expected = reference64.log(arguments) if function == doubles.LOG else reference64.sincos(arguments)[function - 1]
    assert_same_bits(_values_64(tier, function, arguments), expected)


@FUNCTIONS_64
def test_the_elementary_functions_of_doubles_have_recorded_bits(function: int) -> None:
    """Also where no glibc can be asked: the digests of glibc 2.36's values."""
    arguments = np.sqrt(np.arange(1, 20_001)) / 142 * (1.0 if function == doubles.LOG else doubles.TWO_PI)
    made = [_values_64(tier, function, arguments) for tier in NATIVE_TIERS]
    digests = {hashlib.sha256(values.tobytes()).hexdigest() for values in made}
    assert digests == {RECORDED_64[function]}


def test_the_fused_multiply_add_of_the_reference_is_exact() -> None:
    """Against rational arithmetic, with every kind of cancellation."""
    rng = np.random.default_rng(5)
    a, b, c = (rng.choice([-1, 1], 3000) * (1 + rng.random(3000)) for _ in range(3))
    c *= 2.0 ** rng.integers(-110, 60, 3000)
    c[:1000] = -(a * b)[:1000] * (1 + rng.integers(-2, 3, 1000) * 2.0**-52)
    # Sums that lie a hair beside the middle of two doubles.
    c[1000:2000] = 2.0 ** rng.integers(40, 60, 1000) * np.copysign(1, c[1000:2000])
    b[1000:1500] = 1 + 2.0**-52
    exact = [float(Fraction(x) * Fraction(y) + Fraction(z)) for x, y, z in zip(a, b, c, strict=True)]
    assert_same_bits(reference64.fma(a, b, c), np.array(exact))


def test_the_table_of_sines_is_one() -> None:
    """Its pairs are the sines and cosines of k/128 to 2**-100, computed here by rational series."""
    for k, row in enumerate(SINE_COSINE.tolist()):
        terms = [Fraction(k, 128) ** n / math.factorial(n) * (-1) ** (n // 2) for n in range(40)]
        for value, (high, low) in zip((sum(terms[1::2]), sum(terms[::2])), (row[:2], row[2:]), strict=True):
            assert abs(value - Fraction(high) - Fraction(low)) <= Fraction(1, 2**100)
            assert high == float(value)


@pytest.mark.parametrize("tier", NATIVE_TIERS)
@pytest.mark.parametrize("kernel", list(_native.KERNELS))
def test_every_kernel_equals_the_reference(tier: str, kernel: str) -> None:
    """Runs that begin and end anywhere, short and long, near the start and far out, equal the reference."""
    law, _, dtype = kernel.partition("/")
    size = {"16": 2, "32": 4, "64": 8}[dtype[-2:]]
    key, counter = key_and_counter(Stream(99, 3))
    draws: dict[str, Any] = {"minval": 5, "span": 1000} if law == "integers" else {"scale": 0.375, "origin": -0.125}
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
            draws.get("origin", 0.0),
            draws.get("minval", 0),
            draws.get("span", 0),
            1,
            first,
            [1],
        )
        indices = np.uint64(first) + np.arange(count, dtype=np.uint64)
        expected = reference.values(kernel, key, counter, indices, **draws).view(f"u{size}")
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
            with fanin.config.using(tier="reference"):
                expected = initializer((700,), dtype)
            with fanin.config.using(tier=tier):
                assert initializer((700,), dtype).tobytes() == expected.tobytes(), (initializer, scale)


NARROW = [kernel for kernel in _native.KERNELS if kernel.count("/") == 2]
STREAM = Stream(-5, 3)
# Scales and origins: ordinary, to infinity in 16 bits, in float32 and on the way, to subnormals, and NaNs.
SCALES = [
    (0.02, 0.0),
    (-0.375, 0.125),
    (3e4, 100.0),
    (-3e37, 1e37),
    (3.4e38, 3.4e38),
    (6e-8, 0.0),
    (1e-5, -3e-5),
    (1e-39, 1e-40),
    (0.0, -0.0),
    (math.inf, 0.0),
]


def run(kernel: str, shape: tuple[int, ...], region: Any = None, **numbers: Any) -> np.ndarray:
    """A new array of a kernel's values."""
    box = None if region is None else parse_region(region, shape)
    out = np.zeros(shape if box is None else box.shape, kernel.rpartition("/")[2])
    run_kernel(kernel, STREAM, out, shape, box, **numbers)
    return out


def test_which_kernels_round() -> None:
    """Each law has a kernel for each 16-bit float that rounds float32 once."""
    laws = ("uniform", "normal", "truncated", "bounded", "exponential", "lognormal")
    assert sorted(NARROW) == sorted(f"{law}/float32/{dtype}" for law in laws for dtype in ("float16", "bfloat16"))


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("kernel", NARROW)
@pytest.mark.parametrize(("scale", "origin"), SCALES)
def test_kernels_that_round(tier: str, kernel: str, scale: float, origin: float) -> None:
    """They have the bytes of the float32 kernel, rounded by NumPy and ml_dtypes, on every tier."""
    wide = kernel.rpartition("/")[0]
    with fanin.config.using(tier=tier):
        made = run(kernel, (1021,), scale=scale, origin=origin)
        single = run(wide, (1021,), scale=scale, origin=origin)
    with np.errstate(all="ignore"):
        expected = single.astype(made.dtype)
    assert_same_bits(made, expected)
    if (scale, origin) == (-3e37, 1e37) and not kernel.startswith("lognormal"):
        assert np.isfinite(single).all()
        assert np.isinf(made[np.abs(single) > 1e5]).all() == (made.dtype == np.float16)


@pytest.mark.parametrize("tier", NATIVE_TIERS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_every_rounding(tier: str, dtype: str) -> None:
    """Ties, their neighbours in float32, subnormals and the ends of the range go where NumPy and ml_dtypes say."""
    every = np.arange(2**16, dtype=np.uint16).view(dtype)
    with np.errstate(invalid="ignore"):  # NaNs are among them
        positive = np.unique(np.abs(every[np.isfinite(every)].astype(np.float32)))
    ties = ((positive[1:].astype(np.float64) + positive[:-1]) / 2).astype(np.float32)
    limit = np.float32(ml_dtypes.finfo(dtype).max)
    ends = np.array([limit, limit * (1 + 2.0**-12), limit * (1 + 2.0**-9), np.inf], np.float32)
    chosen = np.concatenate([ties[::23], np.nextafter(ties[::29], np.inf), np.nextafter(ties[::31], 0), ends])
    made = np.zeros(2 * len(chosen), np.uint16)
    arguments = (_native.TIERS[tier], _native.KERNELS[f"uniform/float32/{dtype}"], 1, 2)
    for position, value in enumerate([*chosen.tolist(), *(-chosen).tolist()]):  # a scale of 0 leaves the origin
        _native.fill_buffer(made[position : position + 1], *arguments, 0.0, value, 0, 0, 1, 0, [1])
    with np.errstate(all="ignore"):
        assert made.tobytes() == np.concatenate([chosen, -chosen]).astype(dtype).tobytes()


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("kernel", NARROW)
def test_kernels_that_round_fill_any_memory(tier: str, kernel: str) -> None:
    """Regions, and arrays transposed, with gaps, backwards and of packed records, have the same values."""
    shape = (37, 61)
    numbers: dict[str, Any] = {"scale": 0.3, "origin": -0.1}
    with fanin.config.using(tier=tier):
        whole = run(kernel, shape, **numbers)
        for region in (np.s_[5:, 3:60], np.s_[:, 7], np.s_[36], np.s_[2:2], np.s_[-3:, ::1]):
            assert run(kernel, shape, region, **numbers).tobytes() == whole[region].tobytes()
        packed = np.zeros(shape, np.dtype([("pad", "u1"), ("field", whole.dtype)]))["field"]
        transposed = np.zeros(shape[::-1], whole.dtype).T
        for out in (transposed, np.zeros((111, 122), whole.dtype)[::3, ::-2], packed):
            run_kernel(kernel, STREAM, out, shape, **numbers)
            assert out.tobytes() == whole.tobytes()


def test_kernels_that_round_do_not_depend_on_threads(many_threads: None) -> None:
    """However a fill is cut among threads, it is the same bytes."""
    for kernel in NARROW:
        with fanin.config.using(threads=1):
            expected = run(kernel, (301, 113), scale=0.1)
        for threads in (2, 7):
            with fanin.config.using(threads=threads):
                assert run(kernel, (301, 113), scale=0.1).tobytes() == expected.tobytes()
                assert run(kernel, (301, 113), np.s_[1:, 2:], scale=0.1).tobytes() == expected[1:, 2:].tobytes()


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
    with pytest.raises(ValueError, match="as many doubles"):
        _native.elementary_64(np.zeros(4), np.zeros(5), 0, tier)
