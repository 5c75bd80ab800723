"""Progress of long work: a bar on terminals, events for programs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

# Whether to show a bar (None: for long work on a terminal), or a function that is given events, as data for JSON.
Progress: TypeAlias = "bool | Callable[[dict[str, Any]], None] | None"
_LONG = 2**28  # bytes; less is done before a bar is noticed
_SECONDS = 1.0  # between two events


@contextmanager
def watched(total: int, progress: Progress, words: str) -> Iterator[Callable[[int], None]]:
    """Shows the progress of work within the block, by a function that is told of each part that is done.

    Args:
        total: the number of bytes of all the work.
        progress: a function that is given `{"event": "progress", "done": …, "total": …, "seconds": …}` about once a
            second, whether to show a bar, or None for a bar if the work is long and there is a terminal.
        words: what the bar is called.
    """
    if callable(progress):
        yield _reporter(total, progress)
        return
    if progress is None:
        progress = total >= _LONG and sys.stderr is not None and sys.stderr.isatty()
    try:
        if not progress:
            raise ModuleNotFoundError
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
        from rich.progress import Progress as Bar
    except ModuleNotFoundError:
        yield lambda _: None
        return
    columns = (
        TextColumn(words),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(words, total=total)
        yield lambda count: bar.advance(task, count)


def _reporter(total: int, report: Callable[[dict[str, Any]], None]) -> Callable[[int], None]:
    begin = time.perf_counter()
    done, last = 0, begin

    def advance(count: int) -> None:
        nonlocal done, last
        done += count
        now = time.perf_counter()
        if now - last >= _SECONDS:
            last = now
            report({"event": "progress", "done": done, "total": total, "seconds": round(now - begin, 3)})

    return advance
