"""The report of a probe: what a batch does in each layer of a model, against theory, and what that means."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fanin._core.messages import plural
from fanin.report import number, plain, plots
from fanin.report.tables import Table, Toned
from fanin.theory.signals import Signal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GROWTH = 10.0  # what a signal may grow or shrink by through the whole model
_FEWEST = 5  # layers that a trend is seen in
_DEAD, _SATURATED = 0.25, 0.5  # the shares of a layer from which it is called so
_FEWEST_ROWS = 16  # fewer samples than this leave healthy units of a ReLU at zero
_COLLAPSED, _LEAST_LIMIT = 1.5, 8  # the effective rank of a collapsed layer, where it could be this much
_OFF = 2.0  # measured ÷ expected, or its inverse, from which weights and inputs are not independent


@dataclass(frozen=True)
class Finding:
    """A verdict: a word that is stable, and a sentence for people.

    Attributes:
        word: "ok", or "not finite", "zero", "constant", "dead", "saturated", "collapsed", "off theory", "no gradient";
            of a whole model also "signal explodes", "signal vanishes", "gradient explodes" and "gradient vanishes".
        sentence: what was found, in numbers.
    """

    word: str
    sentence: str

    @property
    def is_ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.word == "ok"

    def __str__(self) -> str:
        return f"{self.word}: {self.sentence}"


@dataclass(frozen=True)
class ProbedParameter:
    """A parameter of a layer.

    Attributes:
        values: its values, measured.
        gradient: its gradient, measured; None if there is none.
    """

    values: Signal
    gradient: Signal | None = None


@dataclass(frozen=True)
class ProbedLayer:
    """One call of a layer.

    Attributes:
        path: the layer's path in the model, "" for the model itself.
        layer: its type.
        output: its outputs, measured.
        call: the number of the call, from 1, of a layer that the model calls several times.
        gradient: the gradient with respect to its outputs, measured; None if there is none.
        parameters: the layer's own parameters, by name.
        expected: the standard deviation that theory gives its outputs, whose mean it takes to be 0: see
            `fanin.theory.signals.expected_std`. None where that is not known, as of layers without a kernel.
        asked: whether there should be a gradient.
    """

    path: str
    layer: str
    output: Signal
    call: int = 1
    gradient: Signal | None = None
    parameters: Mapping[str, ProbedParameter] = field(default_factory=dict)
    expected: float | None = None
    asked: bool = False

    @property
    def name(self) -> str:
        """The path, with the number of a call that is not the first."""
        path = self.path or "(model)"
        return path if self.call == 1 else f"{path}#{self.call}"

    @property
    def ratio(self) -> float | None:
        """The measured root mean square, divided by the one expected; None where that is unknown or zero."""
        return math.sqrt(self.output.second_moment) / self.expected if self.expected else None

    @property
    def verdict(self) -> Finding:
        """What is wrong with the layer, the worst first; "ok" if nothing is."""
        return next(filter(None, (judge(self) for judge in _JUDGES)), Finding("ok", "nothing to remark"))

    def as_dict(self) -> dict[str, Any]:
        """The layer as plain data, with the keys that `Probe.as_dict` lists."""
        signal = self.output
        return plain(
            {
                "path": self.path,
                "type": self.layer,
                "call": self.call,
                "shape": signal.shape,
                "mean": signal.mean,
                "std": signal.std,
                "nonfinite": signal.nonfinite,
                "zeros": signal.zeros,
                "units": signal.units,
                "dead": signal.dead,
                "saturated": signal.saturated,
                "rank": signal.rank,
                "rank_limit": signal.rank_limit,
                "gradient_std": _std(self.gradient),
                "expected_std": self.expected,
                "ratio": self.ratio,
                "parameters": {
                    name: {"shape": each.values.shape, "std": each.values.std, "gradient_std": _std(each.gradient)}
                    for name, each in self.parameters.items()
                },
                "verdict": {"word": self.verdict.word, "sentence": self.verdict.sentence},
            }
        )


def _std(signal: Signal | None) -> float | None:
    return None if signal is None else signal.std


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 or not share else f"{100 * share:.1g} %"


# ---------------------------------------------------------------- verdicts of layers, the worst first


def _not_finite(layer: ProbedLayer) -> Finding | None:
    for name, signal in (("outputs", layer.output), ("gradients", layer.gradient)):
        if signal is not None and signal.nonfinite:
            return Finding(
                "not finite", f"{signal.nonfinite:,} of {math.prod(signal.shape):,} {name} are NaN or infinite"
            )
    return None


def _zero(layer: ProbedLayer) -> Finding | None:
    if layer.output.std:
        return None
    if layer.output.zeros == 1:
        return Finding("zero", "all outputs are zero")
    return Finding("constant", f"all outputs are {number(layer.output.mean, 3)}")


def _dead(layer: ProbedLayer) -> Finding | None:
    signal = layer.output
    share = signal.dead / max(1, signal.units)
    if share < _DEAD or signal.rows < _FEWEST_ROWS:
        return None
    return Finding("dead", f"{_percent(share)} of {signal.units} units are zero for the whole batch")


def _saturated(layer: ProbedLayer) -> Finding | None:
    share = layer.output.saturated or 0.0
    return (
        Finding("saturated", f"{_percent(share)} of outputs are at an end of their range")
        if share >= _SATURATED
        else None
    )


def _collapsed(layer: ProbedLayer) -> Finding | None:
    signal = layer.output
    if signal.rank is None or signal.rank >= _COLLAPSED or signal.rank_limit < _LEAST_LIMIT:
        return None
    return Finding("collapsed", f"effective rank {number(signal.rank, 3)} of {signal.rank_limit}: samples look alike")


def _off_theory(layer: ProbedLayer) -> Finding | None:
    ratio = layer.ratio
    if ratio is None or 1 / _OFF < ratio < _OFF:
        return None
    return Finding("off theory", f"outputs are × {number(ratio, 3)} what weights independent of the inputs give")


def _no_gradient(layer: ProbedLayer) -> Finding | None:
    if not layer.asked or (layer.gradient is not None and layer.gradient.std):
        return None
    return Finding("no gradient", "no gradient reaches it" if layer.gradient is None else "its gradient is all zero")


_Judge = Callable[[ProbedLayer], Finding | None]
_JUDGES: tuple[_Judge, ...] = (_not_finite, _zero, _dead, _saturated, _no_gradient, _collapsed, _off_theory)
_HARMLESS = {"off theory", "collapsed", "no gradient", "constant"}  # which well-made models have here and there


# ---------------------------------------------------------------- the whole


def _trend(values: Sequence[float]) -> float | None:
    """The factor a layer of numbers by depth, from a line through their logarithms; None if there are too few."""
    numbers = np.asarray(values, float)
    if len(numbers) < _FEWEST or not (np.isfinite(numbers) & (numbers > 0)).all():
        return None
    return float(np.exp(np.polyfit(np.arange(len(numbers)), np.log(numbers), 1)[0]))


def _flow(name: str, values: Sequence[float]) -> Finding | None:
    """Whether what passes through layers grows or shrinks too much."""
    trend = _trend(values)
    if trend is None:
        return None
    total = trend ** (len(values) - 1)
    if 1 / _GROWTH <= total <= _GROWTH:
        return None
    way = "explodes" if total > 1 else "vanishes"
    return Finding(f"{name} {way}", f"× {number(trend, 3)} a layer, × {number(total, 3)} through {len(values)} layers")


@dataclass(frozen=True)
class Probe:
    """What a batch does in each layer of a model, in the order in which the layers ran.

    Attributes:
        layers: the calls of layers.
        model: the type of the model.
        has_gradients: whether gradients were asked for, and computed.
        notes: what is to be known besides, such as why there are no gradients.
    """

    layers: tuple[ProbedLayer, ...]
    model: str
    has_gradients: bool
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> ProbedLayer:
        """The call of a layer by its path, as the table shows it: `probe["block.fc"]`, or "block.fc#2" for its second.

        Raises:
            KeyError: there is none.
        """
        for each in self.layers:
            if name in (each.name, each.path):
                return each
        raise KeyError(name)

    @property
    def weighted(self) -> tuple[ProbedLayer, ...]:
        """The layers with a kernel, such as dense layers and convolutions, whose outputs theory speaks of."""
        return tuple(each for each in self.layers if each.expected is not None)

    @property
    def verdicts(self) -> tuple[Finding, ...]:
        """What is wrong with the model: how its signal and gradient change by depth, then what its layers have."""
        flow = self.weighted or self.layers
        gradients = [each.gradient.std for each in reversed(flow) if each.gradient is not None]
        trends = [_flow("signal", [each.output.std for each in flow]), _flow("gradient", gradients)]
        found = [*filter(None, trends), *self._of_layers()]
        return tuple(found) or (Finding("ok", self._in_order(flow, gradients)),)

    def _of_layers(self) -> list[Finding]:
        """One verdict for each word that layers have, with their number and the first of them."""
        words: dict[str, list[ProbedLayer]] = {}
        for each in self.layers:
            words.setdefault(each.verdict.word, []).append(each)
        return [
            Finding(
                word,
                f"{len(layers)} of {len(self.layers)} {plural(len(self.layers), 'layer')}, first {layers[0].name}: "
                f"{layers[0].verdict.sentence}",
            )
            for word, layers in words.items()
            if word != "ok" and (word not in _HARMLESS or len(layers) * 2 > len(self.layers))
        ]

    def _in_order(self, flow: Sequence[ProbedLayer], gradients: Sequence[float]) -> str:
        trends = {"signal": _trend([each.output.std for each in flow]), "gradient": _trend(gradients)}
        known = [f"{name} × {number(trend, 3)} a layer" for name, trend in trends.items() if trend is not None]
        return ", ".join(known) or "no layer has anything to remark"

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data: `model`, `gradients`, `layers`, `verdicts` and `notes`.

        A layer has `path`, `type`, `call`, `shape`, `mean`, `std`, `nonfinite`, `zeros`, `units`, `dead`, `saturated`,
        `rank`, `rank_limit`, `gradient_std`, `expected_std`, `ratio`, `parameters` (by name: `shape`, `std`,
        `gradient_std`) and `verdict` (`word`, `sentence`). Numbers that are unknown or not finite are None.
        """
        return {
            "model": self.model,
            "gradients": self.has_gradients,
            "layers": [each.as_dict() for each in self.layers],
            "verdicts": [{"word": each.word, "sentence": each.sentence} for each in self.verdicts],
            "notes": list(self.notes),
        }

    def table(self) -> Table:
        """The report as a table, a row for each call of a layer."""
        columns = [column for column in _COLUMNS if column.name in _ALWAYS or any(map(column.has, self.layers))]
        return Table.of(
            [column.name for column in columns],
            [[column.cell(each) for column in columns] for each in self.layers],
            right=_RIGHT,
            spared=_SPARED,
            footnotes=[*map(str, self.verdicts), *self.notes],
        )

    def __str__(self) -> str:
        return self.table().text()

    def _repr_html_(self) -> str:
        return self.table().html()

    def plot(self) -> Figure:
        """A figure of the standard deviations of signals and gradients by depth, of what theory expects beside them.

        Raises:
            ImportError: matplotlib is not installed (`pip install 'fanin[plot]'`).
        """
        series = [plots.Series("activations", [each.output.std for each in self.layers])]
        if self.weighted:
            expected = [math.nan if each.expected is None else each.expected for each in self.layers]
            series.append(plots.Series("expected", expected, kind="marks", color=2))
        if self.has_gradients:
            gradients = [math.nan if each.gradient is None else each.gradient.std for each in self.layers]
            series.append(plots.Series("gradients", gradients, color=1))
        with plots.figure() as (figure, axes):
            plots.lines_by_depth(axes[0], series, title=self.model, y="standard deviation")
        return figure


# ---------------------------------------------------------------- the table


@dataclass(frozen=True)
class _Column:
    """A column of the table: its name, and a layer's text in it."""

    name: str
    text: Callable[[ProbedLayer], str]

    def has(self, layer: ProbedLayer) -> bool:
        """Whether there is something to show of a layer."""
        return self.text(layer) != "–"

    def cell(self, layer: ProbedLayer) -> str | Toned:
        """A layer's cell, whose tone says how bad a verdict is."""
        text = self.text(layer)
        if self.name != "verdict":
            return text
        verdict = layer.verdict
        return Toned(text, "good" if verdict.is_ok else "warn" if verdict.word in _HARMLESS else "bad")


def _first_kernel(layer: ProbedLayer) -> ProbedParameter | None:
    """The parameter of a layer with the most axes, which its kernel has."""
    most = sorted(layer.parameters.values(), key=lambda each: len(each.values.shape), reverse=True)
    return most[0] if most else None


def _weight(layer: ProbedLayer) -> str:
    kernel = _first_kernel(layer)
    return number(None if kernel is None else kernel.values.std, 3)


def _weight_gradient(layer: ProbedLayer) -> str:
    kernel = _first_kernel(layer)
    return number(None if kernel is None else _std(kernel.gradient), 3)


def _rank(layer: ProbedLayer) -> str:
    rank = layer.output.rank
    return "–" if rank is None else f"{rank:.3g}/{layer.output.rank_limit}"


def _share(value: float | None) -> str:
    return "–" if value is None else _percent(value)


_COLUMNS = (
    _Column("layer", lambda each: each.name),
    _Column("type", lambda each: each.layer),
    _Column("shape", lambda each: "×".join(map(str, each.output.shape))),
    _Column("mean", lambda each: number(each.output.mean, 3)),
    _Column("std", lambda each: number(each.output.std, 3)),
    _Column("÷ theory", lambda each: number(each.ratio, 3)),
    _Column("zeros", lambda each: _share(each.output.zeros)),
    _Column("saturated", lambda each: _share(each.output.saturated)),
    _Column("dead", lambda each: f"{each.output.dead}/{each.output.units}"),
    _Column(
        "rank", lambda each: "–" if each.output.rank is None else f"{each.output.rank:.3g}/{each.output.rank_limit}"
    ),
    _Column("gradient", lambda each: number(_std(each.gradient), 3)),
    _Column("weight", _weight),
    _Column("its gradient", _weight_gradient),
    _Column("verdict", lambda each: each.verdict.word),
)
_ALWAYS = ("layer", "type", "std", "verdict")
_RIGHT = tuple(column.name for column in _COLUMNS if column.name not in ("layer", "type", "verdict"))
_SPARED = ("its gradient", "weight", "shape", "mean", "saturated", "type")
