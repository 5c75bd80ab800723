"""Tensors to measure, in every arrangement in which files have them, and what NumPy says of them as a whole."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import ml_dtypes
import numpy as np
from scipy import stats

from fanin._core import dtypes
from fanin._core.types import Array
from fanin.audits.arrays import InMemory
from fanin.audits.statistics import Statistics, measure
from fanin.checkpoints.stored import Slices
from fanin.recipes.entry import Box

DTYPES = (
    "float64",
    "float32",
    "float16",
    "bfloat16",
    "float8_e4m3fn",
    "float8_e5m2",
    "float8_e4m3fnuz",
    "float8_e8m0fnu",
    "float4_e2m1fn",
    "complex64",
    "complex128",
    "bool",
    "int4",
    "int8",
    "uint16",
    "int32",
    "int64",
    "uint64",
)


class InChunks(InMemory):
    """An array that is stored in boxes of its own, which come in any order."""

    in_c_order = False

    def __init__(self, array: Array, seed: int) -> None:
        super().__init__("w", array)
        self._seed = seed

    def parts(self, regions: Iterable[Slices]) -> Iterator[tuple[Slices, Array]]:
        """The boxes."""
        random = np.random.default_rng(self._seed)
        boxes: list[Slices] = [()]
        for length in self.shape:
            cuts = sorted({0, length, *random.integers(0, length + 1, 2).tolist()})
            boxes = [(*box, slice(*each)) for box in boxes for each in pairwise(cuts)]
        random.shuffle(boxes)
        yield from super().parts(boxes)


def found(array: Any, box: Box | None = None) -> Statistics:
    """The statistics of an array."""
    return measure(InMemory("w", np.asarray(array)), box)


def filled(shape: tuple[int, ...], dtype: str, seed: int) -> Array:
    """An array of several kinds of numbers: normal ones, zeros, subnormal ones, infinities, NaN, and equal ones."""
    random = np.random.default_rng(seed)
    resolved = dtypes.resolve(dtype)
    kind = dtypes.kind(resolved)
    if kind in ("bool", "integer"):
        low, high = (0, 2) if kind == "bool" else dtypes.integer_range(resolved)
        wide = random.integers(low, high, shape, dtype=np.uint64 if dtype == "uint64" else np.int64)
        return wide.astype(resolved)
    values = random.normal(0.5, 2.0, (*shape, 2))
    for number in (0.0, float(ml_dtypes.finfo(_part(resolved)).smallest_subnormal), 2.0, -1.5, np.inf, np.nan):
        if random.random() < 0.4:
            values[random.random(values.shape) < 0.1] = number
    with np.errstate(all="ignore"):
        if kind == "complex":
            return values.astype(_part(resolved)).view(resolved)[..., 0]
        return values[..., 0].astype(np.float32).astype(resolved) if dtype != "float64" else values[..., 0].copy()


def _part(dtype: np.dtype) -> np.dtype:
    """The dtype of the real part."""
    return np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


def expected(array: Array) -> dict[str, Any]:
    """What NumPy and SciPy say of a whole array, but for its lines, its sample and its fingerprint."""
    part = _part(array.dtype)
    given = np.ascontiguousarray(array).reshape(-1).view(part) if array.dtype.kind == "c" else array.reshape(-1)
    with np.errstate(all="ignore"):
        numbers = given.astype(np.float64)
        finite = numbers[np.isfinite(numbers)]
        smallest = float(ml_dtypes.finfo(part).smallest_normal) if dtypes.kind(part) == "float" else 0.0
        low, high = (finite.min(), finite.max()) if finite.size else (math.nan, math.nan)
        return {
            "size": array.size,
            "nans": int(np.isnan(numbers).sum()),
            "infinities": int(np.isinf(numbers).sum()),
            "zeros": int((finite == 0).sum()),
            "subnormals": int(((finite != 0) & (abs(finite) < smallest)).sum()),
            "mean": finite.mean() if finite.size else math.nan,
            "stddev": finite.std() if finite.size else math.nan,
            "kurtosis": stats.kurtosis(finite, fisher=False) if finite.size and low < high else math.nan,
            "low": low,
            "high": high,
            "at_low": int((finite == low).sum()),
            "at_high": int((finite == high).sum()),
        }


def dead_lines(array: Array, axis: int) -> list[int]:
    """The lines along an axis whose elements are all zero."""
    lines = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1).astype(np.complex128)
    return [] if not lines.any() else np.flatnonzero(~lines.any(1)).tolist()


def repeated_lines(array: Array, axis: int) -> list[tuple[int, int]]:
    """The lines along an axis that repeat an earlier one, and the first one that they repeat."""
    lines = np.ascontiguousarray(np.moveaxis(array, axis, 0)).reshape(array.shape[axis], -1)
    seen: dict[bytes, int] = {}
    repeats = []
    for number, line in enumerate(lines):
        data = line.tobytes()
        if len({each.tobytes() for each in line}) > 1:
            first = seen.setdefault(data, number)
            repeats += [(number, first)] if first != number else []
    return repeats
