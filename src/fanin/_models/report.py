"""What an `initialize` has done, and its progress while it does."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fanin._parameters import selector
from fanin._words import readable
from fanin.plans import Entry, Plan

_LONG = 2**28  # bytes; less is done before a bar is seen


@dataclass(frozen=True)
class Report:
    """What has been initialized.

    Attributes:
        plan: the plan of what was chosen; its entries say how each parameter was made.
        seconds: how long it took.
        filled: paths of the parameters that have new values.
        kept: paths of those that stayed as they were, with the reason.
        buffers: paths of buffers that were restored, with how.
        waiting: layers that are not built yet, and get their values when they are.
    """

    plan: Plan
    seconds: float = 0.0
    filled: tuple[str, ...] = ()
    kept: Mapping[str, str] = field(default_factory=dict)
    buffers: Mapping[str, str] = field(default_factory=dict)
    waiting: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        """The size of what has new values."""
        filled = set(self.filled)
        return sum(entry.parameter.nbytes for entry in self.plan.entries if entry.path in filled)

    def __str__(self) -> str:
        lines = [
            f"{self.plan.found.model}: {len(self.filled)} parameters initialized ({readable(self.nbytes)}) in "
            f"{self.seconds:.3g} s, seed {self.plan.seed}"
        ]
        lines += [f"kept: {path} ({reason})" for path, reason in self.kept.items()]
        lines += [f"restored: {path} ({how})" for path, how in self.buffers.items()]
        return "\n".join(lines + [f"when it is built: {layer}" for layer in self.waiting])


def chosen(
    plan: Plan, only: Any, skip: Any, *, there: Collection[str] = (), complete: bool = True
) -> tuple[Plan, dict[str, str]]:
    """The plan of what was asked for, and why the rest was not, by path.

    Args:
        plan: the plan of all.
        only: globs of the paths that are wanted, or None for all.
        skip: globs of those that are not.
        there: paths of what has its values already.
        complete: whether the plan has all that there will be, so that a pattern must match something in it.
    """
    paths = [path for entry in plan.entries for path in (entry.path, *entry.parameter.tied)] if complete else None
    wanted = (lambda _: True) if only is None else selector("only", only, paths)
    unwanted = (lambda _: False) if skip is None else selector("skip", skip, paths)
    passed = {}
    for entry in plan.entries:
        if not wanted(entry.parameter):
            passed[entry.path] = "not among `only`"
        elif unwanted(entry.parameter):
            passed[entry.path] = "among `skip`"
        elif entry.path in there:
            passed[entry.path] = "not missing"
    return plan.chosen(lambda parameter: parameter.path not in passed), passed


class Execution:
    """Goes through a plan's entries with a bar for long work, and remembers what was done.

    Args:
        plan: what is to be done.
        progress: whether to show a bar; None shows one for long work on a terminal, if rich is installed.
    """

    def __init__(self, plan: Plan, progress: bool | None) -> None:
        self.plan, self.progress = plan, progress
        self.filled: list[str] = []
        self.kept: dict[str, str] = {}
        self.buffers: dict[str, str] = {}
        self._begin = time.perf_counter()

    def entries(self) -> Iterator[Entry]:
        """The entries that something is drawn for; one counts as filled when the next is asked for."""
        with _bar(self.plan.nbytes, self.progress) as advance:
            for entry in self.plan.entries:
                if entry.kept or not entry.draws:
                    self.kept[entry.path] = entry.rule or "no rule matches it"
                else:
                    yield entry
                    self.filled.append(entry.path)
                advance(entry.parameter.nbytes)

    def report(self) -> Report:
        """What has been done so far."""
        seconds = time.perf_counter() - self._begin
        return Report(self.plan, seconds, tuple(self.filled), dict(self.kept), dict(self.buffers))


@contextmanager
def _bar(total: int, wanted: bool | None) -> Iterator[Any]:
    if wanted is None:
        wanted = total >= _LONG and sys.stderr is not None and sys.stderr.isatty()
    try:
        if not wanted:
            raise ModuleNotFoundError
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
    except ModuleNotFoundError:
        yield lambda _: None
        return
    columns = (TextColumn("initialize"), BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("initialize", total=total)
        yield lambda count: bar.advance(task, count)
