"""What the tests of the recorder share: what tensors have that code makes, and the state of NumPy's generator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fanin.torch.recording.recorder import Recorder, watching

Tensor = Any  # of which PyTorch's own types say too little


def of(recorder: Recorder, tensor: Tensor) -> Any:
    """What a tensor has."""
    return recorder.read(tensor)


def read(make: Callable[[], Tensor]) -> Any:
    """What a tensor has that code made."""
    with watching() as recorder:
        tensor = make()
    return of(recorder, tensor)


def numpy_key() -> bytes:
    """The state of NumPy's generator."""
    state: Any = np.random.get_state()
    return state[1].tobytes() + bytes([state[2] % 256])
