"""Candidates: the laws that a tensor of a role and shape may have, of fanin's initializers and frameworks' defaults."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np

from fanin import distributions
from fanin._core import dtypes
from fanin._core.types import Array, DType, Shape
from fanin.audits.judging.curves import FunctionCurve
from fanin.audits.judging.laws import Law, constant, cut_normal, mixed, normal, uniform
from fanin.audits.judging.roles import Fans, Role
from fanin.distributions import TRUNCATED_STDDEV
from fanin.report import number

_GATED = "layers that start as nothing: adapters, adaLN-Zero, zero-initialized heads"
_GPT2 = "GPT-2, BERT and most of transformers"
_MAMBA = "Mamba"  # Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023
_STEPS = (1e-3, 1e-1)  # between which Mamba's time steps are log-uniform
_BASES = (1e4, 5e5, 1e6)  # of rotary frequencies: the paper's, Llama 3's, Qwen's
# Spreads that models give their layers whatever their size.
_STDDEVS = {
    0.02: _GPT2,
    0.01: "torchvision's heads, GPT-2's positions",
    0.006: "DeepSeek",
    0.001: "torchvision's detection heads",
    0.05: "Keras's RandomNormal",
    0.041666667: "Grok, Mixtral's open copies",
}
_GAINS = {
    math.sqrt(2): "the gain of relu",
    5 / 3: "the gain of tanh",
    1 / math.sqrt(2): "fairseq's attention",
    0.02: "a small gain",
}


@dataclass(frozen=True)
class Candidate:
    """A law that a tensor may have.

    Attributes:
        law: the law.
        source: whose it is.
        is_rare: that few models have it, and a spread of any other origin may be near it by chance.
    """

    law: Law
    source: str
    is_rare: bool = False

    @property
    def words(self) -> str:
        """The law in words."""
        return self.law.words


def candidates_of(role: Role) -> tuple[Candidate, ...]:
    """The laws that a tensor may have by its role, its shape and its fans.

    >>> from fanin.audits.judging.roles import roles_of
    >>> role = roles_of({"fc.weight": ((512, 256), np.dtype("float32"))})["fc.weight"]
    >>> candidates_of(role)[0].words, candidates_of(role)[0].source
    ('kaiming_uniform(a=sqrt(5)) (stddev 0.0361)', "PyTorch's Linear and Conv")
    """
    dtype = role.dtype
    if dtype is None or role.hint == "optimizer" or 0 in role.shape:
        return ()
    if dtypes.kind(dtype) not in ("float", "complex"):
        return _of_integers(role)
    shape = role.shape or (1,)  # a number is a vector of one
    return _cached(role.role, role.hint, shape, dtype, role.fans, role.n_layers)


def _of_integers(role: Role) -> tuple[Candidate, ...]:
    """What counters and tables of positions are."""
    dtype, size = role.dtype, role.size
    assert dtype is not None
    if role.role == "count":
        return (Candidate(constant(0.0, dtype), "a counter"),)
    if role.hint == "range" and 1 < size < 2**24:
        count = role.shape[-1]
        spread = math.sqrt((count**2 - 1) / 12)
        words = f"0, 1, …, {count - 1}"
        law = Law("table", words, (count - 1) / 2, spread, None, 0.0, count - 1, independent=False, zeros=1 / count)
        return (Candidate(law, "positions"),)
    return ()


@lru_cache(maxsize=4096)
def _cached(
    role: str, hint: str, shape: Shape, dtype: DType, fans: tuple[Fans, ...], n_layers: int | None
) -> tuple[Candidate, ...]:
    known = _Known(role, hint, shape, dtype, fans, n_layers)
    return tuple(_without_doubles(known.candidates()))


def _without_doubles(candidates: Iterator[Candidate]) -> Iterator[Candidate]:
    seen: set[tuple[str, float, float]] = set()
    for each in candidates:
        key = each.words, each.law.mean, each.law.stddev
        if key not in seen and (each.law.is_constant or each.law.stddev > 0):
            seen.add(key)
            yield each


@dataclass(frozen=True)
class _Known:
    """What the candidates of a tensor follow from."""

    role: str
    hint: str
    shape: Shape
    dtype: DType
    fans: tuple[Fans, ...]
    n_layers: int | None

    def candidates(self) -> Iterator[Candidate]:
        """The candidates, the likeliest first."""
        if self.hint in _BY_HINT:
            yield from _BY_HINT[self.hint](self)
        if self.role in _BY_ROLE:
            yield from _BY_ROLE[self.role](self)
        if self.hint == "gate":
            yield Candidate(self._constant(0.0), _GATED)

    # ---------------------------------------------------------------- by role

    def kernel(self) -> Iterator[Candidate]:
        """What kernels are drawn from."""
        for fans in self.fans:
            yield from self._scaled(*fans)
        yield from self._fixed()
        for fans in self.fans:
            yield from self._gained(*fans)
        yield from self._orthogonal()

    def recurrent_kernel(self) -> Iterator[Candidate]:
        """What recurrent kernels are drawn from: PyTorch's, too, are bounded by the number of units."""
        yield from self._recurrent()
        yield from self.kernel()

    def lora_b(self) -> Iterator[Candidate]:
        """The second matrix of an adapter."""
        yield Candidate(self._constant(0.0), "LoRA")

    def embedding(self) -> Iterator[Candidate]:
        """What tables of vectors are drawn from."""
        width, rows = self.shape[-1], self.shape[0]
        yield self._normal(1.0, "normal", "PyTorch's Embedding, T5")
        yield from self._fixed()
        yield self._uniform(0.05, "uniform", "Keras's Embedding")
        yield self._normal(1 / math.sqrt(width), "normal, 1/sqrt(width)", "flax's Embed, tensor2tensor")
        yield self._cut(1.0, 2.0, "truncated_normal", "haiku's Embed")
        yield self._cut(1 / math.sqrt(width) / TRUNCATED_STDDEV, 2.0, "lecun_normal, by width", "MaxText")
        yield self._uniform(1 / rows, "uniform, 1/rows", "codebooks of VQ-VAE")
        for fans in self.fans:
            yield from self._glorot(*fans)

    def bias(self) -> Iterator[Candidate]:
        """What biases start as."""
        yield Candidate(self._constant(0.0), "Keras, flax, transformers")
        for fan_in, _ in self.fans:
            yield self._uniform(1 / math.sqrt(fan_in), "uniform, 1/sqrt(fan_in)", "PyTorch's Linear and Conv")
        yield from self._recurrent()
        if self.shape[0] % 4 == 0:
            quarter = self.shape[0] // 4
            ones, zeros = (self._constant(1.0), quarter), (self._constant(0.0), 3 * quarter)
            yield Candidate(mixed([ones, zeros], "zeros, ones for the forget gate"), "Keras's LSTM")
        yield Candidate(self._constant(1.0), "gates")
        yield self._normal(0.02, "normal", "GANs")
        yield self._normal(1e-6, "normal", "flax's ViT")

    def scale(self) -> Iterator[Candidate]:
        """What factors of normalized inputs start as."""
        yield Candidate(self._constant(1.0), "norms")
        yield Candidate(self._constant(0.0), "norms that end a residual branch, and those that scale by 1 + weight")
        yield self._normal(0.02, "normal", "DCGAN", mean=1.0)
        yield self._normal(0.02, "normal", "some norms of transformers")

    def zeros(self) -> Iterator[Candidate]:
        """What starts as zeros."""
        yield Candidate(self._constant(0.0), "norms")

    def ones(self) -> Iterator[Candidate]:
        """What starts as ones."""
        yield Candidate(self._constant(1.0), "norms")

    def other(self) -> Iterator[Candidate]:
        """What anything else may start as."""
        if self.hint:
            return
        yield Candidate(self._constant(0.0), "anything")
        yield Candidate(self._constant(1.0), "anything")
        yield self._normal(1.0, "normal", "torch.randn")
        yield Candidate(unit_uniform(self.dtype), "torch.rand")
        if len(self.shape) > 1:
            yield from self.kernel()
        else:
            yield self._normal(0.02, "normal", _GPT2)

    # ---------------------------------------------------------------- by hint

    def layer_scale(self) -> Iterator[Candidate]:
        """The factors of residual branches. (Touvron et al., "Going deeper with Image Transformers", 2021)"""
        for value in (1e-5, 1e-6, 1e-4, 0.1):
            yield Candidate(self._constant(value), "LayerScale")

    def position(self) -> Iterator[Candidate]:
        """Embeddings of positions."""
        yield self._normal(0.02, "normal", "ViT, GPT-2")
        yield self._cut(0.02, 2.0, "truncated_normal", "Keras's and flax's ViT")
        if self.role != "embedding":  # a layer that looks positions up
            yield Candidate(self._constant(0.0), "ViT of transformers")
        yield self._normal(0.01, "normal", "OpenAI's GPT-2")
        yield self._normal(1.0, "normal", "torch.randn")
        yield self._normal(1 / math.sqrt(self.shape[-1]), "normal, 1/sqrt(width)", "CLIP")
        if len(self.shape) > 1 and self.shape[-1] % 2 == 0:
            for interleaved, endpoint in ((True, False), (False, True)):  # whose moments differ by their frequencies
                table = distributions.Sinusoidal(self.shape, self.dtype, 1e4, 0, interleaved, endpoint)
                yield Candidate(Law.of(table, words="sinusoidal"), "Vaswani et al., 2017")

    def token(self) -> Iterator[Candidate]:
        """Class tokens and their like."""
        yield Candidate(self._constant(0.0), "ViT of transformers")
        yield self._normal(0.02, "normal", "DeiT")
        yield self._cut(0.02, 2.0, "truncated_normal", "Keras")
        yield self._normal(1e-6, "normal", "timm's ViT")
        yield self._normal(1.0, "normal", "torch.randn")
        yield self._normal(1 / math.sqrt(self.shape[-1]), "normal, 1/sqrt(width)", "CLIP")

    def slope(self) -> Iterator[Candidate]:
        """The slopes of PReLU. (He et al., "Delving Deep into Rectifiers", 2015)"""
        yield Candidate(self._constant(0.25), "PyTorch's PReLU")
        yield Candidate(self._constant(0.0), "Keras's PReLU")
        yield Candidate(self._constant(1.0), "alphas")

    def temperature(self) -> Iterator[Candidate]:
        """The logarithm of a temperature. (Radford et al., "Learning Transferable Visual Models", 2021)"""
        yield Candidate(self._constant(math.log(1 / 0.07)), "CLIP")
        yield Candidate(self._constant(math.log(10.0)), "SigLIP, Swin v2")
        yield Candidate(self._constant(2.6592), "transformers' CLIP")

    def state_space(self) -> Iterator[Candidate]:
        """The logarithms of the decays of a state space model."""
        if len(self.shape) > 1:
            table = distributions.S4D(self.shape, self.dtype, "real", "log_real")
            yield Candidate(Law.of(table, words="log(1), …, log(n)"), _MAMBA)
        law = _between_logs(16.0, self.dtype)
        yield Candidate(law, "Mamba 2")
        if self.shape:
            first = np.log(np.arange(1, self.shape[-1] + 1))
            yield Candidate(_table(first, "log(1), …, log(n)"), "transformers' Mamba 2")

    def skip(self) -> Iterator[Candidate]:
        """What a state space model passes by its state."""
        yield Candidate(self._constant(1.0), _MAMBA)

    def time_step(self) -> Iterator[Candidate]:
        """The inverse softplus of time steps, and the matrix that makes them."""
        yield Candidate(_time_steps(self.dtype), _MAMBA)
        yield Candidate(self._constant(1.0), "transformers' Mamba 2")
        if len(self.shape) > 1:
            yield self._uniform(1 / math.sqrt(self.shape[1]), "uniform, 1/sqrt(rank)", _MAMBA)

    def rotary(self) -> Iterator[Candidate]:
        """The frequencies of rotary embeddings. (Su et al., "RoFormer", 2021)"""
        count = self.shape[0]
        for base in _BASES:
            values = base ** (-np.arange(count) / max(count, 1))
            yield Candidate(_table(values, f"rotary frequencies of base {number(base)}"), "RoFormer, Llama")

    # ---------------------------------------------------------------- laws

    def _scaled(self, fan_in: float, fan_out: float) -> Iterator[Candidate]:
        """Laws whose spread follows from fans, as papers and frameworks have them."""
        yield self._uniform(1 / math.sqrt(fan_in), "kaiming_uniform(a=sqrt(5))", "PyTorch's Linear and Conv")
        yield from self._glorot(fan_in, fan_out)
        for name, scale, units in (
            ("he", 2 / fan_in, ""),
            ("he", 2 / fan_out, ", fan_out"),
            ("lecun", 1 / fan_in, ""),
            ("lecun", 1 / fan_out, ", fan_out"),
        ):
            stddev, torchs = math.sqrt(scale), name.replace("he", "kaiming")
            yield self._cut(stddev / TRUNCATED_STDDEV, 2.0, f"{name}_normal{units}", "Keras, JAX")
            yield self._normal(stddev, f"{torchs}_normal{units}, not truncated", "PyTorch")
            yield self._uniform(math.sqrt(3) * stddev, f"{name}_uniform{units}", "Keras, JAX, PyTorch")
        yield self._cut(1 / math.sqrt(fan_in), 2.0, "truncated_normal, 1/sqrt(fan_in)", "haiku's Linear")
        yield self._cut(1 / math.sqrt(fan_in), 3.0, "truncated_normal at 3, 1/sqrt(fan_in)", "OLMo")

    def _glorot(self, fan_in: float, fan_out: float) -> Iterator[Candidate]:
        stddev = math.sqrt(2 / (fan_in + fan_out))
        yield self._uniform(math.sqrt(3) * stddev, "glorot_uniform", "Keras's default, PyTorch's attention")
        yield self._cut(stddev / TRUNCATED_STDDEV, 2.0, "glorot_normal", "Keras, JAX")
        yield self._normal(stddev, "xavier_normal, not truncated", "PyTorch")

    def _gained(self, fan_in: float, fan_out: float) -> Iterator[Candidate]:
        """Rarer laws whose spread follows from fans."""
        stddev = math.sqrt(2 / (fan_in + fan_out))
        for gain, source in _GAINS.items():
            yield self._uniform(math.sqrt(3) * gain * stddev, f"xavier_uniform(gain={number(gain, 3)})", source)
            yield self._normal(gain * stddev, f"xavier_normal(gain={number(gain, 3)})", source)
        yield self._normal(math.sqrt(2 / (5 * fan_in)), "small_init, sqrt(2/(5 d))", "Nguyen and Salazar, 2019")
        yield self._normal(1 / math.sqrt(fan_in * 64), "normal, 1/sqrt(d * 64)", "T5's queries")
        yield self._uniform(1 / fan_in, "uniform, 1/fan_in", "SIREN's first layer")
        yield self._uniform(math.sqrt(6 / fan_in) / 30, "uniform, sqrt(6/fan_in)/30", "SIREN")
        if self.n_layers:
            wang = 2 / (self.n_layers * math.sqrt(fan_in))
            yield self._normal(wang, "normal, 2/(n_layers sqrt(d))", "GPT-J, NeoX")

    def _fixed(self) -> Iterator[Candidate]:
        """Laws of spreads that do not depend on a layer's size, but may on the number of layers."""
        roots = {"": 1.0}
        if self.n_layers:
            roots["/sqrt(2 n_layers)"] = 1 / math.sqrt(2 * self.n_layers)
            roots["/sqrt(n_layers)"] = 1 / math.sqrt(self.n_layers)
        for stddev, source in _STDDEVS.items():
            for name, root in roots.items():
                by = f", {number(stddev, 3)}{name}" if name else ""
                for each in (
                    self._normal(stddev * root, f"normal{by}", source),
                    self._cut(stddev * root, 2.0, f"truncated_normal{by}", f"{source}; Keras, JAX"),
                    self._cut(stddev * root, 3.0, f"truncated_normal at 3{by}", f"{source}; OLMo, torchtitan"),
                ):
                    yield replace(each, is_rare=source != _GPT2)
        yield self._uniform(0.05, "uniform", "Keras's RandomUniform")

    def _recurrent(self) -> Iterator[Candidate]:
        """PyTorch's recurrent layers: uniforms bounded by one over the root of the number of units."""
        gates = {self.shape[0] // blocks for blocks in (4, 3, 1) if self.shape[0] % blocks == 0 and self.shape[0]}
        for units in sorted(gates, reverse=True):
            yield self._uniform(1 / math.sqrt(units), "uniform, 1/sqrt(units)", "PyTorch's recurrent layers")

    def _orthogonal(self) -> Iterator[Candidate]:
        """Orthogonal matrices, of PyTorch's layout and of Keras's, with the gains of reinforcement learning."""
        if len(self.shape) < 2 or min(self.shape[0], math.prod(self.shape[1:])) < 2:
            return
        for gain in (1.0, math.sqrt(2), 0.01):
            name = "orthogonal" if gain == 1 else f"orthogonal(gain={number(gain, 3)})"
            for column_axes in {len(self.shape) - 1, 1}:
                matrix = distributions.Orthogonal(self.shape, self.dtype, gain, column_axes)
                yield Candidate(Law.of(matrix, words=name), "Saxe et al., 2013")

    def _constant(self, value: float) -> Law:
        return constant(value, self.dtype)

    def _normal(self, stddev: float, name: str, source: str, mean: float = 0.0) -> Candidate:
        return Candidate(normal(stddev, self.dtype, name, mean), source)

    def _uniform(self, limit: float, name: str, source: str) -> Candidate:
        return Candidate(uniform(limit, self.dtype, name), source)

    def _cut(self, stddev: float, at: float, name: str, source: str) -> Candidate:
        return Candidate(cut_normal(stddev, at, self.dtype, name), source)


def _table(values: Array, words: str) -> Law:
    """The law of values that are given."""
    low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    room = 0.01 * max(abs(low), abs(high))
    law = Law("table", words, float(values.mean()), float(values.std()), None, low - room, high + room)
    return replace(law, slack=0.01, independent=False, zeros=1.0)


def _time_steps(dtype: DType) -> Law:
    """The inverse softplus of log-uniform time steps."""
    first, last = _STEPS
    span = math.log(last / first)
    shares = (np.arange(2**12) + 0.5) / 2**12
    steps = first * np.exp(shares * span)
    values = steps + np.log(-np.expm1(-steps))
    return _of_shares(values, partial(_steps_below, first, span), "inverse softplus of log-uniform steps", dtype)


def _steps_below(first: float, span: float, value: float) -> float:
    """The share of time steps of which the inverse softplus is at most a value."""
    step = math.log1p(math.exp(value)) if value < 30 else value
    return min(max(math.log(step / first) / span, 0.0), 1.0) if step > 0 else 0.0


def unit_uniform(dtype: DType) -> Law:
    """The law of uniforms in [0, 1)."""
    return Law.of(distributions.Uniform((1,), dtype if dtype in dtypes.FLOATS else dtypes.FLOAT32, 0.0, 1.0), dtype)


def _between_logs(most: float, dtype: DType) -> Law:
    """The logarithms of uniforms in [1, most]."""
    values = np.log(1 + (most - 1) * (np.arange(2**12) + 0.5) / 2**12)
    return _of_shares(values, partial(_logs_below, most), f"log(uniform(1, {number(most)}))", dtype)


def _logs_below(most: float, value: float) -> float:
    """The share of uniforms in [1, most] of which the logarithm is at most a value."""
    return min(max((math.exp(min(value, 50.0)) - 1) / (most - 1), 0.0), 1.0)


def _of_shares(values: Array, below: Callable[[float], float], words: str, dtype: DType) -> Law:
    """The law of a function of uniforms, from its values at evenly spaced ones."""
    mean, stddev = float(values.mean()), float(values.std())
    kurtosis = float(((values - mean) ** 4).mean()) / stddev**4
    room = 0.01 * stddev
    low, high = float(values.min()) - room, float(values.max()) + room
    law = Law("function", words, mean, stddev, kurtosis, low, high, FunctionCurve(below))
    return replace(law, slack=0.01 if dtype.itemsize < 4 else 1e-3)


_BY_HINT = {
    "tied": _Known.embedding,
    "layer_scale": _Known.layer_scale,
    "position": _Known.position,
    "token": _Known.token,
    "slope": _Known.slope,
    "temperature": _Known.temperature,
    "state_space": _Known.state_space,
    "skip": _Known.skip,
    "time_step": _Known.time_step,
    "rotary": _Known.rotary,
}
_BY_ROLE = {
    "kernel": _Known.kernel,
    "recurrent_kernel": _Known.recurrent_kernel,
    "depthwise_kernel": _Known.kernel,
    "lora_a": _Known.kernel,
    "lora_b": _Known.lora_b,
    "embedding": _Known.embedding,
    "bias": _Known.bias,
    "recurrent_bias": _Known.bias,
    "scale": _Known.scale,
    "offset": _Known.zeros,
    "mean": _Known.zeros,
    "variance": _Known.ones,
    "count": _Known.zeros,
    "other": _Known.other,
}
