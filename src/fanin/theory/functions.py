"""Functions of one number, called at the numbers of arrays, whether they take arrays, tensors or floats."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fanin._core import dtypes
from fanin._core.interrupts import is_interrupt
from fanin._core.messages import class_name, shown
from fanin._core.types import Array

_ERRORS = {"float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}  # of results in less than double precision
_TRIAL = np.linspace(-3.0, 3.0, 12)  # where functions are tried, away from zero
_AMONG = np.linspace(-37.0, 37.0, 200)  # numbers beside them that must not matter
_BEND = 1e-2  # how far the differences on both sides of a number may be apart, where a function is smooth


class _Caller(NamedTuple):
    """A way to call a function at the numbers of an array, and to have its derivative there, if there is one."""

    argument: str
    values: Callable[[Callable[[Any], Any], Array], Any]
    slopes: Callable[[Callable[[Any], Any], Array], Any] | None = None


def _callers() -> Iterator[_Caller]:
    """The ways to call a function, with what the frameworks have that are loaded."""
    yield _Caller("a NumPy array", lambda function, x: function(x.copy()))  # some functions write to their argument
    torch = sys.modules.get("torch")
    if torch is not None:
        for dtype in (torch.float64, torch.float32):  # a module's own parameters may be of single precision
            yield _Caller(
                f"a tensor of {dtype}", partial(_torch_values, torch, dtype), partial(_torch_slopes, torch, dtype)
            )
    jax_numpy = sys.modules.get("jax.numpy")
    if jax_numpy is not None:
        yield _Caller("a JAX array", lambda function, x: function(jax_numpy.asarray(x)))
    yield _Caller("a Python float", lambda function, x: [_of_float(function, each) for each in x.tolist()])


def _torch_values(torch: Any, dtype: Any, function: Callable[[Any], Any], x: Array) -> Any:
    with torch.no_grad():
        return function(torch.tensor(x, dtype=dtype, device="cpu"))


def _torch_slopes(torch: Any, dtype: Any, function: Callable[[Any], Any], x: Array) -> Any:
    """The derivative by PyTorch's own rules; None if its graph does not reach the argument."""
    with torch.enable_grad():
        leaf = torch.tensor(x, dtype=dtype, device="cpu", requires_grad=True)
        result = function(leaf.clone())
        if not getattr(result, "requires_grad", False):
            return None
        return torch.autograd.grad(result.sum(), leaf, allow_unused=True)[0]


def _of_float(function: Callable[[Any], Any], x: float) -> Any:
    try:
        return function(x)
    except OverflowError:
        return math.inf


def double_precision() -> AbstractContextManager[Any]:
    """JAX's double precision, if JAX is loaded: in single precision nine digits cannot be right."""
    enable = getattr(sys.modules.get("jax"), "enable_x64", None)
    return nullcontext() if enable is None else enable(True)


class Elementwise:
    """A function of one number, called at the numbers of arrays of any shape.

    Attributes:
        function: the function.
        error: the relative error that the dtype of its values has had so far.

    Raises:
        TypeError: it is not a function of one number, or does not return real numbers.
        ValueError: it returns another shape or NaN, is random, or depends on the numbers beside one.

    >>> import math, numpy as np
    >>> from fanin.theory.functions import Elementwise
    >>> tanh = Elementwise(math.tanh)
    >>> tanh.values(np.zeros((2, 1))), tanh.slopes(np.zeros(2)).round(9)
    (array([[0.],
           [0.]]), array([1., 1.]))
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function
        self.error: float = 0.0
        with double_precision(), np.errstate(all="ignore"):
            self._caller = self._found_caller()
            alone = self.values(_TRIAL)
            among = self.values(np.concatenate([_TRIAL, _AMONG]))[: len(_TRIAL)]
            if not np.abs(alone - among).max() <= 1e-3 * np.abs(alone).max() + 1e-6:
                raise ValueError(
                    "`activation` must be a function of each number alone, not of those beside it, and not random. "
                    f"Received: activation={shown(function)}."
                )

    def values(self, x: Array) -> Array:
        """The function at the numbers of an array, as doubles. They may be infinite."""
        with double_precision(), np.errstate(all="ignore"):
            values = self._numbers(self._caller.values(self.function, x.ravel()), x.size).reshape(x.shape)
        wrong = np.isnan(values) & np.isfinite(x)
        if wrong.any():
            raise ValueError(
                f"`activation` must not return NaN. Received: activation={shown(self.function)}, which does at "
                f"{x[wrong][0]}."
            )
        return values

    def slopes(self, x: Array) -> Array:
        """Its derivative there: PyTorch's own, for functions of tensors; else by differences.

        Beside a kink or a jump it is the derivative on one of both sides.
        """
        if self._caller.slopes is not None:
            with double_precision():
                found = self._caller.slopes(self.function, x.ravel())
            if found is not None:
                return self._numbers(found, x.size).reshape(x.shape)
        step = max(np.finfo(np.float64).eps, self.error) ** (1 / 3) * np.maximum(1.0, np.abs(x))
        before, here, after = (self.values(x + sign * step) for sign in (-1, 0, 1))
        with np.errstate(all="ignore"):
            left, right = (here - before) / step, (after - here) / step
            flatter = np.where(np.abs(left) < np.abs(right), left, right)
            bent = np.abs(left - right) > _BEND * (1 + np.abs(flatter))
            return np.where(bent, flatter, (after - before) / (2 * step))

    def _found_caller(self) -> _Caller:
        """The first way to call the function that does not raise."""
        failures = []
        for caller in _callers():
            try:
                caller.values(self.function, _TRIAL)
            except Exception as error:
                if is_interrupt(error):
                    raise
                failures.append(f"{class_name(type(error))} for {caller.argument}")
            else:
                return caller
        raise TypeError(
            "`activation` must be a function of one number. "
            f"Received: activation={shown(self.function)}, which raised {', '.join(failures)}."
        )

    def _numbers(self, result: Any, count: int) -> Array:
        """What the function returned, as one double for each of `count` numbers."""
        if hasattr(result, "detach"):  # a PyTorch tensor, maybe of a dtype that NumPy does not have
            dtype = str(result.dtype).removeprefix("torch.")
            result = result.detach().cpu()
            result = (result if result.is_complex() else result.double()).numpy()
        else:
            result = np.asarray(result)
            dtype = result.dtype.name
        if dtypes.kind(result.dtype) not in ("bool", "integer", "float"):
            hint = " Pass an instance of the class." if isinstance(self.function, type) else ""
            raise TypeError(
                f"`activation` must return real numbers. Received: activation={shown(self.function)}, whose values are "
                f"of dtype {dtype}.{hint}"
            )
        if result.shape != (count,):
            raise ValueError(
                "`activation` must return one value for each number. "
                f"Received: activation={shown(self.function)}, which returned shape {result.shape} for shape "
                f"{(count,)}."
            )
        self.error = max(self.error, _ERRORS.get(dtype, 0.0))
        return result.astype(np.float64)
