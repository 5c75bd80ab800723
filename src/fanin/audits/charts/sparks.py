"""The values of a tensor as a sparkline, beside its law."""

from __future__ import annotations

import numpy as np

from fanin.audits.audited import AuditedTensor
from fanin.report import inline, number

_BINS = 24
_OUTER = 0.002  # the share of values beyond either end


def spark(tensor: AuditedTensor) -> str:
    """The histogram of a tensor's values as a sparkline in HTML, with the outline of its law; "" if they are equal.

    Args:
        tensor: the tensor.

    >>> import fanin
    >>> found = fanin.audit({"kernel": fanin.HeNormal(seed=1)((64, 64)), "bias": fanin.Zeros()((64,))})
    >>> spark(found["kernel"])[:31], spark(found["bias"])
    ('<svg class="spark" width="72" h', '')
    """
    ordered, law = tensor.ordered, tensor.law
    if ordered is None or ordered.distinct < 2:
        return ""
    low, high = ordered.quantile(_OUTER), ordered.quantile(1 - _OUTER)
    if not low < high or not np.isfinite(high - low):
        return ""
    edges = np.linspace(low, high, _BINS + 1)
    edges[-1] = np.nextafter(high, np.inf)  # of a few values, the largest counts, too
    curve = None if law is None else law.curve
    expected = None if curve is None else np.diff(curve.at(edges))
    label = f"values from {number(low, 3)} to {number(high, 3)}"
    return inline.bars(np.diff(ordered.below(edges)), expected, label)
