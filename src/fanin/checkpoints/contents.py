"""The bytes of one file: written from those of its tensors, and read back as those of its tensors."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from fanin._core.messages import visible
from fanin.checkpoints import npz
from fanin.checkpoints.arrangement import PlannedFile
from fanin.checkpoints.drawing import Segment
from fanin.checkpoints.files import CheckpointError

_READ = 2**22  # bytes read at once
_MOST_PARTS = 512  # that one call writes; the system's limit is 1024


class Writer(Protocol):
    """Writes the bytes of a file's tensors, as they come."""

    def write(self, segments: Sequence[Segment]) -> None:
        """Writes the next bytes."""
        ...

    def close(self) -> None:
        """Writes what is left to write. The file itself stays open."""
        ...


def writer_of(file: BinaryIO, planned: PlannedFile) -> Writer:
    """What writes the tensors of a planned file to an empty one."""
    if planned.format == "npz":
        return _NpzWriter(file, planned)
    return _SafetensorsWriter(file, planned)


class _SafetensorsWriter:
    def __init__(self, file: BinaryIO, planned: PlannedFile) -> None:
        self._descriptor = file.fileno()
        _write_all(self._descriptor, [memoryview(planned.header.to_bytes())])

    def write(self, segments: Sequence[Segment]) -> None:
        _write_all(self._descriptor, [each.data for each in segments if each.data.nbytes])

    def close(self) -> None:
        pass


class _NpzWriter:
    def __init__(self, file: BinaryIO, planned: PlannedFile) -> None:
        self._arrays = npz.ArrayWriter(file, planned.tensors)

    def write(self, segments: Sequence[Segment]) -> None:
        for each in segments:
            self._arrays.write(each.number, each.data, is_last=each.is_last)

    def close(self) -> None:
        self._arrays.close()


def _write_all(descriptor: int, parts: list[memoryview]) -> None:
    """Writes all bytes of parts, of which the system may write fewer at a time."""
    while parts:
        written = os.writev(descriptor, parts[:_MOST_PARTS])
        while parts and written >= parts[0].nbytes:
            written -= parts.pop(0).nbytes
        if written:
            parts[0] = parts[0][written:]


def digests_in(path: Path, planned: PlannedFile, advance: Callable[[int], None]) -> list[str]:
    """The SHA-256 of each tensor of a file, in the order of their bytes.

    Args:
        path: the file.
        planned: what it must hold.
        advance: is told how many bytes have been read since the last time.

    Raises:
        CheckpointError: the file is damaged, or holds other tensors.
        OSError: it cannot be read.
    """
    return [_digest(chunks, advance) for chunks in _tensors_in(path, planned)]


def _digest(chunks: Iterator[bytes], advance: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
        advance(len(chunk))
    return digest.hexdigest()


def _tensors_in(path: Path, planned: PlannedFile) -> Iterator[Iterator[bytes]]:
    """The bytes of each tensor of a file, which must be used before those of the next one."""
    sizes = [entry.parameter.nbytes for entry in planned.entries]
    if planned.format == "npz":
        for stream, nbytes in zip(npz.read_arrays(path, planned.tensors), sizes, strict=True):
            yield _chunks(stream.read, nbytes, path)
        return
    head = planned.header.to_bytes()
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size != planned.size or file.read(len(head)) != head:
            raise CheckpointError(f"{visible(path.name)} has another size or header than it should have.")
        for nbytes in sizes:
            yield _chunks(file.read, nbytes, path)


def _chunks(read: Callable[[int], bytes], nbytes: int, path: Path) -> Iterator[bytes]:
    while nbytes:
        chunk = read(min(nbytes, _READ))
        if not chunk:
            raise CheckpointError(f"{visible(path.name)} ends too early.")
        nbytes -= len(chunk)
        yield chunk
