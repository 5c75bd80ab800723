"""Readings: what a model's own code draws for each of its parameters, and the recipe that says the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from fanin._core.messages import plural, shown, visible, warn
from fanin._core.types import Shape
from fanin.initializers import Identity, Initializer, Orthogonal, Table, VarianceScaling
from fanin.models.parameters import Model, Parameter
from fanin.models.patterns import escaped
from fanin.recipes.entry import Placement
from fanin.recipes.folding import recipe_from
from fanin.recipes.plan import Plan
from fanin.recipes.recipe import Recipe
from fanin.recipes.rules import AS_WRITTEN, KEEP

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
    if not isinstance(initializer, VarianceScaling) or initializer.has_own_axes:  # which then make its fans in rules
        return Reading(initializer.with_seed(None), block=block)
    fans = initializer.fans(shape)
    if initializer.fan_axes is None:
        return Reading(initializer.with_seed(None), fans, block)
    plain = type(initializer).from_config({**initializer.get_config(), "seed": None})  # its fans are in the rule
    return Reading(plain, fans, block)


def placements_of(parameter: Parameter, name: str, readings: Sequence[Reading], seed: int) -> tuple[Placement, ...]:
    """What readings place in a parameter, for the `written` of a model: matrices with the last axis as columns, too.

    Args:
        parameter: the parameter.
        name: the name that it is drawn under.
        readings: its readings.
        seed: the recipe's seed.
    """
    plain = replace(parameter, path=name, name="", traits=replace(parameter.traits, column_axes=1))
    (entry,) = Recipe([_rule(plain, each) for each in readings], seed).plan(Model((plain,), "")).entries
    if entry.problem:
        raise ValueError(entry.problem)
    return entry.placements


@dataclass(frozen=True)
class Readings:
    """What the code of a model draws for all of its parameters.

    Attributes:
        model: the description of the model. If its own code can be asked by plans, the recipe leaves to it what no
            rule can say.
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
        if self._left_out:
            self._complain(self._left_out, unreadable)
        named = _by_names(self.model)
        recipe = Recipe([rule for each in self.model.parameters for rule in self._rules(each)], seed)
        plan = recipe.plan(named)
        if plan.problems:
            raise ValueError("\n  ".join(["The model's own initializers do not fit its parameters:", *plan.problems]))
        alone = {path for each, path in zip(self.model.parameters, _paths(named), strict=True) if self._is_alone(each)}
        folded = plan.chosen(lambda each: each.path not in alone)
        if all(entry.parameter.has_usual_start for entry in folded.entries):  # which need no rules, and get these
            return recipe
        front = [rule for each in self.model.parameters if self._is_alone(each) for rule in self._rules(each)]
        made = recipe_from(folded, description=self._description).extend(front)
        # Names are for every model of the same code, but a name may be another parameter's path in this one.
        if _weights(made.plan(self.model)) == _weights(plan):
            return made
        parameters = {path: each for path, each in zip(_paths(named), self.model.parameters, strict=True)}
        entries = tuple(replace(each, parameter=parameters[each.path]) for each in folded.entries)
        folded = replace(folded, model=self.model, entries=entries)
        return recipe_from(folded, description=self._description).extend(front)

    @property
    def _description(self) -> str:
        return f"The own initializers of {self.model.name}"

    @property
    def _left_out(self) -> dict[str, str]:
        """Why parameters can have no rule, by path."""
        unsayable = {
            each.path: "its code makes a matrix with columns along the last axis alone, and a rule would make one with "
            f"columns along the last {each.traits.column_axes} axes"
            for each in self.model.parameters
            if self.model.written is None and self._has_other_columns(each)
        }
        return {**unsayable, **self.unread}

    def _has_other_columns(self, parameter: Parameter) -> bool:
        """Whether a rule would make another matrix than the code does."""
        initializers = [each.initializer for each in self.read.get(parameter.path, ())]
        return parameter.traits.column_axes != 1 and any(
            isinstance(each, (Orthogonal, Identity)) for each in initializers
        )

    def _is_alone(self, parameter: Parameter) -> bool:
        """Whether a parameter has rules of its own in front: for a table, or what its own code is asked for."""
        is_table = any(isinstance(each.initializer, Table) for each in self.read.get(parameter.path, ()))
        return is_table or (self._has_other_columns(parameter) and parameter.path not in self._left_out)

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

    def _rules(self, parameter: Parameter) -> Iterator[dict[str, Any]]:
        """The rules of a parameter, for it alone."""
        if parameter.path in self._left_out:
            yield {**_conditions(parameter), "initializer": KEEP}
        elif self._has_other_columns(parameter):
            yield {**_conditions(parameter), "initializer": AS_WRITTEN}
        else:
            yield from (_rule(parameter, each) for each in self.read[parameter.path])


def _by_names(model: Model) -> Model:
    """The same model with names for paths, where these differ."""
    parameters = tuple(replace(each, path=each.name or each.path, name="") for each in model.parameters)
    written = model.written
    if written is None:
        return replace(model, parameters=parameters)
    by_name = {each.path: own for each, own in zip(parameters, model.parameters, strict=True)}
    return replace(
        model, parameters=parameters, written=lambda each, name, seed: written(by_name[each.path], name, seed)
    )


def _paths(model: Model) -> list[str]:
    return [each.path for each in model.parameters]


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
    named = {"path": escaped(parameter.name or parameter.path)}
    return {**named, "role": parameter.role} if parameter.has_usual_start else named


def _described(parameter: Parameter) -> str:
    return f"{visible(parameter.path)} {parameter.shape}, {visible(parameter.layer) or 'no known layer'}"
