"""`fanin.compare_checkpoints`: the check after a refactoring."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from fanin._core.messages import class_name, shown
from fanin._core.shapes import chunks
from fanin._core.types import Array
from fanin.audits.comparing.differences import RELATIONS, Differences, Relation, Side, TensorDifference
from fanin.audits.comparing.renames import Renames
from fanin.audits.comparing.twosample import contrasts, resolution
from fanin.audits.sources import tensors_of
from fanin.audits.statistics import Statistics, measured
from fanin.checkpoints.files import CheckpointError
from fanin.checkpoints.stored import Contents, Slices, Stored
from fanin.recipes.progress import Progress, watched

_REGION = 2**22  # elements that are compared at once
_Measured = Statistics | CheckpointError | OSError


def compare_checkpoints(
    a: Any, b: Any, *, rename: Mapping[str, str] | None = None, progress: Progress = None
) -> Differences:
    """Compares two checkpoints, state dicts or models, tensor by tensor and in bounded memory.

    Tensors with the same bytes are "equal". Others are compared as draws: by their means, standard deviations, zeros,
    ends and distribution functions. One comparison in ten million, at most, finds a difference between two draws from
    one distribution; `resolution` says which ratio of standard deviations it would find.

    Args:
        a: the path of a checkpoint, a mapping of names to arrays, or a model of any framework.
        b: what to compare it with.
        rename: globs of names with what they become in both, such as `{"model.*": "*"}`; the first that fits applies.
        progress: whether to show a progress bar, or a function of events; None for a bar if the work is long.

    Returns:
        A report, which is true if every tensor has the same bytes, values or distribution in both.

    Raises:
        CheckpointError: files are damaged.
        ValueError: there is no checkpoint, a tensor has no values, or `rename` fits no name, or gives two tensors one.
        TypeError: an argument is nothing that has tensors.
        OSError: there is nothing at a path, or it cannot be read.

    >>> import fanin, numpy as np
    >>> from fanin.audits.comparing.comparison import compare_checkpoints
    >>> before = {"w": fanin.HeNormal(seed=1)((256, 128)), "b": np.zeros(128, "float32")}
    >>> after = {"w": fanin.HeNormal(seed=2)((256, 128)), "b": np.zeros(128, "float32")}
    >>> [(each.name, each.relation) for each in compare_checkpoints(before, after).tensors]
    [('w', 'same-distribution'), ('b', 'equal')]
    >>> print(compare_checkpoints(before, {"w": 2 * after["w"], "b": after["b"]}).lines()[0])
    w: different: stddev 0.08879 and 0.177, a ratio of 1.99
    """
    begin = time.perf_counter()
    renames = Renames(rename or {})
    contents = [_whole(tensors_of(each)) for each in (a, b)]
    renames.check_used(list(dict.fromkeys(name for each in contents for name in each.tensors)))
    first, second = (renames.renamed(each.tensors) for each in contents)
    alone = [_alone(name, stored, "only-a") for name, stored in first.items() if name not in second]
    alone += [_alone(name, stored, "only-b") for name, stored in second.items() if name not in first]
    both = {name: (stored, second[name]) for name, stored in first.items() if name in second}
    alike = {name: each for name, each in both.items() if each[0].shape == each[1].shape}
    total = sum(each.nbytes for two in alike.values() for each in two)
    done = 0

    def count(nbytes: int) -> None:
        nonlocal done
        done += nbytes
        advance(nbytes)

    with watched(total, progress, "compare") as advance:
        compared = list(_compared(alike, count))
    compared += [_of_other_shape(name, *two) for name, two in both.items() if name not in alike]
    order = {name: number for number, name in enumerate([*first, *second])}
    worst_first = sorted([*compared, *alone], key=lambda each: (-RELATIONS.index(each.relation), order[each.name]))
    return Differences(_label(a), _label(b), tuple(worst_first), done, time.perf_counter() - begin)


def _whole(contents: Contents) -> Contents:
    """Contents of which nothing is damaged."""
    for why in contents.broken.values():
        raise CheckpointError(why)
    return contents


def _label(source: Any) -> str:
    return os.fspath(source) if isinstance(source, (str, os.PathLike)) else class_name(type(source))


def _side(stored: Stored, found: _Measured | None = None) -> Side:
    dtype = stored.dtype_name if stored.dtype is None else stored.dtype.name
    if not isinstance(found, Statistics):
        return Side(stored.name, stored.shape, dtype)
    return Side(stored.name, stored.shape, dtype, found.mean, found.stddev, found.low, found.high)


def _alone(name: str, stored: Stored, relation: Relation) -> TensorDifference:
    side = _side(stored)
    sides = (side, None) if relation == "only-a" else (None, side)
    return TensorDifference(name, relation, f"{shown(stored.name)} has no counterpart", (), *sides)


def _of_other_shape(name: str, a: Stored, b: Stored) -> TensorDifference:
    hint = ": transposed?" if a.shape == b.shape[::-1] else ""
    return TensorDifference(name, "shape", f"shapes {a.shape} and {b.shape}{hint}", (), _side(a), _side(b))


def _compared(
    tensors: Mapping[str, tuple[Stored, Stored]], advance: Callable[[int], None]
) -> Iterator[TensorDifference]:
    """How tensors of equal shapes relate."""
    found = iter(measured([each for two in tensors.values() for each in two], advance=advance))
    for name, (a, b) in tensors.items():
        (_, of_a), (_, of_b) = next(found), next(found)
        relation, reason, differs, power = _relation(a, b, of_a, of_b)
        yield TensorDifference(name, relation, reason, differs, _side(a, of_a), _side(b, of_b), power)


def _relation(
    a: Stored, b: Stored, of_a: _Measured, of_b: _Measured
) -> tuple[Relation, str, tuple[str, ...], float | None]:
    """How two tensors relate, why, in what they differ, and which difference would have been found."""
    for each in (of_a, of_b):
        if not isinstance(each, Statistics):
            return "unreadable", str(each), (), None
    assert isinstance(of_a, Statistics)
    assert isinstance(of_b, Statistics)
    try:
        if a.dtype == b.dtype and of_a.fingerprint == of_b.fingerprint and _all(a, b, _same_bytes):
            return "equal", "", (), None
        if a.dtype != b.dtype and _may_be_equal(of_a, of_b) and _all(a, b, _same_values):
            return "equal-values", f"{_side(a).dtype} and {_side(b).dtype}", (), None
    except (CheckpointError, OSError) as error:
        return "unreadable", str(error), (), None
    found = contrasts(of_a, of_b)
    if found:
        return "different", "; ".join(each.message for each in found), tuple(each.code for each in found), None
    power = resolution(of_a, of_b)
    dtypes = "" if a.dtype == b.dtype else f"; dtypes {_side(a).dtype} and {_side(b).dtype}"
    if math.isnan(power):
        return "same-distribution", f"{a.size} elements, too few to tell{dtypes}", (), None
    elements = f"{a.size} elements would show a difference of stddev of {power:.2g}"
    return "same-distribution", f"{elements}{dtypes}", (), power


def _may_be_equal(a: Statistics, b: Statistics) -> bool:
    """Whether all values may be equal, by what has been measured."""
    counts = [(each.nans, each.infinities, each.zeros, each.size) for each in (a, b)]
    return counts[0] == counts[1] and np.array_equal([a.low, a.high], [b.low, b.high], equal_nan=True)


def _all(a: Stored, b: Stored, same: Callable[[Array, Array], bool]) -> bool:
    """Whether all elements are the same in two tensors, part by part."""
    if a.in_c_order:
        a, b = b, a  # the one that chooses its regions itself, if any, goes first
    regions = (tuple(slice(*each) for each in chunk) for chunk in chunks(a.shape, _REGION))
    return all(
        same(part[_within(region, common)], other[_within(inner, common)])
        for region, part in a.parts(regions)
        for inner, other in b.parts([region])
        if (common := _intersection(region, inner)) is not None
    )


def _intersection(a: Slices, b: Slices) -> Slices | None:
    common = tuple(slice(max(x.start, y.start), min(x.stop, y.stop)) for x, y in zip(a, b, strict=True))
    return None if any(each.start >= each.stop for each in common) else common


def _within(region: Slices, common: Slices) -> tuple[Any, ...]:
    """Where a part of a region is in its array."""
    inner = (slice(x.start - y.start, x.stop - y.start) for x, y in zip(common, region, strict=True))
    return (*inner, ...)


def _same_bytes(a: Array, b: Array) -> bool:
    first, second = (np.ascontiguousarray(each).reshape(-1).view(np.uint8) for each in (a, b))
    return np.array_equal(first, second)


def _same_values(a: Array, b: Array) -> bool:
    """Whether two arrays of other dtypes have the same values, of which none is rounded for that."""
    if a.dtype.kind in "iub" and b.dtype.kind in "iub":
        return bool((a == b).all())
    wide = np.complex128 if "c" in (a.dtype.kind, b.dtype.kind) else np.float64
    return np.array_equal(a.astype(wide), b.astype(wide), equal_nan=True)
