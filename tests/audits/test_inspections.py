"""Measuring arrays against their distributions: what is right passes, what is wrong is seen, theory is exact."""

import json
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fanin
from catalogue import CATALOGUE, fitted, fresh
from fanin._core.messages import readable
from fanin.audits import inspections as reports
from fanin.report import literal, number, plain

rich_console = pytest.importorskip("rich.console")

SHAPES = {0: (), 1: (100,), 2: (40, 30), 3: (5, 6, 7), 4: (3, 3, 16, 32), 5: (2, 2, 2, 3, 4)}
CASES = [(name, dtype) for name, (_, dtypes, _) in CATALOGUE.items() for dtype in dtypes]
KEYS = [
    "initializer",
    "arguments",
    "shape",
    "dtype",
    "kind",
    "parameters",
    "count",
    "bytes",
    "agrees",
    "statistics",
    "histogram",
    "sparkline",
    "python",
]


def _measured(values: Any, initializer: Any, dtype: str = "float64") -> reports.Inspection:
    """An array of given values against what the initializer would have drawn in its place."""
    drawn = initializer.distribution(np.shape(values), dtype)
    return reports.measure(np.asarray(values).astype(drawn.dtype), initializer, drawn, initializer.get_config())


def _statistics(report: reports.Inspection) -> dict[str, reports.Statistic]:
    return {each.name: each for each in report.statistics}


def _text(report: reports.Inspection, width: int = 80) -> str:
    console = rich_console.Console(width=width, color_system=None, highlight=False, markup=False)
    with console.capture() as captured:
        reports.render(report, console)
    return captured.get()


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_every_initializer(name: str, dtype: str) -> None:
    """Every initializer, dtype and rank agrees with its theory, goes into strict JSON and text, and is made again."""
    for rank in CATALOGUE[name][2]:
        shape = fitted(name, SHAPES[rank])
        report = reports.inspect(fresh(name), shape, dtype)
        assert report.agrees, report.complaints()
        again = json.loads(json.dumps(report.as_dict(), allow_nan=False))
        assert list(again) == KEYS
        assert again["bytes"] == fresh(name)(shape, dtype).nbytes
        assert sum(again["histogram"]["counts"]) == again["count"]
        assert len(again["sparkline"]) == len(again["histogram"]["counts"])
        assert _text(report).splitlines()[-1] == report.python
        made = eval(report.python, {"fanin": fanin})
        assert made.tobytes() == fresh(name)(shape, dtype).tobytes()


def test_the_drawn_seed_is_in_the_line() -> None:
    """An unseeded initializer shows the seed it drew."""
    initializer = fanin.GlorotNormal()
    report = reports.inspect(initializer, (20, 30))
    assert report.arguments == {"seed": initializer.settled_seed()}
    assert eval(report.python, {"fanin": fanin}).tobytes() == initializer((20, 30)).tobytes()


def test_an_initializer_that_was_called_before() -> None:
    """The report is of the first call, which the line of Python makes, and does not count as one."""
    initializer = fanin.HeNormal(seed=1)
    first, second = reports.inspect(initializer, (20, 30)), initializer((20, 30))
    assert reports.inspect(initializer, (20, 30)) == first
    assert second.tobytes() == fanin.HeNormal(seed=1)((20, 30)).tobytes()


def test_moments_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces make the same moments, range and counts as one, the last being shorter or not."""
    initializer = fanin.RandomUniform(0, 16, seed=1)
    for chunk in (4, 8, 16, 1 << 20):
        monkeypatch.setattr(reports, "_CHUNK", chunk)
        report = _measured(np.arange(16), initializer, "int32")
        assert [each.measured for each in report.statistics] == [7.5, 21.25**0.5, 0.0, 15.0, None, None]
        assert report.histogram.counts == (1,) * 16
    monkeypatch.setattr(reports, "_CHUNK", 8)
    assert _statistics(_measured(np.repeat([1, 4], [8, 4]), initializer, "int32"))["std"].measured == 2**0.5


def test_standard_errors() -> None:
    """Stddev / sqrt(n) for the mean, stddev * sqrt((kurtosis - 1) / 4n) for the standard deviation."""
    normal = _statistics(reports.inspect(fanin.RandomNormal(0.0, 1.0, seed=1), (100, 100)))
    assert normal["mean"].standard_error == 0.01
    assert normal["std"].standard_error == 0.01 * 0.5**0.5
    measured = normal["mean"].measured
    assert measured is not None
    assert normal["mean"].difference == measured / 0.01


def test_two_values_of_equal_chance() -> None:
    """Their standard deviation has no standard error of first order, and none is invented."""
    two = _statistics(reports.inspect(fanin.RandomUniform(0, 2, seed=1), (100, 100), "int32"))
    assert two["mean"].standard_error == 0.005
    assert two["std"].standard_error is None


@pytest.mark.parametrize(
    ("values", "complaints"),
    [
        ([-1.0, 1.0] * 50, []),
        ([-0.5, 1.5] * 50, []),
        ([-0.49, 1.51] * 50, ["mean is 0.51, +5.1 standard errors from 0"]),
        ([-0.5] * 100, ["std is 0, -14.1 standard errors from 1"]),
        ([-2.0, 2.0] * 50, ["std is 2, +14.1 standard errors from 1"]),
        ([-1.0, 1.0] * 50 + [6.0], ["max is 6, beyond the bound 5.67769"]),
        (
            [-1.0, 1.0] * 50 + [np.nan],
            [
                "mean is nan, +nan standard errors from 0",
                "std is nan, +nan standard errors from 1",
                "min is nan, beyond the bound -5.67769",
                "max is nan, beyond the bound 5.67769",
            ],
        ),
    ],
)
def test_what_is_wrong_is_seen(values: list[float], complaints: list[str]) -> None:
    """More than 5 standard errors, a passed bound and NaN are held against an array; less is not."""
    report = _measured(values, fanin.RandomNormal(0.0, 1.0))
    assert report.complaints() == complaints
    assert report.agrees is not bool(complaints)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_half_a_step_beyond_a_bound(dtype: str) -> None:
    """Half a step of the dtype past a bound is its rounding, a whole step is not."""
    initializer = fanin.TruncatedNormal(0.0, 0.5)
    step = float(ml_dtypes.finfo(initializer.distribution((), dtype).dtype).eps)
    drawn = initializer.distribution((2,), dtype)
    for past, within in ((0.0, True), (step / 2, True), (step, False)):
        # in float64, where half a step of the dtype can be written down
        report = reports.measure(np.array([-1.0 - past, 1.0 + past]), initializer, drawn, {})
        low, high = report.statistics[2:4]
        assert [low.beyond, high.beyond] == [not within] * 2
        assert report.agrees is within


def test_orthogonal_rounds_a_few_steps() -> None:
    """QR makes orthonormal columns to a few steps of the dtype, and no worse."""
    for steps, within in ((2, True), (80, False)):
        values = np.eye(2) * (1 + steps * 2.0**-23)
        assert _measured(values, fanin.Orthogonal(seed=1), "float32").agrees is within


def test_implied_fans() -> None:
    """A spread of 1/2 implies 4 * scale units; the average of the fans is split by the fan that is known."""
    values = np.tile([-0.5, 0.5], (3, 8))
    for initializer, fan_in, fan_out in (
        (fanin.LecunNormal(), 4.0, None),
        (fanin.HeUniform(), 8.0, None),
        (fanin.VarianceScaling(0.5, "fan_out", "untruncated_normal"), None, 2.0),
        (fanin.GlorotNormal(), 2 * 4.0 - 16, 2 * 4.0 - 3),
        (fanin.RandomNormal(), None, None),
    ):
        statistics = _statistics(_measured(values, initializer))
        measured = [statistics[name].measured for name in ("fan_in", "fan_out")]
        assert measured == [fan_in, fan_out]
        assert [statistics[name].theory for name in ("fan_in", "fan_out")] == [3, 16]


def test_rounded_parameters_do_not_move_the_fans() -> None:
    """A bfloat16's spread is up to 0.4 % off, which millions of elements would show."""
    fan_in = _statistics(reports.inspect(fanin.HeNormal(seed=1), (3000, 1500), "bfloat16"))["fan_in"]
    assert fan_in.difference is not None
    assert abs(fan_in.difference) < 3


DENSITIES: list[tuple[Any, tuple[str, ...]]] = [
    (fanin.HeNormal(seed=5), ("float16", "bfloat16", "float32", "float64")),
    (fanin.GlorotUniform(seed=6), ("float16", "bfloat16", "float32", "float64")),
    (fanin.RandomNormal(0.3, 0.7, seed=7), ("float16", "bfloat16", "float32", "float64")),
    (fanin.RandomNormal(1.0, 0.001, seed=8), ("bfloat16",)),
    (fanin.TruncatedNormal(-3.0, -0.1, seed=9), ("float16", "bfloat16", "float32")),
    (fanin.RandomUniform(100.0, 101.0, seed=10), ("float16", "bfloat16", "float32")),
    (fanin.RandomUniform(0.7, -0.2, seed=11), ("float16", "bfloat16", "float64")),
    (fanin.RandomUniform(-3, 34, seed=12), ("int32", "int64")),
    (fanin.RandomUniform(-(2**31), 2**30, seed=13), ("int32",)),
    (fanin.RandomUniform(None, None, seed=14), ("int32", "uint64")),
]


@pytest.mark.parametrize(("initializer", "dtype"), [(each, dtype) for each, dtypes in DENSITIES for dtype in dtypes])
def test_expected_counts(initializer: Any, dtype: str) -> None:
    """Chi-squared of 800,000 elements is one of chance, the few values of 16-bit dtypes and `bits % span` included."""
    histogram = reports.inspect(initializer, (1000, 800), dtype).histogram
    assert histogram.expected is not None
    assert round(sum(histogram.expected), 3) == 800_000
    pairs = list(zip(histogram.counts, histogram.expected, strict=True))
    assert not any(count for count, expected in pairs if not expected)
    assert sum((count - expected) ** 2 / expected for count, expected in pairs if expected > 1) < 50


def test_bfloat16_uniforms_fill_bins_evenly() -> None:
    """The 128 values of a bfloat16 uniform: 8 to each bin, none moved to a neighbour by rounding."""
    assert reports.inspect(fanin.HeUniform(seed=1), (16, 16), "bfloat16").histogram.expected == (16.0,) * 16


def test_integers_have_bins_of_whole_numbers() -> None:
    """Equally many integers in each bin but the last, and every edge is one of them."""
    histogram = reports.inspect(fanin.RandomUniform(-3, 34, seed=1), (100,), "int32").histogram
    assert histogram.edges == (*map(float, range(-3, 34, 2)), 33.0)
    six = reports.inspect(fanin.RandomUniform(0, 6, seed=1), (100,), "int32").histogram
    assert six.edges == (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 5.0)


FEW_VALUES: list[tuple[fanin.Initializer, tuple[int, ...], dict[float, int]]] = [
    (fanin.Dirac(), (3, 3, 4, 4), {0: 140, 1: 4}),
    (fanin.Identity(-2, batch_axis=0), (5, 3, 4), {-2: 15, 0: 45}),
    (fanin.Identity(), (1, 1), {1: 1}),
    (fanin.Hippo("lagt"), (3, 3), {-1: 6, 0: 3}),
    (fanin.S4D("real", "real"), (2, 5), {-5: 2, -4: 2, -3: 2, -2: 2, -1: 2}),
    (fanin.Zeros(), (4,), {0: 4}),
]


@pytest.mark.parametrize(("initializer", "shape", "values"), FEW_VALUES)
def test_few_values(initializer: Any, shape: tuple[int, ...], values: dict[float, int]) -> None:
    """Each of a few values that are not random has a bin, and there are no others."""
    histogram = reports.inspect(initializer, shape).histogram
    assert dict(zip(histogram.edges[:-1], histogram.counts, strict=True)) == values
    assert histogram.edges[-1] == max(values)


def test_bins_of_formulas(monkeypatch: pytest.MonkeyPatch) -> None:
    """They lie between the smallest and the largest value that there are, wherever the mean is."""
    monkeypatch.setattr(reports, "_CHUNK", 64)
    initializer = fanin.S4D("inv", "imag")
    histogram, values = reports.inspect(initializer, (30, 25)).histogram, initializer((30, 25))
    assert (histogram.edges[0], histogram.edges[-1]) == (values.min(), values.max())
    assert (len(histogram.counts), sum(histogram.counts)) == (16, 750)
    assert min(histogram.counts[0], histogram.counts[-1]) > 0


@pytest.mark.parametrize(
    ("initializer", "dtype", "note"),
    [
        (fanin.Constant(float("inf")), "float32", True),
        (fanin.Constant(float("nan")), "float64", True),
        (fanin.Constant(complex(2, 1)), "complex64", False),
        (fanin.RandomUniform(-6e4, 6e4, seed=1), "float16", True),
        (fanin.RandomNormal(0.0, 1e300, seed=1), "float32", True),
        (fanin.RandomNormal(0.0, 0.0, seed=1), "float32", False),
        (fanin.RandomNormal(0.0, 1e-44, seed=1), "float32", False),
        (fanin.RandomUniform(0, 1, seed=1), "int32", False),
    ],
)
def test_the_edges_of_dtypes(initializer: Any, dtype: str, note: bool) -> None:
    """Infinities, NaNs, complex numbers, no spread and subnormal ones are shown without a crash or a warning."""
    report = reports.inspect(initializer, (3, 4), dtype)
    json.dumps(report.as_dict(), allow_nan=False)
    assert ("12 of 12 values are not finite." in _text(report)) is note


def test_no_elements() -> None:
    """An empty array has no moments, disagrees with nothing and is shown."""
    report = reports.inspect(fanin.HeNormal(seed=1), (0, 3))
    assert [each.measured for each in report.statistics] == [None] * 6
    assert report.agrees
    assert report.histogram.sparkline == ""
    assert _text(report).splitlines()[1] == "n 0  0 bytes  – … –  mean –  std –"


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_width(name: str, dtype: str, width: int) -> None:
    """No line but the title and the line of Python is wider than the terminal, or ends in spaces."""
    shape = fitted(name, SHAPES[CATALOGUE[name][2][-1]])
    lines = _text(reports.inspect(fresh(name), shape, dtype), width).splitlines()
    assert max(map(len, lines[:-1])) <= width
    assert [line for line in lines[2:] if line != line.rstrip()] == []


def test_text() -> None:
    """All of a small report."""
    assert (
        _text(reports.inspect(fanin.Identity(), (5, 7)), 60)
        == """\
Identity  5x7  float32  identity(gain=1)
n 35  140 bytes  0 … 1  mean 0.143  std 0.35  █▂

         measured    theory  difference
mean     0.142857  0.142857           0
std      0.349927  0.349927           0
min             0         0      within
max             1         1      within
fan_in          –         5           –
fan_out         –         7           –

0  █████████████████████████████████████████████████████  30
1  ████████▉                                               5

fanin.Identity(gain=1.0)((5, 7), dtype="float32")
"""
    )


def test_bars() -> None:
    """Theory's mark stands in the bar, at its end or beyond it, and nowhere if nothing is expected."""
    histogram = reports.Histogram((0.0, 0.5, 1.0, 1.5, 2.0), (40, 20, 11, 3), (20.0, 40.0, 11.0, 0.0))
    lines = list(reports._bars(histogram, 20))
    assert [line.plain for line in lines] == [
        "0.00  █████│████  40",
        "0.50  █████    │  20",
        "1.00  ██│         11",
        "1.50  ▊            3",
        "      █ measured  │ theory",
    ]
    console = rich_console.Console()
    marks = [str(line.get_style_at_offset(console, line.plain.index("│"))) for line in lines[:2]]
    assert marks == ["black on cyan", "bold magenta"]
    assert histogram.sparkline == "█▅▃▂"


def test_numbers() -> None:
    """How numbers, bytes and arguments are written."""
    assert [number(value) for value in (None, 576, 1 / 3, 1e-9, 2j)] == ["–", "576", "0.333333", "1e-09", "2j"]
    assert number(2 / 3, 3) == "0.667"
    sizes = [readable(size) for size in (0, 1023, 1024, 147456, 3 << 40)]
    assert sizes == ["0 bytes", "1023 bytes", "1 KiB", "144 KiB", "3 TiB"]
    values = ["fan_in", 1, -0.5, None, True, complex(1, 2), float("-inf"), complex(0, float("nan"))]
    assert [repr(eval(literal(value))) for value in values] == [repr(value) for value in values]
    assert plain({"a": (np.float32(0.5), float("nan"), 2j, np.int8(3), np.True_, None, "x")}) == {
        "a": [0.5, None, "2j", 3, True, None, "x"]
    }


def test_verdicts() -> None:
    """The words and colours of the column `difference`."""
    assert [reports._verdict(reports.Statistic("mean", value, 0.0, 0.5)) for value in (1.5, -2.0, 2.75)] == [
        ("+3.00 s.e.", "green"),
        ("-4.00 s.e.", "yellow"),
        ("+5.50 s.e.", "bold red"),
    ]
    assert [reports._verdict(reports.Statistic("std", value, 0.5)) for value in (None, 0.5, 0.25)] == [
        ("–", ""),
        ("0", ""),
        ("-0.25", ""),
    ]
    assert [reports._verdict(reports.Statistic("max", 1.0, 1.0, beyond=beyond)) for beyond in (False, True)] == [
        ("within", "green"),
        ("beyond", "bold red"),
    ]
