"""Orthogonal and Identity: orthonormal to rounding, rounded once, and the same without SciPy; wide rows of Sparse."""

import sys
import tracemalloc

import numpy as np
import pytest

import fanin
from fanin.distributions import matrices


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


@pytest.mark.parametrize("sparsity", [0.0, 1e-4, 0.5, 0.9, 1.0])
def test_wide_rows_of_sparse(sparsity: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are zeroed a part at a time have the values of those that are sorted whole, in any region."""
    initializer, shape = fanin.Sparse(sparsity, seed=1), (3, 1000)
    whole = initializer(shape)
    monkeypatch.setattr(matrices, "_CHUNK", 64)
    for region in (np.s_[:], np.s_[1], np.s_[:, 63:129], np.s_[2, 500], np.s_[1:, 64:128], np.s_[0, 7:7]):
        assert initializer(shape, region=region).tobytes() == whole[region].tobytes()


def test_equal_words_of_a_wide_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of equal words the first ones count, also where they lie in several parts and before the region."""
    words = np.array([[5, 7, 2, 7, 1 << 31, 7, 7, 0]], np.uint32)
    monkeypatch.setattr(matrices.Sparse, "_words", lambda _, stream, rows, columns: words[rows, columns])
    monkeypatch.setattr(matrices, "_CHUNK", 3)
    values = fanin.Sparse(0.625, seed=1)((1, 8))
    assert (values == 0).tolist() == [[True, True, True, True, False, False, False, True]]
    part = fanin.Sparse(0.625, seed=1)((1, 8), region=np.s_[0, 3:7])
    assert part.tobytes() == values[0, 3:7].tobytes()


def test_the_memory_of_a_wide_row() -> None:
    """It does not grow with the row."""
    tracemalloc.start()
    fanin.Sparse(0.5, seed=1)((4, 2**23), region=np.s_[1, :4])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**23
