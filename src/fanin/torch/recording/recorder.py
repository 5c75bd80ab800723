"""The recorder: a model's code runs, its tensors stay on meta, and what it writes to them is followed."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules import module as nn_module
from torch.utils._python_dispatch import _disable_current_modes

from fanin.torch.recording.disguise import CPU, Disguise
from fanin.torch.recording.dispatch import Dispatch
from fanin.torch.recording.expressions import Expression, Geometry, Operation, Seen, Table, Values
from fanin.torch.recording.functions import is_recording, replaced_functions
from fanin.torch.recording.memory import Memory
from fanin.torch.recording.places import check_plain_tensors
from fanin.torch.recording.randomness import Globals
from fanin.torch.recording.tensors import Tensors


class Recorder(Tensors):
    """What the code of a recording wrote, and what its tensors answer.

    Attributes:
        notes: the randomness that cannot be read, once for each place in the code.
    """

    def __init__(self) -> None:
        super().__init__()
        self._addresses: dict[int, tuple[int, Memory]] = {}
        self._pickled: list[tuple[torch.Tensor, Expression]] = []
        self._globals = Globals()
        self._foreign: dict[int, weakref.ref[nn.Parameter]] = {}  # parameters that other threads made meanwhile

    def read(self, tensor: torch.Tensor) -> Expression:
        """What a tensor has, now: of one that was made outside, its values.

        Args:
            tensor: a tensor on meta that the recorded code made, or any other one.
        """
        foreign = self._foreign.get(id(tensor))
        if foreign is not None and foreign() is tensor:
            self.remark("another thread made a parameter, whose random numbers are taken for fixed values")
        with _disable_current_modes(), torch._C.DisableTorchFunction():
            return self.expression_of(tensor)

    @contextmanager
    def noting_threads(self) -> Iterator[None]:
        """A context in which parameters that other threads make are noted."""
        mine = threading.get_ident()

        def note(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
            if threading.get_ident() != mine and parameter is not None:
                self._foreign[id(parameter)] = weakref.ref(parameter)

        handle = nn_module.register_module_parameter_registration_hook(note)
        try:
            yield
        finally:
            handle.remove()

    # Answers of the disguise

    def device_of(self, tensor: torch.Tensor) -> torch.device:
        """The device that the code asked for."""
        with torch._C.DisableTorchFunction():
            memory = None if nn.parameter.is_lazy(tensor) else self.known(tensor)
        return CPU if memory is None or memory.device is None else memory.device

    def asked(self, tensor: torch.Tensor, question: str) -> torch.Tensor:
        """The values of a tensor, which the caller may change.

        Args:
            tensor: the tensor.
            question: the name of the method that asks.

        Raises:
            RecordingError: They are random, or nothing was written.
        """
        with _disable_current_modes(), torch._C.DisableTorchFunction():
            expression = self.expression_of(tensor)
            values = self.computed(expression, question).detach().clone()
            if isinstance(expression, (Operation, Seen)) and not expression.is_drawn:
                self.put(tensor, Table.of(values.clone()))  # so that the next question needs no computation
            return values

    def lent(self, tensor: torch.Tensor) -> tuple[torch.Tensor, bool]:
        """The values of a tensor for NumPy, and whether what NumPy writes there counts.

        Raises:
            RecordingError: They are random, or nothing was written.
        """
        with _disable_current_modes(), torch._C.DisableTorchFunction():
            memory = self.memory_of(tensor)
            shared = memory.shared()
            if shared is None or tensor.is_conj() or tensor.is_neg():
                return self.asked(tensor, "numpy"), False
            elements = shared if shared.dtype == tensor.dtype else shared.view(tensor.dtype)
            return elements.as_strided(*Geometry.of(tensor)), True

    def described(self, tensor: torch.Tensor) -> torch.Tensor | str:
        """The values of a tensor, or what they are in words."""
        with _disable_current_modes(), torch._C.DisableTorchFunction():
            expression = self.expression_of(tensor)
            if not expression.is_drawn and expression.is_written:
                return Values().of(expression)
        what = "drawn" if expression.is_drawn else "not written"
        return f"tensor(<{what}>, size={tuple(tensor.shape)}, dtype={tensor.dtype})"

    def moved_in(self, tensor: torch.Tensor) -> torch.Tensor:
        """A meta tensor in place of one with memory of its own."""
        with _disable_current_modes(), torch._C.DisableTorchFunction():
            return self.on_meta(tensor)

    def address_of(self, tensor: torch.Tensor) -> int:
        """A number that tells the tensor's first element from all others."""
        memory = self.memory_of(tensor)
        number, _ = self._addresses.setdefault(id(memory), (len(self._addresses) + 1, memory))
        return (number << 44) + int(tensor.storage_offset()) * tensor.element_size()

    def reduced(self, tensor: torch.Tensor) -> tuple[object, ...]:
        """How to pickle a tensor within this process: by what it has now."""
        number = len(self._pickled)
        self._pickled.append((tensor.detach(), self.expression_of(tensor)))
        return _unpickled, (id(self), number, tensor.requires_grad)

    def unpickled(self, number: int, requires_grad: bool) -> torch.Tensor:
        """A copy of a tensor that was pickled."""
        tensor, expression = self._pickled[number]
        with _disable_current_modes(), torch._C.DisableTorchFunction():
            copy = torch.empty_like(tensor)
            self.put(copy, expression)
        return copy.requires_grad_(requires_grad)

    def values_came_in(self) -> None:
        """Notes whether NumPy's or Python's generator was used since the last time."""
        for whose in self._globals.used():
            here = "" if threading.active_count() == 1 else ", here or in another thread"
            self.remark(f"{whose} generator draws{here}, and what it drew is taken for fixed values")

    def close(self) -> None:
        """Puts back what is global."""
        is_alone = threading.active_count() == 1
        if is_alone:
            self.values_came_in()
        if self._globals.restore(draws=is_alone):  # otherwise others may have drawn
            self.remark("PyTorch's generator is seeded, which has no effect on what is drawn later")


_recorders: weakref.WeakValueDictionary[int, Recorder] = weakref.WeakValueDictionary()


def _unpickled(recorder: int, number: int, requires_grad: bool) -> torch.Tensor:
    return _recorders[recorder].unpickled(number, requires_grad)


@contextmanager
def watching() -> Iterator[Recorder]:
    """A context in which tensors are made on meta and what is written to them is recorded, in this thread.

    Returns:
        The recorder, which may be asked within the context and after it.

    Raises:
        RuntimeError: This thread records already, or makes fake tensors.
    """
    if is_recording():
        raise RuntimeError("A recording must not begin within another one. Received: one that this thread has begun.")
    check_plain_tensors()
    recorder = Recorder()
    _recorders[id(recorder)] = recorder
    try:
        with replaced_functions(recorder), recorder.noting_threads(), Disguise(recorder), Dispatch(recorder):
            yield recorder
    finally:
        recorder.close()
