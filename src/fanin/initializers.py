"""The layer weight initializers of Keras 2 (tf_keras): the same classes, arguments and bits.

Each class says *what* to draw, as a `Distribution`; the call, the draw, threads, pieces and copies are the base class's.
"""

from __future__ import annotations

import copy
import inspect
import math
import operator
import os
import threading
import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from fanin import _dtypes, _random, distributions
from fanin._configs import translated_config
from fanin._names import suggestion
from fanin._shapes import checked_shape, fans, parse_region
from fanin.distributions import TRUNCATED_STDDEV, Distribution
from fanin.settings import config as settings

_ALLOWED_KEYWORDS = ["partition_shape", "partition_offset", "layout"]
_INT64 = 2**63


def _make_lock() -> None:
    global _lock
    _lock = threading.Lock()


# Guards seeds and counts of calls, for an instant each time; a child process starts with a free one.
_make_lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_make_lock)


class Initializer:
    """Base class of all initializers, and of your own.

    A subclass either overrides `distribution`, and gets regions, `out=`, partitions and any number of threads with it, or,
    as in tf_keras, `__call__` itself. `get_config` makes it serializable.

    >>> import fanin
    >>> class Smaller(fanin.Initializer):
    ...     def __init__(self, gain):
    ...         self.gain = gain
    ...     def __call__(self, shape, dtype=None, **kwargs):
    ...         return self.gain * fanin.HeNormal(seed=1)(shape, dtype)
    ...     def get_config(self):
    ...         return {"gain": self.gain}
    >>> Smaller.from_config(Smaller(0.5).get_config())((2, 3)).shape
    (2, 3)
    """

    # Whether the documentation says that a seeded initializer repeats its values at every call.
    _repeats: ClassVar[bool] = True
    # Whether `partition_shape` and `partition_offset` are taken.
    _partitions: ClassVar[bool] = True
    # Whether values depend on a seed at all.
    _random: ClassVar[bool] = False

    _seed: int | None = None  # as given
    _drawn_seed: int | None = None  # chosen at the first call of an unseeded initializer
    _calls = 0

    def __call__(
        self,
        shape: Any,
        dtype: Any = None,
        *,
        region: Any = None,
        out: np.ndarray | None = None,
        **kwargs: Any,
    ) -> np.ndarray:
        """Returns the initialized tensor.

        Args:
            shape: the shape of the tensor, as a tuple, list, array, `tf.TensorShape` or `torch.Size` of integers; `()`
                makes a 0-d array.
            dtype: a name, or a dtype of NumPy, ml_dtypes, TensorFlow, PyTorch or JAX; by default `fanin.config.floatx`.
            region: a piece of the tensor, as NumPy's basic indexing with step 1: the result is that of
                `initializer(shape)[region]`, bit for bit, at the cost of the piece alone (`Orthogonal` makes the whole
                matrix on the way). It belongs to the first call, does not count as one, and never warns.
            out: a writable array of the result's shape and dtype, of any strides, to be filled and returned.
            **kwargs: tf_keras's `partition_shape` (the shape drawn instead) and `partition_offset` (a tuple of integers
                which chooses other values); `layout` may be None.

        Returns:
            A new array in C order, 64-byte aligned, or `out`.

        Raises:
            TypeError, ValueError: what was asked for is not possible; the message says why.
            IndexError: the region lies outside the shape.
            MemoryError: the tensor cannot be allocated.
        """
        offset: tuple[int, ...] = ()
        piece = region is not None
        if kwargs:
            shape, offset, partition = self._partition(shape, kwargs)
            if piece and partition:
                raise ValueError("`region` cannot be combined with partition-related arguments. Received both.")
            piece = piece or partition
        distribution = self.distribution(shape, dtype)
        box = parse_region(region, distribution.shape) if region is not None else None
        result = distribution.room(box, out)  # before a seed is drawn: a call that raises draws none
        if not self._random:
            distribution.fill(result, (0, 0), box, fresh=out is None)
            return result

        repeats = self._repeats or settings.call_semantics == "released"
        if repeats and not piece and self._calls and self._seed is None:
            self._warn_reuse()
        with _lock:
            pair = (self._chosen_seed(), 0)
            number = 0 if piece else self._calls
            self._calls += not piece
        if number and not repeats:
            pair = _random.fold_in(pair, number)
        if offset:
            pair = _random.fold_in(pair, hash(offset))
        try:
            distribution.fill(result, pair, box, fresh=out is None)
        except BaseException:
            with _lock:  # a call that raises does not count
                self._calls -= not piece
            raise
        return result

    def distribution(self, shape: Any, dtype: Any = None) -> Distribution:
        """What would be drawn, as data: kind, parameters as the dtype rounds them, bounds, moments and fans.

        >>> import fanin
        >>> drawn = fanin.GlorotUniform().distribution((784, 256))
        >>> drawn.kind, drawn.fan_in, drawn.fan_out, round(drawn.high, 6)
        ('uniform', 784, 256, 0.07596)
        """
        raise NotImplementedError("Initializer subclasses must implement the `__call__()` method.")

    def spawn(self, name: str) -> Initializer:
        """The same initializer with a seed of its own, which depends on this one's seed and the name alone.

        Args:
            name: any string, such as a parameter's path.

        Returns:
            A new initializer that has not been called. One without a seed (`Zeros`, `Identity`, …) is copied.

        >>> import fanin
        >>> fanin.HeNormal(seed=1).spawn("encoder/dense/kernel")
        HeNormal(seed=2903447366447061399)
        """
        if not isinstance(name, str):
            raise TypeError(f"`name` must be a string. Received: name={name!r} (of type {type(name).__name__}).")
        spawned = copy.copy(self)
        if self._random:
            from hashlib import blake2b  # not on the way to a result

            with _lock:
                key = self._chosen_seed().to_bytes(8, "little", signed=True)
            digest = blake2b(name.encode(), key=key, digest_size=8).digest()
            spawned._seed, spawned._drawn_seed, spawned._calls = int.from_bytes(digest, "little") >> 1, None, 0
        return spawned

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this initializer again, as plain Python values."""
        return {}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Initializer:
        """An initializer from what `get_config` returned, of fanin, tf_keras or Keras 3; it starts anew.

        >>> import fanin
        >>> fanin.RandomUniform.from_config(fanin.RandomUniform(-1, 1, seed=3).get_config())
        RandomUniform(minval=-1, maxval=1, seed=3)
        """
        return cls(**translated_config(cls, config))

    def _chosen_seed(self) -> int:
        """The seed in force, drawn now if there is none yet. Call it with the lock held."""
        if self._seed is not None:
            return self._seed
        if self._drawn_seed is None:
            self._drawn_seed = _random.choose_seed()
        return self._drawn_seed

    def _partition(self, shape: Any, kwargs: dict[str, Any]) -> tuple[Any, tuple[int, ...], bool]:
        """The shape to draw, the offset to fold in, and whether the call is for a piece."""
        unknown = [name for name in kwargs if name not in _ALLOWED_KEYWORDS]
        if unknown:
            raise TypeError(f"Unknown keyword arguments: {unknown}. Allowed keyword arguments: {_ALLOWED_KEYWORDS}.")
        if kwargs.get("layout") is not None:
            raise ValueError(
                f"`layout` must be None: only tf_keras has layouts. Received: layout={kwargs['layout']!r}. "
                "Use `region` to make one device's piece."
            )
        given = [name for name in kwargs if name != "layout"]
        if given and not self._partitions:
            raise ValueError(f"{type(self).__name__} initializer doesn't support partition-related arguments.")
        if kwargs.get("partition_shape") is not None:
            shape = kwargs["partition_shape"]
        offset = kwargs.get("partition_offset")
        if offset is None:
            return shape, (), bool(given)
        try:
            return shape, tuple(map(operator.index, offset)), True
        except TypeError:
            raise TypeError(
                f"`partition_offset` must be a sequence of integers. Received: partition_offset={offset!r}."
            ) from None

    def _warn_reuse(self) -> None:
        warnings.warn(
            f"The initializer {type(self).__name__} is unseeded and being called multiple times, which will return "
            "identical values each time (even if the initializer is unseeded). Please update your code to provide a "
            "seed to the initializer, or avoid using the same initializer instance more than once.",
            stacklevel=3,
        )

    def _describes_itself(self) -> bool:
        return type(self).get_config is not Initializer.get_config or type(self).__init__ is object.__init__

    def __eq__(self, other: object) -> bool:
        """Same class and same configuration. An unseeded initializer, whose values no other has, equals only itself."""
        if self is other:
            return True
        if type(self) is not type(other) or not isinstance(other, Initializer) or not self._describes_itself():
            return NotImplemented
        if self._random and self._seed is None:
            return False
        return self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((type(self), repr(self.get_config()))) if self._describes_itself() else object.__hash__(self)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


class _Seeded(Initializer):
    """What has a `seed`."""

    _random = True

    def __init__(self, seed: int | None = None) -> None:
        self._seed = _random.checked_seed(seed)

    @property
    def seed(self) -> int | None:
        """The seed as it was given; None for an unseeded initializer, even after its first call."""
        return self._seed


def _number(name: str, value: Any) -> int | float:
    """A finite real parameter as a Python number, from a number or a 0-d array or tensor."""
    number = _scalar(value)
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise TypeError(
            f"`{name}` must be a real number or a scalar tensor. Received: {name}={value!r} "
            f"(of type {type(value).__name__})."
        )
    if isinstance(number, int) and abs(number) > 2**1023 or not math.isfinite(number):
        raise ValueError(f"`{name}` must be finite. Received: {name}={value!r}.")
    return number


def _scalar(value: Any) -> Any:
    """A Python scalar for a NumPy scalar or a 0-d array or tensor; anything else as it came."""
    if isinstance(value, (bool, int, float, complex)) and not isinstance(value, np.generic):
        return value
    if hasattr(value, "numpy") and getattr(value, "shape", None) is not None and tuple(value.shape) == ():  # tf, torch
        value = value.detach().cpu() if hasattr(value, "detach") else value
        value = value.item() if hasattr(value, "item") else value.numpy()
    if isinstance(value, np.generic) or hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    # ml_dtypes' scalars become themselves
    return float(value) if isinstance(value, np.generic) and _dtypes.kind(value.dtype) == "float" else value


def _float_dtype(dtype: Any) -> np.dtype:
    resolved = _dtypes.resolve(dtype)
    if resolved not in _dtypes.FLOATS:
        raise ValueError(
            f"Expected floating point type, got {_dtypes.name(resolved)}. Use float16, bfloat16, float32 or float64."
        )
    return resolved


class RandomNormal(_Seeded):
    """Draws from a normal distribution.

    Also available as `random_normal`.

    >>> # Standalone usage:
    >>> import fanin
    >>> initializer = fanin.RandomNormal(mean=0., stddev=1., seed=7)
    >>> values = initializer(shape=(2, 2))

    Args:
        mean: the mean of the values, a number or a scalar tensor.
        stddev: their standard deviation.
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns the same values at every call.

    Raises:
        TypeError, ValueError: an argument is no number, not finite, or no seed.
    """

    def __init__(self, mean: Any = 0.0, stddev: Any = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.mean, self.stddev = _number("mean", mean), _number("stddev", stddev)

    def distribution(self, shape: Any, dtype: Any = None) -> Distribution:
        return distributions.Normal(checked_shape(shape), _float_dtype(dtype), self.mean, self.stddev)

    def get_config(self) -> dict[str, Any]:
        return {"mean": self.mean, "stddev": self.stddev, "seed": self.seed}


class TruncatedNormal(_Seeded):
    """Draws from a normal distribution, anew where a value is two standard deviations or more from the mean.

    Also available as `truncated_normal`.

    >>> # Standalone usage:
    >>> import fanin
    >>> initializer = fanin.TruncatedNormal(mean=0., stddev=1., seed=7)
    >>> values = initializer(shape=(2, 2))

    Args:
        mean: the mean of the values, a number or a scalar tensor.
        stddev: their standard deviation before the truncation, which takes it down to 0.88 of that.
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns the same values at every call.

    Raises:
        TypeError, ValueError: an argument is no number, not finite, or no seed.
    """

    def __init__(self, mean: Any = 0.0, stddev: Any = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.mean, self.stddev = _number("mean", mean), _number("stddev", stddev)

    def distribution(self, shape: Any, dtype: Any = None) -> Distribution:
        return distributions.TruncatedNormal(checked_shape(shape), _float_dtype(dtype), self.mean, self.stddev)

    def get_config(self) -> dict[str, Any]:
        return {"mean": self.mean, "stddev": self.stddev, "seed": self.seed}


class RandomUniform(_Seeded):
    """Draws from a uniform distribution, of floats or of integers.

    Also available as `random_uniform`.

    >>> # Standalone usage:
    >>> import fanin
    >>> initializer = fanin.RandomUniform(minval=0., maxval=1., seed=7)
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

    def __init__(self, minval: Any = -0.05, maxval: Any = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.minval = None if minval is None else _number("minval", minval)
        self.maxval = None if maxval is None else _number("maxval", maxval)

    def distribution(self, shape: Any, dtype: Any = None) -> Distribution:
        shape, resolved = checked_shape(shape), _dtypes.resolve(dtype)
        if resolved in _dtypes.FLOATS:
            if self.minval is None:
                raise ValueError("`minval` must be a number for floating dtypes. Received: minval=None.")
            return distributions.Uniform(shape, resolved, self.minval, 1 if self.maxval is None else self.maxval)
        if _dtypes.kind(resolved) not in ("integer", "float"):
            raise ValueError(f"Expected float or integer dtype, got {_dtypes.name(resolved)}.")
        return distributions.UniformInteger(shape, resolved, *self._integer_bounds(resolved))

    def _integer_bounds(self, dtype: np.dtype) -> tuple[int, int]:
        received = f"Received: minval={self.minval!r}, maxval={self.maxval!r}, dtype={dtype.name}."
        if dtype not in _dtypes.INTEGERS:
            raise ValueError(f"Expected float or integer dtype among float16, bfloat16, float32, float64, int32, int64, uint32, uint64. {received}")
        smallest, largest = _dtypes.integer_range(dtype)
        if self.minval is None and self.maxval is None:
            return smallest, largest + 1
        if dtype.kind == "u":
            raise ValueError(f"Unsigned dtypes are drawn of their full range: `minval` and `maxval` must be None. {received}")
        if self.minval is None or self.maxval is None:
            raise ValueError(f"`minval` and `maxval` must both be given for integer dtypes, or neither. {received}")
        if not isinstance(self.minval, int) or not isinstance(self.maxval, int):
            raise TypeError(f"`minval` and `maxval` must be integers for integer dtypes. {received}")
        if not (smallest <= self.minval <= largest and smallest <= self.maxval <= largest):
            raise ValueError(f"`minval` and `maxval` must lie in the dtype's range, [{smallest}, {largest}]. {received}")
        if self.minval >= self.maxval:
            raise ValueError(f"Need `minval` < `maxval` for integer dtypes. {received}")
        return self.minval, self.maxval

    def get_config(self) -> dict[str, Any]:
        return {"minval": self.minval, "maxval": self.maxval, "seed": self.seed}


_MODES = ("fan_in", "fan_out", "fan_avg")
_DISTRIBUTIONS = ("truncated_normal", "untruncated_normal", "uniform")


# Drawing a small tensor is mostly finding out what to draw, so what was found last is kept. (It is plain data.)
@lru_cache(maxsize=1024)
def _scaled(shape: tuple[int, ...], dtype: np.dtype, scale: float, mode: str, distribution: str) -> Distribution:
    """A variance of `scale / n`, n being the number of units that the mode says."""
    fan_in, fan_out = fans(shape)
    units = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
    variance = scale / max(1.0, units)
    if distribution == "uniform":
        limit = math.sqrt(3.0 * variance)
        return distributions.Uniform(shape, dtype, -limit, limit)
    if distribution == "truncated_normal":
        return distributions.TruncatedNormal(shape, dtype, 0.0, math.sqrt(variance) / TRUNCATED_STDDEV)
    return distributions.Normal(shape, dtype, 0.0, math.sqrt(variance))


class VarianceScaling(_Seeded):
    """Draws with a variance of `scale / n` for a kernel's number of units n.

    Also available as `variance_scaling`. With `distribution="truncated_normal"` or `"untruncated_normal"` the mean is 0 and
    the standard deviation, after the truncation if there is one, `sqrt(scale / n)`; with `"uniform"` the values lie
    within `sqrt(3 * scale / n)`.

    >>> # Standalone usage:
    >>> import fanin
    >>> initializer = fanin.VarianceScaling(
    ...     scale=0.1, mode='fan_in', distribution='uniform', seed=7)
    >>> values = initializer(shape=(2, 2))

    Args:
        scale: a positive number.
        mode: "fan_in" (n is the number of input units), "fan_out" (output units) or "fan_avg" (their average).
        distribution: "truncated_normal" (or "normal", its other name), "untruncated_normal" or "uniform", in any case.
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns the same values at every call.

    Raises:
        TypeError, ValueError: an argument is none of these.
    """

    def __init__(
        self,
        scale: Any = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ) -> None:
        super().__init__(seed)
        self.scale = _number("scale", scale)
        if self.scale <= 0.0:
            raise ValueError(f"`scale` must be positive float. Received: scale={scale}.")
        if mode not in _MODES:
            raise ValueError(f"Invalid `mode` argument: {mode!r}. Please use one of the {_MODES}.{suggestion(mode, _MODES)}")
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
        return _scaled(checked_shape(shape), _float_dtype(dtype), self.scale, self.mode, self._distribution)

    def get_config(self) -> dict[str, Any]:
        return {"scale": self.scale, "mode": self.mode, "distribution": self._distribution, "seed": self.seed}


class _FixedScaling(VarianceScaling):
    """A rule of the literature: VarianceScaling with nothing left to choose but the seed."""

    _repeats = False
    _rule: ClassVar[tuple[float, str, str]]

    def __init__(self, seed: int | None = None) -> None:
        scale, mode, distribution = self._rule
        super().__init__(scale, mode, distribution, seed)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}


class GlorotNormal(_FixedScaling):
    """The Glorot normal initializer, also called Xavier normal.

    Also available as `glorot_normal`. Draws from a truncated normal distribution around 0 with
    `stddev = sqrt(2 / (fan_in + fan_out))`.

    >>> # Standalone usage:
    >>> import fanin
    >>> initializer = fanin.GlorotNormal(seed=7)
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

    >>> # Standalone usage:
    >>> import fanin
    >>> initializer = fanin.GlorotUniform(seed=7)
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

    >>> # Standalone usage:
    >>> import fanin
    >>> initializer = fanin.LecunNormal(seed=7)
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

    >>> # Standalone usage:
    >>> import fanin
    >>> initializer = fanin.LecunUniform(seed=7)
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

    >>> # Standalone usage:
    >>> import fanin
    >>> initializer = fanin.HeNormal(seed=7)
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

    >>> # Standalone usage:
    >>> import fanin
    >>> initializer = fanin.HeUniform(seed=7)
    >>> values = initializer(shape=(2, 2))

    Args:
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns new values at every call, and
            initializers with the same seed return the same sequence of them (see `fanin.config.call_semantics`).

    References: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", ICCV 2015.
    """

    _rule = (2.0, "fan_in", "uniform")


class Orthogonal(_Seeded):
    """Makes an orthogonal matrix, by the QR decomposition of a matrix of normal values.

    Also available as `orthogonal`. A matrix with fewer rows than columns gets orthonormal rows, else it gets orthonormal
    columns. A tensor of more axes is a matrix of shape `(shape[0] * ... * shape[-2], shape[-1])`, reshaped.

    No two QR routines agree to the last bit: values agree with tf_keras's to rounding (1e-5 in float32).

    >>> # Standalone usage:
    >>> import fanin
    >>> initializer = fanin.Orthogonal(seed=7)
    >>> values = initializer(shape=(2, 2))

    Args:
        gain: a factor for the matrix, a number or a scalar tensor.
        seed: an integer in [-2**63, 2**63 - 1]. A seeded initializer returns the same values at every call.

    Raises:
        TypeError, ValueError: an argument is no number, not finite, or no seed; at the call, a shape of rank under 2.

    References: Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear neural
    networks", ICLR 2014.
    """

    _partitions = False

    def __init__(self, gain: Any = 1.0, seed: int | None = None) -> None:
        super().__init__(seed)
        self.gain = _number("gain", gain)

    def distribution(self, shape: Any, dtype: Any = None) -> Distribution:
        resolved, shape = _float_dtype(dtype), checked_shape(shape)
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

    >>> # Standalone usage:
    >>> import fanin
    >>> initializer = fanin.Identity()
    >>> values = initializer(shape=(2, 2))

    Args:
        gain: a factor for the matrix, a number or a scalar tensor.

    Raises:
        TypeError, ValueError: the gain is no number or not finite; at the call, a shape of a rank other than 2.
    """

    _partitions = False

    def __init__(self, gain: Any = 1.0) -> None:
        self.gain = _number("gain", gain)

    def distribution(self, shape: Any, dtype: Any = None) -> Distribution:
        resolved, shape = _float_dtype(dtype), checked_shape(shape)
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


class Zeros(Initializer):
    """Makes zeros, of any numeric dtype or bool.

    Also available as `zeros`.

    >>> # Standalone usage:
    >>> import fanin
    >>> initializer = fanin.Zeros()
    >>> values = initializer(shape=(2, 2))
    """

    def distribution(self, shape: Any, dtype: Any = None) -> Distribution:
        resolved = _numeric_dtype(dtype)
        return distributions.Constant(checked_shape(shape), resolved, resolved.type(0))


class Ones(Initializer):
    """Makes ones, of any numeric dtype or bool.

    Also available as `ones`.

    >>> # Standalone usage:
    >>> import fanin
    >>> initializer = fanin.Ones()
    >>> values = initializer(shape=(2, 2))
    """

    def distribution(self, shape: Any, dtype: Any = None) -> Distribution:
        resolved = _numeric_dtype(dtype)
        return distributions.Constant(checked_shape(shape), resolved, resolved.type(1))


_KINDS = ("bool", "integer", "float", "complex")


class Constant(Initializer):
    """Makes tensors of one value.

    Also available as `constant`.

    >>> # Standalone usage:
    >>> import fanin
    >>> initializer = fanin.Constant(3.)
    >>> values = initializer(shape=(2, 2))

    Args:
        value: a Python or NumPy scalar, or a 0-d array or tensor; a bool, an integer, a float or complex.

    Raises:
        TypeError: the value is no scalar; at the call, a dtype that its kind does not fit (3.0 for int32, 0 for bool).
        ValueError: at the call, an integer out of the dtype's range.
    """

    def __init__(self, value: Any = 0) -> None:
        self.value = _scalar(value)
        if not isinstance(self.value, (bool, int, float, complex)):
            raise TypeError(
                f"`value` must be a scalar. Received: value={value!r} (of type {type(value).__name__}). "
                "Only scalar values are allowed."
            )

    def distribution(self, shape: Any, dtype: Any = None) -> Distribution:
        resolved = _numeric_dtype(dtype)
        return distributions.Constant(checked_shape(shape), resolved, self._converted(resolved))

    def _converted(self, dtype: np.dtype) -> np.generic:
        types = {bool: "bool", int: "integer", float: "float", complex: "complex"}
        kind, dtype_kind = types[type(self.value)], _dtypes.kind(dtype)
        if _KINDS.index(kind) > _KINDS.index(dtype_kind):
            raise TypeError(
                f"A {kind} value does not fit a {dtype_kind} dtype. Received: value={self.value!r}, dtype={dtype.name}."
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
        return _dtypes.round_after(dtype.type, self.value if dtype_kind != "complex" or kind == "complex" else _as_float(self.value))

    def get_config(self) -> dict[str, Any]:
        return {"value": self.value}


def _as_float(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value)


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
