"""Gains: the factor by which weights make up for what an activation does to the size of its inputs.

`published` has the numbers that PyTorch recommends; `gain` has them, too, and computes those of any other activation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from fanin._core.messages import shown
from fanin.theory.activations import Activation
from fanin.theory.activations import activation as activation_of
from fanin.theory.quadrature import DivergesError, mean_square

_LINEAR = ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
PUBLISHED = (*_LINEAR, "sigmoid", "tanh", "relu", "leaky_relu", "selu")


def published(nonlinearity: str, param: float | None = None) -> float:
    """The gain that PyTorch's `calculate_gain` returns: the same names, numbers and errors.

    Args:
        nonlinearity: "linear", "conv1d" (and its like), "sigmoid", "tanh", "relu", "leaky_relu" or "selu".
        param: the negative slope of "leaky_relu", by default 0.01; ignored for others.

    Raises:
        ValueError: the name is none of these, or the slope is not a number.

    >>> from fanin.theory import gains
    >>> gains.published("tanh")
    1.6666666666666667
    """
    if nonlinearity in _LINEAR or nonlinearity == "sigmoid":
        return 1
    if nonlinearity == "tanh":
        return 5 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity == "selu":
        return 0.75
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}")


def gain(activation: str | Callable[[Any], Any], param: float | None = None) -> float:
    """The gain that keeps the size of what passes through an activation: `1 / sqrt(E[f(x)**2])` for unit normal x.

    Multiply a standard deviation of `1 / sqrt(fan_in)` by it, or give its square as the `scale` of `VarianceScaling`.

    It is for inputs of size 1, and nothing brings inputs of another size back there: through many layers without
    normalization, small deviations shrink with some activations (tanh), stay with others (ReLU) and grow with others
    (GELU, SiLU).

    The names of PyTorch's `calculate_gain` have its numbers, of which "tanh", "sigmoid" and "selu" follow other rules:
    `gain("tanh")` is 5/3, and `gain(np.tanh)` is 1.59. All others are computed, to nine digits or more (to the
    accuracy of its own values, if a function computes in less than double precision), also with kinks and jumps. Peaks
    and gaps narrower than a hundredth may be missed.

    Args:
        activation: a name such as "relu", "gelu", "silu" or "hard_swish", or a function of one number: of a NumPy
            array, a PyTorch tensor (such as a module), a JAX array or a Python float, applied to each element alone.
        param: the negative slope of "leaky_relu", the alpha of "elu" and "celu", the beta of "softplus", the b of
            "squareplus", the lambda of "hard_shrink" and "soft_shrink"; None for their defaults.

    Raises:
        TypeError: `activation` is neither a name nor a function of one number.
        ValueError: the name is unknown; the parameter is not a number, or not one of the activation; the function
            returns another shape, NaN, zero everywhere, or values whose second moment is not finite.

    References: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", ICCV 2015, whose factor for ReLU is
    `gain("relu")**2`.

    >>> import fanin, numpy as np
    >>> fanin.gain("relu"), round(fanin.gain("gelu"), 6)
    (1.4142135623730951, 1.53353)
    >>> round(fanin.gain(lambda x: np.maximum(x, 0.0)), 9)
    1.414213562
    >>> initializer = fanin.VarianceScaling(fanin.gain("silu") ** 2, "fan_in", "untruncated_normal", seed=1)
    """
    found = activation_of(activation, param)
    if isinstance(activation, str):
        return float(published(activation, param)) if activation in PUBLISHED else _of_name(activation, param)
    return _computed(found, activation)


@lru_cache(maxsize=256)
def _of_name(name: str, param: float | None) -> float:
    """A name's gain, computed once."""
    return _computed(activation_of(name, param), name)


def _computed(activation: Activation, given: object) -> float:
    try:
        second_moment = mean_square(activation.function, 1.0, activation.precision)
    except DivergesError:
        raise ValueError(
            "`activation` must have a finite second moment: its values must be finite and grow less than exp(x**2 / 4)."
            f" Received: activation={shown(given)}."
        ) from None
    if not second_moment:
        raise ValueError(f"`activation` must not be zero everywhere. Received: activation={shown(given)}.")
    return 1 / math.sqrt(second_moment)
