"""Tensors of frameworks passed through unchanged, with their values and gradients told to functions on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Note = Callable[[Any], None]


def ignored(value: Any) -> None:
    """A note of what nobody wants to know."""


def spy_tensorflow(tensor: Any, value: Note, gradient: Note = ignored) -> Any:
    """A TensorFlow tensor that tells its value now, and its gradient when a tape computes it."""
    import tensorflow as tf

    @tf.custom_gradient
    def through(x: Any) -> Any:
        def back(upstream: Any) -> Any:
            gradient(upstream)
            return upstream

        return tf.identity(x), back

    value(tensor)
    return through(tensor)


def spy_torch(tensor: Any, value: Note, gradient: Note = ignored) -> Any:
    """A PyTorch tensor that tells its value now, and its gradient when a backward pass computes it."""
    value(tensor.detach())
    if not tensor.requires_grad:
        return tensor

    def back(upstream: Any) -> None:
        gradient(upstream)

    tensor.register_hook(back)
    return tensor


def spy_jax(array: Any, value: Note, gradient: Note = ignored) -> Any:
    """A JAX array that tells its value when the program is at it, and its gradient when `jax.vjp` computes it.

    In functions that JAX compiles or maps (`jax.jit`, `jax.lax.scan`), callbacks tell them, once for each run.
    """
    import jax
    from jax.core import Tracer

    def tell(note: Note, x: Any) -> None:
        if isinstance(x, Tracer):
            jax.debug.callback(note, x)
        else:
            note(x)

    @jax.custom_vjp
    def through(x: Any) -> Any:
        tell(value, x)
        return x

    def forward(x: Any) -> tuple[Any, None]:
        return through(x), None

    def back(residual: None, upstream: Any) -> tuple[Any]:
        tell(gradient, upstream)
        return (upstream,)

    through.defvjp(forward, back)
    return through(array)
