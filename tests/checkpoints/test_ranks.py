"""Several processes that write one checkpoint, and locks between runs."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import checkpoint_kit as kit
from fanin import checkpoints
from fanin.checkpoints.folder import Folder, part_name
from fanin.checkpoints.locks import FolderLock
from fanin.recipes import Plan


def mixed_sizes() -> Plan:
    """Tensors of many sizes and two dtypes, some of them orthogonal."""
    sizes = [40, 3, 3, 100, 7, 7, 250, 1, 30, 60]
    model = [
        {"path": f"{'q' if number % 4 == 3 else 'w'}.{number}", "shape": [size, 64], "layout": "torch", "dtype": dtype}
        for number, (size, dtype) in enumerate(zip(sizes, ["float32", "bfloat16"] * 5, strict=True))
    ]
    return kit.plan_of(model)


@pytest.mark.parametrize("form", ["safetensors", "npz"])
@pytest.mark.parametrize("world", [2, 3, 7])
def test_the_same_folder_from_any_number_of_ranks(world: int, form: str, tmp_path: Path) -> None:
    """Every byte of the folder, the manifest and the index too, is that of one process, in whatever order they run."""
    plan = mixed_sizes() if form == "safetensors" else kit.normal(count=12)
    alone = checkpoints.write(plan, tmp_path / "alone", max_shard_size=20_000, format=form)  # pyright: ignore
    ranks = list(range(world))
    random.Random(world).shuffle(ranks)
    for rank in ranks:
        report = checkpoints.write(
            plan,
            tmp_path / "ranks",
            max_shard_size=20_000,
            format=form,  # pyright: ignore[reportArgumentType]
            rank=rank,
            world=world,
        )
        assert (report.digest == alone.digest) is (rank == ranks[-1])
        assert bool(report.missing) is (rank != ranks[-1])
    assert kit.contents(tmp_path / "ranks") == kit.contents(tmp_path / "alone")


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_the_same_digest_from_any_number_of_workers(world: int) -> None:
    """Workers that write nothing have the digest of the plan together, which is that of its arrays."""
    plan = mixed_sizes()
    parts = [each for rank in range(world) for each in checkpoints.digests(plan, rank=rank, world=world)]
    assert checkpoints.digest_of(parts) == checkpoints.digest(plan)
    assert checkpoints.digest(plan) == checkpoints.digest_of_arrays({each.path: each.make() for each in plan.entries})


def test_processes_at_once(tmp_path: Path) -> None:
    """Seven processes that write at the same time make the same folder."""
    plan = kit.normal(count=12)
    checkpoints.write(plan, tmp_path / "alone", max_shard_size=20_000)
    code = """
import sys
import checkpoint_kit as kit
from fanin import checkpoints
checkpoints.write(kit.normal(count=12), sys.argv[1], max_shard_size=20_000, rank=int(sys.argv[2]), world=7)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(tmp_path / "ranks")]
    runs = [subprocess.Popen([*command, str(rank)], env=environment) for rank in range(7)]
    assert [run.wait() for run in runs] == [0] * 7
    assert kit.contents(tmp_path / "ranks") == kit.contents(tmp_path / "alone")


def test_more_ranks_than_files(tmp_path: Path) -> None:
    """A rank without a file says so, and does no harm."""
    report = checkpoints.write(kit.normal(), tmp_path, rank=3, world=4)
    assert (report.files, report.missing) == ((), ("model.safetensors",))
    assert "This rank has no file: there are fewer files than ranks." in str(report)
    assert checkpoints.write(kit.normal(), tmp_path, rank=0, world=4).digest


def test_another_number_of_ranks_goes_on(tmp_path: Path) -> None:
    """What two of three ranks have written is kept by a single process, which writes the rest."""
    options: Any = {"max_shard_size": 20_000}
    for rank in (0, 2):
        checkpoints.write(kit.normal(), tmp_path / "out", rank=rank, world=3, **options)
    report = checkpoints.write(kit.normal(), tmp_path / "out", **options)
    assert (len(report.kept), len(report.files)) == (4, 2)
    checkpoints.write(kit.normal(), tmp_path / "alone", **options)
    assert kit.contents(tmp_path / "out") == kit.contents(tmp_path / "alone")


def test_finish(tmp_path: Path) -> None:
    """It makes what the last rank would have made, and names the files that are missing before."""
    options: Any = {"max_shard_size": 20_000}
    checkpoints.write(kit.normal(), tmp_path / "alone", **options)
    for rank in (0, 1):
        checkpoints.write(kit.normal(), tmp_path / "out", rank=rank, world=3, **options)
    with pytest.raises(
        checkpoints.CheckpointError, match=r"2 of 6 files of .* are missing: model-00003-of-00006\.safetensors, "
    ):
        checkpoints.finish(tmp_path / "out")
    checkpoints.write(kit.normal(), tmp_path / "out", rank=2, world=3, **options)
    (tmp_path / "out" / "fanin.json").rename(tmp_path / "out" / part_name(2, 3))
    (tmp_path / "out" / "model.safetensors.index.json").unlink()
    assert checkpoints.finish(tmp_path / "out").is_complete
    assert kit.contents(tmp_path / "out") == kit.contents(tmp_path / "alone")


@pytest.mark.parametrize("there", [True, False], ids=["empty", "missing"])
def test_nothing_to_finish(there: bool, tmp_path: Path) -> None:
    """A folder without a checkpoint of fanin's is refused, and stays as it is."""
    folder = tmp_path / "out"
    if there:
        folder.mkdir()
    with pytest.raises(checkpoints.CheckpointError, match=r"no checkpoint that fanin has|There is no folder"):
        checkpoints.finish(folder)
    assert folder.exists() is there
    assert not there or kit.contents(folder) == {}


def test_parts_of_two_checkpoints(tmp_path: Path) -> None:
    """They are not made one."""
    for seed, name in ((1, "a"), (2, "b")):
        checkpoints.write(kit.normal(seed=seed), tmp_path / name, rank=seed - 1, world=2, max_shard_size=20_000)
    (tmp_path / "b" / part_name(1, 2)).rename(tmp_path / "a" / part_name(1, 2))
    with pytest.raises(checkpoints.CheckpointError, match=r"the seed \(2 there, 1 here\), as"):
        checkpoints.finish(tmp_path / "a")


HOLD = """
import sys, time
from pathlib import Path
from typing import Any
from fanin.checkpoints.locks import FolderLock
lock = FolderLock(Path(sys.argv[1]))
with lock.manifests():
    assert lock.take([int(each) for each in sys.argv[2:]]) is None
print("held", flush=True)
time.sleep(600)
"""


def holder(folder: Path, *numbers: int) -> subprocess.Popen[str]:
    """A process that has locked these files."""
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", HOLD, str(folder), *map(str, numbers)]
    run = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    assert run.stdout.readline() == "held\n"
    return run


def test_a_live_process_locks(tmp_path: Path) -> None:
    """A file that another run writes is refused at once, by name; nothing is changed."""
    run = holder(tmp_path, 2)
    try:
        with pytest.raises(checkpoints.CheckpointError) as caught:
            checkpoints.write(kit.normal(), tmp_path, max_shard_size=20_000)
        assert "Another run is writing model-00003-of-00006.safetensors in" in str(caught.value)
        assert "Nothing has been changed. Wait until it is done, or end it." in str(caught.value)
        assert set(kit.contents(tmp_path)) == {".fanin.lock"}
    finally:
        run.kill()
        run.communicate()


def test_a_dead_process_locks_nothing(tmp_path: Path) -> None:
    """As soon as it is dead, its files can be written, and its lock file goes in the end."""
    run = holder(tmp_path, 0, 1, 2)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert (tmp_path / ".fanin.lock").exists()
    checkpoints.write(kit.normal(), tmp_path, max_shard_size=20_000)
    assert not (tmp_path / ".fanin.lock").exists()


def test_other_ranks_are_not_locked_out(tmp_path: Path) -> None:
    """A process that writes other files of the folder does not stop this one, nor does it lose its lock file."""
    run = holder(tmp_path, 1)
    try:
        report = checkpoints.write(kit.normal(), tmp_path, max_shard_size=60_000, rank=0, world=2)
        assert report.files == ("model-00001-of-00002.safetensors",)
        assert (tmp_path / ".fanin.lock").exists()
        with pytest.raises(checkpoints.CheckpointError, match="Other runs are writing: wait until they are done"):
            checkpoints.finish(tmp_path)
    finally:
        run.kill()
        run.communicate()


def test_leftovers_of_live_runs_stay(tmp_path: Path) -> None:
    """What another run is writing under a temporary name is not removed."""
    run = holder(tmp_path, 1)
    half = tmp_path / ".model-00002-of-00002.safetensors.fanin-tmp"
    half.write_bytes(b"half")
    try:
        checkpoints.write(kit.normal(), tmp_path, max_shard_size=60_000, rank=0, world=2)
        assert half.read_bytes() == b"half"
    finally:
        run.kill()
        run.communicate()
    checkpoints.write(kit.normal(), tmp_path, max_shard_size=60_000)
    assert not half.exists()


def test_locks_hold_between_threads(tmp_path: Path) -> None:
    """Two runs of one process lock each other out, too."""
    with FolderLock(tmp_path) as first, FolderLock(tmp_path) as second:
        with first.manifests():
            assert first.take([0, 1]) is None
        with second.manifests():
            assert not second.is_alone()
            assert second.take([3, 1]) == 1
        with first.manifests():
            assert first.take([3]) == 3


def test_a_waiting_run_notices_a_new_lock_file(tmp_path: Path) -> None:
    """A run that waits for a lock file that is removed then takes the new one, so that both see the same locks."""
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    entered = threading.Event()

    def wait() -> None:
        with second.manifests():
            second.take([5])
        entered.set()

    waiting = threading.Thread(target=wait)
    with first.manifests():
        waiting.start()
        assert not entered.wait(0.2)
        (tmp_path / ".fanin.lock").unlink()
    waiting.join()
    with FolderLock(tmp_path) as third, third.manifests():
        assert third.take([5]) == 5
    second.__exit__()
    first.__exit__()


def test_a_second_plan_at_the_same_time(tmp_path: Path) -> None:
    """A rank of another plan is refused while the first one writes other files, before it has completed any."""
    plans = kit.normal(), kit.normal(seed=2)
    arrangement = checkpoints.arrange(plans[0], max_shard_size=60_000)
    part = arrangement.manifest
    part.write(tmp_path / part_name(0, 2))
    with pytest.raises(
        checkpoints.CheckpointError, match="holds another checkpoint, or a part of one: it differs in the seed"
    ):
        checkpoints.write(plans[1], tmp_path, max_shard_size=60_000, rank=1, world=2)


def test_merging_keeps_one_manifest(tmp_path: Path) -> None:
    """The manifests of parts are gone in the end, and what they said is in that of the whole."""
    for rank in range(3):
        checkpoints.write(kit.normal(), tmp_path, rank=rank, world=3, max_shard_size=20_000)
    assert list(Folder(tmp_path).manifests()) == ["fanin.json"]
    data = json.loads((tmp_path / "fanin.json").read_text())
    assert [each["name"] for each in data["files"]] == [path.name for path in sorted(tmp_path.glob("model-*"))]
