"""Helpers for messages: suggestions for misspelled names, readable sizes, values of any length."""

from __future__ import annotations

from collections.abc import Iterable
from types import FrameType


def suggestion(name: object, known: Iterable[str]) -> str:
    """A hint such as ` Did you mean 'he_normal'?` if a known name is close, else an empty string."""
    import difflib  # rarely needed, and never to make values

    if not isinstance(name, str):
        return ""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    if not near:
        folded = {each.lower(): each for each in known}
        near = [folded[found] for found in difflib.get_close_matches(name.lower(), list(folded), n=1, cutoff=0.6)]
    return f" Did you mean {near[0]!r}?" if near else ""


def readable(size: int) -> str:
    """A number of bytes in a readable unit."""
    exponent = min(max(size.bit_length() - 1, 0) // 10, 8)
    unit = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")[exponent]
    return f"{size / 1024**exponent:.4g} {unit}"


def shown(value: object) -> str:
    """The repr of a value, or a placeholder for one that Python refuses to print: thousands of digits, deep nesting."""
    try:
        return repr(value)
    except (ValueError, RecursionError):
        return f"one of type {class_name(type(value))}, too long to be shown"


def class_name(cls: type) -> str:
    """The name of a class, escaped: users name their classes as they like."""
    return escaped(cls.__name__)


def escaped(text: str) -> str:
    """The text, with characters that a terminal obeys, or that turn text around, as escape sequences."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def missing(error: ModuleNotFoundError, module: str, product: str, *, extra: str) -> ImportError:
    """The error to raise after a failed import: what to install, or the original error if only a part is missing."""
    if error.name != module:
        return error
    return ImportError(f"{product} is not installed: pip install 'fanin[{extra}]'.", name=module)


def warn(message: str) -> None:
    """Warns at the line that called fanin, however deep inside fanin the warning arises.

    It is not a line of TensorFlow either, whose decorator stands around the initializers that fanin makes for Keras.
    """
    import sys
    import warnings

    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and _package(frame) in ("fanin", "tensorflow"):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


def _package(frame: FrameType) -> str:
    return frame.f_globals.get("__name__", "").partition(".")[0]
