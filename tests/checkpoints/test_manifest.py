"""Manifests and records: plain data that says what files hold and makes it again, and that is not trusted blindly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import checkpoint_kit as kit
import fanin
from catalogue import CATALOGUE, fitted
from fanin import checkpoints
from fanin.checkpoints.records import entry_of, record_of
from fanin.recipes import Entry, Plan

EXPERTS = [
    {
        "path": "*experts*",
        "initializer": "random_normal",
        "stddev": "0.1 / (1 + depth)",
        "layout": "keras",
        "stacked": 1,
    },
    {"path": "fused", "block": "query", "initializer": "orthogonal", "gain": 2.0},
    {"path": "*", "initializer": "glorot_uniform"},
]
MODEL = [
    {"path": "h.experts", "shape": [3, 4, 5], "role": "kernel"},
    {"path": "fused", "shape": [12, 4], "layout": "torch", "blocks": ["query", "key", "value"], "dtype": "bfloat16"},
    {"path": "conv", "shape": [8, 4, 3, 3], "layout": "torch", "fan_in": 7, "fan_out": 9, "tied": ["head"]},
]
VALUES = [0.5, float("inf"), float("-inf"), float("nan"), 1e-45, -0.0]


def plans() -> dict[str, Plan]:
    """Plans of every distribution, dtype and kind of placement."""
    return {
        "mixed": kit.mixed(),
        "experts": kit.plan_of(MODEL, EXPERTS),
        "identity": kit.plan_of(
            [{"path": "i", "shape": [3, 5], "layout": "torch"}], [{"path": "*", "initializer": "identity", "gain": 0.3}]
        ),
        "values": kit.plan_of(
            [{"path": str(number), "shape": [2]} for number in range(len(VALUES))],
            [{"path": str(number), "initializer": "constant", "value": value} for number, value in enumerate(VALUES)],
        ),
        "complex": kit.plan_of(
            [{"path": "c", "shape": [2], "dtype": "complex64"}],
            [{"path": "*", "initializer": fanin.Constant(1.5 - 2j)}],
        ),
        "laws": kit.plan_of(
            [{"path": each, "shape": [6, 5], "layout": "torch", "dtype": "bfloat16"} for each in "abcdefg"],
            [
                {"path": "a", "initializer": "truncated_normal", "minval": 0.01},
                {"path": "b", "initializer": "exponential", "rate": 2},
                {"path": "c", "initializer": "log_normal"},
                {"path": "d", "initializer": "bernoulli", "p": 0.3},
                {"path": "e", "initializer": "sparse", "sparsity": 0.3},
                {"path": "f", "initializer": "table", "values": [1.5, float("inf"), -0.0, 0.1, 0, 3]},
                {"path": "g", "initializer": "truncated_normal", "minval": -2, "maxval": 2},
            ],
        ),
        "integers": kit.plan_of(
            [{"path": "n", "shape": [50], "dtype": "int64"}],
            [{"path": "*", "initializer": "random_uniform", "minval": -5, "maxval": 2**40}],
        ),
    }


@pytest.mark.parametrize("case", plans())
def test_records_make_the_values_again(case: str) -> None:
    """After a way through JSON, every record makes the bytes of its entry, of the whole and of a region."""
    for entry in plans()[case].entries:
        record = json.loads(json.dumps(record_of(entry), allow_nan=False))
        again = entry_of(entry.path, entry.parameter.dtype, entry.shape, record)
        assert again.make().tobytes() == entry.make().tobytes()
        assert [each.weight for each in again.placements] == [
            each.weight for each in entry.placements
        ] or case == "values"
        if entry.parameter.size and entry.shape:
            assert again.make(slice(1, None)).tobytes() == entry.make(slice(1, None)).tobytes()


def test_long_tables_have_no_record() -> None:
    """Their values are not written out."""
    for size, described in ((4096, True), (4097, False)):
        rules = [{"path": "*", "initializer": fanin.Table(np.arange(size))}]
        (entry,) = kit.plan_of([{"path": "t", "shape": [size]}], rules).entries
        assert (record_of(entry) is not None) == described


def test_padding_is_recorded() -> None:
    """The zero rows of an embedding are part of its record."""
    torch = pytest.importorskip("torch")
    plan = fanin.Recipe.preset("torch").plan(torch.nn.Embedding(10, 4, padding_idx=3))
    (entry,) = plan.entries
    again = entry_of("weight", entry.parameter.dtype, entry.shape, record_of(entry) or {})
    assert again.make().tobytes() == entry.make().tobytes()


def damaged(change: Callable[[dict[str, Any]], object]) -> Entry:
    """The entry of a record that was changed."""
    entry = kit.normal(count=1).entries[0]
    record = json.loads(json.dumps(record_of(entry)))
    change(record)
    return entry_of("w.0", entry.parameter.dtype, entry.shape, record)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record.clear(), "it has no 'axes'"),
        (lambda record: record.update(axes=[0, 0]), r"its axes are \(0, 0\)"),
        (lambda record: record.update(axes=None), "'NoneType'"),
        (lambda record: record.update(placements=[]), "its placements do not fill the tensor"),
        (lambda record: record["placements"][0].update(target=[[0, 64], [0, 65]]), "lies outside of the tensor"),
        (lambda record: record["placements"][0].update(target=[[0, 64], [0, 63]]), "do not fill the tensor"),
        (lambda record: record["placements"][0].update(source=[0, 1]), "lies outside of the tensor"),
        (lambda record: record["placements"][0].update(source=[0]), "a placement is of another rank"),
        (lambda record: record["placements"][0].update({"class": "os"}), "it has no 'os'"),
        (lambda record: record["placements"][0].update(arguments={"system": 1}), "unexpected keyword"),
        (lambda record: record["placements"][0].update(dtype="float33"), "float33"),
    ],
)
def test_damaged_records(change: Callable[[dict[str, Any]], object], message: str) -> None:
    """A record that does not make the tensor is an error that says why."""
    with pytest.raises(checkpoints.CheckpointError, match=f"^The record of 'w.0' is damaged: .*{message}"):
        damaged(change)


def test_what_a_manifest_says(tmp_path: Path) -> None:
    """The recipe, seed and versions, and each tensor's file, shape, dtype, ties and digest."""
    plan = kit.plan_of(MODEL, EXPERTS, seed=5)
    checkpoints.write(plan, tmp_path)
    manifest = checkpoints.read_manifest(tmp_path)
    assert manifest == checkpoints.read_manifest(tmp_path / "fanin.json")
    assert (manifest.seed, manifest.fanin, manifest.model) == (5, fanin.__version__, "a list of shapes")
    assert manifest.recipe is not None
    assert fanin.Recipe.from_dict(manifest.recipe).plan(MODEL).compare(plan).as_dict()["changed"] == {}
    by_name = {each.name: each for each in manifest.tensors}
    assert by_name["conv"].tied == ("head",)
    assert (by_name["fused"].dtype, by_name["fused"].shape) == ("bfloat16", (12, 4))
    for entry in plan.entries:
        assert by_name[entry.path].entry().make().tobytes() == entry.make().tobytes()
    (file,) = manifest.files
    assert (file.size, file.digest) == ((tmp_path / "model.safetensors").stat().st_size, checkpoints.digest(plan))


def test_a_tensor_a_line(tmp_path: Path) -> None:
    """The JSON has each tensor in a line of its own, for `grep` and `diff`."""
    checkpoints.write(kit.normal(), tmp_path)
    lines = (tmp_path / "fanin.json").read_text().splitlines()
    assert sum('"name": "w.' in line and '"digest": ' in line for line in lines) == 6


def test_digests_depend_on_everything() -> None:
    """On names, dtypes, shapes and bytes; not on the order."""
    tensor, other = ("a", "int8", (2,), 64 * "0"), ("b", "int8", (2,), 64 * "0")
    one = checkpoints.digest_of([tensor])
    changes = [
        ("b", *tensor[1:]),
        ("a", "uint8", *tensor[2:]),
        ("a", "int8", (1, 2), tensor[3]),
        (*tensor[:3], 64 * "1"),
    ]
    assert len({one, *(checkpoints.digest_of([each]) for each in changes)}) == 5
    assert checkpoints.digest_of([tensor, other]) == checkpoints.digest_of([other, tensor])


def rewritten(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A manifest with a change."""
    checkpoints.write(kit.normal(), folder)
    data = json.loads((folder / "fanin.json").read_text())
    change(data)
    (folder / "fanin.json").write_text(json.dumps(data))
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.clear(), "it does not say which version of the format it has"),
        (lambda data: data.update(fanin_checkpoint=2), "it has the format 2, and this version of fanin reads 1"),
        (lambda data: data.pop("seed"), "'seed' is missing, or should not be there"),
        (lambda data: data.update(more=1), "'more' is missing, or should not be there"),
        (lambda data: data.pop("digest"), "it has no 'digest'"),
        (lambda data: data.update(seed="1"), "`seed` must be an integer. Received: '1'"),
        (lambda data: data.update(model=None), "`model` must be a text. Received: None"),
        (lambda data: data.update(recipe=[]), r"`recipe` must be an object or null. Received: \[\]"),
        (lambda data: data.update(tensors={}), "`tensors` must be a list. Received: {}"),
        (lambda data: data["tensors"].append(1), "1 is no StoredTensor"),
        (lambda data: data["tensors"][0].update(shape=[-1]), "a length is negative"),
        (lambda data: data["tensors"][0].update(shape=[True]), "`shape` must be an integer"),
        (lambda data: data["tensors"].append(data["tensors"][0]), "a tensor or a file occurs twice"),
        (lambda data: data["tensors"][0].update(file="x"), "'x' is not among its files"),
        (lambda data: data["tensors"][0].update(digest="../x"), "a digest is not of 64 hexadecimal digits"),
        (lambda data: data["files"][0].update(name="../x"), "the name of a file leads out of the folder"),
        (lambda data: data["tensors"][0].update(digest=64 * "0"), "its digest is not that of its tensors"),
    ],
)
def test_damaged_manifests(change: Callable[[dict[str, Any]], object], message: str, tmp_path: Path) -> None:
    """A manifest that lacks something, contradicts itself or leads elsewhere is refused, with the reason."""
    with pytest.raises(checkpoints.CheckpointError, match=f"^fanin.json is not a manifest that fanin wrote: {message}"):
        checkpoints.read_manifest(rewritten(tmp_path, change))


@pytest.mark.parametrize("text", [b"", b"{", b"[" * 100_000, b"\xff", b"[]", b"1"])
def test_no_manifests(text: bytes, tmp_path: Path) -> None:
    """What is no JSON, or no object, is refused."""
    (tmp_path / "fanin.json").write_bytes(text)
    with pytest.raises(checkpoints.CheckpointError, match=r"^fanin\.json is not a manifest that fanin wrote: it"):
        checkpoints.read_manifest(tmp_path)


def test_no_manifest_at_all(tmp_path: Path) -> None:
    """A folder without one is an error of the operating system's."""
    with pytest.raises(FileNotFoundError):
        checkpoints.read_manifest(tmp_path)


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_initializer_has_a_record(name: str) -> None:
    """What a rule with each of them draws is made again from its record, of the whole and of a region."""
    initializer, tensors, ranks = CATALOGUE[name]
    shape = fitted(name, (4, 3, 2, 4, 6)[-ranks[-1] :])
    model = [{"path": "w", "shape": shape, "dtype": dtype, "layout": "keras"} for dtype in tensors[-1:]]
    (entry,) = kit.plan_of(model, [{"path": "*", "initializer": initializer.with_seed(None)}]).entries
    record = json.loads(json.dumps(record_of(entry), allow_nan=False))
    again = entry_of("w", entry.parameter.dtype, entry.shape, record)
    assert again.make().tobytes() == entry.make().tobytes()
    assert again.make(slice(1, 3)).tobytes() == entry.make(slice(1, 3)).tobytes()
    assert [each.weight for each in again.placements] == [each.weight for each in entry.placements]


def test_fans_of_a_layer_are_in_the_record() -> None:
    """A complex kernel whose fans are the layer's, not those of its last two axes."""
    rules = [{"path": "*", "initializer": "complex_he", "fan_in": 7}]
    model = [{"path": "w", "shape": [4, 5], "dtype": "complex64", "layout": "torch"}]
    (entry,) = kit.plan_of(model, rules).entries
    record = json.loads(json.dumps(record_of(entry)))
    again = entry_of("w", entry.parameter.dtype, entry.shape, record)
    assert again.placements[0].weight.distribution.fan_in == 7
    assert again.make().tobytes() == entry.make().tobytes()


def test_the_arguments_of_a_record_are_checked() -> None:
    """A record's initializer refuses what it refuses elsewhere, before anything is made."""
    model = [{"path": "w.0", "shape": [4, 6], "layout": "torch"}]
    (entry,) = kit.plan_of(model, [{"path": "*", "initializer": "rotary"}]).entries
    record = json.loads(json.dumps(record_of(entry)))
    record["placements"][0]["arguments"]["part"] = "os"
    with pytest.raises(checkpoints.CheckpointError, match=r"The record of 'w\.0' is damaged: `part` must be one of"):
        entry_of("w.0", entry.parameter.dtype, entry.shape, record)
    record["placements"][0]["initializer"] = "os"
    with pytest.raises(checkpoints.CheckpointError, match="it has no 'os'"):
        entry_of("w.0", entry.parameter.dtype, entry.shape, record)
