"""The memories of a recording's tensors, and what the modes read there and write."""

from __future__ import annotations

import weakref
from functools import partial
from typing import Any

import torch

from fanin.torch.recording.algebra import result
from fanin.torch.recording.disguise import META
from fanin.torch.recording.expressions import Expression, Geometry, Size, Table, Values
from fanin.torch.recording.memory import Memory
from fanin.torch.recording.operators import operator_of
from fanin.torch.recording.places import Note, is_library_code, note, refusal
from fanin.torch.recording.sampling import can_be_sampled, sampled

ADVICE = (
    "Compute it from what does not depend on drawn weights, or initialize this module without recording: by a recipe, "
    "or by its own code."
)


# What was written to each storage, by its address, while it lives. Later recordings know the tensors of earlier ones.
_memories: dict[int, Memory] = {}


class Tensors:
    """What is known of the tensors of a recording. No mode is on while its methods run.

    Attributes:
        notes: the randomness that cannot be read, once for each place in the code.
    """

    def __init__(self) -> None:
        self.notes: list[Note] = []

    def knows(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor's storage was made or written to in the recording."""
        return self.known(tensor) is not None

    def known(self, tensor: torch.Tensor) -> Memory | None:
        """What was written to a tensor's storage, if it was made or written to in a recording."""
        return None if has_no_storage(tensor) else _memories.get(tensor.untyped_storage()._cdata)

    def memory_of(self, tensor: torch.Tensor) -> Memory:
        """What was written to a tensor's storage."""
        storage = tensor.untyped_storage()
        memory = _memories.get(storage._cdata)
        if memory is None:
            memory = Memory(_length(tensor), tensor.dtype) if tensor.is_meta else Memory.outside(_elements(tensor))
            self._remember(storage, memory)
        return memory

    def _remember(self, storage: Any, memory: Memory) -> None:
        """Knows a storage until it dies."""
        key = storage._cdata
        _memories[key] = memory
        memory.owners.append(weakref.ref(storage, partial(_memories.pop, key)))

    def expression_of(self, tensor: torch.Tensor) -> Expression:
        """What a tensor has."""
        if has_no_storage(tensor):
            return Table.of(tensor)
        found = self.memory_of(tensor).read(Geometry.of(tensor), tensor.dtype)
        if tensor.is_conj():
            found = _applied(torch.ops.aten._conj_physical.default, found)
        return _applied(torch.ops.aten.neg.default, found) if tensor.is_neg() else found

    def values_of(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """The values of a tensor, for an operator to read at once; None if they are drawn, large or missing."""
        if has_no_storage(tensor):
            return tensor
        values = self.memory_of(tensor).values(Geometry.of(tensor), tensor.dtype)
        if values is not None and tensor.is_conj():
            values = values.conj()
        return torch.ops.aten._neg_view(values) if values is not None and tensor.is_neg() else values

    def put(self, tensor: torch.Tensor, expression: Expression) -> None:
        """Writes to a tensor."""
        if has_no_storage(tensor):
            raise refusal(
                "What is drawn must be in plain tensors.",
                f"a tensor of layout {tensor.layout}",
                "Make it sparse or quantized after the recording.",
            )
        self.memory_of(tensor).write(Geometry.of(tensor), tensor.dtype, expression)

    def made(self, shape: Size, stride: Size, dtype: torch.dtype, expression: Expression) -> torch.Tensor:
        """A new tensor with values."""
        tensor = torch.empty_strided(shape, stride, dtype=dtype, device=META)
        self.put(tensor, expression)
        return tensor

    def share(self, tensor: torch.Tensor) -> None:
        """Has what is written to a tensor go to its memory, which NumPy has, too."""
        self._remember(tensor.untyped_storage(), Memory.outside(_elements(tensor), is_shared=True))

    def on_meta(self, tensor: torch.Tensor) -> torch.Tensor:
        """A meta tensor in place of one with memory of its own: what is written to one is written to both."""
        if tensor.is_meta or has_no_storage(tensor):
            return tensor
        memory = self.memory_of(tensor)
        flat = torch.empty(_length(tensor), dtype=tensor.dtype, device=META)
        self._remember(flat.untyped_storage(), memory)
        return flat.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())

    def computed(self, expression: Expression, question: str) -> torch.Tensor:
        """The values of an expression, which the caller must not change; samples, if PyTorch's own modules ask.

        Args:
            expression: the expression.
            question: the name of the operator or the method that asks.

        Raises:
            RecordingError: They are random, or nothing was written.
        """
        if expression.is_drawn and is_library_code() and can_be_sampled(expression):
            return sampled(expression)
        if expression.is_drawn:
            self.remark(f"the code asked for {question} of drawn values, which was refused")
            raise refusal(
                "While a model is recorded, nothing is drawn, so its code must not depend on drawn values.",
                f"{question} of drawn values of shape {list(expression.shape)}",
                ADVICE,
            )
        if not expression.is_written:
            raise refusal(
                "A model's code must not depend on memory that nothing was written to.",
                f"{question} of such memory of shape {list(expression.shape)}",
                "Initialize it first.",
            )
        return Values().of(expression)

    def values_came_in(self) -> None:
        """Called when the code makes a tensor from values of its own."""

    def remark(self, text: str) -> None:
        """Notes what a recording cannot read."""
        found = note(text)
        if found not in self.notes:
            self.notes.append(found)


def has_no_storage(tensor: torch.Tensor) -> bool:
    """Whether a tensor is sparse or quantized: such a one is never on meta, and it is computed at once."""
    return tensor.layout != torch.strided or tensor.is_quantized


def _length(tensor: torch.Tensor) -> int:
    """The number of elements of a tensor's storage."""
    return tensor.untyped_storage().nbytes() // tensor.element_size()


def _elements(tensor: torch.Tensor) -> torch.Tensor:
    """All elements of a tensor's storage in a row."""
    return tensor.detach().as_strided((_length(tensor),), (1,), 0)


def _applied(function: Any, expression: Expression) -> Expression:
    """A pointwise operator of one argument."""
    return result(operator_of(function), (expression,), {}, expression.shape, expression.dtype)
