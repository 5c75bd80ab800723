"""Paths of parameters, globs for them, the numbers of repeated blocks, and the names that values are drawn under."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from fanin._core.messages import suggestion
from fanin._core.types import Globs
from fanin.models.parameters import Parameter

# The components that wrappers insert into paths.
WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_ddp_module"}


def class_names(cls: type, last: str) -> tuple[str, ...]:
    """The names of a layer's class and of its base classes, up to a framework's own base class.

    Classes that a framework derives from a layer's class, such as `ParametrizedLinear`, are left out.
    """
    names = [each.__name__ for each in cls.__mro__]
    names = names[: names.index(last)] if last in names else names
    made = {f"{prefix}{name}" for prefix in ("Parametrized", "FSDP") for name in names}
    return tuple(name for name in names if name not in made) or (cls.__name__,)


def stripped(path: str) -> str:
    """A dotted path without the components that wrappers insert, and without the `:0` that ends Keras's names."""
    path = re.sub(r":\d+$", "", path.replace("/", "."))
    return ".".join(part for part in path.split(".") if part not in WRAPPERS) or path


def depths(paths: Iterable[str]) -> dict[str, tuple[int, int]]:
    """For each path in a list of repeated blocks, the number of its block and how many blocks there are.

    The outermost list counts: for `encoder.block.3.layer.0.wq` it is `encoder.block`. (A list that is the model itself
    gives way to a longer one within it, since it may be a container of models.) Blocks are numbered components, such as
    `h.3`, or names that end in an underscore and a number, such as `block_3`, if all numbers from 0 on occur.
    """
    split = {path: path.split(".") for path in paths}
    lists: dict[tuple[str, ...], set[int]] = {}
    for parts in split.values():
        for position, part in enumerate(parts[:-1]):
            stem, number = _numbered(part)
            if number is not None:
                lists.setdefault((*parts[:position], stem), set()).add(number)
    found = {}
    for path, parts in split.items():
        candidates = []
        for position, part in enumerate(parts[:-1]):
            stem, number = _numbered(part)
            if number is None:
                continue
            numbers = lists[(*parts[:position], stem)]
            if not stem or (len(numbers) > 1 and numbers == set(range(len(numbers)))):
                candidates.append((position, number, len(numbers)))
        if not candidates:
            continue
        first, *others = candidates
        if first[0] == 0 and parts[0].isdecimal() and others and others[0][2] > first[2]:
            first = others[0]  # the root is a container of models
        found[path] = first[1:]
    return found


def _numbered(part: str) -> tuple[str, int | None]:
    if part.isdecimal():
        return "", int(part)
    match = re.fullmatch(r"(.+)_(\d+)", part)
    return (match[1], int(match[2])) if match else (part, None)


def glob(pattern: str) -> re.Pattern[str]:
    """The regular expression of a glob, in which `*` matches any text, including dots, and `/` stands for a dot."""
    return re.compile(fnmatch.translate(pattern.replace("/", ".")))


# A mapping of globs of paths to names, or a function of a parameter.
Names: TypeAlias = Mapping[str, str] | Callable[[Parameter], str] | None


class NameMap:
    """The names that parameters are drawn under: their paths, unless other names are given.

    Args:
        names: a mapping of globs to names, in which each `*` stands for the text that it matches in the glob; or a
            function of a `Parameter`; or None. A key such as `"*.in_proj_weight[query]"` names a single block.
            `{layer}` in a name stands for the number of each layer in a stack, which is then drawn by itself.
    """

    def __init__(self, names: Names) -> None:
        self._function = names if callable(names) else None
        self._patterns: list[tuple[re.Pattern[str], str]] = []
        if names is None or callable(names):
            return
        if not isinstance(names, Mapping):
            raise TypeError(
                "`names` must be a mapping of paths to names, or a function of a parameter. "
                f"Received: names of type {type(names).__name__}."
            )
        for key, value in names.items():
            if not isinstance(key, str) or not isinstance(value, str) or value.count("*") > key.count("*"):
                raise ValueError(
                    "`names` must map paths to names, and a name can have at most as many * as its path. "
                    f"Received: {key!r}: {value!r}."
                )
            pieces = re.split(r"(\*)", key.replace("/", "."))
            text = "".join("(.*)" if piece == "*" else re.escape(piece) for piece in pieces)
            self._patterns.append((re.compile(text), value.replace("/", ".")))

    def of(self, parameter: Parameter, path: str) -> str:
        """The name of the parameter at this path, or of the fused tensor there that it is a block of."""
        if self._function is not None:
            name = self._function(parameter)
            if not isinstance(name, str):
                raise TypeError(f"`names` must return a string. Received: {name!r} for {path!r}.")
            return stripped(name)
        own = parameter.name if path == parameter.path else ""
        return self.mapped(path) or own or path

    def mapped(self, path: str) -> str | None:
        """The name that the mapping gives a path, or a block such as `path[block]`; None if it gives none."""
        for pattern, name in self._patterns:
            match = pattern.fullmatch(path) if ("[" in path) == (r"\[" in pattern.pattern) else None
            if match:
                pieces = iter(match.groups())
                return re.sub(r"\*", lambda _, pieces=pieces: next(pieces), name)
        return None


def selector(option: str, patterns: Globs, paths: Iterable[str] | None) -> Callable[[Parameter], bool]:
    """A predicate of parameters for the globs of `only=` or `skip=`. If paths are given, each glob must match one."""
    if isinstance(patterns, str):
        patterns = [patterns]
    if not isinstance(patterns, (list, tuple, set, frozenset)) or not all(isinstance(each, str) for each in patterns):
        raise TypeError(f"`{option}` must be a glob of paths, or several. Received: {option}={patterns!r}.")
    compiled = [glob(pattern) for pattern in patterns]
    paths = None if paths is None else list(paths)
    for pattern, expression in zip(patterns, compiled, strict=True):
        if paths is not None and not any(expression.match(path) for path in paths):
            raise ValueError(
                f"`{option}` must match parameters of the model. Received: {pattern!r}, which matches none."
                f"{suggestion(pattern, paths)}"
            )
    return lambda each: any(pattern.match(path) for pattern in compiled for path in (each.path, *each.tied))
