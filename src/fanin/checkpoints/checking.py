"""Checks of checkpoints: every value is made again, and compared with what the files have, in bounded memory."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fanin._core.messages import class_name, plural, readable, shown, visible
from fanin._core.shapes import c_strides, chunks
from fanin._core.types import Array, Shape
from fanin.checkpoints.arrangement import INDEX
from fanin.checkpoints.contained import contents_of
from fanin.checkpoints.dcp import METADATA
from fanin.checkpoints.files import CheckpointError, is_weights
from fanin.checkpoints.manifest import NAME, Manifest, manifest_path, read_manifest
from fanin.checkpoints.stored import Contents, Slices, Stored
from fanin.recipes.entry import Entry
from fanin.recipes.plan import Plan
from fanin.recipes.progress import Progress, watched
from fanin.recipes.tables import short_lines
from fanin.report import markup

_REGION = 2**25  # bytes that are made and compared at once
_OF_TENSORS = ("values", "dtype", "shape", "missing", "unreadable")  # problems of tensors that should be there


@dataclass(frozen=True)
class Finding:
    """What is wrong with a tensor or a file of a checkpoint.

    Attributes:
        name: the tensor's name, or the file's.
        problem: of a tensor, "values", "dtype", "shape", "missing", "unexpected" or "unreadable"; of a file, "file".
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
        nbytes: the number of bytes that were compared.
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
        return len(self.exact) + sum(each.problem in _OF_TENSORS for each in self.findings)

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
        lines += _shortened(short_lines({each.name: each.message for each in self.findings}), _MOST_FINDINGS)
        lines += [f"{name}: not checked ({reason})" for name, reason in short_lines(self.unchecked)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The report for notebooks."""
        return markup.fragment(markup.paragraphs(str(self).split("\n")))


_MOST_FINDINGS = 40  # lines


def _shortened(lines: Iterable[tuple[str, str]], most: int) -> Iterator[str]:
    every = [f"{name}: {text}" for name, text in lines]
    yield from every[:most]
    if len(every) > most:
        yield f"and {len(every) - most} more lines, which `findings` (--json) has"


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


@dataclass(frozen=True)
class _Expected:
    """What a checkpoint should have.

    Attributes:
        source: what says so: "fanin.json" or "plan".
        wanted: the parameters.
        unchecked: the names of what may be there as well, with the reason why it is not checked.
    """

    source: str
    wanted: tuple[_Wanted, ...]
    unchecked: Mapping[str, str]


def check(
    path: str | os.PathLike[str], plan: Plan | None = None, *, under: str | None = None, progress: Progress = None
) -> Checked:
    """Makes every value of a checkpoint again, and compares the bits with those in the files, in bounded memory.

    Args:
        path: a .safetensors or .npz file; a folder of such files, with or without an index; or a folder of
            torch.distributed.checkpoint.
        plan: what the values should be; None to take it from the manifest `fanin.json`, in the folder or beside the
            file.
        under: the key that a state dict is under, if names begin with it: "model" for `model.layers.0.weight`, which
            the plan calls `layers.0.weight`.
        progress: whether to show a progress bar, or a function of events, as for `write`.

    Returns:
        A report, which is true if everything is bit-exact.

    Raises:
        fanin.recipes.PlanError: the plan cannot be executed.
        CheckpointError: what lists the tensors is damaged: the manifest, an index, or DCP's `.metadata`. Files of
            tensors that are damaged are findings of the report.
        ValueError: there is no checkpoint, or neither a manifest nor a plan says what its values should be.
        OSError: there is nothing, or it cannot be read.

    >>> import fanin, numpy as np, pathlib, tempfile
    >>> from fanin.checkpoints import check
    >>> recipe = fanin.Recipe([{"path": "*", "initializer": "random_normal"}], seed=1)
    >>> plan = recipe.plan([{"path": "w", "shape": [3, 4]}])
    >>> path = pathlib.Path(tempfile.mkdtemp(), "weights.npz")
    >>> values = plan.entries[0].make()
    >>> np.savez(path, w=values)
    >>> bool(check(path, plan))
    True
    >>> values[1, 2] = 0
    >>> np.savez(path, w=values)
    >>> print(check(path, plan).findings[0])
    w: 1 of 12 elements differs. The first is number 6, at (1, 2): it is 0.0, and should be 0.073384576.
    """
    begin = time.perf_counter()
    path = Path(path)
    if plan is None and under is not None:
        raise ValueError(f"`under` needs a plan: {NAME} says itself how names begin. Received: under={shown(under)}.")
    if plan is not None and not isinstance(plan, Plan):
        raise TypeError(
            "`plan` must be a plan, from `recipe.plan(model)`, or None. "
            f"Received: an object of type {class_name(type(plan))}."
        )
    manifest = _manifest_of(path) if plan is None else None
    expected = _of_plan(plan, under) if manifest is None else _of_manifest(manifest, path)
    contents = contents_of(path, () if manifest is None else [each.name for each in manifest.files])
    comparison = _Comparison(contents)
    total = sum(each.nbytes for each in contents.tensors.values())
    with watched(total, progress, "check") as advance:
        for each in expected.wanted:
            comparison.examine(each, advance)
    known = {name for each in expected.wanted for name in each.names} | set(expected.unchecked)
    strange = [
        Finding(
            name,
            "unexpected",
            f"it is in the checkpoint ({visible(stored.file)}), but not in the {_WORDS[expected.source]}.",
        )
        for name, stored in contents.tensors.items()
        if name not in known
    ]
    strange += [Finding(name, "file", _BESIDE) for name in _beside(path, contents, manifest)]
    there = contents.tensors.keys() | set(contents.other)
    unchecked = {name: why for name, why in expected.unchecked.items() if name in there}
    return Checked(
        path=str(path),
        format=contents.format,
        source=expected.source,
        exact=tuple(comparison.exact),
        findings=(*comparison.findings, *strange),
        unchecked=unchecked | {name: "no tensor" for name in contents.other if name not in known},
        by_digest=tuple(comparison.by_digest),
        nbytes=comparison.nbytes,
        seconds=time.perf_counter() - begin,
    )


_WORDS = {NAME: f"manifest {NAME}", "plan": "plan"}
_BESIDE = "it is in the folder, and belongs to no part of the checkpoint that was checked."


def _beside(path: Path, contents: Contents, manifest: Manifest | None) -> list[str]:
    """The names of other weights in the folder, which programs might load instead of those that were checked."""
    if not path.is_dir():
        return []
    known = {each.file for each in contents.tensors.values()} | contents.broken.keys()
    known |= set() if manifest is None else {each.name for each in manifest.files}
    if contents.format == "dcp":
        known |= {name for name in os.listdir(path) if name == METADATA or name.endswith(".distcp")}
    if (path / INDEX).exists():
        known |= {INDEX}
    return sorted(name for name in os.listdir(path) if is_weights(name) and name not in known)


# ---------------------------------------------------------------- what should be there


def has_manifest(path: str | os.PathLike[str]) -> bool:
    """Whether a manifest, or a rank's part of one, is in a folder or beside a file.

    Args:
        path: the file or folder.

    >>> import tempfile
    >>> from fanin.checkpoints import has_manifest
    >>> has_manifest(tempfile.mkdtemp())
    False
    """
    place = manifest_path(path)
    return place.exists() or _is_partial(place)


def _is_partial(place: Path) -> bool:
    """Whether only some ranks' parts of a manifest are there."""
    return any(place.parent.glob("fanin-*-of-*.json")) and not place.exists()


def _manifest_of(path: Path) -> Manifest:
    """The manifest of a folder, or beside a file."""
    place = manifest_path(path)
    if _is_partial(place):
        raise CheckpointError(
            f"{visible(str(path))} is not complete: the same command goes on, and keeps what is there. (If several "
            "ranks write it and all are done, `fanin write --finish` completes it.)"
        )
    if not place.exists():
        contents_of(path)  # which says so if this is no checkpoint at all
        raise ValueError(
            f"A checkpoint without {NAME} needs a plan to be checked against: --recipe and --model, or `plan`. "
            f"Received: {shown(str(path))} alone."
        )
    manifest = read_manifest(place)
    if manifest.format == "dcp" and not (place.parent / METADATA).exists():
        raise CheckpointError(
            f"{visible(str(path))} is not complete: there is no {METADATA}, which DCP writes last. Save the plan again."
        )
    return manifest


def _of_manifest(manifest: Manifest, path: Path) -> _Expected:
    """What a manifest says of a folder, or of one of its files."""
    if not path.is_dir() and path.name not in {each.name for each in manifest.files}:
        raise ValueError(
            f"{NAME}, which is beside {visible(path.name)}, does not have that file. Check the folder, or give the "
            "recipe and the model."
        )
    wanted, unchecked = [], {}
    for each in manifest.tensors if path.is_dir() else manifest.tensors_of(path.name):
        if each.record is None and not each.digest:
            unchecked[each.name] = f"{NAME} does not say what it should be"
        else:
            entry = None if each.record is None else each.entry()
            wanted.append(_Wanted((each.name, *each.tied), each.dtype, each.shape, entry, each.digest))
    return _Expected(NAME, tuple(wanted), unchecked)


def _of_plan(plan: Plan | None, under: str | None) -> _Expected:
    assert plan is not None
    plan.check()

    def placed(name: str) -> str:
        return name if under is None else f"{under}.{name}"

    wanted = []
    unchecked = {placed(name): f"the recipe leaves it alone: {reason}" for name, reason in plan.model.left.items()}
    for entry in plan.entries:
        names = tuple(map(placed, (entry.path, *entry.parameter.tied)))
        if entry.covers:
            wanted.append(_Wanted(names, entry.parameter.dtype.name, entry.shape, entry))
        else:
            unchecked |= dict.fromkeys(names, f"{entry.rule} keeps {'it' if entry.kept else 'a part of it'}")
    return _Expected("plan", tuple(wanted), unchecked)


# ---------------------------------------------------------------- comparisons


class _Comparison:
    """The comparison of what should be there with the contents of the files.

    Attributes:
        findings: what is wrong.
        exact: the names of tensors whose every bit is right.
        by_digest: those of them of which only the digest is known.
        nbytes: the number of bytes that were compared.
    """

    def __init__(self, contents: Contents) -> None:
        self.findings = [Finding(name, "file", why) for name, why in contents.broken.items()]
        self.exact: list[str] = []
        self.by_digest: list[str] = []
        self.nbytes = 0
        self._contents = contents

    def examine(self, wanted: _Wanted, advance: Callable[[int], None]) -> None:
        """Compares a parameter, under each of its names that the files have."""

        def count(nbytes: int) -> None:
            self.nbytes += nbytes
            advance(nbytes)

        tensors = self._contents.tensors
        there = [tensors[name] for name in wanted.names if name in tensors]
        if not there:
            why = ", unless it is in one of those that cannot be read" if self._contents.broken else ""
            self.findings.append(Finding(wanted.names[0], "missing", f"it is missing{why}."))
        for stored in there:
            finding = _compared(wanted, stored, count)
            if finding is not None:
                self.findings.append(finding)
                continue
            self.exact.append(stored.name)
            self.by_digest += [stored.name] if wanted.entry is None else []


def _compared(wanted: _Wanted, stored: Stored, advance: Callable[[int], None]) -> Finding | None:
    """What is wrong with a tensor; None if it is bit-exact."""
    name = stored.name
    if stored.shape != wanted.shape:
        return Finding(name, "shape", f"its shape is {stored.shape}, and should be {wanted.shape}.")
    if stored.dtype is None or stored.dtype.name != wanted.dtype:
        return Finding(name, "dtype", f"its dtype is {visible(stored.dtype_name)}, and should be {wanted.dtype}.")
    try:
        if wanted.entry is None:
            return _by_digest(wanted.digest, stored, advance)
        return _difference(wanted.entry, stored, advance)
    except CheckpointError as error:
        return Finding(name, "unreadable", str(error))
    except OSError as error:
        file = os.path.basename(error.filename or stored.file)
        return Finding(name, "unreadable", f"{visible(file)} cannot be read: {error.strerror or error}.")


def _by_digest(wanted: str, stored: Stored, advance: Callable[[int], None]) -> Finding | None:
    """Whether a tensor's bytes, in C order, have another digest than the manifest says."""
    most = _REGION // np.dtype(stored.dtype).itemsize if stored.in_c_order else stored.size
    regions = (tuple(slice(*each) for each in chunk) for chunk in chunks(stored.shape, max(1, most)))
    digest = hashlib.sha256()
    for _, part in stored.parts(regions):
        digest.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
        advance(part.nbytes)
    if digest.hexdigest() == wanted:
        return None
    return Finding(stored.name, "values", f"its bytes have another digest than {NAME} says.")


def _difference(entry: Entry, stored: Stored, advance: Callable[[int], None]) -> Finding | None:
    """The first of a tensor's elements whose bits differ from the entry's, and how many do."""
    count, first = 0, None
    for region, part in _ahead(stored.parts(entry.regions(_REGION))):
        expected = entry.make(region)
        differing = _differing(expected, part)
        advance(part.nbytes)
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
    elements = plural(stored.size, "element")
    message = (
        f"{count} of {stored.size} {elements} {verb}. The first is number {index}, at {position}: it is {wrong}, and "
        f"should be {right}."
    )
    return Finding(stored.name, "values", message, count, index, position, right, wrong)


def _ahead(parts: Iterator[tuple[Slices, Array]]) -> Iterator[tuple[Slices, Array]]:
    """The same parts, of which the next one is read while the last one is used."""
    with ThreadPoolExecutor(1) as reader:
        following = reader.submit(next, parts, None)
        while (part := following.result()) is not None:
            following = reader.submit(next, parts, None)
            yield part


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
    words = [str(expected), str(stored)]
    if words[0] == words[1]:
        words = [
            f"{word} (0x{each.tobytes()[::-1].hex()})" for word, each in zip(words, (expected, stored), strict=True)
        ]
    return words[0], words[1]
