"""The first numbers of tensors: those of one seed begin alike, whatever their shapes and spreads."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from fanin._core import dtypes
from fanin._core.messages import shown
from fanin._core.types import Array, Shape
from fanin.audits.verdicts import Problem
from fanin.checkpoints.stored import Slices, Stored
from fanin.report import number

_LENGTH = 64  # numbers of a beginning
_DISTINCT = 48  # of them that must differ: others are computed, or come from few values
_ALIKE = 1 - 1e-4  # the cosine of two beginnings, between which rounding to 16 bits may lie
_AT_ONCE = 2**10  # tensors that are compared with all others at once
_ADVICE = "Give each a seed of its own, or draw them one after another from one generator."


@dataclass(frozen=True)
class Beginning:
    """How a tensor begins, in C order.

    Attributes:
        name: the tensor's name.
        direction: its first numbers, as a vector of length 1.
        size: the length of that vector before.
    """

    name: str
    direction: Array
    size: float

    @classmethod
    def of(cls, stored: Stored) -> Beginning | None:
        """The beginning of a tensor of random numbers; None if it says nothing, or lies scattered in its files.

        Raises:
            CheckpointError: the file is damaged.
            OSError: it cannot be read.
        """
        kind = "" if stored.dtype is None else dtypes.kind(stored.dtype)
        if kind != "float" or not stored.in_c_order or stored.size < _LENGTH:
            return None
        parts = [part for _, part in stored.parts([_first(stored.shape)])]
        numbers = np.concatenate([part.reshape(-1) for part in parts])[:_LENGTH].astype(np.float64)
        with np.errstate(over="ignore"):
            size = float(np.linalg.norm(numbers))
        if len(np.unique(numbers)) < _DISTINCT or not 0 < size < math.inf:
            return None
        return cls(stored.name, (numbers / size).astype(np.float32), size)


def _first(shape: Shape) -> Slices:
    """The smallest region from the first element on that has enough of them, and is whole along later axes."""
    wanted, lengths = _LENGTH, []
    for length in reversed(shape):
        lengths.append(min(length, max(1, wanted)))
        wanted = math.ceil(wanted / length)
    return tuple(slice(0, length) for length in reversed(lengths))


def of_one_seed(beginnings: Iterable[Beginning], known: Collection[str] = ()) -> Iterator[tuple[str, Problem]]:
    """The problems of tensors that begin alike: they were drawn with one seed, each with its own spread.

    Args:
        beginnings: the beginnings of the tensors.
        known: the names of those of which more is known already, such as copies: others may begin like them.

    >>> import fanin
    >>> from fanin.audits.arrays import InMemory
    >>> from fanin.audits.beginnings import Beginning, of_one_seed
    >>> draw = fanin.RandomNormal(stddev=1.0, seed=1)
    >>> arrays = {"a": draw((64, 32), region=...), "b": 0.5 * draw((48, 64), region=...)}
    >>> begun = [Beginning.of(InMemory(name, each)) for name, each in arrays.items()]
    >>> [(name, problem.other) for name, problem in of_one_seed(begun)]
    [('a', 'b'), ('b', 'a')]
    """
    every = list(beginnings)
    if len(every) < 2:
        return
    directions = np.stack([each.direction for each in every])
    for start in range(0, len(every), _AT_ONCE):
        cosines = np.abs(directions[start : start + _AT_ONCE] @ directions.T)
        rows = np.arange(len(cosines))
        cosines[rows, start + rows] = 0.0
        partners = cosines.argmax(1)
        for row in np.flatnonzero(cosines[rows, partners] > _ALIKE).tolist():
            if every[start + row].name not in known:
                yield _problem(every[start + row], every[int(partners[row])])


def _problem(each: Beginning, other: Beginning) -> tuple[str, Problem]:
    ratio = each.size / other.size
    times = "" if abs(ratio - 1) < 1e-3 else f"{number(ratio, 3)} times "
    message = f"Its first {_LENGTH} numbers are {times}those of {shown(other.name)}: both were drawn with one seed."
    return each.name, Problem("correlated", "broken", message, _ADVICE, other.name)
