"""What is wrong with a tensor that does not have the law that it should have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fanin._core import dtypes
from fanin._core.types import Array, DType, Shape
from fanin.audits.judging.candidates import Candidate
from fanin.audits.judging.fitting import GRAINED, UNEVEN, Fit, Observed, fit
from fanin.audits.judging.laws import Law, cut_moments, cut_normal, grid_of, normal, uniform
from fanin.audits.judging.roles import Role
from fanin.audits.measuring.sampling import positions
from fanin.audits.verdicts import STANDARD_ERRORS, Problem
from fanin.report import number

_PIECES = (2, 3, 4, 6, 8, 12)  # equal blocks that a tensor may be fused of
_SKEWED = 0.1  # of a variance, that the skewness of mean squares adds
_SEEN = 40  # elements of a cell whose spread says something
_ABOUT = 0.05  # how far a ratio that is measured may be from one that is named
_RATIOS = {
    "twice": 2.0,
    "half": 0.5,
    "4 times": 4.0,
    "a quarter of": 0.25,
    "sqrt(2) times": math.sqrt(2),
    "1/sqrt(2) times": math.sqrt(0.5),
}
_TELLING = 1_000  # elements of a tensor whose rows say that it is not trained
_ALIKE = 3.0  # standard errors of the dispersion of rows
_UNCERTAIN = 0.02  # of a bound, beside what chance leaves
_PILED, _BESIDE = 4, 4  # how many times as many as beside it, and how many values that are
_TIES = 5  # elements at a bound that are no coincidence
_MOST_CUT, _LEAST_CUT = 4.5, 0.3  # standard deviations at which a normal may have been cut


def told_apart(one: float, other: float) -> tuple[str, str]:
    """Two numbers in words, with three digits, or as many as show that they differ.

    >>> told_apart(1.0004, 1.0), told_apart(2.0, 1.0)
    (('1.0004', '1'), ('2', '1'))
    """
    words = ((number(one, digits), number(other, digits)) for digits in range(3, 17))
    return next((each for each in words if each[0] != each[1]), (number(one, 3), number(other, 3)))


def _suspicious(code: str, message: str, advice: str = "") -> Problem:
    return Problem(code, "suspicious", message, advice)


# ---------------------------------------------------------------- against an expectation


def diagnosed(tensor: Observed, role: Role, result: Fit, candidates: Sequence[Candidate]) -> Problem | None:
    """What is wrong with a tensor that does not have the expected law; None if it looks trained.

    Args:
        tensor: what is seen of it.
        role: its role.
        result: how it fails.
        candidates: the laws that it may have instead.
    """
    law = result.law
    if tensor.is_constant:
        code = "mean" if law.is_constant else "stddev"
        return _suspicious(code, f"Every element is {number(tensor.mean)}, where {law.words} is expected.")
    if not law.is_random:
        return _not_as_given(tensor, law, candidates)
    count = number_of_pieces(tensor, role.shape) if law.independent else 0
    if count:
        return _suspicious(
            "uneven",
            f"It consists of {count} blocks of different spreads, where {law.words} is expected of all of it.",
            "Was each block drawn with the fans of a tensor of its own, or by an initializer of its own?",
        )
    if tensor.is_uneven and (law.independent or law.one_norm):
        return None
    if is_clipped(tensor, law):
        ends = f"{number(tensor.low, 3)} and {number(tensor.high, 3)}"
        ties = tensor.at_low + tensor.at_high
        return _suspicious("clipped", f"{ties:,} elements are exactly {ends}, where {law.words} has no bound.")
    return (
        _other_moments(tensor, role, result, candidates)
        or _other_cut(tensor, law)
        or _other_law(tensor, result, candidates)
    )


def _not_as_given(tensor: Observed, law: Law, candidates: Sequence[Candidate]) -> Problem | None:
    """What is wrong with a tensor whose values should be given; None if it looks trained."""
    other = _resembled(tensor, candidates, law)
    if other is None and law.is_constant:
        return None
    wanted = f"every element should be {number(law.mean)}" if law.is_constant else f"{law.words} is expected"
    spread = number(tensor.stddev, 3)
    return _suspicious(
        "distribution", f"Its elements have a standard deviation of {spread}, but {wanted}.{_fits(other)}"
    )


def _resembled(tensor: Observed, candidates: Sequence[Candidate], law: Law) -> Candidate | None:
    """The first candidate that a tensor fits, other than the law that it does not; rare ones come last."""
    others = (each for each in candidates if not each.law.is_constant and each.law != law)
    likeliest_first = sorted(others, key=lambda each: each.is_rare)
    return next((each for each in likeliest_first if fit(tensor, each.law, whole=False).passes), None)


def _fits(other: Candidate | None) -> str:
    """What a tensor fits instead, as a sentence after others; "" for nothing."""
    if other is None:
        return ""
    if other.is_rare:
        return f" (By chance or not, it fits {other.words}, which few models have: {other.source}.)"
    return f" It fits {other.words} ({other.source})."


def _other_moments(tensor: Observed, role: Role, result: Fit, candidates: Sequence[Candidate]) -> Problem | None:
    """The problem of a tensor that has the law but for its mean or its spread."""
    law = result.law
    if not 0 < law.stddev < math.inf or law.curve is None:
        return None
    ratio = tensor.stddev / law.stddev
    if not _has_shape_of(tensor, law, ratio):
        return None
    if "mean" in result.failures and "stddev" not in result.failures:
        errors = f"{result.mean_errors:+.1f} standard errors"
        message = f"The mean is {number(tensor.mean, 3)}, {errors} from that of {law.words}."
        return _suspicious("mean", message)
    code, words = _reading_of(ratio, tensor, role, law)
    # A ratio that says what happened is a better explanation than another initializer that happens to fit.
    other = _resembled(tensor, candidates, law) if code != "stddev" or not words else None
    times = words if code == "stddev" and words else f"{told_apart(ratio, 1.0)[0]} times"
    spread = f"The standard deviation is {number(tensor.stddev, 3)}, {times} that of {law.words}"
    return _suspicious(code, f"{spread}{words if code != 'stddev' else ''}.{_fits(other)}", _ADVICE.get(code, ""))


def _has_shape_of(tensor: Observed, law: Law, ratio: float) -> bool:
    """Whether a tensor has a law, but for its mean and `ratio` times its spread."""
    distance = tensor.mean - law.mean
    failures = set(fit(tensor, law.moved(ratio, distance)).failures)
    if not failures or not math.isfinite(law.high):
        return not failures
    # A spread that was measured leaves bounds uncertain: they count if they are clearly elsewhere.
    farthest = max(tensor.high - tensor.mean, tensor.mean - tensor.low)
    ends = farthest / (law.high - law.mean) / ratio
    return failures <= {"support", "tails"} and abs(ends - 1) < _UNCERTAIN + STANDARD_ERRORS * tensor.stddev_error


_ADVICE = {
    "transposed": "Were the fans taken from the axes of another layout?",
    "residual": "Was the scaling of residual branches by depth left out, or applied twice?",
}


def _reading_of(ratio: float, tensor: Observed, role: Role, law: Law) -> tuple[str, str]:
    """What a ratio of spreads means: a problem's code, and words for it; "" for one that says nothing."""

    def is_near(value: float) -> bool:
        room = STANDARD_ERRORS * tensor.stddev_error + law.slack + 1e-3
        return abs(math.log(ratio / value)) <= room < 0.3

    if role.residual and role.n_layers:
        for words, depth in (("2 n_layers", 2 * role.n_layers), ("n_layers", role.n_layers)):
            if depth > 1 and is_near(math.sqrt(depth)):
                return "residual", f": it lacks 1/sqrt({words})"
            if depth > 1 and is_near(1 / math.sqrt(depth)):
                return "residual", f": 1/sqrt({words}) came once too often"
    if law.by_fans:
        for fan_in, fan_out in role.fans:
            swapped = math.sqrt(fan_in / fan_out)
            if fan_in != fan_out and (is_near(swapped) or is_near(1 / swapped)):
                return "transposed", ": fan_in and fan_out were swapped"
    near = (words for words, value in _RATIOS.items() if is_near(value) and abs(math.log(ratio / value)) < _ABOUT)
    return "stddev", next(near, "")


def _other_cut(tensor: Observed, law: Law) -> Problem | None:
    """The problem of a normal that is cut elsewhere than it should be, or not at all."""
    if law.kind not in ("normal", "truncated_normal") or law.mean or tensor.size < 2:
        return None
    uncut = normal(math.hypot(tensor.mean, tensor.stddev), tensor.dtype)
    if law.kind == "truncated_normal" and fit(tensor, uncut).passes:
        beyond = max(abs(tensor.low), abs(tensor.high))
        at = number(min(abs(law.low), abs(law.high)), 3)
        return _suspicious(
            "truncation",
            f"It is not truncated: elements reach {number(beyond, 3)}, where {law.words} ends at {at}.",
        )
    own = cut_like(tensor)
    if own is None:
        return None
    wanted = "not truncated" if law.kind == "normal" else f"truncated at {number(law.high, 3)}"
    message = f"It is truncated at {number(own.high, 3)}, where {law.words} is {wanted}."
    return _suspicious("truncation", message)


def cut_like(tensor: Observed) -> Law | None:
    """The normal, cut at bounds as far on both sides, that a tensor fits; None if there is none."""
    bound = max(abs(tensor.low), abs(tensor.high))
    stddev = math.hypot(tensor.mean, tensor.stddev)
    # The bound is a little further out than the farthest element: by about one of `size` elements in the tail.
    bound *= 1 + 1 / (tensor.size + 1)
    at = _cut_of(stddev / bound) if bound else 0.0
    if not at:
        return None
    law = cut_normal(bound / at, at, tensor.dtype)
    return law if law.kind == "truncated_normal" and fit(tensor, law).passes else None


def _cut_of(share: float) -> float:
    """Where a normal was cut, in its standard deviations, from the share that its spread is of the bound; or 0."""
    low, high = _LEAST_CUT, _MOST_CUT
    if not cut_moments(high)[0] / high < share < cut_moments(low)[0] / low:
        return 0.0
    for _ in range(40):  # halvings
        middle = (low + high) / 2
        low, high = (middle, high) if cut_moments(middle)[0] / middle > share else (low, middle)
    return (low + high) / 2


def _other_law(tensor: Observed, result: Fit, candidates: Sequence[Candidate]) -> Problem | None:
    """The problem of a tensor whose elements have another distribution; None if they look trained."""
    law = result.law
    other = _resembled(tensor, candidates, law)
    free = free_fit(tensor)
    words = other.words if other is not None else free.words if free is not None else ""
    if not words and is_heavy(tensor) and not (has_even_rows(tensor) and tensor.size >= _TELLING):
        return None
    fits = f" It fits {words}." if words else ""
    apart = (
        f" (their distribution functions are {number(result.distance, 2)} apart)" if "shape" in result.failures else ""
    )
    if "support" in result.failures:
        ends = f"{number(tensor.low, 3)} … {number(tensor.high, 3)}"
        apart = f", which end at {number(law.low, 3)} and {number(law.high, 3)}: they are in {ends}"
    return _suspicious("distribution", f"Its elements are not those of {law.words}{apart}.{fits}")


def is_heavy(tensor: Observed) -> bool:
    """Whether the tails are heavier than a normal's."""
    return (tensor.kurtosis - 3) / math.sqrt(24 / tensor.size) > STANDARD_ERRORS


def has_even_rows(tensor: Observed) -> bool:
    """Whether rows are known to be as alike as those of independent elements, which training leaves none."""
    return bool(tensor.dispersions) and all(errors < _ALIKE for _, _, errors in tensor.dispersions)


def free_fit(tensor: Observed) -> Law | None:
    """A law of any spread that a tensor fits: normal, uniform, or a truncated normal; None if there is none."""
    stddev = math.hypot(tensor.mean, tensor.stddev)
    if not 0 < stddev < math.inf:
        return None
    limit = max(abs(tensor.low), abs(tensor.high)) * (1 + 1 / (tensor.size + 1))
    for law in (normal(stddev, tensor.dtype), uniform(limit, tensor.dtype)):
        if fit(tensor, law, whole=False).passes:
            return law
    return cut_like(tensor)


# ---------------------------------------------------------------- blocks


def number_of_pieces(tensor: Observed, shape: Shape) -> int:
    """The number of blocks along an axis that differ in their spread, but not within themselves; 0 if none."""
    uneven = {axis for axis, _, errors in tensor.dispersions if errors > UNEVEN}
    if len(uneven) != 1:  # blocks along one axis leave the lines along the others alike
        return 0
    (axis,) = uneven
    sample = np.asarray(tensor.statistics.sample)
    places = positions(tensor.statistics.size * tensor.words) // tensor.words
    index = np.unravel_index(places, shape)[axis]
    known = np.isfinite(sample)
    return _pieces_along(sample[known], index[known], shape[axis])


def _pieces_along(sample: Array, index: Array, length: int) -> int:
    """The fewest blocks along an axis within which the spread is one: equal ones, or any two; 0 if there are none."""
    for count in _PIECES:
        if length % count == 0:
            cells = _Cells.of(sample, index, length, count)
            if cells is not None and cells.differ(tuple(range(0, cells.number + 1, cells.number // count))):
                return count
    cells = _Cells.of(sample, index, length, 1)
    return 2 if cells is not None and cells.differ((0, cells.likeliest_edge(), cells.number)) else 0


class _Cells(NamedTuple):
    """The parts of an axis, with what a sample has in each.

    Attributes:
        counts: the number of elements.
        squares: the sum of their squares.
        fourths: the sum of the squares of these.
    """

    counts: Array
    squares: Array
    fourths: Array

    @staticmethod
    def of(sample: Array, index: Array, length: int, count: int) -> _Cells | None:
        """As many cells as have enough elements, a multiple of `count`; None if there are too few to compare."""
        number = count * min(length // count, len(sample) // (_SEEN * count))
        if number < max(4 * count, 8):
            return None
        cell = index * number // length
        sums = (np.bincount(cell, weights, minlength=number) for weights in (None, sample**2, sample**4))
        cells = _Cells(*sums)
        return cells if cells.counts.all() and (cells.squares > 0).all() else None

    @property
    def number(self) -> int:
        """The number of cells."""
        return len(self.counts)

    def likeliest_edge(self) -> int:
        """Where two blocks of normals would most likely meet: the logarithms of their variances count."""
        counts, squares = np.cumsum(self.counts)[:-1], np.cumsum(self.squares)[:-1]
        total, whole = self.counts.sum(), self.squares.sum()
        first, last = squares / counts, (whole - squares) / (total - counts)
        return int(np.argmin(counts * np.log(first) + (total - counts) * np.log(last))) + 1

    def differ(self, edges: tuple[int, ...]) -> bool:
        """Whether blocks between these edges differ in their spread, and not within themselves."""
        sizes = np.diff(edges)
        counts, squares, fourths = (np.add.reduceat(each, edges[:-1]) for each in self)
        means = squares / counts
        # The error of a mean square, relative to it, by the kurtosis in the block.
        excess = np.maximum(fourths / counts / means**2 - 1, 0.1)
        ratios = self.squares / self.counts / np.repeat(means, sizes)
        within = float(((ratios - 1) ** 2 * self.counts / np.repeat(excess, sizes)).mean())
        room = STANDARD_ERRORS * math.sqrt(2 / (self.number - len(sizes))) + _SKEWED
        apart = float(np.ptp(np.log(means)) / np.sqrt(excess / counts).max())
        return within < 1 + room and apart > 2 * STANDARD_ERRORS


# ---------------------------------------------------------------- grains and bounds


def is_clipped(tensor: Observed, law: Law | None) -> bool:
    """Whether elements pile up at the smallest and the largest value, far more than at the values beside them."""
    if tensor.dtype.itemsize < 2 or (law is not None and not law.is_smooth):
        return False
    ties, count = min(tensor.at_low, tensor.at_high), len(tensor.ordered)
    if ties < _TIES:
        return False
    sampled = ties * count / tensor.size
    if sampled < _PILED and not tensor.statistics.grids and tensor.stored.itemsize >= 4:
        return ties > _PILED * tensor.size * 2.0**-22  # more than 22 random bits explain
    counts = np.unique(tensor.ordered, return_counts=True)[1][1:-1]
    beside = np.append(counts[:_BESIDE], counts[-_BESIDE:])
    return len(beside) > 0 and sampled > _PILED * float(beside.mean())


def grain(tensor: Observed, law: Law, drawn: DType | None = None) -> list[Problem]:
    """Whether elements are coarser than those of a law that a tensor fits: of a narrower dtype, clipped, or few.

    Args:
        tensor: what is seen of it.
        law: the law.
        drawn: the dtype in which its model has it, whose numbers are no surprise; None if that is not known.
    """
    if not law.is_smooth or not law.stddev or tensor.size < GRAINED or tensor.stored.itemsize < 2:
        return []
    found = []
    if is_clipped(tensor, law):
        ends = f"{number(tensor.low, 3)} and {number(tensor.high, 3)}"
        message = f"{tensor.at_low + tensor.at_high:,} elements are exactly {ends}: it was clipped."
        found.append(_suspicious("clipped", message))
    if tensor.dtype not in (tensor.stored, drawn) and not tensor.is_fixed_point:
        message = f"Every element is a {tensor.dtype.name} number, although its dtype is {tensor.stored.name}."
        found.append(_suspicious("grid", message, "Was it drawn, or stored, in that dtype before?"))
    expected = _distinct(tensor, law, tensor.dtype)
    if tensor.statistics.distinct * 4 < expected:
        count = len(tensor.ordered)
        elements = "sampled elements" if count < tensor.size else "elements"
        message = f"Only {tensor.statistics.distinct:,} different values are among {count:,} {elements}."
        found.append(_suspicious("coarse", message, "Was it made of random numbers of few bits?"))
    return found


def _distinct(tensor: Observed, law: Law, dtype: DType) -> float:
    """About how many different values a sample of a law has in a dtype."""
    count = len(tensor.ordered)
    if dtype.itemsize > 2:
        return count
    if law.kind == "uniform" and dtype.itemsize == 2:
        return min(count, 2.0 ** dtypes.UNIT_BITS[dtype])
    assert law.curve is not None
    grid = grid_of(dtype)
    near = grid[(np.abs(grid - law.mean) < 6 * law.stddev) & (np.abs(grid) > law.stddev * 2.0**-9)]
    if len(near) < 2:
        return 0.0
    shares = np.diff(law.curve.at((near[1:] + near[:-1]) / 2))
    return float(-np.expm1(count * np.log1p(-np.clip(shares, 0.0, 0.999))).sum())
