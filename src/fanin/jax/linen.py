"""The layers of a flax.linen module, which its variables alone do not show."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax

from fanin.jax.layers import Layer
from fanin.jax.trees import PytreeTree, as_tuple, flax_layer, is_array, single_shape


def layers_of(module: Any, *args: Any, **kwargs: Any) -> tuple[Any, dict[str, Layer]]:
    """The abstract variables of a flax.linen module, and its layers: their types, and the axes of their kernels.

    Args:
        module: the module.
        *args: the arguments that it is called with, as arrays or `jax.ShapeDtypeStruct`.
        **kwargs: the keyword arguments of the call.

    Returns:
        The variables, as shapes, and the layers by path.

    >>> import fanin, fanin.jax, jax.numpy as jnp
    >>> from flax import linen as nn
    >>> variables, layers = fanin.jax.layers_of(nn.Dense(256), jnp.ones((1, 784)))
    >>> variables, report = fanin.jax.initialize(variables, "flax", seed=1, layers=layers)
    >>> variables["params"]["kernel"].shape
    (784, 256)
    """
    from flax import linen

    found: dict[str, Layer] = {}

    def note(method: Any, arguments: Any, keywords: Any, context: Any) -> Any:
        layer = context.module
        path = ".".join(layer.path)
        if path not in found:
            found[path] = _linen_layer(layer, arguments)
        return method(*arguments, **keywords)

    traced = [number for number, each in enumerate(args) if is_array(each) or isinstance(each, (list, tuple, dict))]

    def init(*arrays: Any) -> Any:
        given = list(args)
        for number, each in zip(traced, arrays, strict=True):
            given[number] = each
        return module.init(jax.random.key(0), *given, **kwargs)

    with linen.intercept_methods(note):
        variables = jax.eval_shape(init, *(args[number] for number in traced))
    shapes = {leaf.path: tuple(leaf.value.shape) for leaf in PytreeTree(variables, None).leaves if is_array(leaf.value)}
    for path, layer in found.items():
        found[path] = replace(layer, kernel_shape=shapes.get(f"{path}.kernel" if path else "kernel"))
    return variables, found


def _linen_layer(module: Any, arguments: tuple[Any, ...]) -> Layer:
    """A linen layer as data, with the shape of its kernel, which follows from the arguments of the call."""
    layer = flax_layer(module, "flax.linen")
    inputs = tuple(arguments[0].shape) if arguments and is_array(arguments[0]) else None
    if hasattr(module, "batch_dims"):
        batch, axes, outs = (as_tuple(each) for each in (module.batch_dims, module.axis, module.features))
        layer = replace(layer, batch=len(batch), ins=len(axes))
        return layer if inputs is None else replace(layer, single=(*(inputs[axis] for axis in (*batch, *axes)), *outs))
    if layer.known == "Embed":
        return replace(layer, single=(module.num_embeddings, module.features))
    if layer.known == "Einsum":
        return replace(layer, single=tuple(module.shape))
    if inputs and hasattr(module, "features"):
        return replace(layer, single=single_shape(module, (inputs[-1],), (module.features,)))
    return layer
