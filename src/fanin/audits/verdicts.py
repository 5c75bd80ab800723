"""Verdicts: what a tensor is, in one word and one sentence, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

Kind: TypeAlias = Literal["exact", "consistent", "unjudged", "trained", "suspicious", "broken"]
KINDS: tuple[Kind, ...] = get_args(Kind)  # the worst one last

# How often chance alone may make one statistic of one tensor look wrong: once in ten million.
SIGNIFICANCE = 1e-7
# The same for normal statistics: how many standard errors they may be from what they should be, on both sides.
STANDARD_ERRORS = 5.33


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with a tensor.

    Attributes:
        code: a stable word for it, such as "nan", "dead-rows" or "transposed".
        kind: how bad it is: "suspicious" or "broken".
        message: what is wrong, with the numbers that show it, as a sentence.
        advice: what to do about it, as a sentence; "" if the message says it all.
        other: the name of another tensor that is concerned, such as the one that it is equal to; "" if there is none.
    """

    code: str
    kind: Kind
    message: str
    advice: str = ""
    other: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The problem as plain data, for JSON."""
        return dict(vars(self))


@dataclass(frozen=True)
class Verdict:
    """What a tensor is.

    Attributes:
        kind: "exact" (every bit is the expected one), "consistent" (with one initializer or several), "trained",
            "suspicious", "broken", or "unjudged" if nothing is known that it could be judged by.
        reason: why, as a sentence.
        fits: the initializers that it is consistent with, in words; several if they cannot be told apart.
        problems: what is wrong, the worst first; empty unless it is suspicious or broken.
    """

    kind: Kind
    reason: str
    fits: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> Verdict:
        """The verdict that problems make, of which there is one at least."""
        return cls("unjudged", "").with_problems(problems)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def with_problems(self, problems: Sequence[Problem]) -> Verdict:
        """The verdict with further problems, which decide what it is if they are worse."""
        if not problems:
            return self
        every = sorted((*self.problems, *problems), key=lambda each: -KINDS.index(each.kind))
        return Verdict(every[0].kind, every[0].message, self.fits, tuple(every))

    def as_dict(self) -> dict[str, Any]:
        """The verdict as plain data, for JSON."""
        return {
            "verdict": self.kind,
            "reason": self.reason,
            "fits": list(self.fits),
            "problems": [each.as_dict() for each in self.problems],
        }
