"""Carrying out plans: what is chosen, the way through the entries, and reports of it."""

import json
from dataclasses import replace
from typing import Any

import pytest

import fanin
from fanin.models.lists import described_list
from fanin.recipes import Options, Plan, PlanError, Recipe, Report
from fanin.recipes.execution import Execution

MODEL = [
    {"path": "enc.0.w", "shape": [2, 3]},
    {"path": "enc.1.w", "shape": [2, 3], "tied": ["dec.w"]},
    {"path": "enc.norm.running_mean", "shape": [3]},
    {"path": "kept.b", "shape": [5], "dtype": "float64"},
    {"path": "odd", "shape": [4]},
]
RULES: list[dict[str, Any]] = [
    {"path": "kept.*", "initializer": "keep", "name": "still"},
    {"path": "enc.*", "initializer": "random_normal"},
]
ALL = {"path": "*", "initializer": "zeros"}


def execution(*rules: dict[str, Any], there: tuple[str, ...] = (), complete: bool = True, **options: Any) -> Execution:
    """The execution of some rules for the model."""
    model = replace(described_list(MODEL, "a <model>"), complete=complete)
    return Execution(model, Recipe(rules, seed=7), Options(**options), there=there)


def run(each: Execution) -> Report:
    """What an execution reports after all of its entries."""
    for _ in each.entries():
        pass
    return each.report()


def test_all_of_a_plan() -> None:
    """Entries that something is drawn for come in the model's order; all others are kept, with the reason."""
    begun = execution(*RULES, unmatched="keep")
    assert [entry.path for entry in begun.entries()] == ["enc.0.w", "enc.1.w", "enc.norm.running_mean"]
    report = begun.report(("layer",))
    assert report.filled == ("enc.0.w", "enc.1.w", "enc.norm.running_mean")
    assert report.kept == {"kept.b": "rule 1 “still”", "odd": "no rule matches it"}
    assert (report.plan, report.buffers, report.waiting) == (begun.plan, {}, ("layer",))
    assert report.nbytes == 4 * (6 + 6 + 3)
    assert report.seconds >= 0


CHOICES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "everything": ({}, ["enc.0.w", "enc.1.w", "enc.norm.running_mean", "kept.b", "odd"]),
    "a glob": ({"only": "enc.*.w"}, ["enc.0.w", "enc.1.w"]),
    "slashes": ({"only": "enc/*/w"}, ["enc.0.w", "enc.1.w"]),
    "several": ({"only": ["odd", "kept*"]}, ["kept.b", "odd"]),
    "a tie": ({"only": "dec.w"}, ["enc.1.w"]),
    "skip": ({"skip": {"enc.*"}}, ["kept.b", "odd"]),
    "both": ({"only": ("enc.*",), "skip": "*.w"}, ["enc.norm.running_mean"]),
    "there": ({"there": ("odd", "enc.0.w")}, ["enc.1.w", "enc.norm.running_mean", "kept.b"]),
}


@pytest.mark.parametrize("name", CHOICES)
def test_choices(name: str) -> None:
    """Only what was asked for is drawn; the reasons of all else are told."""
    options, expected = CHOICES[name]
    report = run(execution({**ALL, "role": ["mean", "other", "kernel", "bias"]}, **options))
    assert list(report.filled) == expected
    assert {*report.filled, *report.kept} == {entry["path"] for entry in MODEL}
    reasons = {"only": "not selected by `only`", "skip": "selected by `skip`", "there": "already loaded"}
    assert {*report.kept.values()} <= {reasons[key] for key in options}
    assert [entry.path for entry in report.plan.entries] == expected


def test_an_interrupted_way() -> None:
    """An entry counts as filled when the next one is asked for, not before."""
    begun = execution(*RULES, unmatched="keep")
    entries: Any = begun.entries()
    next(entries)
    assert begun.report().filled == ()
    next(entries)
    assert begun.report().filled == ("enc.0.w",)
    entries.close()
    assert begun.report().filled == ("enc.0.w",)


def test_what_does_not_fit() -> None:
    """A plan is checked before anything is drawn, for what was chosen alone."""
    with pytest.raises(PlanError, match=r"No rule matches 1 of 5 parameters:\n    odd 4, no known layer"):
        execution(*RULES)
    assert run(execution(*RULES, skip="odd")).filled
    with pytest.raises(ValueError, match=r'^`unmatched` must be "error" or "keep"\. Received: unmatched=None'):
        execution(*RULES, unmatched=None)
    with pytest.raises(ValueError, match=r"^`only` must match parameters of the model\. Received: 'enc\.2\.w', which"):
        execution(*RULES, only=["enc.0.w", "enc.2.w"])
    assert run(execution(*RULES, only=["enc.0.w", "enc.2.w"], complete=False)).filled == ("enc.0.w",)
    with pytest.raises(TypeError, match=r"^`skip` must be a glob of paths, or several\. Received: skip=3\.$"):
        execution(*RULES, skip=3)
    with pytest.raises(TypeError, match="`names` must be a mapping"):
        execution(*RULES, names=["a"], unmatched="keep")


def test_names() -> None:
    """Names are those of the plan."""
    named = execution(ALL, names={"enc.*": "encoder.*"}).plan
    assert [entry.name for entry in named.entries][:2] == ["encoder.0.w", "encoder.1.w"]


def test_reports_in_words() -> None:
    """A line, and one for each thing that a reader should know; in a notebook, behind a fold."""
    begun = execution(*RULES, unmatched="keep")
    begun.buffers["rope.inv_freq"] = "by its formula"
    for _ in begun.entries():
        pass
    report = begun.report(("head",))
    first, *details = str(report).splitlines()
    assert first.startswith("a <model>: 3 parameters initialized (60 bytes) in ")
    assert first.endswith(" s, seed 7")
    assert details == [
        "kept: kept.b (rule 1 “still”)",
        "kept: odd (no rule matches it)",
        "restored: rope.inv_freq (by its formula)",
        "waiting to be built: head",
    ]
    assert repr(report) == "<Report on a <model>: 3 parameters initialized, 2 kept, 1 restored, 1 waiting>"
    html = report._repr_html_()
    assert html.startswith("<div>a &lt;model&gt;: 3 parameters initialized")
    assert "<details><summary>details</summary>kept: kept.b (rule 1 “still”)<br>" in html
    short = run(execution(ALL, unmatched="keep", skip="*running_mean"))
    assert "<details>" in short._repr_html_()
    assert "<details>" not in Report(short.plan)._repr_html_()
    assert repr(Report(short.plan)) == "<Report on a <model>: 0 parameters initialized>"
    assert Report(short.plan).nbytes == 0


@pytest.mark.parametrize("progress", [True, False, None])
def test_progress(progress: bool | None, capsys: pytest.CaptureFixture[str]) -> None:
    """A bar goes to standard error, if it is wanted; nothing goes to standard output."""
    report = run(execution(*RULES, unmatched="keep", progress=progress))
    assert len(report.filled) == 3
    printed = capsys.readouterr()
    assert printed.out == ""
    assert (printed.err != "") == bool(progress)


def test_public_names() -> None:
    """Reports and plans are public, and plain data."""
    assert fanin.Report is Report
    report = run(execution(*RULES, unmatched="keep"))
    assert isinstance(report.plan, Plan)
    assert json.loads(report.plan.to_json())["seed"] == 7
    assert Options() == Options(None, None, None, "error", None)


def test_reports_of_one() -> None:
    """A single parameter and a single rule are no plural."""
    unmet = {"path": "no.*", "initializer": "random_normal"}
    with pytest.warns(UserWarning, match="uses rule 1"):
        begun = execution(unmet, ALL, only="odd")
    report = run(begun)
    assert str(report).startswith("a <model>: 1 parameter initialized (16 bytes) in ")
    assert repr(report) == "<Report on a <model>: 1 parameter initialized, 1 unmet rule, 4 kept>"
