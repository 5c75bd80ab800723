"""fanin for tf_keras: the same initializer classes, whose calls return TensorFlow tensors.

tf_keras treats them as its own classes: files, configurations and clones contain tf_keras's names and keys, and load
where fanin is not installed. `patch` makes scripts that name no initializer class use them.

>>> import fanin.tf_keras, tf_keras
>>> layer = tf_keras.layers.Dense(3, kernel_initializer=fanin.tf_keras.HeNormal(seed=42))
>>> layer.build((None, 2))
>>> bool((layer.kernel.numpy() == tf_keras.initializers.HeNormal(seed=42)((2, 3)).numpy()).all())
True
"""

from typing import TYPE_CHECKING

from fanin import initializers
from fanin._core.messages import missing
from fanin.models import registry

try:
    from tf_keras.initializers import Initializer, serialize

    from fanin.tf_keras.classes import as_tf_keras, carriers, deserialize, get
    from fanin.tf_keras.models import describe, initialize
    from fanin.tf_keras.models import values_of as _values_of
    from fanin.tf_keras.origins import recipe_of
    from fanin.tf_keras.patching import patch, unpatch
    from fanin.tf_keras.probing import probe
except ModuleNotFoundError as _error:
    _module = "tf_keras" if _error.name == "tf_keras" else "tensorflow"
    raise missing(_error, _module, "tf_keras with TensorFlow", extra="tensorflow") from _error

if TYPE_CHECKING:  # at run time they are derived from the framework's own classes
    from fanin._keras.declared import (
        Constant,
        GlorotNormal,
        GlorotUniform,
        HeNormal,
        HeUniform,
        Identity,
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
    Identity = identity = carriers.class_for(initializers.Identity)
    LecunNormal = lecun_normal = carriers.class_for(initializers.LecunNormal)
    LecunUniform = lecun_uniform = carriers.class_for(initializers.LecunUniform)
    Ones = ones = carriers.class_for(initializers.Ones)
    Orthogonal = orthogonal = carriers.class_for(initializers.Orthogonal)
    RandomNormal = random_normal = carriers.class_for(initializers.RandomNormal)
    RandomUniform = random_uniform = carriers.class_for(initializers.RandomUniform)
    TruncatedNormal = truncated_normal = carriers.class_for(initializers.TruncatedNormal)
    VarianceScaling = variance_scaling = carriers.class_for(initializers.VarianceScaling)
    Zeros = zeros = carriers.class_for(initializers.Zeros)

__all__ = [
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
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "as_tf_keras",
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
    "truncated_normal",
    "unpatch",
    "variance_scaling",
    "zeros",
]

for _source_class in initializers.CLASSES:  # files that have those of fanin alone then load
    carriers.class_for(_source_class)
registry.register("tf_keras", describe, values=_values_of)
