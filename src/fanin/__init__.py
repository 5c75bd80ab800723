"""Neural-network weight initializers: tf_keras's values without TensorFlow, as functions of seed and index."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fanin import distributions, initializers, plans, recipes, utils
    from fanin.base import SeededInitializer
    from fanin.distributions import Distribution
    from fanin.initializers import (
        Constant,
        GlorotNormal,
        GlorotUniform,
        HeNormal,
        HeUniform,
        Identity,
        Initializer,
        LecunNormal,
        LecunUniform,
        Ones,
        Orthogonal,
        RandomNormal,
        RandomUniform,
        TruncatedNormal,
        VarianceScaling,
        Zeros,
        constant,
        deserialize,
        get,
        glorot_normal,
        glorot_uniform,
        he_normal,
        he_uniform,
        identity,
        lecun_normal,
        lecun_uniform,
        ones,
        orthogonal,
        random_normal,
        random_uniform,
        serialize,
        truncated_normal,
        variance_scaling,
        zeros,
    )
    from fanin.recipes import Recipe
    from fanin.settings import config

__version__ = "0.1.0"

__all__ = [
    "Constant",
    "Distribution",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "Recipe",
    "SeededInitializer",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "__version__",
    "config",
    "constant",
    "deserialize",
    "distributions",
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "initializers",
    "lecun_normal",
    "lecun_uniform",
    "ones",
    "orthogonal",
    "plans",
    "random_normal",
    "random_uniform",
    "recipes",
    "serialize",
    "truncated_normal",
    "utils",
    "variance_scaling",
    "zeros",
]


def __getattr__(name: str) -> Any:
    """Loads a public name at its first use: `fanin --help` then needs no NumPy."""
    if name in ("distributions", "initializers", "plans", "recipes", "utils"):
        return import_module(f"fanin.{name}")
    if name in __all__:
        for home in ("initializers", "distributions", "recipes", "settings"):
            module = import_module(f"fanin.{home}")
            if hasattr(module, name):
                return globals().setdefault(name, getattr(module, name))
    hint = f". Import it by name: import fanin.{name}" if name in ("tf_keras", "keras", "torch", "jax") else ""
    raise AttributeError(f"module 'fanin' has no attribute {name!r}{hint}")


def __dir__() -> list[str]:
    return __all__
