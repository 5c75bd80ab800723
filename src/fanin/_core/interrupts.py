"""Exceptions that come from outside of the code that they end: from the handlers of signals.

Fanin runs code of others in places, and takes an error of it for an answer. An interrupt is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import CodeType, FunctionType, MethodType, TracebackType
from typing import Any


def is_interrupt(error: BaseException | None) -> bool:
    """Whether an exception, or one that it came of, was raised by a signal's handler, or is meant to end the program.

    Python calls handlers between any two instructions of the main thread, so their exceptions come from any code.

    >>> from fanin._core.interrupts import is_interrupt
    >>> is_interrupt(KeyboardInterrupt()), is_interrupt(TimeoutError())
    (True, False)
    """
    codes: set[CodeType] | None = None
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if not isinstance(error, Exception):
            return True
        codes = set(_handlers()) if codes is None else codes
        if not codes.isdisjoint(_codes(error.__traceback__)):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def _handlers() -> Iterator[CodeType]:
    """The code of the handlers that are in force and written in Python."""
    import signal  # only needed where something has been raised

    for number in signal.valid_signals():
        handler: Any = signal.getsignal(number)
        while isinstance(handler, partial):
            handler = handler.func
        if not isinstance(handler, (FunctionType, MethodType)):  # an object's own method, none of a metaclass
            handler = next((vars(cls)["__call__"] for cls in type(handler).__mro__ if "__call__" in vars(cls)), None)
        if isinstance(handler, MethodType):
            handler = handler.__func__
        if isinstance(handler, FunctionType):
            yield handler.__code__


def _codes(traceback: TracebackType | None) -> Iterator[CodeType]:
    while traceback is not None:
        yield traceback.tb_frame.f_code
        traceback = traceback.tb_next
