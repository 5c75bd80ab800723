"""Paths of parameters, globs for them, the numbers of repeated blocks, and the names that values are drawn under."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeAlias

from fanin._core.messages import shown, suggestion
from fanin._core.types import Globs
from fanin.models.parameters import Parameter
from fanin.models.patterns import AnyGlob, Substitution

# The components that wrappers insert into paths.
WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_ddp_module"}


# What frameworks put before the name of a class that they derive from a layer's, and the other base of some of these.
_DERIVED, _MIXINS = ("Parametrized", "FSDP", "Replicate", "DDP"), {"FSDPModule", "ReplicateModule", "DDP"}


def own_classes(cls: type, last: str) -> tuple[type, ...]:
    """A layer's class and its base classes, up to a framework's own base class, whose name is `last`.

    Classes that a framework derives from a layer's class, such as `ParametrizedLinear`, are left out.
    """
    classes = list(cls.__mro__)
    names = [each.__name__ for each in classes]
    classes = classes[: names.index(last)] if last in names else classes
    made = {f"{prefix}{each.__name__}" for prefix in _DERIVED for each in classes} | _MIXINS
    return tuple(each for each in classes if each.__name__ not in made) or (cls,)


def class_names(cls: type, last: str) -> tuple[str, ...]:
    """The names of these classes."""
    return tuple(each.__name__ for each in own_classes(cls, last))


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
    parents: dict[tuple[int, str], int] = {}  # a number for each beginning of a path, by that of the one before it
    numbers: dict[tuple[int, str], set[int]] = {}  # of the blocks of each list, which is a parent and a stem
    places: dict[str, list[tuple[tuple[int, str], int]]] = {}
    for path in dict.fromkeys(paths):
        parent, places[path] = 0, []
        for part in path.split(".")[:-1]:
            stem, number = block_of(part)
            if number is not None:
                numbers.setdefault((parent, stem), set()).add(number)
                places[path].append(((parent, stem), number))
            parent = parents.setdefault((parent, part), len(parents) + 1)
    sizes = {
        each: len(found)
        for each, found in numbers.items()
        if not each[1] or (len(found) > 1 and max(found) == len(found) - 1)
    }
    depth_of = {}
    for path, blocks in places.items():
        candidates = [(each, number) for each, number in blocks if each in sizes]
        if len(candidates) > 1 and candidates[0][0] == (0, "") and sizes[candidates[1][0]] > sizes[0, ""]:
            del candidates[0]  # the root is a container of models
        if candidates:
            depth_of[path] = candidates[0][1], sizes[candidates[0][0]]
    return depth_of


def block_of(part: str) -> tuple[str, int | None]:
    """The stem and number of a component that numbers a block, such as `block_3` or `3`; None for no number."""
    stem, underscore, digits = part.rpartition("_")
    is_block = digits.isdecimal() and len(digits) < 10 and bool(stem or not underscore)
    return (stem, int(digits)) if is_block else (part, None)


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
        self._keys: dict[str, str] = {}  # as they were given, by the path or glob that they are
        self._function = names if callable(names) else None
        self._exact: dict[str, tuple[int, str]] = {}
        self._globs: list[tuple[int, bool, Substitution]] = []  # with whether it names a block
        if names is None or callable(names):
            return
        if not isinstance(names, Mapping):
            raise TypeError(
                "`names` must be a mapping of paths to names, or a function of a parameter. "
                f"Received: names of type {type(names).__name__}."
            )
        for position, (key, value) in enumerate(names.items()):
            if not isinstance(key, str) or not isinstance(value, str) or value.count("*") > key.count("*"):
                raise ValueError(
                    "`names` must map paths to names, and a name can have at most as many * as its path. "
                    f"Received: {shown(key)}: {shown(value)}."
                )
            path, name = key.replace("/", "."), value.replace("/", ".")
            self._keys[path] = key
            if "*" in path:
                self._globs.append((position, "[" in path, Substitution(path, name)))
            else:
                self._exact.setdefault(path, (position, name))

    def of(self, parameter: Parameter, path: str) -> str:
        """The name of the parameter at this path, or of the fused tensor there that it is a block of."""
        if self._function is not None:
            name = self._function(parameter)
            if not isinstance(name, str):
                raise TypeError(f"`names` must return a string. Received: {shown(name)} for {shown(path)}.")
            return stripped(name)
        own = parameter.name if path == parameter.path else ""
        return self.mapped(path) or own or path

    def mapped(self, path: str) -> str | None:
        """The name that the mapping gives a path, or a block such as `path[block]`; None if it gives none."""
        first, name = self._exact.get(path, (len(self._exact) + len(self._globs), None))
        for position, names_block, glob in self._globs:
            if position > first:
                break
            if names_block == ("[" in path) and (found := glob.of(path)) is not None:
                return found
        return name

    def check(self, paths: Iterable[str], blocks: Callable[[], Iterable[str]]) -> None:
        """Raises an exception unless each key of the mapping matches a parameter or a block.

        Args:
            paths: the paths of the parameters.
            blocks: the blocks, as `path[block]`, which are only needed for keys that name one.
        """
        if not self._keys:
            return
        parts = blocks() if any("[" in key for key in self._keys) else ()
        known = {False: dict[str, None](), True: dict[str, None]()}  # by whether they name a block
        for path in (*paths, *parts):
            known["[" in path][path] = None
        for key, given in self._keys.items():
            same, glob = known["[" in key], Substitution(key, "")
            if key not in same and not ("*" in key and any(glob.of(each) is not None for each in same)):
                raise _matches_none("names", given, same)


def _matches_none(option: str, pattern: str, known: Iterable[str], members: str = "parameters") -> ValueError:
    """The error to raise for a glob of an option that matches none of the known paths."""
    return ValueError(
        f"`{option}` must match {members} of the model. Received: {shown(pattern)}, which matches none."
        f"{suggestion(pattern, known)}"
    )


def _listed(option: str, patterns: Globs) -> Collection[str]:
    """The globs of an option, which may be a single one."""
    if isinstance(patterns, str):
        return [patterns]
    if not isinstance(patterns, (list, tuple, set, frozenset)) or not all(isinstance(each, str) for each in patterns):
        raise TypeError(f"`{option}` must be a glob of paths, or several. Received: {option}={shown(patterns)}.")
    return patterns


def selector(option: str, patterns: Globs, paths: Iterable[str] | None) -> Callable[[Parameter], bool]:
    """A predicate of parameters for the globs of `only=` or `skip=`. If paths are given, each glob must match one."""
    patterns = _listed(option, patterns)
    known = None if paths is None else dict.fromkeys(paths).keys()
    for pattern in patterns:
        if known is not None and not AnyGlob([pattern]).matches_any(known):
            raise _matches_none(option, pattern, known)
    chosen = AnyGlob(patterns)
    return lambda each: any(map(chosen.matches, (each.path, *each.tied)))


def chosen_layers(patterns: Globs, paths: Iterable[str]) -> frozenset[str]:
    """The paths of layers that the globs of `layers=` match, each of which must match one."""
    patterns, known = _listed("layers", patterns), dict.fromkeys(paths).keys()
    for pattern in patterns:
        if not AnyGlob([pattern]).matches_any(known):
            raise _matches_none("layers", pattern, known, "layers")
    return frozenset(filter(AnyGlob(patterns).matches, known))
