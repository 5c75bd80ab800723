"""`fanin bench`: speed, compared with the other libraries that are installed, in interleaved rounds of one process.

Absolute times mean little on a shared machine; ratios within one run mean more. So every round runs each candidate
once, and the medians over the rounds are compared.
"""

from __future__ import annotations

import copy
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np

from fanin import __version__, initializers
from fanin._core import dtypes
from fanin._core.settings import REFERENCE, TIERS, config

ELEMENTS = 2**25
FLOATS = ("float32", "bfloat16", "float16", "float64")
SMALL_SHAPES = ((64, 64), (3, 3, 64, 64), (4096, 4096))
FRESH_SHAPE = (8192, 4096)
# Weights in PyTorch's layout: matrices (out, in), convolutions (out, in, height, width).
LAYOUT_SHAPES = (
    (4096, 4096),
    (11008, 4096),
    (32000, 2048),
    (50257, 768),
    (512, 512, 3, 3),
    (64, 3, 7, 7),
)
ORTHOGONAL_SIZES = (512, 1024, 2048)
FRAMEWORK_SHAPE = (4096, 4096)  # of the tensors that each framework's own initializers fill
# These groups run only on all cores: on fewer, a BLAS with a thread for each core mostly waits for its threads.
ALL_CORES = ("orthogonal", "frameworks", "models", "import")
GROUPS = ("layouts", "fill", "fresh", "small", "orthogonal", "frameworks", "models", "import")


class Effort(NamedTuple):
    """How much to measure.

    Attributes:
        rounds: how often each candidate is measured.
        sample: the minimum length of a measurement in seconds, reached by repeated calls, so that the cores wake up;
            also the length of the pause before it, so that threads that other libraries leave spinning go to sleep.
        quick: whether to use small sizes.
    """

    rounds: int
    sample: float
    quick: bool


FULL = Effort(rounds=5, sample=0.05, quick=False)
QUICK = Effort(rounds=3, sample=0.002, quick=True)


@dataclass
class Result:
    """One candidate of one case, with the time of each round."""

    group: str
    case: str
    threads: int
    candidate: str
    elements: int
    rounds: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """The median over the rounds."""
        return statistics.median(self.rounds)


Candidates = dict[str, Callable[[], object]]


class Frameworks:
    """The other libraries that are installed, imported once and quietly."""

    tensorflow: Any
    tf_keras: Any
    torch: Any
    jax: Any

    def __init__(self) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        self.tensorflow, self.tf_keras = self._import("tensorflow"), self._import("tf_keras")
        self.torch, self.jax = self._import("torch"), self._import("jax")
        # Each creates its threads when it is first used, one for each core that it may use then. So it is used now.
        shape = (1024, 1024)
        if self.tensorflow:
            self.tensorflow.random.stateless_uniform(shape, [1, 0])
        if self.torch:
            self.torch.mm(self.torch.ones(shape), self.torch.ones(shape))
        if self.jax:
            self.jax.numpy.matmul(self.jax.numpy.ones(shape), self.jax.numpy.ones(shape)).block_until_ready()

    @staticmethod
    def _import(name: str) -> Any:
        try:
            module = __import__(name)
        except ImportError:
            return None
        return module


@contextmanager
def cores(count: int) -> Iterator[None]:
    """Confines every thread of the process, including the frameworks' own, to this many cores."""
    allowed = os.sched_getaffinity(0)
    _set_affinity(set(sorted(allowed)[:count]))
    try:
        with config.using(threads=count):
            yield
    finally:
        _set_affinity(allowed)


def _set_affinity(allowed: set[int]) -> None:
    for thread in os.listdir("/proc/self/task"):
        try:
            os.sched_setaffinity(int(thread), allowed)
        except OSError:  # it has just ended
            continue


def measure(
    group: str, case: str, candidates: Candidates, effort: Effort, *, threads: int, elements: int
) -> list[Result]:
    """Times every candidate once per round, after calls that do not count."""
    results = [Result(group, case, threads, name, elements) for name in candidates]
    repeats = {}
    for name, call in candidates.items():
        started = time.perf_counter()
        call()
        if (taken := time.perf_counter() - started) < effort.sample:  # the first call may have been slow
            started = time.perf_counter()
            call()
            taken = time.perf_counter() - started
        repeats[name] = max(1, int(effort.sample / max(taken, 1e-7)))
    for _ in range(effort.rounds):
        for result, (name, call) in zip(results, candidates.items(), strict=True):
            time.sleep(effort.sample)
            started = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            result.rounds.append((time.perf_counter() - started) / repeats[name])
    return results


def _tiers(threads: int, call: Callable[[], object], tiers: tuple[str, ...]) -> Candidates:
    """One candidate for each tier."""

    def on(tier: str) -> Callable[[], object]:
        def run() -> None:
            with config.using(tier=tier, threads=threads):
                call()

        return run

    return {f"fanin {tier}": on(tier) for tier in tiers}


def _fill_candidates(law: str, dtype: str, elements: int, threads: int, frameworks: Frameworks) -> Candidates:
    """Each library's way to fill a buffer that has been touched before. TensorFlow and JAX make new tensors instead."""
    makers = {
        "uniform": initializers.RandomUniform(0.0, 1.0, seed=1),
        "normal": initializers.RandomNormal(0.0, 1.0, seed=1),
        "truncated normal": initializers.TruncatedNormal(0.0, 1.0, seed=1),
    }
    buffer = np.ones(elements, dtypes.resolve(dtype))
    candidates: Candidates = {"memset": lambda: buffer.view(np.uint8).fill(1)}
    tiers = tuple(tier for tier in reversed(TIERS) if tier != REFERENCE)
    candidates |= _tiers(threads, lambda: makers[law]((elements,), dtype, out=buffer), tiers)
    if law != "truncated normal" and dtype in ("float32", "float64"):
        generator = np.random.Generator(np.random.SFC64(1))
        draw: Any = generator.random if law == "uniform" else generator.standard_normal
        candidates["NumPy SFC64"] = lambda: draw(out=buffer, dtype=buffer.dtype)
    if tf := frameworks.tensorflow:
        stateless = {
            "uniform": tf.random.stateless_uniform,
            "normal": tf.random.stateless_normal,
            "truncated normal": tf.random.stateless_truncated_normal,
        }[law]
        candidates["TensorFlow"] = lambda: stateless([elements], [1, 0], dtype=dtype)
    if torch := frameworks.torch:
        tensor = torch.ones(elements, dtype=getattr(torch, dtype))
        candidates["PyTorch"] = {
            "uniform": lambda: tensor.uniform_(),
            "normal": lambda: tensor.normal_(),
            "truncated normal": lambda: torch.nn.init.trunc_normal_(tensor),
        }[law]
    if (jax := frameworks.jax) and dtype != "float64":
        key = jax.random.key(1)
        draws: Any = {
            "uniform": jax.random.uniform,
            "normal": jax.random.normal,
            "truncated normal": lambda key, shape, dtype: jax.random.truncated_normal(key, -2, 2, shape, dtype),
        }[law]
        compiled = jax.jit(lambda key: draws(key, (elements,), dtype))
        candidates["JAX"] = lambda: compiled(key).block_until_ready()
    return candidates


def _fill(frameworks: Frameworks, effort: Effort, threads: int) -> Iterator[list[Result]]:
    elements = 2**20 if effort.quick else ELEMENTS
    for law in ("uniform", "normal", "truncated normal"):
        for dtype in FLOATS:
            candidates = _fill_candidates(law, dtype, elements, threads, frameworks)
            yield measure("fill", f"{law} {dtype}", candidates, effort, threads=threads, elements=elements)


def _layout_candidates(
    law: str, dtype: str, shape: tuple[int, ...], threads: int, frameworks: Frameworks, part: int = 1
) -> Candidates:
    """Fills of touched memory in PyTorch's layout and in Keras's, on each tier, and PyTorch's own of as many elements.

    Args:
        law: the distribution.
        dtype: the dtype.
        shape: the shape in PyTorch's order of axes.
        threads: the number of threads.
        frameworks: the other libraries.
        part: how many shards the outputs have; the first is filled.
    """
    initializer: Any = {
        "uniform": initializers.RandomUniform(-0.02, 0.02, seed=1),
        "normal": initializers.RandomNormal(0.0, 0.02, seed=1),
        "truncated normal": initializers.TruncatedNormal(0.0, 0.02, seed=1),
    }[law]
    keras = (*shape[2:], shape[1], shape[0])
    shard = shape[0] // part, *shape[1:]
    region = (..., slice(shard[0])) if part > 1 else None
    theirs = np.ones(shard, dtypes.resolve(dtype))
    view = theirs.transpose(*range(2, len(shape)), 1, 0)
    ours = np.ones(view.shape, theirs.dtype)
    tiers = tuple(tier for tier in ("avx512", "avx2") if tier in TIERS) or TIERS[-1:]
    candidates = _tiers(threads, lambda: initializer(keras, dtype, region=region, out=view), tiers)
    contiguous = _tiers(threads, lambda: initializer(keras, dtype, region=region, out=ours), tiers)
    candidates |= {f"{name}, contiguous": call for name, call in contiguous.items()}
    # PyTorch's truncated normal takes seconds for the larger ones.
    if (torch := frameworks.torch) and (law != "truncated normal" or theirs.size <= 2**24):
        tensor = torch.ones(shard, dtype=getattr(torch, dtype))
        candidates["PyTorch"] = {
            "uniform": lambda: tensor.uniform_(-0.02, 0.02),
            "normal": lambda: tensor.normal_(0.0, 0.02),
            "truncated normal": lambda: torch.nn.init.trunc_normal_(tensor, std=0.02, a=-0.04, b=0.04),
        }[law]
    return candidates


def _layouts(frameworks: Frameworks, effort: Effort, threads: int) -> Iterator[list[Result]]:
    shapes = ((256, 128), (64, 3, 7, 7)) if effort.quick else LAYOUT_SHAPES
    effort = effort._replace(rounds=3)
    for dtype in ("float32", "bfloat16"):
        for shape, part in (*((shape, 1) for shape in shapes), (shapes[0], 8)):
            for law in ("uniform", "normal", "truncated normal"):
                candidates = _layout_candidates(law, dtype, shape, threads, frameworks, part)
                case = f"{law} {dtype} {shape}" + (f", 1/{part} of the outputs" if part > 1 else "")
                elements = int(np.prod(shape)) // part
                yield measure("layouts", case, candidates, effort, threads=threads, elements=elements)


def _maker_candidates(name: str, shape: tuple[int, ...], frameworks: Frameworks) -> Candidates:
    """A Glorot initializer of every library, constructed and called for a new tensor each time."""
    cls = getattr(initializers, name)
    candidates: Candidates = {"fanin": lambda: cls(seed=1)(shape)}
    if keras := frameworks.tf_keras:
        theirs = getattr(keras.initializers, name)
        candidates["tf_keras"] = lambda: theirs(seed=1)(shape)
    if torch := frameworks.torch:
        init = torch.nn.init.xavier_uniform_ if name == "GlorotUniform" else torch.nn.init.xavier_normal_
        candidates["PyTorch"] = lambda: init(torch.empty(shape))
        if len(shape) == 2 and shape[0] < 100:
            tensor = torch.empty(shape)
            candidates["PyTorch in place"] = lambda: init(tensor)
    if jax := frameworks.jax:
        make = getattr(jax.nn.initializers, "glorot_uniform" if name == "GlorotUniform" else "glorot_normal")()
        key = jax.random.key(1)
        candidates["JAX"] = lambda: make(key, shape).block_until_ready()
    return candidates


def _fresh(frameworks: Frameworks, effort: Effort, threads: int) -> Iterator[list[Result]]:
    shape = (1024, 512) if effort.quick else FRESH_SHAPE
    for name in ("GlorotNormal", "GlorotUniform"):
        candidates = _maker_candidates(name, shape, frameworks)
        case = f"{name} {shape}"
        yield measure("fresh", case, candidates, effort, threads=threads, elements=shape[0] * shape[1])


def _small(frameworks: Frameworks, effort: Effort, threads: int) -> Iterator[list[Result]]:
    for name in ("GlorotUniform", "GlorotNormal"):
        for shape in SMALL_SHAPES[: 1 if effort.quick else None]:
            candidates = _maker_candidates(name, shape, frameworks)
            elements = int(np.prod(shape))
            yield measure("small", f"{name} {shape}", candidates, effort, threads=threads, elements=elements)


def _orthogonal(frameworks: Frameworks, effort: Effort, threads: int) -> Iterator[list[Result]]:
    for size in ORTHOGONAL_SIZES[: 1 if effort.quick else None]:
        shape = (size, size)
        candidates: Candidates = {"fanin": lambda shape=shape: initializers.Orthogonal(seed=1)(shape)}
        if keras := frameworks.tf_keras:
            candidates["tf_keras"] = lambda shape=shape, keras=keras: keras.initializers.Orthogonal(seed=1)(shape)
        if torch := frameworks.torch:
            candidates["PyTorch"] = lambda shape=shape, torch=torch: torch.nn.init.orthogonal_(torch.empty(shape))
        if jax := frameworks.jax:
            make, key = jax.nn.initializers.orthogonal(), jax.random.key(1)
            candidates["JAX"] = lambda shape=shape, make=make, key=key: make(key, shape).block_until_ready()
        yield measure(
            "orthogonal",
            f"Orthogonal {shape}",
            candidates,
            effort,
            threads=threads,
            elements=size * size,
        )


def _in_torch(torch: Any, shape: tuple[int, int], size: int) -> Iterator[tuple[str, int, Candidates]]:
    """`fanin.torch.fill_` and PyTorch's own functions for the same distributions, in place."""
    from fanin.torch import fill_

    init = torch.nn.init
    pairs: dict[str, tuple[Any, Callable[[Any], object]]] = {
        "normal_": (initializers.RandomNormal(0.0, 1.0, seed=1), init.normal_),
        "trunc_normal_": (initializers.TruncatedNormal(0.0, 1.0, seed=1), init.trunc_normal_),
        "kaiming_uniform_": (
            initializers.HeUniform(seed=1),
            lambda tensor: init.kaiming_uniform_(tensor, nonlinearity="relu"),
        ),
        "orthogonal_": (initializers.Orthogonal(seed=1), init.orthogonal_),
    }
    for name, (initializer, theirs) in pairs.items():
        for dtype in ("float32",) if name == "orthogonal_" else ("float32", "bfloat16"):
            lengths = (size, size) if name == "orthogonal_" else shape
            tensor = torch.empty(lengths, dtype=getattr(torch, dtype))
            candidates: Candidates = {
                "fanin": lambda tensor=tensor, initializer=initializer: fill_(tensor, initializer),
                "PyTorch": lambda tensor=tensor, theirs=theirs: theirs(tensor),
            }
            yield f"{name} {lengths} {dtype}", tensor.numel(), candidates


def _in_jax(jax: Any, shape: tuple[int, int]) -> Iterator[tuple[str, int, Candidates]]:
    """`fanin.jax.as_jax` and JAX's own initializers, both compiled."""
    from fanin.jax import as_jax

    key, own = jax.random.key(1), jax.nn.initializers
    for name, ours, theirs in (
        ("he_normal", initializers.HeNormal(), own.he_normal()),
        ("glorot_uniform", initializers.GlorotUniform(), own.glorot_uniform()),
    ):
        makers = {"fanin": as_jax(ours), "JAX": theirs}
        compiled = {candidate: jax.jit(lambda key, f=f: f(key, shape)) for candidate, f in makers.items()}
        candidates: Candidates = {
            candidate: lambda f=f: f(key).block_until_ready() for candidate, f in compiled.items()
        }
        yield f"{name} {shape}, jit", shape[0] * shape[1], candidates


def _in_tf_keras(tf_keras: Any, quick: bool) -> Iterator[tuple[str, int, Candidates]]:
    """A whole model, built without and with `fanin.tf_keras.patch`."""
    from fanin.tf_keras import patch

    shape = (32, 32, 3) if quick else (224, 224, 3)
    name = "MobileNet" if quick else "ResNet50"

    def build() -> int:
        tf_keras.backend.clear_session()
        elements = getattr(tf_keras.applications, name)(weights=None, input_shape=shape).count_params()
        gc.collect()  # otherwise the next candidate would be charged for freeing this model
        return elements

    def patched() -> int:
        with patch():
            return build()

    yield f"{name}, built", build(), {"fanin": patched, "tf_keras": build}


def _frameworks(frameworks: Frameworks, effort: Effort, threads: int) -> Iterator[list[Result]]:
    shape = (512, 512) if effort.quick else FRAMEWORK_SHAPE
    cases: list[Iterator[tuple[str, int, Candidates]]] = []
    if frameworks.torch:
        cases.append(_in_torch(frameworks.torch, shape, 256 if effort.quick else 1024))
    if frameworks.jax:
        cases.append(_in_jax(frameworks.jax, shape))
    if frameworks.tf_keras:
        cases.append(_in_tf_keras(frameworks.tf_keras, effort.quick))
    for case, elements, candidates in (each for every in cases for each in every):
        yield measure("frameworks", case, candidates, effort, threads=threads, elements=elements)


def _models(frameworks: Frameworks, effort: Effort, threads: int) -> Iterator[list[Result]]:
    """A GPT-2 of 1.3 billion parameters in bfloat16, initialized from the meta device, including ties."""
    torch, transformers = frameworks.torch, frameworks.torch and frameworks._import("transformers")
    if not transformers:
        return
    from fanin.recipes import Recipe
    from fanin.torch import initialize

    sizes = {"n_layer": 2, "n_embd": 64, "n_head": 2} if effort.quick else {"n_layer": 24, "n_embd": 2048, "n_head": 16}
    with torch.device("meta"):
        abstract = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes)).to(torch.bfloat16)
    elements = sum(parameter.numel() for parameter in abstract.parameters())
    effort = effort._replace(rounds=3)

    def by_torch(draw: Callable[[Any], object]) -> None:
        model = copy.deepcopy(abstract).to_empty(device="cpu")
        model.tie_weights()  # `to_empty` has untied them
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.ndim > 1:
                    draw(parameter)
                elif name.endswith("weight"):
                    torch.nn.init.ones_(parameter)
                else:
                    torch.nn.init.zeros_(parameter)

    laws = {
        "random_normal": ("normal", lambda each: torch.nn.init.normal_(each, std=0.02)),
        "truncated_normal": (
            "truncated normal",
            lambda each: torch.nn.init.trunc_normal_(each, std=0.02, a=-0.04, b=0.04),
        ),
    }
    for law, (name, draw) in laws.items():
        recipe = Recipe(
            [
                {"role": ["kernel", "embedding"], "initializer": law, "stddev": 0.02},
                {"role": "scale", "initializer": "ones"},
                {"role": ["bias", "offset"], "initializer": "zeros"},
            ]
        )
        candidates: Candidates = {
            "fanin": lambda recipe=recipe: initialize(copy.deepcopy(abstract), recipe),
            "PyTorch": lambda draw=draw: by_torch(draw),
        }
        yield measure("models", f"GPT-2 bfloat16, {name}", candidates, effort, threads=threads, elements=elements)


def _import(frameworks: Frameworks, effort: Effort, threads: int) -> Iterator[list[Result]]:
    """The time that a new interpreter takes to import each library."""
    statements = {
        "nothing, just Python": "pass",
        "numpy, ml_dtypes": "import numpy, ml_dtypes",
        "fanin": "import fanin; fanin.HeNormal",
    }
    for name in ("tf_keras", "torch", "jax"):
        if getattr(frameworks, name):
            statements[name] = f"import {name}"

    def run(statement: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, "-c", statement], check=True, capture_output=True)

    candidates = {name: run(statement) for name, statement in statements.items()}
    yield measure("import", "import", candidates, effort, threads=threads, elements=0)


_RUNNERS = {
    "layouts": _layouts,
    "fill": _fill,
    "fresh": _fresh,
    "small": _small,
    "orthogonal": _orthogonal,
    "frameworks": _frameworks,
    "models": _models,
    "import": _import,
}


def run(groups: tuple[str, ...] = GROUPS, *, quick: bool = False) -> Iterator[list[Result]]:
    """Measures every case of the groups, with one thread and with all, and yields each as soon as it is measured.

    Args:
        groups: some of `GROUPS`.
        quick: whether to use small sizes and few rounds: the code runs, but the figures mean little.
    """
    frameworks = Frameworks()
    everything = len(os.sched_getaffinity(0))
    for group in groups:
        for threads in (everything,) if group in ALL_CORES else sorted({1, everything}, reverse=True):
            with cores(threads):
                yield from _RUNNERS[group](frameworks, QUICK if quick else FULL, threads)


def machine() -> dict[str, str | int]:
    """The machine that the figures were measured on."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    except OSError:  # not Linux
        pass
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "tiers": ", ".join(TIERS),
        "system": f"{platform.system()} {platform.machine()}",
        "libc": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """The versions of all libraries that may be measured."""
    names = ("numpy", "ml_dtypes", "scipy", "tensorflow-cpu", "tensorflow", "tf-keras", "torch", "jax")
    found = {"fanin": __version__}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def as_json(results: list[Result]) -> str:
    """All rounds of all results as JSON, with the machine and the versions."""
    rows = [{**asdict(result), "seconds": result.seconds} for result in results]
    return json.dumps({"machine": machine(), "versions": versions(), "results": rows}, indent=1)


def heading(machine: Mapping[str, object], versions: Mapping[str, str]) -> str:
    """The machine and the versions, on two lines."""
    return (
        "\n".join(", ".join(f"{name} {value}" for name, value in each.items()) for each in (machine, versions)) + "\n"
    )


def table(results: Sequence[Result]) -> str:
    """One case: a row for each candidate, with its median, its throughput, and its time as a multiple of fanin's.

    fanin is the first candidate of that name, which is the one on the best tier if there are several.
    """
    ours = next(result for result in results if result.candidate.startswith("fanin"))
    first = results[0]
    threads = f", {first.threads} thread{'s' * (first.threads > 1)}" if first.elements else ""
    lines = [f"| {first.case}{threads} | median | million elements/s | times fanin's |", "| --- | ---: | ---: | ---: |"]
    for result in results:
        rate = f"{result.elements / result.seconds / 1e6:,.0f}" if result.elements else ""
        lines.append(
            f"| {result.candidate} | {duration(result.seconds)} | {rate} | {result.seconds / ours.seconds:.2f} |"
        )
    return "\n".join(lines) + "\n"


def duration(seconds: float) -> str:
    """A time in a suitable unit."""
    for size, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


# Each tier must be at least this many times as fast as the one before. (Measured: 1.3 to 2.6. Uniforms gain least from
# AVX-512, and less where processors execute its instructions in two halves.)
_TIER_GAIN = 1.25


def check() -> list[str]:
    """The tiers that are not faster than the one before, by distribution, in words. No absolute times are compared."""
    elements = 2**18
    buffer = np.ones(elements, np.float32)
    tiers = tuple(tier for tier in TIERS if tier != REFERENCE)
    wrong = []
    for cls in (initializers.RandomUniform, initializers.RandomNormal, initializers.TruncatedNormal):
        initializer = cls(seed=1)
        candidates = _tiers(1, lambda initializer=initializer: initializer((elements,), out=buffer), tiers)
        results = measure("check", cls.__name__, candidates, QUICK._replace(rounds=31), threads=1, elements=elements)
        fastest = [min(result.rounds) for result in results]
        for slower, faster, before, after in zip(tiers, tiers[1:], fastest, fastest[1:], strict=False):
            if before < _TIER_GAIN * after:
                wrong.append(f"{cls.__name__}: {faster} is {before / after:.2f} times as fast as {slower}")
    return wrong
