"""What an initializer of tf_keras or Keras 3 draws, as a fanin initializer without a seed."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np

from fanin import initializers
from fanin._core import dtypes
from fanin._core.interrupts import is_interrupt
from fanin._core.messages import class_name, shown
from fanin._core.types import Array, Shape
from fanin.initializers.base import Initializer
from fanin.recipes.readings import Reading, UnreadableError, reading

_MOST_VALUES = 4096  # of a table in a recipe
_FORGET_BIAS = "build.<locals>.bias_initializer"  # what the cells of LSTMs make of their bias initializer


class Reader:
    """Reads the initializers of one framework.

    Args:
        package: the framework's package.
        modules: the modules that hold its own initializer classes, under fanin's names.
    """

    def __init__(self, package: str, *modules: Any) -> None:
        self._package = package
        self._classes: dict[type, type[Initializer]] = {
            getattr(module, cls.__name__): cls
            for module in modules
            for cls in initializers.CLASSES
            if hasattr(module, cls.__name__)
        }

    def read(self, initializer: Any, shape: Shape, dtype: Any) -> tuple[Reading, ...]:
        """The readings of a variable: one, or one for each of its blocks.

        Args:
            initializer: what its layer made it with.
            shape: its shape.
            dtype: its dtype.

        Raises:
            UnreadableError: fanin has no such initializer.
        """
        if _is_forget_bias(initializer, self._package):
            return tuple(self._forget_bias(_owner(initializer).bias_initializer, shape, dtype))
        return (reading(self._source(initializer, shape, dtype), shape),)

    def _source(self, initializer: Any, shape: Shape, dtype: Any) -> Initializer:
        """The fanin initializer that draws from the same distribution."""
        ours = getattr(initializer, "source", initializer)  # of a class of `fanin.keras` or `fanin.tf_keras`
        if isinstance(ours, Initializer) and type(ours).distribution is not Initializer.distribution:
            return ours
        known = self._known(type(initializer))
        if known is not None:
            return _instance(self._classes[known], initializer, dtype)
        if callable(initializer):
            return _constant_call(initializer, shape, dtype)
        raise UnreadableError(f"it was made from a value, {shown(initializer)[:100]}, and not by an initializer")

    def _known(self, cls: type) -> type | None:
        """The class of the framework's own whose call a class has: itself, or one that it derives from."""
        for each in cls.__mro__:
            if each in self._classes:
                return (
                    each
                    if inspect.getattr_static(cls, "__call__") is inspect.getattr_static(each, "__call__")
                    else None
                )
        return None

    def _forget_bias(self, initializer: Any, shape: Shape, dtype: Any) -> Iterator[Reading]:
        """The blocks of an LSTM's bias: ones for the forget gate, and one draw for the two gates after it."""
        units = shape[-1] // 4
        for block, length in (("input", units), ("forget", 0), ("cell", 2 * units), ("output", 2 * units)):
            if block == "forget":
                yield Reading(initializers.Ones(), block=block)
            else:
                yield reading(self._source(initializer, (length,), dtype), (length,), block=block)


def _is_forget_bias(initializer: Any, package: str) -> bool:
    module = (getattr(initializer, "__module__", None) or "").partition(".")[0]
    return module == package and getattr(initializer, "__qualname__", "").endswith(_FORGET_BIAS)


def _owner(function: Any) -> Any:
    """The layer in whose `build` a function was defined."""
    return inspect.getclosurevars(function).nonlocals["self"]


def _instance(cls: type[Initializer], theirs: Any, dtype: Any) -> Initializer:
    """The fanin initializer with the arguments that one of the framework's has as attributes."""
    if cls is initializers.Constant:
        return _constant(np.asarray(theirs.value), dtype)
    names = [name for name in inspect.signature(cls).parameters if name != "seed" and hasattr(theirs, name)]
    made = cls(**{name: getattr(theirs, name) for name in names})
    inputs, outputs = getattr(theirs, "input_axes", None), getattr(theirs, "output_axes", None)
    if isinstance(made, initializers.VarianceScaling) and inputs is not None and outputs is not None:
        made.fan_axes = tuple(inputs), tuple(outputs)
    return made


def _constant(value: Array, dtype: Any) -> Initializer:
    """The initializer of a constant, or of a table of values."""
    if value.ndim:
        if value.size > _MOST_VALUES:
            raise UnreadableError(f"it is a constant of {value.size} values, more than the {_MOST_VALUES} of a table")
        return initializers.Table(value)
    number = value.item()
    whole = dtypes.kind(dtypes.resolve(dtype)) == "integer"
    return initializers.Constant(int(number) if whole and number == int(number) else number)


def _constant_call(function: Any, shape: Shape, dtype: Any) -> Initializer:
    """The constant that a function returns everywhere: there is nothing random in a tensor of equal values."""
    described = f"its initializer is {_named(function)}, which is none that fanin knows"
    try:
        values = np.asarray(function(shape, dtype=dtype))
    except Exception as error:  # foreign code can raise anything
        if is_interrupt(error):
            raise
        raise UnreadableError(described) from None
    if not values.size or (values != values.flat[0]).any():
        raise UnreadableError(described)
    return _constant(values.reshape(-1)[0:1].reshape(()), dtype)


def _named(function: Any) -> str:
    """An initializer as a message names it: a function by its qualified name, an object by its class."""
    named = function if hasattr(function, "__qualname__") else type(function)
    if not isinstance(named, type):
        return f"the function {getattr(named, '__module__', '')}.{named.__qualname__}"
    return f"an object of the class {class_name(named)}"
