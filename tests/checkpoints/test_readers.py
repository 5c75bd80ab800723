"""Files of `torch.save`: every tensor as PyTorch loads it, and no code that a pickle names is run."""

from __future__ import annotations

import collections
import copyreg
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from fanin._core.memory import as_numpy
from fanin._core.shapes import chunks
from fanin.checkpoints import CheckpointError, check, pickles
from fanin.checkpoints.contained import contents_of
from fanin.checkpoints.stored import Contents, Stored


def whole(stored: Stored, most: int) -> np.ndarray:
    """A tensor put together from regions of so many elements."""
    array = np.empty(stored.shape, stored.dtype)
    for region, part in stored.parts(tuple(slice(*each) for each in chunk) for chunk in chunks(stored.shape, most)):
        array[region] = part
    return array


def loaded(value: Any, name: str) -> torch.Tensor:
    """What is at the end of a name's way in what PyTorch has loaded."""
    for key in name.split("."):
        value = value[key] if isinstance(value, dict) and key in value else value[int(key)]
    return value


def assert_as_loaded(path: Path, *, weights_only: bool = True) -> Contents:
    """Every tensor has the bits that PyTorch loads, whatever the regions that it is read by."""
    contents = contents_of(path)
    assert contents.broken == {}
    values = torch.load(path, weights_only=weights_only)
    for name, stored in contents.tensors.items():
        tensor = loaded(values, name).detach().resolve_conj().resolve_neg().contiguous().clone()
        expected = as_numpy(tensor)
        for most in (1, 5, 10**6):
            found = whole(stored, most)
            assert (found.dtype, found.shape) == (expected.dtype, expected.shape), name
            assert found.tobytes() == expected.tobytes(), name
    return contents


BASE = torch.arange(48, dtype=torch.float32).reshape(8, 6)
TENSORS = {
    "contiguous": BASE,
    "transposed": BASE.t(),
    "permuted": torch.arange(24).reshape(2, 3, 4).permute(2, 0, 1),
    "rows": BASE[2:5],
    "columns": BASE[:, 1:3],
    "steps": BASE[::3, ::2],
    "element": BASE[3, 4],
    "expanded": torch.ones(3, 1).expand(3, 5),
    "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "parameter": torch.nn.Parameter(torch.randn(3)),
    "scalar": torch.tensor(2.5),
    "empty": torch.empty(0, 3),
    "conjugate": torch.randn(3, dtype=torch.complex64).conj(),
    "negative": torch.randn(3, dtype=torch.complex64).conj().imag,
}
DTYPES = ["float64", "float32", "float16", "bfloat16", "complex64", "complex128", "int64", "int32", "int16", "int8"]
DTYPES += ["uint8", "bool"]
NEW_DTYPES = ["uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2"]


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_geometries(tmp_path: Path, is_zip: bool) -> None:
    """Strides, offsets and storages that several tensors share."""
    torch.save(TENSORS, tmp_path / "a.pt", _use_new_zipfile_serialization=is_zip)
    assert list(assert_as_loaded(tmp_path / "a.pt").tensors) == list(TENSORS)


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_dtypes(tmp_path: Path, is_zip: bool) -> None:
    """All that NumPy or ml_dtypes have."""
    names = DTYPES + (NEW_DTYPES if is_zip else [])  # the old format cannot hold the new ones
    tensors = {name: torch.arange(7).to(getattr(torch, name)) for name in names}
    torch.save(tensors, tmp_path / "a.pt", _use_new_zipfile_serialization=is_zip)
    contents = assert_as_loaded(tmp_path / "a.pt")
    assert [each.dtype_name for each in contents.tensors.values()] == names


def test_nested(tmp_path: Path) -> None:
    """Dicts and lists give dotted names; what is no tensor is named apart."""
    model = torch.nn.Linear(2, 3)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    training = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "l": [torch.ones(2), "x"]}
    torch.save(training, tmp_path / "a.ckpt")
    contents = assert_as_loaded(tmp_path / "a.ckpt")
    assert {"model.weight", "optimizer.state.0.exp_avg", "l.0"} <= set(contents.tensors)
    assert {"epoch", "l.1", "optimizer.param_groups.0.lr"} <= set(contents.other)


@pytest.mark.filterwarnings("ignore")
def test_harmless_values(tmp_path: Path) -> None:
    """What PyTorch's own weights-only loading allows beside tensors, and NumPy's numbers."""
    values = {
        "size": torch.Size([1]),
        "device": torch.device("cpu"),
        "dtype": torch.float16,
        "set": {1},
        "bytes": b"a",
        "complex": 1j,
        "array": bytearray(b"b"),
        "ordered": collections.OrderedDict(a=1),
        "sparse": torch.eye(2).to_sparse(),
        "meta": torch.empty(2, device="meta"),
        "quantized": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        "numpy": np.float64(3),
        "w": torch.ones(1),
    }
    torch.save(values, tmp_path / "a.pt")
    contents = contents_of(tmp_path / "a.pt")
    assert (contents.broken, list(contents.tensors)) == ({}, ["w"])


def test_ties(tmp_path: Path) -> None:
    """Names of one memory are ties, views of a part of it are not."""
    torch.save({"a": BASE, "b": BASE, "c": BASE[:4], "d": BASE.clone()}, tmp_path / "a.pt")
    assert contents_of(tmp_path / "a.pt").ties == {"b": "a"}


def test_a_single_tensor(tmp_path: Path) -> None:
    """It has a name, too."""
    torch.save(BASE, tmp_path / "a.pt")
    assert list(contents_of(tmp_path / "a.pt").tensors) == ["tensor"]


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_protocols(tmp_path: Path, protocol: int) -> None:
    """Whatever protocol the pickle has."""
    torch.save({"a": BASE, "b": {"c": BASE.t()}}, tmp_path / "a.pt", pickle_protocol=protocol)
    assert_as_loaded(tmp_path / "a.pt", weights_only=protocol < 4)  # PyTorch's own loading of weights ends there


def test_compressed_members(tmp_path: Path) -> None:
    """A zip file that another program has compressed."""
    torch.save(TENSORS, tmp_path / "stored.pt")
    with zipfile.ZipFile(tmp_path / "stored.pt") as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in members.items():
            new.writestr(name, data)
    assert_as_loaded(tmp_path / "a.pt")


def test_without_checksums(tmp_path: Path) -> None:
    """PyTorch can leave the checksums out, and does not check them."""
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": BASE}, tmp_path / "a.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert_as_loaded(tmp_path / "a.pt")


def test_memory_of_gaps(tmp_path: Path) -> None:
    """A column of a large storage is read a part of the storage at a time."""
    torch.save({"w": torch.arange(2**20).reshape(2**10, 2**10)[:, 3]}, tmp_path / "a.pt")
    (stored,) = contents_of(tmp_path / "a.pt").tensors.values()
    parts = [part for _, part in stored.parts([(slice(0, 2**10),)])]
    assert max(len(part.base) for part in parts if isinstance(part.base, bytes)) < 2**14
    assert np.concatenate(parts).tolist() == list(range(3, 2**20, 2**10))


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_without_torch(tmp_path: Path) -> None:
    """PyTorch is not imported, not even for DCP's folders."""
    import torch.distributed.checkpoint as dcp

    torch.save(TENSORS, tmp_path / "a.pt")
    dcp.save({"m": {"w": BASE}}, checkpoint_id=tmp_path / "saved")  # pyright: ignore[reportPrivateImportUsage]
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path; from fanin.checkpoints.contained import contents_of\n"
        f"for each in ('a.pt', 'saved'):\n    found = contents_of(Path({str(tmp_path)!r}, each))\n"
        "    for stored in found.tensors.values():\n"
        "        list(stored.parts([tuple(slice(0, n) for n in stored.shape)]))\n"
        "    print(len(found.tensors))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.split() == [str(len(TENSORS)), "1"], run.stderr


# ---------------------------------------------------------------- refusals


class Hostile:
    """An object whose pickle makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt"])
def test_code_is_not_run(tmp_path: Path, suffix: str, is_zip: bool) -> None:
    """A file that holds code is refused by what it names, and nothing happens."""
    file = tmp_path / f"a{suffix}"
    torch.save({"w": BASE, "x": Hostile(tmp_path / "made")}, file, _use_new_zipfile_serialization=is_zip)
    (why,) = contents_of(file).broken.values()
    assert "is refused: its pickle names posix.mkdir" in why
    assert "Nothing was run" in why
    assert not (tmp_path / "made").exists()
    pickle.loads(pickle.dumps(Hostile(tmp_path / "made")))  # which would have happened
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
        (collections.deque([1]), "collections.deque"),
        (print, "__builtin__.print"),
        (copyreg.pickle, "copy_reg.pickle"),
    ],
)
def test_other_names(tmp_path: Path, value: Any, name: str) -> None:
    """Whole modules, classes and functions are refused by name."""
    torch.save(value, tmp_path / "a.pt")
    (why,) = contents_of(tmp_path / "a.pt").broken.values()
    assert f"is refused: its pickle names {name}, which" in why


@pytest.mark.filterwarnings("ignore")
def test_torchscript(tmp_path: Path) -> None:
    """A program is refused."""
    torch.jit.script(torch.nn.Linear(2, 3)).save(tmp_path / "a.pt")
    (why,) = contents_of(tmp_path / "a.pt").broken.values()
    assert "is refused: it is a program of TorchScript" in why


def rewritten(path: Path, change: Any) -> str:
    """Why a file cannot be read whose members were changed."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as new:
        for name, data in members.items():
            new.writestr(name, data)
    (why,) = contents_of(path).broken.values()
    return why


def test_big_endian(tmp_path: Path) -> None:
    """Numbers of the other order are not taken for these."""
    torch.save({"w": BASE}, tmp_path / "a.pt")
    assert "big-endian" in rewritten(tmp_path / "a.pt", lambda members: members.update({"a/byteorder": b"big"}))


def test_a_storage_that_is_missing(tmp_path: Path) -> None:
    """It is named."""
    torch.save({"w": BASE}, tmp_path / "a.pt")
    assert "it has no storage '0'" in rewritten(tmp_path / "a.pt", lambda members: members.pop("a/data/0"))


def test_a_storage_that_is_short(tmp_path: Path) -> None:
    """A tensor that reaches past its storage is refused."""
    torch.save({"w": BASE}, tmp_path / "a.pt")
    why = rewritten(tmp_path / "a.pt", lambda members: members.update({"a/data/0": bytes(100)}))
    assert "the storage of 'w' has 100 bytes, and should have 192" in why


def test_too_many_elements(tmp_path: Path) -> None:
    """One element that is shown 2**40 times is no work to be done."""
    torch.save({"w": torch.ones(1).expand(2**40)}, tmp_path / "a.pt")
    (why,) = contents_of(tmp_path / "a.pt").broken.values()
    assert "'w' shows 1 element as 1099511627776 by strides of 0" in why


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty"),
        (pickle.dumps({"a": 1}), "it is a plain pickle"),
        (b"something else", "it begins with other bytes"),
    ],
)
def test_other_files(tmp_path: Path, data: bytes, words: str) -> None:
    """What is no file of PyTorch is said."""
    (tmp_path / "a.bin").write_bytes(data)
    (why,) = contents_of(tmp_path / "a.bin").broken.values()
    assert words in why


# ---------------------------------------------------------------- pickles


def anything(name: pickles.Name) -> bool:
    """Expects every name."""
    return True


PLAIN = [None, True, 3, -(2**70), 2.5, "ü", [1, [2]], (1,), (1, 2, 3, 4), {"a": {1: 2}}, [], {}, ()]


@pytest.mark.parametrize(
    ("value", "protocol"),
    # Bytes are a call of codecs before protocol 3.
    [(value, protocol) for value in PLAIN for protocol in range(6)] + [(b"\0", protocol) for protocol in range(3, 6)],
    ids=repr,
)
def test_plain_values(value: Any, protocol: int) -> None:
    """Plain data come back as they were, in every protocol."""
    assert pickles.load(pickle.dumps(value, protocol), anything)[0] == value


def test_a_shared_list() -> None:
    """What a pickle has once is one object."""
    inner = [1]
    (first, second), _ = pickles.load(pickle.dumps([inner, inner]), anything)
    assert first is second


def bomb(levels: int) -> Any:
    """Lists that double at each level."""
    value: Any = [torch.ones(1)]
    for _ in range(levels):
        value = [value, value]
    return value


@pytest.mark.parametrize("levels", [30, 200])
def test_lists_that_multiply(tmp_path: Path, levels: int) -> None:
    """A few bytes that stand for 2**30 tensors are refused at once."""
    sys.setrecursionlimit(10_000)
    torch.save(bomb(levels), tmp_path / "a.pt")
    (why,) = contents_of(tmp_path / "a.pt").broken.values()
    assert "within one another too often" in why


def test_a_list_in_itself(tmp_path: Path) -> None:
    """A circle has no end."""
    value: list[Any] = [torch.ones(1)]
    value.append(value)
    torch.save(value, tmp_path / "a.pt")
    (why,) = contents_of(tmp_path / "a.pt").broken.values()
    assert "within one another too often" in why


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"abc.",  # bytes that are not there
        b"\x80\x04r" + struct.pack("<I", 2**31) + b".",  # a place in the memo
        b"\x80\x04.",  # nothing
        b"\x80\x04(.",  # a mark alone
        b"\x80\x04u.",  # items for nothing
        b"\x80\x04}](K\x01K\x02u.",  # items for a list
        b"\x80\x04}]K\x01s.",  # a list as a key
        b"\x80\x04h\x07.",  # what the memo lacks
        b"\x80\x04K\x01K\x02R.",  # a call of a number
        b"\x80\x04\x82\x01.",  # an extension
        b"\xff",
        b"",
    ],
)
def test_damaged_pickles(data: bytes) -> None:
    """They are refused, in no memory."""
    with pytest.raises(pickles.PickleError):
        pickles.load(data, anything)


def test_deep_pickles() -> None:
    """A million tuples within one another end neither the stack nor the process."""
    with pytest.raises(pickles.PickleError):
        pickles.load(b"\x80\x04)" + b"\x85" * 10**5 + b"}q\0(h\0K\x01u.", anything)


# ---------------------------------------------------------------- folders and plans


def sharded(folder: Path) -> None:
    """A folder as transformers writes it."""
    torch.save({"a": BASE}, folder / "pytorch_model-00001-of-00002.bin")
    torch.save({"b": BASE}, folder / "pytorch_model-00002-of-00002.bin")
    index = {"weight_map": {"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


def test_shards(tmp_path: Path) -> None:
    """All that the index lists; other files of training are no weights, or named as beside."""
    sharded(tmp_path)
    torch.save({"x": 1}, tmp_path / "training_args.bin")
    torch.save({"x": torch.ones(1)}, tmp_path / "optimizer.pt")
    contents = contents_of(tmp_path)
    assert (contents.format, list(contents.tensors), contents.beside) == ("pytorch", ["a", "b"], ("optimizer.pt",))


def test_a_wrong_index(tmp_path: Path) -> None:
    """An index that says another file is noted."""
    sharded(tmp_path)
    torch.save({"c": BASE}, tmp_path / "pytorch_model-00002-of-00002.bin")
    (why,) = contents_of(tmp_path).broken.items()
    assert why[0] == "pytorch_model.bin.index.json"
    assert "it says that 'b' is in pytorch_model-00002-of-00002.bin, and it is not" in why[1]


def test_a_name_in_two_files(tmp_path: Path) -> None:
    """Neither is taken for the other."""
    for name in ("a.pt", "b.pt"):
        torch.save({"w": BASE}, tmp_path / name)
    assert contents_of(tmp_path).broken == {"b.pt": "b.pt has 'w', which a.pt has, too."}


def test_several_kinds(tmp_path: Path) -> None:
    """safetensors come first, and the others are named."""
    library = pytest.importorskip("safetensors.torch")
    torch.save({"w": BASE}, tmp_path / "pytorch_model.bin")
    library.save_file({"w": BASE}, tmp_path / "model.safetensors")
    contents = contents_of(tmp_path)
    assert (contents.format, contents.beside) == ("safetensors", ("pytorch_model.bin",))


@pytest.mark.parametrize("kind", ["pytorch", "legacy", "npz", "safetensors"])
def test_files_without_a_suffix(tmp_path: Path, kind: str) -> None:
    """The first bytes say what they are."""
    path = tmp_path / "weights"
    if kind == "npz":
        with open(path, "wb") as file:
            np.savez(file, w=BASE.numpy())
    elif kind == "safetensors":
        pytest.importorskip("safetensors.torch").save_file({"w": BASE}, path)
    else:
        torch.save({"w": BASE}, path, _use_new_zipfile_serialization=kind == "pytorch")
    assert list(contents_of(path).tensors) == ["w"]


def test_check_against_a_plan(tmp_path: Path) -> None:
    """`fanin check` compares every bit of a state dict with a plan, and finds the one that differs."""
    import fanin
    import fanin.torch

    model = torch.nn.Sequential(torch.nn.Linear(30, 40), torch.nn.Linear(40, 50, dtype=torch.bfloat16))
    recipe = fanin.Recipe.preset("torch", seed=1)
    fanin.torch.initialize(model, recipe)
    torch.save({"model": model.state_dict()}, tmp_path / "a.pt")
    report = check(tmp_path / "a.pt", recipe.plan(model), under="model")
    assert (bool(report), report.format, len(report.exact)) == (True, "pytorch", 4)
    with torch.no_grad():
        model.get_parameter("0.weight")[3, 4] += 1
    torch.save({"model": model.state_dict()}, tmp_path / "a.pt")
    (finding,) = check(tmp_path / "a.pt", recipe.plan(model), under="model").findings
    assert (finding.name, finding.position, finding.differing) == ("model.0.weight", (3, 4), 1)


# ---------------------------------------------------------------- zip files


def test_a_zip_bomb(tmp_path: Path) -> None:
    """A member that claims more than any compression reaches is refused before it is read."""
    np.savez_compressed(tmp_path / "a.npz", w=np.zeros(10**6))
    data = bytearray((tmp_path / "a.npz").read_bytes())
    place = data.rindex(b"PK\x01\x02")
    assert contents_of(tmp_path / "a.npz").broken == {}
    data[place + 24 : place + 28] = (2**32 - 2).to_bytes(4, "little")
    (tmp_path / "a.npz").write_bytes(data)
    (why,) = contents_of(tmp_path / "a.npz").broken.values()
    assert "cannot have 4 GiB" in why


def test_overlapping_members(tmp_path: Path) -> None:
    """Two members of the same bytes, as in bombs, are refused."""
    np.savez(tmp_path / "a.npz", a=np.ones(1000), b=np.ones(1000))
    data = bytearray((tmp_path / "a.npz").read_bytes())
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 1)
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    (tmp_path / "a.npz").write_bytes(data)
    (why,) = contents_of(tmp_path / "a.npz").broken.values()
    assert "reaches past the file or into the next one" in why


def test_an_array_of_a_false_size(tmp_path: Path) -> None:
    """A header that claims 2**60 elements is refused; other arrays are read."""
    header = b"\x93NUMPY\x01\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (1152921504606846976,), }"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("w.npy", header.ljust(127) + b"\n" + bytes(8))
    np.savez(tmp_path / "b.npz", w=np.ones(2))
    contents = contents_of(tmp_path)
    assert list(contents.tensors) == ["w"]
    assert "cannot have 8 bytes" in contents.broken["a.npz"]


def test_errors_are_checkpoint_errors() -> None:
    """Pickles raise errors of their own, which files turn into theirs."""
    assert not issubclass(pickles.PickleError, CheckpointError)


@pytest.mark.parametrize("place", ["pipe.safetensors", "folder"])
def test_pipes_are_refused(tmp_path: Path, place: str) -> None:
    """To open one would wait for whoever writes to it."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe.safetensors")
    os.mkfifo(tmp_path / "folder" / "model.npz")
    with pytest.raises(ValueError, match=r"Tensors must be in a regular file\. Received: "):
        contents_of(tmp_path / place)


def test_a_file_without_arrays(tmp_path: Path) -> None:
    """`np.savez` writes one, which is whole."""
    np.savez(tmp_path / "none.npz")
    contents = contents_of(tmp_path / "none.npz")
    assert (dict(contents.tensors), contents.broken) == ({}, {})
