"""Variance scaling: the formulas of the papers, other fans than the shape's, and which axes make them."""

import math
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import fanin
from catalogue import FLOATS
from fanin.distributions import Normal, TruncatedNormal, Uniform

SHAPE, FAN_IN, FAN_OUT = (3, 5, 4, 6), 60, 90
# name → the standard deviation of its values, from the papers
STDDEVS = {
    "GlorotNormal": math.sqrt(2 / (FAN_IN + FAN_OUT)),
    "GlorotUniform": math.sqrt(2 / (FAN_IN + FAN_OUT)),
    "HeNormal": math.sqrt(2 / FAN_IN),
    "HeUniform": math.sqrt(2 / FAN_IN),
    "LecunNormal": math.sqrt(1 / FAN_IN),
    "LecunUniform": math.sqrt(1 / FAN_IN),
}


@pytest.mark.parametrize("name", STDDEVS)
def test_formulas(name: str) -> None:
    """Values have the papers' standard deviation, after the truncation of the normal ones."""
    drawn = getattr(fanin, name)().distribution(SHAPE, "float64")
    assert type(drawn) is (Uniform if name.endswith("Uniform") else TruncatedNormal)
    assert drawn.moments.mean == 0
    assert math.isclose(drawn.moments.stddev, STDDEVS[name], rel_tol=1e-12)


@pytest.mark.parametrize("distribution", ["truncated_normal", "normal", "untruncated_normal", "uniform", "Uniform"])
@pytest.mark.parametrize(
    ("mode", "units"), [("fan_in", FAN_IN), ("fan_out", FAN_OUT), ("fan_avg", 75), ("fan_geo_avg", math.sqrt(5400))]
)
def test_variance_scaling(mode: str, units: float, distribution: str) -> None:
    """Whatever the distribution, the variance is scale / n; `normal` is the truncated one."""
    drawn = fanin.VarianceScaling(1.7, mode, distribution).distribution(SHAPE, "float64")
    kinds = {"uniform": Uniform, "untruncated_normal": Normal}
    assert type(drawn) is kinds.get(distribution.lower(), TruncatedNormal)
    assert math.isclose(drawn.moments.stddev, math.sqrt(1.7 / units), rel_tol=1e-12)
    assert (drawn.fan_in, drawn.fan_out) == (FAN_IN, FAN_OUT)


def test_fans_of_ones_own() -> None:
    """Fans may be given in place of the shape's; fewer than one unit count as one."""
    initializer = fanin.VarianceScaling(2.0, "fan_in", "untruncated_normal")
    drawn = initializer.distribution_of_fans((4, 6), "float64", 8, 0.5)
    assert (drawn.shape, drawn.fan_in, drawn.fan_out) == ((4, 6), 8, 0.5)
    assert math.isclose(drawn.moments.stddev, 0.5, rel_tol=1e-12)
    small = initializer.distribution_of_fans((4, 6), "float64", 0.25, 1)
    assert math.isclose(small.moments.stddev, math.sqrt(2), rel_tol=1e-12)
    assert math.isclose(initializer.distribution((0, 6), "float64").moments.stddev, math.sqrt(2), rel_tol=1e-12)


def test_fan_axes() -> None:
    """Axes that are named make the fans, as Keras 3 has them; values are those of the fans."""
    initializer = fanin.VarianceScaling(2.0, "fan_in", "uniform", seed=1)
    initializer.fan_axes = ((0, 1), (-1,))
    drawn = initializer.distribution(SHAPE)
    assert (drawn.fan_in, drawn.fan_out) == (15, 6)
    expected = fanin.RandomUniform(-math.sqrt(6 / 15), math.sqrt(6 / 15), seed=1)
    assert initializer(SHAPE).tobytes() == expected(SHAPE).tobytes()
    initializer.fan_axes = ((4,), (0,))
    with pytest.raises(
        ValueError, match=r"^`input_axes` must be axes of the shape \(3, 5, 4, 6\)\. Received: input_axe"
    ):
        initializer(SHAPE)


@st.composite
def axes_of_shapes(draw: st.DrawFn) -> tuple[tuple[int, ...], dict[str, Any]]:
    """A shape, and axes of it for the three arguments: single ones and sequences, counted from either end."""
    shape = tuple(draw(st.lists(st.integers(1, 9), max_size=6)))
    uses = [draw(st.sampled_from(["in_axis", "out_axis", "batch_axis", ""])) for _ in shape]
    axes: dict[str, Any] = {}
    for name in ("in_axis", "out_axis", "batch_axis"):
        chosen = [axis - draw(st.sampled_from([0, len(shape)])) for axis, use in enumerate(uses) if use == name]
        axes[name] = chosen[0] if len(chosen) == 1 and draw(st.booleans()) else draw(st.permutations(chosen))
    return shape, axes


@given(axes_of_shapes())
def test_fans_are_jaxs(case: tuple[tuple[int, ...], dict[str, Any]]) -> None:
    """Whatever the axes, and however they are written; those of a distribution are the same."""
    initializers: Any = pytest.importorskip("jax._src.nn.initializers")
    shape, axes = case
    assert fanin.HeNormal(**axes).fans(shape) == initializers._compute_fans(shape, **axes)
    drawn = fanin.GlorotUniform(**axes).distribution(shape)
    assert (drawn.fan_in, drawn.fan_out) == initializers._compute_fans(shape, **axes)


@pytest.mark.parametrize("shape", [(), (7,), (7, 5), (3, 7, 5), (2, 3, 7, 5)])
@pytest.mark.parametrize("dtype", FLOATS)
def test_default_axes(dtype: str, shape: tuple[int, ...]) -> None:
    """Given as such, they leave the bits, also of shapes that lack them, and the configuration."""
    default, written = fanin.HeNormal(seed=1), fanin.HeNormal(seed=1, in_axis=-2, out_axis=-1, batch_axis=[])
    assert written == default
    assert written.get_config() == {"seed": 1}
    assert written(shape, dtype).tobytes() == default(shape, dtype).tobytes()


@pytest.mark.parametrize("name", [*STDDEVS, "VarianceScaling"])
def test_batches_have_the_fans_of_one_kernel(name: str) -> None:
    """A stack is as one kernel in its spread; without the argument the stack would be a receptive field."""
    cls = getattr(fanin, name)
    stacked = cls(batch_axis=0).distribution((8, 64, 256), "float64")
    assert (stacked.fan_in, stacked.fan_out) == (64, 256)
    assert stacked.moments == cls().distribution((64, 256), "float64").moments
    assert cls().distribution((8, 64, 256)).fan_in == 512


def test_configurations_of_axes() -> None:
    """They name what is not the default, as JSON has it, and make an equal initializer."""
    initializer = fanin.VarianceScaling(2.0, "fan_geo_avg", "uniform", 3, in_axis=(0, 1), batch_axis=np.int64(-2))
    config = initializer.get_config()
    assert config == {
        "scale": 2.0, "mode": "fan_geo_avg", "distribution": "uniform", "seed": 3, "in_axis": [0, 1], "batch_axis": -2
    }  # fmt: skip
    assert type(config["batch_axis"]) is int
    assert fanin.VarianceScaling.from_config(config) == initializer
    assert fanin.LecunUniform(5, out_axis=[0]).get_config() == {"seed": 5, "out_axis": [0]}
    assert repr(fanin.LecunUniform(5, out_axis=0)) == "LecunUniform(seed=5, out_axis=0)"
    assert fanin.LecunUniform(5, out_axis=0) != fanin.LecunUniform(5)


def test_axes_of_ones_own_outrank_given_fans() -> None:
    """A recipe knows its layers' fans, but axes in a rule are a choice."""
    drawn = fanin.HeNormal(in_axis=0).distribution_of_fans((4, 6, 5), "float64", 1000, 1000)
    assert (drawn.fan_in, drawn.fan_out) == (24, 30)


BAD_AXES: list[tuple[dict[str, Any], str]] = [
    ({"in_axis": 3}, "`in_axis` must be different axes of the shape (3, 4, 5). Received: in_axis=[3]."),
    ({"out_axis": -4}, "`out_axis` must be different axes of the shape (3, 4, 5). Received: out_axis=[-4]."),
    ({"batch_axis": 10**5000}, "Received: batch_axis=[one of type int, too long to be shown]."),
    ({"in_axis": (0, -3)}, "`in_axis` must be different axes of the shape (3, 4, 5). Received: in_axis=[0, -3]."),
    ({"batch_axis": 2}, "Received: in_axis=[-2], out_axis=[-1], batch_axis=[2] for shape (3, 4, 5)."),
    ({"in_axis": -1}, "`in_axis`, `out_axis` and `batch_axis` must not share axes. Received: in_axis=[-1], out"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(BAD_AXES)))
def test_bad_axes(number: int) -> None:
    """Out of range, repeated, or in two arguments: an error at the call, before a seed is drawn."""
    axes, message = BAD_AXES[number]
    initializer = fanin.GlorotNormal(**axes)
    with pytest.raises(ValueError, match=r"^`in_axis|^`out_axis|^`batch_axis") as caught:
        initializer((3, 4, 5))
    assert message in str(caught.value)
    assert not initializer.has_seed


@pytest.mark.parametrize("shape", [(), (5,)])
def test_axes_of_ones_own_must_be_there(shape: tuple[int, ...]) -> None:
    """As in JAX, a shape without the axis of the inputs has no fans, once axes are given."""
    with pytest.raises(ValueError, match="must be different axes of the shape"):
        fanin.GlorotNormal(batch_axis=0)(shape)


@pytest.mark.parametrize("axes", [True, "0", 0.5, None, [0.5], [True], [[0]], {"a": 1}, np.zeros((1, 1), int)])
def test_what_is_no_axis(axes: Any) -> None:
    """Booleans, texts, fractions and nested sequences are TypeErrors."""
    with pytest.raises(
        TypeError, match=r"^`batch_axis` must be an integer or a sequence of integers\. Received: batch_a"
    ):
        fanin.HeUniform(batch_axis=axes)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_the_dtype_rounds_the_parameters(dtype: str) -> None:
    """Parameters are computed in double precision and reach narrow dtypes through float32."""
    drawn: Any = fanin.HeUniform().distribution(SHAPE, dtype)
    limit = math.sqrt(6 / FAN_IN)
    single = np.float32(limit)
    expected = limit if dtype == "float64" else float(single.astype(drawn.dtype))
    assert (drawn.minval, drawn.maxval) == (-expected, expected)
