"""Models that are files: lists in JSON and TOML, and headers of safetensors files."""

import json
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from fanin.models.files import describe_file
from fanin.models.lists import described_list

LIST = [{"path": "a.kernel", "shape": [2, 3], "layout": "keras"}, {"path": "b", "shape": [], "dtype": "float16"}]
TOML = """\
[[parameters]]
path = "a.kernel"
shape = [2, 3]
layout = "keras"

[[parameters]]
path = "b"
shape = []
dtype = "float16"
"""


@pytest.mark.parametrize("name", ["model.json", "model.JSON", "table.json", "model.toml"])
def test_lists(name: str, tmp_path: Path) -> None:
    """A list of parameters, by itself or as `parameters` of a table; the model is called by the file's name."""
    path = tmp_path / name
    path.write_text(TOML if name.endswith("toml") else json.dumps({"parameters": LIST} if "table" in name else LIST))
    assert describe_file(path) == described_list(LIST, name)


@pytest.mark.parametrize("name", ["model.json", "model.toml"])
def test_byte_order_marks(name: str, tmp_path: Path) -> None:
    """Files that some editors begin with a mark are read, as recipes are."""
    path = tmp_path / name
    path.write_text(TOML if name.endswith("toml") else json.dumps(LIST), encoding="utf-8-sig")
    assert describe_file(path) == described_list(LIST, name)


LISTED = "must have a list of parameters, each with `path` and `shape` (in TOML, [[parameters]]). Received: "
BAD: dict[str, tuple[str, str]] = {
    "a.json": ("[", "a.json is not JSON: Expecting value"),
    "b.json": ("[]", f"b.json {LISTED}[]."),
    "c.json": ("3", f"c.json {LISTED}3."),
    "d.json": ('[{"shape": [1]}]', f"d.json {LISTED}[{{'shape': [1]}}]."),
    "e.json": ('{"parameter": []}', f"e.json {LISTED}{{'parameter': []}}."),
    "f.json": (json.dumps("x" * 999), f"f.json {LISTED}'{'x' * 196}...."),
    "g.json": ('[{"path": "w", "shap": [1]}]', "Entry 1 of the list, 'w': Unknown key 'shap'. Did you mean 'shape'?"),
    "m.json": (
        '[{"path": "w", "shape": [1], "path": "v"}]',
        "m.json must have each key of a parameter once. Received: 'path' twice.",
    ),
    "n.json": (
        '[{"path": ":0", "shape": [1]}]',
        "Entry 1 of the list, ':0': `path` must not be empty. Received: ':0'.",
    ),
    "h.toml": ("a = = 1", "h.toml is not TOML: Invalid value"),
    "i.toml": ("a = 1", f"i.toml {LISTED}{{'a': 1}}."),
    "j.safetensors": ("x", "j.safetensors is not a safetensors file: "),
    "k.txt": ("", "A model file must end in .json, .toml, .safetensors. Received: "),
    "l.json": ("[" * 100000, "l.json must not be nested so deeply."),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files(name: str, tmp_path: Path) -> None:
    """What is no list of parameters, with the file's name."""
    text, message = BAD[name]
    if name.endswith("safetensors"):
        pytest.importorskip("safetensors")
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the message is compared below)
        describe_file(tmp_path / name)
    assert str(caught.value).startswith(message)


def test_other_files(tmp_path: Path) -> None:
    """What is not UTF-8 is none of these formats; files that are not there say so."""
    (tmp_path / "a.json").write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"^a\.json must be UTF-8: 'utf-8' codec can't decode"):
        describe_file(tmp_path / "a.json")
    for name in ("missing.json", "missing.toml"):
        with pytest.raises(FileNotFoundError, match=name):
            describe_file(tmp_path / name)
    pytest.importorskip("safetensors")
    with pytest.raises(FileNotFoundError, match=r"missing\.safetensors"):
        describe_file(tmp_path / "missing.safetensors")


def test_safetensors(tmp_path: Path) -> None:
    """Names, shapes and dtypes come from the header; what a file cannot tell is noted."""
    numpy = pytest.importorskip("safetensors.numpy")
    tensors = {
        "h.0.fc.weight": np.zeros((3, 4), np.float16),
        "h.0.ln.weight": np.zeros(3, np.float32),
        "h.0.fc.bias": np.zeros(3, ml_dtypes.bfloat16),
        "n.num_batches_tracked": np.zeros((), np.int64),
        "mask": np.zeros((2, 2), bool),
    }
    numpy.save_file(tensors, tmp_path / "model.safetensors")
    model = describe_file(tmp_path / "model.safetensors")
    described = {each.path: (each.shape, each.dtype.name, each.role) for each in model.parameters}
    assert described == {
        "h.0.fc.weight": ((3, 4), "float16", "other"),
        "h.0.ln.weight": ((3,), "float32", "scale"),
        "h.0.fc.bias": ((3,), "bfloat16", "bias"),
        "n.num_batches_tracked": ((), "int64", "count"),
        "mask": ((2, 2), "bool", "other"),
    }
    assert model.name == "model.safetensors"
    assert [note.partition(":")[0] for note in model.notes] == ["a file has only names and shapes"]


def test_without_the_library(tmp_path: Path) -> None:
    """Where safetensors is not installed, it is said what to install."""
    (tmp_path / "a.safetensors").write_bytes(b"")
    code = (
        "import pathlib, sys\nsys.modules['safetensors'] = None\n"
        "from fanin.models.files import describe_file\ndescribe_file(pathlib.Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.safetensors")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    said = "ImportError: The library safetensors is not installed: pip install 'fanin[safetensors]'."
    assert run.stderr.splitlines()[-1] == said
