"""The base classes of all initializers: calls, regions, seeds and call counts, copies, configurations."""

from __future__ import annotations

import copy
import math
import operator
import os
import sys
from _thread import allocate_lock  # importing `threading` would take a tenth of fanin's import time
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, Self, TypeVar, overload

import numpy as np

from fanin._core import dtypes, streams
from fanin._core.environment import undisturbed
from fanin._core.memory import allocate, checked_out, note_write
from fanin._core.messages import class_name, shown, warn
from fanin._core.settings import config as settings
from fanin._core.shapes import Region, parse_region
from fanin._core.streams import Stream
from fanin._core.types import Array, DType, DTypeLike, NumberLike, RegionLike, Seed, ShapeLike
from fanin.distributions import Distribution
from fanin.distributions.weight import Weight
from fanin.initializers.configs import translated_config

_Out = TypeVar("_Out")
_ALLOWED_KEYWORDS = ["partition_shape", "partition_offset", "layout"]
_NO_STREAM = Stream(0)  # for values that are not random


class Initializer:
    """The base class of all initializers, including your own.

    A subclass overrides either `distribution`, which gives it regions, `out=`, partitions and threads, or, as in
    tf_keras, `__call__` itself. If its distribution is random it needs a seed: derive it from `SeededInitializer`.
    `get_config` makes it serializable.

    Attributes:
        repeats: whether a seeded initializer returns the same values at every call, as Keras documents.
        takes_partitions: whether `partition_shape` and `partition_offset` are accepted.
        is_table: whether axes mean the same in every framework, as those of a table of positions do; those of kernels
            are in each framework's own order.
        is_kernel: whether its tensor is one kernel, each of whose axes means something else, so that it neither stacks
            nor has an unknown order of axes.

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

    repeats: ClassVar[bool] = True
    takes_partitions: ClassVar[bool] = True
    is_table: ClassVar[bool] = False
    is_kernel: ClassVar[bool] = False

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Makes the subclass compute its distributions in the default floating-point environment."""
        super().__init_subclass__(**keywords)
        own: Any = vars(cls).get("distribution")
        if callable(own) and hasattr(own, "__get__"):
            decorated: Any = undisturbed(own)
            cls.distribution = decorated

    @overload
    def __call__(
        self,
        shape: ShapeLike,
        dtype: DTypeLike = None,
        *,
        region: RegionLike | None = None,
        out: None = None,
        **kwargs: Any,
    ) -> Array: ...
    @overload
    def __call__(
        self, shape: ShapeLike, dtype: DTypeLike = None, *, region: RegionLike | None = None, out: _Out, **kwargs: Any
    ) -> _Out: ...
    def __call__(
        self,
        shape: ShapeLike,
        dtype: DTypeLike = None,
        *,
        region: RegionLike | None = None,
        out: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Returns the initialized tensor.

        Args:
            shape: the shape of the tensor, as a tuple, list, array, `tf.TensorShape` or `torch.Size` of integers; `()`
                makes a 0-d array.
            dtype: a name, or a dtype of NumPy, ml_dtypes, TensorFlow, PyTorch or JAX; by default `fanin.config.floatx`.
            region: a region of the tensor, as NumPy's basic indexing with step 1. The result is
                `initializer(shape)[region]`, bit for bit, at the cost of the region alone (except that orthogonal and
                unitary matrices are computed whole). It is a region of the first call's tensor, does not count as a
                call, and never warns.
            out: a writable array with the result's shape and dtype and any strides, which is filled and returned: a
                NumPy array, a PyTorch tensor (of 16-bit and 8-bit floats, too), or anything that exports CPU memory by
                DLPack, `__array_interface__` or the buffer protocol.
            **kwargs: tf_keras's `partition_shape` (the shape to draw instead) and `partition_offset` (a tuple of
                integers that selects other values); `layout` may be None.

        Returns:
            A new array in C order, 64-byte aligned, or `out`.

        Raises:
            TypeError, ValueError: an argument is invalid; the message says why.
            IndexError: the region lies outside the shape.
            MemoryError: the tensor cannot be allocated.
        """
        offset: tuple[int, ...] = ()
        is_region = region is not None
        if kwargs:
            shape, offset, is_partition = self._partition(shape, kwargs)
            if is_region and is_partition:
                raise ValueError("`region` cannot be combined with partition-related arguments. Received both.")
            is_region = is_region or is_partition
        distribution = self._checked_distribution(shape, dtype)
        wanted = None if region is None else parse_region(region, distribution.shape)
        distribution.reserve(wanted)  # before a seed is drawn, so that a call that raises draws none
        lengths = distribution.shape if wanted is None else wanted.shape
        target = allocate(lengths, distribution.dtype) if out is None else checked_out(out, lengths, distribution.dtype)
        if out is None:
            self._fill_call(distribution, target, wanted, offset, not is_region)
            return target
        note_write(out)  # before it is written: an interrupt may leave it partly so
        self._fill_call(distribution, target, wanted, offset, not is_region)
        return out

    def distribution(self, shape: ShapeLike, dtype: DTypeLike = None) -> Distribution:
        """The distribution of the values, as data: kind, parameters as the dtype rounds them, bounds, moments, fans.

        >>> import fanin
        >>> drawn = fanin.GlorotUniform().distribution((784, 256))
        >>> drawn.kind, drawn.fan_in, drawn.fan_out, round(drawn.maxval, 6)
        ('uniform', 784, 256, 0.075955)
        """
        raise NotImplementedError("Initializer subclasses must implement the `__call__()` method.")

    def weight(self, shape: ShapeLike, dtype: DTypeLike = None, *, stream: Stream | None = None) -> Weight:
        """The first call's tensor as a `Weight`, whether or not that call has been made.

        Args:
            shape: the shape of the tensor.
            dtype: its dtype; by default `fanin.config.floatx`.
            stream: the stream of its values, in place of the seed's.

        Returns:
            A `Weight`, which fills any region of the tensor. Making it does not count as a call.

        >>> import fanin
        >>> weight = fanin.HeNormal(seed=1).weight((784, 256))
        >>> weight.make((0, slice(0, 2))) == fanin.HeNormal(seed=1)((784, 256))[0, :2]
        array([ True,  True])
        """
        distribution = self._checked_distribution(shape, dtype)
        return Weight(distribution, self._first_stream() if stream is None else stream)

    def next_weight(self, shape: ShapeLike, dtype: DTypeLike = None) -> Weight:
        """The next call's tensor as a `Weight`. Making it counts as that call."""
        return Weight(self._checked_distribution(shape, dtype), self._next_stream()[0])

    def _checked_distribution(self, shape: ShapeLike, dtype: DTypeLike) -> Distribution:
        """The distribution, if this class can draw from it."""
        distribution = self.distribution(shape, dtype)
        if distribution.random and not isinstance(self, SeededInitializer):
            raise TypeError(
                f"{class_name(type(self))} has a random distribution but no seed: it must derive from "
                f"SeededInitializer. Received: the distribution {shown(distribution.kind)}."
            )
        return distribution

    def _first_stream(self) -> Stream:
        return _NO_STREAM

    def _next_stream(self) -> tuple[Stream, int]:
        return _NO_STREAM, 0

    def _fill_call(
        self, distribution: Distribution, out: Array, wanted: Region | None, offset: tuple[int, ...], counts: bool
    ) -> None:
        """Fills the result of a call."""
        del offset, counts
        Weight(distribution, _NO_STREAM).fill(out, wanted)

    def with_seed(self, seed: Seed) -> Self:
        """A copy with another seed, which has not been called; for a class without seeds, a plain copy."""
        del seed
        return copy.copy(self)

    def spawn(self, name: str) -> Self:
        """The same initializer with a seed of its own, which depends only on this one's seed and the name.

        Args:
            name: any string, such as a parameter's path.

        Returns:
            A new initializer that has not been called; for a class without seeds (`Zeros`, `Identity`, …), a copy.

        >>> import fanin
        >>> fanin.HeNormal(seed=1).spawn("encoder/dense/kernel")
        HeNormal(seed=6853180853575088683)
        """
        if not isinstance(name, str):
            raise TypeError(
                f"`name` must be a string. Received: name={shown(name)} (of type {class_name(type(name))})."
            )
        return self._spawned(name)

    def _spawned(self, name: str) -> Self:
        del name
        return copy.copy(self)

    def get_config(self) -> dict[str, Any]:
        """The arguments that recreate this initializer, as plain Python values."""
        return {}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """An initializer from the result of `get_config` in fanin, tf_keras or Keras 3, which has not been called.

        >>> import fanin
        >>> fanin.RandomUniform.from_config(fanin.RandomUniform(-1, 1, seed=3).get_config())
        RandomUniform(minval=-1, maxval=1, seed=3)
        """
        return cls(**translated_config(cls, config))

    @property
    def summary(self) -> str:
        """The class and its arguments but the seed, with six digits, as tables have them.

        >>> import fanin
        >>> fanin.RandomNormal(stddev=1 / 3, seed=1).summary
        'RandomNormal(mean=0, stddev=0.333333)'
        """
        config = {key: value for key, value in self.get_config().items() if key != "seed"}
        texts = ", ".join(f"{key}={_short(value)}" for key, value in config.items())
        return f"{class_name(type(self))}({texts})"

    def _partition(self, shape: ShapeLike, kwargs: dict[str, Any]) -> tuple[ShapeLike, tuple[int, ...], bool]:
        """The shape to draw, the offset to fold in, and whether the call is for a partition."""
        unknown = [name for name in kwargs if name not in _ALLOWED_KEYWORDS]
        if unknown:
            raise TypeError(
                f"Unknown keyword arguments: {shown(unknown)}. Allowed keyword arguments: {_ALLOWED_KEYWORDS}."
            )
        if kwargs.get("layout") is not None:
            raise ValueError(
                f"`layout` must be None: only tf_keras has layouts. Received: layout={shown(kwargs['layout'])}. "
                "Use `region` to make the region of one device."
            )
        given = [name for name in kwargs if name != "layout"]
        if given and not self.takes_partitions:
            raise ValueError(f"{class_name(type(self))} initializer doesn't support partition-related arguments.")
        if kwargs.get("partition_shape") is not None:
            shape = kwargs["partition_shape"]
        offset = kwargs.get("partition_offset")
        if offset is None:
            return shape, (), bool(given)
        try:
            return shape, tuple(map(operator.index, offset)), True
        except TypeError:
            raise TypeError(
                f"`partition_offset` must be a sequence of integers. Received: partition_offset={shown(offset)}."
            ) from None

    def _describes_itself(self) -> bool:
        return type(self).get_config is not Initializer.get_config or type(self).__init__ is object.__init__

    def __eq__(self, other: object) -> bool:
        """Compares class and configuration. An unseeded initializer, whose values are unique, equals only itself."""
        if self is other:
            return True
        if type(self) is not type(other) or not isinstance(other, Initializer) or not self._describes_itself():
            return NotImplemented
        if isinstance(self, SeededInitializer) and self.seed is None:
            return False
        return _exact(self.get_config()) == _exact(other.get_config())

    def __hash__(self) -> int:
        return hash((type(self), _exact(self.get_config()))) if self._describes_itself() else object.__hash__(self)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={shown(value)}" for name, value in self.get_config().items())
        return f"{class_name(type(self))}({arguments})"


def _short(value: Any) -> str:
    """An argument in a summary; of a list of values, the first."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return shown(value) if isinstance(value, (Mapping, list, tuple)) else str(value)


@undisturbed  # a thread that flushes subnormal numbers writes them as 0.0
def _exact(value: Any) -> Any:
    """Data that is equal for equal values. Unlike ==, it tells 1 from 1.0 and 0.0 from -0.0, and NaN equals itself."""
    if isinstance(value, Mapping):
        return type(value), tuple((_exact(key), _exact(each)) for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return type(value), tuple(map(_exact, value))
    return type(value), value if isinstance(value, int) else repr(value)  # no repr has thousands of digits


def _make_lock() -> None:
    global _lock
    _lock = allocate_lock()


# Guards seeds and call counts, and is only held for an instant; a forked child starts with a free one.
_make_lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_make_lock)


class SeededInitializer(Initializer):
    """The base class of random initializers. It owns the seed, the call count, and the warning about repeated values.

    >>> import fanin
    >>> class Bounded(fanin.SeededInitializer):
    ...     def distribution(self, shape, dtype=None):
    ...         return fanin.RandomUniform(-0.1, 0.1).distribution(shape, dtype)
    ...     def get_config(self):
    ...         return {"seed": self.seed}
    >>> Bounded(seed=3)((1000, 4), region=(999, 0)) == fanin.RandomUniform(-0.1, 0.1, seed=3)((1000, 4))[999, 0]
    np.True_

    Args:
        seed: an integer in [-2**63, 2**63 - 1], or None to draw one at the first call.
    """

    _seed: int | None = None  # as given
    _drawn_seed: int | None = None  # chosen at the first call of an unseeded initializer
    _calls = 0

    def __init__(self, seed: Seed = None) -> None:
        self._seed = streams.checked_seed(seed)

    @property
    def seed(self) -> int | None:
        """The seed as given; None for an unseeded initializer, even after its first call."""
        return self._seed

    @property
    def has_seed(self) -> bool:
        """Whether a seed was given, or has been drawn."""
        return self._seed is not None or self._drawn_seed is not None

    def settled_seed(self) -> int:
        """The seed in force. An unseeded initializer draws one now if it has none yet, and keeps it."""
        with _lock:
            return self._settled_seed()

    def _settled_seed(self) -> int:
        """The same, for callers that hold the lock."""
        if self._seed is not None:
            return self._seed
        if self._drawn_seed is None:
            self._drawn_seed = streams.choose_seed()
        return self._drawn_seed

    def with_seed(self, seed: Seed) -> Self:
        other = copy.copy(self)
        other._seed, other._drawn_seed, other._calls = streams.checked_seed(seed), None, 0
        return other

    def _spawned(self, name: str) -> Self:
        return self.with_seed(streams.derived_seed(self.settled_seed(), name))

    def _first_stream(self) -> Stream:
        return Stream(self.settled_seed())

    def _next_stream(self) -> tuple[Stream, int]:
        """The stream of the next call, which is counted, and the number of the call."""
        if self._calls and self._seed is None and self._repeats_now():
            self._warn_reuse()
        with _lock:
            stream = Stream(self._settled_seed())
            number = self._calls
            self._calls = number + 1
        return stream.fold_in_wide(number) if number and not self._repeats_now() else stream, number

    def _repeats_now(self) -> bool:
        return self.repeats or settings.call_semantics == "released"

    def _fill_call(
        self, distribution: Distribution, out: Array, wanted: Region | None, offset: tuple[int, ...], counts: bool
    ) -> None:
        if not counts:
            stream = self._first_stream()
            Weight(distribution, stream.fold_in(hash(offset)) if offset else stream).fill(out, wanted)
            return
        stream, number = self._next_stream()
        try:
            Weight(distribution, stream).fill(out, wanted)
        except BaseException:
            with _lock:  # a call that raises does not count, unless another thread has made a call since
                if self._calls == number + 1:
                    self._calls = number
            raise

    def _warn_reuse(self) -> None:
        warn(
            f"The initializer {class_name(type(self))} is unseeded and being called multiple times, which will return "
            "identical values each time (even if the initializer is unseeded). Please update your code to provide a "
            "seed to the initializer, or avoid using the same initializer instance more than once."
        )


class SupportsSource(Protocol):
    """An initializer of `fanin.tf_keras` or `fanin.keras`, which calls a fanin initializer."""

    @property
    def source(self) -> Initializer:
        """The fanin initializer that it calls."""
        ...


def source_of(initializer: Any) -> Initializer:
    """The initializer itself, or the source of one of `fanin.tf_keras` or `fanin.keras`."""
    source = getattr(initializer, "source", initializer)
    if not isinstance(source, Initializer):
        raise TypeError(
            "`initializer` must be a fanin initializer, such as fanin.HeNormal(seed=1). "
            f"Received: {shown(initializer)} (of type {class_name(type(initializer))})."
        )
    return source


def drawing_source_of(initializer: Any) -> Initializer:
    """The same, if it has a distribution: a user-defined class may override `__call__` alone."""
    source = source_of(initializer)
    if type(source).distribution is Initializer.distribution:
        raise TypeError(
            "The initializer must override `distribution`. "
            f"Received: an initializer of class {class_name(type(source))}, which overrides only `__call__`."
        )
    return source


def number(name: str, value: NumberLike) -> int | float:
    """A finite real parameter as a Python number, from a number or a 0-d array or tensor."""
    plain = scalar(value)
    if isinstance(plain, bool) or not isinstance(plain, (int, float)):
        raise TypeError(
            f"`{name}` must be a real number or a scalar tensor. Received: {name}={shown(value)} "
            f"(of type {class_name(type(value))})."
        )
    if abs(plain) > sys.float_info.max or not math.isfinite(plain):
        raise ValueError(f"`{name}` must be finite. Received: {name}={shown(value)}.")
    return plain


def scalar(value: Any) -> Any:
    """A Python scalar for a NumPy scalar or a 0-d array or tensor; anything else unchanged."""
    if type(value) in (bool, int, float, complex):
        return value
    shape = getattr(value, "shape", None)
    if shape is not None and tuple(shape) == ():
        value = value.item() if hasattr(value, "item") else value.numpy().item()  # TensorFlow's tensors have no item()
    kinds: tuple[Any, ...] = (bool, int, float, complex)
    for kind in kinds:  # subclasses too, such as an enumeration's members
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, np.generic) and dtypes.kind(value.dtype) == "float":  # ml_dtypes' items are not Python floats
        return float(value)  # pyright: ignore[reportArgumentType]
    return value


def float_dtype(dtype: DTypeLike) -> DType:
    """The resolved dtype, if floats can be drawn in it."""
    resolved = dtypes.resolve(dtype)
    if resolved not in dtypes.FLOATS:
        raise ValueError(
            f"Expected floating point type, got {dtypes.name(resolved)}. Use float16, bfloat16, float32 or float64."
        )
    return resolved
