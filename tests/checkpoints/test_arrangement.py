"""Which files there are, what they hold, and who writes them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import checkpoint_kit as kit
import fanin
from fanin import checkpoints
from fanin.checkpoints.arrangement import size_of


@pytest.mark.parametrize("most", [1, 500, 1_024, 2_000, 10_000, "10KB", "1MB", "5GB"])
@pytest.mark.parametrize("rows", [[3, 9, 1, 30, 2, 2, 8], [30, 1, 1], [1, 30], [5] * 12])
def test_files_are_those_of_huggingface(most: int | str, rows: list[int]) -> None:
    """Tensors are divided among files, and files are called, as by huggingface_hub."""
    library = pytest.importorskip("huggingface_hub")
    torch = pytest.importorskip("torch")
    plan = kit.plan_of([{"path": f"w.{number}", "shape": [rows, 64]} for number, rows in enumerate(rows)])
    tensors = {entry.path: torch.empty(entry.shape) for entry in plan.entries}
    split = library.split_torch_state_dict_into_shards(
        tensors, max_shard_size=most, filename_pattern="model{suffix}.safetensors"
    )
    files = checkpoints.arrange(plan, max_shard_size=most).files
    assert {file.name: sorted(each.path for each in file.entries) for file in files} == {
        name: sorted(names) for name, names in split.filename_to_tensors.items()
    }


@pytest.mark.parametrize("world", [1, 2, 3, 7, 40])
def test_ranks_share_all_files(world: int) -> None:
    """Each file has one rank, and the ranks' bytes differ by no more than the largest file."""
    sizes = [7, 1, 1, 9, 3, 3, 20, 2, 5, 5, 5, 11]
    plan = kit.plan_of([{"path": f"w.{number}", "shape": [size, 64]} for number, size in enumerate(sizes)])
    arrangement = checkpoints.arrange(plan, max_shard_size=1)
    shares = [arrangement.share(rank, world) for rank in range(world)]
    assert sorted(file.number for share in shares for file in share) == list(range(12))
    loads = [sum(file.size for file in share) for share in shares]
    assert max(loads) - min(loads) <= max(file.size for file in arrangement.files)


@pytest.mark.parametrize(
    ("rank", "world", "error", "message"),
    [
        (1, 1, ValueError, "`rank` must be from 0 to `world` - 1. Received: rank=1, world=1."),
        (-1, 2, ValueError, "Received: rank=-1, world=2."),
        (0, 0, ValueError, "Received: rank=0, world=0."),
        (0.0, 2, TypeError, "`rank` must be an integer. Received: rank=0.0."),
        (0, True, TypeError, "`world` must be an integer. Received: world=True."),
    ],
)
def test_wrong_ranks(rank: Any, world: Any, error: type[Exception], message: str, tmp_path: Path) -> None:
    """What is no rank is refused, before anything is written."""
    with pytest.raises(error) as caught:
        checkpoints.write(kit.normal(), tmp_path / "out", rank=rank, world=world)
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "size"),
    [(7, 7), ("7", 7), ("5GB", 5 * 10**9), ("1.5 kib", 1536), (" 2TB ", 2 * 10**12), ("3MiB", 3 * 2**20)],
)
def test_sizes(text: Any, size: int) -> None:
    """Bytes, and texts with units of ten and of two."""
    assert size_of(text) == size


@pytest.mark.parametrize("text", [0, -1, True, 2.5, None, "", "GB", "5 G", "-5GB", "1e3MB", "0KB", 2**63, "٣GB"])
def test_wrong_sizes(text: Any) -> None:
    """Others are refused."""
    with pytest.raises(ValueError, match="must be a number of bytes, or a text such as 5GB, 500MB or 2GiB"):
        size_of(text)


def test_an_unknown_format() -> None:
    """The message has the known ones, and the one that may be meant."""
    with pytest.raises(ValueError, match=r"Received: format='safetensor'\. Did you mean 'safetensors'\?"):
        checkpoints.arrange(kit.normal(), format="safetensor")  # pyright: ignore[reportArgumentType]


def test_tensors_without_values(tmp_path: Path) -> None:
    """Parameters that a rule keeps, as a whole or in part, are refused before anything is written, with the rules."""
    rules = [
        {"path": "*.kept", "initializer": "keep"},
        {"path": "*.half", "block": "key", "initializer": "keep"},
        {"path": "*", "initializer": "zeros"},
    ]
    model = [{"path": f"h.{n}.kept", "shape": [2]} for n in range(3)]
    model += [{"path": "h.0.half", "shape": [2, 4], "blocks": ["query", "key"]}, {"path": "w", "shape": [2]}]
    with pytest.raises(checkpoints.CheckpointError) as caught:
        checkpoints.write(kit.plan_of(model, rules), tmp_path / "out")
    assert str(caught.value).splitlines() == [
        "a list of shapes cannot be written; nothing has been written.",
        "  h.[0-2].kept has no values: rule 1 keeps it as it is",
        "  h.0.half has values for a part of it only (rule 3, rule 2)",
    ]
    assert not (tmp_path / "out").exists()


def test_a_recipe_that_does_not_fit(tmp_path: Path) -> None:
    """It is a PlanError, and nothing is written."""
    with pytest.raises(fanin.recipes.PlanError, match="No rule matches 1 of 1 parameter"):
        checkpoints.write(kit.plan_of([{"path": "w", "shape": [2]}], kit.RULES[:1]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_computed_tensors(tmp_path: Path) -> None:
    """A weight whose layer stores others in its place would be lost, so it is refused."""
    torch = pytest.importorskip("torch")
    layer = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(3, 2))
    plan = fanin.Recipe.preset("torch").plan(layer)
    with pytest.raises(checkpoints.CheckpointError, match="by its layer, and would not be in a file"):
        checkpoints.write(plan, tmp_path / "out")


def test_no_parameters(tmp_path: Path) -> None:
    """A plan without any is refused."""
    with pytest.raises(checkpoints.CheckpointError, match="has no parameters, so there is nothing to write"):
        checkpoints.write(kit.normal().chosen(lambda _: False), tmp_path / "out")


def test_two_terabytes() -> None:
    """The arrangement of 1,000 layers, a far rank's files and one far region take seconds and no memory for values."""
    code = """
import time
import checkpoint_kit as kit
import fanin
from fanin import checkpoints
begin = time.perf_counter()
model = [{"path": f"h.{layer}.{name}", "shape": [8192, 15625], "layout": "torch", "dtype": "bfloat16", "role": "kernel"}
         for layer in range(1000) for name in "abcdefgh"]
recipe = fanin.Recipe([{"role": "kernel", "initializer": "truncated_normal", "stddev": "1 / n_layers"}], seed=1)
arrangement = checkpoints.arrange(recipe.plan(model))
mine = arrangement.share(19, 20)
entry = mine[-1].entries[-1]
entry.make((slice(8000, 8192), slice(15000, None)))
print(arrangement.size, len(arrangement.files), len(mine))
print(time.perf_counter() - begin, kit.peak())
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    sizes, cost = run.stdout.splitlines()
    seconds, mebibytes = cost.split()
    size, files, mine = map(int, sizes.split())
    assert (size > 2 * 10**12, files, mine) == (True, 422, 21)
    assert float(seconds) < 30
    assert int(mebibytes) < 150
