"""The page of a plan, from its data and its charts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from fanin._core.messages import plural, readable
from fanin.recipes.entry import Entry
from fanin.recipes.pages.formulas import formulas
from fanin.recipes.tables import folded, folded_paths
from fanin.report.charts import Chart
from fanin.report.pages import Count, Part, Sheet, Tone, definitions

# What becomes of a parameter, the worst last; with a tone and a meaning.
_STATES: Mapping[str, tuple[Tone, str]] = {
    "drawn": ("good", "a rule gives it values"),
    "kept": ("dim", "a rule leaves it as it is"),
    "unmatched": ("warn", "no rule matches it"),
    "problem": ("bad", "the rule that matches it cannot be carried out"),
}
_COLUMNS = (
    ("fans", "fan_in → fan_out, those that the initializer is given"),
    ("std", "the standard deviation that the values are drawn with"),
    ("initializer", "what draws the values, with its arguments"),
    ("rule", "the rule of the recipe that matches the parameter, with its line"),
)
_MOST_SEEDS = 3  # of a parameter, whose blocks may have seeds of their own
_NO_RULE = 'Add a rule for it (the last one may be path = "*"), or leave it as it is with unmatched="keep".'


def plan_page(data: Mapping[str, Any], entries: Sequence[Entry], charts: Iterable[Chart]) -> str:
    """The page of a plan.

    Args:
        data: `Plan.as_dict()`.
        entries: its entries, in the same order.
        charts: its charts.
    """
    states = [state_of(each) for each in entries]
    counted = Counter(states)
    findings = [*_findings(entries), *_equals(data)]
    lead, tone = _lead(data, fits=not findings)
    numbers = {each.path: place for place, each in enumerate(entries)}
    return Sheet(
        kind="plan",
        title=data["model"],
        lead=lead,
        tone=tone,
        facts=_facts(data),
        counts=[Count(word, counted[word], tone, meaning) for word, (tone, meaning) in _STATES.items()],
        notes=_notes(data),
        appendix=_appendix(entries),
        data={"kind": "plan", "plan": data},
        view={
            "rows": [[row.path, [numbers[path] for path in row.paths]] for row in folded(entries)],
            "findings": [{**each, "tensors": [numbers[path] for path in each["tensors"]]} for each in findings],
            "states": states,
            "seeds": [", ".join(map(str, each.seeds[:_MOST_SEEDS])) for each in entries],  # too long for JavaScript
            "overview": [each.as_dict() for each in charts],
            "charts": {},
            "left_out": "",
            "tones": {word: tone for word, (tone, _) in _STATES.items()},
        },
    ).html()


def _lead(data: Mapping[str, Any], *, fits: bool) -> tuple[str, Tone]:
    """The verdict on the whole, in a sentence, and its tone."""
    if not fits:
        return "The recipe does not fit the model.", "bad"
    unused = len(data["unused_rules"])
    if not unused:
        return "Every parameter gets its values.", "good"
    verb = "is" if unused == 1 else "are"
    total = unused + _rules_in_use(data)
    return f"Every parameter gets its values, but {unused} of {total} rules {verb} not used.", "warn"


def _rules_in_use(data: Mapping[str, Any]) -> int:
    """How many rules give parameters their values."""
    return len({each["rule"] for each in data["entries"] if each["rule"]})


def state_of(entry: Entry) -> str:
    """What becomes of a parameter: "drawn", "kept", "unmatched" or "problem"."""
    if entry.problem:
        return "problem"
    if not entry.matched:
        return "unmatched"
    return "kept" if entry.kept else "drawn"


def _facts(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the whole is."""
    rules = _rules_in_use(data)
    return [
        ("Parameters", f"{data['parameters']:,}"),
        ("Elements", f"{data['elements']:,}"),
        ("Size", readable(data["bytes"])),
        ("Rules in use", f"{rules:,}"),
        ("Seed", str(data["seed"])),
    ]


def _notes(data: Mapping[str, Any]) -> list[str]:
    """What a reader should know of rules and of what is left alone."""
    notes = [f"No parameter uses {each}." for each in data["unused_rules"]]
    if data["left"]:
        count, first = len(data["left"]), next(iter(data["left"]))
        verb = "is" if count == 1 else "are"
        notes.append(f"{count} {plural(count, 'tensor')} of the model, such as {first}, {verb} left alone.")
    return notes


def _findings(entries: Sequence[Entry]) -> Iterator[dict[str, Any]]:
    """What is wrong with parameters, those of repeated blocks together."""
    problems = {each.path: each.problem.removeprefix(f"{each.path}: ") for each in entries if each.problem}
    for path, paths in folded_paths(problems):
        yield _finding(path, "problem", problems[paths[0]], "", paths)
    unmatched = dict.fromkeys(each.path for each in entries if state_of(each) == "unmatched")
    for path, paths in folded_paths(unmatched):
        yield _finding(path, "unmatched", "No rule matches it.", _NO_RULE, paths)


def _equals(data: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Parameters that would have the same values, which no recipe means."""
    for paths in data["equal_seeds"]:
        listed = ", ".join(path for path, _ in folded_paths(dict.fromkeys(paths)))
        known = [path for path in paths if any(path == each["path"] for each in data["entries"])]
        message = "They would have the same values."
        yield _finding(listed, "problem", message, "Names must differ.", known, "equal-seeds")


def _finding(path: str, kind: str, message: str, advice: str, paths: Sequence[str], code: str = "") -> dict[str, Any]:
    """A finding as data."""
    return {
        "path": path,
        "kind": kind,
        "code": code or kind,
        "message": message,
        "advice": advice,
        "tensors": list(paths),
    }


def _appendix(entries: Sequence[Entry]) -> list[Part]:
    """What explains the page."""
    parts = [
        Part("Columns", definitions(_COLUMNS)),
        Part("States", definitions([(word, meaning) for word, (_, meaning) in _STATES.items()])),
    ]
    made = formulas(type(each.initializer) for entry in entries for each in entry.placements)
    return [*parts, Part("Initializers that occur here", made)] if made else parts
