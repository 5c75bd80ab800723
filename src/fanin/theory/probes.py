"""The report of a probe: what a batch does in each layer of a model, against theory, and what that means."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from fanin._core.messages import plural
from fanin.report import inline, markup, number, plain, plots, terminal_width
from fanin.report.charts import Charts
from fanin.report.markup import Tone, printed
from fanin.report.tables import Table, Toned
from fanin.theory.charts import HARMLESS, probe_charts
from fanin.theory.findings import Finding
from fanin.theory.signals import Signal
from fanin.theory.trends import jumps, trend

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fanin.report.figures import Theme

_GROWTH = 10.0  # what a signal may grow or shrink by through the whole model
_JUMP = 1e3  # what a signal may change by in one layer: in healthy models, attention's means change it by 60
_GRADIENT_JUMP = 1e10  # what a gradient may: it is spread by pooling, and scaled by 1e-6 in the layers of ConvNeXt
_DEAD, _SATURATED = 0.25, 0.5  # the shares of a layer from which it is called so
_MOST_ROWS, _MOST_NOTES = 200, 40  # of a report in a notebook
_FEWEST_ROWS = 16  # fewer samples than this leave healthy units of a ReLU at zero
_COLLAPSED, _LEAST_LIMIT = 1.5, 8  # the effective rank of a collapsed layer, where it could be this much
_MOST_NAMES = 5  # of layers in a note
_FEW = 3  # layers without a gradient, which may be a branch that nothing uses
_CAUSES = ("not finite", "zero", "constant")  # verdicts on layers that explain what else is wrong, the worst first
_EXPLAINING = ("constant", "no gradient")  # harmless verdicts that say why sizes are zero
_OWING = 0.5  # the share of a layer's mean square from which its outputs are called those of its bias
_OFF = 2.0  # measured ÷ expected, or its inverse, from which weights and inputs are not independent


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
    def lacks_gradient(self) -> bool:
        """Whether there should be a gradient, and there is none, or one of zeros."""
        return self.asked and (self.gradient is None or self.gradient.zeros == 1)

    @property
    def owes_to_bias(self) -> bool:
        """Whether the outputs are hardly more than the layer's bias, as where no signal reaches it."""
        biases = (each.values.second_moment for name, each in self.parameters.items() if "bias" in name)
        return max(biases, default=0.0) > _OWING * self.output.second_moment

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
                "verdict": self.verdict.as_dict(),
            }
        )


def _std(signal: Signal | None) -> float | None:
    return None if signal is None else signal.std


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 or not share else f"{100 * share:.1g} %"


def unreached(layers: Sequence[str]) -> tuple[str, ...]:
    """The note of a probe on layers that neither ran nor have a gradient; none if there are none.

    Args:
        layers: their paths.

    >>> from fanin.theory.probes import unreached
    >>> unreached(["norm"])
    ('norm did not run, and no gradient comes to its parameters: does the code of the model call it?',)
    """
    if not layers:
        return ()
    more = f" and {len(layers) - _MOST_NAMES} more" if len(layers) > _MOST_NAMES else ""
    names = ", ".join(layers[:_MOST_NAMES]) + more
    its, it = ("its", "it") if len(layers) == 1 else ("their", "them")
    return (f"{names} did not run, and no gradient comes to {its} parameters: does the code of the model call {it}?",)


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
    if not layer.lacks_gradient:
        return None
    return Finding("no gradient", "no gradient reaches it" if layer.gradient is None else "its gradient is all zero")


_Judge = Callable[[ProbedLayer], Finding | None]
_JUDGES: tuple[_Judge, ...] = (_not_finite, _zero, _dead, _saturated, _no_gradient, _collapsed, _off_theory)


# ---------------------------------------------------------------- the whole


@dataclass(frozen=True)
class _Flow:
    """What passes through layers: the signal, or the gradient on its way back.

    Attributes:
        name: "signal" or "gradient".
        sizes: its standard deviations, in the order in which it passes; NaN where it is not finite.
        through: what it passes through to get each size from the one before.
    """

    name: str
    sizes: tuple[float, ...]
    through: tuple[str, ...]

    @classmethod
    def of_signal(cls, layers: Sequence[ProbedLayer]) -> _Flow:
        """The signal, which passes through a layer to get its outputs' size."""
        through = (f"{each.name} (by its bias)" if each.owes_to_bias else each.name for each in layers)
        return cls("signal", tuple(_size(each.output) for each in layers), tuple(through))

    @classmethod
    def of_gradient(cls, layers: Sequence[ProbedLayer]) -> _Flow:
        """The gradient, which passes back through a layer to the outputs of the one before."""
        passed = [each for each in reversed(layers) if each.gradient is not None]
        names = [each.name for each in passed]
        return cls("gradient", tuple(_size(each.gradient) for each in passed), ("", *names[:-1]))

    @property
    def trend(self) -> float | None:
        """The factor a layer; None if there are too few."""
        return trend(self.sizes)

    @property
    def is_whole(self) -> bool:
        """Whether all sizes count: one that is zero or not finite is a cause of its own."""
        return all(0 < each < math.inf for each in self.sizes)

    def findings(self) -> list[Finding]:
        """Whether it grows or shrinks too much, by depth or in one layer."""
        return [*self._of_trend(), *self._of_jumps()]

    def _of_trend(self) -> Iterator[Finding]:
        factor = self.trend
        total = 1.0 if factor is None else _power(factor, len(self.sizes) - 1)
        if not 1 / _GROWTH <= total <= _GROWTH:
            way = "explodes" if total > 1 else "vanishes"
            through = f"× {number(total, 3)} through {len(self.sizes)} layers"
            yield Finding(f"{self.name} {way}", f"× {number(factor, 3)} a layer, {through}")

    def _of_jumps(self) -> Iterator[Finding]:
        # Gradients of branches, such as those of attention's keys, may be far smaller than those of the way besides.
        is_gradient = self.name == "gradient"
        found = list(jumps(self.sizes, _GRADIENT_JUMP if is_gradient else _JUMP, lasting=is_gradient))
        for way, some in (
            ("jumps", [each for each in found if each.factor > 1]),
            ("drops", [each for each in found if each.factor < 1]),
        ):
            if some:
                first, *others = some
                more = f", and in {len(others)} more {plural(len(others), 'layer')}" if others else ""
                sizes = f"from {number(self.sizes[first.before], 3)} to {number(self.sizes[first.at], 3)}"
                where = f"× {number(first.factor, 3)} in {self.through[first.at]}, {sizes}"
                yield Finding(f"{self.name} {way}", where + more)


def _size(signal: Signal | None) -> float:
    return math.nan if signal is None or signal.nonfinite else signal.std


def _power(factor: float, exponent: int) -> float:
    try:
        return factor**exponent
    except OverflowError:
        return math.inf


def _origin(layers: Sequence[ProbedLayer]) -> ProbedLayer:
    """The first in time of layers with the same verdict: NaN begins in outputs, or else where gradients come from."""
    if layers[0].verdict.word != "not finite":
        return layers[0]
    return next((each for each in layers if each.output.nonfinite), layers[-1])


@dataclass(frozen=True)
class Probe:
    """What a batch does in each layer of a model, in the order in which the layers ran.

    Attributes:
        layers: the calls of layers.
        model: the type of the model.
        has_gradients: whether gradients were asked for, and computed.
        notes: what is to be known besides, such as why there are no gradients.
        batch: what is wrong with the batch itself; "" if nothing is.
    """

    layers: tuple[ProbedLayer, ...]
    model: str
    has_gradients: bool
    notes: tuple[str, ...] = ()
    batch: str = ""

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
        """What is wrong with the model, by cause: values that are not finite, zero or constant; how signal and gradient
        change by depth; what else layers have. What changes by depth comes last where some sizes are zero.
        """
        words = [word for word in self._words if not self._is_harmless(word)]
        causes = [self._of_layers(word) for word in _CAUSES if word in words]
        others = [self._of_layers(word) for word in words if word not in _CAUSES]
        found = (*causes, *self._of_flows(whole=True), *others, *self._of_flows(whole=False))
        return found or (Finding("ok", self._in_order()),)

    @property
    def remarks(self) -> tuple[Finding, ...]:
        """The verdicts of single layers that well-made models have, too, and that say nothing of the model."""
        return tuple(self._of_layers(word) for word in self._words if self._is_harmless(word))

    @property
    def _flows(self) -> tuple[_Flow, _Flow]:
        layers = self.weighted or self.layers
        return _Flow.of_signal(layers), _Flow.of_gradient(layers)

    @property
    def _words(self) -> dict[str, list[ProbedLayer]]:
        """The layers by the words of their verdicts, but for those that are ok."""
        words: dict[str, list[ProbedLayer]] = {}
        for each in self.layers:
            if not each.verdict.is_ok:
                words.setdefault(each.verdict.word, []).append(each)
        return words

    def _of_flows(self, *, whole: bool) -> list[Finding]:
        """How signal and gradient change by depth: those all of whose sizes count, or the others."""
        return [finding for flow in self._flows if flow.is_whole == whole for finding in flow.findings()]

    def _is_harmless(self, word: str) -> bool:
        """Whether well-made models have layers of this verdict, too, and it explains nothing that is wrong."""
        if word in _EXPLAINING and self._of_flows(whole=False):
            return False
        if word == "no gradient" and self._is_cut:
            return False
        return word in HARMLESS and len(self._words[word]) * 2 <= len(self.layers)

    @property
    def _is_cut(self) -> bool:
        """Whether the loss does not depend on the first layers, as behind a layer of zeros or a detached tensor.

        Branches that nothing uses lack a gradient, too, but what stands before them has one.
        """
        first = list(takewhile(lambda each: each.lacks_gradient, self.weighted or self.layers))
        return len(first) > _FEW or (bool(first) and "zero" in self._words)

    def _of_layers(self, word: str) -> Finding:
        """One verdict for all layers with a word, with their number and the first of them."""
        layers = self._words[word]
        first, total = _origin(layers), len(self.layers)
        count = f"{len(layers)} of {total} {plural(total, 'layer')}"
        before = f"{self.batch}; " if self.batch and word == "not finite" else ""
        return Finding(word, f"{before}{count}, first {first.name}: {first.verdict.sentence}")

    def _in_order(self) -> str:
        known = [f"{flow.name} × {number(flow.trend, 3)} a layer" for flow in self._flows if flow.trend is not None]
        return ", ".join(known) or "nothing to report"

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data: `model`, `gradients`, `layers`, `verdicts`, `remarks` and `notes`.

        A layer has `path`, `type`, `call`, `shape`, `mean`, `std`, `nonfinite`, `zeros`, `units`, `dead`, `saturated`,
        `rank`, `rank_limit`, `gradient_std`, `expected_std`, `ratio`, `parameters` (by name: `shape`, `std`,
        `gradient_std`) and `verdict`. That and each of `verdicts` and `remarks` have `word`, `sentence` and `advice`.
        Numbers that are unknown or not finite are None.
        """
        return {
            "model": self.model,
            "gradients": self.has_gradients,
            "layers": [each.as_dict() for each in self.layers],
            "verdicts": [each.as_dict() for each in self.verdicts],
            "remarks": [each.as_dict() for each in self.remarks],
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
            footnotes=[
                *(each.line for each in self.verdicts),
                *(f"{each} (harmless alone)" for each in self.remarks),
                *self.notes,
            ],
        )

    def __str__(self) -> str:
        return self.table().text(terminal_width())

    _repr_pretty_ = printed

    def _repr_html_(self) -> str:
        """The strip of verdicts, signal and gradient as sparklines, and the table, for notebooks."""
        table, lines = self.table(), ""
        for flow in self._flows:
            by_depth = flow.sizes if flow.name == "signal" else flow.sizes[::-1]
            picture = inline.line(by_depth, f"the {flow.name} by depth")
            back = " on its way back" if flow.name == "gradient" else ""
            factor = f" × {number(flow.trend, 3)} a layer{back}" if flow.trend is not None else ""
            lines += markup.element("p", f"{picture} {flow.name}{factor}") if picture else ""
        notes = inline.listed(table.notes(_MOST_ROWS), _MOST_NOTES)
        return markup.fragment(inline.strip(self._parts), lines, table.element(_MOST_ROWS), markup.paragraphs(notes))

    @property
    def _parts(self) -> dict[str, tuple[int, Tone]]:
        """How many layers have which verdict, the good ones first."""
        counts = Counter(each.verdict.word for each in self.layers)
        ranked = sorted(counts, key=lambda word: (word != "ok", word not in HARMLESS, -counts[word]))
        return {word: (counts[word], _tone(word)) for word in ranked}

    def charts(self) -> Charts:
        """Charts by depth: "signal", with what theory expects, and "gradient". Layers with findings are emphasized."""
        return probe_charts(self.as_dict())

    def plot(self, theme: Theme = "any") -> Figure:
        """The charts as a figure of matplotlib.

        Args:
            theme: the background: "light", "dark", or "any" for none, with colours that are legible on both.

        Raises:
            ImportError: matplotlib is not installed (`pip install 'fanin[plot]'`).
            ValueError: no layer ran.
        """
        return plots.drawn(self.charts(), theme, self.model)


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
        return Toned(text, _tone(verdict.word))


def _tone(word: str) -> Tone:
    return "good" if word == "ok" else "warn" if word in HARMLESS else "bad"


def _kernel(layer: ProbedLayer) -> ProbedParameter | None:
    """The kernel of a layer, or the scale of a norm: the parameter with the most axes, and rather not a bias."""
    named = layer.parameters.items()
    ranked = sorted(named, key=lambda each: (-len(each[1].values.shape), "bias" in each[0] or each[0] == "beta"))
    return ranked[0][1] if ranked else None


def _weight(layer: ProbedLayer) -> str:
    """The standard deviation of a kernel; where all its elements are equal, these."""
    kernel = _kernel(layer)
    if kernel is not None and not kernel.values.std:
        return f"all {number(kernel.values.mean, 3)}"
    return number(None if kernel is None else kernel.values.std, 3)


def _weight_gradient(layer: ProbedLayer) -> str:
    kernel = _kernel(layer)
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
    _Column("rank", _rank),
    _Column("gradient", lambda each: number(_std(each.gradient), 3)),
    _Column("weight", _weight),
    _Column("its gradient", _weight_gradient),
    _Column("verdict", lambda each: each.verdict.word),
)
_ALWAYS = ("layer", "type", "std", "verdict")
_RIGHT = tuple(column.name for column in _COLUMNS if column.name not in ("layer", "type", "verdict"))
_SPARED = ("its gradient", "weight", "shape", "mean", "saturated", "type", "zeros", "dead", "rank")
