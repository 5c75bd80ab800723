"""Mean fields: maps, fixed points, depth scales and critical values, against published ones."""

import math

import numpy as np
import pytest

import fanin
from fanin.theory import critical_stddev, fields, gain_at_zero, mean_field


def test_he() -> None:
    """He et al.'s condition for ReLU: half the variance times fan_in is 1; that of leaky ones, (1 + a²) / 2."""
    relu = mean_field("relu", math.sqrt(2))
    assert math.isclose(relu.variance(3.7), 3.7, rel_tol=1e-12)
    assert math.isclose(relu.chi, 1.0, rel_tol=1e-9)
    leaky = fanin.theory.activation("leaky_relu", 0.2)
    assert math.isclose(mean_field(leaky, 1.0).variance(2.0), 1 + 0.2**2, rel_tol=1e-12)


def test_self_normalizing() -> None:
    """SELU with σ_w = 1 has its fixed point at 1, and comes back to it as Klambauer et al. found (0.782648)."""
    selu = mean_field("selu", 1.0)
    assert math.isclose(selu.fixed_point, 1.0, rel_tol=1e-9)
    assert abs(fields.mean_of(selu.activation, 1.0)) < 1e-12
    assert round(selu.variance_slope(1.0), 6) == 0.782648


@pytest.mark.parametrize(("name", "gain"), [("tanh", 1.0), ("relu", math.sqrt(2)), ("gelu", 2.0), ("silu", 2.0)])
def test_gains_at_zero(name: str, gain: float) -> None:
    """Smooth functions: 1 / f'(0)."""
    assert math.isclose(gain_at_zero(name), gain, rel_tol=1e-8)
    assert math.isclose(critical_stddev(name), gain, rel_tol=1e-8)


def test_erf() -> None:
    """Any function: that of erf is half the root of π."""
    assert math.isclose(gain_at_zero(math.erf), math.sqrt(math.pi) / 2, rel_tol=1e-8)


def test_edge_of_chaos() -> None:
    """Schoenholz et al.'s network at σ_b² = 0.05 is critical near σ_w² = 1.76."""
    critical = critical_stddev("tanh", math.sqrt(0.05))
    assert round(critical**2, 2) == 1.76
    assert math.isclose(mean_field("tanh", critical, math.sqrt(0.05)).chi, 1.0, rel_tol=1e-6)


@pytest.mark.parametrize(("name", "bias"), [("tanh", 0.01), ("gelu", 0.3), ("elu", 0.1)])
def test_edges_are_critical(name: str, bias: float) -> None:
    """Wherever an edge is found, there is a variance that stays, with a χ of 1."""
    critical = critical_stddev(name, bias)
    field = mean_field(name, critical, bias)
    orbit = field.variances(field.fixed_point, 2)
    assert math.isclose(orbit[0], orbit[1], rel_tol=1e-6)


@pytest.mark.parametrize(("name", "bias", "edge"), [("exponential", 0.0, 1 / math.e), ("relu_squared", 0.5, 0.5**0.5)])
def test_edges_at_a_variance_of_one(name: str, bias: float, edge: float) -> None:
    """They are found where the search looks first: exp has E[f²] = exp(2q), and relu² has E[f²] = 3q²/2."""
    assert math.isclose(critical_stddev(name, bias), edge, rel_tol=1e-8)


def test_no_edge() -> None:
    """ReLU with biases has none."""
    with pytest.raises(ValueError, match=r"no edge of chaos for relu.*Received: bias_stddev=0\.3"):
        critical_stddev("relu", 0.3)


@pytest.mark.parametrize(
    ("name", "stddev", "bias", "fixed"),
    [
        ("relu", 1.0, 0.0, 0.0),
        ("relu", 1.0, 0.1, 0.02),
        ("relu", 1.5, 0.0, math.inf),
        ("tanh", 0.9, 0.0, 0.0),
        ("tanh", 1.0, 0.0, 0.0),
        ("gelu", 2.0, 0.0, math.inf),
        ("exponential", 1.0, 0.0, math.inf),
        ("linear", 1.0, 0.0, 1.0),
        ("relu", 0.0, 0.0, 0.0),
    ],
)
def test_fixed_points(name: str, stddev: float, bias: float, fixed: float) -> None:
    """Variances that vanish, settle or explode, and slow ones."""
    found = mean_field(name, stddev, bias).fixed_point
    assert found == fixed if fixed in (0.0, math.inf) else math.isclose(found, fixed, rel_tol=1e-9)


def test_chaos() -> None:
    """Above the edge, any two signals become as different as c*, which the map keeps; below it, equal."""
    chaos = mean_field("tanh", 1.5, 0.1)
    common = chaos.correlation_fixed_point
    assert chaos.chi > 1 > common
    assert math.isclose(chaos.correlation(common), common, rel_tol=1e-7)
    assert mean_field("tanh", 1.1, 0.3).correlation_fixed_point == 1.0


def test_correlations_of_relu() -> None:
    """The map of correlations is the arc-cosine kernel."""
    field = mean_field("relu", math.sqrt(2))
    angle = math.acos(0.3)
    expected = (math.sin(angle) + (math.pi - angle) * 0.3) / math.pi
    assert math.isclose(field.correlation(0.3, 5.0), expected, rel_tol=1e-10)


def test_chi_is_the_slope_of_correlations() -> None:
    """χ is the slope of the map of correlations at 1."""
    field = mean_field("tanh", 1.3, 0.2)
    variance, step = field.fixed_point, 1e-6
    slope = (1 - field.correlation(1 - step, variance)) / step
    assert math.isclose(slope, field.chi, rel_tol=1e-4)


def test_depth_scales() -> None:
    """How fast an orbit comes to its fixed point, and differences of two signals vanish."""
    field = mean_field("tanh", 1.2, 0.3)
    orbit = np.array(field.variances(1.0, 14)) - field.fixed_point
    assert math.isclose(math.log(orbit[-1] / orbit[-2]), -1 / field.variance_depth, rel_tol=1e-3)
    assert math.isclose(math.exp(-1 / field.correlation_depth), field.chi)
    assert field.gradient_depth == field.correlation_depth
    assert mean_field("relu", math.sqrt(2)).gradient_depth > 1e9


def test_no_correlations_without_a_signal() -> None:
    """Where the variance vanishes, the message says so."""
    with pytest.raises(ArithmeticError, match=r"where the variance vanishes\. Received: weight_stddev=0\.5"):
        mean_field("relu", 0.5).correlation(0.3)
