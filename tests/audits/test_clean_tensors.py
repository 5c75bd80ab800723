"""Ten thousand tensors with nothing wrong with them, of which none may look wrong.

Each statistic of a tensor may be wrong once in ten million tensors, so ten thousand tensors with a dozen statistics
each leave a chance of about one in a hundred that one is; these have fixed seeds.
"""

from collections import Counter

import pytest

import clean_tensors
from fanin.audits.verdicts import SIGNIFICANCE, STANDARD_ERRORS, Verdict

Verdicts = dict[str, Verdict]


@pytest.fixture(scope="module")
def verdicts() -> Verdicts:
    """The verdict on each tensor, by its label."""
    return {each.label: each.verdict() for each in clean_tensors.every()}


def test_there_are_ten_thousand(verdicts: Verdicts) -> None:
    """No two have the same label."""
    assert len(verdicts) == 10_000


def test_none_looks_wrong(verdicts: Verdicts) -> None:
    """No false "broken" or "suspicious"."""
    assert {label: verdict.reason for label, verdict in verdicts.items() if not verdict.is_clean} == {}


def test_all_are_consistent(verdicts: Verdicts) -> None:
    """None is called trained, or left unjudged: initializers' tensors are known for what they are."""
    assert Counter(verdict.kind for verdict in verdicts.values()) == {"consistent": 10_000}


def test_standard_errors_are_those_of_the_level() -> None:
    """Both constants say how often chance alone may make one statistic look wrong."""
    special = pytest.importorskip("scipy.special")
    assert 2 * special.ndtr(-STANDARD_ERRORS) == pytest.approx(SIGNIFICANCE, rel=0.03)
