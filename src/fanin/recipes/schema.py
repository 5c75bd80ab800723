"""The JSON schema of recipe files, for editors and other tools."""

from __future__ import annotations

from typing import Any

from fanin import initializers
from fanin.initializers import Initializer
from fanin.initializers.arguments import Kind, arguments_of, takes_none, words_of
from fanin.models.traits import ROLES
from fanin.recipes.expressions import VARIABLES
from fanin.recipes.rules import AS_WRITTEN, CONDITIONS, KEEP, NONE, SETTINGS

_WORDS = {
    "mode": ["fan_in", "fan_out", "fan_avg", "fan_geo_avg"],
    "distribution": ["truncated_normal", "untruncated_normal", "uniform", "normal"],
}
_VALUES = ("number", "string", "boolean", "array")


def schema() -> dict[str, Any]:
    """The schema. It rejects keys and types that no recipe can have; only fanin itself checks the values of numbers."""
    names = [name for name, cls in initializers.NAMES.items() if cls is not Initializer]
    number = {
        "description": "A number, or an expression of one: + - * / // % **, sqrt, exp, log, log2, abs, min, max, "
        f"gain('gelu'), config.NAME, constants, and {', '.join(VARIABLES)}.",
        "type": ["number", "string"],
    }
    arguments = _arguments(number)
    texts = {"anyOf": [{"type": "string", "minLength": 1}, _list({"type": "string", "minLength": 1})]}
    kinds: dict[str, Any] = {key: texts for key in (*CONDITIONS, *SETTINGS)}
    roles = {"enum": list(ROLES)}
    ranks = {"type": "integer", "minimum": 0}
    axes = {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}
    kinds |= {
        "regex": {"type": "string", "format": "regex"},
        "role": {"anyOf": [roles, _list(roles)]},
        "rank": {"anyOf": [ranks, _list(ranks)]},
        "name": {"type": "string"},
        "initializer": {"enum": [*names, KEEP, AS_WRITTEN]},
        "layout": {"anyOf": [{"enum": ["keras", "torch"]}, axes]},
        "trainable": {"type": "boolean"},
        "optional": {"type": "boolean", "default": False},
        "zero_rows": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "stacked": {"type": "integer", "minimum": 0},
        "fan_in": number,
        "fan_out": number,
        "blocks": {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 2, "uniqueItems": True},
    }
    described = {**CONDITIONS, **SETTINGS}
    properties = {key: {**kind, "description": described[key]} for key, kind in kinds.items()}
    rule = {
        "type": "object",
        "properties": {**properties, **arguments},
        "required": ["initializer"],
        "anyOf": [{"required": [key]} for key in CONDITIONS],
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A recipe of fanin",
        "description": "Which initializer each parameter of a model gets. The first rule that matches applies.",
        "type": "object",
        "properties": {
            "seed": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1, "default": 0},
            "description": {"type": "string"},
            "sources": {"type": "array", "items": {"type": "string"}},
            "constants": {
                "type": "object",
                "propertyNames": {"pattern": "^[^\\W\\d]\\w*$", "not": {"enum": [*_reserved(), "config"]}},
                "additionalProperties": {"type": "number"},
            },
            "rules": {"type": "array", "items": rule, "minItems": 1},
        },
        "required": ["rules"],
        "additionalProperties": False,
    }


def _arguments(number: dict[str, Any]) -> dict[str, Any]:
    """The schemas of all initializers' arguments, of which those of one name have one."""
    integers = {"type": "integer"}
    kinds: dict[Kind, dict[str, Any]] = {
        Kind.NUMBER: number,
        Kind.INTEGER: {"description": "A whole number, or an expression of one.", "type": ["integer", "string"]},
        Kind.AXES: {"anyOf": [integers, {"type": "array", "items": integers}]},
        Kind.FLAG: {"type": "boolean"},
        Kind.VALUES: {"description": "A number, true, false, or lists of them.", "type": [*_VALUES]},
    }
    arguments: dict[str, Any] = {}
    for cls in initializers.CLASSES:
        for name, kind in arguments_of(cls).items():
            if kind is Kind.WORD:
                words = {*arguments.get(name, {}).get("enum", ()), *_WORDS.get(name, words_of(cls, name))}
                words |= {NONE} if words and takes_none(cls, name) else set()
                arguments[name] = {"enum": sorted(words)} if words else {"type": ["string", "array"]}
            elif kind is not Kind.SEED:
                arguments[name] = kinds[kind]
    return arguments


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1}


def _reserved() -> list[str]:
    return [name for name in VARIABLES if name != "n_layers"]
