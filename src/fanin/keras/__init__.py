"""fanin for Keras 3, on all of its backends: the same initializer classes, whose calls return the backend's tensors.

Keras treats them as its own classes: files and configurations contain Keras's names and keys, and load where fanin is
not installed, with Keras's classes. Where `fanin.keras` has been imported, they load with these classes. `patch` makes
unchanged scripts use them.

Keras 3 takes the fans of einsum kernels (`EinsumDense`, `MultiHeadAttention`) from the equation's axes, tf_keras from
the last two axes. These classes follow Keras 3, so the weights of those layers differ from tf_keras's.

>>> import fanin.keras, keras
>>> layer = keras.layers.Dense(3, kernel_initializer=fanin.keras.HeNormal(seed=42))
>>> layer.build((None, 2))
>>> bool((keras.ops.convert_to_numpy(layer.kernel) == fanin.HeNormal(seed=42)((2, 3))).all())
True
"""

from typing import TYPE_CHECKING

from fanin import initializers
from fanin._core.messages import missing
from fanin.models import registry

try:
    from keras.initializers import Initializer, serialize

    from fanin.keras.classes import as_keras, carriers, deserialize, get
    from fanin.keras.lookups import install as _install
    from fanin.keras.models import describe, initialize
    from fanin.keras.models import values_of as _values_of
    from fanin.keras.origins import recipe_of
    from fanin.keras.patching import patch, unpatch
    from fanin.keras.probing import probe
except ModuleNotFoundError as _error:
    raise missing(_error, "keras", "Keras 3", extra="keras") from _error

if TYPE_CHECKING:  # at run time they are derived from the framework's own classes
    from fanin._keras.declared import (
        STFT,
        Constant,
        GlorotNormal,
        GlorotUniform,
        HeNormal,
        HeUniform,
        Identity,
        IdentityInitializer,
        LecunNormal,
        LecunUniform,
        Ones,
        Orthogonal,
        OrthogonalInitializer,
        RandomNormal,
        RandomUniform,
        STFTInitializer,
        TruncatedNormal,
        VarianceScaling,
        Zeros,
        constant,
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
        stft,
        truncated_normal,
        variance_scaling,
        zeros,
    )
else:
    Constant = constant = carriers.class_for(initializers.Constant)
    GlorotNormal = glorot_normal = carriers.class_for(initializers.GlorotNormal)
    GlorotUniform = glorot_uniform = carriers.class_for(initializers.GlorotUniform)
    HeNormal = he_normal = carriers.class_for(initializers.HeNormal)
    HeUniform = he_uniform = carriers.class_for(initializers.HeUniform)
    Identity = identity = IdentityInitializer = carriers.class_for(initializers.Identity)
    LecunNormal = lecun_normal = carriers.class_for(initializers.LecunNormal)
    LecunUniform = lecun_uniform = carriers.class_for(initializers.LecunUniform)
    Ones = ones = carriers.class_for(initializers.Ones)
    Orthogonal = orthogonal = OrthogonalInitializer = carriers.class_for(initializers.Orthogonal)
    RandomNormal = random_normal = carriers.class_for(initializers.RandomNormal)
    RandomUniform = random_uniform = carriers.class_for(initializers.RandomUniform)
    STFT = stft = STFTInitializer = carriers.class_for(initializers.STFT)
    TruncatedNormal = truncated_normal = carriers.class_for(initializers.TruncatedNormal)
    VarianceScaling = variance_scaling = carriers.class_for(initializers.VarianceScaling)
    Zeros = zeros = carriers.class_for(initializers.Zeros)

__all__ = [
    "STFT",
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "IdentityInitializer",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "OrthogonalInitializer",
    "RandomNormal",
    "RandomUniform",
    "STFTInitializer",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "as_keras",
    "constant",
    "deserialize",
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "initialize",
    "lecun_normal",
    "lecun_uniform",
    "ones",
    "orthogonal",
    "patch",
    "probe",
    "random_normal",
    "random_uniform",
    "recipe_of",
    "serialize",
    "stft",
    "truncated_normal",
    "unpatch",
    "variance_scaling",
    "zeros",
]

for _source_class in initializers.CLASSES:  # files that have those of fanin alone then load
    carriers.class_for(_source_class)
_install()
registry.register("keras", describe, values=_values_of)
