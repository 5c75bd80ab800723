"""The tests of this folder are about Keras 3 on the backend of this process, which `KERAS_BACKEND` names.

A test with the marker `backend` is about the backends that it names, and is left out on others.
"""

import os
import pathlib
import sys
from collections.abc import Iterator

import pytest

from keras_kit import BACKEND, Kit, allow_warnings

FOLDER = pathlib.Path(__file__).parent
if BACKEND == "jax" and "jax" not in sys.modules:  # which reads this when it starts
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"


def pytest_configure(config: pytest.Config) -> None:
    """Makes the marker known."""
    config.addinivalue_line("markers", "backend(*names): the test is about these backends of Keras 3 alone")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Lets Keras warn of what is its own."""
    allow_warnings(item)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the tests of other backends."""
    left_out = [item for item in items if FOLDER in item.path.parents and not is_of_backend(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def is_of_backend(item: pytest.Item) -> bool:
    """Whether a test is about the backend of this process."""
    marker = item.get_closest_marker("backend")
    return marker is None or BACKEND in marker.args


@pytest.fixture
def kit() -> Kit:
    """Keras 3, and helpers for models of it."""
    return Kit("keras")


@pytest.fixture(autouse=True)
def _unpatched() -> Iterator[None]:
    """Ends the patch after each test."""
    yield
    if "fanin.keras" in sys.modules:
        sys.modules["fanin.keras"].unpatch()
