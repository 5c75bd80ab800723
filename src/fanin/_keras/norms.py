"""Norms of other packages, run to find out whether their weight is the scale of their output, or one less."""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from fanin._core.interrupts import is_interrupt
from fanin._core.types import Shape
from fanin.models.norms import is_shifted

_known: dict[tuple[type, str, Shape, str], bool] = {}


def may_be_norm(layer: Any, shape: Shape) -> bool:
    """Whether a layer is not one of the framework's own, and is a norm by its class's name or its variable's shape."""
    foreign = not type(layer).__module__.startswith(("keras.", "tf_keras."))
    return foreign and (_is_named(layer) or len(shape) == 1)


def _is_named(layer: Any) -> bool:
    return re.search("norm", type(layer).__name__, re.I) is not None


def scales_by(layer: Any, leaf: str, shape: Shape) -> bool:
    """Whether a norm multiplies its normalized input by this variable.

    Args:
        layer: a norm, which may be unbuilt. A copy of it, made of its configuration, is run.
        leaf: the name of the variable.
        shape: the variable's shape.

    Returns:
        False if the norm adds one to the variable first, as Gemma's does. If the layer cannot be made, or run on
        inputs of a usual shape, the variable's part is unknown: False if the class is a norm by its name, and True if
        the variable's name alone says that it is a scale.
    """
    unknown = not _is_named(layer)
    try:
        config = {name: value for name, value in layer.get_config().items() if name != "name"}
        key = type(layer), leaf, shape, repr(config)
    except Exception as error:  # foreign code can raise anything
        if is_interrupt(error):
            raise
        return unknown
    if key not in _known:
        # A thread of its own has none of the scopes, graphs and devices that the layer may be built in at present.
        state = random.getstate()  # from which Keras draws seeds
        try:
            with ThreadPoolExecutor(1) as pool:
                _known[key] = pool.submit(_scales, type(layer), config, leaf, shape, unknown).result()
        finally:
            random.setstate(state)
    return _known[key]


def _scales(cls: Any, config: dict[str, Any], leaf: str, shape: Shape, unknown: bool) -> bool:
    for inputs in _inputs(shape):
        try:
            copy = cls.from_config({**config, "dtype": "float32"})
            copy(inputs)
            return not is_shifted(lambda weight, copy=copy, inputs=inputs: _run(copy, leaf, weight, inputs))
        except Exception:  # it may want inputs of another shape; no handler runs in this thread
            continue
    return unknown


def _inputs(shape: Shape) -> Iterator[np.ndarray]:
    """Inputs with the norm's features last, and second as in images."""
    features = shape[-1] if shape else 1
    for each in ((2, 3, features), (2, features), (2, 3, 3, features), (2, features, 3, 3)):
        yield np.cos(np.arange(np.prod(each)) * 1.7 + 0.3).reshape(each).astype(np.float32) + np.float32(0.25)


def _run(copy: Any, leaf: str, weight: float, inputs: np.ndarray) -> np.ndarray:
    """The output of a norm with the given weight, running variances of one, and other variables of zero."""
    for variable in copy.variables:
        name = variable.name.rpartition("/")[2].partition(":")[0]
        value = weight if name == leaf else 1.0 if "var" in name else 0.0
        variable.assign(np.full(tuple(variable.shape), value, "float32"))
    output = copy(inputs)
    return np.asarray(output.detach().cpu() if "torch" in sys.modules and hasattr(output, "detach") else output)
