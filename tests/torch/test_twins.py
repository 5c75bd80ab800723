"""The warning for modules that get equal values by mistake, since each was initialized by a call of its own."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

import fanin
from fanin.torch import initialize
from torch_kit import PRESETS, on_meta, two_layers

RECIPE = PRESETS["torch"].with_seed(909)  # which no other test draws from


@contextmanager
def no_warning() -> Iterator[None]:
    """Turns the warning into an error, which the other tests ignore."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_per_module_calls() -> None:
    """A loop over modules gives them equal values, and a warning."""
    first, second = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    initialize(first, RECIPE)
    message = (
        r"2 of 2 parameters, such as weight, get the same values as those of another module, of type Linear, which an "
        r"earlier call of `initialize` drew from the same seed and names\. To initialize a model in parts, give each "
        r"call the part's path as `prefix=`"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        initialize(second, RECIPE)
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_per_module_calls_with_paths() -> None:
    """With their paths, the values differ, and nothing is said."""
    model: Any = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    with no_warning():
        for path, module in model.named_children():
            initialize(module, RECIPE, prefix=path)
    assert not torch.equal(model[0].weight, model[1].weight)


@pytest.mark.parametrize("start", ["cpu", "meta"])
def test_the_same_module_again(start: str) -> None:
    """A module can be initialized as often as one likes, also within another."""
    module = on_meta(two_layers) if start == "meta" else two_layers()
    with no_warning():
        initialize(module, RECIPE)
        initialize(module, RECIPE)
        initialize(nn.DataParallel(module), RECIPE)


def test_other_seeds() -> None:
    """Models of other seeds have other values."""
    models = [two_layers() for _ in range(3)]
    with no_warning():
        for seed, model in enumerate(models):
            initialize(model, RECIPE, seed=91_000 + seed)


def test_models_that_are_gone() -> None:
    """A model that no longer exists is no twin, even if it waits to be collected."""
    module: Any = two_layers()
    module[0].circle = [module]
    gc.collect()
    initialize(module, RECIPE, seed=92_000)
    del module
    with no_warning():
        initialize(two_layers(), RECIPE, seed=92_000)


def test_models_that_are_meant_to_be_equal() -> None:
    """An empty prefix says so."""
    models = [two_layers(), two_layers()]
    with no_warning():
        for model in models:
            initialize(model, RECIPE, seed=93_000, prefix="")


def test_constants_are_no_twins() -> None:
    """Norms of equal scales are what everybody wants."""
    norms = [nn.LayerNorm(3), nn.LayerNorm(3)]
    with no_warning():
        for norm in norms:
            initialize(norm, RECIPE)


@pytest.mark.parametrize(
    ("rule", "dtype"),
    [
        ({"initializer": "random_normal", "stddev": 0.02}, torch.float32),
        ({"initializer": "random_uniform", "minval": -1, "maxval": 1}, torch.float32),
        ({"initializer": "random_uniform"}, torch.bfloat16),
        ({"initializer": "random_uniform"}, torch.float64),
    ],
)
def test_other_values_from_the_same_seed(rule: dict[str, Any], dtype: torch.dtype) -> None:
    """Another law, or another dtype, draws other values."""
    first, second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False, dtype=dtype)
    initialize(first, fanin.Recipe([{"path": "*", "initializer": "random_uniform"}]), seed=94_000)
    with no_warning():
        initialize(second, fanin.Recipe([{"path": "*", **rule}]), seed=94_000)
    assert not torch.equal(first.weight, second.weight.float())


def test_other_values_in_between() -> None:
    """What was drawn first still counts after another recipe has drawn from the same seed."""
    first, other, second = (nn.Linear(3, 3) for _ in range(3))
    initialize(first, RECIPE, seed=95_000)
    initialize(other, "keras", seed=95_000)
    with pytest.warns(UserWarning, match="gets? the same values as those of another module, of type Linear"):
        initialize(second, RECIPE, seed=95_000)
    assert torch.equal(first.weight, second.weight)


def test_smaller_twins() -> None:
    """Values do not depend on the shape: the smaller tensor repeats the beginning of the larger one."""
    normal: Any = fanin.Recipe([{"path": "*", "initializer": "random_normal"}], seed=96_000)
    first, second = nn.Embedding(3, 3), nn.Embedding(5, 3)
    initialize(first, normal)
    with pytest.warns(UserWarning, match="gets? the same values"):
        initialize(second, normal)
    assert torch.equal(first.weight, second.weight[:3])
