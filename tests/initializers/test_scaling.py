"""Variance scaling: the formulas of the papers, other fans than the shape's, and which axes make them."""

import math
from typing import Any

import numpy as np
import pytest

import fanin
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
@pytest.mark.parametrize(("mode", "units"), [("fan_in", FAN_IN), ("fan_out", FAN_OUT), ("fan_avg", 75)])
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


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_the_dtype_rounds_the_parameters(dtype: str) -> None:
    """Parameters are computed in double precision and reach narrow dtypes through float32."""
    drawn: Any = fanin.HeUniform().distribution(SHAPE, dtype)
    limit = math.sqrt(6 / FAN_IN)
    single = np.float32(limit)
    expected = limit if dtype == "float64" else float(single.astype(drawn.dtype))
    assert (drawn.minval, drawn.maxval) == (-expected, expected)
