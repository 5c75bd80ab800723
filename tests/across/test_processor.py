"""Modes of the processor that PyTorch and others set: no bit depends on them, and a call leaves them as they are."""

from __future__ import annotations

import ctypes
import math
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fanin
from catalogue import CATALOGUE, fresh
from fanin import distributions
from fanin._core.angles import frequencies
from fanin._core.settings import TIERS
from fanin._core.streams import Stream
from fanin.audits.inspections import inspect
from fanin.models.files import describe_text
from strategies import FLOAT_DTYPES, Call

torch = pytest.importorskip("torch")


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """The processor flushes subnormal numbers in this thread, as `torch.set_flush_denormal(True)` makes it."""
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush subnormal numbers")
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def rounding(mode: int) -> Callable[[], Any]:
    """A context in which the processor rounds this thread's operations otherwise."""

    @contextmanager
    def context() -> Iterator[None]:
        libm = ctypes.CDLL("libm.so.6")
        before = libm.fegetround()
        assert libm.fesetround(mode) == 0
        try:
            yield
        finally:
            libm.fesetround(before)

    return context


# FE_DOWNWARD, FE_UPWARD and FE_TOWARDZERO of x86
MODES = {
    "flush": flushed_denormals,
    "downward": rounding(0x400),
    "upward": rounding(0x800),
    "toward zero": rounding(0xC00),
}
rounding_modes_are_known = pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.machine() != "x86_64", reason="modes are set by the numbers of x86"
)


@rounding_modes_are_known
@pytest.mark.parametrize("dtype", FLOAT_DTYPES)
@pytest.mark.parametrize("tier", [tier for tier in TIERS if tier != "reference"])  # NumPy obeys the thread's modes
@pytest.mark.parametrize("mode", MODES)
def test_modes_of_the_processor_reach_no_kernel(mode: str, tier: str, dtype: str) -> None:
    """However the calling thread rounds or flushes, kernels draw the same bytes, on threads of their own too."""
    smallest = {"float16": 2.0**-14, "float64": 2.0**-1022}.get(dtype, 2.0**-126)  # as a spread, it makes subnormals
    cases = [  # whose parameters are exact in every dtype
        Call("RandomNormal", {"mean": 0.125, "stddev": 0.75, "seed": 3}, (10_003,), dtype),
        Call("TruncatedNormal", {"mean": 0.125, "stddev": 0.75, "seed": 3}, (1100, 1000), dtype),
        Call("RandomUniform", {"minval": -0.125, "maxval": 0.75, "seed": 3}, (10_003,), dtype),
        Call("RandomNormal", {"stddev": smallest, "seed": 3}, (5000,), dtype),
    ]
    with fanin.config.using(tier=tier, threads=2):
        for call in cases:
            expected = call.run(fanin)
            with MODES[mode]():
                result = call.run(fanin)
            assert result.tobytes() == expected.tobytes(), call


PARAMETER_CALLS = {
    "subnormal spread": Call("RandomNormal", {"stddev": 1e-39, "seed": 1}, (1000,), "float32"),
    "subnormal mean": Call("TruncatedNormal", {"mean": 1e-40, "stddev": 1e-38, "seed": 1}, (1000,), "float32"),
    "subnormal bounds": Call("RandomUniform", {"minval": -1e-40, "maxval": 2e-40, "seed": 1}, (1000,), "float32"),
    "subnormal bfloat16": Call("RandomNormal", {"stddev": 1e-38, "seed": 1}, (1000,), "bfloat16"),
    "subnormal float16": Call("RandomNormal", {"stddev": 1e-5, "seed": 1}, (1000,), "float16"),
    "subnormal float64": Call("RandomNormal", {"stddev": 1e-309, "seed": 1}, (1000,), "float64"),
    "subnormal constant": Call("Constant", {"value": 1e-40}, (3,), "float32"),
    "subnormal gain": Call("Identity", {"gain": 1e-40}, (3, 3), "float32"),
    "normal": Call("RandomNormal", {"mean": 0.1, "stddev": 0.7, "seed": 1}, (1000,), "float32"),
    "normal float16": Call("RandomNormal", {"mean": 0.1, "stddev": 0.7, "seed": 1}, (1000,), "float16"),
    "normal bfloat16": Call("RandomNormal", {"mean": 0.1, "stddev": 0.7, "seed": 1}, (1000,), "bfloat16"),
    "normal float64": Call("RandomNormal", {"mean": 0.1, "stddev": 0.7, "seed": 1}, (1000,), "float64"),
    "uniform": Call("RandomUniform", {"minval": -0.1, "maxval": 0.7, "seed": 1}, (1000,), "float32"),
    "uniform float64": Call("RandomUniform", {"minval": -0.1, "maxval": 0.7, "seed": 1}, (1000,), "float64"),
    "constant": Call("Constant", {"value": 0.1}, (3,), "float32"),
    "constant float16": Call("Constant", {"value": 0.1}, (3,), "float16"),
    "identity": Call("Identity", {"gain": 0.1}, (3, 3), "bfloat16"),
}


@rounding_modes_are_known
@pytest.mark.parametrize("case", PARAMETER_CALLS)
@pytest.mark.parametrize("mode", MODES)
def test_modes_of_the_processor_reach_no_parameter(mode: str, case: str) -> None:
    """Parameters are rounded to the dtype alike, however the calling thread rounds or flushes."""
    call = PARAMETER_CALLS[case]
    expected = call.run(fanin)
    with MODES[mode]():
        result = call.run(fanin)
    assert result.tobytes() == expected.tobytes()


@rounding_modes_are_known
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("mode", MODES)
def test_modes_of_the_processor_reach_no_fan(mode: str, dtype: str) -> None:
    """Limits computed from fans are alike, and none that was made in another mode is kept for later."""
    rows = 201 + list(MODES).index(mode)  # a shape of its own, as what was computed for one is remembered
    with MODES[mode]():
        inside = fanin.LecunUniform(seed=1)((rows, 89), dtype)
    # of the same fan-in, and so of the same limit: the same elements, and more of them
    outside = fanin.LecunUniform(seed=1)((rows, 90), dtype).reshape(-1)[: inside.size]
    assert inside.tobytes() == outside.tobytes()
    assert fanin.LecunUniform(seed=1)((rows, 89), dtype).tobytes() == outside.tobytes()


# Ways to a tensor of an initializer, whose bytes and parameters are to be the same in every mode. What is computed from
# fans is remembered by shape, so each mode gets shapes of its own: (n, n) in the default mode, and (1, n, n), which has
# the same fans and elements, in the other one.


def described(distribution: fanin.Distribution) -> tuple[Any, ...]:
    """All that a distribution says of itself, and a tensor of it."""
    drawn = fanin.Weight(distribution, Stream(3)).make().tobytes()
    return distribution.parameters(), distribution.bounds, distribution.moments, drawn


WAYS: dict[str, Callable[[str, tuple[int, ...], str], Any]] = {
    "call": lambda name, shape, dtype: fresh(name)(shape, dtype).tobytes(),
    "weight": lambda name, shape, dtype: fresh(name).weight(shape, dtype).make().tobytes(),
    "distribution": lambda name, shape, dtype: described(fresh(name).distribution(shape, dtype)),
}
CASES = [(name, dtype) for name, (_, dtypes, _) in CATALOGUE.items() for dtype in dtypes]


@rounding_modes_are_known
@pytest.mark.parametrize(("name", "dtype"), CASES)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", MODES)
def test_modes_of_the_processor_reach_no_initializer(mode: str, way: str, name: str, dtype: str) -> None:
    """Every initializer and dtype, by a call, a weight or a distribution: the same parameters and bytes."""
    n = 19 + 4 * list(WAYS).index(way) + list(MODES).index(mode)
    initializer, _, ranks = CATALOGUE[name]
    has_axes = any(key.endswith("_axis") for key in initializer.get_config())  # they mean others in another rank
    shape = (n, n) if 2 in ranks else (1, n, n)
    frequencies.cache_clear()
    with MODES[mode]():
        inside = WAYS[way](name, (1, n, n) if 3 in ranks and not has_axes else shape, dtype)
    frequencies.cache_clear()
    outside = WAYS[way](name, shape, dtype)
    assert repr(inside) == repr(outside)  # outside: text depends on the mode


LAWS: dict[str, Callable[[np.dtype[Any]], fanin.Distribution]] = {
    "Normal": lambda dtype: distributions.Normal((3, 5), dtype, 0.1, 1e-39),
    "TruncatedNormal": lambda dtype: distributions.TruncatedNormal((3, 5), dtype, 1e-39, 0.7),
    "Uniform": lambda dtype: distributions.Uniform((3, 5), dtype, -0.1, 0.7),
    "Uniform, subnormal": lambda dtype: distributions.Uniform((3, 5), dtype, 1e-40, 3e-40),
    "BoundedNormal": lambda dtype: distributions.BoundedNormal((3, 5), dtype, 0.1, 0.7, -0.3, 0.9),
    "BoundedNormal, tail": lambda dtype: distributions.BoundedNormal((3, 5), dtype, 0.1, 0.1, 2.3, math.inf),
    "Exponential": lambda dtype: distributions.Exponential((3, 5), dtype, 0.3),
    "LogNormal": lambda dtype: distributions.LogNormal((3, 5), dtype, 0.1, 0.7),
    "Bernoulli": lambda dtype: distributions.Bernoulli((3, 5), dtype, 0.3),
    "Sparse": lambda dtype: distributions.Sparse((3, 5), dtype, 0.3, 0.1),
    "Identity": lambda dtype: distributions.Identity((3, 5), dtype, 0.1),
    "Orthogonal": lambda dtype: distributions.Orthogonal((3, 5), dtype, 0.1),
}


@rounding_modes_are_known
@pytest.mark.parametrize("dtype", FLOAT_DTYPES)
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("mode", MODES)
def test_modes_of_the_processor_reach_no_distribution(mode: str, law: str, dtype: str) -> None:
    """A distribution that is made by hand in another mode has the same parameters, and keeps them afterwards."""
    resolved = fanin.Zeros()((), dtype).dtype
    expected = described(LAWS[law](resolved))
    with MODES[mode]():
        made = LAWS[law](resolved)
        inside = described(made)
    assert repr(inside) == repr(expected)
    assert repr(described(made)) == repr(expected)


@rounding_modes_are_known
@pytest.mark.parametrize("mode", MODES)
def test_modes_of_the_processor_reach_no_class_of_ones_own(mode: str) -> None:
    """The distributions of a user's class are computed in the default mode as well."""

    class Tenth(fanin.SeededInitializer):
        def distribution(self, shape: Any, dtype: Any = None) -> fanin.Distribution:
            return distributions.Normal(tuple(shape), np.dtype(dtype), len(shape) / 3, 1e-300 * 1e-15 * len(shape))

    expected = described(Tenth(seed=1).distribution((3,), "float64"))
    with MODES[mode]():
        inside = described(Tenth(seed=1).distribution((3,), "float64"))
    assert repr(inside) == repr(expected)


@pytest.mark.parametrize("scale", [1e-310, 5e-324])
def test_a_subnormal_scale_is_positive(scale: float) -> None:
    """Also for a thread that takes subnormal numbers for 0."""
    with flushed_denormals():
        assert fanin.VarianceScaling(scale).scale.hex() == scale.hex()


# The rest of a rule, for each class with arguments. Where a thread rounds otherwise, texts are other floats.
RULES = {
    "RandomNormal": "mean = 0.3\nstddev = '0.7 / sqrt(3 * n)'",
    "TruncatedNormal": "mean = '1 / n'\nstddev = 0.3",
    "RandomUniform": "minval = '-0.07 * sqrt(n)'\nmaxval = 0.9",
    "truncated_normal": "stddev = 0.3\nminval = '-0.7 * n'\nmaxval = 0.9",
    "Exponential": "rate = '0.1 / n'",
    "LogNormal": "mean = -0.7\nstddev = '0.7 * n'",
    "Bernoulli": "p = '0.1 / n'",
    "Table": "values = [0.1]",
    "VarianceScaling": "scale = '1.3 ** 3 / n'\nfan_in = '7 / 3'\nfan_out = '7 * 0.1'\nmode = 'fan_avg'",
    "HeNormal": "fan_in = '10 / 3'",
    "LecunUniform": "fan_in = 0.7",
    "Constant": "value = '0.7 / n'",
    "Identity": "gain = '0.7 / n'",
    "Orthogonal": "gain = 0.7",
}


def loaded(folder: Path, name: str) -> fanin.Recipe:
    """A recipe of one rule, read from a file."""
    file = folder / f"{name}.toml"
    file.write_text(f"[constants]\nn = 0.3\n[[rules]]\npath = '*'\ninitializer = '{name}'\n{RULES[name]}\n")
    return fanin.Recipe.load(file)


@rounding_modes_are_known
@pytest.mark.parametrize("dtype", FLOAT_DTYPES)
@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("mode", MODES)
def test_modes_of_the_processor_reach_no_plan(mode: str, name: str, dtype: str, tmp_path: Path) -> None:
    """A recipe's file is read, its expressions are evaluated and its entries are drawn alike."""

    def planned() -> Any:
        entry = loaded(tmp_path, name).plan([{"path": "w", "shape": [5, 7], "dtype": dtype}]).entries[0]
        assert not entry.problem
        weight = entry.placements[0].weight
        return described(weight.distribution), weight.make().tobytes(), entry.mean, entry.stddev

    expected = planned()
    with MODES[mode]():
        inside = planned()
    assert repr(inside) == repr(expected)


@rounding_modes_are_known
@pytest.mark.parametrize("mode", MODES)
def test_modes_of_the_processor_reach_no_text(mode: str) -> None:
    """The numbers in a recipe's text, and in a list of shapes, are the same as in a file."""
    recipe = "[constants]\nn = 0.3\n[[rules]]\npath = '*'\ninitializer = 'random_normal'\nstddev = '0.7 * n'\n"
    shapes = '[{"path": "w", "shape": [5, 7], "fan_in": 0.7, "fan_out": 1e-310}]'

    def read() -> list[str]:
        entry = fanin.Recipe.from_toml(recipe).plan(describe_text(shapes, "-")).entries[0]
        assert entry.fans
        numbers = *entry.fans, entry.stddev, fanin.Recipe.from_toml(recipe).constants["n"]
        return [float(each or 0).hex() for each in numbers]

    expected = read()
    with MODES[mode]():
        inside = read()
    assert inside == expected


@rounding_modes_are_known
@pytest.mark.parametrize("name", ["HeNormal", "GlorotUniform", "Orthogonal", "Identity"])
@pytest.mark.parametrize("mode", MODES)
def test_modes_of_the_processor_reach_no_measurement(mode: str, name: str) -> None:
    """`fanin show` measures alike, and judges alike."""

    def measured() -> list[Any]:
        found = inspect(fresh(name), (23, 29), "float32")
        return [(each.measured, each.theory, each.difference, each.agrees) for each in found.statistics]

    expected = measured()
    with MODES[mode]():
        inside = measured()
    assert inside == expected


@rounding_modes_are_known
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("mode", MODES)
def test_modes_of_the_processor_reach_no_module(mode: str, name: str, dtype: str, tmp_path: Path) -> None:
    """`initialize` fills a PyTorch module with the same bytes."""
    from fanin.torch import initialize

    def initialized() -> bytes:
        layer = torch.nn.Linear(5, 7, bias=False, dtype=getattr(torch, dtype))
        initialize(layer, loaded(tmp_path, name))
        return bytes(layer.weight.detach().view(torch.uint8).numpy().tobytes())

    expected = initialized()
    with MODES[mode]():
        inside = initialized()
    assert inside == expected


@rounding_modes_are_known
@pytest.mark.parametrize("tier", TIERS)
def test_rounding_is_given_back(tier: str) -> None:
    """A call leaves the direction of rounding as it found it, in every tier."""
    libm = ctypes.CDLL("libm.so.6")
    with MODES["upward"](), fanin.config.using(tier=tier):
        fanin.RandomNormal(seed=1)((5000,))
        assert libm.fegetround() == 0x800


@pytest.mark.parametrize("tier", TIERS)
def test_flushing_is_given_back(tier: str) -> None:
    """A call leaves the thread flushing subnormal numbers, where it did so before, in every tier."""
    with flushed_denormals(), fanin.config.using(tier=tier):
        fanin.RandomNormal(seed=1)((5000,))
        assert torch.tensor([1e-39]).mul(torch.tensor([1.0])).item() == 0.0
