"""Plans saved by torch.distributed.checkpoint: from one process and from several, for every kind of reader."""

from __future__ import annotations

import functools
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import numpy as np
import torch
from torch import nn
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

import dcp_processes as processes
import fanin
import fanin.torch
from dcp_processes import SMALL, assert_as_initialized, dcp, empty_state, plan_of
from fanin import checkpoints
from fanin.models.traits import Traits
from fanin.recipes import Model, Parameter, PlanError
from fanin.torch.dcp import WeightSavePlanner
from torch_kit import ALL, bits, on_meta, raw, two_layers

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")


@functools.cache
def outcomes(world: int) -> list[dict[str, str]]:
    """What each of so many processes printed."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    path = os.pathsep.join(filter(None, (*sys.path, os.environ.get("PYTHONPATH", ""))))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        running = [
            subprocess.Popen(
                [sys.executable, processes.__file__, folder, str(world), str(rank), str(port)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
            for rank in range(world)
        ]
        try:
            found = []
            for process in running:
                output, errors = process.communicate(timeout=240)
                assert process.returncode == 0, errors
                found.append(json.loads(output.splitlines()[-1]))
            return found
        finally:
            for process in running:
                process.kill()


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("check", processes.CHECKS)
def test_checks(world: int, check: str) -> None:
    """Each check of dcp_processes.py holds in every process."""
    for rank, outcome in enumerate(outcomes(world)):
        assert not outcome[check], f"rank {rank}: {outcome[check]}"


def saved(folder: Path, **options: Any) -> Path:
    """A checkpoint of the mixed model, which this process has written."""
    fanin.torch.save_plan(plan_of(), folder / "checkpoint", **options)
    return folder / "checkpoint"


@pytest.mark.parametrize("most", [1, SMALL, None])
def test_one_process(tmp_path: Path, most: int | None) -> None:
    """Without a process group, one process saves everything, in regions of any size."""
    state = empty_state()
    dcp.load(state, checkpoint_id=saved(tmp_path, most=most))
    assert_as_initialized(state)


def test_a_file_of_many_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written a few regions at a time is one file, also after a run that failed halfway."""
    monkeypatch.setattr("fanin.torch.dcp._REGION", 300)
    fsync, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 5:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            saved(tmp_path, most=SMALL)
    assert [path.name for path in (tmp_path / "checkpoint").iterdir()] == ["__0_0.distcp"]
    folder = saved(tmp_path, most=SMALL)
    assert sorted(path.name for path in folder.iterdir()) == [".metadata", "__0_0.distcp", "fanin.json"]
    state = empty_state()
    dcp.load(state, checkpoint_id=folder)
    assert_as_initialized(state)
    places = dcp.FileSystemReader(folder).read_metadata().storage_data.values()
    assert (folder / "__0_0.distcp").stat().st_size == sum(each.length for each in places)


@pytest.mark.parametrize("form", ["dcp", "safetensors"])
def test_progress(tmp_path: Path, form: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function is told how many bytes have been made."""
    monkeypatch.setattr("fanin.recipes.progress._SECONDS", 0)
    events: list[dict[str, Any]] = []
    saved(tmp_path, format=form, most=SMALL, progress=events.append)
    total = sum(tensor.nbytes for tensor in empty_state().values())
    done = [event["done"] for event in events]
    assert done == sorted(done)
    assert (events[-1]["event"], done[-1], events[-1]["total"]) == ("progress", total, total)


def test_tied_names(tmp_path: Path) -> None:
    """Tied parameters have all of their names, as in a state dict that DCP saves."""
    dcp.save(empty_state(), checkpoint_id=tmp_path / "theirs")
    theirs = dcp.FileSystemReader(tmp_path / "theirs").read_metadata()
    ours = dcp.FileSystemReader(saved(tmp_path)).read_metadata()
    assert ours.state_dict_metadata.keys() == theirs.state_dict_metadata.keys()
    assert ours.planner_data == theirs.planner_data
    for name, tensor in ours.state_dict_metadata.items():
        assert (tensor.size, tensor.properties) == (
            theirs.state_dict_metadata[name].size,
            theirs.state_dict_metadata[name].properties,
        )


def test_conversion_by_torch(tmp_path: Path) -> None:
    """PyTorch's own converter makes a file for torch.load of it, with the keys as they were nested."""
    dcp_to_torch_save(saved(tmp_path, under="model"), tmp_path / "all.pt")
    loaded = torch.load(tmp_path / "all.pt")
    assert loaded.keys() == {"model"}
    assert_as_initialized(loaded["model"])


def test_gpt2(tmp_path: Path) -> None:
    """A model of transformers, with tied parameters and Conv1D layers, equals `initialize`."""
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=2, n_embd=32, n_head=4, vocab_size=99, n_positions=16)
    with torch.device("meta"):
        model = transformers.GPT2LMHeadModel(config)
    recipe = fanin.Recipe.preset("gpt2", seed=3)
    fanin.torch.save_plan(recipe.plan(model), tmp_path, most=1000)
    other = transformers.GPT2LMHeadModel(config)
    dcp.load(other.state_dict(), checkpoint_id=tmp_path)
    fanin.torch.initialize(model, recipe)
    assert raw(other) == raw(model)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "float8_e4m3fn", "float8_e5m2"])
@pytest.mark.parametrize("form", ["dcp", "safetensors"])
def test_dtypes(tmp_path: Path, dtype: str, form: Any) -> None:
    """Every floating dtype arrives with its bits."""
    kind = getattr(torch, dtype)
    plan = ALL.plan([{"path": "w", "shape": [7, 5], "dtype": dtype}])
    fanin.torch.save_plan(plan, tmp_path, format=form, most=8)
    state = {"w": torch.zeros(7, 5).to(kind)}
    reader = dcp.HuggingFaceStorageReader(str(tmp_path)) if form == "safetensors" else dcp.FileSystemReader(tmp_path)
    dcp.load(state, storage_reader=reader)
    assert bits(state["w"]) == plan.entries[0].make().tobytes()


def test_integers_and_scalars(tmp_path: Path) -> None:
    """The counter of a batch norm, which has no axes, and its statistics are saved with their usual start."""
    model = on_meta(lambda: nn.BatchNorm1d(3))
    fanin.torch.save_plan(fanin.Recipe.preset("torch").plan(model), tmp_path)
    other: Any = nn.BatchNorm1d(3)
    with torch.no_grad():
        other.num_batches_tracked.fill_(7)
        other.running_var.zero_()
    dcp.load(other.state_dict(), checkpoint_id=tmp_path)
    assert raw(other) == raw(nn.BatchNorm1d(3))


def test_stacks_of_matrices_are_made_one_by_one(tmp_path: Path) -> None:
    """Orthogonal matrices of a stack with names of their own are made once each, and other blocks in regions."""
    traits = Traits("kernel", axes=(0, 2, 1), stacked=1)
    stack = Model((Parameter("w", (3, 4, 4), np.dtype("float32"), traits=traits),), "a stack")
    recipe = fanin.Recipe([{"path": "*", "initializer": "orthogonal"}], seed=1)
    plan = recipe.plan(stack, names={"w": "w.{layer}"})
    regions = list(plan.entries[0].regions(8))
    assert [tuple((each.start, each.stop) for each in region) for region in regions] == [
        ((layer, layer + 1), (0, 4), (0, 4)) for layer in range(3)
    ]
    fanin.torch.save_plan(plan, tmp_path, most=8)
    state = {"w": torch.empty(3, 4, 4)}
    dcp.load(state, checkpoint_id=tmp_path)
    assert bits(state["w"]) == plan.entries[0].make().tobytes()


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What DCP has in memory at once are a few regions, not the tensors of a whole file."""
    monkeypatch.setattr("fanin.torch.dcp._REGION", 2**16)
    alive, most = set(), 0
    empty = torch.empty

    class Watched:
        """Counts the tensors that live."""

        def __call__(self, *arguments: Any, **options: Any) -> Any:
            nonlocal most
            import weakref

            tensor = empty(*arguments, **options)
            key = id(tensor)
            alive.add(key)
            weakref.finalize(tensor, alive.discard, key)
            most = max(most, len(alive))
            return tensor

    monkeypatch.setattr("fanin.torch.dcp.torch.empty", Watched())
    plan = ALL.plan([{"path": f"w{number}", "shape": [128, 128]} for number in range(40)])
    fanin.torch.save_plan(plan, tmp_path)
    assert 0 < most <= 4
    assert checkpoints.check(tmp_path)


def test_a_planner_for_another_writer(tmp_path: Path) -> None:
    """The planner works with any storage writer, such as DCP's own in several threads."""
    writer = dcp.FileSystemWriter(tmp_path, thread_count=2, single_file_per_rank=False)
    dcp.save({}, storage_writer=writer, planner=WeightSavePlanner(plan_of(), most=SMALL))
    state = empty_state()
    dcp.load(state, checkpoint_id=tmp_path)
    assert_as_initialized(state)


def test_transformers_reads_the_safetensors(tmp_path: Path) -> None:
    """`from_pretrained` finds every tensor in the files that DCP's Hugging Face writer has written."""
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, vocab_size=50
    )
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config)
    recipe = fanin.Recipe.preset("llama", seed=4)
    fanin.torch.save_plan(recipe.plan(model), tmp_path, format="safetensors", most=10_000)
    config.save_pretrained(tmp_path)
    found, loading = transformers.LlamaForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not loading["missing_keys"]
    fanin.torch.initialize(model, recipe)
    assert raw(found) == raw(model)


def test_kept_parameters_are_refused(tmp_path: Path) -> None:
    """A parameter that the recipe keeps has no values in the plan: nothing is written, not even the folder."""
    recipe = fanin.Recipe([{"path": "0.*", "initializer": "keep"}, {"path": "*", "initializer": "ones"}])
    plan, folder = recipe.plan(on_meta(two_layers)), tmp_path / "new"
    with pytest.raises(PlanError) as caught:
        fanin.torch.save_plan(plan, folder)
    assert str(caught.value) == (
        "The plan of Sequential cannot be saved; nothing has been written.\n"
        "  0.weight: rule 1 keeps it, whose values the plan does not have. Add it to `others`.\n"
        "  0.bias: rule 1 keeps it, whose values the plan does not have. Add it to `others`."
    )
    assert not folder.exists()
    kept = {"0.weight": torch.full((4, 3), 2.0), "0.bias": torch.full((4,), 3.0)}
    fanin.torch.save_plan(plan, folder, others=kept)
    model = two_layers()
    dcp.load(model.state_dict(), checkpoint_id=folder)
    assert {name: set(tensor.tolist()[0] if tensor.ndim > 1 else tensor.tolist()) for name, tensor in kept.items()} == {
        "0.weight": {2.0},
        "0.bias": {3.0},
    }
    assert (bits(model[0].weight), bits(model[2].weight)) == (bits(kept["0.weight"]), bits(torch.ones(2, 4)))


def test_kept_blocks_are_refused(tmp_path: Path) -> None:
    """So is a parameter of which it keeps a block."""
    rules = [{"block": "forget", "initializer": "keep"}, {"path": "*", "initializer": "ones"}]
    plan = fanin.Recipe(rules).plan(on_meta(lambda: nn.LSTM(2, 3)))
    with pytest.raises(PlanError, match=r"weight_ih_l0: .* keeps some of its blocks, whose values"):
        fanin.torch.save_plan(plan, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_unmatched_parameters_are_refused(tmp_path: Path) -> None:
    """A plan that does not fit is refused as `initialize` refuses it."""
    plan = fanin.Recipe([{"path": "0.*", "initializer": "ones"}]).plan(on_meta(two_layers))
    with pytest.raises(PlanError, match="No rule matches 4 of 6 parameters"):
        fanin.torch.save_plan(plan, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_half_of_a_tie_is_refused(tmp_path: Path) -> None:
    """Other values for one name of a tied parameter would untie it."""
    with pytest.raises(PlanError, match=r"head\.weight: it is tied to a parameter that `others` has"):
        fanin.torch.save_plan(plan_of(), tmp_path / "new", others={"tokens.weight": torch.zeros(37, 6)})
    with pytest.raises(PlanError, match=r"tokens\.weight: it is tied to a parameter that `others` has"):
        fanin.torch.save_plan(plan_of(), tmp_path / "new", others={"head.weight": torch.zeros(37, 6)})
    assert not (tmp_path / "new").exists()


def test_dtypes_that_pytorch_lacks(tmp_path: Path) -> None:
    """A dtype of ml_dtypes without a twin in PyTorch is refused, by name."""
    plan = ALL.plan([{"path": "w", "shape": [2], "dtype": "float8_e3m4"}])
    with pytest.raises(PlanError, match=r"w: PyTorch has no dtype float8_e3m4\. Choose another one\."):
        fanin.torch.save_plan(plan, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("form", ["dcp", "safetensors"])
def test_a_folder_with_a_checkpoint(tmp_path: Path, form: Any) -> None:
    """It is refused, and stays as it is."""
    folder = saved(tmp_path, format=form)
    before = processes.digests(folder)
    with pytest.raises(FileExistsError, match=r"must not have a checkpoint in it; nothing has been written\. Received"):
        fanin.torch.save_plan(plan_of(seed=1), folder, format=form)
    assert processes.digests(folder) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "npz"}, '`format` must be "dcp" or "safetensors". Received: format=\'npz\'.'),
        ({"most": 0}, "`most` must be a positive number of bytes. Received: most=0."),
        (
            {"format": "safetensors", "under": "model"},
            "`under` must be None for safetensors, whose names are flat. Received: under='model'.",
        ),
    ],
)
def test_arguments(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    """Arguments that say nothing are refused."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        fanin.torch.save_plan(plan_of(), tmp_path / "new", **options)
    assert str(caught.value) == message
    assert not (tmp_path / "new").exists()


def test_a_disk_error_is_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a write raises comes out as it is, although DCP wraps it in something that is no Exception."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        fanin.torch.save_plan(plan_of(), tmp_path)
    assert not (tmp_path / ".metadata").exists()


def test_import_is_lazy() -> None:
    """torch.distributed.checkpoint is imported when `save_plan` is used first."""
    code = "import fanin.torch, sys; before = 'torch.distributed.checkpoint' in sys.modules; fanin.torch.save_plan; "
    code += "print(before, 'torch.distributed.checkpoint' in sys.modules, 'save_plan' in dir(fanin.torch))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True", "True"]


def test_the_values_are_of_keras_kernels(tmp_path: Path) -> None:
    """A weight of PyTorch's layout is the transpose of what the initializer of its name draws."""
    plan = fanin.Recipe([{"path": "*", "initializer": "he_normal"}], seed=2).plan(
        on_meta(lambda: nn.Linear(30, 20, bias=False))
    )
    fanin.torch.save_plan(plan, tmp_path, most=100)
    state = {"weight": torch.empty(20, 30)}
    dcp.load(state, checkpoint_id=tmp_path)
    kernel = fanin.HeNormal(seed=2).spawn("weight")((30, 20))
    assert bits(state["weight"]) == np.ascontiguousarray(kernel.T).tobytes()


@pytest.mark.parametrize("most", [SMALL, None])
@pytest.mark.parametrize("world", [1, 2, 3, 7, 50])
def test_any_number_of_ranks(world: int, most: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts of any number of ranks are all of the values, once each, with the digest of the plan."""
    plan = plan_of()
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda _: world)
    planners = []
    for rank in range(world):
        monkeypatch.setattr("torch.distributed.get_rank", lambda _, rank=rank: rank)
        planners.append(WeightSavePlanner(plan, most=most))
        planners[-1].set_up_planner({}, None, rank == 0)
    every, _ = planners[0].create_global_plan([each.create_local_plan() for each in planners])
    state = {name: torch.zeros_like(tensor) for name, tensor in empty_state().items()}
    written = 0
    for planner, part in zip(planners, every, strict=True):
        for item in part.items:
            chunk = item.tensor_data.chunk
            place = tuple(slice(a, a + b) for a, b in zip(chunk.offsets, chunk.sizes, strict=True))
            state[item.index.fqn][place] = planner.resolve_data(item)
            written += chunk.sizes.numel()
    assert_as_initialized(state)
    assert written == sum(tensor.numel() for tensor in state.values())
    firsts = {name: tensor for name, tensor in state.items() if name != "head.weight"}
    assert checkpoints.digest_of_arrays(firsts) == checkpoints.digest(plan)


def test_torchrun(tmp_path: Path) -> None:
    """The example gives the same values under torchrun, with two ranks."""
    example = Path(__file__).parents[2] / "examples" / "dcp_torchrun.py"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(example)]
    path = os.pathsep.join(filter(None, (*sys.path, os.environ.get("PYTHONPATH", ""))))
    run = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-3:] == ["ranks: 2", "4 of 4 tensors are bit-exact", "as initialized: True"]


@pytest.mark.parametrize("name", ["model.safetensors", "fanin.json", "pytorch_model.bin", "weights.npz", ".metadata"])
def test_folders_with_other_weights(name: str, tmp_path: Path) -> None:
    """A folder with weights of any kind, or a manifest, is refused and stays as it is."""
    plan = fanin.Recipe([{"path": "*", "initializer": "zeros"}]).plan([{"path": "w", "shape": [2]}])
    (tmp_path / name).write_bytes(b"other")
    with pytest.raises(FileExistsError, match="must not have a checkpoint in it"):
        fanin.torch.save_plan(plan, tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"other"


@pytest.mark.parametrize(("option", "value"), [("under", ""), ("most", 0), ("most", "1GB")])
def test_options_of_save_plan(option: str, value: object, tmp_path: Path) -> None:
    """Options that make no sense are refused."""
    plan = fanin.Recipe([{"path": "*", "initializer": "zeros"}]).plan([{"path": "w", "shape": [2]}])
    options: dict[str, Any] = {option: value}
    with pytest.raises(ValueError, match="Received: "):
        fanin.torch.save_plan(plan, tmp_path, **options)
