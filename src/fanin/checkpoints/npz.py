"""The npz format: a zip file without compression that holds a .npy file for each array, as `np.savez` writes it."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator, Sequence
from typing import IO, BinaryIO

import numpy as np

from fanin._core import dtypes
from fanin._core.messages import shown, visible
from fanin._core.types import DType, Shape
from fanin.checkpoints.files import CheckpointError, check_unicode

SUFFIX = ".npz"


def check_array(name: str, dtype: DType) -> None:
    """Raises an error if an array of this name and dtype would not come back from a file as it was.

    Raises:
        CheckpointError: NumPy itself does not have the dtype, or the name is not one of a zip file's.
    """
    if dtype.name in dtypes.ML_DTYPES:
        raise CheckpointError(
            f"A .npz file holds the dtypes that NumPy itself has. Received: {dtype.name}. "
            "Write safetensors, or plan the model in float32."
        )
    if "\0" in name or len(name.encode(errors="replace")) > 60_000:
        raise CheckpointError(f"A .npz file cannot hold the name {shown(name)}. Rename the array.")
    check_unicode(name)


def array_header(dtype: DType, shape: Shape) -> bytes:
    """The beginning of a .npy file, up to the elements of the array."""
    text = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(dtype)
    np.lib.format.write_array_header_1_0(text, {"descr": descr, "fortran_order": False, "shape": shape})
    return text.getvalue()


def file_size(arrays: Sequence[tuple[str, DType, Shape, int]]) -> int:
    """The size in bytes of the file of these arrays.

    Args:
        arrays: the name, dtype, shape and number of bytes of each, in the order of the file.
    """
    local = central = 0
    for name, dtype, shape, nbytes in arrays:
        length, size = len(f"{name}.npy".encode()), len(array_header(dtype, shape)) + nbytes
        # A large file's sizes, and a far one's place, are in a further field of 64-bit numbers.
        numbers = 2 * (size > zipfile.ZIP64_LIMIT) + (local > zipfile.ZIP64_LIMIT)
        central += 46 + length + (4 + 8 * numbers if numbers else 0)
        local += 30 + length + 20 + size
    is_large = len(arrays) > zipfile.ZIP_FILECOUNT_LIMIT or max(local, central) > zipfile.ZIP64_LIMIT
    return local + central + 22 + (76 if is_large else 0)


class ArrayWriter:
    """Writes a file from the bytes of its arrays, as they come.

    Args:
        file: the empty file, which can be sought in.
        arrays: the name, dtype and shape of each array, in the order of the file.
    """

    def __init__(self, file: BinaryIO, arrays: Sequence[tuple[str, DType, Shape]]) -> None:
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True)
        self._arrays = arrays
        self._member: IO[bytes] | None = None

    def write(self, number: int, data: memoryview, *, is_last: bool) -> None:
        """Writes the next bytes of an array; `is_last` says that they are its last."""
        if self._member is None:
            name, dtype, shape = self._arrays[number]
            self._member = self._zip.open(f"{name}.npy", "w", force_zip64=True)
            self._member.write(array_header(dtype, shape))
        self._member.write(data)
        if is_last:
            self._member.close()
            self._member = None

    def close(self) -> None:
        """Writes the directory, which ends the file. The file itself stays open."""
        self._zip.close()


def read_arrays(path: str | os.PathLike[str], arrays: Sequence[tuple[str, DType, Shape]]) -> Iterator[IO[bytes]]:
    """The arrays of a file, each as a stream of its bytes.

    Args:
        path: the file.
        arrays: the name, dtype and shape that each must have, in the order of the file.

    Raises:
        CheckpointError: the file is damaged, or has other arrays.
        OSError: it cannot be read.
    """
    name = visible(os.path.basename(path))
    try:
        with zipfile.ZipFile(path) as file:
            if file.namelist() != [f"{name}.npy" for name, *_ in arrays]:
                raise CheckpointError(f"{name} has other arrays than it should have.")
            for member, (array, dtype, shape) in zip(file.infolist(), arrays, strict=True):
                with file.open(member) as stream:
                    header = array_header(dtype, shape)
                    if stream.read(len(header)) != header:
                        raise CheckpointError(f"{name} has {shown(array)} in another dtype or shape.")
                    yield stream
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise CheckpointError(f"{name} is not a whole .npz file: {visible(str(error))}.") from None
