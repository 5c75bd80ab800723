"""The shared part of the patches of tf_keras and Keras 3: what they do to calls."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from fanin._core.patches import PatchState
from fanin._core.settings import config
from fanin.initializers.configs import stored_value


@contextmanager
def released_calls(in_force: bool) -> Iterator[None]:
    """Makes initializers repeat their values at every call, like the framework's own, if a patch is in force."""
    if not in_force or config.call_semantics == "released":
        yield
        return
    with config.using(call_semantics="released"):
        yield


def is_array_constant(arguments: Mapping[str, Any]) -> bool:
    """Whether the arguments of a Constant have an array for its value, which the frameworks take and fanin does not."""
    return np.ndim(stored_value("value", arguments.get("value", 0))) > 0


def scalars_from_config(carrier: Any, theirs: Any, state: PatchState) -> Any:
    """`from_config` of the class for Constant. Under a patch, it leaves arrays to the framework's own class."""

    def from_config(cls: Any, config: Mapping[str, Any]) -> Any:
        """An initializer from the result of `get_config`."""
        if state.in_force and is_array_constant(config):
            return theirs.from_config(config)
        return carrier.from_config.__func__(cls, config)

    return classmethod(from_config)


class NamedClasses:
    """The framework's own classes, which a script may name itself, and their calls under a patch.

    While the patch is in force, an object of exactly such a class (not of a class derived from it) returns what fanin's
    class of the same name returns. This concerns objects that were made before, too.

    Args:
        classes: fanin's class for each class of the framework's.
        arguments: a function that returns the arguments of an object of such a class.
        decorate: a decorator for the calls.
    """

    def __init__(
        self,
        classes: Mapping[type, Any],
        arguments: Callable[[Any], dict[str, Any]],
        decorate: Callable[[Any], Any],
    ) -> None:
        self._classes, self._arguments, self._decorate = classes, arguments, decorate
        self._calls = {owner: vars(owner)["__call__"] for owner in map(_owner_of_call, classes)}
        self._companions: weakref.WeakKeyDictionary[Any, tuple[dict[str, Any], Any]] = weakref.WeakKeyDictionary()

    def replace(self) -> None:
        """Makes the calls return fanin's values."""
        for owner, call in self._calls.items():
            owner.__call__ = self._decorate(self._replaced(call))  # pyright: ignore[reportAttributeAccessIssue]

    def restore(self) -> None:
        """Gives the classes their own calls back."""
        for owner, call in self._calls.items():
            owner.__call__ = call  # pyright: ignore[reportAttributeAccessIssue]
        self._companions.clear()

    def _replaced(self, call: Any) -> Any:
        @functools.wraps(call)
        def replaced(itself: Any, *args: Any, **kwargs: Any) -> Any:
            companion = self._companion(itself)
            return call(itself, *args, **kwargs) if companion is None else companion(*args, **kwargs)

        return replaced

    def _companion(self, itself: Any) -> Any:
        """fanin's object in place of one of the framework's, kept for the seed that it draws if it has none."""
        ours = self._classes.get(type(itself))
        arguments = {} if ours is None else self._arguments(itself)
        if ours is None or is_array_constant(arguments):
            return None
        kept, companion = self._companions.get(itself, (None, None))
        if kept != arguments:  # the first call, or one after an attribute has been assigned
            companion = ours.from_config(arguments)
            self._companions[itself] = arguments, companion
        return companion


def _owner_of_call(cls: type) -> type:
    return next(each for each in cls.__mro__ if "__call__" in vars(each))
