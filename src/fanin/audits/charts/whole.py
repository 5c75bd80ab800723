"""The chart of all tensors of an audit: their standard deviations, beside those that they should have."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from fanin._core.messages import plural
from fanin.audits.audited import AuditedTensor
from fanin.audits.judging.fitting import allowed_ratios
from fanin.report.charts import Axis, Chart, Guide, Marks
from fanin.report.depth import dots, is_wide

_LEAST, _MOST = 1e-3, 1e3  # ratios; those beyond are drawn there
_FEWEST_PLACES = 8  # of an axis of tensors: one that is shorter would have numbers between whole ones
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
        return _ratios(known, source, len(tensors) - len(known))
    drawn = [each for each in tensors if each.statistics is not None and each.statistics.stddev > 0]
    return (
        _spreads(drawn, len(tensors) - len(drawn))
        if drawn
        else "Nothing says what spread its tensors should have, and all are constant."
    )


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


def _ratios(tensors: Sequence[AuditedTensor], source: str, others: int) -> Chart:
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
        f"allows. {_found(len(emphasized), others)}"
        + (
            f" {beyond:,} beyond {_LEAST:g} and {_MOST:g} {'is' if beyond == 1 else 'are'} drawn there."
            if beyond
            else ""
        ),
        _places(len(tensors)),
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


def _found(count: int, others: int) -> str:
    """How many of the tensors that are drawn have findings, and how many are not drawn."""
    found = f"{count:,}" if count else "None"
    more = f" {others:,} {plural(others, 'tensor')} {'is' if others == 1 else 'are'} not drawn." if others else ""
    return f"{found} of the tensors drawn {'have' if count > 1 else 'has'} findings.{more}"


def _places(count: int) -> Axis:
    """The axis of tensors by their places, with whole numbers."""
    return Axis("tensor, in order", limits=(-0.5, _FEWEST_PLACES - 0.5) if count < _FEWEST_PLACES else None)


def _spreads(tensors: Sequence[AuditedTensor], others: int) -> Chart:
    values = [each.statistics.stddev for each in tensors if each.statistics is not None]
    emphasized = [place for place, each in enumerate(tensors) if each.verdict.problems]
    count, they = len(tensors), "it" if len(tensors) == 1 else "they"
    return Chart(
        "std",
        "Standard deviation",
        f"The standard {plural(count, 'deviation')} of {count:,} {plural(count, 'tensor')}; nothing says what {they} "
        f"should be. {_found(len(emphasized), others)}",
        _places(count),
        Axis("std", is_wide(values)),
        tuple(dots(np.arange(len(tensors)), values, "tensors", labels=_names(tensors), emphasized=emphasized)),
    )
