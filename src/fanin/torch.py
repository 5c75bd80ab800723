"""fanin in PyTorch: tensors filled in place, in PyTorch's order of axes.

PyTorch keeps a weight as (out, in, …), Keras as (…, in, out). The same logical weight has the same value in both: the
weight that `fill_` writes is the transpose of the Keras kernel, bit for bit.

    Keras kernel                      PyTorch weight, layout="torch"
    Dense            (in, out)              Linear           (out, in)
    Conv2D           (kh, kw, in, out)      Conv2d           (out, in, kh, kw)
    Conv2D, groups   (kh, kw, in/g, out)    Conv2d, groups   (out, in/g, kh, kw)
    Conv2DTranspose  (kh, kw, out, in)      ConvTranspose2d  (in, out, kh, kw)
    LSTM             (in, 4 units)          LSTM weight_ih   (4 units, in)

    the same order in both: layout="keras"
    Embedding        (tokens, features)     Embedding        (tokens, features)

>>> import fanin.torch, torch
>>> linear = torch.nn.Linear(3, 2)
>>> _ = fanin.torch.he_normal_(linear.weight, seed=42)
>>> bool((linear.weight.detach().numpy() == fanin.HeNormal(seed=42)((3, 2)).T).all())
True
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, SupportsIndex

from fanin import _foreign, initializers
from fanin._arrays import overlaps_itself
from fanin._layouts import keras_axes
from fanin._words import missing
from fanin.base import drawing_source_of
from fanin.recipes import Recipe, checked_recipe

try:
    import torch

    from fanin._models import torch as _models
    from fanin._models.report import Report
except ModuleNotFoundError as error:
    raise missing(error, "torch", "PyTorch", extra="torch") from error

__all__ = [
    "constant_",
    "fill_",
    "glorot_normal_",
    "glorot_uniform_",
    "he_normal_",
    "he_uniform_",
    "identity_",
    "initialize",
    "lecun_normal_",
    "lecun_uniform_",
    "ones_",
    "orthogonal_",
    "random_normal_",
    "random_uniform_",
    "truncated_normal_",
    "variance_scaling_",
    "zeros_",
]


def fill_(tensor: torch.Tensor, initializer: Any, *, layout: Any = "torch") -> torch.Tensor:
    """Fills a tensor in place with an initializer's values, without a copy.

    It is a call of the initializer, and counts as one. Autograd does not record it; a graph that has saved the tensor
    raises in its backward pass, as after any write in place.

    Args:
        tensor: a tensor or parameter in the CPU's memory, of any strides and any dtype that the initializer makes.
        initializer: a fanin initializer, or one of `fanin.tf_keras` or `fanin.keras`.
        layout: "torch" (the default) for PyTorch's weights; "keras" for tensors in Keras's order of axes, which is also
            that of embeddings; or the axes themselves, in Keras's order, as `tensor.permute` takes them. A depthwise
            convolution's weight of shape (channels, 1, kh, kw) is Keras's (kh, kw, channels, 1) by (2, 3, 0, 1).

    Returns:
        The tensor.

    Raises:
        ValueError: the tensor cannot be written: it has no memory, lies on another device, or overlaps itself; or the
            initializer does not make its shape or dtype.
        TypeError: not a tensor, or not an initializer.

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
    array = _foreign.as_numpy(tensor)
    if overlaps_itself(array):
        raise ValueError(
            "The tensor must have a place of its own in memory for each element. Received: a tensor of shape "
            f"{tuple(tensor.shape)} and strides {tensor.stride()}, such as `expand` makes. Fill what it was made of."
        )
    kernel = array.transpose(keras_axes(layout, array.ndim))
    source(kernel.shape, kernel.dtype, out=kernel)
    _foreign.note_write(tensor)
    return tensor


def zeros_(tensor: torch.Tensor) -> torch.Tensor:
    """Fills a tensor with zeros: `fanin.Zeros`."""
    return fill_(tensor, initializers.Zeros())


def ones_(tensor: torch.Tensor) -> torch.Tensor:
    """Fills a tensor with ones: `fanin.Ones`."""
    return fill_(tensor, initializers.Ones())


def constant_(tensor: torch.Tensor, value: Any) -> torch.Tensor:
    """Fills a tensor with one value: `fanin.Constant`."""
    return fill_(tensor, initializers.Constant(value))


def identity_(tensor: torch.Tensor, gain: Any = 1.0) -> torch.Tensor:
    """Fills a matrix with `gain` on its diagonal and zeros elsewhere: `fanin.Identity`."""
    return fill_(tensor, initializers.Identity(gain))


def random_normal_(
    tensor: torch.Tensor,
    mean: Any = 0.0,
    stddev: Any = 0.05,
    seed: SupportsIndex | None = None,
    *,
    layout: Any = "torch",
) -> torch.Tensor:
    """Fills a tensor from a normal distribution: `fanin.RandomNormal`, in a layout as `fill_` has it."""
    return fill_(tensor, initializers.RandomNormal(mean, stddev, seed), layout=layout)


def truncated_normal_(
    tensor: torch.Tensor,
    mean: Any = 0.0,
    stddev: Any = 0.05,
    seed: SupportsIndex | None = None,
    *,
    layout: Any = "torch",
) -> torch.Tensor:
    """Fills a tensor from a normal distribution cut off at two standard deviations: `fanin.TruncatedNormal`."""
    return fill_(tensor, initializers.TruncatedNormal(mean, stddev, seed), layout=layout)


def random_uniform_(
    tensor: torch.Tensor,
    minval: Any = -0.05,
    maxval: Any = 0.05,
    seed: SupportsIndex | None = None,
    *,
    layout: Any = "torch",
) -> torch.Tensor:
    """Fills a tensor from a uniform distribution, of floats or integers: `fanin.RandomUniform`."""
    return fill_(tensor, initializers.RandomUniform(minval, maxval, seed), layout=layout)


def variance_scaling_(
    tensor: torch.Tensor,
    scale: Any = 1.0,
    mode: str = "fan_in",
    distribution: str = "truncated_normal",
    seed: SupportsIndex | None = None,
    *,
    layout: Any = "torch",
) -> torch.Tensor:
    """Fills a weight with a variance of `scale / n`: `fanin.VarianceScaling`, fans by the layout."""
    return fill_(tensor, initializers.VarianceScaling(scale, mode, distribution, seed), layout=layout)


def glorot_normal_(tensor: torch.Tensor, seed: SupportsIndex | None = None, *, layout: Any = "torch") -> torch.Tensor:
    """Fills a weight by Glorot's (Xavier's) rule, truncated normal: `fanin.GlorotNormal`."""
    return fill_(tensor, initializers.GlorotNormal(seed), layout=layout)


def glorot_uniform_(tensor: torch.Tensor, seed: SupportsIndex | None = None, *, layout: Any = "torch") -> torch.Tensor:
    """Fills a weight by Glorot's (Xavier's) rule, uniform: `fanin.GlorotUniform`."""
    return fill_(tensor, initializers.GlorotUniform(seed), layout=layout)


def he_normal_(tensor: torch.Tensor, seed: SupportsIndex | None = None, *, layout: Any = "torch") -> torch.Tensor:
    """Fills a weight by He's (Kaiming's) rule, truncated normal: `fanin.HeNormal`."""
    return fill_(tensor, initializers.HeNormal(seed), layout=layout)


def he_uniform_(tensor: torch.Tensor, seed: SupportsIndex | None = None, *, layout: Any = "torch") -> torch.Tensor:
    """Fills a weight by He's (Kaiming's) rule, uniform: `fanin.HeUniform`."""
    return fill_(tensor, initializers.HeUniform(seed), layout=layout)


def lecun_normal_(tensor: torch.Tensor, seed: SupportsIndex | None = None, *, layout: Any = "torch") -> torch.Tensor:
    """Fills a weight by LeCun's rule, truncated normal: `fanin.LecunNormal`."""
    return fill_(tensor, initializers.LecunNormal(seed), layout=layout)


def lecun_uniform_(tensor: torch.Tensor, seed: SupportsIndex | None = None, *, layout: Any = "torch") -> torch.Tensor:
    """Fills a weight by LeCun's rule, uniform: `fanin.LecunUniform`."""
    return fill_(tensor, initializers.LecunUniform(seed), layout=layout)


def orthogonal_(
    tensor: torch.Tensor, gain: Any = 1.0, seed: SupportsIndex | None = None, *, layout: Any = "torch"
) -> torch.Tensor:
    """Fills a weight with an orthogonal matrix: `fanin.Orthogonal`."""
    return fill_(tensor, initializers.Orthogonal(gain, seed), layout=layout)


def initialize(
    module: torch.nn.Module,
    recipe: Recipe,
    *,
    device: Any = None,
    only: Any = None,
    skip: Any = None,
    only_missing: Any = None,
    names: Any = None,
    buffers: Mapping[str, torch.Tensor] | None = None,
    unmatched: str = "error",
    progress: bool | None = None,
) -> Report:
    """Gives every parameter of a module the values that a recipe has for it.

    Each is a function of the recipe's seed, its name and the index: other parameters and their order do not matter. A
    module on the meta device is materialised, one parameter at a time; what was tied stays tied, and buffers that have
    no values (rotary tables, position ids) are made again by the code of the modules that own them. Running statistics
    start anew.

    Args:
        module: the module, which is changed in place. Wrappers (`torch.compile`, `DataParallel`) make no difference.
        recipe: what each parameter gets. `recipe.plan(module)` shows it before.
        device: where parameters of the meta device are to be; by default the CPU.
        only: a glob of paths, or several: the others stay as they are.
        skip: a glob of paths, or several, that stay as they are.
        only_missing: a state dict or its keys, or what `load_state_dict(…, strict=False)` returned: what was loaded
            stays as it is.
        names: as for `Recipe.plan`.
        buffers: values for buffers on the meta device, by globs of their paths.
        unmatched: "error", or "keep": parameters that no rule matches stay as they are.
        progress: whether to show a bar; by default for long work on a terminal, if rich is installed.

    Returns:
        A report: what was filled, kept and restored. It can be interrupted: a parameter has its old values or its new
        ones then, and calling it again completes the work.

    Raises:
        fanin.plans.PlanError: the recipe does not fit, a parameter cannot be written, or a buffer cannot be made again.
            Nothing has been written then. (A ValueError.)
        TypeError: not a module, or not a recipe.

    >>> import fanin, fanin.torch, torch
    >>> with torch.device("meta"):
    ...     model = torch.nn.Sequential(torch.nn.Linear(784, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10))
    >>> report = fanin.torch.initialize(model, fanin.Recipe.preset("keras", seed=1))
    >>> len(report.filled), model[2].weight.device
    (4, device(type='cpu'))
    """
    return _models.initialize(
        module,
        checked_recipe(recipe),
        device=device,
        only=only,
        skip=skip,
        only_missing=only_missing,
        names=names,
        buffers=buffers,
        unmatched=unmatched,
        progress=progress,
    )
