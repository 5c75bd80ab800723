"""The charts of an audit: their numbers, against SciPy, NumPy and ml_dtypes, and why there is none."""

from __future__ import annotations

import math
import pickle
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fanin
from fanin.audits.audited import AuditedTensor
from fanin.audits.charts import alike, charts_of, featured
from fanin.audits.charts.quantiles import chances, quantiles
from fanin.audits.charts.rounding import DTYPES, Rounded
from fanin.audits.charts.subjects import Subject
from fanin.audits.charts.whole import in_order
from fanin.audits.judging.fitting import allowed_ratios
from fanin.audits.judging.laws import Law
from fanin.audits.measuring.ordered import Ordered
from fanin.audits.verdicts import STANDARD_ERRORS
from fanin.report.charts import Chart, Marks

RANDOM = np.random.default_rng(0)
SHAPE = (128, 96)


def audited(array: Any, initializer: Any = None, name: str = "fc.kernel") -> AuditedTensor:
    """What an audit finds of an array, which should be what an initializer makes."""
    recipe = (
        None
        if initializer is None
        else fanin.Recipe([{"path": "*", "initializer": fanin.get(initializer), "layout": "keras"}])
    )
    return fanin.audit({name: array}, recipe)[name]


def marks_of(chart: Chart, kind: str) -> Marks:
    """The marks of a kind, of which there is one."""
    [found] = [each for each in chart.marks if each.kind == kind]
    return found


def integral(marks: Marks) -> float:
    """The area under bars or a line."""
    x, y = np.array(marks.x), np.array(marks.y)
    return float(np.sum(y * np.diff(x)) if marks.kind == "bars" else np.trapezoid(y, x))


# ---------------------------------------------------------------- density

LAWS = [
    "he_normal",
    "glorot_uniform",
    "random_normal",
    {"class_name": "RandomUniform", "config": {"minval": 0.0, "maxval": 1.0}},
    {"class_name": "TruncatedNormal", "config": {"stddev": 3.0}},
    "orthogonal",
]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
@pytest.mark.parametrize("law", LAWS, ids=str)
def test_densities_integrate_to_one(law: Any, dtype: str) -> None:
    """The bars have an area of 1, but for what the description says is beyond the axis, and so has the law's line."""
    array = fanin.get(law).with_seed(1)(SHAPE, dtype)
    chart = charts_of(audited(array, law))["density"]
    bars, line = marks_of(chart, "bars"), marks_of(chart, "line")
    low, high = chart.x.limits or (math.nan, math.nan)
    within = np.mean((array.astype(float) >= low) & (array.astype(float) <= high))
    assert integral(bars) == pytest.approx(within, abs=2e-3)
    assert integral(bars) > 0.98
    assert integral(line) == pytest.approx(1.0, abs=0.02)


def test_the_density_is_scipys() -> None:
    """The line is the density of the law that is expected, and its bounds are guides."""
    stats = pytest.importorskip("scipy.stats")
    chart = charts_of(audited(fanin.GlorotUniform(seed=1)(SHAPE), "he_normal"))["density"]
    line = marks_of(chart, "line")
    law = fanin.HeNormal().distribution(SHAPE)
    scale: Any = law.parameters()["stddev"]
    inner = [(x, y) for x, y in zip(line.x, line.y, strict=True) if abs(x) < 1.99 * scale and y > 0]
    expected = stats.truncnorm.pdf([x for x, _ in inner], -2, 2, scale=scale)
    np.testing.assert_allclose([y for _, y in inner], expected, rtol=2e-4)
    assert [each.at for each in chart.guides] == pytest.approx([float(each) for each in law.bounds], rel=1e-5)
    assert line.name.startswith("expected: he normal") or line.name.startswith("expected: truncated normal")


def test_bars_are_numpys() -> None:
    """Bars are what NumPy's histogram makes of the values in the same bins."""
    array = RANDOM.standard_normal((200, 300))
    bars = marks_of(charts_of(audited(array))["density"], "bars")
    heights, _ = np.histogram(array, bars.x)
    np.testing.assert_allclose(bars.y, heights / array.size / np.diff(bars.x), atol=2.5e-3)


def test_no_bin_cuts_a_value_in_two() -> None:
    """Of bfloat16 uniforms, which have few values, no bar is far from the density: edges lie between values."""
    bars = marks_of(
        charts_of(audited(fanin.GlorotUniform(seed=3)((300, 500), "bfloat16"), "glorot_uniform"))["density"], "bars"
    )
    middle = np.array(bars.y[2:-2])
    assert float(middle.std() / middle.mean()) < 0.1


def test_far_values() -> None:
    """A few values far out do not hide the others: the axis ends before them, and the description tells of them."""
    array = RANDOM.standard_normal(SHAPE)
    array[0, :3] = 1e6
    chart = charts_of(audited(array))["density"]
    assert chart.x.limits is not None
    assert chart.x.limits[1] < 20
    assert "3 values lie beyond the axis, out to -" in chart.description
    assert "and 1e+06." in chart.description


def test_single_values() -> None:
    """Zeros of a sparse matrix, and the ends of a clipped one, are told of; their bars would hide all others."""
    chart = charts_of(audited(fanin.Sparse(sparsity=0.5, seed=1)((300, 200))))["density"]
    assert "50 % are exactly 0, and not shown." in chart.description
    assert integral(marks_of(chart, "bars")) == pytest.approx(0.5, abs=0.02)
    clipped = charts_of(audited(np.clip(RANDOM.standard_normal(SHAPE), -1, 1)))["density"]
    assert "at -1 and 1" in marks_of(clipped, "bars").name


def test_discrete() -> None:
    """A few values have a bar each for their shares, and the law has dots; quantiles would say less."""
    array = fanin.Bernoulli(p=0.25, seed=1)(SHAPE)
    charts = charts_of(audited(array, {"class_name": "Bernoulli", "config": {"p": 0.25}}))
    bars, dots = marks_of(charts["density"], "bars"), marks_of(charts["density"], "dots")
    assert bars.y[::2] == pytest.approx([1 - array.mean(), array.mean()], rel=1e-5)
    assert (dots.x, dots.y) == ((0, 1), (0.75, 0.25))
    assert charts.missing["quantiles"] == "It has 2 different values only, whose shares say more."


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((0, 3)), "It has no elements."),
        (np.full((4, 4), np.nan), "It has no finite elements."),
        (np.array([3.0]), "It has one element, 3."),
        (np.ones((4, 5)), "Every element is 1."),
        (1e200 * RANDOM.standard_normal(SHAPE), "no axis shows such numbers well"),
        (1e-200 * RANDOM.standard_normal(SHAPE), "no axis shows such numbers well"),
    ],
    ids=["empty", "nan", "one", "constant", "huge", "tiny"],
)
def test_no_charts(array: np.ndarray, reason: str) -> None:
    """Where there is nothing to draw, each chart's reason says so."""
    charts = charts_of(audited(array))
    assert len(charts) == 0
    for name in ("density", "quantiles", "rounding"):
        assert reason in charts.missing[name]


@pytest.mark.parametrize(
    "array",
    [
        np.where(RANDOM.random(SHAPE) < 0.1, np.nan, RANDOM.standard_normal(SHAPE)),
        np.where(RANDOM.random(SHAPE) < 0.1, np.inf, RANDOM.standard_normal(SHAPE)),
        1e99 * RANDOM.standard_normal(SHAPE),
        1e-99 * RANDOM.standard_normal(SHAPE),
        RANDOM.standard_normal(2),
        RANDOM.standard_normal(SHAPE) + 1j * RANDOM.standard_normal(SHAPE),
        np.arange(10_000),
        RANDOM.random(SHAPE) < 0.5,
        np.repeat(RANDOM.standard_normal(5), 3),
        RANDOM.standard_cauchy(SHAPE),
        RANDOM.standard_normal(SHAPE).astype(ml_dtypes.float8_e5m2),
        1e8 + RANDOM.standard_normal(SHAPE),
    ],
    ids=["nan", "inf", "large", "small", "two", "complex", "ints", "bools", "ties", "cauchy", "float8", "far"],
)
def test_odd_tensors(array: np.ndarray) -> None:
    """Odd tensors have charts of finite numbers in ascending bins, which matplotlib draws."""
    charts = charts_of(audited(array))
    bars = marks_of(charts["density"], "bars")
    assert (np.diff(bars.x) > 0).all()
    assert np.isfinite(bars.y).all()
    assert len(bars.y) <= 200
    pytest.importorskip("matplotlib")
    from fanin.report import plots

    plots.drawn(charts).draw_without_rendering()


# ---------------------------------------------------------------- quantiles


def test_clean_tensors_are_within_the_band() -> None:
    """Of tensors that have their law, no quantile is beyond chance, in any dtype."""
    for law in LAWS:
        for dtype in ("float32", "bfloat16", "float16", "float64"):
            for seed in range(3):
                array = fanin.get(law).with_seed(seed)(SHAPE, dtype)
                chart = charts_of(audited(array, law))["quantiles"]
                assert "beyond chance" not in [each.name for each in chart.marks], (law, dtype, chart.description)


@pytest.mark.parametrize(
    ("initializer", "dtype"),
    [
        (fanin.HeNormal(seed=29), "bfloat16"),
        (fanin.HeNormal(seed=53), "bfloat16"),
        (fanin.TruncatedNormal(0.3, 0.3, seed=1), "bfloat16"),
        (fanin.TruncatedNormal(0.18, 0.0019, seed=0), "float16"),
        (fanin.RandomUniform(0.71, 0.74, seed=1), "float16"),
    ],
    ids=str,
)
def test_roundings_on_the_way_are_within_the_band(initializer: Any, dtype: str) -> None:
    """Draws, spreads and products are rounded to 16 bits each, which takes the outermost values a step out."""
    chart = charts_of(audited(initializer(SHAPE, dtype), initializer.with_seed(None)))["quantiles"]
    assert "beyond chance" not in [each.name for each in chart.marks], chart.description


def test_a_step_of_sixteen_bits_is_all_that_the_band_allows() -> None:
    """Two steps of bfloat16 beyond where a spread can take its outermost values are seen."""
    array = fanin.HeNormal(seed=29)(SHAPE, "bfloat16").astype(np.float32)
    array.flat[array.argmax()] *= 1 + 4 * 2.0**-7
    chart = charts_of(audited(array.astype(ml_dtypes.bfloat16), "he_normal"))["quantiles"]
    assert "beyond chance" in [each.name for each in chart.marks]


def test_the_band_keeps_its_level() -> None:
    """Of 10,000 clean samples, each quantile is outside a band of 1 % no more often than that, and not never."""
    count, ranks = 50, np.array([0, 4, 24, 45, 49])
    low, high = chances(ranks / count, (ranks + 1) / count, count, 0.01)
    samples = np.sort(RANDOM.random((10_000, count)), axis=1)[:, ranks]
    outside = ((samples < low) | (samples > high)).mean(axis=0)
    assert (outside <= 0.01 + 3 * math.sqrt(0.01 / 10_000)).all()
    assert (outside > 0).all()


@pytest.mark.parametrize("significance", [1e-2, 1e-7])
def test_the_band_holds_that_of_beta(significance: float) -> None:
    """The band is as wide as the exact one, of the order statistics' beta distributions, and not much wider."""
    stats = pytest.importorskip("scipy.stats")
    count = 1000
    ranks = np.array([1, 2, 10, 500, 999, 1000])
    low, high = chances((ranks - 1) / count, ranks / count, count, significance)
    exact_low, exact_high = (
        stats.beta.ppf(share, ranks, count + 1 - ranks) for share in (significance / 2, 1 - significance / 2)
    )
    assert (low <= exact_low).all()
    assert (high >= exact_high * (1 - 1e-9)).all()
    assert (high - low)[3] < 1.35 * (exact_high - exact_low)[3]


def test_quantiles_are_scipys() -> None:
    """Across are the quantiles of the law, up those that NumPy measures."""
    stats = pytest.importorskip("scipy.stats")
    array = RANDOM.standard_normal(999)
    chart = charts_of(audited(array, {"class_name": "RandomNormal", "config": {"stddev": 1.0}}))["quantiles"]
    dots = marks_of(chart, "dots")
    ordered = np.sort(array)
    shares = (np.abs(ordered - np.array(dots.y)[:, None]).argmin(axis=1) + 0.5) / len(array)
    np.testing.assert_allclose(dots.x, stats.norm.ppf(shares), atol=1e-5)


@pytest.mark.parametrize("factor", [0.9, 1.2])
def test_another_spread_is_beyond_the_band(factor: float) -> None:
    """A tensor of another spread is outside, and the description says how far."""
    chart = charts_of(audited(factor * fanin.HeNormal(seed=1)(SHAPE), "he_normal"))["quantiles"]
    assert "beyond chance" in [each.name for each in chart.marks]
    assert "farther from the law's than chance takes them, by up to 0." in chart.description


def test_a_wider_significance_gives_a_narrower_band() -> None:
    """The band follows the significance."""
    subject: Any = Subject.of(audited(fanin.HeNormal(seed=1)(SHAPE), "he_normal"))
    widths = []
    for significance in (1e-7, 1e-2):
        band = marks_of(quantiles(subject, significance), "band")  # pyright: ignore[reportArgumentType]
        widths.append(np.subtract(band.upper, band.y)[len(band.y) // 2])
    assert widths[0] > 1.5 * widths[1]


# ---------------------------------------------------------------- samples in order


@pytest.mark.parametrize("size", [1, 2, 500, 70_000])
def test_ordered(size: int) -> None:
    """What is kept of a sample has its ends, its counts to the number, and shares to three in ten thousand."""
    numbers = np.sort(RANDOM.standard_normal(size))
    kept = Ordered.of(numbers)
    assert len(kept.values) <= 513
    assert (kept.values[0], kept.values[-1], kept.count) == (numbers[0], numbers[-1], size)
    np.testing.assert_array_equal(kept.upto, np.searchsorted(numbers, kept.values, side="right"))
    np.testing.assert_array_equal(kept.less, np.searchsorted(numbers, kept.values, side="left"))
    edges = np.linspace(-3, 3, 50)
    np.testing.assert_allclose(kept.below(edges), np.searchsorted(numbers, edges) / size, atol=3e-4)


def test_ordered_keeps_what_comes_often() -> None:
    """A value that is a tenth of a sample is kept, however many others there are."""
    numbers = np.sort(np.where(RANDOM.random(60_000) < 0.1, 0.25, RANDOM.standard_normal(60_000)))
    assert 0.25 in Ordered.of(numbers).values


# ---------------------------------------------------------------- rounding


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stddev", [1e-7, 1e-3, 1.0, 1e4])
def test_rounding_is_that_of_ml_dtypes(dtype: str, stddev: float) -> None:
    """Zeros, overflow, distinct values and errors are those of ml_dtypes' own conversion."""
    values = (stddev * RANDOM.standard_normal(2000)).astype(np.float32)
    target = np.float16 if dtype == "float16" else getattr(ml_dtypes, dtype)
    with np.errstate(all="ignore"):
        stored = values.astype(target).astype(np.float64)
    found = Rounded.of(values.astype(np.float64), dtype)
    finite = np.isfinite(stored)
    assert found.zeroed == (stored == 0).mean()
    assert found.overflowed == (~finite).mean()
    assert found.distinct == len(np.unique(stored[finite]))
    kept = finite & (stored != 0)
    if kept.any():
        errors = np.abs(stored[kept] - values[kept]) / np.abs(values[kept])
        assert found.error == pytest.approx(np.sqrt(np.mean(errors[errors < 1] ** 2)), rel=1e-6)


def test_the_rounding_of_a_tensor() -> None:
    """A line for each dtype that is narrower than the stored one; small values become zero where it is at 1."""
    chart = charts_of(audited((1e-4 * RANDOM.standard_normal(SHAPE)).astype(np.float32)))["rounding"]
    lines = {each.name.partition(":")[0]: each for each in chart.marks}
    assert list(lines) == list(DTYPES)
    assert "100 % become 0" in lines["float8_e4m3fn"].name
    assert set(lines["float8_e4m3fn"].y) == {1.0}
    assert max(lines["float16"].y[5:]) < 0.01
    narrow = charts_of(audited(RANDOM.standard_normal(SHAPE).astype(ml_dtypes.bfloat16)))["rounding"]
    assert [each.name.partition(":")[0] for each in narrow.marks] == ["float16", "float8_e4m3fn", "float8_e5m2"]


def test_exact_in_narrower_dtypes() -> None:
    """Values that every narrower dtype has are told in words."""
    charts = charts_of(audited(RANDOM.integers(-1, 2, SHAPE).astype(np.float32)))
    assert charts.missing["rounding"].startswith("No dtype rounds its values: float16: error 0 %, 3 values; ")


# ---------------------------------------------------------------- the whole


def model(count: int = 12) -> fanin.audits.Audit:
    """An audit of blocks, of which one is three times too wide, and one is dead."""
    arrays = {f"h.{place}.fc.kernel": fanin.HeNormal(seed=place)((96, 64)) for place in range(count)}
    arrays["h.2.fc.kernel"] = 3 * arrays["h.2.fc.kernel"]
    arrays["h.5.fc.kernel"] = 0 * arrays["h.5.fc.kernel"]
    return fanin.audit(arrays, fanin.Recipe([{"path": "*", "initializer": "he_normal", "layout": "keras"}]))


def test_spreads_by_depth() -> None:
    """Each tensor has a dot at its ratio, findings apart; a dead one is at the edge, and the description says so."""
    chart = model().charts()["std"]
    dots = {each.name: each for each in chart.marks if each.kind == "dots"}
    assert dots["findings"].labels == ("h.2.fc.kernel", "h.5.fc.kernel")
    assert dots["findings"].y == pytest.approx([3.0, 1e-3], rel=0.05)
    assert len(dots["tensors"].y) == 10
    assert dots["tensors"].y == pytest.approx([1.0] * 10, rel=0.05)
    assert chart.y.is_log
    assert "1 beyond 0.001 and 1000 is drawn there." in chart.description
    assert "10 of 12 standard deviations are what they should be" in chart.description


def test_the_band_of_spreads() -> None:
    """The band has the limits that chi-squared gives the standard deviation of normals at the verdicts' level."""
    stats = pytest.importorskip("scipy.stats")
    low, high = allowed_ratios(Law("normal", "normal", 0.0, 1.0, 3.0), 500)
    tail = stats.norm.sf(STANDARD_ERRORS)
    exact = [math.sqrt(stats.chi2.ppf(tail, 499) / 500), math.sqrt(stats.chi2.isf(tail, 499) / 500)]
    assert [low, high] == pytest.approx(exact, rel=2e-3)


def test_nothing_is_expected() -> None:
    """Without expectations, the chart shows the standard deviations themselves."""
    chart = fanin.audit({"a": RANDOM.standard_normal(SHAPE), "b": 5 * RANDOM.standard_normal(SHAPE)}).charts()["std"]
    assert chart.y.label == "std"
    assert marks_of(chart, "dots").y == pytest.approx([1, 5], rel=0.05)
    assert "all are constant" in fanin.audit({"a": np.zeros(3)}).charts().missing["std"]


def test_the_sentence_speaks_of_what_is_drawn() -> None:
    """A finding on a tensor that is not drawn is none of the chart's, and the sentence says that it is not drawn."""
    drawn = {name: RANDOM.standard_normal(SHAPE) for name in "ab"}
    chart = fanin.audit({**drawn, "c": np.full(SHAPE, np.nan)}).charts()["std"]
    assert chart.description.endswith("None of the tensors drawn has findings. 1 tensor is not drawn.")
    half = RANDOM.standard_normal(SHAPE)
    half[0] = np.nan
    chart = fanin.audit({**drawn, "c": half}).charts()["std"]
    assert chart.description.endswith("1 of the tensors drawn has findings.")


def test_few_tensors_have_whole_numbers() -> None:
    """The axis of two tensors is long enough that no numbers between 0 and 1 are on it."""
    few = fanin.audit({name: RANDOM.standard_normal(SHAPE) for name in "ab"}).charts()["std"]
    many = fanin.audit({str(name): RANDOM.standard_normal((3, 3)) for name in range(9)}).charts()["std"]
    assert (few.x.limits, many.x.limits) == ((-0.5, 7.5), None)


def test_order() -> None:
    """Blocks come in the order of their numbers, and what is around them stays around them."""
    names = ["embed", "h.0.b1", "h.0.b10", "h.0.b2", "h.10.a", "h.2.a", "norm"]
    tensors = fanin.audit({name: np.zeros(2) for name in names}).tensors
    ordered = [each.name for each in in_order(tensors)]
    assert ordered == ["embed", "h.0.b1", "h.0.b2", "h.0.b10", "h.2.a", "h.10.a", "norm"]


def test_featured() -> None:
    """Findings come first, the worst of them at the top; then one of each group; and no more than asked for."""
    tensors = model().tensors
    assert [each.name for each in featured(tensors)] == ["h.5.fc.kernel", "h.2.fc.kernel", "h.0.fc.kernel"]
    assert len(featured(tensors, 2)) == 2
    assert alike(tensors[0]) == alike(tensors[1]) != alike(tensors[2])


def test_pictures() -> None:
    """The charts of a report have names for files, and the name of their tensor in the title."""
    audit = model()
    pictures = audit.pictures(fanin.compare("he_normal", simulate=False).charts())
    assert {"std", "signal", "gradient", "h.2.fc.kernel density", "h.0.fc.kernel rounding"} <= pictures.keys()
    assert pictures["h.2.fc.kernel density"].title == "h.2.fc.kernel: density"
    pytest.importorskip("matplotlib")
    assert audit.figures("light").keys() == audit.pictures().keys()
    assert len(audit.plot("h.0.fc.kernel").axes) == 4  # one of them is empty
    assert audit.plot().axes[0].get_ylabel() == "std ÷ expected"


@pytest.mark.parametrize(
    "initializer", [fanin.HeNormal(), fanin.ComplexGlorot(), fanin.Orthogonal(), fanin.Unitary()], ids=repr
)
def test_an_audit_keeps_little(initializer: Any) -> None:
    """A report keeps no tensor, but a few thousand numbers of each and of its law; and it can be pickled."""
    found = fanin.audit(
        {"a.kernel": initializer((512, 512))}, fanin.Recipe([{"path": "*", "initializer": initializer}])
    )
    assert len(pickle.dumps(found)) < 2e5


def test_unknown_names() -> None:
    """A tensor that is not there has no charts."""
    with pytest.raises(KeyError):
        model(3).charts("h.9")
