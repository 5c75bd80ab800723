"""Checks of checkpoints: right ones pass, and whatever is wrong is found and said, for every format."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fanin
from checkpoint_kit import mixed, normal, plan_of
from fanin import checkpoints
from fanin.checkpoints import CheckpointError, Finding, check, model_of
from fanin.recipes import Plan, PlanError

load = pytest.importorskip("safetensors.numpy")

MODEL = [
    {"path": "w.kernel", "shape": [30, 20], "layout": "torch"},
    {"path": "q.kernel", "shape": [8, 8], "layout": "torch"},
    {"path": "w.half", "shape": [5, 7, 3], "dtype": "float16", "layout": "keras"},
    {"path": "w.scalar", "shape": [], "role": "other"},
    {"path": "w.empty", "shape": [0, 3], "layout": "keras"},
    {"path": "steps", "shape": [4], "dtype": "int64", "role": "other"},
]
PLAN = plan_of(MODEL)


def values(plan: Plan = PLAN) -> dict[str, np.ndarray]:
    """All arrays of a plan, as its entries make them."""
    return {entry.path: entry.make() for entry in plan.entries}


def as_safetensors(folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    """A file that the safetensors library writes."""
    load.save_file({name: np.array(each, order="C") for name, each in arrays.items()}, folder / "all.safetensors")
    return folder / "all.safetensors"


def as_npz(folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    """A file that NumPy writes."""
    np.savez(folder / "all.npz", **arrays)  # pyright: ignore[reportArgumentType]
    return folder / "all.npz"


def as_compressed_npz(folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    """A compressed file that NumPy writes."""
    np.savez_compressed(folder / "all.npz", **arrays)  # pyright: ignore[reportArgumentType]
    return folder / "all.npz"


def as_dcp(folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    """A folder that torch.distributed.checkpoint writes."""
    torch: Any = pytest.importorskip("torch")
    dcp: Any = pytest.importorskip("torch.distributed.checkpoint")
    dcp.save({name: torch.from_numpy(np.array(each)) for name, each in arrays.items()}, checkpoint_id=folder / "dcp")
    return folder / "dcp"


Saved = Callable[[Path, dict[str, np.ndarray]], Path]
FORMS = [as_safetensors, as_npz, as_compressed_npz, as_dcp]
pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")


@pytest.fixture(params=FORMS, ids=lambda form: form.__name__)
def save(request: pytest.FixtureRequest) -> Saved:
    """What writes arrays in a format, without fanin."""
    return request.param


@pytest.fixture(params=[None, 64], ids=["whole", "small regions"])
def region(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regions of any size."""
    if request.param is not None:
        monkeypatch.setattr("fanin.checkpoints.checking._REGION", request.param)


def only(report: Any) -> Finding:
    """The one finding of a report."""
    (finding,) = report.findings
    assert not report
    return finding


@pytest.mark.usefixtures("region")
def test_exact(tmp_path: Path, save: Saved) -> None:
    """What other libraries have written of right values is exact, in any format."""
    report = check(save(tmp_path, values()), PLAN)
    assert report
    assert set(report.exact) == {each["path"] for each in MODEL}
    assert (report.source, report.findings, dict(report.unchecked)) == ("plan", (), {})
    assert report.nbytes == PLAN.nbytes
    assert str(report).startswith("6 of 6 tensors are bit-exact (2.834 KiB in ")


@pytest.mark.usefixtures("region")
@pytest.mark.parametrize(
    ("name", "position"),
    [("w.kernel", (0, 0)), ("w.kernel", (17, 3)), ("w.kernel", (29, 19)), ("q.kernel", (3, 5)), ("w.half", (4, 0, 2))],
)
def test_one_value(tmp_path: Path, save: Saved, name: str, position: tuple[int, ...]) -> None:
    """One changed value is found, at its place, with both values."""
    arrays = values()
    right = str(arrays[name][position])
    arrays[name][position] += np.float16(0.5)
    finding = only(check(save(tmp_path, arrays), PLAN))
    assert (finding.name, finding.problem, finding.differing) == (name, "values", 1)
    assert (finding.position, finding.index) == (position, np.ravel_multi_index(position, arrays[name].shape))
    assert (finding.expected, finding.stored) == (right, str(arrays[name][position]))
    size = arrays[name].size
    assert str(finding) == (
        f"{name}: 1 of {size} elements differs. The first is number {finding.index}, at {position}: it is "
        f"{finding.stored}, and should be {right}."
    )


@pytest.mark.usefixtures("region")
def test_the_first_of_several(tmp_path: Path, save: Saved) -> None:
    """Of several differing values, their number and the first in C order are said."""
    arrays = values()
    for position in [(29, 0), (4, 19), (4, 18), (28, 1)]:
        arrays["w.kernel"][position] = 0
    finding = only(check(save(tmp_path, arrays), PLAN))
    assert (finding.differing, finding.position, finding.index) == (4, (4, 18), 98)


@pytest.mark.usefixtures("region")
def test_a_scalar(tmp_path: Path, save: Saved) -> None:
    """A value without axes has the position ()."""
    arrays = values() | {"w.scalar": np.array(7, np.float32)}
    finding = only(check(save(tmp_path, arrays), PLAN))
    assert (finding.position, finding.index, finding.stored) == ((), 0, "7.0")


def test_values_that_look_the_same(tmp_path: Path, save: Saved) -> None:
    """Zeros of two signs, and NaNs, are compared by their bits, which the message has."""
    plan = plan_of([{"path": "z", "shape": [3]}], [{"path": "*", "initializer": "constant", "value": float("nan")}])
    arrays = {"z": plan.entries[0].make().view("u4") ^ np.array([0, 0, 1], "u4")}
    finding = only(check(save(tmp_path, {"z": arrays["z"].view("f4")}), plan))
    assert (finding.index, finding.expected) == (2, f"nan (0x{arrays['z'][0]:08x})")
    assert finding.stored == f"nan (0x{arrays['z'][2]:08x})"


def test_signs_of_zeros(tmp_path: Path, save: Saved) -> None:
    """A negative zero is not the zero of the recipe."""
    plan = plan_of([{"path": "z", "shape": [3]}], [{"path": "*", "initializer": "zeros"}])
    finding = only(check(save(tmp_path, {"z": np.array([0, -0.0, -0.0], np.float32)}), plan))
    assert (finding.differing, finding.index, finding.stored, finding.expected) == (2, 1, "-0.0", "0.0")


def test_complex_values(tmp_path: Path) -> None:
    """Elements of 16 bytes are compared as well."""
    plan = plan_of(
        [{"path": "z", "shape": [2, 3], "dtype": "complex128"}],
        [{"path": "*", "initializer": "constant", "value": 1.5}],
    )
    arrays = values(plan)
    assert check(as_npz(tmp_path, arrays), plan)
    arrays["z"][1, 1] += 1j
    finding = only(check(as_npz(tmp_path, arrays), plan))
    assert (finding.position, finding.stored) == ((1, 1), "(1.5+1j)")


def test_missing(tmp_path: Path, save: Saved) -> None:
    """A tensor that no file has."""
    arrays = values()
    del arrays["q.kernel"]
    report = check(save(tmp_path, arrays), PLAN)
    assert only(report) == Finding("q.kernel", "missing", "it is missing.")
    assert str(report).startswith("5 of 6 tensors are bit-exact (")


def test_unexpected(tmp_path: Path, save: Saved) -> None:
    """A tensor that the plan does not have."""
    path = save(tmp_path, {**values(), "extra": np.zeros(3, np.float32)})
    finding = only(check(path, PLAN))
    file = ".metadata" if path.is_dir() else path.name
    assert finding == Finding("extra", "unexpected", f"it is in the checkpoint ({file}), but not in the plan.")


def test_shape(tmp_path: Path, save: Saved) -> None:
    """A tensor of another shape, such as a transposed one, and the shape that it should have."""
    arrays = values()
    arrays["w.kernel"] = arrays["w.kernel"].T.copy()
    finding = only(check(save(tmp_path, arrays), PLAN))
    assert finding == Finding("w.kernel", "shape", "its shape is (20, 30), and should be (30, 20).")


def test_dtype(tmp_path: Path, save: Saved) -> None:
    """A tensor of another dtype, and the dtype that it should have."""
    arrays = values()
    arrays["w.kernel"] = arrays["w.kernel"].astype(np.float16)
    finding = only(check(save(tmp_path, arrays), PLAN))
    assert (finding.name, finding.problem) == ("w.kernel", "dtype")
    assert finding.message in [f"its dtype is {name}, and should be float32." for name in ("float16", "F16")]


def test_another_seed(tmp_path: Path, save: Saved) -> None:
    """With a wrong recipe, every random tensor differs, and what is constant does not."""
    report = check(save(tmp_path, values()), plan_of(MODEL, seed=2))
    assert {each.name for each in report.findings} == {"w.kernel", "q.kernel", "w.half", "w.scalar"}
    assert all(each.problem == "values" for each in report.findings)
    assert set(report.exact) == {"w.empty", "steps"}


def test_fortran_order(tmp_path: Path) -> None:
    """NumPy stores a transposed array in Fortran's order; it is read as it is meant."""
    arrays = {name: np.array(each, order="F") for name, each in values().items()}
    assert arrays["w.kernel"].flags.f_contiguous
    assert check(as_npz(tmp_path, arrays), PLAN)
    arrays["w.kernel"][3, 7] = 9
    finding = only(check(as_npz(tmp_path, arrays), PLAN))
    assert (finding.position, finding.differing) == ((3, 7), 1)


def test_fortran_order_in_regions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In regions, the first difference is still the first in C order."""
    monkeypatch.setattr("fanin.checkpoints.checking._REGION", 64)
    arrays = {name: np.array(each, order="F") for name, each in values().items()}
    arrays["w.kernel"][20, 1] = arrays["w.kernel"][3, 7] = 9
    finding = only(check(as_npz(tmp_path, arrays), PLAN))
    assert (finding.position, finding.differing) == ((3, 7), 2)


def test_other_byte_order(tmp_path: Path) -> None:
    """Values of the other byte order are another dtype, as are objects."""
    arrays = values()
    arrays["w.kernel"] = arrays["w.kernel"].astype(arrays["w.kernel"].dtype.newbyteorder())
    arrays["steps"] = np.array([None] * 4)
    findings = {each.name: each.message for each in check(as_npz(tmp_path, arrays), PLAN).findings}
    assert findings == {
        "w.kernel": "its dtype is >f4, and should be float32.",
        "steps": "its dtype is object, and should be int64.",
    }


def test_every_dtype_of_a_written_checkpoint(tmp_path: Path) -> None:
    """What `write` has written is exact by its manifest alone, in every dtype."""
    plan = mixed()
    checkpoints.write(plan, tmp_path, max_shard_size=2000)
    report = check(tmp_path)
    assert report
    assert (report.source, len(report.exact)) == ("fanin.json", len(plan.entries))


def change(path: Path, name: str, position: tuple[int, ...]) -> None:
    """Sets one value in a file to 1."""
    if path.suffix == ".npz":
        with np.load(path) as file:
            arrays = dict(file)
    else:
        arrays = load.load_file(path)
    arrays[name][position] = 1
    np.savez(path, **arrays) if path.suffix == ".npz" else load.save_file(arrays, path)


@pytest.fixture(params=["safetensors", "npz"])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder that `write` has written: three files of two tensors each, with their manifest."""
    checkpoints.write(normal(), tmp_path, format=request.param, max_shard_size=40_000)
    assert len(list(tmp_path.glob("model-*-of-00003.*"))) == 3
    return tmp_path


def second(folder: Path) -> Path:
    """The second file of a folder, which has w.2 and w.3."""
    return sorted(folder.glob("model-*"))[1]


def test_a_manifest_says_what_is_right(written: Path) -> None:
    """A changed value is found without the recipe and the model, in the folder and in the file alone."""
    assert check(written)
    change(second(written), "w.3", (40, 3))
    finding = only(check(written))
    assert (finding.name, finding.position, finding.stored) == ("w.3", (40, 3), "1.0")
    report = check(second(written))
    assert (only(report), report.exact) == (finding, ("w.2",))


def test_a_plan_goes_before_the_manifest(written: Path) -> None:
    """A folder with a manifest is checked against a plan, if one is given."""
    assert check(written, normal()).source == "plan"
    assert len(check(written, normal(seed=2)).findings) == 6


def test_a_file_that_is_gone(written: Path) -> None:
    """A lost file is named, and so are its tensors; those of the others are checked."""
    second(written).unlink()
    report = check(written)
    name = f"model-00002-of-00003{'.npz' if report.format == 'npz' else '.safetensors'}"
    assert [(each.name, each.problem) for each in report.findings] == [
        (name, "file"),
        ("w.2", "missing"),
        ("w.3", "missing"),
    ]
    assert report.findings[0].message == f"{name} cannot be read: No such file or directory."
    assert report.findings[1].message == "it is missing, unless it is in one of those that cannot be read."
    assert str(report).startswith("4 of 6 tensors are bit-exact")


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_truncated_file(written: Path, keep: int) -> None:
    """A file that was cut anywhere is named; the tensors of the others are checked."""
    path = second(written)
    data = path.read_bytes()
    path.write_bytes(data[:keep])
    report = check(written)
    assert (report.findings[0].name, report.findings[0].problem) == (path.name, "file")
    assert f"{path.name} is not a whole {path.suffix[1:] if path.suffix == '.safetensors' else '.npz'} file" in str(
        report
    )
    assert set(report.exact) == {"w.0", "w.1", "w.4", "w.5"}


def test_bits_that_rotted(written: Path) -> None:
    """One flipped bit anywhere in a tensor is found; zip files notice it themselves."""
    path = second(written)
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 16
    path.write_bytes(data)
    finding = only(check(written))
    assert finding.name == "w.2"
    assert (finding.problem, finding.differing) == (
        ("values", 1) if path.suffix == ".safetensors" else ("unreadable", 0)
    )


def test_a_checkpoint_that_is_not_complete(tmp_path: Path) -> None:
    """Of two ranks, one has written."""
    checkpoints.write(normal(), tmp_path, max_shard_size=40_000, rank=0, world=2)
    with pytest.raises(CheckpointError, match="is not complete: the same command goes on"):
        check(tmp_path)
    checkpoints.write(normal(), tmp_path, max_shard_size=40_000, rank=1, world=2)
    assert check(tmp_path)


def test_an_array_with_too_few_elements(tmp_path: Path) -> None:
    """A whole .npz file, in which an array has fewer elements than it says."""
    path = as_npz(tmp_path, values())
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    members["w.half.npy"] = members["w.half.npy"][:-2]
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    file, missing = check(path, PLAN).findings
    assert "all.npz is damaged: 'w.half' of dtype float16 and shape" in file.message
    assert (missing.name, missing.problem) == ("w.half", "missing")


def test_a_file_that_the_manifest_does_not_have(written: Path) -> None:
    """It cannot be checked by the manifest beside it."""
    other = as_safetensors(written, values())
    with pytest.raises(ValueError, match=r"fanin\.json, which is beside all\.safetensors, does not have that file"):
        check(other)
    assert check(other, PLAN)


def test_a_damaged_manifest(written: Path) -> None:
    """What cannot say what is right is no finding but an error."""
    path = written / "fanin.json"
    path.write_text(path.read_text().replace('"w.3"', '"w.9"', 1))
    with pytest.raises(CheckpointError, match="its digest is not that of its tensors"):
        check(written)


def test_records_of_the_manifest_are_compared(written: Path) -> None:
    """A manifest of another seed does not pass for right."""
    path = written / "fanin.json"
    data = json.loads(path.read_text())
    data["tensors"][0]["record"]["placements"][0]["stream"][0] += 1
    path.write_text(json.dumps(data))
    assert only(check(written)).name == "w.0"


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"weight_map": []}', '{"weight_map": {"w": 3}}', '{"weight_map": {"w": "../a"}}']
)
def test_a_damaged_index(tmp_path: Path, text: str) -> None:
    """An index that says nothing is an error."""
    checkpoints.write(normal(), tmp_path, max_shard_size=40_000)
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"model\.safetensors\.index\.json (is damaged|names a file)"):
        check(tmp_path)


def test_an_index_that_is_wrong(tmp_path: Path) -> None:
    """An index that says that a tensor is in another file than it is, so that nobody would find it."""
    checkpoints.write(normal(), tmp_path, max_shard_size=40_000)
    path = tmp_path / "model.safetensors.index.json"
    data = json.loads(path.read_text())
    data["weight_map"]["w.2"] = data["weight_map"]["w.3"] = "model-00001-of-00003.safetensors"
    path.write_text(json.dumps(data))
    report = check(tmp_path)
    assert len(report.exact) == 6
    assert only(report) == Finding(
        "model.safetensors.index.json",
        "file",
        "it says that 'w.2' is in model-00001-of-00003.safetensors, and it is not, nor are 1 more where it says.",
    )


def test_an_index_that_is_gone(tmp_path: Path) -> None:
    """Several files without their index, which other libraries need."""
    checkpoints.write(normal(), tmp_path, max_shard_size=40_000)
    (tmp_path / "model.safetensors.index.json").unlink()
    report = check(tmp_path)
    assert len(report.exact) == 6
    assert (only(report).name, only(report).problem) == ("model.safetensors.index.json", "file")


def test_folders_without_an_index(tmp_path: Path) -> None:
    """Without an index and a manifest, all files of a folder are its contents."""
    arrays = values()
    load.save_file({"w.kernel": arrays.pop("w.kernel")}, tmp_path / "b.safetensors")
    load.save_file(arrays, tmp_path / "a.safetensors")
    assert check(tmp_path, PLAN)
    (tmp_path / "b.safetensors").unlink()
    assert only(check(tmp_path, PLAN)).problem == "missing"


class Odd(fanin.distributions.Normal):
    """A distribution of someone's own, which no manifest describes."""


def test_what_cannot_be_made_again_is_known_by_its_digest(tmp_path: Path) -> None:
    """Without a record, the digest of the manifest is what is right, and the report says so."""
    plan = normal(rows=8, count=2)
    first, last = plan.entries
    (placement,) = first.placements
    weight = placement.weight
    own = Odd(weight.distribution.shape, weight.distribution.dtype, 0.0, 0.05)
    first = replace(first, placements=(replace(placement, weight=weight._replace(distribution=own)),))
    checkpoints.write(replace(plan, entries=(first, last)), tmp_path)
    report = check(tmp_path)
    assert (bool(report), report.exact, report.by_digest) == (True, ("w.0", "w.1"), ("w.0",))
    assert "\n1 of them by their digests alone: w.0" in str(report)
    change(tmp_path / "model.safetensors", "w.0", (3, 4))
    assert only(check(tmp_path)) == Finding("w.0", "values", "its bytes have another digest than fanin.json says.")


TIED = [{"path": "wte.kernel", "shape": [30, 20], "layout": "keras", "tied": ["head.kernel"]}]
BY_NAME = [{"path": "*", "initializer": "random_normal"}]


@pytest.mark.parametrize("names", [("wte.kernel",), ("head.kernel",), ("wte.kernel", "head.kernel")])
def test_tied_parameters(tmp_path: Path, save: Saved, names: tuple[str, ...]) -> None:
    """A tied parameter may be there under one of its names, or under each."""
    plan = plan_of(TIED, BY_NAME)
    made = plan.entries[0].make()
    report = check(save(tmp_path, {name: made.copy() for name in names}), plan)
    assert report
    assert report.exact == names


def test_a_tied_parameter_that_differs(tmp_path: Path, save: Saved) -> None:
    """Each of its names is compared."""
    plan = plan_of(TIED, BY_NAME)
    arrays = {name: plan.entries[0].make() for name in ("wte.kernel", "head.kernel")}
    arrays["head.kernel"][2, 2] = 0
    finding = only(check(save(tmp_path, arrays), plan))
    assert (finding.name, finding.position) == ("head.kernel", (2, 2))


def test_what_no_recipe_says(tmp_path: Path, save: Saved) -> None:
    """Parameters that a rule keeps are not checked, which the report says."""
    rules = [{"path": "w.kernel", "initializer": "keep"}, {"path": "*", "initializer": "ones"}]
    plan = plan_of(MODEL[:2], rules)
    arrays = {"w.kernel": np.zeros((30, 20), np.float32), "q.kernel": np.ones((8, 8), np.float32)}
    report = check(save(tmp_path, arrays), plan)
    assert report
    assert report.exact == ("q.kernel",)
    assert dict(report.unchecked) == {"w.kernel": "rule 1 keeps it"}
    assert str(report).endswith("\nw.kernel: not checked (rule 1 keeps it)")


def test_buffers_are_not_checked(tmp_path: Path) -> None:
    """The buffers of a module, which recipes leave alone, are not unexpected."""
    torch: Any = pytest.importorskip("torch")
    model = torch.nn.Linear(3, 2)
    model.register_buffer("table", torch.zeros(2))
    recipe = fanin.Recipe([{"path": "*", "initializer": "ones"}])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1)
    report = check(
        as_safetensors(tmp_path, {name: each.numpy() for name, each in model.state_dict().items()}), recipe.plan(model)
    )
    assert report
    assert dict(report.unchecked) == {"table": "the recipe leaves it alone: a buffer"}


def test_plans_that_do_not_fit(tmp_path: Path, save: Saved) -> None:
    """A plan that cannot be executed says nothing about values."""
    plan = plan_of(MODEL, [{"path": "q.*", "initializer": "ones"}])
    with pytest.raises(PlanError, match="No rule matches 5 of 6 parameters"):
        check(save(tmp_path, values()), plan)


def test_no_manifest_and_no_plan(tmp_path: Path, save: Saved) -> None:
    """Without either, nothing says what is right."""
    with pytest.raises(ValueError, match=r"A checkpoint without fanin\.json needs a plan to be checked against"):
        check(save(tmp_path, values()))


@pytest.mark.parametrize("name", ["weights.txt", "empty"])
def test_no_checkpoint(tmp_path: Path, name: str) -> None:
    """Files of other formats and folders without files are refused."""
    (tmp_path / "weights.txt").write_bytes(b"abc")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"A (checkpoint|folder) must (be a|have) \.safetensors, \.npz, "):
        check(tmp_path / name, PLAN)


def test_nothing_there(tmp_path: Path) -> None:
    """A path that does not exist."""
    for plan in (None, PLAN):
        with pytest.raises(FileNotFoundError):
            check(tmp_path / "none.safetensors", plan)


def test_models_of_checkpoints(tmp_path: Path, save: Saved) -> None:
    """The names, shapes and dtypes of a checkpoint are a model for recipes that need no more."""
    path = save(tmp_path, {"a.w": np.zeros((3, 2), np.float32), "b": np.zeros(4, np.float16)})
    model = model_of(path)
    described = {(each.path, each.shape, each.dtype.name) for each in model.parameters}
    assert described == {("a.w", (3, 2), "float32"), ("b", (4,), "float16")}
    assert {each.problem for each in check(path, plan_of(model, BY_NAME)).findings} == {"values"}  # pyright: ignore


def test_reports_as_data(tmp_path: Path) -> None:
    """The keys of a report, for programs."""
    arrays = values()
    arrays["w.kernel"][2, 1] = np.inf
    data = json.loads(json.dumps(check(as_npz(tmp_path, arrays), PLAN).as_dict()))
    assert data.pop("seconds") > 0
    (finding,) = data.pop("findings")
    right = str(values()["w.kernel"][2, 1])
    assert data == {
        "path": str(tmp_path / "all.npz"),
        "format": "npz",
        "source": "plan",
        "ok": False,
        "tensors": 6,
        "exact": 5,
        "by_digest": [],
        "unchecked": {},
        "bytes": PLAN.nbytes,
    }
    assert finding == {
        "name": "w.kernel",
        "problem": "values",
        "message": f"1 of 600 elements differs. The first is number 41, at (2, 1): it is inf, and should be {right}.",
        "differing": 1,
        "index": 41,
        "position": [2, 1],
        "expected": right,
        "stored": "inf",
    }


def test_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function is told how far the check is."""
    monkeypatch.setattr("fanin.recipes.progress._SECONDS", 0)
    events: list[dict[str, Any]] = []
    check(as_safetensors(tmp_path, values()), PLAN, progress=events.append)
    assert (events[-1]["event"], events[-1]["done"], events[-1]["total"]) == ("progress", PLAN.nbytes, PLAN.nbytes)


def test_no_framework_is_loaded(tmp_path: Path) -> None:
    """Files of safetensors and npz are checked without PyTorch and without their own libraries."""
    checkpoints.write(normal(), tmp_path)
    code = f"import sys, fanin.checkpoints as c; print(bool(c.check({str(tmp_path)!r})), *sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    done, *modules = run.stdout.split()
    assert done == "True"
    assert not {"torch", "safetensors", "jax", "tensorflow"} & set(modules)


@pytest.mark.parametrize("form", ["safetensors", "npz"])
def test_memory_is_bounded(tmp_path: Path, form: Any) -> None:
    """A checkpoint of 384 MiB in tensors of 192 is checked with less than 160 MiB more than nothing takes."""
    model = [{"path": f"w.{number}", "shape": [6144, 8192], "layout": "torch"} for number in range(2)]
    checkpoints.write(plan_of(model), tmp_path, format=form)
    code = (
        "import resource, fanin.checkpoints as c\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"before = peak(); print(bool(c.check({str(tmp_path)!r})), peak() - before)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    done, kibibytes = run.stdout.split()
    assert done == "True"
    assert int(kibibytes) < 160 * 1024


def test_bfloat16(tmp_path: Path) -> None:
    """Values of ml_dtypes are compared and shown."""
    plan = plan_of([{"path": "w.b", "shape": [6, 5], "dtype": "bfloat16", "layout": "torch"}])
    made = plan.entries[0].make()
    made[3, 3] = 2
    load.save_file({"w.b": made}, tmp_path / "m.safetensors")
    finding = only(check(tmp_path / "m.safetensors", plan))
    assert (finding.position, finding.stored) == ((3, 3), "2")
    assert finding.expected == str(plan.entries[0].make()[3, 3])
    assert made.dtype == ml_dtypes.bfloat16


def test_weights_beside_the_checkpoint(tmp_path: Path) -> None:
    """Other weights in the folder, which a program might load instead, are a finding."""
    plan = fanin.Recipe([{"path": "*", "initializer": "zeros"}]).plan([{"path": "w", "shape": [2]}])
    checkpoints.write(plan, tmp_path)
    assert check(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"other")
    finding = only(check(tmp_path))
    assert (finding.name, finding.problem) == ("pytorch_model.bin", "file")


def test_many_findings_are_folded(tmp_path: Path) -> None:
    """A report shows findings that are the same of many tensors in one line."""
    shapes = [{"path": f"layers.{number}.w", "shape": [2, 2]} for number in range(100)]
    recipe = fanin.Recipe([{"path": "*", "initializer": "random_normal"}])
    checkpoints.write(recipe.plan(shapes), tmp_path)
    report = check(tmp_path, recipe.plan([{**each, "dtype": "bfloat16"} for each in shapes]))
    assert len(report.findings) == 100
    assert str(report).splitlines()[1:] == ["layers.[0-99].w: its dtype is F32, and should be bfloat16."]
    different = check(tmp_path, recipe.with_seed(1).plan(shapes))
    assert len(different.findings) == 100
    assert str(different).splitlines()[-1] == "and 60 more lines, which `findings` (--json) has"


def test_under_needs_a_plan(tmp_path: Path) -> None:
    """A manifest says itself how names begin."""
    with pytest.raises(ValueError, match="`under` needs a plan"):
        check(tmp_path, under="model")


def test_a_recipe_is_no_plan(tmp_path: Path) -> None:
    """A recipe in the place of a plan is refused."""
    recipe: Any = fanin.Recipe([{"path": "*", "initializer": "zeros"}])
    with pytest.raises(TypeError, match="`plan` must be a plan"):
        check(tmp_path, recipe)
