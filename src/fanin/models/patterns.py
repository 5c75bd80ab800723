"""Patterns of paths, all of which match in linear time: globs, globs with captures, and regular expressions."""

from __future__ import annotations

import fnmatch
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Set
from typing import Any, NamedTuple

from fanin._core.messages import shown


def glob(pattern: str) -> re.Pattern[str]:
    """The regular expression of a glob, in which `*` matches any text, including dots, and `/` stands for a dot."""
    return re.compile(fnmatch.translate(pattern.replace("/", ".")))  # of atomic groups, which do not backtrack


def escaped(text: str) -> str:
    """The glob that matches this text alone, up to its slashes, which stand for dots in globs."""
    return re.sub(r"[*?[]", r"[\g<0>]", text).replace("/", "?")


class AnyGlob:
    """Globs, one of which must match: in each, `*` matches any text, including dots, and `/` stands for a dot.

    As in `fnmatch`, `?` matches any character and `[…]` one of some.

    Args:
        patterns: the globs.

    Attributes:
        is_everything: whether one of the globs is `*`.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        patterns = list(patterns)
        self.is_everything: bool = "*" in patterns
        self._texts = {each.replace("/", ".") for each in patterns if not re.search(r"[*?[]", each)}
        expressions = [glob(each).pattern for each in patterns if re.search(r"[*?[]", each)]
        self._expression = re.compile("|".join(expressions)) if expressions else None

    def __bool__(self) -> bool:
        return bool(self._texts or self._expression)

    def matches(self, text: str) -> bool:
        """Whether one of the globs matches a text."""
        return text in self._texts or (self._expression is not None and self._expression.match(text) is not None)

    def matches_any(self, texts: Set[str]) -> bool:
        """Whether one of the globs matches one of some texts."""
        return not self._texts.isdisjoint(texts) or (self._expression is not None and any(map(self.matches, texts)))


class Substitution:
    """A glob and a template, in which each `*` stands for the text that the glob's `*` of the same number matches.

    Args:
        pattern: the glob; `*` is its only wildcard.
        template: a text with at most as many `*`.
    """

    def __init__(self, pattern: str, template: str) -> None:
        self._pieces = pattern.split("*")
        self._template = template.split("*")

    def of(self, text: str) -> str | None:
        """The template for a text; None if the glob does not match it."""
        first, *middle, last = self._pieces if len(self._pieces) > 1 else (*self._pieces, "")
        if len(self._pieces) == 1:
            return self._template[0] if text == first else None
        if not (text.startswith(first) and text[len(first) :].endswith(last)):
            return None
        end = len(text) - len(last)
        captures = []
        # From the right, since each * takes as much as it can, and the first one before the others.
        for piece in reversed(middle):
            begin = text.rfind(piece, len(first), end)
            if begin < 0:
                return None
            captures.append(text[begin + len(piece) : end])
            end = begin
        captures.append(text[len(first) : end])
        filled = [self._template[0]]
        for capture, piece in zip(reversed(captures), self._template[1:], strict=False):
            filled += capture, piece
        return "".join(filled)


_TOKENS = re.compile(
    r"""
      (?P<open> \( (?: \?: | \?P<\w+> )? )
    | (?P<close> \) )
    | (?P<bar> \| )
    | (?P<repeat>
          (?: [*+?] | \{ (?: (?P<low>[0-9]+) (?P<comma>,(?P<high>[0-9]*))? | ,(?P<most>[0-9]*) ) \} ) (?P<lazy>[?+]?) )
    | (?P<atom> \[ \^? \]? (?: \\. | [^\]\\] )* \]
              | \\ (?: x[\da-fA-F]{2} | u[\da-fA-F]{4} | U[\da-fA-F]{8} | N\{[^}]*\} | 0[0-7]{0,2} | [0-7]{3} | . )
              | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_REFUSED = re.compile(r"[$^]|\\[1-9AZbB]")  # atoms that are conditions of a place, or refer to a group
_LARGEST = 500  # characters and classes, those of counted repetitions as often as they are repeated


class _Part(NamedTuple):
    """A part of a regular expression, as the bit masks of its positions: atoms are numbered from the left."""

    empty: bool  # whether it matches the empty text
    first: int
    last: int


class Regex:
    """A regular expression that matches whole texts, in a time that is linear in their length, whatever it is.

    It is compiled to an automaton, since Python's `re` backtracks, which can take years and cannot be interrupted. This
    needs a subset of Python's syntax: characters, escapes, classes, groups, `|`, and repetitions. References to groups,
    assertions such as `(?=…)` and `\\b`, atomic groups and possessive repetitions are refused.

    Args:
        text: the expression.

    Raises:
        ValueError: it is not a regular expression, not of this subset, or too large.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", FutureWarning)  # of syntax that will mean something else
                re.compile(text)
            self._automaton = _Automaton(text)
        except FutureWarning as warning:
            raise ValueError(f"{warning}: write a backslash before [, &&, ||, ~~ or -- in a class") from None
        except (re.error, OverflowError) as error:
            raise ValueError(str(error)) from None
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        self._masks: dict[str, int] = {}
        self._moves: dict[tuple[int, str], tuple[bool, int]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._text,)

    def matches(self, text: str) -> bool:
        """Whether the expression matches the whole text."""
        whole = self._automaton.whole
        accepted, expected = whole.empty, whole.first
        for character in text:
            if not expected:
                return False
            move = self._moves.get((expected, character))
            accepted, expected = self._move(expected, character) if move is None else move
        return accepted

    def _move(self, expected: int, character: str) -> tuple[bool, int]:
        """Whether the text may end after a character, and which positions may match the next one."""
        automaton = self._automaton
        if character not in self._masks:
            self._masks[character] = sum(mask for matches, mask in automaton.atoms if matches(character))
        hit, after = expected & self._masks[character], 0
        for position in _positions(hit):
            after |= automaton.follow[position]
        if len(self._moves) > 20_000:
            self._moves.clear()
        move = self._moves[expected, character] = bool(hit & automaton.whole.last), after
        return move


class _Automaton:
    """Glushkov's automaton of a regular expression, which has a state for each atom.

    Attributes:
        atoms: for equal atoms, whether they match a character, and their positions as a bit mask.
        follow: for each position, which may come after it, as a bit mask.
        whole: the whole expression.
    """

    def __init__(self, text: str) -> None:
        flags = re.match(r"\(\?[ais]+\)", text)
        self._flags = flags[0] if flags else ""
        tokens = list(_TOKENS.finditer(text, len(self._flags)))
        # A match is always of the whole text.
        tokens = tokens[1:] if tokens and tokens[0][0] in ("^", r"\A") else tokens
        self._tokens = tokens[:-1] if tokens and tokens[-1][0] in ("$", r"\Z") else tokens
        self._at = 0
        self.follow: list[int] = []
        self._positions: dict[str, int] = {}
        self.whole = self._choice()
        self.atoms: list[tuple[Callable[[str], object], int]] = [
            (re.compile(self._flags + atom).fullmatch, mask) for atom, mask in self._positions.items()
        ]

    def _next(self, *kinds: str) -> re.Match[str] | None:
        """The next token, if it is of one of these kinds."""
        if self._at < len(self._tokens) and self._tokens[self._at].lastgroup in kinds:
            self._at += 1
            return self._tokens[self._at - 1]
        return None

    def _choice(self) -> _Part:
        part = self._sequence()
        while self._next("bar"):
            other = self._sequence()
            part = _Part(part.empty or other.empty, part.first | other.first, part.last | other.last)
        return part

    def _sequence(self) -> _Part:
        part = _Part(True, 0, 0)
        while token := self._next("open", "atom"):
            begin, count = self._at - 1, len(self.follow)
            item = self._item(token)
            repeat = self._next("repeat")
            if repeat is not None:
                after = self._at
                item = self._repeated(repeat, item, begin, len(self.follow) - count)
                self._at = after
            part = self._joined(part, item)
        if self._at < len(self._tokens) and self._tokens[self._at].lastgroup == "repeat":
            self._refuse(self._tokens[self._at])
        return part

    def _item(self, token: re.Match[str]) -> _Part:
        if token.lastgroup == "open":
            if token.string.startswith("(?", token.start()) and token[0] == "(":
                self._refuse(token)
            part = self._choice()
            self._next("close")
            return part
        if _REFUSED.fullmatch(token[0]):
            self._refuse(token)
        position = len(self.follow)
        if position == _LARGEST:
            raise ValueError(f"it has more than {_LARGEST} characters and classes, counting repetitions")
        self._positions[token[0]] = self._positions.get(token[0], 0) | 1 << position
        self.follow.append(0)
        return _Part(False, 1 << position, 1 << position)

    def _repeated(self, repeat: re.Match[str], item: _Part, begin: int, size: int) -> _Part:
        """An item as often as a token says; each copy of it is parsed once more, and has its own positions."""
        if repeat["lazy"] == "+":
            self._refuse(repeat)
        low, high = _bounds(repeat)
        if size * max(low, high or 0) > _LARGEST:
            raise ValueError(f"it has more than {_LARGEST} characters and classes, counting repetitions")
        if not size:
            return item
        part = _Part(True, 0, 0)
        for number in range(max(low, high or 0, 1)):
            if number:
                self._at = begin + 1
                item = self._item(self._tokens[begin])
            endless = high is None and number >= low - 1
            if endless:
                self._link(item.last, item.first)
            part = self._joined(part, item._replace(empty=True) if number >= low else item)
        return part if high != 0 else _Part(True, 0, 0)

    def _joined(self, part: _Part, other: _Part) -> _Part:
        self._link(part.last, other.first)
        return _Part(
            part.empty and other.empty,
            part.first | (other.first if part.empty else 0),
            other.last | (part.last if other.empty else 0),
        )

    def _link(self, last: int, first: int) -> None:
        for position in _positions(last):
            self.follow[position] |= first

    def _refuse(self, token: re.Match[str]) -> None:
        rest = token.string[token.start() : token.start() + 12]
        raise ValueError(
            f"{shown(rest)} is not supported, since paths are matched in linear time: only characters, classes, "
            "groups, | and repetitions"
        )


def _positions(mask: int) -> Iterator[int]:
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def _bounds(repeat: re.Match[str]) -> tuple[int, int | None]:
    """The least and the largest number of repetitions; None without a largest."""
    if repeat[0][0] in "*+?":
        return {"*": (0, None), "+": (1, None), "?": (0, 1)}[repeat[0][0]]
    if repeat["low"] is None:
        return 0, int(repeat["most"]) if repeat["most"] else None
    low = int(repeat["low"])
    return low, low if repeat["comma"] is None else int(repeat["high"]) if repeat["high"] else None
