"""The layer weight initializers of Keras 2 (tf_keras): the same classes, arguments and bits.

Each class returns the `Distribution` that it draws from; the base class does the rest. `get`, `serialize` and
`deserialize` convert initializers from names and configurations, and back.
"""

from fanin.initializers.base import Initializer, SeededInitializer
from fanin.initializers.constants import Constant, Ones, Zeros
from fanin.initializers.matrices import Identity, Orthogonal
from fanin.initializers.names import name_hint
from fanin.initializers.random import RandomNormal, RandomUniform, TruncatedNormal
from fanin.initializers.registry import CLASSES, NAMES, deserialize, get, serialize
from fanin.initializers.scaling import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LecunNormal,
    LecunUniform,
    VarianceScaling,
)

# The documented shortcuts are the classes under other names.
random_normal = RandomNormal
random_uniform = RandomUniform
truncated_normal = TruncatedNormal
zeros = Zeros
ones = Ones
glorot_normal = GlorotNormal
glorot_uniform = GlorotUniform
he_normal = HeNormal
he_uniform = HeUniform
lecun_normal = LecunNormal
lecun_uniform = LecunUniform
identity = Identity
orthogonal = Orthogonal
constant = Constant
variance_scaling = VarianceScaling

__all__ = [
    "CLASSES",
    "NAMES",
    "Constant",
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
    "SeededInitializer",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "constant",
    "deserialize",
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "lecun_normal",
    "lecun_uniform",
    "name_hint",
    "ones",
    "orthogonal",
    "random_normal",
    "random_uniform",
    "serialize",
    "truncated_normal",
    "variance_scaling",
    "zeros",
]
