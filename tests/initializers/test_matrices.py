"""Orthogonal and Identity: orthonormal to rounding, rounded once, and the same without SciPy."""

import sys

import numpy as np
import pytest

import fanin


def test_orthogonality() -> None:
    """Rows or columns, whichever are fewer, are orthonormal to a few ulps, in every dtype."""
    for shape in ((64, 64), (300, 40), (40, 300), (3, 3, 8, 100), (1, 7), (7, 1)):
        for dtype, few in (("float64", 1e-14), ("float32", 1e-5), ("float16", 4e-3), ("bfloat16", 3e-2)):
            matrix = fanin.Orthogonal(seed=1)(shape, dtype).astype("float64").reshape(-1, shape[-1])
            gram = matrix.T @ matrix if len(matrix) >= shape[-1] else matrix @ matrix.T
            assert np.abs(gram - np.eye(len(gram))).max() < few, (shape, dtype)


def test_orthogonal_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy's decomposition gives the same matrix to rounding, in the dtype asked for."""
    pytest.importorskip("scipy")
    with_scipy = fanin.Orthogonal(0.7, seed=1)((90, 60))
    monkeypatch.setitem(sys.modules, "scipy.linalg", None)
    without = fanin.Orthogonal(0.7, seed=1)((90, 60))
    assert without.dtype == np.float32
    assert np.abs(with_scipy - without).max() < 2e-6
    assert with_scipy.tobytes() != without.tobytes()  # it is another routine


def test_narrow_orthogonal_matrices_are_rounded_once() -> None:
    """16-bit matrices are the float32 one, rounded."""
    single = fanin.Orthogonal(0.3, seed=1)((50, 20))
    for dtype in ("float16", "bfloat16"):
        narrow = fanin.Orthogonal(0.3, seed=1)((50, 20), dtype)
        assert narrow.tobytes() == single.astype(narrow.dtype).tobytes()


def test_a_failing_call_of_orthogonal_draws_no_seed() -> None:
    """The whole matrix of a region is thought of before the seed is."""
    initializer = fanin.Orthogonal()
    with pytest.raises(MemoryError, match="Unable to allocate"):
        initializer((2**22, 2**22), region=(0, 0))
    assert not initializer.has_seed


def test_identity() -> None:
    """The gain on the diagonal, and zeros with the sign that the product has."""
    assert fanin.Identity(2)((2, 3)).tolist() == [[2, 0, 0], [0, 2, 0]]
    assert fanin.Identity()((3, 2), "float64").tolist() == [[1, 0], [0, 1], [0, 0]]
    assert np.signbit(fanin.Identity(-1.0)((2, 2))).all()
    assert fanin.Identity()((0, 5)).shape == (0, 5)
