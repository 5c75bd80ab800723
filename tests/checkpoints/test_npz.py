"""Files in the npz format: those of `np.savez`, written in pieces."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import checkpoint_kit as kit
from fanin import checkpoints
from fanin.recipes import Plan


def saved(plan: Plan) -> bytes:
    """The file that NumPy writes."""
    file = io.BytesIO()
    arrays: dict[str, Any] = {entry.path: entry.make() for entry in plan.entries}
    np.savez(file, **arrays)
    return file.getvalue()


def test_numpys_bytes(tmp_path: Path) -> None:
    """All dtypes that NumPy has, in 0-d, empty, odd and larger arrays, under names of many kinds."""
    plan = kit.mixed(kit.NUMPY_DTYPES)
    checkpoints.write(plan, tmp_path, format="npz")
    assert (tmp_path / "model.npz").read_bytes() == saved(plan)


def test_numpy_loads_it(tmp_path: Path) -> None:
    """`np.load` gives the arrays."""
    plan = kit.mixed(kit.NUMPY_DTYPES)
    checkpoints.write(plan, tmp_path, format="npz")
    with np.load(tmp_path / "model.npz") as loaded:
        assert set(loaded) == {entry.path for entry in plan.entries}
        for entry in plan.entries:
            assert (loaded[entry.path].dtype, loaded[entry.path].shape) == (entry.parameter.dtype, entry.shape)
            assert loaded[entry.path].tobytes() == entry.make().tobytes()


def test_arrays_of_more_than_a_buffer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An array that comes in many pieces has the same bytes."""
    monkeypatch.setattr("fanin.checkpoints.drawing.BUFFER", 1024)
    plan = kit.normal(rows=99)
    checkpoints.write(plan, tmp_path, format="npz")
    assert (tmp_path / "model.npz").read_bytes() == saved(plan)


def test_sizes_are_known_before(tmp_path: Path) -> None:
    """The arrangement has the size that the file will have."""
    plan = kit.mixed(kit.NUMPY_DTYPES)
    (file,) = checkpoints.arrange(plan, format="npz").files
    assert file.size == len(saved(plan))


def test_sizes_of_large_files_are_known_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those with the further fields of files of more than 2 GiB, which begin earlier here."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 20_000)
    plan = kit.plan_of([{"path": f"w.{n}", "shape": [n, 64]} for n in (20, 100, 3, 1)])
    (file,) = checkpoints.arrange(plan, format="npz").files
    assert file.size == len(saved(plan))


def test_dtypes_that_numpy_lacks(tmp_path: Path) -> None:
    """They are refused before anything is written, all of them with their names."""
    plan = kit.plan_of([{"path": f"w.{dtype}", "shape": [2], "dtype": dtype} for dtype in ("bfloat16", "float8_e5m2")])
    with pytest.raises(checkpoints.CheckpointError) as caught:
        checkpoints.write(plan, tmp_path / "out", format="npz")
    head, *lines = str(caught.value).splitlines()
    assert head == "a list of shapes cannot be written; nothing has been written."
    rule, hint = "A .npz file holds the dtypes that NumPy itself has", "Write safetensors, or plan the model in float32"
    assert lines == [f"  w.{dtype}: {rule}. Received: {dtype}. {hint}." for dtype in ("bfloat16", "float8_e5m2")]
    assert not (tmp_path / "out").exists()


def test_several_files(tmp_path: Path) -> None:
    """A smaller size makes several, without an index, which NumPy does not have."""
    plan = kit.normal()
    checkpoints.write(plan, tmp_path, format="npz", max_shard_size=40_000)
    names = [f"model-0000{number}-of-00003.npz" for number in (1, 2, 3)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fanin.json", *names]
    loaded = {name: array for file in names for name, array in np.load(tmp_path / file).items()}
    assert {name: array.tobytes() for name, array in loaded.items()} == {
        entry.path: entry.make().tobytes() for entry in plan.entries
    }


@pytest.mark.parametrize("end", [0, 30, 5_000, -12, -30])
def test_a_cut_file_is_made_again(end: int, tmp_path: Path) -> None:
    """One that ends early, or whose bytes differ, is not kept."""
    plan = kit.normal()
    checkpoints.write(plan, tmp_path, format="npz")
    whole = (tmp_path / "model.npz").read_bytes()
    (tmp_path / "model.npz").write_bytes(whole[:end] + bytes(len(whole[end:])))
    report = checkpoints.write(plan, tmp_path, format="npz")
    assert (report.files, report.replaced) == (("model.npz",), {"model.npz": "model.npz.replaced-1"})
    assert (tmp_path / "model.npz").read_bytes() == whole
