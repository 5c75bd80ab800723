"""What all initializers share: the call, seeds and counts of calls, pieces, copies, configurations."""

from __future__ import annotations

import copy
import math
import operator
import os
import sys
import warnings
from _thread import allocate_lock  # `threading` would be a tenth of the time that fanin takes to load
from collections.abc import Mapping
from typing import Any, ClassVar, SupportsIndex, TypeVar, overload

import numpy as np

from fanin import _dtypes, _native, _random
from fanin._configs import translated_config
from fanin._foreign import note_write
from fanin._shapes import Region, parse_region
from fanin._words import shown
from fanin.distributions import Distribution
from fanin.settings import config as settings

_Out = TypeVar("_Out")
_ALLOWED_KEYWORDS = ["partition_shape", "partition_offset", "layout"]


def _make_lock() -> None:
    global _lock
    _lock = allocate_lock()


# Guards seeds and counts of calls, for an instant each time; a child process starts with a free one.
_make_lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_make_lock)


class Initializer:
    """Base class of all initializers, and of your own.

    A subclass either overrides `distribution`, and gets regions, `out=`, partitions and threads with it (what is drawn
    at random needs a seed: derive from `SeededInitializer` then), or, as in tf_keras, `__call__` itself. `get_config`
    makes it serializable.

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
    _is_random: ClassVar[bool] = False

    _seed: int | None = None  # as given
    _drawn_seed: int | None = None  # chosen at the first call of an unseeded initializer
    _calls = 0

    @overload
    def __call__(
        self, shape: Any, dtype: Any = None, *, region: Any = None, out: None = None, **kwargs: Any
    ) -> np.ndarray: ...
    @overload
    def __call__(self, shape: Any, dtype: Any = None, *, region: Any = None, out: _Out, **kwargs: Any) -> _Out: ...
    def __call__(self, shape: Any, dtype: Any = None, *, region: Any = None, out: Any = None, **kwargs: Any) -> Any:
        """Returns the initialized tensor.

        Args:
            shape: the shape of the tensor, as a tuple, list, array, `tf.TensorShape` or `torch.Size` of integers; `()`
                makes a 0-d array.
            dtype: a name, or a dtype of NumPy, ml_dtypes, TensorFlow, PyTorch or JAX; by default `fanin.config.floatx`.
            region: a piece of the tensor, as NumPy's basic indexing with step 1: the result is that of
                `initializer(shape)[region]`, bit for bit, at the cost of the piece alone (`Orthogonal` makes the whole
                matrix on the way). It belongs to the first call, does not count as one, and never warns.
            out: a writable array of the result's shape and dtype, of any strides, to be filled and returned: of NumPy,
                of PyTorch (16-bit and 8-bit floats too), or of anything that exports the CPU's memory by DLPack,
                `__array_interface__` or the buffer protocol.
            **kwargs: tf_keras's `partition_shape` (the shape drawn instead) and `partition_offset` (a tuple of integers
                which chooses other values); `layout` may be None.

        Returns:
            A new array in C order, 64-byte aligned, or `out`.

        Raises:
            TypeError, ValueError: what was asked for is not possible; the message says why.
            IndexError: the region lies outside the shape.
            MemoryError: the tensor cannot be allocated.
        """
        return _native.undisturbed(self._make, shape, dtype, region, out, kwargs)

    def _make(self, shape: Any, dtype: Any, region: Any, out: Any, kwargs: dict[str, Any]) -> Any:
        offset: tuple[int, ...] = ()
        piece = region is not None
        if kwargs:
            shape, offset, partition = self._partition(shape, kwargs)
            if piece and partition:
                raise ValueError("`region` cannot be combined with partition-related arguments. Received both.")
            piece = piece or partition
        distribution, box = self._what(shape, dtype, region)
        result = distribution.room(box, out)  # before a seed is drawn: a call that raises draws none
        self._fill(distribution, result, offset, box, piece=piece, fresh=out is None)
        if out is None:
            return result
        note_write(out)
        return out

    def _fill(
        self,
        distribution: Distribution,
        result: np.ndarray,
        offset: tuple[int, ...],
        box: Region | None,
        *,
        piece: bool,
        fresh: bool,
    ) -> None:
        """Fills the result of a call, which counts unless it is for a piece."""
        if not self._is_random:
            distribution.fill(result, (0, 0), box, fresh=fresh)
            return
        pair, number = self._begin_call(piece=piece)
        if offset:
            pair = _random.fold_in(pair, hash(offset))
        try:
            distribution.fill(result, pair, box, fresh=fresh)
        except BaseException:
            with _lock:  # a call that raises does not count, unless another thread's has counted since
                if not piece and self._calls == number + 1:
                    self._calls = number
            raise

    def _begin_call(self, *, piece: bool = False) -> tuple[_random.Pair, int]:
        """The seed pair of a call, which counts from here on unless it is for a piece, and its number."""
        if not self._is_random:
            return (0, 0), 0
        repeats = self._repeats or settings.call_semantics == "released"
        if repeats and not piece and self._calls and self._seed is None:
            self._warn_reuse()
        with _lock:
            pair = (self._chosen_seed(), 0)
            number = 0 if piece else self._calls
            self._calls += not piece
        return pair if repeats or not number else _random.fold_in(pair, number), number

    def _draw(self, pair: _random.Pair, shape: Any, dtype: Any, region: Any = None, out: Any = None) -> np.ndarray:
        """The tensor of a seed pair that the caller chooses; the initializer's own seed and count stay as they are."""
        return _native.undisturbed(self._draw_undisturbed, pair, shape, dtype, region, out)

    def _draw_undisturbed(self, pair: _random.Pair, shape: Any, dtype: Any, region: Any, out: Any) -> np.ndarray:
        distribution, box = self._what(shape, dtype, region)
        return distribution.draw(pair, box, out)

    def _what(self, shape: Any, dtype: Any, region: Any) -> tuple[Distribution, Region | None]:
        """What to draw, and where."""
        distribution = self.distribution(shape, dtype)
        if distribution.random and not self._is_random:
            raise TypeError(
                f"{type(self).__name__} draws at random and has no seed: its base class must be SeededInitializer. "
                f"Received: the distribution {distribution.kind!r}."
            )
        return distribution, parse_region(region, distribution.shape) if region is not None else None

    def distribution(self, shape: Any, dtype: Any = None) -> Distribution:
        """What would be drawn, as data: kind, parameters as the dtype rounds them, bounds, moments and fans.

        >>> import fanin
        >>> drawn = fanin.GlorotUniform().distribution((784, 256))
        >>> drawn.kind, drawn.fan_in, drawn.fan_out, round(drawn.high, 6)
        ('uniform', 784, 256, 0.075955)
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
        HeNormal(seed=6853180853575088683)
        """
        if not isinstance(name, str):
            raise TypeError(f"`name` must be a string. Received: name={name!r} (of type {type(name).__name__}).")
        spawned = copy.copy(self)
        if self._is_random:
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
            stacklevel=6,  # from here, _begin_call, _fill, _make and __call__ to who called
        )

    def _describes_itself(self) -> bool:
        return type(self).get_config is not Initializer.get_config or type(self).__init__ is object.__init__

    def __eq__(self, other: object) -> bool:
        """Same class and same configuration. An unseeded initializer, whose values no other has, equals only itself."""
        if self is other:
            return True
        if type(self) is not type(other) or not isinstance(other, Initializer) or not self._describes_itself():
            return NotImplemented
        if self._is_random and self._seed is None:
            return False
        return repr(self) == repr(other)  # not ==, which 1 and 1.0, 0.0 and -0.0 pass, and NaN does not

    def __hash__(self) -> int:
        return hash((type(self), repr(self))) if self._describes_itself() else object.__hash__(self)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


class SeededInitializer(Initializer):
    """Base class of initializers that draw at random: seeds, counts of calls, warnings.

    >>> import fanin
    >>> class Bounded(fanin.SeededInitializer):
    ...     def distribution(self, shape, dtype=None):
    ...         return fanin.RandomUniform(-0.1, 0.1).distribution(shape, dtype)
    ...     def get_config(self):
    ...         return {"seed": self.seed}
    >>> Bounded(seed=3)((1000, 4), region=(999, 0)) == fanin.RandomUniform(-0.1, 0.1, seed=3)((1000, 4))[999, 0]
    np.True_

    Args:
        seed: an integer in [-2**63, 2**63 - 1], or None, which draws one at the first call.
    """

    _is_random = True

    def __init__(self, seed: SupportsIndex | None = None) -> None:
        self._seed = _random.checked_seed(seed)

    @property
    def seed(self) -> int | None:
        """The seed as it was given; None for an unseeded initializer, even after its first call."""
        return self._seed


def source_of(initializer: Any) -> Initializer:
    """The fanin initializer that is meant: itself, or what one of `fanin.tf_keras` or `fanin.keras` calls."""
    found = getattr(initializer, "source", initializer)
    if not isinstance(found, Initializer):
        raise TypeError(
            "`initializer` must be a fanin initializer, such as fanin.HeNormal(seed=1). "
            f"Received: {shown(initializer)} (of type {type(initializer).__name__})."
        )
    return found


def drawing_source_of(initializer: Any) -> Initializer:
    """The same, if it says what to draw: a class of the user's own may override `__call__` alone."""
    source = source_of(initializer)
    if type(source).distribution is Initializer.distribution:
        raise TypeError(
            "The initializer must say what to draw, by its method `distribution`. "
            f"Received: one of class {type(source).__name__}, which overrides `__call__` alone."
        )
    return source


def number(name: str, value: Any) -> int | float:
    """A finite real parameter as a Python number, from a number or a 0-d array or tensor."""
    plain = scalar(value)
    if isinstance(plain, bool) or not isinstance(plain, (int, float)):
        raise TypeError(
            f"`{name}` must be a real number or a scalar tensor. Received: {name}={shown(value)} "
            f"(of type {type(value).__name__})."
        )
    if abs(plain) > sys.float_info.max or not math.isfinite(plain):
        raise ValueError(f"`{name}` must be finite. Received: {name}={shown(value)}.")
    return plain


def scalar(value: Any) -> Any:
    """A Python scalar for a NumPy scalar or a 0-d array or tensor; anything else as it came."""
    if type(value) in (bool, int, float, complex):
        return value
    shape = getattr(value, "shape", None)
    if shape is not None and tuple(shape) == ():
        value = value.item() if hasattr(value, "item") else value.numpy().item()  # TensorFlow's have no item()
    kinds: tuple[Any, ...] = (bool, int, float, complex)
    for kind in kinds:  # subclasses too, such as an enumeration's members
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, np.generic) and _dtypes.kind(value.dtype) == "float":  # ml_dtypes' items are no Python floats
        return float(value)  # pyright: ignore[reportArgumentType]
    return value


def float_dtype(dtype: Any) -> np.dtype:
    """The dtype meant, if it is one that is drawn in."""
    resolved = _dtypes.resolve(dtype)
    if resolved not in _dtypes.FLOATS:
        raise ValueError(
            f"Expected floating point type, got {_dtypes.name(resolved)}. Use float16, bfloat16, float32 or float64."
        )
    return resolved
