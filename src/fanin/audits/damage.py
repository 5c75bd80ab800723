"""What is broken about a tensor, whatever it was meant to be, as problems with numbers, places and advice."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fanin._core import dtypes
from fanin._core.messages import plural, shown
from fanin._core.types import DType, Shape
from fanin.audits.garbage import leftovers, strange_spread
from fanin.audits.measuring.elements import elements_of
from fanin.audits.measuring.lines import Lines
from fanin.audits.measuring.sampling import coincidence
from fanin.audits.relations import Correlated, Duplicates
from fanin.audits.statistics import Statistics
from fanin.audits.verdicts import SIGNIFICANCE, Problem

_MOST_RANGES = 3  # that a message lists


@dataclass(frozen=True)
class Allowed:
    """What is no damage of a tensor, since it is meant to be that way.

    Attributes:
        constant: that all elements are equal, or zero, as those of biases and scales.
        dead: lines of zeros, as of sparse, Dirac and identity kernels.
        padding: how many rows along the first axis may be zero, as the one of an embedding's padding token.
        repeated: lines that repeat others, as of kernels that no chance made.
        any_size: numbers of very different sizes, or all subnormal.
        any_spread: a standard deviation that no initializer has, below 1e-9 or above 1e6; only what is known to be
            drawn must have another.
        not_finite: NaN and infinities, as of masks.
    """

    constant: bool = False
    dead: bool = False
    padding: int = 0
    repeated: bool = False
    any_size: bool = False
    any_spread: bool = True
    not_finite: bool = False


NOTHING = Allowed()


def damage(found: Statistics, shape: Shape, dtype: DType, allowed: Allowed = NOTHING) -> tuple[Problem, ...]:
    """What is broken about a tensor of floating-point numbers; nothing is about one of integers.

    Args:
        found: what has been measured.
        shape: the tensor's shape.
        dtype: its dtype.
        allowed: what is meant to be.

    Returns:
        Problems of the codes "nan", "infinity", "garbage", "zeros", "constant", "dead-rows", "dead-columns" and
        "repeated".

    >>> import numpy as np
    >>> from fanin.audits.arrays import InMemory
    >>> from fanin.audits.damage import damage
    >>> from fanin.audits.statistics import measure
    >>> values = np.zeros((4, 3), "float32")
    >>> damage(measure(InMemory("w", values)), values.shape, values.dtype)[0].code
    'zeros'
    """
    if dtypes.kind(dtype) not in ("float", "complex"):
        return ()
    problems = [*_not_finite(found, shape, dtype)] if not allowed.not_finite else []
    why = "" if allowed.any_size else leftovers(found, shape, elements_of(dtype))
    why = why or ("" if allowed.any_spread else strange_spread(found))
    if why:  # dead lines are a part of it
        message = f"It looks like uninitialized memory: {why}."
        advice = "Initialize the tensor: torch.empty and numpy.empty leave what was in memory."
        return (*problems, Problem("garbage", "broken", message, advice))
    if found.low == found.high and not found.nans and not found.infinities:
        return (*problems, *([] if allowed.constant else _constant(found)))
    for lines in found.lines:
        if not allowed.dead:
            problems += _dead(found, lines, allowed.padding if lines.axis == 0 else 0)
        if not allowed.repeated:
            problems += _repeated(found, lines)
    return tuple(problems)


def _share(count: int, total: int) -> str:
    """A count of numbers, and its share, in words."""
    share = 100 * count / total
    return f"{count:,} of {total:,} numbers" + (f" ({share:.2g} %)" if count < total else "")


def _place(index: int, shape: Shape) -> str:
    """Where the first element of a kind is: its index along each axis."""
    position = ", ".join(str(each) for each in np.unravel_index(index, shape))
    return f", the first at [{position}]"


def _not_finite(found: Statistics, shape: Shape, dtype: DType) -> Iterator[Problem]:
    """NaN and infinities."""
    numbers = elements_of(dtype).numbers
    total = found.size * numbers
    for code, word, count, is_that in (
        ("nan", "NaN", found.nans, np.isnan),
        ("infinity", "infinite", found.infinities, np.isinf),
    ):
        if count:
            places = np.flatnonzero(is_that(found.sample)) if len(found.sample) == total else np.empty(0, int)
            place = _place(int(places[0]) // numbers, shape) if 0 < len(places) < total else ""
            verb = "is" if count == 1 else "are"
            yield Problem(
                code,
                "broken",
                f"{_share(count, total)} {verb} {word}{place}." if shape else f"It is {word}.",
                "Look for a division by zero, an overflow of a 16-bit dtype, or memory that was not initialized.",
            )


def _constant(found: Statistics) -> Iterator[Problem]:
    """A kernel of equal elements."""
    if found.size < 2:
        return
    advice = "Units that begin equal stay equal: draw the kernel at random."
    if found.low == 0:
        yield Problem("zeros", "broken", f"All {found.size:,} elements are zero, where a kernel is expected.", advice)
    else:
        message = f"All {found.size:,} elements are {found.low:.6g}, where a kernel is expected."
        yield Problem("constant", "broken", message, advice)


def _listed(found: Statistics, lines: Lines, places: Sequence[str], count: int) -> str:
    """Which lines, in words: "Rows 3, 7 … 11 (6 of 64)"."""
    is_matrix = len(found.lines) == 2
    noun = "Row" if lines.axis == 0 else "Column" if is_matrix else "Slice"
    where = "" if lines.axis == 0 or is_matrix else f" along axis {lines.axis}"
    more = f" and {len(places) - _MOST_RANGES} more ranges" if len(places) > _MOST_RANGES else ""
    return f"{plural(count, noun)} {', '.join(places[:_MOST_RANGES])}{more}{where} ({count:,} of {lines.count:,})"


def _range(start: int, stop: int) -> str:
    """A range of lines, in words."""
    return f"{start}" if stop == start + 1 else f"{start} … {stop - 1}"


def _dead(found: Statistics, lines: Lines, padding: int) -> Iterator[Problem]:
    """Lines of zeros, unless there are so many zeros that chance makes them."""
    count = sum(stop - start for start, stop in lines.dead)
    share = found.zeros / max(1, lines.count * lines.length)
    if count <= padding or lines.count * min(1.0, share) ** lines.length > SIGNIFICANCE:
        return
    places = [_range(*each) for each in lines.dead]
    verb = "is" if count == 1 else "are"
    yield Problem(
        "dead-rows" if lines.axis == 0 else "dead-columns",
        "broken",
        f"{_listed(found, lines, places, count)} {verb} all zero.",
        "Look for a part of the kernel that was never written, or a mask that was left in.",
    )


def _repeated(found: Statistics, lines: Lines) -> Iterator[Problem]:
    """Lines that repeat others, unless there are so few different numbers that chance makes them."""
    if not lines.repeated or math.comb(lines.count, 2) * coincidence(found.sample) ** lines.length > SIGNIFICANCE:
        return
    count = sum(stop - start for start, stop, _ in lines.repeated)
    places = [
        f"{_range(start, stop)} (those of {_range(first, first + stop - start)})"
        for start, stop, first in lines.repeated
    ]
    verb = "repeats an earlier one" if count == 1 else "repeat earlier ones"
    yield Problem(
        "repeated",
        "broken",
        f"{_listed(found, lines, places, count)} {verb}, bit for bit.",
        "Look for shards or layers that were drawn with the same seed, or one that was written twice.",
    )


def unrelated(equal: Iterable[Duplicates], similar: Iterable[Correlated]) -> dict[str, tuple[Problem, ...]]:
    """What is broken about tensors that have something in common and should not, by name.

    Returns:
        Problems of the codes "duplicate" and "correlated". A tensor that has equal ones is not called correlated, too.

    >>> from fanin.audits.damage import unrelated
    >>> from fanin.audits.relations import Duplicates
    >>> found = unrelated([Duplicates(("a", "b"), "bytes")], [])
    >>> found["b"][0].message
    "It has the values of 'a', bit for bit."
    """
    problems: dict[str, tuple[Problem, ...]] = {}
    for each in equal:
        for name in each.names:
            others = [shown(other) for other in each.names if other != name]
            more = f" and {len(others) - _MOST_RANGES} more tensors" if len(others) > _MOST_RANGES else ""
            message = f"It has the values of {', '.join(others[:_MOST_RANGES])}{more}{_HOW[each.how]}."
            advice = (
                "Look for layers that were drawn with the same seed, or copied. If they are tied on purpose, audit the "
                "model, whose code says so."
            )
            first = next(other for other in each.names if other != name)
            problems[name] = (*problems.get(name, ()), Problem("duplicate", "broken", message, advice, first))
    for each in similar:
        for name, other in (each.names, each.names[::-1]):
            if name in problems:
                continue
            message = (
                f"Its numbers are correlated with those of {shown(other)}: {each.correlation:.3g}, which is "
                f"{each.standard_errors:.0f} standard errors from 0."
            )
            advice = "Look for a layer that was copied, and scaled or disturbed."
            problems[name] = (Problem("correlated", "broken", message, advice, other),)
    return problems


_HOW = {"bytes": ", bit for bit", "values": " in another dtype", "transposed": ", transposed"}
