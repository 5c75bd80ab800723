"""What a plan gives its parameters, as charts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fanin._core.messages import plural
from fanin.recipes.entry import Entry
from fanin.report import number
from fanin.report.charts import Axis, Chart, Charts, Marks
from fanin.report.depth import Series, by_depth, is_wide

_MOST_RULES = 20  # that have a row of their own
_UNMATCHED = "no rule"


def charts_of(entries: Sequence[Entry], model: str) -> Charts:
    """Charts of a plan: "std", the standard deviation that each parameter should have, and "rules".

    Args:
        entries: the plan's entries, in the model's order.
        model: the model in words.

    Returns:
        The charts, and why others cannot be drawn.
    """
    return Charts.of({"std": _spreads(entries), "rules": _rules(entries, model)})


def _spreads(entries: Sequence[Entry]) -> Chart | str:
    """The standard deviations by depth; constants have none, and are left out."""
    drawn = [(entry.path, entry.stddev) for entry in entries if entry.stddev]
    if not drawn:
        return "No parameter has a standard deviation: they are constants, or nothing is known of them."
    paths, values = [path for path, _ in drawn], [stddev for _, stddev in drawn]
    series = Series("", values, kind="dots", labels=paths)
    ends = list(dict.fromkeys(number(each(values), 3) for each in (min, max)))
    spreads = f"The standard deviations of {len(drawn):,} {plural(len(drawn), 'parameter')} are"
    description = (
        f"{spreads} {'all ' if len(ends) == 1 else 'from '}{' to '.join(ends)}. "
        f"Others are constants, or not known: {len(entries) - len(drawn):,}."
    )
    return by_depth(
        "std",
        "Expected standard deviation",
        description,
        [series],
        x="parameter, in order",
        y="std",
        is_log=is_wide(values),
    )


def _rules(entries: Sequence[Entry], model: str) -> Chart | str:
    """How many elements each rule gives their values, the largest number first."""
    counts: Counter[str] = Counter()
    for entry in entries:
        counts[entry.rule or _UNMATCHED] += entry.parameter.size
    if not counts:
        return "There are no parameters."
    shown = counts.most_common(_MOST_RULES)
    left = counts.total() - sum(count for _, count in shown)
    shown += [(f"{len(counts) - len(shown)} other rules", left)] if left else []
    names, sizes = zip(*shown, strict=True)
    share = 100 * sizes[0] / max(1, counts.total())
    largest = f"{names[0][0].upper()}{names[0][1:]} has {share:.3g} % of the {counts.total():,} elements"
    return Chart(
        "rules",
        "Elements of each rule",
        f"{largest} of {model}.",
        Axis("elements"),
        Axis("", names=names),
        (Marks.of("rows", sizes, range(len(sizes))),),
    )
