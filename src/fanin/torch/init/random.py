"""The functions that draw, which take a seed."""

from __future__ import annotations

import sys

import torch

from fanin._core.types import Seed
from fanin.theory import gains
from fanin.torch.init import laws
from fanin.torch.init.drawn import check_rank, draw_
from fanin.torch.init.laws import real
from fanin.torch.init.routing import public, warn


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The gain that PyTorch recommends for a nonlinearity; `fanin.gain` knows further ones, and computes any other.

    Args:
        nonlinearity: "linear", "conv1d" to "conv3d", "conv_transpose1d" to "conv_transpose3d", "sigmoid", "tanh",
            "relu", "leaky_relu" or "selu".
        param: the negative slope of "leaky_relu", by default 0.01.

    Raises:
        ValueError: the name is none of these, or the slope is not a number.

    >>> from fanin.torch import init
    >>> init.calculate_gain("tanh")
    1.6666666666666667
    """
    return gains.published(nonlinearity, param)


@public
def uniform_(
    tensor: torch.Tensor,
    a: float = 0.0,
    b: float = 1.0,
    generator: torch.Generator | None = None,
    *,
    seed: Seed = None,
) -> torch.Tensor:
    """Fills a tensor from the uniform distribution on [a, b): `fanin.RandomUniform`.

    Args:
        tensor: a tensor of floats, or of complex numbers, both parts of which are drawn.
        a: the smallest value.
        b: the upper bound.
        generator: what the seed is drawn from if there is none.
        seed: an integer in [-2**63, 2**63 - 1].

    Returns:
        The tensor.

    Raises:
        RuntimeError: the bounds are no ascending interval within the dtype's range, or the tensor cannot be written.
        NotImplementedError: (a RuntimeError) the dtype has no random floats.
        TypeError: an argument is of another type.

    >>> import torch
    >>> from fanin.torch import init
    >>> weight = init.uniform_(torch.empty(2, 3), -1, 1, seed=1)
    """
    return draw_(tensor, laws.uniform, real("a", a), real("b", b), generator=generator, seed=seed)


@public
def normal_(
    tensor: torch.Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    generator: torch.Generator | None = None,
    *,
    seed: Seed = None,
) -> torch.Tensor:
    """Fills a tensor from a normal distribution: `fanin.RandomNormal`, or `fanin.ComplexNormal`.

    Args:
        tensor: a tensor of floats, or of complex numbers, whose parts have half of the variance each.
        mean: the mean, of both parts of complex numbers.
        std: the standard deviation.
        generator: what the seed is drawn from if there is none.
        seed: an integer in [-2**63, 2**63 - 1].

    Returns:
        The tensor.

    Raises:
        RuntimeError: `std` is negative, or the tensor cannot be written.
        NotImplementedError: (a RuntimeError) the dtype has no random floats.
        TypeError: an argument is of another type.

    >>> import torch
    >>> from fanin.torch import init
    >>> weight = init.normal_(torch.empty(2, 3), std=0.02, seed=1)
    """
    return draw_(tensor, laws.normal, real("mean", mean), real("std", std), generator=generator, seed=seed)


@public
def trunc_normal_(
    tensor: torch.Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: torch.Generator | None = None,
    *,
    seed: Seed = None,
) -> torch.Tensor:
    """Fills a tensor from a normal distribution that is cut to [a, b]: `fanin.TruncatedNormal` with these bounds.

    The bounds are values, not multiples of `std`: with `std=0.02`, those that are the default cut nothing.

    Args:
        tensor: a tensor of floats.
        mean: the mean before it is cut.
        std: the standard deviation before it is cut.
        a: the smallest value; it may be `-math.inf`.
        b: the largest value; it may be `math.inf`.
        generator: what the seed is drawn from if there is none.
        seed: an integer in [-2**63, 2**63 - 1].

    Returns:
        The tensor.

    Raises:
        RuntimeError: `a` is greater than `b`, or the tensor cannot be written.
        NotImplementedError: (a RuntimeError and a ValueError) the dtype has no random floats, no value between the
            bounds lies within 36 standard deviations of the mean, or the dtype has none there.
        ZeroDivisionError: `std` is 0.
        TypeError: an argument is of another type.

    >>> import torch
    >>> from fanin.torch import init
    >>> weight = init.trunc_normal_(torch.empty(2, 3), std=0.02, a=-0.04, b=0.04, seed=1)
    """
    mean, std, a, b = real("mean", mean), real("std", std), real("a", a), real("b", b)
    is_far = mean < a - 2 * std or mean > b + 2 * std
    warning = "mean is more than 2 std from [a, b] in trunc_normal_: the tail between them is drawn." if is_far else ""
    return draw_(tensor, laws.trunc_normal, mean, std, a, b, generator=generator, seed=seed, warning=warning)


@public
def xavier_uniform_(
    tensor: torch.Tensor,
    gain: float = 1.0,
    generator: torch.Generator | None = None,
    *,
    seed: Seed = None,
) -> torch.Tensor:
    """Fills a weight by Xavier's (Glorot's) rule, uniform: `fanin.GlorotUniform` for a gain of 1.

    Values lie in [-limit, limit) with `limit = gain * sqrt(6 / (fan_in + fan_out))`.

    Args:
        tensor: a weight of two axes or more, (out, in, …).
        gain: the factor for the limit.
        generator: what the seed is drawn from if there is none.
        seed: an integer in [-2**63, 2**63 - 1].

    Returns:
        The tensor.

    Raises:
        ValueError: the tensor has fewer than two axes.
        RuntimeError: the gain is negative or too large, or the tensor cannot be written.
        NotImplementedError: (a RuntimeError) the dtype has no random floats.
        ZeroDivisionError: the tensor has neither inputs nor outputs.
        TypeError: an argument is of another type.

    >>> import torch
    >>> from fanin.torch import init
    >>> weight = init.xavier_uniform_(torch.empty(2, 3), gain=init.calculate_gain("relu"), seed=1)

    References: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS
    2010.
    """
    laws.average_fan(tensor.shape)  # what is wrong with it comes first, as in PyTorch
    return draw_(tensor, laws.xavier, real("gain", gain), "uniform", generator=generator, seed=seed)


@public
def xavier_normal_(
    tensor: torch.Tensor,
    gain: float = 1.0,
    generator: torch.Generator | None = None,
    *,
    seed: Seed = None,
) -> torch.Tensor:
    """Fills a weight by Xavier's (Glorot's) rule, normal and not truncated.

    With a gain of 1, the values are those of `fanin.VarianceScaling(1, "fan_avg", "untruncated_normal")`: the standard
    deviation is `gain * sqrt(2 / (fan_in + fan_out))`.

    Args:
        tensor: a weight of two axes or more, (out, in, …), real or complex.
        gain: the factor for the standard deviation.
        generator: what the seed is drawn from if there is none.
        seed: an integer in [-2**63, 2**63 - 1].

    Returns:
        The tensor.

    Raises:
        ValueError: the tensor has fewer than two axes.
        RuntimeError: the gain is negative, or the tensor cannot be written.
        NotImplementedError: (a RuntimeError) the dtype has no random floats.
        ZeroDivisionError: the tensor has neither inputs nor outputs.
        TypeError: an argument is of another type.

    >>> import torch
    >>> from fanin.torch import init
    >>> weight = init.xavier_normal_(torch.empty(2, 3), seed=1)

    References: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS
    2010.
    """
    laws.average_fan(tensor.shape)  # what is wrong with it comes first, as in PyTorch
    return draw_(tensor, laws.xavier, real("gain", gain), "untruncated_normal", generator=generator, seed=seed)


@public
def kaiming_uniform_(
    tensor: torch.Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: torch.Generator | None = None,
    *,
    seed: Seed = None,
) -> torch.Tensor:
    """Fills a weight by Kaiming's (He's) rule, uniform: `fanin.HeUniform` for ReLU and "fan_in".

    Values lie in [-limit, limit) with `limit = gain * sqrt(3 / n)`, where n is the fan of the mode.

    Args:
        tensor: a weight of two axes or more, (out, in, …).
        a: the negative slope of "leaky_relu".
        mode: "fan_in" or "fan_out".
        nonlinearity: a name that `calculate_gain` knows.
        generator: what the seed is drawn from if there is none.
        seed: an integer in [-2**63, 2**63 - 1].

    Returns:
        The tensor. One without elements stays as it is, with a warning.

    Raises:
        ValueError: the tensor has fewer than two axes, or the mode or the nonlinearity is unknown.
        RuntimeError: `a` is no number, or the tensor cannot be written.
        NotImplementedError: (a RuntimeError) the dtype has no random floats.

    >>> import torch
    >>> from fanin.torch import init
    >>> weight = init.kaiming_uniform_(torch.empty(2, 3), nonlinearity="relu", seed=1)

    References: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", ICCV 2015.
    """
    return _kaiming(tensor, a, mode, nonlinearity, "uniform", generator, seed)


@public
def kaiming_normal_(
    tensor: torch.Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: torch.Generator | None = None,
    *,
    seed: Seed = None,
) -> torch.Tensor:
    """Fills a weight by Kaiming's (He's) rule, normal and not truncated.

    For ReLU, the values are those of `fanin.VarianceScaling(2, mode, "untruncated_normal")`: the standard deviation is
    `gain / sqrt(n)`, where n is the fan of the mode.

    Args:
        tensor: a weight of two axes or more, (out, in, …), real or complex.
        a: the negative slope of "leaky_relu".
        mode: "fan_in" or "fan_out".
        nonlinearity: a name that `calculate_gain` knows.
        generator: what the seed is drawn from if there is none.
        seed: an integer in [-2**63, 2**63 - 1].

    Returns:
        The tensor. One without elements stays as it is, with a warning.

    Raises:
        ValueError: the tensor has fewer than two axes, or the mode or the nonlinearity is unknown.
        RuntimeError: `a` is no number, or the tensor cannot be written.
        NotImplementedError: (a RuntimeError) the dtype has no random floats.

    >>> import torch
    >>> from fanin.torch import init
    >>> weight = init.kaiming_normal_(torch.empty(2, 3), mode="fan_out", nonlinearity="relu", seed=1)

    References: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", ICCV 2015.
    """
    return _kaiming(tensor, a, mode, nonlinearity, "untruncated_normal", generator, seed)


def _kaiming(
    tensor: torch.Tensor,
    a: float,
    mode: str,
    nonlinearity: str,
    kind: str,
    generator: torch.Generator | None,
    seed: Seed,
) -> torch.Tensor:
    if 0 in tensor.shape:
        warn("Initializing zero-element tensors is a no-op")
        return tensor
    return draw_(tensor, laws.kaiming, a, mode, nonlinearity, kind, generator=generator, seed=seed)


@public
def orthogonal_(
    tensor: torch.Tensor,
    gain: float = 1,
    generator: torch.Generator | None = None,
    *,
    seed: Seed = None,
) -> torch.Tensor:
    """Fills a weight with an orthogonal matrix: `fanin.Orthogonal`.

    A weight of more than two axes is a matrix of as many rows as its first axis has indices.

    Args:
        tensor: a weight of two axes or more, (out, in, …).
        gain: the factor for the matrix.
        generator: what the seed is drawn from if there is none.
        seed: an integer in [-2**63, 2**63 - 1].

    Returns:
        The tensor. One without elements stays as it is.

    Raises:
        ValueError: the tensor has fewer than two axes, or the gain is not finite.
        RuntimeError: the tensor cannot be written.
        NotImplementedError: (a RuntimeError) the dtype has no random floats.
        TypeError: an argument is of another type.

    >>> import torch
    >>> from fanin.torch import init
    >>> weight = init.orthogonal_(torch.empty(2, 3), seed=1)

    References: Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks", ICLR 2014.
    """
    check_rank(tensor, 2, sys.maxsize, "Only tensors with 2 or more dimensions are supported")
    if 0 in tensor.shape:
        return tensor
    return draw_(tensor, laws.orthogonal, real("gain", gain), generator=generator, seed=seed)


@public
def sparse_(
    tensor: torch.Tensor,
    sparsity: float,
    std: float = 0.01,
    generator: torch.Generator | None = None,
    *,
    seed: Seed = None,
) -> torch.Tensor:
    """Fills a matrix with normal values and, in each column, the same number of zeros: `fanin.Sparse`.

    Args:
        tensor: a weight of two axes, (out, in).
        sparsity: the share of zeros in each column, in [0, 1].
        std: the standard deviation of the other values.
        generator: what the seed is drawn from if there is none.
        seed: an integer in [-2**63, 2**63 - 1].

    Returns:
        The tensor.

    Raises:
        ValueError: the tensor does not have two axes, or the sparsity does not lie in [0, 1].
        RuntimeError: `std` is negative, or the tensor cannot be written.
        NotImplementedError: (a RuntimeError) the dtype has no random floats.
        TypeError: an argument is of another type.

    >>> import torch
    >>> from fanin.torch import init
    >>> weight = init.sparse_(torch.empty(20, 3), 0.9, seed=1)
    >>> (weight == 0).sum(0)
    tensor([18, 18, 18])

    References: Martens, "Deep learning via Hessian-free optimization", ICML 2010.
    """
    check_rank(tensor, 2, 2, "Only tensors with 2 dimensions are supported")
    return draw_(tensor, laws.sparse, real("sparsity", sparsity), real("std", std), generator=generator, seed=seed)
