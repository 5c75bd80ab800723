"""Activations and their derivatives, against PyTorch's and those of JAX."""

import math
from typing import Any

import numpy as np
import pytest

from fanin.theory import Activation, activation, quadrature
from fanin.theory.activations import SELU_ALPHA, SELU_SCALE

X = np.array([-40.0, -7.3, -3.2, -2.9, -1.1, -0.6, -0.4, -0.1, 0.2, 0.45, 0.7, 1.3, 2.9, 3.3, 6.5, 40.0])
# name → PyTorch's function, with the same parameter
OF_PYTORCH: dict[str, tuple[str, tuple[float, ...]]] = {
    "celu": ("celu", (0.7,)),
    "elu": ("elu", (0.7,)),
    "gelu": ("gelu", ()),
    "hard_shrink": ("hardshrink", (0.5,)),
    "hard_sigmoid": ("hardsigmoid", ()),
    "hard_swish": ("hardswish", ()),
    "hard_tanh": ("hardtanh", ()),
    "leaky_relu": ("leaky_relu", (0.2,)),
    "log_sigmoid": ("logsigmoid", ()),
    "mish": ("mish", ()),
    "relu": ("relu", ()),
    "relu6": ("relu6", ()),
    "selu": ("selu", ()),
    "sigmoid": ("sigmoid", ()),
    "silu": ("silu", ()),
    "softplus": ("softplus", (0.3,)),
    "soft_shrink": ("softshrink", (0.3,)),
    "softsign": ("softsign", ()),
    "tanh": ("tanh", ()),
    "tanh_shrink": ("tanhshrink", ()),
}


@pytest.mark.parametrize("name", OF_PYTORCH)
def test_values_and_derivatives_are_pytorchs(name: str) -> None:
    """Each name's function, and its derivative as autograd has it."""
    torch = pytest.importorskip("torch")
    function, param = OF_PYTORCH[name]
    x = torch.tensor(X, requires_grad=True)
    y = getattr(torch.nn.functional, function)(x, *param)
    [slopes] = torch.autograd.grad(y.sum(), x)
    found = activation(name, *param)
    np.testing.assert_allclose(found.function(X), y.detach().numpy(), rtol=1e-9, atol=1e-9)
    # PyTorch computes some constants of derivatives in single precision.
    np.testing.assert_allclose(found.derivative(X), slopes.numpy(), rtol=4e-8, atol=1e-9)


@pytest.mark.parametrize("name", ["gelu_tanh", "squareplus", "relu_squared", "exponential", "linear"])
def test_derivatives_by_differences(name: str) -> None:
    """The derivatives of names that PyTorch does not have, against those that are computed for any function."""
    found = activation(name)
    x = X[np.abs(X) < 10]
    np.testing.assert_allclose(activation(lambda x: found.function(x)).derivative(x), found.derivative(x), rtol=1e-8)


def test_derivatives_of_modules_are_pytorchs_own() -> None:
    """A module in single precision, with parameters, that writes to its argument: by autograd, not by differences."""
    torch = pytest.importorskip("torch")
    prelu = activation(torch.nn.PReLU(init=0.25))
    assert prelu.derivative(np.array([-1e-9, 1e-9])).tolist() == [0.25, 1.0]
    relu = activation(torch.nn.ReLU(inplace=True))
    assert relu.derivative(np.array([[-1e-9], [1e-9]])).tolist() == [[0.0], [1.0]]


def test_tensors_without_a_graph() -> None:
    """A function that leaves PyTorch's graph has a derivative, too."""
    torch = pytest.importorskip("torch")
    found = activation(lambda x: torch.tanh(x.detach()))
    np.testing.assert_allclose(found.derivative(np.array([0.5])), 1 - math.tanh(0.5) ** 2, rtol=1e-9)


@pytest.mark.parametrize("at", [-1e-7, 1e-7])
def test_beside_kinks_and_jumps(at: float) -> None:
    """Beside a kink the derivative is between those of both sides, and a jump has none: it is no spike."""
    assert abs(activation(lambda x: np.abs(x)).derivative(np.array([at]))[0]) <= 1
    assert activation(np.sign).derivative(np.array([at])).tolist() == [0.0]


def test_functions_of_arrays_of_any_shape() -> None:
    """Functions of floats and of arrays alike."""
    x = np.arange(6.0).reshape(2, 1, 3)
    assert activation(math.atan).function(x).shape == x.shape
    np.testing.assert_allclose(activation(math.atan).derivative(x), 1 / (1 + x * x), rtol=1e-9)


def test_infinite_numbers_are_no_error() -> None:
    """What has exploded may be anything, but finite numbers must not become NaN."""
    found = activation(lambda x: x * np.exp(-x * x) if np.isfinite(x).all() else x * 0)
    assert np.isnan(found.function(np.array([np.inf, 1.0]))).tolist() == [True, False]


def test_constants_of_selu() -> None:
    """SELU's constants are those that give the fixed point of mean 0 and variance 1 (Klambauer et al., 2017)."""
    torch = pytest.importorskip("torch")
    x = torch.tensor([1.0, -1e9], dtype=torch.float64)
    scale, low = torch.nn.functional.selu(x).tolist()
    assert math.isclose(SELU_SCALE, scale, rel_tol=1e-15)
    assert math.isclose(-SELU_SCALE * SELU_ALPHA, low, rel_tol=1e-15)
    selu = activation("selu").function
    assert abs(quadrature.mean(selu)) < 1e-12
    assert math.isclose(quadrature.mean_square(selu), 1.0, rel_tol=1e-12)


@pytest.mark.parametrize(
    ("given", "name"), [("gelu", "gelu"), (np.tanh, "tanh"), (math.erf, "erf"), (lambda x: x, "<function ")]
)
def test_names(given: Any, name: str) -> None:
    """An activation is called by its name, or as a function is."""
    assert str(activation(given)).startswith(name)


def test_an_activation_stays_one() -> None:
    """What is an activation already is given back."""
    found = activation("leaky_relu", 0.2)
    assert activation(found) is found
    assert isinstance(found, Activation)
    assert found.name == "leaky_relu(0.2)"


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("geluu", ValueError, "Unknown activation: 'geluu'. Pass a function of your own. Did you mean 'gelu'?"),
        (3, TypeError, "`activation` must be a name or a function of one number. Received: activation=3"),
        (np.mean, ValueError, "`activation` must return one value for each number."),
    ],
)
def test_errors(given: Any, error: type[Exception], message: str) -> None:
    """Each says the rule and what came."""
    with pytest.raises(error) as caught:
        activation(given)
    assert message in str(caught.value)


@pytest.mark.parametrize("x", [1e-120, 1e-9, -3e-4, 0.0999999, 0.1000001])
def test_tanh_shrink_near_zero(x: float) -> None:
    """x - tanh(x) keeps its digits where both are nearly equal, and does not jump where the series ends."""
    terms = [x**3 / 3, -2 * x**5 / 15, 17 * x**7 / 315, -62 * x**9 / 2835, 1382 * x**11 / 155925]
    made = activation("tanhshrink").function(np.array([x]))
    assert made.tolist() == pytest.approx([math.fsum(terms)], rel=1e-11, abs=0)
