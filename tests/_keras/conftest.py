"""The tests of this folder are about both Kerases: `kit` is tf_keras, and Keras 3 on the backend of this process."""

import pytest

from keras_kit import LIBRARIES, Kit, allow_warnings


@pytest.fixture(params=LIBRARIES)
def kit(request: pytest.FixtureRequest) -> Kit:
    """Each of the two libraries."""
    return Kit(request.param)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Lets the libraries warn of what is theirs."""
    allow_warnings(item)
