"""Zip files, of which every claim is checked against the file before a byte is read."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from fanin._core.messages import readable, shown, visible
from fanin.checkpoints.files import CheckpointError

MAGIC = b"PK\x03\x04"
_LOCAL_HEADER = 30  # bytes, before the name and the further fields
_MOST_DEFLATED = 1032  # bytes that one byte of a deflated stream can stand for (RFC 1951: 258 from two bits)
_ENCRYPTED = 0x1
# What zipfile raises for damaged files, besides its own error.
_DAMAGE = (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, RuntimeError, OverflowError)


@dataclass(frozen=True)
class Member:
    """A file within a zip file.

    Attributes:
        path: the zip file.
        name: its name there.
        size: the number of its bytes, which the number of compressed ones allows.
        start: where its bytes begin in the zip file, if they are stored as they are; None if they are compressed.
        within: where the zip file begins and ends in the file at the path.
    """

    path: Path
    name: str
    size: int
    start: int | None
    within: tuple[int, int]

    @contextmanager
    def opened(self) -> Iterator[tuple[IO[bytes], int]]:
        """A stream that can be sought in, and where the bytes begin in it.

        Raises:
            CheckpointError: the file is damaged.
        """
        with damage_of(self.path):
            if self.start is not None:
                with open(self.path, "rb") as file:
                    yield file, self.start
            else:
                with self.checked() as stream:
                    yield stream, 0

    @contextmanager
    def checked(self) -> Iterator[IO[bytes]]:
        """A stream that compares the bytes with their checksum, if it is read to the end in one go.

        Raises:
            CheckpointError: the file is damaged.
        """
        with (
            damage_of(self.path),
            open(self.path, "rb") as file,
            zipfile.ZipFile(window(file, *self.within)) as archive,
            archive.open(self.name) as stream,
        ):
            yield stream

    def read(self, most: int) -> bytes:
        """All bytes.

        Raises:
            CheckpointError: they are more than `most`, or the file is damaged.
        """
        if self.size > most:
            raise CheckpointError(
                f"{visible(self.path.name)} is not read: its {shown(self.name)} has {readable(self.size)}, and the "
                f"limit is {readable(most)}."
            )
        with self.opened() as (stream, start):
            stream.seek(start)
            data = stream.read(self.size)
        if len(data) != self.size:
            raise CheckpointError(f"{visible(self.path.name)} is damaged: {shown(self.name)} ends too early.")
        return data


@contextmanager
def damage_of(path: Path) -> Iterator[None]:
    """Turns the errors of the libraries for zip files into one that names the file."""
    import zlib

    try:
        yield
    except CheckpointError:
        raise
    except (*_DAMAGE, zlib.error) as error:
        reason = visible(str(error)) or "it ends too early"
        raise CheckpointError(f"{visible(path.name)} is not a whole {path.suffix or 'zip'} file: {reason}.") from None


def members_of(path: Path, begin: int = 0, length: int | None = None) -> Mapping[str, Member]:
    """The files within a zip file, by name.

    Args:
        path: the file.
        begin: where the zip file begins in it.
        length: how many bytes it has; None for all up to the end of the file.

    Raises:
        CheckpointError: the file is damaged, or claims more than it can hold: members that overlap, sizes that no
            compression reaches, names that come up twice. Encrypted members and compressions other than deflate are
            refused, too.
        OSError: it cannot be read.
    """
    with damage_of(path), open(path, "rb") as whole:
        size = os.fstat(whole.fileno()).st_size
        within = begin, size if length is None else begin + length
        if within[1] > size:
            raise CheckpointError(f"{visible(path.name)} ends too early.")
        file = window(whole, *within)
        with zipfile.ZipFile(file) as archive:
            infos = sorted(archive.infolist(), key=lambda each: each.header_offset)
        found: dict[str, Member] = {}
        ends = [*(each.header_offset for each in infos[1:]), within[1] - begin]
        for info, end in zip(infos, ends, strict=False):  # of no members there is an end, too
            start = _start_of(file, info)
            _check_member(path, info, end - start)
            if info.filename in found:
                raise CheckpointError(f"{visible(path.name)} is damaged: it has {shown(info.filename)} twice.")
            is_stored = info.compress_type == zipfile.ZIP_STORED
            if not info.filename.endswith("/"):  # a folder
                where = begin + start if is_stored else None
                found[info.filename] = Member(path, info.filename, info.file_size, where, within)
        return found


def _start_of(file: IO[bytes], info: zipfile.ZipInfo) -> int:
    """Where the bytes of a member begin, as its own header says."""
    file.seek(info.header_offset)
    header = file.read(_LOCAL_HEADER)
    if info.header_offset < 0 or len(header) < _LOCAL_HEADER or not header.startswith(MAGIC):
        raise zipfile.BadZipFile(f"there is no file where {shown(info.filename)} should be")
    lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    return info.header_offset + _LOCAL_HEADER + lengths


def _check_member(path: Path, info: zipfile.ZipInfo, room: int) -> None:
    """Raises an error if a member is none that is read, or claims more than it has room for."""
    name, member = visible(path.name), shown(info.filename)
    if info.compress_size > room:
        raise CheckpointError(f"{name} is damaged: its {member} reaches past the file or into the next one.")
    if info.flag_bits & _ENCRYPTED:
        raise CheckpointError(f"{name} is not read: its {member} is encrypted.")
    if info.compress_type == zipfile.ZIP_STORED:
        is_possible = info.file_size == info.compress_size
    elif info.compress_type == zipfile.ZIP_DEFLATED:
        is_possible = info.file_size <= _MOST_DEFLATED * info.compress_size
    else:
        raise CheckpointError(f"{name} is not read: its {member} is compressed by another method than deflate.")
    if not is_possible:
        raise CheckpointError(
            f"{name} is damaged: its {member} cannot have {readable(info.file_size)}, since it takes "
            f"{readable(info.compress_size)} in the file."
        )


def window(file: IO[bytes], start: int, stop: int) -> IO[bytes]:
    """A part of a file as a file of its own, which never asks for more bytes than there are: claims cost nothing.

    Args:
        file: the file, which can be sought in.
        start: where the part begins.
        stop: where it ends.
    """
    return cast("IO[bytes]", _Window(file, start, stop))


class _Window(io.RawIOBase):
    """What `window` returns."""

    def __init__(self, file: IO[bytes], start: int, stop: int) -> None:
        self._file, self._start, self._size = file, start, stop - start
        self._position = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Where the next bytes come from."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Goes elsewhere, also past the end."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, at most as many as there are."""
        return self._next(lambda file, most: file.read(most), size)

    def readline(self, size: int | None = -1, /) -> bytes:
        """The next line."""
        return self._next(lambda file, most: file.readline(most), -1 if size is None else size)

    def readinto(self, buffer: memoryview, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Puts the next bytes into memory."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def _next(self, read: Callable[[IO[bytes], int], bytes], size: int) -> bytes:
        left = self._size - self._position
        if left <= 0:
            return b""
        self._file.seek(self._start + self._position)
        data = read(self._file, left if size < 0 else min(size, left))
        self._position += len(data)
        return data
