"""Names that are nearly right."""

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
