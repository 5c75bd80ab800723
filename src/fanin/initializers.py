"""The layer weight initializers of Keras 2 (tf_keras): the same classes, arguments and bits.

Each class says *what* to draw, as a `Distribution`; the rest is the base class's. At the end, initializers from names
and configurations, and back: `get`, `serialize`, `deserialize`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, ClassVar, SupportsIndex

import numpy as np

from fanin import _dtypes, _native, distributions
from fanin._shapes import checked_shape, fans, fans_of_axes
from fanin._words import suggestion
from fanin.base import Initializer, SeededInitializer, float_dtype, number, scalar
from fanin.distributions import TRUNCATED_STDDEV, Distribution


class _MeanAndStddev(SeededInitializer):
    """What the two normal initializers share."""

    def __init__(self, mean: Any = 0.0, stddev: Any = 0.05, seed: SupportsIndex | None = None) -> None:
        super().__init__(seed)
        self.mean, self.stddev = number("mean", mean), number("stddev", stddev)

    def get_config(self) -> dict[str, Any]:
        return {"mean": self.mean, "stddev": self.stddev, "seed": self.seed}


class RandomNormal(_MeanAndStddev):
    """Draws from a normal distribution.

    Also available as `random_normal`.

    >>> import fanin
    >>> initializer = fanin.initializers.RandomNormal(mean=0., stddev=1.)
    >>> values = initializer(shape=(2, 2))

    Args:
        mean: the mean of the values, a number or a scalar tensor.
        stddev: their standard deviation.
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns the same values at every call.

    Raises:
        TypeError, ValueError: an argument is no number, not finite, or no seed.
    """

    def distribution(self, shape: Any, dtype: Any = None) -> Distribution:
        return distributions.Normal(checked_shape(shape), float_dtype(dtype), self.mean, self.stddev)


class TruncatedNormal(_MeanAndStddev):
    """Draws from a normal distribution, anew where a value is two standard deviations or more from the mean.

    Also available as `truncated_normal`.

    >>> import fanin
    >>> initializer = fanin.initializers.TruncatedNormal(mean=0., stddev=1.)
    >>> values = initializer(shape=(2, 2))

    Args:
        mean: the mean of the values, a number or a scalar tensor.
        stddev: their standard deviation before the truncation, which takes it down to 0.88 of that.
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns the same values at every call.

    Raises:
        TypeError, ValueError: an argument is no number, not finite, or no seed.
    """

    def distribution(self, shape: Any, dtype: Any = None) -> Distribution:
        return distributions.TruncatedNormal(checked_shape(shape), float_dtype(dtype), self.mean, self.stddev)


class RandomUniform(SeededInitializer):
    """Draws from a uniform distribution, of floats or of integers.

    Also available as `random_uniform`.

    >>> import fanin
    >>> initializer = fanin.initializers.RandomUniform(minval=0., maxval=1.)
    >>> values = initializer(shape=(2, 2))

    Args:
        minval: the lower bound of the values (inclusive), a number or a scalar tensor.
        maxval: their upper bound (exclusive, though rounding can reach it). None means 1 for floats.
            `minval = maxval = None` draws int32, int64, uint32 and uint64 of the full range.
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns the same values at every call.

    Raises:
        TypeError, ValueError: an argument is no number, not finite, or no seed; at the call, bounds and dtype do not
            fit: int32 and int64 need integer bounds of their range with minval < maxval.
    """

    def __init__(self, minval: Any = -0.05, maxval: Any = 0.05, seed: SupportsIndex | None = None) -> None:
        super().__init__(seed)
        self.minval = None if minval is None else number("minval", minval)
        self.maxval = None if maxval is None else number("maxval", maxval)

    def distribution(self, shape: Any, dtype: Any = None) -> Distribution:
        shape, resolved = checked_shape(shape), _dtypes.resolve(dtype)
        if resolved in _dtypes.FLOATS:
            if self.minval is None:
                raise ValueError("`minval` must be a number for floating dtypes. Received: minval=None.")
            return distributions.Uniform(shape, resolved, self.minval, 1 if self.maxval is None else self.maxval)
        if resolved not in _dtypes.INTEGERS:
            raise ValueError(
                f"Expected float or integer dtype, got {_dtypes.name(resolved)}. "
                f"Use {', '.join([*_dtypes.FLOATS.values(), *map(str, _dtypes.INTEGERS)])}."
            )
        return distributions.UniformInteger(shape, resolved, *self._integer_bounds(resolved))

    def _integer_bounds(self, dtype: np.dtype) -> tuple[int, int]:
        received = f"Received: minval={self.minval!r}, maxval={self.maxval!r}, dtype={dtype.name}."
        smallest, largest = _dtypes.integer_range(dtype)
        if self.minval is None and self.maxval is None:
            return smallest, largest + 1
        if dtype.kind == "u":
            raise ValueError(
                f"Unsigned dtypes are drawn of their full range: `minval` and `maxval` must be None. {received}"
            )
        if self.minval is None or self.maxval is None:
            raise ValueError(f"`minval` and `maxval` must both be given for integer dtypes, or neither. {received}")
        if not isinstance(self.minval, int) or not isinstance(self.maxval, int):
            raise TypeError(f"`minval` and `maxval` must be integers for integer dtypes. {received}")
        if not (smallest <= self.minval <= largest and smallest <= self.maxval <= largest):
            rule = f"`minval` and `maxval` must lie in the dtype's range, [{smallest}, {largest}]"
            raise ValueError(f"{rule}. {received}")
        if self.minval >= self.maxval:
            raise ValueError(f"Need `minval` < `maxval` for integer dtypes. {received}")
        return self.minval, self.maxval

    def get_config(self) -> dict[str, Any]:
        return {"minval": self.minval, "maxval": self.maxval, "seed": self.seed}


_MODES = ("fan_in", "fan_out", "fan_avg")
_DISTRIBUTIONS = ("truncated_normal", "untruncated_normal", "uniform")
# Axes whose lengths make fan_in and fan_out; None for the usual ones.
_Axes = tuple[tuple[int, ...], tuple[int, ...]] | None


def _scaled(
    shape: tuple[int, ...], dtype: np.dtype, scale: float, mode: str, distribution: str, axes: _Axes
) -> Distribution:
    """A variance of `scale / n`, n being the number of units that the mode says."""
    fan_in, fan_out = fans(shape) if axes is None else fans_of_axes(shape, *axes)
    drawn = _scaled_by_fans(shape, dtype, scale, mode, distribution, fan_in, fan_out)
    return drawn if axes is None else drawn.with_fans(fan_in, fan_out)


def _scaled_by_fans(
    shape: tuple[int, ...], dtype: np.dtype, scale: float, mode: str, distribution: str, fan_in: int, fan_out: int
) -> Distribution:
    units = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
    variance = scale / max(1.0, units)
    if distribution == "uniform":
        limit = math.sqrt(3.0 * variance)
        return distributions.Uniform(shape, dtype, -limit, limit)
    if distribution == "truncated_normal":
        return distributions.TruncatedNormal(shape, dtype, 0.0, math.sqrt(variance) / TRUNCATED_STDDEV)
    return distributions.Normal(shape, dtype, 0.0, math.sqrt(variance))


# Drawing a small tensor is mostly finding out what to draw, so what was found last is kept. (It is plain data.)
_cached_scaled = lru_cache(maxsize=1024)(partial(_native.undisturbed, _scaled))


class VarianceScaling(SeededInitializer):
    """Draws with a variance of `scale / n` for a kernel's number of units n.

    Also available as `variance_scaling`. With `distribution="truncated_normal"` or `"untruncated_normal"` the mean is 0
    and the standard deviation, after the truncation if there is one, `sqrt(scale / n)`; with `"uniform"` the values
    lie within `sqrt(3 * scale / n)`.

    >>> import fanin
    >>> initializer = fanin.initializers.VarianceScaling(
    ...     scale=0.1, mode='fan_in', distribution='uniform')
    >>> values = initializer(shape=(2, 2))

    Args:
        scale: a positive number.
        mode: "fan_in" (n is the number of input units), "fan_out" (output units) or "fan_avg" (their average).
        distribution: "truncated_normal" (or "normal", its other name), "untruncated_normal" or "uniform", in any case.
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns the same values at every call.

    Raises:
        TypeError, ValueError: an argument is none of these.
    """

    _axes: _Axes = None

    def __init__(
        self,
        scale: Any = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: SupportsIndex | None = None,
    ) -> None:
        super().__init__(seed)
        self.scale = number("scale", scale)
        if self.scale <= 0.0:
            raise ValueError(f"`scale` must be positive float. Received: scale={scale}.")
        if not isinstance(mode, str) or mode not in _MODES:
            raise ValueError(
                f"Invalid `mode` argument: {mode!r}. Please use one of the {_MODES}.{suggestion(mode, _MODES)}"
            )
        lowered = distribution.lower() if isinstance(distribution, str) else distribution
        if lowered == "normal":
            lowered = "truncated_normal"
        if lowered not in _DISTRIBUTIONS:
            raise ValueError(
                f"Invalid `distribution` argument: {distribution!r}. Allowed distributions: {_DISTRIBUTIONS}."
                f"{suggestion(lowered, _DISTRIBUTIONS)}"
            )
        self.mode, self._distribution = mode, lowered

    def distribution(self, shape: Any, dtype: Any = None) -> Distribution:
        what = (checked_shape(shape), float_dtype(dtype), self.scale, self.mode, self._distribution)
        return _cached_scaled(*what, self._axes)

    def distribution_of_fans(self, shape: Any, dtype: Any, fan_in: int, fan_out: int) -> Distribution:
        """What would be drawn for a kernel whose fans are not those of its last two axes."""
        what = (checked_shape(shape), float_dtype(dtype), self.scale, self.mode, self._distribution, fan_in, fan_out)
        return _native.undisturbed(_scaled_by_fans, *what).with_fans(fan_in, fan_out)

    def get_config(self) -> dict[str, Any]:
        return {"scale": self.scale, "mode": self.mode, "distribution": self._distribution, "seed": self.seed}


class _FixedScaling(VarianceScaling):
    """A rule of the literature: VarianceScaling with nothing left to choose but the seed."""

    _repeats = False
    _rule: ClassVar[tuple[float, str, str]]

    def __init__(self, seed: SupportsIndex | None = None) -> None:
        SeededInitializer.__init__(self, seed)  # the rule needs none of VarianceScaling's checks
        self.scale, self.mode, self._distribution = self._rule

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}


class GlorotNormal(_FixedScaling):
    """The Glorot normal initializer, also called Xavier normal.

    Also available as `glorot_normal`. Draws from a truncated normal distribution around 0 with
    `stddev = sqrt(2 / (fan_in + fan_out))`.

    >>> import fanin
    >>> initializer = fanin.initializers.GlorotNormal()
    >>> values = initializer(shape=(2, 2))

    Args:
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns new values at every call, and
            initializers with the same seed return the same sequence of them (see `fanin.config.call_semantics`).

    References: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS
    2010.
    """

    _rule = (1.0, "fan_avg", "truncated_normal")


class GlorotUniform(_FixedScaling):
    """The Glorot uniform initializer, also called Xavier uniform.

    Also available as `glorot_uniform`. Draws from a uniform distribution within [-limit, limit],
    `limit = sqrt(6 / (fan_in + fan_out))`.

    >>> import fanin
    >>> initializer = fanin.initializers.GlorotUniform()
    >>> values = initializer(shape=(2, 2))

    Args:
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns new values at every call, and
            initializers with the same seed return the same sequence of them (see `fanin.config.call_semantics`).

    References: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS
    2010.
    """

    _rule = (1.0, "fan_avg", "uniform")


class LecunNormal(_FixedScaling):
    """The Lecun normal initializer.

    Also available as `lecun_normal`. Draws from a truncated normal distribution around 0 with
    `stddev = sqrt(1 / fan_in)`.

    >>> import fanin
    >>> initializer = fanin.initializers.LecunNormal()
    >>> values = initializer(shape=(2, 2))

    Args:
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns new values at every call, and
            initializers with the same seed return the same sequence of them (see `fanin.config.call_semantics`).

    References: LeCun, Bottou, Orr and Müller, "Efficient BackProp", 1998; Klambauer et al., "Self-Normalizing Neural
    Networks", 2017.
    """

    _rule = (1.0, "fan_in", "truncated_normal")


class LecunUniform(_FixedScaling):
    """The Lecun uniform initializer.

    Also available as `lecun_uniform`. Draws from a uniform distribution within [-limit, limit],
    `limit = sqrt(3 / fan_in)`.

    >>> import fanin
    >>> initializer = fanin.initializers.LecunUniform()
    >>> values = initializer(shape=(2, 2))

    Args:
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns new values at every call, and
            initializers with the same seed return the same sequence of them (see `fanin.config.call_semantics`).

    References: LeCun, Bottou, Orr and Müller, "Efficient BackProp", 1998.
    """

    _rule = (1.0, "fan_in", "uniform")


class HeNormal(_FixedScaling):
    """The He normal initializer.

    Also available as `he_normal`. Draws from a truncated normal distribution around 0 with `stddev = sqrt(2 / fan_in)`.

    >>> import fanin
    >>> initializer = fanin.initializers.HeNormal()
    >>> values = initializer(shape=(2, 2))

    Args:
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns new values at every call, and
            initializers with the same seed return the same sequence of them (see `fanin.config.call_semantics`).

    References: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", ICCV 2015.
    """

    _rule = (2.0, "fan_in", "truncated_normal")


class HeUniform(_FixedScaling):
    """The He uniform initializer.

    Also available as `he_uniform`. Draws from a uniform distribution within [-limit, limit],
    `limit = sqrt(6 / fan_in)`.

    >>> import fanin
    >>> initializer = fanin.initializers.HeUniform()
    >>> values = initializer(shape=(2, 2))

    Args:
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns new values at every call, and
            initializers with the same seed return the same sequence of them (see `fanin.config.call_semantics`).

    References: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", ICCV 2015.
    """

    _rule = (2.0, "fan_in", "uniform")


class Orthogonal(SeededInitializer):
    """Makes an orthogonal matrix, by the QR decomposition of a matrix of normal values.

    Also available as `orthogonal`. A matrix with fewer rows than columns gets orthonormal rows, else it gets
    orthonormal columns. A tensor of more axes is a matrix of shape `(shape[0] * ... * shape[-2], shape[-1])`, reshaped.

    No two QR routines agree to the last bit: values agree with tf_keras's to rounding (1e-5 in float32).

    >>> import fanin
    >>> initializer = fanin.initializers.Orthogonal()
    >>> values = initializer(shape=(2, 2))

    Args:
        gain: a factor for the matrix, a number or a scalar tensor.
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns the same values at every call.

    Raises:
        TypeError, ValueError: an argument is no number, not finite, or no seed; at the call, a shape of rank under 2.

    References: Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks", ICLR 2014.
    """

    _partitions = False

    def __init__(self, gain: Any = 1.0, seed: SupportsIndex | None = None) -> None:
        super().__init__(seed)
        self.gain = number("gain", gain)

    def distribution(self, shape: Any, dtype: Any = None) -> Distribution:
        resolved, shape = float_dtype(dtype), checked_shape(shape)
        if len(shape) < 2:
            raise ValueError(
                "The tensor to initialize must be at least two-dimensional. "
                f"Received: shape={shape} of rank {len(shape)}."
            )
        return distributions.Orthogonal(shape, resolved, float(self.gain))

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain, "seed": self.seed}


class Identity(Initializer):
    """Makes the identity matrix, which may be rectangular.

    Also available as `identity`.

    >>> import fanin
    >>> initializer = fanin.initializers.Identity()
    >>> values = initializer(shape=(2, 2))

    Args:
        gain: a factor for the matrix, a number or a scalar tensor.

    Raises:
        TypeError, ValueError: the gain is no number or not finite; at the call, a shape of a rank other than 2.
    """

    _partitions = False

    def __init__(self, gain: Any = 1.0) -> None:
        self.gain = number("gain", gain)

    def distribution(self, shape: Any, dtype: Any = None) -> Distribution:
        resolved, shape = float_dtype(dtype), checked_shape(shape)
        if len(shape) != 2:
            raise ValueError(
                "Identity matrix initializer can only be used for 2D matrices. "
                f"Received: shape={shape} of rank {len(shape)}."
            )
        return distributions.Identity(shape, resolved, self.gain)

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain}


def _numeric_dtype(dtype: Any) -> np.dtype:
    resolved = _dtypes.resolve(dtype)
    if _dtypes.kind(resolved) == "other":
        raise ValueError(f"Expected numeric or boolean dtype, got {_dtypes.name(resolved)}.")
    return resolved


def _constant(shape: Any, dtype: np.dtype, converted: Any, value: Any) -> Distribution:
    if converted != converted and value == value:  # NaN: float8_e8m0fnu has powers of two alone
        raise ValueError(f"The dtype must have the value. Received: value={value!r}, dtype={dtype.name}.")
    return distributions.Constant(checked_shape(shape), dtype, converted)


class Zeros(Initializer):
    """Makes zeros, of any numeric dtype or bool.

    Also available as `zeros`.

    >>> import fanin
    >>> initializer = fanin.initializers.Zeros()
    >>> values = initializer(shape=(2, 2))
    """

    def distribution(self, shape: Any, dtype: Any = None) -> Distribution:
        resolved = _numeric_dtype(dtype)
        return _constant(shape, resolved, resolved.type(0), 0)


class Ones(Initializer):
    """Makes ones, of any numeric dtype or bool.

    Also available as `ones`.

    >>> import fanin
    >>> initializer = fanin.initializers.Ones()
    >>> values = initializer(shape=(2, 2))
    """

    def distribution(self, shape: Any, dtype: Any = None) -> Distribution:
        resolved = _numeric_dtype(dtype)
        return _constant(shape, resolved, resolved.type(1), 1)


_KINDS = ("bool", "integer", "float", "complex")


class Constant(Initializer):
    """Makes tensors of one value.

    Also available as `constant`.

    >>> import fanin
    >>> initializer = fanin.initializers.Constant(3.)
    >>> values = initializer(shape=(2, 2))

    Args:
        value: a Python or NumPy scalar, or a 0-d array or tensor; a bool, an integer, a float or complex.

    Raises:
        TypeError: the value is no scalar; at the call, a dtype that its kind does not fit (3.0 for int32, 0 for bool).
        ValueError: at the call, an integer out of the dtype's range.
    """

    def __init__(self, value: Any = 0) -> None:
        self.value = scalar(value)
        if not isinstance(self.value, (bool, int, float, complex)):
            raise TypeError(
                f"`value` must be a scalar. Received: value={value!r} (of type {type(value).__name__}). "
                "Only scalar values are allowed."
            )

    def distribution(self, shape: Any, dtype: Any = None) -> Distribution:
        resolved = _numeric_dtype(dtype)
        return _constant(shape, resolved, self._converted(resolved), self.value)

    def _converted(self, dtype: np.dtype) -> np.generic:
        types = {bool: "bool", int: "integer", float: "float", complex: "complex"}
        kind, dtype_kind = types[type(self.value)], _dtypes.kind(dtype)
        if _KINDS.index(kind) > _KINDS.index(dtype_kind):
            raise TypeError(
                f"A value of kind {kind} does not fit a dtype of kind {dtype_kind}. "
                f"Received: value={self.value!r}, dtype={dtype.name}."
            )
        if dtype_kind == "integer":
            smallest, largest = _dtypes.integer_range(dtype)
            if not smallest <= self.value <= largest:
                raise ValueError(
                    f"`value` must lie in the dtype's range, [{smallest}, {largest}]. "
                    f"Received: value={self.value!r}, dtype={dtype.name}."
                )
        if dtype_kind == "float":
            return _dtypes.rounded(_as_float(self.value), dtype)
        value = _as_float(self.value) if dtype_kind == "complex" and kind != "complex" else self.value
        return _dtypes.quietly(dtype.type, value)

    def get_config(self) -> dict[str, Any]:
        return {"value": self.value}


def _as_float(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


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

CLASSES: tuple[type[Initializer], ...] = (
    RandomNormal,
    RandomUniform,
    TruncatedNormal,
    Zeros,
    Ones,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    Identity,
    Orthogonal,
    Constant,
    VarianceScaling,
    LecunNormal,
    LecunUniform,
)


def _names() -> dict[str, type[Initializer]]:
    """Every string that tf_keras knows for a class."""
    names: dict[str, type[Initializer]] = {"Initializer": Initializer, "initializer": Initializer}
    for cls in CLASSES:
        name = cls.__name__
        snake_case = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
        names |= {name: cls, snake_case: cls, name + "V2": cls}
        if cls._is_random and not cls._repeats:  # the six that old files may call so
            names[snake_case + "V2"] = cls
    for alias, name in {"uniform": "RandomUniform", "normal": "RandomNormal", "one": "Ones", "zero": "Zeros"}.items():
        names[alias] = names[name]
    return names


NAMES = _names()


def get(identifier: Any) -> Any:
    """An initializer from a name, a configuration, a class or itself.

    Args:
        identifier: None (which stays None), a name such as "he_normal" or "HeNormal", a dict as `serialize` returns, a
            class (which is instantiated), or any callable (which is returned).

    Raises:
        ValueError: the identifier is nothing of this kind, or an unknown name.

    >>> import fanin
    >>> fanin.get("he_normal")
    HeNormal(seed=None)
    """
    if identifier is None:
        return None
    if isinstance(identifier, (str, Mapping)):
        return deserialize(identifier)
    if isinstance(identifier, type):
        return identifier()
    if callable(identifier):
        return identifier
    raise ValueError(
        f"Could not interpret initializer identifier: {identifier}. "
        "It must be None, a name, a dict, a class or a callable."
    )


def serialize(initializer: Any, use_legacy_format: bool = False) -> dict[str, Any] | None:
    """The configuration from which `deserialize`, tf_keras and Keras 3 make the initializer again.

    Args:
        initializer: an initializer, or None, which stays None.
        use_legacy_format: returns class name and config alone.

    >>> import fanin
    >>> fanin.serialize(fanin.GlorotUniform(seed=3), use_legacy_format=True)
    {'class_name': 'GlorotUniform', 'config': {'seed': 3}}
    """
    if initializer is None:
        return None
    if not hasattr(initializer, "get_config") or isinstance(initializer, type):
        raise TypeError(f"`initializer` must be an initializer with `get_config`. Received: {initializer!r}.")
    cls = type(initializer)
    described = {"class_name": cls.__name__, "config": initializer.get_config()}
    if use_legacy_format:
        return described
    ours = cls in CLASSES
    return {
        "module": "keras.initializers" if ours else cls.__module__,
        **described,
        "registered_name": None if ours else cls.__name__,
    }


def deserialize(
    config: Any,
    custom_objects: Mapping[str, Callable[..., Any]] | None = None,
    use_legacy_format: bool = False,
) -> Any:
    """An initializer from its configuration, as fanin, tf_keras or Keras 3 wrote it. Nothing is imported for it.

    Args:
        config: a dict of either format, a name, or None, which stays None.
        custom_objects: your own classes by name; they come before fanin's.
        use_legacy_format: for tf_keras's sake; both formats are always read.

    Raises:
        ValueError: not a configuration, an unknown name, or something of Keras 3 that would change the values.
        TypeError: config keys that the class does not have.

    >>> import fanin
    >>> fanin.deserialize({"class_name": "RandomNormal", "config": {"stddev": 1.0, "seed": 3}})
    RandomNormal(mean=0.0, stddev=1.0, seed=3)
    """
    del use_legacy_format
    if config is None:
        return None
    if isinstance(config, str):
        config = {"class_name": config, "config": {}}
    if not isinstance(config, Mapping) or "class_name" not in config or not isinstance(config.get("config"), Mapping):
        raise ValueError(f"Improper config format for {config}. It must be a dict with `class_name` and `config`.")
    known = {**NAMES, **(custom_objects or {})}
    name, registered = config["class_name"], config.get("registered_name")
    found = known.get(registered) if isinstance(registered, str) and registered in (custom_objects or {}) else None
    if found is None and isinstance(name, str):
        found = known.get(name)
    if found is None:
        raise ValueError(
            f"Unknown initializer: {name!r}. Pass your own classes in `custom_objects`.{suggestion(name, known)}"
        )
    if not isinstance(found, type):
        return found  # a function of the user's own
    from_config: Any = getattr(found, "from_config", None)
    return from_config(dict(config["config"])) if from_config is not None else found(**config["config"])
