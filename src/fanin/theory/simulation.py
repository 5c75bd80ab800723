"""Real networks of finite width, in NumPy: the size of their signals, and of gradients by backpropagation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fanin._core.environment import undisturbed
from fanin._core.messages import readable
from fanin._core.types import Array, DType
from fanin.initializers import Initializer, RandomNormal
from fanin.theory.activations import Activation
from fanin.theory.blocks import EPSILON, Activate, Block, Dense, Normalize, Step

_MOST_BYTES = 2**31
_Backward = Callable[[Array], Array]


@dataclass(frozen=True)
class Network:
    """A network to simulate: a number of blocks with weights of one initializer, and a batch of normal inputs.

    Attributes:
        block, activation: what it is made of.
        depth, width, batch: how many blocks, units of a layer, and inputs there are.
        dtype: that of all numbers.
        seed: what its weights, inputs and cotangents follow from.
        bias_stddev: the standard deviation of its biases, which are normal.
    """

    block: Block
    activation: Activation
    depth: int
    width: int
    batch: int
    dtype: DType
    seed: int
    bias_stddev: float = 0.0

    @property
    def nbytes(self) -> int:
        """The memory that a pass forward and backward needs, in bytes."""
        weights = sum(step.inputs * step.outputs for step in self.block.dense) * self.width**2
        # Of each step, what it got and what it made; once more for what functions need while they run.
        units = (2 * len(self.block.steps) + 2) * self.block.widest * self.width * self.batch
        return self.depth * (weights + units) * self.dtype.itemsize + 8 * units

    def check(self) -> None:
        """Raises an error if it needs more memory than is meant for it.

        Raises:
            ValueError: it would need more than 2 GiB.
        """
        if self.nbytes > _MOST_BYTES:
            raise ValueError(
                f"A simulated network must fit into {readable(_MOST_BYTES)}. Received: depth={self.depth}, "
                f"width={self.width}, batch={self.batch}, which needs {readable(self.nbytes)}. Choose smaller numbers, "
                "or simulate=False for theory alone."
            )

    @undisturbed
    @np.errstate(all="ignore")  # sizes that overflow are infinite
    def run(self, initializer: Initializer, gain: float, number: int) -> tuple[Array, Array, Array]:
        """The mean squares of one network: of its signals, its last pre-activations by block, and its gradients.

        Args:
            initializer: what draws the weights.
            gain: what they are multiplied by.
            number: which network it is; others have other weights and inputs.
        """
        drawn = _Draws(self, initializer, gain, f"network {number}")
        signal = drawn.normal("inputs", (self.batch, self.width))
        signals, preactivations, backwards = [_mean_square(signal)], [], []
        for level in range(self.depth):
            signal, before, backward = self._block(signal, drawn, level)
            signals.append(_mean_square(signal))
            preactivations.append(before)
            backwards.append(backward)
        gradient = drawn.normal("cotangents", (self.batch, self.width))
        gradients = [_mean_square(gradient)]
        while backwards:
            gradient = backwards.pop()(gradient)
            gradients.append(_mean_square(gradient))
        return np.array(signals), np.array(preactivations), np.array(gradients[::-1]) / gradients[0]

    def _block(self, signal: Array, drawn: _Draws, level: int) -> tuple[Array, float, _Backward]:
        """What a block makes of a signal, its last pre-activations' mean square, and its way back."""
        branch, before = signal, np.nan
        steps: list[_Backward] = []
        for place, step in enumerate(self.block.steps):
            if isinstance(step, Activate):
                before = _mean_square(branch)
            branch, backward = self._step(step, branch, drawn, f"block {level}/step {place}")
            steps.append(backward)
        scale = self.dtype.type(self.block.branch_scale(self.depth))
        if self.block.is_residual:
            branch = signal + scale * branch
        after: list[_Backward] = []
        for place, step in enumerate(self.block.after):
            branch, backward = self._step(step, branch, drawn, f"block {level}/after {place}")
            after.append(backward)

        def back(gradient: Array) -> Array:
            for each in reversed(after):
                gradient = each(gradient)
            inner = scale * gradient if self.block.is_residual else gradient
            for each in reversed(steps):
                inner = each(inner)
            return gradient + inner if self.block.is_residual else inner

        return branch, before, back

    def _step(self, step: Step, x: Array, drawn: _Draws, name: str) -> tuple[Array, _Backward]:
        if isinstance(step, Dense):
            weights = drawn.weights(f"{name}/kernel", (step.inputs * self.width, step.outputs * self.width))
            made = x @ weights
            if self.bias_stddev:
                made += drawn.normal(f"{name}/bias", (made.shape[1],)) * self.dtype.type(self.bias_stddev)
            return made, lambda gradient: gradient @ weights.T
        if isinstance(step, Activate):
            made = self.activation.function(x).astype(self.dtype)
            return made, lambda gradient: gradient * self.activation.derivative(x).astype(self.dtype)
        return _normalized(step, x)


def _normalized(step: Normalize, x: Array) -> tuple[Array, _Backward]:
    """The normalized numbers, and the way back through their mean and variance."""
    axis = 0 if step.kind == "batch" else 1
    centred = x if step.kind == "rms" else x - x.mean(axis, keepdims=True)
    spread = np.sqrt(np.mean(centred * centred, axis, keepdims=True) + x.dtype.type(EPSILON))
    made = centred / spread

    def back(gradient: Array) -> Array:
        kept = gradient - made * np.mean(gradient * made, axis, keepdims=True)
        if step.kind != "rms":
            kept = kept - gradient.mean(axis, keepdims=True)
        return kept / spread

    return made, back


@dataclass(frozen=True)
class _Draws:
    """What a network draws, each tensor from a seed of its own."""

    network: Network
    initializer: Initializer
    gain: float
    prefix: str

    def weights(self, name: str, shape: tuple[int, int]) -> Array:
        """A dense layer's weights."""
        seeded = self.initializer.with_seed(self.network.seed).spawn(f"{self.prefix}/{name}")
        drawn = np.asarray(seeded(shape, self.network.dtype))
        return drawn if self.gain == 1 else drawn * self.network.dtype.type(self.gain)

    def normal(self, name: str, shape: tuple[int, ...]) -> Array:
        """Normal numbers, which are the same for each initializer."""
        return RandomNormal(0.0, 1.0, self.network.seed).spawn(f"{self.prefix}/{name}")(shape, self.network.dtype)


def _mean_square(x: Array) -> float:
    """The mean square, in double precision; infinite if a number is not finite any more."""
    mean = float(np.mean(np.square(x, dtype=np.float64)))
    return np.inf if np.isnan(mean) else mean
