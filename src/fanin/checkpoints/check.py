"""Checks of checkpoints: every value is made again, and compared with what the files have, in bounded memory."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from fanin._core.messages import plural, readable, shown, visible
from fanin._core.shapes import c_strides
from fanin._core.types import Array, DType, Shape
from fanin.checkpoints import dcp, safetensors
from fanin.checkpoints.files import CheckpointError
from fanin.checkpoints.manifest import NAME, Manifest, read_manifest
from fanin.checkpoints.stored import Contents, Slices, Stored, read_npz, read_safetensors
from fanin.recipes.entry import Entry
from fanin.recipes.plan import Plan

INDEX = "model.safetensors.index.json"
_REGION = 2**25  # bytes that are made and compared at once
_Box: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Finding:
    """What is wrong with a tensor or a file of a checkpoint.

    Attributes:
        name: the tensor's name, or the file's.
        problem: "values", "dtype", "shape", "missing", "unexpected" or "unreadable".
        message: what is wrong, in words.
        differing: how many elements have other bits; 0 for other problems.
        index: where the first of them is, in C order, counted over the whole tensor; None for other problems.
        position: the same place along each axis.
        expected: the value that it should have, in words.
        stored: the value that the file has there, in words.
    """

    name: str
    problem: str
    message: str
    differing: int = 0
    index: int | None = None
    position: tuple[int, ...] | None = None
    expected: str | None = None
    stored: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The finding as plain data, for JSON."""
        return {**vars(self), "position": None if self.position is None else list(self.position)}

    def __str__(self) -> str:
        return f"{visible(self.name)}: {self.message}"


@dataclass(frozen=True)
class Checked:
    """What a check has found; true if every tensor is bit-exact.

    Attributes:
        path: the file or folder.
        format: "safetensors", "npz" or "dcp".
        source: what says which values are right: "fanin.json" or "plan".
        exact: the names of the tensors whose every bit is right.
        findings: what is wrong.
        unchecked: the names of tensors and other values that no recipe says anything about, with the reason.
        by_digest: those of the exact ones that were not made again, but have the digest that the manifest says.
        nbytes: the size in bytes of the tensors that were compared.
        seconds: the time that it took.
    """

    path: str
    format: str
    source: str
    exact: tuple[str, ...]
    findings: tuple[Finding, ...]
    unchecked: Mapping[str, str]
    by_digest: tuple[str, ...] = ()
    nbytes: int = 0
    seconds: float = 0.0

    @property
    def tensors(self) -> int:
        """The number of tensors that should be there."""
        return len(self.exact) + len({each.name for each in self.findings if each.problem in _OF_TENSORS})

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data, for JSON."""
        return {
            "path": self.path,
            "format": self.format,
            "source": self.source,
            "ok": bool(self),
            "tensors": self.tensors,
            "exact": len(self.exact),
            "by_digest": list(self.by_digest),
            "findings": [each.as_dict() for each in self.findings],
            "unchecked": dict(self.unchecked),
            "bytes": self.nbytes,
            "seconds": self.seconds,
        }

    def __bool__(self) -> bool:
        return not self.findings

    def __str__(self) -> str:
        total = self.tensors
        verb = "is" if total == 1 else "are"
        lines = [
            f"{len(self.exact)} of {total} {plural(total, 'tensor')} {verb} bit-exact "
            f"({readable(self.nbytes)} in {self.seconds:.3g} s)"
        ]
        if self.by_digest:
            lines.append(f"{len(self.by_digest)} of them by their digests alone: {', '.join(self.by_digest)}")
        lines += map(str, self.findings)
        lines += [f"{visible(name)}: not checked ({reason})" for name, reason in self.unchecked.items()]
        return "\n".join(lines)


_OF_TENSORS = ("values", "dtype", "shape", "missing")


@dataclass(frozen=True)
class _Wanted:
    """A parameter that a checkpoint should have.

    Attributes:
        names: its names, of which files may have one or several.
        dtype: its dtype by its name.
        shape: its shape.
        entry: what makes its values; None if only their digest is known.
        digest: the SHA-256 of its bytes; "" if it is not known.
    """

    names: tuple[str, ...]
    dtype: str
    shape: Shape
    entry: Entry | None
    digest: str = ""


def check(path: str | os.PathLike[str], plan: Plan | None = None, *, under: str | None = None) -> Checked:
    """Makes every value of a checkpoint again, and compares the bits with those in the files, in bounded memory.

    Args:
        path: a .safetensors or .npz file; a folder of such files, with or without an index; or a folder of
            torch.distributed.checkpoint.
        plan: what the values should be; None to take it from the manifest `fanin.json`, in the folder or beside the
            file.
        under: the key that a state dict is under, if names begin with it: "model" for `model.layers.0.weight`, which
            the plan calls `layers.0.weight`.

    Returns:
        A report, which is true if everything is bit-exact.

    Raises:
        fanin.recipes.PlanError: the plan cannot be executed.
        CheckpointError: there is no checkpoint, or neither a manifest nor a plan says what its values should be. (A
            ValueError.) Damaged files are findings of the report.
        OSError: the folder cannot be read.

    >>> import fanin, numpy as np, pathlib, tempfile
    >>> from fanin.checkpoints import check
    >>> plan = fanin.Recipe.preset("keras", seed=1).plan([{"path": "w", "shape": [3, 4], "layout": "keras"}])
    >>> path = pathlib.Path(tempfile.mkdtemp(), "weights.npz")
    >>> values = plan.entries[0].make()
    >>> np.savez(path, w=values)
    >>> bool(check(path, plan))
    True
    >>> values[1, 2] = 0
    >>> np.savez(path, w=values)
    >>> print(check(path, plan).findings[0])
    w: 1 of 12 elements differs. The first is number 6, at (1, 2): it is 0.0, and should be -0.29155737.
    """
    begin = time.perf_counter()
    path = Path(path)
    manifest = None if plan is not None else _manifest_of(path)
    if plan is not None:
        plan.check()
    wanted, unchecked = _of_plan(plan, under) if plan is not None else _of_manifest(manifest)
    contents, findings = _contents(path, manifest)
    exact, by_digest, size = [], [], 0
    known: set[str] = set(unchecked)
    for each in wanted:
        known |= set(each.names)
        there = [contents.tensors[name] for name in each.names if name in contents.tensors]
        if not there:
            findings.append(_missing(each, contents))
        for stored in there:
            finding = _compared(each, stored)
            if finding is not None:
                findings.append(finding)
                continue
            exact.append(stored.name)
            by_digest += [stored.name] if each.entry is None else []
            size += stored.size * np.dtype(stored.dtype).itemsize
    findings += [
        Finding(name, "unexpected", f"it is in {visible(stored.file)}, and {_SAYS[manifest is None]} does not have it.")
        for name, stored in contents.tensors.items()
        if name not in known
    ]
    unchecked |= dict.fromkeys(contents.other, "no tensor")
    present = {name: why for name, why in unchecked.items() if name in contents.tensors or name in contents.other}
    return Checked(
        path=str(path),
        format=contents.format,
        source="plan" if manifest is None else NAME,
        exact=tuple(exact),
        findings=tuple(findings),
        unchecked=present,
        by_digest=tuple(by_digest),
        nbytes=size,
        seconds=time.perf_counter() - begin,
    )


_SAYS = {True: "the plan", False: NAME}


# ---------------------------------------------------------------- what should be there


def _manifest_of(path: Path) -> Manifest:
    """The manifest of a folder, or beside a file."""
    place = (path if path.is_dir() else path.parent) / NAME
    if path.exists() and not place.exists():
        raise CheckpointError(
            f"A checkpoint without {NAME} needs a plan, of a recipe and a model, to be checked against. "
            f"Received: {shown(str(path))} alone."
        )
    return read_manifest(place)


def _of_manifest(manifest: Manifest | None) -> tuple[list[_Wanted], dict[str, str]]:
    assert manifest is not None
    wanted, unchecked = [], {}
    for each in manifest.tensors:
        if each.record is None and not each.digest:
            unchecked[each.name] = "not made by fanin"
            continue
        entry = None if each.record is None else each.entry()
        wanted.append(_Wanted((each.name, *each.tied), each.dtype, each.shape, entry, each.digest))
    return wanted, unchecked


def _of_plan(plan: Plan, under: str | None) -> tuple[list[_Wanted], dict[str, str]]:
    def placed(name: str) -> str:
        return name if under is None else f"{under}.{name}"

    wanted = []
    unchecked = {placed(name): f"the recipe leaves it alone: {reason}" for name, reason in plan.model.left.items()}
    for entry in plan.entries:
        names = tuple(map(placed, (entry.path, *entry.parameter.tied)))
        if entry.covers:
            wanted.append(_Wanted(names, entry.parameter.dtype.name, entry.shape, entry))
        else:
            kept = "it" if entry.kept else "some of its blocks"
            unchecked |= dict.fromkeys(names, f"{entry.rule} keeps {kept}")
    return wanted, unchecked


# ---------------------------------------------------------------- what is there


def _contents(path: Path, manifest: Manifest | None) -> tuple[Contents, list[Finding]]:
    """The contents of a checkpoint, and what is wrong with its files."""
    if not path.is_dir():
        read = {".safetensors": read_safetensors, ".npz": read_npz}.get(path.suffix.lower())
        if read is None or not path.exists():
            rule = "A checkpoint must be a .safetensors or .npz file, or a folder of such files or of DCP"
            raise CheckpointError(f"{rule}. Received: {shown(str(path))}{'' if path.exists() else ', which is not there'}.")
        contents = read([path])
    elif (path / dcp.METADATA).exists():
        contents = dcp.read_dcp(path)
    else:
        contents = _in_folder(path, manifest)
    return contents, [Finding(name, "unreadable", why) for name, why in contents.broken.items()]


def _in_folder(folder: Path, manifest: Manifest | None) -> Contents:
    """The contents of a folder of files: those of the index, of the manifest, or all."""
    there = sorted(os.listdir(folder))
    index = _index(folder) if INDEX in there else {}
    names = {*index.values()} | ({each.name for each in manifest.files} if manifest is not None else set())
    for suffix, read in ((safetensors.SUFFIX, read_safetensors), (".npz", read_npz)):
        files = sorted(each for each in names or there if each.endswith(suffix))
        if files:
            contents = read([folder / each for each in files])
            for name, file in index.items():
                if file not in contents.broken and getattr(contents.tensors.get(name), "file", file) != file:
                    contents.broken[name] = f"{INDEX} says that it is in {visible(file)}, and it is in another file."
            return contents
    raise CheckpointError(
        f"A folder must have .safetensors or .npz files in it, or DCP's {dcp.METADATA}. Received: {shown(str(folder))}."
    )


def _index(folder: Path) -> dict[str, str]:
    """The file of each tensor, as the index says."""
    try:
        found = json.loads((folder / INDEX).read_bytes())["weight_map"]
        if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
            raise TypeError("weight_map is no object of names")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{INDEX} is damaged: {visible(str(error))}.") from None
    if any(os.path.basename(each) != each for each in found.values()):
        raise CheckpointError(f"{INDEX} names a file that is not in the folder.")
    return found


# ---------------------------------------------------------------- comparisons


def _missing(wanted: _Wanted, contents: Contents) -> Finding:
    name = wanted.names[0]
    why = "; it may be in one of those that cannot be read" if contents.broken else ""
    return Finding(name, "missing", f"no file has it{why}.")


def _compared(wanted: _Wanted, stored: Stored) -> Finding | None:
    """What is wrong with a tensor; None if it is bit-exact."""
    name = stored.name
    if stored.shape != wanted.shape:
        return Finding(name, "shape", f"its shape is {stored.shape}, and should be {wanted.shape}.")
    if stored.dtype is None or stored.dtype.name != wanted.dtype:
        return Finding(name, "dtype", f"its dtype is {stored.dtype_name}, and should be {wanted.dtype}.")
    try:
        if wanted.entry is None:
            return _by_digest(wanted, stored)
        return _difference(wanted.entry, stored)
    except CheckpointError as error:
        return Finding(name, "unreadable", str(error))
    except OSError as error:
        return Finding(name, "unreadable", f"{visible(stored.file)} cannot be read: {error.strerror or error}.")


def _by_digest(wanted: _Wanted, stored: Stored) -> Finding | None:
    """Whether a tensor's bytes have the digest of the manifest."""
    digest = hashlib.sha256()
    for part in _in_order(stored):
        digest.update(np.ascontiguousarray(part).view(np.uint8).data)
    if digest.hexdigest() == wanted.digest:
        return None
    return Finding(stored.name, "values", f"its digest is not the one that {NAME} has.")


def _in_order(stored: Stored) -> Iterator[Array]:
    raise NotImplementedError


def _difference(entry: Entry, stored: Stored) -> Finding | None:
    """The first of a tensor's elements whose bits differ from the entry's, and how many do."""
    count, first = 0, None
    for region, part in stored.parts(entry.regions(_REGION)):
        expected = entry.make(region)
        differing = _differing(expected, part)
        if differing is None:
            continue
        count += int(np.count_nonzero(differing))
        inner = np.unravel_index(int(differing.argmax()), differing.shape)
        position = tuple(each.start + int(number) for each, number in zip(region, inner, strict=True))
        index = sum(number * stride for number, stride in zip(position, c_strides(stored.shape), strict=True))
        if first is None or index < first[0]:
            first = index, position, *_values(expected[inner], part[inner])
    if first is None:
        return None
    index, position, right, wrong = first
    verb = "differs" if count == 1 else "differ"
    message = (
        f"{count} of {stored.size} {plural(stored.size, 'element')} {verb}. The first is number {index}, at {position}: "
        f"it is {wrong}, and should be {right}."
    )
    return Finding(stored.name, "values", message, count, index, position, right, wrong)


def _differing(expected: Array, part: Array) -> Array | None:
    """A mask of the elements whose bits differ; None if none do."""
    ours, theirs = _bits(expected), _bits(part)
    mask = ours != theirs
    if ours.ndim > expected.ndim:
        mask = mask.any(-1)
    return mask if mask.any() else None


def _bits(array: Array) -> Array:
    """An array's bits as unsigned integers; those of elements of 16 bytes along a further axis."""
    if array.dtype.itemsize <= 8:
        return array.view(f"u{array.dtype.itemsize}")
    return np.ascontiguousarray(array)[..., None].view("u8")


def _values(expected: Any, stored: Any) -> tuple[str, str]:
    """Two values in words that differ: with their bits, where the values look the same."""
    words = str(expected), str(stored)
    if words[0] != words[1]:
        return words
    right, wrong = (f"{word} (0x{bytes(each.tobytes())[::-1].hex()})" for word, each in zip(words, (expected, stored), strict=True))
    return right, wrong
