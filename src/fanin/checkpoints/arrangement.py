"""The arrangement of a checkpoint: which file holds which tensors, and which rank writes which files.

It follows from the plan, the format and the largest size of a file alone, so that any number of ranks write the same
files.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias, TypeVar, get_args

from fanin import __version__
from fanin._core import dtypes
from fanin._core.messages import shown, suggestion, visible
from fanin._core.types import DType, Shape
from fanin.checkpoints import npz, safetensors
from fanin.checkpoints.files import CheckpointError
from fanin.checkpoints.manifest import Manifest, StoredTensor
from fanin.checkpoints.records import record_of
from fanin.models.parameters import Parameter
from fanin.models.traits import STATISTICS
from fanin.recipes.entry import Entry
from fanin.recipes.plan import Plan
from fanin.recipes.tables import folded_lines

Format: TypeAlias = Literal["safetensors", "npz"]
_Item = TypeVar("_Item")
FORMATS: tuple[str, ...] = get_args(Format)
INDEX = "model.safetensors.index.json"
# As transformers has it: what loads a file with it knows that its tensors are in PyTorch's order of axes.
METADATA = {"format": "pt"}
_CHECKS = {"safetensors": safetensors.check_tensor, "npz": npz.check_array}
_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]I?B)\s*", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class PlannedFile:
    """A file of a checkpoint, before it is written.

    Attributes:
        number: its number among the files, from 0.
        name: its name in the folder.
        format: "safetensors" or "npz".
        entries: the entries of its tensors, in the order of their bytes.
        size: its size in bytes.
    """

    number: int
    name: str
    format: Format
    entries: tuple[Entry, ...]
    size: int

    @property
    def nbytes(self) -> int:
        """The number of its tensors' bytes."""
        return sum(each.parameter.nbytes for each in self.entries)

    @property
    def tensors(self) -> list[tuple[str, DType, Shape]]:
        """The name, dtype and shape of each tensor, in the order of their bytes."""
        return [(each.path, each.parameter.dtype, each.shape) for each in self.entries]

    @property
    def header(self) -> safetensors.Header:
        """The header of a safetensors file."""
        return safetensors.laid_out(self.tensors, METADATA)


@dataclass(frozen=True)
class Arrangement:
    """The files of a checkpoint.

    Attributes:
        plan: the plan that they hold.
        format: "safetensors" or "npz".
        max_shard_size: the largest size of a file's tensors, in bytes; a larger tensor has a file of its own.
        files: the files.
    """

    plan: Plan
    format: Format
    max_shard_size: int
    files: tuple[PlannedFile, ...]

    @property
    def size(self) -> int:
        """The size of all files in bytes."""
        return sum(each.size for each in self.files)

    def share(self, rank: int, world: int) -> tuple[PlannedFile, ...]:
        """The files that a rank writes, so that all ranks write about as many bytes. Some of many ranks may have none.

        Args:
            rank: the rank, from 0.
            world: the number of ranks.

        Raises:
            ValueError, TypeError: they are no integers with 0 <= rank < world.
        """
        return tuple(shared(self.files, lambda each: each.size, rank, world))

    def tensors(self) -> Iterator[StoredTensor]:
        """The tensors of all files as manifests have them, without their digests."""
        return (stored_tensor(each, file.name) for file in self.files for each in file.entries)

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest of the checkpoint, without any file yet."""
        return manifest_of(
            self.plan,
            format=self.format,
            max_shard_size=self.max_shard_size,
            fingerprint=self._fingerprint(),
            file_count=len(self.files),
        )

    def _fingerprint(self) -> str:
        """The digest of what determines every byte of the files, and their names."""
        total = hashlib.sha256()
        for each in self.tensors():
            line = [each.file, each.name, each.dtype, list(each.shape), list(each.tied), each.record]
            total.update(json.dumps(line, sort_keys=True).encode() + b"\n")
        return total.hexdigest()


def arrange(plan: Plan, *, format: Format = "safetensors", max_shard_size: int | str = "5GB") -> Arrangement:
    """The arrangement of a checkpoint, in which nothing is drawn yet.

    Tensors fill files in the plan's order, as in transformers and huggingface_hub; a tensor that is larger than a file
    may be has a file of its own. A tied parameter is stored once, under its first path in the model's order, as
    transformers stores it: loading a model ties the others again.

    Args:
        plan: the plan.
        format: "safetensors" or "npz".
        max_shard_size: the largest size of a file's tensors: bytes, or a text such as "5GB" (10**9 bytes) or "2GiB".

    Raises:
        fanin.recipes.PlanError: the recipe does not fit the model.
        CheckpointError: a tensor has no values in the plan, or the format cannot hold it; the message lists all.
        ValueError: the format is unknown, or the size is none.

    >>> import fanin
    >>> from fanin import checkpoints
    >>> recipe = fanin.Recipe([{"path": "*", "initializer": "random_normal"}], seed=1)
    >>> plan = recipe.plan([{"path": name, "shape": [1000, 100]} for name in "abc"])
    >>> [(each.name, each.size) for each in checkpoints.arrange(plan, max_shard_size="1MB").files]
    [('model-00001-of-00002.safetensors', 800176), ('model-00002-of-00002.safetensors', 400112)]
    """
    if format not in FORMATS:
        rule = f"`format` must be one of {', '.join(FORMATS)}"
        raise ValueError(f"{rule}. Received: format={shown(format)}.{suggestion(format, FORMATS)}")
    most = size_of(max_shard_size)
    check_plan(plan, lambda parameter: _CHECKS[format](parameter.path, parameter.dtype))
    shards = _shards(plan.entries, most)
    names = file_names(format, len(shards))
    files = (_file(number, name, format, shards[number]) for number, name in enumerate(names))
    return Arrangement(plan, format, most, tuple(files))


def manifest_of(plan: Plan, *, format: str, max_shard_size: int, fingerprint: str, file_count: int) -> Manifest:
    """The manifest of a checkpoint of a plan, without any file yet.

    Args:
        plan: the plan.
        format: "safetensors", "npz" or "dcp".
        max_shard_size: the largest size of a file's tensors, in bytes.
        fingerprint: the digest of the plan.
        file_count: the number of files.
    """
    return Manifest(
        format=format,
        fanin=__version__,
        model=plan.model.name,
        seed=plan.seed,
        recipe=json.loads(json.dumps(plan.recipe, default=_plain)),
        max_shard_size=max_shard_size,
        plan=fingerprint,
        file_count=file_count,
        parameters=sum(each.parameter.size for each in plan.entries if each.parameter.role not in STATISTICS),
    )


def stored_tensor(entry: Entry, file: str, digest: str = "") -> StoredTensor:
    """The tensor of an entry as manifests have it.

    Args:
        entry: the entry.
        file: the name of the file that holds it.
        digest: the SHA-256 of its bytes; "" if it is not known yet.
    """
    return StoredTensor(
        name=entry.path,
        file=file,
        dtype=entry.parameter.dtype.name,
        shape=entry.shape,
        digest=digest,
        tied=entry.parameter.tied,
        record=record_of(entry),
    )


def file_names(format: str, count: int) -> list[str]:
    """The names of a checkpoint's files."""
    suffix = npz.SUFFIX if format == "npz" else safetensors.SUFFIX
    if count == 1:
        return [f"model{suffix}"]
    return [f"model-{number:05d}-of-{count:05d}{suffix}" for number in range(1, count + 1)]


def shared(items: Sequence[_Item], size: Callable[[_Item], int], rank: int, world: int) -> list[_Item]:
    """The items of one of several ranks, in their order, so that the sizes of all ranks' items are about equal.

    Each item, the largest ones first, goes to the rank that has least.

    Args:
        items: the items.
        size: the size of an item.
        rank: the rank, from 0.
        world: the number of ranks.

    Raises:
        ValueError, TypeError: they are no integers with 0 <= rank < world.
    """
    check_rank(rank, world)
    loads = [(0, each) for each in range(min(world, len(items)))]
    mine = []
    for number in sorted(range(len(items)), key=lambda each: -size(items[each])):
        load, taker = heapq.heappop(loads)
        heapq.heappush(loads, (load + size(items[number]), taker))
        mine += [number] if taker == rank else []
    return [items[number] for number in sorted(mine)]


def _plain(value: Any) -> Any:
    """A value of a recipe that JSON does not have, such as a NumPy scalar, as one that it has."""
    return value.item() if hasattr(value, "item") else str(value)


def check_rank(rank: int, world: int) -> None:
    """Raises an error unless these are a rank and a number of ranks."""
    for name, value in (("rank", rank), ("world", world)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"`{name}` must be an integer. Received: {name}={shown(value)}.")
    if not 0 <= rank < world:
        raise ValueError(f"`rank` must be from 0 to `world` - 1. Received: rank={rank}, world={world}.")


def size_of(text: int | str) -> int:
    """A number of bytes from a text such as "5GB".

    Raises:
        ValueError: it is none, or not at least 1.

    >>> from fanin.checkpoints.arrangement import size_of
    >>> size_of("5GB"), size_of("1.5 KiB"), size_of(7)
    (5000000000, 1536, 7)
    """
    size = text if isinstance(text, int) and not isinstance(text, bool) else 0
    if isinstance(text, str):
        match = _SIZE.fullmatch(text)
        size = int(float(match[1]) * _UNITS[match[2].upper()]) if match else int(text) if text.isdecimal() else 0
    if not 1 <= size < 2**63:
        raise ValueError(
            "The largest size of a file must be a number of bytes, or a text such as 5GB, 500MB or 2GiB. "
            f"Received: {shown(text)}."
        )
    return size


def index_of(manifest: Manifest) -> str | None:
    """The index of several safetensors files, as transformers writes it; None if a checkpoint needs none."""
    if manifest.format != "safetensors" or manifest.file_count < 2:
        return None
    total = sum(math.prod(each.shape) * dtypes.resolve(each.dtype).itemsize for each in manifest.tensors)
    data = {
        "metadata": {"total_parameters": manifest.parameters, "total_size": total},
        "weight_map": {each.name: each.file for each in manifest.tensors},
    }
    return json.dumps(data, indent=2, sort_keys=True) + "\n"


def check_plan(plan: Plan, check: Callable[[Parameter], None] | None = None) -> None:
    """Raises an error unless a plan has values for every tensor.

    Args:
        plan: the plan.
        check: raises a CheckpointError for a parameter that cannot be written.

    Raises:
        fanin.recipes.PlanError: the recipe does not fit the model.
        CheckpointError: a tensor has no values, or cannot be written; the message lists all.
    """
    plan.check()
    wrong = {}
    for each in plan.entries:
        if not each.covers and each.parameter.size:
            is_kept = f" has no values: {each.rule} keeps it as it is"
            wrong[each.path] = is_kept if each.kept else f" has values for a part of it only ({each.rule})"
            continue
        try:
            if check is not None:
                check(each.parameter)
        except CheckpointError as error:
            wrong[each.path] = f": {error}"
    for path, reason in plan.model.left.items():
        if reason.startswith("computed from "):
            wrong[path] = f" is {reason} by its layer, and would not be in a file"
    if not plan.entries:
        raise CheckpointError(f"{visible(plan.model.name)} has no parameters, so there is nothing to write.")
    if wrong:
        lines = "".join(f"\n  {path}{text}" for path, text in folded_lines(wrong))
        raise CheckpointError(f"{visible(plan.model.name)} cannot be written; nothing has been written.{lines}")


def _shards(entries: Iterable[Entry], most: int) -> list[list[Entry]]:
    """The entries of each file, divided as `huggingface_hub.split_torch_state_dict_into_shards` does."""
    shards: list[list[Entry]] = []
    current: list[Entry] = []
    size = 0
    for each in entries:
        nbytes = each.parameter.nbytes
        if nbytes > most:
            shards.append([each])
            continue
        if size + nbytes > most:
            shards.append(current)
            current, size = [], 0
        current.append(each)
        size += nbytes
    return [*shards, current] if current else shards


def _file(number: int, name: str, format: Format, entries: list[Entry]) -> PlannedFile:
    tensors = [(each.path, each.parameter.dtype, each.shape) for each in entries]
    if format == "npz":
        size = npz.file_size([(*each, entry.parameter.nbytes) for each, entry in zip(tensors, entries, strict=True)])
        return PlannedFile(number, name, format, tuple(entries), size)
    header = safetensors.laid_out(tensors, METADATA)
    by_path = {each.path: each for each in entries}
    ordered = tuple(by_path[each.name] for each in header.tensors)
    return PlannedFile(number, name, format, ordered, header.file_size)
