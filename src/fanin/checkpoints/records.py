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
from fanin.distributions.weight import Weight
from fanin.initializers import Initializer
from fanin.models.parameters import Parameter
from fanin.models.traits import Traits
from fanin.recipes.entry import Entry, Placement

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
    if not all(map(_has_data, entry.placements)):
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


def _has_data(placement: Placement) -> bool:
    """Whether data describes a placement: a law that is known, laid out as the parameter is in Keras's order."""
    law = placement.weight.distribution
    if placement.weight.axes is not None:
        return False
    if isinstance(law, distributions.Table):
        return law.values.size <= _LONGEST_TABLE
    return type(law) in _INITIALIZERS or _draws_from(placement.initializer, law)


def _draws_from(initializer: Initializer, law: Distribution) -> bool:
    """Whether an initializer of fanin's has this distribution, and arguments that are not too long."""
    if type(initializer) not in initializers.CLASSES:
        return False
    is_short = all(np.size(each) <= _LONGEST_TABLE for each in initializer.get_config().values())
    return is_short and _law_of(initializer, law.shape, law.dtype, law.own_fans) == law


def _law_of(initializer: Initializer, shape: Shape, dtype: DType, fans: tuple[float, float] | None) -> Distribution:
    """What an initializer draws from for a tensor with these fans; None for those that follow from the shape."""
    if fans is None:
        return initializer.distribution(shape, dtype)
    if isinstance(initializer, initializers.VarianceScaling):
        return initializer.distribution_of_fans(shape, dtype, *fans)
    return initializer.distribution(shape, dtype).with_fans(*fans)


def _of_placement(placement: Placement) -> dict[str, Any]:
    distribution, stream, *_ = placement.weight
    return {
        **(_of_law(distribution) if type(distribution) in _INITIALIZERS else _of_initializer(placement.initializer)),
        "shape": list(distribution.shape),
        "dtype": distribution.dtype.name,
        "fans": None if distribution.own_fans is None else list(distribution.own_fans),
        "stream": list(stream),
        "target": [list(each) for each in placement.target],
        "source": list(placement.source),
        "label": placement.label,
        "name": placement.name,
    }


def _of_law(distribution: Distribution) -> dict[str, Any]:
    own = {each.name: getattr(distribution, each.name) for each in fields(distribution) if each.name not in _COMMON}
    arguments = {name: _listed(value) if name == "values" else _plain(value) for name, value in own.items()}
    return {"class": type(distribution).__name__, "arguments": arguments}


def _of_initializer(initializer: Initializer) -> dict[str, Any]:
    """The initializer itself, whose distribution has other parts than numbers."""
    arguments = {name: value for name, value in initializer.get_config().items() if name != "seed"}
    return {"initializer": type(initializer).__name__, "arguments": arguments}


def _placement(record: Mapping[str, Any], parameter: Parameter) -> Placement:
    shape, dtype = tuple(record["shape"]), dtypes.resolve(record["dtype"])
    fans = None if record["fans"] is None else tuple(record["fans"])
    stream = Stream(*record["stream"])
    if "initializer" in record:
        initializer = _named(record["initializer"], record["arguments"]).with_seed(stream.seed)
        weight = Weight(_law_of(initializer, shape, dtype, fans), stream, parameter.dtype)
    else:
        law = _law(record["class"], record["arguments"], shape, dtype, fans)
        weight = Weight(law, stream, parameter.dtype)
        initializer = _initializer(weight)
    distribution = weight.distribution
    target = tuple((low, high) for low, high in record["target"])
    source = tuple(record["source"])
    above = len(target) - len(distribution.shape)  # axes of stacks
    if len(target) != len(parameter.shape) or len(source) != len(distribution.shape):
        raise ValueError("a placement is of another rank")
    inside = all(0 <= low <= high <= length for (low, high), length in zip(target, parameter.kernel_shape, strict=True))
    drawn = zip(source, target[above:], distribution.shape, strict=True)
    if not inside or not all(0 <= start <= start + high - low <= length for start, (low, high), length in drawn):
        raise ValueError("a placement lies outside of the tensor")
    return Placement(record["name"], initializer, weight, target, source, record["label"])


def _named(name: str, arguments: Mapping[str, Any]) -> Initializer:
    """The initializer of a class's name, which checks its arguments."""
    cls = {each.__name__: each for each in initializers.CLASSES}[name]
    return cls.from_config(arguments)


def _law(
    name: str, arguments: Mapping[str, Any], shape: Shape, dtype: DType, fans: tuple[float, float] | None
) -> Distribution:
    """The distribution of a class's name."""
    cls = _CLASSES[name]
    own = {each: value if each == "values" else _value(value) for each, value in arguments.items()}
    if cls is distributions.Constant:
        own["value"] = dtype.type(own["value"])
    if cls is distributions.Table:
        own["values"] = _array(own["values"], dtype)
    return cls(shape=shape, dtype=dtype, own_fans=fans, **own)


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
