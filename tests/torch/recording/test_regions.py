"""Boxes of tensors that other views of their memory cover, compared with marks in real memory."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

pytest.importorskip("torch")

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fanin.torch.recording.expressions import Constant, Geometry, Write
from fanin.torch.recording.regions import box_of, covered

CUBE = torch.zeros(6, 4, 5)


@pytest.mark.parametrize(
    ("view", "box"),
    [
        (CUBE, ((0, 6), (0, 4), (0, 5))),
        (CUBE[2], ((2, 3), (0, 4), (0, 5))),
        (CUBE[:, 1:3], ((0, 6), (1, 3), (0, 5))),
        (CUBE[1:3].view(-1), ((1, 3), (0, 4), (0, 5))),
        (CUBE.view(-1)[20:60], ((1, 3), (0, 4), (0, 5))),
        (CUBE.view(24, 5)[4:8], ((1, 2), (0, 4), (0, 5))),
        (CUBE.transpose(0, 1)[1], ((0, 6), (1, 2), (0, 5))),
        (CUBE[3, 2, 1], ((3, 4), (2, 3), (1, 2))),
        (CUBE.view(6, 2, 2, 5)[:, 1], ((0, 6), (2, 4), (0, 5))),
    ],
)
def test_views_are_boxes(view: torch.Tensor, box: tuple[tuple[int, int], ...]) -> None:
    """Slices, rows, flat views and transposes of a tensor have the elements of a box."""
    assert box_of(Geometry.of(CUBE), Geometry.of(view)) == box


@pytest.mark.parametrize(
    "view", [CUBE[::2], CUBE.view(-1)[3:9], CUBE.view(-1)[:7], CUBE.diagonal(), CUBE.view(-1)[10:50]]
)
def test_other_views_are_none(view: torch.Tensor) -> None:
    """Views with steps, or of parts of rows over several rows, are no boxes."""
    assert box_of(Geometry.of(CUBE), Geometry.of(view)) is None


def slices(length: int) -> st.SearchStrategy[slice]:
    """A slice of an axis that is not empty."""
    edges = st.lists(st.integers(0, length), min_size=2, max_size=2, unique=True)
    return edges.map(lambda pair: slice(min(pair), max(pair)))


@st.composite
def writes(draw: st.DrawFn) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """A dense tensor with its axes in some order, and views of it."""
    lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    order = draw(st.permutations(range(len(lengths))))
    tensor = torch.full([lengths[axis] for axis in order], -1.0).permute(*np.argsort(order).tolist())
    indices = draw(st.lists(st.tuples(*(slices(length) for length in lengths)), max_size=5))
    return tensor, [tensor[index] for index in indices]


@settings(deadline=None, max_examples=200)
@given(writes())
def test_what_shows_is_what_memory_has(case: tuple[torch.Tensor, list[torch.Tensor]]) -> None:
    """The boxes that show of each write are those where the memory holds its number in the end."""
    tensor, views = case
    geometry = Geometry.of(tensor)
    for number, view in enumerate(views):
        view.fill_(number)
    found = covered(geometry, [Write(Geometry.of(v), Constant(v.shape, v.dtype, n)) for n, v in enumerate(views)])
    assert found is not None
    parts: list[Any] = found[0]
    bare = found[1]
    again = torch.full(tensor.shape, float("nan"))
    for value, boxes in [*((part.write.expression.value, part.shown) for part in parts), (-1, bare)]:
        for box in boxes:
            region = tuple(slice(*edges) for edges in box)
            assert again[region].isnan().all()  # they are disjoint
            again[region] = value
    assert torch.equal(again, tensor)


def test_boxes_are_few() -> None:
    """A block in the middle leaves four boxes around it, not a cell each."""
    matrix = torch.zeros(100, 100)
    block = matrix[40:60, 40:60]
    found = covered(
        Geometry.of(matrix), [Write(Geometry.of(each), Constant((), matrix.dtype, 0)) for each in (matrix, block)]
    )
    assert found is not None
    (base, _), bare = found
    assert len(base.shown) == 4
    assert bare == ()
    assert sum((b - a) * (d - c) for (a, b), (c, d) in base.shown) == 9600
    for first, second in itertools.combinations(base.shown, 2):
        assert any(a >= d or c >= b for (a, b), (c, d) in zip(first, second, strict=True))
