"""Probes in the page of an audit: the data of one, whether it comes as a report or from a file, and its charts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fanin._core.messages import class_name, shown
from fanin.report.charts import Chart
from fanin.report.depth import Series, by_depth
from fanin.theory.probes import Probe

_RULE = "`probe` must be what `fanin.torch.probe` and its like return, or its `as_dict()`"
_KEYS = ("layers", "verdicts", "gradients")
_OF_LAYERS = ("path", "std", "expected_std", "gradient_std", "verdict")


def probe_data(given: Any) -> Mapping[str, Any]:
    """The data of a probe.

    Args:
        given: a `Probe`, or its `as_dict()`, such as a file of JSON holds.

    Raises:
        TypeError: it is neither.
        ValueError: it is the data of something else.
    """
    if isinstance(given, Probe):
        return given.as_dict()
    if not isinstance(given, Mapping):
        raise TypeError(f"{_RULE}. Received: {shown(given)} (of type {class_name(type(given))}).")
    layers = given.get("layers")
    if not all(key in given for key in _KEYS) or not isinstance(layers, list):
        raise ValueError(f"{_RULE}. Received: data with the keys {', '.join(map(shown, given)) or 'none'}.")
    for each in layers:
        if not isinstance(each, Mapping) or not all(key in each for key in _OF_LAYERS):
            raise ValueError(f"{_RULE}, whose layers have {', '.join(_OF_LAYERS)}. Received: {shown(each)}.")
    return given


def probe_charts(data: Mapping[str, Any]) -> Sequence[Chart]:
    """The charts of a probe by depth, from its data: the signal, and the gradient if there is one."""
    layers = data["layers"]
    if not layers:
        return ()
    names = [each["path"] or "(model)" for each in layers]
    wrong = [place for place, each in enumerate(layers) if each["verdict"]["word"] != "ok"]
    said = "; ".join(each["sentence"] for each in data["verdicts"])
    signal = [Series("outputs", _numbers(layers, "std"), labels=names, emphasized=wrong)]
    if any(each["expected_std"] is not None for each in layers):
        signal.append(Series("expected", _numbers(layers, "expected_std"), kind="dots", color=2))
    found = [by_depth("signal", "Signal by depth", said, signal, y="standard deviation of outputs")]
    if data["gradients"]:
        gradient = [Series("gradients", _numbers(layers, "gradient_std"), color=1, labels=names)]
        found.append(by_depth("gradient", "Gradient by depth", said, gradient, y="standard deviation of gradients"))
    return found


def _numbers(layers: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    """A number of each layer; NaN where it is not known."""
    return [math.nan if each[key] is None else float(each[key]) for each in layers]
