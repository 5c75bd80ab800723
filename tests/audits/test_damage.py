"""Every kind of damage is found, with its numbers and places, and none in what any initializer makes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fanin
from catalogue import CATALOGUE, SEEDED, fitted
from fanin._core import dtypes
from fanin._core.types import Array
from fanin.audits.damage import Allowed, damage, unrelated
from fanin.audits.relations import Correlated, Duplicates
from fanin.audits.verdicts import Problem
from measured_kit import found

SHAPES = {
    0: [()],
    1: [(1,), (100,)],
    2: [(64, 48), (128, 16), (3, 2)],
    3: [(5, 30, 40)],
    4: [(3, 3, 8, 16), (32, 16, 3, 3)],
}
# What initializers make on purpose that would be damage elsewhere.
CONSTANT = ("Zeros", "Ones", "Constant", "Table")
SPARSE = ("Identity", "Dirac", "Bilinear", "DeltaOrthogonal", "Hippo", "STFT", "Identity, batches")


def problems(array: Any, allowed: Allowed | None = None) -> tuple[Problem, ...]:
    """What is wrong with an array."""
    array = np.asarray(array)
    return damage(found(array), array.shape, array.dtype, allowed or Allowed())


def codes(array: Any, allowed: Allowed | None = None) -> list[str]:
    """The codes of what is wrong with an array."""
    return [each.code for each in problems(array, allowed)]


def normal(*shape: int, dtype: str = "float32") -> Array:
    """A healthy kernel."""
    values = np.random.default_rng(1).normal(0, 0.02, shape)
    return values.astype(np.float32).astype(dtypes.resolve(dtype))


def allowed_of(name: str) -> Allowed:
    """What an initializer of the catalogue makes on purpose."""
    formula = name not in SEEDED or name in SPARSE
    return Allowed(constant=name in CONSTANT, dead=formula, repeated=formula)


# ---------------------------------------------------------------- what is healthy


@pytest.mark.parametrize("name", CATALOGUE)
def test_initializers(name: str) -> None:
    """Nothing is wrong with what an initializer makes, in any dtype, rank and seed."""
    initializer, every_dtype, ranks = CATALOGUE[name]
    config = initializer.get_config()
    for seed in range(4 if name in SEEDED else 1):
        made = type(initializer).from_config({**config, "seed": seed} if name in SEEDED else config)
        for dtype in every_dtype:
            for shape in (fitted(name, shape) for rank in ranks for shape in SHAPES.get(rank, [])):
                array = made(shape, dtype)
                allowed = allowed_of(name)
                if found(array).low == found(array).high:  # of few elements, such as two Bernoulli ones
                    allowed = Allowed(constant=True)
                assert problems(array, allowed) == (), (seed, dtype, shape)


@pytest.mark.parametrize("stddev", [1e-30, 1e-36, 1e-10, 1.0, 1e10, 1e30])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_any_spread(stddev: float, dtype: str) -> None:
    """No spread that a dtype has is taken for uninitialized memory."""
    for initializer in (fanin.RandomNormal(0.0, stddev, seed=1), fanin.RandomUniform(0.0, stddev, seed=1)):
        assert codes(initializer((200, 300), dtype)) == []


@pytest.mark.parametrize("dtype", ["float16", "float8_e4m3fn", "float8_e5m2"])
@pytest.mark.parametrize("stddev", [1e-2, 1e-3, 1e-5, 1e-6])
def test_subnormal_draws(dtype: str, stddev: float) -> None:
    """Draws of narrow dtypes may be subnormal for the most part, and have many equal elements and zeros."""
    values = (np.random.default_rng(1).normal(0, stddev, (300, 200)).astype(np.float32)).astype(dtypes.resolve(dtype))
    if found(values).low < found(values).high:
        assert [each for each in codes(values) if each not in ("dead-rows", "dead-columns")] == []


def test_wide_distributions() -> None:
    """A log-normal distribution whose logarithm has a deviation of 3, and one of rare large elements, are healthy."""
    random = np.random.default_rng(1)
    assert codes(random.lognormal(0, 3, (300, 200)).astype("float32")) == []
    assert codes(np.where(random.random((300, 200)) < 0.001, 1e4, random.normal(0, 0.01, (300, 200)))) == []


@pytest.mark.parametrize("axis", [0, 1])
def test_units_that_died_in_training(axis: int) -> None:
    """Weights of whole units that decayed to nothing are what training made."""
    kernel = normal(64, 32, 3, 3)
    np.moveaxis(kernel, axis, 0)[::5] *= np.float32(1e-37)
    assert codes(kernel) == []
    scales = abs(normal(512))
    scales[::5] *= np.float32(1e-37)
    assert codes(scales) == []


def test_integers_have_no_damage() -> None:
    """Tables of integers repeat themselves."""
    assert codes(np.zeros((4, 4), "int64")) == []
    assert codes(np.tile(np.arange(8), (5, 1))) == []


# ---------------------------------------------------------------- what is broken


@pytest.mark.parametrize(
    ("value", "code", "message"),
    [
        (np.nan, "nan", "1 of 3,072 numbers (0.033 %) is NaN, the first at [5, 5]."),
        (-np.inf, "infinity", "1 of 3,072 numbers (0.033 %) is infinite, the first at [5, 5]."),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float8_e5m2"])
def test_not_finite(value: float, code: str, message: str, dtype: str) -> None:
    """A single NaN or infinity is found, with its place."""
    kernel = normal(64, 48, dtype=dtype) if "8" not in dtype else (normal(64, 48) * 100).astype(dtypes.resolve(dtype))
    kernel[5, 5] = value
    (problem,) = problems(kernel)
    assert (problem.code, problem.kind, problem.message) == (code, "broken", message)
    assert codes(kernel, Allowed(not_finite=True)) == []


def test_all_nan() -> None:
    """A tensor of NaN alone is that and nothing else."""
    (problem,) = problems(np.full((4, 5), np.nan))
    assert problem.message == "20 of 20 numbers are NaN."


@pytest.mark.parametrize(("value", "message"), [(np.nan, "It is NaN."), (np.inf, "It is infinite.")])
def test_scalars_that_are_not_finite(value: float, message: str) -> None:
    """A scalar has no place to name."""
    (problem,) = problems(np.asarray(value, "float32"))
    assert problem.message == message


def test_places_of_complex_elements() -> None:
    """The place is that of the element, of whose parts each is a number."""
    kernel = normal(8, 6).astype("complex64")
    kernel[2, 3] = complex(0.5, np.nan)
    assert problems(kernel)[0].message.endswith("is NaN, the first at [2, 3].")


def test_equal_elements() -> None:
    """Zeros and equal elements are broken where a kernel is expected, and only there."""
    (zeros,) = problems(np.zeros((4, 5)))
    (threes,) = problems(np.full((4, 5), 3.0))
    assert (zeros.code, zeros.message) == ("zeros", "All 20 elements are zero, where a kernel is expected.")
    assert (threes.code, threes.message) == ("constant", "All 20 elements are 3, where a kernel is expected.")
    assert codes(np.zeros((4, 5)), Allowed(constant=True)) == []
    assert codes(np.zeros((0, 5))) == codes(np.zeros(())) == []


def test_dead_lines() -> None:
    """Rows, columns and slices of zeros are named; those of zeros that are allowed are not."""
    kernel = normal(64, 48)
    kernel[[3, 7, 8, 9]] = 0
    (rows,) = problems(kernel)
    assert (rows.code, rows.message) == ("dead-rows", "Rows 3, 7 … 9 (4 of 64) are all zero.")
    (columns,) = problems(kernel.T)
    assert (columns.code, columns.message) == ("dead-columns", "Columns 3, 7 … 9 (4 of 64) are all zero.")
    assert codes(kernel, Allowed(dead=True)) == codes(kernel, Allowed(padding=4)) == []
    assert codes(kernel, Allowed(padding=1)) == codes(kernel, Allowed(padding=3)) == ["dead-rows"]
    convolution = normal(8, 16, 3, 3)
    convolution[:, 5] = 0
    (slices,) = problems(convolution)
    assert slices.message == "Slice 5 along axis 1 (1 of 16) is all zero."
    kernel[::9] = 0
    assert problems(kernel)[0].message == "Rows 0, 3, 7 … 9 and 6 more ranges (11 of 64) are all zero."


def test_repeated_lines() -> None:
    """A repeated shard and a copied row are named, with where they come from."""
    kernel = normal(64, 48)
    kernel[32:] = kernel[:32]
    (shard,) = problems(kernel)
    assert shard.code == "repeated"
    assert shard.message == "Rows 32 … 63 (those of 0 … 31) (32 of 64) repeat earlier ones, bit for bit."
    assert codes(kernel, Allowed(repeated=True)) == []
    kernel = normal(64, 48, dtype="bfloat16")
    kernel[:, 40] = kernel[:, 9]
    (column,) = problems(kernel)
    assert column.message == "Column 40 (those of 9) (1 of 48) repeats an earlier one, bit for bit."


def test_what_chance_repeats() -> None:
    """Short lines of few different numbers are equal, or zero, by chance, and long ones are not."""
    random = np.random.default_rng(1)
    short, long = random.integers(0, 2, (200, 6)), random.integers(0, 2, (200, 100))
    assert codes(short.astype("float32")) == []
    assert codes(long.astype("float32")) == []
    long[100], long[5] = long[8], 0
    assert codes(long.astype("float32")) == ["dead-rows", "repeated"]
    assert codes(random.normal(size=(100_000, 1)).astype("float16")) == []


# ---------------------------------------------------------------- uninitialized memory

TEXT = (np.__doc__ or "").encode() * 200


def _pointers(count: int) -> Array:
    return 0x7F3A00000000 + np.random.default_rng(1).integers(0, 2**32, count) // 16 * 16


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(10, 10), (100, 400)])
@pytest.mark.parametrize("kind", ["text", "random", "pointers", "objects"])
def test_leftovers(kind: str, dtype: str, shape: tuple[int, ...]) -> None:
    """Texts, random bytes, pointers, and pointers between small integers are no weights, in any dtype."""
    resolved = dtypes.resolve(dtype)
    size = shape[0] * shape[1] * resolved.itemsize
    random = np.random.default_rng(1)
    objects = np.stack([_pointers(size // 16 + 1), random.integers(0, 999, size // 16 + 1)], 1)
    memory = {
        "text": TEXT,
        "random": random.bytes(size),
        "pointers": _pointers(size // 8 + 1).tobytes(),
        "objects": objects.tobytes(),
    }[kind][:size]
    array = np.frombuffer(memory, np.uint8).view(resolved).reshape(shape)
    assert {"garbage", "nan"} & set(codes(array))
    if not (dtype == "float64" and kind == "pointers"):  # which are all subnormal, and nearly equal
        assert "garbage" in codes(array) or dtype == "float16"


def test_small_integers_seen_as_numbers() -> None:
    """Old counters are subnormal numbers."""
    old = np.arange(5000, dtype="int64")
    (problem,) = [each for each in problems(old.view("float64").reshape(50, 100)) if each.code == "garbage"]
    assert problem.message == (
        "It looks like uninitialized memory: all numbers but zeros are subnormal, the largest being 2.47e-320."
    )
    assert "garbage" in codes(old.view("float32").reshape(100, 100))
    assert codes(old.view("float64").reshape(50, 100), Allowed(any_size=True)) == []


def test_halves_of_pointers() -> None:
    """Pointers to neighbors, whose halves alternate between two sizes that are both small, are no dead columns."""
    old = 0x7F0736400000 + 256 * np.arange(300)
    for shape in ((20, 30), (600,), (10, 5, 12)):
        assert "garbage" in codes(old.view("float32").reshape(shape))


@pytest.mark.parametrize("stddev", [1e-12, 1e8])
def test_a_spread_that_no_initializer_has(stddev: float) -> None:
    """A kernel that is known to be drawn has another; what its lines are is no other problem."""
    array = normal(50, 60) * np.float32(stddev / 0.02)
    array[3] = 0
    (problem,) = problems(array, Allowed(any_spread=False))
    assert problem.code == "garbage"
    assert "which no initializer gives" in problem.message


def test_zeros_and_a_few_tiny_numbers() -> None:
    """What torch.empty leaves of fresh pages."""
    array = np.zeros((300, 64), "float32")
    array[[3, 40], [5, 6]] = 7e-14, 2e-42
    assert codes(array, Allowed(any_spread=False)) == ["garbage"]


def test_huge_values_among_zeros() -> None:
    """A few huge numbers among zeros are left over; a mask of one large number is none."""
    array = np.zeros((50, 60), "float32")
    array[3, 4] = 1e25
    assert "garbage" in codes(array, Allowed(dead=True))
    array[7, 8] = -3e14
    assert "garbage" in codes(array, Allowed(dead=True))
    mask = np.triu(np.full((50, 50), np.finfo("float32").min), 1)
    assert codes(mask, Allowed(dead=True, repeated=True)) == []


def test_half_of_a_tensor() -> None:
    """A tensor whose other half was drawn is found as well."""
    kernel = normal(100, 400)
    kernel[50:] = np.frombuffer(TEXT[: 50 * 400 * 4], "float32").reshape(50, 400)
    assert "garbage" in codes(kernel)


def test_words_again_and_again() -> None:
    """A few pointers among thousands of equal words, in columns of one size each, as if units had decayed."""
    words = np.zeros((41, 30), "uint32")
    words[:, 1::2] = 0x378FDB80
    words[:8, ::2], words[:8, 1::4] = 0x5570, 0x378FDB81
    left = words.view("float32")
    assert "garbage" in codes(left, Allowed(dead=True))
    weights = left.copy()
    weights[left > 1e-9] = normal(41, 15).ravel()  # weights differ
    assert "garbage" not in codes(weights, Allowed(dead=True))


LEFT = """
import numpy as np, sys
from fanin.audits.arrays import InMemory
from fanin.audits.damage import Allowed, damage
from fanin.audits.statistics import measure
make = (lambda shape: np.empty(shape, "float32")) if sys.argv[1] == "numpy" else None
if make is None:
    import torch
    make = lambda shape: torch.empty(shape).numpy()
seen = []
for number in range(30):
    objects = [[str(each) * 3, {each: number}, (each, each + 1)] for each in range(3000)]
    del objects
    array = make((20 + number, 30)).copy()
    found = measure(InMemory("w", array))
    values = found.sample[np.isfinite(found.sample) & (found.sample != 0)]
    # What was a tensor of weights, or nothing but zeros, cannot be told.
    if len(values) >= 8 and np.log2(abs(values)).std() > 15:
        seen.append([each.code for each in damage(found, array.shape, array.dtype, Allowed(dead=True))])
print(len(seen), sum("garbage" in each for each in seen))
"""


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_what_empty_really_gives(library: str) -> None:
    """Memory that torch.empty and numpy.empty return after other work is recognized."""
    pytest.importorskip(library)
    done = subprocess.run([sys.executable, "-c", LEFT, library], capture_output=True, text=True, check=True)
    seen, recognized = map(int, done.stdout.split())
    assert seen == recognized


# ---------------------------------------------------------------- tensors that have something in common


def test_problems_of_relations() -> None:
    """Duplicates and correlated tensors name each other, and a duplicate is not called correlated, too."""
    names = ("a", "b", "c", "d", "e")
    equal = [Duplicates(names, "bytes"), Duplicates(("e", "f"), "transposed")]
    similar = [Correlated(("a", "g"), 0.9, 40.4), Correlated(("g", "h"), -0.5, -20.0)]
    every = unrelated(equal, similar)
    assert sorted(every) == ["a", "b", "c", "d", "e", "f", "g", "h"]
    assert every["a"][0].message == "It has the values of 'b', 'c', 'd' and 1 more tensors, bit for bit."
    assert [each.message for each in every["e"]][1] == "It has the values of 'f', transposed."
    assert [each.code for each in every["a"]] == ["duplicate"]
    assert every["g"][0].message == (
        "Its numbers are correlated with those of 'a': 0.9, which is 40 standard errors from 0."
    )
    assert every["h"][0].code == "correlated"
    assert [every[name][0].other for name in ("a", "b", "g")] == ["b", "a", "a"]


def test_narrow_floats() -> None:
    """float8's NaN are found, and its numbers are compared as any others."""
    values = normal(64, 48) * 100
    narrow = values.astype(ml_dtypes.float8_e4m3fn)
    assert codes(narrow) == []
    narrow[3, 3] = np.nan
    assert codes(narrow) == ["nan"]
