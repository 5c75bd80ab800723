"""Sparklines: how the values of a tensor are spread, beside how they should be, in a few characters each.

A sparkline has 24 bars, whose heights are digits of base 36. The bars stand around the mean that is expected, and
reach three standard deviations to each side, or 6, 12, … where the values are spread wider; so most tensors share the
few shapes that laws have.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from fanin._core.types import Array
from fanin.audits.audited import AuditedTensor
from fanin.audits.judging.laws import Law

BARS = 24
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_REACH = 3.0  # standard deviations to each side
_WIDEST = 6  # doublings of it
_ROOM = 1.2  # for spreads that are only a little larger than expected
_EDGES = np.linspace(-_REACH, _REACH, BARS + 1)  # in standard deviations


@dataclass
class Sparklines:
    """The sparklines of tensors, as plain data.

    Attributes:
        laws: the shapes of laws, each once.
        lines: for each tensor, the heights of its bars and the number of its law's shape, -1 for none; None for a
            tensor whose values are all equal, or not known.
    """

    laws: list[str] = field(default_factory=list)
    lines: list[tuple[str, int] | None] = field(default_factory=list)

    @classmethod
    def of(cls, tensors: Iterable[AuditedTensor]) -> Sparklines:
        """The sparklines of these tensors, in their order."""
        made = cls()
        numbers: dict[str, int] = {}
        for each in tensors:
            found = sparkline(each)
            if found is None:
                made.lines.append(None)
                continue
            values, law = found
            made.lines.append((values, numbers.setdefault(law, len(numbers)) if law else -1))
        made.laws = list(numbers)
        return made


def sparkline(tensor: AuditedTensor) -> tuple[str, str] | None:
    """The bars of a tensor and those of its law, "" if it has none; None if there is no spread to show.

    >>> import fanin
    >>> audit = fanin.audit({"w": fanin.RandomUniform(-1, 1, seed=1)((100, 100))})
    >>> values, law = sparkline(audit["w"])
    >>> len(values), values[:6]
    (24, '00000v')
    """
    found, ordered, law = tensor.statistics, tensor.ordered, tensor.law
    if found is None or ordered is None or not (math.isfinite(found.stddev) and found.stddev > 0):
        return None
    mean, stddev, doublings, shape = found.mean, found.stddev, 0, ""
    if law is not None and law.curve is not None and 0 < law.stddev < math.inf:
        mean, stddev = law.mean, law.stddev
        doublings = min(_WIDEST, max(0, math.ceil(math.log2(found.stddev / stddev / _ROOM))))
        shape = _law_bars(law, doublings)
    below = ordered.below(mean + _EDGES[1:-1] * stddev * 2.0**doublings)
    return _heights(np.diff(below, prepend=0.0, append=1.0)), shape


@lru_cache(maxsize=4096)  # most tensors share the laws of a few
def _law_bars(law: Law, doublings: int) -> str:
    """The bars of a law."""
    assert law.curve is not None
    return _heights(np.diff(law.curve.at(law.mean + _EDGES * law.stddev * 2.0**doublings)))


def _heights(bars: Array) -> str:
    """Heights as digits, of which the largest is the last one."""
    most = float(bars.max(initial=0.0))
    if most <= 0:
        return _DIGITS[0] * BARS
    return "".join(_DIGITS[round(35 * max(0.0, float(each)) / most)] for each in bars)
