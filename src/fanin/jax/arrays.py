"""Initializers like those of `jax.nn.initializers`, and sharded arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from jax.sharding import NamedSharding, PartitionSpec

from fanin._core import dtypes
from fanin._core.layouts import keras_axes, permuted
from fanin._core.messages import warn
from fanin._core.shapes import checked_shape
from fanin._core.streams import Stream
from fanin._core.tensors import to_jax, to_sharded_jax
from fanin._core.types import DType, DTypeLike, Layout, Shape, ShapeLike
from fanin.initializers.base import Initializer, SeededInitializer, SupportsSource, drawing_source_of
from fanin.weight import Weight


def as_jax(initializer: Initializer | SupportsSource, *, layout: Layout = "keras") -> Callable[..., jax.Array]:
    """An initializer as JAX libraries expect it: a function of a key, a shape and a dtype.

    The key is folded into the initializer's seed (0 for an unseeded one), so different keys give different values, and
    the same key gives the same values in every process, with and without `jit`, `vmap` or `scan`. Under `jit`, a
    callback makes the values when the program runs; the program itself contains none of them.

    Args:
        initializer: a fanin initializer.
        layout: "keras" for kernels of flax and haiku, (…, in, out); "torch" for weights of equinox, (out, in, …); or
            the axes in Keras's order. See `fanin.torch`.

    Returns:
        `init(key, shape, dtype=jnp.float32, out_sharding=None)`. `key` is a key or a legacy uint32 key. With
        `out_sharding`, a `NamedSharding` or a `PartitionSpec` for the current mesh, each device's shard is made
        separately. Without it, all devices of the current mesh (`jax.set_mesh`) hold the array, as in JAX. In several
        processes, give `out_sharding` or use `make_array`: a callback without it runs only in the first process.

    Raises:
        TypeError: `initializer` is not a fanin initializer.

    >>> import fanin.jax, jax, jax.numpy as jnp
    >>> from flax import linen as nn
    >>> layer = nn.Dense(256, kernel_init=fanin.jax.as_jax(fanin.HeNormal()))
    >>> variables = layer.init(jax.random.key(0), jnp.ones((1, 784)))
    """
    source = drawing_source_of(initializer)

    def init(key: Any, shape: ShapeLike, dtype: DTypeLike = np.float32, out_sharding: Any = None) -> jax.Array:
        weight = _weight(source, checked_shape(shape), _canonical(dtype), layout, _NO_KEY)
        words = _key_words(key)
        if out_sharding is None:
            mesh = jax.sharding.get_abstract_mesh()
            if not mesh.empty and not mesh.manual_axes:
                out_sharding = PartitionSpec()  # all devices of the current mesh hold the array
        if isinstance(words, Tracer):
            return _traced(weight, source, words, out_sharding)
        return _array(_keyed(weight, source, np.asarray(words)), _named(out_sharding, jax.sharding.get_mesh()))

    return init


def make_array(
    initializer: Initializer | SupportsSource,
    shape: ShapeLike,
    dtype: DTypeLike = None,
    sharding: jax.sharding.Sharding | None = None,
    *,
    layout: Layout = "keras",
) -> jax.Array:
    """A sharded array. Each shard is made separately, once for all of this process's devices that hold it.

    The whole array equals `initializer(shape, dtype)` bit for bit, whatever the sharding and the number of processes.
    It is the tensor of the initializer's first call, and does not count as a call.

    Args:
        initializer: a fanin initializer. In several processes it needs a seed, the same one in each.
        shape: the shape of the whole array, which the sharding must divide evenly.
        dtype: the dtype; by default `fanin.config.floatx`.
        sharding: a `jax.sharding.Sharding`, or None for the default device.
        layout: as for `as_jax`.

    Raises:
        ValueError: the initializer has no seed and there are several processes, or the sharding does not divide the
            shape evenly.

    >>> import fanin.jax, jax
    >>> from jax.sharding import NamedSharding, PartitionSpec
    >>> mesh = jax.make_mesh((jax.device_count(),), ("rows",))
    >>> sharding = NamedSharding(mesh, PartitionSpec("rows"))
    >>> kernel = fanin.jax.make_array(fanin.GlorotUniform(seed=1), (8192, 64), "bfloat16", sharding)
    """
    source = drawing_source_of(initializer)
    if isinstance(source, SeededInitializer) and source.seed is None and jax.process_count() > 1:
        raise ValueError(
            f"An initializer must have a seed when several processes make one array. Received: {source!r} in process "
            f"{jax.process_index()} of {jax.process_count()}."
        )
    return _array(_weight(source, checked_shape(shape), _canonical(dtype), layout), sharding)


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
        stream = stream.fold_in(low | high << 32)
    return weight._replace(stream=stream)


def _array(weight: Weight, sharding: Any) -> jax.Array:
    """A weight as an array, made shard by shard if there is a sharding."""
    if sharding is None:
        return to_jax(weight.make())
    return to_sharded_jax(weight.pieces, weight.shape, weight.dtype, sharding)


def _traced(weight: Weight, source: Initializer, words: Any, out_sharding: Any) -> jax.Array:
    """The tensor, or each device's shard of it, made by callbacks when the program runs."""
    if out_sharding is None:

        def whole(words: np.ndarray) -> np.ndarray:
            return _keyed(weight, source, words).make()

        result = jax.ShapeDtypeStruct(weight.shape, weight.dtype)
        return jax.pure_callback(whole, result, words, vmap_method="sequential")

    sharding = _named(out_sharding, jax.sharding.get_abstract_mesh())
    if not isinstance(sharding, NamedSharding):
        raise TypeError(
            "`out_sharding` must be a NamedSharding or a PartitionSpec in a function that JAX compiles. "
            f"Received: {sharding!r}."
        )
    lengths = sharding.shard_shape(weight.shape)
    names = [() if entry is None else (entry,) if isinstance(entry, str) else tuple(entry) for entry in sharding.spec]
    names += [()] * (len(lengths) - len(names))

    def shard(words: np.ndarray, *numbers: Any) -> np.ndarray:
        starts = [int(number) * length for number, length in zip(numbers, lengths, strict=True)]
        region = tuple(slice(start, start + length) for start, length in zip(starts, lengths, strict=True))
        return _keyed(weight, source, words).make(region)

    def local(words: Any) -> Any:
        numbers = [jax.lax.axis_index(each) if each else 0 for each in names]
        result = jax.ShapeDtypeStruct(lengths, weight.dtype)
        return jax.pure_callback(shard, result, words, *numbers, vmap_method="sequential")

    shards = jax.shard_map(
        local, mesh=sharding.mesh, in_specs=PartitionSpec(), out_specs=sharding.spec, check_vma=False
    )
    return shards(words)


def _named(sharding: Any, mesh: Any) -> Any:
    """A sharding: the given one, or that of a `PartitionSpec` on this mesh."""
    return NamedSharding(mesh, sharding) if isinstance(sharding, PartitionSpec) else sharding


def _canonical(dtype: DTypeLike) -> DType:
    """The dtype that JAX uses for this one: float64 becomes float32 unless `jax_enable_x64` is set."""
    wanted = dtypes.resolve(dtype)
    canonical = np.dtype(jax.dtypes.canonicalize_dtype(wanted))
    if canonical != wanted:
        warn(f"JAX replaces {wanted.name} with {canonical.name}. Set jax_enable_x64 to keep {wanted.name}.")
    return canonical
