"""Activations by name, and any function of one number, with their derivatives."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fanin._core.environment import undisturbed
from fanin._core.messages import class_name, shown, suggestion, visible
from fanin._core.types import Array
from fanin.theory.functions import Elementwise

_Function = Callable[..., Array]
_erfc: Any = np.frompyfunc(math.erfc, 1, 1)
_TANH = (1 / 3, -2 / 15, 17 / 315, -62 / 2835, 1382 / 155925, -21844 / 6081075)  # of x - tanh(x), from x**3 on
SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


@dataclass(frozen=True)
class Activation:
    """An activation: a function of each number alone, and its derivative.

    Attributes:
        name: its name, or that of the function.
        function: the values at the numbers of an array, as doubles.
        derivative: the derivative there; at a kink or a jump, that of one of both sides.
        precision: the relative error that the values have, beyond that of doubles.

    >>> import fanin.theory, numpy as np
    >>> fanin.theory.activation("relu").derivative(np.array([-1.0, 2.0]))
    array([0., 1.])
    """

    name: str
    function: Callable[[Array], Array]
    derivative: Callable[[Array], Array]
    precision: Callable[[], float] = lambda: 0.0

    def __str__(self) -> str:
        return self.name


class _Named(NamedTuple):
    """An activation by name: functions of an array and of its parameter, if it has one; whether it divides by that."""

    function: _Function
    derivative: _Function
    default: float | None = None
    divides: bool = False


def _exp_below(x: Array) -> Array:
    """The exponential of the numbers below zero, and 1 above."""
    return np.exp(np.minimum(x, 0))


def _elu(x: Array, alpha: float) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _celu(x: Array, alpha: float) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha))


def _celu_slope(x: Array, alpha: float) -> Array:
    return np.where(x > 0, 1.0, np.exp(np.minimum(x, 0) / alpha))


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _sigmoid_slope(x: Array) -> Array:
    return _sigmoid(x) * _sigmoid(-x)


def _softplus(x: Array, beta: float) -> Array:
    return np.logaddexp(0, beta * x) / beta


def _normal_share(x: Array) -> Array:
    """The standard normal distribution function."""
    return np.asarray(_erfc(-x / math.sqrt(2)), np.float64) / 2


def _gelu_slope(x: Array) -> Array:
    return _normal_share(x) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _gelu_tanh(x: Array) -> Array:
    return x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


def _gelu_tanh_slope(x: Array) -> Array:
    root = math.sqrt(2 / math.pi)
    tanh = np.tanh(root * (x + 0.044715 * x**3))
    inner = root * (1 + 3 * 0.044715 * x * x)
    return (1 + tanh) / 2 + np.where(tanh * tanh < 1, x * (1 - tanh * tanh) * inner / 2, 0.0)


def _hard_sigmoid(x: Array) -> Array:
    return np.clip(x + 3, 0, 6) / 6


def _hard_swish_slope(x: Array) -> Array:
    return np.where(np.abs(x) < 3, (2 * x + 3) / 6, x > 0)


def _mish_slope(x: Array) -> Array:
    tanh = np.tanh(_softplus(x, 1.0))
    return tanh + x * (1 - tanh * tanh) * _sigmoid(x)


def _tanh_shrink(x: Array) -> Array:
    """x - tanh(x), by its series near 0, where the difference would lose its digits."""
    series = np.zeros_like(x)
    for coefficient in reversed(_TANH):
        series = series * x * x + coefficient
    return np.where(np.abs(x) > 0.1, x - np.tanh(x), x**3 * series)


def _silu_slope(x: Array) -> Array:
    return _sigmoid(x) + x * _sigmoid_slope(x)


def _within(low: float, high: float) -> _Function:
    """The function that is 1 between two numbers, and 0 beyond."""
    return lambda x: ((x > low) & (x < high)).astype(np.float64)


def _beyond(x: Array, bound: float) -> Array:
    return (np.abs(x) > bound).astype(np.float64)


# The names that PyTorch, JAX and Keras have, without underscores.
_NAMED = {
    "celu": _Named(_celu, _celu_slope, 1.0, divides=True),
    "elu": _Named(_elu, lambda x, alpha: np.where(x > 0, 1.0, alpha * _exp_below(x)), 1.0),
    "exponential": _Named(np.exp, np.exp),
    "gelu": _Named(lambda x: x * _normal_share(x), _gelu_slope),
    "gelutanh": _Named(_gelu_tanh, _gelu_tanh_slope),
    "hardshrink": _Named(lambda x, bound: np.where(np.abs(x) > bound, x, 0.0), _beyond, 0.5),
    "hardsigmoid": _Named(_hard_sigmoid, lambda x: _within(-3, 3)(x) / 6),
    "hardswish": _Named(lambda x: x * _hard_sigmoid(x), _hard_swish_slope),
    "hardtanh": _Named(lambda x: np.clip(x, -1, 1), _within(-1, 1)),
    "leakyrelu": _Named(lambda x, slope: np.where(x > 0, x, slope * x), lambda x, s: np.where(x > 0, 1.0, s), 0.01),
    "linear": _Named(lambda x: x + 0.0, np.ones_like),
    "logsigmoid": _Named(lambda x: -np.logaddexp(0, -x), lambda x: _sigmoid(-x)),
    "mish": _Named(lambda x: x * np.tanh(_softplus(x, 1.0)), _mish_slope),
    "relu": _Named(lambda x: np.maximum(x, 0.0), _within(0, math.inf)),
    "relu6": _Named(lambda x: np.clip(x, 0, 6), _within(0, 6)),
    "relusquared": _Named(lambda x: np.maximum(x, 0) ** 2, lambda x: 2 * np.maximum(x, 0)),
    "selu": _Named(
        lambda x: SELU_SCALE * _elu(x, SELU_ALPHA),
        lambda x: SELU_SCALE * np.where(x > 0, 1.0, SELU_ALPHA * _exp_below(x)),
    ),
    "sigmoid": _Named(_sigmoid, _sigmoid_slope),
    "silu": _Named(lambda x: x * _sigmoid(x), _silu_slope),
    "softplus": _Named(_softplus, lambda x, beta: _sigmoid(beta * x), 1.0, divides=True),
    "softshrink": _Named(lambda x, bound: np.sign(x) * np.maximum(np.abs(x) - bound, 0), _beyond, 0.5),
    "softsign": _Named(lambda x: x / (1 + np.abs(x)), lambda x: 1 / (1 + np.abs(x)) ** 2),
    "squareplus": _Named(lambda x, b: (x + np.sqrt(x * x + b)) / 2, lambda x, b: (1 + x / np.sqrt(x * x + b)) / 2, 4.0),
    "tanh": _Named(np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "tanhshrink": _Named(_tanh_shrink, lambda x: np.tanh(x) ** 2),
}
_NAMED |= {"identity": _NAMED["linear"], "swish": _NAMED["silu"], "hardsilu": _NAMED["hardswish"]}
_NAMED |= {f"conv{kind}{axes}d": _NAMED["linear"] for kind in ("", "transpose") for axes in (1, 2, 3)}
_SPELLED = ("gelu_tanh", "hard_sigmoid", "hard_swish", "hard_tanh", "leaky_relu", "log_sigmoid", "relu_squared")
NAMES = (*_SPELLED, *_NAMED)


def activation(given: str | Callable[[Any], Any] | Activation, param: float | None = None) -> Activation:
    """An activation from a name or a function.

    Args:
        given: a name such as "relu", "gelu", "silu" or "hard_swish", or a function of one number: of a NumPy array, a
            PyTorch tensor (such as a module), a JAX array or a Python float, applied to each element alone.
        param: the negative slope of "leaky_relu", the alpha of "elu" and "celu", the beta of "softplus", the b of
            "squareplus", the lambda of "hard_shrink" and "soft_shrink"; None for their defaults.

    Returns:
        The activation. The derivative of a function of tensors is PyTorch's own; that of another function is computed
        by differences, to about ten digits where it is smooth.

    Raises:
        TypeError: `given` is neither a name nor a function of one number.
        ValueError: the name is unknown; the parameter is not a number, or not one of the activation; the function
            returns another shape or NaN.

    >>> import fanin.theory, math, numpy as np
    >>> fanin.theory.activation(math.atan).derivative(np.array([1.0])).round(9)
    array([0.5])
    """
    if isinstance(given, str):
        return _of_name(given, param)
    if not callable(given) and not isinstance(given, Activation):
        raise TypeError(
            "`activation` must be a name or a function of one number. "
            f"Received: activation={shown(given)} (of type {class_name(type(given))})."
        )
    if param is not None:
        raise ValueError(
            f"`param` is for names. Received: param={shown(param)} beside a function. "
            "Bind it: `lambda x: function(x, param)`."
        )
    if isinstance(given, Activation):
        return given
    return _of_function(given)


@undisturbed
def _of_function(function: Callable[[Any], Any]) -> Activation:
    found = Elementwise(function)
    name = getattr(function, "__name__", None)
    name = name if isinstance(name, str) and name != "<lambda>" else shown(function)
    return Activation(visible(name), found.values, found.slopes, lambda: found.error)


def _of_name(name: str, param: float | None) -> Activation:
    named = _named(name)
    if param is not None:
        _check_param(name, param, named)
    if named.default is None:
        return Activation(name, named.function, named.derivative)
    value = named.default if param is None else float(param)
    text = name if param is None else f"{name}({value:g})"
    return Activation(text, lambda x: named.function(x, value), lambda x: named.derivative(x, value))


def _named(name: str) -> _Named:
    named = _NAMED.get(name.replace("_", ""))
    if named is None:
        raise ValueError(f"Unknown activation: {shown(name)}. Pass a function of your own.{suggestion(name, NAMES)}")
    return named


def default_param(name: str) -> float | None:
    """The parameter that an activation has by default; None if it has none.

    Raises:
        ValueError: the name is unknown.

    >>> from fanin.theory.activations import default_param
    >>> default_param("leaky_relu"), default_param("relu")
    (0.01, None)
    """
    return _named(name).default


def _check_param(name: str, param: float, named: _Named) -> None:
    if named.default is None:
        raise ValueError(f"`{name}` has no parameter. Received: param={shown(param)}.")
    if isinstance(param, bool) or not isinstance(param, (int, float)) or not abs(param) <= sys.float_info.max:
        raise ValueError(f"`param` must be a finite number. Received: param={shown(param)}.")
    if named.divides and not param:
        raise ValueError(f"`param` must not be zero. Received: param={shown(param)}.")
