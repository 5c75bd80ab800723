"""The functions of the native module. Arguments are checked on the Python side."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

_Result = TypeVar("_Result")

KERNELS: dict[str, int]
"""The numbers of the kernels by name, such as "normal/bfloat16"; "normal/float32/bfloat16" is float32 rounded once."""
TIERS: dict[str, int]
"""The numbers of the tiers that this machine supports, from the plainest to the best."""

class Memory:
    """Writable bytes, aligned to 64 bytes, or to huge pages if there are many."""

    def __init__(self, size: int) -> None: ...

def fill_buffer(
    out: Any,
    tier: int,
    kernel: int,
    key: int,
    counter: int,
    scale: float,
    origin: float,
    minval: int,
    span: int,
    threads: int,
    first_index: int,
    index_strides: Sequence[int],
    interval: Sequence[float] = ...,
) -> None:
    """Fills a buffer of any strides with the elements at the flat indices that the index strides describe.

    In the main thread, an exception of a signal's handler ends the fill, here and in `fill_memory`.
    """

def fill_memory(
    memory: Any,
    tier: int,
    kernel: int,
    key: int,
    counter: int,
    scale: float,
    origin: float,
    minval: int,
    span: int,
    threads: int,
    interval: Sequence[float] = ...,
) -> None:
    """Fills all of a `Memory` with a stream from its beginning."""

def undisturbed(function: Callable[..., _Result], *arguments: Any) -> _Result:
    """Calls a function in the default floating-point environment, whatever rounding mode the caller has set."""

def call_all(functions: Sequence[Callable[[], object]]) -> None:
    """Calls each function. If all are built in, no signal's handler runs before the last of them has returned."""

def noted(notes: list[str], function: Callable[..., _Result], *arguments: Any) -> _Result:
    """Calls a function. An exception that comes out of it gets the notes that are in the list by then.

    No signal's handler runs in between, so the exception has them, whatever comes.
    """

def philox(counter_low: int, counter_high: int, key: int, tier: int = -1) -> tuple[int, int, int, int]:
    """One block of Philox4x32-10, computed by a tier's vector code if a tier is given."""

def set_elements_per_thread(elements: int) -> int:
    """Sets how many elements justify another thread, for tests. Returns the previous number."""

def elementary(out: Any, function: int, tier: int) -> None:
    """logf, sinf or cosf (0, 1, 2) of all 2**23 unit floats, by a tier or, for tier -1, by the machine's libm."""

def elementary_64(arguments: Any, out: Any, function: int, tier: int) -> None:
    """log, sin or cos of doubles in (0, 1) or [0, 2 pi], by a tier or, for tier -1, by libm (its log and sincos)."""
