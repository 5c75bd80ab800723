"""Complex initializers: laws against SciPy's, the floats that they are made of, recorded values, mistakes."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fanin
from catalogue import COMPLEX
from fanin import distributions
from fanin._core.settings import TIERS

stats: Any = pytest.importorskip("scipy.stats")

SHAPE, FAN_IN, FAN_OUT = (3, 5, 4, 6), 60, 90
COUNT = 100_000


def scaling(law: str) -> Callable[[int], fanin.Initializer]:
    """Complex variance scaling by that law, with a mean of |z|**2 of 2."""
    return lambda seed: fanin.ComplexVarianceScaling(200.0, "fan_in", law, seed)


def cut(s: Any) -> Any:
    """The distribution function of |z|**2 of complex unit normals, exponential, with |z| below 2."""
    return -np.expm1(-np.minimum(s, 4.0)) / -math.expm1(-4.0)


TRUNCATED = 2.0 / ((1 - 5 * math.exp(-4)) / (1 - math.exp(-4)))  # the mean of |z|**2 before the truncation
# name → (the initializer of a seed for the shape (100, 1000), the distribution function of |z|**2)
LAWS: dict[str, tuple[Callable[[int], fanin.Initializer], Callable[[Any], Any]]] = {
    "normal": (lambda seed: fanin.ComplexNormal(math.sqrt(2), seed), stats.expon(scale=2.0).cdf),
    "untruncated": (scaling("untruncated_normal"), stats.expon(scale=2.0).cdf),
    "truncated": (scaling("truncated_normal"), lambda s: cut(s / TRUNCATED)),
    "uniform": (scaling("uniform"), stats.uniform(0.0, 4.0).cdf),
    "glorot": (lambda seed: fanin.ComplexGlorot(seed), stats.expon(scale=2 / 1100).cdf),
    "he": (lambda seed: fanin.ComplexHe(seed), stats.expon(scale=2 / 100).cdf),
}


@pytest.mark.parametrize("dtype", COMPLEX)
@pytest.mark.parametrize("name", LAWS)
def test_laws(name: str, dtype: str) -> None:
    """Modulus and phase have their laws, for any of five seeds, and do not depend on one another."""
    make, cdf = LAWS[name]
    for seed in range(5):
        values = make(seed)((100, 1000), dtype).astype("complex128").ravel()
        phase = np.angle(values) / (2 * math.pi) % 1
        assert stats.kstest(np.abs(values) ** 2, cdf).pvalue > 1e-4
        assert stats.kstest(phase, "uniform").pvalue > 1e-4
        assert abs(stats.pearsonr(np.abs(values), phase).statistic) < 5 / math.sqrt(COUNT)
        assert abs(np.mean(values[1:] * values[:-1].conj())) < 5 * np.mean(np.abs(values) ** 2) / math.sqrt(COUNT)


@pytest.mark.parametrize("dtype", COMPLEX)
@pytest.mark.parametrize("name", [name for name in LAWS if name not in ("glorot", "he")])
def test_variance(name: str, dtype: str) -> None:
    """The mean of |z|**2 is what was asked for, and each part's variance is half of it."""
    initializer = LAWS[name][0](1)
    drawn = initializer.distribution((100, 1000), dtype)
    assert math.isclose(drawn.moments.stddev, 1.0, rel_tol=1e-7)
    assert drawn.moments.mean == 0
    values = initializer((100, 1000), dtype)
    assert abs(np.mean(np.abs(values) ** 2) - 2) < 5 * 2 / math.sqrt(COUNT)
    assert abs(stats.kurtosis(np.imag(values).ravel(), fisher=False) - drawn.moments.kurtosis) < 0.1
    assert np.abs(values).max() <= math.sqrt(2) * drawn.bounds[1] * (1 + 1e-7)


@pytest.mark.parametrize("law", ["truncated_normal", "untruncated_normal", "uniform"])
@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg", "fan_geo_avg"])
def test_formulas(mode: str, law: str) -> None:
    """The variance over the plane is scale / n, and the fans are those of real kernels."""
    drawn = fanin.ComplexVarianceScaling(1.7, mode, law).distribution(SHAPE, "complex128")
    units = {"fan_in": FAN_IN, "fan_out": FAN_OUT, "fan_avg": 75, "fan_geo_avg": math.sqrt(FAN_IN * FAN_OUT)}[mode]
    assert math.isclose(2 * drawn.moments.stddev**2, 1.7 / units, rel_tol=1e-12)
    assert (drawn.fan_in, drawn.fan_out) == (FAN_IN, FAN_OUT)


def test_trabelsis_rules() -> None:
    """Rayleigh's sigma, the standard deviation of each part, is 1 / sqrt(fan_in + fan_out), or 1 / sqrt(fan_in)."""
    glorot, he = (rule().distribution(SHAPE, "complex128") for rule in (fanin.ComplexGlorot, fanin.ComplexHe))
    assert math.isclose(glorot.moments.stddev, 1 / math.sqrt(FAN_IN + FAN_OUT), rel_tol=1e-12)
    assert math.isclose(he.moments.stddev, 1 / math.sqrt(FAN_IN), rel_tol=1e-12)
    assert fanin.ComplexHe(batch_axis=0).distribution((7, 5, 6)).fan_in == 5


@pytest.mark.parametrize("law", ["truncated_normal", "untruncated_normal", "uniform"])
def test_against_jax(law: str) -> None:
    """JAX's modulus has the same law; its truncated normals are wider by 0.93 %, since it takes another constant."""
    jax = pytest.importorskip("jax")
    theirs = jax.nn.initializers.variance_scaling(200.0, "fan_in", law.removeprefix("untruncated_"))
    values = np.abs(np.asarray(theirs(jax.random.key(1), (100, 1000), "complex64"), np.complex128)).ravel()
    if law == "truncated_normal":
        values *= math.sqrt(1 - math.exp(-4))
    assert stats.kstest(values**2, LAWS[law.removesuffix("_normal")][1]).pvalue > 1e-4


@pytest.mark.parametrize("shape", [(), (7,), (3, 5), (2, 0, 3), (2, 3, 4)])
def test_normals_are_two_floats_each(shape: tuple[int, ...]) -> None:
    """Element i of a complex normal is made of elements 2 i and 2 i + 1 of the real normal with the same seed."""
    for dtype, part in (("complex64", "float32"), ("complex128", "float64")):
        made = fanin.ComplexNormal(0.3, seed=5)(shape, dtype)
        floats = fanin.RandomNormal(0.0, 0.3 / math.sqrt(2), seed=5)((*shape, 2), part)
        assert made.tobytes() == floats.tobytes()


@pytest.mark.parametrize("law", ["truncated_normal", "uniform"])
def test_others_are_two_unit_floats_each(law: str) -> None:
    """Modulus and phase come from elements 2 i and 2 i + 1 of float64's unit floats; complex64 is that, rounded."""
    drawn: Any = fanin.ComplexVarianceScaling(2.0, "fan_in", law).distribution((40, 50), "complex128")
    units = fanin.RandomUniform(0.0, 1.0, seed=5)((40, 50, 2), "float64")
    u = units[..., 0] + 2.0**-53
    if law == "uniform":
        modulus = drawn.limit * np.sqrt(u)
    else:
        modulus = drawn.stddev * np.sqrt(-np.log(1 - u * (1 - math.exp(-4))))
    made = fanin.ComplexVarianceScaling(2.0, "fan_in", law, seed=5)((40, 50), "complex128")
    assert np.abs(made - modulus * np.exp(2j * math.pi * units[..., 1])).max() < 1e-15
    narrow = fanin.ComplexVarianceScaling(2.0, "fan_in", law, seed=5)((40, 50), "complex64")
    assert narrow.tobytes() == made.astype("complex64").tobytes()


CLASSES: dict[str, Callable[[], fanin.Initializer]] = {
    "ComplexNormal": lambda: fanin.ComplexNormal(0.3, seed=42),
    "truncated": lambda: fanin.ComplexVarianceScaling(2.0, "fan_in", "truncated_normal", 42),
    "uniform": lambda: fanin.ComplexVarianceScaling(2.0, "fan_in", "uniform", 42),
    "ComplexGlorot": lambda: fanin.ComplexGlorot(42),
    "ComplexHe": lambda: fanin.ComplexHe(42),
}


@pytest.mark.parametrize("dtype", COMPLEX)
@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", CLASSES)
def test_tiers_threads_and_regions(name: str, tier: str, dtype: str, many_threads: None) -> None:
    """Every tier, number of threads, region and order of axes has the bytes of the reference."""
    with fanin.config.using(tier="reference"):
        expected = CLASSES[name]()((61, 83), dtype)
    with fanin.config.using(tier=tier, threads=3):
        assert CLASSES[name]()((61, 83), dtype).tobytes() == expected.tobytes()
        for region in (np.s_[3:, 5:], np.s_[7], np.s_[..., -1], np.s_[60, 82], np.s_[5:5]):
            assert CLASSES[name]()((61, 83), dtype, region=region).tobytes() == expected[region].tobytes()
        out = np.zeros((83, 2, 61), dtype)[:, 1].T
        assert CLASSES[name]()((61, 83), dtype, out=out).tobytes() == expected.tobytes()


def test_many_parts() -> None:
    """A tensor of more elements than are computed at once is the same in one piece and in rows."""
    initializer = fanin.ComplexVarianceScaling(seed=3)
    whole = initializer((7, 20_000))
    assert whole.tobytes() == b"".join(initializer((7, 20_000), region=row).tobytes() for row in range(7))


@pytest.mark.parametrize("name", CLASSES)
def test_only_complex_dtypes(name: str) -> None:
    """Others are refused by name; without a dtype, it is the complex one of `floatx`."""
    for dtype in ("float32", "float64", "bfloat16", "int8", "bool", "string"):
        with pytest.raises(ValueError, match=rf"^Expected complex type, got {dtype}\. Use complex64 or complex128\."):
            CLASSES[name]()((2, 2), dtype)
    for floatx, expected in (("float32", "complex64"), ("float16", "complex64"), ("float64", "complex128")):
        with fanin.config.using(floatx=floatx):
            assert CLASSES[name]()((2, 2)).dtype == expected


def test_arguments() -> None:
    """Those of the real classes, with their messages and configurations."""
    assert fanin.ComplexNormal().get_config() == {"stddev": 0.05, "seed": None}
    assert fanin.ComplexHe(3, out_axis=0).get_config() == {"seed": 3, "out_axis": 0}
    assert fanin.ComplexVarianceScaling(2, "fan_out", "Normal", 3).get_config() == {
        "scale": 2, "mode": "fan_out", "distribution": "truncated_normal", "seed": 3
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"^`stddev` must be finite\. Received: stddev=inf\."):
        fanin.ComplexNormal(math.inf)
    with pytest.raises(TypeError, match=r"^`stddev` must be a real number"):
        fanin.ComplexNormal(1j)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"^`scale` must be positive float\. Received: scale=0\."):
        fanin.ComplexVarianceScaling(0)
    with pytest.raises(ValueError, match=r"^Invalid `mode` argument: 'fan'"):
        fanin.ComplexVarianceScaling(1, "fan")


def test_spreads_that_overflow() -> None:
    """They are infinite in complex64, without a warning."""
    made = distributions.ComplexUniform((50,), np.dtype("complex64"), 1e300)
    assert not np.isfinite(fanin.Weight(made, fanin.HeNormal(1).weight(()).stream).make()).any()


# (name, dtype) → the bytes of a tensor of shape (2, 2)
RECORDED: dict[tuple[str, str], str] = {
    ("ComplexNormal", "complex64"): "bce45b3bafb3acbe6406b43c7f54303e3be7aebe5382abbe7743103ef821973d",
    ("ComplexNormal", "complex128"): (
        "9b4ca82d27ffd5bf1c400600e761adbf8182485ec102aa3f8808828abe55c93f"
        "2d463289a702c2bf55406fcc1f6ee1bf65e6a8a87f5cc0bf6c6ca2b7a2bba33f"
    ),
    ("truncated", "complex64"): "261cbebda3520ebf7c9d7c3f4bad813ec64b31be983237bd138cc43eedf6a2bf",
    ("truncated", "complex128"): (
        "c595a6c084c3b7bf8f98526e54cae1bf6091768baf93ef3f1eca4751a935d03f"
        "511e70c87829c6bf2aad29f352e6a6bfc40fd3608291d83f9e7b4d9edd5ef4bf"
    ),
    ("uniform", "complex64"): "85f8f2bd6fe535bfd0088b3f45be8e3e8fa571bebcb079bd2552bd3e14f99cbf",
    ("uniform", "complex128"): (
        "40d0a199105fbebfecaddadbadbce6bf9481bdf71961f13f280c5aa9c8d7d13f"
        "9911c4d2b134cebffec6458a1736afbfa519e89144aad73f33b17284229ff3bf"
    ),
    ("ComplexGlorot", "complex64"): "d092013cf8874bbf5529543d95cecf3e1d204ebf19204abf2604aa3e911c323e",
    ("ComplexGlorot", "complex128"): (
        "5ffeeca360ece9bf5a8f6fce5250c1bf2b604c1e6ba7be3f2ff6bbe085dbdd3f"
        "65b55357b539d5bf1d50d9efa98af4bf140b9c693148d3bff4abd1df6841b73f"
    ),
    ("ComplexHe", "complex64"): "9d3e373c12eb8fbf5305963d14f1123fb1c091bf9aec8ebf7170f03e48e37b3e",
    ("ComplexHe", "complex128"): (
        "d63f0ca6a054f2bf6d350580407cc8bfc16c3c79f6acc53f725c6c73c91ce53f"
        "4bca538f6c04debf8ec00eaadf0cfdbfa92ac4c3d444dbbf0505b243b271c03f"
    ),
}


@pytest.mark.parametrize("case", RECORDED, ids=", ".join)
def test_recorded_values(case: tuple[str, str]) -> None:
    """The first values of a seed, on every tier: changed ones would be a breaking change."""
    name, dtype = case
    for tier in TIERS:
        with fanin.config.using(tier=tier):
            made = CLASSES[name]()((2, 2), dtype)
        assert made.astype(made.dtype.newbyteorder("<")).tobytes().hex() == RECORDED[case], tier
