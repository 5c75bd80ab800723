"""Models that the tests of recording make: what each is called, which library it is of, and how it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

Make = Callable[[], Any]
MOST = 8_000_000  # parameters of a small model


class NotSmallError(ValueError):
    """The error for a model that no reduction makes small."""


@dataclass(frozen=True)
class Case:
    """A model to record.

    Attributes:
        library: whose model it is.
        name: what it is called there.
        prepare: a function that returns the one that makes it, as its author's code does. Only the latter is recorded.
    """

    library: str
    name: str
    prepare: Callable[[], Make]

    @classmethod
    def of(cls, library: str, name: str, make: Make) -> Case:
        """A model that needs no preparation."""
        return cls(library, name, lambda: make)

    def __str__(self) -> str:
        return f"{self.library}: {self.name}"


def first_small(makes: Iterable[Make], name: str, most: int = MOST) -> Make:
    """The first of several reductions that the constructor accepts, and that leaves few enough parameters.

    Raises:
        NotSmallError: none of them does.
    """
    for make in makes:
        try:
            with torch.device("meta"):
                model = make()
        except Exception:
            continue
        if sum(each.numel() for each in model.parameters()) <= most:
            return make
    raise NotSmallError(f"No reduction makes {name} small.")


def number_of(case: Case) -> int:
    """A number that orders models by chance, but always alike: the choice of a sample."""
    from zlib import crc32

    return crc32(str(case).encode())


def sample_of(cases: Iterable[Case], count: int | None) -> list[Case]:
    """As many of the models as asked for, the same ones each time; all of them for None."""
    found = list(cases)
    chosen = found if count is None else sorted(found, key=number_of)[:count]
    return sorted(chosen, key=str)
