"""Gains: the factor by which weights make up for what an activation does to the size of its inputs.

`published` has the numbers that PyTorch recommends; `gain` has them, too, and computes those of any other activation.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from fanin._core import dtypes
from fanin._core.environment import undisturbed
from fanin._core.interrupts import is_interrupt
from fanin._core.messages import class_name, shown, suggestion
from fanin._core.types import Array

_LINEAR = ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
_PUBLISHED = (*_LINEAR, "sigmoid", "tanh", "relu", "leaky_relu", "selu")


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
    if isinstance(activation, str):
        return _of_name(activation, param)
    if not callable(activation):
        raise TypeError(
            "`activation` must be a name or a function of one number. "
            f"Received: activation={shown(activation)} (of type {class_name(type(activation))})."
        )
    if param is not None:
        raise ValueError(
            f"`param` is for names. Received: param={shown(param)} beside a function. "
            "Bind it: `lambda x: function(x, param)`."
        )
    return _computed(activation)


# ---------------------------------------------------------------- names


class _Named(NamedTuple):
    """An activation by name: a function of an array and of its parameter, if it has one; whether it divides by that."""

    function: Callable[..., Array]
    default: float | None = None
    divides: bool = False


def _elu(x: Array, alpha: float) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _celu(x: Array, alpha: float) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha))


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _softplus(x: Array, beta: float) -> Array:
    return np.logaddexp(0, beta * x) / beta


def _gelu(x: Array) -> Array:
    return x * np.array([math.erfc(-each / math.sqrt(2)) / 2 for each in x.tolist()])


def _gelu_tanh(x: Array) -> Array:
    return x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


def _hard_sigmoid(x: Array) -> Array:
    return np.clip(x + 3, 0, 6) / 6


# The names that PyTorch, JAX and Keras have, without underscores.
_NAMED = {
    "celu": _Named(_celu, 1.0, divides=True),
    "elu": _Named(_elu, 1.0),
    "exponential": _Named(np.exp),
    "gelu": _Named(_gelu),
    "gelutanh": _Named(_gelu_tanh),
    "hardshrink": _Named(lambda x, bound: np.where(np.abs(x) > bound, x, 0.0), 0.5),
    "hardsigmoid": _Named(_hard_sigmoid),
    "hardswish": _Named(lambda x: x * _hard_sigmoid(x)),
    "hardtanh": _Named(lambda x: np.clip(x, -1, 1)),
    "identity": _Named(lambda x: x),
    "logsigmoid": _Named(lambda x: -np.logaddexp(0, -x)),
    "mish": _Named(lambda x: x * np.tanh(_softplus(x, 1.0))),
    "relu6": _Named(lambda x: np.clip(x, 0, 6)),
    "relusquared": _Named(lambda x: np.maximum(x, 0) ** 2),
    "silu": _Named(lambda x: x * _sigmoid(x)),
    "softplus": _Named(_softplus, 1.0, divides=True),
    "softshrink": _Named(lambda x, bound: np.sign(x) * np.maximum(np.abs(x) - bound, 0), 0.5),
    "softsign": _Named(lambda x: x / (1 + np.abs(x))),
    "squareplus": _Named(lambda x, b: (x + np.sqrt(x * x + b)) / 2, 4.0),
    "tanhshrink": _Named(lambda x: x - np.tanh(x)),
}
_NAMED |= {"swish": _NAMED["silu"], "hardsilu": _NAMED["hardswish"]}
_KNOWN = (*_PUBLISHED, "gelu_tanh", "hard_sigmoid", "hard_swish", "hard_tanh", "log_sigmoid", "relu_squared", *_NAMED)


def _of_name(name: str, param: float | None) -> float:
    named = _NAMED.get(name.replace("_", ""))
    if named is None and name not in _PUBLISHED:
        raise ValueError(f"Unknown activation: {shown(name)}. Pass a function of your own.{suggestion(name, _KNOWN)}")
    takes_param = name == "leaky_relu" if named is None else named.default is not None
    if param is not None:
        _check_param(name, param, takes_param, named is not None and named.divides)
    if named is None:
        return float(published(name, param))
    value = named.default if param is None else float(param)
    return _computed_by_name(name.replace("_", ""), value)


def _check_param(name: str, param: float, takes_param: bool, divides: bool) -> None:
    if not takes_param:
        raise ValueError(f"`{name}` has no parameter. Received: param={shown(param)}.")
    if isinstance(param, bool) or not isinstance(param, (int, float)) or not abs(param) <= sys.float_info.max:
        raise ValueError(f"`param` must be a finite number. Received: param={shown(param)}.")
    if divides and not param:
        raise ValueError(f"`param` must not be zero. Received: param={shown(param)}.")


@lru_cache(maxsize=256)
def _computed_by_name(name: str, param: float | None) -> float:
    function = _NAMED[name].function
    return _computed(function if param is None else lambda x: function(x, param))


# ---------------------------------------------------------------- functions of arrays, tensors and numbers


class _Values(NamedTuple):
    """The values of a function, and the relative error that their dtype causes."""

    values: Array
    error: float


_Caller = Callable[[Callable[[Any], Any], Array], Any]
_ERRORS = {"float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}  # of results in less than double precision


def _callers() -> Iterator[tuple[str, _Caller]]:
    """The ways to call a function at the numbers of an array, with what the frameworks have that are loaded."""
    yield "a NumPy array", lambda function, x: function(x.copy())  # some functions write to their argument
    torch = sys.modules.get("torch")
    if torch is not None:
        for dtype in (torch.float64, torch.float32):  # a module's own parameters may be of single precision
            yield f"a tensor of {dtype}", partial(_call_torch, torch, dtype)
    jax_numpy = sys.modules.get("jax.numpy")
    if jax_numpy is not None:
        yield "a JAX array", lambda function, x: function(jax_numpy.asarray(x))
    yield "a Python float", lambda function, x: [_of_float(function, each) for each in x.tolist()]


def _call_torch(torch: Any, dtype: Any, function: Callable[[Any], Any], x: Array) -> Any:
    with torch.no_grad():
        return function(torch.tensor(x, dtype=dtype, device="cpu"))


def _of_float(function: Callable[[Any], Any], x: float) -> Any:
    try:
        return function(x)
    except OverflowError:
        return math.inf


def _double_precision() -> AbstractContextManager[Any]:
    """JAX's double precision, if JAX is loaded: in single precision nine digits cannot be right."""
    enable = getattr(sys.modules.get("jax"), "enable_x64", None)
    return nullcontext() if enable is None else enable(True)


def _caller_for(function: Callable[[Any], Any], x: Array) -> _Caller:
    """The first way to call the function that does not raise."""
    failures = []
    for argument, call in _callers():
        try:
            call(function, x)
        except Exception as error:
            if is_interrupt(error):
                raise
            failures.append(f"{class_name(type(error))} for {argument}")
        else:
            return call
    raise TypeError(
        "`activation` must be a function of one number. "
        f"Received: activation={shown(function)}, which raised {', '.join(failures)}."
    )


def _numbers(result: Any, function: object, count: int) -> _Values:
    """What a function returned, as one double for each of `count` numbers."""
    if hasattr(result, "detach"):  # a PyTorch tensor, maybe of a dtype that NumPy does not have
        dtype = str(result.dtype).removeprefix("torch.")
        result = result.detach().cpu()
        result = (result if result.is_complex() else result.double()).numpy()
    else:
        result = np.asarray(result)
        dtype = result.dtype.name
    if dtypes.kind(result.dtype) not in ("bool", "integer", "float"):
        hint = " Pass an instance of the class." if isinstance(function, type) else ""
        raise TypeError(
            f"`activation` must return real numbers. Received: activation={shown(function)}, whose values are of "
            f"dtype {dtype}.{hint}"
        )
    if result.shape != (count,):
        raise ValueError(
            "`activation` must return one value for each number. "
            f"Received: activation={shown(function)}, which returned shape {result.shape} for shape {(count,)}."
        )
    return _Values(result.astype(np.float64), _ERRORS.get(dtype, 0.0))


# ---------------------------------------------------------------- quadrature

_REACH = 37  # standard deviations, beyond which the density underflows
_PER_DEVIATION = 16  # panels to begin with: fine enough that nodes lie closer than most of what functions have
_TOLERANCE = 1e-13  # of a panel, relative to the whole: some hundred panels leave nine digits
_LOOSE = 1e-6  # what all panels may leave, relative to the whole, if the function itself is not smooth enough for more
_NODES = 12  # a panel's, which has both of its ends: no jump lies between a panel and its neighbour
_MOST_PANELS = 2**16


@cache
def _lobatto() -> tuple[Array, Array]:
    """Nodes and weights of Gauss and Lobatto's rule on [0, 1]."""
    from numpy.polynomial.legendre import Legendre  # needed here alone

    polynomial = Legendre.basis(_NODES - 1)
    nodes = np.concatenate([[-1.0], polynomial.deriv().roots(), [1.0]])
    return (nodes + 1) / 2, 1 / (_NODES * (_NODES - 1) * polynomial(nodes) ** 2)


@undisturbed
def _computed(function: Callable[[Any], Any]) -> float:
    with _double_precision(), np.errstate(all="ignore"):  # whatever a function does far out
        second_moment = _SecondMoment(function)()
    if not second_moment:
        raise ValueError(f"`activation` must not be zero everywhere. Received: activation={shown(function)}.")
    return 1 / math.sqrt(second_moment)


class _SecondMoment:
    """E[f(x)**2] for unit normal x, by panels that are halved until they no longer change the result.

    Panels begin as a sixteenth of a standard deviation. Where a function has a kink or a jump they shrink to nothing.
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function
        panel = _lobatto()[0]
        self.call = _caller_for(function, panel)
        self.error = 0.0
        alone = self._values(panel)
        among = self._values(np.concatenate([panel, np.linspace(-_REACH, _REACH, 200)]))[: len(panel)]
        if np.abs(alone - among).max() > 1e-3 * np.abs(alone).max() + 1e-6:
            raise ValueError(
                "`activation` must be a function of each number alone, not of those beside it, and not random. "
                f"Received: activation={shown(function)}."
            )

    def __call__(self) -> float:
        edges = np.arange(-_REACH * _PER_DEVIATION, _REACH * _PER_DEVIATION + 1) / _PER_DEVIATION
        low, high = edges[:-1], edges[1:]
        sums = self._sums(low, high)
        self._check_tails(sums)
        settled: list[float] = []
        panels = len(sums)
        while len(sums):
            middle = (low + high) / 2
            halves = self._sums(low, middle), self._sums(middle, high)
            changes = np.abs(sums - halves[0] - halves[1])
            total = math.fsum((*settled, *halves[0], *halves[1]))
            rough = changes > max(_TOLERANCE, self.error) * total
            panels += 2 * int(rough.sum())
            if panels > _MOST_PANELS or ((middle <= low) | (middle >= high)).any():
                self._check_rest(changes[rough].sum(), total)
                rough[:] = False
            settled += [*halves[0][~rough], *halves[1][~rough]]
            low, high = np.concatenate([low[rough], middle[rough]]), np.concatenate([middle[rough], high[rough]])
            sums = np.concatenate([half[rough] for half in halves])
        return math.fsum(settled)

    def _values(self, x: Array) -> Array:
        values, error = _numbers(self.call(self.function, x), self.function, len(x))
        self.error = max(self.error, error)
        if np.isnan(values).any():
            where = x[np.isnan(values)][0]
            raise ValueError(
                f"`activation` must not return NaN. Received: activation={shown(self.function)}, which does at {where}."
            )
        return values

    def _sums(self, low: Array, high: Array) -> Array:
        """The integrals of the panels from `low` to `high`."""
        nodes, weights = _lobatto()
        width = (high - low)[:, None]
        x = low[:, None] + width * nodes
        x[:, -1] = high
        # The root of the density first, so that values of up to exp(x**2 / 4) stay finite when they are squared.
        weighted = self._values(x.ravel()).reshape(x.shape) * np.exp(-x * x / 4)
        sums = (weighted * weighted * width) @ weights / math.sqrt(2 * math.pi)
        if not np.isfinite(sums).all():
            self._refuse()
        return sums

    def _check_tails(self, sums: Array) -> None:
        """Raises if the outermost panels count, so that those beyond them could count, too."""
        if max(sums[0], sums[-1]) > _TOLERANCE * sums.sum():
            self._refuse()

    def _check_rest(self, change: float, total: float) -> None:
        """Raises if the panels that are still rough change the result noticeably."""
        if change > max(_LOOSE, self.error) * total:
            self._refuse()

    def _refuse(self) -> None:
        raise ValueError(
            "`activation` must have a finite second moment: its values must be finite and grow less than exp(x**2 / 4)."
            f" Received: activation={shown(self.function)}."
        )
