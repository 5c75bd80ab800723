"""Checks of arguments that are words, flags or whole numbers."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from fanin._core.messages import class_name, shown, suggestion
from fanin.initializers.base import scalar


def one_of(name: str, value: Any, known: Sequence[str | None]) -> Any:
    """A word, or None, if it is one of the known ones.

    Raises:
        ValueError: it is not.
    """
    if (value is None or isinstance(value, str)) and value in known:
        return value
    words = ", ".join(map(repr, known))
    hint = suggestion(value, [each for each in known if each is not None])
    raise ValueError(f"`{name}` must be one of {words}. Received: {name}={shown(value)}.{hint}")


def flag(name: str, value: Any) -> bool:
    """True or False, Python's or NumPy's.

    Raises:
        TypeError: it is neither.
    """
    plain = scalar(value)
    if type(plain) is not bool:
        raise TypeError(
            f"`{name}` must be True or False. Received: {name}={shown(value)} (of type {class_name(type(value))})."
        )
    return plain


def whole(name: str, value: Any, lowest: int, highest: int) -> int:
    """A whole number as a Python int, from an integer of Python or NumPy.

    Raises:
        TypeError: it is no integer.
        ValueError: it lies outside of the limits.
    """
    plain = scalar(value)
    if isinstance(plain, bool) or not hasattr(plain, "__index__"):
        raise TypeError(
            f"`{name}` must be an integer. Received: {name}={shown(value)} (of type {class_name(type(value))})."
        )
    number = operator.index(plain)
    if not lowest <= number <= highest:
        raise ValueError(f"`{name}` must lie in [{lowest}, {highest}]. Received: {name}={shown(value)}.")
    return number
