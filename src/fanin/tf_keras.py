"""fanin in tf_keras: the same initializer classes, whose calls return TensorFlow's tensors.

They are tf_keras's own classes to tf_keras: files, configurations and clones have tf_keras's names and keys in them,
and load where fanin is not installed. `patch` makes a script use them that names none.

>>> import fanin.tf_keras, tf_keras
>>> layer = tf_keras.layers.Dense(3, kernel_initializer=fanin.tf_keras.HeNormal(seed=42))
>>> layer.build((None, 2))
>>> bool((layer.kernel.numpy() == tf_keras.initializers.HeNormal(seed=42)((2, 3)).numpy()).all())
True
"""

from __future__ import annotations

import random
import threading
from typing import Any

from fanin import _random, initializers
from fanin._carriers import Carrier, Carriers, InForce, carrier_class, refuse_names_of, released_calls
from fanin._shapes import checked_shape
from fanin._tensors import to_tensorflow
from fanin._words import missing
from fanin.base import Initializer
from fanin.recipes import Recipe, checked_recipe
from fanin.settings import config as settings

try:
    import tensorflow as tf
    import tf_keras
    from tensorflow.python.util import tf_export  # tf_keras keeps the names of its classes there
    from tf_keras.src import backend
    from tf_keras.src import initializers as their_initializers

    from fanin._models import keras_common as _common
    from fanin._models import tf_keras as _models
    from fanin._models.report import Report
except ModuleNotFoundError as error:
    module = "tf_keras" if error.name == "tf_keras" else "tensorflow"
    raise missing(error, module, "tf_keras with TensorFlow", extra="tensorflow") from error

__all__ = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
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
    "get",
    "initialize",
    "patch",
    "unpatch",
]

_API_NAMES = ("_keras_api_names", "_keras_api_names_v1")  # where tf_export notes the public names of a class


class _Carrier(Carrier, tf_keras.initializers.Initializer):
    """The interface of tf_keras's initializers."""

    @tf.autograph.experimental.do_not_convert  # this is Python's to run, also within a function that becomes a graph
    def __call__(self, shape: Any, dtype: Any = None, **kwargs: Any) -> Any:
        """Returns the initialized tensor.

        Args:
            shape: the shape of the tensor; its values must be known, also in a graph.
            dtype: its dtype; by default `tf_keras.backend.floatx()`.
            **kwargs: `partition_shape` and `partition_offset`, as tf_keras has them; `layout`, a DTensor layout: each
                device's piece is made alone, and the whole is the tensor without a layout. `region`, as fanin has it.

        Returns:
            A tensor of TensorFlow.
        """
        shape = _known(shape)
        dtype = backend.floatx() if dtype is None else dtype
        layout = kwargs.pop("layout", None)
        generator = _their_generator() or (random if _patch.in_force else None)
        with _random.seeds_from(generator), released_calls(_patch.in_force):
            if layout is not None:
                return self._with_layout(shape, dtype, layout, kwargs)
            if {"partition_shape", "partition_offset"} <= kwargs.keys() and _shards_wholes():
                kwargs["region"] = _partition(shape, **kwargs)
                del kwargs["partition_shape"], kwargs["partition_offset"]
            return to_tensorflow(self._array(shape, dtype, **kwargs))

    def _with_layout(self, shape: Any, dtype: Any, layout: Any, kwargs: dict[str, Any]) -> Any:
        if kwargs:
            raise ValueError(f"`layout` cannot be combined with other arguments. Received: {', '.join(kwargs)}, too.")
        if getattr(self, "seed", 0) is None and _their_generator() is None:
            raise ValueError(
                "When using DTensor APIs, you need to set the global seed before using any TF-Keras initializers, for "
                f"all clients to have the same one. Received: {self!r}. Call `tf_keras.utils.set_random_seed()` or "
                "give a seed."
            )
        from tensorflow.experimental import dtensor

        lengths = checked_shape(shape)
        regions = [_region_at(location, layout, lengths) for location in layout.mesh.local_device_locations()]
        make = self._pieces(lengths, dtype)
        made = {
            bounds: to_tensorflow(make(tuple(slice(*each) for each in bounds))) for bounds in dict.fromkeys(regions)
        }
        return dtensor.pack([made[bounds] for bounds in regions], layout)


def _region_at(location: Any, layout: Any, shape: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Where the piece of a device begins and ends along each axis."""
    from tensorflow.experimental import dtensor

    if len(layout.sharding_specs) != len(shape):
        raise ValueError(
            f"`layout` must have the rank of the shape {shape}, {len(shape)}. "
            f"Received: a layout of rank {len(layout.sharding_specs)}, {layout.sharding_specs}."
        )
    bounds = []
    for axis, (length, name) in enumerate(zip(shape, layout.sharding_specs, strict=True)):
        count, number = (1, 0) if name == dtensor.UNSHARDED else (layout.mesh.dim_size(name), location[name])
        if length % count:
            raise ValueError(
                "A sharded axis must be divisible by the number of its pieces. Received: axis "
                f"{axis} of length {length}, in {count} pieces along mesh dimension {name!r}."
            )
        bounds.append((number * (length // count), (number + 1) * (length // count)))
    return tuple(bounds)


def _known(shape: Any) -> Any:
    """A shape whose values are known, of a tensor that a graph may have made of one."""
    if isinstance(shape, (tuple, list)):
        return tuple(map(_known, shape)) if any(map(tf.is_tensor, shape)) else shape
    if not tf.is_tensor(shape):
        return shape
    values = tf.get_static_value(shape)
    if values is None:
        raise ValueError(
            f"`shape` must be known when the graph is made. Received: shape={shape!r}. Pass its static shape: "
            "`tensor.shape`, not `tf.shape(tensor)`."
        )
    return values.tolist()


def _their_generator() -> Any:
    """What tf_keras's unseeded initializers of this thread take their seeds from, once a seed has been set."""
    return getattr(backend._SEED_GENERATOR, "generator", None)


def _shards_wholes() -> bool:
    """Whether partitions are pieces of one tensor here. In tf_keras each is a tensor of its own."""
    strategy = tf.distribute.get_strategy() if tf.distribute.has_strategy() else None
    sharding = isinstance(strategy, tf.distribute.experimental.ParameterServerStrategy)
    return sharding and settings.call_semantics == "documented"  # which `patch` sets to "released"


def _partition(shape: Any, partition_shape: Any, partition_offset: Any, **_: Any) -> tuple[slice, ...]:
    """A partition as a region. One that is of another tensor is refused, and the strategy then cuts the whole.

    (An LSTM with `unit_forget_bias` asks three initializers of parts of its bias for a partition of all of it.)
    """
    region = tuple(slice(at, at + length) for at, length in zip(partition_offset, partition_shape, strict=True))
    if len(region) != len(shape) or any(part.stop > length for part, length in zip(region, shape, strict=False)):
        raise ValueError(
            f"A partition must lie within the shape, {tuple(shape)}. "
            f"Received: partition_shape={partition_shape}, partition_offset={partition_offset}."
        )
    return region


def _make(source_class: type[Initializer]) -> Any:
    theirs = (
        getattr(tf_keras.initializers, source_class.__name__, None) if source_class in initializers.CLASSES else None
    )
    if theirs is not None:
        # With the public names of tf_keras's class, this one is written to files as that one.
        names = {name: vars(theirs)[name] for name in _API_NAMES if name in vars(theirs)}
        return carrier_class(source_class, (_Carrier, theirs), __name__, **names)
    refuse_names_of("tf_keras", source_class.__name__)
    made = carrier_class(source_class, (_Carrier,), __name__)
    tf_keras.saving.register_keras_serializable(package="fanin")(made)
    tf_keras.saving.get_custom_objects()[made.__name__] = made  # .h5 files have the bare name
    return made


_carriers = Carriers(_make)


def as_tf_keras(initializer: Any) -> Any:
    """A fanin initializer, your own included, as one of tf_keras.

    Args:
        initializer: an initializer, of which a copy is taken; or a class derived from `fanin.Initializer`, for which a
            class is returned. A class of your own is registered in tf_keras under its name, so that saved models load
            again where this has been called for it.

    Raises:
        TypeError: not a fanin initializer.
        ValueError: a class of your own has the name of one of tf_keras's.

    >>> import fanin, fanin.tf_keras
    >>> fanin.tf_keras.as_tf_keras(fanin.HeNormal(seed=1).spawn("encoder/kernel"))
    fanin.tf_keras.HeNormal(seed=1220132738645619909)
    """
    return _carriers.wrapped(initializer)


_Carrier._wrap = staticmethod(as_tf_keras)

RandomNormal = random_normal = _carriers.class_for(initializers.RandomNormal)
RandomUniform = random_uniform = _carriers.class_for(initializers.RandomUniform)
TruncatedNormal = truncated_normal = _carriers.class_for(initializers.TruncatedNormal)
Zeros = zeros = _carriers.class_for(initializers.Zeros)
Ones = ones = _carriers.class_for(initializers.Ones)
GlorotNormal = glorot_normal = _carriers.class_for(initializers.GlorotNormal)
GlorotUniform = glorot_uniform = _carriers.class_for(initializers.GlorotUniform)
HeNormal = he_normal = _carriers.class_for(initializers.HeNormal)
HeUniform = he_uniform = _carriers.class_for(initializers.HeUniform)
Identity = identity = _carriers.class_for(initializers.Identity)
Orthogonal = orthogonal = _carriers.class_for(initializers.Orthogonal)
Constant = constant = _carriers.class_for(initializers.Constant)
VarianceScaling = variance_scaling = _carriers.class_for(initializers.VarianceScaling)
LecunNormal = lecun_normal = _carriers.class_for(initializers.LecunNormal)
LecunUniform = lecun_uniform = _carriers.class_for(initializers.LecunUniform)


def get(identifier: Any) -> Any:
    """One of this module's initializers from a name, a configuration, a class or an initializer of fanin.

    >>> import fanin.tf_keras
    >>> fanin.tf_keras.get("he_normal")
    fanin.tf_keras.HeNormal(seed=None)
    """
    return _carriers.named(identifier)


class _Patch:
    """fanin's classes in tf_keras's tables of initializers, and what was there before."""

    def __init__(self) -> None:
        self.in_force = False
        self._lock = threading.Lock()
        self._by_theirs = {
            getattr(tf_keras.initializers, source_class.__name__): _carriers.class_for(source_class)
            for source_class in initializers.CLASSES
        }
        self._symbols: dict[str, Any] = {}
        self._populate = their_initializers.populate_deserializable_objects
        self._objects = their_initializers.LOCAL

    def begin(self) -> bool:
        """Puts the classes in; False if they are in already."""
        with self._lock:
            if self.in_force:
                return False
            # Classes in configurations with a module, as models are saved, are looked up by public name.
            symbols = tf_export._NAME_TO_SYMBOL_MAPPING
            self._symbols = {name: theirs for name, theirs in symbols.items() if self._ours(theirs) is not theirs}
            symbols.update({name: self._ours(theirs) for name, theirs in self._symbols.items()})
            # Names alone are looked up in a table that each thread has, filled by this function.
            self._populate = their_initializers.populate_deserializable_objects
            self._objects, their_initializers.LOCAL = their_initializers.LOCAL, threading.local()
            their_initializers.populate_deserializable_objects = self._populate_with_ours
            self.in_force = True
            return True

    def end(self) -> None:
        """Takes them out, if they are in."""
        with self._lock:
            if self.in_force:
                tf_export._NAME_TO_SYMBOL_MAPPING.update(self._symbols)
                their_initializers.LOCAL = self._objects
                their_initializers.populate_deserializable_objects = self._populate
                self.in_force = False

    def _ours(self, symbol: Any) -> Any:
        return self._by_theirs.get(symbol, symbol) if isinstance(symbol, type) else symbol

    def _populate_with_ours(self) -> None:
        self._populate()
        local: Any = their_initializers.LOCAL  # of each thread, and new with each `begin`
        if getattr(local, "with_ours", None) is not local.ALL_OBJECTS:  # every `get` comes here
            local.ALL_OBJECTS.update({name: self._ours(theirs) for name, theirs in local.ALL_OBJECTS.items()})
            local.with_ours = local.ALL_OBJECTS


_patch = _Patch()


def patch() -> InForce:
    """Has tf_keras use fanin's classes wherever it looks an initializer up, in a script that names none of them.

    From here on, in all threads, tf_keras's names of initializers ("he_normal" and all others), the defaults of its
    layers and the initializers of configurations and files are this module's classes. Unseeded ones take their seeds
    from tf_keras's own generator, in the same order, and a call repeats the values of the one before, as in tf_keras,
    whatever `fanin.config.call_semantics` says. So the weights are the same bits (`Orthogonal`: to rounding). Classes
    that a script names itself, such as `tf_keras.initializers.HeNormal`, stay tf_keras's.

    Returns:
        A context manager that ends the patch with its block. Without a block it lasts until `unpatch`.

    >>> import fanin.tf_keras, tf_keras
    >>> with fanin.tf_keras.patch():
    ...     tf_keras.layers.Dense(3).kernel_initializer
    fanin.tf_keras.GlorotUniform(seed=None)
    """
    return InForce(_patch.end if _patch.begin() else None)


def unpatch() -> None:
    """Ends what `patch` began; does nothing if it is not in force."""
    _patch.end()


def initialize(
    model: Any,
    recipe: Recipe,
    *,
    only: Any = None,
    skip: Any = None,
    names: Any = None,
    unmatched: str = "error",
    progress: bool | None = None,
) -> Report:
    """Gives every weight of a model the values that a recipe has for it.

    Each is a function of the recipe's seed, its name and the index: other weights and their order do not matter. A
    model that is not built gets its values as its layers make their weights. Seeds of layers such as `Dropout` stay as
    they are.

    Names that Keras itself gave are counted within their parent, so that a second model of the same code gets the same
    weights: `dense_5` is drawn as `dense` where it is the first.

    Args:
        model: a model or layer of tf_keras; it is changed in place.
        recipe: what each weight gets. `recipe.plan(model)` shows it before.
        only: a glob of paths (`encoder.dense.kernel`; / may be written for dots), or several: the others stay as they
            are.
        skip: a glob of paths, or several, that stay as they are.
        names: as for `Recipe.plan`.
        unmatched: "error", or "keep": weights that no rule matches stay as they are.
        progress: whether to show a bar; by default for long work on a terminal, if rich is installed.

    Returns:
        A report: what was filled and kept, and which layers are not built yet.

    Raises:
        fanin.plans.PlanError: the recipe does not fit; nothing has been written. (A ValueError.) A model that is not
            built raises it when it is.
        TypeError: not a model, or not a recipe.

    >>> import fanin, fanin.tf_keras, tf_keras
    >>> model = tf_keras.Sequential([tf_keras.layers.Dense(3, name="fc")])
    >>> report = fanin.tf_keras.initialize(model, fanin.Recipe.preset("keras", seed=1))
    >>> model.build((None, 2))
    >>> kernel = fanin.GlorotUniform(seed=1).spawn("fc.kernel")((2, 3))
    >>> bool((model.layers[0].kernel.numpy() == kernel).all())
    True
    """
    return _common.initialize(
        _models.FRAMEWORK,
        model,
        checked_recipe(recipe),
        only=only,
        skip=skip,
        names=names,
        unmatched=unmatched,
        progress=progress,
    )
