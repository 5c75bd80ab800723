"""Tensors whose verdict is known: healthy ones of every initializer, damaged ones of every kind, and trained ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

import fanin
from fanin.audits.arrays import InMemory
from fanin.audits.damage import damage
from fanin.audits.judgement import allowed_of, judge
from fanin.audits.laws import Law
from fanin.audits.roles import Role, roles_of
from fanin.audits.statistics import measure
from fanin.audits.verdicts import Verdict
from fanin.distributions import Normal, TruncatedNormal, Uniform

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOATS = ("float32", "float64", "float16", "bfloat16")
SHAPES = ((64, 128), (300, 200), (3, 3, 16, 32))
N_LAYERS = 12
_TRUNCATED = 0.87962566103423978  # the standard deviation of a unit normal that is cut at 2


@dataclass(frozen=True)
class Labelled:
    """A tensor and what it is.

    Attributes:
        label: what it is, in words.
        name: its name in a checkpoint.
        array: its elements, in its framework's layout.
        kind: the verdict that is right.
        codes: the first problem that is right; several where they mean the same.
        law: the law that is expected of it; None if it is judged by its name and shape alone.
    """

    label: str
    name: str
    array: np.ndarray
    kind: str
    codes: tuple[str, ...] = ()
    law: Law | None = None

    @property
    def role(self) -> Role:
        """The role by name and shape, in a model of `N_LAYERS` blocks if the name has one."""
        blocks = [self.name.replace("h.0.", f"h.{number}.") for number in range(N_LAYERS)]
        return roles_of({name: (self.array.shape, self.array.dtype) for name in blocks})[self.name]

    def verdict(self) -> Verdict:
        """What fanin says, with damage."""
        found = measure(InMemory(self.name, np.ascontiguousarray(self.array)))
        role = self.role
        verdict = judge(found, role, self.law)
        return verdict.with_problems(damage(found, role.shape, self.array.dtype, allowed_of(role, self.law)))


# ---------------------------------------------------------------- healthy

INITIALIZERS: dict[str, Callable[..., Any]] = {
    "random_normal": fanin.RandomNormal,
    "random_uniform": fanin.RandomUniform,
    "truncated_normal": fanin.TruncatedNormal,
    "truncated at bounds": lambda seed: fanin.TruncatedNormal(0.0, 0.02, seed, minval=-0.03, maxval=0.05),
    "glorot_normal": fanin.GlorotNormal,
    "glorot_uniform": fanin.GlorotUniform,
    "he_normal": fanin.HeNormal,
    "he_uniform": fanin.HeUniform,
    "lecun_normal": fanin.LecunNormal,
    "lecun_uniform": fanin.LecunUniform,
    "kaiming_uniform": lambda seed: fanin.VarianceScaling(1 / 3, "fan_in", "uniform", seed),
    "kaiming_normal, fan_out": lambda seed: fanin.VarianceScaling(2.0, "fan_out", "untruncated_normal", seed),
    "orthogonal": fanin.Orthogonal,
    "exponential": lambda seed: fanin.Exponential(30.0, seed),
    "log_normal": lambda seed: fanin.LogNormal(-3.0, 0.5, seed),
    "bernoulli": lambda seed: fanin.Bernoulli(0.3, seed),
}


def healthy() -> Iterator[Labelled]:
    """Tensors as initializers make them, with what is expected of them."""
    seed = 0
    for label, make in INITIALIZERS.items():
        for shape in SHAPES:
            for dtype in FLOATS:
                seed += 1
                initializer = make(seed=seed)
                law = Law.of(initializer.distribution(shape, dtype), words=label)
                array = initializer(shape, dtype)
                in_torch = seed % 2 == 1
                stored = np.ascontiguousarray(array.transpose(-1, -2, *range(len(shape) - 2))) if in_torch else array
                if label == "orthogonal" and in_torch:  # whose long axis is now another
                    stored = array
                name = "fc.weight" if in_torch else "dense.kernel"
                yield Labelled(f"{label}, {dtype}, {shape}", name, stored, "consistent", (), law)
    yield from _healthy_special()
    yield from _healthy_alone()


def _healthy_special() -> Iterator[Labelled]:
    """Tensors of initializers that only some shapes and dtypes have."""
    cases: list[tuple[Any, tuple[int, ...], str]] = [
        (fanin.Identity(), (40, 60), "float32"),
        (fanin.Dirac(), (3, 3, 16, 32), "float32"),
        (fanin.Bilinear(), (4, 4, 8, 8), "float16"),
        (fanin.Hippo("legs"), (16, 16), "float32"),
        (fanin.Sinusoidal(), (50, 32), "bfloat16"),
        (fanin.Rotary("sin"), (40, 32), "float32"),
        (fanin.Zeros(), (64,), "bfloat16"),
        (fanin.Ones(), (64,), "float16"),
        (fanin.Constant(0.3), (64,), "bfloat16"),
        (fanin.Sparse(0.9, 0.1, seed=5), (100, 80), "float32"),
        (fanin.DeltaOrthogonal(seed=5), (3, 3, 32, 64), "float32"),
        (fanin.ComplexGlorot(seed=5), (64, 80), "complex64"),
        (fanin.ComplexHe(seed=5), (64, 80), "complex128"),
        (fanin.ComplexNormal(seed=5), (64, 80), "complex64"),
        (fanin.ComplexVarianceScaling(1.0, "fan_in", "uniform", seed=5), (64, 80), "complex64"),
        (fanin.Unitary(seed=5), (64, 64), "complex64"),
        (fanin.RandomUniform(-5, 9, seed=5), (64, 80), "int32"),
    ]
    for initializer, shape, dtype in cases:
        law = Law.of(initializer.distribution(shape, dtype))
        name = type(initializer).__name__
        yield Labelled(name, "layer.table", initializer(shape, dtype), "consistent", (), law)
    for dtype in ("float8_e4m3fn", "float8_e5m2", "bfloat16", "float16"):
        drawn = fanin.HeNormal(seed=6)
        stored = np.dtype(getattr(ml_dtypes, dtype, dtype))
        law = Law.of(drawn.distribution((256, 300)), stored, words="he_normal")
        yield Labelled(f"stored as {dtype}", "dense.kernel", drawn((256, 300)).astype(stored), "consistent", (), law)


# What frameworks make, by NumPy's own generator: name, shape, and how to draw it.
ALONE: tuple[tuple[str, tuple[int, ...], Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]], ...] = (
    ("fc.weight", (256, 128), lambda rng, shape: rng.uniform(-1, 1, shape) / math.sqrt(128)),
    ("conv.weight", (64, 32, 3, 3), lambda rng, shape: rng.uniform(-1, 1, shape) / math.sqrt(288)),
    ("layer1.0.conv1.weight", (64, 32, 3, 3), lambda rng, shape: rng.normal(0, math.sqrt(2 / 576), shape)),
    ("dense/kernel", (128, 256), lambda rng, shape: rng.uniform(-1, 1, shape) * math.sqrt(6 / 384)),
    ("conv2d/kernel", (3, 3, 32, 64), lambda rng, shape: rng.uniform(-1, 1, shape) * math.sqrt(6 / 864)),
    ("h.0.attn.c_attn.weight", (128, 384), lambda rng, shape: rng.normal(0, 0.02, shape)),
    ("model.layers.0.mlp.up_proj.weight", (256, 128), lambda rng, shape: rng.normal(0, 0.02, shape)),
    ("wte.weight", (500, 64), lambda rng, shape: rng.normal(0, 0.02, shape)),
    ("embedding.weight", (500, 64), lambda rng, shape: rng.normal(0, 1, shape)),
    ("embedding/embeddings", (500, 64), lambda rng, shape: rng.uniform(-0.05, 0.05, shape)),
    ("blocks.0.norm1.weight", (64,), lambda rng, shape: np.ones(shape)),
    ("blocks.0.norm1.bias", (64,), lambda rng, shape: np.zeros(shape)),
    ("bn1.running_mean", (64,), lambda rng, shape: np.zeros(shape)),
    ("bn1.running_var", (64,), lambda rng, shape: np.ones(shape)),
    ("fc.bias", (64,), lambda rng, shape: np.zeros(shape)),
    ("blocks.0.ls1.gamma", (64,), lambda rng, shape: np.full(shape, 1e-5)),
    ("pos_embed", (1, 197, 64), lambda rng, shape: rng.normal(0, 0.02, shape)),
    ("lstm.weight_ih_l0", (256, 32), lambda rng, shape: rng.uniform(-1, 1, shape) / 8),
    ("fc.weight", (300, 200), lambda rng, shape: rng.normal(0, 0.0123, shape)),  # a spread that nobody has
)


def _healthy_alone() -> Iterator[Labelled]:
    """Tensors that nothing is expected of, in the dtypes that checkpoints have."""
    for number, (name, shape, draw) in enumerate(ALONE):
        for dtype in ("float32", "float16", "bfloat16"):
            stored = BFLOAT16 if dtype == "bfloat16" else np.dtype(dtype)
            array = draw(np.random.default_rng(number), shape).astype(np.float32).astype(stored)
            yield Labelled(f"{name}, {dtype}, {number}", name, array, "consistent")


# ---------------------------------------------------------------- damaged


@dataclass(frozen=True)
class Base:
    """What a damaged tensor should have been: a law around 0, in a layout."""

    label: str
    family: str
    shape: tuple[int, int]  # (inputs, outputs)
    layout: str

    @property
    def fans(self) -> tuple[int, int]:
        return self.shape

    @property
    def stddev(self) -> float:
        fan_in, fan_out = self.fans
        return {
            "he_normal": math.sqrt(2 / fan_in),
            "glorot_uniform": math.sqrt(2 / (fan_in + fan_out)),
            "normal": 0.02,
            "lecun_uniform": math.sqrt(1 / fan_in),
        }[self.family]

    @property
    def by_fans(self) -> bool:
        return self.family in ("he_normal", "lecun_uniform")

    def draw(self, rng: np.random.Generator, stddev: float, size: tuple[int, ...] | None = None) -> np.ndarray:
        """Elements with this standard deviation, by NumPy's generator."""
        size = self.stored_shape if size is None else size
        if "uniform" in self.family:
            return rng.uniform(-1, 1, size) * math.sqrt(3) * stddev
        return (_cut_normals(rng, size) / _TRUNCATED if self.family == "he_normal" else rng.normal(0, 1, size)) * stddev

    @property
    def stored_shape(self) -> tuple[int, int]:
        inputs, outputs = self.shape
        return (inputs, outputs) if self.layout == "keras" else (outputs, inputs)

    @property
    def name(self) -> str:
        return "dense.kernel" if self.layout == "keras" else "fc.weight"

    def law(self) -> Law:
        """The law, from fanin's distribution."""
        dtype, limit = np.dtype("float32"), math.sqrt(3) * self.stddev
        if "uniform" in self.family:
            drawn = Uniform(self.shape, dtype, -limit, limit)
        elif self.family == "he_normal":
            drawn = TruncatedNormal(self.shape, dtype, 0.0, self.stddev / _TRUNCATED)
        else:
            drawn = Normal(self.shape, dtype, 0.0, self.stddev)
        return Law.of(drawn, words=self.family, by_fans=self.by_fans)


def _cut_normals(rng: np.random.Generator, size: tuple[int, ...], at: float = 2.0) -> np.ndarray:
    values = rng.normal(0, 1, size)
    while (beyond := np.abs(values) >= at).any():
        values[beyond] = rng.normal(0, 1, np.count_nonzero(beyond))
    return values


BASES = tuple(
    Base(f"{family}, {layout}, {shape}", family, shape, layout)
    for family in ("he_normal", "glorot_uniform", "normal", "lecun_uniform")
    for shape in ((256, 768), (384, 100))
    for layout in ("keras", "torch")
)


def _rows(array: np.ndarray, rows: slice, value: float) -> np.ndarray:
    array = array.copy()
    array[rows] = value
    return array


def _with(array: np.ndarray, value: float) -> np.ndarray:
    array = array.copy()
    array[3, 5] = value
    return array


def _repeated(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    half = len(array) // 2
    array[half : 2 * half] = array[:half]
    return array


def damaged() -> Iterator[Labelled]:
    """Tensors with each kind of damage, in each layout, of each of a few laws."""
    for number, base in enumerate(BASES):
        rng = np.random.default_rng(1000 + number)
        law, clean = base.law(), base.draw(rng, base.stddev)
        fan_in, fan_out = base.fans

        def broken(label: str, array: np.ndarray, *codes: str, base: Base = base, law: Law = law) -> Labelled:
            stored = array.astype(np.float32)
            return Labelled(f"{label}: {base.label}", base.name, stored, "broken", codes, law)

        def suspicious(label: str, array: np.ndarray, *codes: str, base: Base = base, law: Law = law) -> Labelled:
            stored = array.astype(np.float32)
            return Labelled(f"{label}: {base.label}", base.name, stored, "suspicious", codes, law)

        yield broken("a NaN", _with(clean, math.nan), "nan")
        yield broken("an infinity", _with(clean, math.inf), "infinity")
        yield broken("zeros", np.zeros_like(clean), "zeros")
        yield broken("constant", np.full_like(clean, 0.01), "constant")
        yield broken("dead rows", _rows(clean, slice(7, 20), 0.0), "dead-rows")
        yield broken("dead columns", _rows(clean.T, slice(7, 20), 0.0).T, "dead-columns")
        yield broken("a repeated half", _repeated(clean), "repeated")
        memory = rng.integers(0, 2**32, clean.shape, np.uint32).view(np.float32)
        yield broken("leftovers of memory", np.where(np.isfinite(memory), memory, 1e30), "garbage")
        for ratio in (2.0, 0.5, 1.1, 0.02):
            yield suspicious(f"{ratio} times the spread", ratio * clean, "stddev")
        if base.by_fans:
            swapped = clean * math.sqrt(fan_in / fan_out)
            yield suspicious("fans swapped", swapped, "transposed")
        yield suspicious("another mean", clean + 0.5 * base.stddev, "mean")
        yield suspicious("clipped", np.clip(clean, -base.stddev, base.stddev), "clipped")
        bits = rng.integers(0, 128, clean.shape) / 128 - 0.5
        if "uniform" in base.family:
            few = bits * 2 * math.sqrt(3) * base.stddev
            yield suspicious("of 7 bits", few, "coarse", "grid", "mean")
        else:
            yield suspicious(
                "uniform", bits * math.sqrt(12) * base.stddev, "distribution", "truncation", "coarse", "grid"
            )
        if base.family == "normal":
            yield suspicious("truncated", base.stddev * _cut_normals(rng, clean.shape, 1.5), "truncation")
            own_spread = base.stddev / _TRUNCATED * _cut_normals(rng, clean.shape)
            yield suspicious("truncated, of the same spread", own_spread, "truncation")
        if base.family == "he_normal":
            yield suspicious("not truncated", rng.normal(0, base.stddev, clean.shape), "truncation")
            elsewhere = base.stddev / _TRUNCATED * _cut_normals(rng, clean.shape, 3.0)
            yield suspicious("truncated at 3", elsewhere, "truncation")
        yield suspicious("in bfloat16 before", clean.astype(np.float32).astype(BFLOAT16), "grid")
        yield suspicious("in float16 before", clean.astype(np.float32).astype(np.float16), "grid")
        laplace = rng.laplace(0, base.stddev / math.sqrt(2), clean.shape)
        yield suspicious("Laplace's", laplace, "distribution")
        halves = clean.copy()
        halves[: len(halves) // 2] *= 1.5
        yield suspicious("two spreads", halves, "uneven")
    yield from _residuals()


def _residuals() -> Iterator[Labelled]:
    """Projections at the end of residual branches without their scaling, or with too much of it."""
    law = Law.of(Normal((128, 512), np.dtype("float32"), 0.0, 0.02 / math.sqrt(2 * N_LAYERS)), words="normal")
    for block in range(4):
        name, rng = "h.0.mlp.c_proj.weight", np.random.default_rng(block)
        array = rng.normal(0, 0.02, (512, 128)).astype(np.float32)
        yield Labelled(f"unscaled {block}", name, array, "suspicious", ("residual",), law)
        twice = array / np.float32(2 * N_LAYERS)
        yield Labelled(f"scaled twice {block}", name, twice, "suspicious", ("residual",), law)


# ---------------------------------------------------------------- trained


def trained(steps: int = 100) -> Iterator[Labelled]:
    """The kernels of small networks, trained by plain stochastic gradient descent on images of blobs."""
    for number in range(4):
        rng = np.random.default_rng(2000 + number)
        weights = _trained_network(rng, steps)
        for layer, array in enumerate(weights):
            for dtype in (np.dtype("float32"), BFLOAT16):
                name = f"layers.{layer}.fc.weight"
                stored = np.ascontiguousarray(array.T).astype(dtype)
                yield Labelled(f"trained, layer {layer}, {number}", name, stored, "trained")


def _trained_network(rng: np.random.Generator, steps: int) -> list[np.ndarray]:
    """Two kernels of a network that tells blobs in images of 16 by 16 apart by their place."""
    grid = np.stack(np.meshgrid(np.arange(16), np.arange(16)), -1).reshape(-1, 2)
    first = (rng.normal(0, math.sqrt(2 / 256), (256, 96))).astype(np.float32)
    second = (rng.normal(0, math.sqrt(1 / 96), (96, 16))).astype(np.float32)
    for _ in range(steps):
        places = rng.uniform(0, 16, (64, 2))
        images = np.exp(-((grid[None] - places[:, None]) ** 2).sum(-1) / 8).astype(np.float32)
        labels = (places // 4).astype(int) @ (4, 1)
        hidden = np.maximum(images @ first, 0)
        scores = hidden @ second
        shares = np.exp(scores - scores.max(1, keepdims=True))
        errors = shares / shares.sum(1, keepdims=True)
        errors[np.arange(64), labels] -= 1
        back = (errors @ second.T) * (hidden > 0)
        second -= 0.03 * hidden.T @ errors
        first -= 0.03 * images.T @ back
    return [first, second]


def every() -> tuple[Labelled, ...]:
    """The whole set."""
    return (*healthy(), *damaged(), *trained())
