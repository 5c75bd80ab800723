"""What all tests share: settings of hypothesis, and the settings of fanin left as they were."""

from collections.abc import Iterator

import hypothesis
import pytest

import fanin
from fanin import _native

hypothesis.settings.register_profile("fanin", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("fanin")


@pytest.fixture(autouse=True)
def _same_settings() -> Iterator[None]:
    """Fails a test that leaves other settings behind than it found."""
    before = repr(fanin.config)
    yield
    assert repr(fanin.config) == before


@pytest.fixture
def many_threads() -> Iterator[None]:
    """Makes 64 elements worth another thread, so that small fills are cut among many."""
    before = _native.set_elements_per_thread(64)
    yield
    assert _native.set_elements_per_thread(before) == 64
