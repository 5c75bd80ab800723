"""Neural-network weight initializers: tf_keras's values without TensorFlow, as functions of seed and index."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fanin import checkpoints, distributions, gains, initializers, recipes, utils
    from fanin._core.settings import config
    from fanin.distributions import Distribution
    from fanin.gains import gain
    from fanin.initializers import (
        Bernoulli,
        Constant,
        Exponential,
        GlorotNormal,
        GlorotUniform,
        HeNormal,
        HeUniform,
        Identity,
        Initializer,
        LecunNormal,
        LecunUniform,
        LogNormal,
        Ones,
        Orthogonal,
        RandomNormal,
        RandomUniform,
        SeededInitializer,
        Sparse,
        Table,
        TruncatedNormal,
        VarianceScaling,
        Zeros,
        bernoulli,
        constant,
        deserialize,
        exponential,
        get,
        glorot_normal,
        glorot_uniform,
        he_normal,
        he_uniform,
        identity,
        lecun_normal,
        lecun_uniform,
        log_normal,
        ones,
        orthogonal,
        random_normal,
        random_uniform,
        serialize,
        sparse,
        table,
        truncated_normal,
        variance_scaling,
        zeros,
    )
    from fanin.recipes import Plan, Recipe, Report
    from fanin.weight import Weight

__version__ = "0.1.0"

__all__ = [
    "Bernoulli",
    "Constant",
    "Distribution",
    "Exponential",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
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
    "SeededInitializer",
    "Sparse",
    "Table",
    "TruncatedNormal",
    "VarianceScaling",
    "Weight",
    "Zeros",
    "__version__",
    "bernoulli",
    "checkpoints",
    "config",
    "constant",
    "deserialize",
    "distributions",
    "exponential",
    "gain",
    "gains",
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
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
    "serialize",
    "sparse",
    "table",
    "truncated_normal",
    "utils",
    "variance_scaling",
    "zeros",
]

# The module that defines each public name. Names are loaded on first use, so `fanin --help` needs no NumPy.
_HOMES = {
    "Bernoulli": "fanin.initializers",
    "Constant": "fanin.initializers",
    "Distribution": "fanin.distributions",
    "Exponential": "fanin.initializers",
    "GlorotNormal": "fanin.initializers",
    "GlorotUniform": "fanin.initializers",
    "HeNormal": "fanin.initializers",
    "HeUniform": "fanin.initializers",
    "Identity": "fanin.initializers",
    "Initializer": "fanin.initializers",
    "LecunNormal": "fanin.initializers",
    "LecunUniform": "fanin.initializers",
    "LogNormal": "fanin.initializers",
    "Ones": "fanin.initializers",
    "Orthogonal": "fanin.initializers",
    "Plan": "fanin.recipes",
    "RandomNormal": "fanin.initializers",
    "RandomUniform": "fanin.initializers",
    "Recipe": "fanin.recipes",
    "Report": "fanin.recipes",
    "SeededInitializer": "fanin.initializers",
    "Sparse": "fanin.initializers",
    "Table": "fanin.initializers",
    "TruncatedNormal": "fanin.initializers",
    "VarianceScaling": "fanin.initializers",
    "Weight": "fanin.weight",
    "Zeros": "fanin.initializers",
    "bernoulli": "fanin.initializers",
    "config": "fanin._core.settings",
    "constant": "fanin.initializers",
    "deserialize": "fanin.initializers",
    "exponential": "fanin.initializers",
    "gain": "fanin.gains",
    "get": "fanin.initializers",
    "glorot_normal": "fanin.initializers",
    "glorot_uniform": "fanin.initializers",
    "he_normal": "fanin.initializers",
    "he_uniform": "fanin.initializers",
    "identity": "fanin.initializers",
    "lecun_normal": "fanin.initializers",
    "lecun_uniform": "fanin.initializers",
    "log_normal": "fanin.initializers",
    "ones": "fanin.initializers",
    "orthogonal": "fanin.initializers",
    "random_normal": "fanin.initializers",
    "random_uniform": "fanin.initializers",
    "serialize": "fanin.initializers",
    "sparse": "fanin.initializers",
    "table": "fanin.initializers",
    "truncated_normal": "fanin.initializers",
    "variance_scaling": "fanin.initializers",
    "zeros": "fanin.initializers",
}
_MODULES = ("checkpoints", "distributions", "gains", "initializers", "recipes", "utils")
_FRAMEWORKS = ("jax", "keras", "tf_keras", "torch")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"fanin.{name}")
    if name in _HOMES:
        return globals().setdefault(name, getattr(import_module(_HOMES[name]), name))
    hint = f". Import it by name: import fanin.{name}" if name in _FRAMEWORKS else ""
    raise AttributeError(f"module 'fanin' has no attribute {name!r}{hint}")


def __dir__() -> list[str]:
    return __all__
