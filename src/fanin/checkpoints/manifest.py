"""The manifest of a checkpoint, `fanin.json`: what its files hold, by which digests, and how it was made.

While several ranks write a checkpoint, each has a manifest of its own part, such as `fanin-00003-of-00008.json`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, get_args, get_origin, get_type_hints

from fanin._core import dtypes
from fanin._core.messages import class_name, shown, visible
from fanin._core.types import Shape
from fanin.checkpoints.files import CheckpointError, write_whole
from fanin.checkpoints.records import entry_of
from fanin.recipes.entry import Entry

NAME = "fanin.json"
VERSION = 1  # of the manifest's own format
_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a checkpoint.

    Attributes:
        name: its name, a path of the model.
        file: the name of the file that holds it; "" for a tensor of DCP, whose parts may be in several.
        dtype: its dtype by NumPy's or ml_dtypes' name, such as "bfloat16".
        shape: its shape.
        digest: the SHA-256 of its bytes (little-endian, in C order), as 64 hexadecimal digits; "" if it is not known,
            because each of several ranks of DCP has made a part of them.
        tied: the further paths of the same parameter, which no file holds again.
        record: how its values are made, as `records.record_of` says; None if data cannot say it.
    """

    name: str
    file: str
    dtype: str
    shape: Shape
    digest: str
    tied: tuple[str, ...] = ()
    record: Mapping[str, Any] | None = None

    def entry(self) -> Entry:
        """The entry of a plan that makes its values again.

        Raises:
            CheckpointError: there is no record, or it is damaged.
        """
        if self.record is None:
            raise CheckpointError(
                f"{visible(self.name)} cannot be made again from the manifest alone: its initializer draws from a "
                "distribution of its own. Give the recipe and the model."
            )
        return entry_of(self.name, dtypes.resolve(self.dtype), self.shape, self.record)


@dataclass(frozen=True)
class StoredFile:
    """A file of a checkpoint.

    Attributes:
        name: its name in the folder.
        size: its size in bytes.
        digest: the digest of its tensors, as `digest_of` makes it; "" if it is not known.
    """

    name: str
    size: int
    digest: str


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint, or the part of it that one rank has written, consists of.

    Attributes:
        format: "safetensors", "npz" or "dcp".
        fanin: the version of fanin that wrote it.
        model: the model in words.
        seed: the recipe's seed.
        recipe: the recipe as data, which `fanin.Recipe.from_dict` reads; None if it is not known.
        max_shard_size: the largest size of a file's tensors, in bytes.
        plan: the digest of the plan: of the names, shapes and records of all tensors, and of the files that hold them.
        file_count: the number of files of the whole checkpoint.
        parameters: the number of elements of all its parameters; running statistics and counters are none.
        files: the files that are complete.
        tensors: the tensors in them, in the order of the files, and of the bytes in them.
    """

    format: str
    fanin: str
    model: str
    seed: int
    recipe: Mapping[str, Any] | None
    max_shard_size: int
    plan: str
    file_count: int
    parameters: int
    files: tuple[StoredFile, ...] = ()
    tensors: tuple[StoredTensor, ...] = field(default=(), repr=False)

    @property
    def is_complete(self) -> bool:
        """Whether it has every file of the checkpoint."""
        return len(self.files) == self.file_count

    @property
    def digest(self) -> str:
        """The digest of all its tensors, as `digest_of` makes it."""
        return digest_of((each.name, each.dtype, each.shape, each.digest) for each in self.tensors)

    def tensors_of(self, file: str) -> tuple[StoredTensor, ...]:
        """The tensors in a file, in the order of their bytes; none if there is no such file."""
        return tuple(self._by_file.get(file, ()))

    @cached_property
    def _by_file(self) -> dict[str, list[StoredTensor]]:
        by_file: dict[str, list[StoredTensor]] = {}
        for each in self.tensors:
            by_file.setdefault(each.file, []).append(each)
        return by_file

    def with_files(self, files: Iterable[tuple[StoredFile, Iterable[StoredTensor]]]) -> Manifest:
        """The same manifest with more files, in their places among the others, or instead of those of the same names.

        Args:
            files: each file, with its tensors in the order of their bytes.
        """
        every = {each.name: (each, self.tensors_of(each.name)) for each in self.files}
        every |= {file.name: (file, tuple(tensors)) for file, tensors in files}
        ordered = [every[name] for name in sorted(every)]
        return replace(
            self,
            files=tuple(file for file, _ in ordered),
            tensors=tuple(each for _, tensors in ordered for each in tensors),
        )

    def only(self, files: Iterable[StoredFile]) -> Manifest:
        """The same manifest with these of its files alone."""
        kept = tuple(files)
        names = {each.name for each in kept}
        return replace(self, files=kept, tensors=tuple(each for each in self.tensors if each.file in names))

    def difference(self, other: Manifest, planned: Callable[[], Iterable[StoredTensor]] = tuple) -> str:
        """What keeps another manifest from being one of the same checkpoint, in words; "" if nothing does.

        What the model is called does not count, nor does how the recipe puts it, as long as the tensors are the same.

        Args:
            other: the other manifest.
            planned: makes all tensors of the other checkpoint, for an example of what differs.
        """
        words = {
            "fanin": "the version of fanin",
            "format": "the format",
            "seed": "the seed",
            "max_shard_size": "the largest size of a file",
        }
        found = []
        for name, word in words.items():
            mine, its = getattr(self, name), getattr(other, name)
            if mine != its:
                found.append(f"{word} ({shown(mine)} there, {shown(its)} here)")
        same_seed = self.seed == other.seed
        same_files = (self.format, self.max_shard_size) == (other.format, other.max_shard_size)
        if self.plan != other.plan:
            compared = ("dtype", "shape", "tied") + ("file",) * same_files + ("record",) * same_seed
            example = self._example(planned(), compared)
            if example or not found:
                found.append(f"its tensors{f' ({example})' if example else ''}")
        return " and in ".join(found)

    def _example(self, planned: Iterable[StoredTensor], compared: Iterable[str]) -> str:
        """A tensor that differs in one of these fields from the planned one of its name, in words; "" if none does."""
        its = {each.name: each for each in planned}
        if not its:
            return ""
        for mine in self.tensors:
            name = visible(mine.name)
            if mine.name not in its:
                return f"{name} is there, and not here"
            for each in compared:
                if difference := _first_difference(getattr(mine, each), getattr(its[mine.name], each)):
                    return f"{name}: {difference}"
        missing = its.keys() - {each.name for each in self.tensors} if self.is_complete else ()
        return f"{visible(min(missing))} is here, and not there" if missing else ""

    def to_json(self) -> str:
        """The manifest as JSON, one line for each tensor."""
        data = {"fanin_checkpoint": VERSION, **asdict(self)}
        tensors = data.pop("tensors")
        head = json.dumps(data, indent=1).removesuffix("\n}")
        lines = ",\n".join(f"  {json.dumps(each)}" for each in tensors)
        return f'{head},\n "digest": "{self.digest}",\n "tensors": [\n{lines}\n ]\n}}\n'

    def write(self, path: Path) -> None:
        """Writes the manifest, which appears at once and whole, in place of an older one."""
        write_whole(path, self.to_json().encode())


def digest_of(tensors: Iterable[tuple[str, str, Iterable[int], str]]) -> str:
    """One digest of many tensors, which depends neither on their order nor on the files that they are in.

    It is the SHA-256 of a line of JSON for each tensor, `["name", "dtype", [shape], "digest"]`, sorted by name.

    Args:
        tensors: the name, dtype, shape and the SHA-256 of the bytes of each.

    >>> from fanin.checkpoints.manifest import digest_of
    >>> digest_of([("w", "float32", (2,), 64 * "0")])[:16]
    'd231a561575f031d'
    """
    total = hashlib.sha256()
    for name, dtype, shape, digest in sorted(
        (name, dtype, list(shape), digest) for name, dtype, shape, digest in tensors
    ):
        total.update(json.dumps([name, dtype, shape, digest]).encode() + b"\n")
    return total.hexdigest()


def manifest_path(path: str | os.PathLike[str]) -> Path:
    """Where the manifest of a folder is, or the one beside a file."""
    path = Path(path)
    return (path if path.is_dir() else path.parent) / NAME


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """The manifest of a folder, or of a file.

    Args:
        path: the folder of a checkpoint, or a manifest's own path.

    Raises:
        CheckpointError: it is not a manifest, is damaged, or is of a later format.
        OSError: it cannot be read.
    """
    path = Path(path)
    path = path / NAME if path.is_dir() else path

    def refuse(reason: str) -> NoReturn:
        raise CheckpointError(f"{visible(path.name)} is not a manifest that fanin wrote: {reason}.") from None

    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        refuse(f"it is not JSON ({visible(str(error))[:80]})")
    if not isinstance(data, dict) or type(data.get("fanin_checkpoint")) is not int:
        refuse("it does not say which version of the format it has")
    if data["fanin_checkpoint"] != VERSION:
        refuse(f"it has the format {data['fanin_checkpoint']}, and this version of fanin reads {VERSION}")
    try:
        digest = data.pop("digest")
        del data["fanin_checkpoint"]
        manifest: Manifest = _made(Manifest, data)
        _check(manifest)
    except (KeyError, TypeError, ValueError) as error:
        refuse(f"it has no {error}" if isinstance(error, KeyError) else str(error))
    if manifest.digest != digest:
        refuse("its digest is not that of its tensors, so it was changed or damaged")
    return manifest


def _check(manifest: Manifest) -> None:
    """Raises ValueError if the parts of a manifest contradict one another."""
    names = [each.name for each in manifest.tensors]
    files = [each.name for each in manifest.files]
    if len(set(names)) < len(names) or len(set(files)) < len(files):
        raise ValueError("a tensor or a file occurs twice")
    if any(os.path.basename(each) != each or each.startswith(".") for each in files):
        raise ValueError("the name of a file leads out of the folder")
    if missing := {each.file for each in manifest.tensors} - {*files, ""}:
        raise ValueError(f"{shown(min(missing))} is not among its files")
    if any(each.digest and not _DIGEST.fullmatch(each.digest) for each in (*manifest.files, *manifest.tensors)):
        raise ValueError("a digest is not of 64 hexadecimal digits")
    if any(length < 0 for each in manifest.tensors for length in each.shape):
        raise ValueError("a length is negative")


def _first_difference(there: Any, here: Any, name: str = "") -> str:
    """The first place where two values for JSON differ, in words; "" if they are equal."""
    if isinstance(there, Mapping) and isinstance(here, Mapping) and there.keys() == here.keys():
        pairs = [(there[key], here[key], f"{key} ") for key in there]
    elif isinstance(there, (list, tuple)) and isinstance(here, (list, tuple)) and len(there) == len(here):
        if not any(isinstance(each, Mapping) for each in there):  # such as a shape, which is shown as a whole
            same, there, here = list(there) == list(here), tuple(there), tuple(here)
            return "" if same else f"{name}{shown(there)} there, {shown(here)} here"
        pairs = [(mine, its, name) for mine, its in zip(there, here, strict=True)]
    else:
        mine, its = (each if isinstance(each, str) and each else shown(each) for each in (there, here))
        if isinstance(there, float) and isinstance(here, float) and f"{there:.7g}" != f"{here:.7g}":
            mine, its = f"{there:.7g}", f"{here:.7g}"  # without the digits that float32 adds
        return "" if there == here else f"{name}{visible(mine)} there, {visible(its)} here"
    return next(filter(None, (_first_difference(*each) for each in pairs)), "")


def _made(cls: type[Any], data: Any) -> Any:
    """A dataclass from the data of JSON, whose every value is of the type that its field has."""
    if not isinstance(data, dict):
        raise TypeError(f"{shown(data)} is no {class_name(cls)}")
    if data.keys() != {each.name for each in fields(cls)}:
        wrong = sorted(data.keys() ^ {each.name for each in fields(cls)})
        raise ValueError(f"{shown(wrong[0])} is missing, or should not be there")
    types = get_type_hints(cls)
    return cls(**{name: _converted(types[name], name, value) for name, value in data.items()})


def _converted(kind: Any, name: str, value: Any) -> Any:
    """A value of a field from JSON."""
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise TypeError(f"`{name}` must be a list. Received: {shown(value)}")
        inner = get_args(kind)[0]
        return tuple(_converted(inner, name, each) for each in value)
    if kind in (StoredFile, StoredTensor):
        return _made(kind, value)
    if kind in (str, int):
        if type(value) is not kind:
            raise TypeError(f"`{name}` must be {'a text' if kind is str else 'an integer'}. Received: {shown(value)}")
    elif value is not None and not isinstance(value, dict):
        raise TypeError(f"`{name}` must be an object or null. Received: {shown(value)}")
    return value
