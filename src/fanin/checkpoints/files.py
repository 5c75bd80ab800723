"""Files that appear under their names only when they are complete and on the disk.

A file is written under a temporary name in the same folder, flushed to the disk, and renamed; then the folder is
flushed, too. Whoever ends a run, and whenever, leaves whole files and files of temporary names.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from fanin._core.messages import shown

# Files that programs take for the weights of a model, so that a checkpoint beside them might not be what is loaded.
_WEIGHTS = re.compile(
    r"(model|pytorch_model|diffusion_pytorch_model|adapter_model|consolidated)([-.].*)?\.bin(\.index\.json)?"
    r"|.*\.(safetensors|npz|pt|pth)(\.index\.json)?"
    r"|\.metadata|.*\.distcp"  # of torch.distributed.checkpoint
    r"|_CHECKPOINT_METADATA|manifest\.ocdbt"  # of Orbax
    r"|.*\.(h5|hdf5|keras|ckpt|ckpt.*\.index|msgpack)"
)
TEMPORARY = ".fanin-tmp"  # the end of the name of a file that is not complete


class CheckpointError(ValueError):
    """The error for a checkpoint that cannot be written, continued or read; the message says why and what to do."""

    __module__ = "fanin.checkpoints"  # where it is public


def is_weights(name: str) -> bool:
    """Whether a file of this name has the weights of a model, of any kind of checkpoint, or lists them."""
    return _WEIGHTS.fullmatch(name) is not None


def check_unicode(name: str) -> None:
    """Raises an error if a tensor's name is not one that UTF-8 can hold."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise CheckpointError(f"A tensor's name must be valid Unicode. Received: {shown(name)}.") from None


def temporary(path: Path) -> Path:
    """The name that a file has until it is complete, in the same folder, so that renaming it moves no bytes."""
    return path.with_name(f".{path.name}{TEMPORARY}")


def publish(path: Path) -> None:
    """Gives a file, which is complete and flushed under its temporary name, its own name."""
    os.replace(temporary(path), path)
    flush_folder(path.parent)


class Trail:
    """Has what is written to a file go to the disk at once, and its memory be free when it is there.

    Otherwise the operating system keeps gigabytes of it, and takes them from other programs, until the file is flushed.

    Args:
        descriptor: the descriptor of the file.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._before = self._last = 0

    def reach(self) -> None:
        """Says that more has been written. What came before the last call is on the disk by now, or nearly so."""
        end = os.lseek(self._descriptor, 0, os.SEEK_CUR)
        with suppress(OSError):  # it is a hint, which some file systems do not take
            os.posix_fadvise(self._descriptor, self._before, end - self._before, os.POSIX_FADV_DONTNEED)
        self._before, self._last = self._last, end


def make_folder(path: Path) -> None:
    """Makes a folder and those that it is in, if they are not there, and flushes their names to the disk."""
    made = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for each in made:
        flush_folder(each.parent)


def flush_folder(folder: Path) -> None:
    """Flushes the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, data: bytes) -> None:
    """Writes a small file, which appears at once and whole, in place of an older one of its name."""
    try:
        with open(temporary(path), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        publish(path)
    except BaseException:  # an interrupt, too
        temporary(path).unlink(missing_ok=True)
        raise
