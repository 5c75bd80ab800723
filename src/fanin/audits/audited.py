"""What an audit says of one tensor, and how tensors are shown that are alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fanin._core.types import Shape
from fanin.audits.statistics import Statistics
from fanin.audits.verdicts import Kind, Verdict
from fanin.report import number, plain
from fanin.report.markup import Tone
from fanin.report.tables import Cell, Toned

HEADS = ("tensor", "shape", "dtype", "role", "std", "verdict", "what it is")  # of a table of tensors
TONES: dict[Kind, Tone] = {
    "exact": "good",
    "consistent": "good",
    "unjudged": "dim",
    "trained": "dim",
    "suspicious": "warn",
    "broken": "bad",
}
_LONGEST = 100  # characters of a row's names


@dataclass(frozen=True)
class AuditedTensor:
    """What one tensor is.

    Attributes:
        name: its name.
        shape: its shape.
        dtype: the name of its dtype.
        role: what it is in its layer, such as "kernel"; "" if that is not known.
        layer: the type of its layer; "" if that is not known.
        expected: what it should be, in words; "" if nothing says so.
        expected_stddev: the standard deviation that it should have; None if nothing says so.
        statistics: what it has; the sample is cut to a thousand elements. None if it cannot be read.
        verdict: what it is.
        tied: further names of the same tensor, which share its memory.
    """

    name: str
    shape: Shape
    dtype: str
    role: str
    layer: str
    expected: str
    expected_stddev: float | None
    statistics: Statistics | None
    verdict: Verdict
    tied: tuple[str, ...] = ()

    @property
    def ratio(self) -> float | None:
        """The standard deviation that it has, divided by the one that it should have; None if either is unknown."""
        if self.statistics is None or not self.expected_stddev:
            return None
        return self.statistics.stddev / self.expected_stddev

    def as_dict(self) -> dict[str, Any]:
        """The tensor as plain data, for JSON."""
        found = self.statistics
        return plain(
            {
                "name": self.name,
                "shape": list(self.shape),
                "dtype": self.dtype,
                "role": self.role,
                "layer": self.layer,
                "expected": self.expected,
                "expected_stddev": self.expected_stddev,
                "tied": list(self.tied),
                **self.verdict.as_dict(),
                "statistics": None
                if found is None
                else {
                    "size": found.size,
                    "mean": found.mean,
                    "stddev": found.stddev,
                    "kurtosis": found.kurtosis,
                    "min": found.low,
                    "max": found.high,
                    "zeros": found.zeros,
                    "nans": found.nans,
                    "infinities": found.infinities,
                },
            }
        )


def alike(each: AuditedTensor) -> tuple[Any, ...]:
    """What tensors have in common that share a row."""
    codes = tuple(problem.code for problem in each.verdict.problems)
    return each.shape, each.dtype, each.role, each.verdict.kind, codes or each.verdict.fits[:1] or each.verdict.reason


def row_of(path: str, tensors: Sequence[AuditedTensor]) -> list[Cell]:
    """The row of tensors that are alike."""
    first = tensors[0]
    verdict = first.verdict
    shape = "×".join(map(str, first.shape)) or "()"
    if verdict.problems:
        text = ", ".join(dict.fromkeys(each.code for each in verdict.problems))
    else:
        common = [fit for fit in verdict.fits if all(fit in each.verdict.fits for each in tensors)]
        text = " or ".join(common) or verdict.reason
    if len(path) > _LONGEST:
        path = f"{path[: _LONGEST // 2]}…{path[-_LONGEST // 2 + 1 :]}"
    return [path, shape, first.dtype, first.role, _spread(tensors), Toned(verdict.kind, TONES[verdict.kind]), text]


def _spread(tensors: Sequence[AuditedTensor]) -> str:
    """The standard deviations of tensors, from the smallest to the largest."""
    found = sorted({each.statistics.stddev for each in tensors if each.statistics is not None and each.statistics.size})
    ends = [number(each, 3) for each in (*found[:1], *found[-1:])]
    return "–".join(dict.fromkeys(ends))
