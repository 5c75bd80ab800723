"""Norms that are not flax's or equinox's own, which are run to see how they use their weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fanin._core.interrupts import is_interrupt
from fanin._core.types import Shape
from fanin.models.norms import is_shifted
from fanin.models.traits import UNKNOWN, Traits, norm

_BATCH = 3  # rows of the input, so that a norm over a batch has something to normalize


def is_scale(leaf: str) -> bool:
    """Whether a norm's array of this name would be its scale."""
    traits = norm(leaf)
    return traits is not None and traits.role == "scale"


def is_own_norm(module: Any, package: str) -> bool:
    """Whether a module is a norm by the name of one of its classes, and has a call that is not the package's.

    Args:
        module: the module.
        package: the package, such as `flax`.
    """
    classes = [cls for cls in type(module).__mro__ if cls.__module__.partition(".")[0] != package]
    named = any("norm" in cls.__name__.lower() for cls in classes)
    definer = next((cls for cls in type(module).__mro__ if "__call__" in vars(cls)), object)
    return named and definer in classes


def scale_traits(run: Callable[[float], Any], leaf: str) -> Traits:
    """The traits of a norm's weight: those of a scale if the norm scales by it, else `UNKNOWN`.

    Args:
        run: runs the norm with every element of the weight set to its argument.
        leaf: the weight's name.
    """
    try:
        with jax.ensure_compile_time_eval():
            return UNKNOWN if is_shifted(run) else norm(leaf) or UNKNOWN
    except Exception as error:  # the module's own code may raise anything, if it needs more than an input
        if is_interrupt(error):
            raise
        return UNKNOWN


def is_shifted_nnx(module: Any, leaf: str) -> bool:
    """Whether a module of flax.nnx turns out to be a norm that scales by one more than an array, whatever its name.

    A module that has more than a norm's arrays, or cannot be run with an input alone, is none.
    """
    from flax import nnx

    weight = getattr(module, leaf)
    if any(np.prod(each.shape) > np.prod(weight.shape) for each in jax.tree.leaves(nnx.state(module))):
        return False
    try:
        with jax.ensure_compile_time_eval():
            return is_shifted(nnx_norm(module, leaf))
    except Exception as error:  # as above
        if is_interrupt(error):
            raise
        return False


def inputs_like(shape: Shape, dtype: Any = np.float32) -> Any:
    """An input of this shape that is neither zero nor constant along any axis."""
    return jnp.asarray(np.sin(1 + 1.7 * np.arange(np.prod(shape, dtype=int))).reshape(shape), dtype)


def nnx_norm(module: Any, leaf: str) -> Callable[[float], Any]:
    """The run of a norm of flax.nnx, or of one layer of a stack of them; its arrays may be shapes."""
    from flax import nnx

    graph, state = nnx.split(module)
    scale = tuple(getattr(module, leaf).shape)

    def run(weight: float) -> Any:
        filled = {
            path: variable.replace(_filled(str(path[-1]), variable.get_value(), leaf, weight, scale[:-1]))
            for path, variable in nnx.to_flat_state(state)
        }
        return nnx.merge(graph, nnx.from_flat_state(filled))(inputs_like((_BATCH, scale[-1])))

    return run


def equinox_norm(module: Any, leaf: str) -> Callable[[float], Any]:
    """The run of a norm of equinox, or of one layer of a stack of them; its arrays may be shapes."""
    scale = tuple(getattr(module, leaf).shape)

    def run(weight: float) -> Any:
        def filled(path: Any, value: Any) -> Any:
            known = hasattr(value, "shape") and hasattr(value, "dtype")
            return _filled(path[-1].name, value, leaf, weight, scale[:-1]) if known else value

        return jax.tree_util.tree_map_with_path(filled, module)(inputs_like(scale[-1:]))

    return run


def linen_norm(module: Any, leaf: str, shape: Shape, *args: Any, **kwargs: Any) -> Callable[[float], Any]:
    """The run of a norm of flax.linen, which is not bound to variables.

    Args:
        module: the norm.
        leaf: the name of its weight.
        shape: the shape of its input.
        *args: its further arguments.
        **kwargs: its keyword arguments.
    """
    from flax.core import meta

    inputs = inputs_like((*(min(length, _BATCH) for length in shape[:-1]), shape[-1]))

    def run(weight: float) -> Any:
        variables = meta.unbox(jax.eval_shape(lambda: module.init(jax.random.key(0), inputs, *args, **kwargs)))
        filled = jax.tree_util.tree_map_with_path(
            lambda path, value: _filled(path[-1].key, value, leaf, weight, ()), variables
        )
        return module.apply(filled, inputs, *args, **kwargs)

    return run


def _filled(name: str, value: Any, leaf: str, weight: float, stack: Shape) -> Any:
    """An array of a norm: its weight as given, variances of one, and zeros; without the axes of a stack."""
    shape = tuple(value.shape)
    shape = shape[len(stack) :] if shape[: len(stack)] == stack else shape
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return jax.random.key(0)
    known = norm(name)
    usual = 1 if known is not None and known.role == "variance" else 0
    return jnp.full(shape, weight if name == leaf else usual, value.dtype)
