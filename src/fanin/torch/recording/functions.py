"""Functions of PyTorch that hide from meta tensors what they do, replaced while somebody records.

The substitutes run only in threads that record; in the others the functions' own code does.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils._python_dispatch import _disable_current_modes

from fanin.torch.exchanged import Substitute, Who, exchange, restore
from fanin.torch.recording.algebra import normal_between
from fanin.torch.recording.draws import draw
from fanin.torch.recording.expressions import Constant, Expression, Geometry, Unit
from fanin.torch.recording.places import is_importing


class Writer(Protocol):
    """What the substitutes ask of a recorder."""

    def put(self, tensor: torch.Tensor, expression: Expression) -> None:
        """Writes to a tensor."""
        ...

    def reduced(self, tensor: torch.Tensor) -> tuple[Any, ...]:
        """How to pickle a tensor, as `__reduce_ex__` gives it."""
        ...

    def remark(self, text: str) -> None:
        """Notes what a recording cannot read."""
        ...


class _Local(threading.local):
    writer: Writer | None = None


_local = _Local()
_lock = threading.Lock()
_recordings: list[Writer] = []
_Substitute = Callable[..., Any]


def _truncated(writer: Writer, tensor: Any, mean: Any, std: Any, a: Any, b: Any, generator: Any = None) -> Any:
    """`torch.nn.init.trunc_normal_`: a normal variable, drawn again while it is outside of the bounds."""
    _noted(writer, generator)
    mean, std, low, high = float(mean), float(std), float(a), float(b)
    shape = tuple(tensor.size())
    if std == 0:
        raise ZeroDivisionError("float division by zero")
    unit = normal_between((low - mean) / std, (high - mean) / std)
    writer.put(tensor, draw(shape, tensor.dtype, unit, std, mean))
    return tensor


def _orthogonal(writer: Writer, tensor: Any, gain: Any = 1, generator: Any = None) -> Any:
    _noted(writer, generator)
    if tensor.dim() < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if tensor.numel():
        writer.put(tensor, draw(tuple(tensor.size()), tensor.dtype, Unit("orthogonal"), float(gain)))
    return tensor


def _sparse(writer: Writer, tensor: Any, sparsity: Any, std: Any = 0.01, generator: Any = None) -> Any:
    _noted(writer, generator)
    if tensor.dim() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    unit = Unit("sparse", (float(sparsity), float(std)))
    writer.put(tensor, draw(tuple(tensor.size()), tensor.dtype, unit))
    return tensor


def _dirac(writer: Writer, tensor: Any, groups: int = 1) -> Any:
    """Ones at the middle of the filters of equal inputs and outputs, all of them at once."""
    if tensor.dim() not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    shape = tuple(tensor.size())
    if shape[0] % groups != 0:
        raise ValueError("dim 0 must be divisible by groups")
    writer.put(tensor, Constant(shape, tensor.dtype, _zero(tensor.dtype)))
    rows = shape[0] // groups
    middle = sum(size // 2 * stride for size, stride in zip(shape[2:], tensor.stride()[2:], strict=True))
    across, along = tensor.stride()[:2]
    for group in range(groups):
        offset = tensor.storage_offset() + group * rows * across + middle
        diagonal = Geometry((min(rows, shape[1]),), (across + along,), offset)
        writer.put(tensor.as_strided(*diagonal), Constant(diagonal.size, tensor.dtype, _zero(tensor.dtype) + 1))
    return tensor


def _zero(dtype: torch.dtype) -> Any:
    return 0.0 if dtype.is_floating_point else 0


def _reduced(writer: Writer, tensor: Any, protocol: int) -> Any:
    return writer.reduced(tensor) if tensor.is_meta else NotImplemented


def _seeded(writer: Writer, *arguments: Any, **keywords: Any) -> torch.Generator:
    """`torch.manual_seed`: nothing draws from PyTorch's generator while a model is recorded."""
    writer.remark("PyTorch's generator is seeded, which has no effect on what is drawn later")
    return torch.default_generator


def _seeded_anew(writer: Writer) -> int:
    """`torch.seed`"""
    return _seeded(writer).initial_seed()


def _python_seeded(writer: Writer, generator: Any, *arguments: Any, **keywords: Any) -> Any:
    """`random.Random.seed`, which its constructor calls."""
    if not is_importing():
        writer.remark("a generator of Python's draws, and what it draws is taken for fixed values")
    return NotImplemented


def _state_set(writer: Writer, state: Any) -> None:
    """`torch.set_rng_state`: nothing changed the state."""


def _noted_rng(seed: Any = None) -> np.random.Generator:
    """`numpy.random.default_rng`, noted."""
    if not is_importing():
        remark("a generator of NumPy's draws, and what it draws is taken for fixed values")
    return _DEFAULT_RNG(seed)


_DEFAULT_RNG = np.random.default_rng


def _noted(writer: Writer, generator: Any) -> None:
    if generator is not None:
        writer.remark("a generator of the code's own draws, which has no effect on what is drawn later")


_INIT = torch.nn.init
_SUBSTITUTES: list[tuple[Any, _Substitute]] = [
    (_INIT._no_grad_trunc_normal_, _truncated),
    (_INIT.orthogonal_, _orthogonal),
    (_INIT.sparse_, _sparse),
    (_INIT.dirac_, _dirac),
    (torch.Tensor._reduce_ex_internal, _reduced),
    (torch.random.manual_seed, _seeded),
    (torch.random.set_rng_state, _state_set),
    (random.Random.seed, _python_seeded),
    (torch.random.seed, _seeded_anew),
]


def _substitute(function: _Substitute) -> Substitute:
    """What is called in a function's place: of a thread that records, the function here."""

    def substitute(*arguments: Any, **keywords: Any) -> Any:
        writer = _local.writer
        if writer is None:
            return NotImplemented
        with _disable_current_modes(), torch._C.DisableTorchFunction():
            return function(writer, *arguments, **keywords)

    return substitute


def remark(text: str) -> None:
    """Notes what this thread's recording cannot read; does nothing if it does not record."""
    if _local.writer is not None:
        _local.writer.remark(text)


def is_recording() -> bool:
    """Whether this thread records."""
    return _local.writer is not None


@contextmanager
def replaced_functions(writer: Writer) -> Iterator[None]:
    """A context in which the functions write to a recorder, in this thread."""
    try:
        with _lock:
            _recordings.append(writer)
            if len(_recordings) == 1:
                _swap()
        _local.writer = writer
        yield
    finally:
        _local.writer = None
        with _lock:
            if writer in _recordings:
                _recordings.remove(writer)
            if not _recordings:
                _restore()


def _swap() -> None:
    for function, ours in _SUBSTITUTES:
        exchange(function, Who.RECORDING, _substitute(ours))
    np.random.default_rng = _noted_rng


def _restore() -> None:
    for function, _ in _SUBSTITUTES:
        restore(function, Who.RECORDING)
    if np.random.default_rng is _noted_rng:
        np.random.default_rng = _DEFAULT_RNG
