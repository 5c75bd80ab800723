"""Singular values: those of NumPy and SciPy, of the block that is read, beside the law of Marchenko and Pastur."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fanin
from fanin.audits.arrays import InMemory
from fanin.audits.charts import is_orthogonal
from fanin.audits.spectra import MOST_TENSORS, Spectrum, marchenko_pastur, measured_spectrum
from fanin.checkpoints.stored import Slices

RANDOM = np.random.default_rng(0)


def spectrum_of(array: np.ndarray, **options: Any) -> Spectrum:
    """The spectrum of an array, which has one."""
    found = measured_spectrum(InMemory("w", array), **options)
    assert isinstance(found, Spectrum), found
    return found


# ---------------------------------------------------------------- the law


@pytest.mark.parametrize(("rows", "columns"), [(64, 256), (256, 64), (100, 101), (128, 128), (1, 50)])
@pytest.mark.parametrize("rms", [1.0, 0.02, 1e60])
def test_edges_and_moments(rows: int, columns: int, rms: float) -> None:
    """Its area is 1, and the second and fourth moments are those of theory: n σ² and n² σ⁴ (1 + p / n)."""
    short, long = sorted((rows, columns))
    _, (low, high) = marchenko_pastur(np.zeros(1), rows, columns, rms)
    assert (low, high) == pytest.approx((rms * (math.sqrt(long) - math.sqrt(short)), rms * (long**0.5 + short**0.5)))
    middle, reach = (low + high) / 2, (high - low) / 2
    angles = (np.arange(20_000) + 0.5) * math.pi / 20_000  # Chebyshev's nodes, for the roots at both edges
    values = middle - reach * np.cos(angles)
    density, _ = marchenko_pastur(values, rows, columns, rms)
    weights = density * reach * np.sin(angles) * math.pi / 20_000
    scaled = values / rms
    assert weights.sum() == pytest.approx(1, rel=1e-3)
    assert (weights * scaled**2).sum() == pytest.approx(long, rel=1e-3)
    assert (weights * scaled**4).sum() == pytest.approx(long**2 * (1 + short / long), rel=1e-3)


@pytest.mark.parametrize("initializer", ["he_normal", "glorot_uniform", "random_normal"])
@pytest.mark.parametrize("shape", [(256, 512), (200, 200)])
def test_simulated(initializer: str, shape: tuple[int, int]) -> None:
    """Singular values of real matrices have its distribution, whatever the elements' own: to 2 %, and at the edges."""
    matrix = fanin.get(initializer).with_seed(1)(shape).astype(np.float64)
    found = spectrum_of(matrix)
    nodes = np.linspace(0, max(found.values) * 1.1, 20_001)
    density, (low, high) = marchenko_pastur(nodes, *shape, found.rms)
    below = np.cumsum(density) * (nodes[1] - nodes[0])
    values = np.sort(found.values)
    measured = (np.arange(len(values)) + 0.5) / len(values)
    assert np.abs(np.interp(values, nodes, below) - measured).max() < 0.02
    assert values[-1] == pytest.approx(high, rel=0.03)
    assert values[0] >= 0.8 * low


# ---------------------------------------------------------------- measuring


def test_scipys() -> None:
    """The values are SciPy's, and the spread is that of the block."""
    linalg = pytest.importorskip("scipy.linalg")
    matrix = RANDOM.standard_normal((60, 90))
    found = spectrum_of(matrix)
    np.testing.assert_allclose(found.values, linalg.svdvals(matrix), rtol=1e-10)
    assert found.rms == pytest.approx(math.sqrt((matrix**2).mean()))
    assert found.is_whole


@pytest.mark.parametrize(
    ("shape", "axes", "block", "whole"),
    [
        ((1000, 2000), None, (256, 512), (1000, 2000)),
        ((2000, 1000), (1, 0), (256, 512), (1000, 2000)),
        ((64, 32, 3, 3), (2, 3, 1, 0), (288, 64), (288, 64)),
        ((64, 32, 3, 3), None, (288, 64), (288, 64)),
        ((3, 3, 32, 64), None, (288, 64), (288, 64)),
        ((3, 3, 512, 512), (0, 1, 2, 3), (9 * 56, 256), (4608, 512)),
    ],
)
def test_blocks(shape: tuple[int, ...], axes: Any, block: tuple[int, int], whole: tuple[int, int]) -> None:
    """Kernels are matrices of (fan_in, fan_out), of which the first 256×512 elements at most are read."""
    array = RANDOM.standard_normal(shape)
    found = spectrum_of(array, axes=axes)
    assert ((found.rows, found.columns), found.shape) == (block, whole)


def test_the_block_is_the_beginning() -> None:
    """A block of a kernel in PyTorch's layout has the values of the same part in Keras's order."""
    array = RANDOM.standard_normal((600, 700)).astype(np.float32)
    expected = np.linalg.svd(array[:256, :512].astype(np.float64), compute_uv=False)
    np.testing.assert_allclose(spectrum_of(array).values, expected, rtol=1e-10)
    np.testing.assert_allclose(spectrum_of(array.T, axes=(1, 0)).values, expected, rtol=1e-10)


class Counting(InMemory):
    """An array that counts what is read of it."""

    read = 0

    def parts(self, regions: Iterable[Slices]) -> Iterator[tuple[Slices, np.ndarray]]:
        """The regions with their elements."""
        for region, part in super().parts(regions):
            self.read += part.nbytes
            yield region, part


def test_no_more_than_the_block_is_read() -> None:
    """Of a large tensor, only the block is read."""
    stored = Counting("w", RANDOM.standard_normal((2000, 3000)))
    assert isinstance(measured_spectrum(stored), Spectrum)
    assert stored.read == 256 * 512 * 8


@pytest.mark.parametrize("dtype", ["complex64", "bfloat16", "float8_e4m3fn", "float16"])
def test_dtypes(dtype: str) -> None:
    """Complex and narrow elements are those that NumPy converts."""
    target = getattr(ml_dtypes, dtype, None) or np.dtype(dtype)
    plane = RANDOM.standard_normal((40, 50)) + (1j * RANDOM.standard_normal((40, 50)) if dtype == "complex64" else 0)
    array = plane.astype(target)
    expected = np.linalg.svd(array.astype(complex if dtype == "complex64" else float), compute_uv=False)
    np.testing.assert_allclose(spectrum_of(array).values, expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.ones(100), "It is no matrix."),
        (np.ones((0, 100)), "It is no matrix."),
        (np.ones((3, 100)), "too small for singular values"),
        (np.zeros((20, 20)), "Every element of the block is 0."),
        (np.full((20, 20), np.nan), "Some elements of the block are NaN or infinite."),
        (np.ones((20, 20), int), "no floating-point numbers"),
        (np.full((20, 20), 1e200), "no axis shows such numbers well"),
    ],
    ids=["vector", "empty", "small", "zeros", "nan", "ints", "huge"],
)
def test_none(array: np.ndarray, reason: str) -> None:
    """Where there are none, a sentence says why."""
    found = measured_spectrum(InMemory("w", array))
    assert isinstance(found, str)
    assert reason in found


# ---------------------------------------------------------------- in audits


def test_only_if_asked(tmp_path: Path) -> None:
    """Without being asked, an audit computes none, and the chart's reason says how to ask."""
    arrays = {"fc.kernel": fanin.HeNormal(seed=1)((96, 64)), "fc.bias": np.zeros(64)}
    assert "spectra=True" in fanin.audit(arrays).charts("fc.kernel").missing["singular-values"]
    found = fanin.audit(arrays, spectra=True)
    chart = found.charts("fc.kernel")["singular-values"]
    assert [each.name for each in chart.marks] == ["96×64", "Marchenko–Pastur"]
    edges = [0.0, 0.0]
    spectrum: Any = found["fc.kernel"].spectrum
    _, edges = marchenko_pastur(np.zeros(1), 96, 64, spectrum.rms)
    assert [each.at for each in chart.guides] == pytest.approx(list(edges))
    bars = chart.marks[0]
    assert np.sum(np.array(bars.y) * np.diff(bars.x)) == pytest.approx(1, rel=1e-4)
    assert found.charts("fc.bias").missing["singular-values"] == "It is no matrix."


@pytest.mark.parametrize(
    ("shape", "gain"), [((64, 64), 1.0), ((300, 100), 2.0), ((3, 3, 16, 32), 1.0), ((1200, 150), 1.0)]
)
def test_orthogonal(shape: tuple[int, ...], gain: float) -> None:
    """All singular values of an orthogonal matrix are its gain, also of a large one, of which whole vectors count."""
    initializer = fanin.Orthogonal(gain=gain)
    recipe = fanin.Recipe([{"path": "*", "initializer": initializer}])
    found = fanin.audit({"fc.kernel": fanin.Orthogonal(gain=gain, seed=1)(shape)}, recipe, spectra=True)
    assert is_orthogonal(found["fc.kernel"].law)
    chart = found.charts("fc.kernel")["singular-values"]
    [dots], [guide] = chart.marks, chart.guides
    assert (guide.axis, guide.at) == ("y", pytest.approx(gain, rel=1e-5))
    np.testing.assert_allclose(dots.y, gain, rtol=1e-5)


def test_no_more_than_some() -> None:
    """Of many tensors that differ, so many have spectra, the findings first; the others say why they have none."""
    arrays = {f"m.{n}.kernel": fanin.HeNormal(seed=n)((16, 16 + n)) for n in range(MOST_TENSORS + 6)}
    arrays["m.3.kernel"][2] = 0
    found = fanin.audit(arrays, spectra=True)
    have = [each.name for each in found.tensors if isinstance(each.spectrum, Spectrum)]
    assert len(have) == MOST_TENSORS
    assert "m.3.kernel" in have
    others = {each.spectrum for each in found.tensors if each.name not in have}
    assert others == {"Singular values are computed of 64 tensors: findings, and one of each group of alike ones."}


def test_of_files(tmp_path: Path) -> None:
    """Tensors of a file have the spectra of the arrays."""
    arrays = {"fc.kernel": fanin.HeNormal(seed=1)((300, 700))}
    np.savez(tmp_path / "w.npz", **arrays)  # pyright: ignore[reportArgumentType]
    stored, live = fanin.audit(tmp_path / "w.npz", spectra=True), fanin.audit(arrays, spectra=True)
    spectra: Any = [each["fc.kernel"].spectrum for each in (stored, live)]
    assert spectra[0].values == spectra[1].values
