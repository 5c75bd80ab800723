"""fanin in Keras 3, on each of its backends: the same initializer classes, whose calls return the backend's tensors.

They are Keras's own classes to Keras: files, configurations and clones have Keras's names and keys in them, and load
where fanin is not installed. `patch` makes a script use them that names none.

Keras 3 measures the fans of einsum kernels (`EinsumDense`, `MultiHeadAttention`) by the equation's axes, tf_keras by
the last two axes. These classes do as Keras 3 does, so the weights of those layers differ from tf_keras's.

>>> import fanin.keras, keras
>>> layer = keras.layers.Dense(3, kernel_initializer=fanin.keras.HeNormal(seed=42))
>>> layer.build((None, 2))
>>> bool((keras.ops.convert_to_numpy(layer.kernel) == fanin.HeNormal(seed=42)((2, 3))).all())
True
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np

from fanin import base, initializers, utils
from fanin._carriers import Carrier, Carriers, InForce, carrier_class, refuse_names_of, released_calls
from fanin._configs import translated_config
from fanin._shapes import checked_shape
from fanin._tensors import to_sharded_jax
from fanin._words import missing
from fanin.base import Initializer
from fanin.recipes import Recipe, checked_recipe

try:
    import keras
    from keras.src import api_export  # Keras keeps the public names of its classes there
    from keras.src import initializers as their_initializers
    from keras.src.backend.common.stateless_scope import in_stateless_scope

    from fanin._models import keras as _models
    from fanin._models import keras_common as _common
    from fanin._models.report import Report
except ModuleNotFoundError as error:
    raise missing(error, "keras", "Keras 3", extra="keras") from error

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
    "as_keras",
    "get",
    "initialize",
    "patch",
    "unpatch",
]


_AXES = ("input_axes", "output_axes")  # Keras 3's own arguments of variance scalings


def _scales(source_class: type[Initializer]) -> bool:
    """Whether Keras has such a class, with axes for the fans."""
    return source_class in initializers.CLASSES and issubclass(source_class, initializers.VarianceScaling)


def _left_to_python(method: Any) -> Any:
    """Keeps TensorFlow from converting a method within a function that becomes a graph."""
    if keras.backend.backend() != "tensorflow":
        return method
    import tensorflow as tf

    return tf.autograph.experimental.do_not_convert(method)


class _Carrier(Carrier, keras.initializers.Initializer):
    """The interface of Keras 3's initializers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        bound = self._signature_of(self._source_class).bind(*args, **kwargs)
        arguments = bound.arguments
        axes = {name: arguments.pop(name, None) for name in _AXES} if self._scales() else {}
        seed = arguments.get("seed")
        if isinstance(seed, Mapping):
            seed = arguments["seed"] = keras.saving.deserialize_keras_object(dict(seed))
        if isinstance(seed, keras.random.SeedGenerator):
            self._generator = arguments.pop("seed")
        self._carry(self._source_class(*bound.args, **bound.kwargs))
        if axes:
            self._set_axes(**axes)

    _generator: Any = None  # a keras.random.SeedGenerator in place of a seed

    @classmethod
    def _scales(cls) -> bool:
        return _scales(cls._source_class)

    @classmethod
    def _signature_of(cls, source_class: type[Initializer]) -> inspect.Signature:
        """The arguments of a fanin class, with Keras 3's own where it has any."""
        signature = inspect.signature(source_class)
        if not _scales(source_class):
            return signature
        axes = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None) for name in _AXES]
        return signature.replace(parameters=[*signature.parameters.values(), *axes])

    def _carry(self, source: Initializer) -> None:
        super()._carry(source)
        if isinstance(source, initializers.VarianceScaling) and self._scales():
            self.input_axes, self.output_axes = source._axes or (None, None)

    def _set_axes(self, input_axes: Any, output_axes: Any) -> None:
        self.input_axes, self.output_axes = input_axes, output_axes
        if input_axes is not None and output_axes is not None:
            self.source._axes = (tuple(input_axes), tuple(output_axes))  # pyright: ignore[reportAttributeAccessIssue]

    @_left_to_python
    def __call__(self, shape: Any, dtype: Any = None, layout: Any = None, region: Any = None) -> Any:
        """Returns the initialized tensor.

        Args:
            shape: the shape of the tensor.
            dtype: its dtype; by default `keras.config.floatx()`.
            layout: a `keras.distribution.TensorLayout` or a sharding of JAX, on the JAX backend: each device's piece is
                made alone, and the whole is the tensor without a layout.
            region: as fanin has it.

        Returns:
            A tensor of the backend.
        """
        shape = checked_shape(shape)
        dtype = keras.backend.standardize_dtype(keras.config.floatx() if dtype is None else dtype)
        with released_calls(_patch.in_force):
            if layout is not None:
                return self._with_layout(shape, dtype, layout)
            return _models.to_backend(self._make(shape, dtype, region))

    def _make(self, shape: tuple[int, ...], dtype: str, region: Any) -> np.ndarray:
        if self._generator is None and not in_stateless_scope():
            return self._array(shape, dtype, region)
        return self._pieces(shape, dtype)((slice(None),) * len(shape) if region is None else region)

    def _pieces(self, shape: Any, dtype: Any) -> Callable[[Any], np.ndarray]:
        source = self.source
        if in_stateless_scope():
            # Keras wants a placeholder of a variable that it makes later: no call that counts, no seed drawn for it.
            seeded = self._generator is None and (source._seed is not None or source._drawn_seed is not None)
            if seeded or not source._is_random:
                return lambda region: self._array(shape, dtype, region)
            return lambda region: initializers.Zeros()(shape, dtype, region=region)
        if self._generator is None:
            return super()._pieces(shape, dtype)
        pair = _next_state(self._generator)
        return lambda region: source._draw(pair, shape, dtype, region)

    def _with_layout(self, shape: tuple[int, ...], dtype: str, layout: Any) -> Any:
        if keras.backend.backend() != "jax":
            raise ValueError(
                "`layout` must be None: only the JAX backend has layouts. "
                f"Received: layout={layout!r} on the backend {keras.backend.backend()!r}."
            )
        import jax

        sharding = layout.backend_layout if isinstance(layout, keras.distribution.TensorLayout) else layout
        if isinstance(getattr(sharding, "mesh", None), jax.sharding.AbstractMesh):  # Keras has made its axes explicit
            sharding = jax.sharding.NamedSharding(jax.sharding.get_mesh(), sharding.spec)
        return to_sharded_jax(self._pieces(shape, dtype), shape, dtype, sharding)

    def __repr__(self) -> str:
        if self._generator is None:
            return super().__repr__()
        arguments = {**self.source.get_config(), "seed": self._generator}
        return (
            f"{__name__}.{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this initializer again, under Keras's own keys."""
        config = self.source.get_config()
        if self._generator is not None:
            config["seed"] = keras.saving.serialize_keras_object(self._generator)
        if self._scales():
            config |= {"input_axes": self.input_axes, "output_axes": self.output_axes}
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """An initializer from what `get_config` returned."""
        own = {name: value for name, value in config.items() if name in _AXES and cls._scales()}
        if isinstance(config.get("seed"), Mapping):
            own["seed"] = config["seed"]
        rest = {name: value for name, value in config.items() if name not in own}
        return cls(**translated_config(cls._source_class, rest), **own)

    def __reduce__(self) -> tuple[Any, ...]:
        state = {name: vars(self)[name] for name in (*_AXES, "_generator") if name in vars(self)}
        return as_keras, (self.source,), state


def _seed(self: Any) -> Any:
    """The seed in force, drawn now if there is none yet; a SeedGenerator if that was given."""
    if self._generator is not None:
        return self._generator
    with base._lock:
        return self.source._chosen_seed()


def _next_state(generator: Any) -> tuple[int, int]:
    """What a SeedGenerator gives Keras's own initializers, outside of any graph that is being made."""
    scope: Any = nullcontext()
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        scope = tf.init_scope()
    with scope:
        state: Any = keras.ops.convert_to_numpy(generator.next())
    first, second = state.tolist()
    return first, second


def _make_class(source_class: type[Initializer]) -> Any:
    members = {"seed": property(_seed)} if source_class._is_random else {}
    if source_class not in initializers.CLASSES:
        refuse_names_of("keras", source_class.__name__, their_initializers.ALL_OBJECTS_DICT)
        made = carrier_class(source_class, (_Carrier,), __name__, **members)
        return keras.saving.register_keras_serializable(package="fanin")(made)
    theirs = getattr(keras.initializers, source_class.__name__)
    made = carrier_class(source_class, (_Carrier, theirs), __name__, **members)
    # With the public name of Keras's class, this one is written to files as that one.
    api_export.REGISTERED_OBJS_TO_NAMES[made] = api_export.REGISTERED_OBJS_TO_NAMES[theirs]
    return made


_symbols = api_export.REGISTERED_NAMES_TO_OBJS
_carriers = Carriers(_make_class)


def as_keras(initializer: Any) -> Any:
    """A fanin initializer, your own included, as one of Keras 3.

    Args:
        initializer: an initializer, of which a copy is taken; or a class derived from `fanin.Initializer`, for which a
            class is returned. A class of your own is registered in Keras under its name, so that saved models load
            again where this has been called for it.

    Raises:
        TypeError: not a fanin initializer.
        ValueError: a class of your own has the name of one of Keras's.

    >>> import fanin, fanin.keras
    >>> fanin.keras.as_keras(fanin.HeNormal(seed=1).spawn("encoder/kernel"))
    fanin.keras.HeNormal(seed=1220132738645619909)
    """
    return _carriers.wrapped(initializer)


_Carrier._wrap = staticmethod(as_keras)

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

    >>> import fanin.keras
    >>> fanin.keras.get("he_normal")
    fanin.keras.HeNormal(seed=None)
    """
    return _carriers.named(identifier)


class _Patch:
    """fanin's classes in Keras's table of public names, its function that sets seeds, and what was there before."""

    def __init__(self) -> None:
        self.in_force = False
        self._lock = threading.Lock()
        self._replaced: dict[str, Any] = {}
        self._set_random_seed: Any = None

    def begin(self) -> bool:
        """Puts the classes in; False if they are in already."""
        with self._lock:
            if self.in_force:
                return False
            theirs = {
                getattr(keras.initializers, cls.__name__): _carriers.class_for(cls) for cls in initializers.CLASSES
            }
            self._replaced = {name: found for name, found in _symbols.items() if found in theirs}
            _symbols.update({name: theirs[found] for name, found in self._replaced.items()})
            self._set_random_seed = keras.utils.set_random_seed
            _replace_everywhere(self._set_random_seed, self._set_both_seeds)
            self.in_force = True
            return True

    def end(self) -> None:
        """Takes them out, if they are in."""
        with self._lock:
            if self.in_force:
                _symbols.update(self._replaced)
                _replace_everywhere(self._set_both_seeds, self._set_random_seed)
                self.in_force = False

    def _set_both_seeds(self, seed: int) -> None:
        """Sets the seeds of Keras and of fanin's unseeded initializers."""
        utils.set_random_seed(seed)
        self._set_random_seed(seed)


def _replace_everywhere(before: Any, after: Any) -> None:
    """Replaces a function in every module of Keras that has it."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "keras" and getattr(module, "set_random_seed", None) == before:
            module.set_random_seed = after  # pyright: ignore[reportAttributeAccessIssue]


_patch = _Patch()


def patch() -> InForce:
    """Has Keras use fanin's classes wherever it looks an initializer up: an unchanged script gets tf_keras's weights.

    From here on, in all threads, Keras's names of initializers ("he_normal" and all others), the defaults of its layers
    and the initializers of configurations and files are this module's classes. A call repeats the values of the one
    before, as in Keras, whatever `fanin.config.call_semantics` says. `keras.utils.set_random_seed` then also gives the
    calling thread's unseeded initializers tf_keras's sequence of seeds, so that the same script has the same weights
    on every backend, and in tf_keras. Classes that a script names itself, such as `keras.initializers.HeNormal`, stay
    Keras's.

    Returns:
        A context manager that ends the patch with its block. Without a block it lasts until `unpatch`.

    >>> import fanin.keras, keras
    >>> with fanin.keras.patch():
    ...     keras.layers.Dense(3).kernel_initializer
    fanin.keras.GlorotUniform(seed=None)
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
        model: a model or layer of Keras 3; it is changed in place.
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

    >>> import fanin, fanin.keras, keras
    >>> model = keras.Sequential([keras.layers.Dense(3, name="fc")])
    >>> report = fanin.keras.initialize(model, fanin.Recipe.preset("keras", seed=1))
    >>> model.build((None, 2))
    >>> kernel = fanin.GlorotUniform(seed=1).spawn("fc.kernel")((2, 3))
    >>> bool((keras.ops.convert_to_numpy(model.layers[0].kernel) == kernel).all())
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
