"""The initializer classes of `fanin.tf_keras` and `fanin.keras`, for type checkers and editors."""

from collections.abc import Mapping
from typing import Any, Self, SupportsIndex

from fanin._core.types import AxesLike, DTypeLike, NumberLike, ShapeLike
from fanin.initializers import Initializer

class KerasInitializer:
    """A fanin initializer as an initializer of the framework, whose calls return the framework's tensors."""

    source: Initializer
    """The fanin initializer that makes the values."""
    def __call__(self, shape: ShapeLike, dtype: DTypeLike = None, **kwargs: Any) -> Any:
        """Returns the initialized tensor."""

    def get_config(self) -> dict[str, Any]:
        """The arguments that recreate this initializer, under the framework's own keys."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """An initializer from the result of `get_config`."""

class Seeded(KerasInitializer):
    """An initializer that draws at random."""

    seed: int | None
    """The seed; in Keras 3, the seed in force or a SeedGenerator."""

class Constant(KerasInitializer):
    """Makes tensors of one value."""

    def __init__(self, value: Any = 0) -> None: ...

class GlorotNormal(Seeded):
    """The Glorot normal initializer, also called Xavier normal."""

    def __init__(self, seed: Any = None, **axes: Any) -> None: ...

class GlorotUniform(Seeded):
    """The Glorot uniform initializer, also called Xavier uniform."""

    def __init__(self, seed: Any = None, **axes: Any) -> None: ...

class HeNormal(Seeded):
    """The He normal initializer, also called Kaiming normal."""

    def __init__(self, seed: Any = None, **axes: Any) -> None: ...

class HeUniform(Seeded):
    """The He uniform initializer, also called Kaiming uniform."""

    def __init__(self, seed: Any = None, **axes: Any) -> None: ...

class Identity(KerasInitializer):
    """Makes the identity matrix, which may be rectangular, or a stack of them."""

    def __init__(self, gain: NumberLike = 1.0, *, batch_axis: AxesLike = ()) -> None: ...

class LecunNormal(Seeded):
    """The Lecun normal initializer."""

    def __init__(self, seed: Any = None, **axes: Any) -> None: ...

class LecunUniform(Seeded):
    """The Lecun uniform initializer."""

    def __init__(self, seed: Any = None, **axes: Any) -> None: ...

class Ones(KerasInitializer):
    """Makes ones."""

class Orthogonal(Seeded):
    """Makes an orthogonal matrix, or a stack of them."""

    def __init__(
        self,
        gain: NumberLike = 1.0,
        seed: Any = None,
        *,
        column_axis: SupportsIndex = -1,
        batch_axis: AxesLike = (),
        groups: SupportsIndex = 1,
    ) -> None: ...

class RandomNormal(Seeded):
    """Draws from a normal distribution."""

    def __init__(self, mean: NumberLike = 0.0, stddev: NumberLike = 0.05, seed: Any = None) -> None: ...

class RandomUniform(Seeded):
    """Draws from a uniform distribution, of floats or of integers."""

    def __init__(
        self, minval: NumberLike | None = -0.05, maxval: NumberLike | None = 0.05, seed: Any = None
    ) -> None: ...

class STFT(KerasInitializer):
    """Makes the kernel of a short-time Fourier transform."""

    def __init__(
        self, side: str = "real", window: Any = "hann", scaling: str | None = "density", periodic: bool = False
    ) -> None: ...

class TruncatedNormal(Seeded):
    """Draws from a truncated normal distribution: by default at two standard deviations."""

    def __init__(
        self,
        mean: NumberLike = 0.0,
        stddev: NumberLike = 0.05,
        seed: Any = None,
        *,
        minval: NumberLike | None = None,
        maxval: NumberLike | None = None,
        lower: NumberLike | None = None,
        upper: NumberLike | None = None,
    ) -> None: ...

class VarianceScaling(Seeded):
    """Draws with a variance of `scale / n`, where n is a kernel's number of units; `axes` are Keras 3's."""

    def __init__(
        self,
        scale: NumberLike = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Any = None,
        **axes: Any,
    ) -> None: ...

class Zeros(KerasInitializer):
    """Makes zeros."""

constant = Constant
glorot_normal = GlorotNormal
glorot_uniform = GlorotUniform
he_normal = HeNormal
he_uniform = HeUniform
identity = Identity
lecun_normal = LecunNormal
lecun_uniform = LecunUniform
ones = Ones
orthogonal = Orthogonal
random_normal = RandomNormal
random_uniform = RandomUniform
stft = STFT
truncated_normal = TruncatedNormal
variance_scaling = VarianceScaling
zeros = Zeros
IdentityInitializer = Identity
OrthogonalInitializer = Orthogonal
STFTInitializer = STFT
