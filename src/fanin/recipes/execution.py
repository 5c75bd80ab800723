"""The execution of a plan, in any framework: its options, the iteration over its entries, and the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from html import escape
from typing import Protocol

from fanin import _native
from fanin._core.messages import plural, readable, visible, warn
from fanin._core.types import Globs, Unmatched
from fanin.models.names import Names, selector, stripped
from fanin.models.parameters import Model, Parameter
from fanin.recipes.entry import RECORDED, Entry
from fanin.recipes.plan import Plan
from fanin.recipes.progress import watched
from fanin.recipes.tables import folded_lines, folded_paths, short_lines

# What an exception says that ends the work.
_NOTE = (
    "fanin: `initialize` ended while it made {}, which may be partly written. Every other parameter has its old or its "
    "new values, and a second call completes the work."
)


@dataclass(frozen=True)
class Options:
    """The options of every `initialize`, besides the model and the recipe.

    Attributes:
        only: a glob of paths (such as `encoder.*.kernel`, in which / may replace dots), or several. Other parameters
            stay as they are.
        skip: a glob of paths, or several. Parameters that match stay as they are.
        names: the names that parameters are drawn under, as for `Recipe.plan`.
        unmatched: "error", or "keep" to leave parameters that no rule matches as they are.
        progress: whether to show a progress bar; None shows one for long work on a terminal, if rich is installed.
        prefix: the model's path, if it is a part of a larger model, such as `encoder.layers.3`. It comes before all
            paths, so that the part has the values that it has in the whole.
    """

    only: Globs | None = None
    skip: Globs | None = None
    names: Names = None
    unmatched: Unmatched = "error"
    progress: bool | None = None
    prefix: str | None = None

    def placed(self, path: str) -> str:
        """The path of the model's parameter, or of the model itself for "", with the prefix before it.

        Raises:
            TypeError: the prefix is not a path.
        """
        if self.prefix is not None and not isinstance(self.prefix, str):
            raise TypeError(f"`prefix` must be a path. Received: prefix={self.prefix!r}.")
        prefix = stripped((self.prefix or "").strip("./"))
        return f"{prefix}.{path}" if prefix and path else prefix or path


@dataclass(frozen=True)
class Report:
    """The report of what an `initialize` did.

    Attributes:
        plan: the plan of the chosen parameters; its entries say what each of them got.
        seconds: the time that it took.
        filled: the paths of the parameters that have new values.
        kept: the paths of those that stayed as they were, with the reason.
        buffers: the paths of restored buffers and frozen tables, and of tensors that were computed from drawn ones, and
            how each got its values.
        waiting: the layers that are not built yet, and get their values when they are.
        empty: the paths of tensors that have no values after the call, or may have none, with the reason.
    """

    plan: Plan
    seconds: float = 0.0
    filled: tuple[str, ...] = ()
    kept: Mapping[str, str] = field(default_factory=dict)
    buffers: Mapping[str, str] = field(default_factory=dict)
    waiting: tuple[str, ...] = ()
    empty: Mapping[str, str] = field(default_factory=dict)

    @property
    def frozen(self) -> tuple[str, ...]:
        """The paths of the parameters that rules have given new values although they are frozen."""
        frozen = {each.path for each in self.plan.entries if not each.parameter.trainable and each.rule != RECORDED}
        return tuple(path for path in self.filled if path in frozen)

    @property
    def computed(self) -> dict[str, str]:
        """The parameters that have values that the model's own code computes, and how, by path."""
        filled = set(self.filled)
        own = [each for each in self.plan.entries if each.path in filled and each.is_computed]
        return {each.path: each.description for each in own}

    @property
    def copied(self) -> dict[str, str]:
        """The parameters that have the values of another one, as the model's own code copies them, by path."""
        filled = set(self.filled)
        entries = {each.path: each for each in self.plan.entries if each.path in filled}
        return {
            path: f"the values of {each.copy_of}"
            if each.copy_of in entries and each.has_values_of(entries[each.copy_of])
            else f"those that {each.copy_of} has where its own code initializes it"
            for path, each in entries.items()
            if each.copy_of
        }

    @property
    def nbytes(self) -> int:
        """The size of the parameters that have new values, in bytes."""
        filled = set(self.filled)
        return sum(entry.parameter.nbytes for entry in self.plan.entries if entry.path in filled)

    @property
    def _count(self) -> str:
        return f"{len(self.filled)} {plural(len(self.filled), 'parameter')}"

    @property
    def _summary(self) -> str:
        return (
            f"{visible(self.plan.model.name)}: {self._count} initialized ({readable(self.nbytes)}) in "
            f"{self.seconds:.3g} s, seed {self.plan.seed}"
        )

    def _details(self) -> Iterator[str]:
        yield from (f"used by no parameter: {rule}" for rule in map(visible, self.plan.unmet))
        yield from (f"kept: {path} ({reason})" for path, reason in short_lines(self.kept))
        yield from (f"restored: {path} ({how})" for path, how in folded_lines(self.buffers))
        yield from (f"computed by the model's own code: {path} ({how})" for path, how in folded_lines(self.computed))
        yield from (f"copied: {path} ({how})" for path, how in folded_lines(self.copied))
        yield from (f"waiting to be built: {layer}" for layer, _ in folded_paths(dict.fromkeys(self.waiting)))
        yield from (f"initialized although frozen: {path}" for path, _ in short_lines(dict.fromkeys(self.frozen, "")))
        yield from (f"without values: {path} ({reason})" for path, reason in folded_lines(self.empty))

    def __str__(self) -> str:
        return "\n".join([self._summary, *self._details()])

    def __repr__(self) -> str:
        counts = {
            plural(len(self.plan.unmet), "unmet rule"): self.plan.unmet,
            "kept": self.kept,
            "restored": self.buffers,
            "waiting": self.waiting,
            "without values": self.empty,
        }
        more = "".join(f", {len(each)} {word}" for word, each in counts.items() if each)
        return f"<Report on {visible(self.plan.model.name)}: {self._count} initialized{more}>"

    def _repr_html_(self) -> str:
        """The report for notebooks, with collapsed details."""
        details = "<br>".join(escape(line) for line in self._details())
        folded = f"<details><summary>details</summary>{details}</details>" if details else ""
        return f"<div>{escape(self._summary)}{folded}</div>"


class Planning(Protocol):
    """What makes a plan of a model: a recipe, or the recording of a model's own code with a seed."""

    def plan(self, model: Model, *, names: Names = None) -> Plan:
        """The plan of what each parameter gets."""
        ...


def _chosen(plan: Plan, options: Options, there: Collection[str]) -> tuple[Plan, dict[str, str]]:
    """The plan of the chosen parameters, and why each of the others was not chosen, by path."""
    every = [path for entry in plan.entries for path in (entry.path, *entry.parameter.tied)]
    paths = every if plan.model.complete else None
    only, skip = options.only, options.skip
    wanted: Callable[[Parameter], bool] = (lambda _: True) if only is None else selector("only", only, paths)
    unwanted: Callable[[Parameter], bool] = (lambda _: False) if skip is None else selector("skip", skip, paths)
    passed = {}
    for entry in plan.entries:
        if not wanted(entry.parameter):
            passed[entry.path] = "not selected by `only`"
        elif unwanted(entry.parameter):
            passed[entry.path] = "selected by `skip`"
        elif entry.path in there:
            passed[entry.path] = "already loaded"
    return plan.chosen(lambda parameter: parameter.path not in passed), passed


class Execution:
    """The execution of a plan: it iterates over the entries and records what is done.

    Attributes:
        plan: the plan of the chosen parameters.
        passed: why each of the others was not chosen, by path.
        kept: the parameters that stay as they were, with the reason.
        buffers: the restored buffers, and how each was restored.
        empty: the tensors that have no values in the end, with the reason.
        progress: as in `Options`.
    """

    plan: Plan
    passed: dict[str, str]
    progress: bool | None

    def __init__(
        self,
        model: Model,
        recipe: Planning,
        options: Options,
        *,
        there: Collection[str] = (),
    ) -> None:
        """Plans the chosen parameters and checks the plan.

        Args:
            model: the model, as its framework describes it.
            recipe: the recipe, or what else makes a plan.
            options: the options of `initialize`.
            there: the paths of parameters that already have their values.

        Warns:
            UserWarning: a rule that sets a scale for certain names is used by no parameter of the model.

        Raises:
            PlanError: the recipe does not fit the model.
            ValueError: a glob matches nothing in a complete model.
        """
        plan = recipe.plan(model.placed(options.placed("")), names=options.names)
        self.plan, self.passed = _chosen(plan, options, there)
        self.plan.check(options.unmatched)
        if plan.warning:
            warn(plan.warning)
        self.progress = options.progress
        self.kept: dict[str, str] = dict(self.passed)
        self.buffers: dict[str, str] = {}
        self.empty: dict[str, str] = {}
        self._filled: list[str] = []
        self._begin = time.perf_counter()

    def entries(self) -> Generator[Entry, None, None]:
        """The entries that need values. An entry counts as filled when the next one is requested."""
        with watched(self.plan.nbytes, self.progress, "initialize") as advance:
            for entry in self.plan.entries:
                if entry.kept or not entry.placements:
                    self.kept[entry.path] = entry.rule or "no rule matches it"
                else:
                    yield entry
                    self._filled.append(entry.path)
                advance(entry.parameter.nbytes)

    def run(self, fill: Callable[[Entry], None]) -> None:
        """Calls a function for each entry that needs values. If it raises, the exception has a note of the entry.

        Args:
            fill: a function that gives a parameter its values.
        """
        at_work: list[str] = []

        def run() -> None:
            with closing(self.entries()) as entries:  # so that the bar is gone before anyone sees the exception
                for entry in entries:
                    at_work[:] = [_NOTE.format(visible(entry.path))]
                    fill(entry)
                    at_work.clear()

        _native.noted(at_work, run)

    def report(self, waiting: tuple[str, ...] = ()) -> Report:
        """The report of what has been done so far."""
        seconds = time.perf_counter() - self._begin
        filled, kept, buffers = tuple(self._filled), dict(self.kept), dict(self.buffers)
        return Report(self.plan, seconds, filled, kept, buffers, waiting, dict(self.empty))
