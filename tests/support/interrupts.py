"""Interrupts for tests: real signals at any time, and exceptions at every place where Python looks for signals."""

from __future__ import annotations

import dis
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any


class Stopped(Exception):  # noqa: N818 (it is no error of the code that it ends)
    """What the handlers of these tests raise: like a TimeoutError, an ordinary exception."""


def stop(number: int, frame: FrameType | None) -> None:
    """A handler that raises."""
    raise Stopped(signal.Signals(number).name)


SIGNALS = {"INT": KeyboardInterrupt, "ALRM": Stopped, "TERM": Stopped}


@contextmanager
def handlers() -> Iterator[None]:
    """Handlers that raise, for all of `SIGNALS`; those before are in force again afterwards.

    What a handler raises within a finalizer is lost, as Python has it, and pytest is not to report it.
    """
    own = {signal.SIGINT: signal.default_int_handler, signal.SIGALRM: stop, signal.SIGTERM: stop}
    before = {number: signal.signal(number, handler) for number, handler in own.items()}
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        yield
        assert {number: signal.getsignal(number) for number in own} == own
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook


def interrupted(work: Callable[[], object], name: str, *delays: float) -> tuple[BaseException | None, float]:
    """Sends this process a signal after some time, or several, while it works in the main thread.

    Args:
        work: the work.
        name: the signal, without SIG. ALRM comes from the operating system's timer, others from another thread.
        *delays: the seconds until each of the signals; for ALRM, only one.

    Returns:
        The exception that ended the work, None if it was done before, and the seconds that this took from the signal.
    """
    sent: list[float] = []
    done = threading.Event()

    def send() -> None:
        for delay, before in zip(delays, (0.0, *delays), strict=False):
            time.sleep(delay - before)
            sent.append(time.perf_counter())
            os.kill(os.getpid(), getattr(signal, f"SIG{name}"))
        done.set()

    thread = threading.Thread(target=send)
    error = None
    ended = 0.0
    try:
        try:
            if name == "ALRM":
                sent.append(time.perf_counter() + delays[0])
                signal.setitimer(signal.ITIMER_REAL, delays[0])
            else:
                thread.start()
            work()
        except (KeyboardInterrupt, Stopped) as caught:
            error, ended = caught, time.perf_counter()
        # A signal that comes after the work must not disturb the test.
        if name != "ALRM":
            done.wait()
        elif error is None:
            time.sleep(max(0.0, sent[0] - time.perf_counter()) + 0.05)
    except (KeyboardInterrupt, Stopped):
        pass
    finished = False
    while not finished:
        with suppress(KeyboardInterrupt, Stopped):
            while thread.is_alive():
                thread.join()
            finished = True
    return error, ended - sent[0] if error is not None else 0.0


# CPython looks for signals after calls, at the beginning of functions, and at jumps back.
_CHECKED = ("CALL", "RESUME", "JUMP_BACKWARD")
_opcodes: dict[Any, dict[int, bool]] = {}


def _is_checked(frame: FrameType, offset: int) -> bool:
    code = frame.f_code
    if code not in _opcodes:
        _opcodes[code] = {each.offset: each.opname.startswith(_CHECKED) for each in dis.get_instructions(code)}
    return _opcodes[code].get(offset, False)


def interrupted_at(work: Callable[[], object], place: int, is_wanted: Callable[[str], bool]) -> Stopped | None:
    """Raises `Stopped` at the given one of the places of some modules where CPython looks for signals.

    Args:
        work: the work.
        place: the number of the place, in the order of time.
        is_wanted: whether places in a module of this name count.

    Returns:
        The exception, or None if the work has fewer places.
    """
    seen = 0
    last: dict[FrameType, int] = {}

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal seen
        if not is_wanted(frame.f_globals.get("__name__", "")):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            was_checked = _is_checked(frame, last.get(frame, -1))
            last[frame] = frame.f_lasti
            if was_checked:
                seen += 1
                if seen == place + 1:
                    raise Stopped  # which also ends the tracing
        return trace

    sys.settrace(trace)
    try:
        work()
    except Stopped as error:
        return error
    finally:
        sys.settrace(None)
    return None
