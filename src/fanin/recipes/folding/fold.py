"""Folds a plan into a recipe, and checks that the recipe makes the same plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from fanin._core.environment import undisturbed
from fanin.recipes.folding.conditions import Group, Item, grouped
from fanin.recipes.folding.decisions import Decisions
from fanin.recipes.folding.given import Given
from fanin.recipes.folding.numbers import Vocabulary
from fanin.recipes.folding.settings import Choices, Speller
from fanin.recipes.folding.texts import comment_of, rules_of
from fanin.recipes.plan import Plan
from fanin.recipes.recipe import Recipe
from fanin.recipes.rules import Rule
from fanin.recipes.tables import folded_paths


@undisturbed
def recipe_from(plan: Plan, *, twin: Plan | None = None, description: str = "", sources: Iterable[str] = ()) -> Recipe:
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
    >>> shapes = [{"path": f"h.{n}.{each}.bias", "shape": [8]} for n in range(12) for each in ("query", "key")]
    >>> rules = [{"path": each["path"], "initializer": "zeros"} for each in shapes]
    >>> print(recipe_from(fanin.Recipe(rules, seed=1).plan(shapes)).to_toml())
    seed = 1
    <BLANKLINE>
    # 24 of 24 parameters
    [[rules]]
    path = "*.bias"
    initializer = "zeros"
    <BLANKLINE>
    """
    given = Given(plan)
    given.check()
    other = None if twin is None else Given(twin)
    vocabulary = Vocabulary.of(plan.model, None if twin is None else twin.model)
    speller = Speller(vocabulary, asks=given.plan.model.written is not None)
    groups = grouped(_agreed(list(given.items(speller)), [] if other is None else list(other.items(speller))))
    rules = given.corrected(_folded(groups, len(plan.entries)))
    recipe = Recipe(rules, plan.seed, description=description, sources=sources)
    if other is None or not (differing := other.differing(recipe.rules)):
        return recipe
    paths = ", ".join(path for path, _ in folded_paths(dict.fromkeys(each.path for each in differing)))
    return recipe.commented(f"At the other size, {paths} would get something else.")


def _folded(groups: Sequence[Group], count: int) -> list[Rule]:
    """The rules for groups of parameters, each with a comment."""
    decisions = Decisions(groups)
    found = decisions.found()
    return [
        rule
        for decision, taken in zip(found, decisions.taken(found), strict=True)
        for rule in rules_of(decision.conditions, decision.wanted, comment_of(decision.wanted, taken, count))
    ]


def _agreed(items: Sequence[Item], others: Sequence[Item]) -> Iterator[Item]:
    """The items, each with the settings that it can have as all of its kind can, and at another size, too, if any."""
    kinds: dict[tuple[object, ...], list[Choices]] = {}
    for item in (*items, *others):
        kinds.setdefault(item.kind, []).append(item.choices)
    shared = {kind: _common(choices) for kind, choices in kinds.items()}
    by_path = {item.parameter.path: item.choices for item in others}
    for item in items:
        same = shared[item.kind] or _common([item.choices, by_path.get(item.parameter.path, item.choices)])
        yield replace(item, choices=same) if same else item


def _common(choices: Sequence[Choices]) -> Choices:
    """The settings that are in all of some choices."""
    first, *others = {id(each): each for each in choices}.values()
    return {wanted: cost for wanted, cost in first.items() if all(wanted in each for each in others)}
