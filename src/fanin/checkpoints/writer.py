"""Writing checkpoints: a plan becomes files, in bounded memory, from any number of processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from fanin._core.messages import plural, readable, visible
from fanin.checkpoints.arrangement import Arrangement, Format, PlannedFile, arrange, file_names, stored_tensor
from fanin.checkpoints.contents import Writer, writer_of
from fanin.checkpoints.drawing import Segment, reserve_memory
from fanin.checkpoints.files import CheckpointError, Trail, make_folder, publish, temporary
from fanin.checkpoints.folder import Folder, explained, part_name
from fanin.checkpoints.locks import FolderLock
from fanin.checkpoints.manifest import NAME, Manifest, StoredFile, digest_of
from fanin.checkpoints.pipeline import Digests, Pipeline
from fanin.checkpoints.survey import Survey
from fanin.recipes.plan import Plan
from fanin.recipes.progress import Progress, watched
from fanin.recipes.tables import short_lines


@dataclass(frozen=True)
class Written:
    """What a call of `write` has done.

    Attributes:
        folder: the folder.
        rank: the rank.
        world: the number of ranks.
        seed: the seed of the values.
        files: the names of the files that it has written.
        kept: the names of those that were there, with the bytes that the manifest says.
        replaced: the files that were there with other bytes, by name, with the names that they have now.
        missing: the names of the checkpoint's files that other ranks have not written yet.
        nbytes: the size of the files that it has written, in bytes.
        seconds: the time that it took.
        digest: the digest of the whole checkpoint, as `digest` makes it; "" while files are missing.
        left: the tensors of the model that recipes leave alone, which no file holds, by path, with the reason.
    """

    folder: Path
    rank: int
    world: int
    seed: int
    files: tuple[str, ...]
    kept: tuple[str, ...]
    replaced: dict[str, str]
    missing: tuple[str, ...]
    nbytes: int
    seconds: float
    digest: str
    left: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data, for JSON."""
        return {**vars(self), "folder": str(self.folder)}

    def __str__(self) -> str:
        ranks = f", rank {self.rank} of {self.world}" if self.world > 1 else ""
        rate = f", {readable(int(self.nbytes / max(self.seconds, 1e-9)))}/s" if self.files else ""
        done = f"{len(self.files)} {plural(len(self.files), 'file')} written ({readable(self.nbytes)})"
        if self.kept and not self.files:
            done = "already complete, checked" if self.digest else "this rank's files are already complete, checked"
        lines = [f"{visible(str(self.folder))}{ranks}: {done} in {self.seconds:.3g} s{rate}; seed {self.seed}"]
        lines += [f"kept, with the right bytes: {', '.join(self.kept)}"] if self.kept else []
        lines += [f"had other bytes: {old}, which is now {new}" for old, new in self.replaced.items()]
        if not self.files and not self.kept:
            lines.append(
                "This rank has no file: there are fewer files than ranks. A smaller `max_shard_size` makes more."
            )
        if self.missing:
            count = len(self.missing)
            lines.append(f"{count} {plural(count, 'file')} not there yet, for other ranks to write")
        if self.left:
            short = (path for path, _ in short_lines(dict.fromkeys(self.left, "")))
            lines.append(f"not in the files, since recipes leave them alone: {', '.join(short)}")
        lines += [f"complete: digest {self.digest}"] if self.digest else []
        return "\n".join(map(visible, lines))


def write(
    plan: Plan,
    folder: str | os.PathLike[str],
    *,
    format: Format = "safetensors",
    max_shard_size: int | str = "5GB",
    rank: int = 0,
    world: int = 1,
    replace: bool = False,
    progress: Progress = None,
) -> Written:
    """Writes the values of a plan to files in a folder, with a manifest, `fanin.json`.

    Values are drawn into three buffers of 64 MiB by the threads of `fanin.config.threads`, while one thread writes and
    one digests what is drawn; a matrix that is decomposed as a whole (Orthogonal) is held as a whole besides. Files
    appear under their names when they are complete and on the disk. A call that was ended, however it was, is continued
    by the same call: complete files are verified by their digests and kept.

    Args:
        plan: the plan, from `recipe.plan(model)`.
        folder: the folder. It is made if it is not there.
        format: "safetensors", for `model.safetensors`, or several files with an index, as transformers has them; or
            "npz", for `model.npz` (in NumPy's own dtypes only), or several such files.
        max_shard_size: the largest size of a file's tensors: bytes, or a text such as "5GB" or "2GiB". A larger tensor
            has a file of its own.
        rank: the number of this process among those that write the checkpoint. Each writes whole files, so that all
            write about as many bytes. They need not know of one another, nor run at the same time, and the files do
            not depend on how many there are.
        world: the number of these processes.
        replace: whether to write files again whose values were changed since they were written, by training for
            example, and to rename those that are there to `….replaced-1`. Otherwise they are an error. Files that are
            cut short, or damaged in their header, are always renamed and written again.
        progress: whether to show a progress bar; None shows one for long work on a terminal, if rich is installed. Or a
            function, which is given events: dicts for JSON, with "event" and numbers.

    Returns:
        A report. The rank that is the last to end makes the index and the manifest of the whole checkpoint.

    Raises:
        fanin.recipes.PlanError: the recipe does not fit the model. (A ValueError.)
        CheckpointError: the checkpoint cannot be written: a parameter has no values, the folder holds something else,
            files were changed since, another run is writing it, there is no room, no permission, or the disk fails.
            The message says what is the case. (A ValueError.)
        ValueError, TypeError: an argument is wrong.
        MemoryError: there is no memory for a matrix that is decomposed as a whole. Nothing has been written.

    >>> import fanin, tempfile
    >>> from fanin import checkpoints
    >>> recipe = fanin.Recipe([{"path": "*", "initializer": "random_normal"}], seed=1)
    >>> plan = recipe.plan([{"path": "w", "shape": [512, 512]}, {"path": "v", "shape": [10]}])
    >>> written = checkpoints.write(plan, tempfile.mkdtemp())
    >>> written.files, written.digest == checkpoints.digest(plan)
    (('model.safetensors',), True)
    """
    planned = arrange(plan, format=format, max_shard_size=max_shard_size)
    reserve_memory(entry for file in planned.share(rank, world) for entry in file.entries)
    path = Path(folder)
    with explained(path):
        Folder(path).check_permission()
        make_folder(path)
        with FolderLock(path) as lock:
            return _Run(planned, Folder(path), lock, rank, world, replace).run(progress)


class _Run:
    """One call of `write`."""

    def __init__(
        self, planned: Arrangement, folder: Folder, lock: FolderLock, rank: int, world: int, replace: bool
    ) -> None:
        self.replace = replace
        self.arrangement, self.folder, self.lock = planned, folder, lock
        self.rank, self.world = rank, world
        self.mine = planned.share(rank, world)
        self.part: Manifest = planned.manifest  # of what this rank has written
        self.replaced: dict[str, str] = {}
        self.nbytes = 0
        self.tell: Callable[[dict[str, Any]], None] = lambda _: None

    def run(self, progress: Progress) -> Written:
        begin = time.perf_counter()
        recorded = self._take()
        total = sum(each.nbytes for each in self.mine)
        if callable(progress):
            self.tell = progress
        self.tell(
            {
                "event": "begin",
                "rank": self.rank,
                "world": self.world,
                "files": len(self.mine),
                "bytes": total,
                "seed": self.arrangement.plan.seed,
            }
        )
        with watched(total, progress, "write") as advance:
            survey = Survey.of(self.folder, recorded, self.mine, advance)
            if not self.replace:
                survey.check(self.folder.path)
            wanted = survey.wanted(self.mine)
            self._begin(wanted)
            for name in survey.kept:
                self.tell({"event": "kept", "file": name})
            self._write(wanted, advance)
        with self.lock.manifests():
            whole = self.folder.merge(self.arrangement.manifest)
        done = {each.name for each in whole.files}
        return Written(
            folder=self.folder.path,
            rank=self.rank,
            world=self.world,
            seed=self.arrangement.plan.seed,
            files=tuple(each.name for each in wanted),
            kept=survey.kept,
            replaced=self.replaced,
            missing=tuple(each.name for each in self.arrangement.files if each.name not in done),
            nbytes=self.nbytes,
            seconds=time.perf_counter() - begin,
            digest=whole.digest if whole.is_complete else "",
            left=dict(self.arrangement.plan.model.left),
        )

    def _recorded(self) -> Manifest:
        return self.folder.recorded(self.arrangement.manifest, self.arrangement.tensors)

    def _take(self) -> Manifest:
        """Locks this rank's files, so that no other run changes them. Returns what earlier runs have recorded."""
        with self.lock.manifests():
            recorded = self._recorded()
            taken = self.lock.take(each.number for each in self.mine)
            if taken is not None:
                raise CheckpointError(
                    f"Another run is writing {self.arrangement.files[taken].name} in {visible(str(self.folder.path))}. "
                    "Nothing has been changed. Wait until it is done, or end it."
                )
        return recorded

    def _begin(self, wanted: Sequence[PlannedFile]) -> None:
        """Says in the folder that this rank's files are taken, when nothing speaks against writing them any more."""
        with self.lock.manifests():
            recorded = self._recorded()
            self.folder.check_room(self.arrangement, wanted)
            names = {each.name for each in self.mine}
            self.folder.sweep(None if self.lock.is_alone() else {*names, self._part_name})
            # Also what is gone, or damaged, so that it is known until it is made again.
            self.part = recorded.only(each for each in recorded.files if each.name in names)
            self._record()
            self.folder.strip_parts(names, self._part_name)

    @property
    def _part_name(self) -> str:
        return part_name(self.rank, self.world)

    def _record(self) -> None:
        """Writes the manifest of this rank's part."""
        self.part.write(self.folder.path / self._part_name)

    def _write(self, files: Sequence[PlannedFile], advance: Callable[[int], None]) -> None:
        with ExitStack() as opened, Pipeline(2) as pipeline:
            for file in files:
                path = temporary(self.folder.path / file.name)
                opened.callback(path.unlink, missing_ok=True)
                stream = opened.enter_context(open(path, "wb"))
                contents, digests = writer_of(stream, file), Digests()
                pipeline.run(
                    file.entries, partial(_write_segments, Trail(stream.fileno()), contents, advance), digests.update
                )
                pipeline.then(partial(self._complete, file, stream, contents, digests))

    def _complete(self, file: PlannedFile, stream: BinaryIO, contents: Writer, digests: Digests) -> None:
        """Flushes a file, records it, and gives it its name: what has the name is always recorded."""
        contents.close()
        stream.flush()
        os.fsync(stream.fileno())
        size = os.fstat(stream.fileno()).st_size
        stream.close()
        tensors = [
            stored_tensor(entry, file.name, digest) for entry, digest in zip(file.entries, digests.done, strict=True)
        ]
        total = digest_of((each.name, each.dtype, each.shape, each.digest) for each in tensors)
        with self.lock.manifests():
            self.part = self.part.with_files([(StoredFile(file.name, size, total), tensors)])
            self._record()
            if aside := self.folder.set_aside(file.name):
                self.replaced[file.name] = aside
            publish(self.folder.path / file.name)
        self.nbytes += size
        self.tell({"event": "file", "file": file.name, "size": size})


def _write_segments(
    trail: Trail, contents: Writer, advance: Callable[[int], None], segments: Sequence[Segment]
) -> None:
    contents.write(segments)
    trail.reach()
    advance(sum(each.data.nbytes for each in segments))


def finish(folder: str | os.PathLike[str]) -> Manifest:
    """Makes the manifest and the index of a checkpoint whose ranks have all written their files.

    The last rank to end does so by itself. This is for when none of them can know that it is the last: if a file system
    shows the machines each other's files too late.

    Args:
        folder: the folder.

    Returns:
        The manifest.

    Raises:
        CheckpointError: files are missing, or the folder holds no checkpoint of fanin's, or those of several.

    >>> import fanin, tempfile
    >>> from fanin import checkpoints
    >>> recipe = fanin.Recipe([{"path": "*", "initializer": "random_normal"}], seed=1)
    >>> plan, folder = recipe.plan([{"path": "w", "shape": [2, 2]}]), tempfile.mkdtemp()
    >>> _ = checkpoints.write(plan, folder)
    >>> checkpoints.finish(folder).files[0].name
    'model.safetensors'
    """
    path = Path(folder)
    with explained(path):
        if not path.is_dir():
            raise CheckpointError(f"There is no folder {visible(str(path))}.")
        with FolderLock(path) as lock, lock.manifests():
            one_rank = all(each in (NAME, part_name(0, 1)) for each in Folder(path).manifests())
            whole = Folder(path).merge()
            alone = lock.is_alone()
    if not whole.is_complete:
        there = {each.name for each in whole.files}
        missing = [each for each in file_names(whole.format, whole.file_count) if each not in there]
        hint = "The same command as before goes on, for each rank that has not ended"
        if not alone:
            hint = "Other runs are writing: wait until they are done"
        elif one_rank:
            hint = "The same command goes on"
        verb = "is" if len(missing) == 1 else "are"
        raise CheckpointError(
            f"{len(missing)} of {whole.file_count} files of {visible(str(path))} {verb} missing: "
            f"{', '.join(missing[:10])}"
            f"{', …' if len(missing) > 10 else ''}. {hint}."
        )
    return whole
