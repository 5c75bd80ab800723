"""Laws drawn into tensors: of any strides, on any device, sharded or not, with a seed or one from PyTorch's generator.

Everything is checked before a generator is asked for a seed, so that calls that raise leave it as it was.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.autograd import forward_ad

from fanin._core import dtypes
from fanin._core.memory import note_write
from fanin._core.messages import class_name
from fanin._core.streams import Stream, checked_seed
from fanin._core.types import Array, Seed
from fanin.distributions.weight import Weight
from fanin.torch.fill import check_dtensor, writable
from fanin.torch.init.laws import Law, UnsupportedError
from fanin.torch.init.routing import warn
from fanin.torch.shards import Shard, fill_shard, is_dtensor, local_of, mesh_device, shard_of_dtensor

_R = TypeVar("_R")
PLAIN = (torch.Tensor, nn.Parameter)
_SIMPLE = {getattr(torch, name): dtype for dtype, name in dtypes.FLOATS.items()}


def draw_(
    tensor: torch.Tensor,
    law: Callable[..., Law],
    *parameters: Any,
    generator: torch.Generator | None,
    seed: Seed,
    warning: str = "",
) -> torch.Tensor:
    """Fills a tensor from a law.

    Args:
        tensor: the tensor.
        law: a function of its shape, its dtype and parameters.
        *parameters: the parameters.
        generator: what a seed is drawn from if there is none; None for PyTorch's default generator of the CPU.
        seed: the seed; None to draw one.
        warning: what to warn of before anything is drawn, if all else is well.

    Returns:
        The tensor.
    """
    given = checked_seed(seed)
    _check_generator(generator, given)
    array = _checked(tensor)
    distribution, axes = _law(law, tensor, parameters)
    if warning:
        warn(warning)
    if not tensor.numel():
        return tensor
    distribution.reserve()
    if not distribution.random:
        given = 0
    if array is None:
        if given is None:
            given = seed_from(generator)
            given = _agreed(tensor, given) if is_dtensor(tensor) else given
        _write_elsewhere(tensor, Weight(distribution, Stream(given), None, axes))
        return tensor
    stream = Stream(seed_from(generator) if given is None else given)
    try:
        Weight(distribution, stream).fill(array.transpose(axes))
    finally:
        note_write(tensor)
    return tensor


def _check_generator(generator: Any, seed: int | None) -> None:
    if generator is None:
        return
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"`generator` must be a torch.Generator. Received: {class_name(type(generator))}.")
    if seed is not None:
        raise ValueError(f"Either `seed` or `generator` must be given. Received both: seed={seed}, {generator!r}.")


def _law(law: Callable[..., Law], tensor: torch.Tensor, parameters: tuple[Any, ...]) -> Law:
    try:
        return law(tensor.shape, tensor.dtype, *parameters)
    except TypeError:  # of what cannot be hashed, or no cache can hold
        uncached: Any = getattr(law, "__wrapped__", law)
        return uncached(tensor.shape, tensor.dtype, *parameters)


def check_rank(tensor: torch.Tensor, least: int, most: int, rule: str) -> None:
    """Raises if a tensor has fewer or more axes than this.

    Raises:
        ValueError: it has.
    """
    if not least <= tensor.dim() <= most:
        raise ValueError(f"{rule}. Received: a tensor of shape {tuple(tensor.shape)}.")


# Memory.


def check_memory(tensor: torch.Tensor) -> None:
    """Raises if a tensor is none that can be written."""
    _checked(tensor)


def _checked(tensor: Any) -> Array | None:
    """An array over a tensor, or over the parts of its complex numbers; None if it is not in the CPU's memory.

    Raises:
        AttributeError: it is no tensor.
        UnsupportedError: it cannot be written.
    """
    if is_transformed(tensor):
        raise UnsupportedError(
            "The tensor must be one whose values are its memory alone. Received: one that is traced, made functional "
            "or has a tangent (torch.jit.trace, torch.func, torch.autograd.forward_ad). Draw outside of the transform."
        )
    if type(tensor) in PLAIN:
        array = _quickly(tensor)
        if array is not None:
            return array
    else:
        if not isinstance(tensor, torch.Tensor):
            raise AttributeError(f"`tensor` must be a torch.Tensor. Received: {class_name(type(tensor))}.")
        if is_dtensor(tensor):
            _supported(check_dtensor, tensor)
            return None
    if tensor.is_cpu or tensor.is_meta or is_stand_in(tensor):
        return _supported(_array, tensor)
    return None


def _quickly(tensor: torch.Tensor) -> Array | None:
    """An array over a tensor in the simplest case, for which the checks of `writable` take longer than its values.

    The array does not keep the memory alive, and must not outlive the tensor.
    """
    dtype = _SIMPLE.get(tensor.dtype)
    if dtype is None or not tensor.is_cpu or not tensor.is_contiguous() or tensor.is_neg() or tensor.is_inference():
        return None
    try:
        storage = tensor.untyped_storage()
        size = tensor.numel() * dtype.itemsize
        if not storage.resizable() or storage.nbytes() < size + tensor.storage_offset() * dtype.itemsize:
            return None  # others' memory, which may be read-only, or memory that is no longer there
        return np.ndarray(tensor.shape, dtype, (ctypes.c_char * size).from_address(tensor.data_ptr()))
    except (NotImplementedError, RuntimeError):  # it stands for another tensor within a transform
        return None


def is_transformed(tensor: Any) -> bool:
    """Whether writing a tensor's memory would pass by a transform that it is in: tracing, functions, tangents."""
    if getattr(torch.jit, "is_tracing")():  # noqa: B009
        return True
    if not isinstance(tensor, torch.Tensor):
        return False
    if getattr(torch, "_is_functional_tensor")(tensor):  # noqa: B009
        return True
    # Within any level of forward mode; levels are numbered from 0.
    return forward_ad._current_level >= 0 and forward_ad.unpack_dual(tensor).tangent is not None


_NO_DISPATCH: Any = getattr(torch.Tensor, "__torch_dispatch__")  # noqa: B009


def is_stand_in(tensor: Any) -> bool:
    """Whether a tensor stands for something else: it is fake, sparse, or a class of its own."""
    return type(tensor).__torch_dispatch__ is not _NO_DISPATCH or tensor.layout is not torch.strided


def _array(tensor: torch.Tensor) -> Array:
    if getattr(torch._C, "_functorch").is_functorch_wrapped_tensor(tensor):  # noqa: B009
        raise ValueError(
            "The tensor must be one with memory of its own. Received: one that stands for others within a transform of "
            "torch.func, such as vmap. Draw outside of the transform."
        )
    if tensor.is_meta:
        raise ValueError(
            "The tensor must have memory. Received: a tensor on the meta device. Materialize it first: "
            "module.to_empty(device='cpu'). Models are built on the meta device under `fanin.torch.patch()`, as under "
            "PyTorch."
        )
    if not tensor.is_complex():
        return writable(tensor)
    parts = _parts(tensor)
    return writable(parts)


def _parts(tensor: torch.Tensor) -> torch.Tensor:
    """The real and the imaginary parts of a tensor's complex numbers, along a last axis."""
    if tensor.is_inference() and not torch.is_inference_mode_enabled():
        return tensor  # which is refused as such
    return torch.view_as_real(tensor.detach())


def _supported(function: Callable[[torch.Tensor], _R], tensor: torch.Tensor) -> _R:
    try:
        return function(tensor)
    except (ValueError, RuntimeError) as error:
        raise UnsupportedError(str(error)) from None


def _write_elsewhere(tensor: torch.Tensor, weight: Weight) -> None:
    """Fills a tensor on a device, or this process's part of a DTensor."""
    local = local_of(tensor)
    shard = shard_of_dtensor(tensor) if local is not tensor else Shard(tuple(tensor.shape))
    if tensor.is_complex():
        region = shard.region or (None,) * tensor.ndim
        shard, parts = Shard((*shard.shape, 2), (*region, None)), _parts(local)
    else:
        parts = local
    note_write(tensor)
    if local is not tensor:
        note_write(local)
    with torch.no_grad():
        fill_shard(weight.fill, shard, parts, at_once=weight.distribution.is_made_whole)


# Seeds.


class _Local(threading.local):
    word: torch.Tensor | None = None  # where this thread's seeds are drawn


_local = _Local()


def seed_from(generator: torch.Generator | None) -> int:
    """63 bits from a generator of PyTorch: None for its default generator of the CPU."""
    if generator is not None and generator.device.type != "cpu":
        word = torch.empty((), dtype=torch.int64, device=generator.device)
    else:
        word = _local.word
        if word is None:
            with torch.inference_mode(False):
                word = torch.empty((), dtype=torch.int64, device="cpu")
            if type(word) is torch.Tensor:  # within a mode it may be a fake one, of which later calls must not hear
                _local.word = word
    return word.random_(generator=generator).item()  # pyright: ignore[reportReturnType]


def _agreed(tensor: Any, seed: int) -> int:
    """The seed of the first process of a DTensor's mesh, passed on along one axis of the mesh after the other."""
    mesh = tensor.device_mesh
    place = mesh.get_coordinate()
    if place is None:  # this process is not in the mesh
        return seed
    import torch.distributed as dist

    word = torch.tensor(seed, dtype=torch.int64, device=mesh_device(tensor))
    for axis in range(mesh.ndim):
        if mesh.size(axis) > 1:
            first = [*place[:axis], 0, *place[axis + 1 :]]
            dist.broadcast(word, src=int(mesh.mesh[tuple(first)]), group=mesh.get_group(axis))
    return int(word.item())
