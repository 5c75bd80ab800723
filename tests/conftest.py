"""What all tests share: settings of hypothesis, the settings of fanin left as they were, and a browser."""

import random
import sys
from collections.abc import Iterator
from typing import Any

import hypothesis
import numpy as np
import pytest

import fanin
from browsers import chromium
from fanin import _native
from fanin._core import streams

hypothesis.settings.register_profile("fanin", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("fanin")


@pytest.fixture(autouse=True)
def _same_settings() -> Iterator[None]:
    """Fails a test that leaves other settings behind than it found."""
    before = repr(fanin.config)
    yield
    assert repr(fanin.config) == before


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    """Begins each test with the same global generators, so that a test of what is drawn without a seed can be repeated.

    Unseeded initializers take their seeds from Python's, unless `set_random_seed` gave the thread one of its own.
    """
    streams._generator.set(None)
    random.seed(0)
    np.random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture
def many_threads() -> Iterator[None]:
    """Makes 64 elements worth another thread, so that small fills are cut among many."""
    before = _native.set_elements_per_thread(64)
    yield
    assert _native.set_elements_per_thread(before) == 64


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium.

    It ends with its module: while Playwright drives one, the thread has a running event loop, beside which neither
    another Playwright nor a notebook can start.
    """
    with chromium() as found:
        yield found
