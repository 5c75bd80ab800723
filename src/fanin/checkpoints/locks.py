"""Locks: two runs do not write the same file of a folder at once, and a run that has died locks nothing.

A folder has a lock file, with one byte for the manifests, and one for each file of the checkpoint, which the run that
writes the file locks. The operating system releases a process's locks when it ends, however it ends.

They are POSIX locks of open files (Linux's F_OFD_SETLK), which also hold between the threads of a process. Between
machines they hold on file systems that carry POSIX locks: NFS 4, NFS 3 with its lock daemon, GPFS, and Lustre that is
mounted with `flock`. A machine that vanishes from such a file system loses its locks when its lease ends.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

NAME = ".fanin.lock"
_MANIFESTS, _FILES = 0, 1  # the byte of the manifests, and that of the first file
_FLOCK = "hhqqi4x"  # struct flock: type, whence, start, length (0: to the end), process


class FolderLock:
    """The locks that one run has in a folder. It is a context manager, which releases all of them, and removes
    the lock file if no other run has locked anything.

    Args:
        folder: the folder, which exists.

    Raises:
        OSError: the folder cannot be written, or its file system has no locks.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._descriptor = self._opened()

    def _opened(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            with self.manifests():
                if self.is_alone():
                    self._path.unlink(missing_ok=True)
        finally:
            os.close(self._descriptor)

    @contextmanager
    def manifests(self) -> Iterator[None]:
        """Waits for the lock that a run needs to read and write manifests, and to take files."""
        self._call(fcntl.F_OFD_SETLKW, fcntl.F_WRLCK, _MANIFESTS, 1)
        while not self._is_current():  # another run has ended, and removed it, while this one waited
            os.close(self._descriptor)
            self._descriptor = self._opened()
            self._call(fcntl.F_OFD_SETLKW, fcntl.F_WRLCK, _MANIFESTS, 1)
        try:
            yield
        finally:
            self._call(fcntl.F_OFD_SETLK, fcntl.F_UNLCK, _MANIFESTS, 1)

    def take(self, numbers: Iterable[int]) -> int | None:
        """Locks files, within `manifests`, until the end. Returns the number of one that another run has locked."""
        for number in numbers:
            try:
                self._call(fcntl.F_OFD_SETLK, fcntl.F_WRLCK, _FILES + number, 1)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    raise
                return number
        return None

    def is_alone(self) -> bool:
        """Whether no other run has locked a file. Within `manifests`, none can do so now."""
        answer = self._call(fcntl.F_OFD_GETLK, fcntl.F_WRLCK, _FILES, 0)
        return struct.unpack(_FLOCK, answer)[0] == fcntl.F_UNLCK

    def _is_current(self) -> bool:
        """Whether the open file still has the lock file's name."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.stat(self._path))
        except FileNotFoundError:
            return False

    def _call(self, command: int, kind: int, start: int, length: int) -> bytes:
        return fcntl.fcntl(self._descriptor, command, struct.pack(_FLOCK, kind, os.SEEK_SET, start, length, 0))
