"""The shared part of the initializer classes of `fanin.tf_keras` and `fanin.keras`.

Each class calls a fanin initializer, its source, and stands in for the framework's own class of the same name.
"""

from __future__ import annotations

import copy
import inspect
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from types import FunctionType
from typing import Any, ClassVar

import numpy as np

from fanin import initializers
from fanin._core.messages import class_name, shown
from fanin._core.shapes import parse_region
from fanin._core.types import Array, DTypeLike, RegionLike, ShapeLike
from fanin.distributions.weight import Weight, pieces_of
from fanin.initializers.base import Initializer, source_of
from fanin.initializers.configs import translated_config


class WholeWeight:
    """A tensor that a user-defined call has made whole, with the methods of a weight."""

    def __init__(self, whole: Array) -> None:
        self.whole = whole

    def make(self, region: RegionLike | None = None) -> Array:
        """The tensor, or a region of it."""
        return self.whole if region is None else self.whole[parse_region(region, self.whole.shape).slices]

    def pieces(self, regions: Iterable[RegionLike]) -> list[Array]:
        """An array for each region."""
        return pieces_of(self.whole.shape, self.make, regions)


class Carrier:
    """The mixin of a framework's initializer classes, which comes before the framework's own class.

    Attributes:
        source: the fanin initializer that makes the values.
    """

    _source_class: ClassVar[type[Initializer]] = Initializer
    wrap: ClassVar[Callable[[Initializer], Any]]  # makes a carrier of a source, for pickle and copy
    source: Initializer

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.carry(self._source_class(*args, **kwargs))

    def carry(self, source: Initializer) -> None:
        """Sets the source, and its arguments as attributes."""
        vars(self).update(_attributes(source))
        self.source = source

    def _array(self, shape: ShapeLike, dtype: DTypeLike, region: RegionLike | None = None, **kwargs: Any) -> Array:
        """The source's array, or a region of it, in memory that only the caller has."""
        if self._says_what_to_draw():
            return self.source(shape, dtype, **({} if region is None else {"region": region}), **kwargs)
        # A user-defined call does not take regions, and may keep the array that it returns.
        whole = np.array(self.source(shape, dtype, **kwargs))
        return whole if region is None else whole[parse_region(region, whole.shape).slices]

    def _weight(self, shape: ShapeLike, dtype: DTypeLike) -> Weight | WholeWeight:
        """The tensor of a counted call, as a weight, so that regions can be made without the whole tensor."""
        return (
            self.source.next_weight(shape, dtype)
            if self._says_what_to_draw()
            else WholeWeight(self._array(shape, dtype))
        )

    def _says_what_to_draw(self) -> bool:
        return type(self.source).__call__ is Initializer.__call__

    def get_config(self) -> dict[str, Any]:
        """The arguments that recreate this initializer, under the framework's own keys."""
        return self.source.get_config()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """An initializer from the result of `get_config`."""
        return cls(**translated_config(cls._source_class, config))

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other) or not isinstance(other, Carrier):
            return NotImplemented
        return self is other or (self.source == other.source and self.get_config() == other.get_config())

    def __hash__(self) -> int:
        return hash((type(self), self.source))

    def __repr__(self) -> str:
        return f"{type(self).__module__}.{self.source!r}"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).wrap, (self.source,)


def _attributes(source: Initializer) -> dict[str, Any]:
    """The attributes that the framework's own class has."""
    found = source.get_config()
    if isinstance(source, initializers.VarianceScaling):  # also the named rules, whose configurations are only seeds
        found = initializers.VarianceScaling.get_config(source)
    return found


def carrier_class(source_class: type[Initializer], bases: tuple[type, ...], module: str, **members: Any) -> Any:
    """A class that carries a fanin class: `bases` are the module's mixin and the framework's own class."""

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        if source_class is initializers.Constant:
            _refuse_array(kwargs.get("value", args[0] if args else 0), module)
        bases[0].__init__(self, *args, **kwargs)

    arguments = getattr(bases[0], "signature_of", inspect.signature)
    init.__signature__ = _with_self(arguments(source_class))  # pyright: ignore[reportFunctionMemberAccess]
    init.__name__ = init.__qualname__ = "__init__"
    name = source_class.__name__
    document = f"`fanin.{name}` as an initializer of this framework.\n\n{inspect.getdoc(source_class) or ''}"
    return type(
        name,
        bases,
        {
            "__init__": init,
            "__doc__": document.partition("\n>>> ")[0] if source_class in initializers.CLASSES else document,
            "__module__": module,
            "_source_class": source_class,
            **members,
        },
    )


def _refuse_array(value: Any, module: str) -> None:
    """Raises for a constant that is an array: the frameworks' classes take it, and fanin has another class for it."""
    if isinstance(value, (list, tuple)) or getattr(value, "shape", ()):
        adapter = f"{module}.as_{module.rpartition('.')[2]}"
        raise TypeError(
            f"`value` must be a scalar. Received: value={shown(value)} (of type {class_name(type(value))}). "
            f"Only scalar values are allowed. An array is a table: {adapter}(fanin.Table(array))."
        )


def _with_self(signature: inspect.Signature) -> inspect.Signature:
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return signature.replace(parameters=[itself, *signature.parameters.values()], return_annotation=None)


class Carriers:
    """The carrier classes of one framework, by the fanin class that each carries."""

    def __init__(self, make: Callable[[type[Initializer]], Any]) -> None:
        self._make = make
        self._classes: dict[type[Initializer], Any] = {}
        self._lock = threading.Lock()

    def class_for(self, source_class: type[Initializer]) -> Any:
        """The carrier class of a fanin class, made on first use."""
        with self._lock:
            if source_class not in self._classes:
                self._classes[source_class] = self._make(source_class)
            return self._classes[source_class]

    def wrapped(self, initializer: Any) -> Any:
        """A carrier of a copy of an initializer, or the carrier class of a class."""
        if isinstance(initializer, type) and issubclass(initializer, Initializer):
            return self.class_for(initializer)
        if type(initializer) in self._classes.values():  # already one of this framework, with state of its own
            return copy.copy(initializer)
        source = source_of(initializer)
        cls = self.class_for(type(source))
        carrier = cls.__new__(cls)
        carrier.carry(copy.copy(source))
        return carrier

    def named(self, identifier: Any, others: Callable[[Any], Any]) -> Any:
        """The result of `get` for a name, a configuration, a class or an initializer.

        Args:
            identifier: what was given.
            others: the framework's own `get`, for what only it knows: registered classes and arrays.
        """
        if isinstance(identifier, Mapping):
            return self._configured(identifier, others)
        if identifier is not None and not isinstance(identifier, str) and not callable(identifier):
            return others(identifier)
        found = initializers.get(identifier)
        return self.wrapped(found) if isinstance(found, Initializer) else found

    def _configured(self, configuration: Mapping[str, Any], others: Callable[[Any], Any]) -> Any:
        name, registered = configuration.get("class_name", ""), configuration.get("registered_name")
        source_class = initializers.NAMES.get(name) if registered in (None, name, f"fanin>{name}") else None
        if source_class is not None and isinstance(configuration.get("config"), Mapping):
            # the framework's configurations may have keys that fanin's do not
            return self.class_for(source_class).from_config(configuration["config"])
        return initializers.get(configuration) if registered is None else others(configuration)


def refuse_names_of(package: str, name: str, aliases: Collection[str] = ()) -> None:
    """Raises if a user-defined class has a name that a framework uses: files that mean the framework's would load it.

    Args:
        package: the framework's package, which has been imported.
        name: the class's name.
        aliases: names that the framework uses besides those in its modules.
    """
    modules = [module for path, module in list(sys.modules.items()) if path.partition(".")[0] == package]
    if name in aliases or any(isinstance(vars(module).get(name), (type, FunctionType)) for module in modules):
        raise ValueError(
            f"Your class must not have a name that {package} uses: files that refer to {package}'s would load yours. "
            f"Received: a class named {name!r}. Rename it."
        )
