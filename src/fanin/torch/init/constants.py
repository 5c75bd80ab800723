"""The functions whose values are no matter of chance, which PyTorch's own operators write, on any device."""

from __future__ import annotations

import torch

from fanin import initializers
from fanin._core.messages import shown
from fanin.torch.fill import fill_
from fanin.torch.init.drawn import PLAIN, check_memory, check_rank, is_stand_in
from fanin.torch.init.routing import public
from fanin.torch.shards import is_dtensor, local_of


@public
def constant_(tensor: torch.Tensor, val: float) -> torch.Tensor:
    """Fills a tensor with one value.

    Args:
        tensor: a tensor of any dtype.
        val: the value, a number or a tensor of one.

    Returns:
        The tensor.

    Raises:
        ValueError: the tensor has no memory.
        RuntimeError: it cannot be written, or the dtype does not have the value.

    >>> import torch
    >>> from fanin.torch import init
    >>> init.constant_(torch.empty(2), 0.5)
    tensor([0.5000, 0.5000])
    """
    _check_constant(tensor)
    with torch.no_grad():
        tensor.fill_(val)
    return tensor


@public
def ones_(tensor: torch.Tensor) -> torch.Tensor:
    """Fills a tensor with ones.

    Args:
        tensor: a tensor of any dtype.

    Returns:
        The tensor.

    Raises:
        ValueError: the tensor has no memory.
        RuntimeError: it cannot be written.

    >>> import torch
    >>> from fanin.torch import init
    >>> init.ones_(torch.empty(2))
    tensor([1., 1.])
    """
    _check_constant(tensor)
    with torch.no_grad():
        tensor.fill_(1.0)
    return tensor


@public
def zeros_(tensor: torch.Tensor) -> torch.Tensor:
    """Fills a tensor with zeros.

    Args:
        tensor: a tensor of any dtype.

    Returns:
        The tensor.

    Raises:
        ValueError: the tensor has no memory.
        RuntimeError: it cannot be written.

    >>> import torch
    >>> from fanin.torch import init
    >>> init.zeros_(torch.empty(2))
    tensor([0., 0.])
    """
    _check_constant(tensor)
    with torch.no_grad():
        tensor.zero_()
    return tensor


@public
def eye_(tensor: torch.Tensor) -> torch.Tensor:
    """Fills a matrix with ones on its diagonal and zeros elsewhere: `fanin.Identity`.

    Args:
        tensor: a tensor of two axes and any dtype.

    Returns:
        The tensor.

    Raises:
        ValueError: the tensor does not have two axes, or has no memory.
        RuntimeError: it cannot be written.

    >>> import torch
    >>> from fanin.torch import init
    >>> init.eye_(torch.empty(2, 3))
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """
    check_rank(tensor, 2, 2, "Only tensors with 2 dimensions are supported")
    _check_constant(tensor)
    if is_dtensor(tensor):
        return fill_(tensor, initializers.Dirac())  # which is the identity of two axes, in every dtype
    torch.eye(*tensor.shape, out=tensor.detach())
    return tensor


@public
def dirac_(tensor: torch.Tensor, groups: int = 1) -> torch.Tensor:
    """Makes a convolution hand on its inputs, as many as it can: `fanin.Dirac`.

    Args:
        tensor: a convolution's weight, of three to five axes and any dtype.
        groups: the number of groups of the convolution.

    Returns:
        The tensor.

    Raises:
        ValueError: the tensor has another number of axes, or no memory, or its first axis is not divisible by `groups`.
        RuntimeError: it cannot be written.
        TypeError: `groups` is no integer.
        ZeroDivisionError: `groups` is 0.

    >>> import torch
    >>> from fanin.torch import init
    >>> init.dirac_(torch.empty(2, 2, 3))[1]
    tensor([[0., 0., 0.],
            [0., 1., 0.]])
    """
    check_rank(tensor, 3, 5, "Only tensors with 3, 4, or 5 dimensions are supported")
    rows = len(range(tensor.shape[0])[:: _checked_groups(tensor, groups)])
    _check_constant(tensor)
    if is_dtensor(tensor):
        return fill_(tensor, initializers.Dirac(groups=groups))
    values = tensor.detach().zero_()
    if not values.numel():
        return tensor
    middle = values[(slice(None), slice(None), *(length // 2 for length in tensor.shape[2:]))]
    for group in middle.split(max(rows, 1)):
        group.diagonal().fill_(1)
    return tensor


def _checked_groups(tensor: torch.Tensor, groups: int) -> int:
    if tensor.shape[0] % groups:
        raise ValueError(
            f"dim 0 must be divisible by groups. Received: groups={groups} for a tensor of shape {tuple(tensor.shape)}."
        )
    if not isinstance(groups, int) or groups < 0:
        raise TypeError(f"`groups` must be a positive integer. Received: groups={shown(groups)}.")
    return groups


def _check_constant(tensor: torch.Tensor) -> None:
    """Raises if there is no memory for a constant; what else is wrong with a tensor, PyTorch's own functions say."""
    is_read_only = tensor.is_inference() and not torch.is_inference_mode_enabled()
    if type(tensor) in PLAIN and not tensor.is_meta and not is_read_only:
        return
    local = local_of(tensor)
    if is_read_only or local.is_meta or is_stand_in(local):
        check_memory(tensor)
