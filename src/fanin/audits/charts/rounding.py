"""What storing a tensor in a narrower dtype does to its values."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import ml_dtypes
import numpy as np

from fanin._core import dtypes
from fanin._core.messages import plural
from fanin._core.types import Array, DType
from fanin.audits.charts.subjects import Subject
from fanin.report import number
from fanin.report.charts import Axis, Chart, Marks

DTYPES = ("float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")
_BINS = 20  # of equally many elements


@dataclass(frozen=True)
class Rounded:
    """What a dtype does to numbers.

    Attributes:
        dtype: the name of the dtype.
        errors: the relative error of each number that is not zero, in ascending order of their sizes; infinite for
            those that are too large.
        zeroed: the share of them that becomes zero.
        overflowed: the share of them that is too large.
        distinct: how many different numbers are left.
    """

    dtype: str
    errors: Array
    zeroed: float
    overflowed: float
    distinct: int

    @classmethod
    def of(cls, values: Array, dtype: str) -> Rounded:
        """What a dtype does to finite numbers.

        Args:
            values: the numbers, as float64.
            dtype: the name of a floating dtype.

        >>> import numpy as np
        >>> found = Rounded.of(np.array([1e-9, 1.0, 1.001, 1e6]), "float8_e4m3fn")
        >>> found.zeroed, found.overflowed, found.distinct
        (0.25, 0.25, 2)
        """
        sized = np.sort(np.abs(values[values != 0]))
        with np.errstate(all="ignore"):
            stored = dtypes.rounded_values(values, dtypes.resolve(dtype)).astype(np.float64)
            rounded = dtypes.rounded_values(sized, dtypes.resolve(dtype)).astype(np.float64)
            lost = ~np.isfinite(rounded)
            errors = np.where(lost, np.inf, np.abs(rounded - sized) / sized)
        count = max(1, len(sized))
        distinct = len(np.unique(stored[np.isfinite(stored)] + 0.0))
        return cls(dtype, errors, float((rounded == 0).sum() / count), float(lost.sum() / count), distinct)

    @property
    def error(self) -> float:
        """The root mean square of the relative errors of what is neither zero nor too large; 0 if there is none."""
        kept = self.errors[(self.errors < 1) & np.isfinite(self.errors)]
        return float(np.sqrt(np.mean(kept**2))) if len(kept) else 0.0

    @property
    def words(self) -> str:
        """The dtype and what it does, in a few words."""
        parts = [f"error {_percent(self.error)}"] if self.error or not self.zeroed + self.overflowed else []
        parts += [f"{_percent(self.zeroed)} become 0"] if self.zeroed else []
        parts += [f"{_percent(self.overflowed)} overflow"] if self.overflowed else []
        parts.append(f"{self.distinct:,} {plural(self.distinct, 'value')}")
        return f"{self.dtype}: {', '.join(parts)}"


def rounding(subject: Subject) -> Chart | str:
    """The relative error with which narrower dtypes store a tensor's values, by their size.

    Args:
        subject: the tensor.
    """
    narrower = [each for each in DTYPES if _is_narrower(each, subject.stored)]
    if not narrower:
        return f"Its values are those of {subject.stored.name}: no dtype here is narrower."
    values = np.asarray(subject.statistics.sample, np.float64)
    values = values[np.isfinite(values)]
    if not values.any():
        return "Every element of the sample is 0."
    found = [Rounded.of(values, each) for each in narrower]
    marks = [_line(each, color) for color, each in enumerate(found) if each.errors.any()]
    if not marks:
        return f"Every value of the sample is the same in {', '.join(narrower)}."
    return Chart(
        "rounding",
        "Rounding to narrower dtypes",
        f"Of {len(values):,} sampled values: {'; '.join(each.words for each in found)}.{subject.remark}",
        Axis("elements but zeros, from the smallest to the largest (%)", limits=(0, 100)),
        Axis("relative error (1: becomes 0)", is_log=True),
        tuple(marks),
    )


def _is_narrower(name: str, dtype: DType) -> bool:
    """Whether a dtype lacks some of the numbers of another one."""
    if dtypes.kind(dtype) != "float":
        return True
    other, own = ml_dtypes.finfo(dtypes.resolve(name)), ml_dtypes.finfo(dtype)
    return (
        other.nmant < own.nmant
        or (other.nmant == own.nmant and float(other.max) < float(own.max))
        or (float(other.smallest_subnormal) > float(own.smallest_subnormal))
    )


def _line(rounded: Rounded, color: int) -> Marks:
    """The errors of equally many elements each, as their root mean square."""
    edges = np.linspace(0, len(rounded.errors), min(_BINS, len(rounded.errors)) + 1).astype(np.int64)
    parts = (rounded.errors[start:stop] for start, stop in pairwise(edges))
    errors = [float(np.sqrt(np.mean(part**2))) for part in parts]
    x = 100 * (edges[1:] + edges[:-1]) / (2 * edges[-1])
    return Marks.of("line", x, errors, rounded.words, color=color)


def _percent(share: float) -> str:
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 10 else f"{number(percent, 2)} %"
