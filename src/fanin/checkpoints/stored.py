"""Tensors as they are in files: their names, dtypes and shapes, and any region of their elements."""

from __future__ import annotations

import math
import tokenize
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np

from fanin._core.messages import shown, visible
from fanin._core.shapes import c_strides, checked_shape, chunks
from fanin._core.types import Array, DType, Shape
from fanin.checkpoints import safetensors, zips
from fanin.checkpoints.files import CheckpointError

Slices: TypeAlias = tuple[slice, ...]


class Stored(ABC):
    """A tensor in a checkpoint.

    Attributes:
        name: its name.
        dtype: its dtype, as a NumPy dtype; None if NumPy and ml_dtypes have none like it.
        dtype_name: what the file calls its dtype.
        shape: its shape.
        file: the name of the file that it is in.
        in_c_order: whether `parts` keeps to regions that are in C order.
    """

    name: str
    dtype: DType | None
    dtype_name: str
    shape: Shape
    file: str
    in_c_order: bool

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The number of their bytes; 0 if the dtype is not known."""
        return 0 if self.dtype is None else self.size * self.dtype.itemsize

    @abstractmethod
    def parts(self, regions: Iterable[Slices]) -> Iterator[tuple[Slices, Array]]:
        """Regions that tile the tensor, with their elements.

        Args:
            regions: regions to read; tensors that are stored in parts have their own.

        Raises:
            CheckpointError: the file is damaged.
            OSError: it cannot be read.
        """


@dataclass
class Contents:
    """What the files of a checkpoint hold.

    Attributes:
        format: "safetensors", "npz", "dcp", "pytorch", "hdf5" or "keras".
        tensors: the tensors, by name.
        broken: why files cannot be read, by name.
        other: the names of values that are no weights.
        ties: the names that share the memory of others, each with the first of them.
        beside: the names of other files of weights in the folder, which were not read.
    """

    format: str
    tensors: dict[str, Stored] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    other: tuple[str, ...] = ()
    ties: dict[str, str] = field(default_factory=dict)
    beside: tuple[str, ...] = ()


class Flat(Stored):
    """A tensor whose elements lie in a stream at equal steps along each axis, as in C's order, Fortran's or any other.

    Attributes:
        strides: the number of elements from one to the next along each axis.
    """

    strides: Shape
    in_c_order = True

    def parts(self, regions: Iterable[Slices]) -> Iterator[tuple[Slices, Array]]:
        """The regions with their elements; out of C's order, other regions that tile the same box."""
        with self._opened() as (stream, begin):
            for region in regions if self.in_c_order else self._along(regions):
                part = self._read(stream, begin, region)
                if part.size:
                    yield region, part

    def _along(self, regions: Iterable[Slices]) -> Iterable[Slices]:
        """Regions in the order of the stream, so that each is read in one go, and its gaps do not add up."""
        given = list(regions)
        box = [
            slice(min(each.start for each in axis), max(each.stop for each in axis))
            for axis in zip(*given, strict=True)
        ]
        lengths = [each.stop - each.start for each in box]
        most = max((math.prod(each.stop - each.start for each in region) for region in given), default=1)
        size, reach = (
            math.prod(lengths),
            1 + sum(stride * max(0, length - 1) for stride, length in zip(self.strides, lengths, strict=True)),
        )
        if len(given) < 2 and reach <= 2 * size:
            return given
        order = sorted(range(len(box)), key=lambda axis: -self.strides[axis])
        backwards = [order.index(axis) for axis in range(len(box))]
        return (
            tuple(
                slice(each.start + chunk[position][0], each.start + chunk[position][1])
                for each, position in zip(box, backwards, strict=True)
            )
            for chunk in chunks(tuple(lengths[axis] for axis in order), max(1, most * size // max(size, reach)))
        )

    def _read(self, stream: IO[bytes], begin: int, region: Slices) -> Array:
        """The elements of a region, out of all bytes from its first to its last one."""
        dtype = np.dtype(self.dtype)
        lengths = tuple(each.stop - each.start for each in region)
        if not math.prod(lengths):
            return np.empty(lengths, dtype)
        first = sum(each.start * stride for each, stride in zip(region, self.strides, strict=True))
        last = sum((each.stop - 1) * stride for each, stride in zip(region, self.strides, strict=True))
        size = (last + 1 - first) * dtype.itemsize
        stream.seek(begin + first * dtype.itemsize)
        data = stream.read(size)
        if len(data) < size:
            raise CheckpointError(f"{visible(self.file)} ends too early.")
        return np.ndarray(lengths, dtype, data, strides=tuple(stride * dtype.itemsize for stride in self.strides))

    @contextmanager
    @abstractmethod
    def _opened(self) -> Iterator[tuple[IO[bytes], int]]:
        """The stream, and where the elements begin in it."""
        yield from ()


class _InSafetensors(Flat):
    """A tensor of a safetensors file."""

    def __init__(self, path: Path, data_start: int, tensor: safetensors.Tensor) -> None:
        self.name, self.shape, self.file, self.dtype_name = tensor.name, tensor.shape, path.name, tensor.dtype
        self.strides = c_strides(self.shape)
        self._path, self._begin = path, data_start + tensor.start
        try:
            self.dtype = tensor.numpy_dtype
        except CheckpointError:
            self.dtype = None

    @contextmanager
    def _opened(self) -> Iterator[tuple[IO[bytes], int]]:
        with open(self._path, "rb") as stream:
            yield stream, self._begin


class _InNpz(Flat):
    """An array of a .npz file."""

    def __init__(self, member: zips.Member, stream: IO[bytes]) -> None:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = read_header(stream)
        self.shape = checked_shape(shape)
        self.in_c_order = not is_fortran
        self.strides = c_strides(self.shape[::-1])[::-1] if is_fortran else c_strides(self.shape)
        self.name, self.file = member.name.removesuffix(".npy"), member.path.name
        self.dtype_name = dtype.name if dtype.isnative else dtype.str
        self.dtype = dtype if dtype.isnative and dtype.kind in "biufc" else None
        self._member, self._begin = member, stream.tell()
        size = member.size - self._begin
        if not dtype.hasobject and self.size * dtype.itemsize != size:
            raise CheckpointError(
                f"{visible(self.file)} is damaged: {shown(self.name)} of dtype {visible(self.dtype_name)} and shape "
                f"{shown(self.shape)} cannot have {size} bytes."
            )

    @contextmanager
    def _opened(self) -> Iterator[tuple[IO[bytes], int]]:
        with self._member.checked() as stream:
            yield stream, self._begin


def read_safetensors(paths: Iterable[Path]) -> Contents:
    """The contents of safetensors files."""
    return contents_of_files("safetensors", paths, _tensors)


def _tensors(path: Path) -> Iterator[Stored]:
    header = safetensors.read_header(path)
    return (_InSafetensors(path, header.data_start, tensor) for tensor in header.tensors)


def read_npz(paths: Iterable[Path]) -> Contents:
    """The contents of .npz files."""
    return contents_of_files("npz", paths, _arrays)


def _arrays(path: Path) -> Iterator[Stored]:
    """The arrays of a file. An error says which is the first that is none, after all that are."""
    wrong = None
    for member in zips.members_of(path).values():
        try:
            yield _array(member)
        except CheckpointError as error:
            wrong = wrong or error
    if wrong is not None:
        raise wrong


# What NumPy raises for headers that are none, depending on where its parsers give up.
_NO_HEADER = (ValueError, TypeError, LookupError, RecursionError, MemoryError, SyntaxError, tokenize.TokenError)


def _array(member: zips.Member) -> Stored:
    try:
        with member.checked() as stream:
            return _InNpz(member, stream)
    except CheckpointError:
        raise
    except _NO_HEADER as error:
        reason = visible(str(error).partition("\n")[0])[:120]
        raise CheckpointError(
            f"{visible(member.path.name)} is not a whole .npz file: {shown(member.name)} is no array ({reason})."
        ) from None


def contents_of_files(format: str, paths: Iterable[Path], read: Callable[[Path], Iterable[Stored]]) -> Contents:
    """The contents of files of one format, in which each name may come up once.

    Args:
        format: the format's name.
        paths: the files.
        read: gives the tensors of a file.
    """
    contents = Contents(format)
    for path in paths:
        with noted(contents, path):
            for each in read(path):
                other = contents.tensors.setdefault(each.name, each)
                if other is not each:
                    raise CheckpointError(
                        f"{visible(path.name)} has {shown(each.name)}, which {visible(other.file)} has, too."
                    )
    return contents


@contextmanager
def noted(contents: Contents, path: Path) -> Iterator[None]:
    """Notes why a file cannot be read."""
    try:
        yield
    except CheckpointError as error:
        contents.broken[path.name] = str(error)
    except OSError as error:
        contents.broken[path.name] = f"{visible(path.name)} cannot be read: {error.strerror or error}."
