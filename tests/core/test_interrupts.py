"""Fills that signals stop: where the exception comes from, what has been written, and what is as before."""

import signal
import threading
import time
from functools import partial
from types import FrameType
from typing import Any

import numpy as np
import pytest

import fanin
from fanin._core.interrupts import is_interrupt
from fanin._core.settings import TIERS
from interrupts import SIGNALS, Stopped, handlers, interrupted, stop

# An initializer, a shape, a dtype and a tier that together take a quarter of a second or more, and memory's order.
SLOW: dict[str, tuple[Any, tuple[int, ...], str, str, bool]] = {
    "a vector": (fanin.RandomUniform, (2**27,), "bfloat16", "baseline", False),
    "truncated": (fanin.HeNormal, (2**12, 2**14), "float32", "baseline", False),
    "PyTorch's layout": (fanin.HeNormal, (2**12, 2**14), "float32", "baseline", True),
    "float64": (fanin.RandomNormal, (2**12, 2**13), "float64", "baseline", False),
    "the reference": (fanin.RandomNormal, (2**12, 2**12), "float32", "reference", False),
    "rounded in chunks": (fanin.RandomNormal, (2**12, 2**14), "float8_e5m2", TIERS[-1], False),
    "a constant": (fanin.Ones, (2**27,), "float64", TIERS[-1], False),
}


def marked(shape: tuple[int, ...], dtype: str, transposed: bool) -> Any:
    """An array of bytes 0x55, which no fill of these tests writes at the end."""
    dtype = getattr(__import__("ml_dtypes"), dtype) if dtype.startswith(("bfloat", "float8")) else dtype
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    array = np.full(size, 0x55, np.uint8).view(dtype)
    return array.reshape(shape[::-1]).T if transposed else array.reshape(shape)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", SLOW)
def test_a_signal_ends_a_fill(name: str, threads: int) -> None:
    """The fill ends long before it is done: the last tile is as it was. The handlers are as they were."""
    cls, shape, dtype, tier, transposed = SLOW[name]
    array = marked(shape, dtype, transposed)
    if dtype.startswith("float8"):
        weight = fanin.RandomNormal(seed=1).weight(shape)._replace(stored=array.dtype)
        work = partial(weight.fill, array)
    else:
        initializer = cls() if cls is fanin.Ones else cls(seed=1)
        work = partial(initializer, shape, dtype, out=array)
    with fanin.config.using(threads=threads, tier=tier), handlers():
        for signal_name, kind in SIGNALS.items():
            error, _ = interrupted(work, signal_name, 0.02)
            assert type(error) is kind
            assert array[(-1,) * array.ndim].tobytes() == b"\x55" * array.itemsize


def test_a_handler_that_returns() -> None:
    """It is called while the fill goes on, and the fill has the values of an undisturbed one."""
    calls: list[float] = []
    before = signal.signal(signal.SIGALRM, lambda *_: calls.append(time.perf_counter()))
    expected = fanin.HeNormal(seed=1)((2**12, 2**13))
    out = np.empty_like(expected)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        with fanin.config.using(threads=1, tier="baseline"):
            fanin.HeNormal(seed=1)(out.shape, out=out)
        signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(calls) > 3
    assert out.tobytes() == expected.tobytes()


def test_a_fill_in_another_thread() -> None:
    """Python calls handlers in the main thread: what is filled in another one is filled to the end."""
    out = np.zeros((2**12, 2**13), np.float32)
    with handlers(), fanin.config.using(tier="baseline"):
        thread = threading.Thread(target=lambda: fanin.HeNormal(seed=1)(out.shape, out=out))
        thread.start()
        error, _ = interrupted(lambda: time.sleep(1), "INT", 0.02)
        assert thread.is_alive()
        thread.join()
    assert isinstance(error, KeyboardInterrupt)
    assert out.tobytes() == fanin.HeNormal(seed=1)(out.shape).tobytes()


def test_an_interrupted_call_does_not_count() -> None:
    """The call after it has its values."""
    expected = fanin.HeNormal(seed=1)((40, 50))
    initializer = fanin.HeNormal(seed=1)
    with handlers(), fanin.config.using(threads=1, tier="baseline"):
        error, _ = interrupted(lambda: initializer((2**12, 2**15)), "INT", 0.05)
    assert isinstance(error, KeyboardInterrupt)
    assert initializer((40, 50)).tobytes() == expected.tobytes()


def raised_for_another() -> None:
    """Raises an error of its own for that of a handler."""
    try:
        signal.raise_signal(signal.SIGALRM)
    except Stopped:
        raise ValueError("another") from None


class Handler:
    """Handlers as methods and objects."""

    def method(self, number: int, frame: FrameType | None) -> None:
        """Raises."""
        raise Stopped

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Raises."""
        raise Stopped


@pytest.mark.parametrize(
    "handler",
    [stop, Handler().method, Handler(), partial(lambda _, *arguments: stop(*arguments), 1)],
    ids=["function", "method", "object", "partial"],
)
def test_exceptions_of_handlers(handler: Any) -> None:
    """They are told from others, also where other code has made another exception of them."""
    before = signal.signal(signal.SIGALRM, handler)
    try:
        with pytest.raises(Stopped) as caught:
            signal.raise_signal(signal.SIGALRM)
        assert is_interrupt(caught.value)
        with pytest.raises(ValueError, match="another") as caught:
            raised_for_another()
        assert is_interrupt(caught.value)
        with pytest.raises(Stopped) as caught:
            raise Stopped
        assert not is_interrupt(caught.value)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert is_interrupt(KeyboardInterrupt())
    assert is_interrupt(SystemExit())
    assert not is_interrupt(None)
