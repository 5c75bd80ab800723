"""Files in the safetensors format: the bytes of the library's own, and headers that are damaged or hostile."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import checkpoint_kit as kit
from fanin import checkpoints
from fanin.checkpoints.safetensors import laid_out, read_header
from fanin.recipes import Plan

library = pytest.importorskip("safetensors")
torch = pytest.importorskip("torch")


def tensors_of(plan: Plan) -> dict[str, Any]:
    """The values of a plan as PyTorch tensors."""
    found = {}
    for entry in plan.entries:
        array = entry.make()
        tensor = found[entry.path] = torch.empty(array.shape, dtype=getattr(torch, array.dtype.name))
        if array.size:
            flat = torch.frombuffer(bytearray(array.tobytes()), dtype=torch.uint8)
            tensor.reshape(-1).view(torch.uint8).copy_(flat)
    return found


def saved(tensors: Mapping[str, Any]) -> bytes:
    """The file that the library writes, with the metadata that transformers gives it."""
    from safetensors.torch import save

    return save(dict(tensors), {"format": "pt"})


@pytest.mark.parametrize("dtype", [*kit.NUMPY_DTYPES, *kit.ML_DTYPES])
def test_one_dtype_has_the_librarys_bytes(dtype: str, tmp_path: Path) -> None:
    """0-d, empty, odd and larger tensors of one dtype, under names with quotes, line ends and accents."""
    plan = kit.mixed((dtype,))
    checkpoints.write(plan, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == saved(tensors_of(plan))


def test_mixed_dtypes_have_the_librarys_bytes(tmp_path: Path) -> None:
    """All dtypes in one file, in the library's order."""
    plan = kit.mixed()
    checkpoints.write(plan, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == saved(tensors_of(plan))


def test_numpy_face_of_the_library(tmp_path: Path) -> None:
    """The library's NumPy functions write the same file, and read the same arrays."""
    from safetensors import numpy as face

    plan = kit.mixed(kit.NUMPY_DTYPES)
    checkpoints.write(plan, tmp_path)
    arrays = {each.path: each.make() for each in plan.entries}
    assert (tmp_path / "model.safetensors").read_bytes() == face.save(arrays, {"format": "pt"})
    loaded = face.load_file(tmp_path / "model.safetensors")
    assert all(loaded[name].tobytes() == array.tobytes() for name, array in arrays.items())


@pytest.mark.parametrize("length", range(8))
def test_padding(length: int, tmp_path: Path) -> None:
    """Headers of every length modulo 8 are padded as the library pads them."""
    plan = kit.plan_of([{"path": "w." + "x" * length, "shape": [3]}])
    checkpoints.write(plan, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == saved(tensors_of(plan))


def test_tensors_of_more_than_a_buffer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tensor that fills buffers several times, one whose rows do, and small ones between them."""
    monkeypatch.setattr("fanin.checkpoints.drawing.BUFFER", 1024)
    shapes = {"w.a": [100, 7], "w.b": [3, 1000], "w.c": [2, 3, 300], "w.d": [5], "q.e": [40, 60], "w.f": [1, 1, 700]}
    plan = kit.plan_of([{"path": name, "shape": shape, "layout": "torch"} for name, shape in shapes.items()])
    checkpoints.write(plan, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == saved(tensors_of(plan))


def test_short_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that writes fewer bytes at a time than it is given gets the others again."""
    write, counts = os.writev, []

    def short(descriptor: int, parts: list[memoryview]) -> int:
        counts.append(len(parts))
        return write(descriptor, [parts[0][: 1 + len(counts) % 777]])

    monkeypatch.setattr(os, "writev", short)
    plan = kit.normal(rows=20)
    checkpoints.write(plan, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == saved(tensors_of(plan))
    assert len(counts) > 50


def test_the_library_loads_it(tmp_path: Path) -> None:
    """`load_file` gives the tensors."""
    from safetensors.torch import load_file

    plan = kit.mixed()
    checkpoints.write(plan, tmp_path)
    loaded = load_file(tmp_path / "model.safetensors")
    for name, tensor in tensors_of(plan).items():
        assert loaded[name].dtype == tensor.dtype
        assert loaded[name].shape == tensor.shape
        assert torch.equal(loaded[name].reshape(-1).view(torch.uint8), tensor.reshape(-1).view(torch.uint8))


def test_headers_are_read_as_data(tmp_path: Path) -> None:
    """What is read of the library's file is what is laid out for the same tensors."""
    plan = kit.mixed()
    path = tmp_path / "a.safetensors"
    path.write_bytes(saved(tensors_of(plan)))
    header = read_header(path)
    assert header == laid_out([(e.path, e.parameter.dtype, e.shape) for e in plan.entries], {"format": "pt"})
    assert header.file_size == path.stat().st_size
    assert header.tensor("row.int16").numpy_dtype == np.int16
    assert header.tensor("row.int16").nbytes == 514


def test_packed_dtypes_are_known(tmp_path: Path) -> None:
    """A header with elements of four bits is read; NumPy has no such dtype, which is said when it is wanted."""
    from safetensors.torch import save

    path = tmp_path / "a.safetensors"
    path.write_bytes(save({"w": torch.zeros(4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)}))
    tensor = read_header(path).tensor("w")
    assert (tensor.dtype, tensor.nbytes) == ("F4", 4)
    with pytest.raises(checkpoints.CheckpointError, match="whose elements are packed"):
        _ = tensor.numpy_dtype


def file_of(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """A file with this header, given as text or as data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def one(**changes: Any) -> dict[str, Any]:
    """A header of one tensor, with these changes."""
    return {"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **changes}}


DAMAGED = {
    "nothing": (b"", "it has 0 bytes, fewer than the 8"),
    "cut in the length": (b"\x10\0\0", "it has 3 bytes"),
    "cut in the header": (file_of(b"{", length=16), "header should have 16 bytes, but the file ends after 1"),
    "huge header": (file_of(b"{}", length=2**60), "its header claims 1 EiB; the limit is 95.37 MiB"),
    "cut in the data": (file_of(one(), b"123"), "cut short: its tensors have 4 bytes, and 3 follow the header"),
    "too much data": (file_of(one(), b"12345"), "too long: its tensors have 4 bytes, and 5 follow the header"),
    "no JSON": (file_of(b"hello"), "its header is not JSON"),
    "no UTF-8": (file_of(b'{"\xff": 1}'), "its header is not JSON"),
    "deep": (file_of(b"[" * 100_000), "its header is not JSON"),
    "a list": (file_of([]), "its header is not a JSON object"),
    "long numbers": (file_of(b'{"w": ' + b"1" * 9999 + b"}"), "its header is not JSON"),
    "twice": (file_of(b'{"w": 1, "w": 1}'), "its header has 'w' twice"),
    "metadata": (file_of({"__metadata__": {"a": 1}}), "its __metadata__ is not an object of texts"),
    "no shape": (file_of({"w": {"dtype": "F32", "data_offsets": [0, 4]}}), "'w' must have a dtype, a shape and"),
    "unknown dtype": (file_of(one(dtype="F7")), "'w' has the unknown dtype 'F7'"),
    "a dtype that is none": (file_of(one(dtype=[])), r"'w' has the unknown dtype \[\]"),
    "negative length": (file_of(one(shape=[-1])), r"'w' has no shape but \[-1\]"),
    "true as a length": (file_of(one(shape=[True])), r"'w' has no shape but \[True\]"),
    "a fraction": (file_of(one(shape=[1.0])), r"'w' has no shape but \[1.0\]"),
    "offsets in disorder": (file_of(one(data_offsets=[4, 0])), r"'w' has no data_offsets but \[4, 0\]"),
    "three offsets": (file_of(one(data_offsets=[0, 4, 8])), "'w' has no data_offsets"),
    "a wrong size": (file_of(one(shape=[2])), r"'w' of dtype F32 and shape \[2\] cannot have 4 bytes"),
    "an overflow": (file_of(one(shape=[2**62, 4])), "cannot have 4 bytes"),
    "half a byte": (file_of(one(dtype="F4", shape=[3], data_offsets=[0, 1])), "cannot have 1 bytes"),
    "a gap": (file_of(one(data_offsets=[4, 8]), bytes(8)), "the bytes of 'w' begin at 4, and must begin at 0"),
    "an overlap": (file_of({**one(), "v": one()["w"]}, bytes(4)), "begin at 0, and must begin at 4"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_files(case: str, tmp_path: Path) -> None:
    """A file that is damaged or hostile has an error that says so; the library refuses it, too."""
    data, message = DAMAGED[case]
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises(
        checkpoints.CheckpointError, match=f"^a.safetensors is not a whole safetensors file: .*{message}"
    ):
        read_header(path)
    if case != "twice":  # of which the library takes the last
        with pytest.raises(library.SafetensorError), library.safe_open(path, "numpy"):
            pass


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    """A file that ends anywhere before its end is none."""
    path = tmp_path / "a.safetensors"
    whole = saved(tensors_of(kit.normal(rows=1, count=1)))
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(checkpoints.CheckpointError, match="is not a whole safetensors file"):
            read_header(path)


@pytest.mark.parametrize(
    ("path", "dtype", "message"),
    [
        ("__metadata__", "float32", "cannot hold a tensor that is called __metadata__"),
        ("w\ud800", "float32", "must be valid Unicode"),
        ("w", "int4", "cannot hold the dtype int4. It can hold bool, uint8, int8"),
        ("w", "complex128", "cannot hold the dtype complex128"),
    ],
)
def test_what_files_cannot_hold(path: str, dtype: str, message: str, tmp_path: Path) -> None:
    """Names and dtypes that the format does not have are refused before anything is written."""
    plan = kit.plan_of([{"path": path, "shape": [2], "dtype": dtype}], [{"path": "*", "initializer": "zeros"}])
    with pytest.raises(checkpoints.CheckpointError, match=message):
        checkpoints.write(plan, tmp_path / "out")
    assert not (tmp_path / "out").exists()
