"""Names of tensors that other code calls otherwise: globs whose stars stand for the same in both names."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TypeVar

from fanin._core.messages import shown

_Value = TypeVar("_Value")


class Renames:
    """Rules that rename tensors, of which the first that fits a name applies.

    Args:
        rules: globs of whole names, with what they become. Each `*` of the new name is what the `*` of the same number
            stands for in the old one, as short as possible but for the last.

    Raises:
        TypeError: a rule is not of texts.
        ValueError: a new name has more stars than its glob.

    >>> from fanin.audits.comparing.renames import Renames
    >>> Renames({"model.*": "*", "h.*.attn.*": "layers.*.attention.*"}).new("model.embed.weight")
    'embed.weight'
    """

    def __init__(self, rules: Mapping[str, str]) -> None:
        self._rules = []
        for glob, new in rules.items():
            if not isinstance(glob, str) or not isinstance(new, str):
                raise TypeError(f"`rename` must have texts. Received: {shown(glob)}: {shown(new)}.")
            if new.count("*") > glob.count("*"):
                raise ValueError(
                    f"A new name may have as many stars as its glob. Received: {shown(glob)}: {shown(new)}."
                )
            pieces = [re.escape(each) for each in glob.split("*")]
            between = ["(.*?)"] * max(0, len(pieces) - 2) + ["(.*)"] * (len(pieces) > 1)
            pattern = "".join(piece + star for piece, star in zip(pieces, [*between, ""], strict=True))
            self._rules.append((re.compile(pattern, re.DOTALL), new))
        self._globs = list(rules)

    def check_used(self, names: Collection[str]) -> None:
        """Checks that every rule fits a name.

        Args:
            names: the old names of all tensors.

        Raises:
            ValueError: one fits none: it is misspelled, or an earlier one comes first.
        """
        used = {self._rule_of(name) for name in names}
        for number, glob in enumerate(self._globs):
            if number not in used:
                fits = any(self._rules[number][0].fullmatch(name) for name in names)
                which = "names that earlier globs fit, too" if fits else f"none of {len(names)} names"
                first = "" if fits or not names else f", such as {shown(next(iter(names)))}"
                raise ValueError(
                    f"Each glob of `rename` must fit a name. Received: {shown(glob)}, which fits {which}{first}."
                )

    def _rule_of(self, name: str) -> int | None:
        """The number of the first rule that fits a name."""
        return next((number for number, (pattern, _) in enumerate(self._rules) if pattern.fullmatch(name)), None)

    def new(self, name: str) -> str:
        """What a name becomes; a name that no rule fits stays."""
        number = self._rule_of(name)
        if number is None:
            return name
        pattern, new = self._rules[number]
        found = pattern.fullmatch(name)
        stars = iter(found.groups() if found else ())
        return re.sub(r"\*", lambda _: next(stars), new)

    def renamed(self, tensors: Mapping[str, _Value]) -> dict[str, _Value]:
        """The same tensors under their new names.

        Raises:
            ValueError: two of them get the same name.
        """
        found: dict[str, tuple[str, _Value]] = {}
        for name, value in tensors.items():
            new = self.new(name)
            if new in found:
                raise ValueError(
                    f"`rename` must not give two tensors one name. Received: {shown(found[new][0])} and "
                    f"{shown(name)}, which both become {shown(new)}."
                )
            found[new] = name, value
        return {new: value for new, (_, value) in found.items()}
