"""Tensors of the same place in repeated blocks: they have one law, so one that is unlike the others is suspicious."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fanin.audits.judging.diagnosis import told_apart
from fanin.audits.judging.fitting import Observed, observed
from fanin.audits.judging.roles import Role
from fanin.audits.statistics import Statistics
from fanin.audits.verdicts import STANDARD_ERRORS, Problem
from fanin.models.traits import STATISTICS
from fanin.report import number

_FEWEST = 3  # tensors of a group, of which one can differ from the others
_MAJORITY = 0.6  # of the others, that must agree
_MARGIN = 2 * STANDARD_ERRORS  # between one tensor and the median of the others, which has an error, too
_DIFFERENT = 0.01  # of a standard deviation, that is worth telling
_NORMAL = 3.5  # the kurtosis of a group, up to which its standard error is known
_OTHER_SHAPE = 0.1  # a difference of kurtoses that is worth telling
_ADVICE = "Was this block initialized like the others?"


class _Member(NamedTuple):
    name: str
    role: str
    seen: Observed

    @property
    def is_usual(self) -> bool:
        """Whether it is a norm's factor of ones, or of zeros, as of those that end a residual branch."""
        return self.role == "scale" and self.seen.is_constant and self.seen.mean in (0.0, 1.0)


def among_siblings(members: Mapping[str, tuple[Role, Statistics]]) -> dict[str, Problem]:
    """What is wrong with tensors that are unlike those of the same place in other blocks.

    Most of the others must be like one another, as those of a model that has not been trained. Only moments are used.

    Args:
        members: the role of each tensor, and what was measured of it, by name.

    Returns:
        The problem of each tensor that has one.

    >>> import fanin
    >>> from fanin.audits.arrays import InMemory
    >>> from fanin.audits.judging.roles import roles_of
    >>> from fanin.audits.statistics import measure
    >>> arrays = {f"h.{n}.fc.kernel": fanin.HeNormal(seed=n)((64, 64)) * (2 if n == 3 else 1) for n in range(5)}
    >>> roles = roles_of({name: (each.shape, each.dtype) for name, each in arrays.items()})
    >>> members = {name: (roles[name], measure(InMemory(name, each))) for name, each in arrays.items()}
    >>> [(name, each.code) for name, each in among_siblings(members).items()]
    [('h.3.fc.kernel', 'stddev')]
    """
    groups: dict[tuple[object, ...], list[_Member]] = defaultdict(list)
    for name, (role, statistics) in members.items():
        if role.place and role.dtype is not None:
            seen = observed(statistics, role.dtype)
            of_data = role.hint == "average" or (role.role in STATISTICS and seen is not None and not seen.is_constant)
            if seen is not None and not of_data and not seen.follows_order:
                groups[role.place].append(_Member(name, role.role, seen))
    return dict(problem for group in groups.values() if len(group) >= _FEWEST for problem in _of_group(group))


def _of_group(group: Sequence[_Member]) -> Iterator[tuple[str, Problem]]:
    """The tensors of a group that are unlike the others, with their problems."""
    constants = [each for each in group if each.seen.is_constant]
    if len(constants) >= _needed(group):
        yield from _unlike_constants(group, constants)
        return
    drawn = [each for each in group if not each.seen.is_constant and each.seen.stddev > 0]
    if not drawn:
        return
    spreads = np.array([each.seen.stddev for each in drawn])
    middle = float(np.median(spreads))
    errors = np.abs(np.log(spreads / middle)) / np.array([max(each.seen.stddev_error, 1e-9) for each in drawn])
    agree = errors <= STANDARD_ERRORS
    if np.count_nonzero(agree) < _needed(group):
        return
    if 2 * sum(each.seen.is_uneven for each in drawn) > len(drawn):  # trained, and alike by chance or by weight decay
        return
    for each, off in zip(drawn, errors.tolist(), strict=True):
        ratio = each.seen.stddev / middle
        if off > _MARGIN and abs(ratio - 1) > _DIFFERENT:
            words = (
                f"{told_apart(ratio, 1.0)[0]} times that of the same tensor in other blocks ({len(group) - 1} of them)"
            )
            yield each.name, Problem("stddev", "suspicious", f"The standard deviation is {words}.", _ADVICE)
    alike = [each for each, one in zip(drawn, agree.tolist(), strict=True) if one]
    yield from _of_means(alike, middle)
    yield from _of_shapes(alike)


def _needed(group: Sequence[_Member]) -> int:
    """How many of a group must agree for one of the others to be odd."""
    return max(_FEWEST - 1, math.ceil(_MAJORITY * (len(group) - 1)))


def _of_means(group: Sequence[_Member], stddev: float) -> Iterator[tuple[str, Problem]]:
    """The tensors whose means are unlike those of the others."""
    means = np.array([each.seen.mean for each in group])
    middle = float(np.median(means))
    errors = np.abs(means - middle) / stddev * np.sqrt([each.seen.size for each in group])
    if np.count_nonzero(errors <= STANDARD_ERRORS) < _needed(group):
        return
    for each, off in zip(group, errors.tolist(), strict=True):
        if off > _MARGIN and abs(each.seen.mean - middle) > _DIFFERENT * stddev:
            own, usual = told_apart(each.seen.mean, middle)
            words = f"The mean is {own}, and {usual} in the same tensor of other blocks."
            yield each.name, Problem("mean", "suspicious", words, _ADVICE)


def _of_shapes(group: Sequence[_Member]) -> Iterator[tuple[str, Problem]]:
    """The tensors whose distribution is unlike that of the others, by their kurtosis: cut elsewhere, or of another law.

    The kurtosis of n normals has a standard error of sqrt(24 / n); that of laws with lighter tails has a smaller one.
    """
    kurtoses = np.array([each.seen.kurtosis for each in group])
    middle = float(np.median(kurtoses))
    if not middle <= _NORMAL:
        return
    errors = np.abs(kurtoses - middle) / np.sqrt(24 / np.array([each.seen.size for each in group]))
    if np.count_nonzero(errors <= STANDARD_ERRORS) < _needed(group):
        return
    for each, off in zip(group, errors.tolist(), strict=True):
        if off > _MARGIN and abs(each.seen.kurtosis - middle) > _OTHER_SHAPE:
            words = (
                f"The kurtosis is {number(each.seen.kurtosis, 3)}, and {number(middle, 3)} in the same tensor of other "
                "blocks: it was cut at another bound, or has another distribution."
            )
            yield each.name, Problem("distribution", "suspicious", words, _ADVICE)


def _unlike_constants(group: Sequence[_Member], constants: Sequence[_Member]) -> Iterator[tuple[str, Problem]]:
    """The tensors that are unlike the others, which are all of one value."""
    values, counts = np.unique([each.seen.mean for each in constants], return_counts=True)
    value = float(values[counts.argmax()])
    if counts.max() < _needed(group):
        return
    for each in group:
        if not each.is_usual and (not each.seen.is_constant or each.seen.mean != value):
            own = f"every element is {number(each.seen.mean)}" if each.seen.is_constant else "elements differ"
            words = f"Here {own}; in the same tensor of other blocks every element is {number(value)}."
            yield each.name, Problem("distribution", "suspicious", words, _ADVICE)
