"""`probe` for Keras 3, on each of its backends."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state

from fanin._core.spies import spy_jax, spy_tensorflow, spy_torch
from fanin._core.types import Globs
from fanin._keras import taped
from fanin._keras.probe import Backend, Root, Wishes
from fanin._keras.probe import probe as _probe
from fanin.keras.origins import FRAMEWORK
from fanin.theory.probes import Probe


def probe(
    model: Any,
    batch: Any,
    *,
    loss: Callable[..., Any] | None = None,
    target: Any = None,
    gradients: bool = True,
    training: bool = True,
    seed: int = 0,
    layers: Globs | None = None,
) -> Probe:
    """Measures what a batch does in each layer of a Keras 3 model: signal and gradient by depth, dead units, rank.

    The model runs eagerly once, and once back, whatever it was compiled for. Nothing of it changes: not its variables,
    moving statistics and the states of its seed generators among them, nor the states of global generators, also if
    its code raises.

    A layer with a kernel and an activation has two rows: what its kernel makes, and `….activation`. Recurrent layers
    count as a whole. Functions that a model's own `call` applies between layers are not seen.

    Args:
        model: a built model or layer of Keras 3: functional, sequential or subclassed.
        batch: its inputs, as `model(batch)` takes them: an array or tensor, or a list or dict of them.
        loss: a function that makes one number of the model's output, and of `target` if that is given, such as
            `lambda y, t: keras.ops.mean(keras.losses.mse(t, y))`. Without one, the gradient begins with independent
            standard normal numbers at the first output.
        target: the second argument of the loss.
        gradients: whether to measure gradients. They take the memory of a step of training.
        training: whether layers behave as in training, as `Dropout` and `BatchNormalization` do.
        seed: the seed of the gradient's beginning, and of what the model draws from global generators.
        layers: globs of the paths of layers to watch. Without it, all are that have weights, or no layers in them.

    Returns:
        A report, which prints as a table.

    Raises:
        ValueError: the batch has no samples, the model is not built, no layer ran, or `layers` matches none.
        TypeError: `model` is none of Keras 3's.

    References: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS
    2010.

    >>> import fanin, fanin.keras, keras
    >>> dense = keras.layers.Dense(256, "relu", kernel_initializer=fanin.keras.HeNormal(seed=1), name="fc")
    >>> model = keras.Sequential([keras.Input((64,)), dense])
    >>> probe = fanin.keras.probe(model, fanin.RandomNormal(stddev=1.0, seed=2)((128, 64)))
    >>> [(each.path, each.layer, round(each.output.zeros, 1)) for each in probe.layers]
    [('fc', 'Dense', 0.0), ('fc.activation', 'relu', 0.5)]
    """
    return _probe(_backend(), model, batch, Wishes(loss, target, gradients, training, seed, layers))


def _backend() -> Backend:
    name = keras.backend.backend()
    spy, run = {
        "tensorflow": (spy_tensorflow, taped.run),
        "torch": (spy_torch, _run_torch),
        "jax": (spy_jax, _run_jax),
    }[name]
    return Backend(FRAMEWORK, _is_tensor, _convert, spy, _array, run, _generators)


def _is_tensor(value: Any) -> bool:
    if isinstance(value, keras.KerasTensor) or not keras.ops.is_tensor(value):
        return False
    if getattr(value, "is_sparse", False) or not hasattr(value, "dtype"):
        return False
    return "float" in keras.backend.standardize_dtype(value.dtype)


def _convert(batch: Any) -> Any:
    return keras.tree.map_structure(keras.ops.convert_to_tensor, batch)


def _array(tensor: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def _run_torch(forward: Callable[[Any], Any], batch: Any, variables: Sequence[Any], root: Root | None) -> Sequence[Any]:
    import torch

    with torch.inference_mode(False), torch.set_grad_enabled(root is not None):
        if root is None:
            forward(batch)
            return ()
        batch = keras.tree.map_structure(_leaf, batch)
        value, cotangent = root(forward(batch))
        upstream = None if cotangent is None else torch.as_tensor(cotangent, dtype=value.dtype, device=value.device)
        sources = [each.value for each in variables]
        wanted = [each for each in (*sources, *keras.tree.flatten(batch)) if each.requires_grad]
        found = torch.autograd.grad(value, wanted, upstream, allow_unused=True)
    by_id = dict(zip(map(id, wanted), found, strict=True))
    return [by_id.get(id(each)) for each in sources]


def _leaf(tensor: Any) -> Any:
    copy = tensor.detach().clone()
    return copy.requires_grad_() if copy.is_floating_point() else copy


def _run_jax(forward: Callable[[Any], Any], batch: Any, variables: Sequence[Any], root: Root | None) -> Sequence[Any]:
    """Runs with variables that JAX differentiates by; what layers assign to theirs stays within the scope."""
    import jax

    inputs = [each for each in keras.tree.flatten(batch) if _is_tensor(each)]
    cotangents: list[Any] = []

    def value_of(values: Any, given: Any) -> Any:
        by_id = dict(zip(map(id, inputs), given, strict=True))
        placed = keras.tree.map_structure(lambda each: by_id.get(id(each), each), batch)
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            output = forward(placed)
            if root is None:
                return ()
            value, cotangent = root(output)
        cotangents.append(cotangent)
        return value

    values = [each.value for each in variables]
    if root is None:
        value_of(values, inputs)
        return ()
    value, back = jax.vjp(value_of, values, inputs)
    [cotangent] = cotangents
    upstream = jax.numpy.ones_like(value) if cotangent is None else jax.numpy.asarray(cotangent, value.dtype)
    found, _ = back(upstream)
    jax.effects_barrier()
    return found


@contextlib.contextmanager
def _generators(seed: int) -> Iterator[None]:
    """Sets the generators of the backend and of Keras itself, and puts back the states that they had."""
    with contextlib.ExitStack() as stack:
        name, attribute = keras.backend.backend(), "global_seed_generator"
        before = global_state.get_global_attribute(attribute)
        if name == "tensorflow":
            stack.enter_context(taped.generators(seed))
        elif name == "torch":
            import torch

            stack.enter_context(torch.random.fork_rng(devices=()))
            torch.default_generator.manual_seed(seed)
        global_state.set_global_attribute(attribute, keras.random.SeedGenerator(seed))
        try:
            yield
        finally:
            global_state.set_global_attribute(attribute, before)
