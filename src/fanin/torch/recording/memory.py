"""What a model's code wrote into a storage, as far as later code or a reader can see it."""

from __future__ import annotations

import math
import weakref
from typing import Any

import torch

from fanin.torch.recording.expressions import (
    Constant,
    Draw,
    Expression,
    Geometry,
    Seen,
    Table,
    Unwritten,
    Values,
    Write,
)
from fanin.torch.recording.geometry import UNCOVERED, are_apart, covers, is_dense, runs, same_walk, visible, whole

# Tensors of at most so many elements, which PyTorch computes in one thread, are computed at once, larger ones when
# somebody asks.
SMALL = 2**15
_MANY_WRITES = 512
_LARGEST_MERGED = 2**26  # elements


def settled(values: torch.Tensor) -> Expression:
    """The expression of values that nobody else writes to: a constant if they are all the same."""
    shape, dtype = tuple(values.shape), values.dtype
    if not values.numel():
        return Constant(shape, dtype, 0)
    first = values[(0,) * values.dim()]
    if values.numel() == 1 or (values.numel() <= SMALL and _are_equal(values, first)):
        return Constant(shape, dtype, first.item())
    return Table.of(values)


def _are_equal(values: torch.Tensor, first: torch.Tensor) -> bool:
    """Whether all bytes repeat those of the first value: 0.0 and -0.0 are different values."""
    if bool(values[(-1,) * values.dim()] != first) or not bool((values == first).all()):
        return False
    return bool(first != 0) or values.dtype == torch.bool or bool((values.signbit() == first.signbit()).all())


class Memory:
    """A storage: what was written where.

    Deterministic values of a small storage are kept as they are; of others, the expressions that were written.

    Attributes:
        length: the number of its elements.
        dtype: the dtype that they were written in.
        device: the device that the code asked for.
        owners: the storages, weakly: usually one.
    """

    def __init__(self, length: int, dtype: torch.dtype, device: torch.device | None = None) -> None:
        self.length: int = length
        self.dtype: torch.dtype = dtype
        self.device: torch.device | None = device
        self.owners: list[weakref.ref[Any]] = []
        self._writes: list[Write] = []
        self._values: torch.Tensor | None = None  # the elements in a row, if they are all of what was written
        self._known: torch.Tensor | None = None  # which of them were written; None if all
        self._is_lent = False  # whether an expression has the memory of the values
        self._outside: torch.Tensor | None = None  # the elements of memory that others may write to
        self._is_shared = False  # whether others see what is written to that memory

    @classmethod
    def outside(cls, elements: torch.Tensor, *, is_shared: bool = False) -> Memory:
        """Memory with values of its own, which may change as long as the recorded code does not write to it.

        Args:
            elements: all of them, in a row.
            is_shared: whether fixed values that are written go to that memory, too, as NumPy's.
        """
        memory = cls(elements.numel(), elements.dtype, elements.device)
        memory._outside, memory._is_shared = elements, is_shared
        return memory

    def shared(self) -> torch.Tensor | None:
        """The elements in a row, for others to read and write; None if they are drawn, too many, or not all written."""
        if self._outside is None or not self._is_shared:
            if self.length > _LARGEST_MERGED:
                return None
            everything = self.read(whole(self.length), self.dtype)
            if everything.is_drawn or not everything.is_written:
                return None
            self._outside, self._is_shared = Values().of(everything).clone(), True
            self._values, self._known, self._writes = None, None, []
        return self._outside

    # What can be seen

    def read(self, geometry: Geometry, dtype: torch.dtype) -> Expression:
        """What a tensor has, now."""
        if 0 in geometry.size:
            return Constant(geometry.size, dtype, 0)
        self._look_outside()
        if self._values is not None:
            return self._read_values(geometry, dtype)
        if dtype != self.dtype:
            return self._read_as(geometry, dtype)
        for write in reversed(self._writes):
            if are_apart(write.geometry, geometry):
                continue
            if not covers(write.geometry, geometry):
                break
            return _seen_of(write, geometry, self.length)
        return self._read_several(geometry)

    def _read_several(self, geometry: Geometry) -> Expression:
        shown = [write for write in self._writes if not are_apart(write.geometry, geometry)]
        numbers = visible(shown, geometry, self.length)
        writes = [shown[number] for number in numbers if number != UNCOVERED]
        if not writes:
            return Unwritten(geometry.size, self.dtype)
        if len(writes) == 1 and UNCOVERED not in numbers:
            return _seen_of(writes[0], geometry, self.length)
        if UNCOVERED in numbers:
            writes.insert(0, Write(whole(self.length), Unwritten((self.length,), self.dtype)))
        return _evaluated(Seen(geometry.size, self.dtype, geometry, tuple(writes), self.length, self.dtype))

    def _read_as(self, geometry: Geometry, dtype: torch.dtype) -> Expression:
        """What a tensor of another dtype has."""
        if not self._writes:
            return Unwritten(geometry.size, dtype)
        all_of_it = self._read_several(whole(self.length))
        writes = all_of_it.writes if isinstance(all_of_it, Seen) else (Write(whole(self.length), all_of_it),)
        return _evaluated(Seen(geometry.size, dtype, geometry, writes, self.length, self.dtype))

    def _read_values(self, geometry: Geometry, dtype: torch.dtype) -> Expression:
        if not self._is_known(geometry, dtype):
            self._spread()
            return self.read(geometry, dtype)
        found = settled(_viewed(self._values, geometry, dtype))
        self._is_lent |= isinstance(found, Table)
        return found

    def values(self, geometry: Geometry, dtype: torch.dtype) -> torch.Tensor | None:
        """The values of a tensor, for the caller to read at once; None if they are drawn, large or missing."""
        if math.prod(geometry.size) > SMALL:
            return None
        if self._values is None and self._outside is None and dtype == self.dtype:
            for write in reversed(self._writes):
                if are_apart(write.geometry, geometry):
                    continue
                if isinstance(write.expression, Constant) and covers(write.geometry, geometry):
                    full = torch.empty_strided(geometry.size, geometry.stride, dtype=dtype)
                    return full.fill_(write.expression.value)
                if isinstance(write.expression, Table) and write.geometry == geometry:
                    return write.expression.values
                break
        if self._outside is not None and self._is_shared:
            return _viewed(self._outside, geometry, dtype)
        self._look_outside()
        if (self._values is None and not self._writes) or not self._gather():
            return None
        return _viewed(self._values, geometry, dtype) if self._is_known(geometry, dtype) else None

    def writable(self, geometry: Geometry, dtype: torch.dtype) -> torch.Tensor | None:
        """A view of the values, for an operator that changes them in place; None as for `values`."""
        if self.values(geometry, dtype) is None:
            return None
        if self._outside is not None and self._is_shared:
            return _viewed(self._outside, geometry, dtype)
        if not self._gather():
            return None
        self._part_from_outside()
        self._unlend()
        return _viewed(self._values, geometry, dtype)

    # What is written

    def write(self, geometry: Geometry, dtype: torch.dtype, expression: Expression) -> None:
        """Writes to the elements that a tensor has."""
        if 0 in geometry.size:
            return
        if self._outside is not None and self._is_shared and not expression.is_drawn and expression.is_written:
            _viewed(self._outside, geometry, dtype).copy_(Values().of(expression).reshape(geometry.size))
            return
        size = math.prod(geometry.size) * dtype.itemsize
        if size == self.length * self.dtype.itemsize and is_dense(geometry):
            self._write_whole(geometry, dtype, expression)
            return
        self._part_from_outside()
        if dtype != self.dtype and not self._writes and self._values is None:
            self._adopt(dtype)
        if isinstance(expression, (Constant, Table)) and self._put(geometry, dtype, expression):
            return
        self._spread()
        if dtype != self.dtype:
            self._adopt(dtype)
        if isinstance(expression, Seen) and self._holds(expression, geometry):
            for write in expression.writes:
                self._lay(write)
        else:
            self._lay(Write(geometry, expression))
        self._merge()

    def _write_whole(self, geometry: Geometry, dtype: torch.dtype, expression: Expression) -> None:
        self.length = self.length * self.dtype.itemsize // dtype.itemsize
        self.dtype = dtype
        self._values = self._known = self._outside = None
        if isinstance(expression, Seen) and self._holds(expression, geometry):
            self._writes = list(expression.writes)
        else:
            self._writes = [Write(geometry, expression)]

    def _holds(self, seen: Seen, geometry: Geometry) -> bool:
        """Whether what was seen in a storage like this one is written to the same elements, and no further."""
        if seen.stored != self.dtype or seen.dtype != self.dtype or seen.length != self.length:
            return False
        if not same_walk(seen.geometry, geometry):
            return False
        return all(covers(geometry, write.geometry) for write in seen.writes)

    def _lay(self, write: Write) -> None:
        """Lays a write over the others, and drops those that it hides."""
        recent = self._writes[-_MANY_WRITES:]
        kept = [each for each in recent if not covers(write.geometry, each.geometry)]
        self._writes[-_MANY_WRITES:] = [*kept, write]

    def _adopt(self, dtype: torch.dtype) -> None:
        """Takes what was written as elements of another dtype."""
        length = self.length * self.dtype.itemsize // dtype.itemsize
        if self._writes:
            self._writes = [Write(whole(length), self._read_as(whole(length), dtype))]
        self.length, self.dtype = length, dtype

    def _merge(self) -> None:
        """Computes what many deterministic writes amount to."""
        if len(self._writes) <= _MANY_WRITES or self.length > _LARGEST_MERGED:
            return
        if any(write.expression.is_drawn or not write.expression.is_written for write in self._writes):
            return
        everything = self._read_several(whole(self.length))
        if everything.is_written:
            self._values, self._known, self._is_lent = Values().of(everything).clone(), None, False
            self._writes = []

    # Values that are kept as they are

    def _put(self, geometry: Geometry, dtype: torch.dtype, expression: Expression) -> bool:
        """Writes values to some of the elements, if this storage keeps values."""
        if not self._gather():
            return False
        self._unlend()
        _viewed(self._values, geometry, dtype).copy_(Values().of(expression))
        if self._known is not None:
            _viewed_mask(self._known, geometry, dtype, self.dtype).fill_(True)
            if bool(self._known.all()):
                self._known = None
        return True

    def _gather(self) -> bool:
        """Turns writes of values into the values; says whether this storage keeps them."""
        if self._values is not None:
            return True
        if self.length > SMALL or not all(isinstance(each.expression, (Constant, Table)) for each in self._writes):
            return False
        values, known = torch.zeros(self.length, dtype=self.dtype), None
        if (
            len(self._writes) != 1
            or not is_dense(self._writes[0].geometry)
            or self._writes[0].expression.size < self.length
        ):
            known = torch.zeros(self.length, dtype=torch.bool)
        for geometry, expression in self._writes:
            values.as_strided(*geometry).copy_(Values().of(expression).reshape(geometry.size))
            if known is not None:
                known.as_strided(*geometry).fill_(True)
        self._values, self._writes, self._is_lent = values, [], False
        self._known = None if known is None or bool(known.all()) else known
        return True

    def _spread(self) -> None:
        """Turns the values into writes of values."""
        if self._values is None:
            return
        values, known = self._values, self._known
        spans = [(0, self.length)] if known is None else runs(known.numpy())
        self._writes = [
            Write(Geometry((stop - start,), (1,), start), settled(values[start:stop])) for start, stop in spans
        ]
        self._values = self._known = None

    def _is_known(self, geometry: Geometry, dtype: torch.dtype) -> bool:
        return self._known is None or bool(_viewed_mask(self._known, geometry, dtype, self.dtype).all())

    def _unlend(self) -> None:
        if self._is_lent and self._values is not None:
            self._values, self._is_lent = self._values.clone(), False

    def _look_outside(self) -> None:
        """Copies the values of memory that is not the recording's, as they are now."""
        if self._outside is not None:
            values = self._outside.detach().to("cpu", copy=True)
            if values.numel() <= SMALL:
                self._values, self._known, self._is_lent = values, None, False
            else:
                self._writes = [Write(whole(self.length), Table.of(values))]

    def _part_from_outside(self) -> None:
        """Goes on with a copy of the values, before the code writes to them."""
        self._look_outside()
        self._outside = None


def _viewed(values: torch.Tensor | None, geometry: Geometry, dtype: torch.dtype) -> torch.Tensor:
    assert values is not None
    return (values if values.dtype == dtype else values.view(dtype)).as_strided(*geometry)


def _viewed_mask(known: torch.Tensor, geometry: Geometry, dtype: torch.dtype, stored: torch.dtype) -> torch.Tensor:
    """The marks of the elements of a tensor, all of them if it is of another dtype."""
    return known.as_strided(*geometry) if dtype == stored else known


def _seen_of(write: Write, geometry: Geometry, length: int) -> Expression:
    """What a tensor shows of one write, which has all of its elements."""
    expression = write.expression
    if isinstance(expression, Constant):
        return Constant(geometry.size, expression.dtype, expression.value)
    if isinstance(expression, Unwritten):
        return Unwritten(geometry.size, expression.dtype, expression.reason)
    if same_walk(write.geometry, geometry):
        if expression.shape == geometry.size:
            return expression
        if isinstance(expression, Draw):
            return Draw(geometry.size, expression.dtype, expression.source, expression.scale, expression.origin)
    return _evaluated(Seen(geometry.size, expression.dtype, geometry, (write,), length, expression.dtype))


def _evaluated(seen: Seen) -> Expression:
    """What was seen, computed if that is deterministic and little work."""
    if seen.is_drawn or not seen.is_written or seen.size > SMALL or seen.length > SMALL:
        return seen
    if not all(isinstance(write.expression, (Constant, Table)) for write in seen.writes):
        return seen
    return settled(Values().of(seen))
