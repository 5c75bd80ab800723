"""What an audit found of one tensor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fanin._core.types import Shape
from fanin.audits.judging.laws import Law
from fanin.audits.measuring.ordered import Ordered
from fanin.audits.spectra import Spectrum
from fanin.audits.statistics import Statistics
from fanin.audits.verdicts import Verdict
from fanin.report import plain


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
        law: the law of its elements, for charts: the expected one, or else the first that it is consistent with; None
            if none is known.
        ordered: numbers of its sample in order, for charts; None if it cannot be read.
        spectrum: the singular values of a block, or why there are none; None if they were not asked for.
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
    law: Law | None = field(default=None, compare=False, repr=False)
    ordered: Ordered | None = field(default=None, compare=False, repr=False)
    spectrum: Spectrum | str | None = field(default=None, compare=False, repr=False)

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
