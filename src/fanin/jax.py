"""fanin in JAX: initializers as `jax.nn.initializers` has them, and sharded arrays of which each device's piece is made
alone.

>>> import fanin.jax, jax
>>> from fanin.jax import as_jax, make_array
>>> init = as_jax(fanin.HeNormal())
>>> kernel = init(jax.random.key(0), (784, 256))
>>> bool((kernel == jax.jit(init, static_argnums=1)(jax.random.key(0), (784, 256))).all())
True
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from fanin import _dtypes, _random
from fanin._arrays import allocate
from fanin._layouts import keras_axes, permuted
from fanin._shapes import checked_shape, parse_region
from fanin._tensors import to_jax, to_sharded_jax
from fanin._words import missing
from fanin.base import Initializer, drawing_source_of
from fanin.recipes import Recipe, checked_recipe

try:
    import jax
    from jax.core import Tracer
    from jax.sharding import NamedSharding, PartitionSpec

    from fanin._models import jax as _models
    from fanin._models.report import Report
except ModuleNotFoundError as error:
    raise missing(error, "jax", "JAX", extra="jax") from error

__all__ = ["as_jax", "initialize", "layers_of", "make_array"]


def as_jax(initializer: Any, *, layout: Any = "keras") -> Callable[..., jax.Array]:
    """An initializer as JAX's libraries want it: a function of a key, a shape and a dtype.

    The key is folded into the initializer's seed (0 for an unseeded one), so that different keys give different
    values and the same key the same ones, in every process, with and without `jit`, `vmap` or `scan`. Under `jit` the
    values are made when the program runs, by a callback; none of them is in the program.

    Args:
        initializer: a fanin initializer.
        layout: "keras" for kernels of flax and haiku, (…, in, out); "torch" for weights of equinox, (out, in, …); or
            the axes in Keras's order. See `fanin.torch`.

    Returns:
        `init(key, shape, dtype=jnp.float32, out_sharding=None)`. `key` is a key or a legacy uint32 key. With
        `out_sharding`, a `NamedSharding` or a `PartitionSpec` for the mesh in force, each device's piece is made alone.
        A mesh in force (`jax.set_mesh`) without `out_sharding` has the array on all of its devices, as in JAX. With
        several processes, give `out_sharding` or use `make_array`: a callback without it runs in the first one alone.

    Raises:
        TypeError: not a fanin initializer.

    >>> import fanin.jax, jax, jax.numpy as jnp
    >>> from flax import linen as nn
    >>> layer = nn.Dense(256, kernel_init=fanin.jax.as_jax(fanin.HeNormal()))
    >>> variables = layer.init(jax.random.key(0), jnp.ones((1, 784)))
    """
    source = drawing_source_of(initializer)

    def init(key: Any, shape: Any, dtype: Any = np.float32, out_sharding: Any = None) -> jax.Array:
        maker = _Maker(source, checked_shape(shape), _canonical(dtype), layout)
        words = _key_words(key)
        if out_sharding is None:
            mesh = jax.sharding.get_abstract_mesh()
            if not mesh.empty and not mesh.manual_axes:
                out_sharding = PartitionSpec()  # where a mesh is in force all of its devices have the array
        if isinstance(words, Tracer):
            return _traced(maker, words, out_sharding)
        pair = maker.pair(np.asarray(words))
        if out_sharding is None:
            return to_jax(maker.make(pair))
        return maker.sharded(pair, _named(out_sharding, jax.sharding.get_mesh()))

    return init


def make_array(
    initializer: Any, shape: Any, dtype: Any = None, sharding: Any = None, *, layout: Any = "keras"
) -> jax.Array:
    """A sharded array: each device's piece is made alone, once for all of this process's devices that hold it.

    The whole has the values of `initializer(shape, dtype)`, bit for bit, whatever the sharding and however many
    processes take part. It belongs to the initializer's first call and does not count as one.

    Args:
        initializer: a fanin initializer. In several processes it needs a seed, the same one in each.
        shape: the shape of the whole array; its lengths must be divisible as the sharding wants them.
        dtype: the dtype; by default `fanin.config.floatx`.
        sharding: a `jax.sharding.Sharding`, or None for the default device.
        layout: as for `as_jax`.

    Raises:
        ValueError: an unseeded initializer in several processes; a shape that the sharding does not divide.

    >>> import fanin.jax, jax
    >>> from jax.sharding import NamedSharding, PartitionSpec
    >>> mesh = jax.make_mesh((jax.device_count(),), ("rows",))
    >>> sharding = NamedSharding(mesh, PartitionSpec("rows"))
    >>> kernel = fanin.jax.make_array(fanin.GlorotUniform(seed=1), (8192, 64), "bfloat16", sharding)
    """
    source = drawing_source_of(initializer)
    maker = _Maker(source, checked_shape(shape), _canonical(dtype), layout)
    if source._is_random and source._seed is None and jax.process_count() > 1:
        raise ValueError(
            f"An initializer must have a seed where several processes make one array. Received: {source!r} in process "
            f"{jax.process_index()} of {jax.process_count()}."
        )
    if sharding is None:
        return to_jax(maker.make(None))
    return maker.sharded(None, sharding)


def _key_words(key: Any) -> Any:
    """The words of a key, which may be a tracer's."""
    dtype = getattr(key, "dtype", None)
    if dtype is not None and jax.numpy.issubdtype(dtype, jax.dtypes.prng_key):
        words = jax.random.key_data(key)
    elif dtype == np.uint32:
        words = key
    else:
        raise TypeError(
            f"`key` must be a key of JAX, such as jax.random.key(0). Received: {key!r} (of type {type(key).__name__})."
        )
    if words.ndim != 1 or words.size % 2 or not words.size:
        raise ValueError(
            f"`key` must be one key. Received: key data of shape {words.shape}. Use jax.vmap for several keys."
        )
    return words


class _Maker:
    """Makes a tensor, or pieces of it, in a layout."""

    def __init__(self, source: Initializer, shape: tuple[int, ...], dtype: np.dtype, layout: Any) -> None:
        self.source, self.shape, self.dtype = source, shape, dtype
        self.axes = keras_axes(layout, len(shape))
        self.kernel_shape = permuted(shape, self.axes)

    def pair(self, words: np.ndarray) -> _random.Pair:
        """The seed pair that a key's words choose."""
        pair = (self.source._seed or 0, 0)
        for low, high in words.reshape(-1, 2).tolist():
            pair = _random.fold_in(pair, low | high << 32)
        return pair

    def make(self, pair: _random.Pair | None, index: tuple[slice, ...] | None = None) -> np.ndarray:
        """The piece at an index, or all; from the initializer's own seed where there is no pair."""
        region = None if index is None else permuted(index, self.axes)
        lengths = self.shape if region is None else parse_region(index, self.shape).shape
        in_order = self.axes == tuple(range(len(self.axes)))
        out = None if in_order else allocate(lengths, self.dtype)
        kernel = None if out is None else out.transpose(self.axes)
        if pair is not None:
            made = self.source._draw(pair, self.kernel_shape, self.dtype, region, kernel)
        else:
            everything = (slice(None),) * len(self.shape)
            made: Any = self.source(self.kernel_shape, self.dtype, region=region or everything, out=kernel)
        return made if out is None else out

    def sharded(self, pair: _random.Pair | None, sharding: Any) -> jax.Array:
        """The whole, each device's piece made alone."""
        return to_sharded_jax(lambda index: self.make(pair, index), self.shape, self.dtype, sharding)


def _traced(maker: _Maker, words: Any, out_sharding: Any) -> jax.Array:
    """The tensor, or each device's piece of it, by callbacks when the program runs."""
    if out_sharding is None:

        def whole(words: np.ndarray) -> np.ndarray:
            return maker.make(maker.pair(words))

        result = jax.ShapeDtypeStruct(maker.shape, maker.dtype)
        return jax.pure_callback(whole, result, words, vmap_method="sequential")

    sharding = _named(out_sharding, jax.sharding.get_abstract_mesh())
    if not isinstance(sharding, NamedSharding):
        raise TypeError(
            "`out_sharding` must be a NamedSharding or a PartitionSpec in a function that JAX compiles. "
            f"Received: {sharding!r}."
        )
    lengths = sharding.shard_shape(maker.shape)
    names = [() if entry is None else (entry,) if isinstance(entry, str) else tuple(entry) for entry in sharding.spec]
    names += [()] * (len(lengths) - len(names))

    def piece(words: np.ndarray, *numbers: Any) -> np.ndarray:
        starts = [int(number) * length for number, length in zip(numbers, lengths, strict=True)]
        index = tuple(slice(start, start + length) for start, length in zip(starts, lengths, strict=True))
        return maker.make(maker.pair(words), index)

    def local(words: Any) -> Any:
        numbers = [jax.lax.axis_index(each) if each else 0 for each in names]
        result = jax.ShapeDtypeStruct(lengths, maker.dtype)
        return jax.pure_callback(piece, result, words, *numbers, vmap_method="sequential")

    pieces = jax.shard_map(
        local, mesh=sharding.mesh, in_specs=PartitionSpec(), out_specs=sharding.spec, check_vma=False
    )
    return pieces(words)


def _named(sharding: Any, mesh: Any) -> Any:
    """A sharding over a mesh, from itself or from its specification for the mesh in force."""
    return NamedSharding(mesh, sharding) if isinstance(sharding, PartitionSpec) else sharding


def _canonical(dtype: Any) -> np.dtype:
    """The dtype that JAX makes of one: float64 is float32 for it until `jax_enable_x64` is set."""
    wanted = _dtypes.resolve(dtype)
    canonical = np.dtype(jax.dtypes.canonicalize_dtype(wanted))
    if canonical != wanted:
        warnings.warn(
            f"JAX makes {canonical.name} of {wanted.name}. Set jax_enable_x64 to have {wanted.name}.", stacklevel=3
        )
    return canonical


def initialize(
    tree: Any,
    recipe: Recipe,
    *,
    layers: Any = None,
    only: Any = None,
    skip: Any = None,
    names: Any = None,
    shardings: Any = None,
    unmatched: str = "error",
    progress: bool | None = None,
) -> tuple[Any, Report]:
    """Makes a tree of arrays, each with the values that a recipe has for it.

    Each is a function of the recipe's seed, its name and the index: other arrays and their order do not matter. Nothing
    of the tree is changed.

    Args:
        tree: a module of flax.nnx (`nnx.eval_shape(lambda: Model(rngs=nnx.Rngs(0)))`) or of equinox
            (`eqx.filter_eval_shape(Model, key)`), the variables of a module of flax.linen (see `layers_of`), or any
            tree of arrays or shapes. Random states of flax.nnx are made from the seed and their paths, too.
        recipe: what each array gets. `recipe.plan(tree)` shows it before.
        layers: for flax.linen, what `layers_of` found. Without it, layers are known by flax's names alone, and where
            these do not say what a kernel's axes are, its fans are not known.
        only: a glob of paths (`encoder.dense.kernel`), or several: the others stay as they are.
        skip: a glob of paths, or several, that stay as they are.
        names: as for `Recipe.plan`.
        shardings: a sharding, a function of a `Parameter` that returns one or None, or a tree of them. Each device's
            piece is made alone then. Shapes that have a sharding need none here.
        unmatched: "error", or "keep": arrays that no rule matches stay as they are.
        progress: whether to show a bar; by default for long work on a terminal, if rich is installed.

    Returns:
        The tree, and a report: what was made and kept.

    Raises:
        fanin.plans.PlanError: the recipe does not fit, or something that it does not draw is a shape. (A ValueError.)
        TypeError: no tree of arrays, or not a recipe.

    >>> import fanin, fanin.jax, jax
    >>> from flax import nnx
    >>> abstract = nnx.eval_shape(lambda: nnx.Linear(784, 256, rngs=nnx.Rngs(0)))
    >>> linear, report = fanin.jax.initialize(abstract, fanin.Recipe.preset("flax", seed=1))
    >>> bool((linear.kernel[...] == fanin.LecunNormal(seed=1).spawn("kernel")((784, 256))).all())
    True
    """
    return _models.initialize(
        tree,
        checked_recipe(recipe),
        layers=layers,
        only=only,
        skip=skip,
        names=names,
        shardings=shardings,
        unmatched=unmatched,
        progress=progress,
    )


def layers_of(module: Any, *args: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
    """The abstract variables of a module of flax.linen, and its layers: their kinds, and what their kernels' axes are.

    Args:
        module: the module.
        *args: what it is called with, as arrays or `jax.ShapeDtypeStruct`.
        **kwargs: further arguments of the call.

    Returns:
        The variables, as shapes, and the layers by their paths.

    >>> import fanin, fanin.jax, jax.numpy as jnp
    >>> from flax import linen as nn
    >>> variables, layers = fanin.jax.layers_of(nn.Dense(256), jnp.ones((1, 784)))
    >>> variables, report = fanin.jax.initialize(variables, fanin.Recipe.preset("flax", seed=1), layers=layers)
    >>> variables["params"]["kernel"].shape
    (784, 256)
    """
    return _models.layers_of(module, args, kwargs)
