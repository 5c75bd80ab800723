"""NumPy's and Python's generators while a model is recorded: noticed when they were used, and put back."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

_SOURCES: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "Python's": (random.getstate, random.setstate),
    "NumPy's": (lambda: np.random.get_state(legacy=True), np.random.set_state),
}


class Generators:
    """The global generators that PyTorch's operators do not draw from."""

    def __init__(self) -> None:
        self._before = {name: state() for name, (state, _) in _SOURCES.items()}
        self._seen = dict(self._before)

    def used(self) -> list[str]:
        """Whose generators were used since this was asked last."""
        found = []
        for name, (state, _) in _SOURCES.items():
            now = state()
            if not _are_same(now, self._seen[name]):
                self._seen[name] = now
                found.append(name)
        return found

    def restore(self) -> None:
        """Puts the generators that were used back to where they were."""
        for name, (state, put) in _SOURCES.items():
            if not _are_same(state(), self._before[name]):
                put(self._before[name])


def _are_same(first: tuple[Any, ...], second: tuple[Any, ...]) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))
