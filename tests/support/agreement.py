"""Whether what a framework draws for itself agrees with what a plan says of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

STANDARD_ERRORS = 4
LEAST = 1e-6  # the probability under which a Kolmogorov-Smirnov test rejects
ENOUGH = 100  # values, for a standard deviation or a Kolmogorov-Smirnov test


def check_plan(plan: Any, values: dict[str, np.ndarray], *, beyond: float = 0.0) -> None:
    """Every parameter has an entry without a problem, and its values agree with it.

    Args:
        plan: the plan.
        values: the values that the framework has drawn, by path.
        beyond: the share of a truncated normal's values that the framework lets lie beyond its bounds.
    """
    assert not plan.problems, plan.problems
    assert not plan.unmatched, [entry.path for entry in plan.unmatched]
    assert [entry.path for entry in plan.entries] == list(values)
    for entry in plan.entries:
        check_entry(entry, values[entry.path], beyond)


def check_entry(entry: Any, values: np.ndarray, beyond: float = 0.0) -> None:
    """Values agree with what an entry draws, and are the same where it does not draw."""
    ours = entry.make()
    assert (values.shape, values.dtype) == (ours.shape, ours.dtype), entry.path
    for distribution, mine, theirs in parts(entry, ours, values):
        if distribution.random:
            share = beyond if distribution.kind == "truncated_normal" else 0.0
            check_drawn(entry.path, distribution, mine.astype(np.float64), theirs.astype(np.float64), share)
        else:
            assert mine.tobytes() == theirs.tobytes(), (entry.path, mine.ravel()[:4], theirs.ravel()[:4])


def parts(entry: Any, *arrays: np.ndarray) -> Iterator[tuple[Any, ...]]:
    """The distribution of each placement, and its part of each array in Keras's order of axes."""
    for each in entry.placements:
        region = tuple(slice(start, stop) for start, stop in each.target)
        kernels = [array.transpose(entry.parameter.kernel_axes)[region] for array in arrays]
        yield each.weight.distribution, *(np.ascontiguousarray(kernel) for kernel in kernels)


def check_drawn(path: str, distribution: Any, ours: np.ndarray, theirs: np.ndarray, beyond: float = 0.0) -> None:
    """Bounds, mean, standard deviation and distribution function."""
    from scipy import stats

    (low, high), (mean, stddev, kurtosis), count = distribution.bounds, distribution.moments, theirs.size
    outside = (theirs < low - 1e-2 * stddev) | (theirs > high + 1e-2 * stddev)
    assert outside.sum() <= stats.poisson.ppf(1 - LEAST, beyond * count), (path, low, high, theirs[outside])
    if kurtosis is None:  # an orthogonal matrix, whose spread is not random
        check_matrix(path, ours, theirs)
        return
    assert abs(theirs.mean() - mean) <= STANDARD_ERRORS * stddev / math.sqrt(count), (path, mean, theirs.mean())
    if count >= ENOUGH:
        error = stddev * math.sqrt((kurtosis - 1) / 4 / count)
        assert abs(theirs.std() - stddev) <= STANDARD_ERRORS * error, (path, stddev, theirs.std())
        compared: Any = stats.ks_2samp(ours.ravel(), theirs.ravel())
        assert compared.pvalue > LEAST, path


def check_matrix(path: str, ours: np.ndarray, theirs: np.ndarray) -> None:
    """Both are the same multiple of an orthogonal matrix, with the last axis as columns."""
    for array in (ours, theirs):
        matrix = array.reshape(-1, array.shape[-1])
        gram = matrix @ matrix.T if len(matrix) < matrix.shape[1] else matrix.T @ matrix
        assert abs(gram - gram[0, 0] * np.eye(len(gram))).max() < 1e-4 * abs(gram[0, 0]), path
    assert abs(np.linalg.norm(ours) / np.linalg.norm(theirs) - 1) < 1e-4, path
