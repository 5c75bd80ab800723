"""Laws: what distributions say of elements, against SciPy."""

import math

import ml_dtypes
import numpy as np
import pytest

import fanin
from catalogue import CATALOGUE
from fanin.audits.judging.curves import Curve, NormalCurve, UniformCurve
from fanin.audits.judging.laws import Law, constant, cut_moments, cut_normal, mixed, normal, rounding_limits, uniform

stats = pytest.importorskip("scipy.stats")
FLOAT32 = np.dtype("float32")
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FAMILIES = {
    "normal": (fanin.RandomNormal(0.1, 0.7), stats.norm(0.1, 0.7)),
    "uniform": (fanin.RandomUniform(-0.3, 0.7), stats.uniform(-0.3, 1.0)),
    "truncated_normal": (fanin.TruncatedNormal(-0.1, 0.3), stats.truncnorm(-2, 2, -0.1, 0.3)),
    "one bound": (fanin.TruncatedNormal(0.5, 0.1, maxval=0.2), stats.truncnorm(-np.inf, -3, 0.5, 0.1)),
    "exponential": (fanin.Exponential(1.7), stats.expon(scale=1 / 1.7)),
    "log_normal": (fanin.LogNormal(-1.0, 0.4), stats.lognorm(0.4, scale=math.exp(-1.0))),
    "bernoulli": (fanin.Bernoulli(0.3), stats.bernoulli(0.3)),
}


def _curve(law: Law) -> Curve:
    assert law.curve is not None
    return law.curve


@pytest.mark.parametrize("family", FAMILIES)
def test_distribution_functions_are_scipys(family: str) -> None:
    """At many values, within the bounds and outside of them."""
    initializer, theirs = FAMILIES[family]
    values = np.linspace(-3, 3, 301)
    law = Law.of(initializer.distribution((8, 8), "float64"))
    np.testing.assert_allclose(_curve(law).at(values), theirs.cdf(values), atol=1e-7)


@pytest.mark.parametrize("family", FAMILIES)
def test_moments_are_scipys(family: str) -> None:
    """Mean, standard deviation and kurtosis."""
    initializer, theirs = FAMILIES[family]
    law = Law.of(initializer.distribution((8, 8), "float64"))
    mean, variance, _, excess = theirs.stats("mvsk")
    ours = (law.mean, law.stddev, law.kurtosis)
    assert ours == pytest.approx((float(mean), math.sqrt(variance), 3 + float(excess)), rel=1e-6)


def test_tails_are_scipys() -> None:
    """The probability of lying far outside keeps its digits."""
    assert NormalCurve(0.0, 2.0).outside(-14.0, 16.0) == pytest.approx(stats.norm.sf(7) + stats.norm.sf(8), rel=1e-10)


def test_tails_of_truncated_normals_end() -> None:
    """Nothing lies beyond the bounds, and a little just within them."""
    curve = NormalCurve(0.0, 1.0, -2.0, 2.0)
    theirs = stats.truncnorm(-2, 2)
    assert curve.outside(-2.5, 2.5) == 0
    assert curve.outside(-1.99, 3) == pytest.approx(theirs.cdf(-1.99), rel=1e-9)


def test_tails_of_uniforms() -> None:
    """Shares of the width."""
    assert UniformCurve(-1.0, 3.0).outside(0.0, 2.0) == pytest.approx(0.5)


@pytest.mark.parametrize("at", [0.5, 1.0, 2.0, 3.0])
def test_moments_of_cut_normals_are_scipys(at: float) -> None:
    """Wherever they are cut."""
    variance, excess = stats.truncnorm(-at, at).stats("vk")
    assert cut_moments(at) == pytest.approx((math.sqrt(variance), 3 + float(excess)), rel=1e-6)


@pytest.mark.parametrize("complex_law", ["normal", "truncated_normal", "uniform"])
def test_parts_of_complex_numbers(complex_law: str) -> None:
    """The real parts of a million draws have the law's distribution function."""
    if complex_law == "normal":
        initializer = fanin.ComplexNormal(seed=1)
    else:
        initializer = fanin.ComplexVarianceScaling(1.0, "fan_in", complex_law, seed=1)
    law = Law.of(initializer.distribution((1000, 500), "complex64"))
    parts = np.sort(np.real(initializer((1000, 500), "complex64")).ravel())
    places = np.linspace(0, parts.size - 1, 101).astype(int)
    np.testing.assert_allclose(_curve(law).at(parts[places]), (places + 1) / parts.size, atol=0.004)


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_initializer_has_a_law(name: str) -> None:
    """In its first dtype and rank, with finite moments and words."""
    initializer, names, ranks = CATALOGUE[name]
    shape = (8,) * (2 if 2 in ranks else ranks[0])
    law = Law.of(initializer.distribution(shape, names[0]))
    assert law.words
    assert math.isfinite(law.mean)
    assert law.low <= law.mean <= law.high


def test_equal_laws_are_equal() -> None:
    """They can be keys, so that boxes of one law are judged as one."""
    drawn = fanin.HeNormal().distribution((64, 64))
    assert len({Law.of(drawn, words="he_normal"), Law.of(drawn, words="he_normal")}) == 1


def test_mixtures_by_weight() -> None:
    """A fused tensor of two spreads has the moments and the distribution function of both."""
    law = mixed([(normal(1.0, FLOAT32), 100), (normal(3.0, FLOAT32), 300)])
    values = np.linspace(-5, 5, 11)
    assert law.stddev == pytest.approx(math.sqrt((1 + 3 * 9) / 4))
    assert law.kurtosis == pytest.approx(3 * (1 + 3 * 81) / 4 / 7**2)
    theirs = (stats.norm.cdf(values) + 3 * stats.norm.cdf(values / 3)) / 4
    np.testing.assert_allclose(_curve(law).at(values), theirs, atol=1e-12)


def test_mixtures_of_one_law_are_it() -> None:
    """Three blocks of one law are one law."""
    law = normal(0.02, FLOAT32)
    assert mixed([(law, 5), (law, 7)]) == law


def test_mixtures_with_constants() -> None:
    """The forget gate's ones among zeros."""
    law = mixed([(constant(1.0, FLOAT32), 1), (constant(0.0, FLOAT32), 3)])
    assert (law.mean, law.stddev, law.low, law.high) == (0.25, pytest.approx(math.sqrt(3) / 4), 0.0, 1.0)
    assert not law.is_random
    assert mixed([(law, 4), (normal(0.02, FLOAT32), 4)]).is_random


def test_laws_in_eight_bits_have_the_moments_of_what_is_stored() -> None:
    """A million normals, stored in float8 with steps as large as their spread."""
    dtype = np.dtype(ml_dtypes.float8_e4m3fn)
    values = np.random.default_rng(1).normal(0, 0.002, 10**6).astype(np.float32).astype(dtype).astype(np.float64)
    law = normal(0.002, dtype)
    assert law.stddev == pytest.approx(values.std(), rel=0.01)
    assert law.stddev != pytest.approx(0.002, rel=0.01)


def test_rounding_limits_of_a_coarse_dtype() -> None:
    """Numbers up to the middle between two bfloat16 numbers are rounded down."""
    (limit,) = rounding_limits(np.array([1.0]), BFLOAT16).tolist()
    assert limit == 1 + 2.0**-8


def test_rounding_limits_of_a_fine_dtype() -> None:
    """Float32's steps are too small to matter."""
    assert rounding_limits(np.array([1.0]), FLOAT32).tolist() == [1.0]


@pytest.mark.parametrize("at", [2.0, 6.0])
def test_cuts_that_take_nothing_leave_a_normal(at: float) -> None:
    """timm's truncation of 0.02 at ±2 is a hundred standard deviations away."""
    assert cut_normal(0.02, at, FLOAT32).kind == ("normal" if at == 6 else "truncated_normal")


def test_orthogonal_matrices_are_checked() -> None:
    """A matrix with orthonormal rows passes, and one with a doubled row does not."""
    initializer = fanin.Orthogonal(seed=1)
    law = Law.of(initializer.distribution((64, 128)))
    assert law.check is not None
    matrix = initializer((64, 128))
    assert law.check(matrix) == ""
    matrix[3] *= 1.1
    assert "orthonormal rows" in law.check(matrix)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 7, 64])
def test_elements_of_orthogonal_matrices_are_coordinates(length: int) -> None:
    """The square of an element is one of the beta distribution, in matrices of any size."""
    law = Law.of(fanin.Orthogonal(gain=0.5).distribution((length, 1)))
    values = np.linspace(-0.6, 0.6, 240)  # not at the bounds, where one element has steps
    half = 0.5 if length == 1 else stats.beta(0.5, (length - 1) / 2).cdf((values / 0.5) ** 2) / 2
    expected = 0.5 + np.sign(values) * np.where(np.abs(values) < 0.5, 0.0 if length == 1 else half, 0.5)
    within = 1e-12 if length < 4 else 1e-6  # the first have formulas, the others a table
    np.testing.assert_allclose(_curve(law).at(values), expected, atol=within)
    assert law.is_random


def test_tables_are_checked() -> None:
    """Every value counts."""
    law = Law.of(fanin.Sinusoidal().distribution((20, 16)))
    assert law.check is not None
    table = fanin.Sinusoidal()((20, 16))
    assert law.check(table) == ""
    table[1, 1] += 1
    assert law.check(table).startswith("1 of 320 elements")


def test_moved_laws() -> None:
    """Three times the spread, and another mean."""
    law = uniform(0.5, FLOAT32).moved(3.0, 1.0)
    assert (law.mean, law.stddev) == (1.0, pytest.approx(1.5 / math.sqrt(3)))
    assert _curve(law).at(np.array([1.75])).tolist() == pytest.approx([0.75])
