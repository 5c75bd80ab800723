"""Audits and plans for tests of pages: a small model with faults, names that mean harm, and one of any size."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import fanin
from fanin.audits import Audit
from fanin.recipes import Plan

# Names that would do something, look like others, or break a page, if they were more than text.
HOSTILE = (
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    "\"><img src=x onerror='alert(3)'>",
    "quotes\"and'`${alert(4)}`",
    "right\u202eto left\u2066.weight",
    "line\nbreak\tand\x00nul",
    "emoji 🧠.🔥 weight",
    "half a pair \ud800 alone",
    "long." + "x" * 300,
    "אותיות.משקל",
    "__proto__",
    "constructor.toString",
    "a..b//c.",
    "&lt;b&gt;&amp;",
)
RULES = (
    {"path": "*.proj.weight", "initializer": "he_uniform"},
    {"path": "*embed*", "initializer": "truncated_normal", "stddev": 0.02},
    {"path": "*.bias", "initializer": "zeros"},
    {"path": "*", "initializer": "random_normal", "stddev": 0.02},
)


def shapes(blocks: int = 4) -> list[dict[str, Any]]:
    """The parameters of a small model with repeated blocks."""
    found: list[dict[str, Any]] = [{"path": "embed.weight", "shape": [300, 32], "layout": "keras"}]
    for block in range(blocks):
        for name, shape, dtype in (
            ("attn.query.weight", [64, 48], "float32"),
            ("attn.query.bias", [48], "float32"),
            ("mlp.proj.weight", [64, 96], "float32"),
            ("mlp.out.weight", [96, 64], "float16"),
        ):
            found.append({"path": f"h.{block}.{name}", "shape": shape, "layout": "keras", "dtype": dtype})
    return [*found, {"path": "head.weight", "shape": [64, 10], "layout": "keras"}]


@cache
def plan() -> Plan:
    """What a recipe gives that model."""
    return fanin.Recipe(list(RULES), seed=3).plan(shapes())


@cache
def faulty() -> Audit:
    """The audit of that model, in which a block has twice the spread, another NaN, and a third repeats itself."""
    made = {each.path: each.make() for each in plan().entries}
    made["h.2.mlp.proj.weight"] = made["h.2.mlp.proj.weight"] * np.float32(2)
    made["h.1.attn.query.weight"][3] = np.nan
    made["h.3.mlp.proj.weight"][:, 48:] = made["h.3.mlp.proj.weight"][:, :48]
    return fanin.audit(made, plan(), spectra=True)


@cache
def hostile() -> Audit:
    """The audit of tensors with such names, of which one is broken."""
    arrays = {name: fanin.HeNormal(seed=place)((32, 24)) for place, name in enumerate(HOSTILE)}
    arrays[HOSTILE[0]] = np.full((32, 24), np.nan, np.float32)
    return fanin.audit(arrays)


@cache
def large(count: int = 10_000) -> Audit:
    """The audit of so many tensors with names of their own: those of a small one, again and again."""
    small = faulty()
    some = [each for each in small.tensors if each.verdict.kind == "exact"]
    tensors = [replace(some[place % len(some)], name=f"part_{place}x.weight") for place in range(count)]
    return replace(small, tensors=tuple(tensors))


def data_of(html: str, island: str = "data") -> Any:
    """What an element of a page has as JSON."""
    found = re.search(rf'<script type="application/json" id="{island}">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def written(html: str, folder: Path, name: str = "report.html") -> Path:
    """A page as a file."""
    path = folder / name
    path.write_text(html, encoding="utf-8")
    return path


@cache
def twins() -> Audit:
    """The audit of a model of two blocks with long names, of which one tensor has half as much spread again."""
    heads = [f"self_attn.{name}_proj" for name in "qkvogs"]
    parts = (*heads, "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
    paths = ["model.embed.weight", *(f"model.layers.{block}.{part}.weight" for block in range(2) for part in parts)]
    rules = [{"path": "*", "initializer": "random_normal", "stddev": 0.02}]
    found = fanin.Recipe(rules, seed=1).plan([{"path": path, "shape": [64, 48], "layout": "keras"} for path in paths])
    made = {each.path: each.make() for each in found.entries}
    made["model.layers.1.mlp.up_proj.weight"] *= np.float32(1.5)
    return fanin.audit(made, found)
