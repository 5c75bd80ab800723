"""The batch of a probe: what is wrong with it before any layer sees it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from fanin._core.messages import plural
from fanin._core.types import Shape
from fanin.theory.signals import Values

_MOST_SHAPES = 5  # in a message


def check_samples(shapes: Iterable[Shape]) -> None:
    """Raises an error if a batch has no samples.

    Some of its arrays may be empty, such as the keys and values of no earlier tokens, but not all.

    Args:
        shapes: the shapes of its arrays.

    Raises:
        ValueError: all of its arrays are empty.

    >>> from fanin.theory.batches import check_samples
    >>> check_samples([(0, 64)])
    Traceback (most recent call last):
        ...
    ValueError: `batch` must have samples. Received: a batch of shape (0, 64). Give one at least, better 16 or more.
    """
    given = [shape for shape in shapes if shape]  # numbers have no samples
    if given and all(0 in shape for shape in given):
        more = ", …" if len(given) > _MOST_SHAPES else ""
        found = f"{plural(len(given), 'shape')} {', '.join(map(str, given[:_MOST_SHAPES]))}{more}"
        raise ValueError(
            f"`batch` must have samples. Received: a batch of {found}. Give one at least, better 16 or more."
        )


def not_finite(arrays: Sequence[Values]) -> str:
    """What is said of a batch that has NaN or infinities; "" if it has none.

    Args:
        arrays: its arrays of floats.

    >>> import numpy as np
    >>> from fanin.theory.batches import not_finite
    >>> from fanin.theory.signals import Values
    >>> not_finite([Values.of(np.array([[1.0, np.inf], [np.nan, 2.0]]))])
    'the batch itself has 2 of 4 numbers that are NaN or infinite'
    """
    count = sum(int(block.size - np.isfinite(block).sum()) for each in arrays if each.size for block in each.blocks())
    total = sum(each.size for each in arrays)
    verb = "is" if count == 1 else "are"
    return f"the batch itself has {count:,} of {total:,} numbers that {verb} NaN or infinite" if count else ""
