"""The initializer classes for tf_keras, which tf_keras treats as its own. Their calls return TensorFlow tensors."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras
from tf_keras.src import backend

from fanin import initializers
from fanin._core.patches import PatchState
from fanin._core.settings import config
from fanin._core.shapes import checked_shape
from fanin._core.streams import seeds_from
from fanin._core.tensors import to_tensorflow
from fanin._core.types import DTypeLike, Shape, ShapeLike
from fanin._keras.classes import Carrier, Carriers, carrier_class, refuse_names_of
from fanin._keras.patching import released_calls, scalars_from_config
from fanin.initializers.base import Initializer, SupportsSource

_MODULE = "fanin.tf_keras"  # where the classes are public
STATE: PatchState = PatchState()
_API_NAMES = ("_keras_api_names", "_keras_api_names_v1")  # where tf_export notes the public names of a class


class _Carrier(Carrier, tf_keras.initializers.Initializer):
    """The interface of tf_keras's initializers."""

    @tf.autograph.experimental.do_not_convert  # always runs as Python, also inside a function that becomes a graph
    def __call__(self, shape: ShapeLike, dtype: DTypeLike = None, **kwargs: Any) -> Any:
        """Returns the initialized tensor.

        Args:
            shape: the shape of the tensor, whose values must be known, also in a graph.
            dtype: its dtype; by default `tf_keras.backend.floatx()`.
            **kwargs: `partition_shape` and `partition_offset`, as in tf_keras; `layout`, a DTensor layout: each
                device's shard is made separately, and the whole equals the tensor without a layout; `region`, as in
                `fanin.Initializer`.

        Returns:
            A TensorFlow tensor.
        """
        shape = _known(shape)
        dtype = backend.floatx() if dtype is None else dtype
        layout = kwargs.pop("layout", None)
        generator = _their_generator() or (random if STATE.in_force else None)
        with seeds_from(generator), released_calls(STATE.in_force):
            if layout is not None:
                return self._with_layout(shape, dtype, layout, kwargs)
            if {"partition_shape", "partition_offset"} <= kwargs.keys() and _shards_wholes():
                kwargs["region"] = _partition(shape, **kwargs)
                del kwargs["partition_shape"], kwargs["partition_offset"]
            return to_tensorflow(self._array(shape, dtype, **kwargs))

    def _with_layout(self, shape: Any, dtype: Any, layout: Any, kwargs: dict[str, Any]) -> Any:
        if kwargs:
            raise ValueError(f"`layout` cannot be combined with other arguments. Received also: {', '.join(kwargs)}.")
        if getattr(self, "seed", 0) is None and _their_generator() is None:
            raise ValueError(
                "When using DTensor APIs, you need to set the global seed before using any TF-Keras initializers, so "
                f"that all clients use the same one. Received: {self!r}. Call `tf_keras.utils.set_random_seed()` or "
                "give a seed."
            )
        from tensorflow.experimental import dtensor

        lengths = checked_shape(shape)
        regions = [_region_at(location, layout, lengths) for location in layout.mesh.local_device_locations()]
        shards = self._weight(lengths, dtype).pieces(regions)
        return dtensor.pack([to_tensorflow(shard) for shard in shards], layout)


def _region_at(location: Any, layout: Any, shape: Shape) -> tuple[slice, ...]:
    """The region that a device holds."""
    from tensorflow.experimental import dtensor

    if len(layout.sharding_specs) != len(shape):
        raise ValueError(
            f"`layout` must have the rank of the shape {shape}, {len(shape)}. "
            f"Received: a layout of rank {len(layout.sharding_specs)}, {layout.sharding_specs}."
        )
    region = []
    for axis, (length, name) in enumerate(zip(shape, layout.sharding_specs, strict=True)):
        count, number = (1, 0) if name == dtensor.UNSHARDED else (layout.mesh.dim_size(name), location[name])
        if length % count:
            raise ValueError(
                "The length of a sharded axis must be divisible by the number of its shards. Received: axis "
                f"{axis} of length {length}, in {count} shards along mesh dimension {name!r}."
            )
        region.append(slice(number * (length // count), (number + 1) * (length // count)))
    return tuple(region)


def _known(shape: Any) -> Any:
    """A shape with known values. In a graph, the given one may be a tensor or contain tensors."""
    if isinstance(shape, (tuple, list)):
        return tuple(map(_known, shape)) if any(map(tf.is_tensor, shape)) else shape
    if not tf.is_tensor(shape):
        return shape
    values = tf.get_static_value(shape)
    if values is None:
        raise ValueError(
            f"`shape` must be known when the graph is built. Received: shape={shape!r}. Pass its static shape: "
            "`tensor.shape`, not `tf.shape(tensor)`."
        )
    return values.tolist()


def _their_generator() -> Any:
    """The source of seeds for tf_keras's unseeded initializers in this thread; None unless a seed has been set."""
    return getattr(backend._SEED_GENERATOR, "generator", None)


def _shards_wholes() -> bool:
    """Whether partitions are regions of one tensor here. In tf_keras each is a separate tensor."""
    strategy = tf.distribute.get_strategy() if tf.distribute.has_strategy() else None
    sharding = isinstance(strategy, tf.distribute.experimental.ParameterServerStrategy)
    return sharding and config.call_semantics == "documented"  # which `patch` sets to "released"


def _partition(shape: Any, partition_shape: Any, partition_offset: Any, **_: Any) -> tuple[slice, ...]:
    """A partition as a region. Raises for a partition of another tensor; the strategy then slices the whole tensor.

    (An LSTM with `unit_forget_bias` asks the initializers of three parts of its bias for a partition of all of it.)
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
        # Under the public names of tf_keras's class, this class is written to files as tf_keras's.
        members = {name: vars(theirs)[name] for name in _API_NAMES if name in vars(theirs)}
        if source_class is initializers.Constant:
            members["from_config"] = scalars_from_config(_Carrier, theirs, STATE)
        return carrier_class(source_class, (_Carrier, theirs), _MODULE, **members)
    refuse_names_of("tf_keras", source_class.__name__)
    made = carrier_class(source_class, (_Carrier,), _MODULE)
    tf_keras.saving.register_keras_serializable(package="fanin")(made)
    tf_keras.saving.get_custom_objects()[made.__name__] = made  # .h5 files have the bare name
    return made


carriers: Carriers = Carriers(_make)


def as_tf_keras(initializer: Initializer | SupportsSource | type[Initializer]) -> Any:
    """A fanin initializer, including your own, as a tf_keras initializer.

    Args:
        initializer: an initializer, which is copied; or a class derived from `fanin.Initializer`, for which a class is
            returned. A class of your own is registered in tf_keras under its name, so that saved models load wherever
            this has been called for it.

    Raises:
        TypeError: `initializer` is not a fanin initializer.
        ValueError: your class has the name of one of tf_keras's.

    >>> import fanin, fanin.tf_keras
    >>> fanin.tf_keras.as_tf_keras(fanin.HeNormal(seed=1).spawn("encoder/kernel"))
    fanin.tf_keras.HeNormal(seed=1220132738645619909)
    """
    return carriers.wrapped(initializer)


_Carrier.wrap = staticmethod(as_tf_keras)


def get(identifier: Any) -> Any:
    """An initializer of this module from a name, a configuration, a class or a fanin initializer.

    Args:
        identifier: any of these; every name that `fanin.get` knows, such as "dirac", is one. Configurations of classes
            that others have registered in tf_keras are tf_keras's in any case.

    Raises:
        ValueError: the identifier is none of these, or an unknown name.

    >>> import fanin.tf_keras
    >>> fanin.tf_keras.get("he_normal")
    fanin.tf_keras.HeNormal(seed=None)
    """
    return carriers.named(identifier, tf_keras.initializers.get)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None, use_legacy_format: bool = False) -> Any:
    """An initializer of this module from a configuration, as `tf_keras.initializers.deserialize` has it.

    Args:
        config: what `serialize` returns, or a name.
        custom_objects: your own classes by name; they come before this module's.
        use_legacy_format: ignored for this module's classes, since both formats are always read.

    Raises:
        ValueError, TypeError: the configuration is malformed, or has an unknown name or unknown arguments.

    >>> import fanin.tf_keras
    >>> fanin.tf_keras.deserialize(fanin.tf_keras.serialize(fanin.tf_keras.HeNormal(seed=1)))
    fanin.tf_keras.HeNormal(seed=1)
    """
    name = config.get("class_name") if isinstance(config, Mapping) else config
    if custom_objects and name in custom_objects:
        return tf_keras.initializers.deserialize(config, dict(custom_objects), use_legacy_format)
    return get(config)
