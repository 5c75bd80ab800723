"""Tensors as they are in files: their names, dtypes and shapes, and any region of their elements."""

from __future__ import annotations

import math
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np

from fanin._core.messages import visible
from fanin._core.shapes import c_strides, chunks
from fanin._core.types import Array, DType, Shape
from fanin.checkpoints import safetensors
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
        format: "safetensors", "npz" or "dcp".
        tensors: the tensors, by name.
        broken: why files cannot be read, by name.
        other: the names of values that are no tensors.
    """

    format: str
    tensors: dict[str, Stored] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    other: tuple[str, ...] = ()


class _Flat(Stored):
    """A tensor whose elements follow one another in a stream, in C order or, with the axes reversed, in Fortran's."""

    in_c_order = True

    def parts(self, regions: Iterable[Slices]) -> Iterator[tuple[Slices, Array]]:
        """The regions with their elements, and for Fortran's order other regions of the same size."""
        order = slice(None, None, 1 if self.in_c_order else -1)
        strides = c_strides(self.shape[order])[order]
        with self._opened() as (stream, begin):
            for region in regions if self.in_c_order else self._along(regions):
                part = self._read(stream, begin, region, strides)
                if part.size:
                    yield region, part

    def _along(self, regions: Iterable[Slices]) -> Iterable[Slices]:
        """Regions for Fortran's order, so that each is read in one go."""
        given = list(regions)
        if len(given) < 2:
            return given
        most = max(math.prod(each.stop - each.start for each in region) for region in given)
        return (tuple(slice(*each) for each in chunk[::-1]) for chunk in chunks(self.shape[::-1], most))

    def _read(self, stream: IO[bytes], begin: int, region: Slices, strides: Shape) -> Array:
        """The elements of a region, out of all bytes from its first to its last one."""
        dtype = np.dtype(self.dtype)
        lengths = tuple(each.stop - each.start for each in region)
        if not math.prod(lengths):
            return np.empty(lengths, dtype)
        first = sum(each.start * stride for each, stride in zip(region, strides, strict=True))
        last = sum((each.stop - 1) * stride for each, stride in zip(region, strides, strict=True))
        size = (last + 1 - first) * dtype.itemsize
        stream.seek(begin + first * dtype.itemsize)
        data = stream.read(size)
        if len(data) < size:
            raise CheckpointError(f"{visible(self.file)} ends too early.")
        return np.ndarray(lengths, dtype, data, strides=tuple(stride * dtype.itemsize for stride in strides))

    @contextmanager
    @abstractmethod
    def _opened(self) -> Iterator[tuple[IO[bytes], int]]:
        """The stream, and where the elements begin in it."""
        yield from ()


class _InSafetensors(_Flat):
    """A tensor of a safetensors file."""

    def __init__(self, path: Path, data_start: int, tensor: safetensors.Tensor) -> None:
        self.name, self.shape, self.file, self.dtype_name = tensor.name, tensor.shape, path.name, tensor.dtype
        self._path, self._begin = path, data_start + tensor.start
        try:
            self.dtype = tensor.numpy_dtype
        except CheckpointError:
            self.dtype = None

    @contextmanager
    def _opened(self) -> Iterator[tuple[IO[bytes], int]]:
        with open(self._path, "rb") as stream:
            yield stream, self._begin


class _InNpz(_Flat):
    """An array of a .npz file."""

    def __init__(self, path: Path, member: str, stream: IO[bytes]) -> None:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        self.shape, is_fortran, dtype = read_header(stream)
        self.in_c_order = not is_fortran
        self.name, self.file = member.removesuffix(".npy"), path.name
        self.dtype_name = dtype.name if dtype.isnative else dtype.str
        self.dtype = dtype if dtype.isnative and not dtype.hasobject else None
        self._path, self._member, self._begin = path, member, stream.tell()

    @contextmanager
    def _opened(self) -> Iterator[tuple[IO[bytes], int]]:
        try:
            with zipfile.ZipFile(self._path) as file, file.open(self._member) as stream:
                yield stream, self._begin
        except (zipfile.BadZipFile, EOFError) as error:
            raise CheckpointError(f"{visible(self.file)} is damaged: {visible(str(error))}.") from None


def read_safetensors(paths: Iterable[Path]) -> Contents:
    """The contents of safetensors files."""
    contents = Contents("safetensors")
    for path in paths:
        with _noted(contents, path):
            header = safetensors.read_header(path)
            for tensor in header.tensors:
                contents.tensors[tensor.name] = _InSafetensors(path, header.data_start, tensor)
    return contents


def read_npz(paths: Iterable[Path]) -> Contents:
    """The contents of .npz files."""
    contents = Contents("npz")
    for path in paths:
        with _noted(contents, path):
            for array in _arrays(path):
                contents.tensors[array.name] = array
    return contents


@contextmanager
def _noted(contents: Contents, path: Path) -> Iterator[None]:
    """Notes why a file cannot be read."""
    try:
        yield
    except CheckpointError as error:
        contents.broken[path.name] = str(error)
    except OSError as error:
        contents.broken[path.name] = f"{visible(path.name)} cannot be read: {error.strerror or error}."


def _arrays(path: Path) -> Iterator[_InNpz]:
    """The arrays of a file, if it is whole."""
    try:
        with zipfile.ZipFile(path) as file:
            for member in file.namelist():
                with file.open(member) as stream:
                    yield _InNpz(path, member, stream)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError) as error:
        raise CheckpointError(f"{visible(path.name)} is not a whole .npz file: {visible(str(error))}.") from None
