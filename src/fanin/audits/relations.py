"""Relations between the tensors of one checkpoint that no chance makes: equal ones, and correlated ones."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Literal, TypeAlias

import numpy as np

from fanin._core import dtypes
from fanin._core.types import Array, Shape
from fanin.audits.measuring.hashes import hash_of
from fanin.audits.measuring.sampling import coincidence
from fanin.audits.measuring.subjects import Subject
from fanin.audits.statistics import Statistics
from fanin.audits.verdicts import SIGNIFICANCE
from fanin.checkpoints.stored import Stored

Ties: TypeAlias = Collection[Collection[str]]

_MOST = 2**11  # numbers of a tensor that are compared with those of others
_FEWEST = 32  # below which no correlation is sure
_COMMON = 0.75  # the share of equal numbers above which ranks have no normal distribution
_AT_ONCE = 2**9  # tensors whose correlations with all others are computed at once


@dataclass(frozen=True)
class Sketch:
    """What is kept of a tensor, to compare it with others: a few KiB.

    Attributes:
        stored: the tensor.
        ranks: the ranks of a few thousand of its numbers, at places that depend on its size alone, as float32 of mean 0
            and length 1; empty if its correlations say nothing.
        coincidence: an upper bound for the chance that two of its numbers are equal.
        extremes: what tensors of equal values have in common: the number of elements, of zeros and of extremes, and
            the extremes.
        fingerprint: equal for equal bytes.
    """

    stored: Stored
    ranks: Array
    coincidence: float
    extremes: tuple[float, ...]
    fingerprint: bytes

    @staticmethod
    def of(stored: Stored, found: Statistics) -> Sketch | None:
        """What is kept of a tensor; None if it says nothing: integers, equal elements, NaN and no elements."""
        kind = "other" if stored.dtype is None else dtypes.kind(stored.dtype)
        if kind not in ("float", "complex") or not found.low < found.high or found.nans or found.infinities:
            return None
        extremes = (found.size, found.zeros, found.low, found.high, found.at_low, found.at_high)
        chosen = found.sample[:: max(1, len(found.sample) // _MOST)][:_MOST]
        return Sketch(stored, _ranks(chosen), coincidence(chosen), extremes, found.fingerprint)


@dataclass(frozen=True)
class Duplicates:
    """Tensors of equal values.

    Attributes:
        names: their names, in the order in which they were given.
        how: "bytes" if every bit is the same; "values" if the numbers are, in other dtypes; "transposed" if those of
            one are the transpose of the others'.
    """

    names: tuple[str, ...]
    how: Literal["bytes", "values", "transposed"]


@dataclass(frozen=True)
class Correlated:
    """Two tensors that are too similar for chance.

    Attributes:
        names: their names.
        correlation: Spearman's correlation of their numbers at equal places.
        standard_errors: how many standard errors that is from 0.
    """

    names: tuple[str, str]
    correlation: float
    standard_errors: float


def duplicates(sketches: Iterable[Sketch], ties: Ties = ()) -> tuple[Duplicates, ...]:
    """Tensors that have the values of others, found by their fingerprints, and confirmed by all of their bits.

    Equal tensors that so few different numbers make that chance explains them do not count.

    Args:
        sketches: the tensors.
        ties: sets of names that may be equal, such as an embedding and the head that is tied to it.

    Raises:
        CheckpointError: a file is damaged.
        OSError: a file cannot be read.

    >>> import numpy as np
    >>> from fanin.audits.arrays import InMemory
    >>> from fanin.audits.relations import Sketch, duplicates
    >>> from fanin.audits.statistics import measure
    >>> values = np.random.default_rng(1).normal(size=(8, 8))
    >>> tensors = [InMemory(name, values) for name in "ab"]
    >>> duplicates([Sketch.of(each, measure(each)) for each in tensors])
    (Duplicates(names=('a', 'b'), how='bytes'),)
    """
    every = list(sketches)
    tied = _Tied(ties)
    found = []
    for group in _groups(every, lambda each: (each.stored.dtype, each.stored.shape, each.fingerprint)):
        for equal in _groups(group, lambda each: hash_of(Subject.of(each.stored))):
            found.append(Duplicates(_names(equal), "bytes"))
    first = {name: each.names[0] for each in found for name in each.names}
    rest = [each for each in every if first.get(each.stored.name, each.stored.name) == each.stored.name]
    for group in _groups(rest, lambda each: (*each.extremes, tuple(sorted(each.stored.shape)))):
        found += [Duplicates(_names(equal), "values") for equal in _groups(group, _hash_of_values)]
        matrices = [each for each in group if len(each.stored.shape) == 2]
        for one, other in combinations(matrices, 2):
            if _hash_of_values(one, transposed=True) == _hash_of_values(other):
                found.append(Duplicates(_names((one, other)), "transposed"))
    chances = {each.stored.name: each.coincidence for each in every}
    pairs = max(1, math.comb(len(every), 2))
    return tuple(
        each
        for each in found
        if not tied.are_one(each.names)
        and pairs * chances[each.names[0]] ** _size_of(every, each.names[0]) <= SIGNIFICANCE
    )


def correlated(sketches: Iterable[Sketch], ties: Ties = ()) -> tuple[Correlated, ...]:
    """Pairs of tensors of one shape whose numbers at equal places are correlated far beyond chance.

    Spearman's correlation is that of the ranks, so that it does not matter how the numbers are distributed, or whether
    a copy was scaled. Of each tensor, the strongest one is returned. Chance finds one in ten million checkpoints. In
    trained models, correlations are common.

    Args:
        sketches: the tensors.
        ties: sets of names that may be equal.

    References:
        R. A. Fisher, "On the probable error of a coefficient of correlation deduced from a small sample", Metron 1,
        1921: the inverse hyperbolic tangent of a correlation is nearly normal. E. C. Fieller, H. O. Hartley and E. S.
        Pearson, "Tests for rank correlation coefficients", Biometrika 44, 1957: its variance for ranks.
    """
    tied = _Tied(ties)
    groups = [
        group
        for group in _groups([each for each in sketches if len(each.ranks)], lambda each: each.stored.shape)
        if len(group) > 1
    ]
    tests = sum(math.comb(len(group), 2) for group in groups)
    found: dict[tuple[str, str], Correlated] = {}
    for group in groups:
        limit = -NormalDist().inv_cdf(SIGNIFICANCE / 2 / tests)
        for each in _strongest(group, tied, limit):
            found.setdefault(each.names, each)
    return tuple(found.values())


def _ranks(numbers: Array) -> Array:
    """The ranks of numbers, with equal ones for equal numbers, as a vector of mean 0 and length 1."""
    if len(numbers) < _FEWEST:
        return np.empty(0, np.float32)
    _, inverse, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    if counts.max() > _COMMON * len(numbers):
        return np.empty(0, np.float32)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    ranks -= ranks.mean()
    return (ranks / np.linalg.norm(ranks)).astype(np.float32)


def _strongest(group: Sequence[Sketch], tied: _Tied, limit: float) -> Iterator[Correlated]:
    """The strongest correlation of each tensor with another one of its shape, if it is beyond a limit."""
    ranks = np.stack([each.ranks for each in group])
    roots = np.array([tied.number(each.stored.name) for each in group])
    # Fisher's transform, and the variance of ranks.
    deviation = math.sqrt(1.06 / (ranks.shape[1] - 3))
    for start in range(0, len(group), _AT_ONCE):
        block = ranks[start : start + _AT_ONCE]
        correlations = block @ ranks.T
        correlations[roots[start : start + len(block), None] == roots] = 0
        partners = np.abs(correlations).argmax(1)
        for row, partner in enumerate(partners.tolist()):
            correlation = min(1.0, max(-1.0, float(correlations[row, partner])))
            errors = math.atanh(math.copysign(min(abs(correlation), 1 - 1e-9), correlation)) / deviation
            if abs(errors) > limit:
                first, second = sorted((start + row, partner))
                yield Correlated((group[first].stored.name, group[second].stored.name), correlation, errors)


class _Tied:
    """Sets of names that stand for one tensor."""

    def __init__(self, ties: Ties) -> None:
        self._roots: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        for names in ties:
            first, *others = [self._root(name) for name in names] or [""]
            self._roots.update(dict.fromkeys(others, first))

    def _root(self, name: str) -> str:
        """The name that stands for all that are tied to one."""
        while self._roots.get(name, name) != name:
            name = self._roots[name]
        return name

    def number(self, name: str) -> int:
        """A number that is the same for all names that stand for one tensor."""
        return self._numbers.setdefault(self._root(name), len(self._numbers))

    def are_one(self, names: Iterable[str]) -> bool:
        """Whether all of these names stand for one tensor."""
        return len({self._root(name) for name in names}) == 1


def _groups(sketches: Iterable[Sketch], key: Callable[[Sketch], Hashable]) -> list[list[Sketch]]:
    """Those that have something in common with others."""
    groups: dict[Hashable, list[Sketch]] = defaultdict(list)
    for each in sketches:
        groups[key(each)].append(each)
    return [group for group in groups.values() if len(group) > 1]


def _names(group: Iterable[Sketch]) -> tuple[str, ...]:
    return tuple(each.stored.name for each in group)


def _size_of(sketches: Iterable[Sketch], name: str) -> int:
    return next(each.stored.size for each in sketches if each.stored.name == name)


def _hash_of_values(sketch: Sketch, transposed: bool = False) -> tuple[Shape, int]:
    """The shape and the hash of the numbers of a tensor, or of its transpose."""
    shape = sketch.stored.shape
    number = hash_of(Subject.of(sketch.stored), by_value=True, transposed=transposed)
    return shape[::-1] if transposed else shape, number
