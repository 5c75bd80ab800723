"""Runs that are killed, disks that are full or closed, and folders that hold something else."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import checkpoint_kit as kit
import fanin
import kills
from fanin import checkpoints
from fanin.checkpoints import files, survey, writer
from fanin.checkpoints.folder import Folder, part_name
from fanin.checkpoints.safetensors import read_header

THREE = 40_000  # the size that makes three files of six tensors of 16 KiB


def written(folder: Path, **options: object) -> checkpoints.Written:
    """Six tensors in three files."""
    return checkpoints.write(kit.normal(), folder, max_shard_size=THREE, **options)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("form", ["safetensors", "npz"])
def test_killed_runs(form: str, tmp_path: Path) -> None:
    """Runs that are killed at random moments leave whole files alone, and are completed by the same call."""
    left = kills.rehearse(tmp_path, form, 6, seed=len(form))
    assert len(left) >= 6


@pytest.mark.parametrize("part", [0.0, 0.3, 0.6])
def test_interrupted_runs(part: float, tmp_path: Path) -> None:
    """Ctrl-C ends a run, which removes its temporary files; the same call completes it."""
    reference = kills.Reference(tmp_path / "reference", "safetensors")
    with kills.begun(tmp_path / "out", "safetensors") as run:
        time.sleep(part * reference.seconds)
        run.send_signal(signal.SIGINT)
    left = set(os.listdir(tmp_path / "out")) if (tmp_path / "out").exists() else set()
    assert not any(name.endswith(".fanin-tmp") for name in left)  # an empty lock file locks nothing
    reference.check_resumed(tmp_path / "out")


@pytest.mark.parametrize("call", range(30))
def test_a_stop_at_every_step(call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that ends before any flush or renaming leaves nothing half, and is completed by the same call."""
    reference = tmp_path / "reference"
    written(reference)
    whole, out, count = kit.contents(reference), tmp_path / "out", 0

    def stopping(name: str) -> None:
        original = getattr(os, name)

        def stop(*arguments: object, **keywords: object) -> object:
            nonlocal count
            count += 1
            if count > call:
                raise KeyboardInterrupt
            return original(*arguments, **keywords)

        monkeypatch.setattr(os, name, stop)

    for name in ("fsync", "replace"):
        stopping(name)
    try:
        written(out)
        assert call > 20
    except KeyboardInterrupt:
        pass
    monkeypatch.undo()
    final = {name: data for name, data in kit.contents(out).items() if name.startswith("model")}
    assert final.items() <= whole.items()
    written(out)
    assert kit.contents(out) == whole


def test_complete_files_are_kept(tmp_path: Path) -> None:
    """A second call verifies every file, and writes none."""
    written(tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("model*")}
    report = written(tmp_path)
    assert (report.files, len(report.kept), report.nbytes) == ((), 3, 0)
    del before["model.safetensors.index.json"]
    assert before == {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("model-*")}
    assert "kept, with the right bytes: model-00001-of-00003.safetensors, model-00002" in str(report)


@pytest.mark.parametrize("place", [7, 8, 9])
def test_damaged_files_are_made_again(place: int, tmp_path: Path) -> None:
    """A file with another byte in its header is set aside and made again; the others are kept."""
    written(tmp_path)
    whole = kit.contents(tmp_path)
    name = "model-00002-of-00003.safetensors"
    data = bytearray(whole[name])
    data[place] ^= 1
    (tmp_path / name).write_bytes(data)
    report = written(tmp_path)
    assert (report.files, report.replaced) == ((name,), {name: f"{name}.replaced-1"})
    assert f"had other bytes: {name}, which is now {name}.replaced-1" in str(report)
    assert kit.contents(tmp_path) == {**whole, f"{name}.replaced-1": bytes(data)}


def trained(folder: Path, name: str, form: str) -> bytes:
    """Saves other values over a file, as training does. Returns the file's bytes."""
    if form == "npz":
        with np.load(folder / name) as file:
            arrays = {each: file[each] + 1 for each in file.files}
        np.savez(folder / name, **arrays)
    else:
        library = pytest.importorskip("safetensors.numpy")
        arrays = {each: array + 1 for each, array in library.load_file(folder / name).items()}
        library.save_file(arrays, folder / name, {"format": "pt"} if form == "safetensors" else None)
    return (folder / name).read_bytes()


@pytest.mark.parametrize("form", ["safetensors", "npz", "without metadata"])
def test_trained_values_are_refused(form: str, tmp_path: Path) -> None:
    """Values that were saved over the written ones are an error that names the files, and nothing is changed."""
    options = {"format": "npz" if form == "npz" else "safetensors"}
    written(tmp_path, **options)
    name = f"model-00002-of-00003.{options['format']}"
    trained(tmp_path, name, form)
    before = kit.contents(tmp_path)
    with pytest.raises(checkpoints.CheckpointError) as caught:
        written(tmp_path, **options)
    assert f"may have been trained since: {name}. Nothing has been changed. " in str(caught.value)
    assert "give `replace=True` to rename these files to ….replaced-1 and write them again." in str(caught.value)
    assert kit.contents(tmp_path) == before


@pytest.mark.parametrize("form", ["safetensors", "npz"])
def test_trained_values_are_set_aside(form: str, tmp_path: Path) -> None:
    """With `replace=True` they stay, each time under another name, and the file is made again."""
    name = f"model.{form}"
    checkpoints.write(kit.normal(), tmp_path, format=form)  # pyright: ignore[reportArgumentType]
    whole = (tmp_path / name).read_bytes()
    for number in (1, 2):
        data = trained(tmp_path, name, form)
        checkpoints.write(kit.normal(), tmp_path, format=form, replace=True)  # pyright: ignore[reportArgumentType]
        assert (tmp_path / f"{name}.replaced-{number}").read_bytes() == data
        assert (tmp_path / name).read_bytes() == whole


def test_truncated_files_are_made_again(tmp_path: Path) -> None:
    """A file that is shorter than the manifest says is not even read."""
    written(tmp_path)
    whole = kit.contents(tmp_path)
    name = "model-00003-of-00003.safetensors"
    (tmp_path / name).write_bytes(whole[name][:50])
    report = written(tmp_path)
    assert (report.files, list(report.replaced)) == ((name,), [name])
    assert whole.items() <= kit.contents(tmp_path).items()


def test_missing_files_are_made_again(tmp_path: Path) -> None:
    """A file that is gone is made again, the index and the manifest too."""
    written(tmp_path)
    whole = kit.contents(tmp_path)
    for name in ("model-00001-of-00003.safetensors", "model.safetensors.index.json"):
        (tmp_path / name).unlink()
    written(tmp_path)
    assert kit.contents(tmp_path) == whole


def test_leftovers_are_removed(tmp_path: Path) -> None:
    """Files under temporary names, which a dead run has left, are gone after the next one."""
    for name in ("model.safetensors", "model-00007-of-00009.safetensors", "fanin-00001-of-00001.json"):
        files.temporary(tmp_path / name).write_bytes(b"half")
    checkpoints.write(kit.normal(), tmp_path)
    assert set(kit.contents(tmp_path)) == {"fanin.json", "model.safetensors"}


BFLOAT16 = [{"path": f"w.{n}", "shape": [64, 64], "layout": "keras", "dtype": "bfloat16"} for n in range(6)]
WIDER = [{"path": "w.*", "initializer": "random_normal", "stddev": 0.5}]
OTHERS = {
    "seed": (kit.normal(seed=2), {}, "the seed (1 there, 2 here), as fanin.json says"),
    "initializer": (
        kit.plan_of([{"path": f"w.{n}", "shape": [64, 64], "layout": "keras"} for n in range(6)], WIDER),
        {},
        "its tensors (w.0: stddev 0.05 there, 0.5 here), as fanin.json says",
    ),
    "shapes": (kit.normal(rows=63), {}, "its tensors (w.0: (64, 64) there, (63, 64) here), as fanin.json says"),
    "dtypes": (kit.plan_of(BFLOAT16), {}, "its tensors (w.0: float32 there, bfloat16 here), as fanin.json says"),
    "both": (
        kit.plan_of(BFLOAT16, seed=2),
        {},
        "the seed (1 there, 2 here) and in its tensors (w.0: float32 there, bfloat16 here), as fanin.json says",
    ),
    "names": (kit.normal(count=1), {}, "its tensors ("),
    "size": (kit.normal(), {"max_shard_size": 1}, "the largest size of a file (40000 there, 1 here), as"),
    "format": (kit.normal(), {"format": "npz"}, "the format ('safetensors' there, 'npz' here), as"),
}


@pytest.mark.parametrize("complete", [True, False], ids=["complete", "begun"])
@pytest.mark.parametrize("case", OTHERS)
def test_another_checkpoint(case: str, complete: bool, tmp_path: Path) -> None:
    """A folder that holds another checkpoint, or a part of one, is refused, with what differs, and stays as it is."""
    plan, options, message = OTHERS[case]
    written(tmp_path, **({} if complete else {"rank": 0, "world": 2}))
    before = kit.contents(tmp_path)
    with pytest.raises(checkpoints.CheckpointError) as caught:
        checkpoints.write(plan, tmp_path, **{"max_shard_size": THREE, **options})
    message = message if complete else message.replace("fanin.json", "fanin-00001-of-00002.json")
    assert f"holds another checkpoint, or a part of one: it differs in {message}" in str(caught.value)
    assert "Nothing has been changed. Choose another folder, or empty this one." in str(caught.value)
    assert kit.contents(tmp_path) == before


@pytest.mark.parametrize("complete", [True, False], ids=["complete", "begun"])
def test_labels_do_not_count(complete: bool, tmp_path: Path) -> None:
    """The same tensors of a model and a recipe that are called otherwise are the same checkpoint."""
    written(tmp_path, **({} if complete else {"rank": 0, "world": 2}))
    plan = kit.normal()
    model = replace(plan.model, name="another list")
    recipe = {**(plan.recipe or {}), "rules": []}
    report = checkpoints.write(replace(plan, model=model, recipe=recipe), tmp_path, max_shard_size=THREE)
    assert report.digest == checkpoints.digest(plan)
    assert "another list" not in (tmp_path / "fanin.json").read_text()


def test_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another version of fanin has begun is not continued."""
    written(tmp_path)
    monkeypatch.setattr("fanin.checkpoints.arrangement.__version__", "0.9")
    with pytest.raises(checkpoints.CheckpointError, match=r"the version of fanin \('0.1.0' there, '0.9' here\), as"):
        written(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors",
        "model-00001-of-00002.safetensors",
        "model.safetensors.index.json",
        ".metadata",
        "__0_0.distcp",
        "pytorch_model.bin",
        "pytorch_model-00001-of-00002.bin",
        "pytorch_model.bin.index.json",
        "diffusion_pytorch_model.fp16.safetensors",
        "tf_model.h5",
        "model.weights.h5",
        "epoch=3.ckpt",
        "model.ckpt-7.index",
        "flax_model.msgpack",
        "consolidated.00.pth",
    ],
)
def test_strange_weights(name: str, tmp_path: Path) -> None:
    """Weights that no manifest knows are neither overwritten nor mixed with new ones."""
    (tmp_path / name).write_bytes(b"precious")
    with pytest.raises(
        checkpoints.CheckpointError, match=re.escape(f"holds weights that are not of this checkpoint: {name}. Noth")
    ):
        written(tmp_path)
    assert kit.contents(tmp_path) == {name: b"precious"}


def test_other_files_do_not_matter(tmp_path: Path) -> None:
    """A configuration and a tokenizer beside the weights stay."""
    others = ["config.json", "tokenizer.model", "tokenizer.json", "training_args.bin", "README.md", "modeling_gpt.py"]
    for name in others:
        (tmp_path / name).write_text("{}")
    written(tmp_path)
    assert all((tmp_path / name).read_text() == "{}" for name in others)


@pytest.mark.parametrize("name", ["fanin.json", "fanin-00001-of-00002.json"])
def test_damaged_manifests(name: str, tmp_path: Path) -> None:
    """A manifest that is damaged is said to be, and nothing is changed."""
    (tmp_path / name).write_text("{")
    with pytest.raises(checkpoints.CheckpointError, match=f"{name} is not a manifest that fanin wrote: it is not JSON"):
        written(tmp_path)
    assert kit.contents(tmp_path) == {name: b"{"}


def test_too_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The free space is looked at before anything is written."""
    state = os.statvfs(tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((*state[:4], 2, *state[5:])))
    with pytest.raises(checkpoints.CheckpointError) as caught:
        written(tmp_path)
    assert f"has {2 * state.f_frsize // 1024} KiB free, and" in str(caught.value)
    assert "are needed. No weights have been written. Make room, or choose another folder." in str(caught.value)
    assert kit.contents(tmp_path) == {}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mount.returncode:
        pytest.skip(f"no file system can be mounted: {mount.stderr}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_is_too_small(small_disk: Path) -> None:
    """A checkpoint that does not fit is refused at once."""
    with pytest.raises(checkpoints.CheckpointError, match=r"has 256 KiB free, and 1\.\d+ MiB are needed"):
        checkpoints.write(kit.normal(rows=1000), small_disk)
    assert kit.contents(small_disk) == {}


def test_a_disk_that_fills(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If others fill the disk in the meantime, what is complete stays, nothing half does, and the run can go on."""
    monkeypatch.setattr(Folder, "check_room", lambda *_: None)
    (small_disk / "other").write_bytes(bytes(200 * 1024))
    with pytest.raises(checkpoints.CheckpointError) as caught:
        written(small_disk)
    assert "has no room left (No space left on device). Make some, and write again: what is complete is kept." in str(
        caught.value
    )
    left = kit.contents(small_disk)
    assert set(left) == {"other", "model-00001-of-00003.safetensors", part_name(0, 1)}
    (small_disk / "other").unlink()
    report = written(small_disk)
    assert report.kept == ("model-00001-of-00003.safetensors",)
    assert report.digest == checkpoints.digest(kit.normal())


def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    """A file that may not grow so large is an error with a hint, and nothing half is left."""
    code = f"""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
import checkpoint_kit as kit
from fanin import checkpoints
try:
    checkpoints.write(kit.normal(), {str(tmp_path)!r})
except checkpoints.CheckpointError as error:
    print(error)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert (
        "may not be so large (File too large): see `ulimit -f`, or make files smaller by `max_shard_size`" in run.stdout
    )
    assert set(kit.contents(tmp_path)) == {part_name(0, 1)}


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A folder without permission to write is an error with its reason."""
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0o500)
    close = ["chattr", "+i", folder]  # root may write anywhere, but not where the file system itself forbids it
    if os.access(folder, os.W_OK) and subprocess.run(close, capture_output=True, check=False).returncode:
        pytest.skip("nothing keeps root from writing here")
    try:
        with pytest.raises(
            checkpoints.CheckpointError, match=r"cannot be written \((Permission|Operation not permitted)"
        ):
            written(folder)
        assert list(folder.iterdir()) == []
    finally:
        subprocess.run(["chattr", "-i", folder], capture_output=True, check=False)


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    """It is an error, and the file stays."""
    (tmp_path / "out").write_text("precious")
    with pytest.raises(checkpoints.CheckpointError, match=r"out cannot be used \(File exists\)"):
        written(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "precious"


@pytest.mark.parametrize("name", ["model-00002-of-00003.safetensors", "fanin.json", ".fanin.lock"])
def test_a_file_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    """It is named, with what failed, and no manifest of a part is left."""
    written(tmp_path)
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).symlink_to(name)
    before = set(os.listdir(tmp_path))
    with pytest.raises(checkpoints.CheckpointError) as caught:
        written(tmp_path)
    assert f"{tmp_path / name} cannot be used (Too many levels of symbolic links)." in str(caught.value)
    assert set(os.listdir(tmp_path)) - {".fanin.lock"} == before - {".fanin.lock"}


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A single file that may not be read is not blamed on the folder."""
    written(tmp_path)
    path = tmp_path / "model-00002-of-00003.safetensors"

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(survey, "digests_in", refuse)
    with pytest.raises(checkpoints.CheckpointError) as caught:
        written(tmp_path)
    assert str(caught.value).startswith(f"{path} cannot be used (Permission denied). ")
    assert not (tmp_path / part_name(0, 1)).exists()


def test_a_fault_in_drawing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a value cannot be drawn, the error comes out as it is, and no file is left half."""

    def fail(*_: object) -> None:
        raise MemoryError("no memory for it")

    monkeypatch.setattr(fanin.recipes.Entry, "fill", fail)
    with pytest.raises(MemoryError, match="no memory for it"):
        written(tmp_path)
    assert set(kit.contents(tmp_path)) == {part_name(0, 1)}


def test_matrices_without_memory(tmp_path: Path) -> None:
    """A matrix that no memory could hold is an error before anything is written."""
    plan = kit.plan_of([{"path": "q.w", "shape": [2**30, 2**28], "layout": "torch"}])
    with pytest.raises(MemoryError, match=r"Unable to allocate 1 EiB for a tensor of shape \(1073741824, 268435456\)"):
        checkpoints.write(plan, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_folders_are_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The names of new folders are on the disk, too: those that hold them are flushed."""
    flushed: list[str] = []
    monkeypatch.setattr(files, "flush_folder", lambda path: flushed.append(str(path)))
    written(tmp_path / "a" / "b")
    assert {str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")} <= set(flushed)


def test_manifests_say_only_what_is_there(tmp_path: Path) -> None:
    """The manifest of a part grows with its files; what it names is complete."""
    written(tmp_path, rank=0, world=2)
    part = json.loads((tmp_path / part_name(0, 2)).read_text())
    assert [file["name"] for file in part["files"]] == [path.name for path in sorted(tmp_path.glob("model-*"))]


def test_memory_is_bounded(tmp_path: Path) -> None:
    """512 MiB are written with three buffers of 64 MiB, and little more."""
    code = f"""
import checkpoint_kit as kit
from fanin import checkpoints
plan = kit.plan_of([{{"path": f"w.{{n}}", "shape": [256, 2**16], "layout": "torch"}} for n in range(8)])
before = kit.peak()
report = checkpoints.write(plan, {str(tmp_path)!r})
print(report.nbytes >> 20, kit.peak() - before)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    size, peak = map(int, run.stdout.split())
    assert size == 512
    assert 150 < peak < 220


def test_a_stop_before_a_damaged_file_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a manifest knew is known until it is made again, however often a run ends before that."""
    written(tmp_path, rank=0, world=2)
    path = tmp_path / "model-00001-of-00003.safetensors"
    path.write_bytes(b"short")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(survey, "digests_in", stop)
            patch.setattr(writer, "writer_of", stop)
            with pytest.raises(KeyboardInterrupt):
                written(tmp_path)
    report = written(tmp_path)
    assert report.digest == checkpoints.digest(kit.normal())
    assert (tmp_path / report.replaced[path.name]).read_bytes() == b"short"


def test_the_last_digest_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that another rank makes again with other bytes has its digest in the end, not that of the dead rank.

    Values that LAPACK makes may differ between machines.
    """
    written(tmp_path, rank=1, world=2)
    name = "model-00002-of-00003.safetensors"
    (tmp_path / name).unlink()
    fill = fanin.recipes.Entry.fill

    def other(self: fanin.recipes.Entry, out: Any, region: Any = None) -> None:
        fill(self, out, region)
        out += 1

    monkeypatch.setattr(fanin.recipes.Entry, "fill", other)
    written(tmp_path)
    monkeypatch.undo()
    tensors = checkpoints.read_manifest(tmp_path).tensors_of(name)
    header = read_header(tmp_path / name)
    data = (tmp_path / name).read_bytes()[header.data_start :]
    digests = [hashlib.sha256(data[each.start : each.stop]).hexdigest() for each in header.tensors]
    assert [each.digest for each in tensors] == digests
    assert written(tmp_path).files == ()
