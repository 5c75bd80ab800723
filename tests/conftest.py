"""What all tests share: settings of hypothesis, and the settings of fanin left as they were."""

from collections.abc import Iterator

import hypothesis
import pytest

import fanin

hypothesis.settings.register_profile("fanin", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("fanin")


@pytest.fixture(autouse=True)
def _same_settings() -> Iterator[None]:
    """Fails a test that leaves other settings behind than it found."""
    before = repr(fanin.config)
    yield
    assert repr(fanin.config) == before
