"""Norms that scale by one more than their weight, found by running them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fanin.models.norms import is_shifted

INPUTS = np.linspace(-1, 2, 12).reshape(3, 4)
NORMS: dict[str, tuple[Callable[[float], Any], bool]] = {
    "plain": (lambda weight: INPUTS * weight, False),
    "shifted": (lambda weight: INPUTS * (1 + weight), True),
    "half precision": (lambda weight: (INPUTS * (1 + weight)).astype(np.float16), True),
}


@pytest.mark.parametrize("case", NORMS)
def test_norms(case: str) -> None:
    """The output vanishes for a weight of zero, or is half of what it is for one."""
    run, shifted = NORMS[case]
    assert is_shifted(run) is shifted


NEITHER: dict[str, Callable[[float], Any]] = {
    "no scale": lambda weight: INPUTS + weight,
    "without effect": lambda weight: INPUTS,
    "nothing": lambda weight: INPUTS * 0,
    "not a number": lambda weight: INPUTS * np.nan,
    "minus": lambda weight: INPUTS * (1 - weight),
    "an offset": lambda weight: INPUTS * weight + 5,
}


@pytest.mark.parametrize("case", NEITHER)
def test_what_is_neither(case: str) -> None:
    """Where the outputs show neither, nothing is guessed."""
    with pytest.raises(ValueError, match="The outputs show neither"):
        is_shifted(NEITHER[case])
