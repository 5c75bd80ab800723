"""Functions that fill PyTorch tensors in place, in PyTorch's axis order.

The functions of single initializers take a layout in place of an initializer's own axes; `fill_` takes any initializer.
"""

from __future__ import annotations

from typing import Any

import torch

from fanin import initializers
from fanin._core import dtypes
from fanin._core.interrupts import is_interrupt
from fanin._core.layouts import keras_axes
from fanin._core.memory import as_numpy, borrows_memory, note_write, overlaps_itself, read_only
from fanin._core.types import Array, Layout, NumberLike, Seed
from fanin.initializers.base import Initializer, SeededInitializer, SupportsSource, drawing_source_of
from fanin.torch.shards import dtensor_problem, fill_shard, is_dtensor, local_of, shard_of_dtensor


def fill_(
    tensor: torch.Tensor, initializer: Initializer | SupportsSource, *, layout: Layout | None = None
) -> torch.Tensor:
    """Fills a tensor in place with an initializer's values, without a copy.

    PyTorch does not know whether an array behind `torch.from_numpy` is marked as read-only: such an array is written.

    This counts as a call of the initializer. Autograd does not record it; a graph that has saved the tensor raises in
    its backward pass, as after any in-place write.

    Of a DTensor, each process fills what it holds, without communication: the whole has the values of an unsharded
    tensor. The initializer then needs a seed, which must be the same in all processes.

    Args:
        tensor: a tensor or parameter in CPU memory, with any strides and any dtype that the initializer supports; or a
            DTensor on any device.
        initializer: a fanin initializer, or one of `fanin.tf_keras` or `fanin.keras`.
        layout: "torch" for PyTorch's weights; "keras" for tensors in Keras's axis order, which includes embeddings; or
            the axes themselves, in Keras's order, as `tensor.permute` takes them: (2, 3, 0, 1) turns a depthwise
            convolution's weight of shape (channels, 1, kh, kw) into Keras's (kh, kw, channels, 1). By default "torch",
            but "keras" for initializers of tables and states (`Sinusoidal`, `Rotary`, `Hippo`, `S4D`), whose axes have
            one order everywhere.

    Returns:
        The tensor.

    Raises:
        ValueError: the tensor cannot be written (it has no memory, is on another device, overlaps itself, lies in
            pages that Linux does not let this process write, or is a partial sum), the initializer does not support its
            shape or dtype, or it has no seed for a DTensor.
        TypeError: an argument is not a tensor, or not an initializer.

    >>> import fanin, torch
    >>> from fanin.torch import fill_
    >>> convolution = torch.nn.Conv2d(16, 32, 3, groups=4)
    >>> weight = fill_(convolution.weight, fanin.GlorotUniform(seed=1))
    >>> kernel = fanin.GlorotUniform(seed=1)((3, 3, 4, 32))
    >>> bool((weight.detach().permute(2, 3, 1, 0).numpy() == kernel).all())
    True
    """
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"`tensor` must be a torch.Tensor. Received: tensor of type {type(tensor).__name__}.")
    source = drawing_source_of(initializer)
    if layout is None:
        layout = "keras" if source.is_table else "torch"
    if is_dtensor(tensor):
        return _fill_dtensor(tensor, source, layout)
    array = writable(tensor)
    kernel = array.transpose(keras_axes(layout, array.ndim))
    try:
        source(kernel.shape, kernel.dtype, out=kernel)
    except BaseException as error:
        if is_interrupt(error):  # which may leave it partly written
            note_write(tensor)
        raise
    note_write(tensor)
    return tensor


def writable(tensor: torch.Tensor) -> Array:
    """An array over a tensor in CPU memory, which may be written.

    Raises:
        ValueError: it may not.
    """
    array = as_numpy(tensor)
    if overlaps_itself(array):
        raise ValueError(
            "The tensor must have separate memory for each element. Received: a tensor of shape "
            f"{tuple(tensor.shape)} and strides {tensor.stride()}, as `expand` returns it. Fill the original tensor."
        )
    if borrows_memory(tensor) and read_only([array]):
        raise ValueError("The tensor must be writable. Received: a tensor over read-only memory. Clone it.")
    return array


def _fill_dtensor(tensor: torch.Tensor, source: Initializer, layout: Layout) -> torch.Tensor:
    """Fills the part of a DTensor that this process holds."""
    check_dtensor(tensor)
    axes = keras_axes(layout, tensor.ndim)
    shape = tuple(tensor.shape[axis] for axis in axes)
    distribution = source.distribution(shape, dtypes.resolve(tensor.dtype))
    if distribution.random and isinstance(source, SeededInitializer) and source.seed is None:
        raise ValueError(
            "The initializer of a DTensor must have a seed, since each process fills a part of it. "
            f"Received: {source!r}. Write {type(source).__name__}(…, seed=1), with the same seed in all processes."
        )
    weight = source.next_weight(shape, distribution.dtype)._replace(axes=axes)
    note_write(tensor)
    local = local_of(tensor)
    note_write(local)
    with torch.no_grad():
        fill_shard(weight.fill, shard_of_dtensor(tensor), local, at_once=distribution.is_made_whole)
    return tensor


def check_dtensor(tensor: torch.Tensor) -> None:
    """Raises if this process's part of a DTensor cannot be given values.

    Raises:
        ValueError: it cannot.
    """
    problem = dtensor_problem(tensor)
    if not problem and local_of(tensor).is_meta:
        problem = "It is on the meta device, and has no memory. Materialize it first, or use `fanin.torch.initialize`."
    if problem:
        raise ValueError(f"The tensor must be one that can be written. Received: a DTensor. {problem}")


def zeros_(tensor: torch.Tensor) -> torch.Tensor:
    """Fills a tensor with zeros: `fanin.Zeros`."""
    return fill_(tensor, initializers.Zeros())


def ones_(tensor: torch.Tensor) -> torch.Tensor:
    """Fills a tensor with ones: `fanin.Ones`."""
    return fill_(tensor, initializers.Ones())


def constant_(tensor: torch.Tensor, value: Any) -> torch.Tensor:
    """Fills a tensor with one value: `fanin.Constant`."""
    return fill_(tensor, initializers.Constant(value))


def identity_(tensor: torch.Tensor, gain: NumberLike = 1.0) -> torch.Tensor:
    """Fills a matrix with `gain` on its diagonal and zeros elsewhere: `fanin.Identity`."""
    return fill_(tensor, initializers.Identity(gain))


def random_normal_(
    tensor: torch.Tensor,
    mean: NumberLike = 0.0,
    stddev: NumberLike = 0.05,
    seed: Seed = None,
    *,
    layout: Layout = "torch",
) -> torch.Tensor:
    """Fills a tensor from a normal distribution: `fanin.RandomNormal`, with a layout as for `fill_`."""
    return fill_(tensor, initializers.RandomNormal(mean, stddev, seed), layout=layout)


def truncated_normal_(
    tensor: torch.Tensor,
    mean: NumberLike = 0.0,
    stddev: NumberLike = 0.05,
    seed: Seed = None,
    *,
    minval: NumberLike | None = None,
    maxval: NumberLike | None = None,
    lower: NumberLike | None = None,
    upper: NumberLike | None = None,
    layout: Layout = "torch",
) -> torch.Tensor:
    """Fills a tensor from a normal distribution that is truncated: `fanin.TruncatedNormal`, with or without bounds."""
    bounds = {"minval": minval, "maxval": maxval, "lower": lower, "upper": upper}
    return fill_(tensor, initializers.TruncatedNormal(mean, stddev, seed, **bounds), layout=layout)


def random_uniform_(
    tensor: torch.Tensor,
    minval: NumberLike | None = -0.05,
    maxval: NumberLike | None = 0.05,
    seed: Seed = None,
    *,
    layout: Layout = "torch",
) -> torch.Tensor:
    """Fills a tensor from a uniform distribution, of floats or integers: `fanin.RandomUniform`."""
    return fill_(tensor, initializers.RandomUniform(minval, maxval, seed), layout=layout)


def variance_scaling_(
    tensor: torch.Tensor,
    scale: NumberLike = 1.0,
    mode: str = "fan_in",
    distribution: str = "truncated_normal",
    seed: Seed = None,
    *,
    layout: Layout = "torch",
) -> torch.Tensor:
    """Fills a weight with a variance of `scale / n`: `fanin.VarianceScaling`, with the fans of the layout."""
    return fill_(tensor, initializers.VarianceScaling(scale, mode, distribution, seed), layout=layout)


def glorot_normal_(tensor: torch.Tensor, seed: Seed = None, *, layout: Layout = "torch") -> torch.Tensor:
    """Fills a weight by Glorot's (Xavier's) rule, truncated normal: `fanin.GlorotNormal`."""
    return fill_(tensor, initializers.GlorotNormal(seed), layout=layout)


def glorot_uniform_(tensor: torch.Tensor, seed: Seed = None, *, layout: Layout = "torch") -> torch.Tensor:
    """Fills a weight by Glorot's (Xavier's) rule, uniform: `fanin.GlorotUniform`."""
    return fill_(tensor, initializers.GlorotUniform(seed), layout=layout)


def he_normal_(tensor: torch.Tensor, seed: Seed = None, *, layout: Layout = "torch") -> torch.Tensor:
    """Fills a weight by He's (Kaiming's) rule, truncated normal: `fanin.HeNormal`."""
    return fill_(tensor, initializers.HeNormal(seed), layout=layout)


def he_uniform_(tensor: torch.Tensor, seed: Seed = None, *, layout: Layout = "torch") -> torch.Tensor:
    """Fills a weight by He's (Kaiming's) rule, uniform: `fanin.HeUniform`."""
    return fill_(tensor, initializers.HeUniform(seed), layout=layout)


def lecun_normal_(tensor: torch.Tensor, seed: Seed = None, *, layout: Layout = "torch") -> torch.Tensor:
    """Fills a weight by LeCun's rule, truncated normal: `fanin.LecunNormal`."""
    return fill_(tensor, initializers.LecunNormal(seed), layout=layout)


def lecun_uniform_(tensor: torch.Tensor, seed: Seed = None, *, layout: Layout = "torch") -> torch.Tensor:
    """Fills a weight by LeCun's rule, uniform: `fanin.LecunUniform`."""
    return fill_(tensor, initializers.LecunUniform(seed), layout=layout)


def orthogonal_(
    tensor: torch.Tensor, gain: NumberLike = 1.0, seed: Seed = None, *, layout: Layout = "torch"
) -> torch.Tensor:
    """Fills a weight with an orthogonal matrix: `fanin.Orthogonal`."""
    return fill_(tensor, initializers.Orthogonal(gain, seed), layout=layout)
