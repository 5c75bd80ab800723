"""The arguments of initializers by the kind of value that each takes, for files and command lines that give them."""

from __future__ import annotations

import types
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import Any, Literal, SupportsIndex, Union, get_args, get_origin, get_type_hints

from fanin._core.types import AxesLike, NumberLike
from fanin.initializers.base import Initializer


class Kind(Enum):
    """What an argument takes."""

    NUMBER = "a number"
    INTEGER = "a whole number"
    AXES = "an axis, or several"
    WORD = "a word, or what stands for one"
    FLAG = "true or false"
    VALUES = "one value, or a table of them"
    SEED = "a seed"


# Hints without None, as typing resolves them.
_KINDS: tuple[tuple[Any, Kind], ...] = (
    (NumberLike, Kind.NUMBER),
    (AxesLike, Kind.AXES),
    (bool, Kind.FLAG),
    (int, Kind.INTEGER),
    (SupportsIndex, Kind.INTEGER),
    (str, Kind.WORD),
)


@lru_cache(maxsize=256)
def arguments_of(cls: type[Initializer]) -> Mapping[str, Kind]:
    """The arguments of a class of fanin's, in their order, by the hints of its constructor.

    >>> import fanin
    >>> arguments_of(fanin.VarianceScaling)["mode"]
    <Kind.WORD: 'a word, or what stands for one'>
    """
    return {name: Kind.SEED if name == "seed" else _kind(hint) for name, hint in _hints(cls).items()}


def words_of(cls: type[Initializer], name: str) -> tuple[str, ...]:
    """The words that an argument can be; empty if its hint does not list them."""
    hint = _plain(_hints(cls)[name])
    return tuple(each for each in get_args(hint) if isinstance(each, str)) if get_origin(hint) is Literal else ()


def takes_none(cls: type[Initializer], name: str) -> bool:
    """Whether an argument can be None, by its hint."""
    return types.NoneType in get_args(_hints(cls)[name])


def _hints(cls: type[Initializer]) -> dict[str, Any]:
    if cls.__init__ is object.__init__:
        return {}
    return {name: hint for name, hint in get_type_hints(cls.__init__).items() if name != "return"}


def _kind(hint: Any) -> Kind:
    plain = _plain(hint)
    if get_origin(plain) is Literal or str in get_args(plain):  # words, or something else besides them
        return Kind.WORD
    return next((kind for known, kind in _KINDS if plain in (known, _plain(known))), Kind.VALUES)


def _plain(hint: Any) -> Any:
    """A hint without None."""
    if get_origin(hint) not in (Union, types.UnionType):
        return hint
    return Union[tuple(each for each in get_args(hint) if each is not type(None))]  # noqa: UP007 (of a computed tuple)
