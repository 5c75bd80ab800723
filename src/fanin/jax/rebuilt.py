"""The arrays of equinox modules, whose constructors are followed once more with the arguments that the modules keep.

A module may have been changed since it was made, by `eqx.tree_at` or by training, which only its values show: those of
each array must be likely ones of the distribution that its constructor draws from.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from fanin._core.interrupts import is_interrupt
from fanin._core.messages import class_name
from fanin.initializers import VarianceScaling
from fanin.jax.programs import Draw, Origin, Unread, Value
from fanin.jax.traced import traced
from fanin.jax.trees import Leaf, Tree, is_array
from fanin.models.parameters import Parameter
from fanin.recipes.readings import Reading

_MOST_ERRORS = 6  # the standard errors that the mean and the spread of an array may be off
_OTHERWISE = "Pass a function without arguments that makes the model"
_Outcome = Mapping[str, Value] | str  # what each array is by its name, or why that is not known


def values_of_layers(tree: Tree) -> dict[str, Value]:
    """What the constructors of the layers make of each parameter of a tree, by its path."""
    made: dict[int, _Outcome] = {}
    return {leaf.path: _value(leaf, made) for leaf in tree.leaves if leaf.parameter is not None}


def _value(leaf: Leaf, made: dict[int, _Outcome]) -> Value:
    if not isinstance(leaf.value, (jax.Array, np.ndarray)):
        return Unread(f"a shape does not tell whether its layer was changed after it was made. {_OTHERWISE}")
    if id(leaf.owner) not in made:
        made[id(leaf.owner)] = _made_again(leaf.owner)
    outcome, name = made[id(leaf.owner)], leaf.path.rpartition(".")[2]
    if isinstance(outcome, str) or name not in outcome:
        return Unread(f"{outcome if isinstance(outcome, str) else 'its layer makes it only later'}. {_OTHERWISE}")
    value = outcome[name]
    # Stacked layers have draws of their own.
    return replace(value, origin=Origin(math.prod(leaf.value.shape))) if isinstance(value, Draw) else value


def _made_again(module: Any) -> _Outcome:
    """What the constructor of a module makes of the arrays that the module itself has."""
    cls, arguments, forgotten = type(module), {}, ""
    for name, parameter in list(inspect.signature(cls.__init__).parameters.items())[1:]:
        kept = getattr(module, name, None)
        if name == "key":
            arguments[name] = jax.random.key(0)
        elif hasattr(module, name) and not is_array(kept):
            arguments[name] = kept
        elif name != "dtype" and not (is_array(kept) and parameter.default is None):
            forgotten = (
                f"a module of {class_name(cls)} does not keep its argument {name!r}, which may say how it is drawn"
            )
    try:
        _, values = traced(lambda: cls(**arguments))
    except Exception as error:  # foreign code can raise anything
        if is_interrupt(error):
            raise
        return (
            forgotten
            or f"{class_name(cls)} cannot be made again ({type(error).__name__}: {' '.join(str(error).split())[:150]})"
        )
    own = {path: value for path, value in values.items() if "." not in path}
    # Constants are certain all the same: the array's values are compared with them.
    return {path: Unread(forgotten) if forgotten and isinstance(each, Draw) else each for path, each in own.items()}


def is_likely(reading: Reading, parameter: Parameter, values: Any) -> bool:
    """Whether an array's values are ones that a reading's initializer makes."""
    array, initializer, fans = np.asarray(values, np.float64), reading.initializer, reading.fans
    if isinstance(initializer, VarianceScaling) and fans is not None:
        distribution = initializer.distribution_of_fans(parameter.shape, "float64", *fans)
    else:
        distribution = initializer.distribution(parameter.kernel_shape, "float64")
    (low, high), (mean, stddev, kurtosis) = distribution.bounds, distribution.moments
    slack = 1e-2 * stddev + 1e-6 * abs(mean)  # of narrower dtypes
    if not array.size or array.min() < low - slack or array.max() > high + slack:
        return not array.size
    error = _MOST_ERRORS / math.sqrt(array.size)
    spread = math.sqrt(((kurtosis or 3.0) - 1) / 4)
    return abs(array.mean() - mean) <= error * stddev + slack and (
        array.size < 20 or abs(array.std() - stddev) <= error * spread * stddev + slack
    )
