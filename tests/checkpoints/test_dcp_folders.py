"""Folders of torch.distributed.checkpoint: what `save_plan` has written is checked by its manifest, safely."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
import torch.distributed.checkpoint
from torch import nn

import fanin
import fanin.torch
from dcp_processes import SMALL, Mixed, plan_of
from fanin.checkpoints import CheckpointError, Finding, check, read_manifest
from torch_kit import on_meta

dcp: Any = torch.distributed.checkpoint
pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
NAMES = set(on_meta(Mixed).state_dict())


@pytest.fixture(params=["dcp", "safetensors"])
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder that `save_plan` has written."""
    fanin.torch.save_plan(plan_of(), tmp_path / "saved", format=request.param, most=SMALL)
    return tmp_path / "saved"


def only(report: Any) -> Finding:
    """The one finding of a report."""
    (finding,) = report.findings
    return finding


def rewritten(folder: Path, change: Any) -> None:
    """Replaces DCP's description of a folder by a changed one."""
    metadata = dcp.FileSystemReader(folder).read_metadata()
    change(metadata)
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))


def test_exact(saved: Path) -> None:
    """Every name of every parameter is exact by the manifest, which has the recipe and the seed."""
    report = check(saved)
    assert report
    assert (set(report.exact), report.source) == (NAMES, "fanin.json")
    manifest = read_manifest(saved)
    assert (manifest.seed, manifest.format, manifest.model) == (11, report.format, "Mixed")
    assert manifest.recipe is not None
    assert fanin.Recipe.from_dict(manifest.recipe).plan(on_meta(Mixed)) == plan_of()


def test_against_a_plan(saved: Path) -> None:
    """It is exact by its plan, and by no other."""
    assert check(saved, plan_of())
    report = check(saved, plan_of(seed=12))
    assert {each.name for each in report.findings} == NAMES - {"empty"}
    assert {each.problem for each in report.findings} == {"values"}


def test_what_dcp_has_saved_itself(tmp_path: Path) -> None:
    """A model's own checkpoint, in which one value is another."""
    model = on_meta(Mixed)
    fanin.torch.initialize(model, fanin.Recipe.from_dict(plan_of().recipe or {}), prefix="")
    dcp.save(model.state_dict(), checkpoint_id=tmp_path / "right")
    assert check(tmp_path / "right", plan_of())
    with torch.no_grad():
        model.image.weight[4, 1, 2, 0] = 3
    dcp.save({"model": model.state_dict(), "step": 7}, checkpoint_id=tmp_path / "wrong")
    report = check(tmp_path / "wrong", plan_of(), under="model")
    finding = only(report)
    assert (finding.name, finding.position, finding.stored) == ("model.image.weight", (4, 1, 2, 0), "3.0")
    assert finding.index == ((4 * 2 + 1) * 3 + 2) * 3
    assert dict(report.unchecked) == {"step": "no tensor"}


def test_under_a_key(tmp_path: Path) -> None:
    """The names of the manifest are those of the folder."""
    fanin.torch.save_plan(plan_of(), tmp_path, under="model")
    report = check(tmp_path)
    assert report
    assert set(report.exact) == {f"model.{name}" for name in NAMES}
    assert check(tmp_path, plan_of(), under="model")
    assert {each.problem for each in check(tmp_path, plan_of()).findings} == {"missing", "unexpected"}


def test_other_values(tmp_path: Path) -> None:
    """What was saved beside the plan is not checked, which the report says."""
    fanin.torch.save_plan(plan_of(), tmp_path, others={"table": torch.ones(3), "step": 7})
    report = check(tmp_path)
    assert report
    assert dict(report.unchecked) == {"table": "fanin.json does not say what it should be", "step": "no tensor"}


def test_a_layer_whose_weight_is_computed(tmp_path: Path) -> None:
    """A norm that its layer computes is no value of the plan: it must be among the others."""
    recipe = fanin.Recipe.preset("torch", seed=1)
    plan = recipe.plan(on_meta(lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))))
    with pytest.raises(fanin.recipes.PlanError, match=r"original0: it is computed from weight by its layer"):
        fanin.torch.save_plan(plan, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_lost_file(saved: Path) -> None:
    """A file that is gone: its tensors cannot be read."""
    files = sorted([*saved.glob("*.distcp"), *saved.glob("*.safetensors")])
    files[0].unlink()
    report = check(saved)
    assert {each.problem for each in report.findings} <= {"unreadable", "file", "missing"}
    assert len(report.exact) < len(NAMES)
    words = (
        f"{files[0].name} cannot be read: No such file or directory",
        f"names '{files[0].name}', which is not there",
    )
    assert any(each in str(report) for each in words)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in DCP's own format."""
    fanin.torch.save_plan(plan_of(), tmp_path, most=SMALL)
    return tmp_path


def test_a_truncated_file(folder: Path) -> None:
    """What lies behind the end cannot be read; what lies before it is exact."""
    file = folder / "__0_0.distcp"
    os.truncate(file, file.stat().st_size // 2)
    report = check(folder)
    assert 0 < len(report.exact) < len(NAMES)
    assert {each.problem for each in report.findings} == {"unreadable"}
    assert {each.message for each in report.findings} == {"__0_0.distcp ends too early."}


def test_a_damaged_chunk(folder: Path) -> None:
    """A chunk that PyTorch cannot read, or that reads as something else."""
    place = dcp.FileSystemReader(folder).read_metadata().storage_data
    (chosen,) = [each for index, each in place.items() if index.fqn == "scale"]
    data = bytearray((folder / chosen.relative_path).read_bytes())
    data[chosen.offset : chosen.offset + 16] = bytes(16)
    (folder / chosen.relative_path).write_bytes(data)
    finding = only(check(folder))
    assert (finding.name, finding.problem) == ("scale", "unreadable")
    assert finding.message.startswith("__0_0.distcp is not a whole .distcp file: ")


@pytest.mark.parametrize("data", [b"", b"abc", pickle.dumps([1]), pickle.dumps({"a": 1}), pickle.dumps(1)])
def test_a_damaged_description(folder: Path, data: bytes) -> None:
    """A `.metadata` that is none."""
    (folder / ".metadata").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"\.metadata is not what DCP writes: "):
        check(folder)


class Hostile:
    """An object whose pickle runs a command."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("hostile",)


def test_a_hostile_description(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that a `.metadata` names is run, unlike by DCP's own reader."""
    monkeypatch.chdir(folder)
    (folder / ".metadata").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(CheckpointError, match=r"it names posix\.mkdir, which DCP does not use"):
        check(folder)
    assert not (folder / "hostile").exists()
    pickle.loads((folder / ".metadata").read_bytes())  # as DCP's own reader does
    assert (folder / "hostile").exists()


def test_files_outside_of_the_folder(folder: Path) -> None:
    """A description that points to other folders is not followed."""

    def lead_out(metadata: Any) -> None:
        for place in metadata.storage_data.values():
            place.relative_path = f"../{folder.name}/{place.relative_path}"

    rewritten(folder, lead_out)
    report = check(folder)
    assert not report.exact or set(report.exact) == {"empty"}
    assert "names a file that is not in the folder" in str(report)


def test_a_run_that_did_not_end(folder: Path) -> None:
    """Without what DCP writes last, the folder is no checkpoint, though it has all files and a manifest."""
    (folder / ".metadata").unlink()
    with pytest.raises(CheckpointError, match=r"is not complete: there is no \.metadata, which DCP writes last"):
        check(folder)


def test_chunks_that_do_not_cover_a_tensor(folder: Path) -> None:
    """A tensor of which a chunk is missing is not taken for exact."""
    rewritten(folder, lambda metadata: metadata.state_dict_metadata["square.weight"].chunks.clear())
    finding = only(check(folder))
    assert (finding.name, finding.problem) == ("square.weight", "unreadable")
    assert finding.message == ".metadata has chunks for 0 of the 64 elements."


def test_a_chunk_without_a_place(folder: Path) -> None:
    """A chunk that is nowhere is a finding."""

    def forget(metadata: Any) -> None:
        for index in [index for index in metadata.storage_data if index.fqn == "scale"]:
            del metadata.storage_data[index]

    rewritten(folder, forget)
    assert only(check(folder)).message == ".metadata does not say where the chunk (0,) of 'scale' is."


def test_memory_is_bounded(tmp_path: Path) -> None:
    """A folder of 384 MiB is written and checked with less than 300 MiB more than nothing takes."""
    code = f"""
import resource, warnings, fanin, fanin.checkpoints, fanin.torch, fanin.torch.dcp
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
recipe = fanin.Recipe([{{"path": "*", "initializer": "random_normal"}}], seed=1)
plan = recipe.plan([{{"path": f"w.{{number}}", "shape": [6144, 8192]}} for number in range(2)])
before = peak()
fanin.torch.save_plan(plan, {str(tmp_path)!r})
print(peak() - before, bool(fanin.checkpoints.check({str(tmp_path)!r})), peak() - before)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    writing, done, checking = run.stdout.split()
    assert done == "True"
    assert int(writing) < 200 * 1024
    assert int(checking) < 300 * 1024
