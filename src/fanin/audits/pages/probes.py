"""Probes in the page of an audit: the data of one, whether it comes as a report or from a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fanin._core.messages import class_name, shown
from fanin.theory.probes import Probe

_RULE = "`probe` must be what `fanin.torch.probe` and its like return, or its `as_dict()`"
# What the charts and the sentences of a page are made of.
_KEYS = ("layers", "verdicts", "gradients")
_OF_LAYERS = ("path", "call", "std", "expected_std", "gradient_std", "verdict")


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
