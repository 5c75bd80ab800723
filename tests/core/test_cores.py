"""How many threads fanin uses by default, in processes of their own and with control groups made of files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fanin._core.cores import available_cores

CORES = len(os.sched_getaffinity(0))


def threads(before: str = "", after: str = "", **environment: str) -> list[str]:
    """What a new process prints as its threads, and the warnings."""
    code = f"import os, fanin\n{before}\nprint(fanin.config.threads)\n{after}"
    cleaned = {name: value for name, value in os.environ.items() if not name.startswith(("FANIN_", "OMP_"))}
    run = subprocess.run(
        [sys.executable, "-c", code], env={**cleaned, **environment}, capture_output=True, text=True, check=True
    )
    return [*run.stdout.split(), *run.stderr.splitlines()]


def test_all_cores() -> None:
    """Without limits, each core is used."""
    assert threads() == [str(available_cores())]


def test_affinity() -> None:
    """A process that is bound to one core uses one thread, also if it binds itself after the import."""
    assert threads("os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])") == ["1"]


def test_it_is_found_out_once() -> None:
    """A change after the first use makes no difference."""
    change = "os.environ['OMP_NUM_THREADS'] = '1'; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])"
    assert threads(after=f"{change}; print(fanin.config.threads)") == [str(available_cores())] * 2


def test_a_forked_process_keeps_it() -> None:
    """The child of a process that has used fanin uses as many threads as its parent."""
    child = """
if not os.fork():
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    os._exit(fanin.config.threads)
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    assert threads(after=child) == [str(available_cores())] * 2


@pytest.mark.parametrize("given", ["1", " 1 ", "+1", "01", "1,4", "1 , 2,3"])
def test_openmp(given: str) -> None:
    """The variable limits the threads, by its first number."""
    assert threads(OMP_NUM_THREADS=given) == ["1"]


def test_openmp_does_not_add_cores() -> None:
    """A number above that of the cores changes nothing."""
    assert threads(OMP_NUM_THREADS="4096") == [str(available_cores())]
    assert threads("os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])", OMP_NUM_THREADS="4096") == ["1"]


@pytest.mark.parametrize("given", ["0", "-1", "two", "1.5", "1,", "1,0", "1;2", "٣"])
def test_openmp_in_error(given: str) -> None:
    """What is no list of positive numbers is ignored with a warning, as OpenMP ignores it."""
    count, warning, *_ = threads(OMP_NUM_THREADS=given)
    assert count == str(available_cores())
    assert "UserWarning: OMP_NUM_THREADS must be a number of threads, or a list of such. Received:" in warning


def test_openmp_without_a_value() -> None:
    """An empty variable is as good as none."""
    assert threads(OMP_NUM_THREADS="") == [str(available_cores())]


def test_fanin_over_all() -> None:
    """FANIN_NUM_THREADS counts, whatever else is set, and OMP_NUM_THREADS is not even read."""
    bound = "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])"
    assert threads(bound, FANIN_NUM_THREADS="3", OMP_NUM_THREADS="none") == ["3"]


def test_assigned_over_all() -> None:
    """So do an assignment and a block."""
    again = "fanin.config.threads = 5; print(fanin.config.threads)"
    assert threads("fanin.config.threads = 4", after=again, OMP_NUM_THREADS="1") == ["4", "5"]
    block = "with fanin.config.using(threads=6): print(fanin.config.threads)"
    assert threads(block, OMP_NUM_THREADS="1") == ["6", "1"]


# The files of a control group by their paths, the lines of /proc/self/cgroup, and the cores, of 64.
GROUPS: dict[str, tuple[dict[str, str], str, int]] = {
    "version 2": ({"a/cpu.max": "250000 100000"}, "0::/a", 3),
    "whole cores": ({"a/cpu.max": "200000 100000"}, "0::/a", 2),
    "less than a core": ({"a/cpu.max": "1000 100000"}, "0::/a", 1),
    "another period": ({"a/cpu.max": "50000 10000"}, "0::/a", 5),
    "no quota": ({"a/cpu.max": "max 100000"}, "0::/a", 64),
    "a quota for more cores than there are": ({"a/cpu.max": "9900000 100000"}, "0::/a", 64),
    "the quota of the group around": ({"a/cpu.max": "300000 100000", "a/b/c/cpu.max": "max 100000"}, "0::/a/b/c", 3),
    "the least of several": ({"cpu.max": "900000 100000", "a/cpu.max": "400000 100000"}, "0::/a/b", 4),
    "the root of a container": ({"cpu.max": "200000 100000"}, "0::/kubepods/pod1/abc", 2),
    "a group beside the container's root": ({"cpu.max": "200000 100000"}, "0::/../other", 2),
    "another process's group": ({"b/cpu.max": "200000 100000"}, "0::/a", 64),
    "version 1": (
        {"cpu,cpuacct/a/cpu.cfs_quota_us": "150000", "cpu,cpuacct/a/cpu.cfs_period_us": "100000"},
        "5:memory:/a\n4:cpu,cpuacct:/a\n0::/a",
        2,
    ),
    "version 1, by its link": (
        {"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"},
        "3:cpuacct,cpu:/docker/1\n1:name=systemd:/x",
        4,
    ),
    "version 1 without a quota": (
        {"cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "100000"},
        "3:cpu:/a",
        64,
    ),
    "version 1, around": (
        {
            "cpu/a/cpu.cfs_quota_us": "700000",
            "cpu/a/cpu.cfs_period_us": "100000",
            "cpu/a/b/cpu.cfs_quota_us": "-1",
            "cpu/a/b/cpu.cfs_period_us": "100000",
        },
        "3:cpu:/a/b",
        7,
    ),
    "the quota of another controller": (
        {"cpuset/a/cpu.cfs_quota_us": "100000", "cpuset/a/cpu.cfs_period_us": "100000"},
        "3:cpuset:/a",
        64,
    ),
    "nonsense": ({"a/cpu.max": "many of them"}, "0::/a\n:\n\nx", 64),
    "a period of nothing": ({"a/cpu.max": "100000 0"}, "0::/a", 64),
    "a path with a colon": ({"a:b/cpu.max": "100000 100000"}, "0::/a:b", 1),
}


@pytest.mark.parametrize("name", GROUPS)
def test_control_groups(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The least quota of a process's own groups, rounded up, limits the cores."""
    files, lines, expected = GROUPS[name]
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text + "\n")
    own = tmp_path / "own"
    own.write_text(lines + "\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    assert available_cores(tmp_path, own) == expected


def test_without_control_groups(tmp_path: Path) -> None:
    """Where there are none, the affinity alone counts."""
    assert available_cores(tmp_path / "none", tmp_path / "nothing") == CORES
