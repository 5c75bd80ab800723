"""Every initializer once: a new one in this list is tested by everything that goes through it."""

from typing import Any

import fanin

FLOATS = ("float16", "bfloat16", "float32", "float64")
COMPLEX = ("complex64", "complex128")

# name → (an initializer, the dtypes to try, the ranks it takes)
CATALOGUE: dict[str, tuple[Any, tuple[str, ...], tuple[int, ...]]] = {
    "RandomNormal": (fanin.RandomNormal(0.1, 0.7, seed=11), FLOATS, (0, 1, 2, 3, 4, 5)),
    "RandomUniform": (fanin.RandomUniform(-0.3, 0.7, seed=12), FLOATS, (0, 1, 2, 3, 4, 5)),
    "RandomUniform, integers": (fanin.RandomUniform(-7, 8, seed=13), ("int32", "int64"), (0, 1, 2, 3, 4, 5)),
    "RandomUniform, full range": (
        fanin.RandomUniform(None, None, seed=14),
        ("int32", "int64", "uint32", "uint64"),
        (0, 1, 2, 3, 4, 5),
    ),
    "TruncatedNormal": (fanin.TruncatedNormal(-0.1, 0.3, seed=15), FLOATS, (0, 1, 2, 3, 4, 5)),
    "Zeros": (fanin.Zeros(), (*FLOATS, "bool", "int8", "complex64", "float8_e4m3fn"), (0, 1, 2, 3, 4, 5)),
    "Ones": (fanin.Ones(), (*FLOATS, "bool", "uint16", "complex128", "int4"), (0, 1, 2, 3, 4, 5)),
    "Constant": (fanin.Constant(3), (*FLOATS, "int8", "complex64"), (0, 1, 2, 3, 4, 5)),
    "GlorotNormal": (fanin.GlorotNormal(seed=16), FLOATS, (0, 1, 2, 3, 4, 5)),
    "GlorotUniform": (fanin.GlorotUniform(seed=17), FLOATS, (0, 1, 2, 3, 4, 5)),
    "HeNormal": (fanin.HeNormal(seed=18), FLOATS, (0, 1, 2, 3, 4, 5)),
    "HeUniform": (fanin.HeUniform(seed=19), FLOATS, (0, 1, 2, 3, 4, 5)),
    "LecunNormal": (fanin.LecunNormal(seed=20), FLOATS, (0, 1, 2, 3, 4, 5)),
    "LecunUniform": (fanin.LecunUniform(seed=21), FLOATS, (0, 1, 2, 3, 4, 5)),
    "VarianceScaling": (
        fanin.VarianceScaling(1.7, "fan_out", "untruncated_normal", seed=22),
        FLOATS,
        (0, 1, 2, 3, 4, 5),
    ),
    "VarianceScaling, axes": (
        fanin.VarianceScaling(1.7, "fan_geo_avg", "uniform", seed=31, in_axis=0, out_axis=[1]),
        FLOATS,
        (2, 3, 4, 5),
    ),
    "HeUniform, batches": (fanin.HeUniform(seed=32, batch_axis=0, in_axis=()), FLOATS, (2, 3, 4, 5)),
    "Identity": (fanin.Identity(-0.3), FLOATS, (2,)),
    "Orthogonal": (fanin.Orthogonal(1.3, seed=23), FLOATS, (2, 3, 4, 5)),
    "Orthogonal, batches": (fanin.Orthogonal(1.3, seed=39, column_axis=-2, batch_axis=[0]), FLOATS, (3, 4, 5)),
    "Identity, batches": (fanin.Identity(-0.3, batch_axis=1), FLOATS, (3,)),
    "Unitary": (fanin.Unitary(-0.3, seed=40), COMPLEX, (2, 3, 4, 5)),
    "TruncatedNormal, bounded": (
        fanin.TruncatedNormal(-0.1, 0.3, seed=24, minval=-0.25, maxval=0.7),
        FLOATS,
        (0, 1, 2, 3, 4, 5),
    ),
    "TruncatedNormal, deviations": (
        fanin.TruncatedNormal(-0.1, 0.3, seed=30, lower=-2, upper=1.5),
        FLOATS,
        (0, 1, 2, 3, 4, 5),
    ),
    "TruncatedNormal, tail": (fanin.TruncatedNormal(0.5, 0.1, seed=25, maxval=0.2), FLOATS, (0, 1, 2, 3, 4, 5)),
    "ComplexNormal": (fanin.ComplexNormal(0.7, seed=33), COMPLEX, (0, 1, 2, 3, 4, 5)),
    "ComplexVarianceScaling": (fanin.ComplexVarianceScaling(1.7, seed=34), COMPLEX, (0, 1, 2, 3, 4, 5)),
    "ComplexVarianceScaling, uniform": (
        fanin.ComplexVarianceScaling(1.7, "fan_out", "uniform", seed=35),
        COMPLEX,
        (0, 1, 2, 3, 4, 5),
    ),
    "ComplexGlorot": (fanin.ComplexGlorot(seed=36), COMPLEX, (0, 1, 2, 3, 4, 5)),
    "ComplexHe": (fanin.ComplexHe(seed=37, in_axis=0, out_axis=1), COMPLEX, (2, 3, 4, 5)),
    "DeltaOrthogonal": (fanin.DeltaOrthogonal(1.3, seed=38), FLOATS, (3, 4, 5)),
    "Exponential": (fanin.Exponential(1.7, seed=26), FLOATS, (0, 1, 2, 3, 4, 5)),
    "LogNormal": (fanin.LogNormal(-1.0, 0.4, seed=27), FLOATS, (0, 1, 2, 3, 4, 5)),
    "Bernoulli": (
        fanin.Bernoulli(0.3, seed=28),
        (*FLOATS, "bool", "int8", "uint64", "float8_e4m3fn"),
        (0, 1, 2, 3, 4, 5),
    ),
    "Sparse": (fanin.Sparse(0.3, 0.2, seed=29), FLOATS, (2,)),
    "Table": (fanin.Table([-3.5]), (*FLOATS, "complex64", "float8_e4m3fn"), (1, 2, 3, 4, 5)),
    "Bilinear": (fanin.Bilinear(1.7), (*FLOATS, "complex64", "float8_e4m3fn"), (2, 3, 4, 5)),
    "Dirac": (fanin.Dirac(-3), (*FLOATS, "int8", "complex128", "int4"), (2, 3, 4, 5)),
    "Hippo": (fanin.Hippo("legt"), FLOATS, (2, 3, 4, 5)),
    "Hippo, B": (fanin.Hippo("legs", "B"), FLOATS, (1, 2, 3, 4, 5)),
    "Rotary": (fanin.Rotary("sin", 500.0, 3), FLOATS, (2, 3, 4, 5)),
    "Rotary, angles": (fanin.Rotary("angles", 1000, -7), FLOATS, (2, 3, 4, 5)),
    "Rotary, frequencies": (fanin.Rotary("frequencies"), FLOATS, (1, 2, 3, 4, 5)),
    "S4D": (fanin.S4D("inv"), ("complex64", "complex128"), (1, 2, 3, 4, 5)),
    "S4D, a part": (fanin.S4D("real", "log_real"), FLOATS, (1, 2, 3, 4, 5)),
    "STFT": (fanin.STFT("imag", "hamming", "spectrum", periodic=True), FLOATS, (3,)),
    "Sinusoidal": (fanin.Sinusoidal(100.0, 7), FLOATS, (2, 3, 4, 5)),
}
# Those of Keras's classes that have arguments which Keras has not.
OWN_ARGUMENTS = (
    "Identity, batches",
    "Orthogonal, batches",
    "TruncatedNormal, bounded",
    "TruncatedNormal, deviations",
    "TruncatedNormal, tail",
    "VarianceScaling, axes",
    "HeUniform, batches",
)
# The names of those that Keras makes, too.
KERAS = tuple(
    name
    for name, (each, _, _) in CATALOGUE.items()
    if type(each) in fanin.initializers.KERAS_CLASSES and name not in OWN_ARGUMENTS
)
# The names of those that draw at random.
SEEDED = tuple(name for name, (each, _, _) in CATALOGUE.items() if isinstance(each, fanin.SeededInitializer))


def fresh(name: str) -> Any:
    """The initializer of that name, as if never called."""
    initializer = CATALOGUE[name][0]
    return type(initializer).from_config(initializer.get_config())


def shape_for(name: str, *lengths: int) -> tuple[int, ...]:
    """The first of these lengths as a shape of rank 2, or of the rank closest to it that the initializer takes."""
    return fitted(name, lengths[: min(CATALOGUE[name][2], key=lambda rank: abs(rank - 2))])


def fitted(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape, or one like it that the initializer takes: some want no more inputs than outputs, or equally many."""
    if name == "Hippo":
        return (*shape[:-2], *shape[-2:-1] * 2)
    return (*shape[:-2], *sorted(shape[-2:])) if name == "DeltaOrthogonal" else shape


def made(initializer: fanin.Initializer, shape: tuple[int, ...] = (5, 7), **kwargs: Any) -> bytes:
    """The bytes of one call."""
    return initializer(shape, **kwargs).tobytes()
