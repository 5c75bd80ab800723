"""What earlier runs have left of a rank's files: which of them stay as they are, and which must not be touched."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fanin._core.messages import visible
from fanin.checkpoints.arrangement import Arrangement, PlannedFile
from fanin.checkpoints.contents import digests_in
from fanin.checkpoints.files import CheckpointError
from fanin.checkpoints.folder import Folder, explained
from fanin.checkpoints.manifest import Manifest
from fanin.checkpoints.safetensors import read_header


def check_folder(planned: Arrangement, path: Path) -> Manifest:
    """Checks, before anything is made, that a checkpoint could be written to a folder.

    Args:
        planned: the checkpoint.
        path: the folder, which need not be there.

    Returns:
        The manifest of what the folder has of it.

    Raises:
        CheckpointError: the folder cannot be written, or holds something else.
    """
    folder = Folder(path)
    with explained(path):
        folder.check_permission()
        return folder.recorded(planned.manifest, planned.tensors)


@dataclass(frozen=True)
class Survey:
    """The files of a rank that are there. What is in neither list is missing or damaged, and is made.

    Attributes:
        kept: the names of those that have the bytes that the manifest says.
        changed: the names of those that are whole, but have other values: they may have been trained since.
    """

    kept: tuple[str, ...]
    changed: tuple[str, ...]

    @classmethod
    def of(
        cls, folder: Folder, recorded: Manifest, files: Iterable[PlannedFile], advance: Callable[[int], None]
    ) -> Survey:
        """Reads the files.

        Args:
            folder: the folder.
            recorded: the manifest of what should be in them.
            files: the files.
            advance: is told how many bytes have been read since the last time.

        Raises:
            OSError: a file cannot be read.
        """
        kept, changed = [], []
        for file in files:
            path = folder.path / file.name
            wanted = [each.digest for each in recorded.tensors_of(file.name)]
            if not wanted or not os.path.lexists(path):
                continue
            if _has(path, file, wanted, advance):
                kept.append(file.name)
            elif _is_whole(path, file.format):
                changed.append(file.name)
        return cls(tuple(kept), tuple(changed))

    def check(self, folder: Path) -> None:
        """Raises an error if files have been changed, since writing them again would replace what they hold.

        Raises:
            CheckpointError: some have.
        """
        if self.changed:
            raise CheckpointError(
                f"{visible(str(folder))} has files with other values than those that were written, which may have been "
                f"trained since: {', '.join(self.changed)}. Nothing has been changed. Choose another folder, or give "
                "`replace=True` to rename these files to ….replaced-1 and write them again."
            )

    def wanted(self, files: Iterable[PlannedFile]) -> list[PlannedFile]:
        """Those of the files that are to be written."""
        return [each for each in files if each.name not in self.kept]


def _has(path: Path, file: PlannedFile, digests: Sequence[str], advance: Callable[[int], None]) -> bool:
    """Whether the tensors of a file have these digests."""
    try:
        return digests_in(path, file, advance) == digests
    except CheckpointError:
        return False


def _is_whole(path: Path, format: str) -> bool:
    """Whether a file could be read, whatever it holds: it is neither cut short, nor is its header damaged."""
    try:
        if format == "npz":
            with zipfile.ZipFile(path) as file:
                return bool(file.namelist()) and file.testzip() is None
        read_header(path)
    except (CheckpointError, zipfile.BadZipFile, NotImplementedError, EOFError):
        return False
    return True
