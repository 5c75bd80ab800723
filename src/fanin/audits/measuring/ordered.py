"""What is kept of a sample for charts: a few hundred of its numbers in order, and how many are at most each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fanin._core.types import Array

_KEPT = 513  # numbers
_ENDS = 16  # of them the smallest and the largest, one by one


@dataclass(frozen=True, eq=False)
class Ordered:
    """Numbers of a sample in ascending order.

    Attributes:
        values: different numbers, among them the smallest and the largest.
        less, upto: how many numbers of the sample are less than each, and at most that.
        distinct: how many different numbers the sample has.
    """

    values: Array
    less: Array
    upto: Array
    distinct: int

    @classmethod
    def of(cls, ordered: Array) -> Ordered:
        """What is kept of finite numbers in ascending order.

        >>> import numpy as np
        >>> kept = Ordered.of(np.array([0.0, 0.0, 1.0, 2.0]))
        >>> kept.values.tolist(), kept.upto.tolist(), kept.is_complete
        ([0.0, 1.0, 2.0], [2, 3, 4], True)
        """
        count = len(ordered)
        steps = np.flatnonzero(ordered[1:] != ordered[:-1])
        distinct = len(steps) + min(1, count)
        upto = np.append(steps, count - 1) + 1 if count else steps
        less = np.append(0, upto[:-1]) if count else steps
        if distinct > _KEPT:
            kept = _spread(less, distinct)
            less, upto = less[kept], upto[kept]
        return cls(ordered[less].astype(np.float64), less, upto, distinct)

    @property
    def count(self) -> int:
        """The number of numbers of the sample."""
        return int(self.upto[-1]) if len(self.upto) else 0

    @property
    def is_complete(self) -> bool:
        """Whether every number of the sample is known."""
        return len(self.values) == self.distinct

    def below(self, edges: Array) -> Array:
        """The share of the sample below each of these values; between known numbers, it grows evenly.

        >>> import numpy as np
        >>> Ordered.of(np.arange(4.0)).below(np.array([0.0, 1.5, 9.0])).tolist()
        [0.0, 0.5, 1.0]
        """
        just = np.nextafter(edges, -np.inf)
        if self.is_complete:
            upto = np.append(0, self.upto)[np.searchsorted(self.values, just, side="right")]
        else:
            # Slopes between subnormal numbers overflow, and so do distances of huge ones.
            exponent = -int(np.frexp(np.abs(self.values).max())[1])
            scaled = np.ldexp(just, exponent), np.ldexp(self.values, exponent)
            upto = np.interp(*scaled, self.upto, left=0)
        return upto / max(1, self.count)

    def quantile(self, share: float) -> float:
        """The number at or below which a share of the sample is."""
        place = int(np.searchsorted(self.upto, share * self.count))
        return float(self.values[min(place, len(self.values) - 1)])


def _spread(less: Array, distinct: int) -> Array:
    """The places of the values that are kept: those at even ranks, and more of them the farther out they are."""
    count = int(less[-1])
    tail = np.geomspace(_ENDS, count / 2, (_KEPT - 2 * _ENDS) // 4)
    ranks = np.concatenate((np.linspace(0, count, (_KEPT - 2 * _ENDS) // 2), tail, count - tail))
    ends = np.arange(_ENDS)
    return np.unique(np.concatenate((ends, np.searchsorted(less, ranks, side="right") - 1, distinct - 1 - ends)))
