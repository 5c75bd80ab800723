"""What `write` writes: checkpoints that other libraries load, with the values of `initialize`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import checkpoint_kit as kit
import fanin
from fanin import checkpoints
from fanin.distributions import Orthogonal

RECIPE = fanin.Recipe(
    [
        {"role": "scale", "initializer": "ones"},
        {"role": ["bias", "offset"], "initializer": "random_uniform", "optional": True},
        {"path": "*", "initializer": "truncated_normal", "stddev": 0.02},
    ],
    seed=3,
)


def gpt2() -> Any:
    """A GPT-2 of Hugging Face, whose output layer is tied to its embedding."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=64, n_head=4, vocab_size=500, n_positions=64))


def llama(**settings: Any) -> Any:
    """A Llama of Hugging Face."""
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes: Any = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(**sizes, vocab_size=500, **settings))


def tied_llama() -> Any:
    """A Llama whose output layer is tied."""
    return llama(tie_word_embeddings=True)


def mixtral() -> Any:
    """A Mixtral of Hugging Face, whose experts are stacked."""
    from transformers import MixtralConfig, MixtralForCausalLM

    sizes: Any = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    return MixtralForCausalLM(MixtralConfig(**sizes, num_key_value_heads=2, num_local_experts=4, vocab_size=500))


def described(make: Callable[[], Any]) -> Any:
    """The plan of a model on the meta device, in bfloat16."""
    torch = pytest.importorskip("torch")
    with torch.device("meta"):
        model = make().to(torch.bfloat16)
    return RECIPE.plan(model)


def initialized(make: Callable[[], Any]) -> Any:
    """The same model in memory."""
    torch = pytest.importorskip("torch")
    from fanin.torch import initialize

    model = make().to(torch.bfloat16)
    initialize(model, RECIPE)
    return model


@pytest.mark.parametrize("most", ["5GB", "100KB"])
@pytest.mark.parametrize("make", [gpt2, llama, tied_llama], ids=lambda make: make.__name__)
def test_the_files_of_save_pretrained(make: Callable[[], Any], most: str, tmp_path: Path) -> None:
    """The files and the index are those that transformers saves of the initialized model, byte for byte."""
    pytest.importorskip("transformers")
    initialized(make).save_pretrained(tmp_path / "saved", max_shard_size=most)
    checkpoints.write(described(make), tmp_path / "written", max_shard_size=most)
    written = kit.contents(tmp_path / "written")
    assert written.pop("fanin.json")
    saved = {name: data for name, data in kit.contents(tmp_path / "saved").items() if name.startswith("model")}
    assert written == saved


@pytest.mark.parametrize("most", ["5GB", "100KB"])
@pytest.mark.parametrize("make", [gpt2, llama, tied_llama, mixtral], ids=lambda make: make.__name__)
def test_from_pretrained(make: Callable[[], Any], most: str, tmp_path: Path) -> None:
    """transformers loads the model from its configuration and the files, with nothing missing."""
    pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    model = initialized(make)
    model.config.save_pretrained(tmp_path)
    checkpoints.write(described(make), tmp_path, max_shard_size=most)
    loaded, report = type(model).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    expected = model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.state_dict().items())


@pytest.mark.parametrize("most", ["5GB", "100KB"])
def test_accelerate(most: str, tmp_path: Path) -> None:
    """accelerate loads one file, or several with their index, into a model."""
    accelerate = pytest.importorskip("accelerate")
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    report = checkpoints.write(described(llama), tmp_path, max_shard_size=most)
    model = llama().to(torch.bfloat16)
    accelerate.load_checkpoint_in_model(model, str(tmp_path), strict=True)
    assert checkpoints.digest_of_arrays(dict(model.named_parameters())) == report.digest


def test_load_model(tmp_path: Path) -> None:
    """`safetensors.torch.load_model` loads a model with tied parameters."""
    pytest.importorskip("transformers")
    safetensors = pytest.importorskip("safetensors.torch")
    report = checkpoints.write(described(gpt2), tmp_path)
    torch = pytest.importorskip("torch")
    model = gpt2().to(torch.bfloat16)
    assert safetensors.load_model(model, tmp_path / "model.safetensors") == (set(), [])
    assert checkpoints.digest_of_arrays(dict(model.named_parameters())) == report.digest


def test_statistics_are_in_the_file(tmp_path: Path) -> None:
    """A state dict with running statistics and counters loads strictly."""
    torch = pytest.importorskip("torch")
    safetensors = pytest.importorskip("safetensors.torch")
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    plan = fanin.Recipe.preset("torch").plan(model)
    report = checkpoints.write(plan, tmp_path)
    model.load_state_dict(safetensors.load_file(tmp_path / "model.safetensors"), strict=True)
    assert checkpoints.digest_of_arrays(model.state_dict()) == report.digest
    assert checkpoints.read_manifest(tmp_path).parameters == sum(each.numel() for each in model.parameters())


def test_what_recipes_leave_alone_is_named(tmp_path: Path) -> None:
    """Buffers that no file holds are in the report."""
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(2, 2)
    model.register_buffer("table", torch.zeros(3))
    report = checkpoints.write(fanin.Recipe.preset("torch").plan(model), tmp_path)
    assert report.left == {"table": "a buffer"}
    assert "not in the files, since recipes leave them alone: table" in str(report)


def test_blocks_of_fused_kernels(tmp_path: Path) -> None:
    """Blocks with initializers of their own, and padding, are as in `Entry.make`, whatever the pieces."""
    rules = [
        {"path": "*", "block": "query", "initializer": "orthogonal"},
        {"path": "*", "block": ["key", "value"], "initializer": "he_normal"},
    ]
    model = [{"path": "w", "shape": [24, 8], "layout": "torch", "blocks": ["query", "key", "value"]}]
    plan = kit.plan_of(model, rules)
    report = checkpoints.write(plan, tmp_path)
    assert report.digest == checkpoints.digest_of_arrays({"w": plan.entries[0].make()})


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float8_e4m3fn"])
def test_matrices_are_decomposed_once(dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An orthogonal matrix that comes in many pieces is made once; two of the same size are two."""
    monkeypatch.setattr("fanin.checkpoints.drawing.BUFFER", 1024)
    plan = kit.plan_of([{"path": f"q.{n}", "shape": [90, 40], "layout": "torch", "dtype": dtype} for n in range(2)])
    arrays = {entry.path: entry.make() for entry in plan.entries}
    calls = []
    fill = Orthogonal.fill

    def counted(self: Orthogonal, *arguments: Any) -> None:
        calls.append(self)
        fill(self, *arguments)

    monkeypatch.setattr(Orthogonal, "fill", counted)
    report = checkpoints.write(plan, tmp_path)
    assert len(calls) == 2
    assert report.digest == checkpoints.digest_of_arrays(arrays)


def test_initializers_of_ones_own(tmp_path: Path) -> None:
    """A class of the user's own, with a distribution of its own, is written; the manifest cannot make it again."""

    class Ramp(fanin.distributions.Distribution):
        def fill(self, out: Any, stream: Any, region: Any = None) -> None:
            whole = np.arange(np.prod(self.shape), dtype=self.dtype).reshape(self.shape)
            out[...] = whole[() if region is None else region.slices]

    class Ramps(fanin.Initializer):
        def distribution(self, shape: Any, dtype: Any = None) -> Any:
            return Ramp(tuple(shape), np.dtype(dtype))

    plan = kit.plan_of([{"path": "w", "shape": [5, 3]}], [{"path": "*", "initializer": Ramps()}])
    assert plan.recipe is None
    checkpoints.write(plan, tmp_path)
    manifest = checkpoints.read_manifest(tmp_path)
    assert (manifest.recipe, manifest.tensors[0].record) == (None, None)
    assert manifest.digest == checkpoints.digest_of_arrays({"w": np.arange(15, dtype="float32").reshape(5, 3)})
    with pytest.raises(checkpoints.CheckpointError, match="cannot be made again from the manifest alone"):
        manifest.tensors[0].entry()


def test_what_is_written_does_not_stay_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every byte of a file is given up by the system's cache, once it has had the time of a buffer to be written."""
    monkeypatch.setattr("fanin.checkpoints.drawing.BUFFER", 2**14)
    given_up = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _, start, length, advice: given_up.append((start, length, advice)))
    checkpoints.write(kit.normal(), tmp_path)
    ends = [start + length for start, length, _ in given_up]
    assert ends[-1] == (tmp_path / "model.safetensors").stat().st_size
    assert [start for start, *_ in given_up] == [0, 0, *ends[:-2]]
    assert {advice for *_, advice in given_up} == {os.POSIX_FADV_DONTNEED}


def test_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function is told of the beginning, of progress about once a second, and of each file, in data for JSON."""
    monkeypatch.setattr("fanin.recipes.progress._SECONDS", 0.0)
    monkeypatch.setattr("fanin.checkpoints.drawing.BUFFER", 2**14)
    told: list[dict[str, Any]] = []
    checkpoints.write(kit.normal(), tmp_path, progress=told.append, max_shard_size=60_000)
    assert json.loads(json.dumps(told)) == told
    assert told[0] == {"event": "begin", "rank": 0, "world": 1, "files": 2, "bytes": 98304, "seed": 1}
    progress = [each for each in told if each["event"] == "progress"]
    assert [each["done"] for each in progress] == [2**14 * n for n in range(1, 7)]
    assert {each["total"] for each in progress} == {98304}
    files = [each["file"] for each in told if each["event"] == "file"]
    assert files == ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    told.clear()
    checkpoints.write(kit.normal(), tmp_path, progress=told.append, max_shard_size=60_000)
    assert [each["file"] for each in told if each["event"] == "kept"] == files


def test_a_bar(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With `progress=True`, a bar with the size and the time left is on stderr."""
    pytest.importorskip("rich")
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes stderr for a terminal then
    monkeypatch.setenv("COLUMNS", "200")
    checkpoints.write(kit.normal(rows=40_000), tmp_path, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert all(word in err for word in ("write", "58.6/58.6 MiB", "0:00:00"))


def test_no_bar_for_short_work(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """By default, nothing is printed."""
    checkpoints.write(kit.normal(), tmp_path)
    assert capfd.readouterr() == ("", "")
