"""Blocks of networks as data: dense layers, activations and normalizations in order, with or without a residual.

`BLOCKS` has those that `fanin.compare` knows by name. Theory (`profile`) and simulation read the same data.

References, beside those of `fanin.theory.fields`:
    Yang, Pennington, Rao, Sohl-Dickstein and Schoenholz, "A Mean Field Theory of Batch Normalization", ICLR 2019.
    Xiong et al., "On Layer Normalization in the Transformer Architecture", ICML 2020.
    Bachlechner et al., "ReZero is All You Need", UAI 2021.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from fanin._core.messages import shown
from fanin.theory import quadrature
from fanin.theory.activations import Activation
from fanin.theory.fields import mean_of, slope_of, square_of

NormKind: TypeAlias = Literal["layer", "rms", "batch"]
EPSILON = 1e-30  # beside a variance that is divided by, so that zeros stay zeros


@dataclass(frozen=True)
class Dense:
    """Weights and biases between layers that are so many times as wide as the network.

    Attributes:
        inputs, outputs: the widths, in multiples of the network's.
    """

    inputs: int = 1
    outputs: int = 1


@dataclass(frozen=True)
class Activate:
    """The activation, of each unit."""


@dataclass(frozen=True)
class Normalize:
    """A normalization without parameters.

    Attributes:
        kind: "layer" (each input's units have mean 0 and variance 1), "rms" (mean square 1), or "batch" (each unit's
            numbers of the batch have mean 0 and variance 1).
    """

    kind: NormKind = "layer"

    def __post_init__(self) -> None:
        if self.kind not in get_args(NormKind):
            raise ValueError(f'`kind` must be "layer", "rms" or "batch". Received: kind={shown(self.kind)}.')


Step: TypeAlias = Dense | Activate | Normalize


@dataclass(frozen=True)
class Block:
    """What a network repeats.

    Attributes:
        name: its name.
        steps: what is done in it, in order.
        is_residual: whether its input is added to the result of the steps.
        scale: what that result is multiplied by before; "depth" for 1 / sqrt(2 L) in a network of L blocks, as in
            GPT-2; 0 for blocks that begin as the identity, as with a last layer of zeros (ReZero).
        after: what is done after the addition.

    >>> from fanin.theory.blocks import Activate, Block, Dense
    >>> Block("bottleneck", (Activate(), Dense(1, 2), Activate(), Dense(2, 1)), is_residual=True).widest
    2
    """

    name: str
    steps: tuple[Step, ...]
    is_residual: bool = False
    scale: float | Literal["depth"] = 1.0
    after: tuple[Normalize, ...] = ()

    def __post_init__(self) -> None:
        width, is_normal = 1, self.is_residual or not any(isinstance(step, Activate) for step in self.steps)
        for step in self.steps:
            if isinstance(step, Dense):
                if step.inputs != width:
                    raise ValueError(
                        f"A dense layer must have the inputs that come to it. Received: {shown(step)} after a width of "
                        f"{width}."
                    )
                width, is_normal = step.outputs, True
            elif isinstance(step, Activate):
                if not is_normal:
                    raise ValueError("An activation must come after a dense layer, or first in a residual branch.")
                is_normal = False
        if width != 1:
            raise ValueError(f"A block must end as wide as it begins. Received: a width of {width}.")
        if not any(isinstance(step, Dense) for step in self.steps):
            raise ValueError(f"A block must have a dense layer. Received: {shown(self.steps)}.")
        if self.is_residual and not is_normal:
            raise ValueError("A residual branch must end with a dense layer or a normalization after one.")

    @property
    def dense(self) -> tuple[Dense, ...]:
        """Its dense layers."""
        return tuple(step for step in self.steps if isinstance(step, Dense))

    @property
    def widest(self) -> int:
        """The width of its widest layer, in multiples of the network's."""
        return max(max(step.inputs, step.outputs) for step in self.dense)

    @property
    def has_batch(self) -> bool:
        """Whether what it makes of an input depends on the others of the batch."""
        return any(isinstance(step, Normalize) and step.kind == "batch" for step in (*self.steps, *self.after))

    def branch_scale(self, depth: int) -> float:
        """What the result of the steps is multiplied by in a network of this depth."""
        return 1 / math.sqrt(2 * depth) if self.scale == "depth" else self.scale


_BRANCH = (Activate(), Dense())
_FEED_FORWARD = (Dense(1, 4), Activate(), Dense(4, 1))
BLOCKS = {
    block.name: block
    for block in (
        Block("plain", (Dense(), Activate())),
        Block("layer_norm", (Dense(), Normalize("layer"), Activate())),
        Block("rms_norm", (Dense(), Normalize("rms"), Activate())),
        Block("batch_norm", (Dense(), Normalize("batch"), Activate())),
        Block("residual", _BRANCH, is_residual=True),
        Block("residual_scaled", _BRANCH, is_residual=True, scale="depth"),
        Block("rezero", _BRANCH, is_residual=True, scale=0.0),
        Block("pre_norm", (Normalize("layer"), *_FEED_FORWARD), is_residual=True),
        Block("pre_norm_scaled", (Normalize("layer"), *_FEED_FORWARD), is_residual=True, scale="depth"),
        Block("post_norm", _FEED_FORWARD, is_residual=True, after=(Normalize("layer"),)),
    )
}


@dataclass(frozen=True)
class Signal:
    """The units of a layer, of infinitely many, as theory knows them.

    Attributes:
        square: their mean square.
        mean: their mean.
        shared: the mean product of a unit for one input and for another one, known where batches matter.
    """

    square: float
    mean: float = 0.0
    shared: float = 0.0


@dataclass(frozen=True)
class Weights:
    """The weights of a dense layer, as theory knows them.

    Attributes:
        inputs: the number of weights of an output times their variance: what they multiply a signal's square by.
        outputs: the number of weights of an input times their variance: what they multiply a gradient's square by.
    """

    inputs: float
    outputs: float


@dataclass(frozen=True)
class Profile:
    """Mean squares by depth.

    Attributes:
        signal: that of the input and of each block's output.
        preactivations: that of what comes to the last activation of each block.
        gradient: that of the gradient at the input and at each block's output, for one of size 1 at the last.
    """

    signal: tuple[float, ...]
    preactivations: tuple[float, ...]
    gradient: tuple[float, ...]


def profile(
    block: Block, activation: Activation, weights: Sequence[Weights], depth: int, bias_stddev: float = 0.0
) -> Profile:
    """What theory expects of an input of size 1 in a network of infinite width.

    Args:
        block: what the network repeats.
        activation: its activation.
        weights: those of each of the block's dense layers.
        depth: how many blocks there are.
        bias_stddev: the standard deviation of biases.

    >>> from fanin.theory import activation, blocks
    >>> he = blocks.Weights(2.0, 2.0)
    >>> [round(each, 9) for each in blocks.profile(blocks.BLOCKS["plain"], activation("relu"), [he], 3).preactivations]
    [2.0, 2.0, 2.0]
    """
    theory = _Theory(block, activation, weights, bias_stddev, block.branch_scale(depth))
    signals, preactivations, factors = [Signal(1.0)], [], []
    for _ in range(depth):
        following, before, factor = theory.block_of(signals[-1])
        signals.append(following)
        preactivations.append(before)
        factors.append(factor)
    gradient = [1.0]
    for factor in reversed(factors):
        gradient.append(_product(gradient[-1], factor))
    return Profile(tuple(each.square for each in signals), tuple(preactivations), tuple(reversed(gradient)))


@dataclass(frozen=True)
class _Theory:
    """What blocks do to signals and gradients."""

    block: Block
    activation: Activation
    weights: Sequence[Weights]
    bias_stddev: float
    scale: float

    def block_of(self, signal: Signal) -> tuple[Signal, float, float]:
        """The signal after a block, the last pre-activation's square, and what its gradient's is multiplied by."""
        branch, factor, before = signal, 1.0, math.nan
        dense = iter(self.weights)
        for step in self.block.steps:
            if isinstance(step, Activate):
                before = branch.square
            branch, multiplied = self._step(step, branch, dense)
            factor = _product(factor, multiplied)
        if self.block.is_residual:
            square = self.scale**2
            branch = Signal(
                signal.square + _product(square, branch.square), 0.0, signal.shared + _product(square, branch.shared)
            )
            factor = 1 + _product(square, factor)
        for step in self.block.after:
            branch, multiplied = self._step(step, branch, dense)
            factor = _product(factor, multiplied)
        return branch, before, factor

    def _step(self, step: Step, signal: Signal, dense: Iterator[Weights]) -> tuple[Signal, float]:
        if isinstance(step, Dense):
            weights = next(dense)
            bias = self.bias_stddev**2
            square, shared = (_product(weights.inputs, each) + bias for each in (signal.square, signal.shared))
            return Signal(square, 0.0, shared), weights.outputs
        if isinstance(step, Activate):
            return self._activated(signal), slope_of(self.activation, signal.square)
        less = {"layer": signal.mean * signal.mean, "rms": 0.0, "batch": signal.shared}[step.kind]
        variance = signal.square - less + EPSILON
        if not variance < math.inf:
            return Signal(1.0), 0.0
        shared = 0.0 if step.kind == "batch" else (signal.shared - less) / variance
        mean = signal.mean / math.sqrt(variance) if step.kind == "rms" else 0.0
        return Signal((signal.square - less) / variance, mean, shared), 1 / variance

    def _activated(self, signal: Signal) -> Signal:
        square, mean = square_of(self.activation, signal.square), mean_of(self.activation, signal.square)
        if not self.block.has_batch or not signal.shared:
            return Signal(square, mean, mean * mean)  # infinite, where a power would be an error
        correlation = max(-1.0, min(1.0, signal.shared / signal.square))
        shared = quadrature.mean_product(self.activation.function, signal.square, signal.square, correlation)
        return Signal(square, mean, shared)


def _product(first: float, second: float) -> float:
    """A product in which nothing of infinity is nothing."""
    return first * second if first and second else 0.0
