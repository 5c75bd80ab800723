"""The conditions that rules for a model may have, and which of its parameters meet each of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import NamedTuple, TypeAlias

from fanin.models.parameters import Parameter
from fanin.models.patterns import AnyGlob, escaped
from fanin.recipes.folding.settings import Choices

# The conditions of a rule: keys, and the values of which each must match one.
Conditions: TypeAlias = tuple[tuple[str, tuple[str, ...]], ...]

# What a condition costs, where a group more that a rule is for gains 1: types and leaf names come first.
_COSTS = {"layer": 0.02, "role": 0.04, "path": 0.03, "within": 0.08}
_ANY_WEIGHT, _OF_ANY_LAYER = 0.06, (("path", ("*.weight",)),)  # more, of a leaf that kernels and norms have
_WHOLE_LAYERS = 0.06  # more, of conditions that do not say which parameters of a layer are meant
_MOST_PATHS = 8  # globs that a rule lists where it could be two rules
_CONTAINERS = {"ModuleList", "ModuleDict", "Sequential"}  # which say nothing of what is in them
_ROLES = {"kernel", "embedding", "bias", "scale", "offset"}  # that say enough by themselves


@dataclass(frozen=True)
class Item:
    """A parameter of the plan that is folded.

    Attributes:
        parameter: the parameter.
        name: the name that it is drawn under.
        choices: the settings that it may have.
        needed: whether it needs a rule; others only must not get another one.
    """

    parameter: Parameter
    name: str
    choices: Choices
    needed: bool = True

    @property
    def paths(self) -> tuple[str, ...]:
        """All paths that conditions see."""
        part = self.parameter.traits.part
        fused = () if part is None else (part.path,)
        return tuple(dict.fromkeys((self.parameter.path, self.name, *self.parameter.tied, *fused)))

    @cached_property
    def kind(self) -> tuple[object, ...]:
        """What the parameters of a group have in common, besides what they get."""
        each = self.parameter
        return tuple(map(unnumbered, self.paths)), each.layer, each.bases, each.within, each.role, self.needed


class Group(NamedTuple):
    """Parameters of repeated blocks that are alike but for the numbers in their paths, and that may have the same."""

    items: tuple[Item, ...]
    choices: Choices
    needed: bool

    @property
    def first(self) -> Item:
        """One of them, which stands for all."""
        return self.items[0]


def unnumbered(path: str) -> str:
    """A path as a glob, with a star for each component that is a number."""
    return ".".join("*" if part.isdecimal() else escaped(part) for part in path.split("."))


def grouped(items: Iterable[Item]) -> list[Group]:
    """The groups of some parameters, in the order of their first ones."""
    groups: dict[tuple[object, ...], list[Item]] = {}
    for item in items:
        groups.setdefault((item.kind, frozenset(item.choices.items())), []).append(item)
    return [Group(tuple(each), each[0].choices, each[0].needed) for each in groups.values()]


class Masks:
    """Which groups meet conditions, as bit masks.

    Args:
        groups: the groups; bit n of a mask stands for the group of this number.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self._groups = groups
        self._masks: dict[tuple[str, str], int] = {}
        self._with_usual_start = sum(
            1 << number for number, each in enumerate(groups) if each.first.parameter.has_usual_start
        )

    def of(self, conditions: Conditions) -> int:
        """The groups of which a parameter meets all of some conditions."""
        mask = (1 << len(self._groups)) - 1
        for key, values in conditions:
            met = 0
            for value in values:
                met |= self._of_one(key, value)
            mask &= met
        # Only rules that name their roles are about statistics, counters and adapters.
        return mask if any(key == "role" for key, _ in conditions) else mask & ~self._with_usual_start

    def _of_one(self, key: str, value: str) -> int:
        if (key, value) not in self._masks:
            glob, mask = AnyGlob([value]), 0
            numbered = key == "path" and any(part.isdecimal() for part in value.split("."))
            for number, group in enumerate(self._groups):
                items = group.items if numbered else group.items[:1]
                if any(_meets(item, key, value, glob) for item in items):
                    mask |= 1 << number
            self._masks[key, value] = mask
        return self._masks[key, value]


def _meets(item: Item, key: str, value: str, glob: AnyGlob) -> bool:
    each = item.parameter
    if key == "role":
        return each.role == value
    texts = {"layer": (each.layer, *each.bases), "within": each.within, "path": item.paths}[key]
    return any(map(glob.matches, texts))


def cost_of(conditions: Conditions) -> float:
    """What conditions cost: less for fewer, shorter and more telling ones."""
    cost = sum(_COSTS[key] * len(values) + sum(map(len, values)) / 5000 for key, values in conditions)
    tells = any(key == "role" or (key == "path" and not values[0].endswith(".*")) for key, values in conditions)
    return cost + (0 if tells else _WHOLE_LAYERS) + (_ANY_WEIGHT if conditions == _OF_ANY_LAYER else 0)


def candidates(groups: Sequence[Group]) -> Iterator[Conditions]:
    """The conditions that rules for these groups may have, each once."""
    alike: dict[tuple[object, ...], list[Group]] = {}
    for group in groups:
        alike.setdefault(group.first.kind, []).append(group)
    found: dict[Conditions, None] = {}
    for several in alike.values():
        for group in several:
            if not group.needed:
                continue
            for conditions in _of_group(group.first):
                found[_with_role(conditions, group.first)] = None
            if len(several) > 1:
                others = [item for other in several if other is not group for item in other.items]
                for conditions in _numbered(group.items, others):
                    found[_with_role(conditions, group.first)] = None
    yield from found


def _with_role(conditions: Conditions, item: Item) -> Conditions:
    """The same conditions, with the role that rules for statistics and the like must name."""
    role = needed_role(item.parameter)
    return (("role", role), *conditions) if role and all(key != "role" for key, _ in conditions) else conditions


def _of_group(item: Item) -> Iterator[Conditions]:
    """By the role, the type of the layer and the leaf of the path, then by more of the path and layers around."""
    each, (leaf, *longer) = item.parameter, [("path", (end,)) for end in _ends(item.parameter.path)]
    layer = (("layer", (escaped(each.layer),)),) if each.layer else ()
    role = (("role", (each.role,)),) if each.role in _ROLES or (each.role != "other" and not each.layer) else ()
    simple: list[Conditions] = [conditions for conditions in (role, (*layer, leaf), (leaf,)) if conditions]
    yield from simple
    if layer:
        yield layer
        yield *layer, *role
    for end in longer:
        yield (end,)
        yield *layer, end
    for name in dict.fromkeys(each for each in each.within[1:] if each not in _CONTAINERS):
        within = ("within", (escaped(name),))
        yield from ((within, *conditions) for conditions in (layer, *simple) if conditions)
    for beginning in _beginnings(each.path):
        path = ("path", (f"{beginning}.*",))
        yield (path,)
        yield path, *layer
        yield path, *role
        yield (("path", (f"{beginning}.{leaf[1][0]}",)),)
    yield (("path", (unnumbered(each.path),)),)


def shared(groups: Sequence[Group]) -> Iterator[Conditions]:
    """Conditions that all of some groups meet: by their roles, by their layers, and by the leaves of their paths."""
    parameters = [group.first.parameter for group in groups]
    if not parameters or any(each.has_usual_start for each in parameters):
        return
    ends = [list(islice(_ends(each.path), 2)) for each in parameters]
    leaves = ("path", tuple(dict.fromkeys(first for first, *_ in ends)))
    yield (leaves,)
    named = tuple(dict.fromkeys(each[-1] for each in ends))
    if len(named) <= _MOST_PATHS:
        yield (("path", named),)
    if all(each.role in _ROLES for each in parameters):
        yield (("role", tuple(dict.fromkeys(each.role for each in parameters))),)
    if all(each.layer for each in parameters):
        yield ("layer", tuple(dict.fromkeys(escaped(each.layer) for each in parameters))), leaves


def _ends(path: str) -> Iterator[str]:
    """Globs of the last components of a path, the shortest first: of the leaf, and of one or two names before it."""
    parts, names = unnumbered(path).split("."), 0
    for start in reversed(range(len(parts))):
        names += parts[start] != "*"
        if parts[start] != "*" or not start:
            yield ".".join([*(["*"] if start else []), *parts[start:]])
        if names == 3:
            return


def _beginnings(path: str) -> Iterator[str]:
    """The first one, two and three names of a path, without its leaf."""
    parts = unnumbered(path).split(".")[:-1]
    ends = [end for end, part in enumerate(parts, 1) if part != "*"]
    yield from (".".join(parts[:end]) for end in ends[:3])


def _numbered(items: Sequence[Item], others: Sequence[Item]) -> Iterator[Conditions]:
    """By paths with numbers, which tell some parameters from others whose paths only differ in these."""
    paths = [item.parameter.path.split(".") for item in items]
    different = [item.parameter.path.split(".") for item in others]
    for at, part in enumerate(paths[0]):
        numbers = dict.fromkeys(path[at] for path in paths)
        if part.isdecimal() and numbers.keys().isdisjoint(path[at] for path in different):
            before, after = unnumbered(".".join(paths[0][:at])), unnumbered(".".join(paths[0][at + 1 :]))
            yield (("path", tuple(".".join(filter(None, (before, number, after))) for number in numbers)),)
            beginnings = ("path", tuple(".".join(filter(None, (before, number, "*"))) for number in numbers))
            layer, role = items[0].parameter.layer, items[0].parameter.role
            yield (beginnings,)
            yield beginnings, ("role", (role,))
            if layer:
                yield beginnings, ("layer", (escaped(layer),))
    yield (("path", exactly(item.parameter for item in items)),)


def exactly(parameters: Iterable[Parameter]) -> tuple[str, ...]:
    """The globs of the paths of some parameters alone."""
    return tuple(escaped(each.path) for each in parameters)


def needed_role(parameter: Parameter) -> tuple[str, ...]:
    """The role that a rule must name to be about a parameter, if it must: of statistics, counters and adapters."""
    return (parameter.role,) if parameter.has_usual_start else ()


def alone(parameters: Sequence[Parameter]) -> Conditions:
    """The conditions that only these parameters meet, which need the same role."""
    role = needed_role(parameters[0])
    return (("path", exactly(parameters)), *((("role", role),) if role else ()))
