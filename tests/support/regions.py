"""Strategies of calls of the catalogue, regions of tensors, and arrays that lie anywhere in memory."""

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np

from catalogue import CATALOGUE, fitted


@st.composite
def catalogued(draw: st.DrawFn) -> tuple[str, str, tuple[int, ...]]:
    """A name of the catalogue, a dtype and a shape that it takes."""
    name = draw(st.sampled_from(list(CATALOGUE)))
    _, dtypes, ranks = CATALOGUE[name]
    rank = draw(st.sampled_from(ranks))
    longest = (1, 5000, 90, 20, 9, 6)[rank]
    shape = tuple(draw(st.lists(st.integers(0, longest), min_size=rank, max_size=rank)))
    return name, draw(st.sampled_from(dtypes)), fitted(name, shape)


@st.composite
def regions(draw: st.DrawFn, shape: tuple[int, ...]) -> Any:
    """Basic indexing with step 1: integers, slices in and out of range, Ellipsis, fewer entries than axes."""
    entries = []
    for length in shape:
        bound = st.none() | st.integers(-length - 2, length + 2)
        choices: list[st.SearchStrategy[object]] = [st.builds(slice, bound, bound)]
        if length:
            choices.append(st.integers(-length, length - 1))
        entries.append(draw(st.one_of(choices)))
    kept = draw(st.integers(0, len(entries)))
    kind = draw(st.sampled_from(["all", "leading", "ellipsis", "single"]))
    if kind == "leading":
        return tuple(entries[:kept])
    if kind == "ellipsis":
        after = draw(st.integers(kept, len(entries)))
        return (*entries[:kept], ..., *entries[after:])
    if kind == "single" and entries:
        return entries[0]
    return tuple(entries)


def strided(draw: Callable[[Any], Any], shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array of the given shape somewhere in memory: axes in any order, apart, backwards."""
    order = draw(st.permutations(range(len(shape))))
    gaps = [draw(st.integers(1, 3)) for _ in shape]
    room = np.zeros([shape[axis] * gaps[axis] for axis in order], np.dtype(f"V{dtype.itemsize}"))
    view = room.transpose(np.argsort(order)) if shape else room
    backwards = [draw(st.booleans()) for _ in shape]
    steps = (slice(None, None, -gap if flip else gap) for gap, flip in zip(gaps, backwards, strict=True))
    return view[(..., *steps)].view(dtype)


def owner(array: np.ndarray) -> np.ndarray:
    """The array whose memory a view is of."""
    return owner(array.base) if isinstance(array.base, np.ndarray) else array
