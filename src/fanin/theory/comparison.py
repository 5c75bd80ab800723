"""`fanin.compare`: what initializers do to signals and gradients through depth, in theory and in simulated networks."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, SupportsIndex

import numpy as np

from fanin._core.messages import class_name, shown, suggestion
from fanin._core.types import Array, DType, DTypeLike
from fanin.initializers import Initializer, get
from fanin.initializers.base import float_dtype, number, source_of
from fanin.theory import quadrature
from fanin.theory.activations import Activation
from fanin.theory.activations import activation as activation_of
from fanin.theory.blocks import BLOCKS, Block, Profile, Weights, profile
from fanin.theory.compared import Compared, Comparison, Simulated
from fanin.theory.fields import critical_stddev
from fanin.theory.quadrature import DivergesError
from fanin.theory.simulation import Network

_MOST_DEPTH, _MOST_WIDTH, _MOST_NETWORKS = 10_000, 2**20, 10_000


def compare(
    initializers: str | Initializer | Iterable[str | Initializer | tuple[str | Initializer, float]],
    activation: str | Callable[[Any], Any] | Activation = "relu",
    depth: SupportsIndex = 30,
    width: SupportsIndex = 256,
    *,
    block: str | Block = "plain",
    batch: SupportsIndex = 64,
    networks: SupportsIndex = 8,
    seed: SupportsIndex = 0,
    dtype: DTypeLike = "float32",
    bias_stddev: float = 0.0,
    simulate: bool = True,
) -> Comparison:
    """What initializers do to a signal on its way through a deep network, and to the gradient on its way back.

    Theory is that of infinite width (mean field). Beside it stand real networks of the given width, with fanin's own
    weights, normal inputs of size 1, and gradients by backpropagation of normal cotangents. One network of finite width
    differs from the next, the more the deeper it is; the report says how much.

    Args:
        initializers: names or initializers, or pairs of one and a gain, by which its weights are multiplied.
        activation: a name or a function of one number, as for `fanin.gain`; `fanin.theory.activation` gives a name its
            parameter.
        depth: the number of blocks.
        width: the number of units of a layer, and of inputs.
        block: what the network repeats: "plain" (dense layer, activation), "layer_norm", "rms_norm" or "batch_norm"
            (with a normalization between them), "residual" (x + dense(activation(x))), "residual_scaled" (its branch
            times 1 / sqrt(2 depth)), "rezero" (times 0), "pre_norm", "pre_norm_scaled" or "post_norm" (a transformer's
            feed-forward block, four times as wide inside), or a `fanin.theory.blocks.Block`.
        batch: the number of inputs of each simulated network.
        networks: the number of simulated networks.
        seed: what weights and inputs follow from; the initializers' own seeds do not count.
        dtype: the dtype of simulated networks: "float32" or "float64".
        bias_stddev: the standard deviation of biases, which are normal.
        simulate: whether to simulate networks; if not, theory is all.

    Returns:
        A `Comparison`: a table as text and in notebooks, data by `as_dict()`, a figure by `plot()`.

    Raises:
        TypeError, ValueError: an argument is none of these, a network would need more than 2 GiB, or an initializer
            cannot make its weights; the message says why.

    References: `fanin.theory.fields` and `fanin.theory.blocks` name the sources of the theory.

    >>> import fanin
    >>> report = fanin.compare(["he_normal", "glorot_uniform"], activation="relu", depth=30, simulate=False)
    >>> for row in report.rows:
    ...     print(row.sentence)
    he_normal: keeps its size (× 1.00 a layer)
    glorot_uniform: vanishes (× 0.71 a layer)
    """
    found = activation_of(activation)
    network = Network(
        _block(block),
        found,
        _count("depth", depth, _MOST_DEPTH),
        _count("width", width, _MOST_WIDTH),
        _count("batch", batch, _MOST_WIDTH),
        _dtype(dtype),
        operator.index(seed),
        _spread(bias_stddev),
    )
    runs = _count("networks", networks, _MOST_NETWORKS)
    if network.block.has_batch and network.batch < 2:
        raise ValueError(f"A batch normalization needs a batch of 2 at least. Received: batch={network.batch}.")
    if simulate:
        network.check()
    chosen = _named(initializers)
    weights = {name: _weights(network, name, *each) for name, each in chosen.items()}
    rows = []
    for name, (initializer, gain) in chosen.items():
        of_theory = _theory(network, weights[name])
        simulated = _simulated(network, initializer, gain, runs) if simulate else None
        known = weights[name]
        stddev = None if known is None else math.sqrt(known[0].inputs)
        rows.append(Compared(name, initializer.summary, gain, stddev, of_theory, simulated))
    return Comparison(
        rows=tuple(rows),
        activation=found.name,
        block=network.block.name,
        depth=network.depth,
        width=network.width,
        batch=network.batch,
        networks=runs if simulate else 0,
        seed=network.seed,
        dtype=network.dtype.name,
        bias_stddev=network.bias_stddev,
        unit_gain=_unit_gain(found),
        critical_stddev=_critical(found, network.bias_stddev),
    )


# ---------------------------------------------------------------- arguments


def _count(name: str, value: SupportsIndex, most: int) -> int:
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(
            f"`{name}` must be a whole number. Received: {name}={shown(value)} (of type {class_name(type(value))})."
        ) from None
    if isinstance(value, bool) or not 1 <= count <= most:
        raise ValueError(f"`{name}` must be from 1 to {most:,}. Received: {name}={shown(value)}.")
    return count


def _spread(value: float) -> float:
    spread = float(number("bias_stddev", value))
    if spread < 0:
        raise ValueError(f"`bias_stddev` must not be negative. Received: bias_stddev={shown(value)}.")
    return spread


def _dtype(dtype: DTypeLike) -> DType:
    resolved = float_dtype(dtype)
    if resolved.name not in ("float32", "float64"):
        raise ValueError(f'`dtype` must be "float32" or "float64". Received: dtype={shown(dtype)}.')
    return resolved


def _block(block: str | Block) -> Block:
    if isinstance(block, Block):
        return block
    if not isinstance(block, str) or block not in BLOCKS:
        raise ValueError(
            f"`block` must be one of {', '.join(BLOCKS)}, or a Block. Received: block={shown(block)}."
            f"{suggestion(block, BLOCKS)}"
        )
    return BLOCKS[block]


def _named(given: Any) -> dict[str, tuple[Initializer, float]]:
    """The initializers and their gains, by names that tell them apart."""
    if isinstance(given, (str, Initializer)) or callable(given):
        several = [given]
    elif isinstance(given, Iterable):
        several = list(given)
    else:
        raise TypeError(f"`initializers` must be names, initializers or pairs of one and a gain. Received: {given!r}.")
    if not several:
        raise ValueError("`initializers` must not be empty. Received: [].")
    named: dict[str, tuple[Initializer, float]] = {}
    for each in several:
        is_pair = isinstance(each, (tuple, list))
        if is_pair and len(each) != 2:
            raise ValueError(f"Each of `initializers` may have one gain. Received: {shown(each)}.")
        identifier, gain = each if is_pair else (each, 1.0)
        initializer, gain = source_of(get(identifier)), float(number("gain", gain))
        name = identifier if isinstance(identifier, str) else initializer.summary
        name = name if gain == 1 else f"{name} × {gain:g}"
        copies = sum(1 for known in named if known == name or known.startswith(f"{name} ("))
        named[f"{name} ({copies + 1})" if copies else name] = initializer, gain
    return named


def _weights(network: Network, name: str, initializer: Initializer, gain: float) -> list[Weights] | None:
    """The weights of each dense layer of a block, as theory knows them; None if it has nothing to say of them."""
    weights = []
    for dense in network.block.dense:
        inputs, outputs = dense.inputs * network.width, dense.outputs * network.width
        if type(initializer).distribution is Initializer.distribution:  # its own code makes the values
            return None
        try:
            moments = initializer.distribution((inputs, outputs), network.dtype).moments
        except (TypeError, ValueError, NotImplementedError) as error:
            raise ValueError(f"{name} cannot make weights of shape ({inputs}, {outputs}): {error}") from error
        if moments.mean or not math.isfinite(moments.stddev):
            return None
        stddev = abs(gain) * moments.stddev
        if stddev > _largest(network):
            raise ValueError(
                f"Weights must have a standard deviation of at most {_largest(network):.3g} in {network.dtype}. "
                f"Received: {name}, which gives {stddev:.3g}."
            )
        variance = stddev**2
        weights.append(Weights(inputs * variance, outputs * variance))
    return weights


def _largest(network: Network) -> float:
    """The largest standard deviation of weights that they can have, and that theory can square."""
    return min(float(np.finfo(network.dtype).max), 1e150)


# ---------------------------------------------------------------- numbers


def _theory(network: Network, weights: Sequence[Weights] | None) -> Profile | None:
    if weights is None:
        return None
    return profile(network.block, network.activation, weights, network.depth, network.bias_stddev)


def _simulated(network: Network, initializer: Initializer, gain: float, networks: int) -> Simulated:
    runs = [network.run(initializer, gain, which) for which in range(networks)]
    signals, preactivations, gradients = (np.array(each) for each in zip(*runs, strict=True))
    means = [_means(each) for each in (signals, preactivations, gradients)]
    errors = [_errors(each) for each in (signals, preactivations, gradients)]
    return Simulated(Profile(*means), Profile(*errors), _scatter(signals[:, -1]), _scatter(gradients[:, 0]))


def _means(of_networks: Array) -> tuple[float, ...]:
    return tuple(np.mean(of_networks, axis=0).tolist())


@np.errstate(all="ignore")
def _errors(of_networks: Array) -> tuple[float, ...]:
    """The standard errors of the means; NaN for one network, or where a mean is not finite."""
    count = len(of_networks)
    if count < 2:
        return (math.nan,) * of_networks.shape[1]
    return tuple((np.std(of_networks, axis=0, ddof=1) / math.sqrt(count)).tolist())


@np.errstate(all="ignore")
def _scatter(sizes: Array) -> float:
    """By what factor the sizes of single networks typically differ from one another; NaN if that means nothing."""
    logs = np.log(sizes) / 2  # sizes are mean squares
    return math.exp(float(np.std(logs, ddof=1))) if len(logs) > 1 and np.isfinite(logs).all() else math.nan


def _unit_gain(activation: Activation) -> float | None:
    try:
        square = quadrature.mean_square(activation.function, 1.0, activation.precision)
    except DivergesError:
        return None
    return 1 / math.sqrt(square) if square else None


def _critical(activation: Activation, bias_stddev: float) -> float | None:
    try:
        return critical_stddev(activation, bias_stddev)
    except ValueError:
        return None
