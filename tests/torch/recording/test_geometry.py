"""Which elements of a storage views have, against views of a row of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from fanin.torch.recording.expressions import Geometry, Unwritten, Write  # noqa: E402
from fanin.torch.recording.geometry import (  # noqa: E402
    UNCOVERED,
    are_apart,
    covers,
    is_dense,
    runs,
    same_walk,
    span,
    visible,
)

LENGTH = 48


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    """Views of a tensor of 4 x 3 x 4 elements."""
    view: Any = torch.arange(LENGTH).view(draw(st.sampled_from([(4, 3, 4), (48,), (12, 4), (2, 24)])))
    for axis in range(view.dim()):
        start = draw(st.integers(0, view.shape[axis] - 1))
        stop = draw(st.integers(start + 1, view.shape[axis]))
        view = view.transpose(0, axis)[start : stop : draw(st.sampled_from([1, 1, 2]))].transpose(0, axis)
    return Geometry.of(view.permute(draw(st.permutations(range(view.dim())))))


def elements(geometry: Geometry) -> list[int]:
    """The numbers of the elements of a view, in its order."""
    return torch.arange(LENGTH).as_strided(*geometry).reshape(-1).tolist()


@given(geometries())
def test_one(geometry: Geometry) -> None:
    """The span, and whether each element of it is there."""
    numbers = elements(geometry)
    assert span(geometry) == (min(numbers), max(numbers) + 1)
    assert is_dense(geometry) == (sorted(numbers) == list(range(*span(geometry))))


@given(geometries(), geometries())
def test_two(first: Geometry, second: Geometry) -> None:
    """The same elements in the same order; what is certain of others is true."""
    assert same_walk(first, second) == (elements(first) == elements(second))
    common = set(elements(first)) & set(elements(second))
    assert not covers(first, second) or common == set(elements(second))
    assert not are_apart(first, second) or not common


@given(st.lists(geometries(), max_size=5), geometries())
def test_visible(written: list[Geometry], wanted: Geometry) -> None:
    """What shows of each write, as if it were painted."""
    paint = np.full(LENGTH, UNCOVERED)
    for number, geometry in enumerate(written):
        paint[elements(geometry)] = number
    writes = [Write(geometry, Unwritten(geometry.size, torch.float32)) for geometry in written]
    assert visible(writes, wanted, LENGTH) == sorted(set(paint[elements(wanted)].tolist()))


def test_visible_in_blocks() -> None:
    """A matrix of 2^40 elements, by blocks that nothing cuts."""
    side, half = 2**20, 2**19
    left, right = (Geometry((side, half), (side, 1), offset) for offset in (0, half))
    writes = [Write(each, Unwritten(each.size, torch.float32)) for each in (left, right)]
    assert visible(writes, Geometry((side, side), (side, 1), 0), side * side) == [0, 1]
    assert visible(writes[:1], right, side * side) == [UNCOVERED]


def test_runs() -> None:
    """Where true elements begin and end."""
    assert runs(np.array([True, True, False, True])) == [(0, 2), (3, 4)]
    assert runs(np.array([False])) == []
