"""The tests of this folder are about tf_keras, with eight devices, which must be there before TensorFlow starts."""

import importlib
import sys
from collections.abc import Iterator

import pytest

from keras_kit import Kit, allow_warnings

try:
    tf = importlib.import_module("tensorflow")
except ModuleNotFoundError:
    pass
else:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 8)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Lets tf_keras warn of what is its own."""
    allow_warnings(item)


@pytest.fixture
def kit() -> Kit:
    """tf_keras, and helpers for models of it."""
    return Kit("tf_keras")


@pytest.fixture(autouse=True)
def _unpatched() -> Iterator[None]:
    """Ends the patch after each test."""
    yield
    if "fanin.tf_keras" in sys.modules:
        sys.modules["fanin.tf_keras"].unpatch()
