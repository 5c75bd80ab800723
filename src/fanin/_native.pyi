"""The native module's calls. Arguments are checked on the Python side."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

_Result = TypeVar("_Result")

KERNELS: dict[str, int]
"""Numbers of the kernels by name, such as "normal/bfloat16"."""
TIERS: dict[str, int]
"""Numbers of the tiers that this machine has, from the plainest to the best."""

class Memory:
    """Writable bytes, 64-byte aligned, on huge pages where they are many."""

    def __init__(self, size: int) -> None: ...

def fill_buffer(
    out: Any,
    tier: int,
    kernel: int,
    key: int,
    counter: int,
    scale: float,
    shift: float,
    minval: int,
    span: int,
    threads: int,
    first_index: int,
    index_strides: Sequence[int],
) -> None:
    """Fills a buffer of any strides with the elements at the flat indices that the index strides say."""

def fill_memory(
    memory: Any,
    tier: int,
    kernel: int,
    key: int,
    counter: int,
    scale: float,
    shift: float,
    minval: int,
    span: int,
    threads: int,
) -> None:
    """Fills all of a `Memory` with a stream from its beginning."""

def undisturbed(function: Callable[..., _Result], *arguments: Any) -> _Result:
    """Calls the function in the default environment of float arithmetic, whatever rounding mode the caller has set."""

def philox(counter_low: int, counter_high: int, key: int, tier: int = -1) -> tuple[int, int, int, int]:
    """One block of Philox4x32-10; a tier makes it by its vectors."""

def set_elements_per_thread(elements: int) -> int:
    """Sets how many elements are worth another thread, for tests; returns what it was."""

def elementary(out: Any, function: int, tier: int) -> None:
    """logf, sinf or cosf (0, 1, 2) of all 2**23 unit floats, by a tier or, as tier -1, by the machine's libm."""
