"""How many threads are of use to this process: what the operating system, its containers and OpenMP let it have."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from fanin._core.messages import shown, warn

_VARIABLE = "OMP_NUM_THREADS"
_LIST = re.compile(r"\+?0*[1-9][0-9]*(\s*,\s*\+?0*[1-9][0-9]*)*", re.ASCII)  # one for each level of nesting
_MOST = 1 << 16


def available_threads() -> int:
    """The cores that this process may use, but no more than `OMP_NUM_THREADS`, which `torchrun` sets to 1.

    Warns:
        UserWarning: the variable is set to something that is no number of threads; it is ignored then, as by OpenMP.
    """
    return min([available_cores(), *_openmp_threads()])


def available_cores(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """The cores that the affinity lets this process run on, or those that its quota of time is worth, if it is less.

    Args:
        root: the folder of the control groups.
        own: the file that says which groups the process belongs to.
    """
    return max(1, min([_affinity(), *_quotas(root, own), _MOST]))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(root: Path, own: Path) -> Iterator[int]:
    """The cores that each group of the process may use at once, rounded up, for those that have a quota."""
    for line in _text(own).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = next((root / name for name in (controllers, "cpu") if (root / name).is_dir()), root)
        # Within a container, the path may be the host's, which is not there: its end is then the root of the container.
        parts = [part for part in path.split("/") if part not in ("", ".", "..")]
        for length in range(len(parts), -1, -1):
            yield from _quota(base.joinpath(*parts[:length]))


def _quota(group: Path) -> Iterator[int]:
    """The quota of one group by its period: in one file (version 2), or in two (version 1)."""
    given = _text(group / "cpu.max").split() or [
        *_text(group / "cpu.cfs_quota_us").split(),
        *_text(group / "cpu.cfs_period_us").split(),
    ]
    # A group without a quota has "max" in its place, or -1.
    if len(given) == 2 and all(number.isdecimal() for number in given):
        quota, period = map(int, given)
        if quota and period:
            yield -(-quota // period)


def _openmp_threads() -> Iterator[int]:
    """The number of threads that OpenMP is told to use, of a list its first; none if the variable is not set."""
    given = os.environ.get(_VARIABLE, "").strip()
    if not given:
        return
    if _LIST.fullmatch(given):
        yield int(given.partition(",")[0])
    else:
        warn(f"{_VARIABLE} must be a number of threads, or a list of such. Received: {_VARIABLE}={shown(given)}.")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
