"""The shared part of the patches of tf_keras and Keras 3: state, context manager and call semantics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fanin._core.settings import config


class PatchState:
    """Whether a framework's names refer to fanin's classes at present."""

    in_force = False


class InForce:
    """The context manager that `patch` returns. It ends the patch, unless the patch was in force before."""

    def __init__(self, end: Callable[[], None] | None) -> None:
        self._end = end

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        if self._end is not None:
            self._end()


@contextmanager
def released_calls(in_force: bool) -> Iterator[None]:
    """Makes initializers repeat their values at every call, like the framework's own, if a patch is in force."""
    if not in_force or config.call_semantics == "released":
        yield
        return
    with config.using(call_semantics="released"):
        yield
