"""Folds a plan into a recipe, and checks that the recipe makes the same plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fanin._core.environment import undisturbed
from fanin._core.messages import plural, visible
from fanin.models.names import NameMap
from fanin.models.parameters import Model, Parameter
from fanin.recipes import planner
from fanin.recipes.entry import Entry, Placement
from fanin.recipes.folding.conditions import Group, Item, exactly, grouped, kind_of
from fanin.recipes.folding.decisions import Decisions
from fanin.recipes.folding.numbers import Vocabulary
from fanin.recipes.folding.settings import WRITTEN, Choices, Speller, Wanted
from fanin.recipes.folding.spelling import bits
from fanin.recipes.plan import Plan
from fanin.recipes.recipe import Recipe
from fanin.recipes.rules import Rule
from fanin.recipes.tables import folded_paths


@undisturbed
def recipe_from(
    plan: Plan, *, twin: Plan | None = None, description: str = "", sources: Iterable[str] = ()
) -> Recipe:
    """A recipe with the fewest readable rules that make the same plan.

    The rules are by the types of layers, the leaves of paths and the roles of parameters; numbers are written by a
    layer's fans, the number of layers and the model's configuration where their values say so. The recipe is planned,
    too: whatever it would give differently gets rules of its own in front. What no initializer makes is left to the
    model's own code, by `as_written`.

    Args:
        plan: a plan whose every parameter is drawn or kept.
        twin: the plan of the same model at another size. With it, numbers that are alike in one size only by chance are
            told apart, and numbers of the configuration are used by name where both sizes agree.
        description: what the recipe is for, in a sentence.
        sources: where it comes from.

    Returns:
        A recipe with the plan's seed: `recipe.plan(plan.model)` has the same weights, of the same bytes, at the same
        places. Each of its rules has a comment, which `to_toml` writes. (The names of a plan are not a part of it: pass
        the same `names` again.)

    Raises:
        ValueError: a parameter has a problem, no rule, or weights that no rule can say; the message lists them.

    >>> import fanin
    >>> from fanin.recipes.folding import recipe_from
    >>> shapes = [{"path": f"h.{n}.{each}.weight", "shape": [64, 64]} for n in range(2) for each in ("q", "proj")]
    >>> rules = [{"path": f"h.{n}.q.weight", "initializer": "random_normal", "stddev": 0.02} for n in range(2)]
    >>> rules += [{"path": f"h.{n}.proj.weight", "initializer": "random_normal", "stddev": 0.01} for n in range(2)]
    >>> print(recipe_from(fanin.Recipe(rules, seed=1).plan(shapes)).to_toml())
    """
    given = _Given(plan)
    given.check()
    others = None if twin is None else _Given(twin)
    speller = Speller(Vocabulary.of(plan.model, None if twin is None else twin.model))
    groups = grouped(_agreed(given.items(speller), [] if others is None else others.items(speller)))
    decisions = Decisions(groups)
    found = decisions.found()
    rules = [
        rule
        for decision, taken in zip(found, decisions.taken(found), strict=True)
        for rule in _rules(dict(decision.conditions), decision.wanted, _comment(decision.wanted, taken, len(plan.entries)))
    ]
    rules = given.corrected(rules)
    recipe = Recipe(rules, plan.seed, description=description, sources=sources)
    return recipe
