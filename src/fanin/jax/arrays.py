"""Initializers like those of `jax.nn.initializers`, and sharded arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import numpy as np
from jax.core import Tracer
from jax.sharding import PartitionSpec, Sharding

from fanin._core import dtypes
from fanin._core.layouts import keras_axes, permuted
from fanin._core.messages import shown, warn
from fanin._core.shapes import checked_shape
from fanin._core.streams import Stream
from fanin._core.types import DType, DTypeLike, Layout, Shape, ShapeLike
from fanin.distributions.weight import Weight
from fanin.initializers.base import Initializer, SeededInitializer, SupportsSource, drawing_source_of
from fanin.initializers.registry import get
from fanin.jax.shards import Source, array_of, checked_sharding, compiling, or_replicated, traced

# What stands for an initializer: itself, a name, a configuration, or a class.
InitializerLike: TypeAlias = Initializer | SupportsSource | str | Mapping[str, Any] | type[Initializer]


def as_jax(initializer: InitializerLike, *, layout: Layout = "keras") -> Callable[..., jax.Array]:
    """An initializer as JAX libraries expect it: a function of a key, a shape and a dtype.

    The key is folded into the initializer's seed (0 for an unseeded one), so different keys give different values, and
    the same key gives the same values in every process, with and without `jit`, `vmap` or `scan`. Under `jit`, a
    callback makes the values when the program runs; the program itself contains none of them.

    Args:
        initializer: a fanin initializer, or a name, a configuration or a class, as for `fanin.get`.
        layout: "keras" for kernels of flax and haiku, (…, in, out); "torch" for weights of equinox, (out, in, …); or
            the axes in Keras's order. See `fanin.torch`.

    Returns:
        `init(key, shape, dtype=jnp.float32, out_sharding=None)`. `key` is a key or a legacy uint32 key. With
        `out_sharding`, a `NamedSharding` or a `PartitionSpec` for the current mesh, each device's shard is made
        separately. Without it, all devices of the current mesh (`jax.set_mesh`) hold the array, as in JAX. In several
        processes, give `out_sharding` or use `make_array`: a callback without it runs only in the first process.

    Raises:
        TypeError: `initializer` is not a fanin initializer.
        ValueError: there is no initializer of that name.

    >>> import fanin.jax, jax, jax.numpy as jnp
    >>> from flax import linen as nn
    >>> layer = nn.Dense(256, kernel_init=fanin.jax.as_jax("he_normal"))
    >>> variables = layer.init(jax.random.key(0), jnp.ones((1, 784)))
    """
    source = _source(initializer)

    def init(key: Any, shape: ShapeLike, dtype: DTypeLike = np.float32, out_sharding: Any = None) -> jax.Array:
        return array_of_key(source, key, shape, dtype, out_sharding, layout)

    return init


def lengths_of(shape: Any) -> Shape:
    """The shape of a call with a key, or an error that says what is missing if the key is."""
    if isinstance(shape, (np.dtype, type, str)):
        raise TypeError(
            f"`shape` must be a sequence of non-negative integers. Received: shape={shown(shape)}, a dtype. Call "
            "init(key, shape, dtype). haiku passes no key: w_init=lambda shape, dtype: "
            "init(hk.next_rng_key(), shape, dtype)."
        )
    return checked_shape(shape)


def array_of_key(
    source: Initializer, key: Any, shape: ShapeLike, dtype: DTypeLike, out_sharding: Any, layout: Layout = "keras"
) -> jax.Array:
    """The array that a key chooses, eager or by a callback, as `as_jax` describes it."""
    weight = _weight(source, lengths_of(shape), _canonical(dtype), layout, _NO_KEY)
    words = _key_words(key)
    sharding = checked_sharding(or_replicated(out_sharding), weight.shape, "out_sharding")
    if isinstance(words, Tracer) or compiling():
        return traced(
            lambda region, words: _keyed(weight, source, words).make(region),
            weight.shape,
            weight.dtype,
            sharding,
            words,
            source=Source(source, weight),
        )
    keyed = _keyed(weight, source, np.asarray(words))
    return array_of(keyed.pieces, keyed.make, weight.shape, weight.dtype, sharding)


def array_without_key(source: Initializer, shape: ShapeLike, dtype: DTypeLike, out_sharding: Any) -> jax.Array:
    """The array of an initializer that draws nothing, placed as `array_of_key` places it."""
    weight = _weight(source, checked_shape(shape), _canonical(dtype), "keras")
    sharding = checked_sharding(or_replicated(out_sharding), weight.shape, "out_sharding")
    return array_of(weight.pieces, weight.make, weight.shape, weight.dtype, sharding, Source(source, weight))


def make_array(
    initializer: InitializerLike,
    shape: ShapeLike,
    dtype: DTypeLike = None,
    sharding: Sharding | PartitionSpec | None = None,
    *,
    layout: Layout = "keras",
) -> jax.Array:
    """A sharded array. Each shard is made separately, once for all of this process's devices that hold it.

    The whole array equals `initializer(shape, dtype)` bit for bit, whatever the sharding and the number of processes.
    It is the tensor of the initializer's first call, and does not count as a call. In a function that JAX compiles,
    callbacks make the shards when the program runs, as for `as_jax`; a sharding must then be a `NamedSharding`.

    Args:
        initializer: a fanin initializer, or what stands for one, as for `as_jax`. In several
            processes it needs a seed, the same one in each.
        shape: the shape of the whole array, which the sharding must divide evenly.
        dtype: the dtype; by default `fanin.config.floatx`.
        sharding: a `jax.sharding.Sharding`, a `PartitionSpec` for the mesh in force (`jax.set_mesh`), or None for the
            default device.
        layout: as for `as_jax`.

    Raises:
        TypeError: `initializer` is not a fanin initializer, or `sharding` not a sharding.
        ValueError: the initializer has no seed and there are several processes, no mesh is in force for a
            `PartitionSpec`, or the sharding does not divide the shape evenly.

    >>> import fanin.jax, jax
    >>> from jax.sharding import NamedSharding, PartitionSpec
    >>> mesh = jax.make_mesh((jax.device_count(),), ("rows",))
    >>> sharding = NamedSharding(mesh, PartitionSpec("rows"))
    >>> kernel = fanin.jax.make_array(fanin.GlorotUniform(seed=1), (8192, 64), "bfloat16", sharding)
    """
    source = _source(initializer)
    if isinstance(source, SeededInitializer) and source.seed is None and jax.process_count() > 1:
        raise ValueError(
            f"An initializer must have a seed when several processes make one array. Received: {source!r} in process "
            f"{jax.process_index()} of {jax.process_count()}."
        )
    weight = _weight(source, checked_shape(shape), _canonical(dtype), layout)
    checked = checked_sharding(sharding, weight.shape, "sharding")
    return array_of(weight.pieces, weight.make, weight.shape, weight.dtype, checked, Source(source, weight))


def _source(initializer: Any) -> Initializer:
    """The initializer that a name, a configuration, a class or an object stands for, as for `fanin.get`."""
    named = isinstance(initializer, (str, Mapping)) or (
        isinstance(initializer, type) and issubclass(initializer, Initializer)
    )
    return drawing_source_of(get(initializer) if named else initializer)


def _key_words(key: Any) -> Any:
    """The words of a key, which may be traced."""
    dtype = getattr(key, "dtype", None)
    if dtype is not None and jax.numpy.issubdtype(dtype, jax.dtypes.prng_key):
        words = jax.random.key_data(key)
    elif dtype == np.uint32:
        words = key
    else:
        raise TypeError(
            f"`key` must be a JAX key, such as jax.random.key(0). Received: {key!r} (of type {type(key).__name__})."
        )
    if words.ndim != 1 or words.size % 2 or not words.size:
        raise ValueError(
            f"`key` must be one key. Received: key data of shape {words.shape}. Use jax.vmap for several keys."
        )
    return words


_NO_KEY = Stream(0)  # until a key is folded in


def _weight(source: Initializer, shape: Shape, dtype: DType, layout: Layout, stream: Stream | None = None) -> Weight:
    """The weight of an initializer's first call, or of another stream, in a layout."""
    axes = keras_axes(layout, len(shape))
    weight = source.weight(permuted(shape, axes), dtype, stream=stream)
    return weight if axes == tuple(range(len(shape))) else weight._replace(axes=axes)


def _keyed(weight: Weight, source: Initializer, words: np.ndarray) -> Weight:
    """The same weight from the stream that a key's words and the initializer's seed (0 if it has none) select."""
    seed = source.seed if isinstance(source, SeededInitializer) else None
    stream = Stream(seed or 0)
    for low, high in words.reshape(-1, 2).tolist():
        stream = stream.fold_in_wide(low | high << 32)
    return weight._replace(stream=stream)


def _canonical(dtype: DTypeLike) -> DType:
    """The dtype that JAX uses for this one: float64 becomes float32 unless `jax_enable_x64` is set."""
    wanted = dtypes.resolve(dtype)
    canonical = np.dtype(jax.dtypes.canonicalize_dtype(wanted))
    if canonical != wanted:
        warn(f"JAX replaces {wanted.name} with {canonical.name}. Set jax_enable_x64 to keep {wanted.name}.")
    return canonical
