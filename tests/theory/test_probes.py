"""Reports of probes, made of signals that are known: what they blame, and what they show."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fanin
from fanin.report import terminal_width
from fanin.theory.batches import check_samples, not_finite
from fanin.theory.findings import ADVICE, Finding
from fanin.theory.probes import Probe, ProbedLayer, ProbedParameter
from fanin.theory.signals import Signal, Values, measure

NORMAL = np.random.default_rng(5).normal(size=(64, 32))
NAN = np.where(NORMAL > 2, np.nan, NORMAL)


def signal(array: Any) -> Signal:
    """An array, measured."""
    return measure(Values.of(np.asarray(array)))


def layer(path: str, output: Any, gradient: Any = None, parameters: Mapping[str, Any] | None = None) -> ProbedLayer:
    """A dense layer of these outputs, of which theory expects what they are."""
    found, own = signal(output), {name: ProbedParameter(signal(each)) for name, each in (parameters or {}).items()}
    of_gradient = None if gradient is None else signal(gradient)
    return ProbedLayer(path, "Dense", found, gradient=of_gradient, parameters=own, expected=found.std or None)


def words(probe: Probe) -> dict[str, str]:
    """The sentences of a probe by their words."""
    return {each.word: each.sentence for each in probe.verdicts}


def of_head(factor: float) -> Probe:
    """Nine level layers, and a last one that scales all by a factor, gradients on their way back, too."""
    layers = [layer(f"h.{each}", NORMAL, factor * NORMAL) for each in range(9)]
    return Probe((*layers, layer("head", factor * NORMAL, NORMAL)), "Model", has_gradients=True)


def test_a_jump_names_its_layer() -> None:
    """One layer that shrinks everything is what is wrong, and there is no trend through the others."""
    found = words(of_head(1e-40))
    assert list(found) == ["signal drops", "gradient drops"]
    assert all(sentence.startswith("× 1e-40 in head, from ") for sentence in found.values())


def test_a_jump_up() -> None:
    """The same, of a factor that is large."""
    assert list(words(of_head(1e12))) == ["signal jumps", "gradient jumps"]


def test_factors_of_healthy_models_are_no_jumps() -> None:
    """Means of attention are 60 times smaller than what they are of; gradients of scaled branches 1e-8 times."""
    assert list(words(of_head(1 / 60))) == ["ok"]
    layers = [layer(f"h.{each}", NORMAL, (1 if each == 9 else 1e-8) * NORMAL) for each in range(10)]
    assert list(words(Probe(tuple(layers), "Model", has_gradients=True))) == ["ok"]


def test_further_jumps_are_counted() -> None:
    """The first one is named."""
    layers = [layer(f"h.{each}", NORMAL * (1e6 if each in (3, 6) else 1)) for each in range(12)]
    found = words(Probe(tuple(layers), "Model", has_gradients=False))
    assert list(found) == ["signal jumps"]
    assert found["signal jumps"].startswith("× 1e+06 in h.3, ")
    assert found["signal jumps"].endswith(", and in 1 more layer")


def test_nan_begins_in_outputs() -> None:
    """Gradients are NaN in every layer: the first with such outputs is blamed."""
    layers = [layer(f"h.{each}", NORMAL, NAN) for each in range(6)]
    probe = Probe((*layers, layer("head", NAN, NORMAL), layer("after", NAN, NORMAL)), "Model", has_gradients=True)
    assert words(probe)["not finite"].startswith("8 of 8 layers, first head: ")
    assert "outputs are NaN" in words(probe)["not finite"]


def test_nan_of_gradients_begins_at_the_end() -> None:
    """Where all outputs are finite, the last layer with such gradients is the first in time."""
    layers = [layer(f"h.{each}", NORMAL, NAN if each < 4 else NORMAL) for each in range(6)]
    probe = Probe(tuple(layers), "Model", has_gradients=True)
    assert words(probe)["not finite"].startswith("4 of 6 layers, first h.3: ")


def test_sizes_that_are_not_finite_have_no_trend() -> None:
    """Moments of what is finite among NaN say nothing of the signal."""
    layers = [layer(f"h.{each}", NAN * 10.0**each) for each in range(8)]
    assert list(words(Probe(tuple(layers), "Model", has_gradients=False))) == ["not finite"]


def test_every_word_has_its_sentence() -> None:
    """A harmless word of one layer is told below the table, and is no verdict on the model."""
    alike = np.outer(np.ones(64), NORMAL[0])
    probe = Probe((*(layer(f"h.{each}", NORMAL) for each in range(6)), layer("head", alike)), "Model", False)
    assert list(words(probe)) == ["ok"]
    [remark] = probe.remarks
    assert (remark.word, remark.sentence) == (
        "collapsed",
        "1 of 7 layers, first head: effective rank 1 of 32: samples look alike",
    )
    assert f"{remark} (harmless alone)" in str(probe)
    assert probe.as_dict()["remarks"] == [{"word": remark.word, "sentence": remark.sentence, "advice": remark.advice}]


@pytest.mark.parametrize(
    ("parameters", "shown"),
    [
        ({"scale": np.ones(8), "bias": np.zeros(8)}, "all 1"),
        ({"bias": np.zeros(8), "scale": np.ones(8)}, "all 1"),
        ({"beta": np.zeros(8), "gamma": np.full(8, 0.5)}, "all 0.5"),
        ({"bias": np.ones(8), "kernel": np.zeros((8, 8))}, "all 0"),
        ({"bias": np.zeros(2), "kernel": np.array([[1.0, -1.0]])}, "1"),
        ({}, "–"),
    ],
    ids=["norm", "sorted", "keras", "zeros", "kernel", "none"],
)
def test_weights_that_are_equal(parameters: dict[str, Any], shown: str) -> None:
    """They are shown as what they are: the standard deviation of a norm's ones, 0, looks like a weight of zeros."""
    with_kernel = layer("other", NORMAL, parameters={"kernel": NORMAL})
    table = Probe((layer("norm", NORMAL, parameters=parameters), with_kernel), "Model", False).table()
    assert str(table.rows[0][table.heads.index("weight")]) == shown


def test_narrow_tables_keep_what_matters() -> None:
    """At 45 columns a layer still has its size, its ratio, its gradient and its verdict."""
    heads = of_head(1.0).table().text(45).splitlines()[0]
    assert heads.split("  ")[0] == "layer"
    assert heads.split()[1:] == ["std", "÷", "theory", "gradient", "verdict"]


def test_it_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed to a terminal has its width; what goes elsewhere is whole."""
    assert "mean" in str(of_head(1.0)).splitlines()[0]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    assert terminal_width() == 60
    assert max(map(len, str(of_head(1.0)).splitlines()[:-2])) <= 60


def test_every_word_has_advice() -> None:
    """Whatever a probe may find, it says what to do; the report's footnotes have it, too."""
    source = (Path(fanin.__file__).parent / "theory" / "probes.py").read_text(encoding="utf-8")
    of_layers = set(re.findall(r'Finding\(\s*"([a-z ]+)"', source)) - {"ok"}
    ways = ("explodes", "vanishes", "jumps", "drops")
    assert len(of_layers) > 5
    assert set(ADVICE) == of_layers | {f"{flow} {way}" for flow in ("signal", "gradient") for way in ways}
    assert ADVICE["signal jumps"] in " ".join(str(of_head(1e12)).split())
    assert Finding("ok", "fine").line == "ok: fine"


def cut(path: str, output: Any = NORMAL, gradient: Any = NORMAL) -> ProbedLayer:
    """A layer of which a gradient is asked."""
    return replace(layer(path, output, gradient), asked=True)


def test_a_layer_of_zeros_comes_first() -> None:
    """What it does to the gradient is told after it, and is not harmless: the input does not reach the output."""
    none = 0 * NORMAL
    before = [cut(f"h.{each}", 0.3**each * NORMAL, none) for each in range(3)]
    after = [cut(f"h.{each}", 0.3**each * NORMAL, 0.3 ** (9 - each) * NORMAL) for each in range(4, 10)]
    probe = Probe((*before, cut("h.3", none), *after), "Model", has_gradients=True)
    assert [each.word for each in probe.verdicts] == ["zero", "signal vanishes", "no gradient", "gradient vanishes"]
    assert not probe.remarks


def test_nan_comes_before_zeros() -> None:
    """Values that are not finite are the first cause, then zeros, then what changes by depth."""
    grown = [layer(f"h.{each}", 3.0**each * NORMAL) for each in range(6)]
    probe = Probe((*grown, layer("zero", 0 * NORMAL), layer("head", NAN)), "Model", has_gradients=False)
    assert list(words(probe)) == ["not finite", "zero", "signal explodes"]


def test_a_detached_part_is_not_harmless() -> None:
    """More than a few layers at the beginning without a gradient have been cut off from the loss."""
    layers = [cut(f"h.{each}", gradient=None if each < 4 else NORMAL) for each in range(10)]
    probe = Probe(tuple(layers), "Model", has_gradients=True)
    assert words(probe) == {"no gradient": "4 of 10 layers, first h.0: no gradient reaches it"}


def test_an_unused_branch_is_harmless() -> None:
    """Layers that nothing uses lack a gradient, in a branch behind others that have one, or a few at the beginning."""
    for unused in (range(3, 8), range(2)):
        layers = [cut(f"h.{each}", gradient=None if each in unused else NORMAL) for each in range(10)]
        probe = Probe(tuple(layers), "Model", has_gradients=True)
        assert list(words(probe)) == ["ok"]
        assert [each.word for each in probe.remarks] == ["no gradient"]


def test_a_trend_of_some_sizes_is_not_first() -> None:
    """Where sizes are zero, what makes them so is told before the trend of the others, harmless as it may be."""
    layers = [cut(f"h.{each}", NORMAL, 3.0**each * NORMAL * (each not in (4, 6))) for each in range(12)]
    probe = Probe(tuple(layers), "Model", has_gradients=True)
    assert list(words(probe)) == ["no gradient", "gradient vanishes"]


def test_the_charts_sentence_counts_layers() -> None:
    """A signal that keeps its size may be dead, collapsed or zero all the same, and the sentence says so."""
    alike = np.outer(np.ones(64), NORMAL[0])
    layers = [*(cut(f"h.{each}", alike) for each in range(7)), cut("head")]
    signal, gradient = Probe(tuple(layers), "Model", has_gradients=True).charts()
    assert signal.description == "The signal through 8 layers: it keeps its size. Verdicts on layers: 7 collapsed."
    assert gradient.description == "The gradient through 8 layers: it keeps its size."
    layers[0] = cut("h.0", 0 * NORMAL)
    signal, _ = Probe(tuple(layers), "Model", has_gradients=True).charts()
    assert signal.description == "The signal through 8 layers. Verdicts on layers: 1 zero, 6 collapsed."


def test_equal_gradients_are_gradients() -> None:
    """The gradient of a mean is the same at every output."""
    assert cut("head", NORMAL, np.full((64, 32), 1 / 64)).verdict.is_ok


def test_a_batch_that_is_not_finite() -> None:
    """The first sentence speaks of the batch, and only where a layer is not finite: masks have infinities."""
    said = not_finite([Values.of(NAN), Values.of(np.ones(3))])
    assert said == f"the batch itself has {np.isnan(NAN).sum()} of 2,051 numbers that are NaN or infinite"
    probe = Probe((layer("head", NAN),), "Model", has_gradients=False, batch=said)
    assert words(probe)["not finite"].startswith(f"{said}; 1 of 1 layer, first head: ")
    assert list(words(replace(probe, layers=(layer("head", NORMAL),)))) == ["ok"]


def test_an_empty_batch() -> None:
    """A batch needs samples; some of its arrays may be empty, such as a cache."""
    with pytest.raises(ValueError, match=r"of shapes \(0, 3\), \(0,\)\. Give one at least"):
        check_samples([(0, 3), (0,), ()])
    check_samples([(2, 3), (2, 0)])
    check_samples([])
