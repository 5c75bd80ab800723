"""`probe`: what a batch does in each layer of a module, forwards and back, without a change of the module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from fanin._core.types import Globs
from fanin.models.names import chosen_layers
from fanin.theory.probes import Probe, unreached
from fanin.torch.probing.layers import every_module, layers_of, type_of
from fanin.torch.probing.passage import Passage
from fanin.torch.probing.state import arguments, checked_batch, checked_module, untouched


def probe(
    model: torch.nn.Module,
    batch: Any,
    *,
    loss: Callable[..., Any] | None = None,
    target: Any = None,
    gradients: bool = True,
    seed: int = 0,
    layers: Globs | None = None,
) -> Probe:
    """Measures what a batch does in each layer of a module: signal and gradient by depth, dead units, saturation, rank.

    Nothing of the module changes: not its parameters and their gradients, buffers, attributes, hooks and flags, nor the
    states of the generators of PyTorch, NumPy and Python, also if its code raises. It runs once in the mode that it is
    in, `train()` or `eval()`, on the devices and in the precision of its own, and once back. Statistics are taken from
    blocks of bounded size, in double precision, as layers return their outputs, before anything is done to these in
    place; none are kept.

    A layer is a module with parameters of its own, or without others in it. What functions do between modules, such as
    `torch.relu(x)`, is not seen; what the next layer makes of it is. Outputs that are tuples or mappings count by their
    first tensor of floats. A module that is called several times has a row for each call. Compiled modules run as they
    are written.

    Args:
        model: the module, wherever it is; it must be whole.
        batch: what it is called with: a tensor, a tuple of arguments, or a mapping of keyword arguments.
        loss: a function that makes one number of the module's output, and of `target` if that is given. Without one,
            the gradient begins with the output's own `loss` if it has one, or with independent standard normal numbers
            at each tensor of a tuple, list or dict, and at the first one of other outputs, such as the logits.
        target: the second argument of the loss.
        gradients: whether to measure gradients. They take the memory of a step of training.
        seed: the seed of that gradient, and of what the module draws, such as dropout.
        layers: globs of the paths of the modules to watch, other than layers, too, such as `blocks.*`. Without it, all
            layers are.

    Returns:
        A report, which prints as a table.

    Raises:
        ValueError: the batch has no samples; parameters have no values (on meta, in lazy modules) or are sharded; no
            layer ran; no gradient can begin at the output; or `layers` matches none.
        TypeError: `model` is not a module.

    References: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS
    2010, who look at activations and gradients by layer in this way.

    >>> import fanin, fanin.torch, torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10))
    >>> report = fanin.torch.initialize(model, "keras", seed=1)
    >>> batch = torch.from_numpy(fanin.RandomNormal(stddev=1.0, seed=2)((32, 64)))
    >>> probe = fanin.torch.probe(model, batch)
    >>> [each.path for each in probe.layers], probe["1"].output.dead
    (['0', '1', '2'], 0)
    """
    model = checked_module(model)
    watched = layers_of(model)
    if layers is not None:
        known = {visit.path: visit for visit in reversed(list(every_module(model)))}
        paths = chosen_layers(layers, known)
        watched = {path: visit for path, visit in known.items() if path in paths}
    wrong = checked_batch(batch)
    frozen = {id(each) for each in model.parameters() if not each.requires_grad}
    with untouched(model, seed, gradients=gradients) as parameters:
        passage = Passage(watched.values(), parameters, frozen, gradients=gradients)
        with passage.hooks():
            args, kwargs = arguments(batch, gradients=gradients)
            output = model(*args, **kwargs)
            del args, kwargs
            if gradients:
                passage.backward(output, loss, target, seed)
        found, notes = passage.probed(), unreached(passage.unreached())
    if not found:
        raise ValueError(
            "A layer of the model must run and return a tensor of floats. Received: a batch for which none did. "
            "Choose others with `layers=`."
        )
    return Probe(found, type_of(model), gradients, notes, wrong)
