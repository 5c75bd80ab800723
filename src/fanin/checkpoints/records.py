"""Records: how a tensor's values are made, as plain data that makes them again without the recipe and the model.

The record of a plan's entry has the distribution, the stream and the place of each weight that the tensor consists of.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from fanin import distributions, initializers
from fanin._core import dtypes
from fanin._core.messages import shown
from fanin._core.streams import Stream
from fanin._core.types import Array, DType, Shape
from fanin.checkpoints.files import CheckpointError
from fanin.distributions import Distribution
from fanin.initializers import Initializer
from fanin.models.parameters import Parameter
from fanin.models.traits import Traits
from fanin.recipes.entry import Entry, Placement
from fanin.weight import Weight

# The distributions that data describes, and the initializers that draw from them.
_INITIALIZERS: dict[type[Distribution], type[Initializer]] = {
    distributions.Bernoulli: initializers.Bernoulli,
    distributions.BoundedNormal: initializers.TruncatedNormal,
    distributions.Constant: initializers.Constant,
    distributions.Exponential: initializers.Exponential,
    distributions.Identity: initializers.Identity,
    distributions.LogNormal: initializers.LogNormal,
    distributions.Normal: initializers.RandomNormal,
    distributions.Orthogonal: initializers.Orthogonal,
    distributions.Sparse: initializers.Sparse,
    distributions.Table: initializers.Table,
    distributions.TruncatedNormal: initializers.TruncatedNormal,
    distributions.Uniform: initializers.RandomUniform,
    distributions.UniformInteger: initializers.RandomUniform,
}
_CLASSES = {cls.__name__: cls for cls in _INITIALIZERS}
_LONGEST_TABLE = 2**12  # values of a table that are written out
_COMMON = ("shape", "dtype", "own_fans")  # the fields of all distributions; the others are arguments of one


def record_of(entry: Entry) -> dict[str, Any] | None:
    """The record of an entry, for JSON; None if no data describes it: a distribution of someone's own, or a long table.

    >>> import fanin
    >>> from fanin.checkpoints.records import entry_of, record_of
    >>> recipe = fanin.Recipe([{"path": "*", "initializer": "he_normal"}], seed=1)
    >>> entry = recipe.plan([{"path": "w", "shape": [2, 3], "layout": "torch"}]).entries[0]
    >>> again = entry_of("w", entry.parameter.dtype, (2, 3), record_of(entry))
    >>> bool((again.make() == entry.make()).all())
    True
    """
    if not all(_has_data(each.weight) for each in entry.placements):
        return None
    return {
        "name": entry.name,
        "axes": list(entry.parameter.kernel_axes),
        "placements": [_of_placement(each) for each in entry.placements],
    }


def entry_of(path: str, dtype: DType, shape: Shape, record: Mapping[str, Any]) -> Entry:
    """The entry of a record, which fills any region of the tensor. Its initializers are the plain ones of their kinds.

    Args:
        path: the tensor's name.
        dtype: its dtype.
        shape: its shape.
        record: what `record_of` returned, also after a way through JSON.

    Raises:
        CheckpointError: the record is none, or is not one of such a tensor.
    """
    try:
        axes = tuple(record["axes"])
        parameter = Parameter(path, shape, dtype, traits=Traits(axes=axes))
        if sorted(axes) != list(range(len(shape))):
            raise ValueError(f"its axes are {axes}")
        placements = tuple(_placement(each, parameter) for each in record["placements"])
        entry = Entry(parameter, record["name"], "its record", placements=placements)
        if not entry.covers:
            raise ValueError("its placements do not fill the tensor")
        return entry
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(f"The record of {shown(path)} is damaged: {reason}.") from None


def _has_data(weight: Weight) -> bool:
    """Whether data describes a weight: of a known distribution, laid out as the parameter is in Keras's order."""
    law = weight.distribution
    is_long = isinstance(law, distributions.Table) and law.values.size > _LONGEST_TABLE
    return type(law) in _INITIALIZERS and weight.axes is None and not is_long


def _of_placement(placement: Placement) -> dict[str, Any]:
    distribution, stream, *_ = placement.weight
    own = {each.name: getattr(distribution, each.name) for each in fields(distribution) if each.name not in _COMMON}
    return {
        "class": type(distribution).__name__,
        "shape": list(distribution.shape),
        "dtype": distribution.dtype.name,
        "fans": None if distribution.own_fans is None else list(distribution.own_fans),
        "arguments": {name: _listed(value) if name == "values" else _plain(value) for name, value in own.items()},
        "stream": list(stream),
        "target": [list(each) for each in placement.target],
        "source": list(placement.source),
        "label": placement.label,
        "name": placement.name,
    }


def _placement(record: Mapping[str, Any], parameter: Parameter) -> Placement:
    cls, dtype = _CLASSES[record["class"]], dtypes.resolve(record["dtype"])
    arguments = {name: value if name == "values" else _value(value) for name, value in record["arguments"].items()}
    if cls is distributions.Constant:
        arguments["value"] = dtype.type(arguments["value"])
    if cls is distributions.Table:
        arguments["values"] = _array(arguments["values"], dtype)
    fans = None if record["fans"] is None else tuple(record["fans"])
    distribution = cls(shape=tuple(record["shape"]), dtype=dtype, own_fans=fans, **arguments)
    weight = Weight(distribution, Stream(*record["stream"]), parameter.dtype)
    target = tuple((low, high) for low, high in record["target"])
    source = tuple(record["source"])
    above = len(target) - len(distribution.shape)  # axes of stacks
    if len(target) != len(parameter.shape) or len(source) != len(distribution.shape):
        raise ValueError("a placement is of another rank")
    inside = all(0 <= low <= high <= length for (low, high), length in zip(target, parameter.kernel_shape, strict=True))
    drawn = zip(source, target[above:], distribution.shape, strict=True)
    if not inside or not all(0 <= start <= start + high - low <= length for start, (low, high), length in drawn):
        raise ValueError("a placement lies outside of the tensor")
    return Placement(record["name"], _initializer(weight), weight, target, source, record["label"])


def _initializer(weight: Weight) -> Initializer:
    """The plain initializer that draws from a weight's distribution."""
    distribution = weight.distribution
    if isinstance(distribution, distributions.Constant):
        return initializers.Constant(distribution.value)
    if isinstance(distribution, distributions.Table):
        return initializers.Table(distribution.values)
    arguments = {name: value for name, value in distribution.parameters().items() if _is_finite(value)}
    return _INITIALIZERS[type(distribution)](**arguments).with_seed(weight.stream.seed)


def _is_finite(value: Any) -> bool:
    """Whether an argument is given: bounds that do not bound are infinite."""
    return not isinstance(value, float) or math.isfinite(value)


def _listed(values: Array) -> dict[str, Any]:
    """A table of values for JSON: its shape, and its elements as they are alone."""
    return {"shape": list(values.shape), "flat": [_plain(each) for each in values.reshape(-1)]}


def _array(listed: Mapping[str, Any], dtype: DType) -> Array:
    """A table of values from JSON."""
    flat = np.array([dtype.type(_value(each)) for each in listed["flat"]], dtype)
    return flat.reshape(listed["shape"])


def _plain(value: Any) -> Any:
    """A parameter of a distribution for JSON, which has no infinities and no complex numbers."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, complex):
        return [_plain(value.real), _plain(value.imag)]
    return value if not isinstance(value, float) or math.isfinite(value) else str(value)


def _value(value: Any) -> Any:
    """A parameter of a distribution from JSON."""
    if isinstance(value, list):
        real, imaginary = value
        return complex(float(real), float(imaginary))
    return float(value) if isinstance(value, str) else value
