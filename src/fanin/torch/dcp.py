"""Plans saved by torch.distributed.checkpoint (DCP): each rank makes its own part of the values, a piece at a time."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate, chain, pairwise
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.filesystem import DEFAULT_SUFFIX, FileSystem, FileSystemWriter
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner, TensorWriteData, WriteItem, WriteItemType
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future

from fanin._core.memory import as_numpy
from fanin._core.messages import shown, visible
from fanin.checkpoints.arrangement import manifest_of
from fanin.checkpoints.files import is_weights
from fanin.checkpoints.manifest import NAME, Manifest, StoredFile, StoredTensor
from fanin.checkpoints.records import record_of
from fanin.recipes.entry import Entry
from fanin.recipes.plan import Plan, PlanError
from fanin.recipes.progress import Progress, watched

__all__ = ["WeightSavePlanner", "save_plan"]

_Format: TypeAlias = Literal["dcp", "safetensors"]

_REGION = 2**26  # bytes that are made and written at once
_FILE = 2**30  # bytes of a file of safetensors, which DCP's writer has in memory as a whole, twice


def save_plan(
    plan: Plan,
    folder: str | os.PathLike[str],
    *,
    others: Mapping[str, Any] | None = None,
    under: str | None = None,
    format: _Format = "dcp",
    most: int | None = None,
    process_group: dist.ProcessGroup | None = None,
    progress: Progress = None,
) -> Metadata:
    """Saves the values of a plan as a checkpoint of torch.distributed.checkpoint (DCP), without holding the model.

    All ranks of the process group call it with the same plan. Each makes its own part of the values, a piece at a time,
    and writes it; without a process group, this process makes everything. The values are those of
    `fanin.torch.initialize` for any number of ranks, and `torch.distributed.checkpoint.load` reads them into plain,
    FSDP2 and tensor-parallel models. Tied parameters have each of their names, as in a state dict. A manifest,
    `fanin.json`, is written as well: `fanin check` makes every value again and compares it.

    Args:
        plan: the plan, such as `recipe.plan(model)` for a model on the meta device.
        folder: a folder that every rank can write, without a checkpoint in it.
        others: further values of the state dict by their names there, such as buffers, and parameters that the recipe
            keeps. DCP saves them as always; safetensors need plain tensors.
        under: the key of the state dict in what will be loaded: "model" for `dcp.load({"model": state_dict})`.
        format: "dcp" for DCP's own files; "safetensors" for those of its Hugging Face writer, with their index, in
            which there are only whole tensors.
        most: the number of bytes that a piece may have, by default 64 MiB, or a file of safetensors, by default 1 GiB:
            DCP has such a file in memory, twice. A single tensor of safetensors may have more, and so may matrices
            that are made as a whole, such as orthogonal ones.
        process_group: the process group; None for the default one, if there is one.
        progress: whether the first rank shows a progress bar of its part; None shows one for long work on a terminal,
            if rich is installed. Or a function, which each rank gives events, as for `fanin.checkpoints.write`.

    Returns:
        DCP's description of what it has saved.

    Raises:
        fanin.recipes.PlanError: the plan does not give every parameter all of its values, or the ranks have different
            plans. Nothing has been written. (A ValueError.)
        FileExistsError: there is a checkpoint in the folder. Nothing has been written.
        OSError: a file cannot be written. DCP writes what makes a folder a checkpoint, `.metadata` or the index, last.

    >>> import fanin, fanin.torch, tempfile, torch
    >>> import torch.distributed.checkpoint as dcp
    >>> with torch.device("meta"):
    ...     model = torch.nn.Linear(784, 256)
    >>> folder = tempfile.mkdtemp()
    >>> _ = fanin.torch.save_plan(fanin.Recipe.preset("keras", seed=1).plan(model), folder)
    >>> model = model.to_empty(device="cpu")
    >>> dcp.load(model.state_dict(), checkpoint_id=folder, no_dist=True)
    >>> kernel = fanin.GlorotUniform(seed=1).spawn("weight")((784, 256))
    >>> bool((model.weight.detach().numpy() == kernel.T).all())
    True
    """
    if format not in ("dcp", "safetensors"):
        raise ValueError(f'`format` must be "dcp" or "safetensors". Received: format={shown(format)}.')
    if format == "safetensors" and under is not None:
        raise ValueError(f"`under` must be None for safetensors, whose names are flat. Received: under={shown(under)}.")
    if under == "":
        raise ValueError("`under` must be the key of the state dict, or None. Received: under=''.")
    if most is not None and (not isinstance(most, int) or most < 1):
        raise ValueError(f"`most` must be a positive number of bytes. Received: most={shown(most)}.")
    state = dict(others or {})
    if format == "dcp":
        planner = WeightSavePlanner(plan, under=under, most=most or _REGION, process_group=process_group)
        writer: _NewFolder = _PieceWriter(folder, planner)
    else:
        planner = WeightSavePlanner(plan, most=None, process_group=process_group)
        writer = _TensorWriter(folder, planner, planner.files(state, most or _FILE))
    writer.progress = progress
    with _first_error(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        return save(
            state if under is None else {under: state},
            storage_writer=writer,
            planner=planner,
            process_group=process_group,
            no_dist=not dist.is_initialized(),
        )


class WeightSavePlanner(DefaultSavePlanner):
    """A planner for `torch.distributed.checkpoint.save` that adds a plan's values to the state dict.

    Nothing is made before the storage writer asks for it. `save_plan` uses it with DCP's writers for folders; use it
    with others, such as one for a remote file system:
    `dcp.save({}, storage_writer=writer, planner=WeightSavePlanner(plan))`.

    Attributes:
        advance: is told how many bytes have been made since the last time.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        under: str | None = None,
        most: int | None = _REGION,
        process_group: dist.ProcessGroup | None = None,
    ) -> None:
        """Makes a planner for one call of `torch.distributed.checkpoint.save`.

        Args:
            plan: the plan.
            under: the key of the plan's parameters in the state dict, as for `save_plan`.
            most: the number of bytes that a piece may have; None for whole tensors, which writers of safetensors need.
            process_group: the process group that `save` is called with.
        """
        super().__init__(dedup_save_to_lowest_rank=True)
        self._plan, self._under, self._most = plan, under, most
        self._rank, self._world = 0, 1
        if dist.is_initialized():
            self._rank, self._world = dist.get_rank(process_group), dist.get_world_size(process_group)
        self._entries: dict[str, Entry] = {}
        self._ready: dict[MetadataIndex, torch.Tensor] = {}
        self.advance: Callable[[int], None] = lambda _: None

    def files(self, others: Iterable[str], most: int) -> dict[str, int]:
        """The number of the file, from 1, that each tensor goes to, so that each file is written by one rank.

        Args:
            others: the names of further tensors, which the first rank writes.
            most: the number of bytes that a file may have; one tensor may have more.
        """
        others = list(others)
        numbers, number = dict.fromkeys(others, 1), int(bool(others))
        for share in _shares(_parts(self._drawn(others), None), self._world):
            size = math.inf  # each rank begins a file
            for each in share:
                if size + each.nbytes > most:
                    number, size = number + 1, 0
                numbers[each.name], size = number, size + each.nbytes
        return numbers

    def set_up_planner(self, state_dict: Any, storage_meta: Any = None, is_coordinator: bool = False) -> None:
        """Checks the plan, and adds its names to those of the state dict."""
        others = state_dict if self._under is None else state_dict.get(self._under, {})
        drawn = self._drawn(others)
        _check(self._plan, drawn, others)
        super().set_up_planner(state_dict, storage_meta, is_coordinator)
        paths = {name: (name,) if self._under is None else (self._under, name) for name in drawn}
        self._entries = {".".join(paths[name]): entry for name, entry in drawn.items()}
        self.mappings.update({".".join(path): path for path in paths.values()})

    def create_local_plan(self) -> SavePlan:
        """This rank's items: DCP's for other values, and its share of the plan's."""
        plan = super().create_local_plan()
        share = _shares(_parts(self._entries, self._most), self._world)[self._rank]
        items = [*plan.items, *(each.item() for each in share)]
        return replace(plan, items=items, planner_data=(_fingerprint(self._plan), self.mappings))

    def create_global_plan(self, all_plans: list[SavePlan]) -> tuple[list[SavePlan], Metadata]:
        """The items of all ranks, if all have the same plan."""
        first, *rest = (plan.planner_data[0] for plan in all_plans)
        differing = [str(rank) for rank, each in enumerate(rest, 1) if each != first]
        if differing:
            raise PlanError(
                "All ranks must save the same plan; nothing has been written. "
                f"Received: one on rank 0, and others on the ranks {', '.join(differing)}. Use the same recipe, seed "
                "and model on each."
            )
        return super().create_global_plan([replace(plan, planner_data=plan.planner_data[1]) for plan in all_plans])

    def resolve_data(self, write_item: WriteItem) -> torch.Tensor | io.BytesIO:
        """The values of an item, which are made now if they are not ready."""
        ready = self._ready.pop(write_item.index, None)
        if ready is not None:
            return ready
        entry = self._entries.get(write_item.index.fqn)
        if entry is None:
            return super().resolve_data(write_item)
        return self._made(entry, write_item)

    def prepare(self, items: Iterable[WriteItem]) -> None:
        """Makes the plan's values of some items, so that `resolve_data` has them when they are wanted."""
        for each in items:
            entry = self._entries.get(each.index.fqn)
            if entry is not None:
                self._ready[each.index] = self._made(entry, each)

    def _made(self, entry: Entry, item: WriteItem) -> torch.Tensor:
        """The values of an item, which are made now."""
        data: Any = item.tensor_data
        starts, lengths = data.chunk.offsets, data.chunk.sizes
        tensor = torch.empty(lengths, dtype=data.properties.dtype)
        region = tuple(slice(start, start + length) for start, length in zip(starts, lengths, strict=True))
        entry.fill(as_numpy(tensor), region)
        self.advance(tensor.nbytes)
        return tensor

    def manifest(self, metadata: Metadata, format: str, files: Mapping[str, str]) -> Manifest:
        """The manifest of what `save` has saved.

        Args:
            metadata: DCP's description of it.
            format: "dcp" or "safetensors".
            files: the name of the file that each tensor is in, if there is one file for each.
        """
        tensors = []
        for name, each in metadata.state_dict_metadata.items():
            if isinstance(each, TensorStorageMetadata):
                dtype, entry = str(each.properties.dtype).removeprefix("torch."), self._entries.get(name)
                record = None if entry is None else record_of(entry)
                tensors.append(StoredTensor(name, files.get(name, ""), dtype, tuple(each.size), "", record=record))
        whole = manifest_of(
            self._plan, format=format, max_shard_size=0, fingerprint=_fingerprint(self._plan), file_count=0
        )
        return replace(whole, tensors=tuple(tensors))

    def _drawn(self, others: Iterable[str]) -> dict[str, Entry]:
        """The entries by every name that their parameters have in the state dict, without the names of others."""
        given = set(others)
        names = {name: entry for entry in self._plan.entries for name in (entry.path, *entry.parameter.tied)}
        return {name: entry for name, entry in names.items() if name not in given}


@dataclass(frozen=True)
class _Part:
    """A region of a tensor, to be written.

    Attributes:
        name: the tensor's name in the checkpoint.
        entry: what makes its values.
        region: the region.
    """

    name: str
    entry: Entry
    region: tuple[slice, ...]

    @property
    def lengths(self) -> torch.Size:
        """The region's shape."""
        return torch.Size([each.stop - each.start for each in self.region])

    @property
    def nbytes(self) -> int:
        """The region's size in bytes."""
        return self.lengths.numel() * self.entry.parameter.dtype.itemsize

    def item(self) -> WriteItem:
        """The region as DCP describes it."""
        starts = torch.Size([each.start for each in self.region])
        properties = TensorProperties(dtype=_torch_dtype(self.entry))
        chunk = ChunkStorageMetadata(offsets=starts, sizes=self.lengths)
        data = TensorWriteData(chunk=chunk, properties=properties, size=torch.Size(self.entry.shape))
        return WriteItem(MetadataIndex(self.name, starts), WriteItemType.SHARD, tensor_data=data)


def _parts(entries: Mapping[str, Entry], most: int | None) -> list[_Part]:
    """The regions of all tensors; whole tensors if `most` is None."""
    parts = []
    for name, entry in entries.items():
        regions = entry.regions(most) if most is not None else [tuple(slice(0, length) for length in entry.shape)]
        parts += [_Part(name, entry, region) for region in regions]
    return parts


def _shares(parts: list[_Part], world: int) -> list[list[_Part]]:
    """The parts of each rank, which have about the same number of bytes, in order."""
    ends = list(accumulate(each.nbytes for each in parts))
    shares: list[list[_Part]] = [[] for _ in range(world)]
    for each, end in zip(parts, ends, strict=True):
        middle = end - each.nbytes / 2
        shares[min(world - 1, int(middle * world / max(1, ends[-1])))].append(each)
    return shares


def _check(plan: Plan, drawn: Mapping[str, Entry], others: Mapping[str, Any]) -> None:
    """Raises PlanError unless every tensor of a checkpoint has values, of the plan or among the others."""
    given = {entry.path for entry in plan.entries if entry.path in others}
    plan.chosen(lambda parameter: parameter.path not in given).check()
    wrong = []
    for name, entry in drawn.items():
        if any(each in others for each in (entry.path, *entry.parameter.tied)):
            wrong.append(f"{name}: it is tied to a parameter that `others` has. Add it there, too.")
        elif not entry.covers:
            kept = "it" if entry.kept else "some of its blocks"
            wrong.append(f"{name}: {entry.rule} keeps {kept}, whose values the plan does not have. Add it to `others`.")
        elif (dtype := entry.parameter.dtype) != _written_dtype(entry):
            wrong.append(f"{name}: PyTorch has no dtype {dtype.name}. Choose another one.")
    for name, reason in plan.model.left.items():
        if reason.startswith("computed from ") and name not in others:
            wrong.append(f"{name}: it is {reason} by its layer, and the plan does not have it. Add it to `others`.")
    if wrong:
        lines = "".join(f"\n  {visible(each)}" for each in wrong)
        raise PlanError(f"The plan of {visible(plan.model.name)} cannot be saved; nothing has been written.{lines}")


def _torch_dtype(entry: Entry) -> Any:
    """PyTorch's dtype of this name; None if there is none."""
    return getattr(torch, entry.parameter.dtype.name, None)


def _written_dtype(entry: Entry) -> Any:
    """The dtype of the arrays over the tensors of that dtype; None if there are none."""
    try:
        return as_numpy(torch.empty(0, dtype=_torch_dtype(entry))).dtype
    except (RuntimeError, TypeError, ValueError):
        return None


def _fingerprint(plan: Plan) -> str:
    """A digest of everything that the plan's values follow from."""
    digest = hashlib.sha256()
    for entry in plan.entries:
        parameter = entry.parameter
        how = record_of(entry) or entry.as_dict()
        facts = [entry.path, parameter.tied, parameter.dtype.name, entry.shape, how]
        digest.update(json.dumps(facts, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


@contextmanager
def _first_error() -> Iterator[None]:
    """Raises the exception of the first rank that has one, in place of DCP's, which is no `Exception`."""
    try:
        yield
    except CheckpointException as error:
        rank, (first, _) = min(error.failures.items(), key=lambda failure: failure[0])
        if dist.is_initialized():
            first.add_note(f"fanin: `save_plan` ended on every rank, because rank {rank} raised this.")
        raise first from error


class _NewFolder(FileSystemWriter):
    """A writer that refuses a folder with a checkpoint in it, and adds a manifest, `fanin.json`."""

    planner: WeightSavePlanner
    progress: Progress = None

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """Raises FileExistsError for a folder with weights in it, of any kind, or a manifest."""
        folder = Path(self.path)
        for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
            is_left = name.endswith(".distcp")  # by a save that did not end, if there is no .metadata
            if (is_weights(name) and not is_left) or re.fullmatch(r"fanin.*\.json", name):
                raise FileExistsError(
                    "`folder` must not have a checkpoint in it; nothing has been written. "
                    f"Received: {shown(str(self.path))}, which has {name}. Choose another folder, or delete it."
                )
        return super().prepare_local_plan(plan)

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Writes this rank's items, and shows how far they are."""
        progress = self.progress if callable(self.progress) or self.planner.is_coordinator else False
        with watched(sum(map(_nbytes, plan.items)), progress, "save") as advance:
            self.planner.advance = advance
            return self.written(plan)

    def written(self, plan: SavePlan) -> Future[list[WriteResult]]:
        """The results of writing the items."""
        raise NotImplementedError

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Writes the manifest, and then what makes the folder a checkpoint."""
        self.manifest(metadata, results).write(Path(self.path) / NAME)
        super().finish(metadata, results)

    def manifest(self, metadata: Metadata, results: list[list[WriteResult]]) -> Manifest:
        """The manifest of what all ranks have written."""
        raise NotImplementedError


class _TensorWriter(_NewFolder, HuggingFaceStorageWriter):
    """DCP's Hugging Face writer for a new folder."""

    def __init__(self, path: str | os.PathLike[str], planner: WeightSavePlanner, files: dict[str, int]) -> None:
        HuggingFaceStorageWriter.__init__(self, str(path), files)
        self.planner = planner

    def written(self, plan: SavePlan) -> Future[list[WriteResult]]:
        """The results of writing the items, a file at a time."""
        return HuggingFaceStorageWriter.write_data(self, plan, self.planner)

    def manifest(self, metadata: Metadata, results: list[list[WriteResult]]) -> Manifest:
        """The manifest, with the file of each tensor."""
        files = {each.index.fqn: each.storage_data.relative_path for each in chain.from_iterable(results)}
        folder = Path(self.path)
        stored = [StoredFile(name, (folder / name).stat().st_size, "") for name in sorted(set(files.values()))]
        return replace(
            self.planner.manifest(metadata, "safetensors", files), files=tuple(stored), file_count=len(stored)
        )


class _PieceWriter(_NewFolder):
    """DCP's own writer for a new folder, in bounded memory.

    DCP's keeps all tensors of a call of `write_data` until it returns. This one calls it for a few pieces at a time,
    whose bytes go to the end of the rank's file, and makes the next ones meanwhile.
    """

    def __init__(self, path: str | os.PathLike[str], planner: WeightSavePlanner) -> None:
        super().__init__(path)
        self.fs = _GrowingFiles()
        self.planner = planner

    def manifest(self, metadata: Metadata, results: list[list[WriteResult]]) -> Manifest:
        """The manifest, without files: a tensor may be in several."""
        return self.planner.manifest(metadata, "dcp", {})

    def written(self, plan: SavePlan) -> Future[list[WriteResult]]:
        """The results of writing the items, a few at a time."""
        results: list[WriteResult] = []
        batches = [*_batches(plan.items), []]
        with ThreadPoolExecutor(1) as maker:
            made = maker.submit(self.planner.prepare, batches[0])
            for items, following in pairwise(batches):
                made.result()
                made = maker.submit(self.planner.prepare, following)
                part = replace(plan, items=items)
                results += FileSystemWriter.write_data(self, part, self.planner).wait()
        future: Future[list[WriteResult]] = Future()
        future.set_result(results)
        return future


class _GrowingFiles(FileSystem):
    """A file system in which a file of pieces that is opened again is written on from its end."""

    def __init__(self) -> None:
        super().__init__()
        self._begun: set[str] = set()

    @contextmanager
    def create_stream(self, path: str | os.PathLike[str], mode: str) -> Iterator[Any]:
        """Opens a file, behind what this process has written to it."""
        name = os.fspath(path)
        again = name in self._begun and name.endswith(DEFAULT_SUFFIX)
        self._begun.add(name)
        with super().create_stream(path, "ab" if again and mode == "wb" else mode) as stream:
            yield stream


def _nbytes(item: WriteItem) -> int:
    """The size of an item in bytes; 0 for what is no tensor."""
    data = item.tensor_data
    return 0 if data is None else data.chunk.sizes.numel() * data.properties.dtype.itemsize


def _batches(items: Iterable[WriteItem]) -> Iterator[list[WriteItem]]:
    """The items in order, in batches of about a piece."""
    batch: list[WriteItem] = []
    size = 0
    for item in items:
        nbytes = _nbytes(item)
        if batch and size + nbytes > _REGION:
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += nbytes
    if batch:
        yield batch
