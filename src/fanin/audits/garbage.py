"""Leftovers of uninitialized memory: old integers, pointers and texts, read as floating-point numbers.

Whatever was in memory, its bits are no numbers of one size. The logarithms of the sizes of numbers that are drawn from
one distribution vary by 1 or 2 bits (1.6 for a normal distribution, 1.4 for a uniform one), and those of a log-normal
distribution by its own deviation; those of leftovers vary by 19 to 600 bits. What was a tensor of weights before cannot
be told by its numbers.
"""

from __future__ import annotations

import math

import numpy as np

from fanin._core.types import Array, Shape
from fanin.audits.measuring.elements import Elements
from fanin.audits.measuring.sampling import positions
from fanin.audits.statistics import Statistics

LEAST_SPREAD, MOST_SPREAD = 1e-9, 1e6  # standard deviations of what is drawn for kernels
_FEWEST = 8  # numbers other than zero that are needed to speak of a deviation
_WIDE, _WIDE_NARROW = 12.0, 6.0  # bits; for dtypes of exponents of 8 bits or more, and for narrower ones
_LARGE = 2.0**20  # beyond which no network has weights
_HUGE = 1e12
_MANY = 0.4  # the share of units above which it matters that weights have both signs
_DISTINCT = 0.5  # the share of weights of more than 16 bits that differ; leftovers have the same words again and again
_NARROW = 2  # bytes of dtypes that have few values of one size
_SMALL = -40.0  # the logarithm of the size below which no network has its largest weights


def leftovers(found: Statistics, shape: Shape, elements: Elements) -> str:
    """Why a tensor of floating-point numbers looks like uninitialized memory, as a clause; "" if it does not.

    Args:
        found: what is known of the tensor.
        shape: its shape.
        elements: how its elements are read.
    """
    largest = max(-found.low, found.high) if found.at_low else 0.0
    if not largest or found.low == found.high:
        return ""
    has_range = elements.smallest < 2.0**-100
    if has_range and largest < elements.smallest:
        return f"all numbers but zeros are subnormal, the largest being {largest:.3g}"
    if found.zeros * 2 >= found.size and largest >= _HUGE and not _is_mask(found, elements):
        return f"{found.zeros:,} numbers are zero, and others are as large as {largest:.3g}"
    sample = found.sample
    places = np.flatnonzero(np.isfinite(sample) & (sample != 0))
    if len(places) < _FEWEST:
        return ""
    sizes = np.log2(np.abs(sample[places]))
    limit = _WIDE if has_range else _WIDE_NARROW
    spread = float(sizes.std())
    if spread < limit:
        return ""
    is_strange = found.nans > 0 or found.infinities > 0 or largest > _LARGE
    if not is_strange and _dead_lines_explain(sizes, places, found, shape, elements, limit):
        return ""
    return (
        f"the sizes of its numbers range from {2.0 ** sizes.min():.2g} to {2.0 ** sizes.max():.2g}, with a standard "
        f"deviation of {spread:.0f} bits"
    )


def strange_spread(found: Statistics) -> str:
    """Why no initializer drew a tensor, by its standard deviation, as a clause; "" if one may have."""
    if found.low == found.high or not math.isfinite(found.stddev) or LEAST_SPREAD <= found.stddev <= MOST_SPREAD:
        return ""
    return f"its standard deviation is {found.stddev:.3g}, which no initializer gives"


def _is_mask(found: Statistics, elements: Elements) -> bool:
    """Whether all numbers are zero or one and the same, as those that are added to attention scores."""
    others = found.size * elements.numbers - found.zeros
    return others > 1 and others in (found.at_low, found.at_high)


def _dead_lines_explain(
    sizes: Array, places: Array, found: Statistics, shape: Shape, elements: Elements, limit: float
) -> bool:
    """Whether the numbers are of one size within each line, and the largest ones of the size of weights.

    The weights of units that died in training decay to nothing, while those of others stay as they are.
    """
    usual = np.quantile(sizes, 0.9)
    decayed = found.sample[places[sizes < usual - limit]]
    negative = np.count_nonzero(decayed < 0) / max(1, len(decayed))
    # Pointers have a small half and a large one, and the small one is positive.
    if usual < _SMALL or (len(decayed) > _MANY * len(sizes) and not 0.1 < negative < 0.9):
        return False
    living = found.sample[places[sizes >= usual - limit]]
    if elements.part.itemsize > _NARROW and len(np.unique(living)) < _DISTINCT * len(living):
        return False
    if len(shape) == 1:
        return True
    indices = positions(found.size * elements.numbers)[places] // elements.numbers
    for lines in found.lines:
        numbers = indices // math.prod(shape[lines.axis + 1 :]) % lines.count
        counts = np.maximum(np.bincount(numbers, minlength=lines.count), 1)
        means = np.bincount(numbers, sizes, minlength=lines.count) / counts
        within = sizes - means[numbers]
        freedom = len(sizes) - np.count_nonzero(np.bincount(numbers))
        if freedom > 0 and float(within @ within) / freedom < limit**2:
            return True
    return False
