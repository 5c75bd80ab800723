"""Trends by depth against SciPy's Theil–Sen estimator, and jumps that are known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from fanin.theory.trends import Jump, jumps, trend

LEVEL = np.random.default_rng(3).lognormal(size=40)  # numbers by depth that go nowhere


def test_trend_is_theil_and_sen() -> None:
    """The factor is the exponential of SciPy's slope of the logarithms."""
    values = LEVEL * 1.3 ** np.arange(40)
    slope: Any = stats.theilslopes(np.log(values))[0]
    assert trend(values.tolist()) == pytest.approx(math.exp(slope), rel=1e-12)


@pytest.mark.parametrize("odd", [1e-40, 1e30, 0.0, math.nan, math.inf])
@pytest.mark.parametrize("place", [0, 17, 39])
def test_an_odd_number_does_not_move_a_trend(odd: float, place: int) -> None:
    """Whether it is small, large or no number, wherever it is."""
    values = LEVEL.copy()
    values[place] = odd
    assert trend(values.tolist()) == pytest.approx(trend(LEVEL.tolist()), rel=0.01)


def test_a_step_is_no_trend() -> None:
    """Numbers that are level before and after a step have no trend, and a jump."""
    values = np.where(np.arange(40) < 20, LEVEL, 1e6 * LEVEL)
    assert trend(values.tolist()) == pytest.approx(1, abs=0.05)
    [jump] = jumps(values.tolist(), 1e3)
    assert jump == Jump(19, 20, values[20] / values[19])


def test_too_few_numbers() -> None:
    """Four of them, or four and some that do not count."""
    assert trend([1.0, 2.0, 4.0, 8.0]) is None
    assert trend([1.0, 2.0, math.nan, 4.0, 0.0, 8.0]) is None
    assert trend([]) is None


def test_a_steep_trend_has_no_jumps() -> None:
    """Steps that are those of the trend are no jumps, however large."""
    values = [1e5**place for place in range(12)]
    assert trend(values) == pytest.approx(1e5)
    assert list(jumps(values, 1e3)) == []


def test_a_way_back_is_no_jump() -> None:
    """Where one number is odd, the jump is to it, and not to the next; with `lasting` there is none."""
    values = [1.0, 1.0, 1e6, 1.0, 1.0, 1.0]
    assert list(jumps(values, 1e3)) == [Jump(1, 2, 1e6)]
    assert list(jumps(values, 1e3, lasting=True)) == []


def test_a_last_number_may_jump() -> None:
    """Numbers that do not count are passed over."""
    assert list(jumps([1.0, 2.0, math.nan, 2e-9], 1e3)) == [Jump(1, 3, 1e-9)]
