"""How an audit is made: each tensor is measured in one pass, judged, and compared with the others."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from fanin._core.messages import class_name, plural, shown
from fanin.audits.audit import Audit, AuditedTensor
from fanin.audits.expectations import Expectations
from fanin.checkpoints import has_manifest, read_manifest
from fanin.checkpoints.stored import Contents, Stored
from fanin.recipes.plan import Plan
from fanin.recipes.progress import Progress, watched
from fanin.recipes.recipe import Recipe, recipe_of


def audit(
    target: Any,
    recipe: Any = None,
    *,
    model: Any = None,
    seed: int | None = None,
    under: str = "",
    only: Collection[str] | None = None,
    progress: Progress = None,
) -> Audit:
    """Whether a model or checkpoint was initialized as intended: a verdict on each tensor, with its reason.

    A tensor is

    - exact: every bit is the one that the recipe and its seed give it;
    - consistent with an initializer, or with several that cannot be told apart by their values;
    - trained: it departs from every initializer in the way that training does;
    - suspicious: its spread, mean, bounds or precision are not those that it should have;
    - broken: it holds NaN, infinities, leftovers of memory, zeros in place of a kernel, dead rows, repeated parts, or
      the values of another tensor;
    - unjudged: nothing is known that it could be judged by.

    What it should be is taken from the recipe; else from `fanin.json`, if it is beside the file; else from the model's
    own code, if there is a model; else from its layers; else from names and shapes, which leave several candidates.
    Chance alone makes one statistic of a tensor look wrong once in ten million.

    Args:
        target: a file of safetensors, .npz, PyTorch (.pt, .pth, .bin) or Keras (.h5, .keras); a folder of such files or
            of torch.distributed.checkpoint; a live model of PyTorch, Keras, flax, haiku or equinox; or a mapping of
            names to arrays, such as a state dict. It is read in chunks, in bounded memory, and nothing of it changes;
            code in a file is never run.
        recipe: what the values should be: a `Recipe`, the name of a preset, a `Plan`, or what a recording yields.
        model: the model of a checkpoint or mapping, or a description of it, for fans, layouts and expectations.
        seed: a seed that replaces the recipe's.
        under: what all names of the target begin with before a dot, such as "model".
        only: the names of the tensors to judge; None for all of them.
        progress: whether to show a bar, or a function of events, as for `fanin.checkpoints.write`.

    Returns:
        An `Audit`, which is true if nothing is wrong.

    Raises:
        fanin.checkpoints.CheckpointError: what lists the tensors is damaged, or a file holds code.
        ValueError: the target is no checkpoint; `only` names a tensor that it lacks; `seed` has no recipe.
        TypeError: the target is no model, mapping or path.
        OSError: there is nothing, or it cannot be read.

    References: "Glorot and Bengio, 2010", for the spreads that layers should have; Kolmogorov (1933) and Smirnov (1948)
    for the comparison of distributions.

    >>> import fanin, numpy as np
    >>> kernel = fanin.HeNormal(seed=1)((256, 128))
    >>> found = fanin.audit({"dense.kernel": kernel, "head.kernel": np.full((128, 10), np.nan)})
    >>> found["dense.kernel"].verdict.kind, found["head.kernel"].verdict.kind
    ('consistent', 'broken')
    """
    begin = time.perf_counter()
    contents = contents_of_target(target)
    chosen = _chosen(contents, only)
    expected = _expectations(target, contents, recipe, model, seed, under)
    with watched(sum(each.nbytes for each in chosen), progress, "audit") as advance:
        judged = _Auditor(contents, expected).audited(chosen, advance)
    return Audit(
        name=_name(target, expected),
        format=contents.format,
        source=expected.source,
        tensors=judged,
        missing=tuple(expected.missing(contents.tensors)) if only is None else (),
        broken_files=dict(contents.broken),
        notes=_notes(contents, expected),
        seed=expected.seed,
        nbytes=sum(each.nbytes for each in chosen),
        seconds=time.perf_counter() - begin,
    )


def _chosen(contents: Contents, only: Collection[str] | None) -> list[Stored]:
    """The tensors to judge."""
    if only is None:
        return list(contents.tensors.values())
    for name in only:
        if name not in contents.tensors:
            raise ValueError(
                f"`only` must name tensors that are there. Received: {shown(name)}.{suggestion(name, contents.tensors)}"
            )
    return [contents.tensors[name] for name in contents.tensors if name in set(only)]


def _name(target: Any, expected: Expectations) -> str:
    return str(target) if isinstance(target, (str, os.PathLike)) else expected.model or class_name(type(target))


def _notes(contents: Contents, expected: Expectations) -> tuple[str, ...]:
    """What a reader should know."""
    notes = (
        [f"The model's own code cannot say what its tensors should be: {expected.reason}"] if expected.reason else []
    )
    strange = [name for name in contents.tensors if expected.by_name and not expected.knows(name)]
    if strange:
        count = len(strange)
        verb = "is" if count == 1 else "are"
        notes.append(
            f"{count} {plural(count, 'tensor')} {verb} not among the model's parameters, and judged by name and shape: "
            f"{', '.join(strange[:_MOST_NAMES])}{', …' if count > _MOST_NAMES else ''}."
        )
    if contents.other:
        notes.append(f"{len(contents.other)} values that are no tensors were left alone.")
    return tuple(notes)


# ---------------------------------------------------------------- what the tensors should be


def _expectations(
    target: Any, contents: Contents, recipe: Any, model: Any, seed: int | None, under: str
) -> Expectations:
    """What says what the tensors should be: the best that there is."""
    is_path = isinstance(target, (str, os.PathLike))
    if seed is not None and not isinstance(recipe, (str, Recipe)):
        raise ValueError(f"`seed` replaces that of a recipe. Received: seed={shown(seed)} without a recipe.")
    live = model if model is not None else target if not is_path and registry.home_of(target) is not None else None
    if recipe is not None:
        plan = _plan(recipe, seed, described_contents(contents) if live is None else live)
        return Expectations.of_plan(plan, "the recipe", under=under, is_seeded=True)
    if live is not None:
        return Expectations.of_model(live, under=under)
    if is_path and has_manifest(target):
        return Expectations.of_manifest(read_manifest(_beside(Path(target))))
    return Expectations("names and shapes")


def _plan(recipe: Any, seed: int | None, model: Any) -> Plan:
    """The plan of a recipe, or of what else can make one."""
    if isinstance(recipe, Plan):
        return recipe
    if isinstance(recipe, (str, Recipe)):
        return recipe_of(recipe, seed).plan(model)
    if callable(getattr(recipe, "plan", None)):  # what a recording yields
        return recipe.plan(model) if registry.home_of(model) is not None else recipe.plan()
    raise TypeError(
        "`recipe` must be a fanin.Recipe, the name of a preset, a fanin.Plan or a recording. "
        f"Received: {shown(recipe)} (of type {class_name(type(recipe))})."
    )


# ---------------------------------------------------------------- verdicts


class _Auditor:
    """Judges tensors one by one, and at the end what they are among one another."""

    def __init__(self, contents: Contents, expected: Expectations) -> None:
        self._contents, self._expected = contents, expected
        self._roles = Roles(contents.tensors.values())
        self._relations = Relations()

    def audited(self, chosen: list[Stored], advance: Callable[[int], None]) -> tuple[AuditedTensor, ...]:
        """The verdict on each tensor."""
        found = {stored.name: self._one(stored, statistics) for stored, statistics in measured(chosen, advance)}
        problems = self._among(found)
        return tuple(
            replace(each, verdict=each.verdict.with_problems(problems.get(name, ()))) for name, each in found.items()
        )

    def _one(self, stored: Stored, statistics: Statistics | Exception) -> AuditedTensor:
        expectation = self._expected.of(stored.name)
        part = self._roles.of(stored, expectation.parameter)
