"""The folder of a checkpoint: what earlier runs have left in it, and what may be written to it."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from fanin._core.messages import readable, visible
from fanin.checkpoints import manifest as manifests
from fanin.checkpoints.arrangement import INDEX, Arrangement, PlannedFile, index_of
from fanin.checkpoints.files import TEMPORARY, CheckpointError, flush_folder, is_weights, write_whole
from fanin.checkpoints.manifest import Manifest, StoredFile, StoredTensor, read_manifest

_PARTS = re.compile(r"fanin-(\d{5})-of-(\d{5})\.json")


def part_name(rank: int, world: int) -> str:
    """The name of the manifest of one rank's part."""
    return f"fanin-{rank + 1:05d}-of-{world:05d}.json"


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turns the operating system's errors into ones that say what happened to a folder, and what to do."""
    try:
        yield
    except BrokenPipeError:  # of who reads the events
        raise
    except OSError as error:
        place, reason = visible(str(folder)), error.strerror or str(error)
        culprit = _culprit(error, folder)
        if culprit and error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            text = f"{culprit} cannot be used ({reason}). Change its permissions, or move it away"
        elif error.errno in (errno.ENOSPC, errno.EDQUOT):
            text = f"{place} has no room left ({reason}). Make some, and write again: what is complete is kept"
        elif error.errno == errno.EFBIG:
            text = (
                f"A file in {place} may not be so large ({reason}): see `ulimit -f`, or make files smaller by "
                "`max_shard_size`. What is complete is kept"
            )
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            text = f"{place} cannot be written ({reason}). Choose another folder, or change its permissions"
        elif error.errno in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL):
            text = (
                f"{place} is on a file system without locks, or that does not do what is needed ({reason}). Write to "
                "another one, and copy the files"
            )
        else:
            text = f"{place} cannot be used ({reason})"
        raise CheckpointError(f"{text}.") from error


def _culprit(error: OSError, folder: Path) -> str:
    """The file in the folder that an error is about, in words; "" if it is about the folder."""
    path = Path(os.fsdecode(error.filename)) if isinstance(error.filename, (str, bytes)) else folder
    is_there = path.parent == folder and os.path.lexists(path) and not path.name.endswith(TEMPORARY)
    return visible(str(path)) if is_there else ""


class Folder:
    """The folder of a checkpoint.

    Args:
        path: the folder. It need not be there, if it is only looked at.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def check_permission(self) -> None:
        """Raises an error if the folder can neither be written nor made.

        Raises:
            OSError: it cannot; the error says why.
        """
        there = self._existing
        if not there.is_dir():
            code = errno.EEXIST if there == self.path.absolute() else errno.ENOTDIR
            raise OSError(code, os.strerror(code), str(self.path))
        if not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.path))

    @property
    def free(self) -> int:
        """The free bytes of the file system that the folder is on, or would be on."""
        state = os.statvfs(self._existing)
        return state.f_bavail * state.f_frsize

    @property
    def _existing(self) -> Path:
        """The folder, or the innermost of those around it that is there."""
        path = self.path.absolute()
        return next(each for each in (path, *path.parents) if os.path.lexists(each))

    def _names(self) -> list[str]:
        return os.listdir(self.path) if self.path.exists() else []

    def manifests(self) -> dict[str, Manifest]:
        """The manifests of the whole checkpoint, if it is there, and then of the parts, by the names of their files.

        Raises:
            CheckpointError: one of them is damaged.
        """
        found = self._names()
        names = [each for each in found if each == manifests.NAME] + sorted(filter(_PARTS.fullmatch, found))
        return {name: read_manifest(self.path / name) for name in names}

    def recorded(self, wanted: Manifest, planned: Callable[[], Iterable[StoredTensor]] = tuple) -> Manifest:
        """The same manifest, with every file that one in the folder has, whether or not the file is there.

        What the model and the recipe are called stays as the folder has it.

        Args:
            wanted: the manifest.
            planned: makes all of the checkpoint's tensors, for an example of what differs.

        Raises:
            CheckpointError: the folder has another checkpoint, or files that no manifest has.
        """
        known = self.manifests()
        for name, each in known.items():
            if difference := each.difference(wanted, planned):
                raise CheckpointError(
                    f"{visible(str(self.path))} holds another checkpoint, or a part of one: it differs in "
                    f"{difference}, as {name} says. Nothing has been changed. Choose another folder, or empty this one."
                )
        labels = next(iter(known.values()), wanted)
        wanted = replace(wanted, model=labels.model, recipe=labels.recipe)
        listed = wanted.with_files((file, each.tensors_of(file.name)) for each in known.values() for file in each.files)
        expected = {each.name for each in listed.files} | ({INDEX} if known else set())
        strange = sorted(each for each in self._names() if is_weights(each) and each not in expected)
        if strange:
            raise CheckpointError(
                f"{visible(str(self.path))} holds weights that are not of this checkpoint: "
                f"{', '.join(map(visible, strange))}. "
                "Nothing has been changed. Choose another folder, or move them away."
            )
        return listed

    def has(self, file: StoredFile) -> bool:
        """Whether a file is there, in its size."""
        try:
            return (self.path / file.name).stat().st_size == file.size
        except FileNotFoundError:
            return False

    def strip_parts(self, names: Collection[str], own: str) -> None:
        """Takes files out of the manifests of parts, of ranks that have died, because another rank has them now.

        Args:
            names: the names of the files.
            own: the name of the manifest of that other rank's part, which has them.
        """
        for name, each in self.manifests().items():
            kept = [file for file in each.files if file.name not in names]
            if name in (own, manifests.NAME) or len(kept) == len(each.files):
                continue
            if kept:
                each.only(kept).write(self.path / name)
            else:
                (self.path / name).unlink()

    def sweep(self, names: Iterable[str] | None = None) -> None:
        """Removes what runs that have died left under temporary names.

        Args:
            names: the names of the files whose temporary ones to remove; None for all.
        """
        wanted = None if names is None else {f".{each}{TEMPORARY}" for each in names}
        for each in os.listdir(self.path):
            if each.endswith(TEMPORARY) and each.startswith(".") and (wanted is None or each in wanted):
                (self.path / each).unlink(missing_ok=True)

    def check_room(self, arrangement: Arrangement, files: Iterable[PlannedFile]) -> None:
        """Raises an error if there is too little room for these files.

        Raises:
            CheckpointError: there is.
        """
        needed = sum(each.size for each in files)
        needed += 2 * len(arrangement.manifest.to_json()) + sum(400 + 400 * len(each.entries) for each in files)
        if needed > self.free:
            raise CheckpointError(
                f"{visible(str(self.path))} has {readable(self.free)} free, and {readable(needed)} are needed. "
                "No weights have been written. Make room, or choose another folder."
            )

    def set_aside(self, name: str) -> str:
        """Renames a file that is not as a manifest says, if it is there. Returns its new name; "" if there was none."""
        if not (self.path / name).exists():
            return ""
        number = 1
        while (self.path / f"{name}.replaced-{number}").exists():
            number += 1
        os.rename(self.path / name, self.path / f"{name}.replaced-{number}")
        return f"{name}.replaced-{number}"

    def merge(self, wanted: Manifest | None = None) -> Manifest:
        """Makes the manifest and the index of the checkpoint if all of its files are there, and removes those of parts.

        Args:
            wanted: a manifest of the checkpoint; None for one that the folder has.

        Returns:
            The manifest of all files that are there.

        Raises:
            CheckpointError: the folder has another checkpoint, several, or none.
        """
        known = self.manifests()
        if not known and wanted is None:
            raise CheckpointError(f"{visible(str(self.path))} holds no checkpoint that fanin has begun.")
        listed = self.recorded((wanted or next(iter(known.values()))).only(()))
        whole = listed.only(filter(self.has, listed.files))
        if not whole.is_complete:
            return whole
        if (index := index_of(whole)) is not None:
            self._put(INDEX, index)
        self._put(manifests.NAME, whole.to_json())
        for name in known.keys() - {manifests.NAME}:
            (self.path / name).unlink()
        flush_folder(self.path)
        return whole

    def _put(self, name: str, text: str) -> None:
        """Writes a small file, unless it is there already."""
        path, data = self.path / name, text.encode()
        if not path.exists() or path.read_bytes() != data:
            write_whole(path, data)
