"""What one pass over a tensor finds, in bounded memory."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np

from fanin._core.messages import shown, visible
from fanin._core.settings import config
from fanin._core.types import Array
from fanin.audits.measuring.lines import Lines, LineSums, dispersion, ranges
from fanin.audits.measuring.repeats import repeated
from fanin.audits.measuring.sampling import distinct, in_order, positions
from fanin.audits.measuring.subjects import Subject
from fanin.audits.measuring.sums import Sums, sums_of
from fanin.checkpoints.files import CheckpointError
from fanin.checkpoints.stored import Stored
from fanin.recipes.entry import Box

Advance = Callable[[int], object]

_SPARE = 4  # parts that keep the threads busy while the caller looks at a result


@dataclass(frozen=True)
class Statistics:
    """What one pass over a tensor, or a box of it, finds.

    Numbers are of the finite elements, in float64. Complex elements count as two numbers each.

    Attributes:
        size: the number of elements.
        nans, infinities, zeros, subnormals: how many numbers are that.
        mean, stddev, kurtosis: the moments; NaN without elements, and the kurtosis of equal elements is NaN.
        low, high: the smallest and the largest number; NaN without elements.
        at_low, at_high: how many numbers are that.
        sample: evenly spread numbers in the order of their index, as float64, at most 2**16 of them; all of a smaller
            tensor. Where they lie depends on the size alone. NaN and infinities among them stay.
        distinct: how many different values the sample has; all NaN count as one.
        grids: narrower dtypes that hold every number exactly, such as ("bfloat16",) of a float32 tensor, the finest
            first; of complex tensors, the parts' dtypes.
        lines: rows along the first two and the last two axes, of tensors of two axes or more. Axes are left out if the
            tensor, as a matrix, has more than 2**21 rows or columns.
        fingerprint: equal for tensors of equal bytes in C order and equal size of elements, and different for nearly
            all others.
    """

    size: int
    nans: int
    infinities: int
    zeros: int
    subnormals: int
    mean: float
    stddev: float
    kurtosis: float
    low: float
    high: float
    at_low: int
    at_high: int
    sample: Array
    distinct: int
    grids: tuple[str, ...]
    lines: tuple[Lines, ...]
    fingerprint: bytes

    @cached_property
    def ordered(self) -> Array:
        """The numbers of the sample that are no NaN, in ascending order."""
        return np.sort(self.sample[~np.isnan(self.sample)])


Result: TypeAlias = tuple[Stored, Statistics | CheckpointError | OSError]


def _no_progress(nbytes: int) -> None:
    """Tells nobody."""


def measure(stored: Stored, box: Box | None = None, advance: Advance = _no_progress) -> Statistics:
    """Measures a tensor, or a box of it, in one pass and a few MiB of memory.

    Tensors that have lines with equal hashes are read once more, to compare them.

    Args:
        stored: the tensor.
        box: (start, stop) along each axis; None for all of the tensor.
        advance: called with the number of bytes that have been measured since the last call.

    Raises:
        CheckpointError: the file is damaged, or the dtype is none of numbers.
        OSError: the file cannot be read.

    >>> import numpy as np
    >>> from fanin.audits.arrays import InMemory
    >>> from fanin.audits.statistics import measure
    >>> found = measure(InMemory("w", np.array([[1, 2], [0, 0]], "float32")))
    >>> found.mean, found.zeros, found.lines[0].dead
    (0.75, 2, ((1, 2),))
    """
    subject = Subject.of(stored, box)
    total = Sums.empty(subject.halves, subject.elements, subject.shape)
    for starts, part in subject.parts():
        total.add(sums_of(total, starts, part), starts, part.shape)
        advance(part.nbytes)
    return _finished(subject, total)


def measured(
    tensors: Iterable[Stored], threads: int | None = None, advance: Advance = _no_progress
) -> Iterator[Result]:
    """Measures tensors with several threads, of which each measures parts of a few MiB.

    The results do not depend on the number of threads, and are those of `measure`, bit for bit.

    Args:
        tensors: the tensors.
        threads: how many threads measure; None for `fanin.config.threads`. The caller's own thread reads.
        advance: called with the number of bytes that have been measured since the last call, in the caller's thread.

    Yields:
        Each tensor, in order, with its statistics or the error with which its file cannot be read.

    >>> import numpy as np
    >>> from fanin.audits.arrays import InMemory
    >>> from fanin.audits.statistics import measured
    >>> [(each.name, found.mean) for each, found in measured([InMemory("a", np.ones(3)), InMemory("b", np.arange(4))])]
    [('a', 1.0), ('b', 1.5)]
    """
    threads = config.threads if threads is None else threads
    with ThreadPoolExecutor(threads) as pool:
        crew = _Crew(pool, threads, advance)
        try:
            for stored in tensors:
                crew.begin(stored)
                while len(crew.finishing) > 2 * threads or (crew.finishing and crew.finishing[0].done()):
                    yield crew.next_result()
            crew.settle(0)
            while crew.finishing:
                yield crew.next_result()
        finally:
            pool.shutdown(cancel_futures=True)


@dataclass
class _Job:
    """A tensor of which some parts are being measured.

    Attributes:
        stored: the tensor.
        subject: how it is measured; None if it cannot be.
        total: the sums of the parts so far.
        error: why it cannot be read.
    """

    stored: Stored
    subject: Subject | None = None
    total: Sums | None = None
    error: CheckpointError | OSError | None = None


@dataclass
class _Step:
    """A part that is being measured; without one, the end of a tensor."""

    job: _Job
    starts: tuple[int, ...] = ()
    part: Array | None = None
    sums: Future[Sums] | None = None


class _Crew:
    """Threads that measure parts, whose sums are added up in the order of the parts.

    Attributes:
        finishing: the statistics of the tensors whose parts have all been measured.
    """

    def __init__(self, pool: ThreadPoolExecutor, threads: int, advance: Advance) -> None:
        self.finishing: deque[Future[Result]] = deque()
        self._pool, self._most, self._advance = pool, 2 * threads + _SPARE, advance
        self._steps: deque[_Step] = deque()

    def begin(self, stored: Stored) -> None:
        """Has the parts of a tensor measured."""
        job = _Job(stored)
        try:
            job.subject = subject = Subject.of(stored)
            job.total = total = Sums.empty(subject.halves, subject.elements, subject.shape)
            for starts, part in subject.parts():
                sums = self._pool.submit(sums_of, total, starts, part)
                self._steps.append(_Step(job, starts, part, sums))
                self.settle(self._most)
        except (CheckpointError, OSError) as error:
            job.error = error
        self._steps.append(_Step(job))
        self.settle(self._most)

    def settle(self, most: int) -> None:
        """Waits until no more than some steps are left."""
        while len(self._steps) > most:
            step = self._steps.popleft()
            if step.sums is None or step.part is None:
                self.finishing.append(self._pool.submit(_result, step.job))
            else:
                assert step.job.total is not None
                step.job.total.add(step.sums.result(), step.starts, step.part.shape)
                self._advance(step.part.nbytes)

    def next_result(self) -> Result:
        """The result of the first tensor whose result has not been returned."""
        return self.finishing.popleft().result()


def _result(job: _Job) -> Result:
    """What has been found of a tensor."""
    if job.error is not None or job.subject is None or job.total is None:
        return job.stored, job.error or CheckpointError("Nothing was read.")
    try:
        return job.stored, _finished(job.subject, job.total)
    except (CheckpointError, OSError) as error:
        return job.stored, error


@np.errstate(all="ignore")
def _finished(subject: Subject, total: Sums) -> Statistics:
    """The statistics that the sums of all parts make."""
    if total.size != math.prod(subject.shape):
        raise CheckpointError(
            f"{shown(subject.stored.name)} has {math.prod(subject.shape)} elements, and {visible(subject.stored.file)} "
            f"has {total.size} of them."
        )
    sample = np.empty(len(positions(total.size * subject.elements.numbers)))
    for places, numbers in total.sample:
        sample[places] = numbers
    ordered = in_order(sample, subject.elements)
    moments, is_constant = total.moments, total.low == total.high
    found = Statistics(
        size=total.size,
        nans=total.nans,
        infinities=total.infinities,
        zeros=total.zeros,
        subnormals=total.subnormals,
        mean=total.low if is_constant else moments.true_mean if moments.count else math.nan,
        stddev=0.0 if is_constant else moments.stddev,
        kurtosis=math.nan if is_constant else moments.kurtosis,
        low=total.low if moments.count else math.nan,
        high=total.high if moments.count else math.nan,
        at_low=total.at_low,
        at_high=total.at_high,
        sample=sample,
        distinct=distinct(ordered) + (len(ordered) < len(sample)),
        grids=total.grids if moments.count else (),
        lines=tuple(_lines(subject, total, axis, is_constant) for axis in subject.halves.axes if total.size),
        fingerprint=total.fingerprint.to_bytes(8, "little"),
    )
    vars(found)["ordered"] = ordered  # where the property keeps it: elements of narrow dtypes are faster to sort
    return found


def _lines(subject: Subject, total: Sums, axis: int, is_constant: bool) -> Lines:
    """What there is to say of the lines along an axis."""
    halves, words = subject.halves, subject.elements.words
    assert total.rows is not None
    assert total.columns is not None
    sums: LineSums
    if axis < halves.split:
        sums = total.rows.along(axis, words, math.prod(halves.shape[halves.split :]))
    else:
        sums = total.columns.along(axis - halves.split, words, 1)
    count = halves.shape[axis]
    length = total.size // count
    spread, error = math.nan, math.nan
    if not total.nans and not total.infinities and not is_constant:
        spread, error = dispersion(sums.squares, length, float(sums.squares.sum()), total.fourth)
    return Lines(
        axis,
        count,
        length,
        dead=ranges(~sums.alive) if sums.alive.any() else (),
        repeated=() if is_constant and not total.nans else repeated(subject, axis, sums),
        dispersion=spread,
        dispersion_error=error,
    )
