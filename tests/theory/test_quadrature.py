"""Expectations over normal numbers, against SciPy's quadrature and closed forms."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanin.theory import activation, quadrature
from fanin.theory.quadrature import DivergesError

NAMES = ("relu", "elu", "selu", "tanh", "gelu", "silu", "softplus", "sigmoid")


def of_quad(function: Callable[[float], float], *points: float) -> float:
    """E[f(z)] by SciPy, split at the kinks."""
    integrate: Any = pytest.importorskip("scipy.integrate")
    edges = sorted({-37.0, -6.0, -1.0, 0.0, 1.0, 6.0, 37.0, *points})

    def integrand(z: float) -> float:
        return function(z) * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    return sum(
        integrate.quad(integrand, low, high, epsabs=1e-14, epsrel=1e-12, limit=400)[0] for low, high in pairwise(edges)
    )


def at(function: Callable[[np.ndarray], np.ndarray], x: float) -> float:
    """An array function at one number."""
    return float(function(np.array([x]))[0])


@pytest.mark.parametrize("scale", [0.01, 1.0, 7.0])
@pytest.mark.parametrize("name", NAMES)
def test_expectations_are_scipys(name: str, scale: float) -> None:
    """E[f], E[f²] and E[f'²] of normal numbers of any spread."""
    found = activation(name)
    for function in (found.function, found.derivative):
        square = of_quad(lambda z, f=function: at(f, scale * z) ** 2)
        assert math.isclose(quadrature.mean_square(function, scale), square, rel_tol=1e-9)
    mean = of_quad(lambda z: at(found.function, scale * z))
    assert math.isclose(quadrature.mean(found.function, scale), mean, rel_tol=1e-9, abs_tol=1e-12)


@pytest.mark.parametrize("scale", [1e-100, 1e-3, 1e3, 1e100])
def test_any_spread(scale: float) -> None:
    """ReLU's moments are proportional to the spread, and tanh becomes a step."""
    assert math.isclose(quadrature.mean_square(activation("relu").function, scale), scale * scale / 2, rel_tol=1e-12)
    assert math.isclose(quadrature.mean_square(np.tanh, scale), min(1.0, scale * scale), rel_tol=2e-3)


def test_slopes_far_out() -> None:
    """The derivative of a steep tanh is a peak at zero: E[f'²] of variance q is 4 / 3 / sqrt(2 π q)."""
    slope = quadrature.mean_square(activation("tanh").derivative, 1e6)
    assert math.isclose(slope, 4 / 3 / math.sqrt(2 * math.pi) / 1e6, rel_tol=1e-9)


@pytest.mark.parametrize("function", [lambda x: np.exp(x * x), lambda x: np.abs(x) ** -0.5])
def test_what_diverges(function: Callable[[np.ndarray], np.ndarray]) -> None:
    """A second moment that is not finite is an error, not a number."""
    with pytest.raises(DivergesError):
        quadrature.mean_square(function)


def arccosine(first: float, second: float, correlation: float) -> float:
    """E[relu(u) relu(v)], of which Cho and Saul's kernel of order 1 is twice (NeurIPS 2009, eq. 6)."""
    angle = math.acos(correlation)
    return math.sqrt(first * second) * (math.sin(angle) + (math.pi - angle) * correlation) / (2 * math.pi)


def of_erf(first: float, second: float, correlation: float) -> float:
    """E[erf(u) erf(v)] (Williams, "Computing with Infinite Networks", NeurIPS 1996)."""
    covariance = correlation * math.sqrt(first * second)
    return 2 / math.pi * math.asin(2 * covariance / math.sqrt((1 + 2 * first) * (1 + 2 * second)))


correlations = st.one_of(st.floats(-1, 1), st.sampled_from([-1.0, 0.0, 1e-9, 1 - 1e-12, 1.0]))
variances = st.floats(1e-4, 100)


@settings(deadline=None, max_examples=40)
@given(first=variances, second=variances, correlation=correlations)
def test_products_of_relu(first: float, second: float, correlation: float) -> None:
    """The arc-cosine kernel, for all variances and correlations."""
    found = quadrature.mean_product(activation("relu").function, first, second, correlation)
    assert abs(found - arccosine(first, second, correlation)) < 1e-11 * math.sqrt(first * second)


@settings(deadline=None, max_examples=40)
@given(first=variances, second=variances, correlation=correlations)
def test_products_of_erf(first: float, second: float, correlation: float) -> None:
    """The arc-sine kernel of a smooth function."""
    special: Any = pytest.importorskip("scipy.special")
    assert (
        abs(quadrature.mean_product(special.erf, first, second, correlation) - of_erf(first, second, correlation))
        < 1e-11
    )


@pytest.mark.parametrize("correlation", [-0.9, 0.3])
@pytest.mark.parametrize("name", ["gelu", "sigmoid"])
def test_products_are_scipys(name: str, correlation: float) -> None:
    """E[f(u) f(v)], against SciPy's double integral."""
    integrate: Any = pytest.importorskip("scipy.integrate")
    function = activation(name).function
    own = math.sqrt(1 - correlation**2)

    def integrand(b: float, a: float) -> float:
        density = math.exp(-(a * a + b * b) / 2) / (2 * math.pi)
        return at(function, a) * at(function, correlation * a + own * b) * density

    expected, _ = integrate.dblquad(integrand, -8, 8, -8, 8, epsabs=1e-6, epsrel=1e-6)
    assert math.isclose(quadrature.mean_product(function, 1.0, 1.0, correlation), expected, abs_tol=3e-6)


@pytest.mark.parametrize("correlation", [-0.5, 0.1, 0.9])
def test_products_of_steps(correlation: float) -> None:
    """The sign, whose product is 2 / π arcsin of the correlation."""
    expected = 2 / math.pi * math.asin(correlation)
    assert math.isclose(quadrature.mean_product(np.sign, 1.0, 5.0, correlation), expected, rel_tol=1e-7)


@pytest.mark.parametrize(
    ("name", "kinks"),
    [("relu", [0]), ("hard_swish", [-3, 3]), ("hard_shrink", [-0.5, 0.5]), ("hard_tanh", [-1, 1]), ("gelu", [])],
)
def test_breaks(name: str, kinks: list[float]) -> None:
    """Kinks and jumps are found where they are."""
    np.testing.assert_allclose(quadrature.breaks(activation(name).function), kinks, atol=1e-9)
