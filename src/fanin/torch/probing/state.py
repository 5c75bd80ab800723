"""Running a module without changing it: its tensors, attributes and hooks, and the states of generators, stay."""

from __future__ import annotations

import random
import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree as pytree

from fanin._core.messages import visible, warn
from fanin.models.registry import tensors_hint
from fanin.theory.batches import check_samples, not_finite
from fanin.torch.describe import joined, put_itself, visits
from fanin.torch.probing.layers import first_tensor, values_of
from fanin.torch.shards import is_dtensor

_WRAPPED = {"OptimizedModule": "_orig_mod", "DataParallel": "module", "DistributedDataParallel": "module"}
_CONTAINERS = (dict, OrderedDict, list, set)


def checked_module(model: Any) -> nn.Module:
    """The module inside of what compiles or replicates it, if a batch can pass through it here.

    Raises:
        TypeError: it is not a module.
        ValueError: it has no values, or this process holds only a part of them.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"`model` must be a torch.nn.Module. Received: model of type {type(model).__name__}.{tensors_hint(model)}"
        )
    while type(model).__name__ in _WRAPPED:
        model = getattr(model, _WRAPPED[type(model).__name__])
    for visit in visits(model):
        for leaf, tensor in (*visit.module._parameters.items(), *visit.module._buffers.items()):
            problem = "" if tensor is None else _problem(tensor)
            if problem:
                path = visible(joined(visit.path, leaf))
                raise ValueError(f"A batch must be able to pass through the whole model. Received: {path}, {problem}")
    return model


def _problem(tensor: torch.Tensor) -> str:
    """Why no batch can meet a tensor here, and what to do; "" if one can."""
    if nn.parameter.is_lazy(tensor):
        return "which a lazy module has not made yet. Call the model on an input first."
    if tensor.is_meta or type(tensor).__name__ == "FakeTensor":
        return "which has no values. Initialize the model first, such as by `fanin.torch.initialize`."
    whole: Any = getattr(tensor, "ds_shape", tensor.shape)
    if is_dtensor(tensor) or getattr(tensor, "_is_flat_param", False) or tuple(whole) != tuple(tensor.shape):
        return "of which this process holds a part. Use the model as it is before it is sharded."
    return ""


def checked_batch(batch: Any) -> str:
    """What is wrong with the values of a batch; "" if nothing is.

    Args:
        batch: a tensor, or tuples, lists and mappings of tensors and other things.

    Raises:
        ValueError: it has no samples.
    """
    given = list(batch.values()) if isinstance(batch, Mapping) else batch  # also of classes that PyTorch does not know
    dense = [
        each
        for each in pytree.tree_leaves(given)
        if isinstance(each, torch.Tensor) and not each.is_nested and each.layout == torch.strided
    ]
    check_samples(tuple(each.shape) for each in dense)
    return not_finite([values_of(each) for each in dense if first_tensor(each) is not None])


@contextmanager
def untouched(model: nn.Module, seed: int, *, gradients: bool) -> Iterator[dict[int, torch.Tensor]]:
    """A context in which a module can be run, and after which it is what it was before.

    Parameters are replaced by others that share their memory, so that a backward pass neither adds to the gradients
    that they have nor runs the hooks that their owner has registered on them. Buffers, attributes, hooks and the states
    of PyTorch's, NumPy's and Python's global generators are put back. Gradients can be taken, whatever mode is in force
    around it.

    Args:
        model: the module, which `checked_module` has returned.
        seed: what the generators are set to, so that dropout is the same at each run.
        gradients: whether there will be a backward pass.

    Yields:
        The replacement of each parameter, by the parameter's id.
    """
    modules = list(model.modules())
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(gradients))
        stack.enter_context(_uncompiled())
        stack.enter_context(_same_generators(seed))
        stack.enter_context(_same_parameters(model))
        stack.enter_context(_same_buffers(modules))
        stack.enter_context(_same_attributes(modules))
        _replace_inference_buffers(modules)
        yield _replaced_parameters(modules, gradients)


def _uncompiled() -> AbstractContextManager[Any]:
    """Runs what `torch.compile` has compiled as it is written, where hooks see every layer."""
    if "torch._dynamo" not in sys.modules:  # nothing is compiled, and importing it takes long
        return nullcontext()
    return torch.compiler.set_stance("force_eager")


@contextmanager
def _same_generators(seed: int) -> Iterator[None]:
    accelerator = torch.accelerator.current_accelerator()
    kind = "cuda" if accelerator is None else accelerator.type
    driver: Any = None if accelerator is None else torch.get_device_module(kind)
    if driver is not None and not getattr(driver, "is_initialized", lambda: True)():
        driver = None  # nothing has been drawn there yet
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(range(driver.device_count()) if driver else (), device_type=kind):
            torch.default_generator.manual_seed(seed)
            if driver is not None:
                driver.manual_seed_all(seed) if hasattr(driver, "manual_seed_all") else driver.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed % 2**32)
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


@contextmanager
def _same_parameters(model: nn.Module) -> Iterator[None]:
    """Puts back the tables that embeddings with a `max_norm` rescale as they are used, and warns of other writes."""
    named = dict(model.named_parameters())
    rescaled = {
        id(module.weight): (module.weight, module.weight.detach().clone())
        for module in model.modules()
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag)) and module.max_norm is not None
    }
    versions = {path: _version(each) for path, each in named.items() if id(each) not in rescaled}
    try:
        yield
    finally:
        for tensor, values in rescaled.values():
            write(tensor, values)
        written = [path for path, version in versions.items() if _version(named[path]) != version]
        if written:
            warn(
                f"The model's own code wrote to its parameters while the batch passed: {visible(', '.join(written))}. "
                "They have other values now."
            )


def _version(tensor: torch.Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def write(tensor: torch.Tensor, values: torch.Tensor) -> None:
    """Gives a tensor values in place, which autograd does not record."""
    with torch.inference_mode(tensor.is_inference()), torch.no_grad():
        tensor.copy_(values)


@contextmanager
def _same_buffers(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Puts back the values of buffers."""
    buffers = {id(each): each for module in modules for each in module._buffers.values() if each is not None}
    values = {key: each.detach().clone() for key, each in buffers.items()}
    try:
        yield
    finally:
        for key, each in buffers.items():
            write(each, values[key])


@contextmanager
def _same_attributes(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Puts back the attributes of modules, and what the containers among these had: parameters, hooks, own caches."""
    saved = [(vars(module), dict(vars(module)), _contents(vars(module))) for module in modules]
    try:
        yield
    finally:
        for attributes, before, contents in saved:
            _refill(attributes, before)
            for name, content in contents.items():
                _refill(before[name], content)


def _contents(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: each.copy() for name, each in attributes.items() if type(each) in _CONTAINERS}


def _refill(container: Any, content: Any) -> None:
    """Gives a container its earlier content, if it has another one now."""
    if isinstance(container, dict):
        same = list(container) == list(content) and all(container[key] is content[key] for key in content)
    elif isinstance(container, list):
        same = len(container) == len(content) and all(map(lambda now, then: now is then, container, content))
    else:
        same = container == content
    if same:
        return
    container.clear()
    container.extend(content) if isinstance(container, list) else container.update(content)


def _replace_inference_buffers(modules: Iterable[nn.Module]) -> None:
    """Gives modules copies of the buffers that nothing may write to outside of inference mode."""
    copies: dict[int, torch.Tensor] = {}
    for module in modules:
        for leaf, tensor in list(module._buffers.items()):
            if tensor is not None and tensor.is_inference():
                module._buffers[leaf] = copies.setdefault(id(tensor), tensor.clone())


def _replaced_parameters(modules: Iterable[nn.Module], gradients: bool) -> dict[int, torch.Tensor]:
    """Gives modules parameters that share the memory of their own; the context puts their own ones back."""
    made: dict[int, torch.Tensor] = {}
    places: dict[int, list[tuple[nn.Module, str]]] = {}
    for module in modules:
        for leaf, tensor in module._parameters.items():
            if tensor is not None:
                places.setdefault(id(tensor), []).append((module, leaf))
                made.setdefault(id(tensor), _alias(tensor, gradients))
    for key, tensor in made.items():
        put_itself(places[key], tensor)
    return made


def _alias(tensor: torch.Tensor, gradients: bool) -> torch.Tensor:
    wanted = gradients and (tensor.is_floating_point() or tensor.is_complex())
    data = tensor.detach().clone() if tensor.is_inference() else tensor.detach()  # autograd takes no inference tensors
    alias = torch.Tensor._make_subclass(type(tensor), data, wanted)
    vars(alias).update(vars(tensor))
    return alias


def arguments(batch: Any, *, gradients: bool) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments that a model is called with, in tensors of their own, which its code may write to.

    Args:
        batch: a tuple of arguments, a mapping of keyword arguments, or the only argument.
        gradients: whether gradients with respect to them are taken.
    """
    if isinstance(batch, Mapping):
        return (), {name: _own(each, gradients) for name, each in batch.items()}
    if type(batch) is tuple:
        return tuple(_own(each, gradients) for each in batch), {}
    return (_own(batch, gradients),), {}


def _own(value: Any, gradients: bool) -> Any:
    def copied(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor) or leaf.is_nested or leaf.layout != torch.strided:
            return leaf
        copy = leaf.detach().clone()
        if not gradients or not (copy.is_floating_point() and copy.element_size() > 1):
            return copy
        return torch.mul(copy.requires_grad_(), 1)  # code that writes to it must not meet a leaf

    return pytree.tree_map(copied, value)
