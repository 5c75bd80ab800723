"""How a norm uses its weight, found by running the layer: some, such as Gemma's, scale by one more than their weight.

A framework's layer table gives `is_shifted` a function that runs the layer, so that the answer is the same everywhere.

>>> import numpy as np
>>> inputs = np.arange(1.0, 5.0)
>>> is_shifted(lambda weight: inputs * weight), is_shifted(lambda weight: inputs * (1 + weight))
(False, True)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

_TOLERANCE = 0.05  # of the outputs' size: 16-bit layers round, and some lose a little to an epsilon


def is_shifted(run: Callable[[float], Any]) -> bool:
    """Whether a norm scales by one more than its weight, and not by the weight itself.

    Args:
        run: runs the layer on a fixed input that is neither zero nor constant, with every element of its weight set to
            the argument and its offset, if it has one, to zero. Returns an array.

    Returns:
        True if the output is twice as large for a weight of one as for a weight of zero; False if it vanishes for zero.

    Raises:
        ValueError: neither is so: the weight is not the scale of a norm.
    """
    at_zero, at_one = (np.asarray(run(weight), np.float64) for weight in (0.0, 1.0))
    size = np.abs(at_one).max(initial=0.0)
    if np.isfinite(size) and size > 0:
        if np.abs(at_zero).max() <= _TOLERANCE * size:
            return False
        if np.abs(at_one - 2 * at_zero).max() <= _TOLERANCE * size:
            return True
    raise ValueError("The weight must be the scale of a norm, or one less. The outputs show neither.")
