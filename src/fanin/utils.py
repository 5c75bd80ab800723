"""Utilities, named as in tf_keras."""

from __future__ import annotations

import operator
import random

import numpy as np

from fanin._core.messages import class_name, shown
from fanin._core.streams import seed_thread

__all__ = [
    "set_random_seed",
]


def set_random_seed(seed: int) -> None:
    """Makes every unseeded initializer in this thread reproducible, like tf_keras's function of the same name.

    From then on, the calling thread's unseeded initializers take their seeds from a generator of their own, in the
    order in which they are first called, so a model built this way gets tf_keras's weights. Python's `random` and
    NumPy's global generator are seeded too, as in tf_keras.

    Args:
        seed: an integer in [0, 2**32 - 1].

    Raises:
        ValueError: the seed is not an integer in that range.

    >>> import fanin
    >>> fanin.utils.set_random_seed(42)
    >>> first = fanin.HeNormal()((2, 2))
    >>> fanin.utils.set_random_seed(42)
    >>> bool((fanin.HeNormal()((2, 2)) == first).all())
    True
    """
    try:
        value = -1 if isinstance(seed, bool) else operator.index(seed)
    except TypeError:
        value = -1
    if not 0 <= value < 2**32:
        raise ValueError(
            f"Expected `seed` argument to be an integer in [0, 2**32 - 1]. Received: seed={shown(seed)} "
            f"(of type {class_name(type(seed))})"
        )
    random.seed(value)
    np.random.seed(value)
    seed_thread(value)
