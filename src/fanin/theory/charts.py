"""The charts of a probe, from its data: what passes through the layers of a model, by depth."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from fanin._core.messages import class_name, plural, shown
from fanin.report.charts import Chart, Charts
from fanin.report.depth import Series, by_depth

# The verdicts on layers that well-made models have here and there.
HARMLESS = frozenset(("off theory", "collapsed", "no gradient", "constant"))
# Those that the sentence of a chart counts, and of these such that a layer has no size to keep.
_TOLD: Mapping[str, tuple[str, ...]] = {
    "signal": ("not finite", "zero", "constant", "dead", "saturated", "collapsed"),
    "gradient": ("not finite", "no gradient"),
}
_SIZELESS = {"signal": _TOLD["signal"][:3], "gradient": _TOLD["gradient"]}
_NONE = "No layer ran."
_NO_GRADIENTS = "No gradients were computed."
_PROBE = "`probe` must be what `fanin.torch.probe` and its like return, or its `as_dict()`"
# What charts and pages are made of, and the types that they have.
_NUMBER = (int, float, type(None))
_LAYER = {"path": str, "call": int, "std": _NUMBER, "expected_std": _NUMBER, "gradient_std": _NUMBER}
_LAYER_VERDICT, _VERDICT = {"word": str}, {"word": str, "sentence": str}
_TYPES: dict[Any, str] = {str: "text", int: "a whole number", _NUMBER: "a number or null"}
_PARTS = re.compile(r"[./]")  # what separates the parts of names
_LARGEST = 2**1000  # which floats can hold


def probe_charts(data: Mapping[str, Any]) -> Charts:
    """Charts by depth: "signal", with what theory expects, and "gradient". Layers with findings are emphasized.

    Args:
        data: the data of a probe, as `Probe.as_dict` makes it, or as JSON holds it.

    Returns:
        The charts, and why others cannot be drawn.

    >>> from fanin.theory.charts import probe_charts
    >>> layer = {"path": "fc", "call": 1, "std": 1.0, "expected_std": 1.1, "gradient_std": None}
    >>> charts = probe_charts({"layers": [{**layer, "verdict": {"word": "ok"}}], "gradients": False, "verdicts": []})
    >>> [each.name for each in charts], dict(charts.missing)
    (['signal'], {'gradient': 'No gradients were computed.'})
    """
    layers = data["layers"]
    if not layers:
        return Charts.of({"signal": _NONE, "gradient": _NONE})
    gradient = _gradient(data, layers) if data["gradients"] else _NO_GRADIENTS
    return Charts.of({"signal": _signal(data, layers), "gradient": gradient})


def _signal(data: Mapping[str, Any], layers: Sequence[Mapping[str, Any]]) -> Chart:
    """The outputs of the layers."""
    noticed = [place for place, each in enumerate(layers) if each["verdict"]["word"] not in ("ok", *HARMLESS)]
    series = [Series("outputs", _numbers(layers, "std"), labels=_names(layers), emphasized=noticed)]
    if any(each["expected_std"] is not None for each in layers):
        series.append(Series("expected", _numbers(layers, "expected_std"), kind="dots", color=2))
    words = _words(data, "signal", len(layers))
    return by_depth("signal", "Signal by depth", words, series, y="standard deviation of outputs")


def _gradient(data: Mapping[str, Any], layers: Sequence[Mapping[str, Any]]) -> Chart:
    """The gradients with respect to the outputs."""
    series = [Series("gradients", _numbers(layers, "gradient_std"), color=1, labels=_names(layers))]
    words = _words(data, "gradient", len(layers))
    return by_depth("gradient", "Gradient by depth", words, series, y="standard deviation of gradients")


def _numbers(layers: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    return [math.nan if each[key] is None else each[key] for each in layers]


def _names(layers: Sequence[Mapping[str, Any]]) -> list[str]:
    """The layers as the report's table calls them."""
    paths = [each["path"] or "(model)" for each in layers]
    return [path if each["call"] == 1 else f"{path}#{each['call']}" for path, each in zip(paths, layers, strict=True)]


def _words(data: Mapping[str, Any], name: str, count: int) -> str:
    """What passes through the layers: a sentence on how its size changes, and one on what layers have."""
    found = [f"{each['word']}: {each['sentence']}" for each in data["verdicts"] if each["word"].startswith(name)]
    counts = Counter(each["verdict"]["word"] for each in data["layers"])
    of_layers = [f"{counts[word]:,} {word}" for word in _TOLD[name] if counts[word]]
    if not found and not any(counts[word] for word in _SIZELESS[name]):
        found.append("it keeps its size")
    through = f"The {name} through {count:,} {plural(count, 'layer')}{': ' if found else ''}{'; '.join(found)}."
    return f"{through} Verdicts on layers: {', '.join(of_layers)}." if of_layers else through


# ---------------------------------------------------------------- data of others


def probe_data(given: Any) -> Mapping[str, Any]:
    """Checks that something is the data of a probe, as far as charts and pages read it.

    Args:
        given: what `Probe.as_dict` makes, such as a file of JSON holds.

    Returns:
        The same.

    Raises:
        TypeError: it is no mapping.
        ValueError: it is the data of something else.
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"{_PROBE}. Received: {shown(given)} (of type {class_name(type(given))}).")
    keys = ("layers", "verdicts", "gradients")
    if not all(key in given for key in keys):
        raise ValueError(f"{_PROBE}. Received: data with the keys {', '.join(map(shown, given)) or 'none'}.")
    layers, verdicts = (_listed(given, key) for key in keys[:2])
    for each in layers:
        _check_types("each of its layers", each, _LAYER)
        _check_types("the verdict on each of its layers", each.get("verdict"), _LAYER_VERDICT)
    for each in verdicts:
        _check_types("each of its verdicts", each, _VERDICT)
    return given


def is_of(data: Mapping[str, Any], names: Iterable[str]) -> bool:
    """Whether tensors of these names may be of the model of a probe: the path of one of its layers leads to one.

    What all names or all paths begin with, such as `model`, does not count. Nor does what stands before a path of
    several parts.

    Args:
        data: the data of a probe.
        names: the names of tensors.

    >>> from fanin.theory.charts import is_of
    >>> is_of({"layers": [{"path": "h.0.fc"}]}, ["model.h.0.fc.weight"]), is_of({"layers": [{"path": "fc"}]}, ["h.0.w"])
    (True, False)
    """
    paths = [_PARTS.split(each["path"]) for each in data["layers"] if each["path"]]
    tensors = [_PARTS.split(name) for name in names]
    if not tensors or len(paths) < len(data["layers"]):  # the model itself is a layer, and leads to any name
        return True
    known = {lead for parts in tensors for lead in _leads(parts)}
    known |= {lead for parts in _without_common(tensors) for lead in _leads(parts)}
    return any(tuple(path) in known for path in (*paths, *_without_common(paths)))


def _leads(parts: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """What may be the path of the layer of a tensor: what the name begins with, and what it has of several parts."""
    for begin in range(len(parts)):
        for end in range(begin + (2 if begin else 1), len(parts) + 1):
            yield tuple(parts[begin:end])


def _without_common(several: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Lists without what all of them begin with; each keeps its last part."""
    shared = next((place for place, each in enumerate(zip(*several, strict=False)) if len(set(each)) > 1), 0)
    return [each[shared:] for each in several]


def _listed(given: Mapping[str, Any], key: str) -> list[Any]:
    """A list that the data of a probe have."""
    if not isinstance(given[key], list):
        raise ValueError(f"{_PROBE}, whose {key} are a list. Received: {shown(given[key])}.")
    return given[key]


def _check_types(part: str, given: Any, types: Mapping[str, Any]) -> None:
    """Raises an error unless a part of a probe's data has values of these types, in the range of floats."""
    if not isinstance(given, Mapping) or not all(key in given for key in types):
        raise ValueError(f"{_PROBE}: {part} has {', '.join(types)}. Received: {shown(given)}.")
    for key, expected in types.items():
        value = given[key]
        if not isinstance(value, expected) or (isinstance(value, int) and abs(value) > _LARGEST):
            raise ValueError(f"{_PROBE}: {key} of {part} must be {_TYPES[expected]}. Received: {shown(value)}.")
