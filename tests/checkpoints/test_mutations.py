"""Ten thousand damaged files: each is read or refused with a clear error, in the memory of a small file."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mutations

ARRAYS: dict[str, Any] = {
    "layers.0.weight": np.linspace(-1, 1, 60, dtype="float32").reshape(6, 10),
    "layers.0.bias": np.zeros(10, "float16"),
    "steps": np.arange(3),
}


def safetensors_file(folder: Path) -> Path:
    """As the library writes it."""
    library = pytest.importorskip("safetensors.numpy")
    library.save_file(ARRAYS, folder / "model.safetensors")
    return folder / "model.safetensors"


def npz_file(folder: Path) -> Path:
    """As NumPy writes it, with an array in Fortran's order."""
    np.savez(folder / "model.npz", **ARRAYS, turned=np.asfortranarray(ARRAYS["layers.0.weight"]))
    return folder / "model.npz"


def compressed_npz_file(folder: Path) -> Path:
    """The same, compressed."""
    np.savez_compressed(folder / "model.npz", **ARRAYS, zeros=np.zeros(3000))
    return folder / "model.npz"


def state_dict() -> dict[str, Any]:
    """Tensors of several kinds, with an optimizer's state."""
    torch = pytest.importorskip("torch")
    weight = torch.nn.Parameter(torch.linspace(-1, 1, 60).reshape(6, 10))
    state = {"w": weight, "t": weight.detach().t(), "e": torch.ones(1).expand(4, 5), "h": torch.ones(7).bfloat16()}
    return {"model": state, "optimizer": {"state": {0: {"step": 3, "m": torch.zeros(6, 10)}}, "lr": [0.1]}}


def pytorch_file(folder: Path) -> Path:
    """As PyTorch writes it."""
    torch = pytest.importorskip("torch")
    torch.save(state_dict(), folder / "model.pt")
    return folder / "model.pt"


def compressed_pytorch_file(folder: Path) -> Path:
    """The same, in a zip file with compression."""
    path = pytorch_file(folder)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(folder / "c.pt", "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return folder / "c.pt"


def legacy_pytorch_file(folder: Path) -> Path:
    """As PyTorch wrote it before 1.6."""
    torch = pytest.importorskip("torch")
    torch.save(state_dict(), folder / "model.pth", _use_new_zipfile_serialization=False)
    return folder / "model.pth"


def dcp_folder(folder: Path) -> Path:
    """As torch.distributed.checkpoint writes it."""
    pytest.importorskip("torch")
    dcp: Any = importlib.import_module("torch.distributed.checkpoint")
    dcp.save(state_dict(), checkpoint_id=folder / "saved")
    return folder / "saved"


def keras2_file(folder: Path) -> Path:
    """HDF5 as Keras 2 writes it."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "model.h5", "w") as file:
        file.attrs["layer_names"] = ["dense"]
        group = file.create_group("dense")
        group.attrs["weight_names"] = ["dense/kernel:0", "dense/bias:0"]
        group["dense/kernel:0"] = ARRAYS["layers.0.weight"]
        group["dense/bias:0"] = ARRAYS["layers.0.bias"]
    return folder / "model.h5"


def keras3_file(folder: Path) -> Path:
    """HDF5 as Keras 3 writes it, with chunks and compression."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "model.weights.h5", "w") as file:
        group = file.create_group("layers/dense/vars")
        group.attrs["name"] = "first"
        options = {"chunks": (2, 5), "compression": "gzip", "shuffle": True, "fletcher32": True}
        group.create_dataset("0", data=ARRAYS["layers.0.weight"], **options)
        group.create_dataset("1", data=ARRAYS["layers.0.bias"])
    return folder / "model.weights.h5"


def keras_file(folder: Path) -> Path:
    """A zip file with HDF5 in it."""
    path = keras3_file(folder)
    with zipfile.ZipFile(folder / "model.keras", "w") as file:
        file.writestr("config.json", "{}")
        file.write(path, "model.weights.h5")
    return folder / "model.keras"


# What is damaged, and which part of it: a member of a zip file, which then is whole, or a file of a folder.
CASES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "safetensors": (safetensors_file, ""),
    "npz": (npz_file, ""),
    "npz-headers": (npz_file, ".npy"),
    "npz-compressed": (compressed_npz_file, ""),
    "pytorch": (pytorch_file, ""),
    "pytorch-pickle": (pytorch_file, "data.pkl"),
    "pytorch-compressed": (compressed_pytorch_file, ""),
    "pytorch-legacy": (legacy_pytorch_file, ""),
    "dcp-metadata": (dcp_folder, ".metadata"),
    "dcp-data": (dcp_folder, "*.distcp"),
    "hdf5-keras2": (keras2_file, ""),
    "hdf5-keras3": (keras3_file, ""),
    "keras": (keras_file, ""),
}
COUNT, SEEDS = 385, (1, 2)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("case", CASES)
def test_damaged_files(tmp_path: Path, case: str, seed: int) -> None:
    """Of each format, whose reading never ends the process, hangs, or takes memory that the file does not have."""
    make, member = CASES[case]
    path = make(tmp_path)
    arguments = [str(path), str(COUNT), str(seed), *([member] if member else [])]
    run = subprocess.run(
        [sys.executable, mutations.__file__, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 0, run.stderr[-2000:]
    found = json.loads(run.stdout)
    assert found["wrong"] == []
    assert found["read"] + found["refused"] == COUNT
    assert found["refused"] > COUNT / 5
    assert found["most"] < 2**21 + 100 * found["size"]


def test_there_are_ten_thousand() -> None:
    """As many as are promised."""
    assert len(CASES) * COUNT * len(SEEDS) >= 10_000
