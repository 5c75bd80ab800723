"""Words for messages: names that are nearly right, sizes, numbers of any length."""

from __future__ import annotations

from collections.abc import Iterable


def suggestion(name: object, known: Iterable[str]) -> str:
    """` Did you mean 'he_normal'?` where a known name is near, else nothing."""
    import difflib  # seldom needed, and never on the way to a result

    if not isinstance(name, str):
        return ""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    if not near:
        folded = {each.lower(): each for each in known}
        near = [folded[found] for found in difflib.get_close_matches(name.lower(), list(folded), n=1, cutoff=0.6)]
    return f" Did you mean {near[0]!r}?" if near else ""


def readable(size: int) -> str:
    """A number of bytes."""
    exponent = min(max(size.bit_length() - 1, 0) // 10, 8)
    unit = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")[exponent]
    return f"{size / 1024**exponent:.4g} {unit}"


def shown(value: object) -> str:
    """A value as it was given; Python refuses to write integers of thousands of digits."""
    try:
        return repr(value)
    except ValueError:
        return f"one of type {type(value).__name__}, too long to be shown"


def missing(error: ModuleNotFoundError, module: str, product: str, *, extra: str) -> ImportError:
    """What to raise where importing a framework has failed: what to install, unless it is there and lacks a part."""
    if error.name != module:
        return error
    return ImportError(f"{product} is not installed: pip install 'fanin[{extra}]'.", name=module)
