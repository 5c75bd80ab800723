"""Verdicts: what a tensor is, in one word and one sentence, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

Kind: TypeAlias = Literal["exact", "consistent", "unjudged", "trained", "suspicious", "broken"]
KINDS: tuple[Kind, ...] = get_args(Kind)  # the worst one last

# How often chance alone may make one statistic of one tensor look wrong: once in ten million.
SIGNIFICANCE = 1e-7
# The same for normal statistics: how many standard errors they may be from what they should be, on both sides.
STANDARD_ERRORS = 5.33

MEANINGS: Mapping[Kind, str] = {
    "exact": "every bit is the one that the recipe and its seed give it",
    "consistent": "it has the distribution that is expected, or that of one initializer or several; those that cannot "
    "be told apart are all named",
    "trained": "it departs from every initializer in the way that training does",
    "unjudged": "nothing is known that it could be judged by",
    "suspicious": "its spread, mean, bounds, shape or precision are not those that it should have",
    "broken": "it cannot be right, whatever it should be",
}
CODES: Mapping[str, str] = {
    "nan": "elements that are no numbers",
    "infinity": "elements that are infinite",
    "garbage": "what `torch.empty` and `numpy.empty` leave: text, pointers and old numbers, seen as floats",
    "zeros": "only zeros where a kernel is expected",
    "constant": "equal elements where a kernel is expected",
    "dead-rows": "rows of zeros",
    "dead-columns": "columns of zeros",
    "repeated": "rows, columns or shards that repeat others of the same tensor",
    "duplicate": "the values of another tensor, bit for bit, in another dtype, or transposed",
    "correlated": "too similar to another tensor: a copy with noise, or scaled",
    "shape": "another shape than the model's",
    "unreadable": "a file that is damaged",
    "stddev": "a standard deviation that is too many standard errors off",
    "mean": "a mean that is too many standard errors off",
    "transposed": "the spread that swapped fans give",
    "residual": "the scaling of residual branches by depth is missing, or applied twice",
    "truncation": "cut at another bound than expected",
    "clipped": "elements that pile up at a bound",
    "coarse": "tails and steps of a draw with few bits",
    "grid": "all elements on the grid of a narrower dtype",
    "distribution": "the right moments, and another distribution",
    "uneven": "blocks or rows of different spreads",
    "untied": "other values than the tensor that the model's code ties it to",
}
# What to do about problems whose finder has nothing more special to say.
ADVICE: Mapping[str, str] = {
    "stddev": "Look for a gain or a scale that was applied twice, or not at all, and for another initializer.",
    "mean": "Look for a number that was added, or a distribution that is not around the mean that was meant.",
    "truncation": "Are the bounds given in standard deviations, or as numbers, such as PyTorch's a=-2 and b=2?",
    "clipped": "Look for a clamp, or a detour by a dtype of a smaller range.",
    "distribution": "Look for another initializer, or for a step that changed the values after they were drawn.",
    "shape": "Is the checkpoint of this model, with this configuration?",
    "unreadable": "Fetch or write the file again.",
}


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with a tensor.

    Attributes:
        code: a stable word for it, such as "nan", "dead-rows" or "transposed".
        kind: how bad it is: "suspicious" or "broken".
        message: what is wrong, with the numbers that show it, as a sentence.
        advice: what to do about it, as a sentence; by default, what is to be done about problems of its code.
        other: the name of another tensor that is concerned, such as the one whose values it has; "" if there is none.
    """

    code: str
    kind: Kind
    message: str
    advice: str = ""
    other: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "advice", self.advice or ADVICE.get(self.code, ""))

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
