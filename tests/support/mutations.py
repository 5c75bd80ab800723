"""Damaged checkpoints, made from whole ones: `python mutations.py FILE COUNT SEED [--inner MEMBER]` reads many of them.

Each is read as far as it goes. What comes of it is printed as JSON: how many were read and refused, which raised
another error than the one for damaged files, and the most memory that one took.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import resource
import shutil
import signal
import sys
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fanin._core.shapes import chunks
from fanin.checkpoints import CheckpointError
from fanin.checkpoints.contained import contents_of

_SECONDS = 10  # for one file
_MORE_MEMORY = 2**29  # bytes of addresses that all files may take
_NUMBERS = (0, 1, 2, 7, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**60, 2**63 - 1, 2**63, 2**64 - 1)
_TEXTS = (
    b"0",
    b"-1",
    b"1152921504606846976",
    b"1e999",
    b"null",
    b"[[[[[[[[",
    b'"F64"',
    b'"BF16"',
    b'"F4"',
    b"{}",
    b"NaN",
)


def _flipped(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _truncated(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def _without_a_part(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.choice((1, 2, 4, 8, 100, 1000))]


def _with_more(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data) + 1)
    data[start:start] = rng.randbytes(rng.choice((1, 2, 4, 8, 100, 1000)))


def _doubled_part(data: bytearray, rng: random.Random) -> None:
    start, length = rng.randrange(len(data)), rng.choice((1, 8, 64, 512))
    data[start:start] = data[start : start + length]


def _moved_part(data: bytearray, rng: random.Random) -> None:
    start, length = rng.randrange(len(data)), rng.choice((4, 8, 64, 512))
    part = data[start : start + length]
    del data[start : start + length]
    place = rng.randrange(len(data) + 1)
    data[place:place] = part


def _other_number(data: bytearray, rng: random.Random) -> None:
    width = rng.choice((1, 2, 4, 8))
    number = rng.choice((*_NUMBERS, len(data), len(data) + 1)) % 2 ** (8 * width)
    start = rng.randrange(max(1, len(data) - width))
    data[start : start + width] = number.to_bytes(width, "little")


def _other_digits(data: bytearray, rng: random.Random) -> None:
    places = [place for place, each in enumerate(data) if chr(each).isdigit()]
    if places:
        place = rng.choice(places)
        data[place : place + 1] = rng.choice(_TEXTS)


def _random_part(data: bytearray, rng: random.Random) -> None:
    start, length = rng.randrange(len(data)), rng.choice((8, 64, 512))
    data[start : start + length] = rng.randbytes(length)


def _all_random(data: bytearray, rng: random.Random) -> None:
    keep = rng.choice((0, 2, 4, 8, 16, 64))
    data[keep:] = rng.randbytes(rng.randrange(2000))


_MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(_flipped, _flipped, _truncated, _without_a_part, _with_more, _doubled_part, _moved_part),
    *(_other_number, _other_number, _other_number, _other_digits, _other_digits, _random_part, _all_random),
)


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Damaged bytes. Half of the time only what lies at the beginning or the end, where headers are, is damaged."""
    ends = rng.choice((None, None, slice(0, 600), slice(max(0, len(data) - 600), None)))
    part = bytearray(data if ends is None else data[ends])
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if part:
            rng.choice(_MUTATIONS)(part, rng)
    if ends is None:
        return bytes(part)
    return bytes(part) + data[600:] if ends.start == 0 else data[: ends.start] + bytes(part)


def with_inner(data: bytes, member: str, rng: random.Random) -> bytes:
    """A whole zip file, of which one member is damaged."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, mutated(content, rng) if name.endswith(member) else content)
    return made.getvalue()


def read_all(path: Path) -> bool:
    """Reads a checkpoint as far as it goes; whether all of it could be read."""
    try:
        contents = contents_of(path)
        for stored in contents.tensors.values():
            if stored.dtype is None:
                continue
            for region, part in stored.parts(
                tuple(slice(*each) for each in box) for box in chunks(stored.shape, 2**16)
            ):
                assert part.shape == tuple(each.stop - each.start for each in region)
                assert part.dtype == stored.dtype
                np.count_nonzero(part.view("u1") if part.flags.c_contiguous and part.ndim else part == part)
        for why in contents.broken.values():
            assert why
        return not contents.broken
    except ValueError as error:
        if isinstance(error, CheckpointError) or str(error).startswith(("A checkpoint must be", "A folder must have")):
            return False
        raise


class _TooLong(BaseException):
    """A file took too long."""


def _ended(*_: Any) -> None:
    raise _TooLong


def main(source: Path, count: int, seed: int, member: str | None) -> dict[str, Any]:
    """Reads many damaged copies of a file; of a folder, copies of which one file is damaged."""
    result: dict[str, Any] = {"read": 0, "refused": 0, "wrong": [], "most": 0, "size": 0}
    signal.signal(signal.SIGALRM, _ended)
    assert read_all(source)  # which also imports what reading needs
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MORE_MEMORY, used + _MORE_MEMORY))
    target = source if source.is_file() else next(source.glob(member or "*"))
    data = target.read_bytes()
    result["size"] = len(data)
    inner = member if source.is_file() else None
    tracemalloc.start()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, source.name)
        if source.is_dir():
            shutil.copytree(source, copy)
        place = copy if source.is_file() else copy / target.name
        for number in range(count):
            rng = random.Random(f"{seed}/{number}")
            place.write_bytes(mutated(data, rng) if inner is None else with_inner(data, inner, rng))
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            signal.alarm(_SECONDS)
            try:
                result["read" if read_all(copy) else "refused"] += 1
            except (Exception, _TooLong) as error:
                result["wrong"].append([number, f"{type(error).__name__}: {error}"[:300]])
            finally:
                signal.alarm(0)
            result["most"] = max(result["most"], tracemalloc.get_traced_memory()[1] - before)
    return result


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        file, count, seed, *inner = sys.argv[1:]
        print(json.dumps(main(Path(file), int(count), int(seed), *(inner or [None]))))  # pyright: ignore[reportArgumentType]
