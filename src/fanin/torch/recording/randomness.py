"""What is global while a model is recorded: noticed when the code used or changed it, and put back."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

_Reader = Callable[[], Any]
_Writer = Callable[[Any], Any]


def _numpy_state() -> tuple[Any, ...]:
    """NumPy's state as plain numbers."""
    _, key, *rest = np.random.get_state(legacy=True)
    return (np.asarray(key).tobytes(), *rest)


def _set_numpy_state(state: tuple[Any, ...]) -> None:
    key, *rest = state
    np.random.set_state(("MT19937", np.frombuffer(key, np.uint32), *rest))


def _default_device() -> torch.device | None:
    """The default device, None if none was set."""
    device = torch.get_default_device()
    return None if device.type == "cpu" else device


_GENERATORS: dict[str, tuple[_Reader, _Writer]] = {
    "Python's": (random.getstate, random.setstate),
    "NumPy's": (_numpy_state, _set_numpy_state),
}
_DEFAULTS: tuple[tuple[_Reader, _Writer], ...] = (
    (torch.get_default_dtype, torch.set_default_dtype),
    (_default_device, torch.set_default_device),
    (torch.is_grad_enabled, torch.set_grad_enabled),
)


class Globals:
    """The global generators, and PyTorch's defaults, as they were when a recording began."""

    def __init__(self) -> None:
        self._generators = {name: state() for name, (state, _) in _GENERATORS.items()}
        self._seen = dict(self._generators)
        self._defaults = [read() for read, _ in _DEFAULTS]
        self._seed = torch.default_generator.initial_seed()
        self._torch = torch.default_generator.get_state()

    def used(self) -> list[str]:
        """Whose generators were used since this was asked last."""
        found = []
        for name, (state, _) in _GENERATORS.items():
            now = state()
            if now != self._seen[name]:
                self._seen[name] = now
                found.append(name)
        return found

    def restore(self, *, draws: bool) -> bool:
        """Puts back what the code changed; says whether it seeded PyTorch's generator.

        Args:
            draws: whether to put back NumPy's and Python's generators, too.
        """
        for name, (_, put) in _GENERATORS.items():
            if draws and self._seen[name] != self._generators[name]:
                put(self._generators[name])
        is_seeded = self._is_seeded()
        if is_seeded:
            torch.default_generator.set_state(self._torch)
        for before, (read, write) in zip(self._defaults, _DEFAULTS, strict=True):
            if read() != before:
                write(before)
        return is_seeded

    def _is_seeded(self) -> bool:
        """Whether PyTorch's generator was seeded, with another seed or again with its own.

        Recorded code draws nothing from it. So its own seed, given again, leaves it at its start; one that has only
        moved on was drawn from by another thread.
        """
        state, seed = torch.default_generator.get_state(), torch.default_generator.initial_seed()
        if seed != self._seed:
            return True
        return not state.equal(self._torch) and state.equal(torch.Generator("cpu").manual_seed(seed).get_state())
