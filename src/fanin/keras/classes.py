"""The initializer classes for Keras 3, which Keras treats as its own. Their calls return the backend's tensors."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import keras
from keras.src import api_export  # Keras keeps the public names of its classes there
from keras.src import initializers as their_initializers
from keras.src.backend.common.stateless_scope import in_stateless_scope

from fanin import initializers
from fanin._core.patches import PatchState
from fanin._core.shapes import checked_shape
from fanin._core.streams import Stream
from fanin._core.tensors import to_sharded_jax
from fanin._core.types import Array, DTypeLike, RegionLike, ShapeLike
from fanin._keras.classes import Carrier, Carriers, WholeWeight, carrier_class, refuse_names_of
from fanin._keras.patching import released_calls, scalars_from_config
from fanin.distributions.weight import Weight
from fanin.initializers.base import Initializer, SeededInitializer, SupportsSource
from fanin.initializers.configs import translated_config
from fanin.keras.origins import to_backend

_MODULE = "fanin.keras"  # where the classes are public
STATE: PatchState = PatchState()
# What Keras writes for these classes besides what it writes for its own. Keras ignores a `build_config` that is empty.
MARK: dict[str, dict[str, Any]] = {"build_config": {}}
_AXES = ("input_axes", "output_axes")  # arguments that variance scalings only have in Keras 3
_FANIN_AXES = frozenset(("in_axis", "out_axis", "batch_axis"))  # and those that they only have in fanin


def _scales(source_class: type[Initializer]) -> bool:
    """Whether Keras has this class, with arguments for the axes of the fans."""
    is_theirs = source_class in initializers.CLASSES and hasattr(keras.initializers, source_class.__name__)
    return is_theirs and issubclass(source_class, initializers.VarianceScaling)


def left_to_python(method: Any) -> Any:
    """Keeps TensorFlow's AutoGraph from converting a method."""
    if keras.backend.backend() != "tensorflow":
        return method
    import tensorflow as tf

    return tf.autograph.experimental.do_not_convert(method)


class _Carrier(Carrier, keras.initializers.Initializer):
    """The interface of Keras 3's initializers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        bound = self.signature_of(self._source_class).bind(*args, **kwargs)
        arguments = bound.arguments
        axes = {name: arguments.pop(name, None) for name in _AXES} if self._scales() else {}
        seed = arguments.get("seed")
        if isinstance(seed, Mapping):
            seed = arguments["seed"] = keras.saving.deserialize_keras_object(dict(seed))
        if isinstance(seed, keras.random.SeedGenerator):
            self._generator = arguments.pop("seed")
        self.carry(self._source_class(*bound.args, **bound.kwargs))
        if axes:
            self._set_axes(**axes)

    _generator: Any = None  # a keras.random.SeedGenerator in place of a seed

    @classmethod
    def _scales(cls) -> bool:
        return _scales(cls._source_class)

    @classmethod
    def signature_of(cls, source_class: type[Initializer]) -> inspect.Signature:
        """The signature of a fanin class, with the arguments that only Keras 3 has, if any."""
        signature = inspect.signature(source_class)
        if not _scales(source_class):
            return signature
        axes = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None) for name in _AXES]
        parameters = [*signature.parameters.values(), *axes]
        return signature.replace(parameters=sorted(parameters, key=lambda each: each.kind))  # keyword-only ones last

    def carry(self, source: Initializer) -> None:
        super().carry(source)
        if isinstance(source, initializers.VarianceScaling) and self._scales():
            self.input_axes, self.output_axes = source.fan_axes or (None, None)

    def _set_axes(self, input_axes: Any, output_axes: Any) -> None:
        self.input_axes, self.output_axes = input_axes, output_axes
        if input_axes is None or output_axes is None or not isinstance(self.source, initializers.VarianceScaling):
            return
        fanin_axes = _FANIN_AXES.intersection(self.source.get_config())
        if fanin_axes:
            raise ValueError(
                "`input_axes` and `output_axes` cannot be combined with fanin's own axes. "
                f"Received: {input_axes=}, {output_axes=} and {', '.join(sorted(fanin_axes))}. "
                "Name all axes of the fans in one way; `batch_axis` takes those that do not multiply them."
            )
        self.source.fan_axes = tuple(input_axes), tuple(output_axes)

    @left_to_python
    def __call__(
        self, shape: ShapeLike, dtype: DTypeLike = None, layout: Any = None, region: RegionLike | None = None
    ) -> Any:
        """Returns the initialized tensor.

        Args:
            shape: the shape of the tensor.
            dtype: its dtype; by default `keras.config.floatx()`.
            layout: on the JAX backend, a `keras.distribution.TensorLayout` or a JAX sharding. Each device's shard is
                made separately, and the whole equals the tensor without a layout.
            region: a region of the tensor, as in `fanin.Initializer`.

        Returns:
            A tensor of the backend.
        """
        shape = checked_shape(shape)
        dtype = keras.backend.standardize_dtype(keras.config.floatx() if dtype is None else dtype)
        with released_calls(STATE.in_force):
            if layout is not None:
                return self._with_layout(shape, dtype, layout)
            return to_backend(self._make(shape, dtype, region))

    def _make(self, shape: tuple[int, ...], dtype: str, region: RegionLike | None) -> Array:
        if self._generator is None and not in_stateless_scope():
            return self._array(shape, dtype, region)
        return self._weight(shape, dtype).make(region)

    def _weight(self, shape: ShapeLike, dtype: DTypeLike) -> Weight | WholeWeight:
        source = self.source
        if in_stateless_scope():
            # Keras wants a placeholder for a variable that it creates later: no call is counted, no seed drawn for it.
            if isinstance(source, SeededInitializer) and (self._generator is not None or not source.has_seed):
                return initializers.Zeros().weight(shape, dtype)
            if self._says_what_to_draw():
                return source.weight(shape, dtype)
        if self._generator is None:
            return super()._weight(shape, dtype)
        return source.weight(shape, dtype, stream=_next_stream(self._generator))

    def _with_layout(self, shape: tuple[int, ...], dtype: str, layout: Any) -> Any:
        if keras.backend.backend() != "jax":
            raise ValueError(
                "`layout` must be None: only the JAX backend supports layouts. "
                f"Received: layout={layout!r} on the backend {keras.backend.backend()!r}."
            )
        import jax

        sharding = layout.backend_layout if isinstance(layout, keras.distribution.TensorLayout) else layout
        if isinstance(getattr(sharding, "mesh", None), jax.sharding.AbstractMesh):  # Keras has made its axes explicit
            sharding = jax.sharding.NamedSharding(jax.sharding.get_mesh(), sharding.spec)
        return to_sharded_jax(self._weight(shape, dtype).pieces, shape, dtype, sharding)

    def __repr__(self) -> str:
        if self._generator is None:
            return super().__repr__()
        arguments = {**self.source.get_config(), "seed": self._generator}
        words = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        return f"{type(self).__module__}.{type(self).__name__}({words})"

    def get_config(self) -> dict[str, Any]:
        """The arguments that recreate this initializer, under Keras's own keys."""
        config = self.source.get_config()
        if self._generator is not None:
            config["seed"] = keras.saving.serialize_keras_object(self._generator)
        if self._scales():
            config |= {"input_axes": self.input_axes, "output_axes": self.output_axes}
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """An initializer from the result of `get_config`.

        Keras's layers of einsums add `input_axes` and `output_axes` to it: axes that the user gave come before those.
        """
        has_axes = not _FANIN_AXES.isdisjoint(config)
        own = {name: None if has_axes else config[name] for name in _AXES if name in config and cls._scales()}
        if isinstance(config.get("seed"), Mapping):
            own["seed"] = config["seed"]
        rest = {name: value for name, value in config.items() if name not in own}
        return cls(**translated_config(cls._source_class, rest), **own)

    def __reduce__(self) -> tuple[Any, ...]:
        state = {name: vars(self)[name] for name in (*_AXES, "_generator") if name in vars(self)}
        return as_keras, (self.source,), state


def _seed(self: Any) -> Any:
    """The seed in force, drawn now if there is none yet; the SeedGenerator if one was given."""
    if self._generator is not None:
        return self._generator
    return self.source.settled_seed()


def _next_stream(generator: Any) -> Stream:
    """The stream that a SeedGenerator gives Keras's own initializers, made outside of any graph."""
    scope: Any = nullcontext()
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        scope = tf.init_scope()
    with scope:
        state: Any = keras.ops.convert_to_numpy(generator.next())
    return Stream(*state.tolist())


def _get_build_config(self: Any) -> dict[str, Any]:
    """Nothing to be built: the mark by which `fanin.keras.lookups` knows the configurations of these classes."""
    return dict(MARK["build_config"])


def _make_class(source_class: type[Initializer]) -> Any:
    members: dict[str, Any] = {"seed": property(_seed)} if issubclass(source_class, SeededInitializer) else {}
    theirs = getattr(keras.initializers, source_class.__name__, None) if source_class in initializers.CLASSES else None
    if theirs is None:
        refuse_names_of("keras", source_class.__name__, their_initializers.ALL_OBJECTS_DICT)
        made = carrier_class(source_class, (_Carrier,), _MODULE, **members)
        return keras.saving.register_keras_serializable(package="fanin")(made)
    members["get_build_config"] = _get_build_config
    if source_class is initializers.Constant:
        members["from_config"] = scalars_from_config(_Carrier, theirs, STATE)
    made = carrier_class(source_class, (_Carrier, theirs), _MODULE, **members)
    # Under the public name of Keras's class, this class is written to files as Keras's.
    api_export.REGISTERED_OBJS_TO_NAMES[made] = api_export.REGISTERED_OBJS_TO_NAMES[theirs]
    return made


carriers: Carriers = Carriers(_make_class)


def as_keras(initializer: Initializer | SupportsSource | type[Initializer]) -> Any:
    """A fanin initializer, including your own, as a Keras 3 initializer.

    Args:
        initializer: an initializer, which is copied; or a class derived from `fanin.Initializer`, for which a class is
            returned. A class of your own is registered in Keras under its name, so that saved models load wherever this
            has been called for it.

    Raises:
        TypeError: `initializer` is not a fanin initializer.
        ValueError: your class has the name of one of Keras's.

    >>> import fanin, fanin.keras
    >>> fanin.keras.as_keras(fanin.HeNormal(seed=1).spawn("encoder/kernel"))
    fanin.keras.HeNormal(seed=1220132738645619909)
    """
    return carriers.wrapped(initializer)


_Carrier.wrap = staticmethod(as_keras)


def get(identifier: Any) -> Any:
    """An initializer of this module from a name, a configuration, a class or a fanin initializer.

    Args:
        identifier: any of these; every name that `fanin.get` knows, such as "dirac", is one. Arrays, and configurations
            of classes that others have registered in Keras, are Keras's in any case.

    Raises:
        ValueError: the identifier is none of these, or an unknown name.

    >>> import fanin.keras
    >>> fanin.keras.get("he_normal")
    fanin.keras.HeNormal(seed=None)
    """
    return carriers.named(identifier, keras.initializers.get)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """An initializer of this module from a configuration, as `keras.initializers.deserialize` has it.

    Args:
        config: what `serialize` returns, or a name.
        custom_objects: your own classes by name; they come before this module's.

    Raises:
        ValueError, TypeError: the configuration is malformed, or has an unknown name or unknown arguments.

    >>> import fanin.keras
    >>> fanin.keras.deserialize(fanin.keras.serialize(fanin.keras.HeNormal(seed=1)))
    fanin.keras.HeNormal(seed=1)
    """
    name = config.get("class_name") if isinstance(config, Mapping) else config
    if custom_objects and name in custom_objects:
        return keras.initializers.deserialize(config, dict(custom_objects))
    return get(config)
