"""Helpers for messages: suggestions for misspelled names, readable sizes, values of any length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any

from fanin._core.interrupts import is_interrupt

_LONGEST, _DEEPEST = 200, 20  # characters of a value in a message, and levels of containers in it
_BRACKETS = {list.__repr__: "[]", tuple.__repr__: "()", dict.__repr__: "{}"}


def suggestion(name: object, known: Iterable[str]) -> str:
    """A hint such as ` Did you mean 'he_normal'?` if a known name is close, else an empty string."""
    import difflib  # rarely needed, and never to make values

    if not isinstance(name, str) or len(name) > _LONGEST:
        return ""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    if not near:
        folded = {each.lower(): each for each in known}
        near = [folded[found] for found in difflib.get_close_matches(name.lower(), list(folded), n=1, cutoff=0.6)]
    return f" Did you mean {near[0]!r}?" if near else ""


def plural(count: int, noun: str) -> str:
    """A noun as it stands after a number: `parameter` after 1, else `parameters`."""
    return noun if count == 1 else f"{noun}s"


def readable(size: int) -> str:
    """A number of bytes in a readable unit."""
    exponent = min(max(size.bit_length() - 1, 0) // 10, 8)
    unit = (plural(size, "byte"), "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")[exponent]
    return f"{size / 1024**exponent:.4g} {unit}"


def shown(value: object) -> str:
    """A value within a message: its repr, but on one line, of limited length, and without an exception.

    Neither deep nor aliased data takes long. An integer of thousands of digits, which Python refuses to print, is
    described instead.
    """
    text = ""
    for piece in _pieces(value, _DEEPEST):
        text += piece
        if len(text) > _LONGEST:
            return f"{text[: _LONGEST - 3]}..."
    return text


def _pieces(value: Any, levels: int) -> Iterator[str]:
    """The repr of a value, piece by piece, so that a reader can stop."""
    brackets = _BRACKETS.get(type(value).__repr__)
    if brackets is None:
        yield _repr(value)
    elif not levels:
        yield "..."
    else:
        yield brackets[0]
        for number, item in enumerate(value):
            yield ", " if number else ""
            yield from _pieces(item, levels - 1)
            if isinstance(value, dict):
                yield ": "
                yield from _pieces(value[item], levels - 1)
        yield ",)" if isinstance(value, tuple) and len(value) == 1 else brackets[1]


def _repr(value: Any) -> str:
    if isinstance(value, (str, bytes)):
        return repr(value[: _LONGEST + 1])
    try:
        return visible(" ".join(repr(value).split()))
    except Exception as error:  # anyone's class may raise anything
        if is_interrupt(error):
            raise
        return f"one of type {class_name(type(value))}{', too long to be shown' if isinstance(value, int) else ''}"


def visible(text: str) -> str:
    """A text on one line, in which control characters, line ends and marks of direction are shown escaped."""
    return text if text.isprintable() else "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def class_name(cls: type) -> str:
    """The name of a class, on one line: users name their classes as they like."""
    return visible(cls.__name__)


def missing(error: ModuleNotFoundError, module: str, product: str, *, extra: str) -> ImportError:
    """The error to raise after a failed import: what to install, or the original error if only a part is missing."""
    if error.name != module:
        return error
    return ImportError(f"{product} is not installed: pip install 'fanin[{extra}]'.", name=module)


def warn(message: str) -> None:
    """Warns at the line that called fanin, however deep inside fanin the warning arises.

    It is not a line of TensorFlow either, whose decorator stands around the initializers that fanin makes for Keras, or
    of contextlib, which ends fanin's contexts. Control characters in the message, such as those of a parameter's path,
    are escaped.
    """
    import sys
    import warnings

    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and _package(frame) in ("fanin", "tensorflow", "contextlib"):
        level, frame = level + 1, frame.f_back
    warnings.warn(visible(message), stacklevel=level)


def _package(frame: FrameType) -> str:
    return frame.f_globals.get("__name__", "").partition(".")[0]
