"""The fanin initializers of what a JAX program draws."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
from ml_dtypes import finfo

from fanin import initializers
from fanin.initializers import Initializer
from fanin.jax.programs import Bits, Computed, Draw, Given, Made, Origin, Same, Unread, Value, shortest
from fanin.jax.traced import MOST_VALUES
from fanin.models.parameters import Parameter
from fanin.recipes.readings import Reading, UnreadableError

# The usual rules, one of which a standard deviation is most often computed by.
_RULES = (
    initializers.LecunNormal(),
    initializers.HeNormal(),
    initializers.GlorotNormal(),
    initializers.LecunUniform(),
    initializers.HeUniform(),
    initializers.GlorotUniform(),
)
_NEAR = 4  # units in the last place of the parameter's dtype, in which JAX computes a standard deviation


def readings_of(
    values: Mapping[str, Value], parameters: Mapping[str, Parameter]
) -> Iterator[tuple[str, Reading | str]]:
    """The reading of each parameter, or why there is none.

    Args:
        values: what the program makes of each, by path.
        parameters: the parameters, by path.
    """
    taken: dict[int, tuple[str, int]] = {}  # the calls that parameters come from, and how many values these have had
    for path, value in values.items():
        parameter = parameters[path]
        origin = getattr(value, "origin", None)
        if isinstance(origin, Origin):
            first, count = taken.get(id(origin), (path, 0))
            is_matrix = isinstance(value, Draw) and value.kind == "delta_orthogonal"  # and zeros, which are not drawn
            count += math.prod(parameter.shape[-2:]) if is_matrix else parameter.size
            taken[id(origin)] = first, count
            if count > origin.size:
                yield path, f"it has the values of {first}"
                continue
        try:
            yield path, _reading(value, parameter)
        except UnreadableError as error:
            yield path, str(error)


def _reading(value: Value, parameter: Parameter) -> Reading:
    if isinstance(value, Same):
        return Reading(_constant(value))
    if isinstance(value, Unread):
        raise UnreadableError(value.reason)
    if isinstance(value, Given):
        raise UnreadableError(
            "its values come from outside of the function: from an array that was there before, or from NumPy"
        )
    if isinstance(value, Bits):
        raise UnreadableError("it is made of random bits by a function that fanin does not know")
    if isinstance(value, Computed):
        return Reading(_table(value, parameter))
    if isinstance(value, Made):
        return _made(value, parameter)
    if value.kind == "delta_orthogonal":
        return _delta_orthogonal(value, parameter)
    if value.kind == "orthogonal":
        return _orthogonal(value, parameter)
    initializer = _drawn(value)
    rule = _rule(initializer, parameter)
    return Reading(initializer) if rule is None else Reading(rule, parameter.traits.fans)


def _made(value: Made, parameter: Parameter) -> Reading:
    """The reading of an initializer of fanin's, in the parameter's own order of axes."""
    initializer, name = value.initializer, type(value.initializer).__name__
    if value.shape != parameter.shape:
        raise UnreadableError(f"it is made of several tensors of {name}, or of a part of one")
    if value.axes != parameter.kernel_axes:
        raise UnreadableError(f"{name} makes it in another order of axes than that of its layer")
    return Reading(initializer.with_seed(None))


def _constant(value: Same) -> Initializer:
    if np.imag(value.value):
        raise UnreadableError("it is a complex constant, which no rule can say")
    number = shortest(np.real(value.value))
    return {0.0: initializers.Zeros(), 1.0: initializers.Ones()}.get(number) or initializers.Constant(number)


def _table(table: Computed, parameter: Parameter) -> Initializer:
    if table.values is None:
        raise UnreadableError(f"it is a table of more than {MOST_VALUES} computed values")
    values = np.asarray(table.values)
    if values.size and (values == values.flat[0]).all():
        return _constant(Same(values.flat[0]))
    return initializers.Table(values.transpose(parameter.kernel_axes))


def _drawn(draw: Draw) -> Initializer:
    """The initializer with the numbers of a draw."""
    scale, shift = abs(draw.scale), draw.shift
    if draw.kind == "normal":
        return initializers.RandomNormal(shift, scale)
    if draw.kind == "uniform":
        bounds = sorted(shift + draw.scale * bound for bound in (draw.low, draw.high))
        return initializers.RandomUniform(bounds[0], bounds[1])
    if draw.kind == "truncated" and (draw.low, draw.high) == (-2.0, 2.0):
        return initializers.TruncatedNormal(shift, scale)
    if draw.kind == "truncated":
        low, high = sorted(shift + draw.scale * bound for bound in (draw.low, draw.high))
        minval, maxval = (bound if math.isfinite(bound) else None for bound in (low, high))
        return initializers.TruncatedNormal(shift, scale, minval=minval, maxval=maxval)
    if draw.kind == "exponential" and not shift and draw.scale > 0:
        return initializers.Exponential(1 / scale)
    if draw.kind == "lognormal" and not shift and draw.scale == 1:
        return initializers.LogNormal(draw.low, draw.high)
    if draw.kind == "bernoulli" and not shift and draw.scale == 1:
        return initializers.Bernoulli(draw.low)
    raise UnreadableError(f"it is a {draw.kind} draw that is shifted or scaled")


def _orthogonal(draw: Draw, parameter: Parameter) -> Reading:
    """The reading of an orthogonal matrix whose columns are the kernel's outputs."""
    axes = parameter.kernel_axes
    if draw.columns != axes[-1]:
        raise UnreadableError("it is an orthogonal matrix whose columns are not the last axis in Keras's order")
    return Reading(initializers.Orthogonal(draw.scale))


def _delta_orthogonal(draw: Draw, parameter: Parameter) -> Reading:
    """The reading of a kernel with an orthogonal matrix at its centre, whose axes are in Keras's order."""
    rank = len(parameter.shape)
    if draw.columns is None or parameter.kernel_axes != tuple(range(rank)):
        raise UnreadableError("it is a delta-orthogonal kernel, whose axes are not in Keras's order")
    return Reading(initializers.DeltaOrthogonal(draw.scale, column_axis=draw.columns - rank))


def _rule(initializer: Initializer, parameter: Parameter) -> Initializer | None:
    """The usual rule that has the same distribution by the parameter's fans; None if there is none."""
    fans = parameter.traits.fans
    if fans is None or parameter.traits.role not in ("kernel", "recurrent_kernel", "depthwise_kernel"):
        return None
    near = _NEAR * float(finfo(parameter.dtype).eps)
    wanted = initializer.distribution(parameter.shape, "float64")
    for rule in _RULES:
        found = rule.distribution_of_fans(parameter.shape, "float64", *fans)
        alike = type(found) is type(wanted) and found.moments.mean == wanted.moments.mean
        if alike and math.isclose(found.moments.stddev, wanted.moments.stddev, rel_tol=near):
            return rule
    return None
