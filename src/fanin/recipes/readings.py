"""Readings: what a model's own code draws for each of its parameters, and the recipe that says the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from fanin._core.messages import plural, shown, visible, warn
from fanin._core.shapes import fans as fans_of_shape
from fanin._core.shapes import fans_of_axes
from fanin._core.types import Shape
from fanin.initializers import Identity, Initializer, Orthogonal, VarianceScaling
from fanin.models.parameters import Model, Parameter
from fanin.recipes.folding import recipe_from
from fanin.recipes.plan import Plan
from fanin.recipes.recipe import Recipe
from fanin.recipes.rules import KEEP

Unreadable: TypeAlias = Literal["error", "warn"]


class UnreadableError(ValueError):
    """The error for an initializer that fanin cannot read; its message is the reason."""


@dataclass(frozen=True)
class Reading:
    """What the code of a model draws for a parameter, or for one block of it.

    Attributes:
        initializer: the initializer, without a seed.
        fans: the fan-in and fan-out that the code computes; None if the values do not depend on them.
        block: the block; "" for the whole parameter.
    """

    initializer: Initializer
    fans: tuple[float, float] | None = None
    block: str = ""


def reading(initializer: Initializer, shape: Shape, *, block: str = "") -> Reading:
    """The reading of an initializer that computes fans as Keras does, from a shape or from its own `fan_axes`."""
    scales = isinstance(initializer, VarianceScaling)
    if not scales:
        return Reading(initializer.with_seed(None), block=block)
    axes = initializer.fan_axes
    if axes is None:
        return Reading(initializer.with_seed(None), fans_of_shape(shape), block)
    plain = type(initializer).from_config({**initializer.get_config(), "seed": None})  # its fans are in the rule
    return Reading(plain, fans_of_axes(shape, *axes), block)


@dataclass(frozen=True)
class Readings:
    """What the code of a model draws for all of its parameters.

    Attributes:
        model: the description of the model.
        read: the readings of each parameter, by path: one, or one for each of its blocks.
        unread: why the other parameters cannot be read, by path.
        kind: what the framework calls a parameter.
    """

    model: Model
    read: Mapping[str, Sequence[Reading]]
    unread: Mapping[str, str] = field(default_factory=dict)
    kind: str = "parameter"

    def recipe(self, seed: int, unreadable: Unreadable) -> Recipe:
        """The recipe with the same initializers.

        Args:
            seed: its seed.
            unreadable: "error", or "warn" to keep parameters as they are whose initializers cannot be read.

        Raises:
            ValueError: a parameter cannot be read, or a rule cannot say what its code draws; the message lists all.
        """
        if unreadable not in ("error", "warn"):
            raise ValueError(f'`unreadable` must be "error" or "warn". Received: unreadable={shown(unreadable)}.')
        unsayable = {path: reason for path, reason in self._unsayable() if path not in self.unread}
        left_out = {**self.unread, **unsayable}
        if left_out:
            self._complain(left_out, unreadable)
        recipe = Recipe(list(self._rules(left_out)), seed)
        plan = recipe.plan(_by_names(self.model))
        if plan.problems:
            raise ValueError("\n  ".join(["The model's own initializers do not fit its parameters:", *plan.problems]))
        if all(each.has_usual_start for each in self.model.parameters):  # which need no rules, and get these
            return recipe
        description = f"The own initializers of {self.model.name}"
        by_names = recipe_from(plan, description=description)
        # Names are for every model of the same code, but a name may be another parameter's path in this one.
        if _weights(by_names.plan(self.model)) == _weights(plan):
            return by_names
        entries = zip(plan.entries, self.model.parameters, strict=True)
        entries = tuple(replace(entry, parameter=parameter) for entry, parameter in entries)
        return recipe_from(replace(plan, model=self.model, entries=entries), description=description)

    def _unsayable(self) -> Iterator[tuple[str, str]]:
        """The parameters whose readings a rule would not mean, with the reason."""
        for each in self.model.parameters:
            makes_matrix = any(
                isinstance(one.initializer, (Orthogonal, Identity)) for one in self.read.get(each.path, ())
            )
            if makes_matrix and each.traits.column_axes != 1:
                yield (
                    each.path,
                    "its code makes a matrix of the last axis' columns, and in recipes this kernel's columns are its "
                    f"last {each.traits.column_axes} axes",
                )

    def _complain(self, left_out: Mapping[str, str], unreadable: Unreadable) -> None:
        count, kind = len(left_out), self.kind
        by_path = {each.path: each for each in self.model.parameters}
        lines = "".join(f"\n  {_described(by_path[path])}: {reason}." for path, reason in left_out.items())
        found = f"Received: {count} {plural(count, kind)} that {'has' if count == 1 else 'have'} another:{lines}"
        if unreadable == "error" or count == len(by_path):
            raise ValueError(
                f"Each {kind} must have an initializer that fanin can read. {found}\n"
                'Give them others, or call this with unreadable="warn", which keeps them as they are.'
            )
        warn(f"The recipe keeps {plural(2, kind)} as they are whose initializers fanin cannot read. {found}")

    def _rules(self, left_out: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        for parameter in self.model.parameters:
            if parameter.path in left_out:
                yield {**_conditions(parameter), "initializer": KEEP}
                continue
            for each in self.read[parameter.path]:
                yield _rule(parameter, each)


def _by_names(model: Model) -> Model:
    """The same model with names for paths, where these differ."""
    parameters = tuple(replace(each, path=each.name or each.path, name="") for each in model.parameters)
    return replace(model, parameters=parameters)


def _weights(plan: Plan) -> list[Any]:
    """What tells the weights of a plan from those of another."""
    kinds = [[type(one.weight.distribution) for one in each.placements] for each in plan.entries]
    return [
        (each.name, each.kept, each.seeds, each.mean, each.stddev, kind)
        for each, kind in zip(plan.entries, kinds, strict=True)
    ]


def _rule(parameter: Parameter, reading: Reading) -> dict[str, Any]:
    """The rule of one reading, for its parameter alone."""
    rule: dict[str, Any] = {**_conditions(parameter), "initializer": reading.initializer}
    part = parameter.traits.part
    if reading.block or part is not None:  # its code draws each block of its own
        rule["block"] = reading.block if part is None else part.block
    if reading.fans is not None:
        layer = parameter.traits.fan_in, parameter.traits.fan_out
        named = zip(("fan_in", "fan_out"), reading.fans, layer, strict=True)
        rule |= {name: fan for name, fan, of_layer in named if fan != of_layer or reading.block}
    return rule


def _conditions(parameter: Parameter) -> dict[str, Any]:
    """The conditions that a parameter meets by itself."""
    named = {"path": _literal(parameter.name or parameter.path)}
    return {**named, "role": parameter.role} if parameter.has_usual_start else named


def _literal(path: str) -> str:
    """The glob that only this path matches."""
    return re.sub(r"[*?[]", lambda found: f"[{found[0]}]", path)


def _described(parameter: Parameter) -> str:
    return f"{visible(parameter.path)} {parameter.shape}, {visible(parameter.layer) or 'no known layer'}"
