"""The layers of a flax.linen module, which its variables alone do not show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax

from fanin.jax.layers import Layer
from fanin.jax.norms import is_own_norm, is_scale, linen_norm, scale_traits
from fanin.jax.trees import PytreeTree, as_tuple, flax_layer, is_array, single_shape
from fanin.models.traits import UNKNOWN


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
    norms: dict[str, Callable[[str], Callable[[float], Any]]] = {}

    def note(method: Any, arguments: Any, keywords: Any, context: Any) -> Any:
        layer = context.module
        path = ".".join(layer.path)
        if path not in found:
            found[path] = _linen_layer(layer, arguments)
            if is_own_norm(layer, "flax") and arguments and is_array(arguments[0]):
                norms[path] = _run_of(layer, arguments, keywords)
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
    for path, run in norms.items():
        found[path] = replace(found[path], scales=_scales(path, run, shapes))
    return variables, found


def _run_of(module: Any, arguments: Any, keywords: Any) -> Callable[[str], Callable[[float], Any]]:
    """The run of a norm by the name of its weight, with the arguments that it is called with, but without variables."""
    free, shape = module.clone(parent=None), tuple(arguments[0].shape)
    return lambda leaf: linen_norm(free, leaf, shape, *arguments[1:], **keywords)


def _scales(path: str, run: Callable[[str], Callable[[float], Any]], shapes: Mapping[str, Any]) -> frozenset[str]:
    """The names of the weights that a norm scales its inputs by."""
    leaves = [each.rpartition(".")[2] for each in shapes if each.rpartition(".")[0] == path]
    return frozenset(leaf for leaf in leaves if is_scale(leaf) and scale_traits(run(leaf), leaf) != UNKNOWN)


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
