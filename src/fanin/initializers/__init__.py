"""The layer weight initializers of Keras 2 (tf_keras), with the same classes, arguments and bits, and some more.

Each class returns the `Distribution` that it draws from; the base class does the rest. `get`, `serialize` and
`deserialize` convert initializers from names and configurations, and back.
"""

from fanin.initializers.base import Initializer, SeededInitializer
from fanin.initializers.complex import ComplexGlorot, ComplexHe, ComplexNormal, ComplexVarianceScaling
from fanin.initializers.constants import Constant, Ones, Table, Zeros
from fanin.initializers.convolutions import STFT, Bilinear, Dirac
from fanin.initializers.matrices import DeltaOrthogonal, Identity, Orthogonal, Sparse, Unitary
from fanin.initializers.names import name_hint
from fanin.initializers.positions import Rotary, Sinusoidal
from fanin.initializers.random import Bernoulli, Exponential, LogNormal, RandomNormal, RandomUniform, TruncatedNormal
from fanin.initializers.registry import CLASSES, KERAS_CLASSES, NAMES, deserialize, get, serialize
from fanin.initializers.scaling import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LecunNormal,
    LecunUniform,
    VarianceScaling,
)
from fanin.initializers.state_space import S4D, Hippo

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
exponential = Exponential
log_normal = LogNormal
bernoulli = Bernoulli
sparse = Sparse
table = Table
delta_orthogonal = DeltaOrthogonal
unitary = Unitary
complex_glorot = ComplexGlorot
complex_he = ComplexHe
complex_normal = ComplexNormal
complex_variance_scaling = ComplexVarianceScaling
bilinear = Bilinear
dirac = Dirac
hippo = Hippo
rotary = Rotary
s4d = S4D
sinusoidal = Sinusoidal
stft = Stft = STFT

__all__ = [
    "CLASSES",
    "KERAS_CLASSES",
    "NAMES",
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
    "RandomNormal",
    "RandomUniform",
    "Rotary",
    "SeededInitializer",
    "Sinusoidal",
    "Sparse",
    "Stft",
    "Table",
    "TruncatedNormal",
    "Unitary",
    "VarianceScaling",
    "Zeros",
    "bernoulli",
    "bilinear",
    "complex_glorot",
    "complex_he",
    "complex_normal",
    "complex_variance_scaling",
    "constant",
    "delta_orthogonal",
    "deserialize",
    "dirac",
    "exponential",
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "hippo",
    "identity",
    "lecun_normal",
    "lecun_uniform",
    "log_normal",
    "name_hint",
    "ones",
    "orthogonal",
    "random_normal",
    "random_uniform",
    "rotary",
    "s4d",
    "serialize",
    "sinusoidal",
    "sparse",
    "stft",
    "table",
    "truncated_normal",
    "unitary",
    "variance_scaling",
    "zeros",
]
