"""What a recording says that each tensor gets: its kind, words and data."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

import fanin.torch


def read(write: Callable[[torch.Tensor], object], *shape: int) -> fanin.torch.Reading:
    """The reading of a parameter that code writes to."""
    with fanin.torch.recording() as recorded:
        module = nn.Module()
        module.weight = nn.Parameter(torch.empty(shape))
        with torch.no_grad():
            write(module.weight)
    return recorded["weight"]


@pytest.mark.parametrize(
    ("write", "kind", "words"),
    [
        (lambda w: w.fill_(0.5), "constant", "0.5"),
        (lambda w: w.normal_(1, 2), "normal", "normal(mean=1, stddev=2)"),
        (lambda w: w.normal_().mul_(-3), "normal", "normal(mean=0, stddev=3)"),
        (lambda w: w.uniform_(-1, 3), "uniform", "uniform(minval=-1, maxval=3)"),
        (
            lambda w: nn.init.trunc_normal_(w, std=0.5, a=-1, b=1),
            "truncated_normal",
            "truncated_normal(mean=0, stddev=0.5, minval=-1, maxval=1)",
        ),
        (lambda w: nn.init.trunc_normal_(w, std=0.02), "normal", "normal(mean=0, stddev=0.02)"),
        (lambda w: nn.init.orthogonal_(w, 2), "orthogonal", "orthogonal(gain=2)"),
        (lambda w: w.uniform_(1, 16).log_(), "formula", "log(uniform(minval=1, maxval=16))"),
        (lambda w: w.copy_(torch.arange(12).view(4, 3)), "table", "a table of shape (4, 3)"),
        (lambda w: w.copy_(torch.randn(4, 3).cumsum(0)), "program", "cumsum(normal(mean=0, stddev=1), 0)"),
        (lambda w: w.normal_()[1].zero_(), "regions", "normal(mean=0, stddev=1); [1] 0"),
        (lambda w: w[:2].fill_(1), "nothing", "[0:2] 1; [2:4] nothing"),
    ],
)
def test_kinds_and_words(write: Callable[[torch.Tensor], object], kind: str, words: str) -> None:
    """A reading has a kind, and says in words what is drawn with which numbers."""
    reading = read(write, 4, 3)
    assert reading.kind == kind
    assert str(reading) == words


def test_a_reading_is_json() -> None:
    """The data of a reading has the region, the kind and the numbers of each part."""
    data = json.loads(json.dumps(read(lambda w: w.normal_(0, 0.5)[1].fill_(2), 4, 3).as_dict()))
    assert data == {
        "path": "weight",
        "shape": [4, 3],
        "dtype": "float32",
        "kind": "regions",
        "parts": [
            {
                "region": [[0, 4], [0, 3]],
                "kind": "normal",
                "text": "normal(mean=0, stddev=0.5)",
                "numbers": {"mean": 0.0, "stddev": 0.5},
            },
            {"region": [[1, 2], [0, 3]], "kind": "constant", "text": "2", "value": 2.0},
        ],
    }


def test_an_unbounded_normal_is_json() -> None:
    """Infinite numbers are texts in a reading's data, which JSON lacks numbers for."""
    reading = read(lambda w: nn.init.trunc_normal_(w, a=0.0, b=float("inf")), 4, 3)
    assert json.loads(json.dumps(reading.as_dict()))["parts"][0]["numbers"]["maxval"] == "inf"


def test_later_writes_win() -> None:
    """A write that later ones cover does not show."""

    def write(weight: torch.Tensor) -> None:
        weight[:2].fill_(1)
        weight[1:].uniform_()
        weight[:, :2].fill_(3)
        weight[:, 2:].normal_()

    assert str(read(write, 4, 3)) == "[:, 0:2] 3; [:, 2] normal(mean=0, stddev=1)"


def test_many_regions_are_shortened() -> None:
    """The words of a tensor of many regions name the first few, and how many there are."""

    def write(weight: torch.Tensor) -> None:
        for number, row in enumerate(weight):
            row.normal_(number)

    assert str(read(write, 40, 3)).endswith("… 40 regions")
