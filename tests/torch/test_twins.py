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
