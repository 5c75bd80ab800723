"""How an audit is made: each tensor is measured in one pass, judged, and compared with the others."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from fanin._core.messages import class_name, plural, shown, suggestion
from fanin._core.types import Shape
from fanin.audits import charts
from fanin.audits.audit import Audit
from fanin.audits.audited import AuditedTensor
from fanin.audits.beginnings import Beginning, of_one_seed
from fanin.audits.damage import damage, unrelated
from fanin.audits.expectations import Expectation, Expectations, is_exact
from fanin.audits.judging.fitting import rounded_to
from fanin.audits.judging.judgement import (
    allowed_of,
    is_of_unknown_spread,
    is_trained,
    judge,
    law_of,
    reconciled,
)
from fanin.audits.judging.laws import Law
from fanin.audits.judging.roles import Role, roles_of
from fanin.audits.judging.siblings import among_siblings
from fanin.audits.measuring.hashes import hash_of
from fanin.audits.measuring.ordered import Ordered
from fanin.audits.measuring.subjects import Subject
from fanin.audits.relations import Sketch, correlated, duplicates
from fanin.audits.sources import is_model, tensors_of
from fanin.audits.spectra import MOST_TENSORS, measured_spectrum
from fanin.audits.statistics import Statistics, measure, measured
from fanin.audits.verdicts import Problem, Verdict
from fanin.checkpoints import CheckpointError, has_manifest, read_manifest
from fanin.checkpoints.contained import described_contents
from fanin.checkpoints.manifest import manifest_path
from fanin.checkpoints.stored import Contents, Stored
from fanin.models import registry
from fanin.recipes.entry import Box
from fanin.recipes.plan import Plan
from fanin.recipes.progress import Progress, watched
from fanin.recipes.recipe import Recipe, recipe_of

_UNREAD = "The model's layers alone say what is expected, since its own code cannot be read. "
_MOST_NAMES = 5  # that a note lists
_NEARLY_ALL = 0.9  # of the drawn tensors
_KEPT = 2**10  # elements of a sample that a report keeps


def audit(
    target: Any,
    recipe: Any = None,
    *,
    model: Any = None,
    seed: int | None = None,
    under: str = "",
    only: Collection[str] | None = None,
    exact: Collection[str] = (),
    spectra: bool = False,
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
        under: what the names of the tensors to judge begin with before a dot, such as "model"; others are left alone.
        only: the names of the tensors to judge; None for all of them.
        exact: the names of further tensors that `fanin.checkpoints.check` has found to be exact: they are counted.
        spectra: whether to compute the singular values of a block of each matrix, for its chart: of 64 tensors at most,
            of which the findings come first, then one of each group of alike tensors.
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
    contents = tensors_of(target)
    _check_prefix(under, contents)
    chosen = _chosen(contents, only, under)
    expected = _expectations(target, contents, recipe, model, seed, under)
    with watched(sum(each.nbytes for each in chosen), progress, "audit") as advance:
        judged = _Auditor(contents, expected).audited(chosen, advance)
        if spectra:
            judged = _with_spectra(judged, contents, expected)
    return Audit(
        name=_name(target, expected),
        format=contents.format,
        source=expected.source,
        tensors=judged,
        missing=tuple(expected.missing(contents.tensors)) if only is None else (),
        broken_files=dict(contents.broken),
        notes=(*_notes(contents, expected, under), *_notes_on(judged), *_notes_on_seed(judged, expected, exact)),
        seed=expected.seed,
        passed=len(exact),
        nbytes=sum(each.nbytes for each in chosen),
        seconds=time.perf_counter() - begin,
    )


def _check_prefix(under: str, contents: Contents) -> None:
    """Raises unless names begin with what they should begin with."""
    if not isinstance(under, str):
        raise TypeError(f"`under` must be text. Received: {shown(under)} (of type {class_name(type(under))}).")
    if under and contents.tensors and not any(name.startswith(f"{under}.") for name in contents.tensors):
        starts = dict.fromkeys(name.partition(".")[0] for name in contents.tensors)
        raise ValueError(
            f"`under` must be what names begin with. Received: {shown(under)}, with which none does: they begin with "
            f"{', '.join(map(shown, list(starts)[:_MOST_NAMES]))}.{suggestion(under, starts)}"
        )


def _chosen(contents: Contents, only: Collection[str] | None, under: str) -> list[Stored]:
    """The tensors to judge."""
    if only is None:  # of tensors that share memory, the first one stands for all
        named = {name: each for name, each in contents.tensors.items() if name not in contents.ties}
        return [each for name, each in named.items() if not under or name.startswith(f"{under}.")]
    if isinstance(only, str):
        raise TypeError(f"`only` must be several names. Received: only={shown(only)}.")
    for name in only:
        if name not in contents.tensors:
            raise ValueError(
                f"`only` must name tensors that are there. Received: {shown(name)}.{suggestion(name, contents.tensors)}"
            )
    return [contents.tensors[name] for name in contents.tensors if name in set(only)]


def _name(target: Any, expected: Expectations) -> str:
    return str(target) if isinstance(target, (str, os.PathLike)) else expected.model or class_name(type(target))


def _notes(contents: Contents, expected: Expectations, under: str) -> tuple[str, ...]:
    """What a reader should know of what was read."""
    notes = [_UNREAD + expected.reason] if expected.reason else []
    if expected.unfit:
        count = len(expected.unfit)
        reason = next(iter(expected.unfit.values()))
        notes.append(
            f"The recipe does not say what {count} {plural(count, 'tensor')} should be, so names and shapes alone do. "
            f"{reason}"
        )
    strange = [
        name
        for name in contents.tensors
        if expected.by_name and not expected.knows(name) and name.startswith(f"{under}." if under else "")
    ]
    if strange:
        count = len(strange)
        verb = "is" if count == 1 else "are"
        notes.append(
            f"{count} {plural(count, 'tensor')} {verb} not among the model's parameters, and judged by name and shape: "
            f"{_listed(strange)}."
        )
    outside = sum(not name.startswith(f"{under}.") for name in contents.tensors) if under else 0
    if outside:
        notes.append(f"Left alone: {outside} {plural(outside, 'tensor')} not under {under}.")
    if contents.other:
        notes.append(f"Left alone, since they are no dense tensors: {_listed(contents.other)}.")
    if contents.beside:
        notes.append(f"Not read, beside the files of {contents.format}: {_listed(contents.beside)}.")
    if not contents.tensors and not contents.broken:
        notes.append("There are no tensors.")
    return tuple(notes)


def _listed(names: Sequence[str]) -> str:
    """The first names of a list."""
    return ", ".join(names[:_MOST_NAMES]) + (
        f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    )


def _notes_on(judged: Sequence[AuditedTensor]) -> Iterator[str]:
    """What a reader should know of the verdicts."""
    unknown = [each.name for each in judged if is_of_unknown_spread(each.verdict)]
    if unknown:
        count = len(unknown)
        verbs = "has a spread" if count == 1 else "have spreads"
        yield (
            f"{count} {plural(count, 'tensor')} {verbs} that no known initializer gives there, such as {unknown[0]}. "
            "Give the model or a recipe to know whether that is intended."
        )


def _notes_on_seed(judged: Sequence[AuditedTensor], expected: Expectations, exact: Collection[str]) -> Iterator[str]:
    """That the seed may be another one, if nearly all that is drawn has other bits, and the right distribution."""
    if expected.seed is None:
        return
    drawn = [each for each in judged if expected.of(each.name).is_drawn]
    fitting = sum(
        each.verdict.kind == "consistent" and each.dtype == expected.of(each.name).dtype_name for each in drawn
    )
    total = len(drawn) + sum(expected.of(name).is_drawn for name in exact)
    if fitting and fitting >= _NEARLY_ALL * total:
        verbs = "fits its distribution and has" if total == 1 else "fit their distributions and have"
        yield (
            f"{fitting} of {total} drawn {plural(total, 'tensor')} {verbs} other bits than those of seed "
            f"{expected.seed}: was another seed used? --seed gives it."
        )


# ---------------------------------------------------------------- what the tensors should be


def _expectations(
    target: Any, contents: Contents, recipe: Any, model: Any, seed: int | None, under: str
) -> Expectations:
    """What says what the tensors should be: the best that there is."""
    is_path = isinstance(target, (str, os.PathLike))
    if seed is not None and not isinstance(recipe, (str, Recipe)):
        raise ValueError(f"`seed` replaces that of a recipe. Received: seed={shown(seed)} without a recipe.")
    live = model if model is not None else target if is_model(target) else None
    if recipe is not None:
        plan = _plan(recipe, seed, described_contents(contents) if live is None else live)
        return Expectations.of_plan(plan, "the recipe", under=under, is_seeded=True)
    if live is not None:
        return Expectations.of_model(live, under=under)
    if is_path and has_manifest(target):
        return Expectations.of_manifest(read_manifest(manifest_path(target)))
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
        self._roles = _roles(contents, expected)
        self._sketches: list[Sketch] = []
        self._beginnings: list[Beginning] = []
        self._fingerprints: dict[str, bytes] = {}
        self._lawless: dict[str, tuple[Role, Statistics]] = {}  # of which no law is expected
        self._tied: dict[str, list[str]] = {}  # further names, by the first
        for other, first in contents.ties.items():
            self._tied.setdefault(first, []).append(other)

    def audited(self, chosen: Sequence[Stored], advance: Callable[[int], None]) -> tuple[AuditedTensor, ...]:
        """The verdict on each tensor."""
        found: dict[str, AuditedTensor] = {}
        for stored, statistics in measured(chosen, advance=advance):
            found[stored.name] = self._one(stored, statistics)
        found |= self._reconciled(found)
        problems = self._among(found)
        return tuple(
            replace(each, verdict=each.verdict.with_problems(problems.get(name, ()))) for name, each in found.items()
        )

    def _one(self, stored: Stored, statistics: Statistics | CheckpointError | OSError) -> AuditedTensor:
        """What a tensor is by itself."""
        name, role, expectation = stored.name, self._roles[stored.name], self._expected.of(stored.name)
        made = partial(
            AuditedTensor,
            name=name,
            shape=stored.shape,
            dtype=stored.dtype_name if stored.dtype is None else stored.dtype.name,
            role=role.role,
            layer="" if expectation.parameter is None else expectation.parameter.layer,
            expected="" if expectation.entry is None else expectation.entry.description,
            tied=tuple(self._tied.get(name, ())),
        )
        if isinstance(statistics, Exception):
            unreadable = Problem("unreadable", "broken", f"It cannot be read: {statistics}")
            return made(expected_stddev=None, statistics=None, verdict=Verdict.of((unreadable,)))
        law = None if stored.dtype is None else expectation.law(stored.dtype)
        kept = replace(statistics, sample=statistics.sample[:: max(1, len(statistics.sample) // _KEPT)].copy())
        self._fingerprints[name] = statistics.fingerprint
        sketch = None if allowed_of(role, law).repeated else Sketch.of(stored, statistics)
        if sketch is not None:
            self._sketches.append(sketch)
            self._beginnings += filter(None, [Beginning.of(stored)])
        if law is None:
            self._lawless[name] = role, kept
        verdict = self._verdict(stored, statistics, role, expectation, law)
        shown = law_of(statistics, role, verdict) if law is None else law
        return made(
            expected_stddev=None if law is None else law.stddev,
            statistics=kept,
            verdict=verdict,
            law=None if shown is None else shown.without_values,
            ordered=Ordered.of(statistics.ordered[np.isfinite(statistics.ordered)]),
        )

    def _verdict(
        self, stored: Stored, statistics: Statistics, role: Role, expectation: Expectation, law: Law | None
    ) -> Verdict:
        entry, seed = expectation.entry, self._expected.seed
        misfit = expectation.misfit(stored)
        if misfit:
            return Verdict.of((Problem("shape", "broken", misfit),))
        if stored.dtype is None:
            return Verdict("unjudged", f"Its dtype, {stored.dtype_name}, is not known.")
        if seed is not None and entry is not None and entry.covers and is_exact(entry, stored):
            return Verdict("exact", f"Every bit is that of {entry.description}, seed {seed}.", (entry.description,))
        if found := damage(statistics, stored.shape, stored.dtype, allowed_of(role, law)):
            return Verdict.of(found)
        verdict = judge(statistics, role, law)
        if verdict.problems or law is None:
            return verdict
        parts = expectation.laws(stored.dtype)
        if len({part for _, part in parts}) > 1:  # unlike those of the layers of a stack
            verdict = self._by_parts(verdict, stored, role, parts)
        wrong = [
            Problem("distribution", "suspicious", f"{_where(box, stored.shape)}{each}")
            for box, each in expectation.failures(stored, parts, rounded_to(statistics, stored.dtype))
        ]
        return verdict.with_problems(wrong)

    def _by_parts(self, verdict: Verdict, stored: Stored, role: Role, parts: Sequence[tuple[Box, Law]]) -> Verdict:
        """The verdict on a tensor that is right as a whole, of whose parts each has its own law."""
        problems = []
        for box, law in parts:
            shape = tuple(stop - start for start, stop in box)
            found = judge(measure(stored, box), replace(role, shape=shape), law)
            where = _where(box, stored.shape)
            problems += [replace(each, message=f"{where}{each.message}") for each in found.problems]
        return verdict.with_problems(problems)

    def _reconciled(self, found: Mapping[str, AuditedTensor]) -> dict[str, AuditedTensor]:
        """The verdicts in the light of one another: in a trained checkpoint, what training explains is not wrong."""
        judged = {name: (self._roles[name], each.verdict) for name, each in found.items()}
        verdicts = reconciled(judged, among_siblings(self._lawless))
        return {name: replace(found[name], verdict=verdict) for name, verdict in verdicts.items()}

    def _among(self, found: Mapping[str, AuditedTensor]) -> dict[str, list[Problem]]:
        """What is wrong with tensors beside one another. Those of a model that was trained do correlate."""
        ties = self._expected.ties(name for name in self._contents.tensors if name not in self._contents.ties)
        drawn = not is_trained({name: (self._roles[name], each.verdict) for name, each in found.items()})
        related = unrelated(duplicates(self._sketches, ties), correlated(self._sketches, ties) if drawn else ())
        problems = {name: list(each) for name, each in related.items()}
        known = {*problems, *(name for tie in ties for name in tie)}
        begun = of_one_seed(self._beginnings, known) if drawn else ()
        for name, problem in (*begun, *self._untied(ties)):
            problems.setdefault(name, []).append(problem)
        return problems

    def _untied(self, ties: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Problem]]:
        """The tensors that should have the values of others, and do not."""
        for tied, copy_of in ties:
            name, other = (tied, copy_of) if tied in self._fingerprints else (copy_of, tied)
            is_known = name in self._fingerprints and other in self._contents.tensors
            if is_known and not self._are_equal(name, other):
                message = f"It should have the values of {other}, and has others."
                advice = "Tie them again, as the model's code does (tie_weights in transformers)."
                yield name, Problem("untied", "suspicious", message, advice)

    def _are_equal(self, name: str, other: str) -> bool:
        """Whether two tensors have equal values, or one of them cannot be read."""
        both = [self._contents.tensors[each] for each in (name, other)]
        if other in self._fingerprints and both[0].dtype == both[1].dtype:
            return self._fingerprints[name] == self._fingerprints[other]
        try:
            return len({hash_of(Subject.of(each), by_value=True) for each in both}) == 1
        except (CheckpointError, OSError):
            return True


def _with_spectra(
    judged: Sequence[AuditedTensor], contents: Contents, expected: Expectations
) -> tuple[AuditedTensor, ...]:
    """The tensors with the singular values of those that are worth a look, and why the others have none."""
    matrices = [each for each in judged if len(each.shape) > 1]
    wanted = {each.name for each in charts.featured(matrices, MOST_TENSORS)}
    left = f"Singular values are computed of {MOST_TENSORS} tensors: findings, and one of each group of alike ones."
    found = []
    for each in judged:
        spectrum: Any = left if len(each.shape) > 1 else "It is no matrix."
        if each.name in wanted:
            axes = expected.of(each.name).kernel_axes
            spectrum = measured_spectrum(
                contents.tensors[each.name], axes, is_orthogonal=charts.is_orthogonal(each.law)
            )
        found.append(replace(each, spectrum=spectrum))
    return tuple(found)


def _roles(contents: Contents, expected: Expectations) -> dict[str, Role]:
    """The role of each tensor: what its layer says, or else its name and shape."""
    named = roles_of({name: (each.shape, each.dtype) for name, each in contents.tensors.items()})
    roles = {}
    for name, role in named.items():
        parameter = expected.of(name).parameter
        known = parameter is not None and parameter.shape == role.shape
        roles[name] = Role.of(parameter, role) if known and parameter is not None else role
    return roles


def _where(box: Box, shape: Shape) -> str:
    """The beginning of what is said of a box of a tensor; "" for all of it."""
    if box == tuple((0, length) for length in shape):
        return ""
    return f"In [{', '.join(f'{start}:{stop}' for start, stop in box)}]: "
