"""The charts of an audited tensor, and the tensors of an audit that are worth a look."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from fanin.audits.audited import AuditedTensor
from fanin.audits.charts.density import density
from fanin.audits.charts.quantiles import quantiles
from fanin.audits.charts.rounding import rounding
from fanin.audits.charts.singular import singular_values
from fanin.audits.charts.subjects import Subject
from fanin.audits.charts.whole import in_order, spreads
from fanin.audits.verdicts import KINDS
from fanin.report.charts import Chart, Charts

_MOST_FEATURED = 24
_LONGEST_NAME = 50  # characters in a title


def charts_of(tensor: AuditedTensor) -> Charts:
    """The charts of a tensor: "density", "quantiles", "rounding" and "singular-values".

    Args:
        tensor: the tensor.

    Returns:
        The charts, with the reason for each that there is not.

    >>> import fanin
    >>> found = fanin.audit({"dense.kernel": fanin.HeNormal(seed=1)((256, 128))})
    >>> [each.name for each in charts_of(found["dense.kernel"])]
    ['density', 'quantiles', 'rounding']
    """
    subject = Subject.of(tensor)
    named: dict[str, Chart | str] = dict.fromkeys(("density", "quantiles", "rounding"), "")
    if isinstance(subject, Subject):
        named |= {"density": density(subject), "quantiles": quantiles(subject), "rounding": rounding(subject)}
    else:
        named = dict.fromkeys(named, subject)
    return Charts.of({**named, "singular-values": singular_values(tensor)})


def charts_of_all(tensors: Sequence[AuditedTensor], source: str) -> Charts:
    """The charts of all tensors of an audit together: "std".

    Args:
        tensors: the tensors.
        source: what says what is expected, in words.
    """
    return Charts.of({"std": spreads(in_order(tensors), source)})


def alike(each: AuditedTensor) -> tuple[Hashable, ...]:
    """What tensors have in common that share a row of a table, and of which one is shown for all."""
    codes = tuple(problem.code for problem in each.verdict.problems)
    return each.shape, each.dtype, each.role, each.verdict.kind, codes or each.verdict.fits[:1] or each.verdict.reason


def featured(tensors: Sequence[AuditedTensor], most: int = _MOST_FEATURED) -> list[AuditedTensor]:
    """The tensors that are worth a look: one of each group of alike findings, the worst first; the other findings; then
    one of each group of alike tensors, the largest first.

    Args:
        tensors: the tensors of an audit.
        most: how many there may be.

    >>> import fanin, numpy as np
    >>> arrays = {f"h.{n}.kernel": fanin.HeNormal(seed=n)((64, 64)) for n in range(9)}
    >>> found = fanin.audit({**arrays, "head.kernel": np.full((64, 10), np.nan)})
    >>> [each.name for each in featured(found.tensors)]
    ['head.kernel', 'h.0.kernel']
    """
    groups: dict[Hashable, list[AuditedTensor]] = {}
    for each in tensors:
        groups.setdefault(alike(each), []).append(each)
    ranked = sorted(groups.values(), key=lambda group: (-KINDS.index(group[0].verdict.kind), -_size(group[0])))
    wrong = [group for group in ranked if group[0].verdict.problems]
    right = [group for group in ranked if not group[0].verdict.problems]
    return list(islice(_in_turn(wrong, right), most))


def _in_turn(wrong: list[list[AuditedTensor]], right: list[list[AuditedTensor]]) -> Iterator[AuditedTensor]:
    yield from (group[0] for group in wrong)
    yield from (each for group in wrong for each in group[1:])
    yield from (group[0] for group in right)


def _size(tensor: AuditedTensor) -> int:
    return 0 if tensor.statistics is None else tensor.statistics.size


def pictures_of(tensors: Sequence[AuditedTensor], source: str, more: Charts | None = None) -> dict[str, Chart]:
    """The charts of a report, by names for files: those of the whole, then those of the tensors worth a look.

    Args:
        tensors: the tensors of an audit.
        source: what says what is expected, in words.
        more: further charts of the whole, such as those of a probe.
    """
    named = {each.name: each for each in (*charts_of_all(tensors, source), *(more or ()))}
    for tensor in featured(tensors):
        named |= {f"{tensor.name} {each.name}": _titled(each, tensor.name) for each in charts_of(tensor)}
    return named


def _titled(chart: Chart, name: str) -> Chart:
    """The chart with the name of its tensor in its title, shortened in the middle."""
    half = _LONGEST_NAME // 2
    shown = name if len(name) <= _LONGEST_NAME else f"{name[:half]}…{name[-half + 1 :]}"
    return replace(chart, title=f"{shown}: {chart.title[0].lower()}{chart.title[1:]}")
