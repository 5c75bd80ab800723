"""Equal and correlated tensors of one checkpoint are found, and nothing is among independent ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

import fanin
from catalogue import CATALOGUE, SEEDED
from fanin._core import dtypes
from fanin._core.types import Array
from fanin.audits.arrays import InMemory
from fanin.audits.relations import Correlated, Duplicates, Sketch, correlated, duplicates
from fanin.audits.statistics import measure
from measured_kit import InChunks


def sketches(**arrays: Any) -> list[Sketch]:
    """What is kept of arrays, without those that say nothing."""
    return sketches_of(InMemory(name, np.asarray(array)) for name, array in arrays.items())


def sketches_of(tensors: Any) -> list[Sketch]:
    """What is kept of tensors, without those that say nothing."""
    every = [Sketch.of(each, measure(each)) for each in tensors]
    return [each for each in every if each is not None]


def normal(*shape: int, seed: int = 0, dtype: str = "float32") -> Array:
    """A kernel."""
    return np.random.default_rng(seed).normal(0, 0.02, shape).astype(np.float32).astype(dtypes.resolve(dtype))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64", "float16", "complex64"])
@pytest.mark.parametrize("shape", [(20,), (40, 30), (4, 5, 6), (700, 600)])
def test_equal_bytes(dtype: str, shape: tuple[int, ...]) -> None:
    """Tensors of equal bytes are found, and those that differ in one bit are not."""
    first = normal(*shape, dtype=dtype)
    other = first.copy()
    other.reshape(-1).view(np.uint8)[-dtypes.resolve(dtype).itemsize] ^= 1
    (group,) = duplicates(sketches(a=first, b=other, c=first.copy(), d=normal(*shape, seed=1, dtype=dtype), e=first))
    assert group == Duplicates(("a", "c", "e"), "bytes")


def test_other_arrangements() -> None:
    """A tensor in chunks equals the same one as a whole."""
    array = normal(20, 30)
    chunked = InChunks(array, 1)
    assert duplicates(sketches_of([InMemory("a", array), chunked])) == (Duplicates(("a", "w"), "bytes"),)


def test_fingerprints_are_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of equal fingerprints and different bits are not called equal."""
    every = sketches(a=normal(20, 30), b=normal(20, 30, seed=1))
    equal = [Sketch(each.stored, each.ranks, each.coincidence, each.extremes, bytes(8)) for each in every]
    assert duplicates(equal) == ()


def test_other_dtypes_and_transposes() -> None:
    """The same numbers in another dtype, and a transpose, square or not, are found; a rounded copy is not."""
    narrow = normal(40, 30, dtype="bfloat16")
    wide = narrow.astype("float32")
    assert duplicates(sketches(a=narrow, b=wide)) == (Duplicates(("a", "b"), "values"),)
    assert duplicates(sketches(a=wide, b=wide.T)) == (Duplicates(("a", "b"), "transposed"),)
    square = normal(30, 30)
    assert duplicates(sketches(a=square, b=square.T)) == (Duplicates(("a", "b"), "transposed"),)
    assert duplicates(sketches(a=square, b=square[::-1])) == ()
    assert duplicates(sketches(a=square, b=square.astype(dtypes.resolve("bfloat16")))) == ()
    assert duplicates(sketches(a=square, b=square.copy(), c=square.T)) == (
        Duplicates(("a", "b"), "bytes"),
        Duplicates(("a", "c"), "transposed"),
    )


def test_what_may_be_equal() -> None:
    """Constants, integers, known ties, and what chance makes of few different numbers are no duplicates."""
    kernel = normal(40, 30)
    ones = np.ones(64, "float32")
    assert duplicates(sketches(a=ones, b=ones, c=np.arange(9), d=np.arange(9))) == ()
    assert duplicates(sketches(a=kernel, b=kernel), ties=[("a", "b")]) == ()
    assert duplicates(sketches(a=kernel, b=kernel, c=kernel), ties=[("a", "b"), {"b", "c"}]) == ()
    assert duplicates(sketches(a=kernel, b=kernel, c=kernel), ties=[("a", "b")])[0].names == ("a", "b", "c")
    bits = {f"n{number}": np.array([0.0, 1.0, 0.0, float(number % 2)]) for number in range(9)}
    assert duplicates(sketches(**bits)) == ()


def test_copies_with_noise() -> None:
    """A copy that was scaled, negated or disturbed is found, though only its strongest partner is named."""
    kernel = normal(200, 100)
    noise = normal(200, 100, seed=1)
    for copy in (3 * kernel + noise, -kernel, 0.3 * kernel + noise, np.exp(kernel)):
        (pair,) = correlated(sketches(a=kernel, b=copy, c=normal(200, 100, seed=2)))
        assert pair.names == ("a", "b")
        assert abs(pair.standard_errors) > 8
    assert correlated(sketches(a=kernel, b=3 * kernel), ties=[("a", "b")]) == ()
    chain = correlated(sketches(a=kernel, b=kernel + 0.5 * noise, c=kernel + normal(200, 100, seed=3)))
    assert {each.names for each in chain} == {("a", "b"), ("b", "c")} or len(chain) == 2


def test_spearman() -> None:
    """The correlation is SciPy's, of a tensor that is small enough to be compared as a whole, ties included."""
    random = np.random.default_rng(1)
    first = random.integers(0, 9, (40, 40)).astype("float32")
    second = np.round(first + random.normal(0, 3, first.shape)).astype("float32")
    (pair,) = correlated(sketches(a=first, b=second))
    assert pair.correlation == pytest.approx(stats.spearmanr(first.ravel(), second.ravel())[0], abs=1e-5)


def test_what_is_not_correlated() -> None:
    """Other shapes, few elements, many zeros, constants, integers and NaN say nothing."""
    kernel = normal(40, 30)
    sparse = np.where(np.random.default_rng(1).random((40, 30)) < 0.1, kernel, 0)
    spoiled = kernel.copy()
    spoiled[0, 0] = np.nan
    assert correlated(sketches(a=kernel, b=kernel.T, c=spoiled, d=np.arange(1200).reshape(40, 30))) == ()
    assert correlated(sketches(a=sparse, b=2 * sparse)) == ()
    assert correlated(sketches(a=kernel[:5, :6], b=2 * kernel[:5, :6])) == ()


@pytest.mark.parametrize("name", SEEDED)
def test_independent_tensors(name: str) -> None:
    """Forty draws of an initializer have nothing in common."""
    initializer, every_dtype, ranks = CATALOGUE[name]
    shape = {2: (30, 40), 3: (3, 30, 40)}.get(ranks[0], (30, 40))
    config = initializer.get_config()
    drawn = {
        f"seed{seed}": type(initializer).from_config({**config, "seed": seed})(shape, every_dtype[0])
        for seed in range(40)
    }
    assert duplicates(sketches(**drawn)) == ()
    assert correlated(sketches(**drawn)) == ()


def test_thousands_of_tensors() -> None:
    """Among 2,000 draws, one scaled copy is found and nothing else is; each keeps no more than a few KiB."""
    drawn = {str(seed): fanin.HeNormal(seed=seed)((64, 40)) for seed in range(2000)}
    drawn["1234"] = drawn["77"] * 0.5 + drawn["1234"]
    every = sketches(**drawn)
    assert max(each.ranks.nbytes for each in every) <= 2**14
    (pair,) = correlated(every)
    assert isinstance(pair, Correlated)
    assert pair.names == ("77", "1234")
    assert duplicates(every) == ()
