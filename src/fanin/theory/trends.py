"""How numbers change by depth: their trend, which odd layers do not move, and the layers in which they jump."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fanin._core.types import Array

_FEWEST = 5  # numbers that a trend is seen in
_STEP = 1e3  # a factor that numbers change by and stay: a trend says nothing of it


@dataclass(frozen=True)
class Jump:
    """A step between two numbers that neither the trend nor chance explains.

    Attributes:
        before, at: the places of both numbers.
        factor: the second number divided by the first.
    """

    before: int
    at: int
    factor: float


def trend(values: Sequence[float]) -> float | None:
    """The factor a place of numbers by depth: the median of the slopes of pairs of their logarithms.

    Single numbers that are odd do not move it. Nor do lasting jumps by a factor of a thousand: pairs are of numbers
    between two of them.

    Args:
        values: the numbers; those that are not positive and finite do not count.

    Returns:
        The factor; None if fewer than five numbers in a row count.

    References:
        P. K. Sen, "Estimates of the regression coefficient based on Kendall's tau", Journal of the American Statistical
        Association 63, 1968.

    >>> from fanin.theory.trends import trend
    >>> trend([1.0, 2.0, 4.0, 1e-40, 16.0, 32.0, 64.0])
    2.0
    """
    places, logs = _known(values)
    borders = [each.at for each in jumps(values, _STEP, lasting=True)]
    parts = np.searchsorted(borders, places, "right")
    if np.bincount(parts, minlength=1).max() < _FEWEST:
        return None
    return float(np.exp2(_slope(places, logs, parts)))


def jumps(values: Sequence[float], least: float, *, lasting: bool = False) -> Iterator[Jump]:
    """The steps between consecutive numbers that change them by a factor beyond what the trend explains.

    A number also must be that far from the median of those before it: where numbers return to what they were, the step
    back is no jump.

    Args:
        values: the numbers by depth; those that are not positive and finite do not count.
        least: the factor, or its inverse, from which a step is a jump.
        lasting: whether the numbers that follow must stay as far away, by their median.

    >>> from fanin.theory.trends import jumps
    >>> list(jumps([1.0, 2.0, 1.0, 5e-11], least=1e3))
    [Jump(before=2, at=3, factor=5e-11)]
    """
    places, logs = _known(values)
    limit = np.log2(least)
    for number in np.flatnonzero(np.abs(np.diff(logs)) >= limit) + 1:
        rest = logs
        if len(logs) >= _FEWEST:  # what the trend on both sides explains does not count
            rest = logs - _slope(places, logs, np.arange(len(logs)) >= number) * places
        level = np.median(rest[:number])
        far = [rest[number] - rest[number - 1], rest[number] - level]
        if lasting:
            far.append(np.median(rest[number:]) - level)
        if min(far) >= limit or max(far) <= -limit:
            before, at = int(places[number - 1]), int(places[number])
            yield Jump(before, at, values[at] / values[before])


def _known(values: Sequence[float]) -> tuple[Array, Array]:
    """The places of the numbers that count, and their logarithms."""
    numbers = np.asarray(values, np.float64)
    places = np.flatnonzero(np.isfinite(numbers) & (numbers > 0))
    return places, np.log2(numbers[places])


def _slope(places: Array, logs: Array, parts: Array) -> float:
    """The median slope of all pairs within the same part."""
    first, second = np.triu_indices(len(places), 1)
    within = parts[first] == parts[second]
    slopes = (logs[second] - logs[first]) / (places[second] - places[first])
    return float(np.median(slopes[within]))
