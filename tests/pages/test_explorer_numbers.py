"""The explorer's JavaScript against Python: the bits of its values, and the numbers of its theory."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import explorer_grid as grid
import fanin
from browsers import opened
from fanin import theory
from fanin.theory import exploring
from fanin.theory.activations import NAMES
from fanin.theory.fields import mean_of, slope_of, square_of

SEEDS = (0, 1, -1, 42, 2**31, -(2**31) - 7, 2**53 + 1, 2**63 - 1, -(2**63))
SHAPE = (60, 50)
LAWS: dict[str, fanin.Initializer] = {
    "uniform": fanin.RandomUniform(-0.3, 0.3),
    "normal": fanin.RandomNormal(stddev=0.7),
    "truncated_normal": fanin.TruncatedNormal(stddev=0.02),
}
# Each function once, by the name that the page has for it, with another parameter where it has one.
ACTIVATIONS = [(name, None) for name in exploring.activations()]
ACTIVATIONS += [("leaky_relu", 0.2), ("leaky_relu", -1.0), ("elu", 2.0), ("celu", 0.5), ("softplus", 3.0)]
ACTIVATIONS += [("squareplus", 0.5), ("hardshrink", 0.1), ("softshrink", 2.0)]
VARIANCES = [0.0, 1e-290, *np.geomspace(1e-8, 1e8, 9).tolist(), 0.3, 1.0, 3.0, 1e30, 1e285]
TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def page(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The explorer, whose functions the tests call."""
    file: Path = tmp_path_factory.mktemp("explorer") / "explorer.html"
    file.write_text(theory.explorer(), encoding="utf-8")
    with opened(browser, file) as found:
        yield found.page


def bits(page: Any, code: str, **given: Any) -> np.ndarray:
    """The bits of the Float32Array that an expression of the arguments makes."""
    made = page.evaluate(f"(given) => [...new Uint32Array(Float32Array.from({code}).buffer)]", given)
    return np.array(made, np.uint32)


def drawn(page: Any, fragment: str) -> np.ndarray:
    """The bits of the elements that the page draws in a state."""
    page.evaluate("(to) => { location.hash = to; }", fragment)
    page.wait_for_function("(to) => explorer.fragment() === to || explorer.state.seed === '77'", arg=fragment)
    return bits(page, "explorer.model().values")


def as_bits(values: Any) -> np.ndarray:
    """The bits of values as float32, which holds those of all narrower dtypes."""
    return np.asarray(values).astype(np.float32).ravel().view(np.uint32)


# ---------------------------------------------------------------- values


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("law", LAWS)
def test_bits_of_laws(page: Any, law: str, seed: int) -> None:
    """Three thousand elements of a law and a seed are fanin's, bit for bit."""
    distribution: Any = LAWS[law].distribution(SHAPE, "float32")
    made = bits(
        page,
        "philox.values(philox.Stream.of(BigInt(given.seed)), given, 'float32', 3000)",
        seed=str(seed),
        law=law,
        scale=distribution.scale,
        origin=distribution.origin,
    )
    assert (made == as_bits(LAWS[law].with_seed(seed)(SHAPE))).all()


@pytest.mark.parametrize("first", [1, 4094, 2**30 + 3])
def test_bits_of_a_region(page: Any, first: int) -> None:
    """Elements far into a large tensor are those of its region."""
    made = bits(
        page,
        "philox.values(philox.Stream.of(9n), given.drawn, 'float32', 50, given.first)",
        drawn={"law": "truncated_normal", "scale": 1, "origin": 0},
        first=first,
    )
    assert (made == as_bits(fanin.TruncatedNormal(stddev=1.0, seed=9)((2**33,), region=slice(first, first + 50)))).all()


@pytest.mark.parametrize("number", [1, 2, 1000])
def test_bits_of_later_calls(page: Any, number: int) -> None:
    """A folded stream is that of an initializer's later call."""
    made = bits(
        page,
        "philox.values(philox.Stream.of(5n).foldIn(given.number), given.drawn, 'float32', 64)",
        drawn={"law": "uniform", "scale": 1, "origin": 0},
        number=number,
    )
    weight = fanin.RandomUniform(0.0, 1.0, seed=5).weight((64,), stream=_folded(5, number))
    assert (made == as_bits(weight.make())).all()


def _folded(seed: int, number: int) -> Any:
    from fanin._core.streams import Stream

    return Stream(seed).fold_in_wide(number)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2"])
@pytest.mark.parametrize(
    ("fragment", "initializer"),
    [
        ("init=glorot_uniform", fanin.GlorotUniform),
        ("init=he_normal", fanin.HeNormal),
        ("init=random_normal&stddev=0.003", lambda seed: fanin.RandomNormal(stddev=0.003, seed=seed)),
        ("init=random_uniform&limit=0.3", lambda seed: fanin.RandomUniform(-0.3, 0.3, seed=seed)),
        (
            "init=variance_scaling&scale=1.5&mode=fan_geo_avg&dist=untruncated_normal",
            lambda seed: fanin.VarianceScaling(1.5, "fan_geo_avg", "untruncated_normal", seed=seed),
        ),
        ("init=lecun_normal&gain=1.3", lambda seed: fanin.VarianceScaling(1.3 * 1.3, "fan_in", seed=seed)),
    ],
)
def test_bits_of_initializers(page: Any, fragment: str, initializer: Any, dtype: str) -> None:
    """What the page draws is what the initializer makes, in each dtype."""
    seen = drawn(page, f"#{fragment}&fan_in=130&fan_out=70&dtype={dtype}&seed=77")
    if dtype.startswith("float8"):
        made = initializer(77)((130, 70)).astype(getattr(ml_dtypes, dtype))
    else:
        made = initializer(77)((130, 70), dtype)
    assert (seen == as_bits(made)).all()


@pytest.mark.parametrize(("fan_in", "fan_out"), [(300, 40), (40, 300), (64, 64)])
def test_orthogonal(page: Any, fan_in: int, fan_out: int) -> None:
    """The first columns (or rows) of an orthogonal matrix are fanin's to the rounding of its QR decomposition."""
    seen = drawn(page, f"#init=orthogonal&gain=2&fan_in={fan_in}&fan_out={fan_out}&seed=77").view(np.float32)
    matrix = fanin.Orthogonal(2.0, seed=77)((fan_in, fan_out))
    tall = matrix if fan_in >= fan_out else matrix.T
    assert np.abs(seen.reshape(-1, tall.shape[0]) - tall.T[: len(seen) // tall.shape[0]]).max() < 5e-6


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float8_e4m3fn", "float8_e5m2"])
def test_rounding(page: Any, dtype: str) -> None:
    """Numbers of all sizes, the middles between two, and those beyond are rounded as ml_dtypes and NumPy round them."""
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    width = 8 * kind.itemsize
    every = np.arange(2**width, dtype=f"u{kind.itemsize}").view(kind).astype(np.float32)
    finite = np.unique(every[np.isfinite(every)])
    numbers = np.concatenate([finite, (finite[1:].astype(float) + finite[:-1]) / 2, [1e38, -1e38, 0.0, -0.0, 1e-45]])
    numbers = numbers.astype(np.float32)[:: 1 if width == 8 else 7]
    made = bits(page, "given.numbers.map(rounding.DTYPES[given.dtype].round)", numbers=numbers.tolist(), dtype=dtype)
    with np.errstate(over="ignore"):
        expected = numbers.astype(kind).astype(np.float32)
    seen = made.view(np.float32)
    assert ((made == expected.view(np.uint32)) | (np.isnan(seen) & np.isnan(expected))).all()


# ---------------------------------------------------------------- theory


def close(seen: Any, expected: Any) -> bool:
    """Whether numbers agree to one in a million; what JavaScript has as null is not finite."""
    seen, expected = (np.array(each, float) for each in (seen, expected))  # of None, NaN
    both = ~np.isfinite(seen) & ~np.isfinite(expected)
    with np.errstate(invalid="ignore"):
        return bool((both | (np.abs(seen - expected) <= TOLERANCE * np.abs(expected))).all())


def found(name: str, param: float | None) -> tuple[theory.Activation, float | None]:
    """An activation in Python, and its parameter for JavaScript."""
    known = exploring.activations()[name]
    return theory.activation(name, param), param if param is not None or known is None else known["default"]


@pytest.mark.parametrize(("name", "param"), ACTIVATIONS)
def test_moments(page: Any, name: str, param: float | None) -> None:
    """The means, mean squares and mean squared slopes at variances from 0 to where they overflow."""
    activation, given = found(name, param)
    made = page.evaluate(
        """([name, param, variances]) => {
            const f = new meanfield.Activation(name, param);
            const plain = (x) => Number.isFinite(x) ? x : null;
            return variances.map((each) => f.moments(each)).map((m) => [m.mean, m.square, m.slope].map(plain));
        }""",
        [name, given, VARIANCES],
    )
    wrong = []
    for variance, seen in zip(VARIANCES, made, strict=True):
        expected = [of(activation, variance) for of in (mean_of, square_of, slope_of)]
        size = math.sqrt(expected[1]) if math.isfinite(expected[1]) else math.inf
        # A mean of nearly nothing, such as that of tanh, has no digits of its own.
        is_mean = close(seen[0], expected[0]) or abs(seen[0] - expected[0]) < 1e-9 * size
        if not (is_mean and close(seen[1:], expected[1:])):
            wrong.append((variance, seen, expected))
    assert not wrong


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    """Python's numbers on the grid, by activation."""
    return json.loads(grid.FILE.read_text())


@pytest.mark.parametrize("activation", exploring.activations())
def test_profiles(page: Any, record: dict[str, Any], activation: str) -> None:
    """Signals, pre-activations and gradients by depth in every block, for weights of several sizes, and biases."""
    _, given = found(activation, None)
    made = page.evaluate(
        """([name, param, cases, places]) => Object.fromEntries(Object.entries(explorer.blocks).map(([label, block]) =>
            [label, cases.map(([inputs, outputs, bias, depth]) => {
                const f = new meanfield.Activation(name, param);
                const weights = block.steps.filter((each) => each.kind === "dense").map(() => ({ inputs, outputs }));
                const made = meanfield.profile(block, f, weights, depth, bias);
                const plain = (x) => Number.isFinite(x) ? x : null;
                const some = (numbers) => places.map((place) => plain(numbers.at(place)));
                return [made.signal, made.preactivations, made.gradient].map(some);
            })]))""",
        [activation, given, grid.networks(activation), grid.PLACES],
    )
    expected = record[activation]["profiles"]
    assert made.keys() == expected.keys()
    wrong = [
        (block, number, seen, right)
        for block, networks in made.items()
        for number, (seen, right) in enumerate(zip(networks, expected[block], strict=True))
        if not all(map(close, seen, right))
    ]
    assert not wrong


@pytest.mark.parametrize("activation", exploring.activations())
def test_fields(page: Any, record: dict[str, Any], activation: str) -> None:
    """Fixed points, χ, and the critical σ_w for several biases."""
    _, given = found(activation, None)
    critical, fields = page.evaluate(
        """([name, param, biases, fields]) => {
            const f = new meanfield.Activation(name, param);
            const plain = (x) => Number.isFinite(x) ? x : null;
            return [biases.map((each) => meanfield.criticalStddev(f, each)),
                    fields.map(([s, b]) => [plain(meanfield.fixedPoint(f, s, b)), plain(meanfield.chi(f, s, b))])];
        }""",
        [activation, given, grid.BIASES, grid.FIELDS],
    )
    assert close(critical, record[activation]["critical"])
    wrong = [each for each in zip(fields, record[activation]["fields"], strict=True) if not close(*each)]
    assert not wrong


@pytest.mark.parametrize("activation", exploring.activations())
def test_gains(page: Any, activation: str) -> None:
    """The critical σ_w at zero, and that which keeps a size of 1."""
    f, given = found(activation, None)
    at_zero, unit = page.evaluate(
        """([name, param]) => {
            const f = new meanfield.Activation(name, param);
            const zero = meanfield.gainAtZero(f);
            return [Number.isFinite(zero) ? zero : null, meanfield.unitGain(f)];
        }""",
        [activation, given],
    )
    assert close(at_zero, theory.gain_at_zero(f))
    assert close(unit, 1 / math.sqrt(square_of(f, 1.0)))


def test_the_record_is_of_this_theory(record: dict[str, Any]) -> None:
    """The record has every activation, and what Python says now of some."""
    assert record.keys() == exploring.activations().keys()
    for name, block in (("relu", "plain"), ("tanh", "post_norm"), ("linear", "batch_norm")):
        made = grid.profiles(theory.activation(name), block, grid.NETWORKS[:2])
        assert made == [
            [pytest.approx(series, rel=1e-9) for series in each] for each in record[name]["profiles"][block][:2]
        ]


def test_all_names(page: Any) -> None:
    """Every name of an activation is known to the page's address, under the name that it is listed by."""
    for name in NAMES:
        page.evaluate("(to) => { location.hash = to; }", f"#init=he_normal&act={name}&seed=77")
        page.wait_for_function("(name) => location.hash.includes(`act=${name}&`)", arg=name)
        seen = theory.activation(page.evaluate("explorer.state.act"))
        x = np.linspace(-4, 4, 41)
        assert (seen.function(x) == theory.activation(name).function(x)).all(), name
        assert "must be" not in page.locator("#notes").inner_text()
