"""Distributions by quantiles, Bernoulli, sparse matrices: against SciPy's exact ones, bounds, recorded values."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fanin
from fanin import distributions
from fanin._core.settings import TIERS
from strategies import FLOAT_DTYPES

stats: Any = pytest.importorskip("scipy.stats")

# name → (the initializer with a seed, SciPy's distribution)
CASES: dict[str, tuple[Callable[[int], fanin.Initializer], Any]] = {
    "(-2, 2)": (lambda seed: fanin.TruncatedNormal(0, 1, seed, minval=-2, maxval=2), stats.truncnorm(-2, 2)),
    "(-1, 3)": (lambda seed: fanin.TruncatedNormal(0, 1, seed, minval=-1, maxval=3), stats.truncnorm(-1, 3)),
    "(3, 4)": (lambda seed: fanin.TruncatedNormal(0, 1, seed, minval=3, maxval=4), stats.truncnorm(3, 4)),
    "(10, 11)": (lambda seed: fanin.TruncatedNormal(0, 1, seed, minval=10, maxval=11), stats.truncnorm(10, 11)),
    "(-36, -35)": (lambda seed: fanin.TruncatedNormal(0, 1, seed, minval=-36, maxval=-35), stats.truncnorm(-36, -35)),
    "below -0.5": (lambda seed: fanin.TruncatedNormal(0, 1, seed, maxval=-0.5), stats.truncnorm(-np.inf, -0.5)),
    "above 0.5": (lambda seed: fanin.TruncatedNormal(0, 1, seed, minval=0.5), stats.truncnorm(0.5, np.inf)),
    "scaled": (
        lambda seed: fanin.TruncatedNormal(5, 2, seed, minval=4, maxval=5.5),
        stats.truncnorm(-0.5, 0.25, loc=5, scale=2),
    ),
    "deviations": (
        lambda seed: fanin.TruncatedNormal(5, 2, seed, lower=-0.5, upper=0.25),
        stats.truncnorm(-0.5, 0.25, loc=5, scale=2),
    ),
    "far deviations": (
        lambda seed: fanin.TruncatedNormal(-1, 0.3, seed, lower=3, upper=4),
        stats.truncnorm(3, 4, loc=-1, scale=0.3),
    ),
    "one deviation": (lambda seed: fanin.TruncatedNormal(0, 2, seed, upper=-9), stats.truncnorm(-np.inf, -9, scale=2)),
    "cut by nothing": (lambda seed: fanin.TruncatedNormal(1, 0.1, seed, minval=-2, maxval=2), stats.norm(1, 0.1)),
    "exponential": (lambda seed: fanin.Exponential(2.5, seed), stats.expon(scale=0.4)),
    "log-normal": (lambda seed: fanin.LogNormal(-1.0, 0.7, seed), stats.lognorm(0.7, scale=math.exp(-1))),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_against_scipy(case: str, dtype: str) -> None:
    """No Kolmogorov–Smirnov test over 200,000 elements rejects at 1e-4, for any of five seeds."""
    make, theirs = CASES[case]
    for seed in range(5):
        assert stats.kstest(make(seed)((200_000,), dtype), theirs.cdf).pvalue > 1e-4


@pytest.mark.parametrize("case", CASES)
def test_the_distribution_function_and_moments_are_scipys(case: str) -> None:
    """Of the float64 distribution: `cdf`, mean and standard deviation, and of 16 bits nearly those."""
    make, theirs = CASES[case]
    drawn = make(1).distribution((), "float64")
    assert isinstance(drawn, distributions.Floats)
    points = theirs.ppf([0.001, 0.2, 0.5, 0.9, 0.9999])
    assert np.allclose([drawn.cdf(each) for each in points.tolist()], theirs.cdf(points), rtol=1e-9, atol=1e-12)
    assert np.allclose(drawn.moments[:2], (theirs.mean(), theirs.std()), rtol=1e-7)
    narrow = make(1).distribution((), "float16").moments
    assert np.allclose(narrow[:2], drawn.moments[:2], rtol=2e-3, atol=1e-6 + 1e-4 * abs(drawn.moments.mean))


@pytest.mark.parametrize("dtype", FLOAT_DTYPES)
@pytest.mark.parametrize("bounds", [(-0.1, 0.1), (0.3, 0.301), (2.7, None), (None, -3.3), (0.1, 1e300)], ids=str)
def test_no_value_passes_a_bound(bounds: tuple[float | None, float | None], dtype: str) -> None:
    """Not by rounding either, in any dtype; the numbers next to the bounds come up where the dtype is coarse."""
    low, high = bounds
    values = fanin.TruncatedNormal(0.0, 1.0, seed=3, minval=low, maxval=high)((100_000,), dtype).astype(np.float64)
    assert values.min() >= (-math.inf if low is None else low)
    assert values.max() <= (math.inf if high is None else high)
    assert np.isfinite(values).all()


def test_a_value_at_each_end() -> None:
    """What the smallest and the largest unit float make is a number between the bounds, and reported as the bound."""
    drawn = fanin.TruncatedNormal(0, 1, minval=-0.7, maxval=1.1).distribution((), "float64")
    assert drawn.bounds == pytest.approx((-0.7, 1.1), abs=1e-14)
    assert -0.7 <= drawn.bounds[0] < drawn.bounds[1] <= 1.1
    assert fanin.Exponential().distribution(()).bounds == pytest.approx((2.0**-33, 33 * math.log(2)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("case", CASES)
def test_narrow_values_are_rounded_once(case: str, dtype: str) -> None:
    """A 16-bit tensor is the float32 one, rounded, and kept within its bounds."""
    make, _ = CASES[case]
    if isinstance(make(1).distribution(()), distributions.Quantile):
        single, narrow = make(1)((5000,)), make(1)((5000,), dtype)
        low, high = (narrow.dtype.type(each) for each in (narrow.min(), narrow.max()))
        assert narrow.tobytes() == np.clip(single.astype(dtype), low, high).astype(dtype).tobytes()


@pytest.mark.parametrize("dtype", FLOAT_DTYPES)
@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("case", CASES)
def test_tiers_threads_and_regions(case: str, tier: str, dtype: str, many_threads: None) -> None:
    """Every tier, number of threads and region has the bytes of the reference."""
    make, _ = CASES[case]
    with fanin.config.using(tier="reference"):
        expected = make(7)((61, 83), dtype)
    with fanin.config.using(tier=tier, threads=3):
        assert make(7)((61, 83), dtype).tobytes() == expected.tobytes()
        assert make(7)((61, 83), dtype, region=np.s_[3:, 5:]).tobytes() == expected[3:, 5:].tobytes()


def test_quantiles_are_accurate() -> None:
    """To a few units in the last place of SciPy's, in the middle, in both tails and where they meet."""
    from fanin._core import reference64

    scipy_special: Any = pytest.importorskip("scipy.special")
    z = np.concatenate([np.linspace(-8, 8, 4001), np.linspace(-36, -8, 500), np.array([-2.957, 2.958, 1e-9])])
    lower, upper = scipy_special.ndtr(z), scipy_special.ndtr(-z)
    centre = scipy_special.erf(z / math.sqrt(2)) / 2
    found = reference64.quantile(lower, upper, centre)
    assert np.abs(found - z).max() < 2e-15 * np.abs(z).max()
    assert np.abs(found / np.where(z, z, 1) - 1)[z != 0].max() < 4e-15


def test_the_exponential_function_is_accurate() -> None:
    """To 1.5 units in the last place of NumPy's, and right where it overflows and underflows."""
    from fanin._core import reference64

    x = np.concatenate([np.linspace(-700, 709, 20_001), np.linspace(-1e-3, 1e-3, 1001)])
    assert np.abs(reference64.exp(x) / np.exp(x) - 1).max() < 4e-16
    with np.errstate(over="ignore"):
        ends = reference64.exp(np.array([-np.inf, -746.0, -745.0, 0.0, 709.78, 709.79, np.inf]))
    assert ends.tolist()[:4] == [0.0, 0.0, 5e-324, 1.0]
    assert math.isfinite(ends[4])
    assert ends.tolist()[5:] == [math.inf, math.inf]


def test_bounds_that_cut_nothing() -> None:
    """They leave the values of RandomNormal; a bound that cuts, however little, has quantiles."""
    for dtype in FLOAT_DTYPES:
        made = fanin.TruncatedNormal(0.5, 0.02, seed=1, minval=-2, maxval=2)((1000,), dtype)
        assert made.tobytes() == fanin.RandomNormal(0.5, 0.02, seed=1)((1000,), dtype).tobytes()
    kinds = [fanin.TruncatedNormal(0, 1, maxval=bound).distribution(()).kind for bound in (6.0, 5.99)]
    assert kinds == ["normal", "bounded_normal"]


def test_without_bounds_truncated_normals_are_keras() -> None:
    """Both None: the configuration, the law and the bits of Keras."""
    plain = fanin.TruncatedNormal(0.1, 0.3, 5, minval=None, maxval=None)
    assert plain == fanin.TruncatedNormal(0.1, 0.3, seed=5)
    assert plain.get_config() == {"mean": 0.1, "stddev": 0.3, "seed": 5}
    assert plain.distribution((3,)).kind == "truncated_normal"
    bounded = fanin.TruncatedNormal(0.1, 0.3, 5, maxval=2)
    assert bounded.get_config() == {"mean": 0.1, "stddev": 0.3, "seed": 5, "minval": None, "maxval": 2}
    assert bounded != plain


def test_bounds_in_deviations() -> None:
    """They are the same bounds as values at so many standard deviations from the mean, bit for bit."""
    for dtype in FLOAT_DTYPES:
        deviations = fanin.TruncatedNormal(0.5, 0.25, seed=1, lower=-2, upper=1)((1000,), dtype)
        values = fanin.TruncatedNormal(0.5, 0.25, seed=1, minval=0, maxval=0.75)((1000,), dtype)
        assert deviations.tobytes() == values.tobytes()
    initializer = fanin.TruncatedNormal(0.5, 0.25, seed=1, lower=-2)
    assert initializer.get_config() == {"mean": 0.5, "stddev": 0.25, "seed": 1, "lower": -2, "upper": None}
    assert initializer != fanin.TruncatedNormal(0.5, 0.25, seed=1, minval=0)
    assert repr(initializer) == "TruncatedNormal(mean=0.5, stddev=0.25, seed=1, lower=-2, upper=None)"


@pytest.mark.parametrize("stddev", [1.0, 1e-30, 3e-5, 7.7, 1e30])
def test_deviations_that_cut_nothing(stddev: float) -> None:
    """Six and more leave RandomNormal, however the dtype rounds; less on one side does not."""
    for dtype in FLOAT_DTYPES:
        made = fanin.TruncatedNormal(0.1, stddev, seed=1, lower=-6, upper=6.0)((1000,), dtype)
        assert made.tobytes() == fanin.RandomNormal(0.1, stddev, seed=1)((1000,), dtype).tobytes()
    assert fanin.TruncatedNormal(0.1, stddev, lower=-6).distribution(()).kind == "normal"
    assert fanin.TruncatedNormal(0.1, 1.0, lower=-6, upper=5.99).distribution(()).kind == "bounded_normal"


def test_a_spread_that_the_mean_swallows() -> None:
    """Bounds in deviations can always be met: values are the mean where its rounding leaves nothing else."""
    for mean, stddev in ((0.25, 0.0), (1.0, 1e-17), (0.0, 0.0)):
        made = fanin.TruncatedNormal(mean, stddev, seed=1, lower=3, upper=4)((50,), "float64")
        assert set(made.tolist()) == {mean}


def test_no_spread_at_all() -> None:
    """Without a standard deviation every value is the mean, if the bounds have it."""
    assert set(fanin.TruncatedNormal(0.25, 0.0, seed=1, minval=-1, maxval=1)((50,)).tolist()) == {0.25}
    assert set(fanin.LogNormal(0.0, 0.0, seed=1)((50,)).tolist()) == {1.0}


@pytest.mark.parametrize("p", [0, 1e-3, 0.25, 0.5, 0.9, 1, 1.0])
def test_frequencies(p: float) -> None:
    """The ones are as frequent as they should be, and never or always come up at the ends."""
    count = int(fanin.Bernoulli(p, seed=4)((1_000_000,), "int64").sum())
    assert abs(count - 1_000_000 * p) <= 5 * math.sqrt(1_000_000 * p * (1 - p))


def test_ones_are_at_the_same_places_in_every_dtype() -> None:
    """In floats, integers and bools of any size, whole and in regions."""
    initializer = fanin.Bernoulli(0.4, seed=9)
    expected = initializer((70, 90), "bool")
    for dtype in (*FLOAT_DTYPES, "int8", "uint16", "int32", "uint64", "float8_e5m2"):
        made = initializer((70, 90), dtype)
        assert made.dtype.name == dtype
        assert (made.astype(np.float64) == expected).all()
        assert (initializer((70, 90), dtype, region=np.s_[5:, 3]).astype(np.float64) == expected[5:, 3]).all()


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 1 / 3, 0.9, 1.0])
def test_zeros_of_each_row(sparsity: float) -> None:
    """Each row has as many zeros as PyTorch's columns have; the other values are those of RandomNormal."""
    matrix = fanin.Sparse(sparsity, 0.2, seed=6)((50, 71))
    assert set((matrix == 0).sum(axis=1).tolist()) == {math.ceil(sparsity * 71)}
    normal = fanin.RandomNormal(0.0, 0.2, seed=6)((50, 71))
    assert (matrix[matrix != 0] == normal[matrix != 0]).all()


def test_zeros_are_anywhere() -> None:
    """Every column has its share of them, and no two rows the same ones."""
    zero = fanin.Sparse(0.25, 1.0, seed=2)((20_000, 40)) == 0
    expected = 20_000 * 0.25
    assert np.abs(zero.sum(axis=0) - expected).max() < 5 * math.sqrt(expected * 0.75)
    assert len(np.unique(zero, axis=0)) == 20_000
    both = (zero[:, 0] & zero[:, 1]).sum() / 20_000  # drawn without replacement: 10/40 * 9/39
    assert abs(both - 0.25 * 9 / 39) < 5 * math.sqrt(0.06 / 20_000)


@pytest.mark.parametrize("dtype", FLOAT_DTYPES)
def test_sparse_regions(dtype: str) -> None:
    """A region has the zeros of the whole, and so has PyTorch's layout of strides."""
    initializer = fanin.Sparse(0.6, 0.2, seed=6)
    whole = initializer((33, 29), dtype)
    for region in (np.s_[4:9], np.s_[:, 7], np.s_[32, 28], np.s_[5:, 3:11], np.s_[3:3]):
        assert initializer((33, 29), dtype, region=region).tobytes() == whole[region].tobytes()
    out = np.empty((29, 33), whole.dtype).T
    assert initializer((33, 29), dtype, out=out).tobytes() == whole.tobytes()


def test_sparse_in_pytorch() -> None:
    """In PyTorch's order of axes the columns have the zeros, as `torch.nn.init.sparse_` makes them."""
    torch = pytest.importorskip("torch")
    from fanin.torch import fill_

    ours = fill_(torch.empty(31, 17), fanin.Sparse(0.4, seed=1))
    theirs = torch.nn.init.sparse_(torch.empty(31, 17), 0.4)
    assert (ours == 0).sum(dim=0).tolist() == (theirs == 0).sum(dim=0).tolist() == [13] * 17


# name → (initializer, dtype, the bytes of a tensor of shape (2, 3))
RECORDED: dict[str, tuple[fanin.Initializer, str, str]] = {
    "bounded": (
        fanin.TruncatedNormal(0.1, 0.5, seed=42, minval=-0.4, maxval=1),
        "float32",
        "596e31bd645fbebd0612f43d25d9993ef88c953e09d63a3e",
    ),
    "bounded, float64": (
        fanin.TruncatedNormal(0.1, 0.5, seed=42, minval=-0.4, maxval=1),
        "float64",
        "1ef587ad41aeb1bff69d44edd622db3f7a34baa2630bd43f301134765c97d5bf9ac3307e2794d6bfe43116c5d8fbcb3f",
    ),
    "bounded, bfloat16": (
        fanin.TruncatedNormal(0.1, 0.5, seed=42, minval=-0.4, maxval=1),
        "bfloat16",
        "31bdbebdf43d9a3e963e3b3e",
    ),
    "deviations": (
        fanin.TruncatedNormal(0.1, 0.5, seed=42, lower=-2, upper=2),
        "float32",
        "a1922fbe152474be1f75003d79f0773e62256e3e6a5ed93d",
    ),
    "deviations, float64": (
        fanin.TruncatedNormal(0.1, 0.5, seed=42, lower=-2, upper=2),
        "float64",
        "d15b7d613a57cabf04549a6f876fd83fd82f9c45ec6bd03f7475125ac98de5bfc3833ba6c8f2e6bfbfeec6a366f8c23f",
    ),
    "tail": (
        fanin.TruncatedNormal(0, 1, seed=42, minval=10),
        "float32",
        "26872041bc6d20418dec2041b9832141b87b21415f1c2141",
    ),
    "exponential": (fanin.Exponential(2.0, seed=42), "float32", "0c3c213f421e383f858bd03eaa0c773ec2797d3e1fd5ae3e"),
    "exponential, float64": (
        fanin.Exponential(2.0, seed=42),
        "float64",
        "c65f5b2c0b96e53f0c3aff88f0b2c43f74f5fce599b1cd3f611dc02bedc0f93f65a9aa54df21fc3f20b525d440b4d33f",
    ),
    "log-normal": (fanin.LogNormal(-1.0, 0.5, seed=42), "float32", "ea858d3e17bd833e0548af3ee5a3da3ec573d83eb991bd3e"),
    "log-normal, float64": (
        fanin.LogNormal(-1.0, 0.5, seed=42),
        "float64",
        "6da4643dd40dd13f9a6fcaf9c4aedf3f76dd4046c3bfdb3fa3e58d07089fc33f6090d188af58c23fa8ba84cf9ac3d83f",
    ),
    "bernoulli": (fanin.Bernoulli(0.5, seed=42), "int8", "010101000000"),
    "sparse": (fanin.Sparse(0.5, seed=42), "float32", "000000008a4282bc0000000017ff043c0000000000000000"),
}


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_values(name: str) -> None:
    """The first values of a seed, on every tier: changed ones would be a breaking change."""
    initializer, dtype, recorded = RECORDED[name]
    for tier in TIERS:
        with fanin.config.using(tier=tier):
            made = initializer((2, 3), dtype)
        assert made.astype(made.dtype.newbyteorder("<")).tobytes().hex() == recorded, tier


@pytest.mark.parametrize(
    ("mean", "minval", "maxval"), [(1e5, 99999.0, None), (-1e5, None, -99999.0), (1e5, 99999.0, 100001.0)]
)
def test_bounds_beyond_the_dtype(mean: float, minval: float | None, maxval: float | None) -> None:
    """No number of float16 lies there, and infinity is none."""
    with pytest.raises(ValueError, match="must have a number between"):
        fanin.TruncatedNormal(mean, 1.0, 1, minval=minval, maxval=maxval)((5,), "float16")


def test_zeros_of_either_sign_are_one_argument() -> None:
    """The bits do not depend on which of them came first: a mean of -0.0 is one of 0.0."""
    drawn = fanin.TruncatedNormal(-0.0, 0.0, 1, lower=-1, upper=1)((97,))  # no other test has this shape
    assert not np.signbit(drawn).any()
    assert drawn.tobytes() == fanin.TruncatedNormal(0.0, 0.0, 1, lower=-1, upper=1)((97,)).tobytes()
