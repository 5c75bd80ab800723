"""Patches of other libraries: when they are in force, for how long, and for whom."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")


class PatchState:
    """Whether a library's names refer to what fanin has in their place, at present."""

    in_force = False


class Patch:
    """A patch of one library, which is in force while at least one `Hold` has it.

    Args:
        state: what the classes or functions that take part look at.
        install: a function that makes the library use fanin.
        remove: a function that undoes this.
    """

    def __init__(self, state: PatchState, install: Callable[[], None], remove: Callable[[], None]) -> None:
        self._state, self._install, self._remove = state, install, remove
        self._holds: set[Hold] = set()
        self._lock = threading.RLock()  # a signal's handler may come here while its thread does

    def hold(self) -> Hold:
        """Puts the patch in force, unless it is, until what is returned lets go."""
        hold = Hold(self)
        with self._lock:
            if not self._state.in_force:
                self._state.in_force = True  # first: after an interrupt, letting go undoes what was done
                try:
                    self._install()
                except BaseException:
                    self._remove()
                    self._state.in_force = False
                    raise
            self._holds.add(hold)
        return hold

    def let_go(self, *holds: Hold) -> None:
        """Ends holds, by default all, and the patch with the last of them."""
        with self._lock:
            self._holds -= set(holds) if holds else self._holds
            if self._state.in_force and not self._holds:
                self._remove()
                self._state.in_force = False


class Hold:
    """A use of a patch, which `patch` returns: a context manager, or a decorator."""

    def __init__(self, patch: Patch) -> None:
        self._patch = patch

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._patch.let_go(self)

    def __call__(self, function: Callable[_P, _R]) -> Callable[_P, _R]:
        """The function, with the patch in force during each of its calls, and not before.

        Raises:
            TypeError: the argument is no function, or one whose code runs after the call (a generator, a coroutine).
        """
        self._patch.let_go(self)
        later = (inspect.isgeneratorfunction, inspect.iscoroutinefunction, inspect.isasyncgenfunction)
        if not callable(function) or isinstance(function, type) or any(is_one(function) for is_one in later):
            raise TypeError(
                "`patch()` decorates functions whose code runs while they are called, not classes, generators or "
                f"coroutines. Received: {function!r}. Write `with patch():` within it."
            )

        @functools.wraps(function)
        def patched(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            with self._patch.hold():
                return function(*args, **kwargs)

        return patched
