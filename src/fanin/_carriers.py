"""What the initializer classes of `fanin.tf_keras` and `fanin.keras` share: each calls a fanin initializer, its source,
and stands in for the framework's own class of the same name."""

from __future__ import annotations

import copy
import inspect
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from types import FunctionType
from typing import Any, ClassVar

import numpy as np

from fanin import initializers
from fanin._configs import translated_config
from fanin._shapes import parse_region
from fanin.base import Initializer, source_of
from fanin.settings import config as settings


class Carrier:
    """Mixed into a framework's initializer class, before the framework's own.

    Attributes:
        source: the fanin initializer that makes the values.
    """

    _source_class: ClassVar[type[Initializer]] = Initializer
    _wrap: ClassVar[Callable[[Initializer], Any]]  # a carrier of a source, for pickle and copy
    source: Initializer

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._carry(self._source_class(*args, **kwargs))

    def _carry(self, source: Initializer) -> None:
        vars(self).update(_attributes(source))
        self.source = source

    def _array(self, shape: Any, dtype: Any, region: Any = None, **kwargs: Any) -> np.ndarray:
        """The source's array, of this caller alone; a piece of it where a region is given."""
        if type(self.source).__call__ is Initializer.__call__:
            return self.source(shape, dtype, **({} if region is None else {"region": region}), **kwargs)
        # A call of the user's own knows no regions, and may keep what it returns.
        whole = np.array(self.source(shape, dtype, **kwargs))
        return whole if region is None else whole[parse_region(region, whole.shape).slices]

    def _pieces(self, shape: Any, dtype: Any) -> Callable[[Any], np.ndarray]:
        """What makes the pieces of one call's tensor: a call like any other, whose tensor is never made whole."""
        if type(self.source).__call__ is not Initializer.__call__:
            whole = self._array(shape, dtype)
            return lambda region: whole[parse_region(region, whole.shape).slices]
        self.source._what(shape, dtype, None)  # raises what a call would, before it counts
        pair, _ = self.source._begin_call()
        return lambda region: self.source._draw(pair, shape, dtype, region)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this initializer again, under the framework's own keys."""
        return self.source.get_config()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """An initializer from what `get_config` returned."""
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
        return type(self)._wrap, (self.source,)


def _attributes(source: Initializer) -> dict[str, Any]:
    """What the framework's own class has as attributes."""
    found = source.get_config()
    if isinstance(source, initializers.VarianceScaling):  # the named rules, whose configurations are seeds alone, too
        found = initializers.VarianceScaling.get_config(source)
    return found


def carrier_class(source_class: type[Initializer], bases: tuple[type, ...], module: str, **members: Any) -> Any:
    """A class that carries a fanin class: `bases` are the module's mixin and the framework's own class."""

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        bases[0].__init__(self, *args, **kwargs)

    arguments = getattr(bases[0], "_signature_of", inspect.signature)
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
        """The one class for a fanin class, made at its first use."""
        with self._lock:
            if source_class not in self._classes:
                self._classes[source_class] = self._make(source_class)
            return self._classes[source_class]

    def wrapped(self, initializer: Any) -> Any:
        """A carrier of a copy of an initializer, or the carrier class of a class."""
        if isinstance(initializer, type) and issubclass(initializer, Initializer):
            return self.class_for(initializer)
        if type(initializer) in self._classes.values():  # one of this framework already, with what only it has
            return copy.copy(initializer)
        source = source_of(initializer)
        cls = self.class_for(type(source))
        carrier = cls.__new__(cls)
        carrier._carry(copy.copy(source))
        return carrier

    def named(self, identifier: Any) -> Any:
        """What `get` makes of a name, a configuration, a class or an initializer."""
        if isinstance(identifier, Mapping) and isinstance(identifier.get("config"), Mapping):
            source_class = initializers.NAMES.get(identifier.get("class_name", ""))
            if source_class is not None:  # the framework's configurations may have keys that fanin's do not
                return self.class_for(source_class).from_config(identifier["config"])
        found = initializers.get(identifier)
        return self.wrapped(found) if isinstance(found, Initializer) else found


def refuse_names_of(package: str, name: str, aliases: Collection[str] = ()) -> None:
    """A class of one's own must not have the name of anything in a framework: files that mean theirs would get it.

    Args:
        package: the framework's package, which has been imported.
        name: the class's name.
        aliases: names under which the framework knows things besides those that they have in its modules.
    """
    modules = [module for path, module in list(sys.modules.items()) if path.partition(".")[0] == package]
    if name in aliases or any(isinstance(vars(module).get(name), (type, FunctionType)) for module in modules):
        raise ValueError(
            f"A class of your own must not have a name that is taken in {package}: files that mean theirs would load "
            f"yours. Received: a class named {name!r}. Rename it."
        )


class InForce:
    """What a `patch` returns: a `with` block that ends it, unless it was in force before the block."""

    def __init__(self, end: Callable[[], None] | None) -> None:
        self._end = end

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        if self._end is not None:
            self._end()


@contextmanager
def released_calls(in_force: bool) -> Iterator[None]:
    """Calls as the framework's own classes count them: an initializer repeats its values at every call."""
    if not in_force or settings.call_semantics == "released":
        yield
        return
    with settings.using(call_semantics="released"):
        yield
