"""Utilities, named as in tf_keras."""

from __future__ import annotations

import operator
import random

import numpy as np

from fanin import _random


def set_random_seed(seed: int) -> None:
    """Makes every unseeded initializer of this thread reproducible, as tf_keras's function of the same name does.

    From here on, unseeded initializers of the calling thread take their seeds from a generator of their own, in the
    order in which each is first called; a model built so gets tf_keras's weights. Python's `random` and NumPy's global
    generator are seeded too, as tf_keras does.

    Args:
        seed: an integer in [0, 2**32 - 1].

    Raises:
        ValueError: the seed is no such integer.

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
            f"Expected `seed` argument to be an integer in [0, 2**32 - 1]. Received: seed={seed!r} "
            f"(of type {type(seed).__name__})"
        )
    random.seed(value)
    np.random.seed(value)
    _random.seed_thread(value)
