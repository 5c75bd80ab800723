"""Neural-network weight initializers: tf_keras's values without TensorFlow, as functions of seed and index."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fanin import audits, checkpoints, distributions, initializers, recipes, theory, utils
    from fanin._core.settings import config
    from fanin.audits import audit, compare_checkpoints
    from fanin.distributions import Distribution
    from fanin.distributions.weight import Weight
    from fanin.initializers import (
        S4D,
        STFT,
        Bernoulli,
        Bilinear,
        ComplexGlorot,
        ComplexHe,
        ComplexNormal,
        ComplexVarianceScaling,
        Constant,
        DeltaOrthogonal,
        Dirac,
        Exponential,
        GlorotNormal,
        GlorotUniform,
        HeNormal,
        HeUniform,
        Hippo,
        Identity,
        Initializer,
        LecunNormal,
        LecunUniform,
        LogNormal,
        Ones,
        Orthogonal,
        RandomNormal,
        RandomUniform,
        Rotary,
        SeededInitializer,
        Sinusoidal,
        Sparse,
        Stft,
        Table,
        TruncatedNormal,
        Unitary,
        VarianceScaling,
        Zeros,
        bernoulli,
        bilinear,
        complex_glorot,
        complex_he,
        complex_normal,
        complex_variance_scaling,
        constant,
        delta_orthogonal,
        deserialize,
        dirac,
        exponential,
        get,
        glorot_normal,
        glorot_uniform,
        he_normal,
        he_uniform,
        hippo,
        identity,
        lecun_normal,
        lecun_uniform,
        log_normal,
        ones,
        orthogonal,
        random_normal,
        random_uniform,
        rotary,
        s4d,
        serialize,
        sinusoidal,
        sparse,
        stft,
        table,
        truncated_normal,
        unitary,
        variance_scaling,
        zeros,
    )
    from fanin.recipes import Plan, Recipe, Report
    from fanin.theory import compare, gain

__version__ = "0.1.0"

__all__ = [
    "S4D",
    "STFT",
    "Bernoulli",
    "Bilinear",
    "ComplexGlorot",
    "ComplexHe",
    "ComplexNormal",
    "ComplexVarianceScaling",
    "Constant",
    "DeltaOrthogonal",
    "Dirac",
    "Distribution",
    "Exponential",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Hippo",
    "Identity",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "LogNormal",
    "Ones",
    "Orthogonal",
    "Plan",
    "RandomNormal",
    "RandomUniform",
    "Recipe",
    "Report",
    "Rotary",
    "SeededInitializer",
    "Sinusoidal",
    "Sparse",
    "Stft",
    "Table",
    "TruncatedNormal",
    "Unitary",
    "VarianceScaling",
    "Weight",
    "Zeros",
    "__version__",
    "audit",
    "audits",
    "bernoulli",
    "bilinear",
    "checkpoints",
    "compare",
    "compare_checkpoints",
    "complex_glorot",
    "complex_he",
    "complex_normal",
    "complex_variance_scaling",
    "config",
    "constant",
    "delta_orthogonal",
    "deserialize",
    "dirac",
    "distributions",
    "exponential",
    "gain",
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "hippo",
    "identity",
    "initializers",
    "lecun_normal",
    "lecun_uniform",
    "log_normal",
    "ones",
    "orthogonal",
    "random_normal",
    "random_uniform",
    "recipes",
    "rotary",
    "s4d",
    "serialize",
    "sinusoidal",
    "sparse",
    "stft",
    "table",
    "theory",
    "truncated_normal",
    "unitary",
    "utils",
    "variance_scaling",
    "zeros",
]

# The modules that define public names other than those of `fanin.initializers`. Names are loaded on first use, so
# `fanin --help` needs no NumPy.
_HOMES = {
    "Distribution": "fanin.distributions",
    "Plan": "fanin.recipes",
    "Recipe": "fanin.recipes",
    "Report": "fanin.recipes",
    "Weight": "fanin.distributions.weight",
    "audit": "fanin.audits",
    "compare": "fanin.theory",
    "compare_checkpoints": "fanin.audits",
    "config": "fanin._core.settings",
    "gain": "fanin.theory",
}
# The names of commands, whose functions have others.
_OF_COMMANDS = {"check": "audit", "diff": "compare_checkpoints"}
_MODULES = ("audits", "checkpoints", "distributions", "initializers", "recipes", "theory", "utils")
_FRAMEWORKS = ("jax", "keras", "tf_keras", "torch")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"fanin.{name}")
    if name in __all__:
        home = _HOMES.get(name, "fanin.initializers")
        return globals().setdefault(name, getattr(import_module(home), name))
    raise AttributeError(f"module 'fanin' has no attribute {name!r}{_hint(name)}")


def _hint(name: str) -> str:
    """What follows in the message for a name that is missing."""
    if name in _OF_COMMANDS:
        return f". Did you mean {_OF_COMMANDS[name]!r}?"
    if name in _FRAMEWORKS:
        return f". Import it by name: import fanin.{name}"
    if name.startswith("_") or find_spec(f"fanin.{name}"):  # Python asks for such names before it imports a module
        return ""
    hint = import_module("fanin.initializers").name_hint(name, __all__)
    return f".{hint}" if hint else ""


def __dir__() -> list[str]:
    return __all__
