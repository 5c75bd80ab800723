"""One pass over a tensor finds what NumPy finds in the whole array, whatever the dtype, shape and arrangement."""

from __future__ import annotations

import math
import tracemalloc
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fanin
from fanin._core import dtypes
from fanin._core.types import Array
from fanin.audits.arrays import InMemory
from fanin.audits.measuring import fingerprints, sampling, subjects
from fanin.audits.statistics import Statistics, measure, measured
from fanin.checkpoints.files import CheckpointError
from fanin.checkpoints.stored import read_npz
from measured_kit import DTYPES, InChunks, dead_lines, expected, filled, found, repeated_lines
from strategies import examples

lengths = st.lists(st.integers(0, 9), max_size=4).map(tuple) | st.lists(st.integers(1, 40), max_size=3).map(tuple)


def agree(measured: Statistics, array: Array) -> None:
    """Checks all but the sample, the grids and the fingerprint."""
    for name, value in expected(array).items():
        assert getattr(measured, name) == pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True), name
    assert measured.distinct == len(np.unique(measured.sample))
    for lines in measured.lines:
        assert (lines.count, lines.length) == (array.shape[lines.axis], array.size // array.shape[lines.axis])
        dead = [number for start, stop in lines.dead for number in range(start, stop)]
        assert dead == dead_lines(array, lines.axis)
        repeats = [
            (start + step, first + step) for start, stop, first in lines.repeated for step in range(stop - start)
        ]
        assert repeats == repeated_lines(array, lines.axis)


def same(first: Statistics, second: Statistics) -> bool:
    """Whether two measurements are the same but for rounding, with equal samples and fingerprints."""
    for name, value in vars(first).items():
        other = getattr(second, name)
        if name in ("mean", "stddev", "kurtosis"):
            assert other == pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True)
        elif name == "sample":
            assert value.tobytes() == other.tobytes()
        elif name == "lines":
            assert [(each.axis, each.dead, each.repeated) for each in value] == [
                (each.axis, each.dead, each.repeated) for each in other
            ]
            for mine, theirs in zip(value, other, strict=True):
                assert mine.dispersion == pytest.approx(theirs.dispersion, rel=1e-6, nan_ok=True)
        else:
            assert repr(value) == repr(other), name
    return True


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 48 bytes and blocks of 8 words, so that small arrays have many."""
    monkeypatch.setattr(subjects, "_PART", 48)
    monkeypatch.setattr(fingerprints, "MOST", 8)


@pytest.mark.parametrize("dtype", DTYPES)
@examples(30)
@given(shape=lengths, seed=st.integers(0, 999))
def test_whole_arrays(dtype: str, shape: tuple[int, ...], seed: int) -> None:
    """Counts, moments, extremes and lines are those of NumPy and SciPy."""
    array = filled(shape, dtype, seed)
    agree(found(array), array)


@pytest.mark.parametrize("dtype", DTYPES)
def test_parts_and_blocks(dtype: str, small_parts: None) -> None:
    """They are so if the array is measured in many small parts."""
    for seed, shape in enumerate([(), (0,), (50,), (7, 9), (30, 2), (1, 33), (2, 3, 4, 5), (5, 1, 6), (3, 2, 2, 2, 3)]):
        array = filled(shape, dtype, seed)
        agree(found(array), array)


@pytest.mark.parametrize("dtype", DTYPES)
@examples(10)
@given(shape=lengths, seed=st.integers(0, 999))
def test_chunks_in_any_order(dtype: str, shape: tuple[int, ...], seed: int) -> None:
    """Boxes of any size and order, as in DCP, make the same statistics, sample and fingerprint as one pass in order."""
    array = filled(shape, dtype, seed)
    assert same(found(array), measure(InChunks(array, seed)))


@pytest.mark.parametrize("shape", [(60,), (13, 11), (4, 5, 6), (2, 3, 4, 5), (3, 2, 3, 2, 3)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex128", "float64"])
def test_small_chunks_in_any_order(shape: tuple[int, ...], dtype: str, small_parts: None) -> None:
    """They do so if the boxes are measured in small blocks."""
    array = filled(shape, dtype, 3)
    for seed in range(5):
        assert same(found(array), measure(InChunks(array, seed)))


@pytest.mark.parametrize("shape", [(), (0, 3), (40,), (13, 11), (4, 5, 6)])
@pytest.mark.parametrize("dtype", ["float32", "float16", "complex64", "int64", "bool"])
def test_fortran_order(shape: tuple[int, ...], dtype: str, tmp_path: Path, small_parts: None) -> None:
    """A .npz file's array in Fortran's order has the statistics of the same array in C order."""
    array = filled(shape, dtype, 5)
    np.savez(tmp_path / "a.npz", w=np.asfortranarray(array))
    assert same(found(array), measure(read_npz([tmp_path / "a.npz"]).tensors["w"]))


@examples(60)
@given(shape=lengths, seed=st.integers(0, 999), data=st.data())
def test_boxes(shape: tuple[int, ...], seed: int, data: Any) -> None:
    """A box has the statistics of that part of the array on its own, in whatever order the file has it."""
    array = filled(shape, "float32", seed)
    cuts = [sorted(data.draw(st.tuples(st.integers(0, each), st.integers(0, each)))) for each in shape]
    box = tuple((start, stop) for start, stop in cuts)
    alone = found(array[(*(slice(*each) for each in box), ...)])
    assert same(alone, found(array, box))
    assert same(alone, measure(InChunks(array, seed), box))


def test_a_box_that_is_none() -> None:
    """A box beyond the tensor is refused."""
    with pytest.raises(ValueError, match=r"`box` must have a start and a stop within the shape"):
        found(np.ones((3, 4)), ((0, 3), (2, 5)))


@pytest.mark.parametrize("size", [1e-300, 1e-200, 1e160, 1e300])
def test_numbers_of_any_size(size: float) -> None:
    """The moments of numbers whose squares are beyond float64 are those of smaller ones, scaled."""
    plain = np.random.default_rng(1).normal(1.0, 2.0, (300, 200))
    plain[:100] *= 1e-3
    large, small = found(plain * size), found(plain)
    assert large.mean == pytest.approx(small.mean * size)
    assert large.stddev == pytest.approx(small.stddev * size)
    assert large.kurtosis == pytest.approx(small.kurtosis)
    assert [each.dispersion for each in large.lines] == pytest.approx([each.dispersion for each in small.lines])


def test_numbers_of_all_sizes(small_parts: None) -> None:
    """Small numbers beside large ones count as nothing, wherever they come."""
    for array in (np.array([1e-300, 1e300, 0.0, -1e300]), np.repeat([[1e300], [1e-300], [0.0], [1.0]], 9, 1)):
        measured = found(array)
        assert measured.mean == pytest.approx(float(np.mean(array)))
        assert measured.stddev == pytest.approx(float(np.std(array / 1e300)) * 1e300)


def test_a_mean_far_from_zero() -> None:
    """The spread of scales near 1 loses no digits to their mean."""
    array = 1000 + np.random.default_rng(1).normal(0, 1e-3, 100_000)
    agree(found(array), array)


def test_nothing_warns() -> None:
    """NaN and infinities leave the moments of the rest alone, and raise no warning, even if there is no rest."""
    values = np.random.default_rng(1).normal(size=(50, 60))
    spoiled = values.copy()
    spoiled[3, 5:9] = np.nan, np.inf, -np.inf, -np.nan
    agree(found(spoiled), spoiled)
    nothing = found(np.full((4, 5), np.nan, "float32"))
    assert (nothing.nans, nothing.size, nothing.grids) == (20, 20, ())
    assert math.isnan(nothing.mean)


def test_the_callers_processor_mode() -> None:
    """Subnormal numbers count as such if the caller's thread flushes them to zero."""
    torch = pytest.importorskip("torch")
    array = np.full((4, 4), 1e-40, "float32")
    array[0] = 1.0
    torch.set_flush_denormal(True)
    try:
        measured = found(array)
    finally:
        torch.set_flush_denormal(False)
    assert (measured.subnormals, measured.zeros) == (12, 0)


@pytest.mark.parametrize(
    ("dtype", "through", "grids"),
    [
        ("float32", "bfloat16", ("bfloat16",)),
        ("float32", "float16", ("float16",)),
        ("float32", "float8_e5m2", ("float16", "bfloat16", "float8_e5m2")),
        ("float32", "float32", ()),
        ("float64", "float32", ("float32",)),
        ("float64", "bfloat16", ("float32", "bfloat16")),
        ("float16", "bfloat16", ("bfloat16",)),
        ("bfloat16", "bfloat16", ()),
        ("bfloat16", "float8_e4m3fn", ("float8_e4m3fn",)),
        ("int32", "int32", ()),
    ],
)
def test_grids(dtype: str, through: str, grids: tuple[str, ...]) -> None:
    """Numbers that went through a narrower dtype are on its grid, and a single other number shows that not all did."""
    numbers = np.random.default_rng(1).normal(0, 3e-3 if "8" not in through else 3.0, (90, 80))
    array = numbers.astype(np.float32).astype(dtypes.resolve(through)).astype(dtypes.resolve(dtype))
    measured = found(array)
    assert set(grids) <= set(measured.grids)
    if through != "float8_e5m2":
        assert measured.grids == grids
    if grids:
        array[40, 50] = np.nextafter(np.float32(1), np.float32(2)) if dtype != "float64" else 1 + 2.0**-50
        if dtype in ("float32", "float64"):
            assert found(array).grids == ()


def test_grids_of_two_kinds(small_parts: None) -> None:
    """A grid is that of all parts."""
    array = np.concatenate([np.full(200, 1 + 2.0**-7), np.full(200, 1 + 2.0**-10)]).astype("float32")
    assert found(array).grids == ("float16",)
    assert found(array[:200]).grids == ("float16", "bfloat16")


@pytest.mark.parametrize("size", [1, 100, 2**16, 2**16 + 1, 2**17 + 5, 3 * 10**5])
def test_samples(size: int) -> None:
    """A sample has all numbers of a small tensor, and one of each of 2**16 stretches of a large one."""
    places = found(np.arange(size)).sample
    if size <= 2**16:
        assert places.tolist() == list(range(size))
    else:
        edges = np.array([stretch * size // 2**16 for stretch in range(2**16 + 1)])
        assert len(places) == 2**16
        assert ((edges[:-1] <= places) & (places < edges[1:])).all()
        assert size < 2**17 or len(np.unique(np.diff(places))) > 2  # and none comes from a few columns only


def test_samples_of_parts(small_parts: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample of a tensor in many parts is that of the tensor as a whole."""
    monkeypatch.setattr(sampling, "MOST", 64)
    sampling.positions.cache_clear()
    try:
        numbers = np.arange(600).reshape(20, 30)
        sample = found(numbers).sample
        assert sample.tolist() == sorted(sample.tolist())
        assert len(sample) == 64
        assert (
            found(numbers + 1j * numbers).sample.tolist()
            == measure(InChunks(numbers + 1j * numbers, 1)).sample.tolist()
        )
    finally:
        sampling.positions.cache_clear()


def test_complex_elements_are_two_numbers() -> None:
    """Real and imaginary parts alternate in the sample, and count on their own."""
    measured = found(np.array([[1 + 2j, 3 + 0j]], "complex64"))
    assert measured.sample.tolist() == [1, 2, 3, 0]
    assert (measured.size, measured.zeros, measured.mean, measured.distinct) == (2, 1, 1.5, 4)


# ---------------------------------------------------------------- lines


def test_a_repeated_shard() -> None:
    """Rows, columns, and single rows that repeat earlier ones are found with where they come from."""
    random = np.random.default_rng(1)
    rows = random.normal(size=(1024, 512)).astype("float32")
    rows[512:] = rows[:512]
    assert found(rows).lines[0].repeated == ((512, 1024, 0),)
    assert found(rows).lines[1].repeated == ()
    assert found(rows.T).lines[1].repeated == ((512, 1024, 0),)
    one = random.normal(size=(64, 32)).astype(ml_dtypes.bfloat16)
    one[40] = one[7]
    assert found(one).lines[0].repeated == ((40, 41, 7),)
    experts = random.normal(size=(4, 8, 16, 3)).astype("float32")
    experts[3] = experts[1]
    experts[:, :, 8:] = experts[:, :, :8]
    assert [each.repeated for each in found(experts).lines] == [((3, 4, 1),), (), ((8, 16, 0),), ()]


def test_words_that_differ_in_few_bits() -> None:
    """Rows of signs alone, of any dtype, are told apart."""
    random = np.random.default_rng(1)
    for dtype in ("float64", "float32", "bfloat16", "int8", "complex128"):
        signs = np.where(random.random((3000, 40)) < 0.5, 1, -1).astype(dtypes.resolve(dtype))
        signs[2000] = signs[3]
        assert found(signs).lines[0].repeated == ((2000, 2001, 3),)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "int8", "complex64"])
def test_fingerprints(dtype: str) -> None:
    """Each flipped bit and each exchange of rows makes another one; a new shape does not."""
    array = filled((12, 10), dtype, 2)
    prints = {found(array).fingerprint}
    for number in range(0, array.nbytes, 7):
        for bit in (0, 7):
            other = array.copy()
            other.reshape(-1).view(np.uint8)[number] ^= 1 << bit
            prints.add(found(other).fingerprint)
    assert len(prints) == 1 + 2 * len(range(0, array.nbytes, 7))
    signs = np.where(np.random.default_rng(1).random((400, 6)) < 0.5, 1.0, -1.0).astype(dtypes.resolve(dtype))
    assert len({found(each).fingerprint for each in signs}) == len({each.tobytes() for each in signs})
    assert found(array[::-1].copy()).fingerprint != found(array).fingerprint
    assert found(array.reshape(5, 24)).fingerprint == found(array.reshape(-1)).fingerprint == found(array).fingerprint


@pytest.mark.parametrize(
    "initializer",
    [fanin.RandomNormal(), fanin.RandomUniform(), fanin.Bernoulli(0.3), fanin.Exponential(), fanin.LogNormal()],
)
def test_dispersion_of_what_was_drawn(initializer: Any) -> None:
    """The dispersion of independent elements is 1 on average, and varies by its standard error, whatever their law."""
    ratios = {0: [], 1: []}
    for seed in range(60):
        config = {**initializer.get_config(), "seed": seed}
        for lines in found(type(initializer).from_config(config)((40, 70))).lines:
            ratios[lines.axis].append((lines.dispersion - 1) / lines.dispersion_error)
    for axis, each in ratios.items():
        assert abs(np.mean(each)) < 5 / math.sqrt(60), axis
        assert 0.6 < np.std(each) < 1.4, axis


@pytest.mark.parametrize("shape", [(13, 11), (4, 5, 6), (3, 2, 4, 5)])
def test_dispersion_by_its_definition(shape: tuple[int, ...], small_parts: None) -> None:
    """It is the variance of the lines' mean squares by that of all squares, whatever their sizes, in parts, too."""
    plain = np.random.default_rng(1).normal(1.0, 2.0, shape)
    plain[0] *= 1e-3
    factors = np.where(np.arange(shape[0]) % 2, 1.0, 1e300).reshape(-1, *[1] * (len(shape) - 1))
    for array in (plain, plain * factors):
        for lines in found(array).lines:
            squares = np.moveaxis(array / abs(array).max(), lines.axis, 0).reshape(lines.count, -1) ** 2
            ratio = squares.mean(1).var(ddof=1) * lines.length / squares.var(ddof=1)
            assert lines.dispersion == pytest.approx(ratio)


def test_dispersion_of_rows_that_differ() -> None:
    """Rows of different spreads have a dispersion far above 1, and columns do not."""
    random = np.random.default_rng(1)
    rows = random.normal(size=(200, 300)) * random.uniform(0.5, 1.5, (200, 1))
    first, second = found(rows).lines
    assert first.dispersion > 10
    assert abs(second.dispersion - 1) < 5 * second.dispersion_error


def test_dispersion_that_is_unknown() -> None:
    """One line, lines of one element, elements of one size, and NaN leave it unknown."""
    for array in (
        np.ones((1, 5)),
        np.ones((5, 6)),
        np.where(np.eye(6) > 0, 1.0, -1.0),
        np.array([[np.nan, 1], [2, 3]]),
    ):
        assert all(math.isnan(each.dispersion) for each in found(array).lines)
    assert math.isnan(found(np.arange(6.0).reshape(6, 1)).lines[0].dispersion)


def test_more_lines_than_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tensor with too many lines has none in its statistics, and all else."""
    array = filled((50, 3), "float32", 1)
    whole = found(array)
    monkeypatch.setattr("fanin.audits.measuring.lines.MOST_LINES", 40)
    narrow = found(array)
    assert narrow.lines == ()
    assert narrow.fingerprint == whole.fingerprint
    assert narrow.mean == whole.mean


# ---------------------------------------------------------------- many tensors


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_many_tensors(threads: int, small_parts: None) -> None:
    """Threads return what `measure` returns, bit for bit and in order, and count the bytes."""
    arrays = [filled(shape, dtype, 1) for shape in ((), (0,), (40,), (9, 8)) for dtype in DTYPES] * 2
    counted: list[int] = []
    results = [each for _, each in measured([InMemory("w", each) for each in arrays], threads, counted.append)]
    assert sum(counted) == sum(each.nbytes for each in arrays)
    for array, result in zip(arrays, results, strict=True):
        assert isinstance(result, Statistics)
        once = found(array)
        assert repr(once) == repr(result)
        assert once.sample.tobytes() == result.sample.tobytes()


class _Damaged(InMemory):
    def parts(self, regions: Any) -> Any:
        yield next(iter(super().parts(regions)))
        raise CheckpointError("It ends early.")


class _Short(InMemory):
    def parts(self, regions: Any) -> Any:
        for region, part in super().parts(regions):
            yield (slice(0, 1), *region[1:]), part[:1]


def test_a_tensor_that_cannot_be_read() -> None:
    """It has its error as result, and the others are measured."""
    whole = InMemory("a", np.ones((3, 4)))
    unknown = InMemory("b", np.ones(3), read=lambda array, region: array[region])
    tensors = [whole, _Damaged("c", np.ones((2, 2))), unknown, _Short("d", np.ones((3, 4))), whole]
    results = list(measured(tensors, 2))
    assert [stored for stored, _ in results] == tensors
    words = [str(each) if isinstance(each, Exception) else each.size for _, each in results]
    assert words == [
        12,
        "It ends early.",
        "A tensor must have a dtype that NumPy or ml_dtypes has. Received: 'b' of dtype 'float64'.",
        "'d' has 12 elements, and memory has 4 of them.",
        12,
    ]
    with pytest.raises(CheckpointError, match="It ends early"):
        measure(_Damaged("c", np.ones((2, 2))))


def test_elements_that_are_no_numbers() -> None:
    """Texts and numbers of more than 64 bits are refused."""
    for array in (np.array(["a"]), np.ones(2, np.longdouble)):
        with pytest.raises(CheckpointError, match="must be numbers of at most 64 bits"):
            found(array)


def test_regions_of_arrays_elsewhere() -> None:
    """An array that NumPy cannot see is read region by region, and no region is larger than a few MiB."""
    array, read = np.random.default_rng(1).normal(size=(3000, 1000)).astype("float32"), []

    def fetched(source: Array, region: tuple[slice, ...]) -> Array:
        read.append(source[region].nbytes)
        return source[region]

    stored = InMemory("w", array, fetched, np.dtype("float32"))
    assert same(found(array), measure(stored))
    assert len(read) > 2
    assert max(read) <= 2**22


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_memory(dtype: str) -> None:
    """Measuring 96 MiB takes a small part of that."""
    once = np.random.default_rng(1).normal(size=(64, 4096)).astype("float32").astype(dtypes.resolve(dtype))
    rows = 96 * 2**20 // (4096 * once.itemsize)
    stored = InMemory("w", np.broadcast_to(once[:1, None], (1, 1, 4096)), _tiled(once), once.dtype)
    stored.shape = (rows, 4096)
    list(measured([InMemory("w", once)], 2))  # the tables
    tracemalloc.start()
    try:
        ((_, result),) = measured([stored], 2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(result, Statistics)
    assert result.size == rows * 4096
    assert peak < 64 * 2**20


def _tiled(once: Array) -> Any:
    """A function that makes regions of a tall matrix as they are read."""

    def read(_: Any, region: tuple[slice, ...]) -> Array:
        part = once[np.arange(region[0].start, region[0].stop) % len(once), region[1]].copy()
        if region[1].start == 0:  # so that no row repeats another
            part[:, 0] = np.arange(region[0].start, region[0].stop)
        return part

    return read
