"""The pipeline: while one thread draws into a buffer, others write and digest those that are full."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from fanin._core.types import Array
from fanin.checkpoints.drawing import Segment, drawn, new_buffer
from fanin.recipes.entry import Entry

_BUFFERS = 3  # one that is drawn into, and two that wait or are written
Job = Callable[[Sequence[Segment]], None]


class Digests:
    """The SHA-256 of each of several tensors, of bytes that come in order."""

    def __init__(self) -> None:
        self._current = hashlib.sha256()
        self.done: list[str] = []

    def update(self, segments: Iterable[Segment]) -> None:
        """Takes the next bytes."""
        for each in segments:
            self._current.update(each.data)
            if each.is_last:
                self.done.append(self._current.hexdigest())
                self._current = hashlib.sha256()


class Pipeline:
    """Draws tensors, and gives the bytes to jobs, each of which has a thread of its own.

    Whatever a job raises is raised by the next call, or when the `with` statement ends.

    Args:
        jobs: how many jobs there are at a time.
    """

    def __init__(self, jobs: int) -> None:
        self._threads = [ThreadPoolExecutor(1) for _ in range(jobs)]
        self._free: list[Array] = []
        self._made = 0
        self._busy: deque[tuple[Array, list[Future[None]]]] = deque()
        self._last: deque[Future[None]] = deque()

    def run(self, entries: Iterable[Entry], *jobs: Job) -> None:
        """Draws the tensors of entries, and has the jobs do their work on each part of their bytes, in order."""
        for segments in drawn(entries, self._take):
            futures = [thread.submit(job, segments) for thread, job in zip(self._threads, jobs, strict=True)]
            self._busy.append((self._current, futures))

    def then(self, finish: Callable[[], Any], after: int = 0) -> None:
        """Has a function called in the first job's thread, when all jobs are done with what was drawn so far."""
        waiting = [each for _, futures in self._busy for each in futures]

        def run() -> None:
            for each in waiting:
                each.result()
            finish()

        self._last.append(self._threads[0].submit(run))

    def _take(self) -> Array:
        """A buffer that no job needs any more."""
        while self._last and self._last[0].done():
            self._last.popleft().result()
        if self._made < _BUFFERS:
            self._made += 1
            self._current = new_buffer()
        else:
            self._current, futures = self._busy.popleft()
            for each in futures:
                each.result()
        return self._current

    def wait(self) -> None:
        """Waits until all jobs are done."""
        for future in [*(each for _, futures in self._busy for each in futures), *self._last]:
            future.result()
        self._last.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.wait()
        finally:
            for each in self._threads:
                each.shutdown(cancel_futures=True)
