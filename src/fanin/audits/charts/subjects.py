"""What the charts of a tensor are drawn from: its sample in order, its law, and the dtype that holds its elements."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fanin._core import dtypes
from fanin._core.types import DType
from fanin.audits.audited import AuditedTensor
from fanin.audits.judging.curves import StepCurve
from fanin.audits.judging.fitting import narrowest
from fanin.audits.judging.laws import Law, normal, part_of
from fanin.audits.measuring.ordered import Ordered
from fanin.audits.statistics import Statistics
from fanin.report import number

_FEW_VALUES = 48  # different values, at most
_REPEATED = 4  # elements of each of them, on average
_LEAST, _MOST = 1e-100, 1e100  # standard deviations, of which squares and densities are numbers, too


@dataclass(frozen=True)
class Subject:
    """A tensor of which there can be charts.

    Attributes:
        name: its name.
        statistics: what was measured.
        ordered: its sample in order.
        stored: its dtype; of a complex one, that of its parts.
        dtype: the narrowest dtype that holds its elements.
        law: the law that they are compared with.
        words: that law in words, with what it has to do with the tensor.
        is_expected: whether it is what the tensor should have.
        is_computed: whether the tensor should have values that no chance has a part in, as tables of positions.
    """

    name: str
    statistics: Statistics
    ordered: Ordered
    stored: DType
    dtype: DType
    law: Law
    words: str
    is_expected: bool
    is_computed: bool

    @classmethod
    def of(cls, tensor: AuditedTensor) -> Subject | str:
        """What the charts of a tensor are drawn from, or why there are none."""
        found, ordered = tensor.statistics, tensor.ordered
        if found is None or ordered is None:
            return "It cannot be read."
        reason = _without_charts(found, ordered)
        if reason:
            return reason
        stored = part_of(dtypes.resolve(tensor.dtype))
        dtype = narrowest(found, stored)
        law, is_expected = tensor.law, tensor.expected_stddev is not None
        is_computed = is_expected and law is not None and not law.is_random
        if law is None or law.curve is None or not 0 < law.stddev < math.inf:
            law, words, is_expected = normal(found.stddev, dtype, mean=found.mean), "a normal of this spread", False
        else:
            words = f"expected: {law.words}" if is_expected else law.words
        return cls(tensor.name, found, ordered, stored, dtype, law, words, is_expected, is_computed)

    @property
    def is_of_few_values(self) -> bool:
        """Whether a few values come again and again, so that each has a share, and no density."""
        ordered = self.ordered
        is_few = ordered.is_complete and ordered.distinct <= _FEW_VALUES
        return is_few and (isinstance(self.law.curve, StepCurve) or ordered.count >= _REPEATED * ordered.distinct)

    @property
    def sampled(self) -> str:
        """How many numbers were looked at, in words."""
        total = self.statistics.size
        numbers = "numbers" if self.ordered.count > total else "elements"
        if self.ordered.count >= total - self.statistics.nans - self.statistics.infinities:
            return f"{self.ordered.count:,} {numbers}"
        return f"a sample of {self.ordered.count:,} of {total:,} elements"

    @property
    def remark(self) -> str:
        """What no chart shows, as a sentence that follows others; "" if it shows all."""
        left = self.statistics.nans + self.statistics.infinities
        return f" {left:,} elements are NaN or infinite, and not shown." if left else ""


def _without_charts(found: Statistics, ordered: Ordered) -> str:
    """Why there are no charts of what was measured; "" if there are."""
    if not found.size:
        return "It has no elements."
    if not ordered.count:
        return "It has no finite elements."
    if found.size == 1:
        return f"It has one element, {number(found.low)}."
    if found.low == found.high:
        return f"Every element is {number(found.low)}."
    if ordered.distinct < 2:
        return f"Every element of the sample is {number(float(ordered.values[0]))}."
    if not _LEAST < found.stddev < _MOST:
        return f"Its standard deviation is {number(found.stddev, 3)}: no axis shows such numbers well."
    return ""
