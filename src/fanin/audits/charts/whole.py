"""The chart of all tensors of an audit: their standard deviations, beside those that they should have."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from fanin.audits.audited import AuditedTensor
from fanin.audits.judging.fitting import allowed_ratios
from fanin.report.charts import Axis, Chart, Guide, Marks
from fanin.report.depth import dots, is_wide

_LEAST, _MOST = 1e-3, 1e3  # ratios; those beyond are drawn there
_STEPS = re.compile(r"(\d+)")


def spreads(tensors: Sequence[AuditedTensor], source: str) -> Chart | str:
    """The standard deviation of each tensor divided by the expected one, and the band that chance allows.

    If nothing says what is expected, the standard deviations themselves. Findings are emphasized.

    Args:
        tensors: the tensors, in order of depth.
        source: what says what is expected, in words.
    """
    known = [each for each in tensors if each.ratio is not None]
    if known:
        return _ratios(known, source)
    drawn = [each for each in tensors if each.statistics is not None and each.statistics.stddev > 0]
    return _spreads(drawn) if drawn else "Nothing says what spread its tensors should have, and all are constant."


def in_order(tensors: Sequence[AuditedTensor]) -> list[AuditedTensor]:
    """The tensors with those of repeated blocks in the order of their numbers: files list 10 before 2.

    >>> from fanin.audits.audited import AuditedTensor
    >>> from fanin.audits.verdicts import Verdict
    >>> made = [AuditedTensor(f"h.{n}.w", (), "", "", "", "", None, None, Verdict("unjudged", "")) for n in (1, 10, 2)]
    >>> [each.name for each in in_order(made)]
    ['h.1.w', 'h.2.w', 'h.10.w']
    """
    firsts: dict[str, int] = {}
    keys = {}
    for place, each in enumerate(tensors):
        parts = _STEPS.split(each.name)
        # What is before the first number keeps its place, since a model's parts are listed in order.
        keys[each.name] = firsts.setdefault(parts[0], place), tuple(int(part) for part in parts[1::2]), place
    return sorted(tensors, key=lambda each: keys[each.name])


def _ratios(tensors: Sequence[AuditedTensor], source: str) -> Chart:
    ratios = np.array([each.ratio for each in tensors], float)
    limits = np.array([_allowed(each) for each in tensors], float)
    emphasized = [place for place, each in enumerate(tensors) if each.verdict.problems]
    is_log = is_wide([*ratios.clip(_LEAST, _MOST).tolist(), 1.0])
    shown = ratios.clip(_LEAST, _MOST) if is_log else ratios
    off = int(np.count_nonzero((ratios < limits[:, 0]) | (ratios > limits[:, 1])))
    beyond = int(np.count_nonzero(shown != ratios))
    marks = (
        Marks.of("band", np.arange(len(tensors)), limits[:, 0], "what chance allows", color=-1, upper=limits[:, 1]),
        *dots(np.arange(len(tensors)), shown, "tensors", labels=_names(tensors), emphasized=emphasized),
    )
    return Chart(
        "std",
        f"Standard deviation ÷ expected, by {source}",
        f"{len(tensors) - off:,} of {len(tensors):,} standard deviations are what they should be, as far as chance "
        f"allows; {len(emphasized):,} tensors have findings."
        + (
            f" {beyond:,} beyond {_LEAST:g} and {_MOST:g} {'is' if beyond == 1 else 'are'} drawn there."
            if beyond
            else ""
        ),
        Axis("tensor, in order"),
        Axis("std ÷ expected", is_log),
        marks,
        (Guide("y", 1.0),),
    )


def _allowed(tensor: AuditedTensor) -> tuple[float, float]:
    """Between which ratios chance leaves a tensor's standard deviation."""
    if tensor.law is None or tensor.statistics is None:
        return 1.0, 1.0
    return allowed_ratios(tensor.law, tensor.statistics.size)


def _names(tensors: Sequence[AuditedTensor]) -> list[str]:
    return [each.name for each in tensors]


def _spreads(tensors: Sequence[AuditedTensor]) -> Chart:
    values = [each.statistics.stddev for each in tensors if each.statistics is not None]
    emphasized = [place for place, each in enumerate(tensors) if each.verdict.problems]
    return Chart(
        "std",
        "Standard deviation",
        f"The standard deviations of {len(tensors):,} tensors; nothing says what they should be. {len(emphasized):,} "
        "tensors have findings.",
        Axis("tensor, in order"),
        Axis("std", is_wide(values)),
        tuple(dots(np.arange(len(tensors)), values, "tensors", labels=_names(tensors), emphasized=emphasized)),
    )
