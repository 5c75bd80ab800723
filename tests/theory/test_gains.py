"""Gains: PyTorch's numbers by name, and any activation's by quadrature, against SciPy's."""

import math
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import fanin
from fanin.theory import gains

PUBLISHED = [
    "linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "sigmoid",
    "tanh", "relu", "leaky_relu", "selu",
]  # fmt: skip
BAD_OF_PYTORCH: list[tuple[Any, Any]] = [
    ("gelu", None),
    ("ReLU", None),
    (None, None),
    (["relu"], None),
    ("leaky_relu", True),
    ("leaky_relu", "0.1"),
    ("leaky_relu", [0.1]),
]

# name → (a function of a float, where it has kinks and jumps)
FUNCTIONS: dict[str, tuple[Callable[[float], float], tuple[float, ...]]] = {
    "identity": (lambda x: x, ()),
    "relu": (lambda x: max(x, 0.0), ()),
    "tanh": (math.tanh, ()),
    "hard tanh": (lambda x: min(max(x, -1.0), 1.0), (-1, 1)),
    "sign": (lambda x: math.copysign(1.0, x), ()),
    "a kink at 0.37": (lambda x: 0.2 * x + max(x - 0.37, 0.0), (0.37,)),
    "a jump at 0.37": (lambda x: float(x > 0.37), (0.37,)),
    "a jump beside an end of a panel": (lambda x: float(x >= 1e-4), (1e-4,)),
    "a jump before an end of a panel": (lambda x: 1.0 + 3.0 * (x < 2 - 1e-7), (2 - 1e-7,)),
    "steps": (lambda x: math.floor(8 * x) / 8, tuple(each / 8 for each in range(-64, 65))),
    "a root": (lambda x: abs(x) ** 0.25, ()),
    "an exponential": (lambda x: math.exp(3 * x), ()),
    "a constant": (lambda x: 2.0 + 0 * x, ()),
}


def of_quad(function: Callable[[float], float], *points: float) -> float:
    """The gain by SciPy's quadrature, split at the kinks."""
    integrate: Any = pytest.importorskip("scipy.integrate")

    def integrand(x: float) -> float:
        return function(x) ** 2 * math.exp(-x * x / 2) / math.sqrt(2 * math.pi)

    edges = sorted({-37.0, -6.0, 0.0, 6.0, 37.0, *points})
    total = sum(
        integrate.quad(integrand, low, high, epsabs=1e-16, epsrel=1e-13, limit=400)[0] for low, high in pairwise(edges)
    )
    return 1 / math.sqrt(total)


@pytest.mark.parametrize("param", [None, 0, 0.2, -3])
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_gains_are_pytorchs(name: str, param: float | None) -> None:
    """Every name of `calculate_gain` has its number and its type."""
    torch = pytest.importorskip("torch")
    expected = torch.nn.init.calculate_gain(name, param)
    assert gains.published(name, param) == expected
    assert type(gains.published(name, param)) is type(expected)


@pytest.mark.parametrize(("name", "param"), BAD_OF_PYTORCH)
def test_published_errors_are_pytorchs(name: Any, param: Any) -> None:
    """What `calculate_gain` refuses is refused in its words."""
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match=r"^(negative_slope|Unsupported)") as theirs:
        torch.nn.init.calculate_gain(name, param)
    with pytest.raises(ValueError, match=r"^(negative_slope|Unsupported)") as ours:
        gains.published(name, param)
    assert str(ours.value) == str(theirs.value)


@pytest.mark.parametrize("name", PUBLISHED)
def test_gains_by_name_are_the_published_ones(name: str) -> None:
    """Where PyTorch has a number, `gain` returns it."""
    assert fanin.gain(name) == gains.published(name)
    assert fanin.gain("leaky_relu", 0.2) == gains.published("leaky_relu", 0.2)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_quadrature(name: str) -> None:
    """Nine digits and more, wherever the kinks and jumps are."""
    function, points = FUNCTIONS[name]
    assert math.isclose(fanin.gain(function), of_quad(function, *points), rel_tol=1e-11)


def test_closed_forms() -> None:
    """Some integrals are known: of relu, a leaky one, the exponential, an integrable singularity."""
    assert math.isclose(fanin.gain(lambda x: np.maximum(x, 0)), math.sqrt(2), rel_tol=1e-14)
    assert math.isclose(fanin.gain(lambda x: np.where(x > 0, x, 0.2 * x)), gains.published("leaky_relu", 0.2))
    assert math.isclose(fanin.gain(np.exp), math.exp(-1), rel_tol=1e-13)
    root = fanin.gain(lambda x: abs(x) ** -0.25 if x else 0.0)
    assert math.isclose(root, (math.gamma(0.25) / 2**0.25 / math.sqrt(math.pi)) ** -0.5, rel_tol=1e-9)


# name → PyTorch's function, with the same parameter
OF_PYTORCH: dict[str, tuple[str, tuple[float, ...]]] = {
    "celu": ("celu", (0.7,)),
    "elu": ("elu", (0.7,)),
    "gelu": ("gelu", ()),
    "hard_shrink": ("hardshrink", (0.7,)),
    "hard_sigmoid": ("hardsigmoid", ()),
    "hard_swish": ("hardswish", ()),
    "hard_tanh": ("hardtanh", ()),
    "hardswish": ("hardswish", ()),
    "log_sigmoid": ("logsigmoid", ()),
    "mish": ("mish", ()),
    "relu6": ("relu6", ()),
    "silu": ("silu", ()),
    "softplus": ("softplus", (0.7,)),
    "soft_shrink": ("softshrink", (0.7,)),
    "softsign": ("softsign", ()),
    "swish": ("silu", ()),
    "tanh_shrink": ("tanhshrink", ()),
}


@pytest.mark.parametrize("name", OF_PYTORCH)
def test_names_agree_with_pytorchs_functions(name: str) -> None:
    """A name and PyTorch's function of it have one gain; PyTorch's softplus is linear beyond 20, to 2e-9."""
    torch = pytest.importorskip("torch")
    function, param = OF_PYTORCH[name]
    theirs = fanin.gain(lambda x: getattr(torch.nn.functional, function)(x, *param))
    assert math.isclose(fanin.gain(name, *param), theirs, rel_tol=1e-9)


@pytest.mark.parametrize(
    ("name", "function"),
    [("gelu_tanh", "gelu"), ("squareplus", "squareplus"), ("hard_silu", "hard_silu"), ("identity", "identity")],
)
def test_names_agree_with_jaxs_functions(name: str, function: str) -> None:
    """JAX's functions are called in double precision, whatever its configuration."""
    jax = pytest.importorskip("jax")
    assert not jax.config.jax_enable_x64
    assert math.isclose(fanin.gain(name), fanin.gain(getattr(jax.nn, function)), rel_tol=1e-12)
    assert not jax.config.jax_enable_x64


def test_squared_relu_and_exponential() -> None:
    """Two names without a function of PyTorch: E[relu(x)**4] is 3/2."""
    assert math.isclose(fanin.gain("relu_squared"), math.sqrt(2 / 3), rel_tol=1e-12)
    assert math.isclose(fanin.gain("exponential"), math.exp(-1), rel_tol=1e-12)


def test_functions_of_tensors() -> None:
    """Functions and modules of PyTorch; those that write to their argument; parameters in single precision."""
    torch = pytest.importorskip("torch")
    for function in (torch.nn.functional.gelu, torch.nn.GELU(), lambda x: x * torch.special.ndtr(x)):
        assert math.isclose(fanin.gain(function), fanin.gain("gelu"), rel_tol=1e-12)
    assert math.isclose(fanin.gain(torch.nn.ReLU(inplace=True)), math.sqrt(2), rel_tol=1e-12)
    assert math.isclose(fanin.gain(torch.nn.PReLU(init=0.25)), gains.published("leaky_relu", 0.25), rel_tol=1e-6)
    assert math.isclose(fanin.gain(lambda x: x.bfloat16().tanh()), fanin.gain(np.tanh), rel_tol=1e-2)


def test_functions_of_jax() -> None:
    """Those of arrays, compiled ones, and those that need JAX's own arrays."""
    jax = pytest.importorskip("jax")
    for function in (jax.nn.silu, jax.jit(lambda x: x * jax.nn.sigmoid(x)), lambda x: x.at[:].mul(jax.nn.sigmoid(x))):
        assert math.isclose(fanin.gain(function), fanin.gain("silu"), rel_tol=1e-12)


def test_functions_of_floats() -> None:
    """`math`'s functions, and such as compare."""
    assert math.isclose(fanin.gain(math.tanh), fanin.gain(np.tanh), rel_tol=1e-14)
    assert math.isclose(fanin.gain(lambda x: x if x > 0 else 0.0), math.sqrt(2), rel_tol=1e-14)


@pytest.mark.parametrize("dtype", ["bool", "int8", "float32", "float16"])
def test_results_of_any_real_dtype(dtype: str) -> None:
    """A step of 0 and 1 has a gain of the root of 2 in all of them."""
    assert math.isclose(fanin.gain(lambda x: (x > 0).astype(dtype)), math.sqrt(2), rel_tol=1e-3)


BAD: list[tuple[Any, Any, type[Exception], str]] = [
    ("geluu", None, ValueError, "Unknown activation: 'geluu'. Pass a function of your own. Did you mean 'gelu'?"),
    ("ReLU", None, ValueError, "Unknown activation: 'ReLU'. Pass a function of your own. Did you mean 'relu'?"),
    ("relu", 0.1, ValueError, "`relu` has no parameter. Received: param=0.1."),
    ("gelu", 0.1, ValueError, "`gelu` has no parameter. Received: param=0.1."),
    ("elu", 10**5000, ValueError, "`param` must be a finite number. Received: param=one of type int, too long"),
    ("elu", math.nan, ValueError, "`param` must be a finite number. Received: param=nan."),
    ("elu", math.inf, ValueError, "`param` must be a finite number. Received: param=inf."),
    ("elu", True, ValueError, "`param` must be a finite number. Received: param=True."),
    ("elu", "1", ValueError, "`param` must be a finite number. Received: param='1'."),
    ("softplus", 0, ValueError, "`param` must not be zero. Received: param=0."),
    ("leaky_relu", "1", ValueError, "`param` must be a finite number. Received: param='1'."),
    (3, None, TypeError, "must be a name or a function of one number. Received: activation=3 (of type int)."),
    (None, None, TypeError, "`activation` must be a name or a function of one number. Received: activation=None"),
    (np.tanh, 0.1, ValueError, "`param` is for names. Received: param=0.1 beside a function. Bind it:"),
    (np.mean, None, ValueError, "which returned shape () for shape (12,)."),
    (lambda x: [[each] for each in x], None, ValueError, "which returned shape (12, 1) for shape (12,)."),
    (lambda x: x * math.nan, None, ValueError, "`activation` must not return NaN. Received: activation=<function"),
    (lambda x: np.where(x > 5, math.nan, x), None, ValueError, "`activation` must not return NaN."),
    (lambda x: 0 * x, None, ValueError, "`activation` must not be zero everywhere. Received: activation=<function"),
    (lambda x: np.exp(x * x / 4), None, ValueError, "`activation` must have a finite second moment"),
    (lambda x: np.exp(x * x), None, ValueError, "`activation` must have a finite second moment"),
    (lambda x: math.exp(x * x), None, ValueError, "`activation` must have a finite second moment"),
    (lambda x: 1 / x, None, ValueError, "`activation` must have a finite second moment"),
    (lambda x: np.abs(x) ** -0.5, None, ValueError, "`activation` must have a finite second moment"),
    (lambda x: np.abs(x - 0.3) ** -0.5, None, ValueError, "`activation` must have a finite second moment"),
    (lambda x: x + 1j, None, TypeError, "`activation` must return real numbers."),
    (lambda x: "a", None, TypeError, "whose values are of dtype"),
    (lambda x, y: x, None, TypeError, "which raised TypeError for a NumPy array, "),
    (lambda x: np.exp(x) / np.exp(x).sum(), None, ValueError, "`activation` must be a function of each number alone"),
    (lambda x: (x - x.mean()) / x.std(), None, ValueError, "`activation` must be a function of each number alone"),
    (lambda x: x + np.random.normal(size=x.shape), None, ValueError, "and not random."),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(BAD)))
def test_errors(number: int) -> None:
    """Each says the rule and what came."""
    activation, param, error, message = BAD[number]
    with pytest.raises(error) as caught:
        fanin.gain(activation, param)
    assert message in str(caught.value)


def test_errors_of_torch_modules() -> None:
    """A class in place of its instance; a module that is random, and one that sees all numbers."""
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"must return real numbers.*Pass an instance of the class\.$"):
        fanin.gain(torch.nn.GELU)
    for module in (torch.nn.Dropout(), torch.nn.Softmax(dim=-1)):
        with pytest.raises(ValueError, match="must be a function of each number alone"):
            fanin.gain(module)


def test_interrupts_come_through() -> None:
    """An interrupt within the function is no answer of it."""

    def interrupted(x: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fanin.gain(interrupted)


def test_no_framework_is_imported() -> None:
    """Gains by name and of NumPy's functions need none."""
    code = (
        "import fanin, numpy, sys; fanin.gain('gelu'); fanin.gain(numpy.tanh); print({'torch', 'jax'} & {*sys.modules})"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


@pytest.mark.parametrize("width", [0.01, 0.1])
def test_narrow_parts(width: float) -> None:
    """A peak beside the usual nodes counts; its moments by hand."""
    integrate: Any = pytest.importorskip("scipy.integrate")
    norm: Any = pytest.importorskip("scipy.stats").norm

    def peaked(x: np.ndarray) -> np.ndarray:
        return np.where(np.abs(x - 0.37) < width, 10.0, np.maximum(x, 0.0))

    rest, _ = integrate.quad(lambda x: x * x * norm.pdf(x), 0.37 - width, 0.37 + width)
    share = norm.cdf(0.37 + width) - norm.cdf(0.37 - width)
    assert fanin.gain(peaked) == pytest.approx((0.5 - rest + 100 * share) ** -0.5, rel=1e-9)
