"""The page of an audit, from its data and its charts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fanin._core.messages import plural, readable
from fanin.audits.audited import AuditedTensor
from fanin.audits.charts import alike, featured
from fanin.audits.findings import Finding
from fanin.audits.pages.appendix import appendix_of
from fanin.audits.pages.sparklines import Sparklines
from fanin.audits.verdicts import KINDS, MEANINGS, Kind
from fanin.recipes.tables import folded_paths
from fanin.report.charts import Charts
from fanin.report.pages import Count, Sheet, Tone
from fanin.theory.charts import is_of, probe_charts, probe_data
from fanin.theory.findings import ADVICE
from fanin.theory.probes import Probe

TONES: dict[Kind, Tone] = {
    "exact": "exact",
    "consistent": "good",
    "trained": "trained",
    "unjudged": "dim",
    "suspicious": "warn",
    "broken": "bad",
}
_LEFT_OUT = (
    "The charts of this tensor are left out, to keep the page small: it has those of tensors with findings first, then "
    "of one tensor of each row. In Python, audit.charts({name}) has them."
)
_MISSING = "The model has this parameter, and the checkpoint lacks it."
_UNREADABLE = "Is it a checkpoint, and of the format that its name says? If it is, fetch or write it again."
_NOT_MISSING = "Is the checkpoint whole, and of this model? A tied parameter may be stored under its other name."


def audit_page(
    data: Mapping[str, Any],
    tensors: Sequence[AuditedTensor],
    findings: Sequence[Finding],
    charts: Callable[[str | None], Charts],
    probe: Any = None,
) -> str:
    """The page of an audit.

    Args:
        data: `Audit.as_dict()`.
        tensors: its tensors, in the same order.
        findings: what is wrong with them, folded.
        charts: the charts of the tensor of a name, and of the whole for None.
        probe: a `Probe` of the same model, or its `as_dict()`; None for none.

    Raises:
        TypeError, ValueError: the probe is none.
    """
    probed = None if probe is None else probe_data(probe.as_dict() if isinstance(probe, Probe) else probe)
    lead, tone = _lead(data, [each["code"] for each in _of_probe(probed)])
    return Sheet(
        kind="audit",
        title=data["name"],
        lead=lead,
        tone=tone,
        facts=_facts(data),
        counts=[Count(kind, data["counts"][kind], TONES[kind], MEANINGS[kind]) for kind in KINDS],
        notes=[*data["notes"], *_in_order(probed), *_of_another(data, probed)],
        appendix=appendix_of(tensors),
        data={"kind": "audit", "audit": data, "probe": probed},
        view=_view(data, tensors, findings, charts, probed),
    ).html()


def _lead(data: Mapping[str, Any], probed: Sequence[str]) -> tuple[str, Tone]:
    """The verdict on the whole, in a sentence or two, and its tone.

    Args:
        data: the data of the audit.
        probed: the words for what a probe found wrong.
    """
    lead, tone = _lead_of_audit(data)
    if not probed:
        return lead, tone
    return f"{lead} In the probe: {', '.join(probed)}.", "bad" if tone == "bad" else "warn"


def _lead_of_audit(data: Mapping[str, Any]) -> tuple[str, Tone]:
    """The verdict on the tensors alone."""
    counts, total = data["counts"], len(data["tensors"])
    wrong = [
        f"{counts[kind]:,} {'is' if counts[kind] == 1 else 'are'} {kind}"
        for kind in ("broken", "suspicious")
        if counts[kind]
    ]
    lost = [
        f"{len(data[key]):,} {plural(len(data[key]), noun)} {words}"
        for key, noun, words in (("missing", "parameter", "missing"), ("broken_files", "file", "cannot be read"))
        if data[key]
    ]
    if wrong or lost:
        of_tensors = f"Of {total:,} {plural(total, 'tensor')}, {' and '.join(wrong)}" if wrong else ""
        tone: Tone = "bad" if counts["broken"] or lost else "warn"
        return f"{'; '.join(filter(None, (of_tensors, *lost)))}.", tone
    if not total:
        return "There are no tensors.", "dim"
    return data["conclusion"] or "Nothing is wrong.", "good"


def _facts(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was read, and what it was compared with."""
    elements = sum(each["statistics"]["size"] for each in data["tensors"] if each["statistics"])
    return [
        ("Tensors", f"{len(data['tensors']):,}"),
        ("Elements", f"{elements:,}"),
        ("Size", readable(data["bytes"])),
        ("Format", data["format"]),
        ("Expected by", data["source"]),
        ("Seed", "" if data["seed"] is None else str(data["seed"])),
        ("Time", f"{data['seconds']:.3g} s"),
    ]


def _in_order(probe: Mapping[str, Any] | None) -> list[str]:
    """What a probe says if nothing is wrong."""
    verdicts = () if probe is None else probe["verdicts"]
    return [f"Probe: {each['word']}: {each['sentence']}." for each in verdicts if each["word"] == "ok"]


def _of_another(data: Mapping[str, Any], probe: Mapping[str, Any] | None) -> list[str]:
    """What is said of a probe that has no layer of these tensors."""
    names = [*(each["name"] for each in data["tensors"]), *data["missing"]]
    if probe is None or not probe["layers"] or is_of(probe, names):
        return []
    of = f" of {probe['model']}" if probe.get("model") else ""
    return [
        f"The probe{of} seems to be of another model: no tensor is of one of its layers, such as "
        f"{probe['layers'][0]['path']}. Its charts and findings may not be about these tensors."
    ]


def _of_probe(probe: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What a probe finds wrong, as findings on the model."""
    if probe is None:
        return []
    return [
        {
            "path": f"probe of {probe['model']}" if probe.get("model") else "probe",
            "kind": "broken" if each["word"] == "not finite" else "suspicious",
            "code": each["word"],
            "message": f"{each['sentence'][:1].upper()}{each['sentence'][1:]}.",
            "advice": ADVICE.get(each["word"], ""),
            "tensors": [],
        }
        for each in probe["verdicts"]
        if each["word"] != "ok"
    ]


def _view(
    data: Mapping[str, Any],
    tensors: Sequence[AuditedTensor],
    findings: Sequence[Finding],
    charts: Callable[[str | None], Charts],
    probe: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What the scripts show besides the data: rows, findings, sparklines and charts, with tensors by their numbers."""
    numbers = {each.name: place for place, each in enumerate(tensors)}
    rows = folded_paths({each.name: alike(each) for each in tensors})
    found = [
        *_lost(data),
        *(_finding(each, numbers) for each in findings),
        *_of_probe(probe),
    ]
    overview = [*charts(None), *(() if probe is None else probe_charts(probe))]
    return {
        "rows": [[path, [numbers[name] for name in names]] for path, names in rows],
        "findings": sorted(found, key=lambda each: each["kind"] != "broken"),
        "sparklines": asdict(Sparklines.of(tensors)),
        "overview": [each.as_dict() for each in overview],
        "charts": {str(numbers[each.name]): charts(each.name).as_dict() for each in featured(tensors)},
        "left_out": _LEFT_OUT,
        "tones": TONES,
    }


def _finding(finding: Finding, numbers: Mapping[str, int]) -> dict[str, Any]:
    """A finding as data."""
    problem = finding.problem
    return {
        "path": finding.path,
        "kind": problem.kind,
        "code": problem.code,
        "message": finding.message,
        "advice": problem.advice,
        "tensors": [numbers[name] for name in finding.names],
    }


def _lost(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is not there, as findings."""
    files = [(name, "unreadable", why, _UNREADABLE) for name, why in data["broken_files"].items()]
    missing = [(path, "missing", _MISSING, _NOT_MISSING) for path, _ in folded_paths(dict.fromkeys(data["missing"]))]
    keys = ("path", "code", "message", "advice")
    return [{**dict(zip(keys, each, strict=True)), "kind": "broken", "tensors": []} for each in (*files, *missing)]
